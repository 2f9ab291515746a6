"""What a clock answers to a management GET (IEEE 1588-2019, 15.5.3).

The tables at the end say which ``managementId`` is about the whole clock and which about each port. Those that are
neither are answered as ``ptp.management`` says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from timesync.base.time import ZERO, Duration, Instant, Tai
from timesync.ptp.management.unicast import unicast_table
from timesync.ptp.settings import DelayMechanism, LocalQuality, PortSettings, Role
from timesync.ptp.view import InstanceView, PortView
from timesync.wire import ptp_management_data as data_sets
from timesync.wire import ptp_management_np as np
from timesync.wire.gptp_tlv import FollowUpInformation
from timesync.wire.ptp_management import ManagementData, ManagementId
from timesync.wire.ptp_management_data import NetworkProtocol
from timesync.wire.ptp_message import LOG_INTERVAL_NONE, Flags

DEFAULT_E2E_PROFILE = bytes.fromhex("001b19000100")
DEFAULT_P2P_PROFILE = bytes.fromhex("001b19000200")
"""``profileIdentity`` of the default profiles (I.3 and I.4)."""

_LONGEST_TEXT = 128
"""Octets of each text; more would not fit beside the others into one answer."""

_LONGEST = (1 << 63) - 1
UNCERTAIN = {None: 0xFF, False: 0, True: 1}
"""SYNCHRONIZATION_UNCERTAIN_NP; None leaves it to the parent."""

NO_THRESHOLD = 0xFFFF_FFFF
"""``neighborPropDelayThresh`` where any delay will do."""

_TRACEABLE = Flags.TIME_TRACEABLE | Flags.FREQUENCY_TRACEABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class PortFacts:
    """What a port's machine does not know of itself.

    Attributes:
        protocol: Over what it speaks.
        mac: Its interface's MAC address; empty for none.
        address: Its protocol address: four or sixteen octets of IP, or the MAC address.
        timestamping: Who stamps.
        phc_index: Number of the PHC that stamps; -1 for none.
        virtual_clock: That is a virtual clock.
        service: What went wrong, where that is counted; None: PORT_SERVICE_STATS_NP is not answered.
    """

    protocol: NetworkProtocol
    mac: bytes = b""
    address: bytes = b""
    timestamping: np.PortTimestamping
    phc_index: int = -1
    virtual_clock: bool = False
    service: np.PortServiceStats | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """Who made the clock, and what its operator calls it (15.5.3.1.2).

    Attributes:
        manufacturer: An OUI.
        product: Manufacturer, model and instance, parted by semicolons.
        revision: Hardware, firmware and software, parted by semicolons.
        user: What the operator likes to say, 128 octets at most.
        profile: ``profileIdentity``; None: the default profile of each port's delay mechanism.
    """

    manufacturer: bytes = bytes(3)
    product: str = ";;"
    revision: str = ";;"
    user: str = ""
    profile: bytes | None = None

    def __post_init__(self) -> None:
        """Raises ValueError for what does not fit into an answer."""
        if len(self.manufacturer) != 3 or (self.profile is not None and len(self.profile) != 6):
            raise ValueError("a manufacturer has three octets and a profile six")
        for text in (self.product, self.revision, self.user):
            if len(text.encode()) > _LONGEST_TEXT:
                raise ValueError(f"{text!r} has more than {_LONGEST_TEXT} octets")


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagedClock:
    """All that management can ask of a clock, at one moment.

    Attributes:
        view: The instance.
        local: What the clock claims as grandmaster.
        ports: What the view does not know of its ports, by ``portNumber``; all of them must be here.
        description: For CLOCK_DESCRIPTION and USER_DESCRIPTION.
        offset: ``offsetFromTimeTransmitter``: positive when this clock is ahead.
        mean_delay: ``meanDelay``.
        ingress: When the last Sync came.
        follow_up: What its Follow_Up said (802.1AS).
        uncertain: What is sent as synchronizationUncertain; None: what the parent sends.
    """

    view: InstanceView
    local: LocalQuality
    ports: Mapping[int, PortFacts]
    description: Description = field(default_factory=Description)
    offset: Duration = ZERO
    mean_delay: Duration = ZERO
    ingress: Instant[Tai] | None = None
    follow_up: FollowUpInformation | None = None
    uncertain: bool | None = None

    def settings_of(self, number: int) -> PortSettings:
        """Of a port that exists."""
        return next(one for one in self.view.settings.ports if one.number == number)


# -- data of the clock


def _interval(span: Duration) -> Duration:
    """As ``TimeInterval`` can hold it, which is 39 hours at most (5.3.2); a clock may be off by more."""
    return Duration(min(max(span.scaled_ns, -_LONGEST), _LONGEST))


def _default(clock: ManagedClock) -> ManagementData:
    default = clock.view.default
    flags = data_sets.DefaultFlags(0)
    if default.two_step:
        flags |= data_sets.DefaultFlags.TWO_STEP
    if default.time_receiver_only:
        flags |= data_sets.DefaultFlags.TIME_RECEIVER_ONLY
    return data_sets.DefaultDataSet(
        flags=flags,
        number_ports=default.number_ports,
        priority1=default.priority1,
        quality=default.quality,
        priority2=default.priority2,
        clock=default.clock_identity,
        domain=default.domain,
    )


def _parent(clock: ManagedClock) -> ManagementData:
    parent = clock.view.sets.parent
    return data_sets.ParentDataSet(
        parent=parent.parent,
        priority1=parent.priority1,
        quality=parent.quality,
        priority2=parent.priority2,
        grandmaster=parent.grandmaster,
    )


def _time_properties(clock: ManagedClock) -> ManagementData:
    properties = clock.view.sets.time_properties
    return data_sets.TimePropertiesDataSet(properties.utc_offset, properties.flags(), properties.time_source)


def _utc_properties(clock: ManagedClock) -> ManagementData:
    properties = clock.view.sets.time_properties
    flags = properties.flags() & (Flags.LEAP_61 | Flags.LEAP_59 | Flags.UTC_OFFSET_VALID)
    return data_sets.UtcProperties(properties.utc_offset, flags)


def _time_status(clock: ManagedClock) -> ManagementData:
    view = clock.view
    said = FollowUpInformation() if clock.follow_up is None else clock.follow_up
    return np.TimeStatus(
        offset_ns=clock.offset.ns(),
        ingress_ns=0 if clock.ingress is None else clock.ingress.ns(),
        cumulative_scaled_rate_offset=said.cumulative_scaled_rate_offset,
        scaled_last_frequency_change=said.scaled_last_frequency_change,
        time_base_indicator=said.time_base_indicator,
        last_phase_change=said.last_phase_change,
        grandmaster_present=view.sets.parent.grandmaster != view.default.clock_identity,
        grandmaster=view.sets.parent.grandmaster,
    )


def _grandmaster(clock: ManagedClock) -> ManagementData:
    local = clock.local
    said = {
        Flags.LEAP_61: local.leap61,
        Flags.LEAP_59: local.leap59,
        Flags.UTC_OFFSET_VALID: local.utc_offset_valid,
        Flags.PTP_TIMESCALE: local.ptp_timescale,
        Flags.TIME_TRACEABLE: local.time_traceable,
        Flags.FREQUENCY_TRACEABLE: local.frequency_traceable,
    }
    flags = Flags(sum(flag for flag, is_set in said.items() if is_set))
    # The class is that of defaultDS: a timeReceiver-only clock has 255 whatever the core claims.
    return np.GrandmasterSettings(clock.view.default.quality, local.utc_offset, flags, local.time_source)


def _timescale(clock: ManagedClock) -> ManagementData:
    properties = clock.view.sets.time_properties
    return data_sets.TimescaleProperties(properties.flags() & Flags.PTP_TIMESCALE, properties.time_source)


_CLOCK: dict[int, Callable[[ManagedClock], ManagementData]] = {
    ManagementId.USER_DESCRIPTION: lambda clock: data_sets.Text(clock.description.user),
    ManagementId.DEFAULT_DATA_SET: _default,
    ManagementId.CURRENT_DATA_SET: lambda clock: data_sets.CurrentDataSet(
        clock.view.sets.current.steps_removed, _interval(clock.offset), _interval(clock.mean_delay)
    ),
    ManagementId.PARENT_DATA_SET: _parent,
    ManagementId.TIME_PROPERTIES_DATA_SET: _time_properties,
    ManagementId.PRIORITY1: lambda clock: data_sets.Octet(clock.view.default.priority1),
    ManagementId.PRIORITY2: lambda clock: data_sets.Octet(clock.view.default.priority2),
    ManagementId.DOMAIN: lambda clock: data_sets.Octet(clock.view.default.domain),
    ManagementId.SLAVE_ONLY: lambda clock: data_sets.Octet(clock.view.default.time_receiver_only),
    ManagementId.CLOCK_ACCURACY: lambda clock: data_sets.Octet(clock.view.default.quality.accuracy),
    ManagementId.UTC_PROPERTIES: _utc_properties,
    ManagementId.TRACEABILITY_PROPERTIES: lambda clock: data_sets.Octet(
        clock.view.sets.time_properties.flags() & _TRACEABLE
    ),
    ManagementId.TIMESCALE_PROPERTIES: _timescale,
    ManagementId.PATH_TRACE_LIST: lambda clock: data_sets.PathTraceList(clock.view.sets.path),
    ManagementId.PATH_TRACE_ENABLE: lambda clock: data_sets.Octet(clock.view.settings.path_trace),
    ManagementId.TIME_STATUS_NP: _time_status,
    ManagementId.GRANDMASTER_SETTINGS_NP: _grandmaster,
    ManagementId.SYNCHRONIZATION_UNCERTAIN_NP: lambda clock: data_sets.Octet(UNCERTAIN[clock.uncertain]),
}


def clock_data(id_: int, clock: ManagedClock) -> ManagementData | None:
    """What the clock answers to a GET; None when this id is not about the clock or is not known here."""
    make = _CLOCK.get(id_)
    return None if make is None else make(clock)


# -- data of a port


def _description(clock: ManagedClock, port: PortView) -> ManagementData:
    facts, said = clock.ports[port.number], clock.description
    peer = clock.settings_of(port.number).mechanism is DelayMechanism.P2P
    several = clock.view.default.number_ports > 1
    return data_sets.ClockDescription(
        clock_type=data_sets.ClockType.BOUNDARY if several else data_sets.ClockType.ORDINARY,
        physical_layer="IEEE 802.3",
        physical_address=facts.mac,
        protocol_address=data_sets.PortAddress(facts.protocol, facts.address),
        manufacturer=said.manufacturer,
        product=said.product,
        revision=said.revision,
        user=said.user,
        profile=said.profile or (DEFAULT_P2P_PROFILE if peer else DEFAULT_E2E_PROFILE),
    )


def _port(clock: ManagedClock, port: PortView) -> ManagementData:
    settings = clock.settings_of(port.number)
    return data_sets.PortDataSet(
        port=port.identity,
        state=port.state.value,
        log_min_delay_req=settings.intervals.delay,
        mean_link_delay=ZERO if port.mean_delay is None else _interval(port.mean_delay),
        log_announce=_log_announce(settings),
        announce_receipt_timeout=settings.announce_receipt_timeout,
        log_sync=settings.intervals.sync,
        delay_mechanism=settings.mechanism.value,
        log_min_pdelay_req=settings.intervals.delay,
    )


def _log_announce(settings: PortSettings) -> int:
    return LOG_INTERVAL_NONE if settings.intervals.announce is None else settings.intervals.announce


def _port_np(clock: ManagedClock, port: PortView) -> ManagementData:
    threshold = clock.settings_of(port.number).neighbor_threshold
    limit = NO_THRESHOLD if threshold is None else min(max(threshold.ns(), 0), NO_THRESHOLD)
    return np.PortDataSetNp(limit, port.as_capable is not False)


def _stats(port: PortView) -> ManagementData:
    counters, types = port.counters, range(np.MESSAGE_TYPES)
    received = {int(kind): count for kind, count in counters.received.items()}
    sent = {int(kind): count for kind, count in counters.sent.items()}
    return np.PortStats(
        port.identity,
        tuple(received.get(kind, 0) for kind in types),
        tuple(sent.get(kind, 0) for kind in types),
    )


def _corrections(clock: ManagedClock, port: PortView) -> ManagementData:
    settings = clock.settings_of(port.number)
    return np.PortCorrections(settings.egress_latency, settings.ingress_latency, settings.asymmetry)


def _properties(clock: ManagedClock, port: PortView) -> ManagementData:
    return np.PortProperties(port.identity, port.state.value, clock.ports[port.number].timestamping, port.name)


def _hardware(clock: ManagedClock, port: PortView) -> ManagementData:
    facts = clock.ports[port.number]
    return np.PortHardwareClock(port.identity, facts.phc_index, facts.virtual_clock)


def _log_delay(clock: ManagedClock, port: PortView) -> ManagementData:
    return data_sets.SignedOctet(clock.settings_of(port.number).intervals.delay)


_PORT: dict[int, Callable[[ManagedClock, PortView], ManagementData | None]] = {
    ManagementId.NULL_MANAGEMENT: lambda _, __: data_sets.Empty(),
    ManagementId.ENABLE_PORT: lambda _, __: data_sets.Empty(),
    ManagementId.DISABLE_PORT: lambda _, __: data_sets.Empty(),
    ManagementId.CLOCK_DESCRIPTION: _description,
    ManagementId.PORT_DATA_SET: _port,
    ManagementId.LOG_ANNOUNCE_INTERVAL: lambda clock, port: data_sets.SignedOctet(
        _log_announce(clock.settings_of(port.number))
    ),
    ManagementId.ANNOUNCE_RECEIPT_TIMEOUT: lambda clock, port: data_sets.Octet(
        clock.settings_of(port.number).announce_receipt_timeout
    ),
    ManagementId.LOG_SYNC_INTERVAL: lambda clock, port: data_sets.SignedOctet(
        clock.settings_of(port.number).intervals.sync
    ),
    ManagementId.VERSION_NUMBER: lambda _, __: data_sets.Octet(2),
    ManagementId.MASTER_ONLY: lambda clock, port: data_sets.Octet(
        clock.settings_of(port.number).role is Role.TIME_TRANSMITTER
    ),
    ManagementId.DELAY_MECHANISM: lambda clock, port: data_sets.Octet(clock.settings_of(port.number).mechanism.value),
    ManagementId.LOG_MIN_PDELAY_REQ_INTERVAL: _log_delay,
    ManagementId.PORT_DATA_SET_NP: _port_np,
    ManagementId.PORT_PROPERTIES_NP: _properties,
    ManagementId.PORT_STATS_NP: lambda _, port: _stats(port),
    ManagementId.PORT_SERVICE_STATS_NP: lambda clock, port: clock.ports[port.number].service,
    ManagementId.UNICAST_MASTER_TABLE_NP: lambda clock, port: unicast_table(
        clock.ports[port.number].protocol, port.servers
    ),
    ManagementId.PORT_HWCLOCK_NP: _hardware,
    ManagementId.PORT_CORRECTIONS_NP: _corrections,
}


def port_data(id_: int, clock: ManagedClock, port: PortView) -> ManagementData | None:
    """What a port answers to a GET; None when this id is not about ports or is not known here."""
    make = _PORT.get(id_)
    return None if make is None else make(clock, port)
