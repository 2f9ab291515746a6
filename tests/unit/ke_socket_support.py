"""NTS-KE over real sockets of this machine: a network without names, raw connections, a server in this process."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from ke_support import NAME, SERVER, TRUST
from tls_support import NOW, pair

from timesync.base.ids import Endpoint
from timesync.base.time import Instant, Utc
from timesync.nts.cookies import CookieJar
from timesync.nts.master import KeyStore
from timesync.nts.tls_client import ClientTls, Trust
from timesync.nts.tls_server import ServerContext
from timesync.runtime.ke_client import Established, KeFailure, KeRemote, establish
from timesync.runtime.ke_listener import KeListener
from timesync.runtime.ke_messages import KeServiceSettings
from timesync.runtime.ke_stream import LinuxStream, connect_stream

STORE = KeyStore.new(NOW, os.urandom)
JAR = CookieJar(STORE.keys, os.urandom)
LOCAL = "127.0.0.1"


class Local:
    """A network on which every name is this machine."""

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        del name
        return [Endpoint(LOCAL, port)]

    async def connect(self, remote: Endpoint) -> LinuxStream:
        return await connect_stream(remote)


async def ask(port: int, *, name: str = NAME, trust: Trust = TRUST, now: Instant[Utc] = NOW) -> Established | KeFailure:
    return await establish(Local(), KeRemote(server=name, port=port, trust=trust), now)


async def eventually(condition: Callable[[], bool], what: str) -> None:
    """Poll a condition that another process, or time itself, brings about."""
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, what
        await asyncio.sleep(0.005)


async def dial(port: int, source: str = LOCAL) -> socket.socket:
    """A raw connection from an address of this machine's."""
    made = socket.socket()
    made.setblocking(False)
    made.bind((source, 0))
    await asyncio.get_running_loop().sock_connect(made, (LOCAL, port))
    return made


async def closed(made: socket.socket) -> bytes:
    """What comes until the server closes; a reset is an end too."""
    loop, said = asyncio.get_running_loop(), b""
    try:
        async with asyncio.timeout(20):
            while data := await loop.sock_recv(made, 65536):
                said += data
    except ConnectionError:
        pass
    return said


@asynccontextmanager
async def listener(
    settings: KeServiceSettings | None = None, *, ready: bool = True
) -> AsyncIterator[tuple[KeListener, int]]:
    """A server in this process."""
    made = KeListener(settings or KeServiceSettings())
    if ready:
        made.use(context=ServerContext((pair(SERVER),)), make_cookie=JAR.make)
    bound = socket.create_server((LOCAL, 0))
    bound.setblocking(False)
    await made.listen(bound)
    try:
        yield made, bound.getsockname()[1]
    finally:
        made.close()
        await eventually(lambda: not made.open_connections, "connections go with their listener")
        bound.close()


def hello() -> bytes:
    """The first flight of a right client."""
    return ClientTls(TRUST, NAME, NOW).outgoing()
