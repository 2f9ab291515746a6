"""The real command in real processes on loopback, and waiting for what they say."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from timesync.observe.control import ControlError, ask

PATIENCE_S = 20.0
T = TypeVar("T")


def eventually(look: Callable[[], T | None], what: str, patience_s: float = PATIENCE_S) -> T:
    """What ``look`` finds at last; fails after the deadline."""
    deadline = time.monotonic() + patience_s
    while True:
        found = look()
        if found is not None:
            return found
        assert time.monotonic() < deadline, f"not within {patience_s} s: {what}"
        time.sleep(0.02)


class Running:
    """A ``timesync`` command that runs.

    Attributes:
        process: It.
    """

    def __init__(self, process: subprocess.Popen[bytes], out: Path) -> None:
        self.process = process
        self._out = out

    def said(self) -> str:
        """All that it wrote, both streams."""
        return self._out.read_text()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def hang_up(self) -> None:
        """Let it read its configuration again."""
        self.process.send_signal(signal.SIGHUP)

    def until(self, text: str, patience_s: float = PATIENCE_S) -> str:
        """Wait for a text in what it writes; gives all that was written."""

        def look() -> str | None:
            said = self.said()
            if text in said:
                return said
            assert self.process.poll() is None, f"it ended without {text!r}:\n{said}"
            return None

        return eventually(look, f"{text!r} in what it says", patience_s)

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait for the end; gives the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)


@contextmanager
def running(
    tmp_path: Path, *arguments: str, env: dict[str, str] | None = None, without: str | None = None
) -> Iterator[Running]:
    """A command in a process of its own; killed at the end if it still runs.

    Args:
        tmp_path: For its output.
        arguments: Of ``timesync``.
        env: More environment.
        without: Capabilities to take away, as setpriv names them, such as ``-sys_time``.
    """
    prefix: list[str] = []
    if without is not None and os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("setpriv (util-linux) is needed to run without a capability as root")
        prefix = [setpriv, "--bounding-set", without]
    out = tmp_path / f"{arguments[0]}-{time.monotonic_ns()}.out"
    paths = os.pathsep.join(path for path in sys.path if path)
    with out.open("wb") as stream:
        process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "timesync.cli.main", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", **(env or {})},
        )
    try:
        yield Running(process, out)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


@contextmanager
def server(tmp_path: Path, *options: str) -> Iterator[str]:
    """A ``timesync testserver`` on a free port; gives its address."""
    with running(tmp_path, "testserver", "--listen", "127.0.0.1:0", *options) as command:
        said = command.until("Ask it with: timesync query ")
        yield said.partition("timesync query ")[2].split()[0]


def configuration(tmp_path: Path, *sources: str, rest: str = "", clocks: str | None = None) -> Path:
    """A file in which a virtual clock, 1 ms and 5 ppm off, follows these addresses; sockets in ``tmp_path``."""
    listed = "".join(
        f"\n  - {{ntp: '{s}', poll: [62.5ms, 62.5ms], burst: false, interleaved: always}}" for s in sources
    )
    bench = "{system: {discipline: false}, bench: {virtual: {offset: 1ms, frequency: 5ppm}}}"
    path = tmp_path / "t.yaml"
    observe = "" if "observe:" in rest else "observe: {control: c.sock, state: state}\n"
    path.write_text(f"clocks: {clocks or bench}\nsources: {listed or '[]'}\n{observe}{rest}")
    path.chmod(0o644)
    return path


def status(control: Path, *, state: str | None = None) -> dict[str, Any]:
    """The running daemon's status, as soon as there is one (in this state)."""

    def look() -> dict[str, Any] | None:
        try:
            answer = ask(str(control), "status")
        except ControlError:
            return None
        return answer if state is None or answer["state"] == state else None

    return eventually(look, f"status {state or 'of any kind'}")
