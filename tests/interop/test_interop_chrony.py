"""Debian's chronyd as a client of ours and as our server, plain, interleaved and with symmetric keys."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from interop_support import Chronyd, Node, Timesync, appliance, chronyd, lan, timesync, wait_until

pytestmark = pytest.mark.interop

SERVER = ("allow all", "local stratum 1")
LOCK_S = 60
SELECT_S = 60
INTERLEAVED_S = 60
SILENT_REQUESTS = 8

SHA256 = "HEX:8c2f5a0e9d7b41c6a3e0f1d2b4c5968778695a4b3c2d1e0f"
AES128 = "HEX:00112233445566778899aabbccddeeff"
WRONG = {"SHA256": "HEX:ffffffffffffffffffffffffffffffffffffffff", "AES128": "HEX:ffeeddccbbaa99887766554433221100"}
RIGHT = {"SHA256": SHA256, "AES128": AES128}
ALGORITHMS = ("SHA256", "AES128")


def wait_for_lock(daemon: Timesync) -> None:
    wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)


def key_file(directory: Path, algorithm: str, secret: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    file = directory / "chrony.keys"
    file.write_text(f"7 {algorithm} {secret}\n")
    return file


def keys(algorithm: str, secret: str) -> str:
    return f'keys: {{7: {{algorithm: {algorithm}, secret: "{secret}"}}}}'


def test_chronyd_selects_us_and_both_sides_say_interleaved(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with (
        lan(3) as (reference, here, there),
        chronyd(reference, tmp_path / "server", *SERVER),
        timesync(here, tmp_path / "ours", appliance(reference)) as daemon,
    ):
        wait_for_lock(daemon)
        follow = f"server {here.address} minpoll 0 maxpoll 0 iburst xleave"
        with chronyd(there, tmp_path / "client", "port 0", follow) as client:
            wait_until(client.selected, SELECT_S, "chronyd selects us", client.log)
            data = wait_until(
                lambda: (found := client.ntpdata()).get("Interleaved") == "Yes" and found,
                INTERLEAVED_S,
                "chronyd says that we are interleaved",
                lambda: str(client.ntpdata()),
            )
            tracking = client.ask("tracking")
        # We ask our own server, another chronyd, the same way; an exchange that was late is made up for in basic mode.
        wait_until(lambda: daemon.source()["interleaved"], INTERLEAVED_S, "our source is interleaved", daemon.why)
        counters, source = daemon.counters(), daemon.source()

    record_property("chronyd's ntpdata of us", ", ".join(f"{name} {data[name]}" for name in ("Offset", "Peer delay")))
    assert data["Remote address"].startswith(here.address)
    assert data["Leap status"] == "Normal"
    assert data["Version"] == "4"
    assert data["Stratum"] == "2"
    assert data["Authenticated"] == "No"
    assert int(data["Total valid RX"]) > 0
    # A measurement of chronyd's is in seconds, with the unit behind it.
    assert abs(float(data["Offset"].split()[0])) < 1e-3
    assert here.address in tracking
    assert counters["interleaved"] > 0
    assert source["timestamping"] == "kernel"


def test_a_plain_chronyd_stays_in_basic_mode(tmp_path: Path) -> None:
    with (
        lan(3) as (reference, here, there),
        chronyd(reference, tmp_path / "server", *SERVER),
        timesync(here, tmp_path / "ours", appliance(reference, ntp="    interleaved: never")) as daemon,
    ):
        wait_for_lock(daemon)
        with chronyd(there, tmp_path / "client", "port 0", f"server {here.address} minpoll 0 maxpoll 0") as client:
            wait_until(client.selected, SELECT_S, "chronyd selects us", client.log)
            data = client.ntpdata()
        counters, source = daemon.counters(), daemon.source()

    assert data["Interleaved"] == "No"
    assert data["Version"] == "4"
    assert counters["answered"] > 0
    assert counters["interleaved"] == 0
    assert source["interleaved"] is False
    assert source["state"] == "selected"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_our_client_with_the_right_key_and_a_wrong_one(tmp_path: Path, algorithm: str) -> None:
    with lan(2) as (there, here):
        file = key_file(tmp_path / "server", algorithm, RIGHT[algorithm])
        with chronyd(there, tmp_path / "server", *SERVER, f"keyfile {file}"):
            right = appliance(there, ntp="    key: 7", rest=keys(algorithm, RIGHT[algorithm]))
            with timesync(here, tmp_path / "right", right) as daemon:
                wait_for_lock(daemon)
                authenticated = daemon.source()
            wrong = appliance(there, ntp="    key: 7", rest=keys(algorithm, WRONG[algorithm]))
            with timesync(here, tmp_path / "wrong", wrong) as daemon:
                refused = wait_until(
                    lambda: (found := daemon.source()).get("sent", 0) >= SILENT_REQUESTS and found,
                    60,
                    "our client has asked a few times",
                    daemon.log,
                )
                status, why = daemon.status(), daemon.why()

    assert authenticated["authenticated"] is True
    assert authenticated["state"] == "selected"
    assert refused["samples"] == 0
    assert refused["received"] == 0
    assert refused["state"] in {"unreachable", "waiting"}
    assert "compare the keys" in why
    assert status["state"] != "locked"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_chronyd_as_client_with_the_right_key_and_a_wrong_one(tmp_path: Path, algorithm: str) -> None:
    with (
        lan(3) as (reference, here, there),
        chronyd(reference, tmp_path / "server", *SERVER),
        timesync(here, tmp_path / "ours", appliance(reference, rest=keys(algorithm, RIGHT[algorithm]))) as daemon,
    ):
        wait_for_lock(daemon)
        with client_with_key(there, here, tmp_path / "right", algorithm, RIGHT[algorithm]) as client:
            wait_until(client.selected, SELECT_S, "chronyd selects us", client.log)
            right = client.ntpdata()
        before = daemon.counters()
        with client_with_key(there, here, tmp_path / "wrong", algorithm, WRONG[algorithm]) as client:
            wait_until(
                lambda: int(client.ntpdata().get("Total TX", "0")) >= SILENT_REQUESTS,
                60,
                "chronyd has asked a few times",
                client.log,
            )
            wrong, state = client.ntpdata(), client.source()[1]
        after = daemon.counters()

    assert right["Authenticated"] == "Yes"
    assert before["authenticated"] > 0
    assert before["auth_failed"] == 0
    assert wrong["Total valid RX"] == "0"
    assert state == "?"
    assert after["auth_failed"] >= SILENT_REQUESTS - 1
    assert after["authenticated"] == before["authenticated"]


def client_with_key(
    there: Node, here: Node, directory: Path, algorithm: str, secret: str
) -> AbstractContextManager[Chronyd]:
    file = key_file(directory, algorithm, secret)
    server = f"server {here.address} minpoll 0 maxpoll 0 iburst key 7"
    return chronyd(there, directory, "port 0", f"keyfile {file}", server)
