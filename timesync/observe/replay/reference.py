"""What replays are judged by: where the free clock stood, as is known afterwards.

Of the clock's best source every measurement is smoothed in both directions of time (Rauch, Tung, Striebel 1965), with
the noise of the link and the wander of the clock as the core has learnt them. A clock without sources of its own is
judged by the core's own estimate in the recording.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai

_GATE: Final = 5.0
_UNKNOWN_FREQUENCY: Final = 1e-3


@dataclass(frozen=True, slots=True)
class Sighting:
    """The free clock against a source.

    Attributes:
        free: When, by the free clock.
        offset: The free clock minus the source.
        variance: Of that, in s^2.
    """

    free: Instant[Tai]
    offset: Duration
    variance: float


@dataclass(frozen=True, slots=True)
class Course:
    """Where the free clock stood, while nobody but us set it.

    Attributes:
        origin: Added to every value of ``offsets_s``.
        free: Moments by the free clock, increasing.
        offsets_s: The free clock minus truth at each of them.
    """

    origin: Duration
    free: Sequence[int]
    offsets_s: Sequence[float]

    def error_s(self, reading: Instant[Tai], free: Instant[Tai]) -> float | None:
        """A steered clock minus truth where it reads ``reading`` and the free one ``free``; None outside."""
        index = bisect_right(self.free, free.scaled_ns)
        if not 0 < index < len(self.free):
            return None
        first, last = self.free[index - 1], self.free[index]
        share = (free.scaled_ns - first) / (last - first)
        offset = self.offsets_s[index - 1] + share * (self.offsets_s[index] - self.offsets_s[index - 1])
        return (reading - free + self.origin).s() + offset


@dataclass(frozen=True, slots=True)
class Reference:
    """Where the free clock stood throughout a recording.

    Attributes:
        words: What it rests on, for people.
        courses: By stretch of the recording: each start of the daemon, and each time that somebody else sets the
            clock, begins another one.
    """

    words: str
    courses: Mapping[int, Course]

    def error_s(self, stretch: int, reading: Instant[Tai], free: Instant[Tai]) -> float | None:
        """See ``Course``."""
        course = self.courses.get(stretch)
        return None if course is None else course.error_s(reading, free)


def smoothed(sightings: Sequence[Sighting], wander: float) -> Course | None:
    """The course that measurements tell of; None when there are fewer than three.

    Args:
        sightings: In order of time.
        wander: Random walk of the clock's frequency, its standard deviation after one second.
    """
    if len(sightings) < 3:
        return None
    origin = sightings[0].offset
    forward, times = _forward(sightings, origin, wander)
    offset, frequency = forward[-1].offset, forward[-1].frequency
    found = [offset]
    for step in range(len(forward) - 2, -1, -1):
        here, there = forward[step], forward[step + 1]
        span = (times[step + 1] - times[step]) / UNITS_PER_S
        # The smoother's gain: covariance here, carried forward, over the predicted one.
        p, q, r = there.predicted
        determinant = p * r - q * q
        d_offset = offset - (here.offset + here.frequency * span)
        d_frequency = frequency - here.frequency
        u = (r * d_offset - q * d_frequency) / determinant
        v = (p * d_frequency - q * d_offset) / determinant
        offset = here.offset + (here.pp + span * here.pf) * u + here.pf * v
        frequency = here.frequency + (here.pf + span * here.ff) * u + here.ff * v
        found.append(offset)
    return Course(origin, times, found[::-1])


@dataclass(slots=True)
class _State:
    """Offset and frequency after a measurement, their covariance, and the one that was predicted before it."""

    offset: float
    frequency: float
    pp: float
    pf: float
    ff: float
    predicted: tuple[float, float, float]


def _forward(sightings: Sequence[Sighting], origin: Duration, wander: float) -> tuple[list[_State], list[int]]:
    q2 = wander * wander
    first = sightings[0]
    states = [_State(0.0, 0.0, first.variance, 0.0, _UNKNOWN_FREQUENCY**2, (1.0, 0.0, 1.0))]
    times = [first.free.scaled_ns]
    before = 0.0
    for one in sightings[1:]:
        if one.free.scaled_ns <= times[-1]:
            continue
        last = states[-1]
        span = (one.free.scaled_ns - times[-1]) / UNITS_PER_S
        offset = last.offset + last.frequency * span
        pp = last.pp + 2 * span * last.pf + span * span * last.ff + q2 * span**3 / 3
        pf = last.pf + span * last.ff + q2 * span * span / 2
        ff = last.ff + q2 * span
        news = (one.offset - origin).s() - offset
        side = math.copysign(1.0, news) if news * news > _GATE**2 * (pp + one.variance) else 0.0
        if side and side == before:
            # Twice on the same side: the clock did something that its wander does not explain, as the core sees it.
            pp, ff = pp + news * news, ff + (news / span) ** 2
        before = side
        state = _State(offset, last.frequency, pp, pf, ff, (pp, pf, ff))
        # What does not fit is given less weight and not none: shut out for good, the truth could never come back.
        expected = max(pp + one.variance, news * news / _GATE**2)
        k1, k2 = pp / expected, pf / expected
        state.offset += k1 * news
        state.frequency += k2 * news
        state.pp, state.pf, state.ff = (1 - k1) * pp, (1 - k1) * pf, ff - k2 * pf
        states.append(state)
        times.append(one.free.scaled_ns)
    return states, times


def estimated(points: Sequence[tuple[Instant[Tai], Duration]]) -> Course | None:
    """The free clock's offsets as the core itself estimated them; None when there are fewer than two."""
    if len(points) < 2:
        return None
    origin = points[0][1]
    increasing: dict[int, float] = {}
    for free, offset in points:
        if not increasing or free.scaled_ns > next(reversed(increasing)):
            increasing[free.scaled_ns] = (offset - origin).s()
    return Course(origin, list(increasing), list(increasing.values()))
