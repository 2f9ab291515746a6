"""The TLVs of IEEE 1588-2019 (clauses 14, 16 and 17.2) as values; ``wire.ptp_tlv_read`` finds the right one.

Each has ``to_tlv()`` and ``from_tlv()``. The latter raises WireError for what breaks the layout; whether the message
that carries it is still of use is for the reader to say. What does not fit into a field on the way out is our own bug:
ValueError.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass

from timesync.base.ids import ClockIdentity
from timesync.wire.error import WireError
from timesync.wire.ptp_message import MessageType, Tlv


class TlvType(enum.IntEnum):
    """``tlvType`` (table 52)."""

    MANAGEMENT = 0x0001
    MANAGEMENT_ERROR_STATUS = 0x0002
    ORGANIZATION_EXTENSION = 0x0003
    REQUEST_UNICAST_TRANSMISSION = 0x0004
    GRANT_UNICAST_TRANSMISSION = 0x0005
    CANCEL_UNICAST_TRANSMISSION = 0x0006
    ACKNOWLEDGE_CANCEL_UNICAST_TRANSMISSION = 0x0007
    PATH_TRACE = 0x0008
    ALTERNATE_TIME_OFFSET_INDICATOR = 0x0009
    ORGANIZATION_EXTENSION_PROPAGATE = 0x4000
    ENHANCED_ACCURACY_METRICS = 0x4001
    ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE = 0x8000
    L1_SYNC = 0x8001
    PORT_COMMUNICATION_AVAILABILITY = 0x8002
    PROTOCOL_ADDRESS = 0x8003
    SLAVE_RX_SYNC_TIMING_DATA = 0x8004
    SLAVE_RX_SYNC_COMPUTED_DATA = 0x8005
    SLAVE_TX_EVENT_TIMESTAMPS = 0x8006
    CUMULATIVE_RATE_RATIO = 0x8007
    PAD = 0x8008
    AUTHENTICATION = 0x8009
    CSPTP_STATUS = 0xF002
    CSPTP_REQUEST = 0xFF00
    CSPTP_RESPONSE = 0xFF01


ORGANIZATION_KINDS = frozenset(
    {
        TlvType.ORGANIZATION_EXTENSION,
        TlvType.ORGANIZATION_EXTENSION_PROPAGATE,
        TlvType.ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE,
    }
)

_IDENTITY_SIZE = 8
_REQUEST = struct.Struct(">BbI")
_GRANT = struct.Struct(">BbIxB")
_CANCEL = struct.Struct(">Bx")
_ALTERNATE = struct.Struct(">BiiHIB")
_AUTHENTICATION = struct.Struct(">BBI")


def propagates(kind: int) -> bool:
    """Whether a boundary clock passes an unread TLV of an Announce on with its own (14.2.2.2, table 52)."""
    return kind in {TlvType.PATH_TRACE, TlvType.ALTERNATE_TIME_OFFSET_INDICATOR} or 0x4000 <= kind <= 0x7FFF


def expect(tlv: Tlv, *kinds: int, size: int | None = None) -> bytes:
    """The value of a TLV of these types, of exactly ``size`` octets when that is given. Raises WireError."""
    if tlv.kind not in kinds:
        raise WireError(f"TLV {tlv.kind:#06x} instead of {kinds[0]:#06x}")
    if size is not None and len(tlv.value) != size:
        raise WireError(f"TLV {tlv.kind:#06x} of length {len(tlv.value)} instead of {size}")
    return tlv.value


def pack(layout: struct.Struct, *fields: int | bytes) -> bytes:
    """``layout.pack`` whose error is a ValueError like all others of an encoder."""
    try:
        return layout.pack(*fields)
    except struct.error as error:
        raise ValueError(f"a field of a TLV does not fit: {error}") from None


def even(value: bytes) -> bytes:
    """With the octet of zero that makes the length of a TLV even (14.1.1)."""
    return value + bytes(len(value) % 2)


def check_identity(identity: ClockIdentity) -> ClockIdentity:
    """A ``clockIdentity`` of eight octets. Raises ValueError: struct would cut or fill it without a word."""
    if len(identity) != _IDENTITY_SIZE:
        raise ValueError(f"clockIdentity of {len(identity)} octets")
    return identity


@dataclass(frozen=True, slots=True)
class PathTrace:
    """PATH_TRACE (16.2): the clocks that an Announce has passed.

    Attributes:
        path: ``pathSequence``, grandmaster first.
    """

    path: tuple[ClockIdentity, ...]

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> PathTrace:
        """Raises WireError."""
        value = expect(tlv, TlvType.PATH_TRACE)
        if len(value) % _IDENTITY_SIZE:
            raise WireError(f"path trace of {len(value)} octets")
        return cls(tuple(ClockIdentity(value[at : at + _IDENTITY_SIZE]) for at in range(0, len(value), _IDENTITY_SIZE)))

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        return Tlv(TlvType.PATH_TRACE, b"".join(map(check_identity, self.path)))


@dataclass(frozen=True, slots=True)
class Organization:
    """An organization extension (14.3) that nobody here reads.

    Attributes:
        kind: Which of the three types; they differ in what boundary clocks do with it.
        organization: OUI or CID, three octets.
        subtype: 24 bits.
        data: ``dataField``, of even length.
    """

    kind: int
    organization: bytes
    subtype: int
    data: bytes

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> Organization:
        """Raises WireError."""
        value = expect(tlv, *ORGANIZATION_KINDS)
        if len(value) < 6:
            raise WireError(f"organization extension of {len(value)} octets")
        return cls(tlv.kind, value[:3], int.from_bytes(value[3:6], "big"), value[6:])

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        if self.kind not in ORGANIZATION_KINDS or len(self.organization) != 3 or not 0 <= self.subtype < 1 << 24:
            raise ValueError(f"organization extension {self}")
        return Tlv(self.kind, self.organization + self.subtype.to_bytes(3, "big") + self.data)


def _message_type(octet: int) -> MessageType:
    """The type in the upper half of an octet (16.1.4.1, table 110)."""
    try:
        return MessageType(octet >> 4)
    except ValueError:
        raise WireError(f"unicast transmission of message type {octet >> 4:#x}") from None


@dataclass(frozen=True, slots=True)
class UnicastRequest:
    """REQUEST_UNICAST_TRANSMISSION (16.1.4.1).

    Attributes:
        message_type: What is wanted.
        log_interval: Log2 of the interval in seconds.
        duration_s: For how long.
    """

    message_type: MessageType
    log_interval: int
    duration_s: int

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> UnicastRequest:
        """Raises WireError."""
        value = expect(tlv, TlvType.REQUEST_UNICAST_TRANSMISSION, size=_REQUEST.size)
        octet, log_interval, duration_s = _REQUEST.unpack(value)
        return cls(_message_type(octet), log_interval, duration_s)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(_REQUEST, self.message_type << 4, self.log_interval, self.duration_s)
        return Tlv(TlvType.REQUEST_UNICAST_TRANSMISSION, value)


@dataclass(frozen=True, slots=True)
class UnicastGrant:
    """GRANT_UNICAST_TRANSMISSION (16.1.4.2).

    Attributes:
        message_type: What will be sent.
        log_interval: Log2 of the interval in seconds; the client must check that it can live with it.
        duration_s: For how long; 0 is a refusal.
        renewal_invited: The server is likely to grant another request before this one expires.
    """

    message_type: MessageType
    log_interval: int
    duration_s: int
    renewal_invited: bool = True

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> UnicastGrant:
        """Raises WireError."""
        value = expect(tlv, TlvType.GRANT_UNICAST_TRANSMISSION, size=_GRANT.size)
        octet, log_interval, duration_s, flags = _GRANT.unpack(value)
        return cls(_message_type(octet), log_interval, duration_s, bool(flags & 1))

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        value = pack(_GRANT, self.message_type << 4, self.log_interval, self.duration_s, self.renewal_invited)
        return Tlv(TlvType.GRANT_UNICAST_TRANSMISSION, value)


@dataclass(frozen=True, slots=True)
class UnicastCancel:
    """CANCEL_UNICAST_TRANSMISSION (16.1.4.3), or its acknowledgement (16.1.4.4), which repeats it.

    Attributes:
        message_type: What shall not be sent any more.
        maintain_request: The ``R`` flag: the client who cancels still wants it.
        maintain_grant: The ``G`` flag: the server who cancels still would grant it.
        acknowledge: It is the acknowledgement.
    """

    message_type: MessageType
    maintain_request: bool = False
    maintain_grant: bool = False
    acknowledge: bool = False

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> UnicastCancel:
        """Raises WireError."""
        kinds = TlvType.CANCEL_UNICAST_TRANSMISSION, TlvType.ACKNOWLEDGE_CANCEL_UNICAST_TRANSMISSION
        (octet,) = _CANCEL.unpack(expect(tlv, *kinds, size=_CANCEL.size))
        return cls(_message_type(octet), bool(octet & 1), bool(octet & 2), acknowledge=tlv.kind == kinds[1])

    def to_tlv(self) -> Tlv:
        """Never fails."""
        value = pack(_CANCEL, self.message_type << 4 | self.maintain_grant << 1 | self.maintain_request)
        if self.acknowledge:
            return Tlv(TlvType.ACKNOWLEDGE_CANCEL_UNICAST_TRANSMISSION, value)
        return Tlv(TlvType.CANCEL_UNICAST_TRANSMISSION, value)


@dataclass(frozen=True, slots=True)
class AlternateTimeOffset:
    """ALTERNATE_TIME_OFFSET_INDICATOR (16.3): another time scale beside that of the domain.

    Attributes:
        key: ``keyField``, which tells several of them apart.
        current_offset_s: Alternate time minus the node's PTP time.
        jump_s: The next change of that offset; positive moves the alternate time forward.
        next_jump_s: When, in seconds of the PTP time; 0 when none is known.
        name: ``displayName``, such as ``CET``; the standard wants ten characters at most.
    """

    key: int
    current_offset_s: int
    jump_s: int
    next_jump_s: int
    name: str

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> AlternateTimeOffset:
        """Raises WireError."""
        value = expect(tlv, TlvType.ALTERNATE_TIME_OFFSET_INDICATOR)
        if len(value) < _ALTERNATE.size:
            raise WireError(f"alternate time offset of {len(value)} octets")
        key, offset_s, jump_s, high, low, size = _ALTERNATE.unpack_from(value)
        end = _ALTERNATE.size + size
        if len(value) != end + end % 2:
            raise WireError(f"alternate time offset of {len(value)} octets with a name of {size}")
        try:
            name = value[_ALTERNATE.size : end].decode()
        except UnicodeDecodeError as error:
            raise WireError(f"displayName is not UTF-8: {error.reason}") from None
        return cls(key, offset_s, jump_s, high << 32 | low, name)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        name, at = self.name.encode(), self.next_jump_s
        head = pack(_ALTERNATE, self.key, self.current_offset_s, self.jump_s, at >> 32, at & 0xFFFF_FFFF, len(name))
        return Tlv(TlvType.ALTERNATE_TIME_OFFSET_INDICATOR, even(head + name))


class SecurityIndicator(enum.IntFlag):
    """``secParamIndicator`` (16.14.3.4): which optional fields come before the ICV."""

    RES = 0x01
    SEQUENCE_NO = 0x02
    DISCLOSED_KEY = 0x04


_IMMEDIATE = SecurityIndicator(0)


@dataclass(frozen=True, slots=True)
class Authentication:
    """AUTHENTICATION (16.14.3). ``wire.ptp.icv_input`` gives what its ICV is computed over.

    The lengths of its parts are not in it: they follow from the security association that ``spp`` and ``key_id``
    name. Without optional fields, which is immediate verification, all of ``rest`` is the ICV.

    Attributes:
        spp: ``SPP``, the security parameters pointer.
        key_id: ``keyID``.
        rest: ``disclosedKey``, ``sequenceNo`` and ``RES`` where the indicator has them, then the ICV.
        indicator: ``secParamIndicator``.
    """

    spp: int
    key_id: int
    rest: bytes
    indicator: SecurityIndicator = _IMMEDIATE

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> Authentication:
        """Raises WireError."""
        value = expect(tlv, TlvType.AUTHENTICATION)
        if len(value) <= _AUTHENTICATION.size:
            raise WireError(f"authentication of {len(value)} octets")
        spp, indicator, key_id = _AUTHENTICATION.unpack_from(value)
        if indicator & ~0x07:
            # An unknown field would stand before the ICV, whose place could not be known then.
            raise WireError(f"secParamIndicator {indicator:#x}")
        return cls(spp, key_id, value[_AUTHENTICATION.size :], SecurityIndicator(indicator))

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        if not self.rest:
            raise ValueError("an authentication TLV without its ICV")
        head = pack(_AUTHENTICATION, self.spp, self.indicator, self.key_id)
        return Tlv(TlvType.AUTHENTICATION, head + self.rest)


@dataclass(frozen=True, slots=True)
class Pad:
    """PAD (14.4.2): fills a message up.

    Attributes:
        size: Octets of its value, an even number; with the TLV's head there are four more.
    """

    size: int

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> Pad:
        """Its content means nothing. Raises WireError."""
        return cls(len(expect(tlv, TlvType.PAD)))

    def to_tlv(self) -> Tlv:
        """Of zeros. Raises ValueError for an odd size, by ``encode`` at the latest."""
        return Tlv(TlvType.PAD, bytes(self.size))
