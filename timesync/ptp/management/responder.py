"""Answers management messages (IEEE 1588-2019, 15.4 and 15.5), as linuxptp's own tools expect them.

Whoever owns the sockets gives each message, and what the clock is like, to ``Responder.on_message``; it returns what
to send and what to change. Which error answers what is ptp4l's way, because pmc, phc2sys and exporters were written
against it: an id about ports is refused by each port that was addressed, an unknown one once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from timesync.base.ids import ALL_CLOCKS, PortIdentity
from timesync.base.time import UNITS_PER_S, Duration, Instant, Mono
from timesync.ptp.management.change import clock_change, port_change, port_command
from timesync.ptp.management.data import ManagedClock, clock_data, port_data
from timesync.ptp.management.events import Subscribers
from timesync.ptp.management.values import (
    CLOCK_IDS,
    NOT_BUILT,
    PORT_IDS,
    Access,
    Local,
    ManagementSettings,
    Network,
    Outgoing,
    Reaction,
    Where,
)
from timesync.ptp.states import PortState
from timesync.ptp.view import PortView
from timesync.wire import ptp
from timesync.wire.error import WireError
from timesync.wire.ptp_management import (
    ErrorId,
    ManagementData,
    ManagementError,
    ManagementId,
    ManagementTlv,
    read_data,
    with_data,
)
from timesync.wire.ptp_management_np import SubscribeEvents
from timesync.wire.ptp_message import NO_FLAGS, Action, Flags, Header, Management, Tlv
from timesync.wire.ptp_tlv import TlvType

_HOPS_AT = 45
"""Octet of ``boundaryHops`` (table 56)."""

_LARGEST = 1400
"""Octets of an answer's TLV; with all headers around it, it must fit into one Ethernet frame."""

_ALL_PORTS = 0xFFFF
_REQUESTERS = 64
_REQUESTER_PATIENCE = Duration.from_s(30)
_FORWARDING = frozenset(
    {
        PortState.PRE_TIME_TRANSMITTER,
        PortState.TIME_TRANSMITTER,
        PortState.UNCALIBRATED,
        PortState.TIME_RECEIVER,
    }
)
"""States in which a boundary clock passes management on (15.3.3)."""

_OWNER_ONLY = frozenset({ManagementId.PORT_PROPERTIES_NP, ManagementId.PORT_HWCLOCK_NP})
"""Names of this machine's devices; told over the writable socket only."""


class _Budget:
    """A token bucket (the generic cell rate algorithm)."""

    def __init__(self, rate: int, burst: int) -> None:
        self._apart = UNITS_PER_S // max(rate, 1)
        self._depth = self._apart * max(burst, 1)
        self._full_at: int | None = None

    def take(self, now: Instant[Mono]) -> bool:
        at = now.scaled_ns
        full_at = at if self._full_at is None else max(self._full_at, at)
        if full_at + self._apart - at > self._depth:
            return False
        self._full_at = full_at + self._apart
        return True


@dataclass(frozen=True, slots=True)
class _Request:
    """A message that is for this clock."""

    message: Management
    tlv: ManagementTlv
    came: Where
    clock: ManagedClock

    @property
    def writable(self) -> bool:
        """It came over the socket of this machine's owner."""
        return isinstance(self.came, Local) and self.came.writable

    @property
    def identity(self) -> PortIdentity:
        """Who answers for the whole clock: the port that the message came by, port 0 on a Unix socket."""
        number = self.came.port if isinstance(self.came, Network) else 0
        return PortIdentity(self.clock.view.settings.identity, number)


_Ask = Callable[[_Request, PortView, Reaction], ManagementData | ErrorId | None]
"""What one port answers: data, an error, or None when the id means nothing to it."""


