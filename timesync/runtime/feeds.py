"""Byte streams on any asyncio loop with ``add_reader``, their arrivals stamped by a clock of the host."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, assert_never

from timesync.base.measure import Stamp, StampSource
from timesync.devices import DatagramInbox, Feed, FeedHandler, FeedSpec, SerialLine, TcpStream
from timesync.runtime.stamping import StampClock
from timesync_drivers.inbox import DatagramSocket
from timesync_drivers.serial import SerialPort

CONNECT_TIMEOUT_S = 10.0
"""For a name and all of its addresses together."""

READ_SIZE = 4096
_PER_WAKE = 16
"""Reads in one go, so that a flood on one feed does not hold up the others."""


def open_feed(spec: FeedSpec, clock: StampClock, handler: FeedHandler) -> Feed:
    """Open a feed on the running loop. Raises OSError for what fails at once.

    ``on_open`` is never called from inside this function. ``on_lost`` is called once at most, and never after
    ``close``.
    """
    loop = asyncio.get_running_loop()
    match spec:
        case SerialLine():
            return SerialFeed(loop, SerialPort(spec.path, spec.baud), clock, handler)
        case TcpStream():
            return TcpFeed(loop, spec, clock, handler)
        case DatagramInbox():
            return InboxFeed(loop, DatagramSocket(spec.path), clock, handler)
        case _:
            assert_never(spec)


class _Wire:
    """The half that all feeds share: waking on a descriptor, stamping, and ending once."""

    def __init__(self, loop: asyncio.AbstractEventLoop, clock: StampClock, handler: FeedHandler) -> None:
        self._loop = loop
        self._clock = clock
        self._handler = handler
        self._descriptor: int | None = None
        self._step: Callable[[], bool] | None = None
        self.closed = False

    def begin(self, descriptor: int, step: Callable[[], bool]) -> None:
        """Call ``step`` whenever the descriptor is readable, until it gives False or raises OSError."""
        self._descriptor = descriptor
        self._step = step
        self._loop.add_reader(descriptor, self._on_readable)
        self._handler.on_open()

    def give(self, data: bytes, stamp: Stamp | None) -> None:
        """Hand octets to the handler."""
        self._handler.on_data(data, stamp)

    def stamp(self) -> Stamp | None:
        """What the clock reads now."""
        try:
            return self._clock.read()
        except OSError:  # a PHC that has gone; the octets are good all the same
            return None

    def stamp_at(self, kernel_ns: int) -> Stamp | None:
        """What the clock read at a kernel stamp; None when it cannot tell."""
        return self._clock.stamp_at(kernel_ns, StampSource.KERNEL)

    def end(self) -> bool:
        """Stop; False when that was done before."""
        if self.closed:
            return False
        self.closed = True
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
        return True

    def check(self) -> None:
        """Raise OSError after the end."""
        if self.closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def lost(self, error: OSError) -> None:
        """Tell the handler, after the feed has let go of what it held."""
        self._handler.on_lost(error)

    def _on_readable(self) -> None:
        for _ in range(_PER_WAKE):
            if self.closed or self._step is None or not self._step():
                break


class SerialFeed:
    """A serial port; ``timesync.devices.Feed``."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, port: SerialPort, clock: StampClock, handler: FeedHandler
    ) -> None:
        """Listen soon; the feed owns the port and closes it."""
        self._wire = _Wire(loop, clock, handler)
        self._port = port
        self._start = loop.call_soon(self._begin)

    def write(self, data: bytes) -> None:
        """Send what the port takes. Raises OSError."""
        self._wire.check()
        self._port.write(data)

    def set_baud(self, baud: int) -> None:
        """Change the speed. Raises OSError."""
        self._wire.check()
        self._port.set_baud(baud)

    def close(self) -> None:
        """Close the port; the handler is not called again."""
        self._start.cancel()
        if self._wire.end():
            self._port.close()

    def _begin(self) -> None:
        self._wire.begin(self._port.fileno(), self._read)

    def _read(self) -> bool:
        try:
            data = self._port.read()
        except OSError as error:
            self.close()
            self._wire.lost(error)
            return False
        stamp = self._wire.stamp()
        if data:
            self._wire.give(data, stamp)
        return bool(data)


