"""Small worlds for the tests of the simulation."""

from __future__ import annotations

import functools
from importlib import resources

from timesync.base.ids import Endpoint
from timesync.base.measure import Stamp
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.host import ExchangeHandler
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.host import Machine, SimHost
from timesync.sim.law import NO_DELAY, Exactly
from timesync.sim.network import Datagram, Network, Path
from timesync.sim.oscillator import Oscillator, Quartz
from timesync.sim.world import World

MS = Duration.from_ns(1_000_000)
US = Duration.from_ns(1_000)
STILL = Path(base=MS, jitter=Exactly())
"""A path of exactly one millisecond."""
INSTANT = Machine(slowness=NO_DELAY)


@functools.cache
def leap_table() -> LeapTable:
    return LeapTable.parse(resources.files("timesync_profiles").joinpath("leap-seconds.list").read_text("utf-8"))


def make_clock(
    world: World, quartz: Quartz | None = None, model: ClockModel | None = None, name: str = "system"
) -> SimClock:
    oscillator = Oscillator(world, name, quartz or Quartz())
    return SimClock(world, oscillator, leap_table(), model or ClockModel(), name)


def make_host(
    world: World,
    network: Network,
    machine: Machine = INSTANT,
    *addresses: str,
    quartz: Quartz | None = None,
    model: ClockModel | None = None,
) -> SimHost:
    node = network.node("host", *(addresses or ("192.0.2.1", "2001:db8::1")))
    return SimHost(world, node, [make_clock(world, quartz, model)], machine)


class Box:
    """A receiver that keeps what comes, with its true time."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.got: list[tuple[int, Datagram]] = []
        self.refused: list[Endpoint] = []

    def on_datagram(self, datagram: Datagram) -> None:
        self.got.append((self.world.elapsed.ns(), datagram))

    def on_refused(self, target: Endpoint) -> None:
        self.refused.append(target)


class Client(ExchangeHandler):
    """An exchange's handler that keeps what comes, with its true time in ns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.packets: list[tuple[int, bytes, Stamp | None]] = []
        self.sent: list[tuple[int, Stamp | None]] = []
        self.errors: list[OSError] = []

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:
        self.packets.append((self.world.elapsed.ns(), data, stamp))

    def on_sent(self, stamp: Stamp | None) -> None:
        self.sent.append((self.world.elapsed.ns(), stamp))

    def on_error(self, error: OSError) -> None:
        self.errors.append(error)
