"""What management commands do: elections, claims, ports, thresholds and corrections."""

from __future__ import annotations

import pytest
from ptp_support import Clock, Net, Node, grandmaster, identity, port_settings

from timesync.base.time import Duration
from timesync.ptp.management.change import (
    Command,
    DisablePort,
    EnablePort,
    SetCorrections,
    SetGrandmaster,
    SetNeighborThreshold,
    SetPriority1,
    SetPriority2,
    SetUncertain,
)
from timesync.ptp.management.perform import perform
from timesync.ptp.settings import Bmca, DelayMechanism, InstanceSettings, Role
from timesync.ptp.states import PortState
from timesync.wire import ptp
from timesync.wire.ptp_management_np import GrandmasterSettings, PortCorrections
from timesync.wire.ptp_message import Announce, ClockQuality, Flags

LEADING, FOLLOWING = PortState.TIME_TRANSMITTER, PortState.UNCALIBRATED


def settings(number: int, *, gptp: bool = False, **port: object) -> InstanceSettings:
    return InstanceSettings(
        identity=identity(number),
        gptp=gptp,
        sdo_id=0x100 if gptp else 0,
        bmca=Bmca.GPTP if gptp else Bmca.DEFAULT,
        ports=(port_settings(1, **port),),
    )


def pair(net: Net, **changes: object) -> tuple[Node, Node]:
    """Two equal clocks; the first has the lower identity and is grandmaster."""
    first = net.node(settings(1, **changes), quality=grandmaster(248))  # type: ignore[arg-type]  # keywords of settings
    second = net.node(settings(2, **changes), Clock(0.1), grandmaster(248))  # type: ignore[arg-type]
    net.link(first, 1, second, 1)
    net.start()
    net.run(30)
    assert (LEADING, FOLLOWING) == (first.state(), second.state())
    return first, second


def order(net: Net, node: Node, *commands: Command) -> None:
    for command in commands:
        net.perform(node, perform(node.instance, command, net.mono()))


def announced(node: Node) -> Announce:
    """Its last Announce."""
    messages = [ptp.decode(data) for _, _, data in node.sent]
    return next(one for one in reversed(messages) if isinstance(one, Announce))


@pytest.mark.parametrize("command", [SetPriority1(7), SetPriority2(7)])
def test_a_priority_decides_the_election(command: Command) -> None:
    net = Net()
    first, second = pair(net)
    order(net, second, command)
    net.run(30)
    assert (FOLLOWING, LEADING) == (first.state(), second.state())
    assert 7 in (second.instance.view().default.priority1, second.instance.view().default.priority2)
    assert 7 in (announced(second).priority1, announced(second).priority2)


def test_with_gptp_255_gives_up_being_grandmaster_and_less_takes_it_up_again() -> None:
    net = Net()
    first, second = pair(net, gptp=True, mechanism=DelayMechanism.P2P)
    order(net, first, SetPriority1(255))
    net.run(30)
    assert (FOLLOWING, LEADING) == (first.state(), second.state())
    order(net, second, SetPriority1(255))
    net.run(30)
    assert (PortState.LISTENING, PortState.LISTENING) == (first.state(), second.state())
    order(net, first, SetPriority1(10))
    net.run(30)
    assert (LEADING, FOLLOWING) == (first.state(), second.state())


def test_with_gptp_the_role_that_is_configured_stays() -> None:
    net = Net()
    node = net.node(settings(1, gptp=True, mechanism=DelayMechanism.P2P, role=Role.TIME_RECEIVER))
    net.start()
    order(net, node, SetPriority1(10))
    assert node.instance.context.settings.slave_only


def test_claims_of_the_operator_outlive_what_the_core_says() -> None:
    net = Net()
    first, second = pair(net)
    flags = Flags.UTC_OFFSET_VALID | Flags.PTP_TIMESCALE | Flags.TIME_TRACEABLE
    order(net, second, SetGrandmaster(GrandmasterSettings(ClockQuality(6, 0x20, 0x4000), 37, flags, 0x20)))
    net.perform(second, second.instance.set_quality(grandmaster(187), net.mono()))
    net.run(30)
    assert (FOLLOWING, LEADING) == (first.state(), second.state())
    said = announced(second)
    assert (ClockQuality(6, 0x20, 0x4000), 0x20) == (said.quality, said.time_source)
    assert flags == said.header.flags & Flags(0x3F)
    assert second.instance.context.local.synchronized, "whether the clock follows something is the core's to know"


