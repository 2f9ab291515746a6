"""A listener on one interface that takes every PTP packet that passes, whoever sends it, and sends nothing.

An AF_PACKET socket for all protocols hears what this machine sends too (packet(7), PACKET_OUTGOING), which one that is
bound to the EtherType of PTP does not. A filter in the kernel lets through Ethernet frames of PTP and UDP packets to
its two ports, with one VLAN tag or without. The card is asked to take the groups in; no IGMP or MLD report is sent, so
a switch that forwards groups only to those who asked for them may keep them back.
"""

from __future__ import annotations

import ctypes
import socket
import struct
from dataclasses import dataclass
from typing import Literal

from timesync_drivers import abi
from timesync_drivers.ethernet import GROUP, PEER_GROUP, format_mac, parse_mac
from timesync_drivers.ptp_udp import EVENT_PORT, GENERAL_PORT

# linux/if_ether.h, linux/if_packet.h, linux/if_arp.h
_ETH_P_ALL = 0x0003
_PACKET_STATISTICS = 6
_PACKET_AUXDATA = 8
_PACKET_MR_PROMISC = 1
_AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid
_TP_STATUS_VLAN_VALID = 1 << 4
_STATISTICS = struct.Struct("=II")  # struct tpacket_stats: packets, drops
_ARPHRD_LOOPBACK = 772

_IPV4, _IPV6, _UDP = 0x0800, 0x86DD, 17
_TAGGED = (0x8100, 0x88A8)
_VLAN_ID = 0x0FFF
_HEAD, _TAG, _UDP_HEAD, _IPV6_HEAD, _IPV4_LEAST = 14, 4, 8, 40, 20
_FRAGMENT = 0x1FFF
_ROOM = 2048
_QUEUE = 1 << 20

GROUPS = (
    GROUP,
    PEER_GROUP,
    "01:00:5e:00:01:81",  # 224.0.1.129, and three more that PTP version 1 used
    "01:00:5e:00:01:82",
    "01:00:5e:00:01:83",
    "01:00:5e:00:01:84",
    "01:00:5e:00:00:6b",  # 224.0.0.107
    "33:33:00:00:01:81",  # FF0x::181
    "33:33:00:00:00:6b",  # FF02::6B
)

