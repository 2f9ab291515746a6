"""What a receiver says of leap seconds, and what of it can be so."""

from __future__ import annotations

from dataclasses import replace

from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Duration, Instant, Utc
from timesync.base.utc import DAY_S, LeapTable, civil
from timesync.gnss.continuity import Trouble
from timesync.gnss.event import LeapReport
from timesync.gnss.leap_vote import month_end, vouched

_SOON = Duration.from_s(86_400 * 200)
"""Leap seconds are announced about half a year ahead (IERS Bulletin C)."""

_HALF_DAY = Duration.from_s(43_200)


class LeapWatch:
    """The leap seconds of one receiver.

    Attributes:
        said: Its last words.
        trouble: It counts TAI - UTC otherwise than a table that its issuer vouches for; None when it does not.
    """

    def __init__(self, table: LeapTable) -> None:
        self.said = LeapReport()
        self.trouble: Trouble | None = None
        self._table = table
        self._odd: str | None = None

    def set_table(self, table: LeapTable) -> None:
        """Another leap second table from now on."""
        self._table = table
        self.trouble = None

    def on_report(self, report: LeapReport, now: Instant[Utc] | None) -> str | None:
        """It said something, when its own time was ``now``; answers what is odd about it, once."""
        if report.leap is Leap.UNKNOWN:
            # It told its count alone; what it announced before stands.
            report = replace(report, leap=self.said.leap, at=self.said.at)
        self.said = report
        count = report.tai_utc
        self.trouble = None
        if count is not None and now is not None and not self._table.ambiguous(now):
            ours = self._table.tai_utc(now)
            if count != ours and vouched(self._table, now):
                self.trouble = Trouble(
                    "gnss-leap-count",
                    f"counts TAI - UTC as {count} s where the leap table has {ours} s: its UTC is {count - ours:+d} s "
                    "off (a receiver just switched on may not know better for 13 minutes)",
                )
        before, self._odd = self._odd, self._odd_leap(now)
        return None if self._odd == before else self._odd

    def leap(self, now: Instant[Utc] | None) -> Leap:
        """The leap second that it announces for the end of this month, if that is possible at all; else NONE."""
        at = self.said.at
        if self.said.leap not in (Leap.INSERT, Leap.DELETE) or at is None or now is None:
            return Leap.NONE
        # ``at`` may be told as the last second of the month, the leap second itself or what comes after it.
        this_month = now <= at and _month(now) == _month(at - _HALF_DAY)
        return self.said.leap if this_month and month_end(at) else Leap.NONE

    def _odd_leap(self, now: Instant[Utc] | None) -> str | None:
        """What is wrong with its announcement of a leap second, if anything."""
        at = self.said.at
        if at is None or now is None or self.said.leap not in (Leap.INSERT, Leap.DELETE):
            return None
        if not month_end(at):
            return "announces a leap second that is not at the end of a month: not believed"
        if at - now > _SOON:
            return "announces a leap second further ahead than anybody knows: not believed"
        return None


def _month(utc: Instant[Utc]) -> tuple[int, int]:
    return civil(utc.scaled_ns // (DAY_S * UNITS_PER_S))[:2]
