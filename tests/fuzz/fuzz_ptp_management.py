"""Fuzz targets of management and unicast negotiation: whatever comes, no exception, and nothing grows without bound."""

from __future__ import annotations

import itertools
import random
import struct
from dataclasses import dataclass, field

from targets import Target, mutate, register

from timesync.base.ids import ALL_PORTS, ClockId, ClockIdentity, LinkId, SourceId
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.effect import PtpEffect, SendEvent, SendGeneral
from timesync.ptp.instance import Instance
from timesync.ptp.management.data import ManagedClock, PortFacts
from timesync.ptp.management.responder import Responder
from timesync.ptp.management.values import Access, Local, ManagementSettings, Network
from timesync.ptp.settings import InstanceSettings, Intervals, LocalQuality, PortSettings
from timesync.ptp.unicast.client import UnicastClient, UnicastClientSettings
from timesync.ptp.unicast.server import UnicastServer, UnicastServerSettings
from timesync.wire import ptp
from timesync.wire.error import WireError
from timesync.wire.ptp_management import ManagementId
from timesync.wire.ptp_management_data import NetworkProtocol
from timesync.wire.ptp_management_np import PortTimestamping
from timesync.wire.ptp_message import Action, Management, MessageType, Signaling

OURS = ClockIdentity(bytes.fromhex("020000fffe00000a"))
_IDS = [*map(int, ManagementId), 0xC0FF, 0x4000, 0xFFFF]
_LENGTHS = (0, 2, 4, 8, 16, 18, 20, 24, 32, 50, 66, 90, 266)
_SIZES = {
    ManagementId.PRIORITY1: 2,
    ManagementId.PRIORITY2: 2,
    ManagementId.GRANDMASTER_SETTINGS_NP: 8,
    ManagementId.PORT_DATA_SET_NP: 8,
    ManagementId.SUBSCRIBE_EVENTS_NP: 66,
    ManagementId.SYNCHRONIZATION_UNCERTAIN_NP: 2,
    ManagementId.PORT_CORRECTIONS_NP: 24,
}
"""Octets of what can be set."""

_CAME = (Local("/run/a", writable=True), Local("/run/b", writable=False), Network(1, "192.0.2.1"), Network(2, None))


def instance() -> Instance:
    """A boundary clock with two ports that give time."""
    ports = tuple(
        PortSettings(
            number=number,
            name=f"eth{number}",
            clock=ClockId("phc"),
            source=SourceId(f"ptp:eth{number}"),
            link=LinkId(f"ptp:eth{number}"),
        )
        for number in (1, 2)
    )
    made = Instance(InstanceSettings(identity=OURS, ports=ports), random.Random(1))
    for number in (1, 2):
        made.on_link(number, Instant.from_ns(0), up=True)
    for _ in range(20):
        due = made.deadline()
        if due is not None:
            made.on_deadline(due)
    return made


def header(kind: int, length: int, rng: random.Random) -> bytes:
    """Of a message in our domain."""
    source = rng.choice((OURS, bytes(8), rng.randbytes(8)))
    flags = rng.choice((0, 0x0400))
    return struct.pack(
        ">BBHBBHqI8sHHBb",
        kind,
        0x12,
        length,
        0,
        0,
        flags,
        0,
        0,
        source,
        rng.choice((0, 1, 2)),
        rng.randrange(4),
        0,
        0x7F,
    )


def target(rng: random.Random) -> bytes:
    """A ``targetPortIdentity``, mostly one that means us."""
    clock = rng.choice((b"\xff" * 8, b"\xff" * 8, OURS, rng.randbytes(8)))
    return clock + struct.pack(">H", rng.choice((0, 1, 2, 3, 0xFFFF, 0xFFFF)))


def management(rng: random.Random) -> bytes:
    """A management message after one octet that says where it comes from; from time to time a broken one."""
    id_ = rng.choice(_IDS)
    length = _SIZES.get(id_, 0) if rng.random() < 0.5 else rng.choice(_LENGTHS)
    data = rng.choice((bytes, rng.randbytes))(length)
    tlv = struct.pack(">HHH", rng.choice((1, 1, 1, 1, 2)), 2 + len(data), id_) + data
    hops = rng.choice((0, 0, 1, 255))
    body = target(rng) + bytes((hops, rng.choice((hops, 0, 1)), rng.choice((0, 0, 1, 1, 2, 3, 3, 4, 5)), 0)) + tlv
    message = header(0x0D, 34 + len(body), rng) + body
    if rng.random() < 0.3:
        message = mutate(rng, message)
    return bytes((rng.randrange(256),)) + message


