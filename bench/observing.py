"""Whether being watched disturbs the clocks, and what each process costs.

    bench/observing.py [--seconds 20] [--rounds 4]

A daemon follows a server on loopback at 16 requests a second by a clock in software, with metrics, page, history,
records, chronyc's protocol and, where mosquitto is unpacked by ``bin/test interop``, MQTT. By turns nobody looks, and
everybody: five browsers' streams and pages, ten scrapes a second, a chronyc ten times a second. What the offsets
scatter from one to the next is the jitter of measurement. Nothing but loopback is sent to, and no clock of the machine
is touched.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import os
import signal
import socket
import statistics
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from timesync.base.time import UNITS_PER_S
from timesync.observe.control import ControlError
from timesync.observe.watch import follow, watch

MOSQUITTO = Path("~/.cache/timesync/peers/mosquitto-1/root/usr/sbin/mosquitto").expanduser()
BROWSERS = 5
PER_S = 10.0
PATIENCE_S = 60.0
TICKS = os.sysconf("SC_CLK_TCK")
COMMAND = [sys.executable, "-m", "timesync.cli.main"]


@asynccontextmanager
async def running(arguments: Sequence[str], log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is ended at the end."""
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(*arguments, stdout=out, stderr=out)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), PATIENCE_S)


async def locked(control: str) -> None:
    """Wait until the daemon follows its server."""
    async with asyncio.timeout(PATIENCE_S):
        async for message in follow(control):
            if message["type"] == "state" and message["status"]["state"] == "locked":
                return


def free_ports(number: int) -> list[int]:
    """Ports of loopback that are free now."""
    opened = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    found = [int(one.getsockname()[1]) for one in opened]
    for one in opened:
        one.close()
    return found


def processes(pid: int) -> dict[str, int]:
    """The daemon and its children, by what they do."""
    found = {"daemon": pid}
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
        name = next((word for word in words if word.startswith(b"timesync.")), b"?").decode().rpartition(".")[2]
        found[{"process": "observer", "serve_worker": "worker", "ke_worker": "NTS-KE"}.get(name, name)] = int(child)
    return found


def cpu_s(pid: int) -> float:
    """Processor time of a process, seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_mib(pid: int) -> float:
    """Memory of a process, MiB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


async def offsets(control: str, seconds: float) -> list[float]:
    """What was measured in so many seconds."""
    found: list[float] = []
    with suppress(TimeoutError, ControlError):
        async with asyncio.timeout(seconds):
            async for message in watch(control, ["measurement"]):
                rows: list[list[Any]] = message.get("rows", [])
                kind, offset = (message.get("columns", [name]).index(name) for name in ("kind", "offset"))
                found += (row[offset] / UNITS_PER_S for row in rows if row[kind] == "measurement")
    return found


async def browse(session: aiohttp.ClientSession, url: str) -> None:
    """A browser: the page once, a plot now and then, the stream all the time."""
    await (await session.get(url)).read()
    async with session.get(f"{url}/events") as stream:
        async for _ in stream.content.iter_any():
            pass


async def repeat(session: aiohttp.ClientSession, url: str) -> None:
    """A scrape, ten times a second."""
    while True:
        await (await session.get(url)).read()
        await asyncio.sleep(1 / PER_S)


async def look(web: str, metrics: str) -> None:
    """Everybody at once, until cancelled."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as group:
        for _ in range(BROWSERS):
            group.create_task(browse(session, web))
        group.create_task(repeat(session, f"{metrics}/metrics"))


def scatter_s(found: Sequence[float]) -> float:
    """How much one offset differs from the next: robust standard deviation, from the quartiles."""
    steps = sorted(b - a for a, b in itertools.pairwise(found))
    low, _, high = statistics.quantiles(steps, n=4)
    return (high - low) / 1.349 / 2**0.5


async def measure(wanted: argparse.Namespace, folder: Path) -> None:
    """Run it all, by turns alone and watched, and print what came of it."""
    async with AsyncExitStack() as stack:
        metrics, web, chronyc, broker, ntp = free_ports(5)
        await stack.enter_async_context(running([*COMMAND, "testserver", "--listen", f"127.0.0.1:{ntp}"], folder / "s"))
        mqtt = ""
        if MOSQUITTO.exists():
            (folder / "m.conf").write_text(f"listener {broker} 127.0.0.1\nallow_anonymous true\n")
            await stack.enter_async_context(running([str(MOSQUITTO), "-c", str(folder / "m.conf")], folder / "m"))
            mqtt = f"  mqtt: {{broker: 'mqtt://127.0.0.1:{broker}', interval: 1s, home_assistant: true}}\n"
        file = folder / "t.yaml"
        file.write_text(
            "clocks: {system: {discipline: false}, bench: {virtual: {offset: 1ms, frequency: 5ppm}}}\n"
            f"sources: [{{ntp: '127.0.0.1:{ntp}', poll: [62.5ms, 62.5ms], burst: false}}]\n"
            f"serve: {{ntp: {{listen: ['127.0.0.1:0'], workers: 1}}}}\n"
            "observe:\n  control: c.sock\n  state: state\n"
            f"  metrics: {{listen: '127.0.0.1:{metrics}', compat: [chrony]}}\n"
            f"  web: 127.0.0.1:{web}\n  chronyc: 127.0.0.1:{chronyc}\n  measurements: rows\n{mqtt}"
        )
        file.chmod(0o644)
        daemon = await stack.enter_async_context(running([*COMMAND, "run", "-c", str(file)], folder / "d"))
        control = str(folder / "c.sock")
        await locked(control)
        await asyncio.sleep(5)
        pids = processes(daemon.pid)
        jitter: dict[bool, list[float]] = {False: [], True: []}
        cost: dict[bool, dict[str, list[float]]] = {looked: {name: [] for name in pids} for looked in jitter}
        for number in range(2 * wanted.rounds):
            looked = bool(number % 2)
            crowd = (
                asyncio.create_task(look(f"http://127.0.0.1:{web}", f"http://127.0.0.1:{metrics}")) if looked else None
            )
            await asyncio.sleep(1)
            before = {name: cpu_s(pid) for name, pid in pids.items()}
            found = await offsets(control, wanted.seconds)
            jitter[looked].append(scatter_s(found))
            for name, pid in pids.items():
                cost[looked][name].append((cpu_s(pid) - before[name]) / wanted.seconds)
            if crowd is not None:
                crowd.cancel()
                with suppress(asyncio.CancelledError, BaseExceptionGroup):
                    await crowd
        alone, watched = (statistics.median(jitter[looked]) for looked in (False, True))
        print(
            f"jitter of measurement, {wanted.rounds} rounds of {wanted.seconds:g} s: nobody looks {alone * 1e6:.2f} µs,"
        )
        print(f"  five browsers and ten scrapes a second {watched * 1e6:.2f} µs, ratio {watched / alone:.2f}")
        print(f"  (all: {', '.join(f'{value * 1e6:.2f}' for value in jitter[False])};", end=" ")
        print(f"{', '.join(f'{value * 1e6:.2f}' for value in jitter[True])})")
        for name, pid in pids.items():
            idle, busy = (100 * statistics.median(cost[looked][name]) for looked in (False, True))
            print(f"{name}: {resident_mib(pid):.0f} MiB resident; {idle:.1f} % of a core, {busy:.1f} % when all look")
        print(f"load average {os.getloadavg()[0]:.1f}; MQTT {'on' if mqtt else 'off: mosquitto is not unpacked'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rounds", type=int, default=4)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        asyncio.run(measure(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
