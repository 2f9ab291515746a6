"""Contradictions in what is said of NTP over PTP: its ports, and who else has them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from timesync.config.address import NTP_PORT, AddressError, parse_listen
from timesync.config.csptp import EVENT_PORT, ServeCsptp
from timesync.config.look import complain, items, value
from timesync.config.problem import Problem, format_path
from timesync.config.ptp_look import port_locations, profile_at, ptp_locations
from timesync.config.tree import Location, Mapping, find

_FAMILIES = {4: "udp4", 6: "udp6"}
_GENERAL_PORT = EVENT_PORT + 1


def check_over_ptp(root: Mapping) -> Iterator[Problem]:
    """Every contradiction of NTP over PTP."""
    for index, _ in enumerate(items(root, "sources")):
        for kind in ("ntp", "pool"):
            text = str(value(root, "sources", index, kind))
            if value(root, "sources", index, "transport") == "ptp" and text.endswith(f":{NTP_PORT}"):
                host = text.removesuffix(f":{NTP_PORT}").strip("[]")
                message = f"with transport: ptp the port is that of PTP, UDP {EVENT_PORT}; {NTP_PORT} is NTP's own"
                yield complain(root, ("sources", index, kind), message, host)
    others = {transport: place for place, transport in reversed(list(_users(root)))}
    place: Location = ("serve", "ntp", "ptp_listen")
    for index, _ in enumerate(items(root, *place)):
        try:
            endpoint = parse_listen(str(value(root, *place, index)), EVENT_PORT)
        except AddressError:
            continue
        family = _FAMILIES[ipaddress.ip_address(endpoint.address).version]
        if endpoint.port in (EVENT_PORT, _GENERAL_PORT) and family in others:
            user = format_path(others[family])
            message = f"{user} needs UDP port {endpoint.port} for PTP itself; have it use Ethernet (l2) or the other IP"
            yield complain(root, (*place, index), message)


def _users(root: Mapping) -> Iterator[tuple[Location, str]]:
    """Who has the ports of PTP over UDP, and over what; requests of our own share them, a server cannot."""
    for instance in ptp_locations(root):
        profile = profile_at(root, instance)
        for port in port_locations(root, instance):
            transport = value(root, *port, "transport")
            if transport is None and profile is not None:
                transport = profile.transport.value[0]
            yield port, str(transport)
    if isinstance(find(root, ("serve", "csptp")), Mapping):
        count = len(items(root, "serve", "csptp", "transports"))
        written = [value(root, "serve", "csptp", "transports", index) for index in range(count)]
        for transport in written or ServeCsptp.model_fields["transports"].default:
            yield ("serve", "csptp"), str(transport)
    for index, item in enumerate(items(root, "sources")):
        if isinstance(item, Mapping) and "csptp" in item.entries:
            for transport in _FAMILIES.values():
                yield ("sources", index), transport
