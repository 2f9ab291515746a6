"""Samples without the time in transparent clocks: what is believed, and what comes of it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ntp_client_support import settings

from timesync.base.time import ZERO, Duration, Instant
from timesync.ntp.exchange import Residence, Sample
from timesync.ntp.residence import without

US = Duration.from_ns(1_000)
SAMPLE = Sample(
    at=Instant.from_ns(5),
    epoch=1,
    offset=US * 7,
    round_trip=US * 100,
    noise_s=1e-9,
    excess=ZERO,
)


def test_it_is_taken_out_of_offset_and_round_trip() -> None:
    """The answer was kept 40 us longer: we had seemed to be ahead by half of that."""
    got = without(SAMPLE, Residence(there=US * 20, back=US * 60))
    taken = Duration.from_ns(79_992)  # less 100 ppm
    assert got == replace(SAMPLE, offset=US * 7 - US * 20, round_trip=US * 100 - taken, residence=taken)


@pytest.mark.parametrize(
    ("there", "back"),
    [
        (ZERO, US * 20),
        (US * 20, ZERO),
        (ZERO - US, US * 20),
        (US * 20, ZERO - US),
        # More than the whole way, beyond what the clocks of switches err.
        (US * 60, US * 41),
        (Duration.from_ns(100_011), Duration(1)),
        (Duration(1 << 79), Duration(1 << 79)),
    ],
)
def test_what_cannot_be_believed_changes_nothing(there: Duration, back: Duration) -> None:
    assert SAMPLE is without(SAMPLE, Residence(there, back))


def test_the_offset_never_changes_by_more_than_half_the_round_trip() -> None:
    got = without(SAMPLE, Residence(Duration(1), Duration.from_ns(100_010)))
    assert abs(got.offset - SAMPLE.offset) <= US * 50 + Duration.from_ns(5)
    assert ZERO <= got.round_trip < US


def test_only_version_4_has_the_field() -> None:
    assert settings(corrections=True).corrections
    with pytest.raises(ValueError, match="exist in version 4 only"):
        settings(corrections=True, version=3)
