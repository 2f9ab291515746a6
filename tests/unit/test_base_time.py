"""Instants and durations: exactness, rounding, ordering."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.time import NS_PER_S, SCALE, UNITS_PER_S, ZERO, Duration, Instant, Mono, Tai

WIDE = st.integers(-(2**100), 2**100)


def test_the_unit_is_two_to_the_minus_sixteen_nanoseconds() -> None:
    assert 65_536 == SCALE
    assert 65_536_000_000_000 == UNITS_PER_S
    assert Duration(65_536) == Duration.from_ns(1)
    assert Duration(-65_536 * NS_PER_S) == Duration.from_s(-1)


def test_whole_seconds_are_exact_however_large() -> None:
    assert (2**80) * UNITS_PER_S == Duration.from_s(2**80).scaled_ns


@pytest.mark.parametrize(("seconds", "expected_ns"), [(0.5, 500_000_000), (1e-9, 1), (-2.5e-6, -2_500)])
def test_seconds_as_float_go_to_the_nearest_unit(seconds: float, expected_ns: int) -> None:
    assert expected_ns == Duration.from_s(seconds).ns()


@pytest.mark.parametrize(
    ("units", "expected_ns"),
    [(32_767, 0), (32_768, 1), (-32_768, 0), (-32_769, -1), (-98_304, -1), (98_304, 2)],
)
def test_rounding_to_nanoseconds_takes_halves_up(units: int, expected_ns: int) -> None:
    assert expected_ns == Duration(units).ns()
    instant: Instant[Tai] = Instant(units)
    assert expected_ns == instant.ns()


@given(WIDE)
def test_nanoseconds_survive(nanoseconds: int) -> None:
    assert nanoseconds == Duration.from_ns(nanoseconds).ns()
    assert nanoseconds == Instant[Tai].from_ns(nanoseconds).ns()


@given(WIDE, WIDE)
def test_differences_and_sums_are_inverse(a: int, b: int) -> None:
    one: Instant[Mono] = Instant(a)
    other: Instant[Mono] = Instant(b)
    assert one == other + (one - other)
    assert other == one - (one - other)
    assert (one < other) == (a < b)
    assert Duration(a) == -(Duration(b) - Duration(a)) + Duration(b)


@given(WIDE, st.integers(1, 1000))
def test_multiples_and_parts(units: int, factor: int) -> None:
    span = Duration(units)
    assert span == span * factor // factor
    assert abs(span) == (span if units >= 0 else -span)
    assert bool(span) == (units != 0)


def test_text() -> None:
    assert "0.0125 s" == str(Duration.from_ns(12_500_000))
    assert "1700000000.000000001" == str(Instant[Tai].from_ns(1_700_000_000_000_000_001))
    assert "0 s" == str(ZERO)


def test_instants_do_not_become_floats() -> None:
    instant: Instant[Tai] = Instant(1)
    with pytest.raises(TypeError, match="float"):
        float(instant)  # type: ignore[arg-type]  # that is the point
