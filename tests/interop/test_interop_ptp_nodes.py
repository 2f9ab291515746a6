"""``timesync ptp nodes`` on a wire where Debian's ptp4l talks: who is named, and what is said of them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from interop_ptp import mac_of, ptp4l, star
from interop_support import Node, lan, our_environment, wait_until

pytestmark = pytest.mark.interop

LOCK_S = 30


def identity(node: Node, interface: str = "eth0") -> str:
    """The clock identity that ptp4l makes of a card."""
    digits = mac_of(node, interface).replace(":", "")
    return f"{digits[:6]}.fffe.{digits[6:]}"


def nodes(node: Node, seconds: float, *options: str, interface: str = "eth0") -> subprocess.CompletedProcess[str]:
    """Our command, run inside a namespace."""
    command = [sys.executable, "-m", "timesync.cli.main", "ptp", "nodes", interface, "--seconds", str(seconds)]
    return subprocess.run(
        node.command([*command, *options]),
        env=our_environment(),
        check=False,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
    )


def listed(node: Node, seconds: float, *options: str) -> dict[str, Any]:
    """Its object."""
    done = nodes(node, seconds, "--json", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def of(found: dict[str, Any], identity_of: str, kind: str | None = None) -> dict[str, Any]:
    """The one entry of a clock that sends such messages."""
    (entry,) = (
        one for one in found["nodes"] if one["clock"] == identity_of and (kind is None or kind in one["messages"])
    )
    assert isinstance(entry, dict)
    return entry


def test_end_to_end_over_udp_as_a_bystander_hears_it(tmp_path: Path) -> None:
    with lan(3) as (first, second, third), ExitStack() as stack:
        stack.enter_context(ptp4l(first, tmp_path / "gm", "--priority1", "100", "--logAnnounceInterval", "0"))
        peer = stack.enter_context(ptp4l(second, tmp_path / "peer", "--slaveOnly", "1"))
        gm, slave, mac = identity(first), identity(second), mac_of(first)
        wait_until(lambda: peer.follows() == gm, LOCK_S, "the grandmaster is chosen", peer.log)
        wait_until(lambda: len(peer.offsets()) > 3, LOCK_S, "offsets", peer.log)
        found = listed(third, 9)
        text = nodes(third, 3).stdout

    giver, taker = of(found, gm), of(found, slave)
    assert len(found["nodes"]) == 2
    assert giver["roles"] == ["timeTransmitter", "grandmaster"]
    assert (giver["domain"], giver["transport"], giver["address"]) == (0, "udp4", first.address)
    assert giver["macs"] == [mac]
    assert giver["two_step"] is True
    assert giver["profile"] == "IEEE 1588 default, end-to-end (I.3)"
    announced = giver["announce"]
    assert (announced["priority1"], announced["clock_class"], announced["steps_removed"]) == (100, 248, 0)
    assert announced["grandmaster"] == gm
    assert announced["clock_class_text"] == "248 (free-running: no reference)"
    assert (giver["messages"]["announce"]["advertised_interval_s"], giver["messages"]["sync"]["count"] > 5) == (1, True)
    assert giver["messages"]["sync"]["interval_s"] == pytest.approx(1, rel=0.2)
    assert (taker["roles"], taker["address"]) == (["timeReceiver"], second.address)
    wrong = {one["id"] for one in found["findings"]}
    assert not wrong & {"two-grandmasters", "no-follow-up", "announce-without-sync", "delay-unanswered", "interval"}
    assert gm in text
    assert "timeTransmitter, grandmaster; domain 0, UDP/IPv4" in text


def test_two_grandmasters_that_do_not_hear_each_other(tmp_path: Path) -> None:
    """Each is made deaf, by its own settings, for the other one's Announce messages."""
    with lan(3) as (first, second, third), ExitStack() as stack:
        names = [identity(first), identity(second)]
        for node, priority in ((first, 100), (second, 110)):
            options = "--priority1", str(priority), "--BMCA", "noop", "--masterOnly", "1"
            daemon = stack.enter_context(
                ptp4l(node, tmp_path / node.name, *options, "--logAnnounceInterval", "0", "--network_transport", "L2")
            )
            wait_until(lambda daemon=daemon: daemon.state() == "MASTER", LOCK_S, "it gives time", daemon.log)
        found = listed(third, 8)

    (sentence,) = (one["sentence"] for one in found["findings"] if one["id"] == "two-grandmasters")
    for name in names:
        assert name in sentence
        assert "grandmaster" in of(found, name)["roles"]
        assert of(found, name)["transport"] == "l2"