def test_uncertainty_is_the_parents_unless_management_says_otherwise() -> None:
    def uncertain(node: Node) -> bool:
        return Flags.SYNCHRONIZATION_UNCERTAIN in announced(node).header.flags

    net = Net()
    top, _ = net.node(settings(1), quality=grandmaster(6)), None
    middle = net.node(InstanceSettings(identity=identity(2), ports=(port_settings(1), port_settings(2))))
    bottom = net.node(settings(3))
    net.link(top, 1, middle, 1)
    net.link(middle, 2, bottom, 1)
    net.start()
    net.run(40)
    assert (False, False) == (uncertain(top), uncertain(middle))
    order(net, top, SetUncertain(True))
    net.run(10)
    assert (True, True) == (uncertain(top), uncertain(middle))
    order(net, middle, SetUncertain(False))
    net.run(10)
    assert (True, False) == (uncertain(top), uncertain(middle))
    assert not bottom.instance.view().sets.time_properties.uncertain
    order(net, middle, SetUncertain(None))
    net.run(10)
    assert uncertain(middle)


def test_a_port_that_is_switched_off_is_silent_and_deaf_until_it_is_switched_on() -> None:
    net = Net()
    first, second = pair(net)
    order(net, second, DisablePort(1))
    assert PortState.DISABLED is second.state()
    sent, measured = len(second.sent), len(second.measurements)
    net.run(60)
    assert (sent, measured) == (len(second.sent), len(second.measurements))
    assert second.instance.context.sets.parent.grandmaster == second.instance.context.settings.identity
    net.up(second, up=False)
    net.up(second, up=True)
    net.run(10)
    assert PortState.DISABLED is second.state()
    order(net, second, EnablePort(1))
    net.run(30)
    assert (LEADING, FOLLOWING) == (first.state(), second.state())
    assert len(second.measurements) > measured


def test_a_port_without_a_link_is_faulty_when_it_is_switched_on() -> None:
    net = Net()
    _, second = pair(net)
    order(net, second, DisablePort(1))
    net.up(second, up=False)
    order(net, second, EnablePort(1))
    assert PortState.FAULTY is second.state()
    net.up(second, up=True)
    net.run(30)
    assert FOLLOWING is second.state()


def test_switching_on_what_is_on_changes_nothing() -> None:
    net = Net()
    _, second = pair(net)
    changes = len(second.changes)
    order(net, second, EnablePort(1))
    assert (FOLLOWING, changes) == (second.state(), len(second.changes))


def test_a_threshold_decides_whether_a_neighbour_is_fit() -> None:
    net = Net()
    _, second = pair(net, gptp=True, mechanism=DelayMechanism.P2P, neighbor_threshold=Duration.from_ns(800_000))
    port = second.instance.ports[1]
    order(net, second, SetNeighborThreshold(1, Duration.from_ns(500)))
    net.run(10)
    assert not port.link.as_capable
    assert "500 ns" in port.link.reason
    order(net, second, SetNeighborThreshold(1, None))
    net.run(10)
    assert port.link.as_capable
    assert second.instance.view().settings.ports[0].neighbor_threshold is None


@pytest.mark.parametrize("mechanism", [DelayMechanism.E2E, DelayMechanism.P2P])
def test_corrections_move_the_measured_offset(mechanism: DelayMechanism) -> None:
    """E2E: offset = ((t2 - ingress - t1) - (t4 - (t3 + egress))) / 2; of a link both cancel but in t2 and the delay."""

    def offset_ns(node: Node) -> float:
        return (node.measurements[-1][1].offset.s() - 0.1) * 1e9

    net = Net()
    _, second = pair(net, mechanism=mechanism)
    assert abs(offset_ns(second)) < 1
    egress, ingress, asymmetry = (Duration.from_ns(ns) for ns in (300, 100, 50))
    order(net, second, SetCorrections(1, PortCorrections(egress, ingress, asymmetry)))
    net.run(60)
    # The link delay is measured with both latencies, as (t4 - t1 - (t3 - t2)) / 2: 200 ns shorter.
    assert abs(offset_ns(second) - (-100 + 200 - 50 if mechanism is DelayMechanism.P2P else (-100 + 300) / 2 - 50)) < 1
    assert (300, 100, 50) == tuple(
        value.ns()
        for value in (
            second.instance.view().settings.ports[0].egress_latency,
            second.instance.view().settings.ports[0].ingress_latency,
            second.instance.view().settings.ports[0].asymmetry,
        )
    )
