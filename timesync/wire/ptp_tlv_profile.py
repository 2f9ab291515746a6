"""Organization extensions of PTP profiles as values; ``to_tlv`` and ``from_tlv`` as in ``wire.ptp_tlv``.

IEEE C37.238 (power), SMPTE ST 2059-2 (synchronization metadata) and ITU-T G.8275.2 (interface rate).
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from timesync.wire.error import WireError
from timesync.wire.ptp_message import Tlv
from timesync.wire.ptp_tlv import ORGANIZATION_KINDS, TlvType, expect, pack

POWER_2011 = b"\x1c\x12\x9d\0\0\1"
POWER_2017 = b"\x1c\x12\x9d\0\0\2"
SYNCHRONIZATION_METADATA = b"\x68\x97\xe8\0\0\1"
INTERFACE_RATE = b"\x00\x19\xa7\0\0\2"
"""``organizationId`` and ``organizationSubType`` together."""

UNKNOWN_INACCURACY = 0xFFFF_FFFF

_POWER_2011 = struct.Struct(">6sHII2x")
_POWER_2017 = struct.Struct(">6sH4xI2x")
_METADATA = struct.Struct(">6sIIBBiiHIHIHIiBB")
_INTERFACE_RATE = struct.Struct(">6sQHH")


def _checked(tlv: Tlv, layout: struct.Struct, organization: bytes) -> bytes:
    """The value of an organization extension of this size; any of the three types will do. Raises WireError."""
    value = expect(tlv, *ORGANIZATION_KINDS, size=layout.size)
    if not value.startswith(organization):
        raise WireError(f"organization extension {value[:6].hex()} instead of {organization.hex()}")
    return value


@dataclass(frozen=True, slots=True)
class PowerProfile2011:
    """IEEE_C37_238 TLV of the edition of 2011 (its 5.12.2), in Announce messages.

    Attributes:
        grandmaster_id: ``grandmasterID``: 3 to 254, given by the operator.
        grandmaster_inaccuracy_ns: ``grandmasterTimeInaccuracy``; all ones are unknown.
        network_inaccuracy_ns: ``networkTimeInaccuracy``; all ones are unknown.
    """

    grandmaster_id: int
    grandmaster_inaccuracy_ns: int
    network_inaccuracy_ns: int

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> PowerProfile2011:
        """Raises WireError."""
        _, grandmaster_id, own_ns, network_ns = _POWER_2011.unpack(_checked(tlv, _POWER_2011, POWER_2011))
        return cls(grandmaster_id, own_ns, network_ns)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(
            _POWER_2011, POWER_2011, self.grandmaster_id, self.grandmaster_inaccuracy_ns, self.network_inaccuracy_ns
        )
        return Tlv(TlvType.ORGANIZATION_EXTENSION, value)


@dataclass(frozen=True, slots=True)
class PowerProfile2017:
    """IEEE_C37_238 TLV of the edition of 2017, in Announce messages.

    Attributes:
        grandmaster_id: ``grandmasterID``: 3 to 254, given by the operator.
        total_inaccuracy_ns: ``totalTimeInaccuracy``: each clock on the way adds its own; all ones are unknown.
    """

    grandmaster_id: int
    total_inaccuracy_ns: int

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> PowerProfile2017:
        """Raises WireError."""
        _, grandmaster_id, total_ns = _POWER_2017.unpack(_checked(tlv, _POWER_2017, POWER_2017))
        return cls(grandmaster_id, total_ns)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(_POWER_2017, POWER_2017, self.grandmaster_id, self.total_inaccuracy_ns)
        return Tlv(TlvType.ORGANIZATION_EXTENSION, value)


class DaylightSaving(enum.IntFlag):
    """``daylightSaving``: whether it is in force now, after the next jump, and before the last jam."""

    CURRENT = 0x01
    NEXT = 0x02
    PREVIOUS = 0x04


class TimeAddressFlags(enum.IntFlag):
    """``timeAddressFlags``: how time code is counted."""

    DROP_FRAME = 0x01
    COLOR_FRAME = 0x02


_NO_SAVING = DaylightSaving(0)
_NO_ADDRESS_FLAGS = TimeAddressFlags(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class SynchronizationMetadata:
    """The SM TLV (SMPTE ST 2059-2, 5.13), in Management messages with the action COMMAND.

    The layout is that which Wireshark and public implementations read; the standard's text was not to be had.

    Attributes:
        frame_rate: ``defaultSystemFrameRate``: numerator and denominator.
        locking_status: ``masterLockingStatus``: 0 not in use, 1 free run, 2 cold locking, 3 warm locking, 4 locked.
        address_flags: ``timeAddressFlags``.
        local_offset_s: ``currentLocalOffset``: local time minus PTP time.
        jump_s: ``jumpSeconds``: the next change of it.
        next_jump_s: ``timeOfNextJump``, seconds of PTP time; 0 when none is known.
        next_jam_s: ``timeOfNextJam``: when time code is next set to local time.
        previous_jam_s: ``timeOfPreviousJam``.
        previous_jam_offset_s: ``previousJamLocalOffset``: the local offset used then.
        daylight_saving: ``daylightSaving``.
        leap_second_jump: ``leapSecondJump``: the next jump is that of a leap second.
    """

    frame_rate: tuple[int, int]
    locking_status: int
    address_flags: TimeAddressFlags = _NO_ADDRESS_FLAGS
    local_offset_s: int = 0
    jump_s: int = 0
    next_jump_s: int = 0
    next_jam_s: int = 0
    previous_jam_s: int = 0
    previous_jam_offset_s: int = 0
    daylight_saving: DaylightSaving = _NO_SAVING
    leap_second_jump: bool = False

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> SynchronizationMetadata:
        """Raises WireError."""
        (
            _,
            numerator,
            denominator,
            locking_status,
            address_flags,
            local_offset_s,
            jump_s,
            jump_high,
            jump_low,
            jam_high,
            jam_low,
            previous_high,
            previous_low,
            previous_jam_offset_s,
            daylight,
            leap,
        ) = _METADATA.unpack(_checked(tlv, _METADATA, SYNCHRONIZATION_METADATA))
        return cls(
            frame_rate=(numerator, denominator),
            locking_status=locking_status,
            address_flags=TimeAddressFlags(address_flags & 0x03),
            local_offset_s=local_offset_s,
            jump_s=jump_s,
            next_jump_s=jump_high << 32 | jump_low,
            next_jam_s=jam_high << 32 | jam_low,
            previous_jam_s=previous_high << 32 | previous_low,
            previous_jam_offset_s=previous_jam_offset_s,
            daylight_saving=DaylightSaving(daylight & 0x07),
            leap_second_jump=bool(leap & 1),
        )

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(
            _METADATA,
            SYNCHRONIZATION_METADATA,
            *self.frame_rate,
            self.locking_status,
            self.address_flags,
            self.local_offset_s,
            self.jump_s,
            *_halves(self.next_jump_s),
            *_halves(self.next_jam_s),
            *_halves(self.previous_jam_s),
            self.previous_jam_offset_s,
            self.daylight_saving,
            self.leap_second_jump,
        )
        return Tlv(TlvType.ORGANIZATION_EXTENSION, value)


def _halves(seconds: int) -> tuple[int, int]:
    """48 bits as 16 and 32."""
    return seconds >> 32, seconds & 0xFFFF_FFFF


@dataclass(frozen=True, slots=True)
class InterfaceRate:
    """The interface rate TLV (ITU-T G.8275.2, annex D [from memory]), beside a unicast request or grant.

    Attributes:
        bit_period_as: ``interfaceBitPeriod`` in attoseconds; 10^8 at 10 Gbit/s.
        bits_before: ``numberOfBitsBeforeTimestamp``: of the frame, preamble included, before the stamped point.
        bits_after: ``numberOfBitsAfterTimestamp``.
    """

    bit_period_as: int
    bits_before: int
    bits_after: int

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> InterfaceRate:
        """Raises WireError."""
        _, period_as, before, after = _INTERFACE_RATE.unpack(_checked(tlv, _INTERFACE_RATE, INTERFACE_RATE))
        return cls(period_as, before, after)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(_INTERFACE_RATE, INTERFACE_RATE, self.bit_period_as, self.bits_before, self.bits_after)
        return Tlv(TlvType.ORGANIZATION_EXTENSION, value)
