"""A client and a server of CSPTP, both ours, over a wire, with tshark looking on.

No other implementation of the same draft is a Debian package; docs/how-to/csptp.md says which there are, and what one
of them did when it was tried by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from interop_ptp import LIMIT_NS, capture, hub_address, mac_of, rms, settle, star, usual, watch, words
from interop_sntp import SntpClient
from interop_support import chronyd, timesync, wait_until

pytestmark = pytest.mark.interop

LOCK_S = 60
SETTLED_S = 60
WATCH_S = 15
ROUGH_NS = 50_000
"""Our server follows chronyd over NTP; the client cannot be better than that."""

SYNC, FOLLOW_UP = 0, 8


def server(reference: str, transport: str) -> str:
    return f"""
clocks:
  system: {{discipline: false}}
  bench: {{virtual: {{}}}}
sources:
  - ntp: {reference}
    poll: [62.5ms, 1s]
serve:
  clock: bench
  ntp: {{listen: ["0.0.0.0:123"]}}
  csptp: {{interfaces: [eth1], transports: [{transport}], rate_limit: {{}}}}
"""


def client(address: str) -> str:
    return f"""
clocks:
  system: {{discipline: false}}
  bench: {{virtual: {{offset: 10ms, frequency: 20ppm, wander: 1e-9}}}}
sources:
  - csptp: "{address}"
    interface: eth0
    poll: [125ms, 1s]
serve: {{clock: bench, ntp: {{listen: ["0.0.0.0:123"]}}}}
"""


@pytest.mark.parametrize("transport", ["udp4", "udp6"])
def test_a_client_follows_a_server(
    transport: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    address = {"udp4": hub_address(1), "udp6": "fe80::2:1"}[transport]
    with (
        star(2) as (hub, (reference, spoke)),
        chronyd(reference, tmp_path / "reference", "allow all", "local stratum 1"),
        capture(spoke, tmp_path) as packets,
        timesync(hub, tmp_path / "server", server(reference.address, transport)) as giver,
        timesync(spoke, tmp_path / "client", client(address)) as taker,
    ):
        wait_until(giver.locked, LOCK_S, "the server is locked", giver.log)
        wait_until(taker.locked, LOCK_S, "the client is locked", taker.log)
        with hub.entered():
            judge = SntpClient(spoke.address)
        with closing(judge):
            settled = settle(judge, ROUGH_NS, SETTLED_S, taker.log)
            offsets = watch(judge, WATCH_S, taker.log)
        with spoke.entered():
            judge = SntpClient(hub_address(1))
        with closing(judge):
            true = watch(judge, 3, giver.log)
        status, source, why = taker.status(), taker.source(), taker.why()
        served = giver.status()["serving"]["csptp"]
        macs = mac_of(spoke), mac_of(hub, "eth1")

    record_property("settled after", f"{settled:.0f} s")
    record_property("client, true offset", words(offsets))
    record_property("server, true offset", words(true))
    assert ("locked", "bench") == (status["state"], source["clock"])
    assert (f"csptp:{address}", "csptp", "selected") == (source["name"], source["kind"], source["state"])
    assert address in why
    assert [("eth1", transport, 128, {})] == [
        (one["interface"], one["transport"], one["domain"], one["drops"]) for one in served
    ]
    # The bar of the NTP client beside chronyd: on a busy machine the same stamps are that far apart.
    assert rms(usual(offsets)) < 20 * LIMIT_NS + rms(true)
    # What went over the wire, in the eyes of somebody else.
    assert ({SYNC}, {SYNC, FOLLOW_UP}) == (packets.types(macs[0]), packets.types(macs[1]))
    assert [] == packets.wrong(macs[0]) + packets.wrong(macs[1])
    asked, answered = (
        sum(int(size) for (size,) in packets.read("-Y", f"ptp && eth.src == {mac}", "-e", "frame.len")) for mac in macs
    )
    assert 0 < answered <= asked
