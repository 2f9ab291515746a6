"""The rows of a recording, as lines of CSV and JSON and on the daemon's stream.

A row is one thing that the core was told, or one thing that was done to a clock. Its columns are the same in each
form; one that says nothing in a row is empty. Times and offsets are exact: multiples of 2^-16 ns, written as decimal
seconds.

| kind | what happened | columns apart from ``unix_time``, ``mono_s`` |
|---|---|---|
| ``begin`` | a recording begins, or goes on in another file | ``clocks``, ``details``: settings, clocks, sources |
| ``start`` | the clocks are set to their remembered frequencies | ``clocks`` |
| ``settings`` | another configuration | ``details`` |
| ``clock`` | one more clock | ``clock``, ``at_s``, ``details`` |
| ``source`` | one more source | ``source``, ``clock``, ``details`` |
| ``removed`` | a source is no more | ``source``, ``clocks`` |
| ``measurement`` | a source was measured | ``source`` … ``authenticated``, ``clocks`` |
| ``status`` | what is known of a source's remote | ``source``, ``stratum`` …, ``clocks``, ``details`` |
| ``temperature`` | of a clock's oscillator | ``clock``, ``celsius``, ``clocks`` |
| ``fence`` | the time is between two instants, by others than the sources | ``clocks``, ``details`` |
| ``deadline`` | the core was woken as it had asked | ``clocks`` |
| ``applied`` | a clock runs at another frequency adjustment | ``clock``, ``at_s``, ``rate``, ``noise_s`` |
| ``stepped`` | a clock was set forward by us, when it read ``at_s`` | ``clock``, ``at_s``, ``epoch``, ``offset_s`` |
| ``foreign`` | a clock was set by somebody else | ``clock``, ``at_s``, ``epoch``, ``rate`` |
| ``gone`` | a clock's device has vanished | ``clock``, ``details`` |
| ``memory`` | what is worth keeping of the clocks | ``details`` |
| ``finish`` | the daemon ends | ``clocks`` |
| ``gap`` | rows are missing here | ``details`` |
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from timesync.base.time import UNITS_PER_S

FORMAT: Final = 1
"""Version of the form; goes up when a column changes its meaning or goes away."""

BEGIN: Final = "begin"
START: Final = "start"
SETTINGS: Final = "settings"
CLOCK: Final = "clock"
SOURCE: Final = "source"
REMOVED: Final = "removed"
MEASUREMENT: Final = "measurement"
STATUS: Final = "status"
TEMPERATURE: Final = "temperature"
FENCE: Final = "fence"
DEADLINE: Final = "deadline"
APPLIED: Final = "applied"
STEPPED: Final = "stepped"
FOREIGN: Final = "foreign"
GONE: Final = "gone"
MEMORY: Final = "memory"
FINISH: Final = "finish"
GAP: Final = "gap"

EFFECTS: Final = frozenset({APPLIED, STEPPED})
"""What was done to a clock because of the row before it."""

_DIGITS: Final = 25
_FIVES: Final = 5**16
"""A unit of 2^-16 ns is so many times 10^-25 s."""


class RecordError(Exception):
    """What was read is not a recording; the message is for the user."""


class Row(NamedTuple):
    """One row.

    Attributes:
        utc_ns: When it was written down, UTC by the system clock; ns since 1970.
        kind: See the module.
        source: Identity of a source.
        clock: The clock of this machine that it is about; of a measurement the one that took it.
        offset: Of a measurement, clock minus source, before any known correction; of a step its size. Units of 2^-16 ns
            here and below.
        delay: One-way delay already taken out of ``offset``.
        mono: Monotonic time.
        at: What the clock read.
        epoch: How many times the clock had been stepped, of a step and what somebody else did: afterwards.
        noise_s: Noise of the stamps, seconds; of an adjustment that of ``at``.
        averaged: See ``Measurement.averaged``.
        link: The link that it came over.
        remote: The clock that it was compared with.
        stratum: As the remote says.
        leap: Its announcement: ``none``, ``insert``, ``delete`` or ``unknown``.
        reference_id: Four octets in hexadecimal.
        root_delay: Round trip from the remote to its root.
        root_dispersion: The remote's bound on its error apart from that.
        precision_s: Its reading noise, seconds.
        authenticated: Protected by a key.
        rate: A frequency adjustment, a ratio.
        celsius: Temperature.
        clocks: What each clock read at ``mono``.
        details: The rest.
    """

    utc_ns: int
    kind: str
    source: str | None = None
    clock: str | None = None
    offset: int | None = None
    delay: int | None = None
    mono: int = 0
    at: int | None = None
    epoch: int | None = None
    noise_s: float | None = None
    averaged: bool | None = None
    link: str | None = None
    remote: str | None = None
    stratum: int | None = None
    leap: str | None = None
    reference_id: str | None = None
    root_delay: int | None = None
    root_dispersion: int | None = None
    precision_s: float | None = None
    authenticated: bool | None = None
    rate: float | None = None
    celsius: float | None = None
    clocks: Mapping[str, int] | None = None
    details: Mapping[str, Any] | None = None


def seconds_text(units: int) -> str:
    """Units of 2^-16 ns as decimal seconds, exactly."""
    sign, size = ("-", -units) if units < 0 else ("", units)
    whole, rest = divmod(size, UNITS_PER_S)
    return f"{sign}{whole}.{rest * _FIVES:0{_DIGITS}d}".rstrip("0").rstrip(".")


def seconds_units(text: str) -> int:
    """Decimal seconds in units of 2^-16 ns, rounded to the nearest. Raises ValueError."""
    size = text.removeprefix("-")
    whole, _, fraction = size.partition(".")
    if not (whole + fraction).isdecimal() or len(fraction) > 2 * _DIGITS:
        raise ValueError(f"{text!r} is not a number of seconds")
    digits = int(f"{fraction:0<{2 * _DIGITS}}")
    unit = _FIVES * 10**_DIGITS
    units = int(whole or 0) * UNITS_PER_S + (digits + unit // 2) // unit
    return -units if text.startswith("-") else units


def _ns_text(ns: int) -> str:
    return f"{ns // 1_000_000_000}.{ns % 1_000_000_000:09d}"


def _ns(text: str) -> int:
    whole, _, fraction = text.partition(".")
    return int(whole) * 1_000_000_000 + int(f"{fraction:0<9}"[:9])


def _clocks_text(clocks: Mapping[str, int]) -> str:
    return " ".join(f"{name}={seconds_text(at)}" for name, at in clocks.items())


def _clocks(text: str) -> dict[str, int]:
    pairs = (item.rpartition("=") for item in text.split(" ") if item)
    return {name: seconds_units(at) for name, _, at in pairs}


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError(f"{text!r} is neither 0 nor 1")
    return text == "1"


def _object(text: str) -> dict[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError(f"{text!r} is not an object")  # noqa: TRY004 - a text of the wrong form, not of the wrong type
    return found


@dataclass(frozen=True, slots=True)
class _Form:
    """How values of one kind are written."""

    write: Callable[[Any], str]
    read: Callable[[str], Any]
    number: bool


_TEXT: Final = _Form(str, str, number=False)
_INT: Final = _Form(str, int, number=True)
_FLOAT: Final = _Form(repr, float, number=True)
_SPAN: Final = _Form(seconds_text, seconds_units, number=True)
_NS: Final = _Form(_ns_text, _ns, number=True)
_FLAG: Final = _Form(lambda flag: "1" if flag else "0", _flag, number=True)
_READINGS: Final = _Form(_clocks_text, _clocks, number=False)
_DETAILS: Final = _Form(lambda found: json.dumps(found, allow_nan=False, separators=(",", ":")), _object, number=False)

_FORMS: Final[tuple[tuple[str, _Form], ...]] = (
    ("unix_time", _NS), ("kind", _TEXT), ("source", _TEXT), ("clock", _TEXT), ("offset_s", _SPAN), ("delay_s", _SPAN),
    ("mono_s", _SPAN), ("at_s", _SPAN), ("epoch", _INT), ("noise_s", _FLOAT), ("averaged", _FLAG), ("link", _TEXT),
    ("remote", _TEXT), ("stratum", _INT), ("leap", _TEXT), ("reference_id", _TEXT), ("root_delay_s", _SPAN),
    ("root_dispersion_s", _SPAN), ("precision_s", _FLOAT), ("authenticated", _FLAG), ("rate", _FLOAT),
    ("celsius", _FLOAT), ("clocks", _READINGS), ("details", _DETAILS),
)  # fmt: skip
COLUMNS: Final = tuple(name for name, _ in _FORMS)
"""The columns of a file, in the order of ``Row``'s attributes."""

