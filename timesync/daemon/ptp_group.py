"""A PTP instance at work: its ports on the network, its measurements in the core, and what it may claim from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, assert_never

from timesync.base.ids import ClockId, SourceId, identity_text
from timesync.base.machine import Dropped, Measured, Noted, Status
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.config.ptp import Ptp, PtpPort
from timesync.config.ptp_profiles import domain_of, ptp_profile
from timesync.config.schema import Config
from timesync.daemon import ptp_memory
from timesync.daemon.group import DeviceGroup, Surroundings
from timesync.daemon.ptp_assemble import clock_identity, instance_settings, port_spec, quality, source_spec
from timesync.daemon.ptp_extras import ExtrasMaker
from timesync.daemon.ptp_management import ManagedPort, ManagementNode
from timesync.daemon.ptp_quality import Known
from timesync.daemon.ptp_security import accepts, association
from timesync.host import ClockError
from timesync.observe.snapshot import PortFacts, SourceFacts
from timesync.ptp import outlook
from timesync.ptp.effect import ParentChanged, PtpEffect, SendEvent, SendGeneral, StateChanged
from timesync.ptp.extras import Heard
from timesync.ptp.instance import Instance
from timesync.ptp.link import LinkMemory
from timesync.ptp.states import PortState
from timesync.ptp.view import InstanceView, PortView
from timesync.runtime.drive import Alarm
from timesync.servo.command import SourceSpec
from timesync.servo.view import ServoState
from timesync.transport import PtpSocket
from timesync.wire.ptp_message import MessageType

_TICK = Duration.from_s(1)
_REOPEN_TICKS = 3
_HARDWARE_NOISE_S = 8e-9
_SOFTWARE_NOISE_S = 1e-6
_FOLLOWING = (PortState.UNCALIBRATED, PortState.TIME_RECEIVER)


@dataclass(slots=True)
class _Place:
    """One port between the network and the instance.

    Attributes:
        port: The entry.
        number: ``portNumber``.
        spec: As the core follows it; None for one that only gives time.
        socket: Its open sockets.
        up: Whether its link is up.
        trouble: Why it has no sockets.
        software_because: What was said last of why its card does not stamp.
        locked: What the instance was last told of the servo.
    """

    port: PtpPort
    number: int
    spec: SourceSpec | None
    socket: PtpSocket | None = None
    up: bool = False
    trouble: str | None = None
    software_because: str | None = None
    locked: bool = False


class _Ear:
    """Adds the port's number to what its sockets hear."""

    def __init__(self, group: PtpGroup, place: _Place) -> None:
        self._group = group
        self._place = place

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        """See ``PtpHandler``."""
        self._group.on_message(self._place, data, stamp, source)

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        """See ``PtpHandler``."""
        self._group.on_sent(self._place, token, stamp)

    def on_link(self, *, up: bool) -> None:
        """See ``PtpHandler``."""
        self._group.on_link(self._place, up=up)

    def on_error(self, error: OSError) -> None:
        """See ``PtpHandler``."""
        self._group.on_error(self._place, error)


@dataclass(slots=True)
class _Noise:
    """What stamps are worth, by interface."""

    known: dict[str, float] = field(default_factory=dict)

    def of(self, interface: str) -> float:
        return self.known.get(interface, _SOFTWARE_NOISE_S)


