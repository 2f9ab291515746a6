"""Reference clocks of chrony."""

from __future__ import annotations

from fractions import Fraction

from timesync.config.fields import CLOCK_NAME
from timesync.config.importing.draft import Draft, Value
from timesync.config.importing.lines import Line, options
from timesync.config.importing.numbers import UnreadableError, number, seconds, whole

VALUED = frozenset(
    {"poll", "dpoll", "refid", "lock", "rate", "maxlockage", "width", "offset", "delay", "stratum", "precision",
     "maxdispersion", "filter", "minsamples", "maxsamples"}
)  # fmt: skip
_NEEDLESS = {
    "poll": "every measurement counts when it comes",
    "dpoll": "its own pace is kept; hardware clocks are compared each clocks.NAME.pair_interval",
    "precision": "its noise is measured",
    "filter": "the estimator weighs each measurement",
    "maxlockage": "a pulse is numbered by any measurement that is good enough for it",
    "width": "which edge is the right one is learnt",
    "maxdispersion": "a measurement counts for what it is worth",
    "minsamples": "how long measurements count follows from learnt noise and wander",
    "maxsamples": "how long measurements count follows from learnt noise and wander",
    "nocrossts": "the best way to read the clock is found by trying",
}
_MISSING = {
    "delay": "none: a reference's error bound comes from what is measured of it; offset is for a known error",
    "stratum": "none: a reference is stratum 0, and what follows it serves as stratum 1",
    "rate": "none: one pulse a second",
    "prefer": "none: sources are weighed by what they are worth; trust: true is for one that is never wrong",
    "require": "none: steering.minimum_sources says how many must agree",
    "local": "none: a clock that is only stable is no source; give the system clock a thermometer for holdover",
    "perm": "none: units 0 and 1 are for root only, others for anybody",
}
_WHOLE_SECONDS = 30
"""An offset of so many seconds is the difference of TAI and UTC."""


def add_refclock(draft: Draft, line: Line, named: set[str]) -> None:
    """One line ``refclock``.

    Args:
        draft: Where it goes.
        line: It.
        named: The refids of all reference clocks that say which second it is.

    Raises UnreadableError.
    """
    if len(line.words) < 3:
        raise UnreadableError("a driver and its parameter are needed")
    driver, parameter = line.words[1].upper(), line.words[2]
    where, *switches = parameter.split(":")
    # A path may have colons in it; the options of drivers are few.
    while driver == "SOCK" and switches:
        where = f"{where}:{switches.pop(0)}"
    of_driver = {name: value for name, _, value in (switch.partition("=") for switch in switches)}
    given = options(line.words[3:], VALUED)
    chosen = _common(draft, line, given, named)
    match driver:
        case "PPS":
            if "clear" in of_driver:
                chosen["edge"] = "clear"
            draft.add_source(line.mark, "pps", where, chosen)
        case "SHM" | "SOCK" if "pps" in given:
            raise UnreadableError(
                "samples of another program are whole times here; a pulse is read from its PPS device"
            )
        case "SHM":
            draft.add_source(line.mark, "shm", whole(where), chosen)
        case "SOCK":
            draft.add_source(line.mark, "sock", where, chosen)
        case "PHC":
            _add_phc(draft, line, where, of_driver, given, chosen)
        case _:
            raise UnreadableError(f"there is no driver {driver[:20]} here")
    _leave(draft, line, (*given, *of_driver))


_READ = {"refid", "lock", "offset", "noselect", "trust", "tai", "pps", "clear", "extpps", "pin", "channel"}


def _leave(draft: Draft, line: Line, names: tuple[str, ...]) -> None:
    """What has no equal."""
    for name in names:
        if name in _NEEDLESS:
            draft.needless(line.mark, name, _NEEDLESS[name])
        elif name in _MISSING:
            draft.missing(line.mark, name, _MISSING[name])
        elif name not in _READ:
            draft.missing(line.mark, name, "not known here")


def _common(draft: Draft, line: Line, given: dict[str, str], named: set[str]) -> dict[str, Value]:
    """What goes with any of them."""
    chosen: dict[str, Value] = {}
    if given.get("refid"):
        chosen["name"] = given["refid"]
    if "lock" in given:
        if given["lock"] in named:
            chosen["pairs_with"] = given["lock"]
        else:
            reason = (
                f"no reference clock {given['lock'][:8]} says which second it is: any good source numbers the pulses"
            )
            draft.differs(line.mark, "lock", reason)
    offset = number(given["offset"]) if "offset" in given else Fraction(0)
    if offset:
        # Theirs is added to what was measured, ours is what the source is ahead.
        chosen["offset"] = seconds(-offset, "-1h", "1h")
    if "noselect" in given:
        chosen["noselect"] = True
    elif "trust" in given:
        chosen["trust"] = True
    if "noselect" in given and "trust" in given:
        draft.needless(line.mark, "trust", "a source that is never used (noselect) outvotes nobody")
    return chosen


def _add_phc(
    draft: Draft, line: Line, where: str, of_driver: dict[str, str], given: dict[str, str], chosen: dict[str, Value]
) -> None:
    """A PTP hardware clock: one of ours that is not steered, and the source."""
    name = clock_name(where)
    if not draft.has("clocks", name):
        draft.put(line.mark, {"phc": where, "discipline": False}, "clocks", name)
    if "extpps" in of_driver:
        chosen["channel"] = whole(of_driver.get("channel") or "0")
        pin = whole(of_driver.get("pin") or "0")
        if pin >= 0:
            chosen["pin"] = pin
        if "clear" in of_driver:
            chosen["edge"] = "clear"
        draft.add_source(line.mark, "pps", name, chosen)
        return
    if chosen.pop("pairs_with", None) is not None:
        draft.needless(line.mark, "lock", "a hardware clock says itself which second it is")
    offset = number(given.get("offset") or "0")
    if "tai" in given or abs(offset) >= _WHOLE_SECONDS:
        # Our clocks of this kind hold TAI unless said, and the leap second table gives the difference.
        rest = offset - round(offset) if abs(offset) >= _WHOLE_SECONDS else offset
        chosen.pop("offset", None)
        if rest:
            chosen["offset"] = seconds(-rest)
        reason = "the clock is taken for TAI, and TAI - UTC comes from the leap second table"
        draft.differs(line.mark, "tai" if "tai" in given else "offset", reason)
    elif "pps" in given:
        reason = "it is read as a whole clock that holds TAI; for UTC say timescale: utc there"
        draft.differs(line.mark, "pps", reason)
    else:
        draft.put(line.mark, "utc", "clocks", name, "timescale")
    draft.add_source(line.mark, "phc", name, chosen)


def clock_name(device: str) -> str:
    """A name for the clock of an interface or a device."""
    name = device.rpartition("/")[2]
    return name if CLOCK_NAME.fullmatch(name) and name != "system" else "card"
