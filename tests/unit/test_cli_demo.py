"""``timesync demo`` in real time: it locks, compares claim and truth, and ends with a table."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from cli_support import running
from click.testing import CliRunner

from timesync.cli.demo import demo as demo_command
from timesync.config.load import loads
from timesync.daemon.demo import configuration

LOCK_S = 15.0
"""What the demonstration promises; a busy machine starts its Python more slowly, so more is waited for."""


def test_it_locks_within_15_s_and_tells_the_truth_beside_the_claim(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--duration", "60s", without="-sys_time") as demo:
        demo.until("LOCKED after", 2 * LOCK_S)
        demo.until("asked like any client would: ", LOCK_S)
        assert 0 == demo.end(signal.SIGINT)
        said = demo.said()

    rows = table(said)
    assert "what it did" in said.lower()
    assert 0 < float(rows["time to lock"].removesuffix(" s")) <= LOCK_S
    assert rows["true offset"].startswith("+10.0 ms at the start, ")
    for claim in ("claimed bound", "its claimed bound"):
        held = re.search(r"always held \((\d+) of (\d+) comparisons\)$", rows[claim])
        assert held is not None
        assert 0 < int(held[1]) == int(held[2])
    assert rows["since lock"].startswith("RMS ")
    assert rows["frequency"].endswith("ppm")
    assert rows["state at the end"] == "locked: follows pps"
    assert "0 steps" in rows["ran for"]
    # The independent query asked four times; the worker counts the last one only after it has answered.
    assert rows["NTP server"] in {"3 requests answered", "4 requests answered"}
    assert rows["independent query"].endswith("stratum 1, reference PPS")
    for name, state in (("gps", "candidate"), ("pps", "selected"), ("nic-pps", "selected"), ("ntp", "excluded")):
        assert re.search(rf"^{name} +{state}: ", said, re.MULTILINE), name
    assert "receiver that speaks NMEA on /tmp/timesync-demo-" in said
    assert "NTP server on 127.0.0.1:" in said
    assert "timesync demo --fault no-fix@20s+20s" in said
    control = re.search(r"timesync status --control (\S+)", said)
    assert control is not None
    assert not Path(control[1]).parent.exists()


@pytest.mark.parametrize("receiver", ["ubx", "gpsd"])
def test_another_receiver_does_as_well_and_what_breaks_is_told(tmp_path: Path, receiver: str) -> None:
    faults = ["--fault", "nic:unplugged@500ms+200ms", "--fault", "pps:no-pulses@550ms+50ms"]
    with running(tmp_path, "demo", "--receiver", receiver, *faults, without="-sys_time") as demo:
        demo.until("LOCKED after", 2 * LOCK_S)
        assert 0 == demo.end(signal.SIGTERM)
        said = demo.said()

    told = re.findall(r"^ +0\.\d s  FAULT (.*)$", said, re.MULTILINE)
    no_pulses, unplugged = "no pulses arrive any more at the PPS device", "the network card is unplugged"
    assert [unplugged, no_pulses, f"over: {no_pulses}", f"over: {unplugged}"] == told
    assert "always held" in table(said)["claimed bound"]


def table(said: str) -> dict[str, str]:
    """The closing table; what is too long for a line goes on in the next, indented."""
    closing = said[said.index("What it did") : said.index("Its sources at the end")]
    rows: dict[str, str] = {}
    name = ""
    for line in closing.splitlines()[1:]:
        if found := re.match(r"(\S.*?)  +(\S.*?) *$", line):
            name = found[1]
            rows[name] = found[2]
        elif line.strip():
            rows[name] += f" {line.strip()}"
    return rows


def test_too_short_a_time_is_a_no(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--duration", "500ms", without="-sys_time") as demo:
        assert 1 == demo.process.wait(30)
        said = demo.said()

    assert re.search(r"^time to lock +not locked *$", said, re.MULTILINE)
    assert said.endswith("timesync: the clock was not locked in this time\n")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("no-fics@1s", 'garbled, silent, gpsd-gone (did you mean "no-fix@1s"?)'),
        ("no-fix@5s", "no-fix would begin after the end; make --duration longer"),
        ("gpsd-gone@1s", "gpsd-gone needs a receiver of the kind gpsd: --receiver gpsd"),
    ],
)
def test_a_fault_that_cannot_be_shown_is_bad_usage(fault: str, says: str) -> None:
    result = CliRunner().invoke(demo_command, ["--duration", "5s", "--fault", fault])

    assert 2 == result.exit_code
    assert says in " ".join(result.stderr.split())


@pytest.mark.parametrize("before", ["true", "ip link set lo up; ip link set lo down"])
def test_without_loopback_it_says_why(tmp_path: Path, before: str) -> None:
    """In a network namespace of its own, where lo was never up, or has its address but is down."""
    command = f'{before}; exec "$0" -m timesync.cli.main demo --duration 5s'
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("root, unshare (util-linux) and ip (iproute2) are needed for a network namespace")
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", command, sys.executable],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    if done.stderr.startswith("unshare:"):
        pytest.skip(f"no network namespace can be made here: {done.stderr.strip()}")

    assert (4, "") == (done.returncode, done.stdout)
    assert done.stderr.startswith("timesync: the demonstration cannot run here: nothing arrives at 127.0.0.1 (")
    assert done.stderr.endswith("is the interface lo down? (ip link set lo up)\n")
    assert 1 == done.stderr.count("\n")


def test_its_configuration_is_one_that_check_accepts() -> None:
    sources = ["{nmea: /dev/pts/7, name: gps}", "{pps: nic}"]
    loaded = loads(configuration("{nic: {phc: /dev/ptp-demo}}", sources, Path("/tmp/x"), 8123), "demo")

    assert () == loaded.warnings
    assert ("demo", "bench") == (loaded.config.profile, loaded.config.served_clock())
    assert loaded.config.observe.web is not None
    assert ("127.0.0.1", 8123) == (loaded.config.observe.web.listen.address, loaded.config.observe.web.listen.port)
    assert not loaded.config.clocks["system"].discipline
