"""Debian's ptp4l, tshark's second opinion, and wires between namespaces, for the PTP interop tests.

All namespaces share one CLOCK_REALTIME. A ptp4l with software timestamps that steers nothing gives out that clock, and
where it follows it prints how far another's time is from it: in truth nothing, so what it prints is its own error.
"""

from __future__ import annotations

import itertools
import math
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import fmean, median
from typing import Any

from interop_sntp import SntpClient
from interop_support import PEERS, Node, Timesync, _ip, peer_environment, running, wait_until

CONFIGS = PEERS / "root/usr/share/doc/linuxptp/configs"
INSTALLED_CONFIGS = Path("/usr/share/doc/linuxptp/configs")
TAI_UTC = 37
"""Since 2017; both sides of a test know it, and none of these tests is about it."""

LIMIT_NS = 1_000

_COUNTER = itertools.count()
_OFFSET = re.compile(r"^ptp4l\[([\d.]+)\]: master offset +(-?\d+) s\d freq +\S+ path delay +(-?\d+)$", re.MULTILINE)
_STATE = re.compile(r"^ptp4l\[[\d.]+\]: port (\d+)(?: \([^)]*\))?: (\w+) to (\w+) on", re.MULTILINE)
_CHOSEN = re.compile(r"selected (?:best master|local) clock (\S+)")
_EXPERT_WARNING = 0x600000


# -- wires


