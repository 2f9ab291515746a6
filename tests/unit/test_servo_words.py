"""Lengths of time for people."""

from __future__ import annotations

import pytest

from timesync.servo.select import words


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 ns"),
        (1e-9, "1 ns"),
        (-12.5e-6, "-12.5 µs"),
        (9.994e-7, "999 ns"),
        (9.996e-7, "1 µs"),
        (9.996e-4, "1 ms"),
        (0.9996, "1 s"),
        (1.5, "1.5 s"),
        (59.9, "59.9 s"),
        (59.96, "60 s"),
        (60.0, "1 min"),
        (90.0, "1.5 min"),
        (180.0, "3 min"),
        (-600.0, "-10 min"),
        (3594.0, "59.9 min"),
        (3599.0, "1.0 h"),
        (3600.0, "1.0 h"),
        (-27_000.0, "-7.5 h"),
        (172_799.0, "48.0 h"),
        (172_800.0, "2.0 d"),
        (1.767e9, "20451.4 d"),
    ],
)
def test_words(seconds: float, text: str) -> None:
    assert text == words(seconds)