class InboxFeed:
    """A Unix datagram socket of our own; ``timesync.devices.Feed``."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, inbox: DatagramSocket, clock: StampClock, handler: FeedHandler
    ) -> None:
        """Listen soon; the feed owns the socket, closes it and removes its path."""
        self._wire = _Wire(loop, clock, handler)
        self._inbox = inbox
        self._start = loop.call_soon(self._begin)

    def write(self, data: bytes) -> None:  # noqa: ARG002 - the Protocol's signature
        """Nobody is at the other end: raises OSError."""
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    def set_baud(self, baud: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Close the socket; the handler is not called again."""
        self._start.cancel()
        if self._wire.end():
            self._inbox.close()

    def _begin(self) -> None:
        self._wire.begin(self._inbox.fileno(), self._read)

    def _read(self) -> bool:
        try:
            taken = self._inbox.read()
        except OSError as error:
            self.close()
            self._wire.lost(error)
            return False
        if taken is None:
            return False
        data, kernel_ns = taken
        stamp = None if kernel_ns is None else self._wire.stamp_at(kernel_ns)
        self._wire.give(data, stamp or self._wire.stamp())
        return True


class TcpFeed:
    """A TCP connection; ``timesync.devices.Feed``."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, spec: TcpStream, clock: StampClock, handler: FeedHandler
    ) -> None:
        """Begin to connect."""
        self._wire = _Wire(loop, clock, handler)
        self._loop = loop
        self._socket: socket.socket | None = None
        self._connecting = loop.create_task(self._connect(spec))

    def write(self, data: bytes) -> None:
        """Send what the socket takes. Raises OSError, ENOTCONN before ``on_open``."""
        self._wire.check()
        if self._socket is None:
            raise OSError(errno.ENOTCONN, os.strerror(errno.ENOTCONN))
        try:
            self._socket.send(data, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            return

    def set_baud(self, baud: int) -> None:
        """Nothing."""

    def close(self) -> None:
        """Close the connection; the handler is not called again."""
        if not self._wire.end():
            return
        if self._connecting is not asyncio.current_task(self._loop):
            self._connecting.cancel()
        if self._socket is not None:
            self._socket.close()

    async def _connect(self, spec: TcpStream) -> None:
        try:
            connected = await _connect(self._loop, spec)
        except OSError as error:
            self._fail(error)
            return
        self._socket = connected
        self._wire.begin(connected.fileno(), self._read)

    def _read(self) -> bool:
        assert self._socket is not None
        try:
            data = self._socket.recv(READ_SIZE)
            stamp = self._wire.stamp()
            if not data:
                raise ConnectionResetError(errno.ECONNRESET, "the other side closed the connection")
        except BlockingIOError:
            return False
        except OSError as error:
            self._fail(error)
            return False
        self._wire.give(data, stamp)
        return True

    def _fail(self, error: OSError) -> None:
        if not self._wire.closed:
            self.close()
            self._wire.lost(error)


async def _connect(loop: asyncio.AbstractEventLoop, spec: TcpStream) -> socket.socket:
    """A connected socket to the first address that answers. Raises OSError, the last one met."""
    end = loop.time() + CONNECT_TIMEOUT_S
    failure = OSError(errno.EHOSTUNREACH, f"{spec.host} has no address")
    try:
        async with asyncio.timeout_at(end):
            found = await _resolve(loop, spec)
    except TimeoutError as error:
        raise TimeoutError(errno.ETIMEDOUT, f"{spec.host} was not resolved in time") from error
    for index, (family, address) in enumerate(found):
        # One address that swallows packets must leave time for the others.
        share = (end - loop.time()) / (len(found) - index)
        try:
            async with asyncio.timeout(share):
                return await _connect_to(loop, family, address)
        except TimeoutError:
            failure = TimeoutError(errno.ETIMEDOUT, f"no answer from {address[0]} port {spec.port}")
        except OSError as error:
            failure = error
    raise failure


async def _connect_to(loop: asyncio.AbstractEventLoop, family: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # A request is one small segment, and its answer is stamped: it must not wait for another one.
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # A machine that went away without a word is noticed in hours instead of never.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await loop.sock_connect(made, address)
    except BaseException:
        made.close()
        raise
    return made


async def _resolve(loop: asyncio.AbstractEventLoop, spec: TcpStream) -> list[tuple[int, tuple[Any, ...]]]:
    """Addresses in the resolver's order; a numeric one needs no resolver, and so no thread."""
    try:
        version: int | None = ip_address(spec.host).version
    except ValueError:
        version = None
    if version == 4:
        return [(socket.AF_INET, (spec.host, spec.port))]
    if version == 6 and "%" not in spec.host:
        return [(socket.AF_INET6, (spec.host, spec.port, 0, 0))]
    try:
        found = await loop.getaddrinfo(spec.host, spec.port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # a label that is empty or too long for DNS
        raise OSError(errno.EINVAL, f"not a host name: {spec.host!r}") from error
    return [(family, address) for family, _, _, _, address in found]
