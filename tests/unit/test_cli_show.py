"""Numbers for people."""

from __future__ import annotations

import math

import pytest

from timesync.cli.show import ago, count, ppm, signed, span, with_uncertainty


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (1.5e-9, "1.50 ns"),
        (-3.2e-8, "-32.0 ns"),
        (9.996e-7, "1000 ns"),
        (1.234e-5, "12.3 µs"),
        (0.05, "50.0 ms"),
        (1.0, "1.00 s"),
        (100.4, "100 s"),
        (180.0, "3.00 min"),
        (9000.0, "2.50 h"),
        (1e6, "11.6 d"),
        (-7200.0, "-2.00 h"),
        (None, "unknown"),
    ],
)
def test_spans(seconds: float | None, text: str) -> None:
    assert text == span(seconds)


def test_no_span_has_an_exponent() -> None:
    values = [m * 10.0**e for e in range(-12, 9) for m in (1, 3.333, 9.994, 9.996)]

    assert [] == [text for text in map(span, values) if "e" in text.split()[0] or len(text.split()[0]) > 7]


def test_signs_uncertainties_and_ages() -> None:
    assert ["+1.00 ms", "-1.00 ms", "0 s"] == [signed(1e-3), signed(-1e-3), signed(0.0)]
    assert ["unknown", "+2.00 µs ± 500 ns"] == [with_uncertainty(None, None), with_uncertainty(2e-6, 5e-7)]
    assert ["never", "2.00 s ago"] == [ago(None), ago(2.0)]
    assert ["1 step", "0 steps"] == [count(1, "step"), count(0, "step")]


def test_frequencies() -> None:
    assert "+20.0000 ppm" == ppm(20.0)
    assert "-0.0001 ± 0.012 ppm" == ppm(-0.0001, 0.0123)
    assert "+1.0000 ± 250 ppm" == ppm(1.0, 250.0)
    assert "unknown" == ppm(None)
    assert "+0.0000 ± unknown ppm" == ppm(0.0, math.inf)
