"""A report of a daemon that ran, in Debian's Chromium: nothing is complained of, and all plots are drawn."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from interop_support import REQUIRED, our_environment, running, wait_until

pytestmark = pytest.mark.interop

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
)  # fmt: skip
RUN_S = 8.0
CONFIGURATION = """
clocks: {system: {discipline: false}, bench: {virtual: {offset: 1ms, frequency: 5ppm}}}
sources:
  - {ntp: "127.0.0.1:%d", poll: [62.5ms, 62.5ms], burst: false, interleaved: always}
observe: {control: c.sock, state: state, measurements: records}
"""


def opened(page: Path, folder: Path) -> tuple[str, list[str]]:
    """The page as the browser made it, and what its console says."""
    chromium = shutil.which("chromium")
    if chromium is None:
        if REQUIRED:
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    done = subprocess.run(
        [chromium, *FLAGS, f"--user-data-dir={folder / 'profile'}", "--dump-dom", page.as_uri()],
        check=True, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    return done.stdout, re.findall(r":CONSOLE[:(].*", done.stderr)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "timesync.cli.main", *arguments]


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter, as the observer must: that of pytest is root's alone."""
    made = Path(tempfile.mkdtemp(prefix="timesync-report-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def recorded(place: Path) -> Path:
    """The recording of a daemon that followed a server on loopback for some seconds."""
    log = place / "server.log"
    environment = our_environment()
    with running(command("testserver", "--listen", "127.0.0.1:0"), log, environment):
        port = wait_until(lambda: re.search(r"timesync query 127\.0\.0\.1:(\d+)", log.read_text()), 20, "a server")[1]
        file = place / "t.yaml"
        file.write_text(CONFIGURATION % int(port))
        with running(command("run", "-c", str(file)), place / "daemon.log", environment):
            time.sleep(RUN_S)
    return place / "records"


def test_a_report_opens_without_a_complaint(recorded: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    arguments = ["report", "--measurements", str(recorded), "--mask", "PRTC-A", "--max-error", "1s", "-o", str(page)]
    subprocess.run(command(*arguments), check=True, env=our_environment())
    dom, console = opened(page, tmp_path)
    assert [] == console
    assert 7 == dom.count("<svg") == dom.count("</svg>")  # the clock's six plots, and one source
    assert "Passed." in dom
    done = subprocess.run(
        command("replay", str(recorded), "--json"), check=True, env=our_environment(), capture_output=True, text=True
    )
    fidelity = json.loads(done.stdout)["fidelity"]
    assert fidelity["same"] == fidelity["compared"] > 10


def test_a_page_with_a_fault_is_complained_of(tmp_path: Path) -> None:
    page = tmp_path / "wrong.html"
    page.write_text("<!DOCTYPE html><title>wrong</title><script>nonsense()</script>")
    _, console = opened(page, tmp_path)
    assert console
