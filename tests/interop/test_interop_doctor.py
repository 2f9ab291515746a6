"""The doctor beside Debian's gpsd, which reads a receiver on a pseudo-terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interop_gpsd import USED, gpsd, receivers
from interop_support import Node, lan, our_environment, wait_until

pytestmark = pytest.mark.interop

CONFIG = """\
sources: [{{gpsd: 'gpsd://127.0.0.1{device}'}}]
clocks: {{system: {{discipline: false}}, bench: {{virtual: {{}}}}}}
observe: {{control: c.sock, state: state}}
"""


def doctor(node: Node, directory: Path, device: str) -> dict[str, dict[str, Any]]:
    """Its findings by id, those of each check once."""
    file = directory / "t.yaml"
    file.write_text(CONFIG.format(device=device))
    file.chmod(0o644)
    command = node.command([sys.executable, "-m", "timesync.cli.main", "doctor", "-c", file, "--json"])
    done = subprocess.run(command, env=our_environment(), check=False, capture_output=True, text=True, timeout=30)
    return {check["id"]: check for check in json.loads(done.stdout)["checks"]}


def _with_a_fix(look: Callable[[], dict[str, dict[str, Any]]]) -> Callable[[], dict[str, dict[str, Any]] | None]:
    """Findings once gpsd knows the receiver's language."""

    def answer() -> dict[str, dict[str, Any]] | None:
        found = look()
        return found if found.get("TS-GPD-005", {}).get("state") == "ok" else None

    return answer


def test_a_real_gpsd_is_read_and_its_port_is_its_own(tmp_path: Path) -> None:
    with lan(2) as (node, _), receivers(1) as (receiver,), gpsd(node, tmp_path, receiver.path):
        found = wait_until(
            _with_a_fix(lambda: doctor(node, tmp_path, receiver.path)), 40, "TOFF reports in what the doctor hears"
        )
        receiver.fix = False
        blind = wait_until(
            lambda: (seen := doctor(node, tmp_path, receiver.path))["TS-GPD-006"]["state"] == "warn" and seen,
            20,
            "a fix that is lost",
        )
    assert {"ok"} == {check["state"] for name, check in found.items() if name.startswith("TS-GPD")}
    assert receiver.path in found["TS-GPD-003"]["evidence"]
    assert f"{USED} satellites used" in found["TS-GPD-006"]["evidence"]
    # We hold the other end's twin open, so that the line survives gpsd; gpsd itself is no rival there.
    holder = found["TS-SER-006"]["evidence"]
    assert f"(process {os.getpid()})" in holder
    assert "gpsd" not in holder
    assert "TPV mode 1" in blind["TS-GPD-006"]["evidence"]


def test_a_gpsd_without_the_receiver(tmp_path: Path) -> None:
    with lan(2) as (node, _), receivers(2) as (one, other), gpsd(node, tmp_path, one.path):
        found = doctor(node, tmp_path, other.path)
    assert "fail" == found["TS-GPD-003"]["state"]
    assert one.path in found["TS-GPD-003"]["evidence"]


def test_no_gpsd_at_all(tmp_path: Path) -> None:
    with lan(2) as (node, _):
        found = doctor(node, tmp_path, "/dev/nosuch")
    assert "fail" == found["TS-GPD-001"]["state"]
    assert "ECONNREFUSED" in found["TS-GPD-001"]["evidence"]
