"""Two machines with one PTP card each: simulated ones, and the two ends of a veth pair in two network namespaces."""

from __future__ import annotations

import asyncio
import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

from host_benches import CLOCK, TABLE, WAIT_S, veth_missing

from timesync.base.measure import Stamp
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.daemon.linux import LinuxHost, VirtualSpec
from timesync.host import Clock
from timesync.runtime.ptp_sockets import LinuxPtpSocket, open_ptp
from timesync.runtime.stamping import StampClock
from timesync.runtime.virtual import VirtualSettings
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.loop import run
from timesync.sim.oscillator import Oscillator, Quartz
from timesync.sim.ptp_network import PtpSegment
from timesync.sim.world import World
from timesync.transport import PtpHandler, PtpPortSpec, PtpSocket, TransportName
from timesync_drivers.netstamp import hold_stamps

__all__ = ["BENCHES", "CLOCK", "INTERFACE", "PtpBench", "Recorder", "VethBench", "sync", "veth_bench", "veth_missing"]

End = Literal["a", "b"]
INTERFACE = "port"
T = TypeVar("T")
_CLONE_NEWNET = 0x40000000


class PtpBench(Protocol):
    """Two machines and a cable."""

    @property
    def clock(self) -> Clock:
        """The clock that all stamps are of."""
        ...

    def open(self, end: End, handler: PtpHandler, spec: PtpPortSpec) -> PtpSocket:
        """A port of one machine; ``INTERFACE`` stands for its card."""
        ...

    def address(self, end: End, transport: TransportName) -> str:
        """The unicast address of a machine's card."""
        ...

    def cut(self, *, connected: bool) -> None:
        """Pull out the cable, or plug it in."""
        ...

    def remove(self) -> None:
        """Take the card of ``b`` out of its machine."""
        ...

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run on a loop of the machines' kind."""
        ...


