"""The first time of a board in 1970, with NTS servers of which some lie under certificates that were once valid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nts_daemon_support import CA, NOW_TAI, FarServer
from rough_story_support import RoughStory
from tls_support import make_identity

from timesync.base.time import Duration

DAY_S = 86_400.0
FAR_PAST_S = -56 * 365 * DAY_S
LIE_S = 50 * DAY_S


class Board:
    """A story with NTS servers ``s0`` and so on; each is ``lies_s`` seconds off, and its certificate of that time."""

    def __init__(self, tmp_path: Path, *lies_s: float, ntp: int = 0, rough: int = 0) -> None:
        self.story = RoughStory(ntp=ntp, rough=rough, off_s=FAR_PAST_S, start=NOW_TAI)
        authority = tmp_path / "ca.pem"
        authority.write_bytes(CA.pem)
        self.entries: list[dict[str, Any]] = []
        for place, lie_s in enumerate(lies_s):
            name, middle = f"s{place}.example.org", lie_s / DAY_S
            identity = make_identity(name, name, issuer=CA, days=(middle - 10, middle + 10))
            far = FarServer(self.story, name, f"192.0.2.{50 + place}", identity)
            far.clock.disturb(Duration.from_s(lie_s))
            far.publish()
            self.story.network.dns.set(name, far.address)
            self.entries.append(
                {"ntp": name, "nts": True, "ca": str(authority), "poll": ["8s", "8s"], "name": f"s{place}"}
            )
        self.seen: list[dict[str, str]] = []

    def play(self, seconds: float, *looks: float) -> None:
        acts = [(second, lambda: self.seen.append(self.story.states())) for second in looks]
        self.story.play(seconds, *acts, config=self.story.config(*self.entries))

    @property
    def off_s(self) -> float:
        return self.story.host.system.true_offset().s()


def test_one_plain_server_is_not_outvoted_by_provisional_ones(tmp_path: Path) -> None:
    board = Board(tmp_path, LIE_S, LIE_S, LIE_S, ntp=1)
    board.play(60, 9)
    assert [{"n0": "selected", "s0": "candidate", "s1": "candidate", "s2": "candidate"}] == board.seen
    assert abs(board.off_s) < 0.01
    # By the right time their certificates are not valid yet.
    assert 3 == len(board.story.texts("nts-refused"))


def test_provisional_ones_that_agree_among_themselves_set_the_clock_where_there_is_nobody_else(tmp_path: Path) -> None:
    board = Board(tmp_path, 0.0, 0.0)
    board.play(60, 12, 59)
    assert [{"s0": "selected", "s1": "selected"}] * 2 == board.seen
    assert abs(board.off_s) < 0.01
    assert 2 == len(board.story.texts("nts-verified"))


def test_with_roughtime_servers_a_liar_has_no_minute_of_it(tmp_path: Path) -> None:
    board = Board(tmp_path, LIE_S, rough=3)
    board.play(120, 60)
    (seen,) = board.seen
    assert {"s0": "unreachable", "r0": "candidate", "r1": "candidate", "r2": "candidate"} == seen
    assert 0 == board.story.host.system.epoch, "the clock was never set to a lie"


def test_with_roughtime_servers_the_right_one_is_verified_before_the_clock_is_set(tmp_path: Path) -> None:
    board = Board(tmp_path, 0.0, rough=3)
    board.play(120, 100)
    assert [{"s0": "selected", "r0": "candidate", "r1": "candidate", "r2": "candidate"}] == board.seen
    assert abs(board.off_s) < 0.01


def test_roughtime_servers_that_are_silent_are_waited_for_once(tmp_path: Path) -> None:
    board = Board(tmp_path, 0.0, rough=3)
    for server in board.story.rough:
        server.silent = True
    board.play(120, 12, 60)
    before, after = (seen["s0"] for seen in board.seen)
    assert ("candidate", "selected") == (before, after)
