"""Contradictions about what PTP's grandmasters tell beside the time."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from zoneinfo import ZoneInfo, available_timezones

from pydantic_core import PydanticCustomError

from timesync.config.look import complain, entries, items, number, value
from timesync.config.problem import Problem
from timesync.config.ptp_extras import ZoneName
from timesync.config.ptp_look import role_at
from timesync.config.ptp_profiles import PtpProfile
from timesync.config.tree import Location, Mapping, Scalar, find

_ID_2011 = range(3, 255)
"""Values of ``grandmasterID`` that the edition of 2011 lets operators give."""


def check_extras(root: Mapping, instance: Location, profile: PtpProfile) -> Iterator[Problem]:
    """What is told is of the profile, and time zones are there."""
    wanted = () if profile.tlvs is None else profile.tlvs.value
    location = (*instance, "grandmaster_id")
    if not {"power-2011", "power-2017"} & set(wanted):
        for key in ("grandmaster_id", "network_inaccuracy"):
            yield from _foreign(root, (*instance, key), profile)
    elif "power-2011" in wanted and (given := number(root, *location)) is not None and given not in _ID_2011:
        yield complain(root, location, f"the edition of 2011 has grandmasters 3 to 254 ({profile.standard}, 5.12.2)")
    if "synchronization-metadata" not in wanted:
        yield from _foreign(root, (*instance, "metadata"), profile)
    if profile.bmca.value != "1588" or profile.gptp:
        yield from _foreign(root, (*instance, "alternate_time"), profile)
    role = role_at(root, instance)
    for key in ("grandmaster_id", "network_inaccuracy", "alternate_time", "metadata"):
        if role == "timeReceiver" and find(root, (*instance, key)) is not None:
            yield complain(root, (*instance, key), "this clock only takes time, and tells nobody anything")
    zones = [(*instance, "alternate_time", index) for index, _ in enumerate(items(root, *instance, "alternate_time"))]
    for place in [*zones, (*instance, "metadata", "zone")]:
        yield from _check_zone(root, place)


def extras_doubts(root: Mapping, instance: Location, profile: PtpProfile) -> Iterator[Problem]:
    """TLVs that the profile wants and that are not sent, as nothing is known to be said in them."""
    keys = {
        "power-2011": "grandmaster_id", "alternate-time-offset": "alternate_time",
        "synchronization-metadata": "metadata",
    }  # fmt: skip
    for tlv in () if profile.tlvs is None else profile.tlvs.value:
        key = keys.get(tlv)
        if key is not None and not _said(root, (*instance, key)):
            message = f"the profile {profile.name} wants the TLV {tlv}, which is not sent without {key}"
            yield complain(root, (*instance, "profile"), message)


def _said(root: Mapping, location: Location) -> bool:
    return value(root, *location) is not None or bool(items(root, *location)) or bool(entries(root, *location))


def _foreign(root: Mapping, location: Location, profile: PtpProfile) -> Iterator[Problem]:
    if find(root, location) is not None:
        yield complain(root, location, f"the profile {profile.name} has no such thing ({profile.standard})")


def _check_zone(root: Mapping, location: Location) -> Iterator[Problem]:
    node = find(root, location)
    if not isinstance(node, Scalar) or not isinstance(node.value, str):
        return
    try:
        ZoneInfo(ZoneName().parse(node.value))
    except PydanticCustomError:
        return  # the schema complains
    except (LookupError, ValueError, OSError):
        known = available_timezones()
        near = next(iter(get_close_matches(node.value, sorted(known), 1, 0.6)), None)
        text = f"there is no time zone {node.value}" if known else "this machine has no time zones: install tzdata"
        yield complain(root, location, text, near)
