"""A story with all kinds of chance in it, for tests of determinism; run as a program it prints its trace."""

from __future__ import annotations

import asyncio

from sim_support import leap_table, make_clock

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Stamp
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.sim.host import Machine, SimHost
from timesync.sim.law import Exponential, Lognormal, Spikes
from timesync.sim.loop import run
from timesync.sim.network import Network, Path
from timesync.sim.oscillator import Quartz, Temperature
from timesync.sim.server import SimNtpServer
from timesync.sim.world import World
from timesync.wire.ntp import Mode, NtpPacket, encode

WAN = Path(
    base=Duration.from_ns(8_000_000),
    jitter=Spikes(Lognormal(2e-4, 0.8), Exponential(5e-3), 0.02),
    loss=0.01,
    duplicate=0.005,
)
QUARTZ = Quartz(
    frequency_error=Rate.from_ppm(12),
    wander=1e-9,
    white_fm=1e-10,
    ageing_per_day=Rate.from_ppb(1),
    temperature=(Temperature(amplitude=Rate.from_ppb(50), period=Duration.from_s(900)),),
)


class _Listener:
    def __init__(self, host: SimHost, server: str, lines: list[str]) -> None:
        self._host, self._server, self._lines = host, server, lines

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:
        self._lines.append(f"{self._host.mono()} {self._server} {data.hex()} {stamp and stamp.at}")

    def on_sent(self, stamp: Stamp | None) -> None:
        pass

    def on_error(self, error: OSError) -> None:
        raise error


def trace(seed: int, seconds: int) -> list[str]:
    """One line for each answer of five servers that are asked every 16 s, with every digit."""
    world = World(seed)
    network = Network(world, WAN)
    system = make_clock(world, QUARTZ)
    host = SimHost(world, network.node("host", "192.0.2.1"), [system], Machine(stamp_noise_s=5e-6))
    names = [f"192.0.2.{10 + index}" for index in range(5)]
    for name in names:
        SimNtpServer(world, network.node(name, name), leap_table(), quartz=Quartz(wander=1e-10))
    lines: list[str] = []

    async def poll(name: str) -> None:
        listener = _Listener(host, name, lines)
        await asyncio.sleep(host.rng.random() * 16)
        while True:
            exchange = host.open_exchange(Endpoint(name, 123), ClockId("system"), listener)
            exchange.send(encode(NtpPacket(mode=Mode.CLIENT, transmit=int.from_bytes(host.entropy(8), "big"))))
            await asyncio.sleep(4)
            exchange.close()
            await asyncio.sleep(12)

    async def main() -> None:
        tasks = [asyncio.create_task(poll(name)) for name in names]
        await asyncio.sleep(seconds)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    run(world, main(), system)
    return lines


if __name__ == "__main__":
    print("\n".join(trace(7, 600)))
