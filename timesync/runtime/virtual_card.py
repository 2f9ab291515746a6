"""A PTP hardware clock in software, below the runtime's own ``PhcClock``: what the kernel would give of a real one.

Its oscillator is that of a ``VirtualClock``, and so it is laid over the system clock: a step of that is one of its own.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace

from timesync.base.measure import StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.runtime.virtual import MAX_FREQUENCY, VirtualClock
from timesync.runtime.virtual_pulses import Edges, real_ns
from timesync_drivers.clock import ClockState, Progress
from timesync_drivers.cross import CrossReading
from timesync_drivers.phc import ExternalStamp, PhcCapabilities, PhcPin, PinFunction

_TRIES = 5
"""Readings beside another clock, of which the one in the shortest window counts."""

_CAPABILITIES = PhcCapabilities(
    max_adj_ppb=round(MAX_FREQUENCY.ratio * 1e9),
    n_ext_ts=1,
    n_per_out=0,
    n_pins=1,
    pps=False,
    cross_timestamping=False,
    adjust_phase=False,
    max_phase_adj_ns=0,
)


def raw_ns() -> int:
    """CLOCK_MONOTONIC_RAW, ns."""
    return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


class VirtualSlot:
    """Where a card is plugged in, or not; what is plugged in again starts anew."""

    def __init__(self, path: str, make_clock: Callable[[], VirtualClock], make_edges: Callable[[], Edges]) -> None:
        """Plugged in.

        Args:
            path: What the device is called.
            make_clock: The clock of a card that was just switched on.
            make_edges: What is wired to its one external timestamp channel; asked each time it is switched on.
        """
        self.path = path
        self.make_edges = make_edges
        self._make_clock = make_clock
        self._clock: VirtualClock | None = make_clock()

    @property
    def clock(self) -> VirtualClock | None:
        """The clock of the card; None while it is unplugged. Judges know its true offset."""
        return self._clock

    def switch(self, *, plugged: bool) -> None:
        """Plug in or unplug."""
        if plugged != (self._clock is not None):
            self._clock = self._make_clock() if plugged else None

    def open(self, _name: str) -> VirtualCard:
        """Open the device, as ``PhcClock`` wants it. Raises OSError, ENODEV while it is unplugged."""
        if self._clock is None:
            raise _error(errno.ENODEV)
        return VirtualCard(self, self._clock)


class VirtualCard:
    """An open card; ``timesync.runtime.phc_hardware.Hardware`` and its clock in one."""

    writable = True

    def __init__(self, slot: VirtualSlot, clock: VirtualClock) -> None:
        self._slot = slot
        self._clock = clock
        self._edges: Edges | None = None
        self._pin = PhcPin(0, "SDP0", PinFunction.NONE, 0)

    @property
    def path(self) -> str:
        """What the device is called."""
        return self._slot.path

    @property
    def clock(self) -> VirtualCard:
        """To read and steer it."""
        return self

    @property
    def capabilities(self) -> PhcCapabilities:
        """One pin, one channel for external timestamps."""
        return _CAPABILITIES

    # -- the clock

    def read_ns(self) -> int:
        """The reading: TAI. Raises OSError, as all that follow do when it was unplugged."""
        return self._there().read().at.ns()

    def progress(self) -> Progress:
        """Beside CLOCK_MONOTONIC_RAW."""
        window, before, at_ns = self._beside(raw_ns)
        return Progress(at_ns, before + window // 2, window)

    def state(self) -> ClockState:
        """The frequency alone, as the kernel tells of a PTP clock."""
        return ClockState(0, self._there().frequency().to_kernel(), 0, 0, 0, 0, 0, 0)

    def set_frequency(self, scaled_ppm: int) -> int:
        """Set, and give back what was taken; beyond its limit ERANGE, as ptp_clock_adjtime has it."""
        clock = self._there()
        if abs(scaled_ppm) > MAX_FREQUENCY.to_kernel():
            raise _error(errno.ERANGE)
        return clock.adjust_frequency(Rate.from_kernel(scaled_ppm)).to_kernel()

    def step(self, by_ns: int) -> None:
        """Add at once."""
        self._there().step(Duration.from_ns(by_ns))

    def cross(self) -> CrossReading:
        """Between two readings of CLOCK_REALTIME, as PTP_SYS_OFFSET_EXTENDED does it in the kernel."""
        window, before, at_ns = self._beside(real_ns)
        return CrossReading(at_ns, before + window // 2, (window + 1) // 2, "extended")

    def close(self) -> None:
        """Let go."""
        self._edges = None

    # -- its pin and its channel

    def route(self, index: int, function: PinFunction, channel: int) -> PhcPin | None:
        """Give the pin a function; how it was before, None when nothing had to be changed."""
        self._there()
        if index != self._pin.index or function is PinFunction.PEROUT:
            raise _error(errno.EINVAL)
        before, self._pin = self._pin, replace(self._pin, function=function, channel=channel)
        return None if before == self._pin else before

    def set_pin(self, pin: PhcPin) -> None:
        """Set the pin."""
        self.route(pin.index, pin.function, pin.channel)

    def enable_extts(self, channel: int, *, rising: bool, falling: bool) -> bool:
        """Begin to stamp the edges that mark the second; the others do not exist here, so only these can be had."""
        self._there()
        if channel != 0 or falling or not rising:
            raise _error(errno.EOPNOTSUPP)
        self._edges = self._slot.make_edges()
        return True

    def disable_extts(self, channel: int) -> None:
        """Stop."""
        self._there()
        if channel == 0:
            self._edges = None

    def events(self) -> list[ExternalStamp]:
        """The edges since the last call, oldest first."""
        clock = self._there()
        stamps = (clock.stamp_at(at_ns, StampSource.HARDWARE) for at_ns in self._edges.take()) if self._edges else ()
        return [ExternalStamp(0, stamp.at.ns()) for stamp in stamps if stamp is not None]

    def start_perout(self, channel: int, *, start_ns: int, period_ns: int, width_ns: int | None) -> bool:  # noqa: ARG002 - the Protocol's signature
        """It gives out nothing: EOPNOTSUPP."""
        raise _error(errno.EOPNOTSUPP)

    def stop_perout(self, channel: int) -> None:  # noqa: ARG002 - the Protocol's signature
        """It gives out nothing: EOPNOTSUPP."""
        raise _error(errno.EOPNOTSUPP)

    def _beside(self, other: Callable[[], int]) -> tuple[int, int, int]:
        """Between two readings of another clock: how far apart those are, the first of them, and ours."""
        clock = self._there()
        tries = []
        for _ in range(_TRIES):
            before, at_ns, after = other(), clock.read().at.ns(), other()
            if after >= before:
                tries.append((after - before, before, at_ns))
        if not tries:
            raise _error(errno.EAGAIN)  # the other clock was stepped back again and again
        return min(tries)

    def _there(self) -> VirtualClock:
        if self._slot.clock is not self._clock:
            raise _error(errno.ENODEV)
        return self._clock


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
