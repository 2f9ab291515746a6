"""What came of a replay, in figures that can be compared."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from timesync.base.ids import SourceId
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.observe.quantiles import percentile, rms
from timesync.observe.records import rows
from timesync.observe.records.rows import Row
from timesync.observe.replay.gathered import Gathered
from timesync.observe.replay.player import Changes, Fidelity, Moment, Player
from timesync.observe.replay.reference import Course, Reference, estimated, smoothed
from timesync.observe.replay.steered import Twice
from timesync.observe.replay.told import measurement_of
from timesync.servo.command import CoreSettings
from timesync.servo.view import ServoState, SourceState

_EVERY: Final = Duration.from_s(0.9)
"""Between two looks at a replay: about one each second."""

PERCENTILES: Final = (50, 95, 99)


@dataclass(slots=True)
class Figures:
    """One replay.

    Attributes:
        name: What it was.
        settings: What the core was told last.
        span_s: From the first to the last look, in seconds.
        locked_s: When the clock was locked, after the beginning; None: never.
        rms_s: Offset from the reference once locked after the daemon's start, root mean square.
        percentiles_s: Of its size, by percent.
        maximum_s: The largest.
        bound_s: Median of the claimed bound once locked.
        held: Share of the looks at which the offset was within the claimed bound.
        steps: Of the clock, by us.
        selected: Share of the looks at which a source was selected, by name.
    """

    name: str
    settings: CoreSettings | None = None
    span_s: float = 0.0
    locked_s: float | None = None
    rms_s: float = math.nan
    percentiles_s: dict[int, float] = field(default_factory=dict)
    maximum_s: float = math.nan
    bound_s: float = math.nan
    held: float = math.nan
    steps: int = 0
    selected: dict[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class _Look:
    stretch: int
    session: int
    free: Instant[Tai]
    reading: Instant[Tai]
    bound_s: float | None
    locked: bool


class _Stretches:
    """Counts the stretches of a recording: every replay of it has the same ones."""

    def __init__(self) -> None:
        self.number = 0
        self._clock: Twice | None = None

    def see(self, moment: Moment) -> None:
        """To be shown every moment."""
        clock = moment.clocks.get(moment.core.settings.served)
        if clock is not self._clock:
            self._clock = clock
            self.number += 1


class _Watcher:
    """Looks at a replay once a second."""

    def __init__(self) -> None:
        self.looks: list[_Look] = []
        self.stretches = _Stretches()
        self.selected: dict[str, int] = {}
        self.locked_s: float | None = None
        self.settings: CoreSettings | None = None
        self._began: Instant[Mono] | None = None
        self._last: Instant[Mono] | None = None
        self._session: object = None
        self._sessions = 0
        self._steps = 0
        self._steps_before = 0
        self.span_s = 0.0

    @property
    def steps(self) -> int:
        return self._steps + self._steps_before

    def look(self, moment: Moment) -> bool:
        """Whether it was time for a look."""
        self.stretches.see(moment)
        now, core = moment.now, moment.core
        served = core.settings.served
        model = core.clocks.get(served)
        if model is None or served not in moment.clocks:
            return False
        if core is not self._session:
            # Another run of the daemon: its monotonic time may be that of another start of the machine.
            self._session, self._last = core, None
            self._sessions += 1
            self._steps_before, self._steps = self.steps - model.steps, 0
        if self._last is not None and now.mono - self._last < _EVERY:
            return False
        if self._began is None:
            self._began = now.mono
        if self._last is not None:
            self.span_s += (now.mono - self._last).s()
        self._last = now.mono
        self.settings = core.settings
        self._steps = model.steps
        reading = now.clocks[served]
        twice = moment.clocks[served]
        locked = core.standing(served).state is ServoState.LOCKED
        if locked and self.locked_s is None:
            self.locked_s = self.span_s
        bound_s = model.error_bound_s(reading, now.mono)
        self.looks.append(
            _Look(self.stretches.number, self._sessions, twice.ours.free(reading), reading, bound_s, locked)
        )
        for source in core.sources():
            self.selected.setdefault(source.spec.name, 0)
            self.selected[source.spec.name] += source.ruling.state is SourceState.SELECTED
        return True

    def figures(self, name: str, reference: Reference) -> Figures:
        """What came of it, judged by a reference."""
        made = Figures(name, self.settings, self.span_s, self.locked_s, steps=self.steps)
        errors: list[float] = []
        bounds: list[float] = []
        held = claimed = 0
        settled, session = False, 0
        for look in self.looks:
            # A clock that somebody else sets is off; one whose daemon has just started has not been locked yet.
            settled = look.locked or (settled and look.session == session)
            session = look.session
            error = reference.error_s(look.stretch, look.reading, look.free)
            if error is None:
                continue
            if look.bound_s is not None:
                claimed += 1
                held += abs(error) <= look.bound_s
            if settled:
                errors.append(error)
                bounds += [] if look.bound_s is None else [look.bound_s]
        if errors:
            sizes = sorted(map(abs, errors))
            made.rms_s = rms(errors)
            made.percentiles_s = {share: percentile(sizes, share) for share in PERCENTILES}
            made.maximum_s = sizes[-1]
        if bounds:
            made.bound_s = percentile(sorted(bounds), 50)
        if claimed:
            made.held = held / claimed
        made.selected = {source: count / len(self.looks) for source, count in self.selected.items()}
        return made


class Baseline:
    """The recording as it was: the reference that it yields, and its own figures.

    Attributes:
        fidelity: How well the core does again what it did.
        reference: What all replays are judged by; None when there is too little.
        figures: Of the recording itself; None likewise.
    """

    def __init__(self, recording: Iterable[Row]) -> None:
        """Replay it faithfully. Raises RecordError."""
        player = Player()
        self._watcher = _Watcher()
        self._sightings: dict[SourceId, dict[int, Gathered]] = {}
        self._names: dict[SourceId, str] = {}
        self._times: dict[SourceId, int] = {}
        self._points: dict[int, list[tuple[Instant[Tai], Duration]]] = {}
        self._wander = 1e-9
        for moment in player.play(recording):
            looked = self._watcher.look(moment)
            self._measured(moment)
            if looked:
                self._looked(moment)
        self.fidelity: Fidelity = player.fidelity
        self.reference = self._reference()
        self.figures = None if self.reference is None else self._watcher.figures("recorded", self.reference)

    def _measured(self, moment: Moment) -> None:
        row = moment.row
        served = moment.core.settings.served
        if row.kind != rows.MEASUREMENT or row.clock != served or served not in moment.clocks:
            return
        m = measurement_of(row)
        source = next((one for one in moment.core.sources() if one.spec.source == row.source), None)
        if source is None or source.spec.parent is not None or m.epoch != moment.clocks[served].theirs.epoch:
            return
        self._names[source.spec.source] = source.spec.name
        seen = self._sightings.setdefault(source.spec.source, {})
        number = self._watcher.stretches.number
        if number not in seen:
            seen[number] = Gathered(source)
        seen[number].add(m, moment.clocks[served].theirs)

    def _looked(self, moment: Moment) -> None:
        core, served = moment.core, moment.core.settings.served
        for source in core.feed(served):
            self._times[source] = self._times.get(source, 0) + 1
        model = core.clocks[served]
        self._wander = model.wander.value
        reading = moment.now.clocks[served]
        estimate = model.estimate(reading)
        if estimate is not None:
            ledger = moment.clocks[served].theirs
            point = ledger.free(reading), Duration.from_s(estimate.offset_s) - ledger.adjustment(reading)
            self._points.setdefault(self._watcher.stretches.number, []).append(point)

    def _reference(self) -> Reference | None:
        """By the source of the clock's own that tells it best, of those that fed it half of the time at least."""
        best: Reference | None = None
        least = math.inf
        for source, stretches in self._sightings.items():
            if 2 * self._times.get(source, 0) < len(self._watcher.looks):
                continue
            found = {number: gathered.sightings() for number, gathered in stretches.items()}
            every = [one for seen in found.values() for one in seen]
            # Information in all samples together: many good ones are better than one that is.
            total = 1 / sum(1 / one.variance for one in every)
            courses = _known({number: smoothed(seen, self._wander) for number, seen in found.items()})
            if courses and total < least:
                words = f"{self._names[source]}, {sum(one.count for one in stretches.values())} measurements smoothed"
                best, least = Reference(words, courses), total
        if best is not None:
            return best
        courses = _known({number: estimated(points) for number, points in self._points.items()})
        return Reference("the core's own estimate in the recording", courses) if courses else None


def _known(courses: Mapping[int, Course | None]) -> dict[int, Course]:
    return {number: course for number, course in courses.items() if course is not None}


def replay(recording: Iterable[Row], changes: Changes, name: str, reference: Reference) -> Figures:
    """Replay with other settings, judged by the recording's reference. Raises RecordError."""
    watcher = _Watcher()
    for moment in Player(changes).play(recording):
        watcher.look(moment)
    return watcher.figures(name, reference)
