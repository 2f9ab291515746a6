"""ntp.conf as our configuration: that of ntpsec, and of the ntpd before it (ntp.conf(5))."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator

from timesync.config.address import NTP_PORT
from timesync.config.importing import ntpd_clocks
from timesync.config.importing.chrony import ALWAYS
from timesync.config.importing.draft import Draft, Value
from timesync.config.importing.keys import ntpd_keys
from timesync.config.importing.lines import MAX_DEPTH, Book, Line, Reader, join, options, split, trying
from timesync.config.importing.numbers import UnreadableError, number, power, seconds, whole
from timesync.config.importing.servers import add_server
from timesync.config.importing.serving import EVERYBODY, address, endpoints
from timesync.config.source import Source

_OF_SERVERS = frozenset(
    {"minpoll", "maxpoll", "key", "version", "mode", "ttl", "bias", "ca", "aead", "cert", "expire", "ask"}
)
_ID = re.compile("[0-9]{1,5}", re.ASCII)
_STEPS = (
    "ntpd steps at any time when it is more than 128 ms off for 300 s; here the first 3 updates alone may step, beyond "
    f"100 ms, and later ones slew. steering.step: {{threshold: 128ms, updates: {ALWAYS}}} steps at any time"
)
_PANICS = (
    "ntpd ends when it is more than 1000 s off; here the clock is left alone then, and that is said. steering.panic "
    "names another limit"
)
_NEEDLESS = {
    "driftfile": "the frequency is kept in observe.state, and is learnt anew once, within minutes",
    "logconfig": "observe.log.level",
    "logfile": "the log goes to standard error, and systemd keeps it",
    "pidfile": "systemd knows the process",
    "statsdir": "observe.measurements",
    "filegen": "observe.measurements: its files change by size and at midnight",
    "mru": "what is kept of a client has a fixed size",
    "rlimit": "the unit file sets limits",
    "crypto": "Autokey is broken and gone from NTP; nts: true is what authenticates now",
    "broadcastdelay": "broadcasts are not listened to",
    "controlkey": "ntpq is not answered with writes",
    "requestkey": "ntpdc is not answered",
    "nonvolatile": "the frequency is kept in observe.state",
    "dscp": "NTP packets are not marked",
}
_MISSING = {
    "broadcast": "none: broadcast NTP cannot be authenticated, and is not sent",
    "broadcastclient": "none: broadcasts are not listened to",
    "multicastclient": "none: multicast is not listened to",
    "manycastclient": "none: name the servers, or a pool",
    "manycastserver": "none",
    "setvar": "none", "phone": "none", "mdnstries": "none", "unpeer": "none", "reset": "none",
    "leapsmearinterval": "serve.ntp.leap_smear",
}  # fmt: skip


def translate_ntpd(draft: Draft, source: Source, reader: Reader, interfaces: tuple[str, ...]) -> None:
    """A whole ntp.conf, with what it includes."""
    translate_lines(draft, _split(source), reader, interfaces)


def translate_lines(draft: Draft, lines: Iterable[Line], reader: Reader, interfaces: tuple[str, ...]) -> None:
    """The same for lines that are there already."""
    del interfaces
    book = Book(_expanded(draft, lines, reader, 0), draft)
    nts = book.all("nts")
    _sources(draft, book, _authority(nts))
    _keys(draft, book, reader)
    _steering(draft, book)
    _serve(draft, book)
    _nts(draft, nts)
    for line in book.all("leapfile"):
        draft.put(line.mark, line.value, "leap", "file")
    for line in book.all("leapsmearinterval"):
        trying(draft, line, lambda line=line: _smear(draft, line))  # type: ignore[misc]
    for line in book.all("statistics"):
        draft.put(line.mark, "/var/log/timesync", "observe", "measurements")
        reason = "every measurement, as CSV of its own form, in a directory that our service may write"
        draft.differs(line.mark, "statistics", reason)
    for line in book.all("enable", "disable"):
        draft.needless(line.mark, " ".join(line.words), "clocks.system.discipline and observe say what is done")
    for line in book.rest():
        if line.name in _NEEDLESS:
            draft.needless(line.mark, line.name, _NEEDLESS[line.name])
        else:
            draft.missing(line.mark, line.name[:40], _MISSING.get(line.name, "not known here; see ntp.conf(5)"))


def _split(source: Source) -> Iterator[Line]:
    return split(source, "#", "#", quotes=True)


def _expanded(draft: Draft, lines: Iterable[Line], reader: Reader, depth: int) -> Iterator[Line]:
    """Lines, and those of the files that they include in their place."""
    for line in lines:
        if line.name != "includefile":
            yield line
            continue
        pattern = join(line.mark.source.directory, line.value)
        found = [text for path in reader.matching(pattern) or reader.matching(f"{pattern}/*.conf")
                 if (text := reader.read(path)) is not None]  # fmt: skip
        if depth == MAX_DEPTH:
            draft.missing(line.mark, line.name, f"files that include others more than {MAX_DEPTH} deep are not read")
            continue
        names = ", ".join(text.name for text in found)
        draft.needless(line.mark, line.name, f"read as well: {names}" if found else "there is no such file to read")
        for text in found:
            yield from _expanded(draft, _split(text), reader, depth + 1)


def _sources(draft: Draft, book: Book, ca: str | None) -> None:
    """Servers and reference clocks, in the order of the file."""
    fudges = ntpd_clocks.Fudges(book.all("fudge"))
    for line in book.all("server", "pool", "peer", "refclock"):
        words = [word for word in line.arguments if word not in ("-4", "-6", "--ipv4", "--ipv6")]
        for family in (word for word in line.arguments if word not in words):
            draft.missing(line.mark, family, "none: all addresses of a name count; write the address itself")
        if not words:
            draft.missing(line.mark, line.name, "names no server")
        elif ntpd_clocks.is_clock(line, words[0]):
            trying(draft, line, lambda line=line, words=words: ntpd_clocks.add_clock(draft, line, words, fudges))  # type: ignore[misc]
        else:
            given = options(words[1:], _OF_SERVERS)
            own = given.get("ca", ca)
            trying(draft, line, lambda line=line, words=words, given=given, own=own: add_server(  # type: ignore[misc]
                draft, line, words[0].strip("[]"), given, own if "nts" in given else None))  # fmt: skip
    fudges.rest(draft)


def _authority(lines: list[Line]) -> str | None:
    """The certificates that servers with nts are verified by, if `nts ca` names them."""
    return next((line.words[2] for line in lines if line.words[1:2] == ("ca",) and len(line.words) > 2), None)


def _nts(draft: Draft, lines: list[Line]) -> None:
    """``nts cert``, ``nts key`` and the rest of it."""
    pair: dict[str, Line] = {}
    for line in lines:
        what = line.value.lower()
        if what in ("cert", "key") and len(line.words) > 2:
            pair[what] = line
        elif what in ("enable", "cookie", "ca"):
            draft.needless(line.mark, f"nts {what}", {"enable": "serve.nts is there", "cookie": "kept in observe.state",
                                                      "ca": "as ca of the sources with nts"}[what])  # fmt: skip
        elif what == "disable":
            draft.needless(line.mark, "nts disable", "without a certificate no key is established")
        else:
            draft.missing(line.mark, f"nts {what}", "none: TLS 1.3, and what both sides like best")
    if len(pair) == 2:
        if not draft.has("serve", "ntp"):
            for each in EVERYBODY:
                draft.append(pair["cert"].mark, each, "serve", "ntp", "allow")
        for what, key in (("cert", "certificate"), ("key", "private_key")):
            draft.put(pair[what].mark, pair[what].words[2], "serve", "nts", key)
    else:
        for what, line in pair.items():
            draft.missing(line.mark, f"nts {what}", "both cert and key are needed")


def _keys(draft: Draft, book: Book, reader: Reader) -> None:
    trusted = book.all("trustedkey")
    for line in book.all("keys", "keysdir"):
        source = reader.read(join(line.mark.source.directory, line.value)) if line.name == "keys" else None
        if source is None:
            reason = f"{line.value} is not there to be read: add its keys to keys:, or sources with key: fail in check"
            draft.missing(line.mark, line.name, reason)
            continue
        before = len(draft.keys)
        ntpd_keys(draft, source)
        draft.needless(line.mark, "keys", f"read: {len(draft.keys) - before} of its keys are taken over")
    wanted = _ids(trusted)
    for line in trusted:
        draft.needless(line.mark, "trustedkey", "keys that are in keys: are trusted")
    for number_of in [each for each in draft.keys if trusted and each not in wanted]:
        key = draft.keys.pop(number_of)
        draft.needless(key.mark, f"key {number_of}", "it is not among trustedkey")


def _ids(lines: list[Line]) -> set[int]:
    found: set[int] = set()
    for line in lines:
        words = " ".join(line.arguments).replace("(", " ").replace(")", " ").split()
        for index, word in enumerate(words):
            if _ID.fullmatch(word):
                found.add(int(word))
            elif word == "..." and 0 < index < len(words) - 1 and _ID.fullmatch(words[index - 1]):
                last = words[index + 1]
                found.update(range(int(words[index - 1]), int(last) + 1) if _ID.fullmatch(last) else ())
    return found


def _steering(draft: Draft, book: Book) -> None:
    """``tos`` and ``tinker``: pairs of words."""
    for line in book.all("tos"):
        for name, value in _pairs(line):
            trying(draft, line, lambda line=line, name=name, value=value: _tos(draft, line, name, value))  # type: ignore[misc]
    for line in book.all("tinker"):
        for name, value in _pairs(line):
            trying(draft, line, lambda line=line, name=name, value=value: _tinker(draft, line, name, value))  # type: ignore[misc]
    for line in book.all("server", "pool", "peer", "refclock")[:1]:
        if not draft.has("steering", "step"):
            draft.differs(line.mark, "no tinker step", _STEPS)
        if not draft.has("steering", "panic"):
            draft.differs(line.mark, "no tinker panic", _PANICS)


def _pairs(line: Line) -> Iterator[tuple[str, str]]:
    words = [word.lower() for word in line.arguments]
    return zip(words[::2], words[1::2], strict=False)


def _tos(draft: Draft, line: Line, name: str, value: str) -> None:
    match name:
        case "minsane":
            draft.put(line.mark, min(max(whole(value), 1), 64), "steering", "minimum_sources")
        case "orphan":
            draft.put(line.mark, min(max(whole(value), 1), 15), "serve", "local_stratum")
            reason = "served when no source is reachable; two that have lost theirs do not elect one of them"
            draft.differs(line.mark, "tos orphan", reason)
        case "maxclock":
            draft.differs(
                line.mark, f"tos maxclock {value}", "count says for each pool how many of it are used: 4 here"
            )
        case _:
            draft.needless(line.mark, f"tos {name} {value}", "sources are weighed by what they are worth")


def _tinker(draft: Draft, line: Line, name: str, value: str) -> None:
    match name:
        case "panic":
            draft.put(line.mark, seconds(number(value), "1s") if number(value) else "36500d", "steering", "panic")
            if number(value):
                reason = "beyond it the correction is refused and said, at any update; the daemon does not end"
                draft.differs(line.mark, "tinker panic", reason)
        case "step" if number(value):
            draft.put(line.mark, seconds(number(value), "1us", "36500d"), "steering", "step", "threshold")
            draft.put(line.mark, ALWAYS, "steering", "step", "updates")
            reason = (
                "stepped as soon as the sources agree on it; ntpd waits until it has lasted (tinker stepout, 300 s)"
            )
            draft.differs(line.mark, f"tinker step {value}", reason)
        case "step":
            draft.put(line.mark, 0, "steering", "step", "updates")
        case _:
            draft.missing(line.mark, f"tinker {name}", "none: there are no constants to tune")


def _smear(draft: Draft, line: Line) -> None:
    span = number(line.value)
    if span:
        draft.put(line.mark, seconds(span, "1s", "48h"), "serve", "ntp", "leap_smear")
        draft.differs(line.mark, "leapsmearinterval", "spread evenly, half of it before the leap second")
    else:
        draft.needless(line.mark, "leapsmearinterval 0", "a leap second is served as it is")


def _serve(draft: Draft, book: Book) -> None:
    """Everybody is served whom no ``restrict`` shuts out, as by ntpd."""
    limits = book.last("discard")
    lines = book.all("restrict")
    listens = book.all("interface", "nic", "listen")
    if not lines and not listens:
        if limits is not None:
            draft.needless(limits.mark, "discard", "no restrict has limited")
        reason = "ntpd serves whoever asks; here nobody is served unless you say serve: {ntp: {allow: [YOUR NETWORKS]}}"
        marks = [item.mark for item in draft.sources()]
        if marks:
            draft.differs(marks[0], "restrict", reason)
        return
    limited = False
    for line in lines:
        limited |= {"limited", "kod"} & {
            word.lower() for word in line.arguments
        } != set() and "default" in line.arguments
        trying(draft, line, lambda line=line: _restrict(draft, line))  # type: ignore[misc]
    if lines and not draft.has("serve", "ntp", "allow"):
        for each in EVERYBODY if not draft.has("serve", "ntp", "deny") else ():
            draft.append(lines[0].mark, each, "serve", "ntp", "allow")
    _listen(draft, listens)
    _limit(draft, limits, next((line for line in lines if limited and "limited" in line.arguments), None))


def _restrict(draft: Draft, line: Line) -> None:
    """One line; only whether it serves has a meaning here."""
    words = [word.lower() for word in line.arguments if word not in ("-4", "-6", "--ipv4", "--ipv6")]
    if not words:
        raise UnreadableError("names nobody")
    shuts = bool({"ignore", "noserve"} & set(words[1:]))
    key = "deny" if shuts else "allow"
    if words[0] == "source":
        draft.needless(line.mark, "restrict source", "servers are only ever answered as clients")
        return
    if words[0] == "default":
        family = [word for word in line.arguments if word in ("-4", "-6", "--ipv4", "--ipv6")]
        wanted = EVERYBODY if not family else EVERYBODY[:1] if "4" in family[0] else EVERYBODY[1:]
    else:
        mask = words[words.index("mask") + 1] if "mask" in words[:-1] else ""
        wanted = (_masked(words[0], mask),)
    for each in wanted:
        draft.append(line.mark, each, "serve", "ntp", key)
    harmless = {"kod", "limited", "nomodify", "noquery", "nopeer", "notrap", "noepeer"} & set(words)
    if harmless:
        text = ", ".join(word for word in words if word in harmless)
        draft.needless(line.mark, f"restrict … {text}", "nobody can change or query anything by NTP here")
    for word in {"notrust", "version", "flake", "nomrulist", "lowpriotrap", "ntpport"} & set(words):
        draft.missing(line.mark, f"restrict … {word}", "none")


def _masked(text: str, mask: str) -> str:
    """A network from an address and a mask, or from an address with its length."""
    whole_text = f"{text}/{mask}" if mask else text
    try:
        found = ipaddress.ip_network(whole_text, strict=False)
    except ValueError:
        raise UnreadableError(f'"{whole_text[:40]}" is no network; a name must be written as its addresses') from None
    return str(found.network_address) if found.prefixlen == found.max_prefixlen else str(found)


def _listen(draft: Draft, lines: list[Line]) -> None:
    """``interface listen ADDRESS``; by names of interfaces nothing is said here."""
    found = []
    for line in lines:
        words = [word.lower() for word in line.arguments]
        if words[:1] == ["listen"] and len(words) > 1:
            try:
                found.append((address(words[1]), line))
                continue
            except UnreadableError:
                pass
        draft.missing(line.mark, " ".join(line.words), "none: listen names addresses; a firewall knows interfaces")
    for each, line in found:
        chosen = endpoints([each], NTP_PORT, 0) or []
        draft.append(line.mark, chosen[0], "serve", "ntp", "listen")


def _limit(draft: Draft, discard: Line | None, limited: Line | None) -> None:
    if limited is None:
        if discard is not None:
            draft.needless(discard.mark, "discard", "no restrict default has limited")
        return
    interval = 3
    for name, value in _pairs(discard) if discard is not None else ():
        if name == "average" and _ID.fullmatch(value):
            interval = min(int(value), 11)
    limit: dict[str, Value] = {
        "interval": power(interval),
        "burst": 8,
        "reply": "kod" if "kod" in limited.arguments else "drop",
    }
    draft.put(limited.mark, limit, "serve", "ntp", "rate_limit")
    if discard is not None:
        draft.needless(discard.mark, "discard", "in rate_limit")
