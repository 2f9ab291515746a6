"""Words of the snapshot."""

from __future__ import annotations

from dataclasses import replace

import pytest

from timesync.base.ids import ClockId
from timesync.base.measure import Leap
from timesync.base.rate import Rate
from timesync.base.time import UNITS_PER_S, ZERO, Instant
from timesync.observe.snapshot import Snapshot, reference_text
from timesync.servo.view import ClockView, CoreView, ServoState


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


BENCH = ClockId("bench")
CLOCK = ClockView(
    clock=BENCH,
    disciplined=True,
    state=ServoState.HOLDOVER,
    offset_s=None,
    offset_uncertainty_s=None,
    error_bound_s=None,
    frequency=Rate(0.0),
    frequency_uncertainty=Rate(0.0),
    steering=Rate(0.0),
    wander=1e-9,
    steps=0,
    fed_by=(),
)
CORE = CoreView(
    at=Instant(100 * UNITS_PER_S),
    served=BENCH,
    state=ServoState.HOLDOVER,
    reason="no usable source",
    stratum=3,
    reference_id=b"GPS\0",
    leap=Leap.NONE,
    root_delay=ZERO,
    root_dispersion=ZERO,
    dispersion_rate=0.0,
    reference_time=None,
    sources=(),
    links=(),
    clocks=(CLOCK,),
    fed_at=Instant(40 * UNITS_PER_S),
)


def snapshot(core: CoreView) -> Snapshot:
    return Snapshot(
        core=core,
        kinds={BENCH: "virtual"},
        facts={},
        unresolved={},
        started=Instant(0),
        tai_utc=37,
        served=(),
        counters=None,
        addresses=("192.0.2.1",),
        celsius={BENCH: 41.5},
    )


def test_holdover_is_as_old_as_the_last_word_of_a_source() -> None:
    assert 60.0 == snapshot(CORE).status()["holdover_s"]
    assert snapshot(replace(CORE, state=ServoState.LOCKED)).status()["holdover_s"] is None
    assert snapshot(replace(CORE, fed_at=None)).status()["holdover_s"] is None


def test_temperature_and_addresses_are_told() -> None:
    status = snapshot(CORE).status()
    assert [41.5] == [clock["celsius"] for clock in status["clocks"]]
    assert ["192.0.2.1"] == status["serving"]["addresses"]
