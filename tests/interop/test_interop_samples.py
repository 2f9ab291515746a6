"""Samples to Debian's chronyd and from Debian's gpsd, by chrony's SOCK datagrams and NTP shared memory.

An NTP server whose time is off by a known amount is the truth: a sample with the wrong sign is off by twice as much.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interop_gpsd import receivers
from interop_samples import over_tcp, reference_ahead_s, sender, sharing, sharing_gpsd, shifted_server
from interop_support import VIRTUAL, Timesync, chronyd, lan, timesync, wait_until

pytestmark = pytest.mark.interop

AHEAD_S = 0.25
NEAR_S = 1e-3
LOCK_S = 60
SELECT_S = 60
UNDISCIPLINED = "clocks: {system: {discipline: false}}\n"


def _sources(daemon: Timesync) -> dict[str, dict[str, Any]]:
    return {source["kind"]: source for source in daemon.ask("sources").get("sources", [])}


def _known(daemon: Timesync, *kinds: str) -> dict[str, dict[str, Any]] | None:
    """Its sources, once all of these kinds are used and a few seconds old."""
    found = _sources(daemon)
    used = all(found.get(kind, {}).get("state") in {"selected", "candidate"} for kind in kinds)
    return found if used and all(found[kind]["samples"] >= 6 for kind in kinds) else None


def test_chronyd_follows_our_datagrams(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Our clock in software follows a server; chronyd is told where the machine's clock stands against it."""
    path = tmp_path / "chrony.sock"
    with lan(2) as (there, here), shifted_server(there, tmp_path / "server", "250ms"):
        configuration = f"{VIRTUAL}\nsources: [{{ntp: {there.address}, poll: [1s, 4s]}}]\nserve: {{sock: {path}}}"
        with timesync(here, tmp_path / "ours", configuration) as daemon:
            wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
            lonely = wait_until(
                lambda: [text for text in daemon.status()["warnings"] if "serve.sock" in text],
                10,
                "it says that nobody takes its samples",
                lambda: str(daemon.status()),
            )
            refclock = f"refclock SOCK {path} refid TSYN poll 1 filter 1"
            with chronyd(here, tmp_path / "chrony", "port 0", refclock) as client:
                wait_until(client.selected, SELECT_S, "chronyd selects us", client.log)
                wait_until(lambda: client.source()[5] == "377", SELECT_S, "it has had eight samples", client.log)
                ahead_s, state = reference_ahead_s(client), client.source()
                warnings = daemon.status()["warnings"]

    record_property("chronyd: machine's clock behind by", f"{ahead_s:.6f} s instead of {AHEAD_S} s")
    assert str(path) in lonely[0]
    assert [] == [text for text in warnings if "serve.sock" in text]
    assert "TSYN" == state[2]
    assert abs(ahead_s - AHEAD_S) < NEAR_S


