"""Small machines with time hardware for the tests of the simulation."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from sim_support import INSTANT, MS, leap_table, make_clock

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp
from timesync.base.time import Duration
from timesync.devices import KernelPulses, PinPulses, Pulse
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.devices import SimDevices, make_phc
from timesync.sim.hardware import FromReceiver, Gauss, Hardware, PhcHardware, PulseHardware, ReceiverHardware
from timesync.sim.host import Machine, SimHost
from timesync.sim.loop import run
from timesync.sim.network import Network
from timesync.sim.oscillator import Quartz
from timesync.sim.world import DEFAULT_START, World

PPS = "/dev/pps0"
TTY = "/dev/ttyAMA0"
GPSD = "localhost:2947"
QUIET = PulseHardware(noise=Gauss(0.0))
SYSTEM = ClockId("system")
CARD = ClockId("eth0")
S = Duration.from_s(1)
NS = 65_536
START_S = DEFAULT_START.scaled_ns // S.scaled_ns
"""Second of TAI at which a world begins: 2026-01-01 00:00:00 UTC, when TAI - UTC is 37 s."""
T = TypeVar("T")


class Scene:
    """A machine with a system clock, hardware, and the hardware's clocks."""

    def __init__(
        self,
        hardware: Hardware,
        seed: int = 1,
        machine: Machine = INSTANT,
        quartz: Quartz | None = None,
        model: ClockModel | None = None,
    ) -> None:
        self.world = World(seed)
        self.system: SimClock = make_clock(self.world, quartz, model)
        self.cards = {
            name: make_phc(self.world, name, card, leap_table(), self.system) for name, card in hardware.phcs.items()
        }
        node = Network(self.world).node("host", "192.0.2.1")
        self.host = SimHost(self.world, node, [self.system, *self.cards.values()], machine, hardware)
        self.devices: SimDevices = self.host.devices

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return run(self.world, main, self.system)

    def error_s(self, stamp: Stamp) -> float:
        """Distance of a stamp from the nearest whole second."""
        half = S.scaled_ns // 2
        return ((stamp.at.scaled_ns + half) % S.scaled_ns - half) / S.scaled_ns


class Ear:
    """A feed's handler that keeps what comes, with its true time in seconds since the start."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.opened: list[float] = []
        self.got: list[tuple[float, bytes, Stamp | None]] = []
        self.lost: list[tuple[float, OSError]] = []

    @property
    def text(self) -> bytes:
        return b"".join(data for _, data, _ in self.got)

    def on_open(self) -> None:
        self.opened.append(self.world.elapsed.s())

    def on_data(self, data: bytes, stamp: Stamp | None) -> None:
        self.got.append((self.world.elapsed.s(), data, stamp))

    def on_lost(self, error: OSError) -> None:
        self.lost.append((self.world.elapsed.s(), error))


async def until(scene: Scene, seconds: float) -> None:
    """Sleep until so many true seconds after the start."""
    await asyncio.sleep(seconds - scene.world.elapsed.s())


def one_line(**figures: object) -> Hardware:
    return Hardware(pulses={PPS: PulseHardware(**figures)})


def one_card(**figures: object) -> Hardware:
    return Hardware(phcs={CARD: PhcHardware(**figures)})


def one_receiver(**figures: object) -> Hardware:
    return Hardware(
        receivers={TTY: ReceiverHardware(**figures)},
        pulses={PPS: PulseHardware(noise=Gauss(0.0), origin=FromReceiver(TTY))},
    )


def gather(scene: Scene, seconds: int, spec: KernelPulses | PinPulses, every: Duration = MS * 500) -> list[Pulse]:
    """Ask every so often for so many seconds."""
    source = scene.devices.open_pulses(spec, SYSTEM)
    found: list[Pulse] = []
    end = scene.world.units + (S * seconds).scaled_ns
    while scene.world.units < end:
        scene.world.run_for(every)
        found += source.pulses()
    source.close()
    return found


def sequences(pulses: Sequence[Pulse]) -> list[int]:
    return [pulse.sequence for pulse in pulses]
