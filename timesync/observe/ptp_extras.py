"""What a PTP parent says in the TLVs of profiles, as JSON values."""

from __future__ import annotations

from typing import Any

from timesync.ptp.extras import Heard, PowerProfile
from timesync.wire.ptp_tlv import AlternateTimeOffset
from timesync.wire.ptp_tlv_profile import (
    UNKNOWN_INACCURACY,
    DaylightSaving,
    InterfaceRate,
    PowerProfile2011,
    SynchronizationMetadata,
    TimeAddressFlags,
)

_LOCKING = ("not in use", "free run", "cold locking", "warm locking", "locked")
_AS_PER_S = 10**18


def heard_object(heard: Heard) -> dict[str, Any]:
    """What a followed timeTransmitter says; only what there is.

    ``power``: IEEE C37.238. ``alternate_times``: IEEE 1588-2019, 16.3. ``metadata``: SMPTE ST 2059-2. Offsets are
    local time minus PTP time, in seconds; moments are seconds of PTP time, null where none is known.
    """
    found: dict[str, Any] = {}
    if heard.power is not None:
        found["power"] = _power(heard.power)
    if heard.zones:
        found["alternate_times"] = [_zone(zone) for zone in heard.zones]
    if heard.metadata is not None:
        found["metadata"] = _metadata(heard.metadata)
    return found


def rate_object(rate: InterfaceRate) -> dict[str, Any]:
    """What a unicast server says of its interface (ITU-T G.8275.2, annex D)."""
    return {
        "bits_per_s": _AS_PER_S / rate.bit_period_as if rate.bit_period_as else None,
        "bits_before": rate.bits_before,
        "bits_after": rate.bits_after,
    }


def _power(power: PowerProfile) -> dict[str, Any]:
    if isinstance(power, PowerProfile2011):
        return {
            "edition": 2011,
            "grandmaster_id": power.grandmaster_id,
            "grandmaster_inaccuracy_s": _inaccuracy(power.grandmaster_inaccuracy_ns),
            "network_inaccuracy_s": _inaccuracy(power.network_inaccuracy_ns),
        }
    return {
        "edition": 2017,
        "grandmaster_id": power.grandmaster_id,
        "total_inaccuracy_s": _inaccuracy(power.total_inaccuracy_ns),
    }


def _inaccuracy(nanoseconds: int) -> float | None:
    return None if nanoseconds == UNKNOWN_INACCURACY else nanoseconds / 1e9


def _zone(zone: AlternateTimeOffset) -> dict[str, Any]:
    return {
        "key": zone.key,
        # Whoever sends it chooses it, and it is shown on terminals.
        "name": "".join(one if one.isprintable() else "?" for one in zone.name),
        "offset_s": zone.current_offset_s,
        "jump_s": zone.jump_s,
        "next_jump": zone.next_jump_s or None,
    }


def _metadata(said: SynchronizationMetadata) -> dict[str, Any]:
    status, saving = said.locking_status, said.daylight_saving
    return {
        "frame_rate": list(said.frame_rate),
        "locking_status": _LOCKING[status] if status < len(_LOCKING) else str(status),
        "drop_frame": TimeAddressFlags.DROP_FRAME in said.address_flags,
        "color_frame": TimeAddressFlags.COLOR_FRAME in said.address_flags,
        "offset_s": said.local_offset_s,
        "jump_s": said.jump_s,
        "next_jump": said.next_jump_s or None,
        "next_jump_is_leap_second": said.leap_second_jump,
        "next_jam": said.next_jam_s or None,
        "previous_jam": said.previous_jam_s or None,
        "previous_jam_offset_s": said.previous_jam_offset_s,
        "daylight_saving": {
            "current": DaylightSaving.CURRENT in saving,
            "next": DaylightSaving.NEXT in saving,
            "previous_jam": DaylightSaving.PREVIOUS in saving,
        },
    }
