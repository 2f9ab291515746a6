"""By which interface packets leave (rtnetlink(7), RTM_GETROUTE): the kernel is asked, so policy routing counts."""

from __future__ import annotations

import errno
import os
import socket
import struct

# linux/netlink.h, linux/rtnetlink.h
_NETLINK_ROUTE = 0
_NLM_F_REQUEST = 0x1
_NLMSG_ERROR = 2
_RTM_NEWROUTE, _RTM_GETROUTE = 24, 26
_RTA_DST, _RTA_OIF = 1, 4
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ROUTE = struct.Struct(
    "=8BI"
)  # struct rtmsg: family, lengths of both prefixes, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_ERROR = struct.Struct("=i")  # the head of struct nlmsgerr
_INDEX = struct.Struct("=I")
_PATIENCE_S = 1.0
_ROOM = 1 << 16


def route_interface(address: str, scope: int = 0) -> int:
    """Index of the interface that packets to a numeric address leave by.

    Args:
        address: IPv4 or IPv6.
        scope: The interface of a link-local IPv6 address, which is then the answer.

    Raises OSError: ENETUNREACH when there is no route.
    """
    if scope:
        return scope
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    packed = socket.inet_pton(family, address)
    body = _ROUTE.pack(family, 8 * len(packed), 0, 0, 0, 0, 0, 0, 0)
    body += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as link:
        link.settimeout(_PATIENCE_S)
        link.bind((0, 0))
        link.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body)
        return parse_route(link.recv(_ROOM))


def parse_route(data: bytes) -> int:
    """The outgoing interface in the kernel's answer. Raises OSError with the kernel's own code, or EPROTO."""
    if len(data) >= _HEADER.size + _ERROR.size:
        length, kind, *_ = _HEADER.unpack_from(data)
        if kind == _NLMSG_ERROR:
            code = -_ERROR.unpack_from(data, _HEADER.size)[0]
            raise OSError(code, os.strerror(code))
        at = _HEADER.size + _ROUTE.size
        while kind == _RTM_NEWROUTE and at + _ATTRIBUTE.size <= min(length, len(data)):
            size, attribute = _ATTRIBUTE.unpack_from(data, at)
            if size < _ATTRIBUTE.size:
                break
            if attribute == _RTA_OIF and size == _ATTRIBUTE.size + _INDEX.size and at + size <= len(data):
                return int(_INDEX.unpack_from(data, at + _ATTRIBUTE.size)[0])
            at += size + 3 & ~3
    raise OSError(errno.EPROTO, "the kernel names no interface for this route")
