"""A network: nodes with addresses and UDP ports, and paths with a law of their own in each direction."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache, partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Protocol

from timesync.base.ids import Endpoint
from timesync.base.time import Duration, Instant, Tai
from timesync.sim.law import DelayLaw, Exactly, Exponential, draw_duration
from timesync.sim.world import World

if TYPE_CHECKING:  # that module needs this one
    from timesync.sim.stream import SimStream

FIRST_EPHEMERAL = 1024
LAST_PORT = 65_535
PTP_EVENT_PORT = 319
NO_TIME = Duration(0)
_CORRECTION_AT, _CORRECTION_END = 8, 16
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - addresses of a simulated network


@dataclass(frozen=True, slots=True)
class Switch:
    """A switch on a path.

    Attributes:
        residence: How long it keeps datagrams.
        transparent: It writes that into the event messages of PTP, as a one-step transparent clock (IEEE 1588-2019,
            10.2), whose clock is right.
    """

    residence: DelayLaw
    transparent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """How datagrams travel from one node to another; the way back has its own.

    Attributes:
        base: The shortest delay.
        jitter: What queues add to it.
        loss: Share of datagrams that vanish, 0 to 1.
        duplicate: Share that arrives twice, each copy with its own delay.
        fifo: Datagrams stay in order; else a short delay overtakes a long one.
        switch: What keeps them on the way besides; None: nothing does.
    """

    base: Duration
    jitter: DelayLaw
    loss: float = 0.0
    duplicate: float = 0.0
    fifo: bool = False
    switch: Switch | None = None


LAN = Path(base=Duration.from_ns(100_000), jitter=Exponential(20e-6))
LOOPBACK = Path(base=Duration.from_ns(10_000), jitter=Exactly())


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram as it arrives.

    Attributes:
        data: Its octets.
        source: Who sent it.
        target: The address and port that it was sent to.
    """

    data: bytes
    source: Endpoint
    target: Endpoint


class Receiver(Protocol):
    """Who owns a simulated socket; both methods are called at the true time of arrival."""

    def on_datagram(self, datagram: Datagram) -> None:
        """A datagram arrived."""
        ...

    def on_refused(self, target: Endpoint) -> None:
        """ICMP says that nobody listens at ``target``."""
        ...


class StreamListener(Protocol):
    """Takes TCP connections; called with our end of each."""

    def __call__(self, stream: SimStream, /) -> None:
        """A client has connected."""
        ...


class SimSocket:
    """A bound UDP socket of a node.

    Attributes:
        local: What it is bound to; the address may be a wildcard.
    """

    __slots__ = ("_node", "local", "receiver")

    def __init__(self, node: Node, local: Endpoint, receiver: Receiver) -> None:
        self._node = node
        self.local = local
        self.receiver = receiver

    def send(self, data: bytes, target: Endpoint, source: str | None = None) -> None:
        """Send now; ``source`` chooses among the node's addresses on a wildcard socket.

        Raises OSError when the node has no address of the target's family.
        """
        address = self.local.address if self.local.address not in WILDCARDS else source
        if address is None:
            address = self._node.address_towards(target.address)
        self._node.network.carry(self._node, Endpoint(plain(address), self.local.port), target, data)

    def close(self) -> None:
        """Free the port; what still arrives is refused."""
        self._node.release(self)


