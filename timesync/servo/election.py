"""Which sources are believed, and which of them feed which clock.

Held anew for one clock whenever something about its sources has changed. What comes of it stands in the sources'
rulings, in the members of the clock's estimator and in the tree that ``Lineage`` keeps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet

from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Leap
from timesync.base.time import Instant, Mono
from timesync.servo.clock_model import ClockModel, Link, Source
from timesync.servo.command import Command, CoreSettings, Now
from timesync.servo.fusion import Member
from timesync.servo.graph import CrossLink, Feed, plan
from timesync.servo.lineage import Lineage
from timesync.servo.select import Candidate, Ruling, Selector, words
from timesync.servo.standing import Standing
from timesync.servo.suffrage import Suffrage
from timesync.servo.view import ServoState, SourceState

LEAST_SAMPLES = 2
"""Measurements of a source before it may stand for election."""

_COASTING_COST_S = 1e3
"""Cost of a clock in holdover as a root of the tree: others follow it only for want of a reference."""

_FAR_WORSE = 6.0
"""A source with a bound so many times the clock's own does not end a holdover."""

_FIRST_WAIT_S = 5.0
_TOO_FAR_S = 3.0
_UNSYNCHRONIZED_STRATUM = 16


class Election:
    """Holds the elections over the controller's own tables."""

    def __init__(
        self,
        settings: CoreSettings,
        clocks: Mapping[ClockId, ClockModel],
        standing: Mapping[ClockId, Standing],
        lineage: Lineage,
    ) -> None:
        """Share the tables; clocks that appear late are found there."""
        self._minimum = settings.minimum_sources
        self._clocks = clocks
        self._standing = standing
        self._lineage = lineage
        self._selectors: dict[ClockId, Selector] = {}
        self._first_measured: Instant[Mono] | None = None
        self.suffrage = Suffrage()

    def configure(self, settings: CoreSettings) -> None:
        """Behave differently from now on."""
        self._minimum = settings.minimum_sources
        for selector in self._selectors.values():
            selector.configure(settings.minimum_sources)

    def measured(self, now: Instant[Mono]) -> None:
        """A measurement came in, of whatever source."""
        if self._first_measured is None:
            self._first_measured = now

    def forget(self, clock: ClockId, source: SourceId) -> None:
        """A source of this clock is no more."""
        self._selector(clock).forget(source)

    def _selector(self, clock: ClockId) -> Selector:
        found = self._selectors.get(clock)
        if found is None:
            found = self._selectors[clock] = Selector(self._minimum)
        return found

    def hold(self, model: ClockModel, now: Now) -> list[Command]:
        """Hold the election for one clock; returns what is to be said of it."""
        reading = now.clocks[model.spec.clock]
        notes: list[Command] = []
        standing: list[Candidate] = []
        for source in model.sources.values():
            candidate = model.candidate(source, reading, now.mono)
            ruling = self._excluded(source, candidate)
            self.suffrage.shut_out.discard(source.spec.source)
            if ruling is not None:
                notes += _ruled(source, ruling)
                continue
            assert candidate is not None
            outside = self.suffrage.outside(candidate, reading, now.mono)
            if outside is not None:
                self.suffrage.shut_out.add(candidate.source)
                notes += _ruled(source, outside, contradicted=True)
            else:
                standing.append(candidate)
        if self._hurried(model, {c.source for c in standing}, now):
            return notes
        silent = self.suffrage.silent(model, standing, self._lineage, self._minimum)
        voters = [c for c in standing if c.source not in silent]
        rulings = self._selector(model.spec.clock).select(voters)
        self._keep_alone(model, voters, rulings, now)
        rulings |= silent
        for source_id, ruling in rulings.items():
            notes += _ruled(model.sources[source_id], ruling)
        self._plan()
        self._feed(model, now)
        return notes

    def _feed(self, model: ClockModel, now: Now) -> None:
        """Have the clock's estimator use what feeds it from now on."""
        clock, reading = model.spec.clock, now.clocks[model.spec.clock]
        feed = self._lineage.feeds.get(clock)
        chosen = () if feed is None else feed.sources
        fed = [model.sources[source_id] for source_id in chosen if source_id in model.sources]
        self._follow(model, feed)
        if feed is not None and feed.parent is None and feed.sources and not model.corrections.led:
            # Until now another clock's time had to do, which may have been poor: it may be set once more.
            model.corrections.led = True
            if model.spec.set_freely:
                model.corrections.updates = 0
        members = {source.spec.source: Member(source.track, source.path_s) for source in fed}
        model.fusion.choose(members, model.ledger.free(reading))
        model.claim(reading, now.mono)
        above = None if feed is None or feed.parent is None else self._standing[feed.parent]
        self._standing[clock].fed(model, fed, now, above)

    def _excluded(self, source: Source, candidate: Candidate | None) -> Ruling | None:
        """Why a source does not even stand for election; None when it does."""
        status = source.status
        parent = source.spec.parent
        if parent is not None and self._lineage.follows(parent, source.spec.clock):
            return Ruling(SourceState.CANDIDATE, f"clock {parent} itself follows this clock")
        if source.spec.noselect:
            return Ruling(SourceState.EXCLUDED, "configured with noselect")
        if status is not None and status.excluded is not None:
            return Ruling(SourceState.EXCLUDED, status.excluded)
        if status is not None and status.sent >= 1 and status.reach == 0 and (status.sent > 3 or candidate):
            count = min(status.sent, 8)
            asked = f"none of the last {count} requests was answered{_said(status.trouble)}"
            due = f"nothing has come from it, {count} times in a row"
            return Ruling(SourceState.UNREACHABLE, due if source.advisor is None else asked)
        if (
            status is not None
            and status.received
            and (status.stratum >= _UNSYNCHRONIZED_STRATUM or status.leap is Leap.UNKNOWN)
        ):
            return Ruling(SourceState.EXCLUDED, "says of itself that it is not synchronized")
        if candidate is None:
            return Ruling(SourceState.WAITING, _unmeasured(source))
        if candidate.samples < LEAST_SAMPLES:
            return Ruling(SourceState.WAITING, f"{candidate.samples} of {LEAST_SAMPLES} measurements needed so far")
        if candidate.bound_s > _TOO_FAR_S:
            return Ruling(SourceState.EXCLUDED, f"its error bound of {words(candidate.bound_s)} is too large")
        return None

    def _hurried(self, model: ClockModel, ready: AbstractSet[SourceId], now: Now) -> bool:
        """At the very start, wait a little for sources that are still to answer: the first step should be right."""
        if model.corrections.updates or self._first_measured is None:
            return False
        if (now.mono - self._first_measured).s() > _FIRST_WAIT_S:
            return False
        waiting = (s for s in model.sources.values() if s.spec.source not in ready and s.spec.parent is None)
        return any(s.ruling.state is SourceState.WAITING for s in waiting)

    def _keep_alone(
        self, model: ClockModel, standing: Iterable[Candidate], rulings: dict[SourceId, Ruling], now: Now
    ) -> None:
        """A clock that was led by a primary reference is not given to a far worse source while it is better alone.

        What it claims of itself in holdover must agree with that source, though: a lie is not kept up.
        """
        place = self._standing[model.spec.clock]
        best = place.best
        if place.state not in (ServoState.LOCKED, ServoState.HOLDOVER) or best is None or best.quality is None:
            return
        bound = model.error_bound_s(now.clocks[model.spec.clock], now.mono)
        chosen = [c for c in standing if rulings[c.source].state is SourceState.SELECTED]
        if bound is None or best.quality.stratum or not chosen or any(c.trusted for c in chosen):
            return
        nearest = min(chosen, key=lambda c: c.bound_s)
        if nearest.bound_s <= _FAR_WORSE * bound or abs(nearest.offset_s) > bound + nearest.bound_s:
            return
        for c in chosen:
            rulings[c.source] = Ruling(
                SourceState.CANDIDATE,
                f"agrees, but is good to {words(c.bound_s)} only: alone the clock is still within {words(bound)}",
            )

    @staticmethod
    def _follow(model: ClockModel, feed: Feed | None) -> None:
        """A clock that follows another wanders against it as the link between them shows."""
        link = None if feed is None or feed.parent is None else model.sources.get(feed.sources[0])
        model.follows = link if isinstance(link, Link) else None
        if model.follows is not None:
            model.wander.value = model.follows.wander.value

    def _plan(self) -> None:
        """Which clock is fed by what."""
        references: dict[ClockId, tuple[float, tuple[SourceId, ...]]] = {}
        links: list[CrossLink] = []
        for clock, model in self._clocks.items():
            chosen = [s for s in model.sources.values() if s.ruling.state is SourceState.SELECTED]
            own = [s for s in chosen if s.spec.parent is None]
            if own:
                cost = min(s.path_s + (s.tracker.model.typical_s or 1.0) for s in own)
                references[clock] = (cost, tuple(s.spec.source for s in own))
            elif self._standing[clock].coasting:
                references[clock] = (_COASTING_COST_S, ())
            links += [
                CrossLink(s.spec.source, clock, s.spec.parent, s.tracker.model.typical_s or 1.0)
                for s in chosen
                if s.spec.parent is not None
            ]
        self._lineage.feeds = plan(references, links)


