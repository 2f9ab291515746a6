"""UDP sockets whose packets the kernel stamps (``Documentation/networking/timestamping.rst``).

One socket serves one request: it is bound to a random port (RFC 9109) and connected to its remote, so the
kernel drops packets of others and reports a refused connection as ECONNREFUSED. Only NTP over PTP needs a port of its
own, as cards that stamp PTP alone know it by that.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

from timesync.base.ids import Endpoint
from timesync.base.machine import Entropy
from timesync.base.measure import StampSource
from timesync_drivers import abi

NS_PER_S = 1_000_000_000
FIRST_PORT = 1024
BIND_TRIES = 64
MAX_DATAGRAM = 2049
"""One octet more than the longest NTP packet, so that a longer one is seen to be too long."""

# UDP ports outside the well-known range that a service of this machine may want to bind later: it would find
# them taken by a request in flight.
RESERVED_PORTS = frozenset(
    {
        1194,
        1645,
        1646,
        1701,
        1812,
        1813,
        1900,
        2049,
        3478,
        4460,
        4500,
        4789,
        5004,
        5060,
        5353,
        5355,
        6081,
        8472,
    }
)
_ANCILLARY = 512
_WANTED = (
    abi.SOF_TIMESTAMPING_TX_SOFTWARE
    | abi.SOF_TIMESTAMPING_RX_SOFTWARE
    | abi.SOF_TIMESTAMPING_SOFTWARE
    | abi.SOF_TIMESTAMPING_OPT_ID
    | abi.SOF_TIMESTAMPING_OPT_TSONLY
)
# Nothing of software among it: a stamp of another clock must never pass for one of the card's.
_WANTED_OF_CARD = (
    abi.SOF_TIMESTAMPING_TX_HARDWARE
    | abi.SOF_TIMESTAMPING_RX_HARDWARE
    | abi.SOF_TIMESTAMPING_RAW_HARDWARE
    | abi.SOF_TIMESTAMPING_OPT_ID
    | abi.SOF_TIMESTAMPING_OPT_TSONLY
    | abi.SOF_TIMESTAMPING_OPT_PKTINFO
)
_ERROR_TYPES = {(socket.IPPROTO_IP, abi.IP_RECVERR), (socket.IPPROTO_IPV6, abi.IPV6_RECVERR)}
_UNSUPPORTED = {errno.EINVAL, errno.ENOPROTOOPT, errno.EOPNOTSUPP, errno.ENOSYS}

_Control = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Received:
    """A datagram.

    Attributes:
        data: Its payload, cut off after ``MAX_DATAGRAM`` octets.
        at_ns: CLOCK_REALTIME when it came, or the card's clock where ``source`` is HARDWARE; None when packets are
            stamped but not this one.
        source: Who took the stamp.
        interface: Index of the card's interface, with a hardware stamp; 0 where the kernel does not tell.
    """

    data: bytes
    at_ns: int | None
    source: StampSource
    interface: int = 0


@dataclass(frozen=True, slots=True)
class Transmitted:
    """A transmit stamp.

    Attributes:
        number: Which datagram of the socket, from 0.
        at_ns: CLOCK_REALTIME when it left, or the card's clock where ``source`` is HARDWARE.
        source: Who took the stamp.
    """

    number: int
    at_ns: int
    source: StampSource


class StampedSocket:
    """A non-blocking UDP socket with stamps of the kernel or of the network card, connected to one remote.

    Attributes:
        kernel_stamps: Whether stamps come from below; else all are ``StampSource.USER``.
        local_port: The random port, or the one that was asked for.
    """

    def __init__(
        self, remote: Endpoint, entropy: Entropy, *, hardware: bool = False, local_port: int | None = None
    ) -> None:
        """Bind and connect. Raises OSError (no route, no free port, wrong address).

        With ``local_port`` that is the port, shared with other such sockets (``share_event_port``): what its remote
        sends to it from the remote's port comes to this socket alone, and all else to the others.

        With ``hardware`` all stamps but those of ``send`` are the card's, raw, on its own clock and scale, or missing;
        raises OSError where the kernel does not know such stamps.
        """
        family = socket.AF_INET6 if ":" in remote.address else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            if family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                self._socket.setsockopt(socket.IPPROTO_IPV6, abi.IPV6_RECVERR, 1)
            else:
                self._socket.setsockopt(socket.IPPROTO_IP, abi.IP_RECVERR, 1)
            # Before bind, so that no packet comes in between without a stamp.
            self.kernel_stamps = _enable_stamps(self._socket, hardware=hardware)
            if local_port is None:
                self.local_port = _bind_random(self._socket, entropy)
            else:
                share_event_port(self._socket)
                self._socket.bind(("", local_port))
                self.local_port = local_port
            self._socket.connect(_address(remote))
        except BaseException:
            self._socket.close()
            raise
        self._sent = 0
        self._source = StampSource.HARDWARE if hardware else StampSource.KERNEL

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close; a second call does nothing."""
        self._socket.close()

    def send(self, data: bytes) -> Transmitted:
        """Send one datagram; gives its number with a USER stamp, the middle of the call.

        The kernel's better stamp of the same number comes from ``read_transmit_stamp`` soon after. Raises
        OSError.
        """
        before = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self._socket.send(data)
        after = time.clock_gettime_ns(time.CLOCK_REALTIME)
        number = self._sent
        self._sent += 1
        return Transmitted(number, (before + after) // 2, StampSource.USER)

    def recv(self) -> Received | None:
        """The next datagram, None when there is none now. Raises OSError: ECONNREFUSED and the like."""
        try:
            data, control, _, _ = self._socket.recvmsg(MAX_DATAGRAM, _ANCILLARY)
        except (BlockingIOError, InterruptedError):
            return None
        if not self.kernel_stamps:
            return Received(data, time.clock_gettime_ns(time.CLOCK_REALTIME), StampSource.USER)
        return Received(data, self._stamp(control), self._source, _interface(control))

    def read_transmit_stamp(self) -> Transmitted | None:
        """The next transmit stamp from the error queue; None when there is none now.

        Raises OSError for an entry of the queue that is an ICMP or a local error and not a stamp: no host, no network,
        which ``recv`` does not tell of.
        """
        while True:
            try:
                _, control, _, _ = self._socket.recvmsg(0, _ANCILLARY, socket.MSG_ERRQUEUE)
            except (BlockingIOError, InterruptedError):
                return None
            number = _stamped_number(control)
            stamp = self._stamp(control)
            if number is not None and stamp is not None:
                return Transmitted(number, stamp, self._source)

    def _stamp(self, control: _Control) -> int | None:
        software, raw = _stamps(control)
        return raw if self._source is StampSource.HARDWARE else software


def share_event_port(udp: socket.socket) -> None:
    """Let a socket, before it is bound, have a port of PTP beside others that do so too. Raises OSError.

    The kernel gives a packet to the socket that is bound most closely to it. Multicast messages, which it would give to
    each, are none of NTP's.
    """
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if udp.family == socket.AF_INET:
        udp.setsockopt(socket.IPPROTO_IP, abi.IP_MULTICAST_ALL, 0)
        return
    with suppress(OSError):  # Linux 4.20; without it they come, and are dropped by whoever reads
        udp.setsockopt(socket.IPPROTO_IPV6, abi.IPV6_MULTICAST_ALL, 0)


def hold_stamps() -> socket.socket:
    """A socket that only keeps the stamping of received packets switched on in the kernel while it is open.

    The kernel switches it on with the first socket of the machine that asks and off with the last, and it does
    so a little later, from a work queue. Short-lived sockets alone would lose the stamps of early answers.
    """
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        _enable_stamps(holder)
    except BaseException:
        holder.close()
        raise
    return holder


def _enable_stamps(udp: socket.socket, *, hardware: bool = False) -> bool:
    """Whether the kernel has stamps; those of the card must be had."""
    try:
        udp.setsockopt(socket.SOL_SOCKET, abi.SO_TIMESTAMPING, _WANTED_OF_CARD if hardware else _WANTED)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
        if hardware:
            raise OSError(errno.EOPNOTSUPP, "this kernel gives no hardware timestamps") from error
        return False
    return True


def _bind_random(udp: socket.socket, entropy: Entropy) -> int:
    """Bind to an unguessable port: uniform over 1024 to 65535 without the reserved ones (RFC 9109, 3.1)."""
    for _ in range(BIND_TRIES):
        (port,) = struct.unpack("=H", entropy(2))
        if port < FIRST_PORT or port in RESERVED_PORTS:
            continue
        try:
            udp.bind(("", port))
        except OSError as error:
            if error.errno not in {errno.EADDRINUSE, errno.EACCES}:
                raise
            continue
        return int(port)
    raise OSError(errno.EADDRINUSE, f"no free UDP port found in {BIND_TRIES} tries")


def _address(remote: Endpoint) -> tuple[str, int] | tuple[str, int, int, int]:
    if ":" in remote.address:
        return remote.address, remote.port, 0, remote.scope
    return remote.address, remote.port


def _stamps(control: _Control) -> tuple[int | None, int | None]:
    """The software stamp (ns of CLOCK_REALTIME) and the card's raw one; None for what is absent or zero."""
    for level, kind, body in control:
        if level != socket.SOL_SOCKET or kind != abi.SCM_TIMESTAMPING:
            continue
        if len(body) < abi.SCM_TIMESTAMPING_BODY.size:
            continue
        seconds, nanoseconds, _, _, raw_seconds, raw_nanoseconds = abi.SCM_TIMESTAMPING_BODY.unpack_from(body)
        return seconds * NS_PER_S + nanoseconds or None, raw_seconds * NS_PER_S + raw_nanoseconds or None
    return None, None


def _interface(control: _Control) -> int:
    """Index of the interface whose card took the stamp; 0 when the kernel does not tell."""
    for level, kind, body in control:
        ours = level == socket.SOL_SOCKET and kind == abi.SCM_TIMESTAMPING_PKTINFO
        if ours and len(body) >= abi.SCM_TS_PKTINFO.size:
            return int(abi.SCM_TS_PKTINFO.unpack_from(body)[0])
    return 0


def _stamped_number(control: _Control) -> int | None:
    """The number of the datagram that was sent; None for a stamp of another moment. Raises OSError."""
    for number, origin, info, data in _extended_errors(control):
        if origin != abi.SO_EE_ORIGIN_TIMESTAMPING:
            raise OSError(number, os.strerror(number))
        if info == abi.SCM_TSTAMP_SND:
            return data
    return None


def _extended_errors(control: _Control) -> Iterator[tuple[int, int, int, int]]:
    for level, kind, body in control:
        if (level, kind) in _ERROR_TYPES and len(body) >= abi.SOCK_EXTENDED_ERR.size:
            number, origin, _, _, _, info, data = abi.SOCK_EXTENDED_ERR.unpack_from(body)
            yield number, origin, info, data