class Node:
    """A machine on the network.

    Attributes:
        network: Which network.
        name: For paths and random streams.
        addresses: Its addresses, in plain form.
        streams: Who takes TCP connections to it, by port (``timesync.sim.stream``).
    """

    def __init__(self, network: Network, name: str, addresses: tuple[str, ...]) -> None:
        self.network = network
        self.name = name
        self.addresses = addresses
        self.streams: dict[int, StreamListener] = {}
        self._sockets: dict[tuple[str, int], SimSocket] = {}
        self._rng = network.world.stream(f"ports/{name}")

    def bind(self, receiver: Receiver, address: str, port: int = 0) -> SimSocket:
        """A socket on an address of this node or on a wildcard; port 0 takes a random free one.

        Raises OSError when the address is not the node's or the port is taken.
        """
        address = plain(address)
        if address not in WILDCARDS and address not in self.addresses and not _is_loopback(address):
            raise OSError(errno.EADDRNOTAVAIL, os.strerror(errno.EADDRNOTAVAIL), address)
        if port == 0:
            port = self._rng.randint(FIRST_EPHEMERAL, LAST_PORT)
            while (address, port) in self._sockets:
                port = self._rng.randint(FIRST_EPHEMERAL, LAST_PORT)
        if (address, port) in self._sockets:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), f"{address} port {port}")
        bound = SimSocket(self, Endpoint(address, port), receiver)
        self._sockets[address, port] = bound
        return bound

    def release(self, bound: SimSocket) -> None:
        """Forget a socket; nothing happens the second time."""
        key = bound.local.address, bound.local.port
        if self._sockets.get(key) is bound:
            del self._sockets[key]

    def listener(self, target: Endpoint) -> SimSocket | None:
        """Who gets a datagram for this address and port."""
        found = self._sockets.get((target.address, target.port))
        return found or self._sockets.get((WILDCARDS[":" in target.address], target.port))

    def address_towards(self, target: str) -> str:
        """What to send from: the first address of the target's family. Raises OSError when there is none."""
        if _is_loopback(target):
            return target
        for address in self.addresses:
            if (":" in address) == (":" in target):
                return address
        raise OSError(errno.ENETUNREACH, os.strerror(errno.ENETUNREACH), target)


class Dns:
    """Names and their addresses.

    Attributes:
        dead: Nobody answers; a lookup fails after ``patience``.
        answer_after: How long an answer takes.
        patience: How long the resolver waits for a dead server.
    """

    def __init__(self) -> None:
        self.dead = False
        self.answer_after = Duration.from_ns(2_000_000)
        self.patience = Duration.from_s(5)
        self._names: dict[str, tuple[str, ...]] = {}

    def set(self, name: str, *addresses: str) -> None:
        """Let a name have these addresses, in this order; none at all makes it unknown."""
        self._names[name] = tuple(plain(address) for address in addresses)

    def lookup(self, name: str) -> tuple[str, ...]:
        """The addresses of a name; a numeric address is its own. Raises socket.gaierror."""
        try:
            return (plain(name),)
        except ValueError:
            pass
        if self.dead:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        found = self._names.get(name, ())
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    def waits(self, name: str) -> Duration:
        """How long the lookup of a name takes now."""
        try:
            plain(name)
        except ValueError:
            return self.patience if self.dead else self.answer_after
        return Duration(0)


class Network:
    """Nodes and the paths between them.

    Attributes:
        world: Whose time it is.
        dns: Names.
        lost: Datagrams that vanished, by loss, outage or an address that nobody has.
        delivered: Datagrams that reached a socket.
    """

    def __init__(self, world: World, default: Path = LAN) -> None:
        self.world = world
        self.dns = Dns()
        self.lost = 0
        self.delivered = 0
        self._default = default
        self._owners: dict[str, Node] = {}
        self._ways: dict[tuple[str, str], Way] = {}

    def node(self, name: str, *addresses: str) -> Node:
        """A new machine with these addresses. Raises ValueError when one is taken or malformed."""
        made = Node(self, name, tuple(plain(address) for address in addresses))
        if any(node.name == name for node in self._owners.values()):
            raise ValueError(f"there is a node {name} already")
        for address in made.addresses:
            if address in self._owners:
                raise ValueError(f"{address} belongs to {self._owners[address].name}")
        self._owners.update(dict.fromkeys(made.addresses, made))
        return made

    def connect(self, one: Node, other: Node, there: Path, back: Path | None = None) -> None:
        """From now on datagrams from ``one`` go ``there``, those from ``other`` come ``back`` (or alike)."""
        self._way(one, other).path = there
        self._way(other, one).path = there if back is None else back

    def outage(self, one: Node, other: Node, since: Instant[Tai], until: Instant[Tai]) -> None:
        """Lose all that is sent between the two from ``since`` to before ``until``."""
        for way in (self._way(one, other), self._way(other, one)):
            way.outages.append((since.scaled_ns, until.scaled_ns))

    def isolate(self, node: Node, since: Instant[Tai], until: Instant[Tai]) -> None:
        """An outage between a node and all others that exist."""
        for other in dict.fromkeys(self._owners.values()):
            if other is not node:
                self.outage(node, other, since, until)

    def carry(self, sender: Node, source: Endpoint, target: Endpoint, data: bytes) -> None:
        """Take a datagram along; it may be lost, late, doubled or refused."""
        to = Endpoint(plain(target.address), target.port)
        owner = sender if _is_loopback(to.address) else self._owners.get(to.address)
        if owner is None:
            self.lost += 1
            return
        way, kept = self._way(sender, owner), bytes(data)

        def deliver(residence: Duration) -> None:
            self._arrive(sender, owner, Datagram(way.corrected(kept, {source.port, to.port}, residence), source, to))

        self._dispatch(sender, owner, deliver)

    def owner(self, sender: Node, address: str) -> Node | None:
        """Who has an address, seen from ``sender``; None: nobody."""
        to = plain(address)
        return sender if _is_loopback(to) else self._owners.get(to)

    def arrivals(self, sender: Node, owner: Node) -> list[int]:
        """When the copies of a packet that is sent now arrive, in units of true TAI; none: it is lost."""
        return self._way(sender, owner).arrivals(self.world)

    def _dispatch(self, sender: Node, owner: Node, deliver: Callable[[Duration], object]) -> None:
        """``deliver`` is called at each arrival with the time that a switch has kept the packet."""
        crossings = self._way(sender, owner).crossings(self.world)
        if not crossings:
            self.lost += 1
        for when, residence in crossings:
            self.world.at_units(when, partial(deliver, residence))

    def _arrive(self, sender: Node, owner: Node, datagram: Datagram) -> None:
        bound = owner.listener(datagram.target)
        if bound is not None:
            self.delivered += 1
            bound.receiver.on_datagram(datagram)
            return
        # ICMP port unreachable travels back like any other packet.
        self._dispatch(owner, sender, lambda _: self._refuse(sender, datagram))

    @staticmethod
    def _refuse(sender: Node, datagram: Datagram) -> None:
        bound = sender.listener(datagram.source)
        if bound is not None:
            bound.receiver.on_refused(datagram.target)

    def _way(self, sender: Node, owner: Node) -> Way:
        key = sender.name, owner.name
        found = self._ways.get(key)
        if found is None:
            path = LOOPBACK if sender is owner else self._default
            found = self._ways[key] = Way(self.world, f"path/{sender.name}>{owner.name}", path)
        return found


