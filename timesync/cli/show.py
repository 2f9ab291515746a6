"""Numbers for people: each with its unit, three or four digits, never an exponent."""

from __future__ import annotations

import math

from rich.console import Console

_FINE = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6))
_COARSE = (("d", 86_400.0), ("h", 3600.0), ("min", 60.0))
UNKNOWN = "unknown"


def console() -> Console:
    """Standard output: as wide as the terminal, 80 columns where there is none."""
    return Console(highlight=False, emoji=False, markup=False)


def span(seconds: float | None) -> str:
    """A length of time, or an offset, such as ``12.3 µs`` or ``2.5 h``; ``unknown`` for None."""
    if seconds is None:
        return UNKNOWN
    size = abs(seconds)
    if size == 0:
        return "0 s"
    for unit, worth in _COARSE:
        if size >= 2 * worth:
            return f"{_digits(seconds / worth)} {unit}"
    for unit, worth in _FINE:
        if size >= worth:
            return f"{_digits(seconds / worth)} {unit}"
    return f"{_digits(seconds * 1e9)} ns"


def signed(seconds: float | None) -> str:
    """An offset with its sign."""
    text = span(seconds)
    return f"+{text}" if seconds is not None and seconds > 0 else text


def with_uncertainty(seconds: float | None, deviation: float | None) -> str:
    """An offset and one standard deviation of it."""
    return UNKNOWN if seconds is None else f"{signed(seconds)} ± {span(deviation)}"


def ppm(value: float | None, deviation: float | None = None) -> str:
    """A frequency in parts per million, to 0.1 ppb; with one standard deviation where there is one."""
    if value is None:
        return UNKNOWN
    return f"{value:+.4f} ppm" if deviation is None else f"{value:+.4f} ± {_plain(deviation)} ppm"


def ago(seconds: float | None) -> str:
    """How long ago something was."""
    return "never" if seconds is None else f"{span(seconds)} ago"


def count(number: int, noun: str) -> str:
    """``1 request``, ``2 requests``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _digits(value: float) -> str:
    """Three significant digits, without an exponent; whole numbers from 100 on."""
    size = abs(value)
    decimals = 2 if size < 9.995 else 1 if size < 99.95 else 0
    return f"{value:.{decimals}f}"


def _plain(value: float) -> str:
    """Two significant digits of a deviation, without an exponent."""
    if value <= 0 or not math.isfinite(value):
        return "0" if value == 0 else UNKNOWN
    decimals = max(1 - math.floor(math.log10(value)), 0)
    return f"{value:.{min(decimals, 7)}f}"
