"""Debian's ntpsec as a client of ours: ntpdate, ntpdig, and ntpd seen through ntpq."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from interop_support import Node, Timesync, appliance, chronyd, lan, peer_environment, running, timesync, wait_until

pytestmark = pytest.mark.interop

LOCK_S = 60
SELECT_S = 120


@dataclass
class Scene:
    """Ours, locked to chronyd, and a node for clients."""

    ours: Timesync
    here: Node
    there: Node


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with (
        lan(3) as (reference, here, there),
        chronyd(reference, tmp_path / "server", "allow all", "local stratum 1"),
        timesync(here, tmp_path / "ours", appliance(reference)) as daemon,
    ):
        wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
        yield Scene(daemon, here, there)


def test_ntpdate_and_ntpdig_accept_us(scene: Scene, record_property: Callable[[str, object], None]) -> None:
    before = scene.ours.counters()
    date = scene.there.peer("ntpdate", "-q", scene.here.address)
    dig = scene.there.peer("ntpdig", "--json", scene.here.address)
    after = scene.ours.counters()

    assert date.returncode == 0, date.stderr
    assert dig.returncode == 0, dig.stderr
    # Date and time, zone in brackets, offset, uncertainty, address, stratum, leap.
    words = re.search(r"\) ([+-][\d.]+) \+/- ([\d.]+) (\S+) s(\d+) (\S+)", date.stdout)
    assert words is not None, date.stdout
    offset, uncertainty, address, stratum, leap = words.groups()
    record_property("ntpdate -q", date.stdout.strip())
    assert address == scene.here.address
    assert stratum == "2"
    assert leap == "no-leap"
    # It asks once and stamps in user space, so on a busy machine it may be far off, and then says so.
    assert abs(float(offset)) <= float(uncertainty)
    assert abs(float(offset)) < 0.05
    answer = json.loads(dig.stdout)
    assert answer["ip"] == scene.here.address
    assert answer["stratum"] == 2
    assert abs(answer["offset"]) <= answer["precision"]
    assert after["answered"] - before["answered"] == 2


def test_ntpd_follows_us_as_ntpq_shows(
    scene: Scene, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    configuration, log = tmp_path / "ntp.conf", tmp_path / "ntpd.log"
    # No discipline, by configuration; and the process has lost the right to set clocks. ntpq is not answered without
    # a restrict line.
    configuration.write_text(
        "disable ntp\ndisable kernel\ntos minclock 1 minsane 1\nrestrict default\nrestrict 127.0.0.1\n"
        f"server {scene.here.address} iburst minpoll 3 maxpoll 3\n"
    )
    command = scene.there.command(["ntpd", "-n", "-N", "-c", configuration, "-p", tmp_path / "ntpd.pid"])
    with running(command, log, peer_environment()) as process:

        def peers() -> str:
            assert process.poll() is None, f"ntpd ended:\n{log.read_text()}"
            return scene.there.peer("ntpq", "-pn", "127.0.0.1").stdout

        def line() -> str:
            return next((line for line in peers().splitlines() if scene.here.address in line), "")

        chosen = wait_until(
            lambda: (found := line()).startswith("*") and found,
            SELECT_S,
            "ntpd selects us",
            lambda: f"{line()}\n{log.read_text()}",
        )

    # remote refid st t when poll reach delay offset jitter, the last three in ms
    fields = chosen[1:].split()
    record_property("ntpq -pn", " ".join(fields))
    assert fields[0] == scene.here.address
    assert fields[2] == "2"
    assert int(fields[6], 8) > 0
    assert abs(float(fields[8])) < 10
