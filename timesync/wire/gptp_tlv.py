"""The TLVs of IEEE 802.1AS-2020 (10.6.4 and 11.4.4) as values; ``to_tlv`` and ``from_tlv`` as in ``wire.ptp_tlv``."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, field

from timesync.base.time import ZERO, Duration
from timesync.wire.error import WireError
from timesync.wire.ptp_message import Tlv
from timesync.wire.ptp_tlv import TlvType, expect, pack

IEEE_802_1 = b"\x00\x80\xc2"

FOLLOW_UP_INFORMATION = IEEE_802_1 + b"\0\0\1"
MESSAGE_INTERVAL_REQUEST = IEEE_802_1 + b"\0\0\2"
GPTP_CAPABLE = IEEE_802_1 + b"\0\0\4"
GPTP_CAPABLE_INTERVAL_REQUEST = IEEE_802_1 + b"\0\0\5"
"""``organizationId`` and ``organizationSubType`` together; the latter two hang on type 0x8000."""

INTERVAL_NO_CHANGE = -128
INTERVAL_INITIAL = 126
INTERVAL_STOP = 127
"""What the intervals of a request may be instead of log2 of seconds (tables 10-15 to 10-18)."""

RATE_UNIT = 2.0**-41
"""Of ``cumulativeScaledRateOffset`` and ``scaledLastGmFreqChange`` (dimensionless)."""

_FOLLOW_UP = struct.Struct(">6siH12si")
_REQUEST = struct.Struct(">6sbbbB2x")
_CAPABLE = struct.Struct(">6sbB4x")
_CAPABLE_REQUEST = struct.Struct(">6sb3x")


def _checked(tlv: Tlv, kind: int, layout: struct.Struct, organization: bytes) -> bytes:
    """The value of a TLV of this type, size and organization. Raises WireError."""
    value = expect(tlv, kind, size=layout.size)
    if not value.startswith(organization):
        raise WireError(f"organization extension {value[:6].hex()} instead of {organization.hex()}")
    return value


@dataclass(frozen=True, slots=True)
class FollowUpInformation:
    """The Follow_Up information TLV (11.4.4.3).

    Attributes:
        cumulative_scaled_rate_offset: ``cumulativeScaledRateOffset``: the grandmaster's frequency divided by the
            sender's, minus one, in units of 2^-41.
        time_base_indicator: ``gmTimeBaseIndicator``: goes up with each jump of the grandmaster's time.
        last_phase_change: ``lastGmPhaseChange``: the time of this grandmaster minus that of the one before.
        scaled_last_frequency_change: ``scaledLastGmFreqChange``, in units of 2^-41.
    """

    cumulative_scaled_rate_offset: int = 0
    time_base_indicator: int = 0
    last_phase_change: Duration = field(default=ZERO)
    scaled_last_frequency_change: int = 0

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> FollowUpInformation:
        """Raises WireError."""
        _, rate, indicator, phase, frequency = _FOLLOW_UP.unpack(
            _checked(tlv, TlvType.ORGANIZATION_EXTENSION, _FOLLOW_UP, FOLLOW_UP_INFORMATION)
        )
        return cls(rate, indicator, Duration(int.from_bytes(phase, "big", signed=True)), frequency)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        try:
            phase = self.last_phase_change.scaled_ns.to_bytes(12, "big", signed=True)
        except OverflowError:
            raise ValueError(f"lastGmPhaseChange {self.last_phase_change}") from None
        value = pack(
            _FOLLOW_UP,
            FOLLOW_UP_INFORMATION,
            self.cumulative_scaled_rate_offset,
            self.time_base_indicator,
            phase,
            self.scaled_last_frequency_change,
        )
        return Tlv(TlvType.ORGANIZATION_EXTENSION, value)

    @property
    def rate_ratio(self) -> float:
        """The grandmaster's frequency divided by the sender's."""
        return 1.0 + self.cumulative_scaled_rate_offset * RATE_UNIT


class IntervalFlags(enum.IntFlag):
    """``flags`` of a message interval request (table 10-19).

    The edition of 2011 numbers bits from 1, that of 2020 from 0; these are the masks of the former, which the latter
    did not mean to change. Wireshark takes them to be twice as large.
    """

    COMPUTE_NEIGHBOR_RATE_RATIO = 0x01
    COMPUTE_MEAN_LINK_DELAY = 0x02
    ONE_STEP_RECEIVE_CAPABLE = 0x04


@dataclass(frozen=True, slots=True)
class MessageIntervalRequest:
    """The message interval request TLV (10.6.4.3), in a Signaling message to the port at the other end.

    Attributes:
        link_delay: Log2 of the wanted Pdelay_Req interval in seconds, or one of the INTERVAL constants.
        time_sync: Of Sync messages.
        announce: Of Announce messages.
        flags: What the sender asks the other to compute.
    """

    link_delay: int = INTERVAL_NO_CHANGE
    time_sync: int = INTERVAL_NO_CHANGE
    announce: int = INTERVAL_NO_CHANGE
    flags: IntervalFlags = IntervalFlags.COMPUTE_NEIGHBOR_RATE_RATIO | IntervalFlags.COMPUTE_MEAN_LINK_DELAY

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> MessageIntervalRequest:
        """Raises WireError."""
        _, link_delay, time_sync, announce, flags = _REQUEST.unpack(
            _checked(tlv, TlvType.ORGANIZATION_EXTENSION, _REQUEST, MESSAGE_INTERVAL_REQUEST)
        )
        return cls(link_delay, time_sync, announce, IntervalFlags(flags & 0x07))

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(_REQUEST, MESSAGE_INTERVAL_REQUEST, self.link_delay, self.time_sync, self.announce, self.flags)
        return Tlv(TlvType.ORGANIZATION_EXTENSION, value)


@dataclass(frozen=True, slots=True)
class GptpCapable:
    """The gPTP-capable TLV (10.6.4.4), in a Signaling message.

    Attributes:
        log_interval: ``logGptpCapableMessageInterval``: the port is taken for capable until nine of these without one.
        flags: All reserved.
    """

    log_interval: int = 0
    flags: int = 0

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> GptpCapable:
        """Raises WireError."""
        kind = TlvType.ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE
        _, log_interval, flags = _CAPABLE.unpack(_checked(tlv, kind, _CAPABLE, GPTP_CAPABLE))
        return cls(log_interval, flags)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(_CAPABLE, GPTP_CAPABLE, self.log_interval, self.flags)
        return Tlv(TlvType.ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE, value)


@dataclass(frozen=True, slots=True)
class GptpCapableIntervalRequest:
    """The gPTP-capable message interval request TLV (10.6.4.5), in a Signaling message.

    Attributes:
        log_interval: Wanted for the messages with a ``GptpCapable``; or one of the INTERVAL constants.
    """

    log_interval: int

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> GptpCapableIntervalRequest:
        """Raises WireError."""
        kind = TlvType.ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE
        _, log_interval = _CAPABLE_REQUEST.unpack(_checked(tlv, kind, _CAPABLE_REQUEST, GPTP_CAPABLE_INTERVAL_REQUEST))
        return cls(log_interval)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(_CAPABLE_REQUEST, GPTP_CAPABLE_INTERVAL_REQUEST, self.log_interval)
        return Tlv(TlvType.ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE, value)
