"""Feeds a recording to the core again.

There are two ways. *Faithfully*, the core is told exactly what it was told, and its commands are compared with what
was done to the clocks. *Otherwise*, it has other settings and its own way: its commands are carried out on the free
clocks of the recording, and every reading and measurement is what it would have been then. Measurements come when they
came: another pace of asking is not replayed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.observe.records import rows
from timesync.observe.records.pack import unpack
from timesync.observe.records.rows import RecordError, Row
from timesync.observe.replay.steered import Twice, carried
from timesync.observe.replay.told import Opening, fence_of, measurement_of, mono_of, now_of, status_of
from timesync.servo.command import ClockSpec, Command, CoreSettings, Now, SetFrequency, SourceSpec, StepClock
from timesync.servo.controller import Controller

_LATE: Final = Duration.from_s(0.05)
"""A deadline that the recording met no later than this is not met by ourselves before."""

_WAKINGS: Final = 100_000
"""Between two rows: more are a fault of ours."""

SAME_RATE: Final = 1e-9
"""Kernels round frequencies; a command and what was taken of it differ by less."""

_SAME_STEP: Final = Duration.from_s(1e-6)


@dataclass(slots=True)
class Fidelity:
    """How well the core's commands agree with what was done to the clocks.

    Only commands since a beginning that was one count: of a recording that begins in the middle, the core had learnt
    what the replay cannot know.

    Attributes:
        compared: Changes of frequency and steps that were recorded.
        same: Those that the core commands again, within what a clock rounds.
        apart: The largest difference of a frequency among these, a ratio.
        openings: How often the recording began in the middle.
        gaps: How often rows are missing.
    """

    compared: int = 0
    same: int = 0
    apart: float = 0.0
    openings: int = 0
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment of a replay.

    Attributes:
        row: What was told last.
        now: The present; readings of the replayed clocks.
        core: The core, for looking only.
        clocks: Each clock, recorded and replayed.
        notes: What the core has said since the moment before.
    """

    row: Row
    now: Now
    core: Controller
    clocks: dict[ClockId, Twice]
    notes: list[Noted] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Changes:
    """What a replay does otherwise.

    Attributes:
        settings: Makes its settings of the recorded ones.
        source: Makes its source of a recorded one.
    """

    settings: Callable[[CoreSettings], CoreSettings] = lambda settings: settings
    source: Callable[[SourceSpec], SourceSpec] = lambda spec: spec