def test_chronyd_and_gpsds_monitor_read_our_segment(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """As where chronyd stays in charge of the machine's clock, and we only measure."""
    with lan(2) as (there, plain), sharing(plain) as here, shifted_server(there, tmp_path / "server", "250ms"):
        configuration = f"{UNDISCIPLINED}sources: [{{ntp: {there.address}, poll: [1s, 4s]}}]\nserve: {{shm: 2}}"
        with timesync(here, tmp_path / "ours", configuration) as daemon:
            wait_until(lambda: _known(daemon, "ntp"), LOCK_S, "our daemon knows the offset", daemon.log)
            monitor = here.peer("ntpshmmon", "-n", "3", "-t", "20")
            with chronyd(
                here, tmp_path / "chrony", "port 0", "refclock SHM 2:perm=0666 refid TSYN poll 1 dpoll 0"
            ) as client:
                wait_until(client.selected, SELECT_S, "chronyd selects us", client.log)
                wait_until(lambda: client.source()[5] == "377", SELECT_S, "it has had eight samples", client.log)
                ahead_s, state = reference_ahead_s(client), client.source()

    record_property("chronyd: machine's clock behind by", f"{ahead_s:.6f} s instead of {AHEAD_S} s")
    assert "TSYN" == state[2]
    assert abs(ahead_s - AHEAD_S) < NEAR_S
    assert ["#", "Name", "Seen@", "Clock", "Real", "L", "Prc"] in [line.split() for line in monitor.stdout.splitlines()]
    samples = [line.split() for line in monitor.stdout.splitlines() if line.startswith("sample")]
    assert 3 == len(samples), monitor
    for _, unit, _, clock, real, leap, precision in samples:
        assert ("NTP2", "0", "-20") == (unit, leap, precision)
        assert abs(_difference_s(real, clock) - AHEAD_S) < NEAR_S


def _difference_s(one: str, other: str) -> float:
    """Of two times as decimals; all of them at once would not fit into a float."""
    (s1, ns1), (s2, ns2) = (text.split(".") for text in (one, other))
    return int(s1) - int(s2) + (int(ns1.ljust(9, "0")) - int(ns2.ljust(9, "0"))) / 1e9


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler on this machine")
@pytest.mark.parametrize(("pulse", "told_s"), [(False, AHEAD_S), (True, 1 - AHEAD_S)], ids=["samples", "pulses"])
def test_a_sender_in_c_means_the_same_to_us_and_to_chronyd(
    tmp_path: Path, pulse: bool, told_s: float, record_property: Callable[[str, object], None]
) -> None:
    """Of a pulse only the fraction counts: the clock sees it 0.75 s after its own second, so it is 0.25 s behind."""
    ours, theirs = tmp_path / "ours" / "ref.sock", tmp_path / "theirs.sock"
    with lan(2) as (there, here), shifted_server(there, tmp_path / "server", "250ms"):
        sources = f"sources: [{{sock: ref.sock}}, {{ntp: {there.address}, poll: [1s, 4s]}}]"
        configuration = f"{UNDISCIPLINED}{sources}\nsteering: {{minimum_sources: 2}}"
        chrony = (f"refclock SOCK {theirs} refid REF poll 1 filter 1", f"server {there.address} maxpoll 1 iburst")
        with (
            timesync(here, tmp_path / "ours", configuration) as daemon,
            chronyd(here, tmp_path / "chrony", "port 0", *chrony) as client,
            sender(here, tmp_path / "a", ours, told_s, pulse=pulse),
            sender(here, tmp_path / "b", theirs, told_s, pulse=pulse),
        ):
            found = wait_until(
                lambda: _known(daemon, "sock", "ntp"), LOCK_S, "our daemon uses both", lambda: str(_sources(daemon))
            )
            wait_until(client.selected, SELECT_S, "chronyd selects the refclock", client.log)
            ahead_s = reference_ahead_s(client)

    record_property("ours", f"sock {found['sock']['offset_s']:+.6f} s, ntp {found['ntp']['offset_s']:+.6f} s")
    record_property("chronyd", f"machine's clock behind by {ahead_s:.6f} s")
    # Ours says by how much the clock is ahead.
    assert abs(found["ntp"]["offset_s"] + AHEAD_S) < NEAR_S
    assert abs(found["sock"]["offset_s"] - found["ntp"]["offset_s"]) < NEAR_S
    assert "selected" == found["sock"]["state"]
    assert ("SOCK", 0) == (found["sock"]["reference_id"], found["sock"]["stratum"])
    assert abs(ahead_s - AHEAD_S) < NEAR_S
    # Where nothing numbers pulses yet, they are refused until something does.
    assert set(found["sock"]["drops"]) <= ({"searching", "unnumbered", "ambiguous"} if pulse else set())


def test_gpsd_writes_and_we_read(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Its samples say when the message came, some 150 ms behind its second: the clock seems to be ahead."""
    with (
        lan(2) as (there, plain),
        sharing(plain) as here,
        shifted_server(there, tmp_path / "server", "-300ms"),
        receivers(1) as (receiver,),
        over_tcp(here, receiver) as device,
    ):
        sources = f"sources: [{{shm: 0}}, {{ntp: {there.address}, poll: [1s, 4s], noselect: true}}]"
        with timesync(here, tmp_path / "ours", f"{UNDISCIPLINED}{sources}") as daemon:
            with sharing_gpsd(here, tmp_path / "gpsd", device) as log:
                found = wait_until(
                    lambda: _known(daemon, "shm"),
                    LOCK_S,
                    "our daemon uses gpsd's samples",
                    lambda: f"{_sources(daemon)}\n{log.read_text(errors='replace')}",
                )
                found = wait_until(
                    lambda: (seen := _sources(daemon))["ntp"]["offset_s"] is not None and seen,
                    LOCK_S,
                    "it has asked the server",
                    daemon.log,
                )
            # gpsd is gone, its segment stays, and what is in it becomes no sample again.
            before = _sources(daemon)["shm"]["samples"]
            quiet = wait_until(
                lambda: (seen := _sources(daemon)["shm"])["last_sample_age_s"] > 4 and seen,
                30,
                "nothing new comes",
                lambda: str(_sources(daemon)),
            )

    shm, ntp = found["shm"], found["ntp"]
    record_property("shm", f"{shm['offset_s']:+.6f} s ± {shm['jitter_s'] * 1e3:.2f} ms; ntp {ntp['offset_s']:+.6f} s")
    assert abs(ntp["offset_s"] - 0.3) < NEAR_S
    # The same sign as with a server that is behind; the burst begins 100 ms after the second, and takes its time.
    assert 0.1 < shm["offset_s"] < 0.4
    assert ("selected", "SHM", 0) == (shm["state"], shm["reference_id"], shm["stratum"])
    assert before <= quiet["samples"] <= before + 1
