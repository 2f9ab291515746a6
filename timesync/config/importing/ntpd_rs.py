"""ntpd-rs's ntp.toml as our configuration (ntp.toml(5) of ntpd-rs 1)."""

from __future__ import annotations

import ipaddress
import re
import tomllib
from collections.abc import Iterator
from fractions import Fraction

from timesync.config.address import NTP_PORT, AddressError, parse_host_port
from timesync.config.importing.draft import Draft, Value, plain_of
from timesync.config.importing.lines import Reader
from timesync.config.importing.numbers import UnreadableError, poll_range, seconds
from timesync.config.nts import KE_PORT
from timesync.config.source import Mark, Source

_HEADING = re.compile(r"\s*\[\[?\s*([A-Za-z0-9_.\s-]+?)\s*\]\]?")
_KEY = re.compile(r'\s*"?([A-Za-z0-9_-]+)"?\s*(?:\.\s*"?([A-Za-z0-9_-]+)"?\s*)?=')
_LIMITS = "poll-interval-limits"
_DEFAULT_LIMITS = {"min": 4, "max": 10}
_DEFAULT_AGREEING = 3
_FOREVER = "36500d"
_LEVELS = {"trace": "debug", "debug": "debug", "info": "info", "warn": "warning", "error": "error"}

NEEDLESS = {
    "initial-poll-interval": "the interval begins at the shortest",
    "observation-path": "observe.control is asked by timesync status and its like",
    "observation-permissions": "observe.control can be asked by whoever may open it",
    "key-storage-path": "kept in observe.state",
    "key-rotation-interval": "each day",
    "stale-key-count": "seven days",
    "key-exchange-timeout-ms": "NTS-KE has limits of its own",
    "rate-limiting-cache-size": "what is kept of clients has a fixed size",
    "precision": "its noise is measured",
    "measurement-noise-estimate": "its noise is measured",
    "accuracy": "its noise is measured",
    "accumulated-step-panic-threshold": "steps come in the first updates only (steering.step)",
    "warn-on-jump": "steps are always said",
    "ansi-colors": "the log has no colours",
}
MISSING = {
    "ignore": "none: a pool server is replaced when it is dead or outvoted",
    "ntp-server": "serve.nts.server, which must have the same serve.nts.seed",
    "ntp-port": "none: clients are told the port of serve.ntp",
    "require-nts": "none: plain requests are answered too",
    "accept-ntp-versions": "none: versions 1 to 4",
    "period": "none: one pulse a second",
    "algorithm": "none: there are no constants to tune",
    "enable-srv-resolution": "none: SRV records are not asked for",
}


