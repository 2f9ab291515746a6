"""A date and a time of day, as receivers spell them, and the POSIX instant that they name."""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.time import NS_PER_S, Instant, Utc
from timesync.wire.error import WireError

_MONTH_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


@dataclass(frozen=True, slots=True)
class Date:
    """A day of the Gregorian calendar; WireError for one that never is.

    Attributes:
        year: Four digits.
        month: 1 to 12.
        day: 1 to 31.
    """

    year: int
    month: int
    day: int

    def __post_init__(self) -> None:
        if not (1 <= self.month <= 12 and 1 <= self.day <= _days(self.year, self.month)):
            raise WireError(f"no such day: {self.year:04}-{self.month:02}-{self.day:02}")


@dataclass(frozen=True, slots=True)
class TimeOfDay:
    """A time of day in UTC; WireError for one that never is.

    Attributes:
        hour: 0 to 23.
        minute: 0 to 59.
        second: 0 to 59; 60 in an inserted leap second, which ends a UTC day (ITU-R TF.460-6, annex 1, 2.1).
        nanosecond: 0 to 999,999,999.
    """

    hour: int
    minute: int
    second: int
    nanosecond: int = 0

    def __post_init__(self) -> None:
        last = 60 if (self.hour, self.minute) == (23, 59) else 59
        in_range = 0 <= self.hour <= 23 and 0 <= self.minute <= 59 and 0 <= self.second <= last
        if not (in_range and 0 <= self.nanosecond < NS_PER_S):
            raise WireError(f"no such time of day: {self.hour:02}:{self.minute:02}:{self.second:02}")

    @property
    def in_leap_second(self) -> bool:
        """Whether this is 23:59:60, which POSIX time cannot tell from 23:59:59."""
        return self.second == 60


def posix(date: Date, time: TimeOfDay) -> Instant[Utc]:
    """The POSIX instant; an inserted second repeats 23:59:59, as in ``timesync.base.utc``."""
    # Years are counted from March, so that the leap day is their last; 719,468 days lie between 0000-03-01 and
    # 1970-01-01, and a cycle of 400 years has 146,097 days.
    year = date.year - (date.month <= 2)
    cycle, in_cycle = divmod(year, 400)
    in_year = (153 * ((date.month + 9) % 12) + 2) // 5 + date.day - 1
    day = cycle * 146_097 + in_cycle * 365 + in_cycle // 4 - in_cycle // 100 + in_year - 719_468
    seconds = ((day * 24 + time.hour) * 60 + time.minute) * 60 + min(time.second, 59)
    return Instant.from_ns(seconds * NS_PER_S + time.nanosecond)


def _days(year: int, month: int) -> int:
    leap_year = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and leap_year else _MONTH_DAYS[month - 1]
