"""PTP over Ethernet (IEEE 1588-2019, annex E): two AF_PACKET sockets, one for event and one for general messages.

They are bound to the EtherType of PTP and not to ETH_P_ALL, so they get nothing of what this machine sends.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct

from timesync_drivers import abi
from timesync_drivers.ptp_stamp import NO_READING, Arrival, Departure, ask_stamps, read_departure, reading, receive

GROUP = "01:1b:19:00:00:00"
"""All messages but those of peer delay (annex E, table E.1)."""
PEER_GROUP = "01:80:c2:00:00:0e"
"""Messages of peer delay; bridges do not forward it. All messages of 802.1AS and, by choice, of G.8275.1."""

_HEADER = struct.Struct("!6s6sH")
_TAG = 4
_TAGGED = (0x8100, 0x88A8)
_LDH, _LDB, _JA, _JEQ, _JSET, _RET = 0x28, 0x30, 0x05, 0x15, 0x45, 0x06
_GENERAL = 0x08
"""The bit of ``messageType`` that general messages have (table 36)."""


class EthernetSockets:
    """Both sockets of one interface."""

    def __init__(self, interface: str, index: int, mac: bytes) -> None:
        """Open and bind. Raises OSError: EPERM without CAP_NET_RAW, ENODEV."""
        self._mac = mac
        self._index = index
        self._vlans = {interface: False}
        self._channels: list[socket.socket] = []
        try:
            for event in (True, False):
                channel = socket.socket(
                    socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC, 0
                )
                self._channels.append(channel)
                # With protocol 0 nothing comes before bind, and the filter stands by then: no stray frame.
                _attach_filter(channel, event=event)
                channel.bind((interface, abi.ETH_P_1588))
        except BaseException:
            self.close()
            raise
        self._event, self._general = self._channels

    @property
    def filenos(self) -> tuple[int, int]:
        """Of the event and of the general socket, for the event loop."""
        return self._event.fileno(), self._general.fileno()

    def use_mac(self, mac: bytes) -> None:
        """Send from this address from now on: the interface has it now."""
        self._mac = mac

    def close(self) -> None:
        """Close both; a second call does nothing."""
        for channel in self._channels:
            channel.close()

    def join(self, group: str) -> None:
        """Have the card hear a multicast address, for as long as the sockets are open. Raises OSError."""
        address = parse_mac(group)
        request = abi.PACKET_MREQ.pack(self._index, abi.PACKET_MR_MULTICAST, len(address), address)
        self._event.setsockopt(abi.SOL_PACKET, abi.PACKET_ADD_MEMBERSHIP, request)

    def ask_stamps(self, *, software: bool, hardware: bool) -> None:
        """Have event messages stamped by the kernel, the card, or both. Raises OSError."""
        ask_stamps(self._event, software=software, hardware=hardware)

    def send(self, data: bytes, destination: str, *, event: bool, hops: int | None, dscp: int) -> None:
        """Send one message. Raises OSError, EINVAL for what is no MAC address.

        ``hops`` and ``dscp`` are of IP and mean nothing here.
        """
        del hops, dscp
        frame = _HEADER.pack(parse_mac(destination), self._mac, abi.ETH_P_1588) + data
        (self._event if event else self._general).send(frame)

    def receive(self, *, event: bool) -> Arrival | None:
        """The next message; None when there is none now. Raises OSError.

        Frames of another VLAN, for another machine, or sent by this one are passed over.
        """
        channel = self._event if event else self._general
        while (packet := receive(channel)) is not None:
            frame, control, address = packet
            if address[2] in (abi.PACKET_OTHERHOST, abi.PACKET_OUTGOING) or self._is_vlan(str(address[0])):
                continue
            arrival = parse_frame(frame)
            if arrival is None or frame[6:12] == self._mac:
                continue
            data, source = arrival
            return Arrival(data, source, reading(control) if event else NO_READING)
        return None

    def read_departure(self) -> Departure | None:
        """The next transmit stamp; None when there is none now. Raises OSError."""
        return read_departure(self._event)

    def _is_vlan(self, interface: str) -> bool:
        """Whether a frame was handed on to a VLAN's interface: those below it get it too, by their EtherType.

        A bond hands on likewise what belongs to the port that is bound here.
        """
        found = self._vlans.get(interface)
        if found is None:
            request = bytearray(abi.VLAN_IOCTL_ARGS.pack(abi.GET_VLAN_VID_CMD, os.fsencode(interface), b"", 0))
            try:
                fcntl.ioctl(self._event, abi.SIOCGIFVLAN, request)
            except OSError:
                found = False
            else:
                found = True
            self._vlans[interface] = found
        return found


def parse_frame(frame: bytes) -> tuple[bytes, str] | None:
    """The payload of a frame of PTP and its sender, also behind one VLAN tag; None for another EtherType."""
    if len(frame) < _HEADER.size:
        return None
    _, source, kind = _HEADER.unpack_from(frame)
    at = _HEADER.size
    # The kernel takes tags away, but for an interface of a VLAN whose header is not to be reordered.
    if kind in _TAGGED and len(frame) >= at + _TAG:
        kind = int.from_bytes(frame[at + 2 : at + 4], "big")
        at += _TAG
    if kind != abi.ETH_P_1588:
        return None
    return frame[at:], format_mac(source)


def parse_mac(text: str) -> bytes:
    """Six octets from ``01:1b:19:00:00:00`` or with hyphens. Raises OSError, EINVAL."""
    try:
        address = bytes.fromhex(text.replace(":", "").replace("-", ""))
    except ValueError:
        address = b""
    if len(address) != 6:
        raise OSError(errno.EINVAL, f"not a MAC address: {text!r}")
    return address


def format_mac(address: bytes) -> str:
    """With colons, in small letters."""
    return address.hex(":")


def _attach_filter(channel: socket.socket, *, event: bool) -> None:
    """Let the kernel pass on the frames of PTP, tagged or not, with event or with general messages only."""
    code = b"".join(
        abi.SOCK_FILTER.pack(*instruction)
        for instruction in (
            (_LDH, 0, 0, 12),
            (_JEQ, 4, 0, abi.ETH_P_1588),
            (_JEQ, 1, 0, _TAGGED[0]),
            (_JEQ, 0, 7, _TAGGED[1]),
            (_LDH, 0, 0, 16),
            (_JEQ, 2, 5, abi.ETH_P_1588),
            (_LDB, 0, 0, 14),
            (_JA, 0, 0, 1),
            (_LDB, 0, 0, 18),
            (_JSET, event, not event, _GENERAL),
            (_RET, 0, 0, 0xFFFF),
            (_RET, 0, 0, 0),
        )
    )
    held = ctypes.create_string_buffer(code, len(code))
    program = abi.SOCK_FPROG.pack(len(code) // abi.SOCK_FILTER.size, ctypes.addressof(held))
    channel.setsockopt(socket.SOL_SOCKET, abi.SO_ATTACH_FILTER, program)