@contextmanager
def star(spokes: int) -> Iterator[tuple[Node, list[Node]]]:
    """A hub, and spokes each on a wire of its own to it; gone afterwards.

    The hub has the interfaces ``eth0``, ``eth1`` and so on, a spoke has ``eth0``. There is no switch: peer delay
    and the addresses that no switch forwards work as on a cable.
    """
    tag = f"tp{os.getpid()}x{next(_COUNTER)}"
    hub = Node(f"{tag}h", hub_address(0))
    nodes = [Node(f"{tag}s{index}", f"198.51.100.{16 * index + 2}") for index in range(spokes)]
    with ExitStack() as stack:
        for node in (hub, *nodes):
            _ip("netns", "add", node.name)
            stack.callback(_ip, "netns", "delete", node.name)
            _ip("-n", node.name, "link", "set", "lo", "up")
        for index, node in enumerate(nodes):
            name = f"eth{index}"
            _ip("-n", hub.name, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", node.name)
            _plug(hub, name, index, 1)
            _plug(node, "eth0", index, 2)
        yield hub, nodes


def hub_address(spoke: int) -> str:
    """The hub's address on the wire to a spoke."""
    return f"198.51.100.{16 * spoke + 1}"


def _plug(node: Node, interface: str, wire: int, end: int) -> None:
    """Addresses; without waiting whether another has the same."""
    _ip("-n", node.name, "address", "add", f"198.51.100.{16 * wire + end}/28", "dev", interface)
    _ip("-n", node.name, "link", "set", interface, "addrgenmode", "none")
    _ip("-n", node.name, "address", "add", f"fe80::{wire + 1:x}:{end:x}/64", "dev", interface, "nodad")
    _ip("-n", node.name, "link", "set", interface, "up")


# -- ptp4l


class Ptp4l:
    """A running ptp4l."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")

    def state(self, port: int = 1) -> str:
        """The present state of a port, in its words."""
        states = [after for number, _, after in _STATE.findall(self.log()) if int(number) == port]
        return states[-1] if states else "INITIALIZING"

    def follows(self) -> str:
        """The grandmaster that it chose last: an identity such as ``aabbcc.fffe.ddeeff``; empty before the first."""
        chosen = _CHOSEN.findall(self.log())
        return chosen[-1] if chosen else ""

    def offsets(self) -> list[tuple[float, float]]:
        """(CLOCK_MONOTONIC seconds, ns from the parent's time): its own clock minus the parent's, as it prints it."""
        return [(float(at), float(offset)) for at, offset, _ in _OFFSET.findall(self.log())]

    def measured(self, since_s: float) -> list[float]:
        """The offsets from a moment of CLOCK_MONOTONIC on."""
        return [offset for at, offset in self.offsets() if at >= since_s]


@contextmanager
def ptp4l(
    node: Node,
    directory: Path,
    *options: str,
    config: str | None = None,
    interfaces: Sequence[str] = ("eth0",),
    servers: Sequence[str] = (),
    program: str | Path = "ptp4l",
) -> Iterator[Ptp4l]:
    """Debian's ptp4l with software timestamps; it steers no clock.

    ``config`` is the name of a file that comes with it; options are those of the command line and win over it. Of
    ``servers`` it asks unicast messages. ``program`` is another one than this machine's release has.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "ptp4l.log"
    safe = ["--free_running", "1", "--time_stamping", "software"]
    sockets = ["--uds_address", str(directory / "uds")]
    # One line a second; a stamp that is late on a busy machine is no fault.
    quiet = [
        "--summary_interval",
        "-8",
        "--freq_est_interval",
        "0",
        "--tx_timestamp_timeout",
        "200",
        "--fault_reset_interval",
        "0",
    ]
    file = [] if config is None else ["-f", str(shipped(config))]
    if servers:
        # A table of servers can be in a file only, and there is one file only.
        text = "[global]\n" if config is None else shipped(config).read_text()
        table = ["[unicast_master_table]", "table_id 1", "logQueryInterval 0", *(f"UDPv4 {one}" for one in servers)]
        tables = [f"[{name}]\nunicast_master_table 1" for name in interfaces]
        (directory / "ptp4l.conf").write_text("\n".join([text, *table, *tables, ""]))
        file = ["-f", str(directory / "ptp4l.conf")]
    ports = [word for name in interfaces for word in ("-i", name)]
    command = node.command([program, *file, *ports, "-m", "-q", *safe, *sockets, *quiet, *options])
    with running(command, log, peer_environment()) as process:
        daemon = Ptp4l(log)

        def runs() -> bool:
            assert process.poll() is None, f"ptp4l ended:\n{daemon.log()}"
            return "INITIALIZING to" in daemon.log()

        wait_until(runs, 10, "ptp4l runs", daemon.log)
        yield daemon


def shipped(config: str) -> Path:
    """A configuration that Debian ships with it."""
    found = next((folder / config for folder in (CONFIGS, INSTALLED_CONFIGS) if (folder / config).exists()), None)
    assert found is not None, f"{config} of linuxptp is not there: run tests/interop/install-peers.sh"
    return found


# -- ours


def port_of(daemon: Timesync, index: int = 0) -> dict[str, Any]:
    """One of its ports in ``timesync ports --json``; empty while there is none."""
    ports = daemon.ask("ports").get("ports", [])
    return ports[index] if len(ports) > index else {}


def wait_for_state(daemon: Timesync, state: str, within_s: float, index: int = 0) -> dict[str, Any]:
    """Wait until a port of ours is in a state; returns the port."""

    def there() -> dict[str, Any] | None:
        port = port_of(daemon, index)
        return port if port.get("state") == state else None

    found: dict[str, Any] = wait_until(there, within_s, f"our port {index + 1} is in {state}", daemon.log)
    return found


def watch(judge: SntpClient, seconds: float, tell: Callable[[], str]) -> list[float]:
    """How far the time that our daemon serves is from the true one, ns, twice a second."""
    found = []
    started = time.monotonic()
    while (at := time.monotonic() - started) < seconds:
        answer = judge.best_interleaved(12)
        assert answer is not None, tell()
        found.append(answer.offset_ns)
        # The pace of the judge, not a wait for something to happen.
        time.sleep(max(0.0, started + at + 0.5 - time.monotonic()))
    return found


def settle(judge: SntpClient, within_ns: float, within_s: float, tell: Callable[[], str]) -> float:
    """Wait until the served time has been right for three seconds; returns how long that took."""
    started = time.monotonic()

    def right() -> bool:
        return max(map(abs, watch(judge, 3, tell))) < within_ns

    wait_until(right, within_s, f"the served time is within {within_ns:.0f} ns", tell)
    return time.monotonic() - started


def usual(values: Sequence[float]) -> list[float]:
    """Nine tenths of single measurements, those nearest to their median.

    A busy machine holds a message up by tens of microseconds now and then, ptp4l's as well as ours.
    """
    middle = median(values)
    return sorted(values, key=lambda value: abs(value - middle))[: math.ceil(0.9 * len(values))]


def rms(values: Sequence[float]) -> float:
    """Root of the mean of squares."""
    return fmean(value * value for value in values) ** 0.5


def words(values: Sequence[float]) -> str:
    """A row of offsets in ns."""
    worst = max(values, key=abs)
    return f"rms {rms(values):.0f} ns, mean {fmean(values):+.0f} ns, worst {worst:+.0f} ns of {len(values)}"


# -- tshark


class Capture:
    """What went over an interface, as tshark reads it."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def read(self, *words: str) -> list[list[str]]:
        """Lines of ``tshark -T fields``, split."""
        command = ["tshark", "-r", str(self._file), "-T", "fields", "-E", "separator=|", *words]
        done = subprocess.run(command, env=peer_environment(), check=False, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return [line.split("|") for line in done.stdout.splitlines()]

    def types(self, mac: str) -> set[int]:
        """Message types that were sent from this address."""
        # An ICMP error quotes the other side's message.
        rows = self.read("-Y", f"ptp && !icmp && !icmpv6 && eth.src == {mac}", "-e", "ptp.v2.messagetype")
        return {int(kind, 0) for (kind,) in rows}

    def wrong(self, mac: str) -> list[list[str]]:
        """What tshark finds wrong with messages from this address: all malformed ones, and warnings and errors."""
        condition = f"eth.src == {mac} && ptp && (_ws.malformed || _ws.expert.severity >= {_EXPERT_WARNING})"
        return self.read("-Y", condition, "-e", "frame.number", "-e", "_ws.col.Info", "-e", "_ws.expert.message")


@contextmanager
def capture(node: Node, directory: Path, interface: str = "eth0") -> Iterator[Capture]:
    """Everything on an interface, from now on; readable after the end."""
    directory.mkdir(parents=True, exist_ok=True)
    file, log = directory / "capture.pcap", directory / "tshark.log"
    # As root tshark would give up the right to write here; -F pcap needs no later rewriting.
    command = node.command(["tshark", "-i", interface, "-w", str(file), "-F", "pcap", "-q"])
    with running(command, log, peer_environment()) as process:

        def listens() -> bool:
            assert process.poll() is None, f"tshark ended:\n{log.read_text(errors='replace')}"
            return file.exists() and file.stat().st_size >= 24

        wait_until(listens, 15, "tshark listens", lambda: log.read_text(errors="replace"))
        yield Capture(file)


def mac_of(node: Node, interface: str = "eth0") -> str:
    """The MAC address of an interface."""
    return node.peer("cat", f"/sys/class/net/{interface}/address").stdout.strip()
