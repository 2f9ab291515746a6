"""The sockets of the NTP server: kernel stamps both ways, and replies from the address that was asked."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from timesync.base.ids import Endpoint
from timesync.ntp.serve_state import Line
from timesync_drivers import abi
from timesync_drivers.netstamp import share_event_port
from timesync_drivers.spread import spread_by_address

SocketAddress = tuple[str, int] | tuple[str, int, int, int]

# The card's too, where it is set to stamp: both kinds of a packet then come together, and both of a reply one after
# the other.
_WITHOUT_ID = (
    abi.SOF_TIMESTAMPING_RX_SOFTWARE
    | abi.SOF_TIMESTAMPING_SOFTWARE
    | abi.SOF_TIMESTAMPING_RX_HARDWARE
    | abi.SOF_TIMESTAMPING_RAW_HARDWARE
    | abi.SOF_TIMESTAMPING_OPT_TSONLY
    | abi.SOF_TIMESTAMPING_OPT_TX_SWHW
)
_STAMPING = _WITHOUT_ID | abi.SOF_TIMESTAMPING_OPT_ID
_IP_PKTINFO = 8  # linux/in.h; the socket module has it from Python 3.14 on
_PACKET_INFO4 = struct.Struct("=I8s")
_PACKET_INFO6 = struct.Struct("=16sI")
_ASK_FOR_STAMP = (socket.SOL_SOCKET, abi.ASK_TIMESTAMPING, struct.pack("@I", abi.SOF_TIMESTAMPING_TX_SOFTWARE))
_BOTH = abi.SOF_TIMESTAMPING_TX_SOFTWARE | abi.SOF_TIMESTAMPING_TX_HARDWARE
_ASK_FOR_BOTH = (socket.SOL_SOCKET, abi.ASK_TIMESTAMPING, struct.pack("@I", _BOTH))

RECEIVE_BUFFER: Final = 1 << 20
MAX_WAITING: Final = 256
"""Replies whose transmit stamp is awaited; the kernel gives them at once or never."""

_LARGEST = 2052


@dataclass(frozen=True, slots=True)
class Datagram:
    """What came.

    Attributes:
        data: The payload.
        address: The sender.
        stamp_ns: When, CLOCK_REALTIME; the kernel's stamp, or when it was read if there is none.
        card_ns: When, by the network card's own clock; 0 where it gave no stamp.
        local: The local address that it was sent to, for ``reply``; None when unknown.
        interface: Index of the interface that it came by; 0 when unknown.
    """

    data: bytes
    address: SocketAddress
    stamp_ns: int
    card_ns: int
    local: bytes | None
    interface: int


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A reply whose transmit stamp is awaited.

    Attributes:
        stamp_as: For ``Server.sent``.
        interface: Where its request came from; 0 where that has no card that stamps.
        handed_ns: CLOCK_REALTIME when it was given to the kernel.
    """

    stamp_as: int
    interface: int
    handed_ns: int


def departure_ns() -> int:
    """The transmit time to write into a reply that is being made, CLOCK_REALTIME ns: now.

    It is written (and covered by the MAC) before the system call that sends the reply. What that takes is not
    added: a forecast is too late at times, and a round trip would then come out negative.
    """
    return time.clock_gettime_ns(time.CLOCK_REALTIME)


