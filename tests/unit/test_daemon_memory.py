"""The drift file, written and read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from timesync.base.ids import ClockId
from timesync.daemon.memory import DriftFileError, decode, encode
from timesync.servo.command import ClockMemory

GOOD: dict[str, Any] = {"frequency_ppm": -12.5, "frequency_uncertainty_ppm": 0.25, "wander": 1e-9}


def test_what_is_written_is_read_in_ppm() -> None:
    memory = {ClockId("system"): ClockMemory(-12.5e-6, 0.25e-6, 1e-9)}
    said = json.loads(encode(memory))["clocks"]["system"]

    assert GOOD == pytest.approx(said)
    (kept,) = decode(encode(memory)).values()
    assert (-12.5e-6, 0.25e-6, 1e-9) == pytest.approx((kept.frequency, kept.deviation, kept.wander), abs=1e-15)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"[" * 100_000,
        b'{"version": 2, "clocks": {}}',
        b'{"version": 1, "clocks": []}',
        b'{"version": 1, "clocks": {"system": 1}}',
        b'{"version": 1, "clocks": {"system": {}}}',
    ],
)
def test_what_is_no_drift_file_is_refused(data: bytes) -> None:
    with pytest.raises(DriftFileError):
        decode(data)


@pytest.mark.parametrize(
    "wrong",
    [
        {"frequency_ppm": 100_001},
        {"frequency_ppm": "1"},
        {"frequency_ppm": True},
        {"frequency_ppm": float("nan")},
        {"frequency_ppm": 10**400},
        {"frequency_uncertainty_ppm": float("inf")},
        {"frequency_uncertainty_ppm": -1},
        {"wander": 0},
        {"wander": 2},
    ],
)
def test_a_number_that_no_clock_has_is_refused(wrong: dict[str, Any]) -> None:
    data = json.dumps({"version": 1, "clocks": {"system": {**GOOD, **wrong}}}).encode()
    with pytest.raises(DriftFileError):
        decode(data)
