"""What management TLVs carry (IEEE 1588-2019, 15.5.3): each has ``encode()`` and the class method ``decode(data)``.

``data`` is the ``dataField``, with the octet of zero that makes its length even. ``decode`` raises WireError and
``encode`` ValueError. Times are as everywhere: offsets in ``Duration``.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import ClassVar, Self

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import Duration, Instant, Tai
from timesync.wire.error import WireError
from timesync.wire.ptp_layout import (
    BOOL,
    I8,
    I16,
    I32,
    IDENTITY,
    INTERVAL,
    PORT,
    QUALITY,
    TIMESTAMP,
    U8,
    U16,
    U48,
    Cursor,
    Fixed,
    Layout,
    number,
    reserved,
    text_octets,
)
from timesync.wire.ptp_message import ClockQuality, Flags
from timesync.wire.ptp_tlv import check_identity, even

_TIME_FLAGS = number("B", lambda octet: Flags(octet & 0x7F))
"""The second octet of the ``flagField``."""


@dataclass(frozen=True, slots=True)
class Octet(Fixed):
    """One unsigned number: PRIORITY1, DOMAIN, CLOCK_ACCURACY, ... (15.5.3.3 and others)."""

    value: int
    LAYOUT: ClassVar[Layout] = Layout(U8, reserved(1))


@dataclass(frozen=True, slots=True)
class SignedOctet(Fixed):
    """One signed number: log2 of an interval in seconds."""

    value: int
    LAYOUT: ClassVar[Layout] = Layout(I8, reserved(1))


@dataclass(frozen=True, slots=True)
class Empty:
    """Nothing, as NULL_MANAGEMENT, ENABLE_PORT and DISABLE_PORT want it."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        if data:
            raise WireError(f"{len(data)} octets of management data instead of none")
        return cls()

    def encode(self) -> bytes:
        """Never fails."""
        return b""


@dataclass(frozen=True, slots=True)
class Text:
    """USER_DESCRIPTION (15.5.3.1.3)."""

    text: str

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        cursor = Cursor(data)
        text = cursor.text()
        cursor.finish()
        return cls(text)

    def encode(self) -> bytes:
        """Raises ValueError."""
        return even(text_octets(self.text))


class ClockType(enum.IntFlag):
    """``clockType`` (15.5.3.1.2.1)."""

    ORDINARY = 0x8000
    BOUNDARY = 0x4000
    PEER_TO_PEER_TRANSPARENT = 0x2000
    END_TO_END_TRANSPARENT = 0x1000
    MANAGEMENT = 0x0800


class NetworkProtocol(enum.IntEnum):
    """``networkProtocol`` of a ``PortAddress`` (table 3)."""

    UDP_IPV4 = 1
    UDP_IPV6 = 2
    IEEE_802_3 = 3


@dataclass(frozen=True, slots=True)
class PortAddress:
    """A protocol address (5.3.6).

    Attributes:
        protocol: ``networkProtocol``; any number, see NetworkProtocol.
        address: ``addressField``.
    """

    protocol: int
    address: bytes

    @classmethod
    def take(cls, cursor: Cursor) -> Self:
        """Raises WireError."""
        protocol = cursor.number(2)
        return cls(protocol, cursor.take(cursor.number(2)))

    def octets(self) -> bytes:
        """Raises ValueError."""
        return _unsigned(self.protocol, 2) + _unsigned(len(self.address), 2) + self.address


