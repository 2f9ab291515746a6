"""recvmmsg and sendmmsg: many small UDP requests, and a reply to each, for two system calls.

All buffers are made once. What a fast loop wants of a datagram lies in one slot at fixed places, so that one
``struct`` call reads the sender, the kernel's receive timestamp, the local address and the payload together,
and one writes a whole reply. The places hold only if the socket has SO_TIMESTAMPING (software receive stamps)
and packet info switched on and nothing else that makes control messages; the length of the control data
tells.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from dataclasses import dataclass
from typing import Final, NamedTuple

from timesync_drivers import abi

PAYLOAD_SIZE: Final = 2052
"""Four octets more than any request that is taken seriously, so that a longer one is seen to be longer."""

_NAME_ROOM = 32
_CONTROL_ROOM = 128
_IN_SLOT = _NAME_ROOM + _CONTROL_ROOM + (PAYLOAD_SIZE + 7 & ~7)
_OUT_CONTROL_ROOM = 48
_OUT_SLOT = _OUT_CONTROL_ROOM + (PAYLOAD_SIZE + 7 & ~7)

_WORD = abi.LONG_SIZE
_HEAD = _WORD + 8  # struct cmsghdr: a size_t and two ints
_STAMP_SPACE = _HEAD + abi.SCM_TIMESTAMPING_BODY.size


class _Iovec(ctypes.Structure):
    _fields_ = (("base", ctypes.c_void_p), ("length", ctypes.c_size_t))


class _Msghdr(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_void_p),
        ("name_length", ctypes.c_uint32),
        ("vectors", ctypes.c_void_p),
        ("vector_count", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("control_length", ctypes.c_size_t),
        ("flags", ctypes.c_int),
    )


class _Mmsghdr(ctypes.Structure):
    _fields_ = (("header", _Msghdr), ("length", ctypes.c_uint))


_MMSGHDR = ctypes.sizeof(_Mmsghdr)
_CONTROL_LENGTH = _Msghdr.control_length.offset

# CDLL(None), not a named library, so that simulators that are preloaded see the calls.
_libc = ctypes.CDLL(None, use_errno=True)
_recvmmsg = _libc.recvmmsg
_recvmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int, ctypes.c_void_p)
_sendmmsg = _libc.sendmmsg
_sendmmsg.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int)


@dataclass(frozen=True)
class _Family:
    """Where things lie in the control data and addresses of an address family.

    Attributes:
        name_size: Of its sockaddr.
        name: Format of the sockaddr in its room, giving the packed address.
        info_size: Of struct in_pktinfo or in6_pktinfo.
        info: Format of a received one, giving ``parts`` of them.
        index_first: Whether the interface comes before the local address in it.
        info_offset: Of the local address in one to send.
        level: Of its control message.
        kind: Of its control message.
    """

    name_size: int
    name: str
    info_size: int
    info: str
    index_first: bool
    info_offset: int
    level: int
    kind: int

    @property
    def info_space(self) -> int:
        """CMSG_SPACE of the packet info."""
        return _HEAD + (self.info_size + _WORD - 1 & -_WORD)


# in_pktinfo is {index, address to answer from, destination in the header}: the last two are kept together,
# and differ for a broadcast. In what is sent the third is ignored.
_IP_PKTINFO = 8
_FAMILIES = {
    socket.AF_INET: _Family(16, "4x4s24x", 12, "=I8s", True, 4, socket.IPPROTO_IP, _IP_PKTINFO),
    socket.AF_INET6: _Family(28, "8x16s8x", 20, "=16sI", False, 0, socket.IPPROTO_IPV6, socket.IPV6_PKTINFO),
}


class Arrival(NamedTuple):
    """One datagram of a batch, taken apart.

    Attributes:
        data: The payload.
        host: The sender's packed address.
        port: The sender's.
        stamp_ns: Kernel receive timestamp, CLOCK_REALTIME; None when the kernel gave none.
        card_ns: The network card's, on its own clock; 0 when it gave none.
        info: The packet info, for ``Batch.split``; None when the kernel gave none.
    """

    data: bytes
    host: bytes
    port: int
    stamp_ns: int | None
    card_ns: int
    info: bytes | None


class Batch:
    """Buffers for ``slots`` datagrams in and as many replies.

    A reply in out-slot i goes to the sender of in-slot i.

    Attributes:
        inbox: The memory of what came; slot i starts at ``in_offsets[i]``.
        outbox: The memory of the replies; slot i starts at ``out_offsets[i]``.
        in_offsets: For ``unpack``.
        out_offsets: For ``pack``.
        stamp_offsets: For ``stamp``.
        unpack: ``unpack(inbox, offset)`` gives host, seconds and nanoseconds of the kernel's stamp and of the
            network card's, the packet info (see ``split``), and the fields of ``request``.
        pack: ``pack(outbox, offset, local, ...)`` writes the local address and the fields of ``reply``.
        stamp: ``stamp(outbox, offset, value)`` writes the last eight octets of a reply anew.
        control_size: Length of the control data when both the stamp and the local address are there.
    """

    def __init__(self, family: socket.AddressFamily, slots: int, request: str, reply: str) -> None:
        """``request`` and ``reply`` are ``struct`` formats without byte order: octets in, big-endian out."""
        self._family = kind = _FAMILIES[family]
        self.inbox = bytearray(_IN_SLOT * slots)
        self.control_size = _STAMP_SPACE + kind.info_space
        left = _CONTROL_ROOM - _STAMP_SPACE - _HEAD - kind.info_size
        stamp = f"{_HEAD}xqq16xqq"
        self.unpack = struct.Struct(f"={kind.name}{stamp}{_HEAD}x{kind.info_size}s{left}x{request}").unpack_from
        self._info = struct.Struct(kind.info)
        self._port = struct.Struct("!H").unpack_from
        self.in_offsets = [slot * _IN_SLOT for slot in range(slots)]

        self._reply_size = reply_size = struct.calcsize(f"!{reply}")
        self.outbox = bytearray(_OUT_SLOT * slots)
        local = _HEAD + kind.info_offset
        size = 8 if family == socket.AF_INET else 16
        self.pack = struct.Struct(f"!{size}s{_OUT_CONTROL_ROOM - local - size}x{reply}").pack_into
        self.stamp = struct.Struct("!Q").pack_into
        end = _OUT_CONTROL_ROOM + reply_size
        self.stamp_offsets = [slot * _OUT_SLOT + end - 8 for slot in range(slots)]
        self.out_offsets = [slot * _OUT_SLOT + local for slot in range(slots)]

        self._in_headers = (_Mmsghdr * slots)()
        self._out_headers = (_Mmsghdr * slots)()
        self._vectors = (_Iovec * (2 * slots))()
        self._point(slots, reply_size)
        self._in_view = memoryview(self._in_headers).cast("B")
        self._pristine = bytes(self._in_view)
        self._lengths = self._in_view.cast("I")[_Mmsghdr.length.offset // 4 :: _MMSGHDR // 4]
        self._controls = self._in_view.cast("L")[_CONTROL_LENGTH // _WORD :: _MMSGHDR // _WORD]
        self._in_payloads = memoryview(self.inbox)
        vectors = memoryview(self._vectors).cast("B").cast("L")
        self._out_sizes = vectors[3::4]  # base and length of the way in, base and length of the way out
        self._local_size = size
        self._in_address = ctypes.addressof(self._in_headers)
        self._out_address = ctypes.addressof(self._out_headers)
        self._slots = slots

    def _point(self, slots: int, reply_size: int) -> None:
        """Fill in the addresses; they stay, because an exported buffer keeps its bytearray from moving."""
        inbox = ctypes.addressof(ctypes.c_char.from_buffer(self.inbox))
        outbox = ctypes.addressof(ctypes.c_char.from_buffer(self.outbox))
        kind = self._family
        head = struct.Struct("@Nii")
        for slot in range(slots):
            name = inbox + slot * _IN_SLOT
            out = outbox + slot * _OUT_SLOT
            vector, out_vector = self._vectors[2 * slot], self._vectors[2 * slot + 1]
            vector.base, vector.length = name + _NAME_ROOM + _CONTROL_ROOM, PAYLOAD_SIZE
            out_vector.base, out_vector.length = out + _OUT_CONTROL_ROOM, reply_size
            self._in_headers[slot].header = _Msghdr(
                name, _NAME_ROOM, ctypes.addressof(vector), 1, name + _NAME_ROOM, _CONTROL_ROOM, 0
            )
            self._out_headers[slot].header = _Msghdr(
                name, kind.name_size, ctypes.addressof(out_vector), 1, out, kind.info_space, 0
            )
            head.pack_into(self.outbox, slot * _OUT_SLOT, _HEAD + kind.info_size, kind.level, kind.kind)

    def split(self, info: bytes) -> tuple[bytes, int]:
        """The local address, as in ``ServingSocket.reply``, and the index of the interface in a packet info."""
        one, other = self._info.unpack(info)
        return (other, one) if self._family.index_first else (one, other)

    def receive(self, descriptor: int) -> int:
        """Take what is there, without waiting; how many datagrams. Raises OSError."""
        self._in_view[:] = self._pristine
        got: int = _recvmmsg(descriptor, self._in_address, self._slots, socket.MSG_DONTWAIT, None)
        if got >= 0:
            return got
        code = ctypes.get_errno()
        if code in (errno.EAGAIN, errno.EINTR):
            return 0
        raise OSError(code, os.strerror(code))

    def sizes(self, got: int) -> tuple[list[int], list[int]]:
        """Lengths of the payloads and of the control data of so many slots."""
        return self._lengths[:got].tolist(), self._controls[:got].tolist()

    def send(self, descriptor: int, start: int, count: int) -> int:
        """Send the replies of so many slots from ``start`` on; how many of them the kernel took.

        It stops at the first that is refused: the caller goes on after that one.
        """
        sent: int = _sendmmsg(descriptor, self._out_address + start * _MMSGHDR, count, socket.MSG_DONTWAIT)
        return max(sent, 0)

    def send_one(self, descriptor: int, slot: int, local: bytes, data: bytes) -> bool:
        """Send this to the sender of one slot from a local address, as in ``pack``; whether the kernel took it.

        Raises ValueError for more than ``PAYLOAD_SIZE`` octets.
        """
        size, start = len(data), slot * _OUT_SLOT + _OUT_CONTROL_ROOM
        if size > PAYLOAD_SIZE:
            raise ValueError(f"a reply of {size} octets")
        place = self.out_offsets[slot]
        outbox = self.outbox
        outbox[place : place + self._local_size] = local
        outbox[start : start + size] = data
        self._out_sizes[slot] = size
        sent = self.send(descriptor, slot, 1)
        self._out_sizes[slot] = self._reply_size
        return sent == 1

    def arrival(self, slot: int) -> Arrival:
        """All of one datagram, for the slow path."""
        offset = slot * _IN_SLOT
        length, control = self._lengths[slot], self._controls[slot]
        host, seconds, nanoseconds, card_seconds, card_nanoseconds, info, *_ = self.unpack(self.inbox, offset)
        stamp_ns = seconds * 1_000_000_000 + nanoseconds or None
        card_ns = card_seconds * 1_000_000_000 + card_nanoseconds
        if control != self.control_size:
            # Right after the start the kernel may not stamp yet: the packet info is then the only control
            # message.
            stamp_ns, card_ns = None, 0
            found = offset + _NAME_ROOM + _HEAD
            alone = control == self._family.info_space
            info = bytes(self.inbox[found : found + self._family.info_size]) if alone else None
        payload = offset + _NAME_ROOM + _CONTROL_ROOM
        data = self._in_payloads[payload : payload + length].tobytes()
        return Arrival(data, host, self._port(self.inbox, offset + 2)[0], stamp_ns, card_ns, info)

    def address(self, slot: int) -> tuple[str, int] | tuple[str, int, int, int]:
        """The sender of one datagram, as Python's sockets have it."""
        offset = slot * _IN_SLOT
        host, *_ = self.unpack(self.inbox, offset)
        (port,) = self._port(self.inbox, offset + 2)
        if self._family.name_size == 16:
            return socket.inet_ntop(socket.AF_INET, host), port
        (scope,) = struct.unpack_from("=I", self.inbox, offset + 24)
        return socket.inet_ntop(socket.AF_INET6, host), port, 0, scope
