"""Instants that carry their timescale, and durations finer than a nanosecond.

The unit of both is 2^-16 ns, the PTP TimeInterval's own (IEEE 1588-2019, 5.3.2): kernel
nanoseconds and PTP corrections are exact, and Python integers do not overflow. The timescale
is a type parameter, so that ``Instant[Tai] - Instant[Utc]`` does not pass mypy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar, final, overload

SCALE = 1 << 16
"""Units of 2^-16 ns in one nanosecond."""

NS_PER_S = 1_000_000_000
UNITS_PER_S = NS_PER_S * SCALE


@final
class Tai:
    """International Atomic Time, counted from 1970-01-01 00:00:00 TAI: the inner scale of everything."""


@final
class Utc:
    """POSIX time: UTC without its leap seconds, counted from 1970-01-01 00:00:00 UTC."""


@final
class Mono:
    """The host's monotonic time, counted from an arbitrary start; for timers only."""


S = TypeVar("S", Tai, Utc, Mono)


@final
@dataclass(frozen=True, slots=True, order=True)
class Duration:
    """A span of time.

    Attributes:
        scaled_ns: The span in units of 2^-16 ns; negative spans are allowed.
    """

    scaled_ns: int

    @classmethod
    def from_ns(cls, nanoseconds: int) -> Duration:
        """Exactly so many nanoseconds."""
        return cls(nanoseconds << 16)

    @classmethod
    def from_s(cls, seconds: float) -> Duration:
        """The nearest span to so many seconds; exact for integers."""
        if isinstance(seconds, int):
            return cls(seconds * UNITS_PER_S)
        return cls(round(seconds * UNITS_PER_S))

    def s(self) -> float:
        """The span in seconds."""
        return self.scaled_ns / UNITS_PER_S

    def ns(self) -> int:
        """The span in whole nanoseconds, rounded to nearest (halves up)."""
        return (self.scaled_ns + (SCALE >> 1)) >> 16

    def __add__(self, other: Duration) -> Duration:
        return Duration(self.scaled_ns + other.scaled_ns)

    def __sub__(self, other: Duration) -> Duration:
        return Duration(self.scaled_ns - other.scaled_ns)

    def __neg__(self) -> Duration:
        return Duration(-self.scaled_ns)

    def __abs__(self) -> Duration:
        return Duration(abs(self.scaled_ns))

    def __mul__(self, factor: int) -> Duration:
        return Duration(self.scaled_ns * factor)

    def __floordiv__(self, divisor: int) -> Duration:
        return Duration(self.scaled_ns // divisor)

    def __bool__(self) -> bool:
        return self.scaled_ns != 0

    def __str__(self) -> str:
        return f"{self.s():.9g} s"


ZERO = Duration(0)


@final
@dataclass(frozen=True, slots=True, order=True)
class Instant(Generic[S]):
    """A point in time on the scale ``S``.

    There is no ``float()`` of an instant: a float64 of today's epoch resolves 238 ns.

    Attributes:
        scaled_ns: Units of 2^-16 ns since the scale's start.
    """

    scaled_ns: int

    @classmethod
    def from_ns(cls, nanoseconds: int) -> Instant[S]:
        """Exactly so many nanoseconds after the scale's start."""
        return cls(nanoseconds << 16)

    def ns(self) -> int:
        """Whole nanoseconds since the scale's start, rounded to nearest (halves up)."""
        return (self.scaled_ns + (SCALE >> 1)) >> 16

    def __add__(self, span: Duration) -> Instant[S]:
        return Instant(self.scaled_ns + span.scaled_ns)

    @overload
    def __sub__(self, other: Instant[S]) -> Duration: ...
    @overload
    def __sub__(self, other: Duration) -> Instant[S]: ...
    def __sub__(self, other: Instant[S] | Duration) -> Duration | Instant[S]:
        if isinstance(other, Duration):
            return Instant(self.scaled_ns - other.scaled_ns)
        return Duration(self.scaled_ns - other.scaled_ns)

    def __str__(self) -> str:
        seconds, units = divmod(self.scaled_ns, UNITS_PER_S)
        return f"{seconds}.{units >> 16:09d}"
