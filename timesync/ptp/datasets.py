"""The data sets of a PTP instance (IEEE 1588-2019, 8.2) and what the state decision makes of them (9.3.5).

They are values. A decision replaces the whole of ``DataSets``, so that no half of them can be of another
grandmaster than the rest.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.ptp.extras import Extras, Heard, heard
from timesync.ptp.settings import InstanceSettings, LocalQuality
from timesync.wire.error import WireError
from timesync.wire.ptp import MAX_TLVS
from timesync.wire.ptp_message import Announce, ClockQuality, Flags, Header, Tlv
from timesync.wire.ptp_tlv import PathTrace, TlvType, propagates

TIME_RECEIVER_ONLY_CLASS = 255
"""``clockClass`` of a clock that is never grandmaster (table 4)."""

LONGEST_PATH = 179
"""Clock identities that fit into the path trace TLV of one Ethernet frame (IEEE 802.1AS-2020, 10.6.3)."""

_NO_EXTRAS = Extras()
_TLV_HEADER_SIZE = 4
_TLV_ROOM = _TLV_HEADER_SIZE + 8 * LONGEST_PATH
"""Octets that all TLVs of an Announce may have together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultDS:
    """``defaultDS`` (8.2.1): what this clock is.

    Attributes:
        clock_identity: ``clockIdentity``.
        number_ports: ``numberPorts``.
        quality: ``clockQuality``.
        priority1: ``priority1``.
        priority2: ``priority2``.
        domain: ``domainNumber``.
        sdo_id: ``sdoId``.
        time_receiver_only: ``slaveOnly``, timeReceiverOnly today.
        local_priority: ``localPriority`` (ITU-T G.8275.1, 6.3).
        max_steps_removed: ``maxStepsRemoved``.
        two_step: ``twoStepFlag`` of the 2008 edition, which management still reports.
    """

    clock_identity: ClockIdentity
    number_ports: int
    quality: ClockQuality
    priority1: int
    priority2: int
    domain: int
    sdo_id: int
    time_receiver_only: bool
    local_priority: int
    max_steps_removed: int
    two_step: bool = True

    @classmethod
    def of(cls, settings: InstanceSettings, local: LocalQuality) -> DefaultDS:
        """From what is configured, and what the clock may claim of its time now.

        A timeReceiver-only clock has class 255, whatever it may claim (9.2.2.1).
        """
        quality = local.quality
        if settings.slave_only:
            quality = ClockQuality(TIME_RECEIVER_ONLY_CLASS, quality.accuracy, quality.variance)
        return cls(
            clock_identity=settings.identity,
            number_ports=len(settings.ports),
            quality=quality,
            priority1=settings.priority1,
            priority2=settings.priority2,
            domain=settings.domain,
            sdo_id=settings.sdo_id,
            time_receiver_only=settings.slave_only,
            local_priority=settings.local_priority,
            max_steps_removed=settings.maximum_steps_removed,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentDS:
    """``currentDS`` (8.2.2), without ``offsetFromTimeTransmitter`` and ``meanDelay``, which the port measures.

    Attributes:
        steps_removed: ``stepsRemoved``: communication paths between this clock and the grandmaster.
    """

    steps_removed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ParentDS:
    """``parentDS`` (8.2.3): who is followed, and where his time comes from.

    Attributes:
        parent: ``parentPortIdentity``; port number 0 of this clock when it is the grandmaster itself.
        grandmaster: ``grandmasterIdentity``.
        quality: ``grandmasterClockQuality``.
        priority1: ``grandmasterPriority1``.
        priority2: ``grandmasterPriority2``.
    """

    parent: PortIdentity
    grandmaster: ClockIdentity
    quality: ClockQuality
    priority1: int
    priority2: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimePropertiesDS:
    """``timePropertiesDS`` (8.2.4).

    Attributes:
        utc_offset: ``currentUtcOffset``: TAI - UTC in seconds.
        utc_offset_valid: It is known to be right.
        leap61: The last minute of this UTC day has 61 seconds.
        leap59: It has 59.
        ptp_timescale: The timescale is PTP's, TAI; false: ARB, an arbitrary one.
        time_traceable: To a primary reference.
        frequency_traceable: To a primary reference.
        time_source: ``timeSource``, table 6.
        uncertain: ``synchronizationUncertain``: the time may be worse than it claims to be (table 37).
    """

    utc_offset: int
    utc_offset_valid: bool
    leap61: bool
    leap59: bool
    ptp_timescale: bool
    time_traceable: bool
    frequency_traceable: bool
    time_source: int
    uncertain: bool = False

    @classmethod
    def of(cls, local: LocalQuality) -> TimePropertiesDS:
        """Those of a grandmaster: what the clock may claim of its own time."""
        return cls(
            utc_offset=local.utc_offset,
            utc_offset_valid=local.utc_offset_valid,
            leap61=local.leap61,
            leap59=local.leap59,
            ptp_timescale=local.ptp_timescale,
            time_traceable=local.time_traceable,
            frequency_traceable=local.frequency_traceable,
            time_source=local.time_source,
        )

    @classmethod
    def announced(cls, announce: Announce) -> TimePropertiesDS:
        """Those that an Announce carries (table 33)."""
        flags = announce.header.flags
        return cls(
            utc_offset=announce.utc_offset,
            utc_offset_valid=Flags.UTC_OFFSET_VALID in flags,
            leap61=Flags.LEAP_61 in flags,
            leap59=Flags.LEAP_59 in flags,
            ptp_timescale=Flags.PTP_TIMESCALE in flags,
            time_traceable=Flags.TIME_TRACEABLE in flags,
            frequency_traceable=Flags.FREQUENCY_TRACEABLE in flags,
            time_source=announce.time_source,
            uncertain=Flags.SYNCHRONIZATION_UNCERTAIN in flags,
        )

    def flags(self) -> Flags:
        """The flags of an Announce that says the same (table 37)."""
        said = {
            Flags.LEAP_61: self.leap61,
            Flags.LEAP_59: self.leap59,
            Flags.UTC_OFFSET_VALID: self.utc_offset_valid,
            Flags.PTP_TIMESCALE: self.ptp_timescale,
            Flags.TIME_TRACEABLE: self.time_traceable,
            Flags.FREQUENCY_TRACEABLE: self.frequency_traceable,
            Flags.SYNCHRONIZATION_UNCERTAIN: self.uncertain,
        }
        return Flags(sum(flag for flag, is_set in said.items() if is_set))


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSets:
    """What the state decision last wrote.

    Attributes:
        current: ``currentDS``.
        parent: ``parentDS``.
        time_properties: ``timePropertiesDS``.
        path: ``pathTraceDS.list`` (16.2): the clocks from the grandmaster to the parent; empty where none is kept.
        propagated: TLVs of the parent's Announce that a boundary clock passes on unread (14.2.2.2).
        heard: What the parent's Announce says in the TLVs of profiles.
    """

    current: CurrentDS
    parent: ParentDS
    time_properties: TimePropertiesDS
    path: tuple[ClockIdentity, ...] = ()
    propagated: tuple[Tlv, ...] = ()
    heard: Heard = field(default_factory=Heard)


def as_grandmaster(default: DefaultDS, local: LocalQuality) -> DataSets:
    """The data sets of a clock that follows nobody: decisions M1 and M2 (table 30)."""
    return DataSets(
        current=CurrentDS(steps_removed=0),
        parent=ParentDS(
            parent=PortIdentity(default.clock_identity, 0),
            grandmaster=default.clock_identity,
            quality=default.quality,
            priority1=default.priority1,
            priority2=default.priority2,
        ),
        time_properties=TimePropertiesDS.of(local),
    )


def as_time_receiver(announce: Announce) -> DataSets:
    """The data sets of a clock that follows the sender of this Announce: decision S1 (table 33)."""
    return DataSets(
        current=CurrentDS(steps_removed=announce.steps_removed + 1),
        parent=ParentDS(
            parent=announce.header.source,
            grandmaster=announce.grandmaster,
            quality=announce.quality,
            priority1=announce.priority1,
            priority2=announce.priority2,
        ),
        time_properties=TimePropertiesDS.announced(announce),
        path=path_of(announce),
        propagated=tuple(tlv for tlv in announce.tlvs if tlv.kind != TlvType.PATH_TRACE and propagates(tlv.kind)),
        heard=heard(announce.tlvs),
    )


def as_unannounced(default: DefaultDS, local: LocalQuality) -> DataSets:
    """The data sets of a clock that follows whoever sends, where roles are fixed and no Announce comes.

    Nothing is known of the grandmaster but that its time is TAI (IEEE 802.1AS-2020, 8.2.1). What this clock may claim
    of its own time must not stand for it: that rests on the grandmaster's.
    """
    own = as_grandmaster(default, local)
    return replace(
        own,
        current=CurrentDS(steps_removed=1),
        parent=replace(own.parent, quality=ClockQuality()),
        time_properties=replace(
            own.time_properties, ptp_timescale=True, time_traceable=False, frequency_traceable=False
        ),
    )


def announced(sets: DataSets, header: Header, *, path_trace: bool, extras: Extras = _NO_EXTRAS) -> Announce:
    """The Announce that a port in TIME_TRANSMITTER sends (9.5.3, 13.5).

    A path too long for a frame is not sent at all, as half a path proves nothing (IEEE 802.1AS-2020, 10.6.3). TLVs
    of the parent that do not fit beside it are left out.

    Args:
        sets: The data sets of the instance.
        header: Source, sequence and interval; the flags of the time properties are added to its own.
        path_trace: Append the path trace TLV with this clock at its end (16.2).
        extras: What is said in the TLVs of profiles.
    """
    path = (*sets.path, header.source.clock)
    tlvs = [PathTrace(path).to_tlv()] if path_trace and len(path) <= LONGEST_PATH else []
    own = sets.parent.parent.clock == header.source.clock
    for tlv in (*(extras.of_grandmaster() if own else extras.passed_on(sets.heard.power)), *sets.propagated):
        fits = sum(_TLV_HEADER_SIZE + len(other.value) for other in [*tlvs, tlv]) <= _TLV_ROOM
        # One place is for the signature.
        if fits and len(tlvs) < MAX_TLVS - 1:
            tlvs.append(tlv)
    return Announce(
        header=replace(header, flags=header.flags | sets.time_properties.flags()),
        utc_offset=sets.time_properties.utc_offset,
        priority1=sets.parent.priority1,
        quality=sets.parent.quality,
        priority2=sets.parent.priority2,
        grandmaster=sets.parent.grandmaster,
        steps_removed=sets.current.steps_removed,
        time_source=sets.time_properties.time_source,
        tlvs=tuple(tlvs),
    )


def path_of(announce: Announce) -> tuple[ClockIdentity, ...]:
    """The clocks that an Announce came through, grandmaster first (16.2); empty when it does not tell."""
    for tlv in announce.tlvs:
        if tlv.kind == TlvType.PATH_TRACE:
            try:
                return PathTrace.from_tlv(tlv).path
            except WireError:
                # What breaks the layout tells nothing; the number of steps still ends a loop.
                return ()
    return ()
