"""The state of one network interface, followed by rtnetlink(7)."""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass

# linux/netlink.h, linux/rtnetlink.h, linux/if_link.h, linux/if.h
_NETLINK_ROUTE = 0
_RTMGRP_LINK = 1
_NLM_F_REQUEST = 0x1
_NLMSG_ERROR = 2
_RTM_NEWLINK, _RTM_DELLINK, _RTM_GETLINK = 16, 17, 18
_IFLA_ADDRESS, _IFLA_IFNAME = 1, 3
_IFF_UP, _IFF_RUNNING = 0x1, 0x40
_AF_BRIDGE = 7
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg: family, type, index, flags, mask of changes
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr: length, type
_ERROR = struct.Struct("=i")  # the head of struct nlmsgerr
_KIND = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_PATIENCE_S = 1.0
_ROOM = 1 << 16


@dataclass(frozen=True, slots=True)
class LinkState:
    """What is known of an interface.

    Attributes:
        index: Its index, which is its own as long as it exists.
        name: Its name, which may be changed.
        mac: Its hardware address; empty where it has none.
        up: It is switched on and has a carrier.
    """

    index: int
    name: str
    mac: bytes
    up: bool


class LinkWatch:
    """Follows one interface until it is closed."""

    def __init__(self, interface: str) -> None:
        """Ask for its state and subscribe to changes. Raises OSError: ENODEV when there is none of that name."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_ROUTE)
        try:
            self._socket.bind((0, _RTMGRP_LINK))
            name = interface.encode() + b"\0"
            attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(name), _IFLA_IFNAME) + name
            self._ask(0, attribute + bytes(-len(attribute) % 4))
            self._state = self._answer(interface)
            self._socket.setblocking(False)
        except BaseException:
            self._socket.close()
            raise

    @property
    def state(self) -> LinkState:
        """As last told."""
        return self._state

    def fileno(self) -> int:
        """For the event loop."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close; a second call does nothing."""
        self._socket.close()

    def refresh(self) -> bool:
        """Read what was told since the last call; whether ``state`` changed. Raises OSError: ENODEV when it is gone."""
        before = self._state
        while True:
            try:
                data, sender = self._socket.recvfrom(_ROOM)
            except (BlockingIOError, InterruptedError):
                return self._state != before
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                # Something was missed, so ask; the answer makes the socket readable again.
                self._ask(self._state.index, b"")
                continue
            if sender[0] == 0:  # only the kernel is believed
                self._take(data)

    def _take(self, data: bytes) -> None:
        for kind, body in _messages(data):
            if kind == _NLMSG_ERROR and len(body) >= _ERROR.size:
                if -_ERROR.unpack_from(body)[0] == errno.ENODEV:
                    raise _gone(self._state.name)
                continue
            found = parse_link(body) if kind in (_RTM_NEWLINK, _RTM_DELLINK) else None
            if found is None or found.index != self._state.index:
                continue
            if kind == _RTM_DELLINK:
                raise _gone(self._state.name)
            # Not every message says everything.
            self._state = LinkState(found.index, found.name or self._state.name, found.mac or self._state.mac, found.up)

    def _ask(self, index: int, attributes: bytes) -> None:
        body = _LINK.pack(socket.AF_UNSPEC, 0, index, 0, 0) + attributes
        with suppress(BlockingIOError):
            self._socket.send(_HEADER.pack(_HEADER.size + len(body), _RTM_GETLINK, _NLM_F_REQUEST, 1, 0) + body)

    def _answer(self, interface: str) -> LinkState:
        end = time.monotonic() + _PATIENCE_S
        while (left := end - time.monotonic()) > 0:
            self._socket.settimeout(left)
            data, sender = self._socket.recvfrom(_ROOM)
            if sender[0] != 0:
                continue
            for kind, body in _messages(data):
                if kind == _NLMSG_ERROR and len(body) >= _ERROR.size:
                    code = -_ERROR.unpack_from(body)[0]
                    raise OSError(code, os.strerror(code), interface)
                found = parse_link(body) if kind == _RTM_NEWLINK else None
                if found is not None and found.name == interface:
                    return found
        raise TimeoutError(errno.ETIMEDOUT, "the kernel does not tell of its interfaces", interface)


def parse_link(body: bytes) -> LinkState | None:
    """A ``struct ifinfomsg`` with its attributes; None when it is malformed, or tells of a port of a bridge."""
    if len(body) < _LINK.size:
        return None
    family, _, index, flags, _ = _LINK.unpack_from(body)
    if family == _AF_BRIDGE:
        return None
    attributes = dict(_attributes(body[_LINK.size :]))
    name = attributes.get(_IFLA_IFNAME, b"").rstrip(b"\0").decode(errors="surrogateescape")
    up = flags & (_IFF_UP | _IFF_RUNNING) == _IFF_UP | _IFF_RUNNING
    return LinkState(index, name, attributes.get(_IFLA_ADDRESS, b""), up)


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _HEADER.size <= len(data):
        length, kind, *_ = _HEADER.unpack_from(data, at)
        if length < _HEADER.size:
            return
        yield kind, data[at + _HEADER.size : at + length]
        at += length + 3 & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size:
            return
        yield kind & _KIND, data[at + _ATTRIBUTE.size : at + length]
        at += length + 3 & ~3


def _gone(name: str) -> OSError:
    return OSError(errno.ENODEV, "the interface is gone", name)
