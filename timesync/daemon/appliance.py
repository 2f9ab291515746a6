"""The running system: core, sources, clocks and servers of one configuration on one host.

The same code runs on Linux and in simulated time; whatever differs is behind ``Host``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace

from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Coarse, Leap, Measurement, SourceStatus
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.base.utc import LeapTable
from timesync.config.schema import Config
from timesync.config.sources import PhcSource, SourceOptions
from timesync.daemon.assemble import clock_spec, core_settings
from timesync.daemon.group import Listener, SourceGroup, Surroundings
from timesync.daemon.groups import link_groups, ptp_groups, source_group
from timesync.daemon.keeper import Keeper
from timesync.daemon.outputs import Outputs
from timesync.daemon.ptp_group import PtpGroup
from timesync.daemon.ptp_quality import Known
from timesync.daemon.publish import LeapBook, Publisher
from timesync.daemon.pulse_group import PPS_REFERENCE
from timesync.gnss.leap_vote import Ballot
from timesync.host import Host
from timesync.ntp.auth import SymmetricKey
from timesync.observe.snapshot import Snapshot, SourceFacts
from timesync.runtime.drive import Alarm
from timesync.runtime.steer import Helmsman
from timesync.servo.command import Now, SourceSpec
from timesync.servo.controller import Controller
from timesync.servo.overview import overview, view_source
from timesync.servo.view import CoreView, ServoState, SourceState, SourceView

_TICK = Duration.from_s(1)
_MISSING_TICKS = 3
_REVIEW_TICKS = 16
_WARMTH_TICKS = 30
_SAVE_TICKS = 3600
_FIRST_SAVE_TICKS = 120
_STATES = frozenset(state.value for state in ServoState)
"""Names of the core's notes that say that a clock has changed its state."""


@dataclass(frozen=True, slots=True)
class Start:
    """How to start.

    Attributes:
        keys: Symmetric keys by id, their secrets read.
        note: Takes what should be said.
        initial_step_anything: The first correction may be of any size.
    """

    keys: Mapping[int, SymmetricKey]
    note: Callable[[Noted], None]
    initial_step_anything: bool = False