def _unsigned(value: int, size: int) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise ValueError(f"{value} does not fit into {size} octets") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockDescription:
    """CLOCK_DESCRIPTION (15.5.3.1.2).

    Attributes:
        clock_type: ``clockType``.
        physical_layer: ``physicalLayerProtocol``, such as ``IEEE 802.3``.
        physical_address: A MAC address.
        protocol_address: Of the port.
        manufacturer: ``manufacturerIdentity``: an OUI.
        product: ``productDescription``: manufacturer, model and instance, parted by semicolons.
        revision: ``revisionData``: hardware, firmware and software, parted by semicolons.
        user: ``userDescription``.
        profile: ``profileIdentity``, six octets.
    """

    clock_type: ClockType
    physical_layer: str
    physical_address: bytes
    protocol_address: PortAddress
    manufacturer: bytes = bytes(3)
    product: str = ";;"
    revision: str = ";;"
    user: str = ""
    profile: bytes

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        cursor = Cursor(data)
        clock_type = ClockType(cursor.number(2) & 0xF800)
        physical_layer = cursor.text()
        physical_address = cursor.take(cursor.number(2))
        protocol_address = PortAddress.take(cursor)
        manufacturer = cursor.take(4)[:3]
        product, revision, user = cursor.text(), cursor.text(), cursor.text()
        profile = cursor.take(6)
        cursor.finish()
        return cls(
            clock_type=clock_type,
            physical_layer=physical_layer,
            physical_address=physical_address,
            protocol_address=protocol_address,
            manufacturer=manufacturer,
            product=product,
            revision=revision,
            user=user,
            profile=profile,
        )

    def encode(self) -> bytes:
        """Raises ValueError."""
        if len(self.manufacturer) != 3 or len(self.profile) != 6:
            raise ValueError("manufacturerIdentity has three octets and profileIdentity six")
        return even(
            _unsigned(self.clock_type, 2)
            + text_octets(self.physical_layer)
            + _unsigned(len(self.physical_address), 2)
            + self.physical_address
            + self.protocol_address.octets()
            + self.manufacturer
            + b"\0"
            + text_octets(self.product)
            + text_octets(self.revision)
            + text_octets(self.user)
            + self.profile
        )


class DefaultFlags(enum.IntFlag):
    """The flags of DEFAULT_DATA_SET: ``twoStepFlag`` and ``slaveOnly``."""

    TWO_STEP = 0x01
    TIME_RECEIVER_ONLY = 0x02


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultDataSet(Fixed):
    """DEFAULT_DATA_SET (15.5.3.3.1), 20 octets."""

    flags: DefaultFlags
    number_ports: int
    priority1: int
    quality: ClockQuality
    priority2: int
    clock: ClockIdentity
    domain: int
    LAYOUT: ClassVar[Layout] = Layout(
        number("B", lambda octet: DefaultFlags(octet & 0x03)),
        reserved(1),
        U16,
        U8,
        QUALITY,
        U8,
        IDENTITY,
        U8,
        reserved(1),
    )


