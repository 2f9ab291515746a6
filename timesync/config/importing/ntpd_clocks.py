"""Reference clocks of ntpd: by their addresses 127.127.TYPE.UNIT, or by name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction

from timesync.config.importing.draft import Draft, Value
from timesync.config.importing.lines import Line, options
from timesync.config.importing.numbers import UnreadableError, number, seconds, whole

_ADDRESS = re.compile(r"127\.127\.([0-9]{1,3})\.([0-9]{1,3})", re.ASCII)
_NAMES = {"local": 1, "nmea": 20, "pps": 22, "shm": 28, "gpsd": 46}
_VALUED = frozenset(
    {"unit", "mode", "minpoll", "maxpoll", "time1", "time2", "stratum", "refid", "flag1", "flag2", "flag3", "flag4",
     "path", "ppspath", "baud", "subtype", "holdover", "bias", "version", "key"}
)  # fmt: skip
_BAUDS = (4800, 9600, 19200, 38400, 57600, 115200)
_READ = {
    "unit",
    "path",
    "ppspath",
    "time1",
    "time2",
    "refid",
    "flag1",
    "flag2",
    "baud",
    "mode",
    "noselect",
    "true",
    "subtype",
}
_DEFAULT_STRATUM = "5"


class Fudges:
    """The lines ``fudge``, by the address of their clock."""

    def __init__(self, lines: Iterable[Line]) -> None:
        self._by_address: dict[str, list[Line]] = {}
        for line in lines:
            self._by_address.setdefault(line.value, []).append(line)

    def take(self, address: str) -> list[Line]:
        """Those of a clock."""
        return self._by_address.pop(address, [])

    def rest(self, draft: Draft) -> None:
        """Say of the others that there is no such clock."""
        for lines in self._by_address.values():
            for line in lines:
                draft.missing(line.mark, f"fudge {line.value}", "no reference clock has this address")


def is_clock(line: Line, address: str) -> bool:
    """Whether a line names a reference clock."""
    return line.name == "refclock" or _ADDRESS.fullmatch(address) is not None


def add_clock(draft: Draft, line: Line, words: list[str], fudges: Fudges) -> None:
    """One of them, with its fudges. Raises UnreadableError."""
    found = _ADDRESS.fullmatch(words[0])
    given = options(words[1:], _VALUED)
    kind = int(found[1]) if found is not None else _NAMES.get(words[0].lower(), 0)
    unit = int(found[2]) if found is not None else whole(given.get("unit") or "0")
    for fudge in fudges.take(words[0]) if found is not None else ():
        given |= options(fudge.words[2:], _VALUED)
        draft.needless(fudge.mark, f"fudge {words[0]}", f"with {line.mark}")
    match kind:
        case 1:
            stratum = whole(given.get("stratum") or _DEFAULT_STRATUM)
            draft.put(line.mark, min(max(stratum, 1), 15), "serve", "local_stratum")
            draft.differs(line.mark, "local clock", "served when no source is reachable; it is no source itself")
            return
        case 20:
            _nmea(draft, line, unit, given)
        case 22:
            path = given.get("ppspath") or given.get("path") or f"/dev/pps{unit}"
            edge: dict[str, Value] = {"edge": "clear"} if given.get("flag2") == "1" else {}
            draft.add_source(line.mark, "pps", path, {**_common(given), **edge})
        case 28:
            draft.add_source(line.mark, "shm", unit, _common(given))
        case 46:
            path = given.get("path") or f"/dev/gps{unit}"
            draft.add_source(line.mark, "gpsd", f"gpsd://localhost{path}", _common(given))
            reason = f"gpsd must know the receiver as {path}; its pulse is a source of its own, a pps device"
            draft.differs(line.mark, "gpsd", reason)
        case _:
            raise UnreadableError("this reference clock is not known here; gpsd may read the receiver")
    for name in given:
        if name not in _READ:
            reason = "none: sources are weighed by what they are worth" if name == "prefer" else "none"
            say = draft.needless if name in ("minpoll", "maxpoll") else draft.missing
            say(line.mark, name, "each measurement counts when it comes" if name in ("minpoll", "maxpoll") else reason)


def _common(given: dict[str, str], *, time: str = "time1") -> dict[str, Value]:
    chosen: dict[str, Value] = {}
    if given.get("refid"):
        chosen["name"] = given["refid"]
    offset = number(given[time]) if given.get(time) else Fraction(0)
    if offset:
        # Theirs is added to what was measured, ours is what the source is ahead.
        chosen["offset"] = seconds(-offset, "-1h", "1h")
    if "noselect" in given:
        chosen["noselect"] = True
    elif "true" in given:
        chosen["trust"] = True
    return chosen


def _nmea(draft: Draft, line: Line, unit: int, given: dict[str, str]) -> None:
    """A receiver on a serial port; with ``flag1`` its pulse, too."""
    path = given.get("path") or f"/dev/gps{unit}"
    chosen = _common(given, time="time2")
    speed = (whole(given["mode"]) >> 4) & 0x7 if given.get("mode") else None
    baud = whole(given["baud"]) if given.get("baud") else _BAUDS[speed] if speed is not None and speed < 6 else None
    if baud is not None:
        chosen["baud"] = baud
    if chosen.pop("offset", None) is not None:
        late = number(given["time2"])
        if late > 0:
            chosen["delay"] = seconds(late, "0s", "1s")
    draft.add_source(line.mark, "nmea", path, chosen)
    if given.get("flag1") != "1":
        return
    pulse: dict[str, Value] = {"pairs_with": chosen.get("name", path), **_common({"time1": given.get("time1", "")})}
    if given.get("flag2") == "1":
        pulse["edge"] = "clear"
    draft.add_source(line.mark, "pps", given.get("ppspath") or f"/dev/gpspps{unit}", pulse)
