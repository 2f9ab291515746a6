"""What linuxptp's own management ids carry (``*_NP``, 0xC000 and up), for pmc, phc2sys and exporters.

As in ``wire.ptp_management_data``. Layouts are those of ptp4l 4.4, seen on its socket.
"""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass, field
from typing import ClassVar, Self

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import ZERO, Duration
from timesync.wire.ptp_layout import (
    BOOL,
    I16,
    I32,
    I64,
    IDENTITY,
    INTERVAL,
    PORT,
    QUALITY,
    SCALED_NS,
    U8,
    U16,
    U32,
    Cursor,
    Fixed,
    Layout,
    Part,
    number,
    reserved,
    text_octets,
)
from timesync.wire.ptp_management_data import PortAddress
from timesync.wire.ptp_message import ClockQuality, Flags
from timesync.wire.ptp_tlv import even

MESSAGE_TYPES = 16
_TIME_FLAGS = number("B", lambda octet: Flags(octet & 0x7F))
_BOOL32 = number("i", bool)


def _take_bitmap(value: bytes) -> tuple[bytes]:
    # struct pads and cuts strings without a word.
    if len(value) != 64:
        raise ValueError(f"bitmap of {len(value)} octets")
    return (value,)


_BITMAP = Part("64s", 1, bytes, _take_bitmap)


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeStatus(Fixed):
    """TIME_STATUS_NP, 50 octets.

    Attributes:
        offset_ns: ``master_offset``: positive when this clock is ahead.
        ingress_ns: ``ingress_time``: when the last Sync came, in ns of the port's clock.
        cumulative_scaled_rate_offset: Of the last Follow_Up information TLV; units of 2^-41.
        scaled_last_frequency_change: ``scaledLastGmPhaseChange``, as linuxptp calls it; units of 2^-41.
        time_base_indicator: ``gmTimeBaseIndicator``.
        last_phase_change: ``lastGmPhaseChange``.
        grandmaster_present: ``gmPresent``: another clock is followed.
        grandmaster: ``gmIdentity``.
    """

    offset_ns: int
    ingress_ns: int
    cumulative_scaled_rate_offset: int = 0
    scaled_last_frequency_change: int = 0
    time_base_indicator: int = 0
    last_phase_change: Duration = field(default=ZERO)
    grandmaster_present: bool
    grandmaster: ClockIdentity
    LAYOUT: ClassVar[Layout] = Layout(I64, I64, I32, I32, U16, SCALED_NS, _BOOL32, IDENTITY)


@dataclass(frozen=True, slots=True)
class GrandmasterSettings(Fixed):
    """GRANDMASTER_SETTINGS_NP, 8 octets: what this clock claims of itself as grandmaster."""

    quality: ClockQuality
    utc_offset: int
    flags: Flags
    time_source: int
    LAYOUT: ClassVar[Layout] = Layout(QUALITY, I16, _TIME_FLAGS, U8)


@dataclass(frozen=True, slots=True)
class PortDataSetNp(Fixed):
    """PORT_DATA_SET_NP, 8 octets: ``neighborPropDelayThresh`` in ns, and ``asCapable``."""

    neighbor_threshold_ns: int
    as_capable: bool
    LAYOUT: ClassVar[Layout] = Layout(U32, _BOOL32)


class Event(enum.IntEnum):
    """The events that SUBSCRIBE_EVENTS_NP knows, by the number of their bit."""

    PORT_STATE = 0
    TIME_SYNC = 1
    PARENT_DATA_SET = 2
    CMLDS = 3


