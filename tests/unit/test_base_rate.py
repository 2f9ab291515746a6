"""Rates against the units of ``struct timex`` (adjtimex(2): ppm with a 16-bit fraction)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.rate import Rate


@pytest.mark.parametrize(
    ("scaled", "ppm"), [(65_536, 1.0), (-65_536, -1.0), (32_768_000, 500.0), (1, 1 / 65_536), (0, 0.0)]
)
def test_kernel_units(scaled: int, ppm: float) -> None:
    assert ppm == pytest.approx(Rate.from_kernel(scaled).ppm(), rel=1e-12)
    assert scaled == Rate.from_ppm(ppm).to_kernel()


@given(st.integers(-32_768_000 * 200, 32_768_000 * 200))
def test_what_the_kernel_says_goes_back_unchanged(scaled: int) -> None:
    assert scaled == Rate.from_kernel(scaled).to_kernel()


def test_rounding_is_to_nearest() -> None:
    assert 1 == Rate(0.6 / 65_536e6).to_kernel()
    assert 0 == Rate(0.4 / 65_536e6).to_kernel()
    assert -1 == Rate(-0.6 / 65_536e6).to_kernel()


def test_arithmetic_and_units() -> None:
    assert 3.0 == pytest.approx(Rate.from_ppb(3).ppb())
    assert 1e-6 == pytest.approx(Rate.from_ppm(1).ratio)
    assert 5.0 == pytest.approx((Rate.from_ppm(2) + Rate.from_ppm(3)).ppm())
    assert -1.0 == pytest.approx((Rate.from_ppm(2) - Rate.from_ppm(3)).ppm())
    assert Rate(-0.5) == -Rate(0.5)
    assert Rate(-0.5) < Rate(0.5)
    assert "+20.0000 ppm" == str(Rate.from_ppm(20))
