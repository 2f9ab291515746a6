"""Contradictions about unicast messages of PTP ports, one-step Sync and authentication."""

from __future__ import annotations

from collections.abc import Iterator

from timesync.config.look import complain, entries, items, value
from timesync.config.problem import Problem
from timesync.config.ptp_look import port_locations, role_at
from timesync.config.ptp_profiles import PtpProfile
from timesync.config.schema import PTP_ALGORITHMS
from timesync.config.tree import Location, Mapping, Scalar, find

_FIXED_ROLES = "none"


def check_unicast(root: Mapping, instance: Location, port: Location, profile: PtpProfile) -> Iterator[Problem]:
    """Who is asked can be asked, and only where that is of use."""
    if profile.gptp and value(root, *port, "steps") == "one-step":
        yield complain(root, (*port, "steps"), "the grandmaster's rate goes in Follow_Up here: take two-step")
    role, location = role_at(root, instance, port), (*port, "unicast")
    given = find(root, location) is not None
    servers = items(root, *location, "servers")
    only = profile.unicast is not None and profile.unicast.value
    if given and (profile.gptp or profile.bmca.value == _FIXED_ROLES):
        yield complain(root, location, f"the profile {profile.name} has no unicast negotiation ({profile.standard})")
        return
    if only and role == "timeReceiver" and not servers:
        message = f"{profile.name} is unicast only ({profile.cite(profile.unicast)}): say whom to ask"  # type: ignore[arg-type]  # only implies it is there
        yield complain(root, port, message, "unicast: {servers: [192.0.2.1]}")
    if only and value(root, *location, "multicast") is True:
        yield complain(root, (*location, "multicast"), f"the profile {profile.name} is unicast only")
    if servers and role == "timeTransmitter":
        yield complain(root, (*location, "servers"), "this port only gives time, and asks nobody")
    if value(root, *location, "grant") is True and role == "timeReceiver":
        yield complain(root, (*location, "grant"), "this port only takes time, and has none to give")
    yield from _check_addresses(root, port, profile)
    yield from _check_hybrid(root, port, profile)


def _check_addresses(root: Mapping, port: Location, profile: PtpProfile) -> Iterator[Problem]:
    """Addresses are those of the transport."""
    transport = value(root, *port, "transport") or profile.transport.value[0]
    for index, node in enumerate(items(root, *port, "unicast", "servers")):
        text = node.value if isinstance(node, Scalar) and isinstance(node.value, str) else ""
        kind = "udp4" if "." in text else "l2" if text.count(":") == 5 and "::" not in text else "udp6"
        if "-" in text:
            kind = "l2"
        if text and kind != transport:
            yield complain(root, (*port, "unicast", "servers", index), f"the transport is {transport}")


def _check_hybrid(root: Mapping, port: Location, profile: PtpProfile) -> Iterator[Problem]:
    """Only who asks the timeTransmitter itself can do so by unicast."""
    if value(root, *port, "hybrid") is not True:
        return
    delay = value(root, *port, "delay") or profile.delay.value[0]
    if delay != "e2e":
        yield complain(root, (*port, "hybrid"), f"peers are never asked by unicast, and delay is {delay}")


def check_authentication(root: Mapping, instance: Location) -> Iterator[Problem]:
    """The keys are there, and fit; the card does not sign the time that it writes into a message."""
    location = (*instance, "authentication")
    known = entries(root, "keys")
    for index, node in enumerate(items(root, *location, "keys")):
        key = node.value if isinstance(node, Scalar) else None
        if not isinstance(key, int) or isinstance(key, bool):
            continue
        place = (*location, "keys", index)
        if str(key) not in known:
            yield complain(root, place, f"keys has no {key}")
            continue
        algorithm = value(root, "keys", str(key), "algorithm")
        if isinstance(algorithm, str) and algorithm not in PTP_ALGORITHMS:
            message = f"{algorithm} is not for PTP (IEEE 1588-2019, 16.14.3.9)"
            yield complain(root, place, message, PTP_ALGORITHMS[0])
    if find(root, location) is None:
        return
    for port in port_locations(root, instance):
        if value(root, *port, "steps") == "one-step":
            yield complain(root, (*port, "steps"), "the card cannot sign the time that it writes: take two-step")
