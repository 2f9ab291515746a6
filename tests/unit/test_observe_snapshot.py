"""What the snapshot says, and in which words."""

from __future__ import annotations

from dataclasses import replace

import pytest
from snapshot_support import SYSTEM, TAI_UTC, UTC_NS, holding, snapshot

from timesync.observe.snapshot import reference_text
from timesync.servo.view import ServoState


@pytest.mark.parametrize(
    ("reference_id", "stratum", "expected"),
    [
        # RFC 5905, 7.3: at stratum 1 four letters, left-justified and zero padded (figure 12).
        (b"GPS\0", 1, "GPS"),
        (b"GPS", 1, "GPS"),
        (b"PPS\0", 1, "PPS"),
        (b"GOES", 1, "GOES"),
        # 7.4: at stratum 0 a kiss code (figure 13).
        (b"RATE", 0, "RATE"),
        # Above, the IPv4 address of the server; also when its octets are letters.
        (bytes([192, 0, 2, 1]), 2, "192.0.2.1"),
        (b"GPS\0", 2, "71.80.83.0"),
        (bytes([127, 127, 1, 0]), 15, "127.127.1.0"),
        # What is no text is never sent to a terminal as text.
        (b"\x1b[2J", 1, "27.91.50.74"),
        (b"G S\0", 1, "71.32.83.0"),
        (b"\0GPS", 1, "0.71.80.83"),
        (b"\xe9t\xe9\0", 1, "233.116.233.0"),
        (bytes(4), 1, "0.0.0.0"),
        (bytes(4), 0, "0.0.0.0"),
        (bytes(4), 16, "0.0.0.0"),
    ],
)
def test_a_reference_id_for_people(reference_id: bytes, stratum: int, expected: str) -> None:
    assert expected == reference_text(reference_id, stratum)


def test_holdover_is_as_old_as_the_last_word_of_a_source() -> None:
    now = snapshot()
    assert (None, None) == tuple(now.status()[key] for key in ("holdover_s", "holdover_left_s"))
    assert (120.0, 3480.0) == tuple(holding(now).status()[key] for key in ("holdover_s", "holdover_left_s"))
    unfed = replace(now.core, state=ServoState.HOLDOVER, fed_at=None)
    assert replace(now, core=unfed).status()["holdover_s"] is None


def test_where_no_source_can_be_asked_that_is_the_reason() -> None:
    now = snapshot()
    assert now.core.reason == now.status()["reason"]
    core = replace(now.core, state=ServoState.ACQUIRING, reason="waiting for the first measurements", sources=())
    asked = replace(now, core=core)
    assert "no source can be asked: its name has no address" == asked.status()["reason"]
    assert core.reason == replace(asked, unresolved={}).status()["reason"]


def test_temperature_and_addresses_are_told() -> None:
    status = replace(snapshot(), addresses=("192.0.2.1",)).status()
    assert [41.5, None] == [clock["celsius"] for clock in status["clocks"]]
    assert ["192.0.2.1"] == status["serving"]["addresses"]


def test_what_is_told_of_the_reference_and_of_leap_seconds() -> None:
    status = snapshot().status()
    assert ("ntp.example", "192.0.2.7", "c0000207") == tuple(
        status[key] for key in ("reference", "reference_id", "reference_id_hex")
    )
    # TAI inside, UTC for those who watch.
    assert UTC_NS - 2_000_000_000 == status["updated_utc_ns"]
    assert (TAI_UTC, 2_592_000.0) == tuple(status[key] for key in ("tai_utc_offset_s", "leap_table_left_s"))
    assert {SYSTEM: 0.75, "phc:eth0": 0.0} == {one["name"]: one["stepped_s"] for one in status["clocks"]}


def test_the_register_of_reach_and_what_a_source_says_of_its_root() -> None:
    first, pulse, *_, late, rough = snapshot().sources()["sources"]
    assert (5, 0b1110_1100, 8e-3, 9e-4) == tuple(
        first[key] for key in ("reach", "reach_register", "root_delay_s", "root_dispersion_s")
    )
    assert pulse["reach_register"] is None
    assert set(first) == set(late) == set(rough)


def test_a_ptp_instance_has_its_data_sets() -> None:
    (instance,) = snapshot().status()["ptp"]
    assert {
        "identity": "aabbcc.fffe.ddee01",
        "domain": 24,
        "number_ports": 2,
        "time_receiver_only": False,
        "priority1": 127,
        "priority2": 126,
        "clock_class": 187,
        "accuracy": 0x25,
        "variance": 0x4E5D,
        "steps_removed": 2,
        "parent": "aabbcc.fffe.ddee02-3",
        "grandmaster": {
            "identity": "aabbcc.fffe.ddee02",
            "priority1": 100,
            "priority2": 101,
            "clock_class": 6,
            "accuracy": 0x21,
            "variance": 0x4E20,
        },
        "time_properties": {
            "utc_offset_s": 37,
            "utc_offset_valid": True,
            "leap61": True,
            "leap59": False,
            "ptp_timescale": True,
            "time_traceable": True,
            "frequency_traceable": False,
            "time_source": 0x20,
        },
        "path_trace": True,
        "path": ["aabbcc.fffe.ddee02"],
        "ports": ["eth0", "eth1"],
    } == instance
