"""Time-aware bridges (IEEE 802.1AS-2020, 10.2 and 11.2.14): the grandmaster's time is passed on as it is."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from gptp_support import errors_s, sent, system
from ptp_support import Clock, Net, Node, Path, grandmaster

from timesync.base.ids import ClockId
from timesync.base.time import Duration, Instant
from timesync.ptp.settings import Bmca, Intervals, Role
from timesync.ptp.states import PortState
from timesync.wire.gptp_tlv import FollowUpInformation
from timesync.wire.ptp_message import Flags, FollowUp, Message, MessageType, Sync

WRONG = (Clock(3.0, 8e-5), Clock(-700.0, -6e-5), Clock(0.2, 1e-5))
"""Clocks of bridges that nobody disciplines."""


def chain(net: Net, bridges: int, delay_ns: float = 500.0) -> tuple[Node, list[Node], Node]:
    first = net.node(system(1, priority1=100), quality=grandmaster())
    middle = [net.node(system(2 + index, ports=2), WRONG[index]) for index in range(bridges)]
    last = net.node(system(9), Clock(0.1, 3e-5))
    nodes = [first, *middle, last]
    for near, far in pairwise(nodes):
        out = 1 if near is first else 2
        net.link(near, out, far, 1, Path(lambda: delay_ns), Path(lambda: delay_ns))
    net.start()
    return first, middle, last


def follow_ups(node: Node, port: int) -> dict[int, FollowUp]:
    found = (message for _, message in sent(node, MessageType.FOLLOW_UP, port))
    return {one.precise_origin.scaled_ns: one for one in found if isinstance(one, FollowUp)}


@pytest.mark.parametrize("bridges", [1, 3])
def test_bridges_with_wrong_clocks_pass_the_right_time_on(bridges: int) -> None:
    net = Net()
    first, middle, last = chain(net, bridges)
    net.run(60)

    assert first.instance.view().default.clock_identity == last.instance.view().sets.parent.grandmaster
    assert bridges + 1 == last.instance.view().sets.current.steps_removed
    found = errors_s(last, since_s=40)
    assert len(found) > 100
    # What is left is the rate of the neighbour, known to 1e-9 or so, over the 25 us that a Sync spends in a bridge.
    assert max(map(abs, found)) < 1e-9 * (bridges + 1)
    assert all(PortState.TIME_TRANSMITTER is bridge.state(2) for bridge in middle)


def test_the_time_stamp_and_its_time_base_stay_what_the_grandmaster_gave() -> None:
    net = Net()
    first, (bridge,), _ = chain(net, 1)
    first.instance.context.time_base = 77
    net.run(40)

    told, passed = follow_ups(first, 1), follow_ups(bridge, 2)
    common = sorted(told.keys() & passed.keys())[-50:]
    assert 50 == len(common)
    for origin in common:
        before, after = told[origin], passed[origin]
        said = FollowUpInformation.from_tlv(after.tlvs[0])
        assert 77 == said.time_base_indicator
        # 500 ns on the link and 25 us in the bridge, by the grandmaster's clock.
        spent = after.header.correction - before.header.correction
        assert spent.s() == pytest.approx(25.5e-6, abs=1e-9)
        # The bridge runs 80 ppm fast: the grandmaster's frequency is that much lower than its own.
        assert said.rate_ratio - 1 == pytest.approx(-8e-5, abs=2e-8)
        # Exactly representable in its unit, and what is on the wire is what was meant.
        assert abs(said.cumulative_scaled_rate_offset) < 1 << 31


def test_a_correction_that_leads_before_the_epoch_is_passed_on_as_a_correction() -> None:
    """A time stamp of the wire cannot be negative, though the sum of it and its correction can."""
    early = Duration.from_s(-5)

    def one_step(message: Message) -> Message:
        if not isinstance(message, Sync):
            return message
        flags = message.header.flags & ~Flags.TWO_STEP
        return Sync(replace(message.header, flags=flags, correction=early))

    net = Net()
    nodes = [net.node(system(1, priority1=100), quality=grandmaster()), net.node(system(2, ports=2), Clock())]
    net.link(nodes[0], 1, nodes[1], 1, Path(correction=one_step))
    net.link(nodes[1], 2, net.node(system(9)), 1)
    net.start()
    net.run(20)

    passed = [one for _, one in sent(nodes[1], MessageType.FOLLOW_UP, 2) if isinstance(one, FollowUp)]
    relayed = [one for one in passed if one.precise_origin == Instant(0)]
    assert len(relayed) > 20
    assert all(0 < (one.header.correction - early).s() < 1e-3 for one in relayed)


def test_a_bridge_sends_as_often_as_it_hears_and_not_without() -> None:
    net = Net()
    path = Path()
    first = net.node(system(1, priority1=100), quality=grandmaster())
    bridge = net.node(system(2, ports=2, slave_only=False, role=Role.AUTO), Clock(3.0, 8e-5))
    last = net.node(system(3))
    net.link(first, 1, bridge, 1, path)
    net.link(bridge, 2, last, 1)
    net.start()
    net.run(30)
    heard = [at for at, _ in sent(first, MessageType.SYNC) if at > 20]
    gone = [at for at, _ in sent(bridge, MessageType.SYNC, 2) if at > 20]
    assert abs(len(heard) - len(gone)) <= 1
    assert max(after - min(before for before in heard if before > after - 0.125) for after in gone[1:]) < 1e-3


def test_a_bridge_whose_neighbours_want_other_intervals_obeys_them() -> None:
    net = Net()
    first = net.node(system(1, priority1=100), quality=grandmaster())
    bridge = net.node(system(2, ports=2), Clock(3.0, 8e-5))
    last = net.node(system(3), Clock(0.1, 3e-5))
    net.link(first, 1, bridge, 1)
    net.link(bridge, 2, last, 1)
    net.start()
    net.run(20)
    bridge.instance.ports[2].leader.intervals = Intervals(announce=0, sync=0, delay=0)
    net.run(20)
    gone = [at for at, _ in sent(bridge, MessageType.SYNC, 2) if at > 25]
    assert 14 <= len(gone) <= 16
    # What came in last is up to 125 ms old when it leaves, and still right.
    assert max(map(abs, errors_s(last, since_s=30))) < 5e-9


def test_a_bridge_that_is_the_grandmaster_gives_its_own_time() -> None:
    net = Net()
    bridge = net.node(system(1, ports=2, priority1=50), Clock(3.0))
    ends = [net.node(system(2 + index), Clock(0.1)) for index in range(2)]
    for index, end in enumerate(ends):
        net.link(bridge, index + 1, end, 1)
    net.start()
    net.run(30)
    for end in ends:
        assert max(abs(error + 3.0) for error in errors_s(end)) < 1e-9


def test_ports_with_clocks_of_their_own_give_the_time_of_these() -> None:
    net = Net()
    first = net.node(system(1, priority1=100), quality=grandmaster())
    settings = system(2, ports=2)
    assert settings.relay
    own = tuple(replace(port, clock=ClockId(f"card{port.number}")) for port in settings.ports)
    bridge = net.node(replace(settings, ports=own))
    last = net.node(system(3), Clock(0.1))
    net.link(first, 1, bridge, 1)
    net.link(bridge, 2, last, 1)
    net.start()
    net.run(30)
    assert PortState.UNCALIBRATED is last.state()
    assert max(map(abs, errors_s(last))) < 1e-9  # its clock is right in this world
    (rates,) = {
        FollowUpInformation.from_tlv(one.tlvs[0]).cumulative_scaled_rate_offset
        for one in follow_ups(bridge, 2).values()
    }
    assert 0 == rates


def test_a_sync_that_left_after_a_step_of_the_clock_has_no_follow_up() -> None:
    net = Net()
    _, (bridge,), last = chain(net, 1)
    net.run(30)
    before = len(last.measurements)
    for _ in range(20):
        bridge.clock.epoch += 1
        bridge.clock.ahead_s += 1.0
        bridge.instance.clock_stepped("local")
        net.run(0.5)
    assert len(last.measurements) > before + 30
    assert max(map(abs, errors_s(last, since_s=25))) < 1e-7


def test_fixed_roles_pass_time_on_too() -> None:
    net = Net()
    fixed = {"intervals": Intervals(announce=None, sync=-3, delay=0), "bmca": Bmca.NONE}
    first = net.node(system(1, role=Role.TIME_TRANSMITTER, **fixed), quality=grandmaster(248))
    settings = system(2, ports=2, role=Role.TIME_RECEIVER, **fixed)
    second = settings.ports[1]
    sends = replace(second, role=Role.TIME_TRANSMITTER)
    bridge = net.node(replace(settings, ports=(settings.ports[0], sends)), Clock(3.0, 8e-5))
    last = net.node(system(3, role=Role.TIME_RECEIVER, **fixed), Clock(0.1, 3e-5))
    net.link(first, 1, bridge, 1)
    net.link(bridge, 2, last, 1)
    net.start()
    net.run(30)
    assert max(map(abs, errors_s(last, since_s=20))) < 1e-8
    assert all(isinstance(message, Sync) for _, message in sent(bridge, MessageType.SYNC, 2))
