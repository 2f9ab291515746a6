"""A clock in software with an error of its own, over a clock that is only read.

For trials without privileges. It is system time seen through a map of straight pieces: its oscillator is off
by a constant and a random walk, and the steering is ours. Kernel timestamps go through the same map, so
everything downstream is real.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import ServingMap
from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Tai
from timesync.base.utc import LeapTable
from timesync.host import ClockLimits, ClockReport
from timesync.runtime.stamping import StampClock

NO_RATE = Rate(0.0)
HISTORY = 16 * UNITS_PER_S
"""How old a kernel timestamp may be, in 2^-16 ns."""
MAX_FREQUENCY = Rate.from_kernel(100_000 << 16)
"""As far as the system clock goes."""
_WALK = UNITS_PER_S
_LONGEST_WALK = 3600


class Gaussian(Protocol):
    """A random stream; ``random.Random`` fits."""

    def gauss(self, mu: float, sigma: float, /) -> float:
        """A number from the normal distribution."""
        ...


@dataclass(frozen=True, slots=True)
class VirtualSettings:
    """What is wrong with a virtual clock.

    Attributes:
        offset: Clock minus base at the start.
        frequency: Frequency error of the oscillator at the start; positive is fast.
        wander: Random walk of that error: its standard deviation after one second, a ratio (1e-9 is 1 ppb).
    """

    offset: Duration = ZERO
    frequency: Rate = NO_RATE
    wander: float = 0.0


@dataclass(frozen=True, slots=True)
class _Piece:
    """From ``base`` on (2^-16 ns of base TAI) the clock is at ``at`` and gains ``excess`` a second."""

    base: int
    at: int
    excess: float
    epoch: int

    def map(self, base: int) -> int:
        """The float touches only what is gained, so a piece of an hour is still exact to the unit."""
        elapsed = base - self.base
        return self.at + elapsed + round(elapsed * self.excess)


class VirtualClock:
    """A clock with an offset, a frequency error and wander, over another clock."""

    def __init__(
        self, clock: ClockId, base: StampClock, table: LeapTable, settings: VirtualSettings, rng: Gaussian
    ) -> None:
        """Start now.

        Args:
            clock: Its name in the configuration.
            base: The clock it is laid over; never changed.
            table: TAI - UTC, for the serving map.
            settings: What is wrong with it.
            rng: For the wander.
        """
        self._id = clock
        self._base = base
        self._table = table
        self._rng = rng
        self._wander = settings.wander
        self._oscillator = settings.frequency.ratio
        self._steering = NO_RATE
        now = base.read().at.scaled_ns
        self._walk_at = now + _WALK
        self._pieces = [_Piece(now, now + settings.offset.scaled_ns, self._excess(), 0)]
        self.last_report: ClockReport | None = None

    @property
    def id(self) -> ClockId:
        """Its name in the configuration."""
        return self._id

    @property
    def kind(self) -> str:
        """``virtual``."""
        return "virtual"

    @property
    def epoch(self) -> int:
        """How many times it was stepped; a step of the base clock is one of this clock too."""
        return self._base.epoch + self._pieces[-1].epoch

    @property
    def limits(self) -> ClockLimits:
        """A change of frequency takes effect at once; a reading costs what one of the base clock does."""
        return ClockLimits(MAX_FREQUENCY, ZERO, self._base.limits.precision)

    def read(self) -> Stamp:
        """The present reading in TAI."""
        stamp = self._base.read()
        piece = self._advance(stamp.at.scaled_ns)
        return Stamp(self._id, stamp.epoch + piece.epoch, Instant(piece.map(stamp.at.scaled_ns)), StampSource.USER)

    def stamp_at(self, kernel_ns: int, source: StampSource) -> Stamp | None:
        """A kernel timestamp through the piece of the map that held at that moment.

        None where the base clock cannot place it, and for one older than ``HISTORY`` or than this clock.
        """
        stamp = self._base.stamp_at(kernel_ns, source)
        if stamp is None:
            return None
        at = stamp.at.scaled_ns
        self._advance(self._base.read().at.scaled_ns)
        for piece in reversed(self._pieces):
            if piece.base <= at:
                return Stamp(self._id, stamp.epoch + piece.epoch, Instant(piece.map(at)), source)
        return None

    def frequency(self) -> Rate:
        """The adjustment in force."""
        return self._steering

    def adjust_frequency(self, rate: Rate) -> Rate:
        """Run faster by ``rate`` than the oscillator; clamped, and rounded to the kernel's 2^-16 ppm."""
        now = self._base.read().at.scaled_ns
        piece = self._advance(now)
        limit = MAX_FREQUENCY.to_kernel()
        self._steering = Rate.from_kernel(max(-limit, min(limit, rate.to_kernel())))
        self._append(now, piece.map(now), piece.epoch)
        return self._steering

    def step(self, by: Duration) -> None:
        """Add ``by`` to the reading at once."""
        now = self._base.read().at.scaled_ns
        piece = self._advance(now)
        self._append(now, piece.map(now) + by.scaled_ns, piece.epoch + 1)

    def report(self, report: ClockReport) -> None:
        """Kept in ``last_report``; no other program reads this clock."""
        self.last_report = report

    def serving_map(self) -> ServingMap:
        """How kernel timestamps become this clock's UTC, from now until the next change."""
        now = self._base.read().at
        piece = self._advance(now.scaled_ns)
        kernel_ns = self._table.utc(now).ns()
        virtual: Instant[Tai] = Instant(piece.map(now.scaled_ns))
        clock_ns = self._table.utc(virtual).ns()
        return ServingMap(kernel_ns, clock_ns - kernel_ns, 1.0 + piece.excess)

    def true_offset(self) -> Duration:
        """Virtual minus base, now: for judges and demonstrations, never for steering."""
        now = self._base.read().at.scaled_ns
        return Duration(self._advance(now).map(now) - now)

    def true_frequency(self) -> Rate:
        """The error of its oscillator, now and without our steering: for judges and demonstrations."""
        self._advance(self._base.read().at.scaled_ns)
        return Rate(self._oscillator)

    def _advance(self, now: int) -> _Piece:
        """Let the oscillator walk up to ``now`` (base TAI, 2^-16 ns); gives the piece that holds there."""
        last = self._pieces[-1]
        if now < last.base:
            return self._rebase(now)
        while now >= self._walk_at:
            # A base clock that was moved far ahead is not walked through second by second.
            seconds = 1
            if now - self._walk_at > _LONGEST_WALK * _WALK:
                seconds = (now - self._walk_at) // _WALK
                self._walk_at += (seconds - 1) * _WALK
            if self._wander:
                self._oscillator += self._rng.gauss(0.0, self._wander * math.sqrt(seconds))
                self._append(self._walk_at, last.map(self._walk_at), last.epoch)
                last = self._pieces[-1]
            self._walk_at += _WALK
        self._forget(now - HISTORY)
        return last

    def _rebase(self, now: int) -> _Piece:
        """The base clock was moved back: the map holds as before, and what was noted for later is void."""
        piece = next((one for one in reversed(self._pieces) if one.base <= now), self._pieces[0])
        # Steps that were made stay made.
        latest = self._pieces[-1]
        at = piece.map(now) + self._stepped_since(piece)
        self._pieces = []
        self._append(now, at, latest.epoch)
        self._walk_at = now + _WALK
        return self._pieces[-1]

    def _stepped_since(self, piece: _Piece) -> int:
        """The sum of all steps made after a piece, 2^-16 ns."""
        later: Iterable[_Piece] = self._pieces[self._pieces.index(piece) + 1 :]
        total = 0
        for one in later:
            if one.epoch != piece.epoch:
                total += one.at - piece.map(one.base)
            piece = one
        return total

    def _append(self, base: int, at: int, epoch: int) -> None:
        self._pieces.append(_Piece(base, at, self._excess(), epoch))

    def _forget(self, before: int) -> None:
        """Drop the pieces that ended before ``before``."""
        while len(self._pieces) > 1 and self._pieces[1].base < before:
            self._pieces.pop(0)

    def _excess(self) -> float:
        """What the clock gains each second: oscillator and steering multiply."""
        return self._oscillator + self._steering.ratio + self._oscillator * self._steering.ratio
