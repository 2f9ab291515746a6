"""Pulses in software: edges at the full seconds of the system clock's time, stamped as the kernel would stamp them.

Nothing runs between the questions: which edges have been is worked out when somebody asks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from timesync.base.measure import StampSource
from timesync.base.time import NS_PER_S, SCALE, UNITS_PER_S, Duration, Instant, Tai
from timesync.base.utc import LeapTable
from timesync.devices import Pulse
from timesync.host import ClockError, Trouble
from timesync.runtime.stamping import StampClock
from timesync.runtime.virtual import Gaussian

_KEPT_S = 16
"""An edge that nobody asked for within that time is forgotten; virtual clocks cannot place it any more."""
_AHEAD_S = 2
_SEQUENCES = 1 << 32


def real_ns() -> int:
    """CLOCK_REALTIME, ns since 1970, UTC."""
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


class PulseLine(Protocol):
    """A wire with a pulse a second."""

    def present(self) -> bool:
        """Whether the device that stamps it is there."""
        ...

    def lateness(self, second: int) -> Duration | None:
        """How much later than this TAI second its edge is; None when there is none."""
        ...


class Edges:
    """The edges of a line as they become past, each once, with the error of its stamp."""

    def __init__(
        self,
        line: PulseLine,
        table: LeapTable,
        noise_s: float,
        rng: Gaussian,
        now_ns: Callable[[], int] = real_ns,
    ) -> None:
        """From the next second on.

        Args:
            line: The wire.
            table: TAI - UTC.
            noise_s: Standard deviation of a stamp.
            rng: For that.
            now_ns: CLOCK_REALTIME.
        """
        self._line = line
        self._table = table
        self._noise_s = noise_s
        self._rng = rng
        self._now_ns = now_ns
        self._second = self._present() + 1
        self._coming: int | None = None

    def take(self) -> list[int]:
        """The stamps (CLOCK_REALTIME, ns) of the edges since the last call, oldest first."""
        found: list[int] = []
        second = self._present()
        if not -_AHEAD_S <= second - self._second <= _KEPT_S:
            # Nobody asked for long, or the system clock was stepped.
            self._second = second
            self._coming = None
        while True:
            if self._coming is None:
                if self._second > second:
                    return found
                late = self._line.lateness(self._second)
                if late is not None:
                    self._coming = self._stamp(Instant(self._second * UNITS_PER_S) + late)
                self._second += 1
            elif self._coming > self._now_ns():
                return found
            else:
                found.append(self._coming)
                self._coming = None

    def _present(self) -> int:
        """The TAI second that has begun."""
        now: Instant[Tai] = self._table.tai(Instant.from_ns(self._now_ns()))
        return now.scaled_ns // UNITS_PER_S

    def _stamp(self, at: Instant[Tai]) -> int:
        error = Duration(round(self._rng.gauss(0.0, self._noise_s) * NS_PER_S * SCALE))
        return self._table.utc(at + error).ns()


class VirtualPulses:
    """A PPS device in software; ``timesync.devices.PulseInput``. Like the kernel's it keeps the newest edge alone."""

    def __init__(self, path: str, line: PulseLine, edges: Edges, clock: StampClock) -> None:
        """Open it. Raises ClockError, GONE.

        Args:
            path: What the device is called.
            line: Whether it is there.
            edges: What it stamps.
            clock: The clock whose readings are asked for.
        """
        self._path = path
        self._line = line
        self._edges = edges
        self._clock = clock
        self._sequence = 0
        self._open = True
        self._check()

    def pulses(self) -> Sequence[Pulse]:
        """The newest edge since the last call. Raises ClockError; GONE for good once the device was away."""
        self._check()
        edges = self._edges.take()
        if not edges:
            return ()
        self._sequence = (self._sequence + len(edges)) % _SEQUENCES
        stamp = self._clock.stamp_at(edges[-1], StampSource.KERNEL)
        return () if stamp is None else (Pulse(stamp, self._sequence),)

    def close(self) -> None:
        """Let go of the device."""
        self._open = False

    def _check(self) -> None:
        self._open = self._open and self._line.present()
        if not self._open:
            raise ClockError(
                Trouble.GONE, f"the PPS device {self._path} is gone", "it is taken up as soon as it is there"
            )
