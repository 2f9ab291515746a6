"""Unicast negotiation among more than two clocks: servers that come and go, and a boundary clock that asks one."""

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
SWITCH_NS = 10_000
"""A bridge takes longer than a wire, and not always as long."""
WORST_NS = 20_000
"""Both servers give the same time; in the seconds without any, the clock goes by what it has learnt."""
SYNC, FOLLOW_UP, DELAY_RESP, ANNOUNCE, SIGNALING = 0, 8, 9, 0xB, 0xC
GRANTS = ("--hybrid_e2e", "1", "--inhibit_multicast_service", "1", "--unicast_listen", "1")

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
    lines = [f"    - {{{port}, transport: udp4, timestamping: software}}" for port in ports]
    return CONFIG.format(role=role, ports="\n".join(lines))


def asking(*servers: str) -> str:
    """A port that asks."""
    return f"interface: eth0, unicast: {{servers: [{', '.join(servers)}], multicast: false}}"


def identity(node: Node) -> str:
    """The clock identity that ptp4l and we make of its card."""
    digits = mac_of(node).replace(":", "")
    return f"{digits[:6]}.fffe.{digits[6:]}"


def test_two_unicast_servers_switch_over_and_return(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    offsets: list[float] = []
    with ExitStack() as stack:
        first, second, here = stack.enter_context(lan(3))
        best = stack.enter_context(ExitStack())
        best.enter_context(ptp4l(first, tmp_path / "first", *GRANTS, "--priority1", "100"))
        stack.enter_context(ptp4l(second, tmp_path / "second", *GRANTS, "--priority1", "110"))
        # The first that is asked is not the better one: the algorithm decides, not the order.
        ours = configuration("timeReceiver", asking(second.address, first.address))
        daemon = stack.enter_context(timesync(here, tmp_path / "ours", ours))
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
                lambda: stack.enter_context(ptp4l(first, tmp_path / "again", *GRANTS, "--priority1", "100")),
                first,
            ),
        ):
            changed = time.monotonic()
            change()
            wait_until(lambda node=node: follows(node), SWITCH_S, what, daemon.log)
            record_property(what, f"after {time.monotonic() - changed:.0f} s")
            offsets += watch(judge, WATCH_S, daemon.log)
        status, port = daemon.status(), port_of(daemon)

    record_property("true offset over both changes", words(offsets))
    assert ("locked", before) == (status["state"], status["clocks"][-1]["steps"])
    # An answer that comes when the next question is out already is not waited for any more.
    assert set(port["drops"]) <= {"unicast-unasked"}
    assert rms(usual(offsets)) < SWITCH_NS
    assert max(map(abs, offsets)) < WORST_NS


def test_a_boundary_clock_asks_above_and_gives_to_all_below(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with (
        star(2) as (hub, (above, below)),
        ptp4l(above, tmp_path / "gm", *GRANTS, "--priority1", "100"),
        ptp4l(below, tmp_path / "peer", "--slaveOnly", "1") as peer,
        capture(below, tmp_path / "below") as given,
        capture(above, tmp_path / "above") as asked,
        timesync(hub, tmp_path / "ours", configuration("auto", asking(above.address), "interface: eth1")) as daemon,
    ):
        grandmaster, ours = identity(above), identity(hub)
        mac_above, mac_below = mac_of(hub), mac_of(hub, "eth1")
        wait_for_state(daemon, "TIME_RECEIVER", LOCK_S)
        wait_for_state(daemon, "TIME_TRANSMITTER", LOCK_S, 1)
        wait_until(lambda: peer.follows() == grandmaster, LOCK_S, "the grandmaster is known below", peer.log)
        watched = time.monotonic() + SETTLE_S
        wait_until(lambda: len(peer.measured(watched)) >= WATCH_S, SETTLE_S + 3 * WATCH_S, "offsets", peer.log)
        offsets, log = peer.measured(watched), peer.log()
        state = port_of(daemon)["state"]

    record_property("the clock below, as ptp4l measures it through ours", words(offsets))
    assert "TIME_RECEIVER" == state
    assert f"new foreign master {ours}-2" in log
    assert ([], []) == (given.wrong(mac_below), asked.wrong(mac_above))
    assert {SYNC, FOLLOW_UP, DELAY_RESP, ANNOUNCE} == given.types(mac_below)
    # What it asks for, and what it measures the delay with; no word of being a timeTransmitter goes up.
    assert {1, SIGNALING} == asked.types(mac_above)
    sent = asked.read("-Y", f"ptp && !icmp && eth.src == {mac_above}", "-e", "ip.dst")
    assert {above.address} == {address for (address,) in sent}
    steps = given.read(
        "-Y", f"ptp.v2.messagetype == 0xb && eth.src == {mac_below}", "-e", "ptp.v2.an.localstepsremoved"
    )
    assert ["1"] == steps[-1]
    assert rms(usual(offsets)) < 2 * LIMIT_NS
