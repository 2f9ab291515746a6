"""Network namespaces, other people's NTP daemons in them, and ours.

Every process that is started here has lost CAP_SYS_TIME: no daemon, whatever it thinks, can move the clock that all
namespaces of this machine share.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(
    os.environ.get("TIMESYNC_PEERS")
    or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "timesync" / "peers"
)
ROUGHLY = PEERS / "roughly-0.3.0" / "bin" / "python"
TRIPLET = f"{os.uname().machine}-linux-gnu"
REQUIRED = os.environ.get("TIMESYNC_INTEROP_REQUIRED") == "1"
"""Set by ``bin/test interop``: what is missing fails then, rather than being skipped."""

_CLONE_NEWNET = 0x40000000
_LIBC = ctypes.CDLL(None, use_errno=True)
_WITHOUT_CLOCK = ["setpriv", "--bounding-set=-sys_time", "--inh-caps=-sys_time", "--"]
_COUNTER = itertools.count()


@functools.cache
def missing() -> str | None:
    """Why the interop tests cannot run here; None if they can."""
    if os.geteuid() != 0:
        return "interop tests make network namespaces, which needs root"
    for name in ("ip", "setpriv"):
        if shutil.which(name) is None:
            return f"the program {name} is not installed"
    for name in (
        "chronyd",
        "chronyc",
        "ntpd",
        "ntpq",
        "ntpdate",
        "ntpdig",
        "gpsd",
        "gpsdctl",
        "ptp4l",
        "tshark",
        "mosquitto",
    ):
        if shutil.which(name, path=peer_environment()["PATH"]) is None:
            return f"{name} is not there: run tests/interop/install-peers.sh as root, or bin/test interop"
    if not ROUGHLY.exists():
        return "roughly is not there: run tests/interop/install-peers.sh, or bin/test interop"
    probe = subprocess.run(["unshare", "--net", "true"], check=False, capture_output=True)
    return None if probe.returncode == 0 else "this machine does not let us make a network namespace"


@functools.cache
def peer_environment() -> dict[str, str]:
    """An environment in which the unpacked programs find themselves, their libraries and modules."""
    root = PEERS / "root"
    roots = (root, PEERS / "mosquitto-1" / "root")
    programs = [one / where for one in roots for where in ("usr/sbin", "usr/bin", "sbin", "bin")]
    libraries = [one / where / TRIPLET for one in roots for where in ("usr/lib", "lib")]
    path = ":".join([*map(str, programs), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    return {
        "PATH": path,
        "LD_LIBRARY_PATH": ":".join(map(str, libraries)),
        "PYTHONPATH": str(root / "usr/lib/python3/dist-packages"),
        "LC_ALL": "C",
    }


def our_environment() -> dict[str, str]:
    """For our own commands, run from this tree."""
    paths = [ROOT, ROOT / "drivers", ROOT / "profiles"]
    return {**os.environ, "PYTHONPATH": ":".join(map(str, paths)), "LC_ALL": "C.UTF-8"}


def wait_until(condition: Callable[[], Any], within_s: float, what: str, tell: Callable[[], str] = lambda: "") -> Any:
    """Ask again and again until the answer is true; returns it. Fails with ``what`` after the time is up."""
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}\n{tell()}")
        time.sleep(0.1)


@dataclass(frozen=True)
class Node:
    """A network namespace with one address.

    Attributes:
        name: Of the namespace.
        address: Its IPv4 address on the common link.
    """

    name: str
    address: str

    def command(self, arguments: Sequence[str | Path], *, clock: bool = False) -> list[str]:
        """A command line that runs inside; without the right to set clocks unless ``clock``."""
        return ["ip", "netns", "exec", self.name, *([] if clock else _WITHOUT_CLOCK), *map(str, arguments)]

    def peer(self, *arguments: str | Path, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program of the peers' to its end."""
        return subprocess.run(
            self.command(arguments),
            env=peer_environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Sockets opened by this thread meanwhile belong to the namespace."""
        with Path("/proc/thread-self/ns/net").open("rb") as before, Path("/run/netns", self.name).open("rb") as wanted:
            _setns(wanted.fileno())
            try:
                yield
            finally:
                _setns(before.fileno())


def _setns(descriptor: int) -> None:
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def lan(size: int) -> Iterator[list[Node]]:
    """Namespaces on one Ethernet: two joined by a veth pair, more by a bridge; gone afterwards."""
    tag = f"ti{os.getpid()}x{next(_COUNTER)}"
    nodes = [Node(f"{tag}n{index}", f"198.51.100.{index + 1}") for index in range(size)]
    with ExitStack() as stack:
        for node in nodes:
            _ip("netns", "add", node.name)
            stack.callback(_ip, "netns", "delete", node.name)
            _ip("-n", node.name, "link", "set", "lo", "up")
        if size == 2:
            first, second = nodes
            _ip("-n", first.name, "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", second.name)
        else:
            switch = f"{tag}s"
            _ip("netns", "add", switch)
            stack.callback(_ip, "netns", "delete", switch)
            _ip("-n", switch, "link", "add", "br0", "type", "bridge")
            _ip("-n", switch, "link", "set", "br0", "up")
            for index, node in enumerate(nodes):
                port = f"p{index}"
                _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", node.name)
                _ip("-n", switch, "link", "set", port, "master", "br0", "up")
        for node in nodes:
            _ip("-n", node.name, "address", "add", f"{node.address}/24", "dev", "eth0")
            _ip("-n", node.name, "link", "set", "eth0", "up")
        yield nodes


def _ip(*arguments: str) -> None:
    done = subprocess.run(["ip", *arguments], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")


@contextmanager
def running(command: Sequence[str], log: Path, environment: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """A daemon, ended by SIGTERM afterwards; what it says goes to ``log``."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, env=environment
        ) as process,
    ):
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()


