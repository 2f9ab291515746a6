"""Numbers of other programs' configurations in our words. All raise UnreadableError for what is none."""

from __future__ import annotations

import re
from fractions import Fraction

from timesync.base.time import SCALE, UNITS_PER_S, Duration
from timesync.config.ptp import interval_text
from timesync.config.quantity import format_duration, parse_duration

_DECIMAL = re.compile(r"[-+]?([0-9]{1,18}(\.[0-9]{0,18})?|\.[0-9]{1,18})([eE][-+]?[0-9]{1,2})?", re.ASCII)
_WHOLE = re.compile(r"[-+]?(0[xX][0-9A-Fa-f]{1,16}|[0-9]{1,18})", re.ASCII)
LEAST_POLL, MOST_POLL = -4, 17


class UnreadableError(ValueError):
    """A word that is not what is needed there; the message says so."""


def number(text: str) -> Fraction:
    """A decimal number, exactly."""
    if not _DECIMAL.fullmatch(text):
        raise UnreadableError(f'"{text[:40]}" is not a number')
    return Fraction(text)


def whole(text: str) -> int:
    """A whole number, in decimal or hexadecimal digits."""
    if not _WHOLE.fullmatch(text):
        raise UnreadableError(f'"{text[:40]}" is not a whole number')
    return int(text, 16 if "x" in text.lower() else 10)


def seconds(value: Fraction | int, least: str | None = None, most: str | None = None) -> str:
    """A duration in seconds, as it is written here; brought into a range if one is given."""
    span = Duration(round(value * UNITS_PER_S))
    return format_duration(_within(span, least, most))


def nanoseconds(value: Fraction | int) -> str:
    """The same for nanoseconds."""
    return format_duration(Duration(round(value * SCALE)))


def power(log2: int) -> str:
    """2 to this power, in seconds."""
    return interval_text(log2)


def poll_range(least: int, most: int) -> tuple[list[str], str | None]:
    """A range of poll intervals from two logarithms, and what was changed in it, if anything."""
    shortest, longest = (min(max(each, LEAST_POLL), MOST_POLL) for each in (least, most))
    changed = None
    if (shortest, longest) != (least, most):
        changed = f"the intervals here are {power(LEAST_POLL)} to {power(MOST_POLL)}"
    return [power(shortest), power(longest)], changed


def log2(span: Fraction) -> int:
    """The logarithm of the nearest power of two, of a positive number of seconds."""
    return min(range(LEAST_POLL, MOST_POLL + 1), key=lambda each: abs(Fraction(2) ** each - span))


def _within(span: Duration, least: str | None, most: str | None) -> Duration:
    if least is not None:
        span = max(span, parse_duration(least))
    return span if most is None else min(span, parse_duration(most))
