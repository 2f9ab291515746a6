"""TLVs that profiles want: what a grandmaster of ours says, as tshark reads it and as another of ours shows it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from interop_ptp import TAI_UTC, Capture, capture, mac_of, port_of, ptp4l, star, wait_for_state
from interop_support import Timesync, timesync, wait_until

pytestmark = pytest.mark.interop

WITHIN_S = 60
TOKYO_S = 9 * 3600 - TAI_UTC
"""Japan Standard Time minus TAI; it has no summer."""

TOKYO = {"key": 0, "name": "JST", "offset_s": TOKYO_S, "jump_s": 0, "next_jump": None}

CONFIG = """
clocks:
  system: {{discipline: false}}
  bench: {{virtual: {{}}}}
ptp:
  profile: {profile}
  clock: bench
  role: {role}
{keys}  ports:
{ports}
sources: [{{ntp: 192.0.2.254}}]
"""
GRANDMASTER_PORTS = ("interface: eth0", "interface: eth1")


def configuration(profile: str, role: str, ports: tuple[str, ...], *keys: str) -> str:
    """Ours, with these ports. A source that never answers keeps the clock from being called right."""
    return CONFIG.format(
        profile=profile,
        role=role,
        keys="".join(f"  {key}\n" for key in keys),
        ports="\n".join(f"    - {{{port}, timestamping: software}}" for port in ports),
    )


@dataclass
class Scene:
    """A grandmaster of ours, one of ours that follows it, and what went between them."""

    follower: Timesync
    mac: str
    packets: Capture

    def says(self, name: str) -> Any:
        """What the follower shows of it, when it does."""
        return wait_until(
            lambda: port_of(self.follower).get("parent_says", {}).get(name), WITHIN_S, f"{name} is shown",
            self.follower.log,
        )  # fmt: skip


@contextmanager
def scene(profile: str, domain: str, keys: tuple[str, ...], peer: tuple[str, ...], directory: Path) -> Iterator[Scene]:
    """With a ptp4l that follows the grandmaster too; Debian's knows domains up to 127 only."""
    number, same = f"domain: {domain}", ("--domainNumber", domain, "--slaveOnly", "1")
    with star(2) as (hub, (spoke, other)):
        mac = mac_of(hub)
        with (
            capture(spoke, directory) as packets,
            ptp4l(other, directory / "peer", *peer, *same) as follows,
            timesync(
                hub, directory / "gm", configuration(profile, "timeTransmitter", GRANDMASTER_PORTS, number, *keys)
            ) as ours,
            timesync(
                spoke, directory / "ours", configuration(profile, "timeReceiver", ("interface: eth0",), number)
            ) as follower,
        ):
            wait_for_state(ours, "TIME_TRANSMITTER", WITHIN_S)
            yield Scene(follower, mac, packets)
            # What hangs on its messages keeps ptp4l from nothing.
            wait_until(follows.offsets, WITHIN_S, "ptp4l measures our time", follows.log)
    assert packets.wrong(mac) == []


@pytest.mark.parametrize(
    ("profile", "keys", "domain", "shown", "fields", "values"),
    [
        (
            "power",
            ("grandmaster_id: 700",),
            "93",
            {"edition": 2017, "grandmaster_id": 700, "total_inaccuracy_s": None},
            ("ptp.v2.an.oe.grandmasterID", "ptp.v2.an.oe.totalTimeInaccuracy"),
            (700, 0xFFFF_FFFF),
        ),
        (
            "power-2011",
            ("grandmaster_id: 254", "network_inaccuracy: 1us"),
            "93",
            {"edition": 2011, "grandmaster_id": 254, "grandmaster_inaccuracy_s": None, "network_inaccuracy_s": 1e-6},
            ("ptp.v2.an.oe.grandmasterID", "ptp.v2.an.oe.networkTimeInaccuracy"),
            (254, 1000),
        ),
    ],
)
def test_substations_are_told_of_the_grandmaster_and_of_local_time(
    tmp_path: Path,
    profile: str,
    keys: tuple[str, ...],
    domain: str,
    shown: dict[str, Any],
    fields: tuple[str, ...],
    values: tuple[int, ...],
) -> None:
    zone = "alternate_time: [Asia/Tokyo]"
    with scene(profile, domain, (*keys, zone), ("-2", "-P"), tmp_path) as found:
        power, (local,) = found.says("power"), found.says("alternate_times")

    assert shown == power
    assert TOKYO == local
    local_fields = ("ptp.v2.an.atoi.keyField", "ptp.v2.an.atoi.currentOffset", "ptp.v2.an.atoi.displayName")
    wanted = [word for field in (*fields, *local_fields) for word in ("-e", field)]
    rows = found.packets.read("-Y", f"ptp.v2.messagetype == 0xb && eth.src == {found.mac}", *wanted)
    assert rows
    assert {(*values, 0, TOKYO_S)} == {tuple(int(one, 0) for one in row[:-1]) for row in rows}
    # It shows a text twice: as a whole, and as its part.
    assert {"JST"} == {name for row in rows for name in row[-1].split(",")}