class ServingSocket:
    """A bound UDP socket that serves.

    ``local`` addresses are the kernel's own octets: for IPv4 the address to answer from and the destination
    in the header (8 octets), for IPv6 the destination (16).

    Attributes:
        socket: The socket, non-blocking.
    """

    def __init__(self, bound: socket.socket) -> None:
        self.socket = bound
        self._waiting: dict[int, _Waiting] = {}
        self._next_id = 0
        self._restart_stamps()

    def receive(self) -> Datagram:
        """The next datagram. Raises BlockingIOError when there is none."""
        data, ancillary, _, address = self.socket.recvmsg(_LARGEST, 256)
        stamp_ns = card_ns = interface = 0
        local: bytes | None = None
        for level, kind, value in ancillary:
            if level == socket.SOL_SOCKET and kind == abi.SCM_TIMESTAMPING:
                stamp_ns, card_ns = _stamps_of(value)
            elif level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
                interface, local = _PACKET_INFO4.unpack(value)
            elif level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO:
                local, interface = _PACKET_INFO6.unpack(value)
        if not stamp_ns:
            stamp_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        return Datagram(data, address, stamp_ns, card_ns, local, interface)

    def reply(
        self, data: bytes, address: SocketAddress, local: bytes | None, stamp_as: int | None, interface: int = 0
    ) -> bool:
        """Send from the address that was asked; with ``stamp_as`` its transmit stamp comes out of ``stamps``.

        False when the kernel did not take it: the reply is lost, which UDP allows.

        Args:
            data: The reply.
            address: Of the client.
            local: As in ``Datagram``.
            stamp_as: For ``Server.sent``; None: no stamp is wanted.
            interface: Where the request came from, if its card stamps packets: it is asked for the stamp, too.
        """
        ancillary = []
        if local is not None:
            ancillary.append(self._packet_info(local))
        if stamp_as is not None:
            ancillary.append(_ASK_FOR_BOTH if interface else _ASK_FOR_STAMP)
        handed_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        try:
            self.socket.sendmsg((data,), ancillary, socket.MSG_DONTWAIT, address)
        except OSError:
            if stamp_as is not None:
                # Whether the kernel counted this one is unknown.
                self._restart_stamps()
            return False
        if stamp_as is not None:
            if len(self._waiting) >= MAX_WAITING:
                del self._waiting[next(iter(self._waiting))]
            self._waiting[self._next_id] = _Waiting(stamp_as, interface, handed_ns)
            self._next_id = (self._next_id + 1) & 0xFFFF_FFFF
        return True

    def stamps(self, lines: Mapping[int, Line]) -> Iterator[tuple[int, int]]:
        """Transmit stamps that have come: ``stamp_as`` and CLOCK_REALTIME ns; a later one of a reply is the better.

        Args:
            lines: From the stamps of network cards to CLOCK_REALTIME, by interface.
        """
        while True:
            try:
                _, ancillary, _, _ = self.socket.recvmsg(1, 256, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                return
            number: int | None = None
            stamp_ns = card_ns = 0
            for level, kind, value in ancillary:
                if level == socket.SOL_SOCKET and kind == abi.SCM_TIMESTAMPING:
                    stamp_ns, card_ns = _stamps_of(value)
                elif (level, kind) in (
                    (socket.IPPROTO_IP, abi.IP_RECVERR),
                    (socket.IPPROTO_IPV6, abi.IPV6_RECVERR),
                ):
                    code, origin, *_, number_or_else = abi.SOCK_EXTENDED_ERR.unpack_from(value)
                    if code == errno.ENOMSG and origin == abi.SO_EE_ORIGIN_TIMESTAMPING:
                        number = number_or_else
            waiting = None if number is None else self._waiting.get(number)
            if number is None or waiting is None:
                continue
            line = lines.get(waiting.interface)
            if line is None or card_ns:
                del self._waiting[number]
            sent_ns = line.sent(waiting.handed_ns, card_ns) if line is not None and card_ns else stamp_ns
            if sent_ns:
                yield waiting.stamp_as, sent_ns

    def _packet_info(self, local: bytes) -> tuple[int, int, bytes]:
        # No interface index: the route decides, so that asymmetric routing works; a link-local peer has its
        # scope.
        if len(local) == 8:
            return (socket.IPPROTO_IP, _IP_PKTINFO, _PACKET_INFO4.pack(0, local))
        return (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, _PACKET_INFO6.pack(local, 0))

    def _restart_stamps(self) -> None:
        """Make the kernel count stamped datagrams from 0: it does when OPT_ID goes from off to on."""
        self._waiting.clear()
        self._next_id = 0
        self.socket.setsockopt(socket.SOL_SOCKET, abi.SO_TIMESTAMPING, _WITHOUT_ID)
        with contextlib.suppress(BlockingIOError):
            while True:
                self.socket.recvmsg(1, 256, socket.MSG_ERRQUEUE)
        self.socket.setsockopt(socket.SOL_SOCKET, abi.SO_TIMESTAMPING, _STAMPING)


def _stamps_of(value: bytes) -> tuple[int, int]:
    """The kernel's and the network card's, ns; 0 for one that is missing."""
    seconds, nanoseconds, _, _, card_seconds, card_nanoseconds = abi.SCM_TIMESTAMPING_BODY.unpack_from(value)
    return seconds * 1_000_000_000 + nanoseconds, card_seconds * 1_000_000_000 + card_nanoseconds


def is_unicast(local: bytes) -> bool:
    """Whether a datagram was sent to one machine: one request must not wake a whole network."""
    if len(local) == 8:
        return local[:4] == local[4:]
    return local[0] != 0xFF


def open_sockets(
    listen: Sequence[Endpoint], groups: int, ptp_listen: Sequence[Endpoint] = ()
) -> list[list[socket.socket]]:
    """Bound sockets for each of ``groups`` processes: one for each endpoint, in order. Raises OSError.

    Port 0 gives a free port, the same in all groups.

    Args:
        listen: For NTP; another server there is an error.
        groups: How many processes.
        ptp_listen: For NTP over PTP; such a port is shared with our own requests, which leave from it as well.
    """
    opened: list[list[socket.socket]] = [[] for _ in range(groups)]
    try:
        for number, endpoint in enumerate([*listen, *ptp_listen]):
            over_ptp = number >= len(listen)
            address = _claim(endpoint, over_ptp=over_ptp)
            for group in opened:
                group.append(_bind(address, share=groups > 1, over_ptp=over_ptp))
            if groups > 1:
                spread_by_address(opened[0][-1], groups)
    except OSError:
        for member in (member for group in opened for member in group):
            member.close()
        raise
    return opened


def endpoint_of(bound: socket.socket) -> Endpoint:
    """What a socket is bound to."""
    name = bound.getsockname()
    return Endpoint(name[0], name[1], name[3] if len(name) == 4 else 0)


def _claim(endpoint: Endpoint, *, over_ptp: bool) -> SocketAddress:
    """Bind once without sharing, and let go: another server on the port is an error, not a partner."""
    v6 = ":" in endpoint.address
    address: SocketAddress = (
        (endpoint.address, endpoint.port, 0, endpoint.scope) if v6 else (endpoint.address, endpoint.port)
    )
    with _bind(address, share=False, over_ptp=over_ptp) as probe:
        bound = probe.getsockname()
    return (bound[0], bound[1], 0, endpoint.scope) if v6 else (bound[0], bound[1])


def _bind(address: SocketAddress, *, share: bool, over_ptp: bool) -> socket.socket:
    v6 = len(address) == 4
    bound = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if share:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if over_ptp:
            share_event_port(bound)
        if v6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IP, _IP_PKTINFO, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        bound.setsockopt(socket.SOL_SOCKET, abi.SO_TIMESTAMPING, _STAMPING)
        bound.bind(address)
    except OSError as error:
        bound.close()
        shown = f"[{address[0]}]:{address[1]}" if v6 else f"{address[0]}:{address[1]}"
        raise OSError(error.errno, f"cannot serve NTP on {shown}: {error.strerror}") from None
    return bound
