"""Pulses in software: which edges have been, what their stamps say, and a device that comes and goes."""

from __future__ import annotations

from random import Random

import pytest
from linux_support import NOW_NS, TABLE, S

from timesync.base.ids import ClockId
from timesync.base.time import ZERO, Duration, Instant
from timesync.devices import KernelPulses
from timesync.host import ClockError, Trouble
from timesync.runtime.system_clock import SystemClock
from timesync.runtime.virtual import VirtualClock, VirtualSettings
from timesync.runtime.virtual_devices import VirtualDevices, VirtualPps
from timesync.runtime.virtual_pulses import Edges, VirtualPulses, real_ns
from timesync_drivers.clock import KernelClock

TAI_UTC = 37
"""At ``NOW_NS``, in November 2023 (IERS Bulletin C 52)."""


class Line:
    """A wire whose pulses are late by what is said for each second of UTC; on time where nothing is."""

    def __init__(self) -> None:
        self.there = True
        self.late: dict[int, Duration | None] = {}

    def present(self) -> bool:
        return self.there

    def lateness(self, second: int) -> Duration | None:
        return self.late.get(second - TAI_UTC, ZERO)


class Wire:
    """Edges of a line at a time that the test sets."""

    def __init__(self, noise_s: float = 0.0) -> None:
        self.line = Line()
        self.now_ns = NOW_NS + S // 2
        self.edges = Edges(self.line, TABLE, noise_s, Random(1), lambda: self.now_ns)

    def after(self, seconds: float) -> list[int]:
        self.now_ns += round(seconds * S)
        return self.edges.take()


def test_each_full_second_has_one_edge_and_none_is_of_before_the_opening() -> None:
    wire = Wire()

    assert [] == wire.after(0)
    assert [] == wire.after(0.499)
    assert [NOW_NS + S] == wire.after(0.001)
    assert [] == wire.after(0)
    assert [NOW_NS + 2 * S, NOW_NS + 3 * S, NOW_NS + 4 * S] == wire.after(3)


def test_an_edge_that_is_late_is_not_told_before_it_was() -> None:
    wire = Wire()
    second = NOW_NS // S + 1
    wire.line.late[second] = Duration.from_ns(2_000_000)
    wire.line.late[second + 1] = None

    assert [] == wire.after(0.501)
    assert [NOW_NS + S + 2_000_000] == wire.after(0.001)
    assert [NOW_NS + 3 * S] == wire.after(2)


def test_stamps_have_the_noise_that_was_asked_for() -> None:
    wire = Wire(noise_s=1e-6)
    stamps = [stamp for _ in range(400) for stamp in wire.after(1)]
    errors = [(stamp + S // 2) % S - S // 2 for stamp in stamps]
    rms = (sum(error * error for error in errors) / len(errors)) ** 0.5

    assert 400 == len(stamps)
    assert 900 <= rms <= 1100
    assert abs(sum(errors) / len(errors)) < 200


def test_what_nobody_asked_for_in_time_is_forgotten() -> None:
    wire = Wire()

    assert [NOW_NS + 100 * S] == wire.after(99.6)


def test_pulses_stay_at_full_seconds_when_the_system_clock_is_set_back() -> None:
    wire = Wire()
    assert [NOW_NS + S] == wire.after(0.6)

    wire.now_ns -= 1000 * S
    again = wire.after(0)
    assert all(stamp <= wire.now_ns for stamp in again)
    assert [NOW_NS - 998 * S] == wire.after(1)


class Bench:
    """A PPS device over the real clock of this machine, which is only read."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.base = SystemClock(ClockId("system"), KernelClock(), TABLE)
        self.clock = VirtualClock(
            ClockId("bench"), self.base, TABLE, VirtualSettings(offset=Duration.from_ns(7_000_000)), Random(1)
        )
        self.wire.now_ns = real_ns() - 5 * S
        self.edges = Edges(self.wire.line, TABLE, 0.0, Random(1), lambda: self.wire.now_ns)


def test_the_newest_edge_alone_is_told_with_the_count_of_all() -> None:
    bench = Bench()
    device = VirtualPulses("/dev/pps-x", bench.wire.line, bench.edges, bench.base)
    assert () == device.pulses()

    bench.wire.now_ns += 3 * S
    (pulse,) = device.pulses()

    full = bench.wire.now_ns // S * S
    assert (3, "system") == (pulse.sequence, pulse.stamp.clock)
    assert TABLE.tai(Instant.from_ns(full)) == pulse.stamp.at
    assert () == device.pulses()


def test_a_device_that_was_away_has_to_be_opened_again() -> None:
    bench = Bench()
    devices = VirtualDevices(
        {ClockId("bench"): bench.clock}, TABLE, {"/dev/pps-x": VirtualPps(bench.wire.line, lambda: bench.edges)}
    )
    spec = KernelPulses("/dev/pps-x")
    device = devices.open_pulses(spec, ClockId("bench"))
    bench.wire.line.there = False

    for attempt in (device.pulses, lambda: devices.open_pulses(spec, ClockId("bench"))):
        with pytest.raises(ClockError, match="the PPS device /dev/pps-x is gone") as refused:
            attempt()
        assert Trouble.GONE is refused.value.trouble

    bench.wire.line.there = True
    with pytest.raises(ClockError):
        device.pulses()
    assert () == devices.open_pulses(spec, ClockId("bench")).pulses()


def test_other_devices_are_those_of_the_kernel_and_the_other_edge_does_not_exist() -> None:
    bench = Bench()
    devices = VirtualDevices(
        {ClockId("bench"): bench.clock}, TABLE, {"/dev/pps-x": VirtualPps(bench.wire.line, lambda: bench.edges)}
    )

    with pytest.raises(ClockError, match="the PPS device /nowhere/pps0 cannot be used"):
        devices.open_pulses(KernelPulses("/nowhere/pps0"), ClockId("bench"))
    with pytest.raises(ClockError, match="assert edges only") as refused:
        devices.open_pulses(KernelPulses("/dev/pps-x", "clear"), ClockId("bench"))
    assert Trouble.UNSUPPORTED is refused.value.trouble
