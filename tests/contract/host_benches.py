"""The machines that the contract is tried on: a simulated one, this one on loopback, this one over a veth pair."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager, suppress
from importlib import resources
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any, Protocol, TypeVar

from timesync.base.ids import ClockId, Endpoint
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.daemon.linux import LinuxHost, VirtualSpec
from timesync.host import Host
from timesync.runtime.virtual import VirtualSettings
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.host import SimHost
from timesync.sim.loop import run
from timesync.sim.network import Datagram, Network, SimSocket
from timesync.sim.oscillator import Oscillator, Quartz
from timesync.sim.world import World
from timesync_drivers.netstamp import hold_stamps

CLOCK = ClockId("bench")
WAIT_S = 5.0
TABLE = LeapTable.parse((resources.files("timesync_profiles") / "leap-seconds.list").read_text())
ECHO = "ECHO "
T = TypeVar("T")


class Bench(Protocol):
    """A host with a network around it.

    Attributes:
        host: The host under test; its clock ``CLOCK`` may be steered.
        echo: Sends back what it is sent, with ``ECHO`` before it.
        silent: Takes what it is sent and says nothing.
        refusing: Nobody listens there.
        absent: No host has that address of a network that is there; None where there is no such network.
        own_address: Where a service of the host may listen.
    """

    host: Host
    echo: Endpoint
    silent: Endpoint
    refusing: Endpoint
    absent: Endpoint | None
    own_address: str

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run on a loop of the host's kind."""
        ...

    def raw_ns(self) -> int:
        """A clock that nothing steers; monotonic time follows the system clock's frequency."""
        ...


class SimBench:
    """Everything simulated."""

    def __init__(self) -> None:
        self.world = World(seed=11)
        network = Network(self.world)
        node = network.node("appliance", "192.0.2.1")
        self.absent: Endpoint | None = None
        self.own_address = "192.0.2.1"
        remote = network.node("remote", "192.0.2.2")
        network.dns.set("localhost", "127.0.0.1")
        oscillator = Oscillator(self.world, "appliance", Quartz(frequency_error=Rate.from_ppm(3)))
        model = ClockModel(max_frequency=Rate.from_ppm(100_000))
        self._system = SimClock(self.world, oscillator, TABLE, model, CLOCK)
        self.host: Host = SimHost(self.world, node, [self._system])
        self.echo = Endpoint("192.0.2.2", _Listener(self.world).listen(remote, answers=True))
        self.silent = Endpoint("192.0.2.2", _Listener(self.world).listen(remote, answers=False))
        self.refusing = Endpoint("192.0.2.2", 9)

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """In simulated time."""
        return run(self.world, main, self._system)

    def raw_ns(self) -> int:
        """True time."""
        return self.world.elapsed.ns()


class _Listener:
    """An echo server, or a silent one, on a simulated node."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._socket: SimSocket | None = None
        self._answers = False

    def listen(self, node: Any, *, answers: bool) -> int:
        self._answers = answers
        self._socket = node.bind(self, node.addresses[0])
        return self._socket.local.port

    def on_datagram(self, datagram: Datagram) -> None:
        if self._answers and self._socket is not None:
            self._socket.send(ECHO.encode() + datagram.data, datagram.source)

    def on_refused(self, target: Endpoint) -> None:
        """The exchange was closed before its answer came."""


class LinuxBench:
    """This machine, with a remote made of real sockets."""

    def __init__(self, state: Path, own_address: str, remote: str, ports: tuple[int, int, int]) -> None:
        settings = VirtualSettings(offset=Duration.from_s(0.01))
        self.host: Host = LinuxHost([VirtualSpec(CLOCK, settings)], TABLE, state)
        self.echo, self.silent, self.refusing = (Endpoint(remote, port) for port in ports)
        self.absent: Endpoint | None = None
        self.own_address = own_address

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """In real time; nothing waits longer than it must."""
        with asyncio.Runner() as runner:
            return runner.run(main)

    def raw_ns(self) -> int:
        """CLOCK_MONOTONIC_RAW."""
        return time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


_REMOTE = """
import select, socket, sys
def bound():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind((sys.argv[1], 0))
    return udp
