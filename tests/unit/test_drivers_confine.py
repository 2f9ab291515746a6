"""Rights are taken away in a child each, as nothing of it can be undone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from timesync.runtime.serve import worker_environment

STATUS = "print(*(line for line in open('/proc/self/status')), sep='')"


def child(code: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": worker_environment({})["PYTHONPATH"]}
    code = "from timesync_drivers.confine import *\n" + code
    return subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False
    )


def status(code: str) -> dict[str, str]:
    done = child(f"{code}\n{STATUS}")
    assert done.returncode == 0, done.stderr
    return dict(line.split(":\t", 1) for line in done.stdout.splitlines() if ":\t" in line)


def test_all_capabilities_go_even_those_of_root() -> None:
    got = status("drop_capabilities()")

    assert ["0" * 16] * 4 == [got[name] for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")]
    assert got["NoNewPrivs"] == "1"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_root_becomes_nobody_for_good() -> None:
    got = status("become_nobody()")

    assert ["65534"] * 4 == got["Uid"].split()
    assert ["65534"] * 4 == got["Gid"].split()
    assert got["Groups"].split() == []
    assert child("import os; become_nobody(); os.setuid(0)").returncode != 0


def test_no_children() -> None:
    done = child("import os\nbecome_nobody(); drop_capabilities(); forbid_children()\nos.fork()")

    assert "BlockingIOError" in done.stderr


def test_an_orphan_exits_at_once() -> None:
    assert child("die_with_parent(1 << 30)\nprint('still here')").stdout == ""
    assert child("import os\ndie_with_parent(os.getppid())\nprint('still here')").stdout == "still here\n"