class Page:
    """A table with the places of its keys; what is taken is accounted for."""

    def __init__(
        self, draft: Draft, table: str, content: dict[str, object], items: dict[str, Mark], mark: Mark
    ) -> None:
        self.draft = draft
        self.mark = mark
        self._content = dict(content)
        self._items = items
        self._table = table

    def mark_of(self, name: str) -> Mark:
        """Where a key stands."""
        return self._items.get(name, self.mark)

    def take(self, name: str) -> object | None:
        """A value, once."""
        return self._content.pop(name, None)

    def number(self, name: str) -> Fraction | None:
        """A number, or none where there is another thing."""
        value = self.take(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value != value or abs(value) > 1e15:  # noqa: PLR0124
            if value is not None:
                self.draft.missing(self.mark_of(name), name, "not a number of this size")
            return None
        return Fraction(value)

    def say(self, name: str, reason: str) -> None:
        """Say that the value of a key stands somewhere else here."""
        self.draft.needless(self.mark_of(name), name, reason)

    def rest(self) -> None:
        """Say of what was not taken why."""
        for name in self._content:
            mark = self.mark_of(name)
            if name in NEEDLESS:
                self.draft.needless(mark, name, NEEDLESS[name])
            else:
                self.draft.missing(mark, name, MISSING.get(name, "not known here; see ntp.toml(5)"))


def translate_ntpd_rs(draft: Draft, source: Source, reader: Reader, interfaces: tuple[str, ...]) -> None:
    """A whole ntp.toml. Raises UnreadableError when it is not TOML."""
    del reader, interfaces
    try:
        content = tomllib.loads(source.text)
    except tomllib.TOMLDecodeError as error:
        raise UnreadableError(f"not TOML: {error}") from None
    pages = list(_pages(draft, source, content))
    by_table: dict[str, list[Page]] = {}
    for table, page in pages:
        by_table.setdefault(table, []).append(page)
    default = _DEFAULT_LIMITS
    for page in by_table.pop("source-defaults", []):
        limits = page.take(_LIMITS)
        if isinstance(limits, dict):
            default = limits
            page.say(_LIMITS, "at each source")
        page.rest()
    for page in by_table.pop("source", []):
        _source(page, default)
        page.rest()
    for page in by_table.pop("server", []):
        _server(page)
        page.rest()
    for page in by_table.pop("nts-ke-server", []):
        _key_establishment(page)
        page.rest()
    _synchronization(draft, by_table.pop("synchronization", []), Mark(source, 1, 1))
    for page in by_table.pop("observability", []):
        _observability(page)
        page.rest()
    for page in [page for left in by_table.values() for page in left]:
        page.rest()
    for table, page in pages:
        draft.needless(page.mark, f"[{table}]", "what it says is below, key by key")


def _pages(draft: Draft, source: Source, content: dict[str, object]) -> Iterator[tuple[str, Page]]:
    """Tables with the lines of their keys."""
    places = _Places(draft, source)
    for number, text in enumerate(source.lines(), 1):
        places.line(Mark(source, number, 1), text)
    start = Mark(source, 1, 1)
    for name, value in content.items():
        tables = value if isinstance(value, list) else [value]
        for index, each in enumerate(tables):
            if isinstance(each, dict):
                items, mark = places.items.get((name, index), {}), places.marks.get((name, index), start)
                yield name, Page(draft, name, each, items, mark)
            else:
                mark = places.items.get(("", 0), {}).get(name, start)
                draft.missing(mark, name, "not known here; see ntp.toml(5)")


class _Places:
    """Finds the line of each key, which the parser does not give.

    Attributes:
        items: The keys of each table, by the name of the table and its number among those of this name.
        marks: The heading of each table.
    """

    def __init__(self, draft: Draft, source: Source) -> None:
        self.items: dict[tuple[str, int], dict[str, Mark]] = {}
        self.marks: dict[tuple[str, int], Mark] = {("", 0): Mark(source, 1, 1)}
        self._draft = draft
        self._counts: dict[str, int] = {}
        self._place = ("", 0)
        self._inner = ""
        # The key whose list or text goes on.
        self._open: tuple[str, Mark] | None = None

    def line(self, mark: Mark, text: str) -> None:
        """Take a line in."""
        heading, key = _HEADING.match(text), _KEY.match(text)
        if self._open is not None:
            if text.strip() and not text.lstrip().startswith("#"):
                self._draft.needless(mark, self._open[0], f"goes on from {self._open[1]}")
            self._open = None if _closes(text) else self._open
        elif heading is not None:
            self._heading(mark, heading[1].replace(" ", ""), several=text.lstrip().startswith("[["))
        elif key is not None:
            if self._inner:
                self._draft.needless(mark, key[1], f"part of {self._inner}")
            else:
                self.items.setdefault(self._place, {}).setdefault(key[1], mark)
            self._open = (key[1], mark) if _opens(text) else None

    def _heading(self, mark: Mark, title: str, *, several: bool) -> None:
        table, _, self._inner = title.partition(".")
        if several and not self._inner:
            self._counts[table] = self._counts.get(table, -1) + 1
        self._place = table, self._counts.get(table, 0)
        self.marks.setdefault(self._place, mark)
        if self._inner:
            self.items.setdefault(self._place, {})[self._inner] = mark
            self._draft.needless(mark, f"[{title}]", "part of its table")


def _opens(text: str) -> bool:
    bare = text.partition("#")[0]
    return bare.count("[") > bare.count("]") or bare.count('"""') == 1


def _closes(text: str) -> bool:
    return text.partition("#")[0].rstrip().rstrip(",").endswith(("]", '"""', "}"))


def _source(page: Page, default: dict[str, object] | dict[str, int]) -> None:
    draft, mode = page.draft, str(page.take("mode"))
    limits = page.take(_LIMITS)
    ends = limits if isinstance(limits, dict) else default
    given = {
        name: value if isinstance(value := ends.get(name), int) else _DEFAULT_LIMITS[name] for name in ("min", "max")
    }
    poll, _ = poll_range(given["min"], max(given.values()))
    options: dict[str, Value] = {"poll": [*poll]}
    path = page.take("path")
    match mode:
        case "sock" | "pps" if isinstance(path, str):
            draft.add_source(page.mark_of("path"), mode, path, {})
        case "server" | "pool" | "nts":
            _network_source(page, mode, options)
        case "nts-pool":
            page.take("address")
            draft.missing(page.mark_of("address"), "nts-pool", "none: name each server, with nts: true")
        case _:
            draft.missing(page.mark, f"mode = {mode[:20]}", "this kind of source is not known here")
    if limits is not None and mode in ("server", "pool", "nts"):
        page.say(_LIMITS, "poll")
    page.say("mode", mode)


def _network_source(page: Page, mode: str, options: dict[str, Value]) -> None:
    draft, address, count = page.draft, page.take("address"), page.take("count")
    version, authority = page.take("ntp-version"), page.take("certificate-authority")
    if version not in (None, 4):
        page.draft.differs(page.mark_of("ntp-version"), "ntp-version", "version 4 is what is asked with")
    elif version is not None:
        page.say("ntp-version", "4, as by default")
    if mode == "nts":
        options["nts"] = True
        if isinstance(authority, str):
            options["ca"] = authority
            draft.differs(page.mark_of("certificate-authority"), "certificate-authority",
                          "this server is verified by it alone, and not by the system's certificates")  # fmt: skip
    if mode == "pool" and isinstance(count, int):
        options["count"] = min(max(count, 1), 16)
        page.say("count", "count")
    try:
        host = parse_host_port(str(address), KE_PORT if mode == "nts" else NTP_PORT)
    except AddressError as error:
        draft.missing(page.mark_of("address"), "address", error.message)
        return
    usual = KE_PORT if mode == "nts" else NTP_PORT
    kind = "pool" if mode == "pool" and not host.numeric else "ntp"
    if kind == "ntp":
        options.pop("count", None)
    draft.add_source(page.mark_of("address"), kind, host.host if host.port == usual else str(host), options)


def _server(page: Page) -> None:
    draft = page.draft
    _listen(page, "ntp")
    for name, key in (("allowlist", "allow"), ("denylist", "deny")):
        content = page.take(name)
        filters = content.get("filter", []) if isinstance(content, dict) else []
        for each in filters if isinstance(filters, list) else []:
            try:
                network = str(ipaddress.ip_network(str(each), strict=False))
            except ValueError:
                draft.missing(page.mark_of(name), name, f'"{str(each)[:40]}" is no network')
            else:
                draft.append(page.mark_of(name), network, "serve", "ntp", key)
        if isinstance(content, dict) and content.get("action") == "deny":
            draft.differs(
                page.mark_of(name), f"{name}.action", "who is not served gets no answer, and no kiss-o'-death"
            )
    cutoff = page.number("rate-limiting-cutoff-ms")
    if cutoff:
        limit: dict[str, Value] = {"interval": seconds(cutoff / 1000, "1ms", "1h"), "reply": "kod"}
        draft.put(page.mark_of("rate-limiting-cutoff-ms"), limit, "serve", "ntp", "rate_limit")
    elif cutoff is not None:
        page.say("rate-limiting-cutoff-ms", "no limit, as by default")


def _listen(page: Page, server: str) -> None:
    listen = page.take("listen")
    if isinstance(listen, str):
        page.draft.append(page.mark_of("listen"), listen, "serve", server, "listen")
    else:
        page.draft.missing(page.mark, "listen", "an address and a port are needed")


def _key_establishment(page: Page) -> None:
    draft = page.draft
    pair = {key: page.take(name) for name, key in _PAIR.items()}
    if draft.has("serve", "nts", "certificate"):
        more: dict[str, Value] = {key: str(value) for key, value in pair.items()}
        draft.append(page.mark_of("certificate-chain-path"), more, "serve", "nts", "more")
        page.say("private-key-path", "with its certificate")
    else:
        for name, key in _PAIR.items():
            draft.put(page.mark_of(name), str(pair[key]), "serve", "nts", key)
    _listen(page, "nts")
    connections = page.number("concurrent-connections")
    if connections is not None:
        wanted = min(max(int(connections), 1), 4096)
        draft.put(page.mark_of("concurrent-connections"), wanted, "serve", "nts", "connections")


_PAIR = {"certificate-chain-path": "certificate", "private-key-path": "private_key"}


def _synchronization(draft: Draft, pages: list[Page], start: Mark) -> None:
    """How many must agree, and how far is too far."""
    page = pages[0] if pages else Page(draft, "synchronization", {}, {}, start)
    agreeing, name = page.number("minimum-agreeing-sources"), "minimum-agreeing-sources"
    if agreeing is not None:
        draft.put(page.mark_of(name), min(max(int(agreeing), 1), 64), "steering", "minimum_sources")
    elif _votes(draft) < _DEFAULT_AGREEING:
        draft.differs(page.mark, name, "ntpd-rs wants 3 and would never set the clock by so few; here one is enough")
    else:
        draft.put(page.mark, _DEFAULT_AGREEING, "steering", "minimum_sources")
        draft.differs(page.mark, name, "3 must agree, as by default there; here the default is 1")
    panic = page.take("single-step-panic-threshold")
    if panic is not None:
        draft.put(page.mark_of("single-step-panic-threshold"), _panic(panic), "steering", "panic")
        reason = "beyond it the correction is refused and said, in both directions; the daemon does not end"
        draft.differs(page.mark_of("single-step-panic-threshold"), "single-step-panic-threshold", reason)
    if page.take("startup-step-panic-threshold") is not None:
        reason = (
            "steering.panic is for the first correction too; timesync run --initial-step-anything lets it be larger"
        )
        draft.differs(page.mark_of("startup-step-panic-threshold"), "startup-step-panic-threshold", reason)
    stratum = page.number("local-stratum")
    if stratum is not None and 1 <= stratum <= 15:
        draft.put(page.mark_of("local-stratum"), int(stratum), "serve", "local_stratum")
        reason = "it is served when no source is reachable; the stratum of references is that of what they are"
        draft.differs(page.mark_of("local-stratum"), "local-stratum", reason)
    elif stratum is not None:
        page.say("local-stratum", "not served without a source")
    page.rest()


def _votes(draft: Draft) -> int:
    """How many servers there are at most."""
    counts = [plain_of(item, "count", 4) if "pool" in item.entries else 1 for item in draft.sources()]
    return sum(count for count in counts if isinstance(count, int))


def _panic(value: object) -> str:
    """The smaller one of the two directions."""
    ends = list(value.values()) if isinstance(value, dict) else [value]
    numbers = [Fraction(end) for end in ends if isinstance(end, int | float) and abs(end) < 1e10]
    return seconds(min(numbers), "1s", _FOREVER) if numbers else _FOREVER


def _observability(page: Page) -> None:
    draft, level, listen = page.draft, page.take("log-level"), page.take("metrics-exporter-listen")
    if level in _LEVELS:
        draft.put(page.mark_of("log-level"), _LEVELS[str(level)], "observe", "log", "level")
    elif level is not None:
        draft.missing(page.mark_of("log-level"), "log-level", "not known here")
    if listen is not None:
        mark = page.mark_of("metrics-exporter-listen")
        draft.put(mark, str(listen), "observe", "metrics", "listen")
        draft.put(mark, ["ntpd-rs"], "observe", "metrics", "compat")