class Recorder:
    """A port's handler that notes what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Stamp | None, str]] = []
        self.sent: list[tuple[int, Stamp | None]] = []
        self.links: list[bool] = []
        self.errors: list[OSError] = []
        self._changed = asyncio.Event()

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        self.messages.append((data, stamp, source))
        self._changed.set()

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        self.sent.append((token, stamp))
        self._changed.set()

    def on_link(self, *, up: bool) -> None:
        self.links.append(up)
        self._changed.set()

    def on_error(self, error: OSError) -> None:
        self.errors.append(error)
        self._changed.set()

    def data(self) -> list[bytes]:
        return [data for data, _, _ in self.messages]

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def sync(
    sequence: int, *, kind: int = 0, domain: int = 0, sdo_id: int = 0, port: int = 1, flags: int = 0x0200
) -> bytes:
    """A message of 44 octets, laid out by hand (IEEE 1588-2019, tables 35 and 44)."""
    head = bytes([sdo_id >> 8 << 4 | kind, 0x12, 0, 44, domain, sdo_id & 0xFF]) + flags.to_bytes(2, "big")
    identity = bytes.fromhex("020000fffe000001") + port.to_bytes(2, "big")
    return head + bytes(8) + bytes(4) + identity + sequence.to_bytes(2, "big") + b"\x00\x7f" + bytes(10)


class SimPtpBench:
    """Everything simulated."""

    def __init__(self) -> None:
        self.world = World(seed=5)
        oscillator = Oscillator(self.world, "bench", Quartz(frequency_error=Rate.from_ppm(3)))
        self._clock = SimClock(self.world, oscillator, TABLE, ClockModel(offset=Duration.from_s(0.01)), CLOCK)
        segment = PtpSegment(self.world)
        self._cards = {name: segment.card(name, interface=_named(name)) for name in ("a", "b")}

    @property
    def clock(self) -> Clock:
        return self._clock

    def open(self, end: End, handler: PtpHandler, spec: PtpPortSpec) -> PtpSocket:
        return self._cards[end].open_ptp(_for_end(end, spec), self._clock, handler)

    def address(self, end: End, transport: TransportName) -> str:
        return self._cards[end].address(transport)

    def cut(self, *, connected: bool) -> None:
        for card in self._cards.values():
            card.up = connected

    def remove(self) -> None:
        self._cards["b"].remove()

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        return run(self.world, main)


class VethBench:
    """Both ends of a veth pair, in namespaces of their own; sockets stay where they were opened."""

    def __init__(self, state: Path, tag: str) -> None:
        host = LinuxHost([VirtualSpec(CLOCK, VirtualSettings(offset=Duration.from_s(0.01)))], TABLE, state)
        self._clock: StampClock = host.clocks[CLOCK]
        self._host = host
        self.namespaces = {"a": f"tspa{tag}", "b": f"tspb{tag}"}
        self._macs = {end: self.read(end, f"/sys/class/net/{_named(end)}/address") for end in self.namespaces}

    @property
    def clock(self) -> Clock:
        return self._clock

    def open(self, end: End, handler: PtpHandler, spec: PtpPortSpec) -> LinuxPtpSocket:
        with self.inside(end):
            return open_ptp(asyncio.get_running_loop(), _for_end(end, spec), self._clock, handler)

    def address(self, end: End, transport: TransportName) -> str:
        number = 1 if end == "a" else 2
        return {"udp4": f"198.18.77.{number}", "udp6": f"fe80::{number}", "l2": self._macs[end]}[transport]

    def cut(self, *, connected: bool) -> None:
        self.ip("b", "link", "set", _named("b"), "up" if connected else "down")

    def remove(self) -> None:
        self.ip("b", "link", "delete", _named("b"))

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        with asyncio.Runner() as runner:
            return runner.run(main)

    def ip(self, end: str, *arguments: str) -> None:
        _ip("-n", self.namespaces[end], *arguments)

    def read(self, end: str, path: str) -> str:
        command = ["ip", "netns", "exec", self.namespaces[end], "cat", path]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    @contextmanager
    def inside(self, end: str) -> Iterator[None]:
        """Open sockets in the namespace of one machine."""
        with (
            open("/proc/thread-self/ns/net") as here,  # noqa: PTH123 - a handle of the namespace, not a file
            open(f"/run/netns/{self.namespaces[end]}") as there,  # noqa: PTH123 - as above
        ):
            _enter(there.fileno())
            try:
                yield
            finally:
                _enter(here.fileno())


@contextmanager
def sim_bench(_: Path) -> Iterator[PtpBench]:
    """Simulated machines."""
    yield SimPtpBench()


@contextmanager
def veth_bench(state: Path) -> Iterator[VethBench]:
    """Two namespaces of this machine."""
    with ExitStack() as stack:
        tag = str(os.getpid())
        names = {"a": f"tspa{tag}", "b": f"tspb{tag}"}
        for name in names.values():
            _ip("netns", "add", name)
            stack.callback(_ip, "netns", "delete", name)
        # In both namespaces from the start, so that nothing of the machine's own ever sees them.
        pair = ["type", "veth", "peer", "name", _named("b"), "netns", names["b"]]
        _ip("-n", names["a"], "link", "add", _named("a"), *pair)
        for number, (end, name) in enumerate(names.items(), 1):
            _ip("-n", name, "link", "set", _named(end), "addrgenmode", "none")
            _ip("-n", name, "link", "set", _named(end), "up")
            _ip("-n", name, "address", "add", f"198.18.77.{number}/24", "dev", _named(end))
            _ip("-n", name, "address", "add", f"fe80::{number}/64", "dev", _named(end), "nodad")
        stack.enter_context(hold_stamps())
        yield VethBench(state, tag)


BENCHES: dict[str, Callable[[Path], Any]] = {"sim": sim_bench, "veth": veth_bench}


def _named(end: str) -> str:
    """The name of a card: different, because one process is on both machines."""
    return f"{INTERFACE}{end}"


def _for_end(end: End, spec: PtpPortSpec) -> PtpPortSpec:
    return replace(spec, interface=_named(end)) if spec.interface == INTERFACE else spec


def _enter(namespace: int) -> None:
    """Move this thread into a network namespace (setns(2), which Python has from 3.12 on)."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stderr)
        done.check_returncode()
