"""What broken and hostile neighbours send: nothing of it may stop a port, or be believed."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ptp_support import Clock, Net, Node, grandmaster, identity, port_settings

from timesync.base.ids import PortIdentity
from timesync.base.time import Duration
from timesync.ptp.effect import SendGeneral
from timesync.ptp.management.unicast import unicast_table
from timesync.ptp.settings import DelayMechanism, InstanceSettings, Intervals, LocalQuality, Role, UnicastSettings
from timesync.ptp.states import PortState
from timesync.ptp.unicast.client import ServerView, UnicastState
from timesync.wire import ptp
from timesync.wire.ptp import CORRECTION_TOO_BIG, MAX_TLVS
from timesync.wire.ptp_management_data import NetworkProtocol
from timesync.wire.ptp_message import (
    Announce,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Header,
    Message,
    MessageType,
    Signaling,
    Sync,
    Tlv,
)
from timesync.wire.ptp_tlv import UnicastGrant, UnicastRequest
from timesync.wire.ptp_tlv_read import read

FAST = Intervals(announce=-1, sync=-3, delay=-3)
STRANGER = PortIdentity(identity(0x99), 1)


def clock(number: int, ports: int = 1, *, path_trace: bool = False, **port: object) -> InstanceSettings:
    made = tuple(port_settings(one, intervals=FAST, **port) for one in range(1, ports + 1))
    slave = port.get("role") is Role.TIME_RECEIVER
    return InstanceSettings(identity=identity(number), path_trace=path_trace, slave_only=slave, ports=made)


def pair(
    net: Net, giver: InstanceSettings, taker: InstanceSettings, quality: LocalQuality | None = None
) -> tuple[Node, Node]:
    both = net.node(giver, quality=quality or grandmaster()), net.node(taker, Clock(ahead_s=0.25))
    net.link(both[0], 1, both[1], 1)
    net.start()
    return both


def sent(node: Node, kind: type) -> list[Message]:
    return [one for _, _, data in node.sent if isinstance(one := ptp.decode(data), kind)]


def test_an_announce_full_of_tlvs_does_not_stop_a_boundary_clock() -> None:
    net = Net()
    boundary = net.node(clock(2, 2, path_trace=True))
    net.start()
    empty = tuple(Tlv(0x4007, b"") for _ in range(MAX_TLVS))
    for number in range(60):
        header = Header(source=STRANGER, sequence_id=number, log_interval=-1)
        said = Announce(header=header, priority1=0, grandmaster=STRANGER.clock, tlvs=empty)
        net.perform(boundary, boundary.instance.on_message(1, ptp.encode(said), None, "x", net.mono()))
        net.run(0.5)
    assert PortState.TIME_TRANSMITTER is boundary.state(2)
    announced = [one for one in sent(boundary, Announce) if one.header.source.port == 2]
    assert len(announced) > 30
    assert isinstance(announced[-1], Announce)
    assert MAX_TLVS - 1 == len(announced[-1].tlvs)


class TestUnicastServer:
    def node(self, net: Net, **port: object) -> Node:
        grants = UnicastSettings(grants=True, only=True)
        node = net.node(clock(1, unicast=grants, role=Role.TIME_TRANSMITTER, **port), quality=grandmaster())
        net.start()
        net.run(5)
        return node

    def asked(
        self, net: Net, node: Node, *requests: UnicastRequest, number: int = 1, source: str = "192.0.2.50"
    ) -> list[int]:
        """For how long each request is granted."""
        header = Header(source=PortIdentity(identity(0x200 + number), 1), sequence_id=1, flags=Flags.UNICAST)
        tlvs = tuple(one.to_tlv() for one in requests)
        data = ptp.encode(Signaling(header, node.instance.ports[1].identity, tlvs))
        effects = node.instance.on_message(1, data, None, source, net.mono())
        answers = [ptp.decode(one.data) for one in effects if isinstance(one, SendGeneral)]
        found = [read(tlv) for one in answers if isinstance(one, Signaling) for tlv in one.tlvs]
        return [one.duration_s for one in found if isinstance(one, UnicastGrant)]

    def test_a_message_full_of_requests_is_answered_within_bounds(self) -> None:
        net = Net()
        node = self.node(net)
        many = [UnicastRequest(MessageType.ANNOUNCE, 0, 60)] * MAX_TLVS
        assert [60] * 16 == self.asked(net, node, *many)

    def test_at_one_address_there_are_a_few_clients_at_most(self) -> None:
        net = Net()
        node = self.node(net)
        request = UnicastRequest(MessageType.SYNC, -4, 60)
        assert [[60]] * 4 + [[0]] * 2 == [self.asked(net, node, request, number=number) for number in range(6)]
        assert [60] == self.asked(net, node, request, number=9, source="192.0.2.51")

    @pytest.mark.parametrize(("mechanism", "granted"), [(DelayMechanism.E2E, [60, 0]), (DelayMechanism.P2P, [0, 60])])
    def test_only_what_the_port_does_is_granted(self, mechanism: DelayMechanism, granted: list[int]) -> None:
        net = Net()
        node = self.node(net, mechanism=mechanism)
        kinds = (MessageType.DELAY_RESP, MessageType.PDELAY_RESP)
        assert granted == self.asked(net, node, *(UnicastRequest(kind, 0, 60) for kind in kinds))

    def test_a_port_that_is_switched_off_grants_nothing(self) -> None:
        net = Net()
        node = self.node(net)
        net.perform(node, node.instance.designate(1, net.mono(), enabled=False))
        assert [] == self.asked(net, node, UnicastRequest(MessageType.SYNC, 0, 60))

    def test_hybrid_does_not_make_it_deaf_to_what_it_has_granted(self) -> None:
        net = Net()
        node = self.node(net, hybrid=True)
        assert [60] == self.asked(net, node, UnicastRequest(MessageType.DELAY_RESP, 0, 60))
        header = Header(source=PortIdentity(identity(0x201), 1), sequence_id=7, flags=Flags.UNICAST)
        data = ptp.encode(DelayReq(header))
        effects = node.instance.on_message(1, data, net._read(node, 1), "192.0.2.50", net.mono())
        assert [DelayResp] == [type(ptp.decode(one.data)) for one in effects if isinstance(one, SendGeneral)]

    def test_corrections_that_management_sets_reach_its_clients_too(self) -> None:
        net = Net()
        node = self.node(net)
        self.asked(net, node, UnicastRequest(MessageType.SYNC, -1, 60))
        net.perform(node, [])
        net.run(5)
        late = Duration.from_ns(700)
        settings = node.instance.context.settings
        ports = tuple(replace(one, egress_latency=late) for one in settings.ports)
        before = len(node.sent)
        net.perform(node, node.instance.configure(replace(settings, ports=ports), net.mono()))
        net.run(5)
        later = [one for _, _, data in node.sent[before:] if isinstance(one := ptp.decode(data), FollowUp)]
        assert later
        origins = {one.precise_origin.ns() % 1_000 for one in later}
        # What is due at a whole microsecond leaves a nanosecond later in this network.
        assert {701} == origins


def test_addresses_of_servers_are_told_as_what_they_are() -> None:
    def told(protocol: NetworkProtocol, server: str) -> bytes:
        view = ServerView(server, None, UnicastState.WAIT, False, {})
        return unicast_table(protocol, (view,)).entries[0].address.address

    assert bytes.fromhex("fe80000000000000021122fffe334455") == told(
        NetworkProtocol.UDP_IPV6, "fe80::211:22ff:fe33:4455"
    )
    assert bytes.fromhex("20010db8000000000000000100020003") == told(NetworkProtocol.UDP_IPV6, "2001:db8::1:2:3")
    assert bytes.fromhex("001122334455") == told(NetworkProtocol.IEEE_802_3, "00:11:22:33:44:55")
    assert bytes((192, 0, 2, 1)) == told(NetworkProtocol.UDP_IPV4, "192.0.2.1")


def test_below_an_arb_grandmaster_a_card_does_not_write_the_time() -> None:
    net = Net()
    giver, taker = pair(
        net, clock(1), clock(2, role=Role.TIME_RECEIVER), replace(grandmaster(), ptp_timescale=False, utc_offset=37)
    )
    giver.instance.use_one_step(1, used=True)
    net.run(20)
    assert {True} == {Flags.TWO_STEP in one.header.flags for one in sent(giver, Sync)}
    assert {0.25} == {round(one.offset.s(), 6) for _, one in taker.measurements[-5:]}


@pytest.mark.parametrize("mechanism", [DelayMechanism.E2E, DelayMechanism.P2P])
def test_a_card_that_stamps_only_the_older_minor_version_is_found_out_by_its_questions_too(
    mechanism: DelayMechanism,
) -> None:
    net = Net()
    asks = DelayReq if mechanism is DelayMechanism.E2E else None
    giver, taker = pair(net, clock(1, mechanism=mechanism), clock(2, mechanism=mechanism, role=Role.TIME_RECEIVER))
    taker.stamp_loss = 1.0
    net.run(30)
    assert 0 == taker.instance.ports[1].headers.minor_version
    assert 1 == giver.instance.ports[1].headers.minor_version
    if asks is not None:
        assert {1, 0} == {one.header.minor_version for one in sent(taker, asks)}


def test_a_correction_that_nobody_may_use_is_not_used_and_not_taken_for_another() -> None:
    net = Net()
    giver, taker = pair(net, clock(1), clock(2, role=Role.TIME_RECEIVER))
    net.run(20)
    header = Header(source=taker.instance.ports[1].identity, sequence_id=9, correction=CORRECTION_TOO_BIG)
    effects = giver.instance.on_message(1, ptp.encode(DelayReq(header)), net._read(giver, 1), "x", net.mono())
    (answer,) = [ptp.decode(one.data) for one in effects if isinstance(one, SendGeneral)]
    assert CORRECTION_TOO_BIG == answer.header.correction

    before = len(taker.measurements)
    link = net._links[(giver.name, 1)]
    spoilt = lambda one: (  # noqa: E731  one message of many
        replace(one, header=replace(one.header, correction=CORRECTION_TOO_BIG)) if isinstance(one, DelayResp) else one
    )
    link[0][2].correction = spoilt
    net.run(10)
    assert before + 2 >= len(taker.measurements)
    assert taker.instance.ports[1].counters.drops["correction"] > 10
