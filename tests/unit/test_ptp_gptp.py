"""Time-aware systems: asCapable, signaling, receipt time-outs, what is kept over a restart (IEEE 802.1AS-2020)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from gptp_support import INTERVALS, errors_s, sent, system, two
from ptp_support import Clock, Net, Node, Path, grandmaster, identity

from timesync.base.ids import ALL_PORTS, PortIdentity
from timesync.base.time import Duration
from timesync.ptp.link import LinkMemory
from timesync.ptp.settings import Bmca, Intervals, Role
from timesync.ptp.states import PortState
from timesync.wire import gptp_tlv, ptp
from timesync.wire.ptp_message import Header, Message, MessageType, PdelayResp, Signaling, Sync, Tlv

GIVES = (MessageType.ANNOUNCE, MessageType.SYNC)


def without(kind: type[Message], since: Callable[[], bool]) -> Callable[[Message], Message]:
    """A link on which messages of a kind become those of another domain, which nobody reads."""

    def change(message: Message) -> Message:
        if isinstance(message, kind) and since():
            return replace(message, header=replace(message.header, domain=99))
        return message

    return change


def hear(net: Net, node: Node, *tlvs: Tlv, number: int = 77) -> None:
    """Signaling from the neighbour."""
    source = PortIdentity(identity(number), 1)
    header = Header(source=source, sequence_id=1, domain=0, sdo_id=0x100)
    data = ptp.encode(Signaling(header, ALL_PORTS, tlvs))
    net.perform(node, node.instance.on_message(1, data, None, "peer", net.mono()))


def notes(node: Node, name: str) -> list[str]:
    return [note.text for note in node.notes if note.name == name]


# asCapable


def test_the_endpoint_follows_within_five_seconds() -> None:
    net = Net()
    _, last = two(net)
    net.start()
    net.run(5)
    assert PortState.UNCALIBRATED is last.state()
    assert len(last.measurements) >= 8
    assert max(map(abs, errors_s(last))) < 1e-9


@pytest.mark.parametrize("kind", GIVES)
def test_nothing_is_given_to_a_neighbour_that_does_not_speak_gptp(kind: MessageType) -> None:
    deaf = True
    net = Net()
    first, _ = two(net, back=Path(correction=without(PdelayResp, lambda: deaf)))
    net.start()
    net.run(20)
    assert [] == sent(first, kind)
    assert not first.instance.view().ports[0].as_capable
    deaf = False
    net.run(10)
    assert len(sent(first, kind)) >= 6


def test_with_fixed_roles_a_port_is_as_capable_while_its_link_is_up() -> None:
    net = Net()
    fixed = {"intervals": Intervals(announce=None, sync=-3, delay=0), "bmca": Bmca.NONE}
    first = net.node(system(1, role=Role.TIME_TRANSMITTER, **fixed), quality=grandmaster(248))
    last = net.node(system(2, role=Role.TIME_RECEIVER, **fixed), Clock(0.1, 3e-5))
    net.link(first, 1, last, 1, Path(correction=without(PdelayResp, lambda: True)))
    net.start()
    for up in (True, False, True):
        net.up(last, up=up)
        net.run(1)
        assert up == last.instance.view().ports[0].as_capable
    net.up(last, up=False)
    assert "the link is down" == last.instance.view().ports[0].reason


def test_a_link_that_is_too_long_is_not_as_capable_and_says_why() -> None:
    net = Net()
    long = Path(lambda: 900_000.0)
    _, last = two(net, long, long)
    net.start()
    net.run(20)
    view = last.instance.view().ports[0]
    assert not view.as_capable
    assert "the link delay of 900" in view.reason
    assert "above the threshold of 800000 ns" in view.reason
    assert [] == last.measurements


def test_a_neighbour_that_is_set_stays_as_capable() -> None:
    net = Net()
    first, last = two(net)
    net.start()
    net.run(20)
    first.clock.ahead_s += 12.0
    first.clock.epoch += 1
    first.instance.clock_stepped("local")
    net.run(10)
    assert 1 == len(notes(last, "as-capable"))
    assert last.instance.view().ports[0].as_capable


# gPTP-capable signaling


def test_that_gptp_is_spoken_is_said_every_second() -> None:
    net = Net()
    first, _ = two(net)
    net.start()
    net.run(30)
    said = [message for _, message in sent(first, MessageType.SIGNALING)]
    assert 30 <= len(said) <= 31
    assert {(gptp_tlv.GptpCapable(0).to_tlv(),)} == {one.tlvs for one in said if isinstance(one, Signaling)}


def test_a_neighbour_that_falls_silent_is_not_capable_until_it_speaks() -> None:
    net = Net()
    silent = False
    _, last = two(net, Path(correction=without(Signaling, lambda: silent)))
    net.start()
    net.run(20)
    assert last.instance.view().ports[0].as_capable
    silent = True
    net.run(8)
    assert last.instance.view().ports[0].as_capable
    net.run(3)
    assert not last.instance.view().ports[0].as_capable
    assert notes(last, "as-capable")[-1].endswith("the neighbour no longer says that it speaks gPTP")
    silent = False
    net.run(2)
    assert last.instance.view().ports[0].as_capable


def test_a_neighbour_of_2011_that_never_says_so_is_capable() -> None:
    net = Net()
    _, last = two(net, Path(correction=without(Signaling, lambda: True)))
    net.start()
    net.run(30)
    assert last.instance.view().ports[0].as_capable


def test_the_neighbour_may_ask_how_often_it_is_said() -> None:
    net = Net()
    first, _ = two(net)
    net.start()
    net.run(10)
    hear(net, first, gptp_tlv.GptpCapableIntervalRequest(2).to_tlv())
    net.run(20)
    late = [at for at, _ in sent(first, MessageType.SIGNALING) if at > 11]
    assert 4 <= len(late) <= 6
    hear(net, first, gptp_tlv.GptpCapableIntervalRequest(gptp_tlv.INTERVAL_STOP).to_tlv())
    net.run(20)
    assert [at for at, _ in sent(first, MessageType.SIGNALING) if at > 40]


# message interval requests


def test_intervals_are_what_the_neighbour_asks_for_until_the_link_goes() -> None:
    net = Net()
    first, _ = two(net)
    net.start()
    net.run(10)
    hear(net, first, gptp_tlv.MessageIntervalRequest(link_delay=1, time_sync=-5, announce=1).to_tlv())
    net.run(10)
    rates = {kind: len([1 for at, _ in sent(first, kind) if at > 12]) / 8 for kind in (*GIVES, MessageType.PDELAY_REQ)}
    assert rates[MessageType.SYNC] == pytest.approx(32, rel=0.05)
    assert rates[MessageType.ANNOUNCE] == pytest.approx(0.5, abs=0.15)
    assert rates[MessageType.PDELAY_REQ] == pytest.approx(0.5, abs=0.15)
    assert {-5} == {message.header.log_interval for at, message in sent(first, MessageType.SYNC) if at > 12}
    net.up(first, up=False)
    net.up(first, up=True)
    assert INTERVALS == first.instance.ports[1].leader.intervals


def test_a_locked_endpoint_asks_for_fewer_messages_and_for_more_when_it_loses_the_lock() -> None:
    net = Net()
    fixed = {"intervals": Intervals(announce=None, sync=-3, delay=0), "bmca": Bmca.NONE}
    first = net.node(system(1, role=Role.TIME_TRANSMITTER, **fixed), quality=grandmaster(248))
    wanted = Intervals(announce=None, sync=0, delay=2)
    last = net.node(system(2, role=Role.TIME_RECEIVER, operational=wanted, **fixed), Clock(0.1, 3e-5))
    net.link(first, 1, last, 1)
    net.start()
    net.run(5)
    net.perform(last, last.instance.servo(1, net.mono(), locked=True))
    net.run(15)
    assert (0, 2) == (first.instance.ports[1].leader.intervals.sync, last.instance.ports[1].link.log_interval)
    assert 1 == len(notes(last, "operational-intervals"))
    net.perform(last, last.instance.servo(1, net.mono(), locked=False))
    net.run(1)
    assert (-3, 0) == (first.instance.ports[1].leader.intervals.sync, last.instance.ports[1].link.log_interval)


# grandmasters


def between(net: Net, first_path: Path) -> tuple[Node, Node, Node]:
    """An endpoint with two ports, a grandmaster at each."""
    first = net.node(system(1, priority1=10), quality=grandmaster())
    second = net.node(system(2, priority1=20), Clock(1e-6), quality=grandmaster())
    last = net.node(system(3, ports=2, slave_only=True, priority1=255), Clock(0.1, 3e-5))
    net.link(first, 1, last, 1, first_path)
    net.link(second, 1, last, 2)
    net.start()
    return first, second, last


def test_one_announce_is_enough() -> None:
    net = Net()
    _, _, last = between(net, Path())
    net.run(4)
    assert identity(1) == last.instance.view().sets.parent.grandmaster


def test_who_announces_himself_and_sends_no_time_is_given_up_at_once() -> None:
    net = Net()
    mute = False
    _, _, last = between(net, Path(correction=without(Sync, lambda: mute)))
    net.run(20)
    assert identity(1) == last.instance.view().sets.parent.grandmaster
    last.changes.clear()
    mute = True
    net.run(0.6)
    assert (PortState.LISTENING, PortState.UNCALIBRATED) == (last.state(1), last.state(2))
    assert identity(2) == last.instance.view().sets.parent.grandmaster
    mute = False
    net.run(4)
    assert identity(1) == last.instance.view().sets.parent.grandmaster


def test_with_fixed_roles_the_loss_of_sync_is_borne() -> None:
    net = Net()
    fixed = {"intervals": Intervals(announce=None, sync=-3, delay=0), "bmca": Bmca.NONE}
    mute = False
    first = net.node(system(1, role=Role.TIME_TRANSMITTER, **fixed), quality=grandmaster(248))
    last = net.node(system(2, role=Role.TIME_RECEIVER, **fixed), Clock(0.1))
    net.link(first, 1, last, 1, Path(correction=without(Sync, lambda: mute)))
    net.start()
    net.run(5)
    net.perform(last, last.instance.servo(1, net.mono(), locked=True))
    mute = True
    net.run(0.6)
    assert 1 == len(notes(last, "sync-lost"))
    net.run(60)
    assert PortState.TIME_RECEIVER is last.state()
    assert 0 == last.instance.ports[1].status().reach
    mute = False
    last.measurements.clear()
    net.run(2)
    assert len(last.measurements) > 10


def test_a_jump_of_the_grandmaster_is_told_by_its_time_base() -> None:
    net = Net()
    first, last = two(net)
    net.start()
    net.run(20)
    assert [] == notes(last, "time-base")
    first.instance.clock_stepped("another clock")
    first.instance.clock_stepped("local")
    net.run(2)
    assert 1 == len(notes(last, "time-base"))


def test_domains_on_one_link_do_not_disturb_each_other() -> None:
    net = Net()
    leaders = [net.node(system(1, domain=domain), Clock(float(domain)), quality=grandmaster()) for domain in (0, 5)]
    ends = [net.node(system(2, domain=domain, slave_only=True, priority1=255)) for domain in (0, 5)]
    for leader in leaders:
        for end in ends:
            net.link(leader, 1, end, 1)
    net.start()
    net.run(20)
    for end, ahead_s in zip(ends, (0.0, 5.0), strict=True):
        assert PortState.UNCALIBRATED is end.state()
        assert max(abs(error + ahead_s) for error in errors_s(end)) < 1e-9
        assert not end.instance.ports[1].counters.drops


# over a restart (Avnu automotive)


def restarted(kept: dict[int, LinkMemory]) -> tuple[Net, Node]:
    net = Net()
    fixed = {"intervals": Intervals(announce=None, sync=-3, delay=0), "bmca": Bmca.NONE}
    first = net.node(system(1, role=Role.TIME_TRANSMITTER, **fixed), quality=grandmaster(248))
    last = net.node(system(2, role=Role.TIME_RECEIVER, **fixed), Clock(0.1, 3e-5))
    last.instance.restore(kept)
    # The grandmaster's answers to questions for the delay are lost.
    net.link(first, 1, last, 1, Path(correction=without(PdelayResp, lambda: True)))
    net.start()
    return net, last


def test_the_link_delay_that_was_kept_is_used_until_it_is_measured() -> None:
    net, last = restarted({})
    net.run(5)
    assert [] == last.measurements
    assert last.instance.ports[1].counters.drops["link-delay"] > 10

    net, last = restarted({1: LinkMemory(Duration.from_ns(1000), 1 - 3e-5), 9: LinkMemory(Duration.from_ns(1))})
    net.run(5)
    assert len(last.measurements) > 30
    assert max(map(abs, errors_s(last))) < 1e-9
    assert {Duration.from_ns(1000)} == {measurement.delay for _, measurement in last.measurements}
    net.up(last, up=False)
    net.up(last, up=True)
    last.measurements.clear()
    net.run(1)
    assert last.measurements


def test_what_is_kept_is_what_was_measured() -> None:
    net = Net()
    _, last = two(net)
    assert {} == last.instance.memory()
    net.start()
    net.run(20)
    (kept,) = last.instance.memory().values()
    assert abs(kept.delay.s() - 1e-6) < 1e-9
    assert kept.rate_ratio == pytest.approx(1 - 3e-5, abs=1e-9)


def test_a_delay_that_was_kept_gives_way_to_the_measured_one() -> None:
    net = Net()
    _, last = two(net)
    last.instance.restore({1: LinkMemory(Duration.from_ns(400_000), 1.0001)})
    net.start()
    net.run(5)
    (kept,) = last.instance.memory().values()
    assert abs(kept.delay.s() - 1e-6) < 1e-9
