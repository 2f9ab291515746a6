"""The running system: core, sources, clocks and servers of one configuration on one host.

The same code runs on Linux and in simulated time; whatever differs is behind ``Host``.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Leap, Measurement, SourceStatus
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.base.utc import LeapTable
from timesync.config.schema import Config, ServeNtp
from timesync.daemon import memory
from timesync.daemon.assemble import NtpLike, clock_spec, core_settings, server_settings
from timesync.daemon.sources import Listener, NtpGroup
from timesync.host import Host, NtpService, ServeState
from timesync.ntp.auth import SymmetricKey
from timesync.observe.snapshot import Snapshot, SourceFacts
from timesync.runtime.drive import Alarm
from timesync.runtime.steer import Helmsman
from timesync.servo.command import ClockMemory, Now, SourceSpec
from timesync.servo.controller import Controller
from timesync.servo.overview import overview
from timesync.servo.view import CoreView, ServoState, SourceState
from timesync.wire.ntp import timestamp_from_utc

_TICK = Duration.from_s(1)
_REVIEW_TICKS = 16
_SAVE_TICKS = 3600
_FIRST_SAVE_TICKS = 120
_SERVE_VALID = Duration.from_s(10)
"""A server whose daemon says nothing for so long declares itself unsynchronized."""

_SYNCHRONIZED_STRATUM = 16
_STATES = frozenset(state.value for state in ServoState)
"""Names of the core's notes that say that a clock has changed its state."""

