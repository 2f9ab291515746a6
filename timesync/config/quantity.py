"""Durations and frequencies as a user writes them: a number and its unit.

A bare number is refused where a unit is needed, and the message says what to write. Durations are computed in
integers: ``1.5us`` is exactly 1500 ns. Finer than 2^-16 ns is rounded to nearest.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NoReturn

from timesync.base.rate import Rate
from timesync.base.time import NS_PER_S, SCALE, UNITS_PER_S, Duration

DURATION_PATTERN = r"^[-+]?[0-9]{1,20}(\.[0-9]{1,15})? ?(ns|us|ms|s|min|h|d)$"
"""The whole syntax of a duration, for JSON Schema."""

FREQUENCY_PATTERN = r"^[-+]?[0-9]{1,20}(\.[0-9]{1,15})? ?(ppm|ppb)$"
"""The whole syntax of a frequency, for JSON Schema."""

_QUANTITY = re.compile(r"([-+]?)([0-9]{1,20})(?:\.([0-9]{1,15}))? ?([^\s0-9.+-]\S{0,15})?", re.ASCII)

_DURATION_UNITS = {
    "ns": SCALE,
    "us": 1_000 * SCALE,
    "ms": 1_000_000 * SCALE,
    "s": UNITS_PER_S,
    "min": 60 * UNITS_PER_S,
    "h": 3_600 * UNITS_PER_S,
    "d": 86_400 * UNITS_PER_S,
}
_FREQUENCY_UNITS = {"ppm": Fraction(1, 1_000_000), "ppb": Fraction(1, NS_PER_S)}

_OTHER_NAMES = {
    "nsec": "ns", "nanosecond": "ns", "nanoseconds": "ns",
    "µs": "us", "μs": "us", "usec": "us", "microsecond": "us", "microseconds": "us",
    "msec": "ms", "millisecond": "ms", "milliseconds": "ms",
    "sec": "s", "secs": "s", "second": "s", "seconds": "s",
    "mins": "min", "minute": "min", "minutes": "min",
    "hr": "h", "hrs": "h", "hour": "h", "hours": "h",
    "day": "d", "days": "d",
}  # fmt: skip


class QuantityError(ValueError):
    """A text that is not the quantity that is needed.

    Attributes:
        message: What is wrong.
        suggestion: What to write instead, when that is clear.
    """

    def __init__(self, message: str, suggestion: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.suggestion = suggestion


def parse_duration(value: object) -> Duration:
    """The duration that ``value`` spells, such as ``100ns``, ``1.5us`` or ``-2h``.

    Raises QuantityError for a bare number, an unknown unit, and anything that is not text.
    """
    number, unit = _split(value, "a duration such as 16s", "s")
    scale = _DURATION_UNITS.get(unit)
    if scale is None:
        _refuse_unit(str(value), unit, "a duration such as 16s", _DURATION_UNITS, _FREQUENCY_UNITS)
    exact = number * scale
    return Duration(round(exact))


def parse_frequency(value: object) -> Rate:
    """The frequency that ``value`` spells, such as ``20ppm`` or ``-3ppb``; positive is fast.

    Raises QuantityError for a bare number, an unknown unit, and anything that is not text.
    """
    number, unit = _split(value, "a frequency such as 20ppm", "ppm")
    scale = _FREQUENCY_UNITS.get(unit)
    if scale is None:
        _refuse_unit(str(value), unit, "a frequency such as 20ppm", _FREQUENCY_UNITS, _DURATION_UNITS)
    return Rate(float(number * scale))


def parse_ratio(value: object) -> float:
    """A dimensionless ratio: a bare number such as ``1e-9``, or the same as a frequency (``1ppb``)."""
    if isinstance(value, str):
        return parse_frequency(value).ratio
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise QuantityError("expected a ratio such as 1e-9 or 1ppb")
    return float(value)


def format_duration(span: Duration) -> str:
    """With the largest unit that keeps a whole number; ``parse_duration`` gives the same span back."""
    for unit in ("d", "h", "min", "s", "ms", "us", "ns"):
        count, rest = divmod(span.scaled_ns, _DURATION_UNITS[unit])
        if not rest and (count or unit == "s"):
            return f"{count}{unit}"
    sign = "-" if span.scaled_ns < 0 else ""
    whole, rest = divmod(abs(span.scaled_ns), SCALE)
    # 2^-16 has sixteen decimals; twelve are enough to come back to the same multiple.
    decimals = f"{round(rest * 10**12 / SCALE):012d}".rstrip("0")
    return f"{sign}{whole}.{decimals}ns"


def format_frequency(rate: Rate) -> str:
    """In parts per million, or per billion when below one part per million."""
    if rate.ratio and abs(rate.ratio) < 1e-6:
        return f"{rate.ppb():.9g}ppb"
    return f"{rate.ppm():.9g}ppm"


def _split(value: object, wanted: str, default_unit: str) -> tuple[Fraction, str]:
    """Number and unit of a text; the number is exact."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise QuantityError(f"expected {wanted}")
    text = str(value)
    if not isinstance(value, str):
        raise QuantityError(
            f"{_short(text)} has no unit; expected {wanted}",
            f"{text}{default_unit}" if len(text) < 20 else None,
        )
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise QuantityError(f'"{_short(text)}" is not {wanted}')
    sign, whole, decimals, unit = match.groups()
    if unit is None:
        raise QuantityError(f"{_short(text)} has no unit; expected {wanted}", f"{text}{default_unit}")
    number = Fraction(int(whole + (decimals or "")), 10 ** len(decimals or ""))
    return (-number if sign == "-" else number), unit


def _refuse_unit(
    text: str, unit: str, wanted: str, units: dict[str, int] | dict[str, Fraction], others: object
) -> NoReturn:
    """Say why a unit does not do, and what was probably meant."""
    number = text[: -len(unit)].rstrip()
    if unit == "m":
        raise QuantityError(
            '"m" is not a unit; minutes are min, milliseconds are ms',
            f"{number}min" if "min" in units else None,
        )
    if isinstance(others, dict) and unit in others:
        raise QuantityError(f'expected {wanted}, and "{unit}" is not a unit of that')
    near = _OTHER_NAMES.get(unit.lower(), unit.lower())
    known = ", ".join(units)
    raise QuantityError(
        f'"{_short(unit)}" is not a unit; known are {known}', f"{number}{near}" if near in units else None
    )


def _short(text: str) -> str:
    return text if len(text) <= 40 else text[:40] + "…"
