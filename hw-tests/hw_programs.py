"""Programs that run beside the tests: our daemon, Debian's gpsd, and linuxptp's ts2phc and phc2sys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
OURS = [sys.executable, "-m", "timesync.cli.main"]
GPSD_PORT = 2947
TABLE = ROOT / "profiles" / "timesync_profiles" / "leap-seconds.list"


def our_environment() -> dict[str, str]:
    """For our own commands, run from this tree."""
    paths = [ROOT, ROOT / "drivers", ROOT / "profiles"]
    return {**os.environ, "PYTHONPATH": ":".join(map(str, paths)), "LC_ALL": "C.UTF-8"}


@contextmanager
def running(command: Sequence[str | Path], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A program, ended by SIGTERM afterwards; what it says goes to ``log``. Skips when it is not installed."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"{command[0]} is not installed")
    with (
        log.open("wb") as output,
        subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=our_environment(),
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


class Timesync:
    """Our running daemon."""

    def __init__(self, configuration: Path, log: Path) -> None:
        self._configuration = configuration
        self._log = log

    def ask(self, command: str, *words: str) -> dict[str, Any]:
        """``timesync COMMAND --json``; empty while the daemon does not answer."""
        done = subprocess.run(
            [*OURS, command, "-c", str(self._configuration), *words, "--json"],
            env=our_environment(),
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        answer: dict[str, Any] = {}
        with suppress(ValueError):
            answer = json.loads(done.stdout)
        return answer

    def clock(self, name: str) -> dict[str, Any]:
        """One of the clocks in ``timesync clocks --json``."""
        found: dict[str, Any] = next(
            (clock for clock in self.ask("clocks").get("clocks", []) if clock["name"] == name), {}
        )
        return found

    def log(self) -> str:
        """What it said."""
        return self._log.read_text(errors="replace")


@contextmanager
def timesync(directory: Path, configuration: str) -> Iterator[Timesync]:
    """``timesync run`` with this configuration, to which socket and state directory are added."""
    directory.mkdir(parents=True, exist_ok=True)
    file, log = directory / "timesync.yaml", directory / "timesync.log"
    file.write_text(
        f"{textwrap.dedent(configuration)}\nobserve: {{control: control.sock, state: state, log: {{level: debug}}}}\n"
    )
    with running([*OURS, "run", "-c", file], log) as process:
        daemon = Timesync(file, log)

        def answers() -> bool:
            assert process.poll() is None, f"timesync ended:\n{daemon.log()}"
            return bool(daemon.ask("status"))

        wait_until(answers, 120, "timesync answers on its control socket", daemon.log)
        yield daemon
        assert process.poll() is None, f"timesync ended:\n{daemon.log()}"


@contextmanager
def gpsd(directory: Path, *devices: str) -> Iterator[None]:
    """Debian's gpsd with these receivers and PPS devices."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "gpsd.log"
    command: list[str | Path] = ["gpsd", "-N", "-n", "-D", "2", "-F", directory / "gpsd.sock", *devices]
    with running(command, log) as process:

        def listens() -> bool:
            assert process.poll() is None, f"gpsd ended:\n{log.read_text(errors='replace')}"
            listening = Path("/proc/net/tcp").read_text() + Path("/proc/net/tcp6").read_text()
            return f":{GPSD_PORT:04X} " in listening

        wait_until(listens, 60, "gpsd listens", lambda: log.read_text(errors="replace"))
        yield


@contextmanager
def ts2phc(directory: Path, card: str, pin: int, channel: int, serial: str) -> Iterator[Path]:
    """linuxptp's ts2phc: a card by its external timestamps, numbered by NMEA; gives its log."""
    directory.mkdir(parents=True, exist_ok=True)
    file, log = directory / "ts2phc.conf", directory / "ts2phc.log"
    settings = {
        "use_syslog": 0,
        "leapfile": TABLE,
        "ts2phc.nmea_serialport": serial,
        "ts2phc.nmea_baudrate": 9600,
        "ts2phc.pulsewidth": 100_000_000,
        "step_threshold": 0.1,
    }
    of_card = {"ts2phc.channel": channel, "ts2phc.pin_index": pin, "ts2phc.extts_polarity": "rising"}
    sections = (("global", settings), (card, of_card))
    file.write_text("".join(f"[{name}]\n" + "".join(f"{k} {v}\n" for k, v in of.items()) for name, of in sections))
    with running(["ts2phc", "-m", "-f", file, "-s", "nmea"], log) as process:
        yield log
        assert process.poll() is None, f"ts2phc ended:\n{log.read_text(errors='replace')}"


@contextmanager
def phc2sys(directory: Path, name: str, *options: str) -> Iterator[Path]:
    """linuxptp's phc2sys; gives its log."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / f"{name}.log"
    with running(["phc2sys", "-m", "-q", "-S", "0.1", *options], log) as process:
        yield log
        assert process.poll() is None, f"phc2sys ended:\n{log.read_text(errors='replace')}"


def wait_until(condition: Callable[[], Any], within_s: float, what: str, tell: Callable[[], str] = lambda: "") -> Any:
    """Ask again and again until the answer is true; returns it. Fails with ``what`` after the time is up."""
    deadline = time.monotonic() + within_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}\n{tell()}")
        time.sleep(0.2)
