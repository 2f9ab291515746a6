"""Whoever watches must not disturb the clocks: what chronyd's time scatters with and without an audience."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from interop_mqtt import PORT, mosquitto
from interop_support import ROOT, VIRTUAL, Node, chronyd, lan, our_environment, running, timesync, wait_until

sys.path.append(str(ROOT / "bench"))

from peers.audience import TURNS, ratio, scatter, told

pytestmark = pytest.mark.interop

AUDIENCE = [sys.executable, ROOT / "bench" / "peers" / "audience.py"]
START_S = 30.0
PHASE_S = 6.0
ROUNDS = 6
WEB, METRICS = 8080, 9975
OTHER_WEB, OTHER_METRICS = 8081, 9976


@contextmanager
def audience(node: Node, directory: Path, turn: str) -> Iterator[None]:
    """Five browsers at a page, and ten scrapes a second; that each of them got what it came for is seen to."""
    directory.mkdir(exist_ok=True)
    if turn == "alone":
        yield
        return
    web, metrics = (WEB, METRICS) if turn == "here" else (OTHER_WEB, OTHER_METRICS)
    log = directory / "look.log"
    with ExitStack() as stack:
        if turn == "elsewhere":
            command = node.command([*AUDIENCE, "serve", str(web), str(metrics)])
            stack.enter_context(running(command, directory / "serve.log", our_environment()))
        command = node.command([*AUDIENCE, "look", *(f"http://127.0.0.1:{port}" for port in (web, metrics))])
        with running(command, log, our_environment()) as looking:
            # While its interpreter starts it is not an audience yet.
            time.sleep(1.0)
            yield
            assert looking.poll() is None, log.read_text()
    got = json.loads(log.read_text())
    assert got["events"] > 5 * (PHASE_S - 2), got
    assert got["scrapes"] > 5 * PHASE_S, got


def offsets_ns(control: Path, seconds: float) -> list[float]:
    """What is measured in so many seconds, by the daemon's own stream."""
    found: list[float] = []
    with socket.socket(socket.AF_UNIX) as link:
        link.settimeout(10)
        link.connect(str(control))
        link.sendall(b'{"command": "watch", "kinds": ["measurement"]}\n')
        until = time.monotonic() + seconds
        for line in link.makefile():
            message = json.loads(line)
            if message["type"] == "measurement":
                kind, offset = (message["columns"].index(name) for name in ("kind", "offset"))
                found += (row[offset] / 65536 for row in message["rows"] if row[kind] == "measurement")
            if time.monotonic() > until:
                return found
    raise AssertionError("the daemon ended its stream")


def test_measurements_scatter_no_more_while_everybody_looks(
    tmp_path: Path, record_property: pytest.RecordProperty
) -> None:
    with lan(2) as (time_server, node), mosquitto(node, tmp_path / "broker"):
        lines = ["local stratum 1", "allow all", "bindaddress 0.0.0.0"]
        configuration = (
            f"{VIRTUAL}\nsources: [{{ntp: {time_server.address}, poll: [62.5ms, 62.5ms], burst: false}}]\n"
            "serve: {clock: bench}\n"
        )
        observe = (
            f"web: 127.0.0.1:{WEB}, metrics: 127.0.0.1:{METRICS}, measurements: rows, "
            f"mqtt: {{broker: 'mqtt://{node.address}:{PORT}', interval: 1s}}, "
        )
        with (
            chronyd(time_server, tmp_path / "chrony", *lines),
            timesync(node, tmp_path / "us", configuration, observe=observe) as us,
        ):
            wait_until(us.locked, START_S, "locked", us.log)
            scatters: dict[str, list[float]] = {turn: [] for turn in TURNS}
            for _ in range(ROUNDS):
                for turn in TURNS:
                    with audience(node, tmp_path / "audience", turn):
                        scatters[turn].append(scatter(offsets_ns(tmp_path / "us/control.sock", PHASE_S)))
    record_property("scatter", told(scatters))
    # Of six rounds only what is so for certain. The aim is a tenth more. Against the same programs looking elsewhere
    # that is our part; against nobody they themselves take a quarter on such a machine (docs/performance.md).
    for other, most in (("elsewhere", 1.1), ("alone", 1.5)):
        _, low, _ = ratio(scatters["here"], scatters[other])
        assert low < most, told(scatters)
