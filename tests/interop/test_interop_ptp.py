"""Our daemon and Debian's ptp4l over a wire, each way round, in every profile that both can do."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import pstdev
from typing import Any

import pytest
from interop_ptp import (
    LIMIT_NS,
    TAI_UTC,
    capture,
    hub_address,
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
from interop_support import timesync, wait_until

pytestmark = pytest.mark.interop

LOCK_S = 60
SETTLE_S = 10
SETTLED_S = 60
WATCH_S = 20

SYNC, DELAY_REQ, PDELAY_REQ, PDELAY_RESP = 0, 1, 2, 3
FOLLOW_UP, DELAY_RESP, PDELAY_RESP_FOLLOW_UP, ANNOUNCE, SIGNALING = 8, 9, 0xA, 0xB, 0xC


@dataclass(frozen=True)
class Way:
    """A profile and a transport, as we write them and as ptp4l does.

    Attributes:
        name: For people.
        profile: Ours, by role.
        port: Keys of our port, by role.
        peer: Options of ptp4l.
        config: Its configuration file, by role of ptp4l; None: its defaults.
        asks: Message types of the side that follows.
        gives: Message types of the side that is followed.
        unsaid_ns: By how much ptp4l finds a right TAI wrong, because no Announce tells it that it is TAI.
        unicast: Everything is asked for, and given, by unicast.
        grandmaster: More options of ptp4l where it gives the time.
    """

    name: str
    profile: tuple[str, str]
    port: tuple[str, str]
    peer: tuple[str, ...]
    config: tuple[str, str] | None
    asks: frozenset[int]
    gives: frozenset[int]
    unsaid_ns: float = 0.0
    unicast: bool = False
    grandmaster: tuple[str, ...] = ()

    def servers(self, address: str) -> tuple[str, ...]:
        """Whom ptp4l asks, where it does."""
        return (address,) if self.unicast else ()

    @property
    def limit_ns(self) -> float:
        """RMS that we may be worse than ptp4l.

        The kernel takes a message through a wire slowly when its program has slept, and fast when it answers at once.
        Delay_Req and Sync are alike in this, Pdelay_Req and Pdelay_Resp are not: with software stamps the delay of a
        link comes out wrong by about a microsecond, ours as well as ptp4l's.
        """
        return LIMIT_NS if DELAY_REQ in self.asks else 2 * LIMIT_NS


_LINK = frozenset({PDELAY_REQ, PDELAY_RESP, PDELAY_RESP_FOLLOW_UP})
_TIME = frozenset({SYNC, FOLLOW_UP})


def _default(name: str, transport: str, option: str, delay: str) -> Way:
    return Way(
        name=f"{name} {delay}",
        profile=(f"default-{delay}", f"default-{delay}"),
        port=(f"transport: {transport}", f"transport: {transport}"),
        peer=(option, "-E" if delay == "e2e" else "-P"),
        config=None,
        asks=frozenset({DELAY_REQ}) if delay == "e2e" else _LINK,
        gives=_TIME | {ANNOUNCE} | ({DELAY_RESP} if delay == "e2e" else _LINK),
    )


_FIRST = ("--priority1", "100")
_VETH = ("--neighborPropDelayThresh", "1000000")
"""Software stamps make a wire longer than the 800 ns of gPTP."""

_GRANTS = ("--hybrid_e2e", "1", "--inhibit_multicast_service", "1", "--unicast_listen", "1")
_NEGOTIATED = {
    "asks": frozenset({DELAY_REQ, SIGNALING}),
    "gives": _TIME | {ANNOUNCE, DELAY_RESP, SIGNALING},
    "unicast": True,
}


def _negotiated(name: str, profile: str, port: str, *peer: str, config: str | None = None, **more: Any) -> Way:
    return Way(
        name=name,
        profile=(profile, profile),
        port=(f"unicast: {{servers: [{hub_address(0)}]{port}}}", f"unicast: {{clients: 4{port}}}"),
        peer=peer,
        config=None if config is None else (config, config),
        **{**_NEGOTIATED, **more},
    )


WAYS = [
    _default("UDPv4", "udp4", "-4", "e2e"),
    _default("UDPv4", "udp4", "-4", "p2p"),
    _default("UDPv6", "udp6", "-6", "e2e"),
    _default("L2", "l2", "-2", "e2e"),
    _default("L2", "l2", "-2", "p2p"),
    Way(
        name="gPTP",
        profile=("gptp", "gptp"),
        port=("neighbor_threshold: 1ms", "neighbor_threshold: 1ms"),
        peer=_VETH,
        config=("gPTP.cfg", "gPTP.cfg"),
        # That gPTP is spoken is said by Signaling (802.1AS-2020, 10.6.4.4).
        asks=_LINK | {SIGNALING},
        gives=_TIME | _LINK | {ANNOUNCE, SIGNALING},
    ),
    Way(
        name="automotive",
        profile=("automotive-endpoint", "automotive-gm"),
        # Nobody announces that ptp4l with software stamps gives UTC.
        port=(f"offset: -{TAI_UTC}s", ""),
        peer=_VETH,
        config=("automotive-master.cfg", "automotive-slave.cfg"),
        # The master of this file asks nothing that could be answered.
        asks=frozenset({PDELAY_REQ, SIGNALING}),
        gives=_TIME | _LINK,
        unsaid_ns=TAI_UTC * 1e9,
    ),
    Way(
        name="hybrid e2e",
        profile=("default-e2e", "default-e2e"),
        port=("hybrid: true", "hybrid: true"),
        peer=("-4", "-E", "--hybrid_e2e", "1"),
        config=None,
        asks=frozenset({DELAY_REQ}),
        gives=_TIME | {ANNOUNCE, DELAY_RESP},
    ),
    _negotiated("unicast", "default-e2e", ", multicast: false", *_GRANTS),
    _negotiated("G.8275.2", "g8275.2", "", "--domainNumber", "44", config="G.8275.2.cfg"),
    _negotiated(
        "G.8265.1", "g8265.1", "", "--domainNumber", "4", config="G.8265.1.cfg", grandmaster=("--clockClass", "84")
    ),
    Way(
        name="G.8275.1",
        profile=("g8275.1", "g8275.1"),
        port=("l2_destination: 01-80-C2-00-00-0E", "l2_destination: 01-80-C2-00-00-0E"),
        peer=("--domainNumber", "24"),
        config=("G.8275.1.cfg", "G.8275.1.cfg"),
        asks=frozenset({DELAY_REQ}),
        gives=_TIME | {ANNOUNCE, DELAY_RESP},
    ),
]


def each_way(test: Callable[..., None]) -> Callable[..., None]:
    """A test of its own for each."""
    return pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "-"))(test)


WRONG = "{offset: 10ms, frequency: 20ppm, wander: 1e-9}"
RIGHT = "{}"
"""The system's own time: what others measure of it is their own error."""


