"""Roughtime end to end: our daemon, its NTP source, and servers of roughly, another implementation (PyPI)."""

from __future__ import annotations

import base64
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from interop_support import (
    ROUGHLY,
    VIRTUAL,
    Node,
    Timesync,
    chronyd,
    lan,
    peer_environment,
    running,
    timesync,
    wait_until,
)

pytestmark = pytest.mark.interop

FIRST_PORT = 5319
WITHIN_S = 60
HOUR_S = 3600
SERVER = """
import sys, time
right, off = time.time, float(sys.argv.pop(1))
time.time = lambda: right() + off
from roughly.cli import cli
cli()
"""
"""Its own command line, with a clock that may be wrong."""

CONFIRM = """
import json, sys
from roughly.ecosystem import confirm_malfeasance
responses = json.load(sys.stdin)["responses"]
responses[0].setdefault("rand", "")
print(confirm_malfeasance(responses))
"""
"""It reads, and does not use, random octets in the first entry too, where there is nothing to be chained to."""


@contextmanager
def roughly(node: Node, directory: Path, offsets_s: Sequence[float]) -> Iterator[list[tuple[str, str]]]:
    """Servers with these errors on one node: their places and public keys."""
    with ExitStack() as stack:
        logs = []
        for index, off_s in enumerate(offsets_s):
            secret = base64.b64encode(bytes([index + 1]) * 32).decode()
            options = ("server", "run", "--host", node.address, "--port", str(FIRST_PORT + index), "--no-grease")
            command = node.command([ROUGHLY, "-c", SERVER, str(off_s), *options, "--private-key", secret])
            log = directory / f"roughly{index}.log"
            logs.append(log)
            # Unbuffered, for its key to be read while it runs.
            stack.enter_context(running(command, log, {**peer_environment(), "PYTHONUNBUFFERED": "1"}))
        for log in logs:
            wait_until(lambda log=log: "Starting" in log.read_text(), WITHIN_S, "roughly runs", log.read_text)
        yield [
            (f"{node.address}:{FIRST_PORT + index}", log.read_text().split("(base64): ")[1].split()[0])
            for index, log in enumerate(logs)
        ]


def configuration(server: Node, rough: Sequence[tuple[str, str]], more: str = "") -> str:
    entries = "".join(f'  - {{roughtime: "{place}", public_key: {key}{more}}}\n' for place, key in rough)
    return f"{VIRTUAL}\nsources:\n  - {{ntp: {server.address}, poll: [1s, 4s]}}\n{entries}"


def states(daemon: Timesync) -> list[str]:
    return [source["state"] for source in daemon.ask("sources").get("sources", [])]


@contextmanager
def scene(tmp_path: Path, offsets_s: Sequence[float], more: str = "") -> Iterator[Timesync]:
    """Our daemon, a right chronyd, and servers of Roughtime with these errors."""
    with (
        lan(2) as (server, here),
        chronyd(server, tmp_path / "chronyd", "allow all", "local stratum 1"),
        roughly(server, tmp_path, offsets_s) as rough,
        timesync(here, tmp_path / "ours", configuration(server, rough, more)) as daemon,
    ):
        yield daemon


@pytest.mark.parametrize("versions", ["rfc", "draft", "rfc, draft"])
def test_servers_of_another_implementation_are_believed(
    tmp_path: Path, versions: str, record_property: Callable[[str, object], None]
) -> None:
    with scene(tmp_path, [0, 0, 0], f", versions: [{versions}]") as daemon:
        wait_until(daemon.locked, WITHIN_S, "our daemon is locked", daemon.log)
        checks = ["selected", "candidate", "candidate", "candidate"]
        wait_until(lambda: states(daemon) == checks, WITHIN_S, "all agree", daemon.log)
        shown = daemon.ask("sources")["sources"][1]
        record_property("shown", {key: shown[key] for key in ("reason", "offset_s", "error_bound_s", "delay_s")})
        assert shown["authenticated"] is True
        assert (2, 2) == (shown["sent"], shown["received"])
        assert abs(shown["offset_s"]) <= shown["error_bound_s"]


def test_a_source_that_they_contradict_is_shut_out(tmp_path: Path) -> None:
    with scene(tmp_path, [HOUR_S, HOUR_S, HOUR_S]) as daemon:
        shut_out = ["excluded", "candidate", "candidate", "candidate"]
        wait_until(lambda: states(daemon) == shut_out, WITHIN_S, "the source is shut out", daemon.log)
        assert "min behind by" in daemon.source()["reason"]
        assert "Roughtime servers" in daemon.why()
        assert daemon.status()["state"] != "locked"


def test_what_proves_a_lie_to_us_proves_it_to_others(tmp_path: Path) -> None:
    with scene(tmp_path, [0, HOUR_S, 0]) as daemon:
        wait_until(daemon.locked, WITHIN_S, "our daemon is locked", daemon.log)
        found = ["selected", "candidate", "falseticker", "candidate"]
        wait_until(lambda: states(daemon) == found, WITHIN_S, "the liar is found", daemon.log)
        proof = tmp_path / "ours" / "state" / "roughtime-malfeasance.json"
        wait_until(proof.exists, WITHIN_S, "the proof is kept", daemon.log)
        with proof.open() as report:
            said = subprocess.run(
                [ROUGHLY, "-c", CONFIRM], stdin=report, capture_output=True, text=True, check=False, timeout=30
            )
        assert "True\n" == said.stdout, said.stderr
