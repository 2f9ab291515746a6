"""The daemon on Debian's gpsd: it serves on while gpsd is killed, restarted and fed with nonsense, and says so."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from interop_gpsd import gpsd, receivers
from interop_support import VIRTUAL, Timesync, lan, timesync, wait_until

pytestmark = pytest.mark.interop

CONFIGURATION = f"""{VIRTUAL}
sources:
  - gpsd: 127.0.0.1
    name: sky
serve:
  clock: bench
  ntp:
    listen: [127.0.0.1:123]
"""
START_S = 40
"""gpsd needs a few bursts to know the language of a receiver; then eight samples make a lock."""

BACK_S = 60
"""A new connection is tried after 16 s at the latest, and a fix must have been back for a while to be believed."""


def said_after(daemon: Timesync, since: int, words: str) -> Callable[[], bool]:
    """Whether the log has these words after so many characters."""
    return lambda: words in daemon.log()[since:]


def served(daemon: Timesync) -> tuple[str, int]:
    """State and stratum, as the daemon says."""
    status = daemon.status()
    return status["state"], status["stratum"]


def test_gpsd_may_die_and_talk_nonsense(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with lan(1) as (node,), receivers(1) as (receiver,):
        with (
            gpsd(node, tmp_path / "first", receiver.path) as first,
            timesync(node, tmp_path / "us", CONFIGURATION) as us,
        ):
            wait_until(us.locked, START_S, "locked on gpsd", us.log)
            assert ("locked", 1) == served(us)
            sky = us.source()
            assert ("sky", "gpsd", "selected") == (sky["name"], sky["kind"], sky["state"])
            assert "3D" == sky["details"]["fix"]
            assert sky["details"]["satellites_used"] >= 4
            record_property("message of gpsd that tells the time", sky["details"]["message"])
            record_property("claimed error bound on messages alone", f"{us.status()['error_bound_s'] * 1e3:.0f} ms")

            # Nonsense on the receiver's line is gpsd's to sort out; ours goes on.
            receiver.noise = bytes(range(256)) * 4
            mark = len(us.log())
            wait_until(lambda: receiver.noise == b"", 5, "the noise is sent")
            assert ("locked", 1) == served(us)

            first.process.send_signal(signal.SIGKILL)
            wait_until(said_after(us, mark, "holdover"), START_S, "holdover without gpsd", us.log)
            assert "trying again" in us.log()[mark:]
            assert ("holdover", 1) == served(us)
            why = us.why()
            assert "sky is" in why

        # The first one's `with` has ended; a second one takes its place.
        del first
    assert "holdover" in us.log()


def test_gpsd_comes_back(tmp_path: Path) -> None:
    with lan(1) as (node,), receivers(1) as (receiver,), timesync(node, tmp_path / "us", CONFIGURATION) as us:
        wait_until(said_after(us, 0, "trying again"), 10, "gpsd is missed", us.log)
        assert us.status()["stratum"] == 16
        with gpsd(node, tmp_path / "first", receiver.path):
            wait_until(us.locked, START_S + BACK_S, "locked once gpsd is there", us.log)
            mark = len(us.log())
        wait_until(said_after(us, mark, "holdover"), START_S, "holdover when it ends", us.log)
        bound = us.status()["error_bound_s"]
        with gpsd(node, tmp_path / "second", receiver.path):
            wait_until(said_after(us, mark, "works again"), BACK_S, "gpsd is found again", us.log)
            wait_until(us.locked, BACK_S, "locked again", us.log)
        assert bound < 3
