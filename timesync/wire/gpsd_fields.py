"""One line of JSON, read with distrust: its size, depth and numbers bounded, each field what it must be."""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn, cast

from timesync.base.time import NS_PER_S, Instant, Utc
from timesync.wire.civil import Date, TimeOfDay, posix
from timesync.wire.error import WireError

MAX_LINE = 65_536
"""Octets of a line without its end. gpsd's own limit is 10,240, and was lower and higher before."""

_DEPTH = 8
"""Of arrays and objects in each other; gpsd's reports need four."""

_DIGITS = 20
_PATH = 256
_TEXT = 256
_LAST_SECOND = 253_402_300_799
"""9999-12-31 23:59:59, where the format of gpsd's times ends."""

_STRING = re.compile(r'"(?:[^"\\]|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_TIME = re.compile(r"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?Z", re.ASCII)


class Real(str):
    """A number with a point or an exponent, as it was written: time must not pass through a float."""

    __slots__ = ()


class Fields:
    """The fields of one object, each read as what it must be.

    Attributes:
        kind: The class, for the words of errors.
    """

    def __init__(self, kind: str, values: dict[str, object]) -> None:
        self.kind = kind
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def any(self, name: str) -> object:
        """As it is; None when absent."""
        return self._values.get(name)

    def text(self, name: str) -> str:
        """Words for people, cut and without control characters; empty when absent."""
        value = self.any(name)
        if value is None:
            return ""
        if not isinstance(value, str) or isinstance(value, Real):
            raise self.wrong(name)
        return "".join(one if one.isprintable() else "\ufffd" for one in value[:_TEXT])

    def path(self, name: str = "device") -> str:
        """The name of a receiver; empty when absent."""
        value = self.any(name)
        if value is None:
            return ""
        if not isinstance(value, str) or isinstance(value, Real) or len(value) > _PATH or not value.isprintable():
            raise self.wrong(name)
        return value

    def truth(self, name: str) -> bool:
        """A boolean; false when absent."""
        value = self.any(name)
        if value is None:
            return False
        if not isinstance(value, bool):
            raise self.wrong(name)
        return value

    def whole(self, name: str, low: int, high: int) -> int | None:
        """An integer in a range; None when absent."""
        value = self.any(name)
        if value is None:
            return None
        if type(value) is not int or not low <= value <= high:
            raise self.wrong(name)
        return value

    def needed(self, name: str, low: int, high: int) -> int:
        """An integer that must be there."""
        value = self.whole(name, low, high)
        if value is None:
            raise self.wrong(name)
        return value

    def real(self, name: str) -> float | None:
        """A number that is not negative; None when absent."""
        value = self.any(name)
        if value is None:
            return None
        if type(value) is not int and not isinstance(value, Real):
            raise self.wrong(name)
        number = float(value)
        if not math.isfinite(number) or number < 0:
            raise self.wrong(name)
        return number

    def time(self, name: str) -> Instant[Utc] | None:
        """A date and time of ISO 8601, in UTC; None when absent."""
        value = self.any(name)
        if value is None:
            return None
        match = _TIME.fullmatch(value) if isinstance(value, str) else None
        if match is None or int(match[1]) < 1970:
            raise self.wrong(name)
        year, month, day, hour, minute, second = (int(one) for one in match.groups()[:6])
        try:
            return posix(Date(year, month, day), TimeOfDay(hour, minute, second, nanoseconds(match[7])))
        except WireError:
            raise self.wrong(name) from None

    def pair_ns(self, name: str) -> int:
        """Two fields, seconds and nanoseconds since 1970, in ns."""
        seconds = self.needed(f"{name}_sec", 0, _LAST_SECOND)
        return seconds * NS_PER_S + self.needed(f"{name}_nsec", 0, NS_PER_S - 1)

    def objects(self, name: str) -> list[Fields]:
        """A list of objects; empty when absent."""
        value = self.any(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise self.wrong(name)
        return [Fields(self.kind, one) for one in value]

    def wrong(self, name: str) -> WireError:
        """The error for a field that is not what it must be."""
        return WireError(f"{self.kind} {name}")


def read_object(line: bytes) -> dict[str, object]:
    """The JSON object of a line (RFC 8259), with what Python's parser would take too readily refused."""
    if len(line) > MAX_LINE + 2:
        raise WireError("line too long")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("not UTF-8") from None
    _check_depth(text)
    try:
        value = cast("object", _DECODER.decode(text))
    except WireError:
        raise
    except ValueError:
        raise WireError("not JSON") from None
    if not isinstance(value, dict):
        raise WireError("not an object")
    return value


def _check_depth(text: str) -> None:
    """The parser calls itself for each bracket within a bracket."""
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub("", text)):
        depth += 1 if bracket in "[{" else -1
        if depth > _DEPTH:
            raise WireError("nested too deeply")


def _whole(digits: str) -> int:
    if len(digits) > _DIGITS:
        raise WireError("number too long")
    return int(digits)


def _refuse(_name: str) -> NoReturn:
    """NaN and the infinities are no JSON (RFC 8259, 6), though Python's parser knows them."""
    raise WireError("not a number")


_DECODER = json.JSONDecoder(parse_int=_whole, parse_float=Real, parse_constant=_refuse)


def nanoseconds(fraction: str | None) -> int:
    """Of the digits behind the point; exact."""
    return int((fraction or "").ljust(9, "0"))
