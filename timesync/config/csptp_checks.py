"""Contradictions in what is said of CSPTP: who stamps its messages, and interfaces that are named twice."""

from __future__ import annotations

from collections.abc import Iterator

from timesync.config.clocks import SYSTEM
from timesync.config.look import complain, entries, items, value
from timesync.config.problem import Problem
from timesync.config.tree import Location, Mapping


def check_csptp(root: Mapping) -> Iterator[Problem]:
    """Every contradiction of CSPTP."""
    for index, item in enumerate(items(root, "sources")):
        if isinstance(item, Mapping) and "csptp" in item.entries:
            yield from _check_client(root, ("sources", index))
    seen: dict[object, int] = {}
    for index, _ in enumerate(items(root, "serve", "csptp", "interfaces")):
        location: Location = ("serve", "csptp", "interfaces", index)
        interface = value(root, *location)
        first = seen.setdefault(interface, index)
        if first != index:
            yield complain(root, location, f"the same as interfaces[{first}]")
        elif value(root, "serve", "csptp", "timestamping") == "hardware" and interface not in _cards(root).values():
            yield complain(root, location, _no_card(interface))


def _check_client(root: Mapping, source: Location) -> Iterator[Problem]:
    """Cards stamp on their own clocks, and the kernel on the system clock."""
    how, clock = value(root, *source, "timestamping"), value(root, *source, "clock")
    interface, cards = value(root, *source, "interface"), _cards(root)
    location = (*source, "timestamping")
    if how == "software" and clock in cards:
        yield complain(root, location, f"the kernel does not stamp on {clock}: leave clock away, or take hardware")
    elif clock in cards and cards[str(clock)] != interface and not str(cards[str(clock)]).startswith("/"):
        yield complain(root, (*source, "clock"), f"packets of {interface} are not stamped by {clock}")
    if how == "hardware" and clock is None and interface not in cards.values():
        yield complain(root, location, _no_card(interface))
    if how == "hardware" and clock == SYSTEM:
        yield complain(root, location, f"a card stamps on its own clock, and {clock} is none")


def _cards(root: Mapping) -> dict[str, object]:
    """The PTP hardware clocks by name, as they are written."""
    found = {name: value(root, "clocks", name, "phc") for name in entries(root, "clocks") if name != SYSTEM}
    return {name: phc for name, phc in found.items() if phc is not None}


def _no_card(interface: object) -> str:
    return f"clocks has no PTP hardware clock of {interface}; add one with phc: {interface}"
