"""A short run of the serial fuzz targets; ``run.py`` runs them longer."""

from __future__ import annotations

import random

import fuzz_serial
import pytest
from targets import Target, fuzz


@pytest.mark.parametrize("target", [fuzz_serial.NMEA, fuzz_serial.UBX], ids=lambda target: target.name)
def test_a_codec_raises_wire_error_or_returns(target: Target) -> None:
    count = 10_000
    refused = fuzz(target, count, seed=1)
    assert count * 0.1 < refused < count * 0.9, "both ways must be well trodden"


@pytest.mark.parametrize("baud", [9600, None])
def test_a_receiver_withstands_any_stream(baud: int | None) -> None:
    fuzz(fuzz_serial.receiver_target(f"serial {baud}", baud), 3_000, seed=1)


def test_the_streams_of_the_fuzzer_are_understood() -> None:
    """Else the run above would prove nothing."""
    session = fuzz_serial.Receiver(baud=9600)
    rng = random.Random(1)
    for _ in range(100):
        session.target(fuzz_serial.stream(rng))
    assert session.receiver.locked
