"""Settings and specifications of the core as JSON objects and back: what a row has in ``details``."""

from __future__ import annotations

import dataclasses
import enum
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any, TypeVar

from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant
from timesync.observe.records.rows import RecordError, seconds_text, seconds_units

T = TypeVar("T")


def pack(value: object) -> Any:
    """A dataclass as an object: times as decimal seconds in a text, rates as ratios, octets in hexadecimal."""
    match value:
        case Duration() | Instant():
            return seconds_text(value.scaled_ns)
        case Rate():
            return value.ratio
        case bytes():
            return value.hex()
        case enum.Enum():
            return value.value
        case float() if not math.isfinite(value):
            return str(value)
        case tuple():
            return [pack(item) for item in value]
    if dataclasses.is_dataclass(value):
        return {field.name: pack(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return value


def unpack(kind: type[T], found: object) -> T:
    """The dataclass again; a field that is missing has its default, an unknown one is passed over. Raises RecordError.

    So a recording is read by later and earlier versions of the core.
    """
    try:
        made = _unpacked(kind, found)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise RecordError(f"not a {kind.__name__}: {error}") from error
    assert isinstance(made, kind)
    return made


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return typing.get_type_hints(kind)


def _unpacked(hint: Any, found: Any) -> Any:
    if isinstance(hint, typing.NewType):
        hint = hint.__supertype__
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        if found is None:
            return None
        (hint,) = (one for one in typing.get_args(hint) if one is not types.NoneType)
        return _unpacked(hint, found)
    if typing.get_origin(hint) is tuple:
        return tuple(_unpacked(one, value) for one, value in zip(typing.get_args(hint), found, strict=True))
    if typing.get_origin(hint) is Instant:
        return Instant(seconds_units(found))
    if hint is Duration:
        return Duration(seconds_units(found))
    if hint is Rate:
        return Rate(float(found))
    if hint is bytes:
        return bytes.fromhex(found)
    if hint is float:
        return float(found)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(found)
    if dataclasses.is_dataclass(hint):
        hints = _hints(hint)  # type: ignore[arg-type]
        return hint(**{name: _unpacked(hints[name], value) for name, value in found.items() if name in hints})  # type: ignore[operator]
    if not isinstance(found, hint):
        raise TypeError(f"{found!r} is no {hint.__name__}")
    return found
