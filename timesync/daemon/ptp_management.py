"""How a PTP instance is managed: by ``pmc`` and ``phc2sys`` over Unix sockets, and by reading over the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from timesync import __version__
from timesync.base.ids import SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Measurement
from timesync.base.time import ZERO, Duration, Instant, Tai
from timesync.config.ptp import Ptp
from timesync.config.ptp_profiles import ptp_profile
from timesync.daemon.group import Surroundings
from timesync.ptp.effect import PtpEffect
from timesync.ptp.instance import Instance
from timesync.ptp.management.data import Description, ManagedClock, PortFacts
from timesync.ptp.management.perform import perform
from timesync.ptp.management.responder import Responder
from timesync.ptp.management.values import Local, ManagementSettings, Network, Outgoing, Where
from timesync.ptp.states import PortState
from timesync.ptp.view import InstanceView
from timesync.transport import ManagementSocket, PtpSocket, TransportName
from timesync.wire.ptp_management_data import NetworkProtocol
from timesync.wire.ptp_management_np import PortTimestamping
from timesync.wire.ptp_message import MessageType

_FOLLOWING = (PortState.UNCALIBRATED, PortState.TIME_RECEIVER)
_PROTOCOLS: Mapping[TransportName, NetworkProtocol] = {
    "udp4": NetworkProtocol.UDP_IPV4,
    "udp6": NetworkProtocol.UDP_IPV6,
    "l2": NetworkProtocol.IEEE_802_3,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedPort:
    """A port as management needs it.

    Attributes:
        number: ``portNumber``.
        transport: Over what it speaks.
        source: The source that it is for the core; None for one that only gives time.
        socket: Its sockets; None while they are not open.
    """

    number: int
    transport: TransportName
    source: SourceId | None
    socket: PtpSocket | None


@dataclass(frozen=True, slots=True)
class _Measured:
    """What the core made of the newest measurement.

    Attributes:
        offset: Our clock minus the timeTransmitter's.
        delay: One way.
    """

    offset: Duration = ZERO
    delay: Duration = ZERO


class ManagementNode:
    """The management of one instance."""

    def __init__(
        self,
        entry: Ptp,
        around: Surroundings,
        perform: Callable[[Iterable[PtpEffect]], None],
        ports: Callable[[], Iterable[ManagedPort]],
    ) -> None:
        """Nothing is opened before ``begin``.

        Args:
            entry: The instance's configuration.
            around: The host and the core.
            perform: Carries out what the instance wants.
            ports: Its ports, now.
        """
        self._path = entry.management
        self._around = around
        self._perform = perform
        self._ports = ports
        self._responder = Responder(ManagementSettings())
        self._description = _description(entry)
        self._instance: Instance | None = None
        self._socket: ManagementSocket | None = None
        self._trouble: str | None = None
        self._facts: dict[int, PortFacts] = {}
        self._news = False
        self._ingress: Instant[Tai] | None = None
        self._measured: _Measured | None = None

    # -- life

    def begin(self, instance: Instance) -> None:
        """The instance is there: answer for it."""
        self._instance = instance
        self.tick()

    def tick(self) -> None:
        """Now and then: open the sockets if they are not, and look at the interfaces again."""
        if self._instance is None:
            return
        self._facts = {port.number: _port_facts(port) for port in self._ports()}
        if self._path is None or self._socket is not None:
            return
        try:
            self._socket = self._around.host.open_management(self._path, self)
        except OSError as error:
            text = f"the management socket {self._path} cannot be opened ({error.strerror or error}); trying again"
            if self._trouble != text:
                self._say("warning", text)
            self._trouble = text
            return
        if self._trouble is not None:
            self._say("info", f"the management socket {self._path} is open now")
        self._trouble = None

    def close(self) -> None:
        """Answer no more."""
        self._instance = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _say(self, level: str, text: str) -> None:
        self._around.listener.note(Noted(level, "ptp-management", text))

    # -- what comes

    def on_management(self, data: bytes, address: str, *, writable: bool) -> None:
        """See ``ManagementHandler``."""
        self._answer(data, Local(address, writable))

    def on_unreachable(self, address: str) -> None:
        """See ``ManagementHandler``."""
        self._responder.on_unreachable(address)

    def on_network(self, number: int, data: bytes, source: str) -> None:
        """A message came in by a port, of whatever type."""
        if data and data[0] & 0x0F == MessageType.MANAGEMENT:
            self._answer(data, Network(number, source))

    def _answer(self, data: bytes, came: Where) -> None:
        instance, now = self._instance, self._around.host.mono()
        if instance is None:
            return
        reaction = self._responder.on_message(data, came, self._clock(instance), now)
        for command in reaction.commands:
            self._say("info", f"management: {command}")
            self._perform(perform(instance, command, now))
        self._news = self._news or bool(reaction.commands)
        self._send(instance, reaction.outgoing)
        self.notify()

    # -- what happens to the instance

    def measured(self, measurement: Measurement) -> None:
        """A Sync led to a measurement, and the core has it."""
        self._ingress, self._measured = measurement.at, None
        self._news = True

    def changed(self) -> None:
        """A port has another state, or the clock another parent."""
        self._news = True

    def notify(self) -> None:
        """Tell subscribers what has changed."""
        instance = self._instance
        if instance is None or not self._news or not self._responder.awaited:
            return
        self._news = False
        self._send(instance, self._responder.notify(self._clock(instance), self._around.host.mono()))

    # -- what goes

    def _send(self, instance: Instance, outgoing: Iterable[Outgoing]) -> None:
        ports = {port.number: port for port in self._ports()}
        for one in outgoing:
            match one.to:
                case Local(address, writable):
                    if self._socket is not None:
                        self._socket.send(one.data, address, writable=writable)
                case Network(number, destination):
                    opened = ports[number].socket
                    if opened is not None:
                        security = instance.context.security
                        data = one.data if security is None else security.seal(one.data)
                        opened.send_general(data, destination=destination)
                        instance.ports[number].counters.sent[MessageType.MANAGEMENT] += 1
                case _:
                    assert_never(one.to)

    # -- the clock

    def _clock(self, instance: Instance) -> ManagedClock:
        view = instance.view()
        follows = any(port.state in _FOLLOWING for port in view.ports)
        if self._measured is None:
            self._measured = self._look(view)
        measured = self._measured if follows else _Measured()
        return ManagedClock(
            view=view,
            local=instance.context.local,
            ports=self._facts,
            description=self._description,
            offset=measured.offset,
            mean_delay=measured.delay,
            ingress=self._ingress if follows else None,
            uncertain=instance.context.uncertain,
        )

    def _look(self, view: InstanceView) -> _Measured:
        """What the core says of the port that takes time."""
        sources = {port.number: port.source for port in self._ports()}
        port = next((port for port in view.ports if port.state in _FOLLOWING), None)
        source = None if port is None else sources[port.number]
        seen = None if source is None else self._around.core.seen(source)
        if port is None or seen is None or seen.offset_s is None:
            return _Measured()
        delay = port.mean_delay
        if delay is None:
            delay = ZERO if seen.delay_s is None else Duration.from_s(seen.delay_s / 2)
        return _Measured(Duration.from_s(seen.offset_s), delay)


def _description(entry: Ptp) -> Description:
    identity = ptp_profile(entry.profile).identity
    return Description(
        product=";timesync;",
        revision=f";;{__version__}",
        profile=None if identity is None else bytes.fromhex(identity.value.replace("-", "")),
    )


def _port_facts(port: ManagedPort) -> PortFacts:
    protocol, opened = _PROTOCOLS[port.transport], port.socket
    if opened is None:
        return PortFacts(protocol=protocol, timestamping=PortTimestamping.SOFTWARE)
    return PortFacts(
        protocol=protocol,
        mac=opened.mac,
        address=opened.address,
        timestamping=PortTimestamping.HARDWARE if opened.hardware else PortTimestamping.SOFTWARE,
        phc_index=-1 if opened.phc is None else opened.phc,
    )
