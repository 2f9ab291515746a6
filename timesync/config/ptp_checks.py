"""Contradictions of PTP instances: with their profiles, with clocks and sources, and with one another."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from timesync.config.amounts import Span
from timesync.config.clocks import SYSTEM
from timesync.config.look import complain, entries, items, number, value
from timesync.config.model import Model
from timesync.config.problem import Problem, format_path
from timesync.config.ptp import Interval, IntervalText, Ptp, PtpPort
from timesync.config.ptp_extras_checks import check_extras, extras_doubts
from timesync.config.ptp_look import ROLES, port_locations, profile_at, ptp_locations, role_at
from timesync.config.ptp_profiles import PtpProfile, port_title, refuse, warn
from timesync.config.ptp_unicast_checks import check_authentication, check_unicast
from timesync.config.schema import Config
from timesync.config.source_checks import check_clock_name, clock_names
from timesync.config.tree import Location, Mapping, Scalar, find
from timesync.config.written import Written

_INSTANCE_NUMBERS = ("domain", "priority1", "priority2", "local_priority", "max_steps_removed", "minor_version")
_PORT_NUMBERS = ("announce_receipt_timeout", "sync_receipt_timeout", "allowed_lost_responses", "local_priority")
_WORDS: dict[str, tuple[str, ...]] = {
    "transport": ("udp4", "udp6", "l2"),
    "delay": ("e2e", "p2p"),
    "role": ROLES,
    "steps": ("two-step", "one-step"),
    "l2_destination": ("01-1B-19-00-00-00", "01-80-C2-00-00-0E"),
}
_PORT_INTERVALS = (
    "announce_interval", "sync_interval", "delay_interval", "operational_sync_interval", "operational_delay_interval",
)  # fmt: skip
_OVER_UDP, _OVER_ETHERNET = ("hop_limit", "dscp"), ("l2_destination",)
_OF_SOURCES = ("acceptable", "trust", "noselect", "offset")
_NEVER_GRANDMASTER = 255


def check_ptp(root: Mapping) -> Iterator[Problem]:
    """Every contradiction of PTP instances."""
    interfaces: dict[tuple[object, ...], Location] = {}
    places = (("observe", "control"), ("observe", "chronyc", "socket"), ("serve", "sock"))
    sockets = {value(root, *place): ".".join(place) for place in places}
    for instance in ptp_locations(root):
        yield from check_clock_name(root, (*instance, "clock"), clock_names(root))
        profile = profile_at(root, instance)
        if profile is not None:
            yield from _check_profile(root, instance, profile)
        yield from _check_interfaces(root, instance, profile, interfaces)
        for port in port_locations(root, instance):
            yield from _check_role(root, instance, port)
            yield from _check_stamps(root, instance, port)
        yield from check_authentication(root, instance)
        path = value(root, *instance, "management")
        if isinstance(path, str):
            both = path, f"{path}ro"  # the second one is for reading only
            taken = next((sockets[one] for one in both if one in sockets), None)
            if taken is not None:
                yield complain(root, (*instance, "management"), f"the same socket as {taken}")
            for one in both:
                sockets.setdefault(one, format_path((*instance, "management")))


def ptp_doubts(config: Config, root: Mapping) -> Iterator[Problem]:
    """What of a profile is not done, where it would matter, or done against its advice; names that are taken."""
    for instance in ptp_locations(root):
        profile = profile_at(root, instance)
        if profile is not None:
            yield from _against_advice(root, instance, profile)
        if profile is None or role_at(root, instance) == "timeReceiver":
            continue
        yield from extras_doubts(root, instance, profile)
    instances = config.ptp_instances
    titles = {port_title(instances, one, port) for one in instances for port in one.ports}
    for index, source in enumerate(config.sources):
        if source.title in titles:
            yield complain(root, ("sources", index, "name"), "a PTP port is called so too")


def _against_advice(root: Mapping, instance: Location, profile: PtpProfile) -> Iterator[Problem]:
    """Intervals and timeouts that a profile lets be anything, and names a range for."""
    for port in port_locations(root, instance):
        numbers = {key: _number(root, (*port, key), PtpPort) for key in _PORT_NUMBERS}
        for key, given in {**numbers, **_intervals(root, port)}.items():
            text = None if given is None else warn(profile, key, given)
            if text is not None:
                yield complain(root, (*port, key), text)


def _intervals(root: Mapping, port: Location) -> dict[str, int | None]:
    """Log2 of the intervals of a port, as far as the schema takes them."""
    found = {key: _parsed(root, (*port, key), IntervalText()) for key in _PORT_INTERVALS}
    return {key: every.log2 if isinstance(every, Interval) else None for key, every in found.items()}


def _check_profile(root: Mapping, instance: Location, profile: PtpProfile) -> Iterator[Problem]:
    """What the profile fixes is not changed, and what it lets be changed only within its range."""
    for key in _INSTANCE_NUMBERS:
        yield from _allowed(root, (*instance, key), profile, _number(root, (*instance, key), Ptp))
    yield from _allowed(root, (*instance, "role"), profile, _word(root, (*instance, "role")))
    trace = value(root, *instance, "path_trace")
    yield from _allowed(root, (*instance, "path_trace"), profile, trace if isinstance(trace, bool) else None)
    yield from _check_gptp_priority(root, instance, profile)
    yield from check_extras(root, instance, profile)
    for port in port_locations(root, instance):
        for key in _PORT_NUMBERS:
            yield from _allowed(root, (*port, key), profile, _number(root, (*port, key), PtpPort))
        for key in _WORDS:
            yield from _allowed(root, (*port, key), profile, _word(root, (*port, key)))
        for key, log2 in _intervals(root, port).items():
            yield from _allowed(root, (*port, key), profile, log2)
        threshold = (*port, "neighbor_threshold")
        yield from _allowed(root, threshold, profile, _parsed(root, threshold, Span("0ns", "1s")))
        yield from _check_network(root, port, profile)
        yield from check_unicast(root, instance, port, profile)
        if profile.bmca.value == "none" and items(root, *port, "acceptable"):
            message = f"nobody is chosen by what is announced in the profile {profile.name}: follow whoever sends"
            yield complain(root, (*port, "acceptable"), message)


def _allowed(root: Mapping, location: Location, profile: PtpProfile, given: object) -> Iterator[Problem]:
    """A value that is there is one that the profile lets it have."""
    if given is None:
        return
    why = refuse(profile, str(location[-1]), given)
    if why is not None:
        yield complain(root, location, why)


def _number(root: Mapping, location: Location, model: type[Model]) -> int | None:
    """A number that the schema takes; the schema itself complains about others."""
    found = number(root, *location)
    try:
        return None if found is None else _adapter(model, str(location[-1])).validate_python(found)
    except ValidationError:
        return None


@cache
def _adapter(model: type[Model], key: str) -> TypeAdapter[int]:
    annotation: Any = model.model_fields[key].annotation
    return TypeAdapter(annotation)


def _word(root: Mapping, location: Location) -> str | None:
    """A word that the schema knows; the schema itself complains about others."""
    written = value(root, *location)
    return written if isinstance(written, str) and written in _WORDS[str(location[-1])] else None


def _parsed(root: Mapping, location: Location, form: Written) -> object:
    node = find(root, location)
    if not isinstance(node, Scalar) or node.value is None:
        return None
    try:
        return form.parse(node.value)
    except PydanticCustomError:
        return None


def _check_gptp_priority(root: Mapping, instance: Location, profile: PtpProfile) -> Iterator[Problem]:
    """In gPTP, priority1 255 says that a clock is never grandmaster (IEEE 802.1AS-2020, 8.6.2.1)."""
    priority, role = number(root, *instance, "priority1"), role_at(root, instance)
    if not profile.gptp or priority is None or profile.bmca.value == "none":
        return
    location = (*instance, "priority1")
    if priority == _NEVER_GRANDMASTER and role == "timeTransmitter":
        yield complain(root, location, "255 is that of a clock that never gives time (IEEE 802.1AS-2020, 8.6.2.1)")
    if priority != _NEVER_GRANDMASTER and role == "timeReceiver":
        yield complain(root, location, "that of a timeReceiver is 255 (IEEE 802.1AS-2020, 8.6.2.1)", "255")


def _check_network(root: Mapping, port: Location, profile: PtpProfile) -> Iterator[Problem]:
    """What is said of a transport is said of the one that is used."""
    transport = value(root, *port, "transport") or profile.transport.value[0]
    useless = _OVER_UDP if transport == "l2" else _OVER_ETHERNET
    other = "UDP" if transport == "l2" else "Ethernet"
    for key in useless:
        if value(root, *port, key) is not None:
            yield complain(root, (*port, key), f"this is of messages over {other}, and the transport is {transport}")


def _check_interfaces(
    root: Mapping, instance: Location, profile: PtpProfile | None, seen: dict[tuple[object, ...], Location]
) -> Iterator[Problem]:
    """An interface has one port in each domain."""
    written = number(root, *instance, "domain")
    domain = written if written is not None or profile is None else profile.domain.value
    identity = instance if profile is None else (domain, profile.sdo_id.value)
    for port in port_locations(root, instance):
        interface = value(root, *port, "interface")
        if not isinstance(interface, str):
            continue
        first = seen.setdefault((interface, identity), port)
        if first == port:
            continue
        place = (*port, "interface")
        if first[:-2] == instance:
            yield complain(root, place, f"the same as ports[{first[-1]}]; one instance has one port there")
        else:
            yield complain(root, place, f"ptp[{first[1]}] has a port there in the same domain, {domain}")


def _check_role(root: Mapping, instance: Location, port: Location) -> Iterator[Problem]:
    """The role of a port is one that its instance has; what makes it a source is said only where it takes time."""
    whole, own = value(root, *instance, "role"), value(root, *port, "role")
    fixed = ("timeReceiver", "timeTransmitter")
    if whole in fixed and own is not None and own != whole and own in (*fixed, "auto"):
        yield complain(root, (*port, "role"), f"the instance is {whole}, with all its ports")
    if role_at(root, instance, port) != "timeTransmitter":
        return
    for key in _OF_SOURCES:
        node = find(root, (*port, key))
        if node is not None and not (isinstance(node, Scalar) and node.value in (None, False)):
            yield complain(root, (*port, key), "this port only gives time, and is no source")


def _check_stamps(root: Mapping, instance: Location, port: Location) -> Iterator[Problem]:
    """Cards stamp on their own clocks, and the kernel on the system clock."""
    how, clock = value(root, *port, "timestamping"), value(root, *instance, "clock")
    interface = value(root, *port, "interface")
    cards = {name: value(root, "clocks", name, "phc") for name in entries(root, "clocks") if name != SYSTEM}
    hardware = [name for name, phc in cards.items() if phc is not None]
    location = (*port, "timestamping")
    if how == "software" and clock in hardware:
        message = f"the kernel does not stamp on {clock}: leave clock away, or take hardware"
        yield complain(root, location, message)
    if how == "hardware" and clock is not None and clock in clock_names(root) and clock not in hardware:
        yield complain(root, location, f"a card stamps on its own clock, and {clock} is none")
    if how == "hardware" and clock is None and interface not in cards.values():
        message = f"clocks has no PTP hardware clock of {interface}; add one with phc: {interface}"
        yield complain(root, location, message)
