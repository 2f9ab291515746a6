"""NTS-KE in tests: a server over any stream, and a simulated network to ask it on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

from sim_support import STILL, make_host
from tls_support import NOW, make_identity, pair

from timesync.base.time import Instant, Utc
from timesync.host import Stream
from timesync.nts.cookies import CookieJar
from timesync.nts.ke_server import KeServer, KeServerSettings
from timesync.nts.master import KeyStore
from timesync.nts.tls import TlsError
from timesync.nts.tls_client import Trust
from timesync.nts.tls_server import ServerContext, ServerTls
from timesync.runtime.ke_client import Established, KeFailure, KeRemote, establish
from timesync.sim.host import SimHost
from timesync.sim.loop import run
from timesync.sim.network import Network, Node
from timesync.sim.stream import SimStream
from timesync.sim.world import World

NAME = "time.example.org"
CA = make_identity("Lab CA", authority=True, days=(-20, 1000))
SERVER = make_identity("server", NAME, "192.0.2.2", issuer=CA)
TRUST = Trust.from_pem(CA.pem)
JAR = CookieJar(KeyStore.new(NOW, os.urandom).keys, os.urandom)

Serve = Callable[[SimStream], Awaitable[None]]


async def serve(stream: Stream, settings: KeServerSettings | None = None, context: ServerContext | None = None) -> None:
    """Answer one request as a right server does, in as few writes as it can."""
    await serve_octets(stream, None, settings, context)


async def serve_octets(
    stream: Stream,
    response: bytes | None,
    settings: KeServerSettings | None = None,
    context: ServerContext | None = None,
) -> None:
    """Answer one request with these octets instead, inside TLS."""
    tls = ServerTls(context or ServerContext((pair(SERVER),)))
    ke = KeServer(settings or KeServerSettings(), JAR.make)
    try:
        while not tls.ended:
            data = await stream.receive()
            if not data:
                return
            reply = ke.feed(tls.receive(data), tls.export)
            if reply is not None:
                tls.send(reply.data if response is None else response)
                tls.close()
            await stream.send(tls.outgoing())
            if reply is not None:
                return
    except TlsError:
        return
    finally:
        stream.close()


class KeScene:
    """A client and an NTS-KE server, one millisecond apart, in simulated time."""

    def __init__(self, *addresses: str) -> None:
        self.world = World(1)
        self.network = Network(self.world)
        self.host: SimHost = make_host(self.world, self.network)
        self.far: Node = self.network.node("far", *(addresses or ("192.0.2.2", "2001:db8::2")))
        self.network.connect(self.host.node, self.far, STILL)
        self.network.dns.set(NAME, *self.far.addresses)
        self.served = 0
        self.tasks: list[asyncio.Task[None]] = []

    def listen(self, serve: Serve = serve, port: int = 4460) -> None:
        """Let the server answer so."""

        async def one(stream: SimStream) -> None:
            await serve(stream)

        def accept(stream: SimStream) -> None:
            self.served += 1
            self.tasks.append(asyncio.get_running_loop().create_task(one(stream)))

        self.far.streams[port] = accept

    def establish(
        self,
        name: str = NAME,
        *,
        port: int = 4460,
        now: Instant[Utc] = NOW,
        floor: Instant[Utc] | None = None,
        trust: Trust = TRUST,
        timeout_s: float = 10.0,
    ) -> Established | KeFailure:
        """Ask it, to the end."""

        async def main() -> Established | KeFailure:
            remote = KeRemote(server=name, port=port, trust=trust, floor=floor)
            try:
                return await establish(self.host, remote, now, timeout_s=timeout_s)
            finally:
                for task in self.tasks:
                    task.cancel()
                await asyncio.gather(*self.tasks, return_exceptions=True)

        return run(self.world, main(), self.host.system)

    def failure(
        self, name: str = NAME, *, port: int = 4460, now: Instant[Utc] = NOW, trust: Trust = TRUST
    ) -> KeFailure:
        """Ask it, and fail."""
        result = self.establish(name, port=port, now=now, trust=trust)
        assert isinstance(result, KeFailure), result
        return result

    def elapsed_s(self) -> float:
        """Simulated seconds so far."""
        return self.world.elapsed.s()