def configuration(way: Way, role: str, virtual: str) -> str:
    """Ours, with one port; what it follows or gives is served by NTP too, for the judge."""
    index = role == "timeTransmitter"
    profile = way.profile[index]
    port = ", ".join(filter(None, ["interface: eth0", way.port[index], "timestamping: software"]))
    return f"""
clocks:
  system: {{discipline: false}}
  bench: {{virtual: {virtual}}}
ptp:
  profile: {profile}
  clock: bench
  role: {role}
  ports:
    - {{{port}}}
serve: {{clock: bench, ntp: {{listen: ["0.0.0.0:123"]}}}}
"""


@each_way
def test_ours_follows(way: Way, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    config, reference = way.config or (None, None)
    with (
        star(2) as (hub, (spoke, other)),
        ptp4l(
            hub,
            tmp_path / "gm",
            *way.peer,
            *way.grandmaster,
            *_FIRST,
            config=config,
            interfaces=("eth0", "eth1"),
        ),
        ptp4l(
            other,
            tmp_path / "peer",
            *way.peer,
            "--slaveOnly",
            "1",
            config=reference,
            servers=way.servers(hub_address(1)),
        ) as peer,
        capture(spoke, tmp_path) as packets,
        timesync(spoke, tmp_path / "ours", configuration(way, "timeReceiver", WRONG)) as daemon,
    ):
        started = time.monotonic()
        mac = mac_of(spoke)
        wait_for_state(daemon, "TIME_RECEIVER", LOCK_S)
        record_property("time receiver after", f"{time.monotonic() - started:.0f} s")
        with hub.entered():
            judge = SntpClient(spoke.address)
        with closing(judge):
            settled = settle(judge, 2 * way.limit_ns, SETTLED_S, daemon.log)
            since = time.monotonic()
            offsets = watch(judge, WATCH_S, daemon.log)
        theirs = peer.measured(since)
        status, port = daemon.status(), port_of(daemon)
        log = daemon.log()

    record_property("settled after", f"{settled:.0f} s more")
    record_property("ours, true offset", words(offsets))
    record_property("ptp4l, as it measures the same time", words(theirs))
    assert packets.wrong(mac) == []
    assert way.asks == packets.types(mac)
    assert ("TIME_RECEIVER", 0) == (port["state"], port["lost_stamps"])
    assert ("locked", 0) == (status["state"], status["clocks"][-1]["steps"])
    assert "not asCapable" not in log
    assert pstdev(usual(offsets)) < LIMIT_NS
    assert rms(usual(offsets)) < way.limit_ns + rms(usual(theirs))


@each_way
def test_ours_is_followed(way: Way, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    reference, config = way.config or (None, None)
    with (
        star(1) as (hub, (spoke,)),
        star(1) as (there, (here,)),
        ptp4l(there, tmp_path / "gm", *way.peer, *_FIRST, config=reference),
        ptp4l(
            here,
            tmp_path / "other",
            *way.peer,
            "--slaveOnly",
            "1",
            config=config,
            servers=way.servers(hub_address(0)),
        ) as other,
        capture(hub, tmp_path) as packets,
        ptp4l(
            hub,
            tmp_path / "peer",
            *way.peer,
            "--slaveOnly",
            "1",
            config=config,
            servers=way.servers(spoke.address),
        ) as peer,
        timesync(spoke, tmp_path / "ours", configuration(way, "timeTransmitter", RIGHT)) as daemon,
    ):
        mac = mac_of(spoke)
        wait_for_state(daemon, "TIME_TRANSMITTER", LOCK_S)
        wait_until(peer.offsets, LOCK_S, "ptp4l measures our time", peer.log)
        watched = time.monotonic() + SETTLE_S
        wait_until(lambda: time.monotonic() > watched + WATCH_S, SETTLE_S + WATCH_S + 1, "the time is over")
        offsets = [offset + way.unsaid_ns for offset in peer.measured(watched)]
        theirs = other.measured(watched)
        port = port_of(daemon)

    assert len(offsets) > 0.8 * WATCH_S
    record_property("ptp4l of ours", words(offsets))
    record_property("ptp4l of ptp4l", words(theirs))
    assert packets.wrong(mac) == []
    assert way.gives == packets.types(mac)
    assert ("TIME_TRANSMITTER", 0) == (port["state"], port["lost_stamps"])
    # Where no Announce is sent there is nothing to choose.
    assert (port["grandmaster"] if ANNOUNCE in way.gives else "") == peer.follows()
    # What ptp4l measures of us has its own stamps in it, and how promptly a busy machine lets us answer.
    assert rms(usual(offsets)) < 3 * LIMIT_NS + rms(usual(theirs))
