"""Roughtime in the daemon: a check on the sources and on the clock, by servers that are right, silent or lie."""

from __future__ import annotations

import errno
import itertools

import pytest
from rough_story_support import RoughStory

from timesync.base.time import Duration
from timesync.ntp.roughtime import proves_malfeasance
from timesync.observe.roughtime import REPORT_FILE
from timesync.servo.view import ServoState

HOUR_S = 3600.0
SELECTED = {"n0": "selected", "n1": "selected"}
CHECKS = {"r0": "candidate", "r1": "candidate", "r2": "candidate"}


def lying_ntp(story: RoughStory, off_s: float = HOUR_S) -> None:
    for server in story.ntp:
        server.clock.disturb(Duration.from_s(off_s))


def lying(story: RoughStory, *places: int, by_s: float = HOUR_S) -> None:
    for place in places:
        story.rough[place].lie_s = by_s


# -- what is shown


def test_three_that_agree_are_shown_and_leave_right_sources_alone() -> None:
    story = RoughStory(off_s=0.5)

    def look() -> None:
        assert SELECTED | CHECKS == story.states()
        shown = story.rough_source(1)
        assert (
            "a check on the others, never steered by: agrees with 2 others; the time is known to 5" in shown["reason"]
        )
        assert ("roughtime", "192.0.2.21:5319", "system", True, 1) == (
            shown["kind"], shown["address"], shown["clock"], shown["authenticated"], shown["reach"],
        )  # fmt: skip
        assert (2, 2, 3600.0, 5.0) == (
            shown["sent"], shown["received"], shown["poll_s"], shown["details"]["roughtime"]["radius_s"],
        )  # fmt: skip
        assert 0.002 == pytest.approx(shown["delay_s"], abs=1e-6)
        assert 599 < shown["last_sample_age_s"] < 600
        assert 5.0 < shown["error_bound_s"] < 5.4
        assert abs(shown["offset_s"]) < 1.0
        assert set(story.source("n0")) == set(shown), "one shape for all"
        assert "no clock is steered by it" in story.why("r1.org:5319")
        assert "signed with a radius of 5 s, the time is known to 5" in story.why("r1.org:5319")
        assert ("locked", []) == (story.status()["state"], story.status()["warnings"])

    story.play(610, (600, look))
    assert ["2 of 3 Roughtime servers agree on the time, which is known to 5 s by them"] == story.texts("roughtime")


def test_they_are_asked_once_an_hour_each_twice_and_the_clock_is_never_theirs() -> None:
    story = RoughStory(ntp=0, off_s=100.0)
    story.play(3 * HOUR_S + 1500)
    for server in story.rough:
        asked = server.asked_at
        assert 8 == len(asked)
        assert asked[1] - asked[0] < 1
        assert all(
            HOUR_S <= later - sooner < 1.11 * HOUR_S for sooner, later in zip(asked[::2], asked[2::2], strict=False)
        )
    assert 0 == story.host.system.epoch
    assert 100.0 == pytest.approx(story.host.system.true_offset().s(), abs=1e-6)
    (warning,) = story.texts("contradicted:system")
    assert warning.startswith("clock system is at least 1.5")
    assert warning.endswith("min ahead by 2 of 3 Roughtime servers")


# -- what it does


def test_all_sources_lie_and_are_shut_out() -> None:
    story = RoughStory()
    lying_ntp(story)

    def look() -> None:
        assert {"n0": "excluded", "n1": "excluded"} | CHECKS == story.states()
        assert story.source("n0")["reason"].startswith(
            "its time is at least 59.9 min ahead by 3 of 3 Roughtime servers"
        )
        assert "acquiring" == story.status()["state"]
        assert "n0: its time is at least 59.9 min ahead by" in story.status()["reason"]

    story.play(120, (110, look))
    assert 0 == story.host.system.epoch


def test_a_clock_that_was_right_goes_on_in_holdover_when_its_sources_begin_to_lie() -> None:
    story = RoughStory()

    def look() -> None:
        assert {"n0": "excluded", "n1": "excluded"} | CHECKS == story.states()
        assert "holdover" == story.status()["state"]

    story.play(900, (300, lambda: lying_ntp(story)), (890, look))
    assert abs(story.host.system.true_offset().s()) < 0.01