class Way:
    """One direction between two nodes: its path now, its outages, its own random numbers.

    Attributes:
        path: How packets travel now.
        outages: From when until before when all is lost, in units of true TAI.
    """

    def __init__(self, world: World, name: str, path: Path) -> None:
        self.path = path
        self.outages: list[tuple[int, int]] = []
        self._rng = world.stream(name)
        self._last = 0

    def arrivals(self, world: World) -> list[int]:
        """When the copies of a packet that is sent now arrive, in units of true TAI; none: it is lost."""
        return [when for when, _ in self.crossings(world)]

    def crossings(self, world: World) -> list[tuple[int, Duration]]:
        """When the copies of a datagram that is sent now arrive, in units of true TAI, and how long a switch kept each.

        None where it is lost.
        """
        path, rng, now = self.path, self._rng, world.units
        if any(since <= now < until for since, until in self.outages):
            return []
        # The delay of a lost datagram is drawn too, so that another loss rate changes no other delay.
        lost, doubled = rng.random() < path.loss, rng.random() < path.duplicate
        delays = [draw_duration(path.jitter, rng) for _ in range(1 + doubled)]
        residences = [NO_TIME if path.switch is None else draw_duration(path.switch.residence, rng) for _ in delays]
        if lost:
            return []
        whens = [
            now + (path.base + delay + residence).scaled_ns for delay, residence in zip(delays, residences, strict=True)
        ]
        if path.fifo:
            for index, when in enumerate(whens):
                self._last = whens[index] = max(when, self._last)
        return list(zip(whens, residences, strict=True))

    def corrected(self, data: bytes, ports: Collection[int], residence: Duration) -> bytes:
        """A datagram between these ports as it leaves the switch that has kept it so long."""
        switch = self.path.switch
        if switch is None or not switch.transparent or PTP_EVENT_PORT not in ports or len(data) < _CORRECTION_END:
            return data
        correction = int.from_bytes(data[_CORRECTION_AT:_CORRECTION_END], "big", signed=True) + residence.scaled_ns
        return data[:_CORRECTION_AT] + correction.to_bytes(8, "big", signed=True) + data[_CORRECTION_END:]


@cache
def _is_loopback(address: str) -> bool:
    return ip_address(address).is_loopback


@cache
def plain(address: str) -> str:
    """The one way to write an address. Raises ValueError when it is none."""
    return str(ip_address(address))
