"""NTP by the stamps of network cards, against chronyd at the other end of a cable.

Both hosts are one machine with one system clock, which nobody steers here: what chronyd serves and what we serve is
that clock, so every offset that is seen between them is an error.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, pstdev
from typing import Any

import pytest
from hw_daemons import HERE, THERE, Cable, Daemon, cable, chronyd, timesync

from timesync_drivers.nic import Setting, setting
from timesync_drivers.phc import PhcDevice

NS_PER_S = 1_000_000_000
SERVED = ("local stratum 1", "allow all")
LAB = Path("/sys/module/vmlab_nic/parameters")
FAR_OFF_NS = 1_000_000
"""Where a clock is emulated chronyd's own conversion of stamps is that far off at times."""

OFF = Setting(0, 0, 0)
Record = Callable[[str, object], None]


@pytest.fixture
def wired() -> Iterator[Cable]:
    with cable() as made:
        if setting(made.near) != OFF:
            pytest.skip(f"something else has {made.near} stamp packets")
        yield made


def _client(card: str, timestamping: str, transport: str = "udp") -> str:
    return f"""
clocks:
  system: {{discipline: false}}
  card: {{phc: {card}}}
sources:
  - {{ntp: {THERE}, poll: [1s, 1s], interleaved: always, timestamping: {timestamping}, transport: {transport}}}
serve: {{clock: card}}
"""


def _server(card: str, timestamping: str, address: str = HERE) -> str:
    return f"""
clocks:
  system: {{discipline: false}}
  card: {{phc: {card}, discipline: false}}
serve:
  local_stratum: 3
  ntp: {{listen: [{address}], ptp_listen: [{address}], workers: 1, timestamping: {timestamping}}}
"""


def _sources(daemon: Daemon, count: int) -> list[dict[str, Any]]:
    """The source after each of so many further measurements."""
    seen = [daemon.source()]
    while len(seen) <= count:
        least = seen[-1]["samples"] + 1

        def next_one(one: Daemon, least: int = least) -> Any:
            return (found := one.source()).get("samples", 0) >= least and found

        seen.append(daemon.until(next_one, "another measurement"))
    return seen[1:]


def test_our_client_follows_chronyd_by_hardware_stamps_and_leaves_the_card_as_it_was(
    wired: Cable, tmp_path: Path, record_property: Record
) -> None:
    errors = []
    with (
        chronyd(wired, tmp_path / "chronyd", *SERVED, f"hwtimestamp {wired.far}"),
        timesync(tmp_path / "ours", _client(wired.near, "hardware")) as daemon,
    ):
        daemon.until(lambda one: one.ask("status").get("state") == "locked", "the card's clock follows chronyd")
        during = setting(wired.near)
        _sources(daemon, 8)
        card = PhcDevice(wired.near)
        for _ in range(20):
            reading = card.cross()
            errors.append(reading.device_ns - reading.system_ns)
            time.sleep(0.25)
        card.close()
        source = daemon.source()
    after = setting(wired.near)

    tai_utc_ns = round(errors[-1] / NS_PER_S) * NS_PER_S
    errors = [error - tai_utc_ns for error in errors]
    record_property("jitter of a measurement, ns", round(source["jitter_s"] * 1e9))
    record_property("round trip, ns", round(source["delay_s"] * 1e9))
    record_property("card less chronyd's clock, ns: median, deviation", (median(errors), round(pstdev(errors))))
    assert (source["timestamping"], source["interleaved"], source["clock"]) == ("hardware", True, "card")
    assert source["state"] == "selected"
    assert during is not None
    assert during.stamps_ntp
    assert after == OFF
    assert tai_utc_ns == 37 * NS_PER_S
    assert abs(median(errors)) < FAR_OFF_NS


