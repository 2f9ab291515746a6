"""The tests of an answer and the arithmetic of four stamps, each by itself."""

from __future__ import annotations

import math

import pytest
from ntp_client_support import Scales

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai
from timesync.ntp.exchange import FORESIGHT, DropReason, Limits, Request, Sample, measure, precision_of, worse

LIMITS = Limits(Duration.from_ns(100), Duration.from_s(3))


def stamp(units: int) -> Stamp:
    return Stamp(ClockId("system"), 0, Instant(2_000_000_000 * UNITS_PER_S + units))


def tai(units: int) -> Instant[Tai]:
    return Instant(2_000_000_000 * UNITS_PER_S + units)


@pytest.mark.parametrize(
    ("exponent", "units"),
    [(0, UNITS_PER_S), (3, 8 * UNITS_PER_S), (-6, UNITS_PER_S // 64), (-46, 1), (-128, 1)],
)
def test_precision(exponent: int, units: int) -> None:
    assert max(units, 1) == precision_of(exponent).scaled_ns


def test_precision_127_is_only_a_large_integer() -> None:
    assert UNITS_PER_S << 127 == precision_of(127).scaled_ns


def test_the_arithmetic_is_exact_to_the_unit() -> None:
    """RFC 5905, 8: theta = ((T2 - T1) + (T3 - T4)) / 2, negated; delta = (T4 - T1) - (T3 - T2)."""
    sample = measure(stamp(0), tai(70_000), tai(90_000), stamp(1_000_001), -30, LIMITS, Scales())
    assert isinstance(sample, Sample)
    assert ((0 - 70_000) + (1_000_001 - 90_000)) // 2 == sample.offset.scaled_ns
    assert 1_000_001 - 20_000 == sample.round_trip.scaled_ns
    assert tai(500_000) == sample.at


@pytest.mark.parametrize(
    ("below_ns", "exponent", "accepted"),
    [
        (0, -30, True),
        (80, -30, True),
        (20_000, -30, True),
        (250_000, -30, True),
        (250_001, -30, False),
        (900_000, -10, True),  # 2^-10 s, 977 µs: the server's clock cannot say better
        (980_000, -10, False),
    ],
)
def test_a_round_trip_below_zero_counts_as_zero_and_what_it_lacks_as_noise(
    below_ns: int, exponent: int, accepted: bool
) -> None:
    """RFC 5905, 8; the answer arrives 10 µs after the request left, and is said to have been sent even later."""
    t3 = tai(Duration.from_ns(10_000 + below_ns).scaled_ns)
    sample = measure(stamp(0), tai(0), t3, stamp(Duration.from_ns(10_000).scaled_ns), exponent, LIMITS, Scales())
    if not accepted:
        assert sample is DropReason.DELAY
        return
    assert isinstance(sample, Sample)
    assert (Duration(0), below_ns) == (sample.round_trip, sample.excess.ns())
    assert math.hypot(100e-9, 2.0**exponent) + below_ns * 1e-9 == pytest.approx(sample.noise_s, rel=1e-6)
    assert -below_ns / 2 == pytest.approx(sample.offset.ns(), abs=1)


def test_a_positive_round_trip_has_no_excess() -> None:
    sample = measure(stamp(0), tai(10), tai(20), stamp(FORESIGHT.scaled_ns), -30, LIMITS, Scales())

    assert isinstance(sample, Sample)
    assert Duration(0) == sample.excess
    assert math.hypot(100e-9, 2.0**-30) == pytest.approx(sample.noise_s)


def test_an_origin_of_zero_never_makes_an_answer_interleaved() -> None:
    request = Request(b"", version=4, transmit=5, receive=0)
    assert not request.matches(0)
    assert request.matches(5)
    assert not request.is_interleaved(5)
    assert Request(b"", version=4, transmit=5, receive=6).is_interleaved(6)


def test_user_is_worse_than_kernel_is_worse_than_hardware() -> None:
    ranks = [StampSource.HARDWARE, StampSource.KERNEL, StampSource.USER]
    for low, one in enumerate(ranks):
        for high, other in enumerate(ranks):
            assert ranks[max(low, high)] is worse(one, other)
