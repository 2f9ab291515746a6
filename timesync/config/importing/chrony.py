"""chrony.conf as our configuration (chrony.conf(5) of chrony 4)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from fractions import Fraction
from math import isqrt

from timesync.config.importing import chrony_serve
from timesync.config.importing.chrony_command import chronyc
from timesync.config.importing.chrony_reasons import MISSING, NEEDLESS
from timesync.config.importing.draft import Draft
from timesync.config.importing.keys import chrony_keys
from timesync.config.importing.lines import MAX_DEPTH, Book, Line, Reader, join, options, put, split, trying
from timesync.config.importing.numbers import UnreadableError, number, seconds, whole
from timesync.config.importing.refclocks import VALUED as OF_REFCLOCKS
from timesync.config.importing.refclocks import add_refclock, clock_name
from timesync.config.importing.servers import add_server
from timesync.config.source import Source

ALWAYS = 1_000_000
"""For `steering.step.updates`: practically at any time."""
_COMMENT = "#!;%"
_OF_SERVERS = frozenset(
    {"minpoll", "maxpoll", "key", "certset", "maxdelay", "maxdelayratio", "maxdelaydevratio", "maxdelayquant",
     "mindelay", "asymmetry", "offset", "minsamples", "maxsamples", "filter", "polltarget", "port", "ntsport",
     "presend", "minstratum", "version", "extfield", "maxsources", "maxunreach"}
)  # fmt: skip
_PULSES = ("PPS",)


def translate_chrony(draft: Draft, source: Source, reader: Reader, interfaces: tuple[str, ...]) -> None:
    """A whole chrony.conf, with what it includes."""
    translate_lines(draft, split(source, _COMMENT), reader, interfaces)


def translate_lines(draft: Draft, lines: Iterable[Line], reader: Reader, interfaces: tuple[str, ...]) -> None:
    """The same for lines that are there already."""
    book = Book(_expanded(draft, lines, reader, 0), draft)
    _hardware(draft, book, interfaces)
    _sources(draft, book)
    _keys(draft, book, reader)
    _steering(draft, book)
    serves = chrony_serve.serve(draft, book)
    _smear(draft, book, serves=serves)
    _observe(draft, book)
    for line in book.all("leapseclist", "leapsecfile"):
        draft.put(line.mark, line.value, "leap", "file")
    for line in book.rest():
        if line.name in NEEDLESS:
            draft.needless(line.mark, line.name, NEEDLESS[line.name])
        elif line.name in MISSING:
            draft.missing(line.mark, line.name, MISSING[line.name])
        else:
            draft.missing(line.mark, line.name[:40], "not known here; see chrony.conf(5)")


def _expanded(draft: Draft, lines: Iterable[Line], reader: Reader, depth: int) -> Iterator[Line]:
    """Lines, and those of the files that they include in their place."""
    for line in lines:
        if line.name not in ("include", "confdir", "sourcedir"):
            yield line
            continue
        found = _included(line, reader)
        if depth == MAX_DEPTH:
            draft.missing(line.mark, line.name, f"files that include others more than {MAX_DEPTH} deep are not read")
            continue
        read = [text for text in (reader.read(path) for path in found) if text is not None]
        names = ", ".join(text.name for text in read)
        draft.needless(line.mark, line.name, f"read as well: {names}" if read else "there is no such file to read")
        for text in read:
            yield from _expanded(draft, split(text, _COMMENT), reader, depth + 1)


def _included(line: Line, reader: Reader) -> list[str]:
    """The files that a line means; of equal names in several directories the first one counts."""
    if line.name == "include":
        return reader.matching(join(line.mark.source.directory, line.value))
    suffix = ".conf" if line.name == "confdir" else ".sources"
    by_name: dict[str, str] = {}
    for directory in line.arguments:
        for path in reader.matching(join(line.mark.source.directory, f"{directory}/*{suffix}")):
            by_name.setdefault(path.rpartition("/")[2], path)
    return [by_name[name] for name in sorted(by_name)]


def _hardware(draft: Draft, book: Book, interfaces: tuple[str, ...]) -> None:
    """Cards that stamp packets; chronyd lets their clocks run free."""
    for line in book.all("hwtimestamp"):
        names = interfaces if line.value == "*" else (line.value,)
        if not names:
            reason = "name the interfaces: clocks: {eth0: {phc: eth0, discipline: false}}, or call this with -i eth0"
            draft.missing(line.mark, "hwtimestamp *", reason)
        for name in names:
            if not draft.has("clocks", clock_name(name)):
                draft.put(line.mark, {"phc": name, "discipline": False}, "clocks", clock_name(name))
            else:
                draft.needless(line.mark, "hwtimestamp", f"the clock of {name} is there")
        for word in options(line.words[2:], {"minpoll", "maxpoll", "minsamples", "maxsamples", "precision", "txcomp",
                                             "rxcomp", "rxfilter"}):  # fmt: skip
            if word in ("txcomp", "rxcomp"):
                draft.missing(line.mark, word, "none for NTP; PTP ports have ingress_latency and egress_latency")
            else:
                draft.needless(line.mark, word, "found by trying, or learnt")


def _sources(draft: Draft, book: Book) -> None:
    """Servers and reference clocks, in the order of the file."""
    ca = _certificates(draft, book)
    lines = book.all("server", "pool", "peer", "refclock")
    named = set()
    for line in lines:
        if line.name == "refclock" and line.value.upper() not in _PULSES and ":extpps" not in "".join(line.words[2:3]):
            named.add(options(line.words[3:], OF_REFCLOCKS).get("refid", ""))
    for line in lines:
        if line.name == "refclock":
            trying(draft, line, lambda line=line: add_refclock(draft, line, named))  # type: ignore[misc]
            continue
        if not line.value:
            draft.missing(line.mark, line.name, "names no server")
            continue
        trying(draft, line, lambda line=line: _server(draft, line, ca))  # type: ignore[misc]
    if draft.instances and any("phc" in item.entries for item in draft.sources()):
        mark = next(item.mark for item in draft.sources() if "phc" in item.entries)
        reason = "if ptp4l kept this clock right, take the source away: PTP is in this file itself"
        draft.differs(mark, "refclock PHC", reason)


def _server(draft: Draft, line: Line, ca: dict[int, str]) -> None:
    given = options(line.words[2:], _OF_SERVERS)
    add_server(draft, line, line.value, given, ca.get(whole(given.get("certset") or "0")) if "nts" in given else None)


def _certificates(draft: Draft, book: Book) -> dict[int, str]:
    """The file of each set of certificates; a source here has one."""
    chosen: dict[int, str] = {}
    alone = bool(book.all("nosystemcert"))
    for line in book.all("ntstrustedcerts"):
        words = line.arguments
        number_of = int(words[0]) if len(words) > 1 and re.fullmatch("[0-9]{1,9}", words[0]) else 0
        path = words[-1] if words else ""
        if number_of in chosen:
            draft.missing(line.mark, "ntstrustedcerts", "a source has one file of certificates: put these into it, too")
            continue
        chosen[number_of] = path
        reason = f"{path} is what servers with nts are verified by"
        if number_of == 0 and not alone:
            reason += ", instead of the system's certificates: take ca: away from those that a public authority signs"
        draft.differs(line.mark, "ntstrustedcerts", reason)
    return chosen


def _keys(draft: Draft, book: Book, reader: Reader) -> None:
    for line in book.all("keyfile"):
        source = reader.read(join(line.mark.source.directory, line.value))
        if source is None:
            reason = f"{line.value} is not there to be read: add its keys to keys:, or sources with key: fail in check"
            draft.missing(line.mark, "keyfile", reason)
            continue
        before = len(draft.keys)
        chrony_keys(draft, source)
        draft.needless(line.mark, "keyfile", f"read: {len(draft.keys) - before} of its keys are taken over")


def _steering(draft: Draft, book: Book) -> None:
    """Steps, slews, and how many must agree."""
    makestep, early = book.last("makestep"), book.last("initstepslew")
    if makestep is not None:
        trying(draft, makestep, lambda: _makestep(draft, makestep))
    if early is not None:
        reason = "none: sources: are compared from the start; steering.step steps in the first updates"
        draft.differs(early.mark, "initstepslew", reason)
        if makestep is None:
            put(draft, early, lambda word: {"threshold": _span(word, "1us"), "updates": 1}, "steering", "step")
    rate, change, least = book.last("maxslewrate"), book.last("maxchange"), book.last("minsources")
    tolerance = book.last("maxclockerror")
    if makestep is None and early is None:
        reason = "chronyd never steps without it; here the first updates may step: steering.step.updates: 0 is never"
        for line in book.all("server", "pool", "peer", "refclock")[:1]:
            draft.differs(line.mark, "no makestep", reason)
    if rate is not None:
        put(draft, rate, _ppm, "steering", "max_slew")
    if tolerance is not None:
        put(draft, tolerance, lambda word: _ppm(word, 0, 500), "clocks", "system", "frequency_tolerance")
    if change is not None:
        put(draft, change, lambda word: _span(word, "1s"), "steering", "panic")
        reason = "beyond it the correction is refused and said, at any update; the daemon does not end"
        draft.differs(change.mark, "maxchange", reason)
    if least is not None:
        put(draft, least, lambda word: min(max(whole(word), 1), 64), "steering", "minimum_sources")


def _span(word: str, least: str) -> str:
    return seconds(number(word), least, "36500d")


def _makestep(draft: Draft, line: Line) -> None:
    if len(line.words) < 3:
        raise UnreadableError("a threshold and a number of updates are needed")
    limit = whole(line.words[2])
    draft.put(line.mark, _span(line.value, "1us"), "steering", "step", "threshold")
    draft.put(line.mark, ALWAYS if limit < 0 else min(limit, ALWAYS), "steering", "step", "updates")


def _ppm(text: str, least: int = 1, most: int = 100_000) -> str:
    value = min(max(number(text), Fraction(least)), Fraction(most))
    return f"{float(value):.9g}ppm"


def _smear(draft: Draft, book: Book, *, serves: bool) -> None:
    """How a leap second is made, and served."""
    for line in book.all("leapsecmode"):
        if line.value.lower() in ("system", "step"):
            draft.needless(line.mark, f"leapsecmode {line.value}", "the kernel makes the leap second")
        else:
            draft.differs(line.mark, f"leapsecmode {line.value}", "the kernel makes the leap second, as a step")
    line_of = book.last("smoothtime")
    if line_of is None:
        return
    if "leaponly" not in [word.lower() for word in line_of.words] or not serves:
        reason = "none: time is served as it is; leap_smear in serve.ntp is for leap seconds alone"
        draft.missing(line_of.mark, "smoothtime", reason)
        return
    trying(draft, line_of, lambda: _leap_smear(draft, line_of))


def _leap_smear(draft: Draft, line: Line) -> None:
    """One second by smoothtime: frequency rises at the wander to its peak, or to the limit, and falls again."""
    if len(line.words) < 3:
        raise UnreadableError("a frequency and a wander are needed")
    frequency, wander = (number(word) / 1_000_000 for word in line.words[1:3])
    if frequency <= 0 or wander <= 0:
        raise UnreadableError("frequency and wander must be positive")
    span = Fraction(isqrt(int(4_000_000 / wander)), 1000)  # 2 sqrt(1 s / wander), in milliseconds
    if wander * span / 2 > frequency:
        span = 1 / frequency + frequency / wander
    draft.put(line.mark, seconds(round(span), "1s", "48h"), "serve", "ntp", "leap_smear")
    reason = (
        f"spread evenly over {round(span)} s, half of it before the leap second; chronyd begins at it, and not evenly. "
        "All servers of a client must smear alike"
    )
    draft.differs(line.mark, "smoothtime", reason)


_MEASURED = {"rawmeasurements", "measurements", "statistics", "tracking", "refclocks", "selection"}


def _observe(draft: Draft, book: Book) -> None:
    """Logs, and what chronyc asks."""
    directory, log = book.last("logdir"), book.last("log")
    if log is not None:
        wanted = [word for word in log.arguments if word.lower() in _MEASURED]
        others = [word for word in log.arguments if word.lower() not in _MEASURED]
        if wanted:
            draft.put(log.mark, "/var/log/timesync", "observe", "measurements")
            reason = "every measurement, as CSV of its own form, in a directory that our service may write"
            draft.differs(log.mark, f"log {' '.join(wanted)}", reason)
        if others:
            draft.missing(log.mark, f"log {' '.join(others)}", "none: what happens is in the log of the service")
    if directory is not None:
        if draft.has("observe", "measurements"):
            draft.differs(directory.mark, "logdir", "measurements go to /var/log/timesync")
        else:
            draft.needless(directory.mark, "logdir", "nothing is logged there; observe.measurements is for that")
    chronyc(draft, book)
