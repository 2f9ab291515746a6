"""Leap smear: a leap second spread evenly over hours, for clients that must never see one.

Linear and centred on the leap second, as Google, AWS and Meta's public servers do over 24 hours. What is served then is
not UTC: such a server announces no leap second, and should not be mixed with others.
"""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Tai
from timesync.base.utc import LeapTable


@dataclass(frozen=True, slots=True)
class Smear:
    """The smear at one moment.

    Attributes:
        ahead: Smeared time minus UTC; before an inserted second it is negative, after it positive.
        rate: How fast that grows, seconds per second: negative for an inserted second.
        active: A smear is under way.
    """

    ahead: Duration
    rate: float
    active: bool


NO_SMEAR = Smear(ZERO, 0.0, active=False)


def smear(table: LeapTable, at: Instant[Tai], width: Duration) -> Smear:
    """The smear over ``width`` (of UTC, half before the leap second and half after it) at an instant."""
    half = width // 2
    for index in range(1, len(table.steps)):
        start, new = table.steps[index]
        old = table.steps[index - 1][1]
        # In TAI the smear lasts longer than in UTC by the second that is inserted.
        begins: Instant[Tai] = Instant((start + old) * UNITS_PER_S) - half
        ends: Instant[Tai] = Instant((start + new) * UNITS_PER_S) + half
        if begins <= at < ends:
            return _inside(table, at, begins, ends, new - old)
    return NO_SMEAR


def changes(table: LeapTable, after: Instant[Tai], width: Duration) -> Instant[Tai] | None:
    """The next instant after ``after`` at which the smear's map changes its course; None when none is known."""
    half = width // 2
    found: list[Instant[Tai]] = []
    for index in range(1, len(table.steps)):
        start, new = table.steps[index]
        old = table.steps[index - 1][1]
        # The kernel repeats a second when the inserted one begins, and leaves one out when the deleted one would.
        edge = (start + min(old, new)) * UNITS_PER_S
        found += [
            Instant((start + old) * UNITS_PER_S) - half,
            Instant(edge),
            Instant((start + new) * UNITS_PER_S) + half,
        ]
    return min((instant for instant in found if instant > after), default=None)


def _inside(table: LeapTable, at: Instant[Tai], begins: Instant[Tai], ends: Instant[Tai], inserted: int) -> Smear:
    span = (ends - begins).scaled_ns
    gone = (at - begins).scaled_ns
    smeared = gone * (span - inserted * UNITS_PER_S) // span
    ahead = (table.utc(begins) - table.utc(at)) + Duration(smeared)
    return Smear(ahead, -inserted * UNITS_PER_S / span, active=True)
