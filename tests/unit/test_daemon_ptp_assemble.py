"""From configured PTP instances to what ports, sockets and the core read."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from timesync.base.ids import ClockIdentity
from timesync.base.measure import Leap
from timesync.base.time import Duration
from timesync.config.load import loads
from timesync.config.schema import Config, Ptp
from timesync.daemon.ptp_assemble import (
    clock_identity,
    instance_settings,
    port_spec,
    quality,
    source_spec,
    stages,
)
from timesync.daemon.ptp_quality import Known, Stages
from timesync.ptp.instance import Instance
from timesync.ptp.settings import Bmca, DelayMechanism, InstanceSettings, Intervals, Role
from timesync.servo.view import ServoState

IDENTITY = ClockIdentity(bytes.fromhex("001122fffe334455"))
NOISE = {"eth0": 8e-9, "eth1": 2e-6}
LOCKED = Known(
    state=ServoState.LOCKED,
    primary=True,
    was_locked=True,
    reference_id=b"PPS\0",
    bound_s=80e-9,
    deviation_s=10e-9,
    tai_utc=37,
    tai_utc_known=True,
    leap=Leap.NONE,
)


def read(text: str) -> tuple[Config, Ptp]:
    config = loads(text, "t.yaml").config
    return config, config.ptp_instances[0]


def settings(text: str) -> InstanceSettings:
    return instance_settings(*read(text), IDENTITY, NOISE)


def test_the_identity_is_the_mac_address_with_fffe_in_it() -> None:
    assert IDENTITY == clock_identity(bytes.fromhex("001122334455"))
    with pytest.raises(ValueError, match="has 6 octets, not 8"):
        clock_identity(bytes(8))


def test_an_instance_that_says_nothing_is_as_its_profile_says() -> None:
    made = settings("clocks: {eth0: {phc: eth0}}\nptp: {ports: [{interface: eth0}]}\n")
    (port,) = made.ports

    assert (IDENTITY, 0, 0, 1, Bmca.DEFAULT, 128, 128, False, False, False) == (
        made.identity, made.domain, made.sdo_id, made.minor_version, made.bmca, made.priority1, made.priority2,
        made.slave_only, made.path_trace, made.gptp,
    )  # fmt: skip
    assert (1, "eth0", "eth0", "ptp:eth0", "ptp:eth0", DelayMechanism.E2E, Role.AUTO) == (
        port.number, port.name, port.clock, port.source, port.link, port.mechanism, port.role,
    )  # fmt: skip
    assert (Intervals(announce=1, sync=0, delay=0), None, 3, None, 8e-9) == (
        port.intervals, port.operational, port.announce_receipt_timeout, port.sync_receipt_timeout, port.stamp_noise_s,
    )  # fmt: skip


def test_what_is_configured_wins() -> None:
    made = settings(
        "ptp:\n  profile: g8275.1\n  domain: 30\n  priority2: 7\n  local_priority: 5\n  path_trace: true\n"
        "  minor_version: 0\n  ports:\n"
        "    - {interface: eth0, role: timeTransmitter, local_priority: 9, announce_receipt_timeout: 4}\n"
        "    - {interface: eth1, asymmetry: 3ns, ingress_latency: 5ns, egress_latency: -7ns,"
        " acceptable: [AABBCC.FFFE.DDEEFF-1]}\n"
    )
    first, second = made.ports

    assert (30, 7, 5, True, 0, Bmca.G8275) == (
        made.domain, made.priority2, made.local_priority, made.path_trace, made.minor_version, made.bmca,
    )  # fmt: skip
    assert (Role.TIME_TRANSMITTER, 9, 4) == (first.role, first.local_priority, first.announce_receipt_timeout)
    assert (2, Role.AUTO, 128, 2e-6) == (second.number, second.role, second.local_priority, second.stamp_noise_s)
    assert (Duration.from_ns(3), Duration.from_ns(5), Duration.from_ns(-7)) == (
        second.asymmetry, second.ingress_latency, second.egress_latency,
    )  # fmt: skip
    assert frozenset({"aabbcc.fffe.ddeeff-1"}) == second.acceptable


def test_gptp_judges_links_and_has_its_own_domain_identity() -> None:
    text = (
        "ptp: {profile: gptp, ports: [{interface: eth0}, {interface: eth1, neighbor_threshold: 2us, "
        "allowed_lost_responses: 3, sync_receipt_timeout: 5, sync_interval: 31.25ms}]}\n"
    )
    made = settings(text)
    first, second = made.ports

    assert (True, 0x100, Bmca.GPTP, 248, True) == (made.gptp, made.sdo_id, made.bmca, made.priority1, made.path_trace)
    assert (DelayMechanism.P2P, Duration.from_ns(800), 9, 3, -3) == (
        first.mechanism, first.neighbor_threshold, first.allowed_lost_responses, first.sync_receipt_timeout,
        first.intervals.sync,
    )  # fmt: skip
    assert (Duration.from_ns(2000), 3, 5, -5) == (
        second.neighbor_threshold, second.allowed_lost_responses, second.sync_receipt_timeout, second.intervals.sync,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("says", "priority1", "slave_only"),
    [("role: timeReceiver", 255, True), ("priority1: 255", 255, True), ("priority1: 246", 246, False)],
)
def test_in_gptp_255_is_never_grandmaster(says: str, priority1: int, slave_only: bool) -> None:
    made = settings(f"ptp: {{profile: gptp, {says}, ports: [{{interface: eth0}}]}}\n")

    assert (priority1, slave_only) == (made.priority1, made.slave_only)


def test_an_endpoint_in_a_vehicle_asks_for_slower_messages_and_hears_no_announce() -> None:
    made = settings(
        "ptp: {profile: automotive-endpoint, ports: [{interface: eth0}, "
        "{interface: eth1, operational_sync_interval: 250ms, operational_delay_interval: 8s}]}\n"
    )
    first, second = made.ports

    assert (Bmca.NONE, True, True) == (made.bmca, made.slave_only, made.gptp)
    assert (Role.TIME_RECEIVER, Intervals(announce=None, sync=-3, delay=0)) == (first.role, first.intervals)
    assert Intervals(announce=None, sync=0, delay=2) == first.operational
    assert Intervals(announce=None, sync=-2, delay=3) == second.operational


@pytest.mark.parametrize(
    "profile",
    ["default-e2e", "default-p2p", "gptp", "automotive-gm", "automotive-endpoint", "g8275.1", "smpte", "aes67"],
)
def test_the_engine_takes_what_is_made(profile: str) -> None:
    made = settings(f"ptp: {{profile: {profile}, ports: [{{interface: eth0}}, {{interface: eth1}}]}}\n")

    assert made is Instance(made, Random(1)).view().settings


# Sockets


def test_messages_go_where_the_profile_says() -> None:
    def spec(profile: str, more: str = "") -> tuple[object, ...]:
        config, instance = read(f"ptp: {{profile: {profile}, ports: [{{interface: eth0{more}}}]}}\n")
        made = port_spec(config, instance, instance.ports[0])
        return made.transport, made.gptp, made.hop_limit, made.dscp

    assert ("udp4", False, 1, 0) == spec("default-e2e")
    assert ("udp6", False, 9, 12) == spec("default-e2e", ", transport: udp6, hop_limit: 9, dscp: 12")
    assert ("l2", False, 1, 0) == spec("default-e2e", ", transport: l2")
    assert ("l2", True, 1, 0) == spec("gptp")
    assert ("l2", True, 1, 0) == spec("g8275.1")
    assert ("l2", False, 1, 0) == spec("g8275.1", ", l2_destination: 01-1B-19-00-00-00")
    assert ("udp4", False, 1, 46) == spec("aes67")


def test_a_port_hears_its_own_domain_and_one_of_an_interface_the_link_delay_service() -> None:
    config, _ = read(
        "ptp:\n  - {profile: gptp, ports: [{interface: eth0, timestamping: software}]}\n"
        "  - {profile: gptp, domain: 20, ports: [{interface: eth0}, {interface: eth1}]}\n"
        "  - {domain: 3, ports: [{interface: eth0}]}\n"
    )
    specs = [port_spec(config, instance, port) for instance in config.ptp_instances for port in instance.ports]

    link_delay = (0, 0x200)
    expected = [{(0, 0x100), link_delay}, {(20, 0x100)}, {(20, 0x100), link_delay}, {(3, 0)}]
    assert [frozenset(domains) for domains in expected] == [one.domains for one in specs]
    assert ["software", "auto", "auto", "auto"] == [one.timestamping for one in specs]
    assert ["eth0", "eth0", "eth1", "eth0"] == [one.interface for one in specs]


# The core


def test_a_port_is_a_source_unless_it_only_gives_time() -> None:
    config, instance = read(
        "clocks: {e: {phc: eth0}}\nptp:\n  ports:\n    - {interface: eth0, trust: true, offset: 4us}\n"
        "    - {interface: eth1, noselect: true}\n    - {interface: eth2, role: timeTransmitter}\n"
    )
    first, second, third = (source_spec(config, instance, port, 1e-8) for port in instance.ports)

    assert third is None
    assert first is not None
    assert second is not None
    assert ("ptp:eth0", "ptp:eth0", "ptp:eth0", "e", b"PTP\0", None) == (
        first.source, first.name, first.link, first.clock, first.reference_id, first.poll,
    )  # fmt: skip
    assert (True, False, Duration.from_ns(-4000), 1e-8) == (
        first.trusted, first.noselect, first.correction, first.stamp_noise_s,
    )  # fmt: skip
    assert ("ptp:eth1", "system", False, True) == (second.source, second.clock, second.trusted, second.noselect)


# What a grandmaster says


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        ("role: auto", Stages(6, 7, 187, 248)),
        ("role: timeTransmitter", Stages(6, 7, 52, 248)),
        ("profile: g8275.1", Stages(6, 7, 160, 248)),
        ("profile: utility", Stages(6, 7, 187, 248)),
    ],
)
def test_classes_are_the_profiles(says: str, expected: Stages) -> None:
    assert expected == stages(read(f"ptp: {{{says}, ports: [{{interface: eth0}}]}}\n")[1])


def said(profile: str, known: Known) -> tuple[int, int, int]:
    made = quality(read(f"ptp: {{profile: {profile}, ports: [{{interface: eth0}}]}}\n")[1], known).quality
    return made.clock_class, made.accuracy, made.variance


def test_a_prescribed_accuracy_is_claimed_only_where_it_is_true() -> None:
    assert (6, 0x21, 0x4E5D) == said("g8275.1", replace(LOCKED, bound_s=20e-9, deviation_s=1e-9))
    worse = said("g8275.1", replace(LOCKED, bound_s=900e-9, deviation_s=1e-6))
    assert (6, 0x23) == worse[:2]
    assert 0x4E5D < worse[2]


def test_without_a_prescription_what_is_known_is_said() -> None:
    # 25 ns to 100 ns is 0x21 (table 5); (10 ns)^2 is 2^-53.15 s^2, or 0x8000 - 53.15 * 256.
    assert (6, 0x21, 0x8000 - 13607) == said("default-e2e", LOCKED)


def test_a_clock_that_was_never_right_says_what_its_standard_prescribes() -> None:
    never = replace(LOCKED, state=ServoState.ACQUIRING, was_locked=False, bound_s=None, deviation_s=None)

    assert (248, 0xFE, 0x436A) == said("gptp", never)
    assert (248, 0xFE, 0xFFFF) == said("g8275.1", never)
    assert (248, 0xFE, 0xFFFF) == said("default-e2e", never)


def test_a_gptp_instance_with_several_ports_is_a_bridge() -> None:
    two = "ports: [{interface: eth0}, {interface: eth1}]"
    assert settings(f"ptp: {{profile: gptp, {two}}}\n").relay
    assert not settings("ptp: {profile: gptp, ports: [{interface: eth0}]}\n").relay
    assert not settings(f"ptp: {{{two}}}\n").relay
