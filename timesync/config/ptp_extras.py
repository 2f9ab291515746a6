"""What PTP's grandmasters tell beside the time: time zones, and synchronization metadata for studios."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Self

from pydantic import model_validator
from pydantic.json_schema import JsonSchemaValue

from timesync.config.model import Model
from timesync.config.written import Written, refusal

_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9][A-Za-z0-9_+-]*){0,2}", re.ASCII)
_RATE = re.compile(r"([1-9][0-9]{0,9})(?:/([1-9][0-9]{0,9}))?", re.ASCII)
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_MOST = 0xFFFF_FFFF
_CALLED = {
    "23.976": "24000/1001", "23.98": "24000/1001", "29.97": "30000/1001", "59.94": "60000/1001",
    "119.88": "120000/1001",
}  # fmt: skip
"""What people say of rates that are no such number."""


@dataclass(frozen=True, slots=True)
class ZoneName(Written):
    """A time zone of the IANA database; whether this machine knows it is checked apart."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str) or len(value) > 64 or not _ZONE.fullmatch(value):
            raise refusal("expected a time zone such as Europe/Berlin")
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 1, "maxLength": 64}

    def describe(self) -> str:
        """See ``Written``."""
        return "time zone, such as `Europe/Berlin`"


@dataclass(frozen=True, slots=True)
class FrameRate:
    """Pictures in a second, as a fraction."""

    numerator: int
    denominator: int = 1


@dataclass(frozen=True, slots=True)
class RateText(Written):
    """A frame rate: a whole number, or a fraction of two."""

    def parse(self, value: object) -> FrameRate:
        """See ``Written``."""
        if isinstance(value, FrameRate):
            return value
        text = str(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
        found = _RATE.fullmatch(text)
        if found is None:
            raise refusal(
                "expected pictures in a second: a whole number or a fraction", _CALLED.get(text, "30000/1001")
            )
        numerator, denominator = int(found[1]), int(found[2] or 1)
        if max(numerator, denominator) > _MOST:
            raise refusal(f"both numbers are at most {_MOST}")
        return FrameRate(numerator, denominator)

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": ["string", "integer"], "pattern": "^[1-9][0-9]*(/[1-9][0-9]*)?$", "minimum": 1}

    def describe(self) -> str:
        """See ``Written``."""
        return "pictures in a second, such as 50 or 30000/1001"


@dataclass(frozen=True, slots=True)
class TimeOfDay(Written):
    """Hours and minutes; the value is the number of minutes since midnight."""

    def parse(self, value: object) -> int:
        """See ``Written``."""
        if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1440:
            return value
        found = _TIME.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            raise refusal('expected a time of day, such as "02:00"')
        return int(found[1]) * 60 + int(found[2])

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": f"^{_TIME.pattern}$"}

    def describe(self) -> str:
        """See ``Written``."""
        return "time of day, `HH:MM`"


_DROPPED = (FrameRate(30000, 1001), FrameRate(60000, 1001), FrameRate(120000, 1001))
"""Rates whose time code leaves numbers out to keep up with the clock (SMPTE ST 12-1)."""


class PtpMetadata(Model):
    """Synchronization metadata (SMPTE ST 2059-2, 5.13): told once a second by a grandmaster."""

    frame_rate: Annotated[FrameRate, RateText()]
    """`defaultSystemFrameRate`, pictures in a second."""
    drop_frame: bool = False
    """Time code leaves numbers out to keep up with the clock; with 30000/1001 and its multiples only."""
    color_frame: bool = False
    """Time code numbers colour fields."""
    zone: Annotated[str, ZoneName()] = "UTC"
    """Local time, for `currentLocalOffset`, its next jump and daylight saving."""
    daily_jam: Annotated[int, TimeOfDay()] | None = None
    """When time code is set to local time, each day; absent: never."""

    @model_validator(mode="after")
    def _droppable(self) -> Self:
        if self.drop_frame and self.frame_rate not in _DROPPED:
            raise refusal("only time code of 30000/1001 and its multiples drops frames", "false", "drop_frame")
        return self
