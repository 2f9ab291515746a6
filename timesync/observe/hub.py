"""The observer process's picture of the daemon, and those of its parts that draw on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timesync.observe import stream

Message = Mapping[str, Any]
Listener = Callable[[Message], None]
"""Takes a message as it comes; what it raises is our own bug."""


class Hub:
    """What the daemon has said.

    Attributes:
        hello: Who the daemon is; None before it has said so.
        state: Its last state; None before the first.
        clients: Who has asked, as it was last told; None before the first time, and where no part wants it.
        missed: Messages that did not get through.
    """

    def __init__(self) -> None:
        self.hello: Message | None = None
        self.state: Message | None = None
        self.clients: Message | None = None
        self.missed = 0
        self._listeners: dict[str, list[Listener]] = {}

    def on(self, kind: str, listener: Listener) -> None:
        """Tell a part of all messages of this type from now on."""
        self._listeners.setdefault(kind, []).append(listener)

    def off(self, kind: str, listener: Listener) -> None:
        """Tell it no more."""
        self._listeners[kind].remove(listener)

    def take(self, message: Message) -> None:
        """A message has come."""
        self.missed += message.get("missed", 0)
        match message["type"]:
            case stream.HELLO:
                self.hello = message
            case stream.STATE:
                self.state = message
            case stream.CLIENTS:
                self.clients = message
        for listener in tuple(self._listeners.get(message["type"], ())):
            listener(message)
