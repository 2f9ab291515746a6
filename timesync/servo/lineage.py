"""Who follows whom: questions about the tree of clocks that selection and views ask.

A comparison of two clocks of this machine becomes a measurement against truth by adding what is known of the far one.
That is evidence only while the far clock does not itself follow the near one.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Coarse, Quality
from timesync.base.time import Duration
from timesync.servo.clock_model import ClockModel, Source
from timesync.servo.command import Now
from timesync.servo.graph import Feed
from timesync.servo.standing import Standing
from timesync.servo.view import SourceState

COARSE_S = 0.49
"""A source with a smaller error bound can tell which second a pulse marks."""

_COARSE_STATES = (SourceState.SELECTED, SourceState.CANDIDATE, SourceState.WAITING)


class Lineage:
    """Reads the controller's own tables; changes nothing."""

    def __init__(self, clocks: Mapping[ClockId, ClockModel], standing: Mapping[ClockId, Standing]) -> None:
        """Share the tables."""
        self._clocks = clocks
        self._standing = standing
        self.feeds: Mapping[ClockId, Feed] = {}

    def follows(self, clock: ClockId, other: ClockId) -> bool:
        """Whether ``clock`` has its time from ``other``, directly or over others."""
        seen = 0
        feed = self.feeds.get(clock)
        while feed is not None and feed.parent is not None and seen <= len(self._clocks):
            if feed.parent == other:
                return True
            feed = self.feeds.get(feed.parent)
            seen += 1
        return False

    def root(self, clock: ClockId) -> tuple[Source | None, Duration]:
        """The outside reference that a clock's time comes from in the end, and the round trip to it."""
        delay = Duration(0)
        for _ in range(len(self._clocks)):
            best = self._standing[clock].best
            if best is None:
                return None, delay
            delay += Duration.from_s(2 * max(best.tracker.model.minimum_delay_s or 0.0, 0.0))
            if best.spec.parent is None:
                return best, delay
            clock = best.spec.parent
        return None, delay

    def quality(self, parent: ClockId, now: Now) -> Quality | None:
        """What a clock of this machine says of its own time to those that follow it; None while it knows no truth."""
        above = self._clocks[parent]
        estimate = above.estimate(now.clocks[parent])
        bound = above.error_bound_s(now.clocks[parent], now.mono)
        if estimate is None or bound is None or not self._standing[parent].known:
            return None
        root, delay = self.root(parent)
        if root is None or root.quality is None:
            return None
        total = root.quality.root_delay + delay
        known = max(bound - abs(estimate.offset_s), 0.0)
        return replace(
            root.quality,
            root_delay=total,
            root_dispersion=max(Duration.from_s(known) - total // 2, Duration(0)),
        )

    def coarse(
        self, clock: ClockId, now: Now, *, apart_from: Collection[SourceId] = (), only: SourceId | None = None
    ) -> Coarse | None:
        """Where a clock stands, to number pulses by; None when nothing tells it to within ``COARSE_S``.

        Args:
            clock: Which.
            now: The present.
            apart_from: Sources that may not be asked: the pulses themselves.
            only: The one source that may number them. When it measures another clock of this machine, it must be good
                there, and the link between the clocks tells.
        """
        if only is not None and only not in self._clocks[clock].sources and not self._vouches(only, now):
            return None
        best: Coarse | None = None
        for source in self._clocks[clock].sources.values():
            identity = source.spec.source
            if identity in apart_from or not _may_number(source):
                continue
            if only is not None and identity != only and source.spec.parent is None:
                continue
            candidate = self._clocks[clock].candidate(source, now.clocks[clock], now.mono)
            if candidate is None or candidate.bound_s >= COARSE_S:
                continue
            if best is None or candidate.bound_s < best.bound_s:
                best = Coarse(candidate.offset_s, candidate.bound_s, candidate.name)
        return best

    def _vouches(self, identity: SourceId, now: Now) -> bool:
        """Whether a source that measures some other clock is good enough there."""
        for clock, model in self._clocks.items():
            source = model.sources.get(identity)
            if source is not None:
                candidate = model.candidate(source, now.clocks[clock], now.mono)
                return _may_number(source) and candidate is not None and candidate.bound_s < COARSE_S
        return False


def _may_number(source: Source) -> bool:
    """A source that is only shown may still tell which second it is; one that is not believed may not."""
    if source.status is not None and source.status.excluded is not None:
        return False
    return source.spec.noselect or source.ruling.state in _COARSE_STATES