@pytest.mark.parametrize("transport", ["udp", "ptp"])
def test_both_ends_ours_see_the_cable_and_nothing_else(
    wired: Cable, tmp_path: Path, record_property: Record, transport: str
) -> None:
    """Each end's stamps go through its card's clock and the system clock; what is left of all that is the scatter."""
    with (
        timesync(tmp_path / "server", _server(wired.far_clock, "hardware", THERE), wired) as server,
        timesync(tmp_path / "client", _client(wired.near, "hardware", transport)) as daemon,
    ):
        # The rate of the far card's clock is known by then, and the first answers in basic mode are over.
        daemon.until(lambda one: one.source().get("samples", 0) > 8, "measurements in interleaved mode")
        delays = [1e9 * source["delay_s"] for source in _sources(daemon, 12)]
        source, counters = daemon.source(), server.counters()

    record_property(
        f"{transport}: round trip, ns: median, deviation", (round(median(delays)), round(pstdev(delays), 1))
    )
    record_property(f"{transport}: jitter of a measurement, ns", round(source["jitter_s"] * 1e9))
    assert (source["timestamping"], source["interleaved"]) == ("hardware", True)
    assert (counters["over_ptp"] == counters["answered"]) == (transport == "ptp")
    assert counters["hardware"] >= 12
    assert min(delays) >= 0
    # By the kernel's stamps it is tens of microseconds there, and as much scatter. While the clock that is followed is
    # still slewed, a pair of exchanges a second apart shows some of the slew.
    assert pstdev(delays) < 5_000
    if LAB.exists():
        assert 900 < median(delays) < 5_000, "the lab's cable takes 500 ns each way"


def test_auto_takes_the_card_and_the_kernel_when_its_stamps_fail(wired: Cable, tmp_path: Path) -> None:
    with (
        chronyd(wired, tmp_path / "chronyd", *SERVED),
        timesync(tmp_path / "ours", _client(wired.near, "auto").replace("always", "auto")) as daemon,
    ):
        source = daemon.until(lambda one: (found := one.source()).get("samples", 0) > 2 and found, "measurements")
        assert (source["timestamping"], source["clock"]) == ("hardware", "card")
        if LAB.exists():
            lost = LAB / "notx"
            lost.write_text("1000,1000")
            try:
                daemon.until(lambda one: one.source().get("timestamping") == "kernel", "the kernel stamps instead")
            finally:
                lost.write_text("0,0")
            assert daemon.source()["clock"] == "system"
            assert f"the card of {wired.near} is set to stamp packets, but the stamps do not come" in daemon.log()


@pytest.mark.parametrize("timestamping", ["auto", "software"])
def test_our_server_stamps_by_its_card(
    wired: Cable, tmp_path: Path, record_property: Record, timestamping: str
) -> None:
    client = (f"server {HERE} minpoll 0 maxpoll 0 xleave", f"hwtimestamp {wired.far}", "port 0")
    offsets, delays = [], []
    with (
        timesync(tmp_path / "ours", _server(wired.near, timestamping)) as daemon,
        chronyd(wired, tmp_path / "chronyd", *client) as other,
    ):
        # The rate of the card's clock must be known first.
        daemon.until(lambda one: one.counters().get("interleaved", 0) > 8, "chronyd asks in interleaved mode")
        for _ in range(10):
            time.sleep(1)
            data = other.ntpdata()
            offsets.append(float(data["Offset"].split()[0]) * 1e9)
            delays.append(float(data["Peer delay"].split()[0]) * 1e9)
        counters = daemon.counters()

    record_property(f"{timestamping}: offset, ns: median, deviation", (round(median(offsets)), round(pstdev(offsets))))
    record_property(f"{timestamping}: peer delay, ns", round(median(delays)))
    record_property(
        f"{timestamping}: stamps of chronyd's card, sent and received", (data["Total HW TX"], data["Total HW RX"])
    )
    record_property(f"{timestamping}: replies, with the card's stamp", (counters["answered"], counters["hardware"]))
    assert data["Interleaved"] == "Yes"
    assert int(data["Total good RX"]) > 8
    assert int(data["Total HW TX"]) > 0
    # Cards whose driver has no NAPI, as those of the lab, give chronyd no receive stamps: it asks which one it was.
    assert (counters["hardware"] > 0) == (timestamping == "auto")
    assert abs(median(offsets)) < FAR_OFF_NS
