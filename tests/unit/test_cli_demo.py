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

from timesync.config.load import loads
from timesync.daemon.demo import configuration


def test_it_locks_within_15_s_and_tells_the_truth_beside_the_claim(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--duration", "60s", without="-sys_time") as demo:
        demo.until("LOCKED after", 15)
        demo.until("asked like any client would: ", 15)
        assert 0 == demo.end(signal.SIGINT)
        said = demo.said()

    rows = dict(re.findall(r"^(time to lock|ran for|true offset|largest after lock|claimed bound|frequency|"
                           r"NTP client|NTP server|independent query) +(.*?) *$", said, re.MULTILINE))  # fmt: skip
    assert 9 == len(rows)
    assert "what it did" in said.lower()
    assert rows["time to lock"].endswith(" s")
    assert rows["true offset"].startswith("+10.0 ms at the start, ")
    assert "always held" in rows["claimed bound"]
    assert rows["frequency"].endswith("ppm")
    assert "NTP server on 127.0.0.1:" in said
    assert "0 steps" in rows["ran for"]
    # The independent query asked four times; the worker counts the last one only after it has answered.
    assert rows["NTP server"] in {"3 requests answered", "4 requests answered"}
    control = re.search(r"timesync status --control (\S+)", said)
    assert control is not None
    assert not Path(control[1]).parent.exists()


def test_too_short_a_time_is_a_no(tmp_path: Path) -> None:
    with running(tmp_path, "demo", "--duration", "500ms", without="-sys_time") as demo:
        assert 1 == demo.process.wait(15)
        said = demo.said()

    assert re.search(r"^time to lock +not locked *$", said, re.MULTILINE)
    assert said.endswith("timesync: the clock was not locked in this time\n")


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
    loaded = loads(configuration(["{ntp: '127.0.0.1:1123'}"], Path("/tmp/x")), "demo")

    assert () == loaded.warnings
    assert ("demo", "bench") == (loaded.config.profile, loaded.config.served_clock())
    assert not loaded.config.clocks["system"].discipline
