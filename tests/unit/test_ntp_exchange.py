"""The tests of an answer and the arithmetic of four stamps, each by itself."""

from __future__ import annotations

import pytest
from ntp_client_support import Scales

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai
from timesync.ntp.exchange import Exchange, Limits, Sample, measure, precision_of, worse

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


def test_an_origin_of_zero_never_makes_an_answer_interleaved() -> None:
    exchange = Exchange(token=1, transmit=5, receive=0, expires=Instant(0))
    assert not exchange.matches(0)
    assert exchange.matches(5)
    assert not exchange.is_interleaved(5)
    assert Exchange(token=1, transmit=5, receive=6, expires=Instant(0)).is_interleaved(6)


def test_user_is_worse_than_kernel_is_worse_than_hardware() -> None:
    ranks = [StampSource.HARDWARE, StampSource.KERNEL, StampSource.USER]
    for low, one in enumerate(ranks):
        for high, other in enumerate(ranks):
            assert ranks[max(low, high)] is worse(one, other)