def _said(trouble: str | None) -> str:
    """What the network says of requests, behind what came of them."""
    return "" if trouble is None else f" ({trouble})"


def _unmeasured(source: Source) -> str:
    """Why nothing can be said of a source's offset."""
    if not isinstance(source, Link) or not source.tracker.samples:
        return f"no measurement yet{_said(None if source.status is None else source.status.trouble)}"
    if source.quality is None or not source.far.fusion.ready:
        return f"clock {source.spec.parent} does not know the time itself"
    return "no measurement since one of the two clocks was set"


def _ruled(source: Source, ruling: Ruling, *, contradicted: bool = False) -> list[Command]:
    """Rule on a source; returns a line when it falls from grace or comes back to it.

    With ``contradicted`` it lies outside the fence.
    """
    before = source.ruling.state
    source.ruling = ruling
    if ruling.state is before:
        return []
    name, identity = source.spec.name, source.spec.source
    if contradicted:
        return [Noted("warning", "contradicted", f"{name} is not believed: {ruling.reason}", identity)]
    if ruling.state is SourceState.FALSETICKER:
        return [Noted("warning", "falseticker", f"{name} is not believed: {ruling.reason}", identity)]
    if ruling.state is SourceState.SELECTED:
        return [Noted("info", "selected", f"{name} is selected: {ruling.reason}", identity)]
    if before is SourceState.SELECTED:
        return [Noted("info", "deselected", f"{name} is no longer used: {ruling.reason}", identity)]
    return []
