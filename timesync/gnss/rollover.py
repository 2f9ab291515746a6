"""Dates that lost whole cycles of the GPS week number, and from when on a date can be right at all."""

from __future__ import annotations

from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.base.utc import DAY_S

ROLLOVER_WEEKS = 1024
"""The week number of GPS has ten bits (IS-GPS-200, 20.3.3.3.1.1)."""

BUILT: Instant[Utc] = Instant.from_ns(1_767_139_200 * 10**9)
"""2025-12-31: this program is younger, so no receiver can rightly say an earlier date; moved up now and then."""

_WEEK = 7 * DAY_S * UNITS_PER_S
ROLLOVER = ROLLOVER_WEEKS * _WEEK
"""A cycle, in units of ``Instant``."""

_EARLY = _WEEK
"""A machine that builds the program may be set wrong by a few days."""

_MENDED_FOR = 512 * _WEEK
"""For so long after the build a rollover is believed to be the cause of an impossible date.

Half a cycle: a date from the other half is just wrong, and would be moved to one that looks right for no reason.
"""


def lacking(utc: Instant[Utc], build: Instant[Utc]) -> int | None:
    """How many rollovers must be added to a date to make it one that can be right.

    Args:
        utc: The date that a receiver told.
        build: When this program was made.

    Returns:
        0 for a date that can be right as it is, less than that for one too far ahead; None when no number of them
        gives a plausible date.
    """
    age = utc.scaled_ns - build.scaled_ns + _EARLY
    count = -(age // ROLLOVER)
    return count if count == 0 or age + count * ROLLOVER < _EARLY + _MENDED_FOR else None


def moved(utc: Instant[Utc], rollovers: int) -> Instant[Utc]:
    """A date so many cycles later."""
    return Instant(utc.scaled_ns + rollovers * ROLLOVER)


def mended(utc: Instant[Utc], build: Instant[Utc]) -> Instant[Utc]:
    """The date that a receiver means which lost whole rollovers; one that they do not explain stays as it is."""
    return moved(utc, max(lacking(utc, build) or 0, 0))
