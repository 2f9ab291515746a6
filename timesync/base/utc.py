"""TAI and UTC: the table of leap seconds, and the only conversions between the two scales.

``Instant[Utc]`` is POSIX time. When a leap second is inserted, it repeats the last second of the day, as
the Linux kernel does: 23:59:59 comes twice, first as itself and then for 23:59:60, and TAI - UTC changes
where the second pass starts. When one is deleted, 23:59:59 is left out.
"""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import pairwise

from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Instant, Tai, Utc

DAY_S = 86_400
NTP_TO_UNIX_S = 2_208_988_800
"""Seconds from 1900-01-01, where the file counts from, to 1970-01-01 (RFC 5905, figure 4)."""

WARNING_DAYS = 60
_GUARD = UNITS_PER_S
_DATA = re.compile(r"([0-9]{1,12})\s+([0-9]{1,4})")
_DATE = re.compile(r"#[$@]\s*([0-9]{1,12})")
_HASH = re.compile(r"#h((?:\s+[0-9a-fA-F]{1,8}){5})")


class LeapTableError(ValueError):
    """A leap second file that cannot be believed.

    Attributes:
        line: Line number, from 1; 0 when it is not about one line.
    """

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}" if line else message)
        self.line = line


@dataclass(frozen=True, slots=True)
class LeapTable:
    """TAI - UTC since 1972, and the leap seconds that are already announced.

    Attributes:
        steps: (POSIX second of the start of a UTC day, TAI - UTC in seconds from then on), in order.
        expires: Up to when the issuer vouches for the table; None when it does not say.
        updated: When the issuer last changed it; None when it does not say.
    """

    steps: tuple[tuple[int, int], ...]
    expires: Instant[Utc] | None = None
    updated: Instant[Utc] | None = None
    _utc_edges: tuple[int, ...] = field(init=False, repr=False, compare=False)
    _tai_edges: tuple[int, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _check_steps(self.steps)
        utc_edges = [start * UNITS_PER_S for start, _ in self.steps]
        # TAI at which the new offset starts: an inserted second belongs to the new offset, and a deleted one
        # never happens, so the smaller of the two offsets decides.
        before = [self.steps[0][1], *(offset for _, offset in self.steps)]
        tai_edges = [
            (start + min(old, new)) * UNITS_PER_S for (start, new), old in zip(self.steps, before, strict=False)
        ]
        object.__setattr__(self, "_utc_edges", tuple(utc_edges))
        object.__setattr__(self, "_tai_edges", tuple(tai_edges))

    @classmethod
    def parse(cls, text: str) -> LeapTable:
        """Read the ``leap-seconds.list`` of IERS or NIST, its SHA-1 included. Raises LeapTableError.

        A file without a hash is refused as well: it has probably lost its end.
        """
        return _parse(text)

    def tai_utc(self, utc: Instant[Utc]) -> int:
        """TAI - UTC in whole seconds.

        10 s before 1972, when UTC had no whole-second offset: such an instant comes from a board without a
        battery, and any constant serves. Within a repeated second this is the offset of its first pass.
        """
        return self._offset(bisect_right(self._utc_edges, utc.scaled_ns))

    def tai(self, utc: Instant[Utc]) -> Instant[Tai]:
        """The TAI of a POSIX instant; of the first pass when the second is repeated (see ``ambiguous``)."""
        return Instant(utc.scaled_ns + self.tai_utc(utc) * UNITS_PER_S)

    def utc(self, tai: Instant[Tai]) -> Instant[Utc]:
        """The POSIX time of an instant; inside a leap second it repeats 23:59:59."""
        offset = self._offset(bisect_right(self._tai_edges, tai.scaled_ns))
        return Instant(tai.scaled_ns - offset * UNITS_PER_S)

    def ambiguous(self, utc: Instant[Utc]) -> bool:
        """Whether a POSIX instant lies in a repeated or left-out second, or within 1 s of it."""
        at = utc.scaled_ns
        index = bisect_right(self._utc_edges, at + 2 * _GUARD)
        return index > 1 and at < self._utc_edges[index - 1] + _GUARD

    def in_leap_second(self, tai: Instant[Tai]) -> bool:
        """Whether the instant lies inside an inserted second (23:59:60 UTC)."""
        index = bisect_right(self._tai_edges, tai.scaled_ns)
        if index < 2:
            return False
        inserted = self._offset(index) - self._offset(index - 1)
        return tai.scaled_ns < self._tai_edges[index - 1] + inserted * UNITS_PER_S

    def pending_today(self, utc: Instant[Utc]) -> Leap:
        """The leap second at the end of this UTC day, as the kernel wants it (``STA_INS``, ``STA_DEL``)."""
        index, start = self._next(utc)
        now_s = utc.scaled_ns // UNITS_PER_S
        if start is None or now_s // DAY_S + 1 != start // DAY_S:
            return Leap.NONE
        return self._kind(index)

    def pending_month(self, utc: Instant[Utc]) -> Leap:
        """The leap second at the end of this UTC month, as NTP announces it (RFC 5905, 7.3 "LI")."""
        index, start = self._next(utc)
        now_s = utc.scaled_ns // UNITS_PER_S
        if start is None or _month(now_s // DAY_S) != _month(start // DAY_S - 1):
            return Leap.NONE
        return self._kind(index)

    def expiry_warning(self, utc: Instant[Utc]) -> str | None:
        """A sentence for the operator from 60 days before the table expires, else None."""
        if self.expires is None:
            return None
        left_ns = (self.expires - utc).scaled_ns
        if left_ns >= WARNING_DAYS * DAY_S * UNITS_PER_S:
            return None
        date = _date(self.expires)
        if left_ns <= 0:
            return f"the leap second table expired on {date}; a newer leap second would be missed"
        # Of the calendar, not spans of 24 h: what ends at midnight does not end on the day before.
        days = _day(self.expires) - _day(utc)
        left = "today" if days == 0 else "in 1 day" if days == 1 else f"in {days} days"
        return f"the leap second table expires on {date}, {left}; install a newer one (package tzdata)"

    def _offset(self, index: int) -> int:
        """The offset in force after ``index`` edges have passed."""
        return self.steps[max(index - 1, 0)][1]

    def _next(self, utc: Instant[Utc]) -> tuple[int, int | None]:
        """The step after an instant: its index and its POSIX second, None when no more is known."""
        index = bisect_right(self._utc_edges, utc.scaled_ns)
        if index == 0 or index == len(self.steps):
            return index, None
        return index, self.steps[index][0]

    def _kind(self, index: int) -> Leap:
        return Leap.INSERT if self.steps[index][1] > self.steps[index - 1][1] else Leap.DELETE


def _check_steps(steps: tuple[tuple[int, int], ...]) -> None:
    """Raise LeapTableError unless this can be a history of UTC (ITU-R TF.460-6, annex 1, 2)."""
    if not steps:
        raise LeapTableError(0, "no leap seconds in the table")
    for (start, offset), (next_start, next_offset) in pairwise(steps):
        if next_start <= start:
            raise LeapTableError(0, "the dates do not increase")
        if abs(next_offset - offset) != 1:
            raise LeapTableError(0, f"TAI - UTC goes from {offset} s to {next_offset} s at once")
    for start, _ in steps:
        if start % DAY_S or civil(start // DAY_S)[2] != 1:
            raise LeapTableError(0, f"{start + NTP_TO_UNIX_S} is not the start of a month")


def _parse(text: str) -> LeapTable:
    steps: list[tuple[int, int]] = []
    dates: dict[str, Instant[Utc]] = {}
    said: tuple[int, str] | None = None
    digest = hashlib.sha1(usedforsecurity=False)
    number = 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line[:2] in ("#$", "#@"):
            digits = _matched(_DATE, number, line, "a date in seconds since 1900").group(1)
            if line[:2] in dates:
                raise LeapTableError(number, f"a second {line[:2]} line")
            dates[line[:2]] = Instant((int(digits) - NTP_TO_UNIX_S) * UNITS_PER_S)
            digest.update(digits.encode())
        elif line[:2] == "#h":
            words = _matched(_HASH, number, line, "a SHA-1 in five words").group(1).split()
            # Some issues of the file print the words without their leading zeros.
            said = number, "".join(word.lower().zfill(8) for word in words)
        elif line and not line.startswith("#"):
            data = line.split("#", 1)[0].strip()
            when, offset = _matched(_DATA, number, data, "a date and TAI - UTC").groups()
            steps.append((int(when) - NTP_TO_UNIX_S, int(offset)))
            digest.update(f"{when}{offset}".encode())
            try:
                _check_steps(tuple(steps[-2:]))
            except LeapTableError as error:
                raise LeapTableError(number, str(error)) from None
    if said is None:
        raise LeapTableError(number, "no #h line with a SHA-1: the file is not complete")
    if said[1] != digest.hexdigest():
        raise LeapTableError(said[0], f"the SHA-1 of the data is {digest.hexdigest()}, the file says {said[1]}")
    return LeapTable(tuple(steps), expires=dates.get("#@"), updated=dates.get("#$"))


def _matched(pattern: re.Pattern[str], number: int, line: str, wanted: str) -> re.Match[str]:
    found = pattern.fullmatch(line)
    if found is None:
        raise LeapTableError(number, f"{line[:40]!r} is not {wanted}")
    return found


def _month(day: int) -> tuple[int, int]:
    year, month, _ = civil(day)
    return year, month


def civil(day: int) -> tuple[int, int, int]:
    """Year, month and day of the month of a day counted from 1970-01-01 (Gregorian, any sign)."""
    # Years are counted from March, so that the leap day is their last; 719,468 days lie between
    # 0000-03-01 and 1970-01-01, and a cycle of 400 years has 146,097 days.
    cycle, in_cycle = divmod(day + 719_468, 146_097)
    year = (in_cycle - in_cycle // 1_460 + in_cycle // 36_524 - in_cycle // 146_096) // 365
    in_year = in_cycle - (365 * year + year // 4 - year // 100)
    march_month = (5 * in_year + 2) // 153
    month = march_month + 3 if march_month < 10 else march_month - 9
    return 400 * cycle + year + (month <= 2), month, in_year - (153 * march_month + 2) // 5 + 1


def _day(utc: Instant[Utc]) -> int:
    return utc.scaled_ns // (DAY_S * UNITS_PER_S)


def _date(utc: Instant[Utc]) -> str:
    year, month, day = civil(_day(utc))
    return f"{year:04}-{month:02}-{day:02}"
