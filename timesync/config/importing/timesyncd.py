"""systemd's timesyncd.conf as our configuration (timesyncd.conf(5))."""

from __future__ import annotations

from fractions import Fraction
from itertools import chain

from timesync.config.address import NTP_PORT, AddressError, parse_host_port
from timesync.config.importing.draft import Draft, Value
from timesync.config.importing.lines import Line, Reader, sections
from timesync.config.importing.numbers import UnreadableError, log2, number, poll_range
from timesync.config.quantity import QuantityError, parse_duration
from timesync.config.source import Mark, Source

_POLL = {"pollintervalminsec": Fraction(32), "pollintervalmaxsec": Fraction(2048)}
_NEEDLESS = {
    "connectionretrysec": "a server that does not answer is asked at its interval",
    "saveintervalsec": "the time is kept in observe.state, and never goes back at a start",
}
_MISSING = {"rootdistancemaxsec": "none: the distance of a source is weighed; timesync sources shows it"}
_UNITS = {"msec": "ms", "usec": "us", "sec": "s", "second": "s", "seconds": "s", "minute": "min", "minutes": "min",
          "m": "min", "hr": "h", "hour": "h", "hours": "h", "day": "d", "days": "d"}  # fmt: skip


def translate_timesyncd(draft: Draft, source: Source, reader: Reader, interfaces: tuple[str, ...]) -> None:
    """A whole timesyncd.conf."""
    del reader, interfaces
    lines: dict[str, list[Line]] = {}
    for section in sections(source, "#;"):
        draft.needless(section.mark, f"[{section.title}]", "sources: is its place here")
        for line in section.lines:
            name, _, rest = " ".join(line.words).partition("=")
            lines.setdefault(name.strip().lower(), []).append(Line(line.mark, (name.strip(), *rest.split())))
    poll = _poll(draft, lines)
    servers, spare = lines.pop("ntp", []), lines.pop("fallbackntp", [])
    named = any(line.arguments for line in servers)
    for line in chain(servers, spare):
        if line.arguments and (not named or line in servers):
            _add(draft, line, poll)
        else:
            reason = "they count only where NTP= names none" if line.arguments else "names none"
            draft.needless(line.mark, line.words[0], reason)
    if not list(draft.sources()):
        mark = Mark(source, 1, 1)
        draft.differs(mark, "NTP=", "the built-in servers of timesyncd are not known here: put in yours for this pool")
        draft.add_source(mark, "pool", "pool.ntp.org", {"poll": poll})
    elif len(list(draft.sources())) > 1:
        mark = next(iter(draft.sources())).mark
        draft.differs(mark, "NTP=", "timesyncd asks one of them at a time; here all are asked, and must agree")
    for line in chain.from_iterable(lines.values()):
        name = line.words[0].lower()
        if name in _NEEDLESS:
            draft.needless(line.mark, line.words[0], _NEEDLESS[name])
        else:
            draft.missing(line.mark, line.words[0], _MISSING.get(name, "not known here; see timesyncd.conf(5)"))


def _add(draft: Draft, line: Line, poll: Value) -> None:
    for word in line.arguments:
        try:
            host = parse_host_port(word, NTP_PORT)
        except AddressError as error:
            draft.missing(line.mark, word[:60], error.message)
        else:
            draft.add_source(line.mark, "ntp", host.host if host.port == NTP_PORT else str(host), {"poll": poll})


def _poll(draft: Draft, lines: dict[str, list[Line]]) -> Value:
    """The range of intervals, as powers of two."""
    ends = []
    for name, default in _POLL.items():
        wanted = default
        for line in lines.pop(name, []):
            try:
                wanted = _span(" ".join(line.arguments))
            except UnreadableError as error:
                draft.missing(line.mark, line.words[0], str(error))
            else:
                draft.needless(line.mark, line.words[0], "in poll of the sources, as the nearest power of two")
        ends.append(log2(wanted) if wanted > 0 else 0)
    written, _ = poll_range(ends[0], max(ends))
    return [*written]


def _span(text: str) -> Fraction:
    """A duration as systemd writes it (systemd.time(7)): seconds, or with a unit, in one part."""
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip()
    if not unit:
        return number(text.strip())
    try:
        return Fraction(parse_duration(f"{digits.strip()}{_UNITS.get(unit, unit)}").scaled_ns, 65536 * 10**9)
    except QuantityError as error:
        raise UnreadableError(error.message) from None
