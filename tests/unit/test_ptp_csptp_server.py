"""A server of CSPTP: whom it answers, what it says, and that it never sends more than it was sent."""

from __future__ import annotations

import random
from collections.abc import Iterable

import csptp_support as wire
import pytest
from csptp_support import CLIENT, stamp

from timesync.base.ids import ClockId, ClockIdentity
from timesync.base.machine import Dropped
from timesync.base.measure import Stamp
from timesync.ptp.csptp.server import MOST_WAITING, CsptpServer, ServerEffect, ServerSettings
from timesync.ptp.effect import SendEvent, SendGeneral
from timesync.ptp.settings import LocalQuality
from timesync.wire.ptp_message import ClockQuality

IDENTITY = "aabbccfffeddeeff"
T2, T3 = 1_767_225_637_000_000_111, 1_767_225_637_000_050_222
LOCKED = LocalQuality(
    quality=ClockQuality(6, 0x23, 0x4E5D),
    utc_offset=37,
    utc_offset_valid=True,
    time_traceable=True,
    frequency_traceable=True,
    synchronized=True,
)
LOCKED_FLAGS = wire.PTP_TIMESCALE | wire.UTC_VALID | wire.TIME_TRACEABLE | wire.FREQUENCY_TRACEABLE
STATUS = f" f002 0016 80 06 23 4e5d 80 0000 0025 {IDENTITY} 00000000"
AROUND = 14 + 40 + 8 + 2
"""Ethernet, IPv6, UDP, and two octets: what a message has around it at most."""


class Bench:
    """A server of the system clock; ``refuse`` is what its gate says."""

    def __init__(self, quality: LocalQuality | None = LOCKED, *, unpadded: bool = False) -> None:
        settings = ServerSettings(
            clock=wire.SYSTEM, identity=ClockIdentity(bytes.fromhex(IDENTITY)), domain=wire.DOMAIN, unpadded=unpadded
        )
        self.refuse: str | None = None
        self.judged: list[tuple[str, int]] = []
        self.server = CsptpServer(settings, self._gate)
        if quality is not None:
            self.server.set_quality(quality)

    def _gate(self, source: str, now_ns: int) -> str | None:
        self.judged.append((source, now_ns))
        return self.refuse

    def ask(self, data: bytes, at: Stamp | None = None, source: str = CLIENT) -> list[ServerEffect]:
        return list(self.server.on_message(data, at or stamp(T2), source))

    def whole(self, data: bytes, source: str = CLIENT) -> list[SendEvent | SendGeneral]:
        """All that a request leads to, where every transmit stamp comes."""
        sent: list[SendEvent | SendGeneral] = []
        for effect in self.ask(data, source=source):
            if isinstance(effect, SendEvent):
                after = self.server.on_sent(effect.token, stamp(T3))
                sent += [effect, *(one for one in after if isinstance(one, SendGeneral))]
        return sent


def drops(effects: Iterable[ServerEffect]) -> list[str]:
    return [effect.reason for effect in effects if isinstance(effect, Dropped)]


def test_a_request_is_answered_in_two_steps_to_where_it_came_from() -> None:
    bench = Bench()
    sync, after = bench.whole(wire.request(0x4242, correction_ns=77))
    expected = wire.response(0x4242, T2, there_ns=77, flags=LOCKED_FLAGS, status=STATUS)
    assert expected.hex(" ") == sync.data.hex(" ")
    assert wire.follow_up(0x4242, T3).hex(" ") == after.data.hex(" ")
    assert (CLIENT, CLIENT) == (sync.destination, after.destination)
    assert (1, [(CLIENT, T2)]) == (bench.server.answered, bench.judged)


def test_no_status_is_said_to_who_does_not_ask() -> None:
    data = bytearray(wire.request(1))
    data[48] = 0
    sync, _ = Bench().whole(bytes(data))
    assert wire.response(1, T2, flags=LOCKED_FLAGS) == sync.data


def test_a_clock_that_nobody_may_believe_says_so() -> None:
    sync, _ = Bench(LocalQuality()).whole(wire.request(1))
    flags = int.from_bytes(sync.data[6:8], "big")
    assert wire.UNICAST | wire.TWO_STEP | wire.PTP_TIMESCALE | wire.UNCERTAIN == flags
    assert (248, 0xFE) == (sync.data[71], sync.data[72])  # clockClass and clockAccuracy of the status


