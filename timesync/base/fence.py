"""Between which instants the time is, by the word of others than the sources of time: a check on them, never a source.

What a fence says is coarse, some seconds, and holds for a moment of monotonic time. Carried to another moment it gets
wider by what the monotonic clock may have gone wrong since.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from timesync.base.time import Duration, Instant, Mono, S, Tai

_MONO_ERROR: Final = 2000
"""The monotonic clock runs at most one part in so many wrong: 500 ppm, what the kernel lets a clock be steered by."""


def mono_drift(elapsed: Duration) -> Duration:
    """How far wrong the monotonic clock may have gone in that time."""
    return abs(elapsed) // _MONO_ERROR


def beyond(claimed: Instant[S], within: Duration, earliest: Instant[S], latest: Instant[S]) -> Duration | None:
    """How far a claim lies outside a span, at least; None: it can be true together with it.

    Args:
        claimed: What the time is said to be.
        within: Give or take so much.
        earliest: Beginning of the span.
        latest: Its end.

    Returns:
        Positive when the claim is ahead of the span, negative when it is behind.
    """
    if claimed - within > latest:
        return claimed - within - latest
    if claimed + within < earliest:
        return claimed + within - earliest
    return None


@dataclass(frozen=True, slots=True)
class Fence:
    """Between which instants the time is.

    Attributes:
        at: Monotonic time for which it holds.
        earliest: The truth is not before; TAI.
        latest: Nor after.
        until: From then on it says nothing any more; monotonic.
        by: Who says so, for people.
    """

    at: Instant[Mono]
    earliest: Instant[Tai]
    latest: Instant[Tai]
    until: Instant[Mono]
    by: str

    def carried(self, now: Instant[Mono]) -> Fence:
        """The same for ``now``, wider by what the monotonic clock may have gone wrong."""
        elapsed = now - self.at
        drift = mono_drift(elapsed)
        return replace(self, at=now, earliest=self.earliest + elapsed - drift, latest=self.latest + elapsed + drift)

    def beyond(self, claimed: Instant[Tai], within: Duration, now: Instant[Mono]) -> Duration | None:
        """See the function ``beyond``, for what is claimed to be the time ``now``."""
        here = self.carried(now)
        return beyond(claimed, within, here.earliest, here.latest)

    def nearest(self, claimed: Instant[Tai], now: Instant[Mono]) -> Instant[Tai]:
        """What the time may be ``now`` at the nearest to what is claimed: that itself, unless it lies outside."""
        here = self.carried(now)
        return min(max(claimed, here.earliest), here.latest)