# -- chronyd


class Chronyd:
    """A running chronyd."""

    def __init__(self, node: Node, socket: Path, log: Path) -> None:
        self._node = node
        self._socket = socket
        self._log = log

    def ask(self, *words: str) -> str:
        """What chronyc prints; empty while the daemon does not answer yet."""
        done = self._node.peer("chronyc", "-n", "-h", self._socket, *words)
        return done.stdout if done.returncode == 0 else ""

    def source(self) -> list[str]:
        """The fields of its only source in ``chronyc -c sources``; the second is its state."""
        lines = self.ask("-c", "sources").splitlines()
        return lines[0].split(",") if lines else []

    def selected(self) -> bool:
        """Whether it follows its only source."""
        fields = self.source()
        return len(fields) > 1 and fields[1] == "*"

    def ntpdata(self) -> dict[str, str]:
        """``chronyc ntpdata`` of its only source."""
        pairs = (line.split(":", 1) for line in self.ask("ntpdata").splitlines() if ":" in line)
        return {name.strip(): value.strip() for name, value in pairs}

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")


@contextmanager
def chronyd(node: Node, directory: Path, *lines: str) -> Iterator[Chronyd]:
    """Debian's chronyd with these lines of configuration; ``-x``: it never touches the clock."""
    socket = directory / "run" / "chronyd.sock"
    socket.parent.mkdir(mode=0o770, parents=True)
    configuration, log = directory / "chrony.conf", directory / "chronyd.log"
    common = ["cmdport 0", f"bindcmdaddress {socket}", f"pidfile {socket.parent}/chronyd.pid"]
    configuration.write_text("\n".join([*common, *lines]) + "\n")
    command = node.command(["chronyd", "-x", "-d", "-u", "root", "-f", configuration])
    with running(command, log, peer_environment()) as process:
        daemon = Chronyd(node, socket, log)

        def answers() -> bool:
            assert process.poll() is None, f"chronyd ended:\n{daemon.log()}"
            return daemon.ask("tracking") != ""

        wait_until(answers, 10, "chronyd answers chronyc", daemon.log)
        yield daemon


# -- ours


class Timesync:
    """Our running daemon."""

    def __init__(self, configuration: Path, log: Path) -> None:
        self._configuration = configuration
        self._log = log
        self._trouble = ""

    def ask(self, command: str, *words: str) -> dict[str, Any]:
        """``timesync COMMAND --json``; empty while the daemon does not answer."""
        done = subprocess.run(
            [*OURS, command, "-c", str(self._configuration), *words, "--json"],
            env=our_environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        self._trouble = done.stderr
        answer: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            answer = json.loads(done.stdout)
        return answer

    def status(self) -> dict[str, Any]:
        """``timesync status --json``."""
        return self.ask("status")

    def locked(self) -> bool:
        """Whether it says so."""
        return bool(self.status().get("state") == "locked")

    def source(self) -> dict[str, Any]:
        """Its first source in ``timesync sources --json``."""
        sources = self.ask("sources").get("sources", [])
        return sources[0] if sources else {}

    def counters(self) -> dict[str, int]:
        """What its server did."""
        return self.status().get("serving", {}).get("counters") or {}

    def why(self) -> str:
        """``timesync why`` of its first source, as one text."""
        return "\n".join(self.ask("why", self.source()["name"])["lines"])

    def log(self) -> str:
        """What it said, and what the last command that asked it complained of."""
        return f"{self._log.read_text(errors='replace')}\n{self._trouble}"


OURS = [sys.executable, "-m", "timesync.cli.main"]


@contextmanager
def timesync(
    node: Node, directory: Path, configuration: str, *, clock: bool = False, observe: str = ""
) -> Iterator[Timesync]:
    """``timesync run`` with this configuration, to which socket and state directory are added.

    It may set the system clock only when ``clock`` says so; ``observe`` is more of that section, as ``key: value, ``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file, log = directory / "timesync.yaml", directory / "timesync.log"
    # Relative to the file, so that the path of the socket fits where the test's own directory is a long one.
    file.write_text(
        f"{configuration}\nobserve: {{{observe}control: control.sock, state: state, log: {{level: debug}}}}\n"
    )
    command = node.command([*OURS, "run", "-c", file], clock=clock)
    with running(command, log, our_environment()) as process:
        daemon = Timesync(file, log)

        def answers() -> bool:
            assert process.poll() is None, f"timesync ended:\n{daemon.log()}"
            return bool(daemon.status())

        wait_until(answers, 20, "timesync answers on its control socket", daemon.log)
        yield daemon


VIRTUAL = """
clocks:
  system: {discipline: false}
  bench:
    virtual: {offset: 10ms, frequency: 20ppm, wander: 1e-9}
"""
"""A clock in software that starts wrong in offset and frequency."""


def appliance(server: Node, *, ntp: str = "", serve: str = "", rest: str = "") -> str:
    """A configuration: the virtual clock follows ``server``; its time is served to the LAN."""
    return f"""{VIRTUAL}
sources:
  - ntp: {server.address}
    poll: [1s, 4s]
{ntp}
serve:
  clock: bench
  ntp:
    listen: [0.0.0.0:123]
{serve}
{rest}"""