def test_a_machine_that_was_halted_without_knowing_asks_again_and_believes_its_sources() -> None:
    story = RoughStory()

    def halt() -> None:
        # As a virtual machine sees it: both its clocks stood still for 100 s.
        lying_ntp(story, 100.0)
        lying(story, 0, 1, 2, by_s=100.0)

    def look() -> None:
        assert SELECTED | CHECKS == story.states()

    story.play(1200, (1000, halt), (1060, look))
    assert len(story.texts("contradicted")) >= 1, "by what the servers had said before"
    assert [4, 4, 4] == [len(server.asked_at) for server in story.rough]


def test_sources_that_lie_again_and_again_do_not_have_the_servers_asked_ever_more_often() -> None:
    story = RoughStory()
    turns = [(60.0 * turn, (lambda turn=turn: lying_ntp(story, HOUR_S * (-1) ** turn))) for turn in range(5, 55)]
    story.play(HOUR_S - 10, *turns)
    rounds = story.rough[0].asked_at[::2]
    assert 3 <= len(rounds) <= 7
    assert all(later - sooner >= 64 for sooner, later in itertools.pairwise(rounds))


def test_a_clock_that_followed_liars_is_told_so_when_servers_come_back() -> None:
    story = RoughStory()
    lying_ntp(story)
    for server in story.rough:
        server.silent = True

    def before() -> None:
        assert ("locked", True) == (story.status()["state"], story.states()["n0"] == "selected")
        assert "unreachable" == story.states()["r0"]
        assert story.rough_source(0)["reason"] == "no response within 3 s"
        assert not story.rough_source(0)["authenticated"]
        for server in story.rough:
            server.silent = False

    def after() -> None:
        assert "acquiring" == story.status()["state"]
        assert story.status()["reason"].startswith("its own time is at least 59.")
        assert any(text.startswith("clock system is at least 59.") for text in story.status()["warnings"])
        assert "its own time is at least 59." in story.why()
        assert 16 == story.status()["stratum"]

    story.play(400, (50, before), (300, after))


def test_those_that_do_not_answer_are_asked_again_sooner_and_then_ever_later() -> None:
    story = RoughStory()
    story.rough[0].silent = True
    story.play(2 * HOUR_S)
    waits = [later - sooner for sooner, later in itertools.pairwise(story.rough[0].asked_at[::2])]
    # The seventh time it is asked together with the others.
    for wait, least in zip(waits[:5], (64, 128, 256, 512, 1024), strict=True):
        assert least <= wait <= 1.1 * least + 10
    gaps = [later - sooner for sooner, later in itertools.pairwise(story.rough[1].asked_at[::2])]
    assert gaps
    assert all(0.75 * HOUR_S <= gap <= 1.11 * HOUR_S for gap in gaps), "the others are asked no more often for that"


def test_one_that_lies_is_named_with_a_proof_that_others_can_verify() -> None:
    story = RoughStory()
    lying(story, 2)

    def look() -> None:
        assert SELECTED | {"r0": "candidate", "r1": "candidate", "r2": "falseticker"} == story.states()
        assert "disagrees with 2 others by 59.8 min at least" == story.rough_source(2)["reason"]
        assert 0 < story.rough_source(2)["details"]["roughtime"]["malfeasance_age_s"] < 60
        assert f"one has lied. The proof is {REPORT_FILE} in the state directory." in story.why("r0.org:5319")

    story.play(60, (50, look))
    (said,) = story.texts("roughtime-malfeasance")
    assert "the Roughtime servers r0.org:5319, r1.org:5319, r2.org:5319 contradict each other" in said
    assert proves_malfeasance(story.host.files[REPORT_FILE].decode())


def test_a_proof_that_cannot_be_kept_is_said() -> None:
    story = RoughStory()
    lying(story, 2)
    story.host.save_failure = OSError(errno.EROFS, "Read-only file system")
    story.play(60)
    (said,) = story.texts("roughtime-malfeasance")
    assert said.endswith("the proof could not be kept: Read-only file system")