@dataclass
class Managed:
    """One responder through all inputs; the clock behind it changes from time to time."""

    def __post_init__(self) -> None:
        facts = PortFacts(protocol=NetworkProtocol.UDP_IPV4, timestamping=PortTimestamping.SOFTWARE)
        self._clock = ManagedClock(view=instance().view(), local=LocalQuality(), ports={1: facts, 2: facts})
        self._responder = Responder(ManagementSettings(network=Access.WRITE, network_rate=10**6, network_burst=10**6))
        self._now = itertools.count(1)
        self.answers = self.commands = 0

    def target(self, data: bytes) -> None:
        """One message: each answer can be read, is an answer, and goes back or on."""
        now: Instant[Mono] = Instant.from_ns(next(self._now) * 10**8)
        came = _CAME[data[0] % len(_CAME)]
        reaction = self._responder.on_message(data[1:], came, self._clock, now)
        self.commands += len(reaction.commands)
        for one in reaction.outgoing:
            sent = ptp.decode(one.data)
            assert isinstance(sent, Management)
            assert len(one.data) <= 1472
            if sent.header.source.clock == OURS and sent.action in (Action.RESPONSE, Action.ACKNOWLEDGE):
                self.answers += 1
                assert type(one.to) is type(came)
        assert not reaction.commands or came != _CAME[1]
        changed = Instant.from_ns(data[0])
        for one in self._responder.notify(
            ManagedClock(view=self._clock.view, local=self._clock.local, ports=self._clock.ports, ingress=changed),
            now,
        ):
            ptp.decode(one.data)
        assert len(self._responder._requesters) <= 64
        assert len(self._responder._subscribers._all) <= 64


def negotiation(rng: random.Random) -> bytes:
    """A signaling message after two octets: how much later, and from where."""
    tlvs = b""
    for _ in range(rng.choice((1, 1, 2, 3))):
        kind = rng.choice((0xB0, 0x00, 0x90, 0x30, 0xD0, rng.randrange(256)))
        log_interval = rng.choice((-128, -31, -8, -7, -3, 0, 1, 10, 11, 22, 127))
        length = rng.choice((0, 1, 10, 1000, 0xFFFFFFFF))
        tlvs += rng.choice(
            (
                struct.pack(">HHBbI", 4, 6, kind, log_interval, length),
                struct.pack(">HHBbIBB", 5, 8, kind, log_interval, length, 0, 1),
                struct.pack(">HHBx", rng.choice((6, 7)), 2, kind | rng.randrange(4)),
            )
        )
    body = target(rng) + tlvs
    message = header(0x0C, 34 + len(body), rng) + body
    if rng.random() < 0.3:
        message = mutate(rng, message)
    return bytes((rng.randrange(256), rng.randrange(256))) + message


@dataclass
class Negotiating:
    """A client and a server of one port through all inputs."""

    now_ns: int = 10**9
    granted: int = 0
    served: int = 0
    drops: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        made = instance()
        self._port = made.ports[1]
        self._context = made.context
        addresses = tuple(f"192.0.2.{number}" for number in range(4))
        settings = UnicastClientSettings(port=1, servers=addresses, intervals=Intervals(), duration_s=20)
        self._client = UnicastClient(settings, self._port.headers, self._port.counters)
        self._server = UnicastServer(
            UnicastServerSettings(clients=8, rate=50),
            self._port.settings,
            made.context,
            self._port.headers,
            self._port.counters,
        )
        list(self._client.start(self._at()))

    def _at(self) -> Instant[Mono]:
        return Instant.from_ns(self.now_ns)

    def target(self, data: bytes) -> None:
        """Time passes, timers ring, one message comes."""
        self.now_ns += data[0] ** 2 * 100_000
        address = f"192.0.2.{data[1] % 16}"
        self._ring()
        try:
            message = ptp.decode(data[2:])
        except WireError:
            return
        if not isinstance(message, Signaling):
            return
        self._check(list(self._client.on_signaling(message, address, self._at())))
        self._check(list(self._server.on_signaling(message, address, self._at())))
        parent = message.header.source if data[0] & 1 else None
        self._check(list(self._client.select(parent, self._at())))
        self._check(list(self._client.on_stranger(MessageType.SYNC, ALL_PORTS, address, self._at())))
        self.granted += sum(len(one.granted) for one in self._client.view())
        assert len(self._server.clients()) <= 8
        assert len(self._server._queue) <= 64 + 64
        assert 0 <= self._server._rate <= 50 << 10

    def _ring(self) -> None:
        """The clock's timers do not come to a stop, nor do they spin."""
        sent = list(self._server.on_deadline(self._at(), serving=True))
        self.served += len(sent)
        self._check(sent)
        self._check(list(self._client.on_deadline(self._at())))
        for due in (self._server.deadline(), self._client.deadline()):
            assert due is None or due > self._at()
        client = self._client.deadline()
        assert client is not None
        assert client <= self._at() + Duration.from_s(65)

    def _check(self, effects: list[PtpEffect]) -> None:
        for effect in effects:
            if isinstance(effect, SendEvent):
                ptp.decode(effect.data)
                stamp = Stamp(ClockId("phc"), 0, Instant.from_ns(self.now_ns))
                self._check(list(self._server.on_sent(effect.token, stamp)))
            elif isinstance(effect, SendGeneral):
                ptp.decode(effect.data)
                assert effect.destination is not None


def managed() -> Target:
    """A responder in its initial state."""
    return Target("ptp management", management, Managed().target)


def negotiating() -> Target:
    """A client and a server in their initial states."""
    return Target("ptp unicast", negotiation, Negotiating().target)


register(managed(), negotiating())
