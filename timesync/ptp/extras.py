"""TLVs that profiles want beside the messages themselves: what this clock says in them, and what its parent says.

The power profile's and the alternate time offsets go with Announce. A grandmaster tells its own. A boundary clock
passes those of its parent on: alternate time offsets as they are (IEEE 1588-2019, 16.3 and table 52), the power
profile's with its own inaccuracy added (IEEE C37.238). The values come from outside, once a second: what a time zone
does next, and how good the clock is, is not known here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from timesync.wire.error import WireError
from timesync.wire.ptp_message import Tlv
from timesync.wire.ptp_tlv import AlternateTimeOffset, TlvType
from timesync.wire.ptp_tlv_profile import (
    UNKNOWN_INACCURACY,
    InterfaceRate,
    PowerProfile2011,
    PowerProfile2017,
    SynchronizationMetadata,
)
from timesync.wire.ptp_tlv_read import read

PowerProfile = PowerProfile2011 | PowerProfile2017

MOST_ZONES = 8
"""Alternate time offsets of a parent that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What this clock says beside its messages.

    Attributes:
        power: Of its own time, while it is grandmaster; None: no such TLV.
        added_ns: How much worse than its parent's its time may be; UNKNOWN_INACCURACY, or None: the parent's TLV of
            the power profile is not passed on.
        zones: Other time scales, while it is grandmaster (16.3).
        metadata: SMPTE's, while it is grandmaster; None: none is sent.
        rates: What unicast clients are told of the rate of a port's interface, by port number.
    """

    power: PowerProfile | None = None
    added_ns: int | None = None
    zones: tuple[AlternateTimeOffset, ...] = ()
    metadata: SynchronizationMetadata | None = None
    rates: Mapping[int, InterfaceRate] = field(default_factory=dict)

    def of_grandmaster(self) -> tuple[Tlv, ...]:
        """What a grandmaster appends to Announce."""
        power = () if self.power is None else (self.power.to_tlv(),)
        return (*power, *(zone.to_tlv() for zone in self.zones))

    def passed_on(self, power: PowerProfile | None) -> tuple[Tlv, ...]:
        """What a boundary clock appends to Announce besides what it passes on unread; ``power`` is its parent's."""
        if power is None or self.added_ns is None:
            return ()
        return (worse(power, self.added_ns).to_tlv(),)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What the parent says beside its messages.

    Attributes:
        power: IEEE C37.238.
        zones: Other time scales.
        metadata: SMPTE ST 2059-2; None before the first.
    """

    power: PowerProfile | None = None
    zones: tuple[AlternateTimeOffset, ...] = ()
    metadata: SynchronizationMetadata | None = None


def worse(power: PowerProfile, by_ns: int) -> PowerProfile:
    """The TLV as a clock further down says it: the inaccuracy of the way has grown; unknown stays unknown."""
    match power:
        case PowerProfile2011():
            return replace(power, network_inaccuracy_ns=_sum(power.network_inaccuracy_ns, by_ns))
        case PowerProfile2017():
            return replace(power, total_inaccuracy_ns=_sum(power.total_inaccuracy_ns, by_ns))


def _sum(one_ns: int, other_ns: int) -> int:
    if UNKNOWN_INACCURACY in (one_ns, other_ns):
        return UNKNOWN_INACCURACY
    return min(one_ns + other_ns, UNKNOWN_INACCURACY)


def heard(tlvs: tuple[Tlv, ...]) -> Heard:
    """What an Announce says beside itself; what breaks its layout is passed over."""
    power: PowerProfile | None = None
    zones: list[AlternateTimeOffset] = []
    for tlv in tlvs:
        try:
            found = read(tlv)
        except WireError:
            continue
        if isinstance(found, PowerProfile2011 | PowerProfile2017) and tlv.kind == TlvType.ORGANIZATION_EXTENSION:
            power = power or found
        elif isinstance(found, AlternateTimeOffset) and len(zones) < MOST_ZONES:
            zones.append(found)
    return Heard(power=power, zones=tuple(zones))
