"""Sentences of NMEA 0183 that tell time or how well it is known: RMC, ZDA, GGA, GSA, GSV.

The standard is not public. The forms read here are those that receiver makers document, from version 2.0 (RMC
without a mode) over 2.3 (with one) to 4.11 (navigational status, system and signal ids), and what real receivers
send. Positions are left out: the daemon has no use for them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from timesync.wire.civil import Date, TimeOfDay
from timesync.wire.error import WireError

MAX_SENTENCE = 256
"""Octets from ``$`` to the checksum. The standard's own limit is 82 with the line end; many receivers exceed it."""

_SENTENCE = re.compile(rb"\$([\x20-\x23\x25-\x29\x2b-\x7e]{1,250})\*([0-9A-Fa-f]{2})(?:\r?\n)?")
_ADDRESS = re.compile(r"[A-OQ-Z][A-Z0-9][A-Z]{3}")
"""Talker and sentence; what begins with P is somebody's own."""

_TIME = re.compile(r"(\d\d)(\d\d)(\d\d)(?:\.(\d{0,9}))?", re.ASCII)
_NUMBER = re.compile(r"\d{1,4}(?:\.\d{1,4})?", re.ASCII)
_MODE = re.compile(r"[A-Z]?")
_SIGNED = re.compile(r"-?\d{1,3}", re.ASCII)
_GSA_SLOTS = (12, 24)


@dataclass(frozen=True, slots=True)
class ShortDate:
    """A date whose century is left to the reader.

    Attributes:
        year: 0 to 99.
        month: 1 to 12.
        day: 1 to 31.
    """

    year: int
    month: int
    day: int

    def in_century_of(self, first_year: int) -> Date:
        """The date in the hundred years that begin with ``first_year``. Raises WireError for no such day."""
        return Date(first_year + (self.year - first_year) % 100, self.month, self.day)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rmc:
    """Recommended minimum: time, date and whether they may be used.

    Attributes:
        talker: Two letters: GP, GL, GA, GB, GQ, GN for several systems.
        time: UTC; None when the receiver does not know it.
        date: Likewise.
        active: Status A; V is a warning.
        mode: A autonomous, D differential, E estimated (dead reckoning), F and R real-time kinematic, P precise,
            M manual, S simulator, N none; None before version 2.3.
        status: Navigational status since 4.1: S safe, C caution, U unsafe, V where the receiver does not say.
    """

    talker: str
    time: TimeOfDay | None
    date: ShortDate | None
    active: bool
    mode: str | None = None
    status: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Zda:
    """Time and date with its century.

    Attributes:
        talker: As in ``Rmc``.
        time: UTC; None when the receiver does not know it.
        date: Likewise.
    """

    talker: str
    time: TimeOfDay | None
    date: Date | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gga:
    """Fix data.

    Attributes:
        talker: As in ``Rmc``.
        time: UTC of the fix; no date.
        quality: 0 no fix, 1 to 5 a fix, 6 dead reckoning, 7 manual, 8 simulator; None when left out.
        used: Satellites in use; many receivers stop at 12.
        hdop: Horizontal dilution of precision.
    """

    talker: str
    time: TimeOfDay | None
    quality: int | None
    used: int | None
    hdop: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gsa:
    """Which satellites are in the solution; one sentence for each system.

    Attributes:
        talker: As in ``Rmc``.
        fix: 1 none, 2 2D, 3 3D; None when left out.
        satellites: Their numbers.
        pdop: Dilution of precision in position.
        hdop: Horizontally.
        vdop: Vertically.
        system: Since 4.1: 1 GPS, 2 GLONASS, 3 Galileo, 4 BeiDou, 5 QZSS, 6 NavIC.
    """

    talker: str
    fix: int | None
    satellites: tuple[int, ...] = ()
    pdop: float | None = None
    hdop: float | None = None
    vdop: float | None = None
    system: int | None = None


@dataclass(frozen=True, slots=True)
class InView:
    """A satellite of GSV; None where the receiver says nothing, or what cannot be.

    Attributes:
        number: As the receiver counts.
        elevation: Degrees.
        azimuth: Degrees from north.
        signal_db: C/N0 in dBHz.
    """

    number: int
    elevation: int | None = None
    azimuth: int | None = None
    signal_db: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Gsv:
    """Satellites in view, four to a sentence.

    Attributes:
        talker: The system; never GN.
        total: Sentences of this group.
        number: Which of them, from 1.
        seen: Satellites in view in the whole group.
        satellites: Those in this sentence.
        signal: Since 4.1: a group is sent for each signal, and the same satellite comes again in the next.
    """

    talker: str
    total: int
    number: int
    seen: int
    satellites: tuple[InView, ...] = ()
    signal: int | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """A sentence of no interest, or of somebody's own.

    Attributes:
        address: What stands before the first comma.
    """

    address: str


