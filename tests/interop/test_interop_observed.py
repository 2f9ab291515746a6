"""Whoever watches must not disturb the clocks: what chronyd's time scatters with and without an audience."""

from __future__ import annotations

import json
import socket
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from interop_mqtt import PORT, mosquitto
from interop_support import VIRTUAL, Node, chronyd, lan, our_environment, running, timesync, wait_until

pytestmark = pytest.mark.interop

START_S = 30.0
PHASE_S = 12.0
ROUNDS = 3
WEB, METRICS = 8080, 9975

BROWSER = """
import sys, urllib.request
page = sys.argv[1]
urllib.request.urlopen(page).read()
for line in urllib.request.urlopen(page + "/events"):
    pass
"""
SCRAPER = """
import sys, time, urllib.request
while True:
    urllib.request.urlopen(sys.argv[1]).read()
    time.sleep(0.1)
"""


@contextmanager
def audience(node: Node, directory: Path) -> Iterator[None]:
    """Five browsers at the page, and ten scrapes a second."""
    directory.mkdir(exist_ok=True)
    with ExitStack() as stack:
        for number, (code, url) in enumerate(
            [(BROWSER, f"http://127.0.0.1:{WEB}")] * 5 + [(SCRAPER, f"http://127.0.0.1:{METRICS}/metrics")]
        ):
            command = node.command([sys.executable, "-c", code, url])
            stack.enter_context(running(command, directory / f"{number}.log", our_environment()))
        yield


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


def scatter_ns(found: list[float]) -> float:
    """How much one offset differs from the next: a standard deviation, by the quartiles."""
    low, _, high = statistics.quantiles([after - before for before, after in pairwise(found)], n=4)
    return float((high - low) / 1.349 / 2**0.5)


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
            alone, watched = [], []
            for _ in range(ROUNDS):
                alone.append(scatter_ns(offsets_ns(tmp_path / "us/control.sock", PHASE_S)))
                with audience(node, tmp_path / "audience"):
                    watched.append(scatter_ns(offsets_ns(tmp_path / "us/control.sock", PHASE_S)))
    best, looked = min(alone), min(watched)
    record_property("scatter_ns", f"{alone} alone, {watched} watched")
    print(f"scatter of measurements: {[round(one) for one in alone]} ns, watched {[round(one) for one in watched]} ns")
    # The aim is a tenth more; a quiet machine showed 4 to 29 % (docs/performance.md), and tests beside this one more.
    assert looked < 1.5 * best, (alone, watched)
