"""Contradictions between sources, and between sources and what they name."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from timesync.config.clocks import SYSTEM
from timesync.config.device import Gpsd
from timesync.config.explain import nearest
from timesync.config.fields import CLOCK_NAME
from timesync.config.look import complain, entries, items, number, value
from timesync.config.problem import Problem
from timesync.config.ptp_look import following_ports
from timesync.config.sources import NUMBERLESS, SOURCE_KINDS, Called, Directory, read_value, title_of
from timesync.config.tree import Location, Mapping, find, plain

_LOCAL = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Item:
    """An entry of ``sources`` whose kind can be read.

    Attributes:
        index: Its place in the list.
        called: Kind, value and name.
        noselect: It is never used by itself.
    """

    index: int
    called: Called
    noselect: bool

    @property
    def place(self) -> Location:
        """Where the key of its kind stands."""
        return ("sources", self.index, self.called.kind)


def check_sources(root: Mapping) -> Iterator[Problem]:
    """Every contradiction of sources."""
    found = list(_read(root))
    yield from _check_same(root, found)
    yield from _check_lines(root, found)
    yield from _check_names(root, found)
    yield from _check_keys(root)
    yield from _check_clocks(root)
    yield from _check_hardware_clocks(root, found)
    yield from _check_pins(root, found)
    yield from _check_numbering(root, found)
    yield from _check_local_links(root, found)


def clock_names(root: Mapping) -> list[str]:
    """The clocks that can be named."""
    return [SYSTEM, *(name for name in entries(root, "clocks") if name != SYSTEM)]


def check_clock_name(root: Mapping, location: Location, clocks: Collection[str]) -> Iterator[Problem]:
    """What names a clock names one that is there."""
    name = value(root, *location)
    if isinstance(name, str) and CLOCK_NAME.fullmatch(name) and name not in clocks:
        message = f"no clock of this name in clocks; there are {', '.join(islice(clocks, 8))}"
        yield complain(root, location, message, nearest(name, clocks))


def _read(root: Mapping) -> Iterator[Item]:
    """The entries that name one kind, and say something that can be read there."""
    for index, node in enumerate(items(root, "sources")):
        kinds = [kind for kind in SOURCE_KINDS if isinstance(node, Mapping) and kind in node.entries]
        meant = read_value(kinds[0], value(root, "sources", index, kinds[0])) if len(kinds) == 1 else None
        if meant is None:
            continue
        name = value(root, "sources", index, "name")
        called = Called(kinds[0], meant, name if isinstance(name, str) else None)
        yield Item(index, called, value(root, "sources", index, "noselect") is True)


def _check_same(root: Mapping, found: list[Item]) -> Iterator[Problem]:
    """Nothing is there twice: it would have two votes, and a device cannot be opened twice."""
    seen: dict[tuple[object, ...], int] = {}
    for item in found:
        channel = number(root, "sources", item.index, "channel") or 0
        first = seen.setdefault((item.called.kind, item.called.value, channel), item.index)
        if first != item.index:
            yield complain(root, item.place, f"the same as sources[{first}]")
    for item in found:
        meant = item.called.value
        if isinstance(meant, Gpsd) and meant.device is not None:
            whole = seen.get(("gpsd", Gpsd(meant.server), 0))
            if whole is not None:
                message = f"sources[{whole}] is any receiver of this gpsd; let it name its own"
                yield complain(root, item.place, message)


def _check_lines(root: Mapping, found: list[Item]) -> Iterator[Problem]:
    """A serial port that gpsd reads is not read beside it."""
    watched = {
        gpsd.device: item.index
        for item in found
        if isinstance(gpsd := item.called.value, Gpsd) and gpsd.server.host in _LOCAL and gpsd.device is not None
    }
    for item in found:
        other = watched.get(str(item.called.value)) if item.called.kind == "nmea" else None
        if other is not None:
            yield complain(root, item.place, f"gpsd reads this port for sources[{other}]; only one program can")


def _check_names(root: Mapping, found: list[Item]) -> Iterator[Problem]:
    """No two sources are called the same."""
    kinds = {item.index: item.called.kind for item in found}
    titles: dict[str, int] = {}
    for item in found:
        # Two of one kind are told apart by their values, or are the same altogether.
        if item.called.name is None:
            title = title_of(item.called.kind, item.called.value)
            first = titles.setdefault(title, item.index)
            if first != item.index and kinds[first] != item.called.kind:
                message = f"sources[{first}] is called {title}, too; give one of them a name:"
                yield complain(root, item.place, message)
    seen: dict[str, int] = {}
    for item in found:
        name = item.called.name
        if name is None:
            continue
        other = titles.get(name, seen.setdefault(name, item.index))
        if other != item.index:
            yield complain(root, ("sources", item.index, "name"), f"sources[{other}] is called so already")


def _check_keys(root: Mapping) -> Iterator[Problem]:
    """Keys that sources name exist."""
    keys = {name: None for name in entries(root, "keys") if name.isdecimal()}
    for index, _ in enumerate(items(root, "sources")):
        key = number(root, "sources", index, "key")
        if key is not None and str(key) not in keys:
            known = f"there are {', '.join(islice(keys, 8))}" if keys else "there are none"
            yield complain(root, ("sources", index, "key"), f"no key {key} in keys; {known}")
        elif key is not None and str(value(root, "keys", str(key), "algorithm")).startswith("HMAC"):
            yield complain(root, ("sources", index, "key"), f"the key {key} is for PTP: NTP has no HMAC (RFC 8573)")


def _check_clocks(root: Mapping) -> Iterator[Problem]:
    """Clocks that sources measure exist."""
    clocks = dict.fromkeys(clock_names(root))
    for index, _ in enumerate(items(root, "sources")):
        yield from check_clock_name(root, ("sources", index, "clock"), clocks)


def _check_hardware_clocks(root: Mapping, found: list[Item]) -> Iterator[Problem]:
    """What needs a PTP hardware clock has one, and a reference is not steered by us."""
    clocks = dict.fromkeys(clock_names(root))
    hardware = {name: None for name in clocks if value(root, "clocks", name, "phc") is not None}
    for item in found:
        location: Location = ("sources", item.index, "timestamping")
        if item.called.kind in ("ntp", "pool") and value(root, *location) == "hardware" and not hardware:
            message = "hardware timestamps are read from a PTP hardware clock, and clocks has none with phc:"
            yield complain(root, location, message)
        clock = item.called.value
        if item.called.kind not in ("pps", "phc") or not isinstance(clock, str) or "/" in clock:
            continue
        if clock not in clocks:
            device = f"/dev/{clock}" if item.called.kind == "pps" and clock.startswith("pps") else None
            known = f"there are {', '.join(islice(hardware, 8))}" if hardware else "there are none"
            message = f"no PTP hardware clock of this name in clocks; {known}"
            yield complain(root, item.place, message, device or nearest(clock, hardware))
        elif clock not in hardware:
            yield complain(root, item.place, f"{clock} is not a PTP hardware clock: clocks.{clock} has no phc:")
        elif item.called.kind == "phc" and value(root, "clocks", clock, "discipline") is not False:
            message = f"we would steer {clock} ourselves; a reference needs discipline: false in clocks.{clock}"
            yield complain(root, item.place, message)


def _check_pins(root: Mapping, found: list[Item]) -> Iterator[Problem]:
    """A pin has one function."""
    used: dict[tuple[str, int], str] = {}
    for clock in entries(root, "clocks"):
        pin = number(root, "clocks", clock, "pulse_out", "pin")
        if pin is not None:
            used[clock, pin] = f"clocks.{clock}.pulse_out"
    for item in found:
        pin = number(root, "sources", item.index, "pin") if item.called.kind == "pps" else None
        if pin is None:
            continue
        user = used.setdefault((str(item.called.value), pin), f"sources[{item.index}]")
        if user != f"sources[{item.index}]":
            yield complain(root, ("sources", item.index, "pin"), f"this pin is that of {user}")


def _check_numbering(root: Mapping, found: list[Item]) -> Iterator[Problem]:
    """Pulses are numbered by a source that is there, one and no more."""
    able = [item for item in found if item.called.kind not in NUMBERLESS]
    pulses = [item for item in found if item.called.kind == "pps"]
    directory = Directory(item.called for item in found)
    known = {item.called.name or title_of(item.called.kind, item.called.value): None for item in able}
    words = [*known, *dict.fromkeys(item.called.kind for item in able)]
    mute = [item for item in found if item.called.kind in NUMBERLESS]
    useless = {*NUMBERLESS, *(item.called.name for item in mute), *(str(item.called.value) for item in mute)}
    # What cannot be read may be the one that is meant.
    complete = len(found) == len(items(root, "sources"))
    unnumbered = complete and all(item.noselect for item in able) and not following_ports(root)
    for item in pulses:
        location: Location = ("sources", item.index, "pairs_with")
        node = find(root, location)
        wanted = None if node is None else plain(node)
        if wanted is None and unnumbered:
            what = "a noselect source must be named in pairs_with" if able else "add gpsd, nmea or ntp"
            yield complain(root, item.place, f"no source says which second a pulse is; {what}")
        matching = directory.find(wanted) if isinstance(wanted, str) else [item.index]
        if len(matching) > 1:
            message = f"{len(matching)} sources are called so; give the one that is meant a name:"
            yield complain(root, location, message)
        elif not matching and wanted in useless:
            yield complain(
                root, location, f"{_mute(mute, wanted)} does not say which second it is; name a source that does"
            )
        elif not matching and complete:
            there = f"there are {', '.join(islice(known, 8))}" if known else "there is none that could"
            yield complain(root, location, f"no source is called so; {there}", nearest(str(wanted), words))


def _mute(mute: list[Item], wanted: object) -> str:
    """What is meant by a name that numbers nothing."""
    kinds = {item.called.kind for item in mute if wanted in (item.called.name, str(item.called.value))}
    return "a Roughtime server" if wanted == "roughtime" or kinds == {"roughtime"} else "a pulse"


def _check_local_links(root: Mapping, found: list[Item]) -> Iterator[Problem]:
    """What we give to other programs does not come back to us, and every socket has a path of its own."""
    control = value(root, "observe", "control")
    given = value(root, "serve", "sock")
    unit = number(root, "serve", "shm")
    if given is not None and given == control:
        yield complain(root, ("serve", "sock"), "the same socket as observe.control")
    asked = value(root, "observe", "chronyc", "socket")
    for path, called in ((control, "observe.control"), (given, "serve.sock")):
        if asked is not None and asked == path:
            yield complain(root, ("observe", "chronyc", "socket"), f"the same socket as {called}")
    for item in found:
        meant = item.called.value
        if item.called.kind == "sock" and meant in (control, asked):
            called = "observe.control" if meant == control else "observe.chronyc.socket"
            yield complain(root, item.place, f"the same socket as {called}")
        elif (item.called.kind == "sock" and meant == given) or (item.called.kind == "shm" and meant == unit):
            message = f"serve.{item.called.kind} writes there: our own time would come back as a source"
            yield complain(root, item.place, message)
