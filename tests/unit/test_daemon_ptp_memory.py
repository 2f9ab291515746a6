"""What is kept of PTP links over a restart, as it stands in the calibration file."""

from __future__ import annotations

import json
import math

import pytest

from timesync.base.time import Duration
from timesync.daemon.ptp_memory import decode, encode
from timesync.ptp.link import LinkMemory


def test_what_is_written_is_read_again() -> None:
    kept = {"eth0": LinkMemory(Duration.from_ns(512), 1 + 12.5e-6), "eth1": LinkMemory(Duration.from_ns(3))}
    written = json.loads(json.dumps(encode(kept)))

    assert 512 == pytest.approx(written["eth0"]["link_delay_ns"])
    assert 12.5 == pytest.approx(written["eth0"]["neighbor_rate_ppm"])
    found = decode(written)
    assert kept["eth1"] == found["eth1"]
    assert kept["eth0"].delay == found["eth0"].delay
    assert found["eth0"].rate_ratio == pytest.approx(1 + 12.5e-6, abs=1e-15)


@pytest.mark.parametrize(
    "fields",
    [
        None,
        3,
        [],
        {},
        {"link_delay_ns": "1"},
        {"link_delay_ns": True},
        {"link_delay_ns": math.nan},
        {"link_delay_ns": 2e6},
    ],
)
def test_what_is_no_delay_is_left_out(fields: object) -> None:
    assert {} == decode({"eth0": fields})


def test_a_rate_that_no_oscillator_has_is_left_out() -> None:
    assert {"eth0": LinkMemory(Duration.from_ns(1))} == decode(
        {"eth0": {"link_delay_ns": 1, "neighbor_rate_ppm": 2000}}
    )
