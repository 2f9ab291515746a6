"""Which socket of a SO_REUSEPORT group gets a datagram: the sender's address decides, not its port."""

from __future__ import annotations

import ctypes
import socket
import struct

_SO_ATTACH_REUSEPORT_CBPF = 51
_NET = 0xFFF0_0000  # SKF_NET_OFF: loads count from the network header
_LOAD, _TO_X, _XOR_X, _MULTIPLY, _SHIFT, _MODULO, _RETURN_A = 0x20, 0x07, 0xAC, 0x24, 0x74, 0x94, 0x16
_GOLDEN = 0x9E37_79B1


def spread_by_address(member: socket.socket, groups: int) -> None:
    """Choose by the IPv4 source address or the IPv6 source /64, for the whole group of ``member``.

    The kernel's own choice counts ports in: a client that takes a new port for each request (RFC 9109) would
    meet another process each time, one that does not know its interleaved timestamps, and would have a token
    bucket in each. Raises OSError.
    """
    if member.family == socket.AF_INET6:
        load = [(_LOAD, _NET + 8), (_TO_X, 0), (_LOAD, _NET + 12), (_XOR_X, 0)]
    else:
        load = [(_LOAD, _NET + 12)]
    program = [*load, (_MULTIPLY, _GOLDEN), (_SHIFT, 16), (_MODULO, groups), (_RETURN_A, 0)]
    code = b"".join(struct.pack("=HBBI", operation, 0, 0, k) for operation, k in program)
    memory = ctypes.create_string_buffer(code, len(code))
    pointer = struct.pack("@HP", len(program), ctypes.addressof(memory))
    member.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, pointer)
