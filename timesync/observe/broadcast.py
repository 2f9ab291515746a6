"""Telling watchers what goes on, without ever waiting for one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from timesync.observe.stream import encode

MAX_WAITING: Final = 2 << 20
"""Octets that may wait for a watcher; it misses what would come on top."""


class Watcher:
    """Somebody at the other end of a stream.

    Attributes:
        wants: The types of message that it asked for.
        missed: Messages that it did not get since the last one that it got.
        missed_ever: All that it did not get.
    """

    def __init__(self, writer: asyncio.StreamWriter, wants: Collection[str]) -> None:
        self.wants = frozenset(wants)
        self.missed = 0
        self.missed_ever = 0
        self._writer = writer
        # Nobody waits for it to drain: what waits is bounded below.
        writer.transport.set_write_buffer_limits(high=MAX_WAITING)

    def tell(self, line: bytes) -> None:
        """Send a line, or count it as missed."""
        transport = self._writer.transport
        if transport.is_closing():
            return
        if transport.get_write_buffer_size() + len(line) > MAX_WAITING:
            self.missed += 1
            self.missed_ever += 1
            return
        if self.missed:
            # A message is an object that is never empty: one more key fits in front.
            line = b'{"missed":%d,' % self.missed + line[1:]
            self.missed = 0
        self._writer.write(line)

    def close(self) -> None:
        """Tell no more."""
        self._writer.close()


class Broadcaster:
    """All watchers."""

    def __init__(self, joined: Callable[[Watcher], None] = lambda _: None) -> None:
        """``joined`` is shown each one before it is told anything else."""
        self._watchers: list[Watcher] = []
        self._joined = joined

    def __len__(self) -> int:
        return len(self._watchers)

    def watchers(self, kind: str) -> list[Watcher]:
        """Those who asked for messages of this type."""
        return [watcher for watcher in self._watchers if kind in watcher.wants]

    def add(self, watcher: Watcher) -> None:
        """Tell one more."""
        self._joined(watcher)
        self._watchers.append(watcher)

    def remove(self, watcher: Watcher) -> None:
        """Tell it no more."""
        self._watchers.remove(watcher)

    def wanted(self, kind: str) -> bool:
        """Whether anybody asked for messages of this type: else they need not be made."""
        return any(kind in watcher.wants for watcher in self._watchers)

    def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message to all who asked for its type."""
        listening = self.watchers(message["type"])
        if not listening:
            return
        line = encode(message)
        for watcher in listening:
            watcher.tell(line)
