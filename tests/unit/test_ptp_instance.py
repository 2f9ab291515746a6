"""Ordinary and boundary clocks wired to each other: who leads, what is measured, what is survived."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ptp_support import Clock, Net, Node, Path, grandmaster, identity, port_settings

from timesync.base.time import Duration
from timesync.ptp.settings import Bmca, DelayMechanism, InstanceSettings, Intervals, Role
from timesync.ptp.states import PortState
from timesync.wire import ptp
from timesync.wire.ptp_message import DelayReq, Flags, Message, MessageType, Sync

AHEAD_S = 0.1


def settings(number: int, *, ports: int = 1, slave_only: bool = False, **port: object) -> InstanceSettings:
    return InstanceSettings(
        identity=identity(number),
        slave_only=slave_only,
        ports=tuple(port_settings(one, **port) for one in range(1, ports + 1)),
    )


def pair(
    net: Net, *, rate: float = 0.0, there: Path | None = None, back: Path | None = None, **port: object
) -> tuple[Node, Node]:
    """A grandmaster and a clock that follows it."""
    leader = net.node(settings(1, **port), quality=grandmaster())
    follower = net.node(settings(2, slave_only=True, **port), Clock(AHEAD_S, rate))
    net.link(leader, 1, follower, 1, there, back)
    return leader, follower


def errors_s(node: Node) -> list[float]:
    """How far the measured offsets are from the true ones."""
    found = []
    for at_ns, measurement in node.measurements:
        # The reading of the clock itself tells when the measurement is of.
        true = node.clock.ahead_s + node.clock.rate * at_ns / 1e9
        found.append(measurement.offset.s() - true)
    return found


@pytest.mark.parametrize("mechanism", [DelayMechanism.E2E, DelayMechanism.P2P])
def test_the_better_clock_leads_and_the_other_measures_it(mechanism: DelayMechanism) -> None:
    net = Net()
    leader, follower = pair(net, mechanism=mechanism)
    net.start()
    net.run(60)

    assert (PortState.TIME_TRANSMITTER, PortState.UNCALIBRATED) == (leader.state(), follower.state())
    assert len(follower.measurements) >= 40
    assert max(map(abs, errors_s(follower))) < 1e-9
    assert all(abs(m.delay.s() - 1e-6) < 1e-9 for _, m in follower.measurements if m.delay is not None)
    assert {1} == {m.quality.stratum for _, m in follower.measurements if m.quality is not None}
    # With peer delay, the delay is the link's and not that of the Sync.
    assert {mechanism is DelayMechanism.P2P} == {m.averaged for _, m in follower.measurements}


def test_a_locked_servo_makes_it_a_time_receiver_and_back() -> None:
    net = Net()
    _, follower = pair(net)
    net.start()
    net.run(20)
    net.perform(follower, follower.instance.servo(1, net.mono(), locked=True))
    assert PortState.TIME_RECEIVER is follower.state()
    net.perform(follower, follower.instance.servo(1, net.mono(), locked=False))
    assert PortState.UNCALIBRATED is follower.state()


def test_a_known_asymmetry_is_taken_out() -> None:
    net = Net()
    there, back = Path(lambda: 3000.0), Path(lambda: 1000.0)
    _, follower = pair(net, there=there, back=back, asymmetry=Duration.from_ns(1000))
    net.start()
    net.run(30)
    assert follower.measurements
    assert max(map(abs, errors_s(follower))) < 1e-9
    assert all(abs(m.delay.s() - 2e-6) < 1e-9 for _, m in follower.measurements if m.delay is not None)


def test_corrections_of_transparent_clocks_are_taken_out() -> None:
    residence_ns = 50_000

    def through(message: Message) -> Message:
        if isinstance(message, Sync | DelayReq):
            correction = message.header.correction + Duration.from_ns(residence_ns)
            return replace(message, header=replace(message.header, correction=correction))
        return message

    net = Net()
    slow = Path(lambda: 1000.0 + residence_ns, correction=through)
    _, follower = pair(net, there=slow, back=slow)
    net.start()
    net.run(30)
    assert follower.measurements
    # What travels without a correction (Follow_Up, Delay_Resp) is only slower.
    assert max(map(abs, errors_s(follower))) < 1e-9
    assert all(abs(m.delay.s() - 1e-6) < 1e-9 for _, m in follower.measurements if m.delay is not None)


def test_a_one_step_sync_needs_no_follow_up() -> None:
    net = Net()
    held: dict[int, Sync] = {}

    def one_step(message: Message) -> Message:
        if isinstance(message, Sync):
            held[message.header.sequence_id] = message
        return message

    leader, follower = pair(net, there=Path(correction=one_step))
    net.start()
    net.run(12)
    before = len(follower.measurements)
    sync = next(reversed(held.values()))
    number = (sync.header.sequence_id + 1000) & 0xFFFF
    origin = leader.clock.read(net.now_ns, net.rng)
    header = replace(sync.header, sequence_id=number, flags=sync.header.flags & ~Flags.TWO_STEP)
    whole, part = ptp.whole_ns(origin)
    data = ptp.encode(Sync(replace(header, correction=part), whole))
    net.now_ns += 1000
    stamp = net._read(follower, 1)
    net.perform(follower, follower.instance.on_message(1, data, stamp, "peer", net.mono()))
    net.run(0.5)
    assert len(follower.measurements) >= before
    assert not follower.instance.ports[1].counters.drops["follow-up"]


def test_swapped_sync_and_follow_up_are_normal() -> None:
    net = Net(3)
    # The Follow_Up leaves 5 us after its Sync and is often faster.
    _, follower = pair(net, there=Path(lambda: net.rng.uniform(1000.0, 40_000.0)))
    net.start()
    net.run(60)
    counters = follower.instance.ports[1].counters
    assert counters.received[MessageType.SYNC] >= 50
    assert len(follower.measurements) >= 40
    assert 0 == counters.drops["sync"] + counters.drops["follow-up"]


def test_a_follow_up_of_65536_messages_ago_is_not_joined() -> None:
    net = Net()
    _, follower = pair(net)
    net.start()
    net.run(12)
    port = follower.instance.ports[1]
    sync = port._following.last
    assert sync is not None
    assert sync.follow_up is not None
    stale = replace(sync.follow_up, header=replace(sync.follow_up.header, sequence_id=777))
    assert port._pairing.on_follow_up(stale, net.mono()) is None
    net.run(70)
    fresh = Sync(replace(sync.sync, sequence_id=777))
    assert port._pairing.on_sync(fresh, net._read(follower, 1), net.mono()) is None


def test_lost_transmit_stamps_are_counted_and_survived() -> None:
    net = Net(5)
    leader, follower = pair(net)
    leader.stamp_loss = follower.stamp_loss = 0.3
    net.start()
    net.run(120)
    assert PortState.TIME_TRANSMITTER is leader.state()
    assert leader.instance.ports[1].counters.lost_stamps > 10
    assert follower.instance.ports[1].counters.lost_stamps > 5
    assert len(follower.measurements) > 20
    assert max(map(abs, errors_s(follower))) < 1e-9


def test_a_lost_stamp_of_what_is_asked_of_the_neighbour_is_counted_as_that_of_an_answer() -> None:
    net = Net(5)
    _, follower = pair(net, mechanism=DelayMechanism.P2P)
    follower.stamp_loss = 1.0
    net.start()
    net.run(30)
    counters = follower.instance.ports[1].counters
    asked, answered = counters.sent[MessageType.PDELAY_REQ], counters.sent[MessageType.PDELAY_RESP]
    assert asked > 20
    assert counters.lost_stamps == asked + answered


def test_a_card_that_stamps_only_the_old_version_gets_it() -> None:
    net = Net()
    leader, _ = pair(net)
    leader.stamp_loss = 1.0
    net.start()
    net.run(20)
    minors = [data[1] >> 4 for _, _, data in leader.sent if data[0] & 0x0F == MessageType.SYNC]
    assert (1, 0) == (minors[0], minors[-1])


def test_a_boundary_clock_follows_on_one_port_and_leads_on_the_other() -> None:
    net = Net()
    top = net.node(settings(1), quality=grandmaster())
    middle = net.node(settings(2, ports=2))
    bottom = net.node(settings(3, slave_only=True))
    net.link(top, 1, middle, 1)
    net.link(middle, 2, bottom, 1)
    net.start()
    net.run(60)
    assert (PortState.UNCALIBRATED, PortState.TIME_TRANSMITTER) == (middle.state(1), middle.state(2))
    assert PortState.UNCALIBRATED is bottom.state()
    view = bottom.instance.view()
    assert (identity(1), 2) == (view.sets.parent.grandmaster, view.sets.current.steps_removed)


def test_the_second_grandmaster_takes_over_and_gives_back() -> None:
    net = Net()
    first = net.node(settings(1), quality=grandmaster(6))
    second = net.node(settings(2), quality=grandmaster(7))
    follower = net.node(settings(3, slave_only=True))
    net.link(first, 1, follower, 1)
    net.link(second, 1, follower, 1)
    net.link(first, 1, second, 1)
    net.start()
    net.run(40)
    assert identity(1) == follower.instance.view().sets.parent.grandmaster
    assert PortState.PASSIVE is second.state()
    net.up(first, 1, up=False)
    net.run(40)
    assert identity(2) == follower.instance.view().sets.parent.grandmaster
    net.up(first, 1, up=True)
    net.run(40)
    assert identity(1) == follower.instance.view().sets.parent.grandmaster


def test_loss_of_sync_is_said_and_shown() -> None:
    net = Net()
    path = Path()
    _, follower = pair(net, there=path)
    net.start()
    net.run(20)
    assert 0xFF == follower.instance.ports[1].status().reach
    path.loss = 1.0
    net.run(30)
    assert ["sync-lost"] == [note.name for note in follower.notes]
    assert PortState.LISTENING is follower.state()


def test_fixed_roles_need_no_announce() -> None:
    net = Net()
    fixed = {"mechanism": DelayMechanism.P2P, "intervals": Intervals(announce=None, sync=-3, delay=0)}
    leader = net.node(
        replace(settings(1, role=Role.TIME_TRANSMITTER, **fixed), bmca=Bmca.NONE, gptp=True, sdo_id=0x100),
        quality=grandmaster(248),
    )
    follower = net.node(
        replace(settings(2, role=Role.TIME_RECEIVER, **fixed), bmca=Bmca.NONE, gptp=True, sdo_id=0x100),
        Clock(AHEAD_S),
    )
    net.link(leader, 1, follower, 1)
    net.start()
    net.run(5)
    assert (PortState.TIME_TRANSMITTER, PortState.UNCALIBRATED) == (leader.state(), follower.state())
    assert not [1 for _, _, data in leader.sent if data[0] & 0x0F == MessageType.ANNOUNCE]
    assert len(follower.measurements) > 20
    assert max(map(abs, errors_s(follower))) < 1e-9


@pytest.mark.parametrize("garbage", [b"", b"\x00" * 20, b"\xff" * 64, bytes(range(64))])
def test_garbage_is_dropped(garbage: bytes) -> None:
    net = Net()
    _, follower = pair(net)
    net.start()
    net.perform(follower, follower.instance.on_message(1, garbage, None, "peer", net.mono()))
    assert 1 == follower.instance.ports[1].counters.drops["malformed"]


def test_stamps_of_two_epochs_are_never_combined() -> None:
    net = Net()
    _, follower = pair(net)
    net.start()
    net.run(20)
    follower.measurements.clear()
    follower.clock.epoch += 1
    follower.clock.ahead_s += 5.0
    net.run(20)
    assert follower.measurements
    assert {1} == {m.epoch for _, m in follower.measurements}
    assert max(map(abs, errors_s(follower))) < 1e-9
