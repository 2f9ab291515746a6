"""A web server that nobody can fill up: so many connections, each for so long, and so many requests of each address."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from aiohttp import web

REQUEST_RATE: Final = 20.0
REQUEST_BURST: Final = 120.0
"""Requests per second of one address, and at once: the page with all that belongs to it is about thirty."""

ADDRESSES: Final = 1024
"""So many addresses are remembered."""

HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "timesync",
}
"""Of every response."""


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Put them onto a response: an application's ``on_response_prepare``."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")


class Speaker(web.RequestHandler):
    """Speaks HTTP over a connection.

    What the library answers by itself, before any application sees it (a request that is none), has our headers and
    few words, and goes into no log: everybody could fill that. Our own mistakes do.
    """

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Called by aiohttp: the answer where there can be no other."""
        del message
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR and exc is not None:
            self.log_exception("a request cannot be answered", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("half an answer has been sent")
        headers = {**HEADERS, "Cache-Control": "no-store"}
        response = web.Response(status=status, text=f"{HTTPStatus(status).phrase}\n", headers=headers)
        response.force_close()
        return response


class Bucket:
    """A token bucket; times are monotonic seconds."""

    __slots__ = ("_at_s", "_burst", "_left", "_rate")

    def __init__(self, rate: float, burst: float, now_s: float) -> None:
        """Full. ``rate`` is per second."""
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at_s = now_s

    def take(self, now_s: float) -> bool:
        """Whether there was something in it."""
        self._left = min(self._burst, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Shares:
    """A bucket for each address, as long as it is remembered."""

    def __init__(self, rate: float, burst: float, now: Callable[[], float]) -> None:
        """``rate`` is per second; ``now`` gives monotonic seconds."""
        self._rate = rate
        self._burst = burst
        self._now = now
        self._buckets: dict[str, Bucket] = {}

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, remote: str | None) -> bool:
        """Whether there was something in that of a peer."""
        now_s, key = self._now(), network(remote)
        bucket = self._buckets.pop(key, None) or Bucket(self._rate, self._burst, now_s)
        self._buckets[key] = bucket  # now the last one
        if len(self._buckets) > ADDRESSES:
            del self._buckets[next(iter(self._buckets))]
        return bucket.take(now_s)


def network(remote: str | None) -> str:
    """What counts as one peer: an IPv4 address, or an IPv6 /64."""
    try:
        address = ipaddress.ip_address((remote or "").partition("%")[0])
    except ValueError:
        return ""
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is None:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def peer_of(transport: asyncio.BaseTransport | None) -> str:
    """The address at the other end; nothing of a connection that is over."""
    name = None if transport is None else transport.get_extra_info("peername")
    return str(name[0]) if name else ""


def is_local(peer: str) -> bool:
    """Whether an address is of loopback: a proxy or a tunnel there speaks for many."""
    try:
        return ipaddress.ip_address(peer.removeprefix("::ffff:")).is_loopback
    except ValueError:
        return False


def has_its_share(peer: str, there: Iterable[str], each: int) -> bool:
    """Whether an address has as many of the connections ``there`` as one may have; that of this machine never has."""
    return not is_local(peer) and sum(network(one) == network(peer) for one in there) >= each


@dataclass(frozen=True, slots=True)
class Bounds:
    """What clients may have.

    Attributes:
        connections: At a time; one more is closed at once.
        each: Of these, so many of one address that is not this machine's.
        lifetime_s: A connection is cut after so long, whatever it does.
    """

    connections: int = 32
    each: int = 12
    lifetime_s: float = 10.0


class GuardedServer:
    """An application of aiohttp behind bounds, which aiohttp itself has not."""

    def __init__(self, application: web.Application, bounds: Bounds) -> None:
        self._runner = web.AppRunner(application)
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
        server = self._runner.server
        if len(self._guests) >= self._bounds.connections or server is None:
            return None
        if has_its_share(guest.peer, (one.peer for one in self._guests), self._bounds.each):
            return None
        self._guests.add(guest)
        lifetime_s = self._bounds.lifetime_s
        speaker = Speaker(server, loop=asyncio.get_running_loop(), access_log=None, keepalive_timeout=lifetime_s)  # type: ignore[arg-type]  # None: no log
        return speaker, lifetime_s

    def gone(self, guest: _Guest) -> None:
        """A connection that was admitted is over."""
        self._guests.discard(guest)


class _Guest(asyncio.Protocol):
    """A connection: passes all on to aiohttp's own protocol.

    Attributes:
        peer: The address at the other end.
    """

    def __init__(self, server: GuardedServer) -> None:
        self._server = server
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._end: asyncio.TimerHandle | None = None
        self.peer = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        self.peer = peer_of(transport)
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
