"""NTP over PTP with Debian's chronyd, whose form is the experimental one: as our server and as a client of ours."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from interop_ptp import (
    LIMIT_NS,
    Capture,
    capture,
    ptp4l,
    rms,
    settle,
    usual,
    wait_for_state,
    watch,
    words,
)
from interop_sntp import SntpClient
from interop_support import Node, Timesync, appliance, chronyd, lan, timesync, wait_until

pytestmark = pytest.mark.interop

SERVER = ("allow all", "local stratum 1", "ptpport 319")
LOCK_S = 60
SELECT_S = 60
WATCH_S = 15
SETTLED_S = 60
ROUGH_NS = 50_000
MORE = 5
KEY = "HEX:8c2f5a0e9d7b41c6a3e0f1d2b4c5968778695a4b3c2d1e0f"
CHRONYS_TLV, IANAS_TLV = "2023", "0003"


def sent_to_319(packets: Capture, source: Node, target: Node) -> list[str]:
    """The payloads, in hexadecimal digits, of what one node sent to another by NTP over PTP."""
    pair = f"udp.srcport == 319 && udp.dstport == 319 && ip.src == {source.address} && ip.dst == {target.address}"
    return [payload for (payload,) in packets.read("-Y", pair, "-e", "udp.payload")]


def plain_ntp(packets: Capture, source: Node, target: Node) -> list[list[str]]:
    pair = f"udp.dstport == 123 && ip.src == {source.address} && ip.dst == {target.address}"
    return packets.read("-Y", pair, "-e", "frame.number")


def tlv_of(payload: str) -> str:
    """Its type; the message before it is a Delay_Req to one receiver, in domain 123."""
    assert ("0102", "7b000400") == (payload[:4], payload[8:16])
    return payload[88:92]


def samples(daemon: Timesync) -> dict[str, int]:
    return {one["name"]: one["samples"] for one in daemon.ask("sources")["sources"]}


@pytest.mark.parametrize("authentication", ["none", "key"])
def test_our_client_follows_chronyd_over_ptp(
    authentication: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with lan(2) as (there, here):
        file = tmp_path / "chrony.keys"
        file.write_text(f"7 SHA256 {KEY}\n")
        signed = authentication == "key"
        ours = appliance(
            there,
            ntp="    transport: ptp" + ("\n    key: 7" if signed else ""),
            rest=f'keys: {{7: {{algorithm: SHA256, secret: "{KEY}"}}}}' if signed else "",
        )
        with (
            chronyd(there, tmp_path / "chrony", *SERVER, f"keyfile {file}"),
            capture(here, tmp_path) as packets,
            timesync(here, tmp_path / "ours", ours) as daemon,
        ):
            wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
            with there.entered():
                judge = SntpClient(here.address)
            with closing(judge):
                settle(judge, ROUGH_NS, SETTLED_S, daemon.log)
                offsets = watch(judge, WATCH_S, daemon.log)
            source = daemon.source()
            requests, answers = sent_to_319(packets, here, there), sent_to_319(packets, there, here)
            past = plain_ntp(packets, here, there)

    record_property("true offset", words(offsets))
    record_property("requests and answers", f"{len(requests)}, {len(answers)}")
    assert ("selected", signed) == (source["state"], source["authenticated"])
    assert source["address"] == f"{there.address}:319"
    assert source["interleaved"] is True
    assert rms(usual(offsets)) < 20 * LIMIT_NS
    # The first one is in the newer form, to which this chronyd answers nothing.
    first, *others = [tlv_of(payload) for payload in requests]
    assert (IANAS_TLV, {CHRONYS_TLV}) == (first, set(others))
    assert {CHRONYS_TLV} == {tlv_of(payload) for payload in answers}
    # This chronyd knows nothing of transparent clocks, and is not asked about them for long.
    assert {len(payload) for payload in requests[-4:]} == {len(payload) for payload in answers}
    assert [] == past


def test_chronyd_follows_our_server_over_ptp(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with (
        lan(3) as (reference, here, there),
        chronyd(reference, tmp_path / "reference", "allow all", "local stratum 1"),
        capture(there, tmp_path) as packets,
        timesync(here, tmp_path / "ours", appliance(reference, serve="    ptp_listen: [0.0.0.0]")) as daemon,
    ):
        wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
        follow = f"server {here.address} port 319 minpoll 0 maxpoll 0 iburst xleave"
        with chronyd(there, tmp_path / "client", "port 0", "ptpport 319", follow) as client:
            wait_until(client.selected, SELECT_S, "chronyd selects us", client.log)
            data = wait_until(
                lambda: (found := client.ntpdata()).get("Interleaved") == "Yes" and found,
                SELECT_S,
                "chronyd says that we are interleaved",
                lambda: str(client.ntpdata()),
            )
        counters, addresses = daemon.counters(), daemon.status()["serving"]["ntp"]
        requests, answers = sent_to_319(packets, there, here), sent_to_319(packets, here, there)
        past = plain_ntp(packets, there, here)

    record_property("chronyd's ntpdata of us", ", ".join(f"{name} {data[name]}" for name in ("Offset", "Peer delay")))
    assert (f"{here.address} ", "319", "2") == (data["Remote address"][:-10], data["Remote port"], data["Stratum"])
    assert abs(float(data["Offset"].split()[0])) < 1e-3
    assert "0.0.0.0:319" in addresses
    assert len(answers) == counters["over_ptp"] == counters["answered"] > 0
    assert 0 < counters["interleaved"] < counters["over_ptp"]
    assert {CHRONYS_TLV} == {tlv_of(payload) for payload in requests + answers}
    assert {2 * 96} == {len(payload) for payload in requests + answers}
    assert [] == past


def test_requests_share_port_319_with_a_ptp_port_of_the_same_daemon(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Sync messages come to that port all the while, by multicast, and answers of NTP to the requests' sockets."""
    with lan(3) as (grandmaster, there, here):
        ours = appliance(
            there,
            ntp="    transport: ptp",
            rest="ptp: {role: timeReceiver, ports: [{interface: eth0, timestamping: software}]}",
        )
        with (
            ptp4l(grandmaster, tmp_path / "ptp4l", "--domainNumber", "0"),
            chronyd(there, tmp_path / "chrony", *SERVER),
            timesync(here, tmp_path / "ours", ours) as daemon,
        ):
            port = wait_for_state(daemon, "TIME_RECEIVER", LOCK_S)
            wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
            before = samples(daemon)
            after = wait_until(
                lambda: (now := samples(daemon)) and all(now[name] >= before[name] + MORE for name in before) and now,
                LOCK_S,
                "both go on to measure",
                lambda: f"{before}, then {samples(daemon)}",
            )
            over_ptp = daemon.source()

    record_property("NTP over PTP", f"{over_ptp['received']} answers to {over_ptp['sent']} requests")
    record_property("samples", f"{before}, later {after}")
    assert port["parent"] is not None
    assert {there.address, "ptp:eth0"} == after.keys()
    assert (there.address, 8) == (over_ptp["name"], over_ptp["reach"])
    # The first request was in the form that this chronyd does not know.
    assert over_ptp["sent"] - over_ptp["received"] <= 2
