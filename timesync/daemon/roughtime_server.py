"""One Roughtime server: what it said, how long that counts, and what people are told of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timesync.base.ids import ClockId, Endpoint
from timesync.base.time import ZERO, Duration, Instant, Mono, Utc
from timesync.config.sources import RoughtimeSource
from timesync.ntp.roughtime import Agreement, Bound, RoughtimeServer
from timesync.observe.roughtime import RoughtimeFacts
from timesync.servo.select import words
from timesync.servo.view import SourceState

_COUNTS: Final = 2
"""Intervals for which a server's word counts: one round may fail."""


@dataclass(slots=True)
class Server:
    """One server.

    Attributes:
        source: Its entry.
        server: The same for the chain.
        endpoint: Where it is.
        bound: What it said last.
        took: Round trip of that.
        radius: As it said.
        asked_at: When it was last in a round.
        reach: Outcome of the last eight rounds, newest in bit 0.
        sent: Requests.
        received: Verified responses.
        trouble: Why the last round brought nothing of it.
        contradicted_at: When its round last proved that somebody had lied.
    """

    source: RoughtimeSource
    server: RoughtimeServer
    endpoint: Endpoint | None = None
    bound: Bound | None = None
    took: Duration = ZERO
    radius: Duration = ZERO
    asked_at: Instant[Mono] | None = None
    reach: int = 0
    sent: int = 0
    received: int = 0
    trouble: str | None = None
    contradicted_at: Instant[Mono] | None = None

    def ends(self) -> Instant[Mono] | None:
        """Until when its last word counts."""
        return None if self.bound is None else self.bound.at + self.source.interval * _COUNTS

    def fresh(self, now: Instant[Mono]) -> Bound | None:
        """Its last word carried to now, while that counts."""
        ends = self.ends()
        return None if self.bound is None or ends is None or now >= ends else self.bound.carried(now)

    def due(self, now: Instant[Mono]) -> bool:
        """Whether to ask it in a round now: somewhat early, for it to be asked together with the others."""
        next_at = self.next_at
        return next_at is None or now >= next_at - self.source.interval // 4

    @property
    def next_at(self) -> Instant[Mono] | None:
        """When it is asked next; None: as soon as those are asked that have not answered."""
        if self.asked_at is None or self.bound is None or self.bound.at < self.asked_at:
            return None
        return self.asked_at + self.source.interval


@dataclass(frozen=True, slots=True)
class Circle:
    """What all servers say together.

    Attributes:
        agreement: Of more than half of those that count; None: there is none.
        heard: How many of them have a word that counts.
        asked: How many there are.
    """

    agreement: Agreement | None
    heard: int
    asked: int


def facts(
    server: Server, circle: Circle, clock: ClockId, reading: Instant[Utc] | None, now: Instant[Mono]
) -> RoughtimeFacts:
    """What is shown of a server.

    Args:
        server: Which.
        circle: All of them together.
        clock: The clock that is shown against it.
        reading: What that reads; None: it is not there.
        now: The present.
    """
    state, reason = _judged(server, circle, now)
    bound = None if server.bound is None else server.bound.carried(now)
    offset_s = error_s = None
    if bound is not None:
        error_s = bound.width.s() / 2
        offset_s = None if reading is None else (reading - (bound.earliest + bound.width // 2)).s()
    accused = server.contradicted_at
    return RoughtimeFacts(
        name=server.source.title,
        address=None if server.endpoint is None else str(server.endpoint),
        clock=clock,
        state=state,
        reason=reason,
        reach=server.reach.bit_count(),
        offset_s=offset_s,
        error_bound_s=error_s,
        delay_s=None if server.bound is None else server.took.s(),
        poll_s=server.source.interval.s(),
        age_s=None if server.bound is None else (now - server.bound.at).s(),
        sent=server.sent,
        received=server.received,
        radius_s=None if server.bound is None else server.radius.s(),
        malfeasance_age_s=None if accused is None else (now - accused).s(),
    )


def _judged(server: Server, circle: Circle, now: Instant[Mono]) -> tuple[SourceState, str]:
    """Its state and why, in the words of selection; never selected, since nothing is steered by it."""
    bound = server.fresh(now)
    if bound is None:
        return _silent(server, now)
    if server.source.noselect:
        return SourceState.EXCLUDED, "configured with noselect"
    agreement = circle.agreement
    if agreement is None and 2 * circle.heard <= circle.asked:
        few = f"{circle.heard} of {circle.asked} Roughtime servers have answered, and more than half must agree"
        return SourceState.CANDIDATE, few
    if agreement is None:
        return SourceState.FALSETICKER, f"no majority: no more than half of the {circle.asked} Roughtime servers agree"
    if server.source.title not in agreement.servers:
        here = agreement.bound.carried(now)
        apart = max(bound.earliest - here.latest, here.earliest - bound.latest).s()
        return SourceState.FALSETICKER, f"disagrees with {len(agreement.servers)} others by {words(apart)} at least"
    within = words(agreement.bound.carried(now).width.s() / 2)
    others = len(agreement.servers) - 1
    whom = f"agrees with {others} other{'s' if others > 1 else ''}" if others else "the only one"
    return SourceState.CANDIDATE, f"a check on the others, never steered by: {whom}; the time is known to {within}"


def _silent(server: Server, now: Instant[Mono]) -> tuple[SourceState, str]:
    """Of one without a word that counts."""
    trouble = server.trouble or "no response yet"
    if server.bound is not None:
        return SourceState.UNREACHABLE, f"its last word is {words((now - server.bound.at).s())} old: {trouble}"
    return (SourceState.WAITING if server.trouble is None else SourceState.UNREACHABLE), trouble
