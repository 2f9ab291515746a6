"""What ``timesync run`` costs: memory, processor time when idle, imports, and the time to its first request.

``python bench/daemon_cost.py [--seconds 60] [--runs 7]``

The daemon runs as users run it, in a process of its own, with a configuration file: a clock in software (so nothing
touches the machine's clock) compared with four servers on loopback at one request in 16 s, served by two workers.
The four servers live in this process; their cost is not counted. Bytecode is cached in a temporary directory, as it is
cached beside the sources on a machine that has run the daemon before. Nothing but 127.0.0.0/8 is sent to, and every
wait is bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from server_rate import cpu_model, cpu_seconds, serve_state

from timesync.base.ids import Endpoint
from timesync.ntp.server import ServerSettings
from timesync.observe.control import ControlError, ask
from timesync.runtime.serve import open_service

_SOURCES = 4
_WORKERS = 2
_PATIENCE_S = 60.0
_MIB = 1024.0
_COMMAND = [sys.executable, "-m", "timesync.cli.main", "run", "-c"]

AIM_MEMORY_MIB = 60.0
AIM_CPU = 0.01
AIM_START_S = 1.5


@dataclass(frozen=True)
class Memory:
    """What a process holds, in MiB.

    Attributes:
        resident: VmRSS: its pages that are in memory, shared ones too.
        proportional: Pss: shared pages counted by the share that is its own.
    """

    resident: float
    proportional: float

    def __str__(self) -> str:
        return f"{self.resident:6.1f} MiB resident, {self.proportional:6.1f} MiB proportional"


def memory_of(pid: int) -> Memory:
    """From /proc; its figures are in KiB."""
    found = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, _, rest = line.partition(":")
        found[name] = int(rest.split()[0]) / _MIB
    return Memory(found["Rss"], found["Pss"])


def children_of(pid: int) -> list[int]:
    """The worker processes."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def write_configuration(directory: Path, servers: Sequence[str], *, serving: bool) -> Path:
    """Four sources, or as many as there are servers; with ``serving``, two workers on a free port."""
    lines = [
        "clocks:",
        "  system: {discipline: false}",
        "  bench: {virtual: {offset: 1ms, frequency: 5ppm, wander: 1e-9}}",
        "sources:",
        *(f'  - {{ntp: "{server}", clock: bench, poll: [16s, 16s]}}' for server in servers),
        "observe:",
        f"  control: {directory}/control.sock",
        f"  state: {directory}/state",
    ]
    if serving:
        lines += ["serve:", f'  ntp: {{listen: ["127.0.0.1:0"], allow: [127.0.0.0/8], workers: {_WORKERS}}}']
    file = directory / ("serving.yaml" if serving else "client.yaml")
    file.write_text("\n".join(lines) + "\n")
    return file


