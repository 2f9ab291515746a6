"""The sockets of one interface and one transport, shared by all ports that use them.

Messages go to every port that wants their domain, transmit stamps to the port that sent, on any asyncio loop with
``add_reader``: no thread, and nothing waits for a stamp.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, assert_never

from timesync.transport import TransportName, message_key, trimmed
from timesync_drivers.ethernet import EthernetSockets
from timesync_drivers.link import LinkState, LinkWatch
from timesync_drivers.ptp_stamp import Arrival, Departure, Reading
from timesync_drivers.ptp_udp import UdpSockets

STAMP_PATIENCE_S = 0.1
"""How long to wait for a transmit stamp: cards give it within microseconds, behind a slow bus in milliseconds."""
_PER_WAKE = 16
"""Packets taken in one go, so that a flood on one interface does not hold up the others."""
_GONE = (errno.ENODEV, errno.ENXIO)
_MAC_SIZE = 6
_NUMBERS = 1 << 32
_KEY_AT = 20
"""Where the last part of ``message_key`` lies in a message."""


class Watch(Protocol):
    """What is needed of ``LinkWatch``."""

    @property
    def state(self) -> LinkState:
        """As last told."""
        ...

    def fileno(self) -> int:
        """For the event loop."""
        ...

    def refresh(self) -> bool:
        """Read what was told; whether it changed."""
        ...

    def close(self) -> None:
        """Close."""
        ...


class Sockets(Protocol):
    """What is needed of ``EthernetSockets`` and ``UdpSockets``."""

    @property
    def filenos(self) -> tuple[int, int]:
        """Of the event and of the general socket."""
        ...

    def close(self) -> None:
        """Close both."""
        ...

    def use_mac(self, mac: bytes) -> None:
        """The interface has this address from now on."""
        ...

    def join(self, group: str) -> None:
        """Hear a multicast address."""
        ...

    def ask_stamps(self, *, software: bool, hardware: bool) -> None:
        """Have event messages stamped."""
        ...

    def send(self, data: bytes, destination: str, *, event: bool, hops: int | None, dscp: int) -> None:
        """Send one message."""
        ...

    def receive(self, *, event: bool) -> Arrival | None:
        """The next message."""
        ...

    def read_departure(self) -> Departure | None:
        """The next transmit stamp."""
        ...


class WirePort(Protocol):
    """A port on the wire; nothing of it is called from inside what it calls."""

    @property
    def hardware(self) -> bool:
        """It wants stamps of the card; else of the kernel."""
        ...

    def on_arrival(self, data: bytes, arrival: Arrival) -> None:
        """A message came: ``data`` without padding."""
        ...

    def on_departure(self, token: int, reading: Reading | None) -> None:
        """The transmit stamp, or None when it did not come or nothing was sent."""
        ...

    def on_state(self, state: LinkState) -> None:
        """The link, when attached and whenever it changed."""
        ...

    def on_gone(self, error: OSError) -> None:
        """The wire is of no use any more."""
        ...


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message to be sent.

    Attributes:
        data: The message.
        destination: Numeric address, or MAC address.
        hops: Time to live; None: what the kernel takes.
        dscp: Differentiated services code point.
    """

    data: bytes
    destination: str
    hops: int | None = None
    dscp: int = 0


@dataclass(frozen=True, slots=True)
class _Pending:
    port: WirePort
    token: int
    key: tuple[int, int, int, bytes]
    until: float


