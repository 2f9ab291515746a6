"""Replies a second of the NTP server on loopback: 1 and 2 workers, and chronyd in the same run.

``python bench/server_rate.py [--seconds 3] [--chronyd PATH] [--clients 16]``

The load comes from ``ntp_load.c`` beside this file, a process of its own that keeps a window of requests under way
from many loopback addresses; it is compiled with the system's C compiler into a temporary directory. Server and load
share the machine's processors, so the figures are not comparable with those of two machines and a wire; "a CPU second"
(replies by user and system time of the server's processes) is the figure that the sharing disturbs least. Nothing
but 127.0.0.0/8 is ever sent to, and every run is bounded in time and in requests.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network
from pathlib import Path

from timesync.base.ids import Endpoint
from timesync.base.measure import Leap
from timesync.base.serving import SYSTEM_MAP
from timesync.base.time import Duration, Instant
from timesync.ntp.limit import RateLimit
from timesync.ntp.server import ServerSettings, ServeState
from timesync.runtime.serve import LoopService, WorkerService, open_service

LOAD_SOURCE = Path(__file__).with_name("ntp_load.c")
MAX_REQUESTS = 50_000_000
WINDOW = 16
"""Requests under way from one address: with 16 addresses what chronyd's socket holds, so that nothing is lost."""
ALLOW = (ip_network("127.0.0.0/8"),)


@dataclass(frozen=True)
class Figure:
    """One run.

    Attributes:
        name: What served.
        sent: Requests sent.
        replies: Good replies.
        bad: Replies that were not.
        seconds: Wall time.
        cpu_s: Processor time of the server's processes.
    """

    name: str
    sent: int
    replies: int
    bad: int
    seconds: float
    cpu_s: float

    def rate(self) -> float:
        """Replies a second of wall time."""
        return self.replies / self.seconds

    def __str__(self) -> str:
        lost = 100 * (1 - self.replies / max(self.sent, 1))
        per_cpu = f"{self.replies / self.cpu_s:11,.0f}" if self.cpu_s > 0 else "          ?"
        each = f"{1e6 * self.cpu_s / max(self.replies, 1):9.1f}"
        return f"{self.name:<42}{self.rate():11,.0f}{per_cpu}{each}{lost:9.2f} %{self.bad:6d}"

    def against(self, other: Figure) -> str:
        """What this is of the other, by the clock on the wall and by processor time."""
        ratio, per_cpu = self.rate() / other.rate(), None
        if self.cpu_s > 0 and other.cpu_s > 0:
            per_cpu = (self.replies / self.cpu_s) / (other.replies / other.cpu_s)
        shown = "" if per_cpu is None else f", {per_cpu:.2f} for the same processor time"
        return f"{self.name}: {ratio:.2f} of {other.name}'s rate{shown}"


