"""Fuzz targets: 10,000 Announces a second from invented clocks, each of them better than the grandmaster.

Whoever says the same again under the same name is qualified by the rules of the standard (IEEE 1588-2019, 9.3.2.4), so
names are used once here. They may come again where the receiver knows whom it may follow: by its table of acceptable
timeTransmitters, by the addresses that it asks for unicast messages, or by keys.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from fuzz_ptp_port import FAST, WORLDS, Lazy
from fuzz_ptp_world import BEST, NS, World, identity, port_settings
from targets import Target, register

from timesync.ptp.foreign import NOTED, QUALIFIED
from timesync.ptp.settings import InstanceSettings
from timesync.ptp.states import PortState

SECOND = 10_000
"""Announces."""

SETTLED_S = 20
PERSISTENT = 100
"""Invented clocks that go on under their names."""

_ANNOUNCE = struct.Struct(">BBHBBHqI8sHHBbHIIhxBBBHB8sHB")


@dataclass
class Storm:
    """One world through the whole of it; it breathes one Announce every 100 us of its time.

    Attributes:
        world: Its clocks have settled.
        victims: Numbers of the clocks that hear the storm; each follows somebody.
        names: How many names are used; None: each once.
        inputs: How many Announces there were.
    """

    world: World
    victims: tuple[int, ...]
    names: int | None = None
    inputs: int = 0

    def __post_init__(self) -> None:
        if not self.world.now_ns:
            self.world.start()
        self.world.run(SETTLED_S * NS)
        self._before = self.state()
        assert all(self.world.clocks[one].takes_time() for one in self.victims), self._before

    def state(self) -> list[tuple[dict[int, PortState], int, bytes | None]]:
        """What must not change: states, how often the parent changed, and who it is."""
        return [(dict(one.states), one.parents, one.follows()) for one in self.world.clocks]

    def generate(self, rng: random.Random) -> bytes:
        """One Announce, after the number of its victim."""
        settings = self.world.clocks[0].instance.context.settings
        name = rng.randbytes(8) if self.names is None else bytes(6) + rng.randrange(self.names).to_bytes(2, "big")
        path = b""
        if rng.random() < 0.1:
            clocks = rng.randbytes(8 * rng.choice((1, 3, 50)))
            path = struct.pack(">HH", 8, len(clocks)) + clocks
        body = _ANNOUNCE.pack(
            settings.sdo_id >> 4 & 0xF0 | 0xB,
            0x12,
            _ANNOUNCE.size + len(path),
            settings.domain,
            settings.sdo_id & 0xFF,
            rng.choice((0x003C, 0x043C, 0x0008)),
            0,
            0,
            name,
            1,
            self.inputs & 0xFFFF,
            5,
            rng.choice((0, 1, 4, -3, -4, 0x7F)),
            0,
            0,
            0,
            37,
            0,
            6,
            0x20,
            0x4E5D,
            0,
            name,
            0,
            0x20,
        )
        return bytes((rng.randrange(256),)) + body + path

    def target(self, data: bytes) -> None:
        """The grandmaster goes on to be followed."""
        self.inputs += 1
        self.world.run(NS // SECOND)
        number = self.victims[data[0] % len(self.victims)]
        receiving = (port for port, state in self.world.clocks[number].states.items() if state in _RECEIVING)
        self.world.deliver(number, next(receiving), data[1:], f"192.0.2.{100 + (data[0] >> 3)}")
        if self.inputs % 1000 == 0:
            assert self._before == self.state()
            self.check_tables()

    def check_tables(self) -> None:
        """The tables of foreign timeTransmitters are full, and no more."""
        self.world.check_sizes()
        for clock in self.world.clocks:
            for table in clock.instance._foreign.values():
                assert len(table._noted) <= NOTED
                assert len(table._qualified) <= QUALIFIED


_RECEIVING = (PortState.UNCALIBRATED, PortState.TIME_RECEIVER)


def _acceptable() -> World:
    """A receiver that is told whom it may follow, and the grandmaster."""
    world = World(seed=1)
    port = port_settings(intervals=FAST)
    world.add(InstanceSettings(identity=identity(1), priority1=100, ports=(port,)), BEST)
    port = port_settings(intervals=FAST, acceptable=frozenset({bytes(identity(1)).hex()}))
    world.add(InstanceSettings(identity=identity(2), ports=(port,)))
    world.wire((0, 1), (1, 1))
    return world


STORMS: dict[str, Callable[[], Storm]] = {
    "e2e": lambda: Storm(WORLDS["e2e"]().world, (1, 2)),
    "p2p": lambda: Storm(WORLDS["p2p"]().world, (1, 2)),
    "g8275": lambda: Storm(WORLDS["g8275"]().world, (1, 2)),
    "gptp": lambda: Storm(WORLDS["gptp"]().world, (1, 2)),
    "acceptable": lambda: Storm(_acceptable(), (1,), PERSISTENT),
    "unicast": lambda: Storm(WORLDS["unicast"]().world, (2, 3), PERSISTENT),
    "g8265": lambda: Storm(WORLDS["g8265"]().world, (2, 3), PERSISTENT),
    "signed": lambda: Storm(WORLDS["signed"]().world, (1, 2), PERSISTENT),
}
"""By the way of talking."""


def storm_target(name: str, storm: Storm | Lazy[Storm]) -> Target:
    """A row of the table."""
    return Target(f"ptp storm, {name}", storm.generate, storm.target)


register(*(storm_target(name, Lazy(make)) for name, make in STORMS.items()))