@pytest.mark.parametrize(
    ("padding", "answered", "status"),
    [
        (0, False, False),
        (120, False, False),
        (122, True, False),
        (146, True, False),
        (148, True, True),
        (400, True, True),
    ],
)
def test_nobody_gets_more_than_he_sent(padding: int, answered: bool, status: bool) -> None:
    data = wire.request(3, padding=padding)
    bench = Bench()
    sent = bench.whole(data)
    assert (2 if answered else 0, [] if answered else ["unpadded"]) == (len(sent), list(bench.server.drops))
    assert len(data) + AROUND >= sum(len(one.data) + AROUND for one in sent)
    assert status is (bytes.fromhex("f0020016") in b"".join(one.data for one in sent))


def test_small_requests_are_answered_where_that_is_allowed() -> None:
    sync, after = Bench(unpadded=True).whole(wire.request(5, padding=0))
    assert wire.response(5, T2, flags=LOCKED_FLAGS, status=STATUS) == sync.data
    assert wire.follow_up(5, T3) == after.data


def test_no_stranger_s_octets_make_it_send_more_than_they_are() -> None:
    """Requests with octets changed, cut and repeated at random."""
    rng = random.Random(1588)
    bench = Bench()
    answered = 0
    for _ in range(20_000):
        data = bytearray(wire.request(rng.randrange(65536), padding=rng.choice((0, 120, 122, 148))))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        octets = bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data)
        sent = bench.whole(octets)
        answered += bool(sent)
        assert not sent or len(octets) + AROUND >= sum(len(one.data) + AROUND for one in sent)
    assert 1_000 < answered == bench.server.answered


@pytest.mark.parametrize(
    ("data", "at", "why"),
    [
        (b"\x30\x12", stamp(T2), "malformed"),
        (wire.request(1, domain=129), stamp(T2), "domain"),
        (wire.request(1), stamp(T2, clock=ClockId("eth0")), "stamp"),
    ],
)
def test_what_is_no_request_to_us_is_counted(data: bytes, at: Stamp, why: str) -> None:
    bench = Bench()
    assert [why] == drops(bench.ask(data, at))
    assert ({why: 1}, 0, []) == (dict(bench.server.drops), bench.server.answered, bench.judged)


def test_a_request_that_was_not_stamped_gets_no_answer() -> None:
    assert ["stamp"] == drops(Bench().server.on_message(wire.request(1), None, CLIENT))


def test_nobody_is_answered_before_anything_is_known_of_the_clock() -> None:
    assert ["not-ready"] == drops(Bench(None).ask(wire.request(1)))


def test_answers_and_follow_ups_of_others_are_for_clients() -> None:
    bench = Bench()
    assert [] == bench.ask(wire.response(1, T2)) + bench.ask(wire.follow_up(1, T3))
    assert {} == dict(bench.server.drops)


def test_who_asks_too_often_or_may_not_ask_gets_nothing() -> None:
    bench = Bench()
    bench.refuse = "rate"
    assert ["rate"] == drops(bench.ask(wire.request(1)))
    assert {"rate": 1} == dict(bench.server.drops)


def test_without_the_time_of_departure_there_is_no_follow_up() -> None:
    bench = Bench()
    lost: list[Stamp | None] = [None, stamp(T3, clock=ClockId("eth0")), stamp(T3, epoch=1)]
    for at in lost:
        (sync,) = bench.ask(wire.request(1))
        assert isinstance(sync, SendEvent)
        assert [Dropped] == [type(one) for one in bench.server.on_sent(sync.token, at)]
        assert [] == list(bench.server.on_sent(sync.token, stamp(T3)))
    assert ({"stamp": 2, "epoch": 1}, 0) == (dict(bench.server.drops), bench.server.answered)


def test_it_remembers_no_more_than_so_many_responses_on_their_way() -> None:
    bench = Bench()
    sent = [one for number in range(MOST_WAITING + 9) for one in bench.ask(wire.request(number))]
    events = [one for one in sent if isinstance(one, SendEvent)]
    assert (MOST_WAITING, 9) == (len(events), bench.server.drops["busy"])
    for one in events:
        list(bench.server.on_sent(one.token, stamp(T3)))
    assert 2 == len(bench.whole(wire.request(1)))
