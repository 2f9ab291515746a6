"""NTS end to end: our daemon and our library as clients of Debian's chronyd, as its servers, and of another of ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import CliRunner
from interop_nts import Authority
from interop_support import Chronyd, Node, Timesync, appliance, chronyd, lan, timesync, wait_until

from timesync.base.time import Duration
from timesync.cli.main import cli
from timesync.lib import Claim, KeKind, NtsCertificate, NtsError, NtsSession, NtsTrust, follow, query, serve

pytestmark = pytest.mark.interop

LOCK_S = 60
SELECT_S = 60
SECRETS = 8


def authdata(client: Chronyd) -> list[str]:
    """Name, mode, key id, type, key length, last, attempts, NAK, cookies, cookie length."""
    return client.ask("-c", "authdata").strip().split(",")


def nts(authority: Authority) -> str:
    return f"    nts: true\n    ca: {authority.certificate}"


def serving(certificate: Path, key: Path, more: str = "") -> str:
    return f"  nts: {{certificate: {certificate}, private_key: {key}{more}}}"


def details(daemon: Timesync) -> dict[str, object]:
    found: dict[str, object] = daemon.source().get("details", {}).get("nts", {})
    return found


def locked(daemon: Timesync) -> None:
    wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)


def chrony_server(authority: Authority, node: Node, directory: Path) -> tuple[str, ...]:
    certificate, key = authority.issue("chrony", f"IP:{node.address}")
    return (
        "allow all", "local stratum 1", f"ntsservercert {certificate}", f"ntsserverkey {key}", f"ntsdumpdir {directory}"
    )  # fmt: skip


def test_our_client_follows_chronyd_and_goes_on_after_a_restart_without_new_keys(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with lan(2) as (server, here):
        authority = Authority(tmp_path / "ca")
        lines = chrony_server(authority, server, tmp_path)
        with chronyd(server, tmp_path / "server", *lines):
            configuration = appliance(server, ntp=nts(authority))
            with timesync(here, tmp_path / "ours", configuration) as daemon:
                locked(daemon)
                source, said = daemon.source(), details(daemon)
                assert source["authenticated"] is True
                assert (SECRETS, False) == (said["cookies"], said["provisional"])
                record_property("keys", said)
                assert "has keys for" in daemon.log()
            with timesync(here, tmp_path / "ours", configuration) as again:
                locked(again)
                assert again.source()["authenticated"] is True
                assert "has keys for" not in again.log()


def test_a_chronyd_without_nts_or_with_another_authority_gives_no_time(tmp_path: Path) -> None:
    with lan(2) as (server, here):
        right, wrong = Authority(tmp_path / "ca"), Authority(tmp_path / "other")
        with (
            chronyd(server, tmp_path / "server", *chrony_server(right, server, tmp_path)),
            timesync(here, tmp_path / "ours", appliance(server, ntp=nts(wrong))) as daemon,
        ):
            wait_until(lambda: "gives no keys" in daemon.log(), LOCK_S, "it says why", daemon.log)
            assert daemon.status()["state"] != "locked"
            assert '"Interop CA"' in daemon.log()


def test_chronyd_follows_us_and_our_counters_say_so(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with lan(3) as (reference, here, there):
        authority = Authority(tmp_path / "ca")
        certificate, key = authority.issue("ours", f"IP:{here.address}")
        configuration = appliance(reference, serve=serving(certificate, key))
        follow = f"server {here.address} nts minpoll 0 maxpoll 0 iburst"
        with (
            chronyd(reference, tmp_path / "server", "allow all", "local stratum 1"),
            timesync(here, tmp_path / "ours", configuration) as daemon,
        ):
            locked(daemon)
            lines = ("port 0", f"ntstrustedcerts {authority.certificate}", follow)
            with chronyd(there, tmp_path / "client", *lines) as client:
                wait_until(client.selected, SELECT_S, "chronyd selects us", client.log)
                found = wait_until(
                    lambda: (row := authdata(client)) and row[8] == "8" and row,
                    SELECT_S,
                    "it has 8 cookies",
                    client.log,
                )
                data = client.ntpdata()
                counters = daemon.counters()
    assert "NTS" == found[1]
    assert "0" == found[7]  # no NAK
    assert "Yes" == data["Authenticated"]
    assert counters["nts"] > 3
    assert 0 == counters["nts_nak"]
    record_property("chronyd's authdata of us", ",".join(found))
    record_property("chronyd's offset of us", data["Offset"])


def test_ours_follows_ours_and_one_fleet_takes_the_other_s_cookies(tmp_path: Path) -> None:
    with lan(4) as (reference, first, second, here):
        authority = Authority(tmp_path / "ca")
        seed = tmp_path / "seed"
        seed.write_bytes(bytes(range(48)))
        seed.chmod(0o600)
        pairs = [authority.issue(node.name, f"IP:{node.address}") for node in (first, second)]
        # The first one gives keys for the second, which never sees the client but by its cookies.
        sends = serving(*pairs[0], f", seed: {seed}, server: {second.address}")
        takes = serving(*pairs[1], f", seed: {seed}")
        with (
            chronyd(reference, tmp_path / "server", "allow all", "local stratum 1"),
            timesync(first, tmp_path / "first", appliance(reference, serve=sends)) as giver,
            timesync(second, tmp_path / "second", appliance(reference, serve=takes)) as taker,
        ):
            locked(giver)
            locked(taker)
            with timesync(here, tmp_path / "ours", appliance(first, ntp=nts(authority))) as daemon:
                locked(daemon)
                assert daemon.source()["address"].startswith(second.address)
                assert SECRETS == details(daemon)["cookies"]
            assert taker.counters()["nts"] > 3
            assert 0 == giver.counters()["nts"]


def test_our_library_and_our_command_ask_chronyd(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    async def story(where: str, trust: NtsTrust, restart: Callable[[], object]) -> None:
        reply = await query(where, nts=trust, count=3, interval_s=0.1)
        assert (True, 1) == (reply.authenticated, reply.stratum)
        # One machine has one clock.
        assert abs(reply.offset.s()) < reply.error_bound.s() + 0.001
        record_property("offset", str(reply.offset))
        with pytest.raises(NtsError, match='"Interop CA"') as refused:
            await query(where, nts=True)
        assert KeKind.CERTIFICATE is refused.value.kind
        async with follow(where, nts=trust, poll_s=(0.25, 1), every_s=0.2) as states, asyncio.timeout(LOCK_S):
            async for state in states:
                if state.synchronized:
                    break
        async with NtsSession(where, trust=trust) as session:
            for _ in range(SECRETS + 2):
                await session.query()
            assert (SECRETS, 1) == (session.cookies, session.rounds)
            record_property("keys", session.established.aead.name)
            restart()
            assert (await session.query()).authenticated
            assert (SECRETS, 2) == (session.cookies, session.rounds)

    with lan(2) as (server, here):
        authority = Authority(tmp_path / "ca")
        # Without a place for its keys it forgets them when it ends.
        lines = [line for line in chrony_server(authority, server, tmp_path) if not line.startswith("ntsdumpdir")]
        with ExitStack() as running:
            running.enter_context(chronyd(server, tmp_path / "server", *lines))
            with here.entered():
                asked = ["query", server.address, "--nts", "--ca", str(authority.certificate), "--json"]
                content = json.loads(CliRunner().invoke(cli, asked).stdout)
            assert (True, SECRETS) == (content["usable"], content["nts"]["cookies"])

            def restart() -> None:
                running.close()
                running.enter_context(chronyd(server, tmp_path / "again", *lines))

            with here.entered():
                asyncio.run(story(server.address, NtsTrust(authority.certificate), restart))


def test_chronyd_follows_our_library(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    claim = Claim(stratum=3, reference_id=b"LAB\0", root_dispersion=Duration.from_s(0.001))

    async def story(address: str, nts: NtsCertificate, trial: Callable[[], str]) -> str:
        async with serve(address, claim=lambda: claim, allow=["0.0.0.0/0"], nts=nts) as server:
            found = await asyncio.to_thread(trial)
            counters = server.counters()
            assert counters.nts == counters.answered > 2
            assert 0 == counters.nts_nak
            return found

    with lan(2) as (here, there):
        authority = Authority(tmp_path / "ca")
        certificate = NtsCertificate(*authority.issue("ours", f"IP:{here.address}"))

        def trial() -> str:
            lines = (
                "port 0", f"ntstrustedcerts {authority.certificate}",
                f"server {here.address} nts minpoll 0 maxpoll 0 iburst",
            )  # fmt: skip
            with chronyd(there, tmp_path / "client", *lines) as client:
                wait_until(client.selected, SELECT_S, "chronyd selects us", client.log)
                assert ("NTS", "0", "8") == tuple(authdata(client)[place] for place in (1, 7, 8))
                return client.ntpdata()["Offset"]

        with here.entered():
            offset = asyncio.run(story(here.address, certificate, trial))
    record_property("chronyd's offset of us", offset)
