"""The appliance is managed: its own tools over the Unix sockets, and anybody over the network."""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

import pytest
from story_support import Story

from timesync.base.ids import ALL_CLOCKS
from timesync.sim.ptp_management import SimManagement
from timesync.wire import ptp
from timesync.wire.ptp_management import ManagementError, ManagementId, ManagementTlv, read_data
from timesync.wire.ptp_management_data import CurrentDataSet, Octet, ParentDataSet, PortDataSet
from timesync.wire.ptp_management_np import PortHardwareClock, PortProperties, PortTimestamping, TimeStatus
from timesync.wire.ptp_message import Action, Management
from timesync.wire.ptp_tlv import TlvType

PATH = "/run/timesync/ptp4l"
PMC = "/run/pmc.1"
TOOL = 0x1122334455667788
FOLLOWER = """
name: managed
description: A clock that follows a grandmaster by hardware stamps.
duration: 1h
settle: 1min
world:
  hardware:
    phcs:
      eth0: {offset: 10us, frequency: 5ppm, wander: 1e-9}
  ptp:
    cards:
      eth0: {phc: eth0}
    peers:
      - {name: gm, card: eth0, delay: 1us, priority1: 100, jitter: {normal: 20ns}}
config:
  clocks: {eth0: {phc: eth0}}
  serve: {clock: eth0}
  ptp:
    role: auto
    management: /run/timesync/ptp4l
    ports: [{interface: eth0, timestamping: hardware}]
"""


def ask(id_: ManagementId, action: Action = Action.GET, data: bytes = b"") -> bytes:
    """A management message to everybody, octet by octet."""
    tlv = struct.pack(">HHH", 1, 2 + len(data), id_) + data
    head = struct.pack(">BBHBBHqIQHHBb", 0x0D, 0x12, 48 + len(tlv), 0, 0, 0, 0, 0, TOOL, 1, 7, 0, 0x7F)
    return head + ALL_CLOCKS + struct.pack(">HBBBx", 0xFFFF, 0, 0, action) + tlv


def said(data: bytes) -> object:
    """What an answer says: its data, or the error."""
    message = ptp.decode(data)
    assert isinstance(message, Management)
    (tlv,) = message.tlvs
    if tlv.kind == TlvType.MANAGEMENT_ERROR_STATUS:
        return ManagementError.from_tlv(tlv)
    return read_data(ManagementTlv.from_tlv(tlv))


class Managed(Story):
    """A story with a tool at the sockets of management."""

    @property
    def sockets(self) -> SimManagement:
        return self.host.management[PATH]

    def asked(self, second: float, *asked: bytes, writable: bool = True) -> None:
        for data in asked:
            self.at(second, partial(self._deliver, data, writable))

    def _deliver(self, data: bytes, writable: bool) -> None:
        self.sockets.deliver(data, PMC, writable=writable)

    def run(self, seconds: float) -> Managed:
        kept: list[SimManagement] = []
        self.at(0, self.stage.ptp.start)
        self.at(1, lambda: kept.append(self.sockets))
        super().run(seconds)
        assert {} == self.host.management, "sockets are closed at the end"
        self.answers_of = [(said(data), writable) for data, _, writable in kept[0].sent]
        return self


def subscribe(bitmap: int, seconds: int) -> bytes:
    return ask(ManagementId.SUBSCRIBE_EVENTS_NP, Action.SET, struct.pack(">H", seconds) + bytes((bitmap,)) + bytes(63))


def test_tools_see_the_clock_as_it_is() -> None:
    story = Managed(FOLLOWER)
    ids = (
        ManagementId.PORT_DATA_SET,
        ManagementId.CURRENT_DATA_SET,
        ManagementId.TIME_STATUS_NP,
        ManagementId.PORT_PROPERTIES_NP,
        ManagementId.PORT_HWCLOCK_NP,
        ManagementId.MASTER_ONLY,
    )
    story.asked(60, *map(ask, ids))
    story.run(61)

    assert [True] * len(ids) == [writable for _, writable in story.answers_of]
    port, current, status, properties, hardware, only = [answer for answer, _ in story.answers_of]
    assert isinstance(port, PortDataSet)
    assert 9 == port.state
    assert isinstance(current, CurrentDataSet)
    assert 1 == current.steps_removed
    assert abs(current.offset.ns()) < 200
    assert abs(current.mean_delay.ns() - 1000) < 100
    assert isinstance(status, TimeStatus)
    assert status.grandmaster_present
    assert abs(status.ingress_ns - story.host.world.now.ns()) < 3 * 10**9
    assert isinstance(properties, PortProperties)
    assert (PortTimestamping.HARDWARE, "eth0") == (properties.timestamping, properties.interface)
    assert isinstance(hardware, PortHardwareClock)
    assert story.host.cards["eth0"].number == hardware.phc_index
    assert Octet(0) == only


