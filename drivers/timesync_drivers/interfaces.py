"""Network interfaces of this machine."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from pathlib import Path

# linux/netlink.h, linux/rtnetlink.h, linux/if_addr.h
_NETLINK_ROUTE = 0
_NLM_F_REQUEST, _NLM_F_DUMP = 0x1, 0x300
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_RTM_NEWADDR, _RTM_GETADDR = 20, 22
_IFA_ADDRESS, _IFA_LOCAL = 1, 2
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_ADDRESS = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_SIZES = {socket.AF_INET: 4, socket.AF_INET6: 16}
_PATIENCE_S = 1.0
_ROOM = 1 << 16


def local_addresses() -> list[str]:
    """All IPv4 and IPv6 addresses of all interfaces, loopback always among them; it alone where nothing more is told.

    By netlink (rtnetlink(7)), because the older ioctl tells only the first IPv4 address of an interface.
    """
    return list(dict.fromkeys(["127.0.0.1", "::1", *(address for _, address in _every_address())]))


def interface_address(index: int, *, ipv6: bool) -> bytes:
    """The first IPv4 or IPv6 address of an interface, packed; empty where it has none, or nothing is told."""
    family = socket.AF_INET6 if ipv6 else socket.AF_INET
    ours = (address for of, address in _every_address() if of == index and (":" in address) is ipv6)
    first = next(ours, None)
    return b"" if first is None else socket.inet_pton(family, first)


def interface_rate(interface: str, sysfs: Path = Path("/sys/class/net")) -> int | None:
    """Bits in a second that an interface sends now; None where its driver does not say, or it has no link."""
    try:
        megabits = int((sysfs / interface / "speed").read_text())
    except (OSError, ValueError):
        return None
    return megabits * 1_000_000 if megabits > 0 else None


def _every_address() -> list[tuple[int, str]]:
    """All addresses that the kernel tells, with the index of their interface."""
    found: list[tuple[int, str]] = []
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE) as link:
            link.settimeout(_PATIENCE_S)
            link.bind((0, 0))
            request = _ADDRESS.pack(socket.AF_UNSPEC, 0, 0, 0, 0)
            size = _HEADER.size + len(request)
            link.send(_HEADER.pack(size, _RTM_GETADDR, _NLM_F_REQUEST | _NLM_F_DUMP, 1, 0) + request)
            more = True
            while more:
                more = _read(link.recv(_ROOM), found)
    except OSError:
        pass  # no netlink here, as in some sandboxes
    return found


def _read(data: bytes, found: list[tuple[int, str]]) -> bool:
    """Add the addresses of one answer to ``found``; whether another answer follows."""
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size or kind in (_NLMSG_ERROR, _NLMSG_DONE):
            return False
        if kind == _RTM_NEWADDR:
            own = _own(data[at + _HEADER.size : at + length])
            if own is not None:
                found.append(own)
        at += length + 3 & ~3
    return True


def _own(message: bytes) -> tuple[int, str] | None:
    """Interface and address of a struct ifaddrmsg with its attributes; None when it is of another family."""
    family, _, _, _, index = _ADDRESS.unpack_from(message)
    size = _SIZES.get(family)
    values = dict(_attributes(message[_ADDRESS.size :]))
    # On a point-to-point link IFA_ADDRESS is the far end's; IPv6 mostly has no IFA_LOCAL.
    value = values.get(_IFA_LOCAL, values.get(_IFA_ADDRESS))
    if size is None or value is None or len(value) != size:
        return None
    return index, socket.inet_ntop(family, value)


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3