Sentence = Rmc | Zda | Gga | Gsa | Gsv | Other


def frame(body: str) -> bytes:
    """``$``, the body, its checksum and the line end. Raises WireError for what no sentence can hold."""
    data = body.encode("ascii", "replace")
    sentence = b"$%s*%02X\r\n" % (data, _checksum(data))
    split(sentence)
    return sentence


def split(data: bytes) -> list[str]:
    """The fields of one sentence, the address first; its line end may be missing. Raises WireError."""
    match = _SENTENCE.fullmatch(data)
    if match is None:
        raise WireError("not a sentence with a checksum")
    body, said = match.groups()
    if _checksum(body) != int(said, 16):
        raise WireError("checksum")
    fields: list[str] = body.decode("ascii").split(",")
    return fields


def read(fields: Sequence[str]) -> Sentence:
    """What the fields of a sentence say. Raises WireError for those of a known sentence that break its form."""
    address = fields[0]
    if _ADDRESS.fullmatch(address) is None:
        return Other(address)
    talker, kind = address[:2], address[2:]
    match kind:
        case "RMC":
            return _rmc(talker, fields)
        case "ZDA":
            return _zda(talker, fields)
        case "GGA":
            return _gga(talker, fields)
        case "GSA":
            return _gsa(talker, fields)
        case "GSV":
            return _gsv(talker, fields)
        case _:
            return Other(address)


def decode(data: bytes) -> Sentence:
    """One whole sentence. Raises WireError."""
    return read(split(data))


def encode(sentence: Rmc | Zda | Gga | Gsa | Gsv) -> bytes:
    """As a receiver of version 4.11 would send it, without position. Raises WireError for what has no form.

    Fractions of a second have two digits, or nine where two do not suffice.
    """
    match sentence:
        case Rmc():
            rest = ["" if one is None else one for one in (sentence.mode, sentence.status)]
            while rest and not rest[-1]:
                rest.pop()
            fields = [_time_text(sentence.time), "A" if sentence.active else "V", *[""] * 6]
            fields += [_short_text(sentence.date), "", "", *rest]
        case Zda():
            date = sentence.date
            day = ["", "", ""] if date is None else [f"{date.day:02}", f"{date.month:02}", f"{date.year:04}"]
            fields = [_time_text(sentence.time), *day, "00", "00"]
        case Gga():
            fields = [_time_text(sentence.time), *[""] * 4, _text(sentence.quality)]
            fields += ["" if sentence.used is None else f"{sentence.used:02}", _text(sentence.hdop), *[""] * 6]
        case Gsa():
            slots = [f"{one:02}" for one in sentence.satellites]
            slots += [""] * ((12 if len(slots) <= 12 else 24) - len(slots))
            dops = [_text(one) for one in (sentence.pdop, sentence.hdop, sentence.vdop)]
            fields = ["A", _text(sentence.fix), *slots, *dops, *_hex(sentence.system)]
        case Gsv():
            groups = [field for one in sentence.satellites for field in _in_view_fields(one)]
            fields = [str(sentence.total), str(sentence.number), f"{sentence.seen:02}", *groups, *_hex(sentence.signal)]
        case _:
            assert_never(sentence)
    return frame(",".join([f"{sentence.talker}{type(sentence).__name__.upper()}", *fields]))


def _rmc(talker: str, fields: Sequence[str]) -> Rmc:
    if not 10 <= len(fields) <= 14 or fields[2] not in ("A", "V", ""):
        raise WireError("RMC")
    mode, status = (fields[at] if len(fields) > at else "" for at in (12, 13))
    if _MODE.fullmatch(mode) is None or _MODE.fullmatch(status) is None:
        raise WireError("RMC mode")
    return Rmc(
        talker=talker,
        time=_time(fields[1]),
        date=_short_date(fields[9]),
        active=fields[2] == "A",
        mode=mode or None,
        status=status or None,
    )


def _zda(talker: str, fields: Sequence[str]) -> Zda:
    if not 5 <= len(fields) <= 7:
        raise WireError("ZDA")
    day, month, year = fields[2:5]
    date = None
    if day or month or year:
        if not (_digits(day, 2) and _digits(month, 2) and len(year) == 4 and _digits(year, 4)):
            raise WireError("ZDA date")
        date = Date(int(year), int(month), int(day))
    return Zda(talker=talker, time=_time(fields[1]), date=date)


def _gga(talker: str, fields: Sequence[str]) -> Gga:
    if not 9 <= len(fields) <= 16:
        raise WireError("GGA")
    return Gga(
        talker=talker,
        time=_time(fields[1]),
        quality=_integer(fields[6], 1),
        used=_integer(fields[7], 3),
        hdop=_number(fields[8]),
    )