echo, silent, refusing = bound(), bound(), bound()
ports = [udp.getsockname()[1] for udp in (echo, silent, refusing)]
refusing.close()
print(*ports, flush=True)
while True:
    ready, _, _ = select.select([echo, sys.stdin], [], [])
    if sys.stdin in ready:
        break
    data, source = echo.recvfrom(4096)
    echo.sendto(b"ECHO " + data, source)
"""


@contextmanager
def sim_bench(_: Path) -> Iterator[Bench]:
    """A simulated machine."""
    yield SimBench()


@contextmanager
def loopback_bench(state: Path) -> Iterator[Bench]:
    """This machine, with the remote in another process on loopback."""
    with _remote([], "127.0.0.1") as ports, hold_stamps():
        yield LinuxBench(state, "127.0.0.1", "127.0.0.1", ports)


@contextmanager
def veth_bench(state: Path) -> Iterator[Bench]:
    """This machine, with the remote in a network namespace at the other end of a veth pair."""
    with ExitStack() as stack:
        tag = f"{os.getpid() % 100_000}"
        namespace, here, there = f"tsc{tag}", f"tsa{tag}", f"tsb{tag}"
        # Addresses for tests (RFC 2544), one pair a process so that parallel tests do not meet.
        network = IPv4Address("198.18.0.0") + os.getpid() % 32_768 * 4
        ours, theirs = str(network + 1), str(network + 2)
        _ip("netns", "add", namespace)
        stack.callback(_ip, "netns", "delete", namespace)
        _ip("link", "add", here, "type", "veth", "peer", "name", there, "netns", namespace)
        # By name and at once: with its namespace it would go too, but only some time later.
        stack.callback(_ip, "link", "delete", here)
        _ip("address", "add", f"{ours}/30", "dev", here)
        _ip("link", "set", here, "up")
        absent = str(IPv4Address("198.19.0.0") + os.getpid() % 65_536)
        _ip("route", "add", f"{absent}/32", "dev", here)
        _ip("-n", namespace, "address", "add", f"{theirs}/30", "dev", there)
        _ip("-n", namespace, "link", "set", there, "up")
        ports = stack.enter_context(_remote(["ip", "netns", "exec", namespace], theirs))
        stack.enter_context(hold_stamps())
        _wait_for_answer(theirs, ports[0])
        bench = LinuxBench(state, ours, theirs, ports)
        bench.absent = Endpoint(absent, 123)
        yield bench


def veth_missing() -> str | None:
    """Why there can be no veth pair here; None if there can."""
    if os.geteuid() != 0:
        return "making a network namespace needs root"
    if shutil.which("ip") is None:
        return "the program ip is not installed"
    probe = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return None if probe.returncode == 0 else "this machine does not let us make a network namespace"


BENCHES: dict[str, Callable[[Path], Any]] = {
    "sim": sim_bench,
    "loopback": loopback_bench,
    "veth": veth_bench,
}


@contextmanager
def _remote(prefix: list[str], address: str) -> Iterator[tuple[int, int, int]]:
    command = [*prefix, sys.executable, "-c", _REMOTE, address]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            echo, silent, refusing = (int(word) for word in process.stdout.readline().split())
            yield echo, silent, refusing
        finally:
            process.stdin.close()
            process.wait(WAIT_S)


def _wait_for_answer(address: str, port: int) -> None:
    """The kernel drops what is sent over a new link until it has noticed that the link is up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.connect((address, port))
        udp.settimeout(0.05)
        for _ in range(100):
            with suppress(TimeoutError):
                udp.send(b"up?")
                udp.recv(100)
                return
    raise AssertionError("nothing comes through the veth pair")


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