def cache_bytecode(directory: Path) -> None:
    """Let every interpreter that is started from here find and leave its bytecode there."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory / "bytecode")


def start(file: Path) -> subprocess.Popen[bytes]:
    """The daemon; what it says goes nowhere."""
    return subprocess.Popen([*_COMMAND, str(file)], stderr=subprocess.DEVNULL)


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then wait; SIGKILL when that is not obeyed."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def seconds_of(arguments: Sequence[str], runs: int) -> float:
    """The median time of so many runs of the interpreter, after one that fills the caches."""
    times = []
    subprocess.run([sys.executable, *arguments], check=True, timeout=_PATIENCE_S)
    for _ in range(runs):
        before = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, timeout=_PATIENCE_S)
        times.append(time.perf_counter() - before)
    return statistics.median(times)


def heaviest_imports(module: str, count: int) -> list[str]:
    """The modules whose own import takes longest, in words."""
    arguments = [sys.executable, "-X", "importtime", "-c", f"import {module}"]
    said = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=_PATIENCE_S).stderr
    rows = []
    for line in said.splitlines()[1:]:
        own, _, name = line.removeprefix("import time:").split("|")
        rows.append((int(own), name.strip()))
    return [f"{name} {own / 1000:.1f} ms" for own, name in sorted(rows, reverse=True)[:count]]


def start_up(directory: Path, runs: int) -> list[float]:
    """Seconds from the start of the process to its first request on the wire, of each run."""
    times = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.settimeout(_PATIENCE_S)
        file = write_configuration(directory, [f"127.0.0.1:{listener.getsockname()[1]}"], serving=False)
        for number in range(runs + 1):
            before = time.perf_counter()
            process = start(file)
            try:
                listener.recv(2048)
                if number:  # the first fills the caches
                    times.append(time.perf_counter() - before)
            finally:
                end(process)
            listener.setblocking(False)
            try:
                while listener.recv(2048):
                    pass
            except BlockingIOError:
                listener.settimeout(_PATIENCE_S)
    return times


async def until_locked(control: str) -> None:
    """Wait for the daemon to say so."""
    limit = time.monotonic() + _PATIENCE_S
    while time.monotonic() < limit:
        try:
            said = await asyncio.to_thread(ask, control, "status")
        except ControlError:
            said = {}
        if said.get("state") == "locked":
            return
        await asyncio.sleep(0.2)
    raise SystemExit(f"daemon_cost: the daemon did not lock in {_PATIENCE_S:g} s; last it said {json.dumps(said)}")


async def idle(directory: Path, seconds: float) -> None:
    """Memory and processor time of a daemon that follows its four sources."""
    settings = ServerSettings(allow=(ip_network("127.0.0.0/8"),))
    service = open_service(settings, [Endpoint("127.0.0.1", 0)] * _SOURCES, 0)
    service.publish(serve_state())
    file = write_configuration(directory, [str(endpoint) for endpoint in service.addresses], serving=True)
    process = start(file)
    try:
        await until_locked(f"{directory}/control.sock")
        await asyncio.sleep(10)  # the burst at the start is over then
        workers = children_of(process.pid)
        before, workers_before, at = cpu_seconds([process.pid]), cpu_seconds(workers), time.monotonic()
        await asyncio.sleep(seconds)
        elapsed = time.monotonic() - at
        used = (cpu_seconds([process.pid]) - before) / elapsed
        workers_used = (cpu_seconds(workers) - workers_before) / elapsed
        daemon = memory_of(process.pid)
        print(f"memory, daemon                  {daemon}  {judged(daemon.resident < AIM_MEMORY_MIB, '< 60 MiB')}")
        for number, pid in enumerate(workers, 1):
            print(f"memory, worker {number}                {memory_of(pid)}")
        print(
            f"idle CPU, daemon                {100 * used:6.2f} % over {elapsed:.0f} s, {_SOURCES} sources at 16 s  "
            f"{judged(used < AIM_CPU, '< 1 %')}"
        )
        print(f"idle CPU, {len(workers)} workers together   {100 * workers_used:6.2f} %")
    finally:
        end(process)
        service.close()


def judged(good: bool, aim: str) -> str:
    """The aim, and whether it was met."""
    return f"(aim {aim}: {'met' if good else 'MISSED'})"


def main(arguments: Sequence[str]) -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the idle daemon is watched, 5 to 3600")
    parser.add_argument("--runs", type=int, default=7, help="how often each start is timed, 1 to 50")
    options = parser.parse_args(arguments)
    if not 5 <= options.seconds <= 3600 or not 1 <= options.runs <= 50:
        parser.error("--seconds is 5 to 3600, --runs 1 to 50")
    print(f"CPU: {cpu_model()}; {len(os.sched_getaffinity(0))} processors")
    print(f"kernel {platform.release()}, Python {platform.python_version()}, load average {os.getloadavg()[0]:.2f}\n")
    with tempfile.TemporaryDirectory(prefix="timesync-bench-") as name:
        directory = Path(name)
        cache_bytecode(directory)
        bare = seconds_of(["-c", "pass"], options.runs)
        for module in ("timesync.cli.main", "timesync.config.load", "timesync.daemon.run"):
            spent = seconds_of(["-c", f"import {module}"], options.runs) - bare
            print(f"import {module:<24} {spent:6.3f} s, beyond the interpreter's own {bare:.3f} s")
        print(f"  heaviest: {', '.join(heaviest_imports('timesync.daemon.run', 6))}")
        times = start_up(directory, options.runs)
        middle = statistics.median(times)
        print(
            f"start to the first request      {middle:6.3f} s, {min(times):.3f} to {max(times):.3f} s"
            f" in {len(times)} runs  {judged(middle < AIM_START_S, '< 1.5 s')}",
            flush=True,
        )
        asyncio.run(idle(directory, options.seconds))


if __name__ == "__main__":
    main(sys.argv[1:])
