"""NTS-KE connections of a server on an asyncio loop: limits, time-outs, TLS and the reply.

A client that stalls costs a table entry and two timers until its time is up; nobody waits for it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections import Counter
from collections.abc import Callable
from ipaddress import ip_address
from typing import Final

from timesync.ntp.client_log import ClientLog
from timesync.nts.ke_server import CookieMaker, KeOutcome, KeReply, KeServer
from timesync.nts.tls import TlsError
from timesync.nts.tls_server import ServerContext, ServerTls
from timesync.runtime.ke_messages import KeServiceSettings

MAX_OCTETS: Final = 131_072
"""Octets that are taken of one connection; a usual client sends 2000."""

BACKLOG: Final = 512


class KeListener:
    """Takes connections and answers them.

    Attributes:
        counters: What happened, by name, since the start.
        log: Who has connected; a record has the connections that are over.
    """

    def __init__(self, settings: KeServiceSettings, changed: Callable[[], None] = lambda: None) -> None:
        """Not listening yet; ``changed`` is called after a counter has."""
        self.counters: Counter[str] = Counter()
        self.log = ClientLog(settings.clients)
        self._settings = settings
        self._changed = changed
        self._context: ServerContext | None = None
        self._make_cookie: CookieMaker | None = None
        self._clients: Counter[str] = Counter()
        self._peers: set[KePeer] = set()
        self._servers: list[asyncio.Server] = []

    @property
    def open_connections(self) -> int:
        """How many there are now."""
        return len(self._peers)

    def use(self, *, context: ServerContext | None = None, make_cookie: CookieMaker | None = None) -> None:
        """Use these for connections from now on; until both are there, every connection is closed at once."""
        self._context = self._context if context is None else context
        self._make_cookie = self._make_cookie if make_cookie is None else make_cookie

    async def listen(self, bound: socket.socket) -> None:
        """Take connections of a bound socket. Raises OSError."""
        loop = asyncio.get_running_loop()
        self._servers.append(await loop.create_server(lambda: KePeer(self), sock=bound, backlog=BACKLOG))

    def close(self) -> None:
        """Take no more, and drop those that are there."""
        for server in self._servers:
            server.close()
        for peer in list(self._peers):
            peer.abort()

    def admit(self, peer: KePeer, client: str) -> tuple[ServerTls, KeServer, KeServiceSettings] | None:
        """What a new connection needs; None when it must go."""
        limits = self._settings.limits
        self.count("connections")
        if self._context is None or self._make_cookie is None:
            self.count("refused-not-ready")
        elif len(self._peers) >= limits.connections:
            self.count("refused-full")
        elif self._clients[client] >= limits.per_client:
            self.count("refused-client")
        else:
            self._peers.add(peer)
            self._clients[client] += 1
            return ServerTls(self._context), KeServer(self._settings.offer, self._make_cookie), self._settings
        return None

    def gone(self, peer: KePeer, client: str) -> None:
        """A connection that was admitted is over."""
        self._peers.discard(peer)
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]

    def note(self, address: str, *, dropped: bool = False, failed: bool = False) -> None:
        """A connection from an address is over: it was refused, got nothing, or what it wanted."""
        tally = self.log.of(ip_address(address.partition("%")[0]).packed)
        tally.note(0, time.monotonic_ns())
        tally.dropped += dropped
        tally.failed += failed

    def count(self, name: str) -> None:
        """One more."""
        self.counters[name] += 1
        self._changed()


class KePeer(asyncio.Protocol):
    """One connection."""

    def __init__(self, listener: KeListener) -> None:
        self._listener = listener
        self._address = ""
        self._client = ""
        self._served = False
        self._transport: asyncio.Transport | None = None
        self._tls: ServerTls | None = None
        self._ke: KeServer | None = None
        self._timers: list[asyncio.TimerHandle] = []
        self._taken = 0
        self._over = False
        """Whether nothing of what comes is of interest any more."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by asyncio."""
        assert isinstance(transport, asyncio.Transport)
        address = transport.get_extra_info("peername")
        if address:
            self._address = address[0]
        client = client_of(address[0]) if address else ""
        admitted = self._listener.admit(self, client)
        if admitted is None:
            self._over = True
            if address:
                self._listener.note(self._address, dropped=True)
            transport.abort()
            return
        self._client, self._transport = client, transport
        self._tls, self._ke, settings = admitted
        loop = asyncio.get_running_loop()
        self._timers = [
            loop.call_later(settings.limits.request_s, self._late),
            loop.call_later(settings.limits.total_s, self.abort),
        ]

    def data_received(self, data: bytes) -> None:
        """Called by asyncio."""
        self._taken += len(data)
        if self._taken > MAX_OCTETS:
            self._fail("too-long")
            return
        if self._over or self._tls is None or self._ke is None:
            return
        try:
            plain = self._tls.receive(data)
        except TlsError as error:
            self._listener.count(f"tls-{error.reason.name.lower().replace('_', '-')}")
            self._finish()
            return
        reply = self._ke.feed(plain, self._tls.export) if plain else None
        if reply is not None:
            self._answer(reply)
        elif self._tls.ended:
            self._fail("cut")
        else:
            self._flush()

    def eof_received(self) -> bool:
        """Called by asyncio: the client sends no more."""
        if not self._over:
            self._fail("cut")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Called by asyncio."""
        del error  # a client that resets the connection has its own reasons
        if self._tls is not None:
            if not self._over:
                self._listener.count("cut")
            self._listener.gone(self, self._client)
            if self._address:
                self._listener.note(self._address, failed=not self._served)
        for timer in self._timers:
            timer.cancel()
        self._timers = []
        self._over = True
        self._tls = self._ke = self._transport = None

    def abort(self) -> None:
        """Close at once."""
        self._over = True
        if self._transport is not None:
            self._transport.abort()

    def _late(self) -> None:
        if not self._over:
            self._fail("timeout")

    def _fail(self, why: str) -> None:
        if not self._over:
            self._listener.count(why)
        self.abort()

    def _answer(self, reply: KeReply) -> None:
        assert self._tls is not None
        self._listener.count(reply.outcome)
        self._served = self._served or reply.outcome in (KeOutcome.ESTABLISHED, KeOutcome.SUPPORTED)
        if self._tls.facts is not None and self._tls.facts.post_quantum:
            self._listener.count("post-quantum")
        self._tls.send(reply.data)
        if reply.keep_open:
            self._flush()
            return
        self._tls.close()
        self._finish()

    def _finish(self) -> None:
        """Send what there is and no more; the client closes, or ``total_s`` does.

        To close with something unread would take the reply back from a client that has not read it yet.
        """
        self._over = True
        self._flush()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    def _flush(self) -> None:
        if self._tls is not None and self._transport is not None:
            data = self._tls.outgoing()
            if data:
                self._transport.write(data)


def client_of(address: str) -> str:
    """Whose connections are counted together: an IPv4 address, also a mapped one, or an IPv6 /64."""
    found = ip_address(address.partition("%")[0])
    if found.version == 4:
        return str(found)
    return str(found.ipv4_mapped) if found.ipv4_mapped is not None else found.packed[:8].hex()
