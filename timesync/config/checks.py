"""What one key alone cannot show: names that refer to nothing, things said twice, numbers that cannot be met.

The checks read the tree and not the models, so that they also run on a file in which something else is wrong,
and every error is found at once. What they cannot read is left to the schema to complain about.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator
from itertools import islice

from timesync.config.address import NTP_PORT, AddressError, HostPort, parse_host_port, parse_listen
from timesync.config.explain import nearest
from timesync.config.fields import CLOCK_NAME
from timesync.config.problem import Problem, format_path
from timesync.config.schema import SOURCE_KINDS, SYSTEM, Config, PoolSource, default_clock
from timesync.config.tree import (
    Location,
    Mapping,
    Node,
    Plain,
    Scalar,
    Sequence,
    find,
    key_mark,
    mark_of,
    plain,
)

WEAK_ALGORITHMS = ("MD5", "SHA1")


def check(root: Mapping) -> Iterator[Problem]:
    """Every contradiction in a tree."""
    yield from _check_clocks(root)
    yield from _check_same_source(root)
    yield from _check_source_references(root)
    yield from _check_served_clock(root)
    yield from _check_enough_sources(root)
    yield from _check_listen(root)


def doubts(config: Config, root: Mapping) -> Iterator[Problem]:
    """What is allowed but probably not meant."""
    serves_alone = config.serve.local_stratum is not None
    if not config.sources and not serves_alone:
        yield Problem.at(mark_of(root, ("sources",)), "sources", "there are none: no clock will be corrected")
    for name, clock in config.clocks.items():
        if clock.virtual is not None and not clock.discipline:
            location: Location = ("clocks", name)
            message = "nothing steers this virtual clock: it keeps its offset and its frequency error"
            yield Problem.at(key_mark(root, location), format_path(location), message)
    for index, source in enumerate(config.sources):
        if isinstance(source, PoolSource) and source.poll.least < 4:
            location = ("sources", index, "poll")
            message = "public servers refuse clients that ask more often than every 16s"
            yield Problem.at(mark_of(root, location), format_path(location), message)
    for number, key in config.keys.items():
        if key.algorithm in WEAK_ALGORITHMS:
            location = ("keys", str(number), "algorithm")
            message = f"{key.algorithm} is weak (RFC 8573); use AES128 or SHA256 where the peer can"
            yield Problem.at(mark_of(root, location), format_path(location), message)


def _entries(root: Mapping, *location: str | int) -> dict[str, Node]:
    """The values of a mapping, by key; none when there is no mapping."""
    node = find(root, location)
    return {key: entry.value for key, entry in node.entries.items()} if isinstance(node, Mapping) else {}


def _items(root: Mapping, *location: str | int) -> list[Node]:
    """The entries of a list; none when there is no list."""
    node = find(root, location)
    return node.items if isinstance(node, Sequence) else []


def _value(root: Mapping, *location: str | int) -> Plain:
    """A single value; None when there is none."""
    node = find(root, location)
    return node.value if isinstance(node, Scalar) else None


def _at(root: Mapping, location: Location, message: str, suggestion: str | None = None) -> Problem:
    return Problem.at(mark_of(root, location), format_path(location), message, suggestion)


def _clock_names(root: Mapping) -> list[str]:
    return [SYSTEM, *(name for name in _entries(root, "clocks") if name != SYSTEM)]


def _check_clocks(root: Mapping) -> Iterator[Problem]:
    """The system clock is not virtual; any other clock says what it is."""
    for name, clock in _entries(root, "clocks").items():
        if not isinstance(clock, Mapping):
            continue
        virtual = clock.entries.get("virtual")
        there = virtual is not None and plain(virtual.value) is not None
        if name == SYSTEM and there:
            message = "the system clock is the kernel's; give the virtual clock a name of its own"
            yield Problem.at(key_mark(root, ("clocks", name, "virtual")), "clocks.system.virtual", message)
        elif name != SYSTEM and not there:
            location = ("clocks", name)
            suggestion = nearest(name, [SYSTEM])
            message = "says not what clock it is; virtual: is needed"
            yield Problem.at(key_mark(root, location), format_path(location), message, suggestion)


def _check_same_source(root: Mapping) -> Iterator[Problem]:
    """No server and no pool is there twice: it would have two votes."""
    seen: dict[tuple[str, HostPort], int] = {}
    for index, _ in enumerate(_items(root, "sources")):
        for kind in SOURCE_KINDS:
            text = _value(root, "sources", index, kind)
            if not isinstance(text, str):
                continue
            try:
                remote = parse_host_port(text, NTP_PORT)
            except AddressError:
                continue
            first = seen.setdefault((kind, remote), index)
            if first != index:
                yield _at(root, ("sources", index, kind), f"the same as sources[{first}]")


def _check_source_references(root: Mapping) -> Iterator[Problem]:
    """Keys and clocks that sources name exist."""
    keys = {number: None for number in _entries(root, "keys") if number.isdecimal()}
    clocks = dict.fromkeys(_clock_names(root))
    for index, _ in enumerate(_items(root, "sources")):
        number = _value(root, "sources", index, "key")
        if isinstance(number, int) and not isinstance(number, bool) and str(number) not in keys:
            known = f"there are {', '.join(islice(keys, 8))}" if keys else "there are none"
            yield _at(root, ("sources", index, "key"), f"no key {number} in keys; {known}")
        yield from _check_clock_name(root, ("sources", index, "clock"), clocks)


def _check_clock_name(root: Mapping, location: Location, clocks: Collection[str]) -> Iterator[Problem]:
    name = _value(root, *location)
    if isinstance(name, str) and CLOCK_NAME.fullmatch(name) and name not in clocks:
        message = f"no clock of this name in clocks; there are {', '.join(islice(clocks, 8))}"
        yield _at(root, location, message, nearest(name, clocks))


def _check_served_clock(root: Mapping) -> Iterator[Problem]:
    """The served clock exists, and is clear when it is not named."""
    yield from _check_clock_name(root, ("serve", "clock"), _clock_names(root))
    if _value(root, "serve", "clock") is not None:
        return
    disciplined = {name: _value(root, "clocks", name, "discipline") is not False for name in _clock_names(root)}
    others = [name for name, steered in disciplined.items() if steered and name != SYSTEM]
    if not disciplined[SYSTEM] and len(others) > 1 and default_clock(disciplined) == SYSTEM:
        message = f"which clock is served? say serve.clock: {others[0]}, or another"
        yield _at(root, ("clocks",), message)


def _check_enough_sources(root: Mapping) -> Iterator[Problem]:
    """As many sources as must agree can be there; none at all is only a doubt."""
    needed = _value(root, "steering", "minimum_sources")
    items = _items(root, "sources")
    total = 0
    for index, item in enumerate(items):
        if not isinstance(item, Mapping) or _value(root, "sources", index, "noselect") is True:
            continue
        count = _value(root, "sources", index, "count") if "pool" in item.entries else 1
        default = PoolSource.model_fields["count"].default
        total += count if isinstance(count, int) else int(default)
    if isinstance(needed, int) and not isinstance(needed, bool) and _items(root, "sources") and needed > total:
        yield _at(root, ("steering", "minimum_sources"), f"{needed} must agree, but there are only {total}")


def _check_listen(root: Mapping) -> Iterator[Problem]:
    """No two sockets want the same port of the same address; an IPv6 wildcard leaves IPv4 alone."""
    # By family and port: the first entry for each address.
    seen: dict[tuple[int, int], dict[str, int]] = {}
    for index, _ in enumerate(_items(root, "serve", "ntp", "listen")):
        text = _value(root, "serve", "ntp", "listen", index)
        if not isinstance(text, str):
            continue
        try:
            endpoint = parse_listen(text, NTP_PORT)
        except AddressError:
            continue
        if endpoint.port == 0:
            continue
        family = ipaddress.ip_address(endpoint.address).version
        others = seen.setdefault((family, endpoint.port), {})
        every = ("0.0.0.0", "::")  # noqa: S104 (compared with, not bound)
        same = others if endpoint.address in every else (*every, endpoint.address)
        clash = next((others[address] for address in same if address in others), None)
        if clash is not None:
            yield _at(root, ("serve", "ntp", "listen", index), f"takes the same port as listen[{clash}]")
        others.setdefault(endpoint.address, index)
