"""The sockets on which chronyc asks: who gets an answer, how many, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chronyc_support import state

from timesync.config.observe import Observe
from timesync.daemon.observer import _listening
from timesync.observe import chronyc
from timesync.observe.chronyc import Chronyc
from timesync.observe.hub import Hub
from timesync.observe.parts import Desk, Settings
from timesync.wire.candm import Command, Status, encode_request
from timesync.wire.candm_reply import decode_reply
from timesync.wire.candm_system import Tracking

TRACKING = encode_request(Command.TRACKING, 5, size=104)
SERVERSTATS = encode_request(Command.SERVER_STATS, 6, size=196)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that the observer may enter, though it be nobody; pytest's own it may not."""
    with tempfile.TemporaryDirectory(prefix="timesync-") as made:
        Path(made).chmod(0o755)
        yield Path(made)


@asynccontextmanager
async def part(settings: dict[str, Any]) -> AsyncIterator[dict[str, socket.socket]]:
    """The part with its sockets, and the daemon's state; gives the sockets."""
    observe = Observe.model_validate({"chronyc": settings})
    bound = {name: opened() for name, opened in _listening(observe)}
    descriptors = {name: os.dup(one.fileno()) for name, one in bound.items()}
    ours, theirs = socket.socketpair()
    _, writer = await asyncio.open_connection(sock=ours)
    hub = Hub()
    made = Chronyc(Desk(Settings(observe, None, descriptors, {}), hub, writer))
    await made.start()
    hub.take(state())
    try:
        yield bound
    finally:
        await made.stop()
        writer.transport.abort()
        for one in (theirs, *bound.values()):
            one.close()


async def asked(client: socket.socket, *requests: bytes) -> list[bytes]:
    """What comes back within a moment."""
    client.setblocking(False)
    for request in requests:
        client.send(request)
    found = []
    while True:
        try:
            found.append(await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 2048), 0.3))
        except TimeoutError:
            return found


def client(server: socket.socket, source: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(server.family, socket.SOCK_DGRAM)
    made.bind((source, 0))
    made.connect(server.getsockname())
    return made


def run(main: Callable[[], Any]) -> None:
    asyncio.run(main())


def test_who_asks_over_loopback_is_told_everything() -> None:
    async def main() -> None:
        async with part({"listen": "127.0.0.1:0"}) as bound:
            with client(bound["chronyc"]) as one:
                told = [decode_reply(data) for data in await asked(one, TRACKING, b"x", SERVERSTATS)]
        assert [(0, 5), (0, 6)] == [(reply.status, reply.sequence) for reply in told]
        assert isinstance(told[0].body, Tracking)
        assert (3, 3) == (told[0].body.stratum, getattr(told[1].body, "command_hits", None))

    run(main)


def test_others_get_nothing_unless_they_are_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    # All of 127/8 is local; for this test only its first address is.
    real = chronyc.ip_address
    monkeypatch.setattr(chronyc, "ip_address", lambda one: _Foreign(real(one)))

    async def main() -> None:
        settings = {"listen": "127.0.0.1:0", "allow": ("127.0.0.8/29",)}
        async with part(settings) as bound:
            for source, expected in (("127.0.0.1", [0, 0]), ("127.0.0.2", []), ("127.0.0.9", [0, Status.UNAUTHORIZED])):
                with client(bound["chronyc"], source) as one:
                    told = [decode_reply(data).status for data in await asked(one, TRACKING, SERVERSTATS)]
                assert expected == told, source

    run(main)


class _Foreign:
    """An address that is of this machine only if it is the first of loopback."""

    def __init__(self, real: Any) -> None:
        self.packed = real.packed
        self.is_loopback = str(real) == "127.0.0.1"


def test_over_the_socket_only_who_has_one_beside_it_or_in_a_directory_there(folder: Path) -> None:
    async def main() -> None:
        (folder / "run" / "chronyc.1" / "x").mkdir(parents=True)
        path = folder / "run" / "d.sock"
        async with part({"socket": str(path)}):
            # chronyc 4.3 has the first, 4.9 the second.
            for name, count in (("run/c", 1), ("run/chronyc.1/x/c", 1), ("c", 0), ("run/../e", 0)):
                with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                    one.bind(str(folder / name))
                    one.connect(str(path))
                    assert count == len(await asked(one, SERVERSTATS)), name
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as nameless:
                nameless.connect(str(path))
                assert [] == await asked(nameless, TRACKING)

    run(main)


def test_too_many_requests_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chronyc, "BURST", 3)
    monkeypatch.setattr(chronyc, "RATE", 1)

    async def main() -> None:
        async with part({"listen": "127.0.0.1:0"}) as bound:
            with client(bound["chronyc"]) as one:
                assert 3 == len(await asked(one, *[TRACKING] * 10))
                await asyncio.sleep(1)
                [told] = await asked(one, SERVERSTATS)
        body = decode_reply(told).body
        assert (11, 7) == (getattr(body, "command_hits", None), getattr(body, "command_drops", None))

    run(main)


def test_a_client_that_does_not_read_takes_its_answers_with_it_when_it_ends(folder: Path) -> None:
    """Meanwhile they fill our side of the socket; only who may make sockets beside it can do so."""

    async def main() -> None:
        path = folder / "d.sock"
        async with part({"socket": str(path)}):
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
                deaf.bind(str(folder / "deaf"))
                deaf.connect(str(path))
                deaf.setblocking(False)
                for _ in range(600):
                    await asyncio.wait_for(asyncio.get_running_loop().sock_sendall(deaf, TRACKING), 5)
                    await asyncio.sleep(0)
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
                other.bind(str(folder / "other"))
                other.connect(str(path))
                assert 1 == len(await asked(other, TRACKING))

    run(main)
