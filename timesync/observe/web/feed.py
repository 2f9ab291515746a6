"""The live half of the page: server-sent events (WHATWG HTML, 9.2), for a bounded number of those who listen.

Each listener has a loop of its own that sends what is newest when it is ready for more: one that reads slowly misses
states, delays nobody, and after a while without reading is let go. Events are numbered, so that one who comes back
gets what it missed (``Last-Event-ID``).
"""

from __future__ import annotations

import asyncio
import json
import re
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from timesync.observe import stream
from timesync.observe.hub import Hub, Message

LISTENERS: Final = 32
HEARTBEAT_S: Final = 10.0
"""So long nothing was sent: then a comment is, by which both sides notice that the other is gone."""

PATIENCE_S: Final = 20.0
"""Who takes nothing for so long is let go."""

KEPT: Final = 500
"""Events for those who come back."""

CLIENTS_SHOWN: Final = 50
"""Those that ask most; there may be a thousand, and the message comes again and again."""

_RETRY_MS: Final = 2000
_ID: Final = re.compile(r"([0-9a-f]{8})-([0-9]{1,12})", re.ASCII)

Send = Callable[[bytes], Awaitable[None]]


class Feed:
    """Everything that is sent.

    Attributes:
        listeners: How many there are.
    """

    def __init__(self, hub: Hub) -> None:
        self.listeners = 0
        self._hub = hub
        self._run = secrets.token_hex(4)
        self._events: deque[tuple[int, Message]] = deque(maxlen=KEPT)
        self._last = 0
        self._state: bytes | None = None
        self._states = 0
        self._clients = b""
        self._changed = asyncio.Event()
        self._closed = False

    def start(self) -> None:
        """Begin to listen to the hub."""
        self._hub.on(stream.HELLO, self._on_hello)
        self._hub.on(stream.STATE, self._on_state)
        self._hub.on(stream.EVENT, self._on_event)
        self._hub.on(stream.CLIENTS, self._on_clients)

    def stop(self) -> None:
        """End, for all that listen, too."""
        self._hub.off(stream.HELLO, self._on_hello)
        self._hub.off(stream.STATE, self._on_state)
        self._hub.off(stream.EVENT, self._on_event)
        self._hub.off(stream.CLIENTS, self._on_clients)
        self._closed = True
        self._wake()

    @property
    def full(self) -> bool:
        """Whether nobody else is let in."""
        return self._closed or self.listeners >= LISTENERS

    async def serve(self, send: Send, last_event_id: str | None) -> None:
        """Tell one listener everything until ``send`` fails, or takes too long (TimeoutError).

        Args:
            send: Takes octets, and returns when there is room for more.
            last_event_id: What it had when it lost us.
        """
        self.listeners += 1
        try:
            await self._serve(send, self._after(last_event_id))
        finally:
            self.listeners -= 1

    async def _serve(self, send: Send, after: int) -> None:
        news = b"retry: %d\n\n" % _RETRY_MS
        greeted, states, clients = False, -1, b""
        while not self._closed:
            changed = self._changed
            if not greeted and self._hub.hello is not None:
                greeted = True
                news += self._frame("hello", self._hub.hello, after)
            news += b"".join(self._missed(after))
            after = self._last
            if states != self._states and self._hub.state is not None:
                states = self._states
                news += self._encoded()
            if clients is not self._clients:
                clients = self._clients
                news += clients
            async with asyncio.timeout(PATIENCE_S):
                await send(news or b": still here\n\n")
            news = b""
            try:
                async with asyncio.timeout(HEARTBEAT_S):
                    await changed.wait()
            except TimeoutError:
                continue

    def _after(self, last_event_id: str | None) -> int:
        """The number of the last event that somebody has; what it has of another run of ours counts for nothing."""
        found = _ID.fullmatch(last_event_id or "")
        if found is None or found[1] != self._run:
            return self._last
        return min(int(found[2]), self._last)

    def _missed(self, after: int) -> Iterator[bytes]:
        if after < self._last:
            yield from (self._frame("event", event, number) for number, event in self._events if number > after)

    def _encoded(self) -> bytes:
        """The present state; encoded once for all."""
        if self._state is None:
            assert self._hub.state is not None
            self._state = self._frame("state", self._hub.state)
        return self._state

    def _frame(self, kind: str, message: Message | dict[str, Any], number: int | None = None) -> bytes:
        mark = "" if number is None else f"id: {self._run}-{number}\n"
        data = json.dumps(message, allow_nan=False, separators=(",", ":"))
        return f"{mark}event: {kind}\ndata: {data}\n\n".encode()

    def _on_hello(self, _: Message) -> None:
        self._wake()

    def _on_state(self, _: Message) -> None:
        self._state = None
        self._states += 1
        self._wake()

    def _on_event(self, event: Message) -> None:
        self._last += 1
        self._events.append((self._last, event))
        self._wake()

    def _on_clients(self, message: Message) -> None:
        rows = sorted(message["clients"], key=lambda one: one["requests"] or 0, reverse=True)[:CLIENTS_SHOWN]
        self._clients = self._frame(stream.CLIENTS, {**message, "clients": rows})
        self._wake()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
