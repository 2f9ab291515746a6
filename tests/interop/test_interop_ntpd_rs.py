"""Debian's ntpd-rs and our daemon, each as the other's server and client, with and without NTS."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from interop_import import imported
from interop_ntpd_rs import FORKY, TRIXIE, NtpdRs, Release, key_server, ntpd_rs, server, source, trusting
from interop_nts import Authority
from interop_sntp import SntpClient
from interop_support import OURS, Node, Timesync, appliance, lan, our_environment, timesync, wait_until

pytestmark = pytest.mark.ntpd_rs

LOCK_S = 60
SELECT_S = 60
RENEW_S = 120
COOKIES = 8
NEAR_S = 0.005
"""Both tell the same time, or nearly: a busy machine delays packets."""

Record = Callable[[str, object], None]


@pytest.fixture(params=[TRIXIE, FORKY], ids=lambda release: release.name)
def release(request: pytest.FixtureRequest) -> Release:
    found: Release = request.param
    return found


def locked(daemon: Timesync) -> None:
    wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)


def follows(client: NtpdRs) -> None:
    """It follows us, who are of stratum 2."""
    wait_until(lambda: client.synchronized(3), SELECT_S, "ntpd-rs follows us", client.log)
    # Until it sets the frequency; nothing of that comes to the clock.
    wait_until(lambda: "kept from the clock: modes 0x2," in client.log(), SELECT_S, "it steers by us", client.log)
    assert abs(client.metric("ntp_source_offset_seconds") or 0) < NEAR_S


def nts(authority: Authority) -> str:
    return f"    nts: true\n    ca: {authority.certificate}"


def keyed(daemon: Timesync) -> dict[str, Any]:
    """What our client says of its keys."""
    found: dict[str, Any] = daemon.source().get("details", {}).get("nts", {})
    return found


def serving(authority: Authority, node: Node, *names: str) -> str:
    """Our NTS server."""
    certificate, key = authority.issue("ours", f"IP:{node.address}", *(f"DNS:{name}" for name in names))
    return f"  nts: {{certificate: {certificate}, private_key: {key}}}"


# -- ntpd-rs serves


def test_our_client_follows_ntpd_rs(release: Release, tmp_path: Path, record_property: Record) -> None:
    with (
        lan(3) as (there, here, judge),
        ntpd_rs(there, release, tmp_path / "rs", server(), local_stratum=1) as peer,
        timesync(here, tmp_path / "ours", appliance(there)) as daemon,
    ):
        record_property("ntpd-rs", peer.version())
        locked(daemon)
        found = daemon.source()
        assert (1, "none", False) == (found["stratum"], found["leap"], bool(found.get("authenticated")))
        with judge.entered():
            asks = SntpClient(here.address)
            answer = asks.best(8)
            asks.close()
        assert answer is not None
        assert answer.stratum == 2
        # ntpd-rs gives the time of the clock that all nodes share, so this is our error.
        assert abs(answer.offset_ns) < NEAR_S * 1e9
        record_property("error of the clock that we serve, ns", answer.offset_ns)
        assert (peer.metric("ntp_server_accepted_packets_total") or 0) > 3


def test_our_nts_client_follows_ntpd_rs_and_makes_new_keys_when_it_has_lost_its_own(
    release: Release, tmp_path: Path, record_property: Record
) -> None:
    with lan(2) as (there, here):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("rs", f"IP:{there.address}")
        configuration = server(more="require-nts = true") + key_server(certificate)
        arguments = (there, release, tmp_path / "rs", configuration)
        files = (certificate, key)
        with timesync(here, tmp_path / "ours", appliance(there, ntp=nts(authority))) as daemon:
            with ntpd_rs(*arguments, files=files, local_stratum=1) as peer:
                locked(daemon)
                assert daemon.source()["authenticated"] is True
                wait_until(lambda: keyed(daemon)["cookies"] == COOKIES, LOCK_S, "we have 8 cookies", daemon.log)
                record_property("keys", keyed(daemon))
                assert (peer.metric("ntp_server_nts_accepted_packets_total") or 0) > 3
                assert peer.metric("ntp_server_nts_nak_packets_total") == 0
            # Its master keys were in its memory only, so it knows none of our cookies now.
            with ntpd_rs(*arguments, files=files, local_stratum=1) as again:
                accepted = "ntp_server_nts_accepted_packets_total"
                wait_until(lambda: (again.metric(accepted) or 0) > 3, RENEW_S, "it takes our new cookies", daemon.log)
                assert (again.metric("ntp_server_nts_nak_packets_total") or 0) > 0
                wait_until(lambda: keyed(daemon)["cookies"] == COOKIES, LOCK_S, "we have 8 cookies", daemon.log)


def test_query_makes_keys_with_ntpd_rs_and_asks_on_the_port_that_it_names(release: Release, tmp_path: Path) -> None:
    with lan(2) as (there, here):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("rs", f"IP:{there.address}")
        configuration = server(1123) + key_server(certificate, "ntp-port = 1123")
        with ntpd_rs(there, release, tmp_path / "rs", configuration, files=(certificate, key), local_stratum=1) as peer:
            words = ["query", there.address, "--nts", "--ca", str(authority.certificate), "--count", "2", "--json"]
            done = subprocess.run(
                here.command([*OURS, *words]), env=our_environment(), check=False, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr + done.stdout
            said = json.loads(done.stdout)
            assert said["address"] == f"{there.address}:1123"
            answers = said["answers"]
            assert [(1, "none")] * 2 == [(answer["stratum"], answer["leap"]) for answer in answers]
            assert all(abs(answer["offset_s"]) < NEAR_S for answer in answers)
            assert peer.metric("ntp_server_nts_accepted_packets_total") == 2


def test_ntpd_rs_of_another_authority_gives_no_time(release: Release, tmp_path: Path) -> None:
    with lan(2) as (there, here):
        right, wrong = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
        certificate, key = right.issue("rs", f"IP:{there.address}")
        configuration = server() + key_server(certificate)
        with (
            ntpd_rs(there, release, tmp_path / "rs", configuration, files=(certificate, key), local_stratum=1) as peer,
            timesync(here, tmp_path / "ours", appliance(there, ntp=nts(wrong))) as daemon,
        ):
            wait_until(lambda: "gives no keys" in daemon.log(), LOCK_S, "it says why", daemon.log)
            assert '"Interop CA"' in daemon.log()
            assert daemon.status()["state"] != "locked"
            assert peer.metric("ntp_server_received_packets_total") == 0


def test_we_say_that_ntpd_rs_denies_us(release: Release, tmp_path: Path) -> None:
    with (
        lan(2) as (there, here),
        ntpd_rs(there, release, tmp_path / "rs", server(more='require-nts = "deny"'), local_stratum=1) as peer,
        timesync(here, tmp_path / "ours", appliance(there)) as daemon,
    ):
        wait_until(lambda: "DENY" in daemon.why(), LOCK_S, "it says why", lambda: daemon.why() + daemon.log())
        assert (peer.metric("ntp_server_denied_packets_total") or 0) > 0
        assert daemon.status()["state"] != "locked"


# -- ntpd-rs follows


def test_ntpd_rs_follows_us(release: Release, tmp_path: Path, record_property: Record) -> None:
    with (
        lan(3) as (reference, here, there),
        ntpd_rs(reference, release, tmp_path / "reference", server(), local_stratum=1),
        timesync(here, tmp_path / "ours", appliance(reference)) as daemon,
    ):
        locked(daemon)
        with ntpd_rs(there, release, tmp_path / "rs", source("server", here.address)) as client:
            follows(client)
            record_property("ntpd-rs's offset of us, s", client.metric("ntp_source_offset_seconds"))
            record_property("ntpd-rs's uncertainty of us, s", client.metric("ntp_source_uncertainty_seconds"))
        assert daemon.counters()["answered"] > 3


def test_ntpd_rs_follows_us_by_nts(release: Release, tmp_path: Path, record_property: Record) -> None:
    with lan(3) as (reference, here, there):
        authority = Authority(tmp_path / "ca")
        name = "time.example.org"
        configuration = appliance(reference, serve=serving(authority, here, name))
        with (
            ntpd_rs(reference, release, tmp_path / "reference", server(), local_stratum=1),
            timesync(here, tmp_path / "ours", configuration) as daemon,
        ):
            locked(daemon)
            told = source("nts", name, trusting(authority.certificate))
            files, hosts = (authority.certificate,), {name: here.address}
            with ntpd_rs(there, release, tmp_path / "rs", told, files=files, hosts=hosts) as client:
                follows(client)
                assert client.metric("ntp_source_nts_cookies_available") == COOKIES
                record_property("ntpd-rs's offset of us, s", client.metric("ntp_source_offset_seconds"))
            counters = daemon.counters()
            assert counters["nts"] > 3
            assert counters["nts_nak"] == 0
            assert counters["answered"] == counters["nts"]


def test_ntpd_rs_does_not_follow_us_when_our_certificate_is_of_another_authority_or_name(
    release: Release, tmp_path: Path
) -> None:
    with lan(3) as (reference, here, there):
        right, wrong = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
        configuration = appliance(reference, serve=serving(right, here, "time.example.org"))
        with (
            ntpd_rs(reference, release, tmp_path / "reference", server(), local_stratum=1),
            timesync(here, tmp_path / "ours", configuration) as daemon,
        ):
            locked(daemon)
            for case, (trusted, name) in enumerate([(wrong, "time.example.org"), (right, "other.example.org")]):
                told = source("nts", name, trusting(trusted.certificate))
                files, hosts = (trusted.certificate,), {name: here.address}
                with ntpd_rs(there, release, tmp_path / f"rs{case}", told, files=files, hosts=hosts) as client:
                    wait_until(
                        lambda client=client: "error while attempting key exchange" in client.log(),
                        SELECT_S,
                        "it complains",
                        client.log,
                    )
                    assert re.search("invalid peer certificate|InvalidCertificate", client.log())
                    assert client.metric("ntp_source_nts_cookies_available") is None
            assert daemon.counters()["nts"] == 0


def test_ntpd_rs_takes_us_for_an_nts_pool(tmp_path: Path) -> None:
    """It asks for a second server, and says that it does not want the one that it has."""
    assert FORKY.pools
    with lan(3) as (reference, here, there):
        authority = Authority(tmp_path / "ca")
        name = "pool.example.org"
        configuration = appliance(reference, serve=serving(authority, here, name))
        with (
            ntpd_rs(reference, FORKY, tmp_path / "reference", server(), local_stratum=1),
            timesync(here, tmp_path / "ours", configuration) as daemon,
        ):
            locked(daemon)
            told = source("nts-pool", name, f"{trusting(authority.certificate)}\ncount = 2")
            files, hosts = (authority.certificate,), {name: here.address}
            with ntpd_rs(there, FORKY, tmp_path / "rs", told, files=files, hosts=hosts) as client:
                follows(client)
                wait_until(
                    lambda: "received an address from pool-ke that we already had" in client.log(),
                    SELECT_S,
                    "it has asked for another one",
                    client.log,
                )
                assert len(client.metrics()["ntp_source_nts_cookies_available"]) == 1
                assert client.metric("ntp_source_nts_cookies_available") == COOKIES
            assert daemon.counters()["nts_nak"] == 0


def test_the_configuration_that_debian_ships_becomes_one_of_ours(release: Release, tmp_path: Path) -> None:
    text = imported(release.root / "etc/ntpd-rs/ntp.toml", tmp_path / "t.yaml")
    assert "pool: ntpd-rs.pool.ntp.org" in text
    assert "minimum_sources: 3" in text
    assert "not known here" not in text
