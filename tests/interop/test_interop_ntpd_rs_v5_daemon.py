"""NTPv5 between Debian's ntpd-rs and our daemon, as each other's server and client, with and without NTS."""

from __future__ import annotations

from pathlib import Path

import pytest
from interop_ntpd_rs import FORKY, key_server, ntpd_rs, server, source, trusting
from interop_nts import Authority
from interop_support import Timesync, appliance, lan, timesync, wait_until

pytestmark = pytest.mark.ntpd_rs

LOCK_S = 90
SELECT_S = 90
NEAR_S = 0.005
BOTH = "accept-ntp-versions = [4, 5]"
SERVED = "    versions: [4, 5]"


def speaks(daemon: Timesync, version: int) -> bool:
    found = daemon.source()
    draft = FORKY.draft if version == 5 else None
    return daemon.locked() and (version, draft) == (found.get("version"), found.get("draft"))


@pytest.mark.parametrize("version", ["5", "auto"])
def test_our_client_follows_ntpd_rs_in_version_5(tmp_path: Path, version: str) -> None:
    """It passes over -09, which ntpd-rs leaves unanswered."""
    with (
        lan(2) as (there, here),
        ntpd_rs(there, FORKY, tmp_path / "rs", server(more=BOTH), local_stratum=1),
        timesync(here, tmp_path / "ours", appliance(there, ntp=f"    version: {version}")) as daemon,
    ):
        wait_until(lambda: speaks(daemon, 5), LOCK_S, "we follow in version 5", daemon.log)
        assert daemon.source()["stratum"] == 1


def test_our_client_goes_back_to_version_4_where_ntpd_rs_says_that_it_speaks_5_and_does_not(tmp_path: Path) -> None:
    """Its server says so whatever its configuration allows, and by default that is not 5."""
    with (
        lan(2) as (there, here),
        ntpd_rs(there, FORKY, tmp_path / "rs", server(), local_stratum=1) as peer,
        timesync(here, tmp_path / "ours", appliance(there, ntp="    version: auto")) as daemon,
    ):
        ignored = "ntp_server_ignored_packets_total"
        wait_until(lambda: (peer.metric(ignored) or 0) > 0, LOCK_S, "we try version 5", daemon.log)
        wait_until(lambda: speaks(daemon, 4), LOCK_S, "we follow in version 4", daemon.log)


def test_our_nts_client_makes_keys_for_version_5_with_ntpd_rs(tmp_path: Path) -> None:
    with lan(2) as (there, here):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("rs", f"IP:{there.address}")
        configuration = server(more="accept-ntp-versions = [5]\nrequire-nts = true") + key_server(certificate, BOTH)
        ours = appliance(there, ntp=f"    nts: true\n    ca: {authority.certificate}\n    version: 5")
        with (
            ntpd_rs(there, FORKY, tmp_path / "rs", configuration, files=(certificate, key), local_stratum=1) as peer,
            timesync(here, tmp_path / "ours", ours) as daemon,
        ):
            wait_until(lambda: speaks(daemon, 5), LOCK_S, "we follow in version 5", daemon.log)
            assert daemon.source()["authenticated"] is True
            assert (peer.metric("ntp_server_nts_accepted_packets_total") or 0) > 3


@pytest.mark.parametrize("version", ["5", '"auto"'])
def test_ntpd_rs_follows_our_daemon_in_version_5(tmp_path: Path, version: str) -> None:
    with (
        lan(3) as (reference, here, there),
        ntpd_rs(reference, FORKY, tmp_path / "reference", server(), local_stratum=1),
        timesync(here, tmp_path / "ours", appliance(reference, serve=SERVED)) as daemon,
    ):
        wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
        told = source("server", here.address, f"ntp-version = {version}")
        with ntpd_rs(there, FORKY, tmp_path / "rs", told) as client:
            wait_until(lambda: client.synchronized(3), SELECT_S, "ntpd-rs follows us", client.log)
            # It has had all pieces of our filter.
            wait_until(lambda: "bloom_filter: Some(" in client.log(), SELECT_S, "it has our filter", client.log)
            assert abs(client.metric("ntp_source_offset_seconds") or 0) < NEAR_S
            assert client.synchronized(3)


def test_ntpd_rs_makes_keys_for_version_5_with_our_daemon(tmp_path: Path) -> None:
    with lan(3) as (reference, here, there):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("ours", f"IP:{here.address}")
        serve = f"{SERVED}\n  nts: {{certificate: {certificate}, private_key: {key}}}"
        with (
            ntpd_rs(reference, FORKY, tmp_path / "reference", server(), local_stratum=1),
            timesync(here, tmp_path / "ours", appliance(reference, serve=serve)) as daemon,
        ):
            wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
            told = source("nts", here.address, f"{trusting(authority.certificate)}\nntp-version = 5")
            with ntpd_rs(there, FORKY, tmp_path / "rs", told, files=(authority.certificate,)) as client:
                wait_until(lambda: client.synchronized(3), SELECT_S, "ntpd-rs follows us", client.log)
                assert "protocol_version: V5" in client.log()
                assert client.metric("ntp_source_nts_cookies_available") == 8
                wait_until(lambda: daemon.counters()["nts"] > 3, SELECT_S, "we count its requests", daemon.log)
            assert daemon.counters()["nts_nak"] == 0
