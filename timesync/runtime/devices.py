"""The time hardware of a Linux machine: ``timesync.devices.Devices`` over the drivers."""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import ZERO, Duration
from timesync.base.utc import LeapTable
from timesync.devices import (
    Feed,
    FeedHandler,
    FeedSpec,
    KernelPulses,
    Outbox,
    Pair,
    PinPulses,
    PulseInput,
    PulseOutput,
    PulseSpec,
    Segment,
)
from timesync.host import ClockError, Trouble
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.pulses import KernelPulseInput, PinEvents, PinPulseInput, PinPulseOutput
from timesync.runtime.stamping import StampClock
from timesync_drivers.cross import METHODS, CrossReading

_TRIES = 3
_FAR_NS = 10_000_000
"""Two readings of a PHC that lie further apart do not frame one of another clock well: the machine was busy."""
_INVERSIONS = 8


class LinuxDevices:
    """What ``timesync.devices.Devices`` asks for. No call waits."""

    def __init__(
        self,
        clocks: Mapping[ClockId, StampClock],
        table: LeapTable,
        *,
        real_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_REALTIME),
    ) -> None:
        """Nothing is opened yet.

        Args:
            clocks: The host's clocks by name; they may come later.
            table: TAI - UTC.
            real_ns: CLOCK_REALTIME.
        """
        self._clocks = clocks
        self._table = table
        self._real_ns = real_ns
        self._events: dict[ClockId, PinEvents] = {}

    def open_pulses(self, spec: PulseSpec, clock: ClockId) -> PulseInput:
        """Begin to take edges. Raises ClockError."""
        match spec:
            case KernelPulses():
                return KernelPulseInput(spec, self._clock(clock))
            case PinPulses():
                return PinPulseInput(spec, self._pin_events(spec.phc))
            case _:
                assert_never(spec)

    def open_output(self, phc: ClockId, channel: int, pin: int | None, width: Duration) -> PulseOutput:
        """Give out a pulse at each full second of a hardware clock. Raises ClockError."""
        return PinPulseOutput(self._phc(phc), channel, pin, width)

    def read_pair(self, local: ClockId, remote: ClockId) -> Pair:
        """Read two clocks together. Raises ClockError.

        A hardware clock and one that kernel timestamps can be placed on: by the driver's best way. Two hardware
        clocks: one between two readings of the other, so that their rates drop out. Others follow CLOCK_REALTIME
        by a map, and one reading of that serves both.
        """
        near, far = self._clock(local), self._clock(remote)
        match near, far:
            case PhcClock(), PhcClock():
                return self._phc_pair(near, far)
            case PhcClock(), _:
                reading = near.cross()
                return _joined(near.stamp_of(reading), _at(far, reading), reading)
            case _, PhcClock():
                reading = far.cross()
                return _joined(_at(near, reading), far.stamp_of(reading), reading)
            case _:
                now_ns = self._real_ns()
                stamps = near.stamp_at(now_ns, StampSource.USER), far.stamp_at(now_ns, StampSource.USER)
                return _pair(*stamps, ZERO, "read")

    def open_feed(self, spec: FeedSpec, clock: ClockId, handler: FeedHandler) -> Feed:
        """Open a stream of bytes, on a running loop. Raises OSError."""
        from timesync.runtime.feeds import open_feed

        return open_feed(spec, self._clock(clock), handler)

    def open_segment(self, unit: int, *, create: bool) -> Segment:
        """Attach a shared memory segment. Raises ClockError."""
        from timesync.runtime.segments import open_segment

        return open_segment(unit, create=create)

    def open_outbox(self, path: str) -> Outbox:
        """A Unix datagram socket towards ``path``."""
        from timesync.runtime.segments import open_outbox

        return open_outbox(path)

    def stamp(self, clock: ClockId, kernel_ns: int) -> Stamp | None:
        """What a clock read when CLOCK_REALTIME read ``kernel_ns``; None when unknown."""
        found = self._clocks.get(clock)
        return None if found is None else found.stamp_at(kernel_ns, StampSource.KERNEL)

    def kernel_ns(self, clock: ClockId, stamp: Stamp) -> int | None:
        """What CLOCK_REALTIME read at a recent stamp of a clock; None when unknown.

        The clock's own map is turned round by following it: each clock runs within some percent of
        CLOCK_REALTIME, so the error shrinks by as much with every turn.
        """
        found = self._clocks.get(clock)
        if found is None:
            return None
        now_ns = self._real_ns()
        present = found.stamp_at(now_ns, StampSource.USER)
        if present is None:
            return None
        guess = now_ns - (present.at - stamp.at).ns()
        for _ in range(_INVERSIONS):
            there = found.stamp_at(guess, StampSource.USER)
            if there is None or there.epoch != stamp.epoch:
                return None
            error = (stamp.at - there.at).ns()
            if not error:
                return guess
            guess += error
        return guess

    def temperature(self, path: str) -> float:
        """Degrees Celsius, from a file of thousandths. Raises OSError."""
        text = Path(path).read_text("ascii", errors="replace").strip()
        try:
            return int(text) / 1000
        except ValueError:
            raise OSError(errno.EINVAL, f"{path} holds {text[:20]!r} and not thousandths of a degree") from None

    def _phc_pair(self, local: PhcClock, remote: PhcClock) -> Pair:
        for _ in range(_TRIES):
            first, between, last = local.cross(), remote.cross(), local.cross()
            before = between.system_ns - first.system_ns
            after = last.system_ns - between.system_ns
            if 0 <= before <= _FAR_NS and 0 <= after <= _FAR_NS:
                break
        else:
            raise ClockError(
                Trouble.UNSUPPORTED,
                f"the clocks {local.id} and {remote.id} could not be read together",
                "the machine was too busy, or its system clock was stepped: it is tried again",
            )
        # From either side, so that the rate of the local clock drops out where the two sides are alike.
        near_ns = (first.device_ns + before + last.device_ns - after) // 2
        half_window = (first.half_window_ns + last.half_window_ns + 1) // 2 + between.half_window_ns
        worst = max((first, between, last), key=lambda one: METHODS.index(one.method))
        near = local.stamp_of(replace(between, device_ns=near_ns))
        return _pair(near, remote.stamp_of(between), Duration.from_ns(half_window), worst.method)

    def _clock(self, clock: ClockId) -> StampClock:
        found = self._clocks.get(clock)
        if found is None:
            raise ClockError(
                Trouble.GONE,
                f"the clock {clock} is not there",
                "it is taken up as soon as its device appears",
            )
        return found

    def _phc(self, clock: ClockId) -> PhcClock:
        found = self._clock(clock)
        if isinstance(found, PhcClock):
            return found
        raise ClockError(
            Trouble.UNSUPPORTED,
            f"the clock {clock} is a {found.kind} clock and has no pins",
            "name a clock that is the PTP hardware clock of a card",
        )

    def _pin_events(self, phc: ClockId) -> PinEvents:
        found = self._phc(phc)
        events = self._events.get(phc)
        if events is None or events.clock is not found:
            events = self._events[phc] = PinEvents(found)
        return events


def _at(clock: StampClock, reading: CrossReading) -> Stamp | None:
    return clock.stamp_at(reading.system_ns, StampSource.KERNEL)


def _joined(local: Stamp | None, remote: Stamp | None, reading: CrossReading) -> Pair:
    return _pair(local, remote, Duration.from_ns(reading.half_window_ns), reading.method)


def _pair(local: Stamp | None, remote: Stamp | None, uncertainty: Duration, method: str) -> Pair:
    if local is None or remote is None:
        raise ClockError(
            Trouble.UNSUPPORTED,
            "the two clocks cannot be compared right now, next to a step or a leap second",
            "it is tried again",
        )
    return Pair(local, remote, uncertainty, method)
