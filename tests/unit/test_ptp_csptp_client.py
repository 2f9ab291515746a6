"""A client of CSPTP: what it asks, what it believes, and what it makes of four timestamps and two corrections."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import pairwise

import csptp_support as wire
import pytest
from csptp_support import SERVER, STRANGER, stamp
from sim_support import leap_table

from timesync.base.ids import ClockId, ClockIdentity, LinkId, SourceId
from timesync.base.machine import Dropped, Measured, Status
from timesync.base.measure import Leap, Measurement, SourceStatus, Stamp, StampSource
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.csptp.client import ClientEffect, ClientSettings, CsptpClient
from timesync.ptp.effect import SendEvent

OURS = "1122334455667788"
T1 = 1_767_225_637_000_000_000
"""2026-01-01, TAI."""
SLOW_NS, FAST_NS, HELD_NS = 3_000, 1_000, 50_000


class Bench:
    """A client whose clock is right, asking a server that is ``ahead_ns`` of it."""

    def __init__(self, *, poll_max: int = 0, ahead_ns: int = 0) -> None:
        settings = ClientSettings(
            source=SourceId("csptp:server"),
            link=LinkId("csptp:server"),
            local=wire.SYSTEM,
            server=SERVER,
            domain=wire.DOMAIN,
            poll_min=0,
            poll_max=poll_max,
            stamp_noise_s=1e-8,
            identity=ClockIdentity(bytes.fromhex(OURS)),
        )
        self.numbers = iter(range(0x0100, 0xFFFF, 0x0101))
        self.client = CsptpClient(settings, leap_table(), random.Random(5), self._entropy)
        self.ahead_ns = ahead_ns
        self.now: Instant[Mono] = Instant(0)
        self.asked: list[SendEvent] = []
        self.measured: list[Measurement] = []
        self.dropped: list[str] = []
        self.said: list[SourceStatus] = []

    def _entropy(self, size: int) -> bytes:
        return next(self.numbers).to_bytes(size, "big")

    def take(self, effects: Iterable[ClientEffect]) -> None:
        for effect in effects:
            match effect:
                case SendEvent():
                    self.asked.append(effect)
                case Measured():
                    self.measured.append(effect.measurement)
                case Dropped():
                    self.dropped.append(effect.reason)
                case Status():
                    self.said.append(effect.status)

    def wake(self) -> None:
        """Let the time of the next deadline come."""
        self.now = max(self.now, self.client.deadline())
        self.take(self.client.on_deadline(self.now))

    def ask(self) -> int:
        """Wait for the next request; returns its number."""
        asked = len(self.asked)
        while len(self.asked) == asked:
            self.wake()
        return int.from_bytes(self.asked[-1].data[30:32], "big")

    def sent(self, at: Stamp | None = None) -> None:
        self.take(self.client.on_sent(self.asked[-1].token, at or stamp(T1)))

    def hear(self, data: bytes, at: Stamp | None = None, source: str = SERVER) -> None:
        self.take(self.client.on_message(data, at, source))

    @property
    def t2(self) -> int:
        return T1 + SLOW_NS + self.ahead_ns

    @property
    def t3(self) -> int:
        return self.t2 + HELD_NS

    @property
    def t4(self) -> Stamp:
        return stamp(T1 + SLOW_NS + HELD_NS + FAST_NS)

    def exchange(self, **more: object) -> None:
        """A whole two-step exchange."""
        number = self.ask()
        self.sent()
        self.hear(wire.response(number, self.t2, **more), self.t4)  # type: ignore[arg-type]  # keywords
        self.hear(wire.follow_up(number, self.t3))


def test_a_request_goes_to_the_server_with_a_random_number() -> None:
    bench = Bench()
    first = bench.ask()
    bench.ask()
    assert [wire.request(0x0100), wire.request(0x0201)] == [event.data for event in bench.asked]
    assert 0x0100 == first
    assert {SERVER} == {event.destination for event in bench.asked}
    assert len(bench.asked) == len({event.token for event in bench.asked})


@pytest.mark.parametrize("ahead_ns", [0, 700_000, -700_000])
def test_four_timestamps_give_offset_and_delay(ahead_ns: int) -> None:
    bench = Bench(ahead_ns=ahead_ns)
    bench.exchange()
    (found,) = bench.measured
    # The way there is 2 us longer than the way back: half of that is an error nobody can see.
    assert -ahead_ns - (SLOW_NS - FAST_NS) // 2 == found.offset.ns()
    assert found.delay is not None
    assert (SLOW_NS + FAST_NS) // 2 == found.delay.ns()
    assert T1 + (SLOW_NS + HELD_NS + FAST_NS) // 2 == found.at.ns()
    assert (wire.SYSTEM, ClockId("csptp:server"), 0) == (found.local, found.remote, found.epoch)
    assert (1, 1) == (bench.client.status().reach, bench.client.status().received)


def test_corrections_of_both_ways_are_taken_out() -> None:
    bench = Bench()
    number = bench.ask()
    bench.sent()
    bench.hear(wire.response(number, bench.t2, there_ns=2_500, back_ns=300), bench.t4)
    bench.hear(wire.follow_up(number, bench.t3, correction_ns=200))
    (found,) = bench.measured
    # What bridges said they held is gone: 500 ns are left of either way.
    assert (0, Duration.from_ns(500)) == (found.offset.ns(), found.delay)


def test_one_step_answers_need_no_follow_up() -> None:
    bench = Bench()
    number = bench.ask()
    bench.sent()
    bench.hear(wire.response(number, bench.t2, t3_ns=bench.t3), bench.t4)
    assert [-1_000] == [found.offset.ns() for found in bench.measured]


@pytest.mark.parametrize("order", ["fra", "far", "rfa", "raf", "arf", "afr"])
def test_follow_up_response_and_transmit_stamp_come_in_any_order(order: str) -> None:
    bench = Bench()
    number = bench.ask()
    acts = {
        "f": lambda: bench.hear(wire.follow_up(number, bench.t3)),
        "r": lambda: bench.hear(wire.response(number, bench.t2), bench.t4),
        "a": bench.sent,
    }
    for letter in order:
        assert [] == bench.measured
        acts[letter]()
    assert [-1_000] == [found.offset.ns() for found in bench.measured]
    assert [] == bench.dropped


def test_the_status_says_how_good_the_server_is() -> None:
    bench = Bench()
    bench.exchange(status=wire.status(6, 0x23, 2), flags=wire.PTP_TIMESCALE | wire.LEAP_61)
    quality = bench.measured[-1].quality
    assert quality is not None
    # Two steps from a primary grandmaster that is within 1 us (IEEE 1588-2019, tables 4 and 5), and one to us.
    assert (3, 1e-6, Leap.INSERT) == (quality.stratum, round(quality.root_dispersion.s(), 12), quality.leap)
    bench.exchange(status=wire.status(248, 0xFE), flags=wire.PTP_TIMESCALE | wire.LEAP_59)
    quality = bench.measured[-1].quality
    assert quality is not None
    assert (10, Leap.DELETE) == (quality.stratum, quality.leap)
    bench.exchange(flags=wire.PTP_TIMESCALE | wire.UNCERTAIN)
    assert [Leap.UNKNOWN] == [one.quality.leap for one in bench.measured[-1:] if one.quality is not None]
    assert Leap.UNKNOWN is bench.client.status().leap


def test_time_that_is_no_tai_is_taken_as_utc() -> None:
    bench = Bench(ahead_ns=-37_000_000_000)
    bench.exchange(flags=0)
    assert [-1_000] == [found.offset.ns() for found in bench.measured]


def test_utc_next_to_a_leap_second_says_nothing() -> None:
    # 2016-12-31 23:59:60 UTC was the second of TAI that began 36 s after 1483228800.
    leap_ns = 1_483_228_836_000_000_000
    bench = Bench()
    number = bench.ask()
    bench.sent(stamp(leap_ns))
    bench.hear(wire.response(number, leap_ns - 36_000_000_000, flags=0), stamp(leap_ns + 60_000))
    bench.hear(wire.follow_up(number, leap_ns - 36_000_000_000 + 50_000))
    assert (["leap-second"], []) == (bench.dropped, bench.measured)


def test_a_server_that_follows_us_is_not_followed() -> None:
    bench = Bench()
    bench.exchange(status=wire.status(identity=OURS))
    assert (["loop"], [], "it takes its time from this machine") == (
        bench.dropped,
        bench.measured,
        bench.client.status().excluded,
    )
    bench.exchange(status=wire.status())
    assert (1, None) == (len(bench.measured), bench.client.status().excluded)


def test_messages_of_others_are_nothing_to_us() -> None:
    bench = Bench()
    number = bench.ask()
    bench.sent()
    bench.hear(wire.response(number, bench.t2 + 9), bench.t4, STRANGER)
    bench.hear(wire.follow_up(number, bench.t3), source=STRANGER)
    bench.hear(wire.request(number), bench.t4)  # the server may be a client of ours
    assert ([], []) == (bench.dropped, bench.measured)
    bench.hear(wire.response(number, bench.t2), bench.t4)
    bench.hear(wire.follow_up(number, bench.t3))
    assert [-1_000] == [found.offset.ns() for found in bench.measured]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lambda number, bench: wire.response(number ^ 1, bench.t2), "sequence"),
        (lambda number, bench: wire.follow_up(number ^ 1, bench.t3), "sequence"),
        (lambda number, bench: wire.response(number, bench.t2, domain=129), "sequence"),
        (lambda number, bench: wire.response(number, bench.t2)[:-1], "malformed"),
        (lambda number, bench: b"", "malformed"),
    ],
)
def test_answers_that_are_not_to_the_question_change_nothing(data: object, why: str) -> None:
    bench = Bench()
    number = bench.ask()
    bench.sent()
    bench.hear(data(number, bench), bench.t4)  # type: ignore[operator]  # one of the functions above
    assert [why] == bench.dropped
    bench.hear(wire.response(number, bench.t2), bench.t4)
    bench.hear(wire.follow_up(number, bench.t3))
    assert [-1_000] == [found.offset.ns() for found in bench.measured]


def test_the_first_answer_counts() -> None:
    bench = Bench()
    number = bench.ask()
    bench.hear(wire.response(number, bench.t2), bench.t4)
    bench.hear(wire.response(number, bench.t2 + 400), bench.t4)
    bench.hear(wire.follow_up(number, bench.t3))
    bench.hear(wire.follow_up(number, bench.t3 + 400))
    bench.sent()
    bench.hear(wire.follow_up(number, bench.t3))
    assert (["duplicate", "duplicate", "late"], [-1_000]) == (
        bench.dropped,
        [found.offset.ns() for found in bench.measured],
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"t4": 5_000_000}, None),
        ({"t4": 1_100_000_000}, "delay"),
        ({"t4": 0}, "delay"),
        ({"t3": -1}, "response"),
        ({"t3": 1_000_000_001, "t4": 1_000_010_000}, "response"),
        ({"there": 1_000_000_001}, "correction"),
        ({"there": -1_000_000_001}, "correction"),
        ({"back": 1_000_000_001}, "correction"),
    ],
)
def test_times_that_cannot_be_are_refused(change: dict[str, int], why: str | None) -> None:
    """Of a request that is answered after 50 us, over ways of 1 us."""
    bench = Bench()
    number = bench.ask()
    bench.sent()
    t4 = stamp(T1 + change.get("t4", 52_000))
    there, back = change.get("there", 0), change.get("back", 0)
    bench.hear(wire.response(number, T1 + 1_000, there_ns=there, back_ns=back), t4)
    bench.hear(wire.follow_up(number, T1 + 1_000 + change.get("t3", 50_000)))
    assert (0 if why else 1, [why] if why else []) == (len(bench.measured), bench.dropped)


def test_a_round_trip_a_little_below_zero_counts_as_none() -> None:
    bench = Bench()
    number = bench.ask()
    bench.sent()
    bench.hear(wire.response(number, T1), stamp(T1 + 50_000 - 60))  # stamps of 10 ns noise each
    bench.hear(wire.follow_up(number, T1 + 50_000))
    assert [(-30, Duration(0))] == [(found.offset.ns(), found.delay) for found in bench.measured]


@pytest.mark.parametrize(("t1", "t4"), [(0, 1), (1, 0)])
def test_a_step_of_our_clock_between_the_stamps_spoils_them(t1: int, t4: int) -> None:
    bench = Bench()
    number = bench.ask()
    bench.sent(stamp(T1, epoch=t1))
    bench.hear(wire.response(number, bench.t2, t3_ns=bench.t3), stamp(bench.t4.at.ns(), epoch=t4))
    assert (["epoch"], []) == (bench.dropped, bench.measured)


def test_a_step_ends_what_is_on_its_way() -> None:
    bench = Bench()
    bench.take(bench.client.restart())
    assert [] == bench.dropped
    number = bench.ask()
    bench.take(bench.client.restart())
    bench.sent()
    bench.hear(wire.response(number, bench.t2), bench.t4)
    assert (["epoch", "late"], []) == (bench.dropped, bench.measured)


def test_without_stamps_of_the_clock_there_is_no_measurement() -> None:
    other = ClockId("eth0")
    bench = Bench()
    bench.ask()
    bench.take(bench.client.on_sent(bench.asked[-1].token, None))
    bench.ask()
    bench.sent(stamp(T1, clock=other))
    number = bench.ask()
    bench.sent()
    bench.hear(wire.response(number, bench.t2), None)
    bench.hear(wire.response(number, bench.t2), stamp(T1, clock=other))
    assert (["stamp"] * 4, []) == (bench.dropped, bench.measured)
    bench.hear(wire.response(number, bench.t2, t3_ns=bench.t3), bench.t4)
    assert 1 == len(bench.measured)


def test_stamps_of_requests_that_were_given_up_are_passed_over() -> None:
    bench = Bench()
    bench.ask()
    bench.ask()
    bench.take(bench.client.on_sent(bench.asked[0].token, stamp(T1)))
    number = int.from_bytes(bench.asked[1].data[30:32], "big")
    bench.hear(wire.response(number, bench.t2, t3_ns=bench.t3), bench.t4)
    assert [] == bench.measured


def test_it_is_told_where_stamps_are_taken() -> None:
    bench = Bench()
    assert bench.client.status().timestamping is None
    number = bench.ask()
    bench.sent(stamp(T1, source=StampSource.HARDWARE))
    bench.hear(wire.response(number, bench.t2, t3_ns=bench.t3), bench.t4)
    assert StampSource.KERNEL is bench.client.status().timestamping


def test_silence_is_counted_and_makes_it_ask_less_often() -> None:
    bench = Bench(poll_max=2)
    times = []
    for _ in range(40):
        bench.ask()
        times.append(bench.now)
    status = bench.client.status()
    assert (0, 40, 0, 4.0) == (status.reach, status.sent, status.received, status.poll_s)
    gaps = [(after - before).s() for before, after in pairwise(times)]
    # At random within a tenth of 1 s, then 2 s, then 4 s.
    assert all(0.9 <= gap <= 1.1 for gap in gaps[:7])
    assert all(1.8 <= gap <= 2.2 for gap in gaps[9:14])
    assert all(3.6 <= gap <= 4.4 for gap in gaps[17:])
    assert len(set(gaps)) > 30
    bench.exchange()
    assert (1, 1.0) == (bench.client.status().reach & 3, bench.client.status().poll_s)


def test_an_answer_is_given_up_after_a_second() -> None:
    bench = Bench(poll_max=4)
    bench.client.set_poll(4, bench.now)
    number = bench.ask()
    asked = bench.now
    bench.sent()
    bench.wake()
    assert Duration.from_s(1) == bench.now - asked
    bench.hear(wire.response(number, bench.t2), bench.t4)
    assert (["late"], 0) == (bench.dropped, bench.client.status().reach)


def test_the_core_says_how_often_within_what_is_configured() -> None:
    bench = Bench(poll_max=3)
    bench.exchange()
    asked = bench.now
    bench.client.set_poll(9, bench.now)
    assert 8.0 == bench.client.status().poll_s
    bench.exchange()
    bench.client.set_poll(-4, bench.now)
    assert 1.0 == bench.client.status().poll_s
    bench.ask()
    assert (bench.now - asked).s() < 2.3


def test_it_asks_at_once_when_told_to_but_not_faster_than_configured() -> None:
    bench = Bench(poll_max=4)
    bench.client.set_poll(4, bench.now)
    bench.exchange()
    asked = bench.now
    bench.client.ask_soon(bench.now)
    bench.ask()
    assert 1.0 == (bench.now - asked).s()


def test_nothing_that_comes_from_the_server_s_address_makes_it_fall() -> None:
    """Answers with octets changed, cut and swapped at random: at most one measurement for each request."""
    rng = random.Random(1588)
    bench = Bench()
    for _ in range(3_000):
        number = bench.ask()
        measured = len(bench.measured)
        bench.sent()
        both = [wire.response(number, bench.t2, status=wire.status()), wire.follow_up(number, bench.t3)]
        rng.shuffle(both)
        for whole in both:
            data = bytearray(whole)
            for _ in range(rng.randrange(3)):
                data[rng.randrange(len(data))] = rng.randrange(256)
            bench.hear(bytes(data[: rng.randrange(len(data))] if rng.random() < 0.1 else data), bench.t4)
        assert len(bench.measured) <= measured + 1
        # Only a flag, of the timescale, can move the time by more than limits and corrections allow: by TAI - UTC.
        assert all(abs(one.offset) <= Duration.from_s(37 + 2) for one in bench.measured[measured:])
        bench.numbers = iter(range(0x0100, 0xFFFF))
    assert len(bench.measured) > 300
    assert len(set(bench.dropped)) >= 5
