"""Stamps of the packets of long-lived sockets, of both kinds at once (``Documentation/networking/timestamping.rst``).

A stamp of the kernel and one of the network card are of different clocks, so they stay apart all the way.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

from timesync.base.time import NS_PER_S
from timesync_drivers import abi

ROOM = 2048
"""No PTP message is longer; what is cut off here fails to be decoded."""

_ANCILLARY = 512
_RECEIVE = abi.SOF_TIMESTAMPING_OPT_ID
_SOFTWARE = abi.SOF_TIMESTAMPING_TX_SOFTWARE | abi.SOF_TIMESTAMPING_RX_SOFTWARE | abi.SOF_TIMESTAMPING_SOFTWARE
_HARDWARE = (
    abi.SOF_TIMESTAMPING_TX_HARDWARE
    | abi.SOF_TIMESTAMPING_RX_HARDWARE
    | abi.SOF_TIMESTAMPING_RAW_HARDWARE
    | abi.SOF_TIMESTAMPING_OPT_PKTINFO
)
_ERRORS = {
    (socket.IPPROTO_IP, abi.IP_RECVERR),
    (socket.IPPROTO_IPV6, abi.IPV6_RECVERR),
    (abi.SOL_PACKET, abi.PACKET_TX_TIMESTAMP),
}

Control = list[tuple[int, int, bytes]]


@dataclass(frozen=True, slots=True)
class Reading:
    """When a packet passed.

    Attributes:
        kernel_ns: CLOCK_REALTIME; None when the kernel took no stamp.
        card_ns: The card's own clock, on its own scale; None when the card took none.
        interface: Index of the interface whose card that was; 0 where the kernel does not tell.
    """

    kernel_ns: int | None
    card_ns: int | None
    interface: int


@dataclass(frozen=True, slots=True)
class Arrival:
    """A packet that came.

    Attributes:
        data: The PTP message, perhaps with padding behind it.
        source: Numeric address, or MAC address, of the sender.
        reading: When; all None on the general socket.
    """

    data: bytes
    source: str
    reading: Reading


@dataclass(frozen=True, slots=True)
class Departure:
    """A packet of the event socket that left.

    Attributes:
        number: Which one, from 0, as the kernel counts; modulo 2^32.
        data: The packet with the headers before it, as the card got it; empty where the kernel gives none.
        reading: When.
    """

    number: int
    data: bytes
    reading: Reading


NO_READING = Reading(None, None, 0)


def ask_stamps(event: socket.socket, *, software: bool, hardware: bool) -> None:
    """Have the packets of a socket stamped in both directions by the kernel, the card, or both. Raises OSError.

    The packets themselves come back with their stamps (no OPT_TSONLY): a number alone would point to another packet
    after one that the kernel had counted and then refused.
    """
    wanted = _RECEIVE
    if software:
        wanted |= _SOFTWARE
    if hardware:
        wanted |= _HARDWARE
    if software and hardware:
        wanted |= abi.SOF_TIMESTAMPING_OPT_TX_SWHW
    event.setsockopt(socket.SOL_SOCKET, abi.SO_TIMESTAMPING, wanted)


def receive(channel: socket.socket) -> tuple[bytes, Control, tuple[object, ...]] | None:
    """The next packet with its control messages and its sender; None when there is none now. Raises OSError."""
    try:
        data, control, _, address = channel.recvmsg(ROOM, _ANCILLARY)
    except (BlockingIOError, InterruptedError):
        return None
    return data, control, address


def read_departure(event: socket.socket) -> Departure | None:
    """The next transmit stamp from the error queue; None when there is none now. Raises OSError."""
    while True:
        try:
            data, control, _, _ = event.recvmsg(ROOM, _ANCILLARY, socket.MSG_ERRQUEUE)
        except (BlockingIOError, InterruptedError):
            return None
        for origin, info, number in _extended_errors(control):
            if origin == abi.SO_EE_ORIGIN_TIMESTAMPING and info == abi.SCM_TSTAMP_SND:
                return Departure(number, data, reading(control))


def reading(control: Control) -> Reading:
    """The stamps among control messages."""
    kernel_ns = card_ns = None
    interface = 0
    for level, kind, body in control:
        if level != socket.SOL_SOCKET:
            continue
        if kind == abi.SCM_TIMESTAMPING and len(body) >= abi.SCM_TIMESTAMPING_BODY.size:
            seconds, nanoseconds, _, _, raw_seconds, raw_nanoseconds = abi.SCM_TIMESTAMPING_BODY.unpack_from(body)
            kernel_ns = seconds * NS_PER_S + nanoseconds or None
            card_ns = raw_seconds * NS_PER_S + raw_nanoseconds or None
        elif kind == abi.SCM_TIMESTAMPING_PKTINFO and len(body) >= abi.SCM_TS_PKTINFO.size:
            interface = abi.SCM_TS_PKTINFO.unpack_from(body)[0]
    return Reading(kernel_ns, card_ns, interface)


def _extended_errors(control: Control) -> Iterator[tuple[int, int, int]]:
    for level, kind, body in control:
        if (level, kind) in _ERRORS and len(body) >= abi.SOCK_EXTENDED_ERR.size:
            _, origin, _, _, _, info, data = abi.SOCK_EXTENDED_ERR.unpack_from(body)
            yield origin, info, data
