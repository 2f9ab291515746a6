"""Debian's chronyc asks us: it prints what our own state says, over UDP and over the Unix socket, and changes nothing.

The daemon's stream has the very state that chronyc's answers are made from, so figures are compared to the last digit
that chronyc prints.
"""

from __future__ import annotations

import json
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from interop_support import Node, appliance, chronyd, lan, timesync, wait_until

pytestmark = pytest.mark.interop

LOCK_S = 60
PORT = 10323
AES128 = "HEX:00112233445566778899aabbccddeeff"
SETTLED_S = 15
"""After the lock, for a register of reach and statistics that say something."""

SOURCES = """
  - ntp: 127.0.0.9
    poll: [1s, 4s]
    noselect: true
  - ntp: nosuch.invalid
"""
CHANGES = ("makestep", "burst 1/2", "add server 192.0.2.1", "settime 12:00", "offline", "reset sources", "shutdown")


class Follower:
    """Keeps the states that the daemon tells, as they come."""

    def __init__(self, path: Path) -> None:
        self.states: list[dict[str, Any]] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.sendall(b'{"command": "watch", "kinds": ["state", "clients"]}\n')
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        clients: list[dict[str, Any]] = []
        with self._socket.makefile() as lines:
            for line in lines:
                message = json.loads(line)
                if message["type"] == "clients":
                    clients = message["clients"]
                if message["type"] == "state":
                    self.states.append({**message, "clients": clients})

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()


@contextmanager
def following(path: Path) -> Iterator[Follower]:
    follower = Follower(path)
    try:
        yield follower
    finally:
        follower.close()


class Chronyc:
    """Debian's chronyc, which asks at one place."""

    def __init__(self, node: Node, place: Sequence[str]) -> None:
        self._node = node
        self._place = place

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self._node.peer("chronyc", *self._place, *words)

    def rows(self, command: str) -> list[list[str]]:
        """The fields of ``chronyc -n -c``."""
        done = self.run("-n", "-c", *command.split())
        assert 0 == done.returncode, done.stdout + done.stderr
        return [line.split(",") for line in done.stdout.splitlines()]


def same(printed: Sequence[str], values: Sequence[float | None], digits: int) -> bool:
    """Whether each was printed so, to the last digit; a float of the protocol has 25 bits."""
    return all(
        abs(float(text) - (value or 0.0)) <= 0.6 * 10**-digits + 1e-6 * abs(value or 0.0)
        for text, value in zip(printed, values, strict=True)
    )


def sources(state: dict[str, Any]) -> list[dict[str, Any]]:
    """Those that chronyc shows: the ones with an address."""
    return [one for one in state["sources"] if one["address"] is not None]


def tracking(rows: list[list[str]], state: dict[str, Any]) -> bool:
    status, [row] = state["status"], rows
    clock = next(one for one in status["clocks"] if one["name"] == "bench")
    reference = next(one for one in state["sources"] if one["name"] == status["reference"])
    seconds, nanoseconds = divmod(status["updated_utc_ns"], 10**9)
    return (
        row[1] == reference["address"].rpartition(":")[0]
        and row[2:4] == [str(status["stratum"]), f"{seconds}.{nanoseconds:09}"]
        and same(row[4:7], (-clock["offset_s"], status["last_offset_s"], status["rms_offset_s"]), 9)
        and same(
            row[7:10],
            (clock["frequency_ppm"], reference["residual_frequency_ppm"], clock["frequency_uncertainty_ppm"]),
            3,
        )
        and same(row[10:12], (status["root_delay_s"], status["root_dispersion_s"]), 9)
        and same(row[12:13], (status["update_interval_s"],), 1)
        and row[13] == "Normal"
    )


def source_lines(rows: list[list[str]], state: dict[str, Any]) -> bool:
    shown = sources(state)
    return len(rows) == len(shown) and all(
        row[0] == "^"
        and row[1] == ("*" if one["name"] == state["status"]["reference"] else "?")
        and row[2] == one["address"].rpartition(":")[0]
        and row[5] == f"{one['reach_register'] or 0:o}"
        and row[6] == ("4294967295" if one["last_sample_age_s"] is None else str(int(one["last_sample_age_s"])))
        and same(row[7:], (one["carried_offset_s"], one["measured_offset_s"], one["error_bound_s"]), 9)
        for row, one in zip(rows, shown, strict=True)
    )


def statistics(rows: list[list[str]], state: dict[str, Any]) -> bool:
    measured = [
        (row, one) for row, one in zip(rows, sources(state), strict=True) if one["points"]
    ]  # fmt: skip
    return bool(measured) and all(
        row[1:4] == [str(one["points"]), str(one["runs"]), str(int(one["span_s"]))]
        and same(row[4:6], (one["residual_frequency_ppm"], one["residual_frequency_uncertainty_ppm"]), 3)
        and same(row[6:8], (one["offset_s"], one["jitter_s"]), 9)
        for row, one in measured
    )


