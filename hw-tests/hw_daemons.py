"""Two hosts on one machine, for cards that are wired to each other, and the daemons on them.

TIMESYNC_HW_WIRED=ONE:OTHER names two interfaces with hardware clocks and a cable between them; the second is taken into
a network namespace for the time of a test. Both lose their addresses.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hw_devices import run, until

from timesync.observe.control import ControlError, ask
from timesync_drivers.phc import device_path

ROOT = Path(__file__).resolve().parents[1]
HERE, THERE = "10.231.77.1", "10.231.77.2"
_OURS = [sys.executable, "-m", "timesync.cli.main"]
_ANSWER_S = 60.0
_PATIENCE_S = 150.0
"""An emulated processor takes a minute to load a daemon."""


@dataclass(frozen=True)
class Cable:
    """The two hosts.

    Attributes:
        near: Our interface, with the address ``HERE``.
        far: The other one, with the address ``THERE``.
        namespace: Where that is.
        far_clock: The device of its hardware clock: interfaces are not found from another namespace.
    """

    near: str
    far: str
    namespace: str
    far_clock: str

    def there(self, *command: str | Path) -> list[str]:
        """A command line that runs on the other host."""
        return ["ip", "netns", "exec", self.namespace, *map(str, command)]


@contextmanager
def cable() -> Iterator[Cable]:
    """Make the two hosts; skips where there are no two such cards."""
    names = os.environ.get("TIMESYNC_HW_WIRED")
    if names is None and Path("/sys/module/vmlab_nic").exists() and Path("/sys/class/net/lab1").exists():
        names = "lab0:lab1"
    if names is None:
        pytest.skip("no cards: name two that are wired to each other in TIMESYNC_HW_WIRED")
    near, far = names.split(":")
    made = Cable(near, far, f"hw{os.getpid()}", device_path(far))
    with ExitStack() as stack:
        run("ip", "netns", "add", made.namespace)
        # An interface of hardware goes back to the first namespace by itself.
        stack.callback(run, "ip", "netns", "delete", made.namespace)
        run("ip", "link", "set", far, "netns", made.namespace)
        run(*made.there("ip", "link", "set", "lo", "up"))
        for at, name, address in (([], near, HERE), (made.there(), far, THERE)):
            run(*at, "ip", "address", "add", f"{address}/24", "dev", name)
            run(*at, "ip", "link", "set", name, "up")
        stack.callback(run, "ip", "address", "flush", "dev", near)
        yield made


@contextmanager
def _process(command: Sequence[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    paths = [ROOT, ROOT / "drivers", ROOT / "profiles", os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": ":".join(map(str, paths)), "LC_ALL": "C.UTF-8"}
    with log.open("wb") as said, subprocess.Popen(command, stdout=said, stderr=said, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


class Chronyd:
    """A chronyd that does not touch the clock (``-x``)."""

    def __init__(self, command: list[str], log: Path) -> None:
        self._command = command
        self._log = log

    def ask(self, *words: str) -> str:
        """What chronyc prints; empty while there is no answer."""
        done = subprocess.run([*self._command, *words], check=False, capture_output=True, text=True, timeout=_ANSWER_S)
        return done.stdout if done.returncode == 0 else ""

    def ntpdata(self) -> dict[str, str]:
        """``chronyc ntpdata`` of its only source."""
        pairs = (line.split(":", 1) for line in self.ask("ntpdata").splitlines() if ":" in line)
        return {name.strip(): value.strip() for name, value in pairs}

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")


@contextmanager
def chronyd(there: Cable, directory: Path, *lines: str) -> Iterator[Chronyd]:
    """Run one on the other host."""
    directory.mkdir(mode=0o700)
    socket, file, log = directory / "chronyd.sock", directory / "chrony.conf", directory / "chronyd.log"
    common = ["cmdport 0", f"bindcmdaddress {socket}", f"pidfile {directory}/chronyd.pid"]
    file.write_text("\n".join([*common, *lines]) + "\n")
    with _process(there.there("chronyd", "-x", "-d", "-u", "root", "-f", file), log) as process:
        daemon = Chronyd(there.there("chronyc", "-n", "-h", socket), log)
        until(lambda: process.poll() is not None or daemon.ask("tracking"), "chronyd answers", _PATIENCE_S)
        assert process.poll() is None, daemon.log()
        yield daemon


class Daemon:
    """Ours."""

    def __init__(self, socket: Path, log: Path) -> None:
        self._socket = socket
        self._log = log

    def ask(self, command: str) -> dict[str, Any]:
        """What ``timesync COMMAND --json`` prints; empty while there is no answer."""
        with suppress(ControlError):
            return ask(str(self._socket), command)
        return {}

    def source(self) -> dict[str, Any]:
        """Its only source."""
        found = self.ask("sources").get("sources", [])
        return found[0] if found else {}

    def counters(self) -> dict[str, int]:
        """What its server did."""
        return self.ask("status").get("serving", {}).get("counters") or {}

    def until(self, what: Callable[[Daemon], Any], wanted: str) -> Any:
        """Ask until there is an answer; fails with the log."""
        try:
            return until(lambda: what(self), wanted, _PATIENCE_S)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.source()}\n{self.log()}") from None

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")


@contextmanager
def timesync(directory: Path, configuration: str, at: Cable | None = None) -> Iterator[Daemon]:
    """``timesync run`` with this configuration, with socket and state directory added; on the far host of ``at``."""
    directory.mkdir()
    file, log = directory / "timesync.yaml", directory / "timesync.log"
    file.write_text(f"{configuration}\nobserve: {{control: control.sock, state: state}}\n")
    command = [*_OURS, "run", "-c", str(file)]
    with _process(command if at is None else at.there(*command), log) as process:
        daemon = Daemon(directory / "control.sock", log)
        until(lambda: process.poll() is not None or daemon.ask("status"), "timesync answers", _PATIENCE_S)
        assert process.poll() is None, daemon.log()
        yield daemon