def _gsa(talker: str, fields: Sequence[str]) -> Gsa:
    slots = next((one for one in _GSA_SLOTS if len(fields) - one in (6, 7)), None)
    if slots is None:
        raise WireError("GSA")
    end = 3 + slots
    fix = _integer(fields[2], 1)
    if fix not in (None, 1, 2, 3):
        raise WireError("GSA fix")
    pdop, hdop, vdop = (_number(one) for one in fields[end : end + 3])
    return Gsa(
        talker=talker,
        fix=fix,
        satellites=_satellites(fields[3:end]),
        pdop=pdop,
        hdop=hdop,
        vdop=vdop,
        system=_id(fields[end + 3]) if len(fields) > end + 3 else None,
    )


def _gsv(talker: str, fields: Sequence[str]) -> Gsv:
    extra = (len(fields) - 4) % 4
    if not 4 <= len(fields) <= 21 or extra > 1:
        raise WireError("GSV")
    total, number, seen = (_integer(one, 3) for one in fields[1:4])
    if total is None or number is None or not 1 <= number <= total:
        raise WireError("GSV number")
    end = len(fields) - extra
    return Gsv(
        talker=talker,
        total=total,
        number=number,
        seen=seen or 0,
        satellites=tuple(_in_view(fields[at : at + 4]) for at in range(4, end, 4) if fields[at]),
        signal=_id(fields[end]) if extra else None,
    )


def _in_view(fields: Sequence[str]) -> InView:
    """Of one satellite. Only its number must be one: where it stands and how loud it is are asides."""
    number = _integer(fields[0], 3)
    assert number is not None  # the caller passes over empty ones
    return InView(number, _degrees(fields[1], -90, 90), _degrees(fields[2], 0, 360), _degrees(fields[3], 0, 99))


def _degrees(field: str, low: int, high: int) -> int | None:
    """A number that may be left out, and counts for nothing when it is out of range or in no known form."""
    if _SIGNED.fullmatch(field) is None:
        return None
    value = int(field)
    return value if low <= value <= high else None


def _in_view_fields(one: InView) -> list[str]:
    elevation = "" if one.elevation is None else f"{one.elevation:02}"
    azimuth = "" if one.azimuth is None else f"{one.azimuth:03}"
    return [f"{one.number:02}", elevation, azimuth, "" if one.signal_db is None else f"{one.signal_db:02}"]


def _checksum(body: bytes) -> int:
    value = 0
    for octet in body:
        value ^= octet
    return value


def _time(field: str) -> TimeOfDay | None:
    if not field:
        return None
    match = _TIME.fullmatch(field)
    if match is None:
        raise WireError("time")
    hour, minute, second, fraction = match.groups()
    return TimeOfDay(int(hour), int(minute), int(second), int((fraction or "").ljust(9, "0")))


def _short_date(field: str) -> ShortDate | None:
    if not field:
        return None
    if len(field) != 6 or not _digits(field, 6):
        raise WireError("date")
    day, month, year = int(field[:2]), int(field[2:4]), int(field[4:])
    Date(2000, month, day)  # a leap year: only what is a day in no year is refused here
    return ShortDate(year, month, day)


def _satellites(fields: Sequence[str]) -> tuple[int, ...]:
    numbers = (_integer(one, 3) for one in fields)
    return tuple(one for one in numbers if one is not None)


def _digits(field: str, most: int) -> bool:
    return 1 <= len(field) <= most and field.isascii() and field.isdigit()


def _integer(field: str, most: int) -> int | None:
    if not field:
        return None
    if not _digits(field, most):
        raise WireError("number")
    return int(field)


def _number(field: str) -> float | None:
    if not field:
        return None
    if _NUMBER.fullmatch(field) is None:
        raise WireError("number")
    return float(field)


def _id(field: str) -> int | None:
    """A system or signal id: one hexadecimal digit."""
    if not field:
        return None
    if len(field) != 1 or field not in "0123456789ABCDEFabcdef":
        raise WireError("id")
    return int(field, 16)


def _hex(value: int | None) -> list[str]:
    return [] if value is None else [f"{value:X}"]


def _text(value: float | None) -> str:
    return "" if value is None else f"{value}"


def _time_text(time: TimeOfDay | None) -> str:
    if time is None:
        return ""
    hundredths, rest = divmod(time.nanosecond, 10_000_000)
    fraction = f"{time.nanosecond:09}" if rest else f"{hundredths:02}"
    return f"{time.hour:02}{time.minute:02}{time.second:02}.{fraction}"


def _short_text(date: ShortDate | None) -> str:
    return "" if date is None else f"{date.day:02}{date.month:02}{date.year:02}"