_BY_NAME: Final = {name: (attribute, form) for (name, form), attribute in zip(_FORMS, Row._fields, strict=True)}


def cells(row: Row) -> list[str]:
    """A row as the cells of a line of CSV."""
    return ["" if value is None else form.write(value) for value, (_, form) in zip(row, _FORMS, strict=True)]


def row_of_cells(columns: Sequence[str], line: Sequence[str]) -> Row:
    """The row of a line of CSV whose columns have these names; unknown ones are passed over. Raises RecordError."""
    if len(line) != len(columns):
        raise RecordError(f"{len(line)} cells in place of {len(columns)}")
    return _row({name: text for name, text in zip(columns, line, strict=True) if text})


def json_line(row: Row) -> str:
    """A row as one JSON object; what says nothing is left out."""
    parts = []
    for value, (name, form) in zip(row, _FORMS, strict=True):
        if value is not None:
            text = form.write(value)
            parts.append(f'"{name}":{text if form.number or form is _DETAILS else json.dumps(text)}')
    return "{" + ",".join(parts) + "}"


def row_of_json(line: str) -> Row:
    """The row of one JSON object. Raises RecordError."""
    try:
        # Numbers stay as they are written: as floats they would lose what they say.
        found = json.loads(line, parse_float=str, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise RecordError("not JSON") from error
    if not isinstance(found, dict):
        raise RecordError("not a JSON object")
    if "details" in found:
        found["details"] = json.dumps(json.loads(line)["details"])
    return _row(found)


def _row(found: Mapping[str, Any]) -> Row:
    values: dict[str, Any] = {}
    for name, text in found.items():
        known = _BY_NAME.get(name)
        if known is not None:
            attribute, form = known
            try:
                values[attribute] = form.read(text)
            except (ValueError, TypeError, AttributeError) as error:
                raise RecordError(f"{name}: {error}") from error
    try:
        return Row(**values)
    except TypeError as error:
        raise RecordError(f"columns are missing: {error}") from error


def row_of_values(values: Sequence[Any]) -> Row:
    """The row that came over the stream. Raises RecordError."""
    try:
        return Row(*values)
    except TypeError as error:
        raise RecordError("not a row") from error