@dataclass(frozen=True, slots=True)
class SubscribeEvents(Fixed):
    """SUBSCRIBE_EVENTS_NP, 66 octets.

    Attributes:
        duration_s: For how long; 0xFFFF is for ever, 0 ends it.
        bitmap: 64 octets; bit n is bit n % 8 of octet n // 8.
    """

    duration_s: int
    bitmap: bytes = bytes(64)
    LAYOUT: ClassVar[Layout] = Layout(U16, _BITMAP)

    @classmethod
    def of(cls, duration_s: int, *events: Event) -> Self:
        """A subscription to these events."""
        return cls(duration_s, sum(1 << event for event in set(events)).to_bytes(64, "little"))

    def wants(self, event: Event) -> bool:
        """Whether the bit of an event is set."""
        return bool(self.bitmap[event // 8] >> event % 8 & 1)


class PortTimestamping(enum.IntEnum):
    """``timestamping`` of PORT_PROPERTIES_NP."""

    SOFTWARE = 0
    HARDWARE = 1
    LEGACY_HARDWARE = 2
    ONE_STEP = 3
    PEER_TO_PEER_ONE_STEP = 4


@dataclass(frozen=True, slots=True)
class PortProperties:
    """PORT_PROPERTIES_NP.

    Attributes:
        port: ``portIdentity``.
        state: ``portState``, table 20 of IEEE 1588-2019.
        timestamping: Who stamps; see PortTimestamping.
        interface: Its name.
    """

    port: PortIdentity
    state: int
    timestamping: int
    interface: str
    _HEAD: ClassVar[Layout] = Layout(PORT, U8, U8)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        cursor = Cursor(data)
        port, state, timestamping = cursor.values(cls._HEAD)
        interface = cursor.text()
        cursor.finish()
        return cls(port, state, timestamping, interface)

    def encode(self) -> bytes:
        """Raises ValueError."""
        head = self._HEAD.write((self.port, self.state, self.timestamping))
        return even(head + text_octets(self.interface))


@dataclass(frozen=True, slots=True)
class PortStats:
    """PORT_STATS_NP, 266 octets: messages received and sent, by ``messageType``.

    The counters are little-endian, unlike all else.
    """

    port: PortIdentity
    received: tuple[int, ...]
    sent: tuple[int, ...]
    _HEAD: ClassVar[Layout] = Layout(PORT)
    _COUNTERS: ClassVar[struct.Struct] = struct.Struct(f"<{2 * MESSAGE_TYPES}Q")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        cursor = Cursor(data)
        (port,) = cursor.values(cls._HEAD)
        counters = cls._COUNTERS.unpack(cursor.take(cls._COUNTERS.size))
        cursor.finish()
        return cls(port, counters[:MESSAGE_TYPES], counters[MESSAGE_TYPES:])

    def encode(self) -> bytes:
        """Raises ValueError."""
        if len(self.received) != MESSAGE_TYPES or len(self.sent) != MESSAGE_TYPES:
            raise ValueError("there are 16 counters each way")
        return self._HEAD.write((self.port,)) + _counters(self._COUNTERS, *self.received, *self.sent)


@dataclass(frozen=True, slots=True, kw_only=True)
class PortServiceStats:
    """PORT_SERVICE_STATS_NP, 90 octets: what went wrong on a port. Little-endian like PORT_STATS_NP."""

    port: PortIdentity
    announce_timeout: int = 0
    sync_timeout: int = 0
    delay_timeout: int = 0
    unicast_service_timeout: int = 0
    unicast_request_timeout: int = 0
    master_announce_timeout: int = 0
    master_sync_timeout: int = 0
    qualification_timeout: int = 0
    sync_mismatch: int = 0
    followup_mismatch: int = 0
    _HEAD: ClassVar[Layout] = Layout(PORT)
    _COUNTERS: ClassVar[struct.Struct] = struct.Struct("<10Q")

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        cursor = Cursor(data)
        (port,) = cursor.values(cls._HEAD)
        counters = cls._COUNTERS.unpack(cursor.take(cls._COUNTERS.size))
        cursor.finish()
        return cls(port=port, **dict(zip(_SERVICES, counters, strict=True)))

    def encode(self) -> bytes:
        """Raises ValueError."""
        counters: tuple[int, ...] = tuple(getattr(self, name) for name in _SERVICES)
        return self._HEAD.write((self.port,)) + _counters(self._COUNTERS, *counters)


_SERVICES = (
    "announce_timeout",
    "sync_timeout",
    "delay_timeout",
    "unicast_service_timeout",
    "unicast_request_timeout",
    "master_announce_timeout",
    "master_sync_timeout",
    "qualification_timeout",
    "sync_mismatch",
    "followup_mismatch",
)


def _counters(layout: struct.Struct, *counters: int) -> bytes:
    try:
        return layout.pack(*counters)
    except struct.error as error:
        raise ValueError(f"a counter does not fit: {error}") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnicastTimeTransmitter:
    """One entry of UNICAST_MASTER_TABLE_NP.

    Attributes:
        port: ``portIdentity``.
        quality: From its Announce messages.
        selected: It is the one that is followed.
        state: Of linuxptp's negotiation: 0 wait, 1 has Announce, 2 wants Sync and delay, 3 has them.
        priority1: From its Announce messages.
        priority2: From its Announce messages.
        address: Where it is asked.
    """

    port: PortIdentity
    quality: ClockQuality
    selected: bool
    state: int
    priority1: int
    priority2: int
    address: PortAddress


@dataclass(frozen=True, slots=True)
class UnicastTable:
    """UNICAST_MASTER_TABLE_NP: whom a unicast client asks."""

    entries: tuple[UnicastTimeTransmitter, ...] = ()
    _ENTRY: ClassVar[Layout] = Layout(PORT, QUALITY, BOOL, U8, U8, U8)

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError."""
        cursor = Cursor(data)
        entries = []
        for _ in range(cursor.number(2)):
            port, quality, selected, state, priority1, priority2 = cursor.values(cls._ENTRY)
            entry = UnicastTimeTransmitter(
                port=port,
                quality=quality,
                selected=selected,
                state=state,
                priority1=priority1,
                priority2=priority2,
                address=PortAddress.take(cursor),
            )
            entries.append(entry)
        cursor.finish()
        return cls(tuple(entries))

    def encode(self) -> bytes:
        """Raises ValueError."""
        if len(self.entries) > 0xFFFF:
            raise ValueError(f"{len(self.entries)} entries")
        data = len(self.entries).to_bytes(2, "big")
        for one in self.entries:
            fields = (one.port, one.quality, one.selected, one.state, one.priority1, one.priority2)
            data += self._ENTRY.write(fields) + one.address.octets()
        return even(data)


@dataclass(frozen=True, slots=True)
class PortHardwareClock(Fixed):
    """PORT_HWCLOCK_NP, 16 octets.

    Attributes:
        port: ``portIdentity``.
        phc_index: Number of the PHC; -1 for none.
        virtual: It is a virtual clock.
    """

    port: PortIdentity
    phc_index: int
    virtual: bool = False
    LAYOUT: ClassVar[Layout] = Layout(PORT, I32, number("B", lambda octet: bool(octet & 1)), reserved(1))


@dataclass(frozen=True, slots=True)
class PowerProfileSettings(Fixed):
    """POWER_PROFILE_SETTINGS_NP, 16 octets.

    Attributes:
        version: 0 none, 1 the edition of 2011, 2 that of 2017.
        grandmaster_id: ``grandmasterID``.
        grandmaster_inaccuracy_ns: All ones are unknown, here and below.
        network_inaccuracy_ns: 2011.
        total_inaccuracy_ns: 2017.
    """

    version: int
    grandmaster_id: int
    grandmaster_inaccuracy_ns: int
    network_inaccuracy_ns: int
    total_inaccuracy_ns: int
    LAYOUT: ClassVar[Layout] = Layout(U16, U16, U32, U32, U32)


@dataclass(frozen=True, slots=True)
class CmldsInfo(Fixed):
    """CMLDS_INFO_NP, 16 octets: ``meanLinkDelay``, ``scaledNeighborRateRatio`` (2^-41), ``as_capable``."""

    mean_link_delay: Duration
    scaled_neighbor_rate_ratio: int
    as_capable: bool
    LAYOUT: ClassVar[Layout] = Layout(INTERVAL, I32, _BOOL32)


@dataclass(frozen=True, slots=True)
class PortCorrections(Fixed):
    """PORT_CORRECTIONS_NP, 24 octets.

    Little-endian: ptp4l 4.4 means to swap these, but throws the result away, so its pmc reads them unswapped.
    """

    egress_latency: Duration
    ingress_latency: Duration
    asymmetry: Duration
    LAYOUT: ClassVar[Layout] = Layout(INTERVAL, INTERVAL, INTERVAL, order="<")


@dataclass(frozen=True, slots=True)
class ExternalGrandmaster(Fixed):
    """EXTERNAL_GRANDMASTER_PROPERTIES_NP, 10 octets: ``gmIdentity`` and ``stepsRemoved``."""

    grandmaster: ClockIdentity
    steps_removed: int
    LAYOUT: ClassVar[Layout] = Layout(IDENTITY, U16)