@dataclass(frozen=True, slots=True)
class CurrentDataSet(Fixed):
    """CURRENT_DATA_SET (15.5.3.4.1), 18 octets.

    Attributes:
        steps_removed: ``stepsRemoved``.
        offset: ``offsetFromTimeTransmitter``: positive when this clock is ahead.
        mean_delay: ``meanDelay``.
    """

    steps_removed: int
    offset: Duration
    mean_delay: Duration
    LAYOUT: ClassVar[Layout] = Layout(U16, INTERVAL, INTERVAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentDataSet(Fixed):
    """PARENT_DATA_SET (15.5.3.5.1), 32 octets; the observed values have defaults that say that none are computed."""

    parent: PortIdentity
    statistics: bool = False
    observed_variance: int = 0xFFFF
    observed_phase_change_rate: int = 0x7FFF_FFFF
    priority1: int
    quality: ClockQuality
    priority2: int
    grandmaster: ClockIdentity
    LAYOUT: ClassVar[Layout] = Layout(PORT, BOOL, reserved(1), U16, I32, U8, QUALITY, U8, IDENTITY)


@dataclass(frozen=True, slots=True)
class TimePropertiesDataSet(Fixed):
    """TIME_PROPERTIES_DATA_SET (15.5.3.6.1), 4 octets.

    Attributes:
        utc_offset: TAI - UTC in seconds.
        flags: Those of an Announce message about time.
        time_source: Table 6.
    """

    utc_offset: int
    flags: Flags
    time_source: int
    LAYOUT: ClassVar[Layout] = Layout(I16, _TIME_FLAGS, U8)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortDataSet(Fixed):
    """PORT_DATA_SET (15.5.3.7.1), 26 octets. The intervals are log2 of seconds.

    Attributes:
        port: ``portIdentity``.
        state: ``portState``, table 20.
        log_min_delay_req: ``logMinDelayReqInterval``.
        mean_link_delay: ``meanLinkDelay``.
        log_announce: ``logAnnounceInterval``.
        announce_receipt_timeout: ``announceReceiptTimeout``.
        log_sync: ``logSyncInterval``.
        delay_mechanism: Table 21.
        log_min_pdelay_req: ``logMinPdelayReqInterval``.
        version: ``versionNumber``, with ``minorVersionNumber`` in its upper half.
    """

    port: PortIdentity
    state: int
    log_min_delay_req: int
    mean_link_delay: Duration
    log_announce: int
    announce_receipt_timeout: int
    log_sync: int
    delay_mechanism: int
    log_min_pdelay_req: int
    version: int = 2
    LAYOUT: ClassVar[Layout] = Layout(PORT, U8, I8, INTERVAL, I8, U8, I8, U8, I8, U8)


@dataclass(frozen=True, slots=True)
class CurrentTime(Fixed):
    """TIME (15.5.3.2.1): ``currentTime``, in whole nanoseconds."""

    at: Instant[Tai]
    LAYOUT: ClassVar[Layout] = Layout(TIMESTAMP)


@dataclass(frozen=True, slots=True)
class UtcProperties(Fixed):
    """UTC_PROPERTIES (15.5.3.6.2): TAI - UTC in seconds; leap61, leap59 and the validity of that offset."""

    utc_offset: int
    flags: Flags
    LAYOUT: ClassVar[Layout] = Layout(I16, _TIME_FLAGS, reserved(1))


@dataclass(frozen=True, slots=True)
class TimescaleProperties(Fixed):
    """TIMESCALE_PROPERTIES (15.5.3.6.4): ``ptpTimescale`` as a flag, and ``timeSource``."""

    flags: Flags
    time_source: int
    LAYOUT: ClassVar[Layout] = Layout(_TIME_FLAGS, U8)


@dataclass(frozen=True, slots=True)
class PathTraceList:
    """PATH_TRACE_LIST (15.5.3.5.2)."""

    path: tuple[ClockIdentity, ...]

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        if len(data) % 8:
            raise WireError(f"path trace of {len(data)} octets")
        return cls(tuple(ClockIdentity(data[at : at + 8]) for at in range(0, len(data), 8)))

    def encode(self) -> bytes:
        """Raises ValueError."""
        return b"".join(map(check_identity, self.path))


@dataclass(frozen=True, slots=True)
class AlternateTimeOffsetEnable(Fixed):
    """ALTERNATE_TIME_OFFSET_ENABLE: the key of an alternate time scale, and whether it is announced."""

    key: int
    enable: bool
    LAYOUT: ClassVar[Layout] = Layout(U8, BOOL)


@dataclass(frozen=True, slots=True)
class AlternateTimeOffsetName:
    """ALTERNATE_TIME_OFFSET_NAME: the key and the ``displayName``."""

    key: int
    name: str

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        cursor = Cursor(data)
        key, name = cursor.number(1), cursor.text()
        cursor.finish()
        return cls(key, name)

    def encode(self) -> bytes:
        """Raises ValueError."""
        return even(_unsigned(self.key, 1) + text_octets(self.name))


@dataclass(frozen=True, slots=True)
class AlternateTimeOffsetProperties(Fixed):
    """ALTERNATE_TIME_OFFSET_PROPERTIES: fields as in ``wire.ptp_tlv.AlternateTimeOffset``."""

    key: int
    current_offset_s: int
    jump_s: int
    next_jump_s: int
    LAYOUT: ClassVar[Layout] = Layout(U8, I32, I32, U48, reserved(1))