def test_studios_are_told_of_their_frames(tmp_path: Path) -> None:
    said = 'metadata: {frame_rate: 30000/1001, drop_frame: true, zone: Asia/Tokyo, daily_jam: "02:00"}'
    with scene("smpte", "127", (said,), ("-4", "-E"), tmp_path) as found:
        shown = found.says("metadata")
        second = time.time() + TAI_UTC

    assert ([30000, 1001], True, TOKYO_S) == (shown["frame_rate"], shown["drop_frame"], shown["offset_s"])
    assert shown["previous_jam"] <= second < shown["next_jam"]
    assert 86_400 == shown["next_jam"] - shown["previous_jam"]
    # Two in the morning in Tokyo is 17:00 UTC.
    assert 17 * 3600 == (shown["next_jam"] - TAI_UTC) % 86_400
    names = ("defaultsystemframerate.numerator", "defaultsystemframerate.denominator", "timeaddressflags",
             "currentlocaloffset", "timeofnextjam", "timeofpreviousjam", "masterlockingstatus")  # fmt: skip
    wanted = [word for name in names for word in ("-e", f"ptp.v2.oe.smpte.{name}")]
    # ptp4l takes it for a question and says so once a second, and our two ports pass its answer on.
    rows = found.packets.read("-Y", f"ptp.v2.oe.smpte.SubType && eth.src == {found.mac}", *wanted)
    assert rows
    said_there = {tuple(int(one, 0) for one in row) for row in rows}
    locking = {"cold locking": 2, "free run": 1}[shown["locking_status"]]
    assert (30000, 1001, 1, TOKYO_S, shown["next_jam"], shown["previous_jam"], locking) in said_there


def test_unicast_clients_are_told_the_rate_of_the_interface(tmp_path: Path) -> None:
    with star(2) as (hub, (spoke, other)):
        mac = mac_of(hub)
        server = configuration("g8275.2", "timeTransmitter", GRANDMASTER_PORTS)
        asks = f"interface: eth0, unicast: {{servers: [{hub.address}]}}"
        config = ("--domainNumber", "44", "--slaveOnly", "1")
        with (
            capture(spoke, tmp_path) as packets,
            timesync(hub, tmp_path / "gm", server) as ours,
            timesync(spoke, tmp_path / "ours", configuration("g8275.2", "timeReceiver", (asks,))) as follower,
            ptp4l(other, tmp_path / "peer", *config, config="G.8275.2.cfg", servers=["198.51.100.17"]) as follows,
        ):
            wait_for_state(ours, "TIME_TRANSMITTER", WITHIN_S)
            rate: dict[str, Any] = wait_until(
                lambda: (port_of(follower).get("servers") or [{}])[0].get("interface"), WITHIN_S, "the rate is shown",
                follower.log,
            )  # fmt: skip
            wait_until(follows.offsets, WITHIN_S, "ptp4l measures our time", follows.log)
            megabits = int(hub.peer("cat", "/sys/class/net/eth0/speed").stdout)

    assert packets.wrong(mac) == []
    assert {"bits_per_s": megabits * 1e6, "bits_before": 64, "bits_after": 720} == rate
    rows = packets.read(
        "-Y", f"ptp.v2.messagetype == 0xc && eth.src == {mac}", "-e", "ptp.as.sig.tlv.interfaceBitPeriod"
    )
    assert {10**12 // megabits} == {int(one, 0) for (one,) in rows if one}


@pytest.mark.parametrize(
    ("profile", "peer", "sent"),
    [
        ("utility", ("-2", "-P"), {0x0, 0x2, 0x3, 0x8, 0xA, 0xB}),
        ("aes67", ("-4", "-E"), {0x0, 0x8, 0x9, 0xB}),
    ],
)
def test_profiles_without_tlvs_of_their_own_are_read_by_tshark_too(
    tmp_path: Path, profile: str, peer: tuple[str, ...], sent: set[int]
) -> None:
    with scene(profile, "0", (), peer, tmp_path) as found:
        wait_for_state(found.follower, "TIME_RECEIVER", WITHIN_S)
    assert sent == found.packets.types(found.mac)