class Responder:
    """The management node of one instance."""

    def __init__(self, settings: ManagementSettings) -> None:
        self.drops: Counter[str] = Counter()
        self._settings = settings
        self._subscribers = Subscribers()
        self._budget = _Budget(settings.network_rate, settings.network_burst)
        self._requesters: dict[PortIdentity, tuple[str, Instant[Mono]]] = {}

    # -- what the owner calls

    def on_message(self, data: bytes, came: Where, clock: ManagedClock, now: Instant[Mono]) -> Reaction:
        """A message came. Those of other domains, and what is no management message, lead to nothing."""
        reaction = Reaction()
        if isinstance(came, Network) and self._settings.network is Access.NONE:
            self.drops["network"] += 1
            return reaction
        try:
            message = ptp.decode(data)
        except WireError:
            self.drops["malformed"] += 1
            return reaction
        settings = clock.view.settings
        if not isinstance(message, Management):
            self.drops["type"] += 1
            return reaction
        header = message.header
        if (header.domain, header.sdo_id) != (settings.domain, settings.sdo_id):
            return reaction
        answers = message.action in (Action.RESPONSE, Action.ACKNOWLEDGE)
        if answers and header.source.clock == settings.identity:
            return reaction  # our own, come back by another way
        if self._settings.forward:
            self._forward(data, message, came, clock, reaction, now)
        if not answers and message.target.clock in (ALL_CLOCKS, settings.identity):
            request = self._request(message, came, clock)
            if request is not None:
                self._answer(request, reaction, now)
        self._limit(reaction, now)
        return reaction

    def notify(self, clock: ManagedClock, now: Instant[Mono]) -> list[Outgoing]:
        """What subscribers of events are told, when something has or may have changed since the last call."""
        return [Outgoing(data, Local(to, writable=True)) for to, data in self._subscribers.changed(clock, now)]

    @property
    def awaited(self) -> bool:
        """Somebody has subscribed to events."""
        return self._subscribers.some

    def on_unreachable(self, address: str) -> None:
        """Nobody listens at the other end of the Unix socket any more."""
        self._subscribers.forget(address)
        self._requesters = {one: kept for one, kept in self._requesters.items() if kept[0] != address}

    # -- boundary hops

    def _forward(
        self,
        data: bytes,
        message: Management,
        came: Where,
        clock: ManagedClock,
        reaction: Reaction,
        now: Instant[Mono],
    ) -> None:
        """Pass a message on that has hops left (15.3.3); requests never towards the Unix socket."""
        if message.hops == 0:
            return
        states = {port.number: port.state for port in clock.view.ports}
        if isinstance(came, Local):
            if not came.writable:
                return
        elif states.get(came.port) not in _FORWARDING:
            return
        length = int.from_bytes(data[2:4], "big")
        passed = data[:_HOPS_AT] + bytes((message.hops - 1,)) + data[_HOPS_AT + 1 : length]
        inward = came.port if isinstance(came, Network) else None
        sent = [
            Outgoing(passed, Network(number, None))
            for number, state in states.items()
            if number != inward and state in _FORWARDING
        ]
        reaction.outgoing += sent
        if isinstance(came, Local):
            if sent:
                self._remember(message.header.source, came.address, now)
        elif message.action in (Action.RESPONSE, Action.ACKNOWLEDGE):
            address, asked = self._requesters.get(message.target, ("", now))
            if address and now - asked <= _REQUESTER_PATIENCE:
                reaction.outgoing.append(Outgoing(passed, Local(address, writable=True)))

    def _remember(self, source: PortIdentity, address: str, now: Instant[Mono]) -> None:
        """Who asked over the Unix socket: answers from the network are for him."""
        self._requesters.pop(source, None)
        while len(self._requesters) >= _REQUESTERS:
            del self._requesters[next(iter(self._requesters))]
        self._requesters[source] = address, now

    def _limit(self, reaction: Reaction, now: Instant[Mono]) -> None:
        """What may be sent over the network at once is bounded: sources can be forged."""
        kept = [one for one in reaction.outgoing if isinstance(one.to, Local) or self._budget.take(now)]
        self.drops["rate"] += len(reaction.outgoing) - len(kept)
        reaction.outgoing = kept

    # -- answers

    def _request(self, message: Management, came: Where, clock: ManagedClock) -> _Request | None:
        tlvs = message.tlvs
        if len(tlvs) > 1 and tlvs[-1].kind == TlvType.AUTHENTICATION:
            tlvs = tlvs[:-1]
        if len(tlvs) != 1:
            self.drops["tlvs"] += 1
            return None
        try:
            return _Request(message, ManagementTlv.from_tlv(tlvs[0]), came, clock)
        except WireError:
            self.drops["tlvs"] += 1
            return None

    def _answer(self, request: _Request, reaction: Reaction, now: Instant[Mono]) -> None:
        match request.message.action:
            case Action.GET:
                self._get(request, reaction, now)
            case Action.SET:
                if not request.tlv.data and request.tlv.id != ManagementId.NULL_MANAGEMENT:
                    self._refuse(request, ErrorId.WRONG_LENGTH, reaction)
                elif not self._may_change(request):
                    self._refuse(request, ErrorId.NOT_SUPPORTED, reaction)
                else:
                    self._set(request, reaction, now)
            case Action.COMMAND:
                if self._may_change(request):
                    self._ports(request, self._commanded, reaction)
                else:
                    self._refuse(request, ErrorId.NOT_SUPPORTED, reaction)
            case _:
                pass  # answers are for others

    def _may_change(self, request: _Request) -> bool:
        if isinstance(request.came, Local):
            return request.came.writable
        return self._settings.network is Access.WRITE

    def _get(self, request: _Request, reaction: Reaction, now: Instant[Mono]) -> None:
        id_, clock = request.tlv.id, request.clock
        data = clock_data(id_, clock)
        if id_ == ManagementId.SUBSCRIBE_EVENTS_NP and request.writable:
            data = self._subscribers.of(request.message.header.source, now)
        if data is not None:
            self._respond(request, request.identity, data, reaction)
        elif id_ in _OWNER_ONLY and not request.writable:
            self._refuse(request, ErrorId.NOT_SUPPORTED, reaction)
        else:
            self._ports(request, self._got, reaction)

    def _got(self, request: _Request, port: PortView, reaction: Reaction) -> ManagementData | ErrorId | None:
        del reaction
        data = port_data(request.tlv.id, request.clock, port)
        if data is None and request.tlv.id in NOT_BUILT:
            return ErrorId.NOT_SUPPORTED
        return data

    def _set(self, request: _Request, reaction: Reaction, now: Instant[Mono]) -> None:
        id_ = request.tlv.id
        try:
            data = read_data(request.tlv)
        except WireError:
            self._refuse(request, ErrorId.WRONG_LENGTH, reaction)
            return
        if isinstance(data, SubscribeEvents) and isinstance(request.came, Local):
            self._subscribers.set(request.message.header.source, request.came.address, data, request.clock, now)
            self._respond(request, request.identity, data, reaction)
            return
        try:
            change = None if data is None or id_ not in self._settings.performs else clock_change(id_, data)
        except ValueError:
            self._refuse(request, ErrorId.WRONG_VALUE, reaction)
            return
        if change is None:
            self._ports(request, self._changed, reaction)
            return
        command, answer = change
        reaction.commands.append(command)
        self._respond(request, request.identity, answer, reaction)

    def _changed(self, request: _Request, port: PortView, reaction: Reaction) -> ManagementData | ErrorId | None:
        data = read_data(request.tlv)
        if data is None or request.tlv.id not in self._settings.performs:
            return None
        change = port_change(request.tlv.id, data, port)
        if change is None:
            return None
        command, answer = change
        reaction.commands.append(command)
        return answer

    def _commanded(self, request: _Request, port: PortView, reaction: Reaction) -> ManagementData | ErrorId | None:
        command = port_command(request.tlv.id, port) if request.tlv.id in self._settings.performs else None
        if command is None:
            return None
        reaction.commands.append(command)
        return port_data(request.tlv.id, request.clock, port)

    def _ports(self, request: _Request, ask: _Ask, reaction: Reaction) -> None:
        """Let each port that is addressed answer; where the id is not theirs, the clock refuses for them."""
        id_ = request.tlv.id
        if id_ in CLOCK_IDS:
            self._refuse(request, ErrorId.NOT_SUPPORTED, reaction)
            return
        addressed = [
            port for port in request.clock.view.ports if request.message.target.port in (_ALL_PORTS, port.number)
        ]
        if not addressed:
            # Interpretation 21 of IEEE 1588-2008: a port that does not exist is a wrong value.
            self._refuse(request, ErrorId.WRONG_VALUE, reaction)
        for port in addressed:
            answer = ask(request, port, reaction)
            if answer is None and id_ not in PORT_IDS:
                self._refuse(request, ErrorId.NO_SUCH_ID, reaction, port.identity)
                return
            if answer is None or isinstance(answer, ErrorId):
                self._refuse(request, answer or ErrorId.NOT_SUPPORTED, reaction, port.identity)
            else:
                self._respond(request, port.identity, answer, reaction)

    def _respond(self, request: _Request, source: PortIdentity, data: ManagementData, reaction: Reaction) -> None:
        tlv = with_data(ManagementId(request.tlv.id), data)
        if len(tlv.value) > _LARGEST:
            tlv = ManagementError(ErrorId.RESPONSE_TOO_BIG, request.tlv.id).to_tlv()
        reaction.outgoing.append(_reply(request, source, tlv))

    def _refuse(
        self, request: _Request, error: ErrorId, reaction: Reaction, source: PortIdentity | None = None
    ) -> None:
        tlv = ManagementError(error, request.tlv.id).to_tlv()
        reaction.outgoing.append(_reply(request, request.identity if source is None else source, tlv))


def _reply(request: _Request, source: PortIdentity, tlv: Tlv) -> Outgoing:
    """To who asked; multicast unless he asked unicast (15.4.1.3)."""
    asked, came = request.message, request.came
    unicast = isinstance(came, Network) and Flags.UNICAST in asked.header.flags
    if isinstance(came, Network) and not unicast:
        came = replace(came, address=None)
    settings = request.clock.view.settings
    hops = (asked.starting_hops - asked.hops) & 0xFF
    message = Management(
        header=Header(
            source=source,
            sequence_id=asked.header.sequence_id,
            domain=settings.domain,
            sdo_id=settings.sdo_id,
            flags=Flags.UNICAST if unicast else NO_FLAGS,
            minor_version=settings.minor_version,
        ),
        target=asked.header.source,
        starting_hops=hops,
        hops=hops,
        action=Action.ACKNOWLEDGE if asked.action is Action.COMMAND else Action.RESPONSE,
        tlvs=(tlv,),
    )
    return Outgoing(ptp.encode(message), came)