def test_without_a_majority_nothing_is_checked() -> None:
    story = RoughStory()
    lying(story, 1, by_s=HOUR_S)
    lying(story, 2, by_s=-HOUR_S)

    def look() -> None:
        assert SELECTED | dict.fromkeys(("r0", "r1", "r2"), "falseticker") == story.states()
        assert "no majority: no more than half of the 3 Roughtime servers agree" == story.rough_source(0)["reason"]

    story.play(60, (50, look))


def test_one_of_three_is_no_majority() -> None:
    story = RoughStory()
    lying(story, 0)
    story.rough[1].silent = story.rough[2].silent = True

    def look() -> None:
        assert SELECTED == {name: state for name, state in story.states().items() if name.startswith("n")}
        few = "1 of 3 Roughtime servers have answered, and more than half must agree"
        assert ("candidate", few) == (story.rough_source(0)["state"], story.rough_source(0)["reason"])

    story.play(60, (50, look))


def test_a_server_with_noselect_is_shown_and_counts_for_nothing() -> None:
    story = RoughStory()
    lying_ntp(story)

    def look() -> None:
        assert SELECTED | dict.fromkeys(("r0", "r1", "r2"), "excluded") == story.states()
        assert "configured with noselect" == story.rough_source(0)["reason"]

    story.play(60, (50, look), config=story.config(noselect=True))


def test_their_word_counts_for_two_intervals() -> None:
    story = RoughStory()
    gone: list[dict[str, str]] = []

    def end() -> None:
        for server in story.rough:
            server.silent = True
        lying_ntp(story)

    story.play(
        700,
        (5, end),
        (180, lambda: gone.append(story.states())),
        (690, lambda: gone.append(story.states())),
        config=story.config(interval="128s"),
    )
    before, after = gone
    assert {"n0": "excluded", "n1": "excluded"} | CHECKS == before
    assert SELECTED | dict.fromkeys(CHECKS, "unreachable") == after
    assert "no majority of the Roughtime servers agrees: nothing is checked" in story.texts("roughtime")


def test_a_server_whose_name_is_unknown_says_so() -> None:
    story = RoughStory()
    story.network.dns.set("r0.org")

    def look() -> None:
        shown = story.rough_source(0)
        assert ("unreachable", 0, None) == (shown["state"], shown["sent"], shown["address"])
        assert "r0.org" in shown["reason"]
        assert {"r1": "candidate", "r2": "candidate"}.items() <= story.states().items()

    story.play(60, (50, look))


def test_after_a_sleep_of_the_machine_what_was_said_counts_no_more() -> None:
    """Monotonic time stands still while a machine sleeps; on waking the kernel sets the clock, and not we."""
    story = RoughStory()

    def fall_silent() -> None:
        assert CHECKS.items() <= story.states().items()
        for server in story.rough:
            server.silent = True

    def wake() -> None:
        for server in story.rough:
            server.silent = False

    def look() -> None:
        assert None is story.appliance.controller.fence(story.host.mono())
        assert dict.fromkeys(CHECKS, "unreachable").items() <= story.states().items()

    story.play(
        500,
        (300, fall_silent),
        (300.5, lambda: story.host.system.disturb(Duration.from_s(-HOUR_S))),
        (320, look),
        (325, wake),
        (499, lambda: None),
    )
    # At the start, at once, and a minute later.
    assert [6, 6, 6] == [len(server.asked_at) for server in story.rough]
    assert 2 == sum("agree on the time" in text for text in story.texts("roughtime"))


def test_a_reload_takes_the_check_away_and_brings_it_back() -> None:
    story = RoughStory()
    lying_ntp(story)
    whole = story.config()
    plain = whole.model_copy(update={"sources": tuple(one for one in whole.sources if one.kind == "ntp")})
    seen: list[dict[str, str]] = []
    story.play(
        300,
        (50, lambda: seen.append(story.states())),
        (51, lambda: story.appliance.reload(plain, {})),
        (100, lambda: seen.append(story.states())),
        (101, lambda: story.appliance.reload(whole, {})),
        (200, lambda: seen.append(story.states())),
        (201, lambda: seen.append({"state": story.appliance.view().state.value})),
    )
    first, second, third, state = seen
    shut_out = {"n0": "excluded", "n1": "excluded"} | CHECKS
    assert [shut_out, SELECTED, shut_out] == [first, second, third]
    assert ServoState.ACQUIRING.value == state["state"]
