"""Whether being watched disturbs the clocks, and what each process costs.

    bench/observing.py [--seconds 10] [--rounds 10]

A daemon follows a server on loopback at 16 requests a second by a clock in software, with metrics, page, history,
records, chronyc's protocol and, where mosquitto is unpacked by ``bin/test interop``, MQTT. By turns nobody looks; five
browsers and ten scrapes a second look at a server that has nothing to do with clocks; and they look at the daemon's
page and metrics (``peers/audience.py``). What the offsets scatter from one to the next is the jitter of measurement.
Nothing but loopback is sent to, and no clock of the machine is touched.
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

from peers.audience import TURNS, scatter, told

from timesync.base.time import UNITS_PER_S
from timesync.observe.control import ControlError
from timesync.observe.watch import follow, watch

MOSQUITTO = Path("~/.cache/timesync/peers/mosquitto-1/root/usr/sbin/mosquitto").expanduser()
PATIENCE_S = 60.0
START_S = 1.0
"""Until its interpreter has started, the audience is none."""

TICKS = os.sysconf("SC_CLK_TCK")
COMMAND = [sys.executable, "-m", "timesync.cli.main"]
AUDIENCE = [sys.executable, str(Path(__file__).parent / "peers" / "audience.py")]


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


@asynccontextmanager
async def audience(turn: str, here: Sequence[int], elsewhere: Sequence[int], folder: Path) -> AsyncIterator[None]:
    """Those who look in this turn: at the ports of the page and of the metrics."""
    if turn == "alone":
        yield
        return
    web, metrics = here if turn == "here" else elsewhere
    async with AsyncExitStack() as stack:
        if turn == "elsewhere":
            words = ["serve", str(web), str(metrics)]
            await stack.enter_async_context(running([*AUDIENCE, *words], folder / "serve"))
        words = ["look", f"http://127.0.0.1:{web}", f"http://127.0.0.1:{metrics}"]
        looking = await stack.enter_async_context(running([*AUDIENCE, *words], folder / "look"))
        await asyncio.sleep(START_S)
        yield
        if looking.returncode is not None:
            raise SystemExit(f"the audience has left: {(folder / 'look').read_text()}")


async def measure(wanted: argparse.Namespace, folder: Path) -> None:
    """Run it all, by turns alone and watched, and print what came of it."""
    async with AsyncExitStack() as stack:
        metrics, web, chronyc, broker, ntp, *elsewhere = free_ports(7)
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
        scatters: dict[str, list[float]] = {turn: [] for turn in TURNS}
        cost = {turn: {name: list[float]() for name in pids} for turn in TURNS}
        for _, turn in itertools.product(range(wanted.rounds), TURNS):
            async with audience(turn, (web, metrics), elsewhere, folder):
                before = {name: cpu_s(pid) for name, pid in pids.items()}
                found = await offsets(control, wanted.seconds)
                scatters[turn].append(scatter(found) * 1e9)
                for name, pid in pids.items():
                    cost[turn][name].append((cpu_s(pid) - before[name]) / wanted.seconds)
        print(f"jitter of measurement, {wanted.rounds} rounds of {wanted.seconds:g} s a turn")
        print("  " + told(scatters).replace("; ", "\n  "))
        for name, pid in pids.items():
            idle, busy = (100 * statistics.median(cost[turn][name]) for turn in ("alone", "here"))
            print(f"{name}: {resident_mib(pid):.0f} MiB resident; {idle:.1f} % of a core, {busy:.1f} % when all look")
        print(f"load average {os.getloadavg()[0]:.1f}; MQTT {'on' if mqtt else 'off: mosquitto is not unpacked'}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=10)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        asyncio.run(measure(parser.parse_args(), Path(folder)))


if __name__ == "__main__":
    main()