_LEAST_PRECISION = -29


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
        """Assemble; nothing is sent and no clock is touched before ``start``."""
        self.config = config
        self._host = host
        self._leap_table = leap_table
        self._start = start
        self._started = host.mono()
        self._warnings: dict[str, str] = {}
        self._statuses: dict[SourceId, SourceStatus] = {}
        remembered = self._remembered()
        clocks = [clock_spec(config, clock, remembered.get(clock.id)) for clock in host.clocks.values()]
        now = Now(host.mono(), {clock: handle.read().at for clock, handle in host.clocks.items()})
        settings = core_settings(config, initial_step_anything=start.initial_step_anything)
        self.controller = Controller(settings, clocks, now)
        self._helmsman = Helmsman(
            self.controller, host, self._core_noted, self._set_poll, self._probe, self._leap, self._moved
        )
        self._groups: list[NtpGroup] = [self._group(source) for source in config.sources]
        self._service: NtpService | None = None
        self._ticks = 0
        self._tick_alarm = Alarm(host, self._tick)
        self._leap_memo: dict[ClockId, tuple[int, tuple[Leap, int]]] = {}

    # -- life

    def start(self) -> None:
        """Set remembered frequencies, open the server, ask the sources."""
        self._helmsman.perform(self.controller.start(self._helmsman.now()))
        self._open_service()
        for group in self._groups:
            group.start()
        self._tick()

    def stop(self) -> None:
        """Stop asking and serving; the clocks go on at their right frequency, what was learnt is saved."""
        self._tick_alarm.cancel()
        self._helmsman.perform(self.controller.finish(self._helmsman.now()))
        self._helmsman.stop()
        self._save()
        for group in self._groups:
            group.stop()
        if self._service is not None:
            self._service.close()
            self._service = None

    def reload(self, config: Config, keys: Mapping[int, SymmetricKey]) -> list[str]:
        """Take over another configuration; returns what needs a restart to take effect, in words."""
        needs_restart = []
        if config.clocks != self.config.clocks or config.served_clock() != self.config.served_clock():
            needs_restart.append("clocks")
        if (config.observe.control, config.observe.state) != (self.config.observe.control, self.config.observe.state):
            needs_restart.append("observe.control and observe.state")
        before, self.config = self.config, config.model_copy(update={"clocks": self.config.clocks})
        changed_keys = keys != self._start.keys
        self._start = Start(keys, self._start.note, self._start.initial_step_anything)
        self.controller.configure(core_settings(self.config, initial_step_anything=False))
        kept = [] if changed_keys else [group for group in self._groups if group.source in config.sources]
        for group in self._groups:
            if group not in kept:
                group.stop()
        known = [group.source for group in kept]
        fresh = [self._group(source) for source in config.sources if source not in known]
        self._groups = kept + fresh
        for group in fresh:
            group.start()
        if changed_keys or before.serve != config.serve:
            if self._service is not None:
                self._service.close()
                self._service = None
            self._open_service()
        return needs_restart

    def _group(self, source: NtpLike) -> NtpGroup:
        clock = ClockId(self.config.clock_of(source))
        listener = Listener(self._added, self._removed, self._measured, self._on_status, self._start.note)
        return NtpGroup(source, clock, self._host, self._leap_table, self._start.keys, listener)

    def _open_service(self) -> None:
        serve: ServeNtp | None = self.config.serve.ntp
        if serve is None:
            self._warnings.pop("serve", None)
            return
        try:
            settings = server_settings(self.config, self._start.keys)
            self._service = self._host.serve_ntp(settings, serve.listen, serve.workers)
        except OSError as error:
            where = ", ".join(str(endpoint) for endpoint in serve.listen)
            text = f"NTP cannot be served on {where}: {error.strerror or error}{_advice(error)}; the rest keeps running"
            self._warn("serve", text)
            return
        self._warnings.pop("serve", None)
        self._publish(self.view())

    # -- what sources say

    def _added(self, spec: SourceSpec) -> None:
        self.controller.add_source(spec)

    def _removed(self, source: SourceId) -> None:
        self._statuses.pop(source, None)
        self._helmsman.perform(self.controller.remove_source(source, self._helmsman.now()))

    def _measured(self, source: SourceId, measurement: Measurement) -> None:
        self._helmsman.perform(self.controller.on_measurement(measurement, source, self._helmsman.now()))

    def _on_status(self, status: SourceStatus) -> None:
        self._statuses[status.source] = status
        self._helmsman.perform(self.controller.on_status(status, self._helmsman.now()))

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
                group.clock_stepped(clock)
        if clock == self.controller.settings.served:
            self._publish(self.view())

    def _core_noted(self, noted: Noted) -> None:
        self._start.note(noted)
        if noted.name in _STATES:
            # At once, so that who waited for the lock is not then told by the server that there is none.
            self._publish(self.view())

    # -- once a second

    def _tick(self) -> None:
        self._tick_alarm.set(self._host.mono() + _TICK)
        self._ticks += 1
        foreign = self._host.check_foreign()
        if foreign is not None:
            self._start.note(Noted("warning", "foreign-change", foreign))
        self._notice_steps()
        if self._service is not None:
            self._publish(self.view())
        if self._ticks % _REVIEW_TICKS == 0:
            self._review()
        if self._ticks == _FIRST_SAVE_TICKS or self._ticks % _SAVE_TICKS == 0:
            self._save()
            self._check_leap_table()

    def _notice_steps(self) -> None:
        for clock, handle in self._host.clocks.items():
            stamp = handle.read()
            if stamp.epoch != self.controller.clocks[clock].ledger.epoch:
                self.controller.foreign_step(clock, stamp.at, stamp.epoch)
                self._moved(clock, True)

    def _review(self) -> None:
        own = self._host.own_addresses()
        outvoted = {
            source.spec.source for source in self.controller.sources() if source.ruling.state is SourceState.FALSETICKER
        }
        for group in self._groups:
            taken = [
                server.endpoint.address
                for other in self._groups
                if other is not group
                for server in other.servers.values()
            ]
            group.review(outvoted, own, taken)

    def _check_leap_table(self) -> None:
        served = self._host.clocks[self.controller.settings.served].read().at
        text = self._leap_table.expiry_warning(self._leap_table.utc(served))
        if text is None:
            self._warnings.pop("leap", None)
        elif self._warnings.get("leap") != text:
            self._warn("leap", text)

    def _publish(self, view: CoreView) -> None:
        if self._service is None:
            return
        clock = self._host.clocks[view.served]
        synchronized = view.stratum < _SYNCHRONIZED_STRATUM
        self._service.publish(
            ServeState(
                synchronized=synchronized,
                leap=self._announced(view) if synchronized else Leap.UNKNOWN,
                stratum=view.stratum,
                reference_id=view.reference_id,
                root_delay=view.root_delay,
                root_dispersion=view.root_dispersion,
                dispersion_rate=view.dispersion_rate,
                at=view.at,
                valid_until=view.at + _SERVE_VALID,
                reference_time=self._reference_time(view.reference_time),
                precision=_log2(clock.limits.precision),
                serving_map=clock.serving_map(),
                epoch=clock.epoch,
            )
        )

    def _reference_time(self, at: Instant[Tai] | None) -> int:
        return 0 if at is None else timestamp_from_utc(self._leap_table.utc(at))

    def _announced(self, view: CoreView) -> Leap:
        """The leap second to announce: the table knows while it is valid, else what the sources say."""
        at = self._leap_table.utc(self._host.clocks[view.served].read().at)
        if self._leap_table.expires is not None and at < self._leap_table.expires:
            return self._leap_table.pending_month(at)
        return view.leap

    def _leap(self, clock: ClockId) -> tuple[Leap, int]:
        """The leap second at the end of this UTC day, and TAI - UTC; worked out once a second."""
        at = self._host.clocks[clock].read().at
        second = at.scaled_ns // _TICK.scaled_ns
        memo = self._leap_memo.get(clock)
        if memo is None or memo[0] != second:
            utc = self._leap_table.utc(at)
            memo = (second, (self._leap_table.pending_today(utc), self._leap_table.tai_utc(utc)))
            self._leap_memo[clock] = memo
        return memo[1]

    # -- memory and views

    def _remembered(self) -> dict[ClockId, ClockMemory]:
        try:
            data = self._host.load(memory.FILE)
            return {} if data is None else memory.decode(data)
        except (OSError, memory.DriftFileError) as error:
            text = f"the drift file cannot be used ({error}): starting without a known frequency"
            self._warn("drift", text)
            return {}

    def _save(self) -> None:
        kept = self.controller.memory(self._helmsman.now())
        if not kept:
            return
        try:
            self._host.save(memory.FILE, memory.encode(kept))
        except OSError as error:
            text = (
                f"what was learnt cannot be saved in {self.config.observe.state}: {error.strerror or error}; "
                "after a restart the frequency is learnt anew"
            )
            if self._warnings.get("state") != text:
                self._warn("state", text)
        else:
            self._warnings.pop("state", None)
            if self._warnings.pop("drift", None) is not None:
                self._start.note(Noted("info", "drift", "the drift file was written anew"))

    def _warn(self, key: str, text: str) -> None:
        self._warnings[key] = text
        self._start.note(Noted("warning", key, text))

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
        for group in self._groups:
            for identity, server in group.servers.items():
                facts[identity] = SourceFacts(
                    kind=group.kind,
                    address=str(server.endpoint),
                    status=self._statuses.get(identity),
                    drops=server.drops,
                )
        return Snapshot(
            core=view,
            kinds={clock: handle.kind for clock, handle in self._host.clocks.items()},
            facts=facts,
            unresolved={group.name: group.trouble for group in self._groups if group.trouble is not None},
            started=self._started,
            tai_utc=self._leap(view.served)[1],
            served=() if self._service is None else tuple(str(endpoint) for endpoint in self._service.addresses),
            counters=None if self._service is None else self._service.counters(),
            warnings=(*self._warnings.values(), *self._helmsman.troubles()),
        )


def _log2(precision: Duration) -> int:
    """Log2 of a precision in seconds, rounded up (RFC 5905, 7.3 "precision")."""
    exponent = _LEAST_PRECISION
    while Duration.from_s(2.0**exponent) < precision:
        exponent += 1
    return exponent


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return " (ports below 1024 need root or CAP_NET_BIND_SERVICE)"
    if error.errno == errno.EADDRINUSE:
        return " (another NTP server runs there; see `ss -ulpn`)"
    return ""
