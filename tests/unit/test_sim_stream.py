"""TCP on the simulated network: order, loss, ends, refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from sim_support import STILL, make_host

from timesync.base.ids import Endpoint
from timesync.base.time import Duration
from timesync.sim.law import Exponential
from timesync.sim.loop import run
from timesync.sim.network import Network, Path
from timesync.sim.stream import SimStream
from timesync.sim.world import World

FAR = Endpoint("192.0.2.2", 4460)


class Scene:
    """A host and a far machine that sends back what it gets, until the end."""

    def __init__(self, path: Path = STILL, seed: int = 1) -> None:
        self.world = World(seed)
        self.network = Network(self.world)
        self.host = make_host(self.world, self.network)
        self.far = self.network.node("far", "192.0.2.2")
        self.network.connect(self.host.node, self.far, path)
        self.tasks: list[asyncio.Task[None]] = []

    def listen(self) -> None:
        async def echo(stream: SimStream) -> None:
            while data := await stream.receive():
                await stream.send(data)
            stream.close()

        self.far.streams[4460] = lambda stream: self.tasks.append(asyncio.get_running_loop().create_task(echo(stream)))

    def run(self, story: Callable[[], Awaitable[None]]) -> float:
        """Simulated seconds that the story took."""

        async def main() -> None:
            await story()
            for task in self.tasks:
                task.cancel()
            await asyncio.gather(*self.tasks, return_exceptions=True)

        run(self.world, main(), self.host.system)
        return self.world.elapsed.s()


def test_octets_go_there_and_back_and_an_end_stays_an_end() -> None:
    scene = Scene()
    scene.listen()

    async def story() -> None:
        stream = await scene.host.connect(FAR)
        await stream.send(b"one")
        assert b"one" == await stream.receive()
        stream.close()
        assert b"" == await stream.receive()
        assert b"" == await stream.receive()
        with pytest.raises(OSError, match="Bad file descriptor"):
            await stream.send(b"two")

    # Three round trips of 2 ms: connecting, octets, the end.
    assert 0.006 == pytest.approx(scene.run(story), abs=1e-4)


def test_what_the_network_loses_doubles_and_swaps_arrives_in_order() -> None:
    path = Path(base=Duration.from_ns(1_000_000), jitter=Exponential(5e-3), loss=0.3, duplicate=0.2)
    scene = Scene(path)
    scene.listen()

    async def story() -> None:
        stream = await scene.host.connect(FAR)
        for number in range(50):
            await stream.send(bytes([number]))
        got = b""
        while len(got) < 50:
            got += await stream.receive()
        assert bytes(range(50)) == got

    scene.run(story)


def test_a_port_without_listener_refuses() -> None:
    scene = Scene()

    async def story() -> None:
        with pytest.raises(ConnectionRefusedError):
            await scene.host.connect(FAR)

    assert 0.002 == pytest.approx(scene.run(story), abs=1e-4)


def test_an_address_that_nobody_has_times_out() -> None:
    scene = Scene()

    async def story() -> None:
        with pytest.raises(TimeoutError):
            await scene.host.connect(Endpoint("192.0.2.99", 4460))

    # 1 + 2 + 4 + 8 + 16 + 32 s, as a kernel tries.
    assert 63 == pytest.approx(scene.run(story), abs=0.1)


def test_a_connection_whose_network_dies_ends_with_an_error() -> None:
    scene = Scene()
    scene.listen()

    async def story() -> None:
        stream = await scene.host.connect(FAR)
        scene.network.isolate(scene.far, scene.world.now, scene.world.now + Duration.from_s(3600))
        await stream.send(b"lost")
        with pytest.raises(TimeoutError):
            await stream.receive()

    assert scene.run(story) < 100
