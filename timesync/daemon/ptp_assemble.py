"""From the PTP instances that users write to what ports, sockets and the core read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from timesync.base.ids import ClockId, ClockIdentity, LinkId, SourceId
from timesync.config.ptp import Interval, Ptp, PtpPort, PtpUnicast
from timesync.config.ptp_profiles import (
    Hexadecimal,
    LogInterval,
    Number,
    PtpProfile,
    domain_of,
    port_title,
    ptp_profile,
)
from timesync.config.schema import Config
from timesync.daemon.ptp_quality import Known, Stages, local_quality
from timesync.ptp.outlook import PTP_REFERENCE
from timesync.ptp.settings import (
    Bmca,
    DelayMechanism,
    InstanceSettings,
    Intervals,
    LocalQuality,
    PortSettings,
    Role,
    UnicastSettings,
)
from timesync.servo.command import SourceSpec
from timesync.servo.view import ServoState
from timesync.transport import PtpPortSpec
from timesync.wire.ptp_message import ClockQuality

_MECHANISMS = {"e2e": DelayMechanism.E2E, "p2p": DelayMechanism.P2P}
_LINK_LOCAL = "01-80-C2-00-00-0E"
_NEVER_GRANDMASTER = 255
_UNKNOWN_ACCURACY = 0xFE
_EUI_48 = 6
_CMLDS = (0, 0x200)
"""``domainNumber`` and ``sdoId`` of the common mean link delay service (IEEE 802.1AS-2020, 8.1 and 11.2.17)."""


def clock_identity(mac: bytes) -> ClockIdentity:
    """``clockIdentity`` from the MAC address of a card: FF-FE in its middle, no bit turned (7.5.2.2.2).

    Raises ValueError for anything but six octets.
    """
    if len(mac) != _EUI_48:
        raise ValueError(f"a MAC address has {_EUI_48} octets, not {len(mac)}")
    return ClockIdentity(mac[:3] + b"\xff\xfe" + mac[3:])


def instance_settings(
    config: Config, instance: Ptp, identity: ClockIdentity, stamp_noise_s: Mapping[str, float]
) -> InstanceSettings:
    """How an instance behaves; ``stamp_noise_s`` is one standard deviation of a stamp, by interface."""
    profile, role = ptp_profile(instance.profile), instance_role(instance)
    priority1 = profile.priority1.value if instance.priority1 is None else instance.priority1
    if profile.gptp and role is Role.TIME_RECEIVER:
        priority1 = _NEVER_GRANDMASTER  # 802.1AS-2020, 8.6.2.1
    return InstanceSettings(
        identity=identity,
        domain=domain_of(instance),
        sdo_id=profile.sdo_id.value,
        minor_version=profile.minor_version.value if instance.minor_version is None else instance.minor_version,
        bmca=Bmca(profile.bmca.value),
        priority1=priority1,
        priority2=profile.priority2.value if instance.priority2 is None else instance.priority2,
        local_priority=_number(instance.local_priority, profile.local_priority, 128),
        slave_only=role is Role.TIME_RECEIVER or (profile.gptp and priority1 == _NEVER_GRANDMASTER),
        path_trace=bool(profile.path_trace.value[0]) if instance.path_trace is None else instance.path_trace,
        maximum_steps_removed=_number(instance.max_steps_removed, profile.max_steps_removed, 255),
        gptp=profile.gptp,
        relay=profile.gptp and len(instance.ports) > 1,
        ports=tuple(
            port_settings(config, instance, number, stamp_noise_s[port.interface])
            for number, port in enumerate(instance.ports, start=1)
        ),
    )


def instance_role(instance: Ptp) -> Role:
    """What an instance may become."""
    return Role(ptp_profile(instance.profile).role.value[0] if instance.role is None else instance.role)


def port_role(instance: Ptp, port: PtpPort) -> Role:
    """What a port may become."""
    return instance_role(instance) if port.role is None else Role(port.role)


def port_settings(config: Config, instance: Ptp, number: int, stamp_noise_s: float) -> PortSettings:
    """How a port behaves; they are numbered from 1."""
    profile, port = ptp_profile(instance.profile), instance.ports[number - 1]
    title = port_title(config.ptp_instances, instance, port)
    threshold = profile.neighbor_threshold
    return PortSettings(
        number=number,
        name=port.interface,
        clock=ClockId(config.ptp_clock(instance, port)),
        source=SourceId(title),
        link=LinkId(title),
        mechanism=_MECHANISMS[profile.delay.value[0] if port.delay is None else port.delay],
        role=port_role(instance, port),
        intervals=_intervals(profile, port),
        operational=_operational(profile, port),
        announce_receipt_timeout=_number(port.announce_receipt_timeout, profile.announce_receipt_timeout, 3),
        sync_receipt_timeout=None
        if profile.sync_receipt_timeout is None
        else _number(port.sync_receipt_timeout, profile.sync_receipt_timeout, 3),
        local_priority=_number(port.local_priority, profile.local_priority, 128),
        asymmetry=port.asymmetry,
        ingress_latency=port.ingress_latency,
        egress_latency=port.egress_latency,
        stamp_noise_s=stamp_noise_s,
        acceptable=frozenset(port.acceptable),
        hybrid=port.hybrid,
        unicast=unicast_settings(instance, port),
        authenticated=instance.authentication is not None and instance.authentication.unsigned == "refuse",
        neighbor_threshold=port.neighbor_threshold
        if port.neighbor_threshold is not None or threshold is None
        else threshold.value,
        allowed_lost_responses=_number(port.allowed_lost_responses, profile.allowed_lost_responses, 9),
    )


def unicast_settings(instance: Ptp, port: PtpPort) -> UnicastSettings | None:
    """Unicast negotiation of a port; None where all is multicast."""
    profile = ptp_profile(instance.profile)
    only = profile.unicast is not None and profile.unicast.value
    if port.unicast is None and not only:
        return None
    wanted = PtpUnicast() if port.unicast is None else port.unicast
    takes_only = port_role(instance, port) is Role.TIME_RECEIVER
    return UnicastSettings(
        servers=wanted.servers,
        grants=not takes_only if wanted.grant is None else wanted.grant,
        only=only if wanted.multicast is None else not wanted.multicast,
        duration_s=round(wanted.duration.s()),
        clients=wanted.clients,
    )


def port_spec(config: Config, instance: Ptp, port: PtpPort) -> PtpPortSpec:
    """How a port reaches the network; only messages of its own domain come to it."""
    profile = ptp_profile(instance.profile)
    addresses = () if profile.l2_destination is None else profile.l2_destination.value
    address = port.l2_destination or next(iter(addresses), None)
    unicast = unicast_settings(instance, port)
    return PtpPortSpec(
        interface=port.interface,
        transport=profile.transport.value[0] if port.transport is None else port.transport,
        clock=ClockId(config.ptp_clock(instance, port)),
        timestamping=port.timestamping,
        one_step=port.steps == "one-step",
        gptp=address == _LINK_LOCAL,
        hop_limit=port.hop_limit,
        dscp=_number(port.dscp, profile.dscp, 0),
        unicast=unicast is not None and unicast.only,
        domains=frozenset(_domains(config, instance, port)),
    )


def _domains(config: Config, instance: Ptp, port: PtpPort) -> Iterator[tuple[int, int]]:
    """Its own domain, and that of the common link delay service, which only one port of an interface answers."""
    profile = ptp_profile(instance.profile)
    yield domain_of(instance), profile.sdo_id.value
    sharing = [
        one
        for one in config.ptp_instances
        if ptp_profile(one.profile).gptp and any(other.interface == port.interface for other in one.ports)
    ]
    if sharing and sharing[0] is instance:
        yield _CMLDS


def source_spec(config: Config, instance: Ptp, port: PtpPort, stamp_noise_s: float) -> SourceSpec | None:
    """A port as the core follows it; None for one that only gives time."""
    if port_role(instance, port) is Role.TIME_TRANSMITTER:
        return None
    title = port_title(config.ptp_instances, instance, port)
    return SourceSpec(
        source=SourceId(title),
        name=title,
        link=LinkId(title),
        clock=ClockId(config.ptp_clock(instance, port)),
        reference_id=PTP_REFERENCE,
        trusted=port.trust,
        noselect=port.noselect,
        correction=-port.offset,
        stamp_noise_s=stamp_noise_s,
    )


def stages(instance: Ptp) -> Stages:
    """The clock classes of an instance in holdover and after it.

    IEEE 1588-2019, table 4: degradation alternative A is that of a clock that never follows, B of one that may.
    """
    profile = ptp_profile(instance.profile)
    alone = instance_role(instance) is Role.TIME_TRANSMITTER
    return Stages(
        locked=profile.class_locked.value,
        holdover=profile.class_holdover.value,
        degraded=(profile.class_degraded_a if alone else profile.class_degraded_b).value,
        never=profile.class_freerun.value,
    )


def quality(instance: Ptp, known: Known) -> LocalQuality:
    """What an instance may say of its time: what is known, in the words of its profile.

    What a profile prescribes for a locked clock is said only where it is true.
    """
    profile = ptp_profile(instance.profile)
    local = local_quality(known, stages(instance))
    said = local.quality
    if known.state is ServoState.LOCKED and known.primary:
        return replace(
            local,
            quality=ClockQuality(
                said.clock_class,
                _at_best(said.accuracy, profile.locked_accuracy),
                _at_best(said.variance, profile.locked_variance),
            ),
        )
    accuracy = said.accuracy if said.accuracy != _UNKNOWN_ACCURACY else _prescribed(profile.unlocked_accuracy, 0xFE)
    variance = said.variance if local.synchronized else _prescribed(profile.unlocked_variance, said.variance)
    return replace(local, quality=ClockQuality(said.clock_class, accuracy, variance))


def _at_best(known: int, prescribed: Hexadecimal | None) -> int:
    """The prescribed value unless the clock is worse; in both tables the lower number is the better."""
    return known if prescribed is None else max(known, prescribed.value)


def _prescribed(fact: Hexadecimal | None, otherwise: int) -> int:
    return otherwise if fact is None else fact.value


def _number(given: int | None, fact: Number | None, otherwise: int) -> int:
    """What is configured, else what the profile says."""
    if given is not None:
        return given
    return otherwise if fact is None else fact.value


def _log2(given: Interval | None, fact: LogInterval) -> int:
    return fact.value if given is None else given.log2


def _intervals(profile: PtpProfile, port: PtpPort) -> Intervals:
    announce = profile.announce_interval
    return Intervals(
        announce=None if announce is None else _log2(port.announce_interval, announce),
        sync=_log2(port.sync_interval, profile.sync_interval),
        delay=_log2(port.delay_interval, profile.delay_interval),
    )


def _operational(profile: PtpProfile, port: PtpPort) -> Intervals | None:
    sync, delay = profile.operational_sync_interval, profile.operational_delay_interval
    if sync is None or delay is None:
        return None
    return Intervals(
        announce=None,
        sync=_log2(port.operational_sync_interval, sync),
        delay=_log2(port.operational_delay_interval, delay),
    )