def test_a_priority_makes_it_grandmaster_and_subscribers_are_told() -> None:
    story = Managed(FOLLOWER)
    story.asked(50, subscribe(0b1, 0xFFFF))  # port states
    story.asked(60, ask(ManagementId.PRIORITY1, Action.SET, bytes((5, 0))))
    story.asked(80, ask(ManagementId.PARENT_DATA_SET), ask(ManagementId.CURRENT_DATA_SET))
    story.run(81)

    answers = [answer for answer, _ in story.answers_of]
    states = [answer.state for answer in answers if isinstance(answer, PortDataSet)]
    assert [6] == states, "TIME_TRANSMITTER at once: nobody better is heard"
    (parent,) = [answer for answer in answers if isinstance(answer, ParentDataSet)]
    assert (0, 5) == (parent.parent.port, parent.priority1)
    (current,) = [answer for answer in answers if isinstance(answer, CurrentDataSet)]
    assert (0, 0) == (current.offset.scaled_ns, current.mean_delay.scaled_ns)
    assert any("SetPriority1" in note.text for _, note in story.notes), "it is in the log who made it so"


def test_each_sync_is_told_to_who_wants_it_until_his_time_is_over() -> None:
    story = Managed(FOLLOWER)
    story.asked(60, subscribe(0b10, 20))  # TIME_SYNC
    story.run(120)

    told = [answer for answer, _ in story.answers_of if isinstance(answer, TimeStatus)]
    assert 15 <= len(told) <= 21, "one for each measurement, of which there is one a second"
    assert sorted({answer.ingress_ns for answer in told}) == [answer.ingress_ns for answer in told]


def test_a_subscriber_that_went_away_is_forgotten() -> None:
    story = Managed(FOLLOWER)
    story.asked(60, subscribe(0b10, 0xFFFF))
    story.at(70, lambda: story.sockets.deaf.add(PMC))
    story.at(80, lambda: story.sockets.deaf.discard(PMC))
    story.run(120)
    assert 9 <= len([answer for answer, _ in story.answers_of if isinstance(answer, TimeStatus)]) <= 12


def test_the_socket_for_reading_changes_nothing() -> None:
    story = Managed(FOLLOWER)
    story.asked(20, ask(ManagementId.PRIORITY1, Action.SET, bytes((5, 0))), writable=False)
    story.asked(21, ask(ManagementId.PRIORITY1), writable=False)
    story.run(22)
    (refused, from_), (now, _) = story.answers_of
    assert isinstance(refused, ManagementError)
    assert (False, Octet(128)) == (from_, now)


@pytest.mark.parametrize("action", [Action.GET, Action.SET])
def test_the_network_may_ask_and_not_change(action: Action) -> None:
    story = Managed(FOLLOWER)
    heard: list[object] = []

    def listen() -> None:
        (peer,) = story.stage.ptp.peers["gm"]
        assert peer._socket is not None
        original: Callable[..., None] = peer.on_message

        def on_message(data: bytes, stamp: object, source: str) -> None:
            if data[0] & 0xF == 0xD:
                heard.append(said(data))
            original(data, stamp, source)

        peer.on_message = on_message  # type: ignore[method-assign]  # the test listens in
        peer._socket.send_general(ask(ManagementId.PRIORITY1, action, bytes((5, 0)) if action is Action.SET else b""))

    story.at(20, listen)
    story.asked(25, ask(ManagementId.PRIORITY1))
    story.run(26)
    (answer,) = heard
    assert answer == Octet(128) if action is Action.GET else isinstance(answer, ManagementError)
    assert (Octet(128), True) == story.answers_of[0]


def test_a_socket_that_cannot_be_opened_is_said_once_and_tried_again() -> None:
    story = Managed(FOLLOWER)
    other = object.__new__(SimManagement)  # somebody else's, at the same path
    story.host.management[PATH] = other
    story.at(10, lambda: story.host.management.pop(PATH))
    story._plans.append((15, lambda: story._deliver(ask(ManagementId.PRIORITY1), True)))
    kept: list[SimManagement] = []
    story.at(14, lambda: kept.append(story.sockets))
    Story.run(story, 16)
    said_ = [note.level for _, note in story.notes if "management socket" in note.text]
    assert ["warning", "info"] == said_
    assert [Octet(128)] == [said(data) for data, _, _ in kept[0].sent]
