"""What profiles want beside the messages: who says it, who passes it on, and who hears it."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from gptp_support import sent as sent_by
from gptp_support import two
from ptp_management_support import at, ptp4l_like, with_states
from ptp_support import Clock, Net, Node, address, grandmaster, identity, port_settings

from timesync.base.ids import ALL_PORTS
from timesync.base.time import Duration
from timesync.ptp.extras import MOST_ZONES, Extras, Heard, PowerProfile, heard, worse
from timesync.ptp.management.responder import Responder
from timesync.ptp.management.values import ManagementSettings, Network
from timesync.ptp.settings import InstanceSettings, Intervals, Role, UnicastSettings
from timesync.ptp.states import PortState
from timesync.wire import ptp
from timesync.wire.gptp_tlv import FollowUpInformation
from timesync.wire.ptp_message import Action, Announce, Management, Message, MessageType, Signaling, Tlv
from timesync.wire.ptp_tlv import AlternateTimeOffset, PathTrace, TlvType
from timesync.wire.ptp_tlv_profile import (
    UNKNOWN_INACCURACY,
    InterfaceRate,
    PowerProfile2011,
    PowerProfile2017,
    SynchronizationMetadata,
)
from timesync.wire.ptp_tlv_read import find

BERLIN = AlternateTimeOffset(0, 3563, 3600, 1_774_746_037, "CET")
KOLKATA = AlternateTimeOffset(1, 19763, 0, 0, "IST")
POWER = PowerProfile2017(7, 250)
STUDIO = SynchronizationMetadata(frame_rate=(30000, 1001), locking_status=4, local_offset_s=3563)


def clock(number: int, *, ports: int = 1, **changes: object) -> InstanceSettings:
    settings = tuple(port_settings(one, intervals=Intervals(announce=0)) for one in range(1, ports + 1))
    return InstanceSettings(identity=identity(number), ports=settings, **changes)  # type: ignore[arg-type]


def chain(net: Net, said: Extras, between: Extras | None = None) -> tuple[Node, Node, Node]:
    """A grandmaster, a boundary clock and a clock that follows it."""
    first = net.node(clock(1), quality=grandmaster())
    middle = net.node(clock(2, ports=2), Clock(0.1))
    last = net.node(clock(3, slave_only=True), Clock(0.2))
    net.link(first, 1, middle, 1)
    net.link(middle, 2, last, 1)
    first.instance.set_extras(said, net.mono())
    middle.instance.set_extras(between or Extras(), net.mono())
    net.start()
    return first, middle, last


def announced(node: Node, port: int = 1) -> Announce:
    """The last Announce that left by a port."""
    _, message = sent_by(node, MessageType.ANNOUNCE, port)[-1]
    assert isinstance(message, Announce)
    return message


def test_a_grandmaster_tells_its_time_zones_and_how_wrong_its_time_may_be() -> None:
    net = Net()
    first, _, _ = chain(net, Extras(power=POWER, zones=(BERLIN, KOLKATA)))
    net.run(20)

    kinds = [TlvType.ORGANIZATION_EXTENSION, *[TlvType.ALTERNATE_TIME_OFFSET_INDICATOR] * 2]
    assert kinds == [tlv.kind for tlv in announced(first).tlvs]
    assert Heard(power=POWER, zones=(BERLIN, KOLKATA)) == heard(announced(first).tlvs)


def test_a_boundary_clock_passes_time_zones_on_as_they_are_and_adds_its_own_inaccuracy() -> None:
    net = Net()
    own = AlternateTimeOffset(0, -18037, 0, 0, "EST")
    between = Extras(power=PowerProfile2017(9, 1), added_ns=40, zones=(own,))
    _, middle, last = chain(net, Extras(power=POWER, zones=(BERLIN, KOLKATA)), between)
    net.run(30)

    # Its own words are for the time when it is grandmaster itself.
    assert Heard(power=PowerProfile2017(7, 290), zones=(BERLIN, KOLKATA)) == heard(announced(middle, 2).tlvs)
    assert Heard(power=PowerProfile2017(7, 290), zones=(BERLIN, KOLKATA)) == last.instance.context.sets.heard
    net.up(middle, 1, up=False)
    net.run(30)
    assert Heard(power=PowerProfile2017(9, 1), zones=(own,)) == heard(announced(middle, 2).tlvs)


def test_a_boundary_clock_of_another_profile_does_not_pass_on_how_wrong_the_time_was_upstream() -> None:
    """Its own error would be missing; type 0x0003 does not propagate (IEEE 1588-2019, table 52)."""
    net = Net()
    _, middle, last = chain(net, Extras(power=POWER, zones=(BERLIN,)))
    net.run(30)

    assert Heard(power=POWER, zones=(BERLIN,)) == middle.instance.context.sets.heard
    assert Heard(zones=(BERLIN,)) == last.instance.context.sets.heard


@pytest.mark.parametrize(
    ("power", "by_ns", "expected"),
    [
        (PowerProfile2011(3, 100, 50), 7, PowerProfile2011(3, 100, 57)),
        (PowerProfile2017(0, 0), 0, PowerProfile2017(0, 0)),
        (PowerProfile2017(3, UNKNOWN_INACCURACY), 7, PowerProfile2017(3, UNKNOWN_INACCURACY)),
        (PowerProfile2017(3, 7), UNKNOWN_INACCURACY, PowerProfile2017(3, UNKNOWN_INACCURACY)),
        (PowerProfile2011(3, 1, 0xFFFF_FFF0), 0x20, PowerProfile2011(3, 1, UNKNOWN_INACCURACY)),
    ],
)
def test_inaccuracies_add_up_and_unknown_stays_unknown(power: PowerProfile, by_ns: int, expected: PowerProfile) -> None:
    assert expected == worse(power, by_ns)


def test_what_an_announce_says_beside_itself_is_bounded_and_broken_parts_are_passed_over() -> None:
    zones = tuple(AlternateTimeOffset(key, 0, 0, 0, "x") for key in range(20))
    broken = Tlv(TlvType.ALTERNATE_TIME_OFFSET_INDICATOR, bytes(3))
    propagating = Tlv(TlvType.ORGANIZATION_EXTENSION_PROPAGATE, PowerProfile2017(5, 5).to_tlv().value)
    tlvs = (broken, PathTrace(()).to_tlv(), propagating, POWER.to_tlv(), PowerProfile2017(8, 8).to_tlv())

    assert Heard(power=POWER, zones=zones[:MOST_ZONES]) == heard((*tlvs, *(zone.to_tlv() for zone in zones)))


# Synchronization metadata


def told(node: Node, port: int = 1) -> list[tuple[float, Message]]:
    return sent_by(node, MessageType.MANAGEMENT, port)


def test_a_grandmaster_tells_studios_once_a_second_what_they_want_to_know() -> None:
    net = Net()
    first, middle, last = chain(net, Extras(metadata=STUDIO), Extras(metadata=replace(STUDIO, locking_status=1)))
    net.run(30)

    said = told(first)
    gaps = {round(later - earlier, 6) for (earlier, _), (later, _) in pairwise(said)}
    assert {1.0} == gaps
    _, message = said[-1]
    assert isinstance(message, Management)
    assert (Action.COMMAND, ALL_PORTS, 0x7F) == (message.action, message.target, message.header.log_interval)
    assert STUDIO == find(message.tlvs, SynchronizationMetadata)
    assert STUDIO == middle.instance.view().metadata
    # Since it follows somebody it says nothing of its own.
    assert [] == [at_s for at_s, _ in told(middle, 2) if at_s > 10]
    assert last.instance.view().metadata is None


def test_metadata_of_others_than_the_grandmaster_and_old_ones_are_not_shown() -> None:
    net = Net()
    first, middle, _ = chain(net, Extras(metadata=STUDIO))
    net.run(30)
    assert STUDIO == middle.instance.view().metadata
    _, genuine = told(first)[-1]
    assert isinstance(genuine, Management)
    other = replace(STUDIO, locking_status=1).to_tlv()

    stranger = replace(genuine.header.source, clock=identity(66))
    forged = replace(genuine, header=replace(genuine.header, source=stranger), tlvs=(other,))
    answer = replace(genuine, action=Action.RESPONSE, tlvs=(other,))
    broken = replace(genuine, tlvs=(Tlv(other.kind, other.value[:-2]),))
    for message in (forged, answer, broken):
        net.perform(middle, middle.instance.on_message(1, ptp.encode(message), None, "192.0.2.1", net.mono()))
        assert STUDIO == middle.instance.view().metadata
    first.instance.set_extras(Extras(), net.mono())
    net.run(9)
    assert STUDIO == middle.instance.view().metadata
    net.run(6)
    assert middle.instance.view().metadata is None


def test_ports_that_speak_to_single_clocks_only_tell_no_studio() -> None:
    net = Net()
    only = UnicastSettings(grants=True, only=True)
    one = port_settings(unicast=only, role=Role.TIME_TRANSMITTER)
    giver = net.node(InstanceSettings(identity=identity(1), ports=(one,)), quality=grandmaster())
    giver.instance.set_extras(Extras(metadata=STUDIO), net.mono())
    net.start()
    net.run(5)

    assert PortState.TIME_TRANSMITTER is giver.state()
    assert [] == giver.sent


def test_nobody_answers_metadata_and_a_boundary_clock_passes_it_on() -> None:
    net = Net()
    first, _, _ = chain(net, Extras(metadata=STUDIO))
    net.run(30)
    _, message = told(first)[-1]
    between = with_states(ptp4l_like(), PortState.TIME_RECEIVER, PortState.TIME_TRANSMITTER)

    reaction = Responder(ManagementSettings()).on_message(ptp.encode(message), Network(1, "192.0.2.1"), between, at(0))

    assert [] == reaction.commands
    (passed,) = reaction.outgoing
    assert Network(2, None) == passed.to
    assert isinstance(message, Management)
    assert replace(message, hops=message.hops - 1) == ptp.decode(passed.data)


# The rate of an interface


def test_unicast_clients_are_told_with_their_grants_how_fast_the_interface_is() -> None:
    net = Net()
    rate = InterfaceRate(100_000_000, 64, 720)
    fast = {"intervals": Intervals(announce=0, sync=-1, delay=-1)}
    given = port_settings(unicast=UnicastSettings(grants=True, only=True), role=Role.TIME_TRANSMITTER, **fast)
    giver = net.node(InstanceSettings(identity=identity(1), ports=(given,)), quality=grandmaster())
    asked = UnicastSettings(servers=(address(0),), only=True)
    taken = port_settings(unicast=asked, role=Role.TIME_RECEIVER, **fast)
    taker = net.node(InstanceSettings(identity=identity(2), ports=(taken,), slave_only=True))
    net.link(giver, 1, taker, 1)
    giver.instance.set_extras(Extras(rates={1: rate}), net.mono())
    net.start()
    net.run(20)

    (server,) = taker.instance.view().ports[0].servers
    assert rate == server.rate
    grants = [message for _, message in sent_by(giver, MessageType.SIGNALING) if isinstance(message, Signaling)]
    assert grants
    assert all(rate == find(message.tlvs, InterfaceRate) for message in grants)
    assert taker.measurements


def test_a_refusal_tells_nothing_of_the_interface() -> None:
    net = Net()
    given = UnicastSettings(grants=True, only=True, clients=0)
    one = port_settings(unicast=given, role=Role.TIME_TRANSMITTER)
    giver = net.node(InstanceSettings(identity=identity(1), ports=(one,)), quality=grandmaster())
    asked = port_settings(unicast=UnicastSettings(servers=(address(0),), only=True), role=Role.TIME_RECEIVER)
    taker = net.node(InstanceSettings(identity=identity(2), ports=(asked,), slave_only=True))
    net.link(giver, 1, taker, 1)
    giver.instance.set_extras(Extras(rates={1: InterfaceRate(10**9, 64, 720)}), net.mono())
    net.start()
    net.run(5)

    refusals = [message for _, message in sent_by(giver, MessageType.SIGNALING) if isinstance(message, Signaling)]
    assert refusals
    assert {1} == {len(message.tlvs) for message in refusals}
    assert taker.instance.view().ports[0].servers[0].rate is None


# The grandmaster's own jumps


def test_gptp_is_told_by_how_much_the_grandmaster_was_set() -> None:
    """IEEE 802.1AS-2020, 11.4.4.3: the new phase minus the old one, and a number that tells jumps apart."""
    net = Net()
    first, last = two(net)
    net.start()
    net.run(10)

    def newest() -> FollowUpInformation:
        _, message = sent_by(first, MessageType.FOLLOW_UP)[-1]
        found = find(message.tlvs, FollowUpInformation)
        assert found is not None
        return found

    assert FollowUpInformation() == newest()
    first.instance.clock_stepped("another", Duration.from_ns(5))
    net.run(1)
    assert FollowUpInformation() == newest()
    first.instance.clock_stepped("local", Duration.from_ns(-1_500_000_000))
    net.run(1)
    assert FollowUpInformation(time_base_indicator=1, last_phase_change=Duration.from_ns(-1_500_000_000)) == newest()
    (note,) = [note for note in last.notes if note.name == "time-base"]
    assert "jumped by -1.5" in note.text
    first.instance.clock_stepped("local")
    net.run(1)
    assert FollowUpInformation(time_base_indicator=2) == newest()
