"""A TCP server in software that never waits: a stand-in for the daemons that speak over loopback."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

_READ_SIZE = 4096
_BACKLOG = 8
_AGAIN_S = 0.5


class Talk(Protocol):
    """One client's conversation, as the other side of it leads it."""

    def begun(self) -> None:
        """The client is connected."""
        ...

    def heard(self, data: bytes) -> None:
        """The client said something."""
        ...

    def ended(self) -> None:
        """The client is gone."""
        ...


class StreamClient:
    """A connected client."""

    def __init__(self, loop: asyncio.AbstractEventLoop, connection: socket.socket, forget: Callable[[], None]) -> None:
        self._loop = loop
        self._connection: socket.socket | None = connection
        self._forget = forget
        self._talk: Talk | None = None

    def attach(self, talk: Talk) -> None:
        """Lead the conversation from now on."""
        self._talk = talk
        assert self._connection is not None
        self._loop.add_reader(self._connection.fileno(), self._read)
        talk.begun()

    def send(self, data: bytes) -> None:
        """Say something. A client that does not read is cut off: half a line would mean nothing to it."""
        if self._connection is None or not data:
            return
        try:
            sent = self._connection.send(data, socket.MSG_NOSIGNAL)
        except OSError:
            sent = 0
        if sent < len(data):
            self.close()

    def baud(self) -> int | None:
        """None: it has no speed."""
        return None

    def close(self) -> None:
        """End it."""
        if self._connection is None:
            return
        connection, self._connection = self._connection, None
        self._loop.remove_reader(connection.fileno())
        connection.close()
        self._forget()
        if self._talk is not None:
            self._talk.ended()

    def _read(self) -> None:
        if self._connection is None:
            return
        try:
            data = self._connection.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        elif self._talk is not None:
            self._talk.heard(data)


class VirtualStream:
    """A listening socket that can go and come back on the same port."""

    def __init__(self, address: str, on_client: Callable[[StreamClient], Talk]) -> None:
        """Listen on a free port of a numeric IPv4 address, on the running loop. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._on_client = on_client
        self._clients: list[StreamClient] = []
        self._listening: socket.socket | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._where = (address, 0)
        self._listen()

    @property
    def port(self) -> int:
        """The port, whether anybody listens there or not."""
        return self._where[1]

    def start(self) -> None:
        """Listen again; as soon as it can be, should another program have taken the port meanwhile."""
        if self._listening is not None:
            return
        try:
            self._listen()
        except OSError:
            self._retry = self._loop.call_later(_AGAIN_S, self.start)

    def stop(self) -> None:
        """End all connections and refuse new ones."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if self._listening is not None:
            self._loop.remove_reader(self._listening.fileno())
            self._listening.close()
            self._listening = None
        for client in tuple(self._clients):
            client.close()

    def _listen(self) -> None:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            # Connections that were ended a moment ago do not keep the port.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(self._where)
            made.listen(_BACKLOG)
        except OSError:
            made.close()
            raise
        self._where = (self._where[0], made.getsockname()[1])
        self._listening = made
        self._loop.add_reader(made.fileno(), self._accept)

    def _accept(self) -> None:
        if self._listening is None:
            return
        try:
            connection, _ = self._listening.accept()
        except OSError:
            return  # the client did not wait
        connection.setblocking(False)
        client = StreamClient(self._loop, connection, lambda: self._clients.remove(client))
        self._clients.append(client)
        with suppress(OSError):
            # A line a second is small: it must not wait for another one.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.attach(self._on_client(client))
