"""TCP connections as ``timesync.host.Stream``, on any asyncio selector loop and without threads."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import Final

from timesync.base.ids import Endpoint

_PIECE: Final = 16_384


class LinuxStream:
    """A connected socket."""

    def __init__(self, connected: socket.socket) -> None:
        """Owns the socket from now on; it is non-blocking."""
        self._socket = connected
        self._loop = asyncio.get_running_loop()

    async def receive(self) -> bytes:
        """Octets that came; empty when the remote sends no more. Raises OSError."""
        return await self._loop.sock_recv(self._socket, _PIECE)

    async def send(self, data: bytes) -> None:
        """Send all of them. Raises OSError."""
        await self._loop.sock_sendall(self._socket, data)

    def close(self) -> None:
        """Close it."""
        self._socket.close()


async def connect_stream(remote: Endpoint) -> LinuxStream:
    """Connect; waits as long as the kernel does, some two minutes. Raises OSError."""
    v6 = ":" in remote.address
    connecting = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # Small messages that answer each other must not wait for more.
        connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        address = (remote.address, remote.port, 0, remote.scope) if v6 else (remote.address, remote.port)
        await _connect(connecting, address)
    except BaseException:  # cancelled too: the socket has no other owner yet
        connecting.close()
        raise
    return LinuxStream(connecting)


async def _connect(connecting: socket.socket, address: tuple[str | int, ...]) -> None:
    """Raises OSError with the system's own words; asyncio's give the address in their place."""
    try:
        await asyncio.get_running_loop().sock_connect(connecting, address)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, os.strerror(error.errno)) from error
