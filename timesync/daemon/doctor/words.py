"""How findings put numbers, errors and dates."""

from __future__ import annotations

import errno
import os
import stat

from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.base.utc import DAY_S, civil
from timesync.servo.select import words as span

__all__ = ["AS_FAR", "SKY", "count", "date", "error", "mode", "span"]

SKY = "give the antenna a free view of the sky, and wait: a cold start takes up to 15 minutes"
AS_FAR = ", as far as this user may see; sudo shows the rest"


def error(code: int) -> str:
    """``EACCES (Permission denied)``."""
    # Python gives one of the two names of this number, and the kernel's own words have the other.
    name = "EOPNOTSUPP" if code == errno.EOPNOTSUPP else errno.errorcode.get(code, code)
    return f"{name} ({os.strerror(code)})"


def mode(bits: int) -> str:
    """``0660``."""
    return f"{stat.S_IMODE(bits):04o}"


def count(number: int, noun: str) -> str:
    """``1 pulse``, ``2 pulses``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def date(utc: Instant[Utc]) -> str:
    """``2026-11-21 07:55:12 UTC``."""
    seconds = utc.scaled_ns // UNITS_PER_S
    year, month, day = civil(seconds // DAY_S)
    of_day = seconds % DAY_S
    return f"{year:04}-{month:02}-{day:02} {of_day // 3600:02}:{of_day // 60 % 60:02}:{of_day % 60:02} UTC"
