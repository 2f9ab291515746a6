"""Ports that are asked and ask for unicast messages, on a network in virtual time; hybrid ports and one-step Sync."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ptp_support import Clock, Net, Node, address, grandmaster, identity, port_settings

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import Duration
from timesync.ptp.effect import SendEvent, SendGeneral
from timesync.ptp.management.unicast import unicast_table
from timesync.ptp.settings import Bmca, InstanceSettings, Intervals, Role, UnicastSettings
from timesync.ptp.states import PortState
from timesync.ptp.unicast.client import UnicastState
from timesync.wire import ptp
from timesync.wire.ptp_management_data import NetworkProtocol, PortAddress
from timesync.wire.ptp_message import (
    Announce,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Message,
    MessageType,
    Signaling,
    Sync,
    Tlv,
)
from timesync.wire.ptp_tlv import TlvType

FAST = Intervals(announce=-1, sync=-3, delay=-3)


def settings(
    number: int, unicast: UnicastSettings | None, bmca: Bmca = Bmca.DEFAULT, **port: object
) -> InstanceSettings:
    one = port_settings(intervals=FAST, unicast=unicast, **port)
    return InstanceSettings(
        identity=identity(number), bmca=bmca, ports=(one,), slave_only=port.get("role") is Role.TIME_RECEIVER
    )


def server(net: Net, number: int, clock_class: int = 6, bmca: Bmca = Bmca.DEFAULT, **unicast: object) -> Node:
    given = UnicastSettings(grants=True, only=True, **unicast)  # type: ignore[arg-type]
    fixed = Role.TIME_TRANSMITTER
    return net.node(settings(number, given, bmca, role=fixed), quality=grandmaster(clock_class))


def client(net: Net, *servers: int, bmca: Bmca = Bmca.DEFAULT, sync_receipt_timeout: int | None = None) -> Node:
    """It asks the nodes of these numbers."""
    asked = UnicastSettings(servers=tuple(map(address, servers)), only=True, duration_s=30)
    role = {"role": Role.TIME_RECEIVER, "sync_receipt_timeout": sync_receipt_timeout}
    return net.node(settings(0x1000, asked, bmca, **role), Clock(ahead_s=0.25))


def join(net: Net) -> None:
    """All on one segment."""
    for index, one in enumerate(net.nodes):
        for other in net.nodes[index + 1 :]:
            net.link(one, 1, other, 1)


def kinds(node: Node) -> set[tuple[type, str | None]]:
    """What a node sent, and where."""
    return {(type(ptp.decode(data)), to) for (_, _, data), to in zip(node.sent, node.destinations, strict=True)}


def parent(node: Node) -> int:
    """The number of the clock that is followed; 0: none."""
    found = node.instance.ports[1].parent
    return 0 if found is None else int.from_bytes(found.clock[-2:], "big")


def test_a_client_is_given_the_time_that_it_asks_for_and_nothing_goes_to_all() -> None:
    net = Net()
    giver = server(net, 1)
    taker = client(net, 0)
    join(net)
    net.start()
    net.run(60)
    assert PortState.UNCALIBRATED is taker.state()
    assert {-0.25} == {round(-one.offset.s(), 6) for _, one in taker.measurements[-5:]}
    assert {Duration.from_ns(1000)} == {one.delay for _, one in taker.measurements[-5:]}
    # A Sync each 125 ms, of which nearly all become measurements.
    assert 7 < len(taker.measurements) / 60 < 8.1
    only = {(kind, taker.address) for kind in (Signaling, Announce, Sync, FollowUp, DelayResp)}
    assert only == kinds(giver)
    assert {(Signaling, giver.address), (DelayReq, giver.address)} == kinds(taker)
    (seen,) = taker.instance.unicast[1].servers()
    assert (UnicastState.HAVE_SYNC, True) == (seen.state, seen.selected)
    (served,) = giver.instance.unicast[1].clients()
    assert {MessageType.ANNOUNCE: -1, MessageType.SYNC: -3, MessageType.DELAY_RESP: -3} == served.granted


def test_of_two_servers_the_better_one_is_followed_and_when_it_falls_silent_the_other() -> None:
    net = Net()
    server(net, 1, clock_class=7)
    better = server(net, 2, clock_class=6)
    taker = client(net, 0, 1)
    join(net)
    net.start()
    net.run(20)
    assert 2 == parent(taker)
    net.up(better, up=False)
    net.run(20)
    assert 1 == parent(taker)
    assert net.now_ns - taker.measurements[-1][0] < 1e9
    # Sync is asked of the one that is followed only.
    assert {False, True} == {one.selected for one in taker.instance.unicast[1].servers()}
    net.up(better)
    net.run(30)
    assert 2 == parent(taker)


def test_whoever_is_not_asked_is_not_heard_and_is_told_to_stop() -> None:
    net = Net()
    server(net, 2, clock_class=7)
    taker = client(net, 0)
    join(net)
    net.start()
    net.run(10)
    stranger = server(Net(), 1).instance.ports[1].headers
    header = stranger.make(MessageType.ANNOUNCE, log_interval=-1, flags=Flags.UNICAST)
    answers: list[SendGeneral] = []
    for _ in range(5):
        header = replace(header, sequence_id=header.sequence_id + 1)
        data = ptp.encode(Announce(header=header, priority1=1, grandmaster=identity(1)))
        effects = taker.instance.on_message(1, data, None, "192.0.2.99", net.mono())
        answers += [one for one in effects if isinstance(one, SendGeneral)]
        net.run(0.5)
    assert 2 == parent(taker)
    assert 5 == taker.instance.ports[1].counters.drops["unicast-stranger"]
    # Once a second at most, as the address may be forged.
    assert ["192.0.2.99"] * 3 == [one.destination for one in answers]
    said = ptp.decode(answers[0].data)
    assert isinstance(said, Signaling)
    assert [TlvType.CANCEL_UNICAST_TRANSMISSION] == [tlv.kind for tlv in said.tlvs]


def test_what_comes_multicast_does_not_count_where_unicast_is_the_rule() -> None:
    net = Net()
    server(net, 2, clock_class=7)
    taker = client(net, 0)
    net.node(replace(settings(1, None), priority1=1), quality=grandmaster(6))
    join(net)
    net.start()
    net.run(20)
    assert 2 == parent(taker)


def test_delay_requests_are_answered_only_where_that_was_granted() -> None:
    net = Net()
    giver = server(net, 1)
    taker = client(net, 0)
    join(net)
    net.start()
    net.run(20)
    headers = taker.instance.ports[1].headers
    stamp = net._read(giver, 1)
    asked = ptp.encode(DelayReq(headers.make(MessageType.DELAY_REQ, sequence=7, flags=Flags.UNICAST)))

    def answers(source: str) -> list[Message]:
        effects = giver.instance.on_message(1, asked, stamp, source, net.mono())
        return [ptp.decode(one.data) for one in effects if isinstance(one, SendGeneral | SendEvent)]

    assert [DelayResp] == [type(one) for one in answers(taker.address)]
    assert [] == answers("192.0.2.77")


class TestQualityLevels:
    """ITU-T G.8265.1."""

    def test_the_best_quality_level_is_followed_and_among_equals_the_first_that_is_named(self) -> None:
        net = Net()
        for number, clock_class in ((1, 90), (2, 84), (3, 84)):
            server(net, number, clock_class, Bmca.G8265)
        taker = client(net, 0, 2, 1, bmca=Bmca.G8265)
        join(net)
        net.start()
        net.run(20)
        assert 3 == parent(taker)

    @pytest.mark.parametrize("clock_class", [110, 6, 248])
    def test_a_clock_that_says_do_not_use_or_names_no_level_is_left_alone(self, clock_class: int) -> None:
        net = Net()
        server(net, 1, clock_class, Bmca.G8265)
        server(net, 2, 104, Bmca.G8265)
        taker = client(net, 0, 1, bmca=Bmca.G8265)
        join(net)
        net.start()
        net.run(20)
        assert 2 == parent(taker)
        assert taker.instance.ports[1].counters.drops["announce-quality-level"] > 10

    def test_one_that_announces_and_sends_no_time_is_given_up(self) -> None:
        net = Net()
        mute = server(net, 1, 84, Bmca.G8265)
        server(net, 2, 90, Bmca.G8265)
        taker = client(net, 0, 1, bmca=Bmca.G8265, sync_receipt_timeout=16)
        join(net)
        net.start()
        net.run(20)
        assert 1 == parent(taker)
        mute.stamp_loss = 1.0  # without a stamp there is no Follow_Up
        net.run(6)
        assert 2 == parent(taker)
        net.run(50)
        assert 2 == parent(taker)  # though the other goes on announcing itself
        mute.stamp_loss = 0.0
        net.run(30)
        assert 1 == parent(taker)


class TestHybrid:
    """Multicast Sync, unicast questions for the delay (G.8265.1 has it not; ptp4l's ``hybrid_e2e``)."""

    def test_the_question_goes_to_the_parent_alone_and_so_does_its_answer(self) -> None:
        net = Net()
        giver = net.node(settings(1, None, hybrid=True), quality=grandmaster())
        taker = net.node(settings(2, None, hybrid=True, role=Role.TIME_RECEIVER), Clock(ahead_s=0.5))
        other = net.node(settings(3, None, hybrid=True, role=Role.TIME_RECEIVER))
        join(net)
        net.start()
        net.run(30)
        assert {round(one.offset.s(), 6) for _, one in taker.measurements[-5:]} == {0.5}
        assert {(DelayReq, giver.address)} == kinds(taker)
        assert (DelayResp, taker.address) in kinds(giver)
        assert {None} == {to for kind, to in kinds(giver) if kind in (Announce, Sync, FollowUp)}
        assert len(other.measurements) > 200


class TestOneStep:
    """The card writes the time into Sync (7.3.8.3)."""

    @pytest.mark.parametrize("unicast", [False, True])
    def test_sync_goes_without_a_follow_up_and_is_understood(self, unicast: bool) -> None:
        net = Net()
        giver = server(net, 1) if unicast else net.node(settings(1, None), quality=grandmaster())
        taker = client(net, 0) if unicast else net.node(settings(2, None, role=Role.TIME_RECEIVER), Clock(0.25))
        giver.instance.use_one_step(1, used=True)
        join(net)
        net.start()
        net.run(30)
        assert {0.25} == {round(one.offset.s(), 9) for _, one in taker.measurements[-5:]}
        assert FollowUp not in {kind for kind, _ in kinds(giver)}
        syncs = [one for _, _, data in giver.sent if isinstance(one := ptp.decode(data), Sync)]
        assert {False} == {Flags.TWO_STEP in one.header.flags for one in syncs}
        assert 0 == giver.instance.ports[1].counters.lost_stamps

    def test_the_way_from_the_stamp_to_the_connector_is_in_the_correction(self) -> None:
        net = Net()
        late = Duration.from_ns(300)
        giver = net.node(settings(1, None, egress_latency=late), quality=grandmaster())
        giver.instance.use_one_step(1, used=True)
        join(net)
        net.start()
        net.run(30)
        syncs = [one for _, _, data in giver.sent if isinstance(one := ptp.decode(data), Sync)]
        assert {late} == {one.header.correction for one in syncs}


def test_who_stops_gives_back_what_was_granted_and_tells_whom_it_served() -> None:
    net = Net()
    giver = server(net, 1)
    taker = client(net, 0)
    join(net)
    net.start()
    net.run(20)
    net.perform(taker, taker.instance.stop(net.mono()))
    net.run(1)
    assert () == giver.instance.unicast[1].clients()
    before = len(giver.sent)
    net.run(5)
    assert before == len(giver.sent)


def test_pmc_is_told_whom_the_port_asks_and_what_they_say_of_themselves() -> None:
    net = Net()
    server(net, 1, clock_class=6)
    taker = client(net, 0, 7)  # nobody is at the second address
    join(net)
    net.start()
    net.run(20)
    (port,) = taker.instance.view().ports
    first, second = unicast_table(NetworkProtocol.UDP_IPV4, port.servers).entries
    assert (PortIdentity(identity(1), 1), 6, True, 3, 128, 128) == (
        first.port,
        first.quality.clock_class,
        first.selected,
        first.state,
        first.priority1,
        first.priority2,
    )
    assert PortAddress(NetworkProtocol.UDP_IPV4, bytes((192, 0, 2, 1))) == first.address
    assert (PortIdentity(ClockIdentity(bytes(8)), 0), False, 0) == (second.port, second.selected, second.state)


def test_other_tlvs_of_a_signaling_message_are_passed_over() -> None:
    net = Net()
    giver = server(net, 1)
    taker = client(net, 0)
    join(net)
    net.start()
    net.run(10)
    header = taker.instance.ports[1].headers.make(MessageType.SIGNALING, flags=Flags.UNICAST)
    data = ptp.encode(Signaling(header, giver.instance.ports[1].identity, (Tlv(0x2004, bytes(4)),)))
    assert [] == giver.instance.on_message(1, data, None, taker.address, net.mono())
