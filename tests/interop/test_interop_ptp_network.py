"""More than two clocks: grandmasters that come and go, and boundary clocks of ours between those of Debian's ptp4l."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from interop_ptp import (
    LIMIT_NS,
    capture,
    mac_of,
    port_of,
    ptp4l,
    rms,
    settle,
    star,
    usual,
    wait_for_state,
    watch,
    words,
)
from interop_sntp import SntpClient
from interop_support import Node, lan, timesync, wait_until

pytestmark = pytest.mark.interop

LOCK_S = 60
SETTLE_S = 10
WATCH_S = 15
SWITCH_S = 40
SWITCH_NS = 5_000
"""A bridge takes twenty microseconds for a multicast message, give or take ten: ten times as many as a wire."""
WORST_NS = 15_000
"""Both grandmasters give the same time; in the seconds without any, the clock goes by what it has learnt."""

CONFIG = """
clocks:
  system: {{discipline: false}}
  bench: {{virtual: {{offset: 10ms, frequency: 20ppm, wander: 1e-9}}}}
ptp:
  clock: bench
  role: {role}
  ports:
{ports}
serve: {{clock: bench, ntp: {{listen: ["0.0.0.0:123"]}}}}
"""


def configuration(role: str, *ports: str) -> str:
    """Ours, with these ports."""
    lines = [f"    - {{{port}, timestamping: software}}" for port in ports]
    return CONFIG.format(role=role, ports="\n".join(lines))


def identity(node: Node, interface: str = "eth0") -> str:
    """The clock identity that ptp4l and we make of a card."""
    digits = mac_of(node, interface).replace(":", "")
    return f"{digits[:6]}.fffe.{digits[6:]}"


def test_two_grandmasters_switch_over_and_return(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    offsets: list[float] = []
    with ExitStack() as stack:
        first, second, here = stack.enter_context(lan(3))
        best = stack.enter_context(ExitStack())
        best.enter_context(ptp4l(first, tmp_path / "first", "--priority1", "100"))
        stack.enter_context(ptp4l(second, tmp_path / "second", "--priority1", "110"))
        daemon = stack.enter_context(
            timesync(here, tmp_path / "ours", configuration("timeReceiver", "interface: eth0, transport: udp4"))
        )
        with second.entered():
            judge = stack.enter_context(closing(SntpClient(here.address)))

        def follows(node: Node) -> bool:
            if offsets or daemon.locked():
                offsets.extend(watch(judge, 0.5, daemon.log))
            port = port_of(daemon)
            return bool(port.get("state") == "TIME_RECEIVER" and port["parent"] == f"{identity(node)}-1")

        wait_until(lambda: follows(first), LOCK_S, "the better one is followed", daemon.log)
        settle(judge, SWITCH_NS, LOCK_S, daemon.log)
        # The frequency must be known well for the seconds without a grandmaster.
        offsets[:] = watch(judge, SETTLE_S, daemon.log)
        before = daemon.status()["clocks"][-1]["steps"]
        for what, change, node in (
            ("the other one is followed", best.close, second),
            (
                "the better one is followed again",
                lambda: stack.enter_context(ptp4l(first, tmp_path / "again", "--priority1", "100")),
                first,
            ),
        ):
            changed = time.monotonic()
            change()
            wait_until(lambda node=node: follows(node), SWITCH_S, what, daemon.log)
            record_property(what, f"after {time.monotonic() - changed:.0f} s")
            offsets += watch(judge, WATCH_S, daemon.log)
        status = daemon.status()

    record_property("true offset over both changes", words(offsets))
    assert ("locked", before) == (status["state"], status["clocks"][-1]["steps"])
    assert rms(usual(offsets)) < SWITCH_NS
    assert max(map(abs, offsets)) < WORST_NS


def test_a_boundary_clock_between_two_ptp4l(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    with (
        star(2) as (hub, (above, below)),
        ptp4l(above, tmp_path / "gm", "--priority1", "100"),
        ptp4l(below, tmp_path / "peer", "--slaveOnly", "1") as peer,
        capture(below, tmp_path) as packets,
        timesync(
            hub,
            tmp_path / "ours",
            configuration("auto", "interface: eth0, transport: udp4", "interface: eth1, transport: udp4"),
        ) as daemon,
    ):
        grandmaster, ours, mac = identity(above), identity(hub), mac_of(hub, "eth1")
        wait_for_state(daemon, "TIME_RECEIVER", LOCK_S)
        wait_for_state(daemon, "TIME_TRANSMITTER", LOCK_S, 1)
        wait_until(lambda: peer.follows() == grandmaster, LOCK_S, "the grandmaster is known below", peer.log)
        watched = time.monotonic() + SETTLE_S
        wait_until(lambda: len(peer.measured(watched)) >= WATCH_S, SETTLE_S + 3 * WATCH_S, "offsets", peer.log)
        offsets, log = peer.measured(watched), peer.log()

    record_property("the clock below, as ptp4l measures it through ours", words(offsets))
    assert f"new foreign master {ours}-2" in log
    assert packets.wrong(mac) == []
    announced = packets.read(
        "-Y",
        f"ptp.v2.messagetype == 0xb && eth.src == {mac}",
        "-e",
        "ptp.v2.an.localstepsremoved",
        "-e",
        "ptp.v2.an.grandmasterclockidentity",
    )
    assert ["1", f"0x{grandmaster.replace('.', '')}"] == announced[-1]
    assert rms(usual(offsets)) < 2 * LIMIT_NS


def test_three_ports_of_one_instance(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Each over another transport."""
    transports = ("udp4", "l2", "udp6")
    with (
        star(3) as (hub, (above, left, right)),
        ptp4l(above, tmp_path / "gm", "-4", "--priority1", "100"),
        ptp4l(left, tmp_path / "left", "-2", "--slaveOnly", "1") as one,
        ptp4l(right, tmp_path / "right", "-6", "--slaveOnly", "1") as other,
        timesync(
            hub,
            tmp_path / "ours",
            configuration(
                "auto", *(f"interface: eth{number}, transport: {name}" for number, name in enumerate(transports))
            ),
        ) as daemon,
    ):
        grandmaster = identity(above)
        wait_for_state(daemon, "TIME_RECEIVER", LOCK_S)
        for peer in (one, other):
            wait_until(lambda peer=peer: peer.follows() == grandmaster, LOCK_S, "the grandmaster is known", peer.log)
        watched = time.monotonic() + SETTLE_S
        for peer in (one, other):
            wait_until(
                lambda peer=peer: len(peer.measured(watched)) >= WATCH_S, SETTLE_S + 3 * WATCH_S, "offsets", peer.log
            )
        found = [peer.measured(watched) for peer in (one, other)]
        ports = daemon.ask("ports")["ports"]

    for name, offsets in zip(("L2", "UDPv6"), found, strict=True):
        record_property(f"the clock over {name}, as ptp4l measures it through ours", words(offsets))
    assert ["TIME_RECEIVER", "TIME_TRANSMITTER", "TIME_TRANSMITTER"] == [port["state"] for port in ports]
    assert {grandmaster} == {port["grandmaster"] for port in ports}
    assert all(rms(usual(offsets)) < 2 * LIMIT_NS for offsets in found)