class Wire:
    """Open sockets of one interface.

    Attributes:
        failed: Messages that could not be sent.
        unstamped: Event messages whose transmit stamp did not come.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, watch: Watch, sockets: Sockets, on_end: Callable[[], object]
    ) -> None:
        """Listen from now on; it owns what it is given.

        Args:
            loop: Where it is read.
            watch: The interface.
            sockets: Both sockets.
            on_end: Called once, when it has no port any more or is of no use.
        """
        self.failed = 0
        self.unstamped = 0
        self._loop = loop
        self._watch = watch
        self._sockets = sockets
        self._on_end = on_end
        self._ports: list[WirePort] = []
        self._pending: dict[int, _Pending] = {}
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None
        self._open = True
        event, general = sockets.filenos
        self._watched = {watch.fileno(): self._on_link, event: self._on_event, general: self._on_general}
        for fileno, callback in self._watched.items():
            loop.add_reader(fileno, callback)

    @property
    def link(self) -> LinkState:
        """The interface as last told."""
        return self._watch.state

    def join(self, group: str) -> None:
        """Hear a multicast address. Raises OSError."""
        self._sockets.join(group)

    def attach(self, port: WirePort) -> None:
        """One more port; it is told the state of the link soon. Raises OSError."""
        self._ports.append(port)
        try:
            self._ask_stamps()
        except OSError:
            self.detach(port)
            raise
        self._loop.call_soon(self._tell_state, port)

    def detach(self, port: WirePort) -> None:
        """One port less, of which nothing is called any more; with the last one the sockets are closed."""
        if port in self._ports:
            self._ports.remove(port)
        if not self._ports:
            self._end()
            return
        self._pending = {number: held for number, held in self._pending.items() if held.port is not port}

    def send_event(self, port: WirePort, token: int, message: Outgoing, *, stamped: bool = True) -> None:
        """Send, and have ``on_departure`` called once, later; ``stamped`` False: with None, and soon."""
        sent = self._send(message, event=True)
        number = self._next
        if sent:
            self._next = (number + 1) % _NUMBERS
        if not sent or not stamped:
            self._loop.call_soon(self._tell_departure, port, token, None)
            return
        until = self._loop.time() + STAMP_PATIENCE_S
        self._pending[number] = _Pending(port, token, message_key(message.data), until)
        if self._timer is None:
            self._timer = self._loop.call_at(until, self._on_timer)

    def send_general(self, message: Outgoing) -> None:
        """Send; failures are counted."""
        self._send(message, event=False)

    def _ask_stamps(self) -> None:
        kinds = {port.hardware for port in self._ports}
        self._sockets.ask_stamps(software=False in kinds, hardware=True in kinds)

    def _send(self, message: Outgoing, *, event: bool) -> bool:
        if not self._open:
            self.failed += 1
            return False
        try:
            self._sockets.send(message.data, message.destination, event=event, hops=message.hops, dscp=message.dscp)
        except OSError as error:
            self.failed += 1
            if error.errno in _GONE:
                self._loop.call_soon(self._fail, error)
            return False
        return True

    # -- what comes

    def _on_event(self) -> None:
        # Stamps first: the usual order is then request, stamp, answer.
        for step in (self._take_departure, self._take_event):
            for _ in range(_PER_WAKE):
                if not self._open or not step():
                    break

    def _on_general(self) -> None:
        for _ in range(_PER_WAKE):
            if not self._open or not self._take(event=False):
                break

    def _take_event(self) -> bool:
        return self._take(event=True)

    def _take(self, *, event: bool) -> bool:
        """Read one message; False: all is read."""
        try:
            arrival = self._sockets.receive(event=event)
        except OSError as error:
            return self._survives(error)
        if arrival is None:
            return False
        data = trimmed(arrival.data)
        for port in tuple(self._ports):
            if port in self._ports:
                port.on_arrival(data, arrival)
        return True

    def _take_departure(self) -> bool:
        """Read one stamp; False: all is read."""
        try:
            departure = self._sockets.read_departure()
        except OSError as error:
            return self._survives(error)
        if departure is None:
            return False
        number = self._match(departure)
        if number is not None:
            held = self._pending[number]
            wanted = departure.reading.card_ns if held.port.hardware else departure.reading.kernel_ns
            if wanted is not None:  # else it is the other kind of stamp, which another port has asked for
                del self._pending[number]
                held.port.on_departure(held.token, departure.reading)
        return True

    def _match(self, departure: Departure) -> int | None:
        """The number of the message that a stamp is of, by the kernel's count and by the message itself."""
        held = self._pending.get(departure.number)
        if held is not None and (not departure.data or _holds(departure.data, held.key)):
            return departure.number
        if not departure.data:
            return None
        for number, other in self._pending.items():
            if _holds(departure.data, other.key):
                self._shift(departure.number - number)
                return departure.number
        return None

    def _shift(self, by: int) -> None:
        """The kernel has counted messages that it then refused, and older ones begin again at times: follow it."""
        self._next = (self._next + by) % _NUMBERS
        self._pending = {(number + by) % _NUMBERS: held for number, held in self._pending.items()}

    def _on_timer(self) -> None:
        """Give up what is due; the stamps may lie there unread when the loop itself was late: look once more."""
        self._timer = None
        for _ in range(max(_PER_WAKE, len(self._pending))):
            if not self._open or not self._take_departure():
                break
        now = self._loop.time()
        for number, held in tuple(self._pending.items()):
            if held.until <= now and self._pending.pop(number, None) is not None:
                self.unstamped += 1
                held.port.on_departure(held.token, None)
        if self._open and self._pending and self._timer is None:
            first = min(held.until for held in self._pending.values())
            self._timer = self._loop.call_at(first, self._on_timer)

    # -- the interface

    def _on_link(self) -> None:
        try:
            changed = self._watch.refresh()
        except OSError as error:
            self._fail(error)
            return
        if not changed:
            return
        self._sockets.use_mac(self.link.mac)
        for port in tuple(self._ports):
            self._tell_state(port)

    def _survives(self, error: OSError) -> bool:
        """After an error of a socket: True to read on. That the network is down the link tells by itself."""
        if error.errno in _GONE:
            self._fail(error)
            return False
        return True

    def _fail(self, error: OSError) -> None:
        if not self._open:
            return
        ports = tuple(self._ports)
        self._end()
        for port in ports:
            if port in self._ports:
                port.on_gone(error)

    def _end(self) -> None:
        if not self._open:
            return
        self._open = False
        for fileno in self._watched:
            self._loop.remove_reader(fileno)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lost, self._pending = self._pending, {}
        for held in lost.values():
            self._loop.call_soon(self._tell_departure, held.port, held.token, None)
        self._watch.close()
        self._sockets.close()
        self._on_end()

    def _tell_state(self, port: WirePort) -> None:
        if port in self._ports:
            port.on_state(self.link)

    def _tell_departure(self, port: WirePort, token: int, reading: Reading | None) -> None:
        if port in self._ports:
            port.on_departure(token, reading)


def open_wire(
    loop: asyncio.AbstractEventLoop, interface: str, transport: TransportName, on_end: Callable[[], object]
) -> Wire:
    """Open the sockets of an interface. Raises OSError: ENODEV, EPERM, EOPNOTSUPP for one without a MAC address."""
    watch = LinkWatch(interface)
    try:
        return Wire(loop, watch, _open_sockets(watch.state, transport), on_end)
    except BaseException:
        watch.close()
        raise


def _open_sockets(state: LinkState, transport: TransportName) -> Sockets:
    if len(state.mac) != _MAC_SIZE:
        raise OSError(errno.EOPNOTSUPP, "the interface has no MAC address", state.name)
    match transport:
        case "l2":
            return EthernetSockets(state.name, state.index, state.mac)
        case "udp4" | "udp6":
            return UdpSockets(state.name, state.index, ipv6=transport == "udp6")
        case _:
            assert_never(transport)


def _holds(packet: bytes, key: tuple[int, int, int, bytes]) -> bool:
    """Whether the packet, with the headers before it, is the message of that key."""
    *first, rest = key
    at = packet.find(rest) - _KEY_AT
    return at >= 0 and [packet[at], packet[at + 4], packet[at + 5]] == first
