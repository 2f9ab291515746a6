"""A web server that nobody can fill up: so many connections, each for so long."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may have.

    Attributes:
        connections: At a time; one more is closed at once.
        lifetime_s: A connection is cut after so long, whatever it does.
    """

    connections: int = 32
    lifetime_s: float = 10.0


class GuardedServer:
    """An application of aiohttp behind bounds, which aiohttp itself has not."""

    def __init__(self, application: web.Application, bounds: Bounds) -> None:
        self._runner = web.AppRunner(application, access_log=None, keepalive_timeout=bounds.lifetime_s)
        self._bounds = bounds
        self._guests: set[_Guest] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Serve on this socket, which is this server's from now on. Raises OSError."""
        await self._runner.setup()
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Guest(self), sock=listener)

    async def stop(self) -> None:
        """Serve no more."""
        if self._server is not None:
            self._server.close()
        for guest in tuple(self._guests):
            guest.cut()
        await self._runner.cleanup()

    def admit(self, guest: _Guest) -> tuple[asyncio.Protocol, float] | None:
        """Who talks to a new connection, and for how long at most; None when there are too many."""
        maker = self._runner.server
        if len(self._guests) >= self._bounds.connections or maker is None:
            return None
        self._guests.add(guest)
        return maker(), self._bounds.lifetime_s

    def gone(self, guest: _Guest) -> None:
        """A connection that was admitted is over."""
        self._guests.discard(guest)


class _Guest(asyncio.Protocol):
    """A connection: passes all on to aiohttp's own protocol."""

    def __init__(self, server: GuardedServer) -> None:
        self._server = server
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._end: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        admitted = self._server.admit(self)
        if admitted is None:
            transport.abort()
            return
        self._transport = transport
        self._inner, lifetime_s = admitted
        self._end = asyncio.get_running_loop().call_later(lifetime_s, self.cut)
        self._inner.connection_made(transport)

    def cut(self) -> None:
        """End it at once."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        if self._inner is not None:
            self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        """Called by asyncio."""
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        """Called by asyncio."""
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        """Called by asyncio."""
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, reason: Exception | None) -> None:
        """Called by asyncio."""
        if self._end is not None:
            self._end.cancel()
        self._server.gone(self)
        if self._inner is not None:
            self._inner.connection_lost(reason)
            self._inner = None


def is_local_name(host: str) -> bool:
    """Whether a Host header names this machine by ``localhost`` or by a number, with or without a port."""
    name, colon, port = host.rpartition(":")
    if not colon or not port.isdecimal():
        name = host
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
