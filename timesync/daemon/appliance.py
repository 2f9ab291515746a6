"""The running system: core, sources, clocks and servers of one configuration on one host.

The same code runs on Linux and in simulated time; whatever differs is behind ``Host``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from ipaddress import ip_address
from itertools import chain

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Leap, Measurement, SourceStatus
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.config.schema import SYSTEM, Config
from timesync.daemon.answers import Answers, view_without_served
from timesync.daemon.assemble import clock_spec, core_settings
from timesync.daemon.crew import Crew
from timesync.daemon.group import Listener, Surroundings
from timesync.daemon.groups import wirings
from timesync.daemon.keeper import Keeper
from timesync.daemon.leap_book import LeapBook, LiveTable, ballots
from timesync.daemon.outputs import Outputs
from timesync.daemon.ptp_group import PtpGroup
from timesync.daemon.publish import Publisher
from timesync.daemon.reload import adoptable
from timesync.daemon.roughtime_group import RoughtimeGroup
from timesync.host import Host
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.v5.bloom import BloomFilter
from timesync.observe.clients import Clientele
from timesync.observe.records.taped import TapedController
from timesync.observe.snapshot import PortFacts, Snapshot
from timesync.runtime.drive import Alarm
from timesync.runtime.steer import Helmsman
from timesync.servo.command import Now, SourceSpec
from timesync.servo.overview import overview
from timesync.servo.view import CoreView, ServoState, SourceState

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

    def __init__(self, config: Config, host: Host, leap_table: LiveTable, start: Start) -> None:
        """Assemble; nothing is sent and no clock is touched before ``start``. Raises ClockError."""
        self.config = config
        self._host = host
        self._start = start
        self._started = host.mono()
        self._warnings: dict[str, str] = {}
        self._outside: dict[str, tuple[str, ...]] = {}
        self._statuses: dict[SourceId, SourceStatus] = {}
        self._keeper = Keeper(host, lambda: self.config.observe.state, start.note)
        self._leaps = LeapBook(leap_table)
        self.controller = self._core()
        self._helmsman = Helmsman(
            self.controller, host, self._core_noted, self._set_poll, self._probe, self._leap, self._moved
        )
        self._answers = Answers(self.controller, self._helmsman.now, self._leaps)
        listener = Listener(self._added, self._removed, self._measured, self._on_status, start.note, self._on_fence)
        self._around = Surroundings(host, leap_table, listener, self._answers)
        self._crew = Crew(self._around, self._keeper.calibration)
        self._away: set[ClockId] = set()
        self._celsius: dict[str, float] = {}
        self._own = host.own_addresses()
        self._publisher = Publisher(host, leap_table, self._leaps, start.note, self._references)
        self._outputs = Outputs(self._around)
        self._ticks = 0
        self._stopped = False
        self._tick_alarm = Alarm(host, self._tick)
        self._first_crew = self._crew.prepare(wirings(config, start.keys))

    def _core(self) -> TapedController:
        remembered = self._keeper.clocks()
        clocks = [clock_spec(self.config, clock, remembered.get(clock.id)) for clock in self._host.clocks.values()]
        now = Now(self._host.mono(), {clock: handle.read().at for clock, handle in self._host.clocks.items()})
        settings = core_settings(self.config, initial_step_anything=self._start.initial_step_anything)
        return TapedController(settings, clocks, now)

    # -- life

    def start(self) -> None:
        """Set remembered frequencies, open the server, ask the sources."""
        self._helmsman.perform(self.controller.start(self._helmsman.now()))
        self._open_service()
        self._outputs.configure(self.config)
        self._crew.take_over(self._first_crew)
        self._tick()

    def stop(self) -> None:
        """Stop asking and serving; the clocks go on at their right frequency, what was learnt is saved."""
        self._tick_alarm.cancel()
        self._helmsman.perform(self.controller.finish(self._helmsman.now()))
        self._helmsman.stop()
        self._save()
        self._stopped = True
        self._crew.end()
        self._outputs.close()
        self._publisher.close()

    def reload(self, config: Config, keys: Mapping[int, SymmetricKey]) -> list[str]:
        """Take over another configuration; returns what needs a restart to take effect, in words."""
        config, late = adoptable(config, self.config)
        # Before anything is ended: what cannot be made must leave the old running.
        change = self._crew.prepare(wirings(config, keys))
        serves_anew = (
            keys != self._start.keys or config.serve != self.config.serve or self._publisher.nts.outdated(config)
        )
        self.config = config
        self._start = replace(self._start, keys=keys, initial_step_anything=False)
        self.controller.configure(core_settings(config, initial_step_anything=False))
        self._crew.take_over(change)
        if serves_anew:
            self._open_service()
            self._outputs.configure(config)
        return late

    def _open_service(self) -> None:
        trouble = self._publisher.open(self.config, self._start.keys, self.view)
        if trouble is None:
            self._warnings.pop("serve", None)
        else:
            self._warn("serve", trouble)

    def _references(self) -> BloomFilter:
        """The reference ids of all that our time is from."""
        selected = [
            (source.spec.source, source.spec.reference_id)
            for source in self.controller.sources()
            if source.ruling.state is SourceState.SELECTED and source.spec.parent is None
        ]
        return self._around.references.served(self._host.entropy, selected)

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

    def _on_fence(self, fence: Fence | None, awaited: bool) -> None:
        if self._stopped:
            return
        self._helmsman.perform(self.controller.on_fence(fence, self._helmsman.now(), awaited=awaited))
        self._check_clocks()

    # -- what the core says

    def _set_poll(self, source: SourceId, exponent: int) -> None:
        for group in self._crew:
            group.set_poll(source, exponent)

    def _probe(self, source: SourceId) -> None:
        for group in self._crew:
            group.probe(source)

    def _moved(self, clock: ClockId, stepped: bool) -> None:
        """A clock runs differently from now on, and so must what is served of it."""
        if stepped:
            for group in self._crew.running():
                group.clock_stepped(clock)
        # Packets are stamped by the system clock or by cards, and what is served is told from there.
        stamps = clock == SYSTEM or self._host.clocks[clock].kind == "phc"
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
        self._answers.watch()
        self._settle_leap()
        self._publisher.tick()
        if self._publisher.running:
            self._publisher.publish(self.view())
        self._outputs.tick(self._answers.known, self._leap)
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
                self.controller.foreign_step(clock, now.clocks[clock], handle.epoch, handle.frequency())
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
            self._outputs.clocks_came(came)
            self._crew.clocks_came()

    def _review(self) -> None:
        self._own = self._host.own_addresses()
        outvoted = {
            source.spec.source for source in self.controller.sources() if source.ruling.state is SourceState.FALSETICKER
        }
        self._crew.review(outvoted, self._own)
        self._check_clocks()

    def _check_clocks(self) -> None:
        """Say of each clock that it cannot be right as it reads, for those who use it whatever we claim of it."""
        now = self._helmsman.now()
        for clock in self.controller.clocks:
            why, key = self.controller.contradiction(clock, now), f"contradicted:{clock}"
            if why is None:
                self._warnings.pop(key, None)
            elif key not in self._warnings:
                self._warn(key, f"clock {clock} is {why}")

    def _vote(self) -> None:
        """Which leap second to believe in."""
        said = ballots(self._around.receivers, self.controller.sources())
        for doubt in self._leaps.vote(said, self._served_reading()):
            self._start.note(Noted("warning", "leap-vote", doubt))

    def _settle_leap(self) -> None:
        final = self._leaps.settle(self._served_reading())
        if final is not None:
            self._start.note(Noted("warning", "leap-vote", final))

    def _served_reading(self) -> Instant[Tai]:
        """What the served clock reads; before its device has been there, what the system clock does."""
        clocks = self._helmsman.now().clocks
        served = self.controller.settings.served
        return clocks[served if served in clocks else ClockId(SYSTEM)]

    def _feel(self) -> None:
        """Read the thermometers."""
        for name, clock in self.config.clocks.items():
            if clock.thermometer is None or ClockId(name) not in self._host.clocks:
                continue
            try:
                celsius = self._host.devices.temperature(clock.thermometer)
            except OSError as error:
                self._celsius.pop(ClockId(name), None)
                text = f"the thermometer {clock.thermometer} cannot be read: {error.strerror or error}"
                if self._warnings.get(f"temperature:{name}") != text:
                    self._warn(f"temperature:{name}", text)
                continue
            self._warnings.pop(f"temperature:{name}", None)
            self._celsius[ClockId(name)] = celsius
            self._helmsman.perform(self.controller.on_temperature(ClockId(name), celsius, self._helmsman.now()))

    def _check_leap_table(self) -> None:
        table = self._around.leap_table
        text = table.expiry_warning(table.utc(self._served_reading()))
        if text is None:
            self._warnings.pop("leap", None)
        elif self._warnings.get("leap") != text:
            self._warn("leap", text)

    def _save(self) -> None:
        self._keeper.save(self.controller.memory(self._helmsman.now()), self._crew.calibrations())

    def _warn(self, key: str, text: str) -> None:
        self._warnings[key] = text
        self._start.note(Noted("warning", key, text))

    def warn_of(self, key: str, texts: Iterable[str]) -> None:
        """Show these warnings of somebody outside, in place of those that the same key had."""
        self._outside[key] = tuple(texts)

    # -- views

    def mono(self) -> Instant[Mono]:
        """The host's monotonic time."""
        return self._host.mono()

    def now(self) -> Now:
        """The present, for the core."""
        return self._helmsman.now()

    def view(self) -> CoreView:
        """The core, now."""
        served = self.controller.settings.served
        if served in self.controller.clocks:
            return overview(self.controller, self._helmsman.now())
        why = self._host.missing.get(served, "it is not there")
        disciplined = self.config.clocks[served].discipline
        return view_without_served(self.controller, self._helmsman.now(), why, disciplined=disciplined)

    def _ports(self) -> tuple[PortFacts, ...]:
        return tuple(port for group in self._crew if isinstance(group, PtpGroup) for port in group.ports())

    async def clients(self) -> Clientele:
        """Whom we tell the time, as far as we know."""
        ntp = await self._publisher.clients()
        serve = self.config.serve.ntp
        recorded = serve is not None and serve.clients > 0
        ke, csptp = await self._publisher.nts.clients(), self._outputs.csptp_clients()
        return Clientele(at=self._host.mono(), recorded=recorded, ntp=ntp, ke=ke, csptp=csptp, ports=self._ports())

    def snapshot(self) -> Snapshot:
        """The appliance, now."""
        view = self.view()
        facts = self._crew.facts().items()
        ptp = [group for group in self._crew if isinstance(group, PtpGroup)]
        rough = (group.witnesses() for group in self._crew if isinstance(group, RoughtimeGroup))
        table = self._around.leap_table
        # Only hardware can be missing.
        kinds: dict[str, str] = dict.fromkeys(self._host.missing, "phc")
        kinds.update((clock, handle.kind) for clock, handle in self._host.clocks.items())
        missing = (f"clock {clock} is not there: {why}" for clock, why in self._host.missing.items())
        return Snapshot(
            core=view,
            kinds=kinds,
            facts={identity: replace(known, status=self._statuses.get(identity)) for identity, known in facts},
            unresolved=self._crew.stuck(),
            witnesses=tuple(chain.from_iterable(rough)),
            ports=self._ports(),
            instances=tuple(filter(None, (group.seen() for group in ptp))),
            started=self._started,
            tai_utc=self._leaps.today(view.served, self._served_reading())[1],
            leap_table_left=None if table.expires is None else table.expires - table.utc(self._served_reading()),
            served=self._publisher.addresses,
            addresses=tuple(sorted(address for address in self._own if not ip_address(address).is_loopback)),
            celsius=dict(self._celsius),
            csptp=self._outputs.csptp(),
            nts=self._publisher.nts.facts(),
            counters=self._publisher.counters,
            warnings=(
                *self._warnings.values(),
                *chain.from_iterable(self._outside.values()),
                *self._keeper.warnings.values(),
                *missing,
                *self._outputs.troubles(),
                *self._publisher.troubles(),
                *self._helmsman.troubles(),
            ),
        )
