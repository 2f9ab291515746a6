"""PTP over UDP on one interface (IEEE 1588-2019, annexes C, D): port 319 for event messages, 320 for all others."""

from __future__ import annotations

import errno
import ipaddress
import socket
import struct
from contextlib import suppress
from functools import lru_cache

from timesync_drivers import abi
from timesync_drivers.ptp_stamp import (
    NO_READING,
    Arrival,
    Control,
    Departure,
    ask_stamps,
    read_departure,
    reading,
    receive,
)

EVENT_PORT, GENERAL_PORT = 319, 320
GROUP4, PEER_GROUP4 = "224.0.1.129", "224.0.0.107"
PEER_GROUP6 = "ff02::6b"
_INT = struct.Struct("=i")
_QUEUE = 1 << 20
"""Octets, of which the kernel gives what it allows (``net.core.rmem_max``)."""
_PAD6 = bytes(2)
"""Follows each message over IPv6, for cards to correct the checksum with (annex D)."""


@lru_cache(1024)
def _numeric(destination: str, *, ipv6: bool) -> tuple[str, bool]:
    """An address as the kernel takes it, and whether it is one of the link; kept, as there are few. Raises OSError."""
    try:
        address = ipaddress.ip_address(destination)
    except ValueError as error:
        raise OSError(errno.EINVAL, f"not an IP address: {destination!r}") from error
    if (address.version == 6) != ipv6:
        raise OSError(errno.EINVAL, f"{destination} is of another IP version")
    return str(address), address.version == 6 and (address.is_link_local or address.is_multicast)


def group6(scope: int) -> str:
    """The multicast address FF0x::181 of all messages but those of peer delay (annex D)."""
    return str(ipaddress.IPv6Address((0xFF00 | scope) << 112 | 0x181))


class UdpSockets:
    """Both sockets of one interface, over IPv4 or IPv6."""

    def __init__(self, interface: str, index: int, *, ipv6: bool) -> None:
        """Open and bind. Raises OSError: EACCES without CAP_NET_BIND_SERVICE, EPERM without CAP_NET_RAW, ENODEV."""
        self._index = index
        self._ipv6 = ipv6
        self._family = socket.AF_INET6 if ipv6 else socket.AF_INET
        self._channels: list[socket.socket] = []
        try:
            for port in (EVENT_PORT, GENERAL_PORT):
                self._channels.append(self._open(interface, port))
        except BaseException:
            self.close()
            raise
        self._event, self._general = self._channels

    @property
    def filenos(self) -> tuple[int, int]:
        """Of the event and of the general socket, for the event loop."""
        return self._event.fileno(), self._general.fileno()

    def use_mac(self, mac: bytes) -> None:
        """Nothing: the kernel writes the headers."""

    def close(self) -> None:
        """Close both; a second call does nothing."""
        for channel in self._channels:
            channel.close()

    def join(self, group: str) -> None:
        """Have both hear a multicast group, for as long as they are open. Raises OSError."""
        packed = socket.inet_pton(self._family, group)
        for channel in self._channels:
            try:
                if self._ipv6:
                    request = abi.IPV6_MREQ.pack(packed, self._index)
                    channel.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, request)
                else:
                    request = abi.IP_MREQN.pack(packed, bytes(4), self._index)
                    channel.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, request)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:  # that one says that it is joined already
                    raise

    def ask_stamps(self, *, software: bool, hardware: bool) -> None:
        """Have event messages stamped by the kernel, the card, or both. Raises OSError."""
        ask_stamps(self._event, software=software, hardware=hardware)

    def send(self, data: bytes, destination: str, *, event: bool, hops: int | None, dscp: int) -> None:
        """Send one message to a numeric address. Raises OSError, EINVAL for what is no address of the family.

        Args:
            data: The message.
            destination: Unicast or multicast.
            event: To port 319, with a transmit stamp; else to 320.
            hops: Time to live, or hop limit; None: what the kernel takes for unicast.
            dscp: Differentiated services code point.
        """
        address, near = _numeric(destination, ipv6=self._ipv6)
        port = EVENT_PORT if event else GENERAL_PORT
        channel = self._event if event else self._general
        if self._ipv6:
            target: tuple[str, int] | tuple[str, int, int, int] = (address, port, 0, self._index if near else 0)
            data += _PAD6
        else:
            target = (address, port)
        options = self._options(hops, dscp)
        if options:
            channel.sendmsg([data], options, 0, target)
        else:
            channel.sendto(data, target)

    def receive(self, *, event: bool) -> Arrival | None:
        """The next message; None when there is none now. Raises OSError."""
        packet = receive(self._event if event else self._general)
        if packet is None:
            return None
        data, control, address = packet
        return Arrival(data, str(address[0]), reading(control) if event else NO_READING)

    def read_departure(self) -> Departure | None:
        """The next transmit stamp; None when there is none now. Raises OSError."""
        return read_departure(self._event)

    def _options(self, hops: int | None, dscp: int) -> Control:
        level = socket.IPPROTO_IPV6 if self._ipv6 else socket.IPPROTO_IP
        options = []
        if hops is not None:
            options.append((level, socket.IPV6_HOPLIMIT if self._ipv6 else socket.IP_TTL, _INT.pack(hops)))
        if dscp:
            options.append((level, socket.IPV6_TCLASS if self._ipv6 else socket.IP_TOS, _INT.pack(dscp << 2)))
        return options

    def _open(self, interface: str, port: int) -> socket.socket:
        udp = socket.socket(self._family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        try:
            # Other interfaces have sockets of their own on the same port.
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.encode())
            # Transmit stamps wait in the same queue as messages: one for each of hundreds of unicast clients.
            udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
            if self._ipv6:
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, self._index)
                udp.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 0)
                with suppress(OSError):  # Linux 4.20; without it groups joined by others are heard, and demultiplexed
                    udp.setsockopt(socket.IPPROTO_IPV6, abi.IPV6_MULTICAST_ALL, 0)
            else:
                request = abi.IP_MREQN.pack(bytes(4), bytes(4), self._index)
                udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, request)
                udp.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 0)
                udp.setsockopt(socket.IPPROTO_IP, abi.IP_MULTICAST_ALL, 0)
            udp.bind(("", port))
        except BaseException:
            udp.close()
            raise
        return udp