class Appliance:
    """Everything that one configuration asks for, running."""

    def __init__(self, config: Config, host: Host, leap_table: LeapTable, start: Start) -> None:
        """Assemble; nothing is sent and no clock is touched before ``start``. Raises ClockError."""
        self.config = config
        self._host = host
        self._start = start
        self._started = host.mono()
        self._warnings: dict[str, str] = {}
        self._statuses: dict[SourceId, SourceStatus] = {}
        self._keeper = Keeper(host, lambda: self.config.observe.state, start.note)
        self._leaps = LeapBook(leap_table)
        self.controller = self._core()
        self._helmsman = Helmsman(
            self.controller, host, self._core_noted, self._set_poll, self._probe, self._leap, self._moved
        )
        listener = Listener(self._added, self._removed, self._measured, self._on_status, start.note)
        self._around = Surroundings(host, leap_table, listener, self)
        self._groups: list[SourceGroup] = [
            *link_groups(config, self._around),
            *ptp_groups(config, self._around, self._keeper.calibration),
            *map(self._group, config.sources),
        ]
        self._waiting: list[SourceGroup] = []
        self._away: set[ClockId] = set()
        self._publisher = Publisher(host, leap_table, self._leaps)
        self._outputs = Outputs(self._around)
        self._ticks = 0
        self._stopped = False
        self._tick_alarm = Alarm(host, self._tick)

    def _core(self) -> Controller:
        remembered = self._keeper.clocks()
        clocks = [clock_spec(self.config, clock, remembered.get(clock.id)) for clock in self._host.clocks.values()]
        now = Now(self._host.mono(), {clock: handle.read().at for clock, handle in self._host.clocks.items()})
        settings = core_settings(self.config, initial_step_anything=self._start.initial_step_anything)
        return Controller(settings, clocks, now)

    def _group(self, source: object) -> SourceGroup:
        def taken() -> list[str]:
            return [address for other in self._groups if other.source is not source for address in other.addresses()]

        return source_group(source, self.config, self._around, self._start.keys, self._keeper.calibration, taken)

    # -- life

    def start(self) -> None:
        """Set remembered frequencies, open the server, ask the sources."""
        self._helmsman.perform(self.controller.start(self._helmsman.now()))
        self._open_service()
        self._outputs.configure(self.config)
        self._begin(self._groups)
        self._tick()

    def stop(self) -> None:
        """Stop asking and serving; the clocks go on at their right frequency, what was learnt is saved."""
        self._tick_alarm.cancel()
        self._helmsman.perform(self.controller.finish(self._helmsman.now()))
        self._helmsman.stop()
        self._save()
        self._stopped = True
        self._end(self._groups)
        self._outputs.close()
        self._publisher.close()

    def reload(self, config: Config, keys: Mapping[int, SymmetricKey]) -> list[str]:
        """Take over another configuration; returns what needs a restart to take effect, in words."""
        needs_restart = []
        if config.clocks != self.config.clocks or config.served_clock() != self.config.served_clock():
            needs_restart.append("clocks")
        if config.ptp_instances != self.config.ptp_instances:
            needs_restart.append("ptp")
        if (config.observe.control, config.observe.state) != (self.config.observe.control, self.config.observe.state):
            needs_restart.append("observe.control and observe.state")
        before = self.config
        config, left_out = _with_clocks_of(config, before)
        needs_restart += left_out
        self.config = config
        changed_keys = keys != self._start.keys
        self._start = replace(self._start, keys=keys, initial_step_anything=False)
        self.controller.configure(core_settings(self.config, initial_step_anything=False))
        kept = [
            group
            for group in self._groups
            if group.source is None or (group.source in config.sources and not changed_keys)
        ]
        self._end([group for group in self._groups if group not in kept])
        known = [group.source for group in kept]
        fresh = [self._group(source) for source in config.sources if source not in known]
        self._groups = kept + fresh
        self._begin(fresh)
        if changed_keys or before.serve != config.serve:
            self._open_service()
            self._outputs.configure(self.config)
        return needs_restart

    def _begin(self, groups: Collection[SourceGroup]) -> None:
        """Start those whose clocks are there; the others wait for them."""
        for group in groups:
            if all(clock in self._host.clocks for clock in group.clocks):
                group.start()
            else:
                self._waiting.append(group)

    def _end(self, groups: Collection[SourceGroup]) -> None:
        for group in groups:
            if group in self._waiting:
                self._waiting.remove(group)
            else:
                group.stop()

    def _open_service(self) -> None:
        trouble = self._publisher.open(self.config, self._start.keys, self.view)
        if trouble is None:
            self._warnings.pop("serve", None)
        else:
            self._warn("serve", trouble)

    # -- what sources say

    def _added(self, spec: SourceSpec) -> None:
        self.controller.add_source(spec)

    def _removed(self, source: SourceId) -> None:
        self._statuses.pop(source, None)
        commands = self.controller.remove_source(source, self._helmsman.now())
        if not self._stopped:
            # At the end one source goes after the other, and who is left is of no interest.
            self._helmsman.perform(commands)

    def _measured(self, source: SourceId, measurement: Measurement) -> None:
        self._helmsman.perform(self.controller.on_measurement(measurement, source, self._helmsman.now()))

    def _on_status(self, status: SourceStatus) -> None:
        self._statuses[status.source] = status
        self._helmsman.perform(self.controller.on_status(status, self._helmsman.now()))

    # -- what sources ask

    def coarse(
        self, clock: ClockId, *, apart_from: Collection[SourceId] = (), only: SourceId | None = None
    ) -> Coarse | None:
        """See ``CoreQuestions``."""
        return self.controller.lineage.coarse(clock, self._helmsman.now(), apart_from=apart_from, only=only)

    def known(self, clock: ClockId) -> Coarse | None:
        """See ``CoreQuestions``."""
        now = self._helmsman.now()
        model = self.controller.clocks[clock]
        estimate = model.estimate(now.clocks[clock])
        bound = model.error_bound_s(now.clocks[clock], now.mono)
        if estimate is None or bound is None or not self.controller.standing(clock).known:
            return None
        return Coarse(estimate.offset_s, bound - abs(estimate.offset_s), f"clock {clock}")

    def vouched(self, *, apart_from: Collection[SourceId]) -> bool:
        """See ``CoreQuestions``."""
        return any(
            source.ruling.state is SourceState.SELECTED
            and source.spec.parent is None
            and source.spec.source not in apart_from
            and source.spec.reference_id != PPS_REFERENCE
            for source in self.controller.sources()
        )

    def adjustment(self, clock: ClockId, at: Instant[Tai]) -> Duration:
        """See ``CoreQuestions``."""
        return self.controller.clocks[clock].ledger.adjustment(at)

    def claims(self, clock: ClockId) -> Known:
        """See ``CoreQuestions``."""
        now = self._helmsman.now()
        model, standing = self.controller.clocks[clock], self.controller.standing(clock)
        at = now.clocks[clock]
        estimate, bound = model.estimate(at), model.error_bound_s(at, now.mono)
        root, _ = self.controller.lineage.root(clock)
        return Known(
            state=standing.state,
            primary=root is not None and root.quality is not None and root.quality.stratum == 0,
            was_locked=standing.state in (ServoState.LOCKED, ServoState.HOLDOVER, ServoState.FREERUN),
            reference_id=None if root is None else root.spec.reference_id,
            bound_s=bound,
            deviation_s=None if estimate is None else estimate.deviation_s,
            tai_utc=self._leaps.today(clock, at)[1],
            tai_utc_known=self._leaps.vouched(at),
            leap=self._leaps.soon(clock, at),
        )

    def seen(self, source: SourceId) -> SourceView | None:
        """See ``CoreQuestions``."""
        found = next((one for one in self.controller.sources() if one.spec.source == source), None)
        return None if found is None else view_source(self.controller.owner(source), found, self._helmsman.now())

    def epoch(self, clock: ClockId) -> int:
        """See ``CoreQuestions``."""
        return self.controller.clocks[clock].ledger.epoch

    # -- what the core says

    def _set_poll(self, source: SourceId, exponent: int) -> None:
        for group in self._groups:
            group.set_poll(source, exponent)

    def _probe(self, source: SourceId) -> None:
        for group in self._groups:
            group.probe(source)

    def _moved(self, clock: ClockId, stepped: bool) -> None:
        """A clock runs differently from now on, and so must what is served of it."""
        if stepped:
            for group in self._groups:
                if group not in self._waiting:
                    group.clock_stepped(clock)
        stamps = self._host.clocks[clock].kind == "phc"
        if self._publisher.running and (stamps or clock == self.controller.settings.served):
            self._publisher.publish(self.view())

    def _core_noted(self, noted: Noted) -> None:
        self._start.note(noted)
        if noted.name in _STATES and self._publisher.running:
            # At once, so that who waited for the lock is not then told by the server that there is none.
            self._publisher.publish(self.view())

    def _leap(self, clock: ClockId) -> tuple[Leap, int]:
        return self._leaps.today(clock, self._helmsman.now().clocks[clock])

    # -- once a second

    def _tick(self) -> None:
        self._tick_alarm.set(self._host.mono() + _TICK)
        self._ticks += 1
        foreign = self._host.check_foreign()
        if foreign is not None:
            self._start.note(Noted("warning", "foreign-change", foreign))
        self._notice_steps()
        if self._publisher.running:
            self._publisher.publish(self.view())
        self._outputs.tick(self.known, self._leap)
        if self._host.missing:
            self._miss_clocks()
            if self._ticks % _MISSING_TICKS == 0:
                self._look_for_clocks()
        if self._ticks % _REVIEW_TICKS == 0:
            self._review()
            self._vote()
        if self._ticks % _WARMTH_TICKS == 0:
            self._feel()
        if self._ticks == _FIRST_SAVE_TICKS or self._ticks % _SAVE_TICKS == 0:
            self._save()
            self._check_leap_table()

    def _notice_steps(self) -> None:
        now = self._helmsman.now()
        for clock, handle in self._host.clocks.items():
            if handle.epoch != self.controller.clocks[clock].ledger.epoch:
                self.controller.foreign_step(clock, now.clocks[clock], handle.epoch)
                self._moved(clock, True)

    def _miss_clocks(self) -> None:
        """A device that vanishes takes what was known of its clock with it."""
        for clock, why in self._host.missing.items():
            if clock in self.controller.clocks and clock not in self._away:
                self._away.add(clock)
                self.controller.gone(clock, why)
                self._helmsman.perform(self.controller.news(clock))
                self._start.note(Noted("error", "device-lost", f"clock {clock}: {why}"))

    def _look_for_clocks(self) -> None:
        """Hardware that appears late is taken in, with all that waited for it."""
        came = self._host.retry_missing()
        for clock in came:
            self._away.discard(clock)
            if clock in self.controller.clocks:
                # It was there before: its new epoch is noticed as any other.
                self._start.note(Noted("info", "device-back", f"clock {clock} is back"))
                continue
            handle = self._host.clocks[clock]
            remembered = self._keeper.clocks().get(clock)
            self.controller.add_clock(clock_spec(self.config, handle, remembered), self._helmsman.now())
            self._start.note(Noted("info", "device-back", f"clock {clock} is there now"))
        if came:
            waiting, self._waiting = self._waiting, []
            self._outputs.configure(self.config)
            self._begin(waiting)

    def _review(self) -> None:
        own = self._host.own_addresses()
        outvoted = {
            source.spec.source for source in self.controller.sources() if source.ruling.state is SourceState.FALSETICKER
        }
        for group in self._groups:
            taken = [address for other in self._groups if other is not group for address in other.addresses()]
            group.review(outvoted, own, taken)

    def _vote(self) -> None:
        """Which leap second to believe in."""
        ballots = [
            Ballot(identity, report.leap, report.tai_utc)
            for identity, report in ((name, one.leap_report()) for name, one in self._around.receivers.items())
        ]
        ballots += [
            Ballot(source.spec.name, source.quality.leap)
            for source in self.controller.sources()
            if source.spec.parent is None
            and source.spec.source not in self._around.receivers
            and source.spec.reference_id != PPS_REFERENCE
            and source.quality is not None
            and source.ruling.state in (SourceState.SELECTED, SourceState.CANDIDATE)
        ]
        at = self._helmsman.now().clocks[self.controller.settings.served]
        for doubt in self._leaps.vote(ballots, at):
            self._start.note(Noted("warning", "leap-vote", doubt))

    def _feel(self) -> None:
        """Read the thermometers."""
        for name, clock in self.config.clocks.items():
            if clock.thermometer is None or ClockId(name) not in self._host.clocks:
                continue
            try:
                celsius = self._host.devices.temperature(clock.thermometer)
            except OSError as error:
                text = f"the thermometer {clock.thermometer} cannot be read: {error.strerror or error}"
                if self._warnings.get(f"temperature:{name}") != text:
                    self._warn(f"temperature:{name}", text)
                continue
            self._warnings.pop(f"temperature:{name}", None)
            self._helmsman.perform(self.controller.on_temperature(ClockId(name), celsius, self._helmsman.now()))

    def _check_leap_table(self) -> None:
        table = self._around.leap_table
        served = self._helmsman.now().clocks[self.controller.settings.served]
        text = table.expiry_warning(table.utc(served))
        if text is None:
            self._warnings.pop("leap", None)
        elif self._warnings.get("leap") != text:
            self._warn("leap", text)

    def _save(self) -> None:
        learnt = {group.name: group.calibration() for group in self._groups}
        self._keeper.save(self.controller.memory(self._helmsman.now()), learnt)

    def _warn(self, key: str, text: str) -> None:
        self._warnings[key] = text
        self._start.note(Noted("warning", key, text))

    # -- views

    def mono(self) -> Instant[Mono]:
        """The host's monotonic time."""
        return self._host.mono()

    def view(self) -> CoreView:
        """The core, now."""
        return overview(self.controller, self._helmsman.now())

    def snapshot(self) -> Snapshot:
        """The appliance, now."""
        view = self.view()
        facts: dict[SourceId, SourceFacts] = {}
        stuck: dict[str, tuple[str, str]] = {}
        for group in self._groups:
            for identity, known in group.facts().items():
                facts[identity] = replace(known, status=self._statuses.get(identity))
            trouble = self._waits_for(group) if group in self._waiting else group.trouble
            if trouble is not None and group.source is not None:
                stuck[group.name] = (group.kind, trouble)
        missing = (f"clock {clock} is not there: {why}" for clock, why in self._host.missing.items())
        return Snapshot(
            core=view,
            kinds={clock: handle.kind for clock, handle in self._host.clocks.items()},
            facts=facts,
            unresolved=stuck,
            ports=tuple(port for group in self._groups if isinstance(group, PtpGroup) for port in group.ports()),
            started=self._started,
            tai_utc=self._leap(view.served)[1],
            served=self._publisher.addresses,
            counters=self._publisher.counters,
            warnings=(
                *self._warnings.values(),
                *self._keeper.warnings.values(),
                *missing,
                *self._outputs.troubles(),
                *self._publisher.troubles(),
                *self._helmsman.troubles(),
            ),
        )

    def _waits_for(self, group: SourceGroup) -> str:
        absent = [clock for clock in group.clocks if clock not in self._host.clocks]
        return f"waits for {' and '.join(f'clock {clock}' for clock in absent)}, which is not there"


def _with_clocks_of(config: Config, before: Config) -> tuple[Config, list[str]]:
    """A new configuration as far as the clocks that run allow, and what of it must wait, in words."""
    served = config.serve.model_copy(update={"clock": before.served_clock()})
    able = config.model_copy(update={"clocks": before.clocks, "serve": served})
    sources = tuple(source for source in config.sources if _clocks_named(source, able) <= set(before.clocks))
    late = [source.title for source in config.sources if source not in sources]
    return able.model_copy(update={"sources": sources}), late


def _clocks_named(source: SourceOptions, config: Config) -> set[str]:
    named = {config.clock_of(source)}
    return named | {source.phc} if isinstance(source, PhcSource) else named