class Player:
    """One replay.

    Attributes:
        fidelity: Filled in by a faithful one.
    """

    def __init__(self, changes: Changes | None = None) -> None:
        """``changes``: None replays faithfully."""
        self._changes = changes
        self._session: int | None = None
        self._core: Controller | None = None
        self._adrift = False
        self._exact = False
        self._clocks: dict[ClockId, Twice] = {}
        self._before: tuple[Instant[Mono], dict[ClockId, Instant[Tai]]] | None = None
        self._notes: list[Noted] = []
        self.fidelity = Fidelity()

    def play(self, recording: Iterable[Row]) -> Iterator[Moment]:
        """The moments of a recording, one for each row that has readings of the clocks. Raises RecordError."""
        for row, effects in _groups(recording):
            now = self._happen(row, effects)
            if now is not None and self._core is not None:
                notes, self._notes = self._notes, []
                yield Moment(row, now, self._core, self._clocks, notes)

    # -- what the recording says

    def _happen(self, row: Row, effects: list[Row]) -> Now | None:
        if row.kind == rows.BEGIN:
            self._begin(row)
            return None
        if row.kind == rows.GAP:
            # What was done to the clocks there is not known: on with the next beginning.
            self.fidelity.gaps += 1
            self._adrift, self._core, self._session = True, None, None
        core = self._core
        if core is None and self._adrift:
            return None
        if core is None:
            raise RecordError("the recording has no beginning")
        now = None if row.clocks is None else self._arrive(row, core)
        commands = self._tell(core, row, now)
        self._perform(core, commands, now, effects)
        return now

    def _begin(self, row: Row) -> None:
        opening = Opening(row)
        if opening.continues and opening.session == self._session:
            return  # the same recording in another file
        self._session = opening.session
        self._exact = opening.fresh
        self.fidelity.openings += not opening.fresh
        settings = opening.settings if self._changes is None else self._changes.settings(opening.settings)
        now = now_of(row)
        try:
            self._core = core = Controller(settings, opening.clocks, now)
            self._clocks = {spec.clock: self._twice(spec, now) for spec in opening.clocks}
            for clock, corrections in opening.corrections.items():
                core.clocks[clock].corrections = corrections
            for spec in opening.sources:
                core.add_source(self._changed(spec))
        except KeyError as error:
            raise RecordError(f"a beginning that says nothing of clock {error}") from error
        if opening.fence is not None:
            core.on_fence(opening.fence, now)
        for status in opening.statuses:
            core.on_status(status, now)
        self._before = None

    @staticmethod
    def _twice(spec: ClockSpec, now: Now) -> Twice:
        return Twice(now.clocks[spec.clock], spec.epoch, spec.rate)

    def _changed(self, spec: SourceSpec) -> SourceSpec:
        return spec if self._changes is None else self._changes.source(spec)

    def _arrive(self, row: Row, core: Controller) -> Now:
        """The present of a row, after all that the replayed core wanted to do before it."""
        told = now_of(row)
        known = {clock: at for clock, at in told.clocks.items() if clock in self._clocks}
        free = {clock: self._clocks[clock].free(at) for clock, at in known.items()}
        if self._changes is None:
            return told
        self._wake(core, told.mono, free)
        self._before = told.mono, free
        readings = dict(told.clocks)
        readings.update({clock: self._clocks[clock].moved(at) for clock, at in known.items()})
        return Now(told.mono, readings)

    def _wake(self, core: Controller, until: Instant[Mono], free: dict[ClockId, Instant[Tai]]) -> None:
        """Meet the replayed core's own deadlines."""
        if self._before is None:
            return
        since, began = self._before
        for _ in range(_WAKINGS):
            when = core.deadline()
            if when is None or when + _LATE >= until:
                return
            when = max(when, since)
            share = (when - since).scaled_ns, max((until - since).scaled_ns, 1)
            readings = {
                clock: self._clocks[clock].reading(_between(began.get(clock, at), at, share))
                for clock, at in free.items()
            }
            now = Now(when, readings)
            self._perform(core, core.on_deadline(now), now, [])
        raise RecordError("the core does not come to rest")

    def _tell(self, core: Controller, row: Row, now: Now | None) -> list[Command]:
        if now is None:
            self._tell_of_change(core, row)
            return []
        match row.kind:
            case rows.MEASUREMENT:
                return self._measured(core, row, now)
            case rows.STATUS:
                return core.on_status(status_of(row), now)
            case rows.REMOVED:
                return core.remove_source(SourceId(row.source or ""), now)
            case rows.TEMPERATURE if row.celsius is not None and row.clock in self._clocks:
                return core.on_temperature(ClockId(row.clock), row.celsius, now)
            case rows.FENCE:
                fence, awaited = fence_of(row)
                return core.on_fence(fence, now, awaited=awaited)
            case rows.DEADLINE:
                return core.on_deadline(now)
            case rows.START:
                return core.start(now)
            case rows.FINISH:
                return core.finish(now)
            case rows.CLOCK:
                spec = unpack(ClockSpec, row.details)
                core.add_clock(spec, now)
                self._clocks[spec.clock] = self._twice(spec, now_of(row))
        return []

    def _tell_of_change(self, core: Controller, row: Row) -> None:
        match row.kind:
            case rows.SETTINGS:
                settings = unpack(CoreSettings, row.details)
                core.configure(settings if self._changes is None else self._changes.settings(settings))
            case rows.SOURCE:
                spec = unpack(SourceSpec, row.details)
                if spec.clock in self._clocks and (spec.parent is None or spec.parent in self._clocks):
                    core.add_source(self._changed(spec))
            case rows.FOREIGN:
                self._foreign(core, row)
            case rows.GONE if row.clock in self._clocks:
                core.gone(ClockId(row.clock), str((row.details or {}).get("why", "")))

    def _measured(self, core: Controller, row: Row, now: Now) -> list[Command]:
        m = measurement_of(row)
        source = SourceId(row.source or "")
        near = self._clocks.get(m.local)
        if near is None:
            return []
        if self._changes is not None:
            if m.epoch != near.theirs.epoch:
                return []  # it came too late then, and says nothing now
            m = carried(m, near, self._clocks.get(m.remote))
        return core.on_measurement(m, source, now)

    def _foreign(self, core: Controller, row: Row) -> None:
        """By how much it was set nobody knows: both clocks are what they became."""
        if row.clock not in self._clocks or row.at is None or row.epoch is None:
            return
        clock, rate = ClockId(row.clock), Rate(row.rate or 0.0)
        at: Instant[Tai] = Instant(row.at)
        epoch = row.epoch if self._changes is None else core.clocks[clock].ledger.epoch + 1
        twice = self._clocks[clock] = Twice(at, row.epoch, rate)
        twice.ours = Twice(at, epoch, rate).ours
        core.foreign_step(clock, at, epoch, rate)
        if self._before is not None:
            self._before = mono_of(row), {**self._before[1], clock: twice.free(at)}

    # -- what the core wants

    def _perform(self, core: Controller, commands: list[Command], now: Now | None, effects: list[Row]) -> None:
        left = list(effects)
        for command in commands:
            match command:
                case SetFrequency() | StepClock():
                    match = next((one for one in left if _agrees(command, one)), None)
                    if match is not None:
                        left.remove(match)
                    self._compare(command, match)
                    if self._changes is not None and now is not None:
                        self._command(core, command, match, now)
                    elif match is not None:
                        self._recorded(core, match)
                case Noted():
                    self._notes.append(command)
        for row in left:
            self.fidelity.compared += self._exact
            self._recorded(core, row)

    def _compare(self, command: SetFrequency | StepClock, match: Row | None) -> None:
        if match is None or not self._exact:
            return
        self.fidelity.compared += 1
        self.fidelity.same += 1
        if isinstance(command, SetFrequency):
            self.fidelity.apart = max(self.fidelity.apart, abs(command.rate.ratio - (match.rate or 0.0)))

    def _recorded(self, core: Controller, row: Row) -> None:
        """What was done to the recorded clock; a faithful replay does it too."""
        if row.clock not in self._clocks or row.at is None:
            return
        clock = ClockId(row.clock)
        at: Instant[Tai] = Instant(row.at)
        twice = self._clocks[clock]
        ledgers = (twice.theirs, twice.ours) if self._changes is None else (twice.theirs,)
        if row.kind == rows.APPLIED:
            for ledger in ledgers:
                ledger.steered(Rate(row.rate or 0.0), at)
            if self._changes is None:
                core.applied(clock, Rate(row.rate or 0.0), at, row.noise_s or 0.0)
        elif row.epoch is not None:
            by = Duration(row.offset or 0)
            for ledger in ledgers:
                ledger.stepped(by, at, row.epoch)
            if self._changes is None:
                self._notes.append(core.stepped(clock, by, at, row.epoch))

    def _command(self, core: Controller, command: SetFrequency | StepClock, match: Row | None, now: Now) -> None:
        """Do to the replayed clock what its core wants; at the very moment of the recording where that did the same."""
        clock = command.clock
        twice = self._clocks[clock]
        at = now.clocks[clock]
        if match is not None and match.at is not None:
            at = twice.moved(Instant(match.at))
        if isinstance(command, StepClock):
            epoch = twice.ours.epoch + 1
            twice.ours.stepped(command.by, at, epoch)
            self._notes.append(core.stepped(clock, command.by, at, epoch))
        else:
            rate = command.rate if match is None else Rate(match.rate or 0.0)
            twice.ours.steered(rate, at)
            core.applied(clock, rate, at, 0.0 if match is None else match.noise_s or 0.0)
        if match is not None:
            self._recorded(core, match)


def _agrees(command: SetFrequency | StepClock, row: Row) -> bool:
    """Whether a row is what a clock took of a command."""
    if row.clock != command.clock:
        return False
    if isinstance(command, SetFrequency):
        return row.kind == rows.APPLIED and abs(command.rate.ratio - (row.rate or 0.0)) <= SAME_RATE
    return row.kind == rows.STEPPED and abs(command.by - Duration(row.offset or 0)) <= _SAME_STEP


def _between(first: Instant[Tai], last: Instant[Tai], share: tuple[int, int]) -> Instant[Tai]:
    done, whole = share
    return first + Duration((last - first).scaled_ns * done // whole)


def _groups(recording: Iterable[Row]) -> Iterator[tuple[Row, list[Row]]]:
    """Each row with what was done to the clocks because of it."""
    cause: Row | None = None
    effects: list[Row] = []
    for row in recording:
        if row.kind in rows.EFFECTS and cause is not None:
            effects.append(row)
            continue
        if cause is not None:
            yield cause, effects
        cause, effects = row, []
    if cause is not None:
        yield cause, effects