class PtpGroup(DeviceGroup):
    """One entry of ``ptp``."""

    def __init__(self, config: Config, entry: Ptp, around: Surroundings) -> None:
        """Nothing is opened yet."""
        clocks = {ClockId(config.ptp_clock(entry, port)) for port in entry.ports}
        super().__init__(None, around, tuple(sorted(clocks)))
        self.entry = entry
        self.instance: Instance | None = None
        self._config = config
        self._places = [_Place(port, number, None) for number, port in enumerate(entry.ports, start=1)]
        self._noise = _Noise()
        self._extras = ExtrasMaker(config, entry)
        self._clockwork = Alarm(around.host, self._ring)
        self._management = ManagementNode(entry, around, self._perform, self._managed)
        self._ticks = 0
        self._kept: dict[str, LinkMemory] = {}

    @property
    def kind(self) -> str:
        """``ptp``."""
        return "ptp"

    @property
    def name(self) -> str:
        """What the operator calls it."""
        ports = ", ".join(place.port.interface for place in self._places)
        return f"ptp {ports}, domain {domain_of(self.entry)}" if len(self._config.ptp_instances) > 1 else f"ptp {ports}"

    # -- life

    def start(self) -> None:
        """Open the ports, now or when their interfaces appear."""
        for place in self._places:
            place.spec = source_spec(self._config, self.entry, place.port, self._noise.of(place.port.interface))
            if place.spec is not None:
                self._around.listener.added(place.spec)
        self._open()
        self._due()

    def stop(self) -> None:
        """Close them; nothing is sent any more."""
        self._alarm.cancel()
        if self.instance is not None:
            self._perform(self.instance.stop(self._now()))
        self._clockwork.cancel()
        self._management.close()
        for place in self._places:
            if place.socket is not None:
                place.socket.close()
                place.socket = None
            if place.spec is not None:
                self._around.listener.removed(place.spec.source)

    def _open(self) -> None:
        """Open what is not open; the first card that opens names the clock."""
        for place in self._places:
            if place.socket is not None:
                continue
            spec = port_spec(self._config, self.entry, place.port)
            try:
                place.socket = self._around.host.open_ptp(spec, _Ear(self, place))
            except OSError as error:
                text = f"ptp port {place.port.interface}: {error.strerror or error}{_advice(error)}; trying again"
                if place.trouble != text:
                    self._say("warning", "ptp-port", text)
                place.trouble = text
                continue
            if place.trouble is not None:
                self._say("info", "ptp-port", f"ptp port {place.port.interface}: works now")
            place.trouble = None
            self._tell_stamps(place, place.socket.software_because)
            self._noise.known[place.port.interface] = _HARDWARE_NOISE_S if place.socket.hardware else _SOFTWARE_NOISE_S
            self._respecify(place)
            self._use_steps(place)
        self._found()

    def _tell_stamps(self, place: _Place, because: str | None) -> None:
        """Say once why the card does not stamp where it might."""
        if because is not None and because != place.software_because:
            self._say("warning", "ptp-stamps", f"ptp port {place.port.interface}: the kernel stamps: {because}")
        place.software_because = because

    def _use_steps(self, place: _Place) -> None:
        """One-step where it is wanted and the card can do it."""
        if self.instance is None or place.socket is None or place.port.steps != "one-step":
            return
        self.instance.use_one_step(place.number, used=place.socket.one_step)
        if not place.socket.one_step:
            text = f"ptp port {place.port.interface}: the card cannot write the time into Sync; two-step is sent"
            self._say("warning", "ptp-steps", text)

    def _respecify(self, place: _Place) -> None:
        """Now that it is known who takes the stamps: what they are worth."""
        spec = source_spec(self._config, self.entry, place.port, self._noise.of(place.port.interface))
        if place.spec is not None and spec is not None and spec != place.spec:
            self._around.listener.removed(place.spec.source)
            self._around.listener.added(spec)
        place.spec = spec

    def _found(self) -> None:
        first = next((place.socket for place in self._places if place.socket is not None), None)
        if self.instance is not None or first is None:
            return
        noise = {place.port.interface: self._noise.of(place.port.interface) for place in self._places}
        settings = instance_settings(self._config, self.entry, clock_identity(first.mac), noise)
        keys = association(self._config, self.entry)
        self.instance = Instance(settings, self._around.host.rng, accepts(self.entry), keys)
        self._say("info", "ptp", f"{self.name}: this clock is {identity_text(settings.identity)}")
        kept = {place.port.interface: place.number for place in self._places if place.port.interface in self._kept}
        self.instance.restore({number: self._kept[interface] for interface, number in kept.items()})
        self._perform(self.instance.start(self._now()))
        self._claim()
        self._management.begin(self.instance)
        for place in self._places:
            self._use_steps(place)
            if place.up:
                self._perform(self.instance.on_link(place.number, self._now(), up=True))

    def remember(self, calibration: Mapping[str, object]) -> None:
        """What was learnt of the links before the restart; where neighbours may have changed it is not used."""
        if ptp_profile(self.entry.profile).bmca.value == "none":
            self._kept = ptp_memory.decode(calibration)

    def calibration(self) -> Mapping[str, object]:
        """What is known of the links."""
        if self.instance is None or ptp_profile(self.entry.profile).bmca.value != "none":
            return {}
        kept = self.instance.memory()
        return ptp_memory.encode(
            {place.port.interface: kept[place.number] for place in self._places if place.number in kept}
        )

    # -- the network

    def on_message(self, place: _Place, data: bytes, stamp: Stamp | None, source: str) -> None:
        """See ``PtpHandler``."""
        if self.instance is not None:
            if data and data[0] & 0x0F == MessageType.MANAGEMENT:
                security = self.instance.context.security
                managed = data if security is None else security.opened(data)
                if managed is not None:
                    self._management.on_network(place.number, managed, source)
            self._perform(self.instance.on_message(place.number, data, stamp, source, self._now()))

    def on_sent(self, place: _Place, token: int, stamp: Stamp | None) -> None:
        """See ``PtpHandler``."""
        if self.instance is not None:
            self._perform(self.instance.on_sent(place.number, token, stamp, self._now()))

    def on_link(self, place: _Place, *, up: bool) -> None:
        """See ``PtpHandler``."""
        place.up = up
        if self.instance is not None:
            self._perform(self.instance.on_link(place.number, self._now(), up=up))

    def on_error(self, place: _Place, error: OSError) -> None:
        """See ``PtpHandler``: the interface is gone; it is looked for again."""
        if place.socket is not None:
            place.socket.close()  # gives its claim on the card back
        place.socket = None
        place.trouble = f"ptp port {place.port.interface}: {error.strerror or error}; trying again"
        self._say("warning", "ptp-port", place.trouble)
        self.on_link(place, up=False)

    # -- time

    def _now(self) -> Instant[Mono]:
        return self._around.host.mono()

    def _ring(self) -> None:
        if self.instance is not None:
            self._perform(self.instance.on_deadline(self._now()))

    def _due(self) -> None:
        """Once a second: what the core thinks of us, and of the time that we give."""
        self._wake(_TICK)
        self._ticks += 1
        if self._ticks % _REOPEN_TICKS == 0:
            self._open()
        self._claim()
        self._tell_servo()
        self._management.tick()

    def _claim(self) -> None:
        if self.instance is None:
            return
        clock = ClockId(self._config.ptp_clock(self.entry, self._places[0].port))
        known = self._around.core.claims(clock)
        self._say_more(self.instance, clock, known)
        self._perform(self.instance.set_quality(quality(self.entry, known), self._now()))

    def _say_more(self, instance: Instance, clock: ClockId, known: Known) -> None:
        """What is said in the TLVs of the profile; while the clock cannot be read, what was said before."""
        try:
            at = self._around.host.clocks[clock].read().at
        except (ClockError, KeyError):
            return
        parent_s = outlook.quality(instance.context.sets, uncertain=False, precision_s=0.0).root_dispersion.s()
        rates = {place.number: place.socket.bits_per_s for place in self._places if place.socket is not None}
        instance.set_extras(self._extras.make(known, at, parent_s, rates), self._now())

    def _tell_servo(self) -> None:
        """A port is in TIME_RECEIVER only while its clock really follows it closely (MASTER_CLOCK_SELECTED)."""
        if self.instance is None:
            return
        for place in self._places:
            state = self.instance.ports[place.number].state
            if place.spec is None or state not in _FOLLOWING:
                place.locked = False
                continue
            locked = self._around.core.claims(place.spec.clock).state is ServoState.LOCKED
            if locked != place.locked or locked is not (state is PortState.TIME_RECEIVER):
                place.locked = locked
                self._perform(self.instance.servo(place.number, self._now(), locked=locked))

    def clock_stepped(self, clock: ClockId) -> None:
        """Exchanges under way are worth nothing any more."""
        if self.instance is not None:
            self.instance.clock_stepped(clock, self._around.core.last_step(clock))

    # -- effects

    def _perform(self, effects: Iterable[PtpEffect]) -> None:
        try:
            for effect in effects:
                self._do(effect)
        finally:
            # Whatever went wrong with one message, the timers go on.
            if self.instance is not None:
                self._clockwork.set(self.instance.deadline())
        self._management.notify()

    def _do(self, effect: PtpEffect) -> None:
        listener = self._around.listener
        match effect:
            case SendEvent():
                socket = self._places[effect.port - 1].socket
                if socket is None:
                    assert self.instance is not None
                    self._perform(self.instance.on_sent(effect.port, effect.token, None, self._now()))
                else:
                    socket.send_event(effect.data, effect.token, destination=effect.destination, peer=effect.peer)
            case SendGeneral():
                socket = self._places[effect.port - 1].socket
                if socket is not None:
                    socket.send_general(effect.data, destination=effect.destination, peer=effect.peer)
            case Measured():
                source = SourceId(effect.measurement.link)
                listener.measured(source, effect.measurement)
                self._management.measured(effect.measurement)
            case Status():
                listener.status(effect.status)
            case StateChanged():
                place = self._places[effect.port - 1]
                before, after = _state(effect.before), _state(effect.after)
                text = f"ptp port {place.port.interface}: {before} to {after}: {effect.reason}"
                self._say("info", "ptp-state", text)
                self._management.changed()
            case ParentChanged():
                self._say("info", "ptp-parent", f"{self.name}: {_followed(effect)}")
                self._forget_path(effect)
                self._management.changed()
            case Noted():
                listener.note(effect)
            case Dropped():
                pass  # counted by the port itself
            case _:
                assert_never(effect)

    def _forget_path(self, change: ParentChanged) -> None:
        """What was learnt of the way to another clock is void; the clock's own estimate stays."""
        if change.port is None:
            return
        spec = self._places[change.port - 1].spec
        if spec is not None:
            self._around.listener.removed(spec.source)
            self._around.listener.added(spec)

    # -- what is shown

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """The ports as sources."""
        found = {}
        for place in self._places:
            if place.spec is None:
                continue
            view = self._view(place)
            details: dict[str, Any] = {} if view is None else {"port_state": view.state.name}
            drops = {} if view is None else dict(view.counters.drops)
            found[place.spec.source] = SourceFacts(
                kind="ptp", address=place.port.interface, status=None, drops=drops, details=details
            )
        return found

    def _managed(self) -> list[ManagedPort]:
        return [
            ManagedPort(
                number=place.number,
                transport=port_spec(self._config, self.entry, place.port).transport,
                source=None if place.spec is None else place.spec.source,
                socket=place.socket,
            )
            for place in self._places
        ]

    def _view(self, place: _Place) -> PortView | None:
        if self.instance is None:
            return None
        return next(port for port in self.instance.view().ports if port.number == place.number)

    def seen(self) -> InstanceView | None:
        """The instance, for the status; None while it has no identity."""
        return None if self.instance is None else self.instance.view()

    def ports(self) -> list[PortFacts]:
        """For ``timesync ports``."""
        return [self._port_facts(place) for place in self._places]

    def _port_facts(self, place: _Place) -> PortFacts:
        view, instance = self._view(place), self.instance
        spec = port_spec(self._config, self.entry, place.port)
        common = partial(
            PortFacts,
            name=place.port.interface,
            domain=0 if instance is None else instance.context.settings.domain,
            transport=spec.transport,
            timestamping=None if place.socket is None else "hardware" if place.socket.hardware else "software",
            clock=spec.clock,
            source=None if place.spec is None else place.spec.source,
            trouble=place.trouble,
        )
        if view is None or instance is None:
            return common(view=None, grandmaster=None, delay_mechanism=None)
        return common(
            view=view,
            grandmaster=instance.context.sets.parent.grandmaster,
            delay_mechanism=instance.ports[place.number].settings.mechanism.name.lower(),
            heard=_heard(instance, view),
        )


def _heard(instance: Instance, view: PortView) -> Heard | None:
    """What the parent says in the TLVs of profiles; None at a port that follows nobody."""
    if view.parent is None:
        return None
    return replace(instance.context.sets.heard, metadata=instance.view().metadata)


def _state(state: PortState) -> str:
    return state.name.lower().replace("_", " ")


def _followed(change: ParentChanged) -> str:
    return change.text if change.port is None else f"follows {change.text}"


def _advice(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return " (PTP ports need CAP_NET_RAW and CAP_NET_BIND_SERVICE)"
    advice = getattr(error, "advice", None)
    return "" if advice is None else f"; {advice}"
