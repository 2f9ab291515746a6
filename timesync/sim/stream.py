"""TCP on the simulated network: octets arrive in order or not at all, late by what the network does to packets.

A listener is a callable among ``Node.streams``, by port; it gets the server's end of each connection.
"""

from __future__ import annotations

import asyncio
import errno
import os
from collections import deque
from typing import Final

from timesync.base.ids import Endpoint
from timesync.base.time import Duration
from timesync.sim.network import Node

FIRST_RETRY: Final = Duration.from_ns(1_000_000_000)
"""Until an unanswered packet is sent again (RFC 6298, 2.1); doubled each time."""

TRIES: Final = 6


def _error(code: int) -> OSError:
    return OSError(code, os.strerror(code))


class SimStream:
    """One end of a connection; see ``timesync.host.Stream``."""

    def __init__(self, node: Node, peer: Node) -> None:
        """For ``connect_stream``; ``other`` is set there."""
        self.other: SimStream | None = None
        self._node = node
        self._peer = peer
        self._next = 0
        self._expected = 0
        self._early: dict[int, bytes] = {}
        self._ready: deque[bytes] = deque()
        self._error: OSError | None = None
        self._closed = False
        self._waiting: asyncio.Future[None] | None = None

    async def receive(self) -> bytes:
        """Octets that came; empty when the other end sends no more. Raises OSError."""
        while not self._ready:
            if self._error is not None:
                raise self._error
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        data = self._ready.popleft()
        if not data:
            self._ready.append(data)  # the end stays the end
        return data

    async def send(self, data: bytes) -> None:
        """Send them all. Raises OSError."""
        if self._error is not None:
            raise self._error
        if self._closed:
            raise _error(errno.EBADF)
        if data:
            self._put(data)

    def close(self) -> None:
        """Send the end; nothing happens the second time."""
        if not self._closed:
            self._closed = True
            self._put(b"")

    def _put(self, data: bytes) -> None:
        number, self._next = self._next, self._next + 1
        self._try(number, bytes(data), FIRST_RETRY, TRIES)

    def _try(self, number: int, data: bytes, retry: Duration, left: int) -> None:
        other = self.other
        assert other is not None
        network = self._node.network
        arrivals = network.arrivals(self._node, self._peer)
        for when in arrivals:
            network.world.at_units(when, lambda: other.arrived(number, data))
        if not arrivals and left > 1:
            network.world.after(retry, lambda: self._try(number, data, retry * 2, left - 1))
        elif not arrivals:
            self._error = _error(errno.ETIMEDOUT)
            self._wake()

    def arrived(self, number: int, data: bytes) -> None:
        """A packet of the other end; doubled ones and those out of order are put right."""
        if number < self._expected:
            return
        self._early[number] = data
        while self._expected in self._early:
            self._ready.append(self._early.pop(self._expected))
            self._expected += 1
        self._wake()

    def _wake(self) -> None:
        # A world outlives its loops: what was under way when one ended reaches nobody.
        if self._waiting is not None and not self._waiting.done() and not self._waiting.get_loop().is_closed():
            self._waiting.set_result(None)


async def connect_stream(node: Node, remote: Endpoint) -> SimStream:
    """Connect from a machine: a round trip, or as long as a dead network takes. Raises OSError."""
    network = node.network
    owner = network.owner(node, remote.address)
    answered: asyncio.Future[SimStream | None] = asyncio.get_running_loop().create_future()

    def answer(stream: SimStream | None) -> None:
        if not answered.done() and not answered.get_loop().is_closed():
            answered.set_result(stream)

    def arrive() -> None:
        assert owner is not None
        listener = owner.streams.get(remote.port)
        ours = SimStream(node, owner)
        ours.other = SimStream(owner, node)
        ours.other.other = ours
        for when in network.arrivals(owner, node)[:1]:
            network.world.at_units(when, lambda: answer(None if listener is None else ours))
            if listener is not None:
                listener(ours.other)

    retry = FIRST_RETRY
    for _ in range(TRIES):
        for when in network.arrivals(node, owner)[:1] if owner is not None else ():
            network.world.at_units(when, arrive)
        try:
            async with asyncio.timeout(retry.s()):
                found = await asyncio.shield(answered)
        except TimeoutError:
            retry *= 2
            continue
        if found is None:
            raise _error(errno.ECONNREFUSED)
        return found
    raise _error(errno.ETIMEDOUT)
