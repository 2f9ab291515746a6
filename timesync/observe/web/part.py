"""The part of the observer that serves the web page."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Final

from aiohttp import web

from timesync.observe import stream
from timesync.observe.history.part import HistoryKeeper
from timesync.observe.http import Speaker, has_its_share, peer_of
from timesync.observe.hub import Message
from timesync.observe.parts import Desk
from timesync.observe.web.answers import Present
from timesync.observe.web.feed import Feed
from timesync.observe.web.guard import Guard
from timesync.observe.web.routes import Routes

CONNECTIONS: Final = 64
"""At a time, of all together."""

CONNECTIONS_EACH: Final = 24
"""Of these, so many of one address; a proxy or a tunnel on this machine speaks for many, and may have all."""

KEEPALIVE_S: Final = 15.0
"""A connection that asks nothing for so long ends."""

UNREAD_MS: Final = 30_000
"""A connection whose peer takes nothing for so long ends (``TCP_USER_TIMEOUT``)."""

LINE: Final = 4096
"""The longest line of a request, and the longest header."""

_BACKLOG: Final = 32


class WebPage:
    """See ``timesync.observe.parts.Part``."""

    def __init__(self, desk: Desk) -> None:
        """Nothing is served before ``start``."""
        self._desk = desk
        self._keeper = HistoryKeeper(desk)
        self._present = Present(desk.hub)
        self._feed = Feed(desk.hub)
        settings = desk.settings.observe.web
        assert settings is not None
        self._guard = Guard(settings.hosts, time.monotonic)
        self._runner: web.AppRunner | None = None
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """See ``Part``."""
        await self._keeper.start()
        self._desk.hub.on(stream.STATE, self._on_state)
        self._feed.start()
        routes = Routes(self._guard, self._feed, self._keeper.history, self._present)
        self._runner = web.AppRunner(routes.app, shutdown_timeout=0.5)
        await self._runner.setup()
        bound = self._desk.listener("web")
        assert bound is not None
        bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, UNREAD_MS)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        assert self._runner.server is not None
        door = Door(self._runner.server)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Entering(door), sock=bound, backlog=_BACKLOG)

    async def stop(self) -> None:
        """See ``Part``."""
        self._desk.hub.off(stream.STATE, self._on_state)
        if self._server is not None:
            self._server.close()
        self._feed.stop()
        if self._runner is not None:
            await self._runner.cleanup()
        await self._keeper.stop()

    def _on_state(self, _: Message) -> None:
        self._present.came(time.monotonic())


class Door:
    """Lets only so many connections in at a time, of all together and of each address."""

    def __init__(self, server: web.Server) -> None:
        """``server``: speaks HTTP over those that are let in."""
        self._server = server

    def open(self, transport: asyncio.Transport) -> asyncio.Protocol | None:
        """Who speaks over a connection that has just been accepted; None when there is no place for it."""
        there = self._server.connections
        if len(there) >= CONNECTIONS:
            return None
        if has_its_share(peer_of(transport), (peer_of(one.transport) for one in there), CONNECTIONS_EACH):
            return None
        return Speaker(
            self._server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]  # None: no log
            keepalive_timeout=KEEPALIVE_S,
            max_line_size=LINE,
            max_field_size=LINE,
        )


class _Entering(asyncio.Protocol):
    """A connection that has just been accepted: others speak over it from now on, or it ends at once."""

    def __init__(self, door: Door) -> None:
        self._door = door

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        assert isinstance(transport, asyncio.Transport)
        inside = self._door.open(transport)
        if inside is None:
            transport.abort()
            return
        transport.set_protocol(inside)
        inside.connection_made(transport)
