"""The line through readings of a hardware clock, its watch beside CLOCK_MONOTONIC_RAW, and its timescale."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linux_support import LEAP_DAY, NOW_NS, TABLE, S

from timesync.base.time import Instant
from timesync.runtime.phc_map import HISTORY_NS, PhcMap
from timesync.runtime.phc_scale import PhcScale
from timesync.runtime.phc_watch import PhcWatch
from timesync_drivers.clock import Progress
from timesync_drivers.cross import CrossReading

MS = 1_000_000


def _reading(device_ns: int, system_ns: int) -> CrossReading:
    return CrossReading(device_ns, system_ns, 100, "extended")


# --- the map


@given(
    steps=st.lists(st.tuples(st.integers(MS, 2 * S), st.integers(-900, 900)), min_size=1, max_size=30),
    where=st.floats(0, 1),
)
def test_between_readings_the_error_is_that_of_the_rates_change_within(
    steps: list[tuple[int, int]], where: float
) -> None:
    """Between any two readings the clock ran at one rate, so that what lies between is exact to the nanosecond."""
    line = PhcMap()
    system, device = NOW_NS, 7 * S
    line.add(_reading(device, system))
    truth = [(system, device)]
    for span, ppm in steps:
        system, device = system + span, device + span + span * ppm // 1_000_000
        line.add(_reading(device, system))
        truth.append((system, device))
    for (system_a, device_a), (system_b, device_b) in pairwise(truth):
        asked = system_a + round((system_b - system_a) * where)
        found = line.device_at(asked)
        if system - system_a > HISTORY_NS:
            assert found is None or asked >= system - HISTORY_NS
            continue
        assert found is not None
        assert abs(found - (device_a + (device_b - device_a) * (asked - system_a) / (system_b - system_a))) <= 1


def test_the_rate_is_that_of_the_readings() -> None:
    line, rng = PhcMap(), random.Random(1)
    assert line.rate == 1.0
    for second in range(10):
        noise = rng.randrange(-100, 101)
        line.add(_reading(7 * S + second * (S + 25_000) + noise, NOW_NS + second * S))
    assert (line.rate - 1) * 1e6 == pytest.approx(25, abs=0.1)
    assert line.covers(NOW_NS + 9 * S + 15 * MS)
    assert not line.covers(NOW_NS + 9 * S + 25 * MS)


def test_a_known_change_of_rate_is_taken_at_once_and_then_measured() -> None:
    line = PhcMap()
    for second in range(5):
        line.add(_reading(7 * S + second * (S + 25_000), NOW_NS + second * S))
    line.rate_changed(-30e-6)
    assert (line.rate - 1) * 1e6 == pytest.approx(-5)
    start = line.newest
    assert start is not None
    for second in range(1, 5):  # it was 31 ppm in truth
        line.add(_reading(start.device_ns + second * (S - 6_000), start.system_ns + second * S))
    assert (line.rate - 1) * 1e6 == pytest.approx(-6, abs=0.01)


@pytest.mark.parametrize(("device_by", "system_by"), [(-S, S), (S, -S), (S, 0)])
def test_readings_that_contradict_each_other_start_anew(device_by: int, system_by: int) -> None:
    line = PhcMap()
    line.add(_reading(7 * S, NOW_NS))
    line.add(_reading(7 * S + device_by, NOW_NS + system_by))
    asked = NOW_NS + system_by
    assert line.device_at(asked) == 7 * S + device_by
    assert line.device_at(asked - 1) is None


def test_nothing_is_known_of_other_times() -> None:
    line = PhcMap()
    assert line.device_at(NOW_NS) is None
    assert not line.covers(NOW_NS)
    line.add(_reading(7 * S, NOW_NS))
    assert line.device_at(NOW_NS - 1) is None
    assert line.device_at(NOW_NS + 30 * MS) is None
    assert line.device_at(NOW_NS + 10 * MS) == 7 * S + 10 * MS


# --- the watch


class Ticking:
    """A hardware clock of 60 ppm, read with noise, and steered now and then."""

    def __init__(self) -> None:
        self.rng = random.Random(3)
        self.raw_ns, self.phc_ns, self.adjusted = 0, 0, 0.0
        self.watch = PhcWatch(100_000, self.progress(), 0)

    def progress(self) -> Progress:
        window = self.rng.randrange(2_000, 40_000)
        return Progress(self.phc_ns + self.rng.randrange(-window // 2, window // 2), self.raw_ns, window)

    def run(self, seconds: float) -> None:
        elapsed = round(seconds * S)
        self.raw_ns += elapsed
        self.phc_ns += elapsed + round(elapsed * ((1 + 60e-6) * (1 + self.adjusted) - 1))

    def adjust(self, ratio: float) -> None:
        self.adjusted = ratio
        self.watch.rate_is(ratio, self.raw_ns, ours=True)


def test_an_hour_of_steering_and_noise_raises_no_alarm() -> None:
    clock = Ticking()
    for turn in range(3600):
        if turn % 7 == 0:
            clock.adjust(clock.rng.uniform(-400e-6, 400e-6))
        clock.run(clock.rng.uniform(0.05, 1.5))
        assert clock.watch.check(clock.progress(), 0) is None, turn
    assert clock.watch.estimate(clock.raw_ns + S) - clock.phc_ns - S == pytest.approx(
        S * ((1 + 60e-6) * (1 + clock.adjusted) - 1), abs=40_000
    )


@pytest.mark.parametrize("by_ns", [-120_000, 120_000, 10**18])
def test_a_step_is_seen_within_a_check(by_ns: int) -> None:
    clock = Ticking()
    for _ in range(5):
        clock.run(1)
        assert clock.watch.check(clock.progress(), 0) is None
    clock.phc_ns += by_ns
    clock.run(1)
    moved = clock.watch.check(clock.progress(), 0)
    assert moved is not None
    assert abs(moved - by_ns) < 45_000
    clock.run(1)
    assert clock.watch.check(clock.progress(), 0) is None


def test_a_first_reading_on_a_busy_machine_is_no_alarm_for_ever() -> None:
    clock = Ticking()
    # A pause in the middle of a reading: the clock seems to be 900 us on, within a window that admits it.
    clock.run(1)
    busy = Progress(clock.phc_ns + 900_000, clock.raw_ns, 2_000_000)
    assert clock.watch.check(busy, 0) is None
    alarms = 0
    for _ in range(30):
        clock.run(1)
        alarms += clock.watch.check(clock.progress(), 0) is not None
    assert 0 == alarms


def test_a_rate_that_was_learnt_wrong_is_learnt_anew() -> None:
    clock = Ticking()
    for _ in range(5):
        clock.run(1)
        clock.watch.check(clock.progress(), 0)
    alarms = []
    for _ in range(20):
        clock.run(1)
        clock.phc_ns += 150_000  # as an oscillator does that has changed by 150 ppm
        alarms.append(clock.watch.check(clock.progress(), 0) is not None)
    assert alarms[0]
    assert not any(alarms[5:])


# --- the timescale


def test_a_clock_on_tai_needs_no_table() -> None:
    scale = PhcScale("tai", TABLE)
    scale.settle(LEAP_DAY * S)
    assert scale.tai(123) == Instant.from_ns(123)
    assert scale.reading_ns(Instant.from_ns(123)) == 123
    assert scale.due_s(LEAP_DAY * S + 40 * S) == 0
    assert scale.leap_step_s(LEAP_DAY * S + 36 * S) == 0


def test_a_clock_on_utc_is_due_for_a_step_when_the_leap_second_begins() -> None:
    """TAI - UTC went from 36 to 37 s at the start of 2017 (IERS Bulletin C 52): 23:59:60 UTC is one second long."""
    scale = PhcScale("utc", TABLE)
    scale.settle((LEAP_DAY - 100) * S)
    midnight = LEAP_DAY * S  # what a clock that was not stepped shows when the leap second begins
    assert scale.tai(midnight).ns() == (LEAP_DAY + 36) * S
    assert scale.due_s(midnight - 1) == 0
    assert scale.due_s(midnight) == -1
    assert scale.leap_step_s(midnight - 6 * S) == 0
    assert scale.leap_step_s(midnight - 4 * S) == -1
    scale.leapt(-1)
    assert scale.tai(midnight - S).ns() == (LEAP_DAY + 36) * S
    assert scale.due_s(midnight - S) == 0
    assert scale.leap_step_s(midnight) == 0
    assert scale.reading_ns(scale.tai(midnight + 5 * S)) == midnight + 5 * S