def test_peer_delay_on_ethernet_as_one_end_of_the_cable_hears_it(tmp_path: Path) -> None:
    """This machine's own messages are listed too."""
    with star(1) as (hub, (far,)), ExitStack() as stack:
        gm, here, mac = identity(far), identity(hub), mac_of(hub)
        options = "--network_transport", "L2", "--delay_mechanism", "P2P", "--logAnnounceInterval", "0"
        stack.enter_context(ptp4l(far, tmp_path / "gm", *options, "--priority1", "100"))
        peer = stack.enter_context(ptp4l(hub, tmp_path / "peer", *options, "--slaveOnly", "1"))
        wait_until(lambda: len(peer.offsets()) > 2, LOCK_S, "offsets", peer.log)
        found = listed(hub, 7)

    giver, own = of(found, gm), of(found, here)
    assert (giver["transport"], giver["delay_mechanisms"]) == ("l2", ["p2p"])
    assert set(giver["roles"]) == {"timeTransmitter", "grandmaster", "peer"}
    assert giver["profile"] == "IEC/IEEE 61850-9-3"
    assert own["roles"] == ["peer"]
    assert own["address"] == mac
    assert "pdelay-unanswered" not in {one["id"] for one in found["findings"]}


def test_gptp_and_its_automotive_kind(tmp_path: Path) -> None:
    wide = "--neighborPropDelayThresh", "20000000"
    with star(1) as (hub, (far,)):
        gm = identity(far)
        with (
            ptp4l(far, tmp_path / "gm", *wide, "--priority1", "100", config="gPTP.cfg"),
            ptp4l(hub, tmp_path / "peer", *wide, config="gPTP.cfg") as peer,
        ):
            wait_until(lambda: len(peer.offsets()) > 2, LOCK_S, "offsets", peer.log)
            usual = listed(hub, 6)
        with (
            ptp4l(far, tmp_path / "car", *wide, config="automotive-master.cfg"),
            ptp4l(hub, tmp_path / "sensor", *wide, config="automotive-slave.cfg") as peer,
        ):
            wait_until(lambda: len(peer.offsets()) > 2, LOCK_S, "offsets", peer.log)
            car = listed(hub, 6)

    giver = of(usual, gm)
    assert (giver["profile"], giver["sdo_id"]) == ("gPTP (IEEE 802.1AS)", 0x100)
    assert giver["messages"]["sync"]["advertised_interval_s"] == 0.125
    assert giver["messages"]["sync"]["interval_s"] == pytest.approx(0.125, rel=0.2)
    assert not {"gptp-vlan", "no-follow-up", "mixed-delay"} & {one["id"] for one in usual["findings"]}
    silent = of(car, gm)
    assert (silent["profile"], silent["announce"]) == ("gPTP, automotive (Avnu)", None)
    assert "sync-without-announce" not in {one["id"] for one in car["findings"]}


def test_it_sends_nothing(tmp_path: Path) -> None:
    """Counted by the interface: what it has sent before and after is the same."""
    with star(1) as (hub, (far,)):
        for node in (hub, far):
            # The kernel's own questions for neighbours and routers would be counted with ours.
            node.peer("ip", "address", "flush", "dev", "eth0")
        sent = Path("/sys/class/net/eth0/statistics/tx_packets")

        def stable() -> bool:
            before = hub.peer("cat", sent).stdout
            time.sleep(1)  # to see whether anything moves meanwhile
            return hub.peer("cat", sent).stdout == before

        wait_until(stable, 15, "the interface is quiet")
        before = hub.peer("cat", sent).stdout
        done = nodes(hub, 2)
        after = hub.peer("cat", sent).stdout
    assert (done.returncode, before) == (1, after)
    assert "nobody was heard" in done.stdout


def test_without_the_capability_it_says_which(tmp_path: Path) -> None:
    with star(1) as (hub, _):
        command = [sys.executable, "-m", "timesync.cli.main", "ptp", "nodes", "eth0"]
        deprived = ["setpriv", "--bounding-set=-net_raw", "--inh-caps=-net_raw", "--", *command]
        done = subprocess.run(
            hub.command(deprived), env=our_environment(), check=False, capture_output=True, text=True, timeout=60
        )
        missing = nodes(hub, 1, interface="eth7")
    assert done.returncode == 3, done.stdout + done.stderr
    assert "CAP_NET_RAW" in done.stderr
    assert missing.returncode == 4
    assert '"eth7"' in missing.stderr
