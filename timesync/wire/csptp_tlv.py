"""The TLVs of CSPTP, the client-server PTP of the draft IEEE P1588.1 (D0.6, as ntpd-rs has it); experimental.

A client's request is a Sync of sdoId 0x300 with ``CsptpRequest``; the answer is a Sync, with a Follow_Up or without,
that has ``CsptpResponse`` and, where it was asked for, ``CsptpStatus``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from timesync.base.ids import ClockIdentity
from timesync.base.time import NS_PER_S, Duration, Instant, Tai
from timesync.wire.error import WireError
from timesync.wire.ptp_message import ClockQuality, Tlv
from timesync.wire.ptp_tlv import TlvType, check_identity, expect, pack

SDO_ID = 0x300

_REQUEST = struct.Struct(">B3x")
_RESPONSE = struct.Struct(">HIIq")
_STATUS = struct.Struct(">BBBHBHh8s")
_NO_PARENT = bytes(4)
"""What ntpd-rs puts for the address of a server's parent: none, over IPv4."""


@dataclass(frozen=True, slots=True)
class CsptpRequest:
    """CSPTP_REQUEST.

    Attributes:
        status: A ``CsptpStatus`` is wanted.
        alternate_timescale: An alternate time offset is wanted.
    """

    status: bool = True
    alternate_timescale: bool = False

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> CsptpRequest:
        """Raises WireError."""
        value = expect(tlv, TlvType.CSPTP_REQUEST)
        if not value:
            raise WireError("CSPTP request without flags")
        return cls(bool(value[0] & 1), bool(value[0] & 2))

    def to_tlv(self) -> Tlv:
        """Never fails."""
        return Tlv(TlvType.CSPTP_REQUEST, _REQUEST.pack(self.alternate_timescale << 1 | self.status))


@dataclass(frozen=True, slots=True)
class CsptpResponse:
    """CSPTP_RESPONSE.

    Attributes:
        ingress: ``reqIngressTimestamp``: when the request arrived, in whole nanoseconds.
        correction: ``reqCorrectionField``: that of the request, as it arrived.
    """

    ingress: Instant[Tai]
    correction: Duration

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> CsptpResponse:
        """Raises WireError."""
        value = expect(tlv, TlvType.CSPTP_RESPONSE)
        if len(value) < _RESPONSE.size:
            raise WireError(f"CSPTP response of {len(value)} octets")
        high, low, nanoseconds, correction = _RESPONSE.unpack_from(value)
        if nanoseconds >= NS_PER_S:
            raise WireError(f"timestamp with {nanoseconds} ns")
        return cls(Instant.from_ns((high << 32 | low) * NS_PER_S + nanoseconds), Duration(correction))

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        seconds, nanoseconds = divmod(self.ingress.scaled_ns >> 16, NS_PER_S)
        value = pack(_RESPONSE, seconds >> 32, seconds & 0xFFFF_FFFF, nanoseconds, self.correction.scaled_ns)
        return Tlv(TlvType.CSPTP_RESPONSE, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class CsptpStatus:
    """CSPTP_STATUS: what an Announce would say. The address of the server's parent is neither read nor sent.

    Attributes:
        priority1: ``grandmasterPriority1``.
        quality: ``grandmasterClockQuality``.
        priority2: ``grandmasterPriority2``.
        steps_removed: ``stepsRemoved``.
        utc_offset: ``currentUtcOffset``: TAI - UTC in seconds.
        grandmaster: ``grandmasterIdentity``.
    """

    priority1: int
    quality: ClockQuality
    priority2: int
    steps_removed: int
    utc_offset: int
    grandmaster: ClockIdentity

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> CsptpStatus:
        """Raises WireError."""
        value = expect(tlv, TlvType.CSPTP_STATUS)
        if len(value) < _STATUS.size:
            raise WireError(f"CSPTP status of {len(value)} octets")
        priority1, clock_class, accuracy, variance, priority2, steps, utc_offset, identity = _STATUS.unpack_from(value)
        return cls(
            priority1=priority1,
            quality=ClockQuality(clock_class, accuracy, variance),
            priority2=priority2,
            steps_removed=steps,
            utc_offset=utc_offset,
            grandmaster=identity,
        )

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(
            _STATUS,
            self.priority1,
            self.quality.clock_class,
            self.quality.accuracy,
            self.quality.variance,
            self.priority2,
            self.steps_removed,
            self.utc_offset,
            check_identity(self.grandmaster),
        )
        return Tlv(TlvType.CSPTP_STATUS, value + _NO_PARENT)