def ntp_data(rows: list[list[str]], state: dict[str, Any]) -> bool:
    row, one = rows[0], sources(state)[0]
    said = one["details"]["answer"]
    yes = {True: "Yes", False: "No"}
    return (
        row[0] == one["address"].rpartition(":")[0]
        and [int(row[2]), row[5], row[6], row[7]] == [123, "Normal", "4", "Server"]
        and row[8:10] + row[11:12] == [str(one["stratum"]), str(said["poll"]), str(said["precision"])]
        and same(row[18:20], (-one["measured_offset_s"], one["delay_s"]), 9)
        and same(row[21:22], (said["response_s"],), 9)
        and row[26:30] == [yes[one["interleaved"]], yes[one["authenticated"]], "Kernel", "Kernel"]
        and row[30:34:3] == [str(one["sent"]), str(said["measurements"])]
    )


def server_stats(rows: list[list[str]], state: dict[str, Any]) -> bool:
    counted = state["status"]["serving"]["counters"]
    names = ("received", "limited")
    return rows[0][:2] == [str(counted[name]) for name in names] and rows[0][7:9] == [
        str(counted[name]) for name in ("authenticated", "interleaved")
    ]


def activity(rows: list[list[str]], state: dict[str, Any]) -> bool:
    return rows[-1] == [str(len(sources(state))), "0", "0", "0", str(len(state["sources"]) - len(sources(state)))]


def authentication(rows: list[list[str]], state: dict[str, Any]) -> bool:
    del state
    return [row[1:5] for row in rows] == [["SK", "7", "13", "128"], ["-", "0", "0", "0"]]


def clients(rows: list[list[str]], state: dict[str, Any]) -> bool:
    known = [one for one in state["clients"] if one["protocol"] == "ntp"]
    return bool(known) and [row[:3] for row in rows] == [
        [one["address"], str(one["requests"]), str(one["dropped"])] for one in known
    ]


REPORTS: dict[str, Callable[[list[list[str]], dict[str, Any]], bool]] = {
    "tracking": tracking,
    "sources": source_lines,
    "sourcestats": statistics,
    "ntpdata": ntp_data,
    "serverstats": server_stats,
    "activity": activity,
    "authdata": authentication,
    "clients": clients,
}


def agree(asking: Chronyc, command: str, follower: Follower) -> bool:
    """Whether chronyc prints what one of the states around its question says, in one of a few attempts.

    A report of several lines may be of two states; the next attempt then is of one.
    """
    for _ in range(5):
        before = len(follower.states)
        rows = asking.rows(command)
        wait_until(lambda seen=before: len(follower.states) > seen, 10, "another state")
        if any(REPORTS[command](rows, state) for state in follower.states[max(before - 3, 0) :]):
            return True
    return False


def test_chronyc_prints_what_we_say(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    keys = tmp_path / "chrony.keys"
    keys.write_text(f"7 AES128 {AES128}\n")
    with (
        tempfile.TemporaryDirectory(prefix="timesync-") as made,
        lan(2) as (reference, here),
        chronyd(reference, tmp_path / "server", "allow all", "local stratum 1", f"keyfile {keys}"),
    ):
        # The observer is nobody, and answers to sockets in this directory.
        Path(made).chmod(0o755)
        path = Path(made) / "run" / "chronyd.sock"
        configuration = appliance(
            reference,
            ntp=f"    key: 7\n{SOURCES.lstrip(chr(10))}",
            rest=f'keys: {{7: {{algorithm: AES128, secret: "{AES128}"}}}}',
        )
        observe = f"chronyc: {{listen: '127.0.0.1:{PORT}', socket: {path}}}, "
        with timesync(here, tmp_path / "ours", configuration, observe=observe) as daemon:
            wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
            reference.peer("ntpdig", here.address)
            time.sleep(SETTLED_S)
            with following(tmp_path / "ours" / "control.sock") as follower:
                for place in (("-h", "127.0.0.1", "-p", str(PORT)), ("-h", str(path))):
                    asking = Chronyc(here, place)
                    for command in REPORTS:
                        assert agree(asking, command, follower), (place, command, asking.rows(command))
                    _others(asking)
                record_property("chronyc tracking", "; ".join(asking.run("tracking").stdout.splitlines()[3:10]))
            log = daemon.log()
    assert "Traceback" not in log
    assert not path.exists()


def _others(asking: Chronyc) -> None:
    """Words, waiting, and what is refused."""
    assert "Leap status     : Normal" in asking.run("tracking").stdout
    assert "^*" in asking.run("sources", "-v").stdout
    assert "ID#0000000003" in asking.run("-n", "sources", "-a").stdout
    assert "nosuch.invalid" in asking.run("-N", "sources", "-a").stdout
    letters = [row[0] for row in asking.rows("selectdata")]
    assert ["*", "N"] == letters
    assert 0 == asking.run("waitsync", "1", "0.1", "1000", "0.1").returncode
    assert 1 == asking.run("waitsync", "1", "1e-12", "1e-9", "0.1").returncode
    for command, words in (("rtcdata", "513 RTC"), ("smoothing", "505 Facility"), ("ntpdata 192.0.2.1", "503 No")):
        assert words in asking.run(*command.split()).stdout
    for command in CHANGES:
        done = asking.run(*command.split())
        assert "501 Not authorised" in done.stdout, (command, done.stdout)
