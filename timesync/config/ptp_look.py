"""Looking at the PTP instances of a tree that may be wrong anywhere."""

from __future__ import annotations

from timesync.config.look import items, value
from timesync.config.ptp import Ptp
from timesync.config.ptp_profiles import PTP_PROFILES, PtpProfile, ptp_profile
from timesync.config.tree import Location, Mapping, Sequence, find

ROLES = ("auto", "timeReceiver", "timeTransmitter")


def ptp_locations(root: Mapping) -> list[Location]:
    """Where the instances are: ``ptp`` itself, or the entries of its list."""
    node = find(root, ("ptp",))
    if isinstance(node, Sequence):
        return [("ptp", index) for index, item in enumerate(node.items) if isinstance(item, Mapping)]
    return [("ptp",)] if isinstance(node, Mapping) else []


def port_locations(root: Mapping, instance: Location) -> list[Location]:
    """Where the ports of an instance are."""
    ports = enumerate(items(root, *instance, "ports"))
    return [(*instance, "ports", index) for index, item in ports if isinstance(item, Mapping)]


def profile_at(root: Mapping, instance: Location) -> PtpProfile | None:
    """The profile of an instance; None when it names none that there is."""
    given = find(root, (*instance, "profile"))
    name = Ptp.model_fields["profile"].default if given is None else value(root, *instance, "profile")
    return next((ptp_profile(known) for known in PTP_PROFILES if known == name), None)


def role_at(root: Mapping, instance: Location, port: Location | None = None) -> str | None:
    """What an instance, or one port of it, may become; None when that cannot be read."""
    own = None if port is None else value(root, *port, "role")
    written = value(root, *instance, "role") if own is None else own
    if written is None:
        profile = profile_at(root, instance)
        return None if profile is None else str(profile.role.value[0])
    return str(written) if written in ROLES else None


def following_ports(root: Mapping) -> list[Location]:
    """The ports that may take time, and so are sources."""
    return [
        port
        for instance in ptp_locations(root)
        for port in port_locations(root, instance)
        if role_at(root, instance, port) in ("auto", "timeReceiver")
    ]
