"""What a time zone does next: its offset, its next jump, and when a time of day comes, from the IANA database."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

_DAY_S = 86_400
_STRIDE_S = 7 * _DAY_S
"""Zones keep an offset for longer: Ramadan, the shortest that any observes, has four weeks."""

_FORESIGHT_S = 400 * _DAY_S


@dataclass(frozen=True, slots=True)
class Offset:
    """What holds in a zone at a moment.

    Attributes:
        seconds: Local time minus UTC.
        name: Such as ``CET``; where the zone has no letters, such as ``+03``.
        saving: Daylight saving time is in force.
    """

    seconds: int
    name: str
    saving: bool


class LocalTime:
    """One zone. Times are POSIX seconds. Years beyond 1 to 9999 raise OverflowError or ValueError."""

    def __init__(self, zone: str) -> None:
        """Raises LookupError, ValueError or OSError where this machine does not know the zone."""
        self._zone = ZoneInfo(zone)
        self._known: tuple[int, int, int | None] | None = None

    def at(self, utc_s: int) -> Offset:
        """What holds at a moment."""
        local = datetime.fromtimestamp(utc_s, self._zone)
        offset = local.utcoffset() or timedelta()
        return Offset(offset // timedelta(seconds=1), local.tzname() or "", bool(local.dst()))

    def next_jump(self, utc_s: int) -> int | None:
        """The first second with another offset than that of now; None when there is none within a year."""
        if self._known is None or not self._known[0] <= utc_s < self._known[1]:
            found = self._search(utc_s)
            self._known = utc_s, utc_s + _DAY_S if found is None else found, found
        return self._known[2]

    def _search(self, utc_s: int) -> int | None:
        before = self.at(utc_s).seconds
        for later in range(utc_s + _STRIDE_S, utc_s + _FORESIGHT_S, _STRIDE_S):
            if self.at(later).seconds != before:
                same, other = later - _STRIDE_S, later
                while other - same > 1:
                    middle = (same + other) // 2
                    same, other = (middle, other) if self.at(middle).seconds == before else (same, middle)
                return other
        return None

    def around(self, utc_s: int, minute: int) -> tuple[int, int]:
        """When local clocks last came to this minute of a day, now included, and when they will next.

        A time that a jump leaves out is taken to come as long after the jump as it would have come.
        """
        today = datetime.fromtimestamp(utc_s, self._zone).date()
        at = time(minute // 60, minute % 60)
        days = [today + timedelta(days=day) for day in (-2, -1, 0, 1, 2)]
        moments = [int(datetime.combine(day, at, self._zone).astimezone(UTC).timestamp()) for day in days]
        return max(one for one in moments if one <= utc_s), min(one for one in moments if one > utc_s)