def cpu_seconds(pids: Sequence[int]) -> float:
    """User and system time of these processes so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


async def load(name: str, tool: Path, port: int, pids: Sequence[int], options: argparse.Namespace) -> Figure:
    """Run the generator against a port and read its figures."""
    before = cpu_seconds(pids)
    arguments = ["127.0.0.1", port, options.seconds, MAX_REQUESTS, options.clients, WINDOW, 20]
    process = await asyncio.create_subprocess_exec(tool, *map(str, arguments), stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), options.seconds + 30)
    sent, replies, bad, seconds = output.split()
    cpu_s = cpu_seconds(pids) - before
    return Figure(name, int(sent), int(replies), int(bad), float(seconds), cpu_s)


def serve_state() -> ServeState:
    """Stratum 1, good for an hour."""
    now = time.monotonic_ns()
    return ServeState(
        synchronized=True,
        leap=Leap.NONE,
        stratum=1,
        reference_id=b"BNCH",
        root_delay=Duration(0),
        root_dispersion=Duration.from_ns(1000),
        dispersion_rate=15e-6,
        at=Instant.from_ns(now),
        valid_until=Instant.from_ns(now + 3600 * 10**9),
        reference_time=0,
        precision=-23,
        serving_map=SYSTEM_MAP,
        epoch=0,
    )


async def ours(workers: int, tool: Path, options: argparse.Namespace, limit: RateLimit | None = None) -> Figure:
    """Our server, on a free port of every address."""
    settings = ServerSettings(allow=ALLOW, rate_limit=limit)
    service: WorkerService | LoopService = open_service(settings, [Endpoint("0.0.0.0", 0)], workers)
    try:
        service.publish(serve_state())
        if isinstance(service, WorkerService):
            await asyncio.wait_for(service.ready(), 30)
            pids = [pid for pid in service.pids if pid is not None]
            plural = "s" if workers > 1 else ""
            name = f"timesync, {workers} worker{plural}" + (", rate limit on" if limit else "")
        else:
            pids = [os.getpid()]
            name = "timesync, inside the event loop"
        return await load(name, tool, service.addresses[0].port, pids, options)
    finally:
        service.close()


def free_port() -> int:
    """A UDP port that was free a moment ago."""
    import socket

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def chronyd(path: str, tool: Path, options: argparse.Namespace, directory: Path) -> Figure:
    """Debian's chronyd, one process, never touching the clock (-x)."""
    port = free_port()
    configuration = directory / "chrony.conf"
    configuration.write_text(
        f"port {port}\nbindaddress 127.0.0.1\nlocal stratum 1\nallow 127.0.0.0/8\ncmdport 0\n"
        f"bindcmdaddress /\npidfile {directory}/chronyd.pid\n"
    )
    log = directory / "chronyd.log"
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            path, "-x", "-d", "-f", str(configuration), *(["-u", "root"] if os.geteuid() == 0 else []),
            stdout=sink, stderr=sink,
        )  # fmt: skip
    try:
        # Until it listens, the generator loses its first windows, 20 ms each; one short run waits it out.
        for _ in range(100):
            probe = argparse.Namespace(seconds=0.1, clients=1)
            if (await load("probe", tool, port, [process.pid], probe)).replies:
                break
            if process.returncode is not None:
                raise SystemExit(f"chronyd ended: {log.read_text()}")
        return await load(f"{version_of(path)}, 1 process", tool, port, [process.pid], options)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def version_of(path: str) -> str:
    """As "chronyd 4.3"; it says "chronyd (chrony) version 4.3 (+CMDMON ...)"."""
    words = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return f"chronyd {words[words.index('version') + 1]}"


def find_chronyd(given: str | None) -> str | None:
    """The given path, or the system's."""
    return given or shutil.which("chronyd", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def cpu_model() -> str:
    """As the kernel names it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "Model")):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def compile_load(directory: Path) -> Path:
    """The load generator."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise SystemExit("server_rate: needs a C compiler for the load generator (apt-get install gcc)")
    tool = directory / "ntp_load"
    subprocess.run([compiler, "-O2", "-o", str(tool), str(LOAD_SOURCE)], check=True)
    return tool


async def run(options: argparse.Namespace) -> None:
    """All figures, one after another on the same machine."""
    with tempfile.TemporaryDirectory(prefix="timesync-bench-") as name:
        directory = Path(name)
        tool = compile_load(directory)
        print(f"CPU: {cpu_model()}; {len(os.sched_getaffinity(0))} processors, shared by server and load")
        print(f"kernel {platform.release()}, Python {platform.python_version()}, load average {os.getloadavg()[0]:.2f}")
        print("(a shared machine: other programs and other guests move these figures)\n")
        print(f"{'':<42}{'replies/s':>11}{'/CPU s':>11}{'us each':>9}{'lost':>11}{'bad':>6}")
        generous = RateLimit(interval=Duration.from_ns(1000), burst=1_000_000)
        figures = []
        for workers, limit in ((1, None), (1, generous), (2, None), (0, None)):
            figures.append(await ours(workers, tool, options, limit))
            print(figures[-1], flush=True)
        path = find_chronyd(options.chronyd)
        if path is None:
            print("no chronyd: apt-get install chrony, or give --chronyd PATH")
            return
        other = await chronyd(path, tool, options, directory)
        print(other)
        print()
        for figure in figures:
            print(figure.against(other))


def main(arguments: Sequence[str]) -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0, help="length of each run, at most 30")
    parser.add_argument("--clients", type=int, default=16, help="loopback addresses that ask, 1 to 64")
    parser.add_argument("--chronyd", help="path of chronyd; default: the system's")
    options = parser.parse_args(arguments)
    if not 0.1 <= options.seconds <= 30 or not 1 <= options.clients <= 64:
        parser.error("--seconds is 0.1 to 30, --clients 1 to 64")
    asyncio.run(run(options))


if __name__ == "__main__":
    main(sys.argv[1:])