_LDH, _LDB, _LDX_MSH, _LDH_IND, _JEQ, _JSET, _RET = 0x28, 0x30, 0xB1, 0x48, 0x15, 0x45, 0x06


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One PTP packet.

    Attributes:
        data: What follows the header of UDP, or of Ethernet.
        transport: Over what.
        source: Numeric IP address of the sender; its MAC address over Ethernet.
        destination: The same of the receiver.
        mac: Sender of the frame.
        multicast: The frame is to a group.
        port: Destination port of UDP; None over Ethernet.
        vlan: VLAN identifier; 0 is a tag of priority only, None no tag.
    """

    data: bytes
    transport: Literal["udp4", "udp6", "l2"]
    source: str
    destination: str
    mac: str
    multicast: bool
    port: int | None = None
    vlan: int | None = None


class PtpTap:
    """Listens until it is closed."""

    def __init__(self, interface: str, *, promiscuous: bool) -> None:
        """Open. Raises OSError: EPERM without CAP_NET_RAW, ENODEV without such an interface.

        ``promiscuous`` has the card take in what is for other machines too, as at a mirror port.
        """
        self._dropped = 0
        self._channel = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0)
        try:
            # With protocol 0 nothing comes before bind, and the filter stands by then.
            _attach_filter(self._channel)
            self._channel.setsockopt(abi.SOL_PACKET, _PACKET_AUXDATA, 1)
            self._channel.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _QUEUE)
            self._channel.bind((interface, _ETH_P_ALL))
            index = socket.if_nametoindex(interface)
            for group in GROUPS:
                self._add(index, abi.PACKET_MR_MULTICAST, parse_mac(group))
            if promiscuous:
                self._add(index, _PACKET_MR_PROMISC, b"")
        except BaseException:
            self._channel.close()
            raise

    def _add(self, index: int, kind: int, address: bytes) -> None:
        request = abi.PACKET_MREQ.pack(index, kind, len(address), address)
        self._channel.setsockopt(abi.SOL_PACKET, abi.PACKET_ADD_MEMBERSHIP, request)

    def fileno(self) -> int:
        """For select()."""
        return self._channel.fileno()

    def close(self) -> None:
        """Stop listening; a second call does nothing."""
        self._channel.close()

    @property
    def dropped(self) -> int:
        """Packets that came faster than they were read. Raises OSError."""
        packed = self._channel.getsockopt(abi.SOL_PACKET, _PACKET_STATISTICS, _STATISTICS.size)
        self._dropped += _STATISTICS.unpack(packed)[1]  # each look sets the kernel's counter back
        return self._dropped

    def receive(self) -> Packet | None:
        """The next packet; None when there is none now. Raises OSError: ENETDOWN when the interface goes down."""
        while True:
            try:
                frame, control, _, address = self._channel.recvmsg(_ROOM, 128)
            except (BlockingIOError, InterruptedError):
                return None
            # A loopback interface shows each packet twice, as it leaves and as it comes.
            if address[2] == abi.PACKET_OUTGOING and address[3] == _ARPHRD_LOOPBACK:
                continue
            packet = parse(frame, _stripped_tag(control))
            if packet is not None:
                return packet


def _stripped_tag(control: list[tuple[int, int, bytes]]) -> int | None:
    """The VLAN identifier of a tag that the kernel or the card has taken out of the frame."""
    for level, kind, body in control:
        if (level, kind) == (abi.SOL_PACKET, _PACKET_AUXDATA) and len(body) >= _AUXDATA.size:
            status, _, _, _, _, tag, _ = _AUXDATA.unpack_from(body)
            if status & _TP_STATUS_VLAN_VALID:
                return int(tag) & _VLAN_ID
    return None


def parse(frame: bytes, vlan: int | None = None) -> Packet | None:
    """What of PTP is in a frame; None when there is nothing.

    ``vlan`` is that of a tag which is no longer in the frame.
    """
    if len(frame) < _HEAD:
        return None
    at, kind = _HEAD, int.from_bytes(frame[12:14], "big")
    if kind in _TAGGED and len(frame) >= at + _TAG:
        vlan = int.from_bytes(frame[at : at + 2], "big") & _VLAN_ID
        kind = int.from_bytes(frame[at + 2 : at + 4], "big")
        at += _TAG
    mac, multicast = format_mac(frame[6:12]), bool(frame[0] & 1)
    if kind == abi.ETH_P_1588:
        return Packet(
            data=frame[at:],
            transport="l2",
            source=mac,
            destination=format_mac(frame[:6]),
            mac=mac,
            multicast=multicast,
            vlan=vlan,
        )
    transport: Literal["udp4", "udp6"] = "udp4" if kind == _IPV4 else "udp6"
    found = _ipv4(frame, at) if kind == _IPV4 else _ipv6(frame, at) if kind == _IPV6 else None
    if found is None:
        return None
    source, destination, udp = found
    port, length = struct.unpack_from(">HH", frame, udp + 2)
    if port not in (EVENT_PORT, GENERAL_PORT) or length < _UDP_HEAD:
        return None
    return Packet(
        data=frame[udp + _UDP_HEAD : udp + length],
        transport=transport,
        source=source,
        destination=destination,
        mac=mac,
        multicast=multicast,
        port=port,
        vlan=vlan,
    )


def _ipv4(frame: bytes, at: int) -> tuple[str, str, int] | None:
    """Addresses, and where the header of UDP begins; None for anything else, and for the rest of fragments."""
    if len(frame) < at + _IPV4_LEAST or frame[at] >> 4 != 4 or frame[at + 9] != _UDP:
        return None
    udp = at + 4 * (frame[at] & 0xF)
    if int.from_bytes(frame[at + 6 : at + 8], "big") & _FRAGMENT or len(frame) < udp + _UDP_HEAD:
        return None
    source, destination = (socket.inet_ntop(socket.AF_INET, frame[at + n : at + n + 4]) for n in (12, 16))
    return source, destination, udp


def _ipv6(frame: bytes, at: int) -> tuple[str, str, int] | None:
    """The same; extension headers are not looked behind, nobody puts PTP there."""
    udp = at + _IPV6_HEAD
    if len(frame) < udp + _UDP_HEAD or frame[at] >> 4 != 6 or frame[at + 6] != _UDP:
        return None
    source, destination = (socket.inet_ntop(socket.AF_INET6, frame[at + n : at + n + 16]) for n in (8, 24))
    return source, destination, udp


# -- the filter


_Line = tuple[str, int, str, str, int]


def _attach_filter(channel: socket.socket) -> None:
    code = b"".join(abi.SOCK_FILTER.pack(*instruction) for instruction in program())
    held = ctypes.create_string_buffer(code, len(code))
    channel.setsockopt(
        socket.SOL_SOCKET,
        abi.SO_ATTACH_FILTER,
        abi.SOCK_FPROG.pack(len(code) // abi.SOCK_FILTER.size, ctypes.addressof(held)),
    )


def program() -> list[tuple[int, int, int, int]]:
    """The instructions of classic BPF: PTP over Ethernet, or UDP to its ports, behind one tag or none."""
    tagged: list[_Line] = [("", _LDH, "", "", 12), *(("", _JEQ, "tagged", "", kind) for kind in _TAGGED)]
    plain, behind = _block("plain", _HEAD), _block("behind", _HEAD + _TAG)
    lines: list[_Line] = [*tagged, *plain, ("tagged", _LDH, "", "", _HEAD + 2), *behind[1:]]
    lines += [("yes", _RET, "", "", 0xFFFF), ("no", _RET, "", "", 0)]
    places = {label: number for number, (label, *_) in enumerate(lines) if label}
    found = []
    for number, (_, operation, yes, no, operand) in enumerate(lines):
        jumps = [places[target] - number - 1 if target else 0 for target in (yes, no)]
        found.append((operation, jumps[0], jumps[1], operand))
    return found


def _block(name: str, at: int) -> list[_Line]:
    """Whether what begins at ``at`` is PTP; the type of Ethernet is before it."""
    return [
        ("", _LDH, "", "", at - 2),
        ("", _JEQ, "yes", "", abi.ETH_P_1588),
        ("", _JEQ, f"{name}4", "", _IPV4),
        ("", _JEQ, "", "no", _IPV6),
        ("", _LDB, "", "", at + 6),
        ("", _JEQ, "", "no", _UDP),
        ("", _LDH, "", "", at + _IPV6_HEAD + 2),
        ("", _JEQ, "yes", "", EVENT_PORT),
        ("", _JEQ, "yes", "no", GENERAL_PORT),
        (f"{name}4", _LDB, "", "", at + 9),
        ("", _JEQ, "", "no", _UDP),
        ("", _LDH, "", "", at + 6),
        ("", _JSET, "no", "", _FRAGMENT),
        ("", _LDX_MSH, "", "", at),
        ("", _LDH_IND, "", "", at + 2),
        ("", _JEQ, "yes", "", EVENT_PORT),
        ("", _JEQ, "yes", "no", GENERAL_PORT),
    ]
