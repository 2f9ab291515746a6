"""Unicast negotiation, both ends: what ptp4l was caught sending, and what it does not show."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace

import pytest
from ptp_support import identity, port_settings
from ptp_unicast_captures import CLIENT, EXCHANGE

from timesync.base.ids import ALL_PORTS, ClockId, ClockIdentity, PortIdentity
from timesync.base.machine import Dropped, Noted
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.context import Headers, PortCounters
from timesync.ptp.effect import PtpEffect, SendEvent, SendGeneral
from timesync.ptp.instance import Instance
from timesync.ptp.settings import DelayMechanism, InstanceSettings, Intervals
from timesync.ptp.unicast.client import UnicastClient, UnicastClientSettings, UnicastState
from timesync.ptp.unicast.server import UnicastServer, UnicastServerSettings
from timesync.wire import ptp
from timesync.wire.ptp_message import Announce, Flags, FollowUp, Header, Message, MessageType, Signaling, Sync, Tlv
from timesync.wire.ptp_tlv import UnicastCancel, UnicastGrant, UnicastRequest
from timesync.wire.ptp_tlv_read import read

ANNOUNCE, SYNC, DELAY_RESP = MessageType.ANNOUNCE, MessageType.SYNC, MessageType.DELAY_RESP
SERVER = PortIdentity(ClockIdentity(bytes.fromhex("020000fffe000001")), 1)
OTHER = PortIdentity(ClockIdentity(bytes.fromhex("020000fffe000002")), 1)
ME = PortIdentity(ClockIdentity(CLIENT), 1)


def at(seconds: float) -> Instant[Mono]:
    return Instant[Mono].from_ns(10**9) + Duration.from_s(seconds)


def address(number: int) -> str:
    return f"10.9.0.{number}"


def made_for(clock: bytes) -> tuple[Instance, Headers, PortCounters]:
    instance = Instance(InstanceSettings(identity=ClockIdentity(clock), ports=(port_settings(),)), random.Random(1))
    port = instance.ports[1]
    return instance, port.headers, port.counters


def client(*servers: int, **changes: object) -> UnicastClient:
    given: dict[str, object] = {"intervals": Intervals(announce=0), "duration_s": 20, **changes}
    settings = UnicastClientSettings(port=1, servers=tuple(map(address, servers)), **given)  # type: ignore[arg-type]
    _, headers, counters = made_for(CLIENT)
    return UnicastClient(settings, headers, counters)


def sent(effects: list[PtpEffect]) -> list[tuple[str, bytes]]:
    return [(one.destination or "", one.data) for one in effects if isinstance(one, SendGeneral)]


def tlvs(effects: list[PtpEffect]) -> list[object]:
    found: list[object] = []
    for _, data in sent(effects):
        message = ptp.decode(data)
        if isinstance(message, Signaling):
            found += [read(tlv) for tlv in message.tlvs]
    return found


def signaling(source: PortIdentity, *said: UnicastGrant | UnicastCancel | UnicastRequest | Tlv) -> Signaling:
    raw = tuple(one if isinstance(one, Tlv) else one.to_tlv() for one in said)
    return Signaling(Header(source=source, sequence_id=0, flags=Flags.UNICAST), ME, raw)


def kinds(effects: list[PtpEffect]) -> list[MessageType]:
    return [one.message_type for one in tlvs(effects) if isinstance(one, UnicastRequest)]


# -- the client


def test_the_client_sends_what_ptp4l_sent() -> None:
    """Its answers come at their times; the election is told when ptp4l's changed its mind."""
    machine = client(1, 2)
    ours: list[tuple[int, str]] = []
    selections = {6.001: SERVER, 23.06: None, 24.022: OTHER}
    theirs = [(to, data) for _, source, to, data in EXCHANGE if source == 3]

    def keep(effects: list[PtpEffect]) -> None:
        ours.extend((int(to.rpartition(".")[2]), data.hex()) for to, data in sent(effects))

    keep(list(machine.start(at(0))))
    for seconds, source, to, data in EXCHANGE:
        now = at(seconds)
        for number in (1, 2):
            for kind in (ANNOUNCE, SYNC):  # both send all the time
                machine.heard(kind, address(number), now)
        if seconds in selections:
            keep(list(machine.select(selections.pop(seconds), now)))
        due = machine.deadline()
        assert due is not None
        if due <= now:
            keep(list(machine.on_deadline(now)))
        if to == 3:
            message = ptp.decode(bytes.fromhex(data))
            assert isinstance(message, Signaling)
            keep(list(machine.on_signaling(message, address(source), now)))

    assert theirs == ours


@dataclass
class Talk:
    """A client with one server that grants all, or what a test says."""

    machine: UnicastClient
    now: float = 0.0
    asked: list[tuple[float, list[MessageType]]] = field(default_factory=list)

    def until(self, seconds: float, *, grants: bool = False, heard: bool = True) -> None:
        while True:
            due = self.machine.deadline()
            if due is None or due > at(seconds):
                break
            self.now = max(self.now, (due - at(0)).s())
            if heard:
                self.hear()
            effects = list(self.machine.on_deadline(due))
            wanted = kinds(effects)
            if wanted:
                self.asked.append((round(self.now, 3), wanted))
            if grants:
                self.grant(*wanted)
        self.now = seconds

    def hear(self) -> None:
        for kind in (ANNOUNCE, SYNC):
            self.machine.heard(kind, address(1), at(self.now))

    def grant(self, *wanted: MessageType, seconds: int = 20, source: PortIdentity = SERVER) -> list[PtpEffect]:
        said = signaling(source, *(UnicastGrant(kind, 0, seconds) for kind in wanted))
        return list(self.machine.on_signaling(said, address(1), at(self.now)))


def started(**changes: object) -> Talk:
    machine = client(1, **changes)
    assert [ANNOUNCE] == kinds(list(machine.start(at(0))))
    return Talk(machine)


def test_a_silent_server_is_asked_less_and_less() -> None:
    talk = started()

    talk.until(400)

    assert [1, 3, 7, 15, 31, 63, 127, 191, 255, 319, 383] == [seconds for seconds, _ in talk.asked]
    assert UnicastState.WAIT is talk.machine.view()[0].state


def test_a_refusal_is_noted_once_and_asked_again() -> None:
    talk = started()
    notes = [one for one in talk.grant(ANNOUNCE, seconds=0) if isinstance(one, Noted)]
    talk.until(1)
    notes += [one for one in talk.grant(ANNOUNCE, seconds=0) if isinstance(one, Noted)]

    assert ["unicast-refused"] == [one.name for one in notes]
    assert [(1, [ANNOUNCE])] == talk.asked


def test_grants_are_renewed_at_three_quarters_and_end_without() -> None:
    talk = started()
    talk.grant(ANNOUNCE)
    talk.until(14)
    assert [] == talk.asked
    talk.until(15)
    talk.grant(ANNOUNCE)
    talk.until(30)
    assert [15, 30] == [seconds for seconds, _ in talk.asked]
    assert UnicastState.HAVE_ANNOUNCE is talk.machine.view()[0].state

    talk.until(36)

    assert UnicastState.WAIT is talk.machine.view()[0].state
    assert [15, 30, 31, 33] == [seconds for seconds, _ in talk.asked]


def test_the_selected_server_is_asked_for_time_and_told_when_it_is_not_any_more() -> None:
    talk = started()
    talk.grant(ANNOUNCE)

    wanted = kinds(list(talk.machine.select(SERVER, at(1))))
    assert [SYNC, DELAY_RESP] == wanted
    talk.now = 1
    talk.grant(SYNC)
    assert UnicastState.NEED_SYNC is talk.machine.view()[0].state
    talk.grant(DELAY_RESP)
    assert UnicastState.HAVE_SYNC is talk.machine.view()[0].state
    assert 0 == talk.machine.log_interval(SERVER, SYNC)
    assert [] == list(talk.machine.select(SERVER, at(2)))

    assert [UnicastCancel(SYNC), UnicastCancel(DELAY_RESP)] == tlvs(list(talk.machine.select(None, at(2))))
    assert [UnicastCancel(ANNOUNCE)] == tlvs(list(talk.machine.stop()))
    assert talk.machine.deadline() is None


@pytest.mark.parametrize("mechanism", [DelayMechanism.P2P, DelayMechanism.NONE])
def test_delay_responses_are_asked_for_end_to_end_only(mechanism: DelayMechanism) -> None:
    talk = started(mechanism=mechanism)
    talk.grant(ANNOUNCE)

    assert [SYNC] == kinds(list(talk.machine.select(SERVER, at(1))))


def test_a_server_whose_messages_stop_is_asked_anew() -> None:
    """Restarted, it knows of no grant, and would say nothing until the renewal."""
    talk = started(duration_s=300)
    talk.grant(ANNOUNCE, seconds=300)
    talk.until(20)
    assert [] == talk.asked

    talk.hear()
    talk.until(60, heard=False)

    assert (28, [ANNOUNCE]) == talk.asked[0]


def test_another_clock_at_the_same_address_starts_from_nothing() -> None:
    talk = started()
    talk.grant(ANNOUNCE)
    list(talk.machine.select(SERVER, at(1)))
    talk.now = 1
    talk.grant(SYNC)
    talk.grant(DELAY_RESP, source=OTHER)

    (server,) = talk.machine.view()
    assert (OTHER, False, {DELAY_RESP: 0}) == (server.identity, server.selected, server.granted)


@pytest.mark.parametrize(
    ("said", "source", "reason"),
    [
        (UnicastGrant(SYNC, 0, 20), 1, "unicast-unasked"),
        (UnicastGrant(ANNOUNCE, 100, 20), 1, "unicast-interval"),
        (UnicastGrant(ANNOUNCE, -31, 20), 1, "unicast-interval"),
        (UnicastGrant(ANNOUNCE, 0, 20), 9, "unicast-stranger"),
    ],
)
def test_grants_that_nobody_wants_are_dropped(said: UnicastGrant, source: int, reason: str) -> None:
    talk = started()

    effects = list(talk.machine.on_signaling(signaling(SERVER, said), address(source), at(0)))

    assert [Dropped(reason)] == effects
    assert UnicastState.WAIT is talk.machine.view()[0].state


def test_signaling_for_others_and_broken_tlvs_are_passed_over() -> None:
    talk = started()
    grant = UnicastGrant(ANNOUNCE, 0, 20)
    other = replace(signaling(SERVER, grant), target=OTHER)
    broken = signaling(SERVER, Tlv(5, b"\xb0"), Tlv(5, b"\x70" + bytes(7)), Tlv(0x7F00, b""))

    assert [] == list(talk.machine.on_signaling(other, address(1), at(0)))
    assert [] == list(talk.machine.on_signaling(broken, address(1), at(0)))
    assert UnicastState.WAIT is talk.machine.view()[0].state
    list(talk.machine.on_signaling(replace(signaling(SERVER, grant), target=ALL_PORTS), address(1), at(0)))
    assert UnicastState.HAVE_ANNOUNCE is talk.machine.view()[0].state


def test_a_longer_grant_than_was_asked_is_renewed_as_asked() -> None:
    talk = started()
    talk.grant(ANNOUNCE, seconds=0xFFFFFFFF)
    talk.until(15)
    assert [(15, [ANNOUNCE])] == talk.asked


def test_a_cancellation_is_acknowledged_and_asked_again_later() -> None:
    talk = started()
    talk.grant(ANNOUNCE)
    talk.now = 5
    said = signaling(SERVER, UnicastCancel(ANNOUNCE))

    effects = list(talk.machine.on_signaling(said, address(1), at(5)))
    talk.until(6)

    assert [UnicastCancel(ANNOUNCE, acknowledge=True)] == tlvs(effects)
    assert [(6, [ANNOUNCE])] == talk.asked
    acknowledged = signaling(SERVER, UnicastCancel(ANNOUNCE, acknowledge=True))
    assert [] == list(talk.machine.on_signaling(acknowledged, address(1), at(6)))
    kept = signaling(SERVER, UnicastCancel(ANNOUNCE, maintain_grant=True))
    assert [] == list(talk.machine.on_signaling(kept, address(1), at(6)))


def test_strangers_are_asked_to_stop_once_a_second() -> None:
    machine = client(1)
    list(machine.start(at(0)))
    assert machine.knows(address(1))
    assert not machine.knows(address(9))

    first = list(machine.on_stranger(SYNC, OTHER, address(9), at(0)))
    again = [one for n in range(9) for one in machine.on_stranger(SYNC, OTHER, address(9), at(n / 10))]
    later = list(machine.on_stranger(ANNOUNCE, OTHER, address(9), at(1)))

    assert ([UnicastCancel(SYNC)], []) == (tlvs(first), again)
    assert [UnicastCancel(ANNOUNCE)] == tlvs(later)
    for number in range(1000):
        list(machine.on_stranger(SYNC, OTHER, f"2001:db8::{number:x}", at(2)))
    assert 128 >= len(machine._strangers)


# -- the server


class Served:
    """A server, and all that it sent."""

    def __init__(self, **changes: object) -> None:
        settings = UnicastServerSettings(**changes)  # type: ignore[arg-type]
        instance, headers, counters = made_for(SERVER.clock)
        self.accepted = True
        self.counters = counters
        self.machine = UnicastServer(
            settings, port_settings(), instance.context, headers, counters, lambda _: self.accepted
        )

    def ask(self, seconds: float, *said: UnicastRequest | UnicastCancel, number: int = 3) -> list[object]:
        source = PortIdentity(identity(number), 1)
        message = replace(signaling(source, *said), target=ALL_PORTS)
        effects = list(self.machine.on_signaling(message, address(number), at(seconds)))
        assert all(to == address(number) for to, _ in sent(effects))
        return tlvs(effects)

    def granted(self, seconds: float, kind: MessageType, log_interval: int, length: int, number: int = 3) -> int:
        (answer,) = self.ask(seconds, UnicastRequest(kind, log_interval, length), number=number)
        assert isinstance(answer, UnicastGrant)
        assert (kind, log_interval, answer.duration_s > 0) == (
            answer.message_type,
            answer.log_interval,
            answer.renewal_invited,
        )
        return answer.duration_s

    def run(self, until: float, *, serving: bool = True) -> list[tuple[float, PtpEffect]]:
        out: list[tuple[float, PtpEffect]] = []
        while (due := self.machine.deadline()) is not None and due <= at(until):
            seconds = round((due - at(0)).s(), 6)
            out += [(seconds, one) for one in self.machine.on_deadline(due, serving=serving)]
        return out


def decoded(effect: PtpEffect) -> Message:
    assert isinstance(effect, SendEvent | SendGeneral)
    return ptp.decode(effect.data)


def test_the_server_grants_what_ptp4l_asked_as_ptp4l_granted() -> None:
    served = Served()
    for seconds, source, to, data in EXCHANGE[:7]:
        if source != 3 or to != 1:
            continue
        message = ptp.decode(bytes.fromhex(data))
        assert isinstance(message, Signaling)
        effects = list(served.machine.on_signaling(message, address(3), at(seconds)))
        # ptp4l answers each request by a message of its own; the TLVs are the same.
        expected = [
            read(tlv)
            for when, sender, receiver, answer in EXCHANGE
            if (when, sender, receiver) == (seconds, 1, 3)
            for tlv in (ptp.decode(bytes.fromhex(answer))).tlvs
        ]
        assert expected == tlvs(effects)
        (reply,) = [ptp.decode(answer) for _, answer in sent(effects)]
        assert isinstance(reply, Signaling)
        assert (message.header.source, Flags.UNICAST) == (reply.target, reply.header.flags)


def test_announce_and_sync_come_at_their_intervals_until_the_grant_ends() -> None:
    served = Served()
    assert 4 == served.granted(0, ANNOUNCE, 0, 4)
    assert 2 == served.granted(0, SYNC, -1, 2)

    out = served.run(10)

    announces = [(when, decoded(one)) for when, one in out if isinstance(one, SendGeneral)]
    syncs = [(when, decoded(one)) for when, one in out if isinstance(one, SendEvent)]
    assert [0, 1, 2, 3] == [when for when, _ in announces]
    assert [0, 0.5, 1, 1.5] == [when for when, _ in syncs]
    assert [(n, Flags.UNICAST, 0) for n in range(4)] == [
        (one.header.sequence_id, one.header.flags & Flags.UNICAST, one.header.log_interval)
        for _, one in announces
        if isinstance(one, Announce)
    ]
    assert [(n, Flags.UNICAST | Flags.TWO_STEP, 0x7F) for n in range(4)] == [
        (one.header.sequence_id, one.header.flags, one.header.log_interval) for _, one in syncs if isinstance(one, Sync)
    ]
    assert () == served.machine.clients()
    assert served.machine.deadline() is None


def test_the_follow_up_goes_where_its_sync_went() -> None:
    served = Served()
    served.granted(0, SYNC, 0, 10)
    ((_, sync),) = served.run(0)
    assert isinstance(sync, SendEvent)
    stamp = Stamp(ClockId("eth1"), 0, Instant((1_800_000_000 * 10**9 + 5 << 16) + 7))

    (effect,) = served.machine.on_sent(sync.token, stamp)

    assert isinstance(effect, SendGeneral)
    message = decoded(effect)
    assert isinstance(message, FollowUp)
    assert (sync.destination, 0) == (effect.destination, message.header.sequence_id)
    assert (Flags.UNICAST, 0x7F, Duration(7)) == (
        message.header.flags,
        message.header.log_interval,
        message.header.correction,
    )
    assert 1_800_000_000 * 10**9 + 5 == message.precise_origin.ns()
    assert [] == list(served.machine.on_sent(sync.token, stamp))
    assert 1 == served.counters.sent[MessageType.FOLLOW_UP]


def test_a_lost_stamp_costs_one_follow_up() -> None:
    served = Served()
    served.granted(0, SYNC, 0, 10)
    ((_, sync),) = served.run(0)
    assert isinstance(sync, SendEvent)

    assert [] == list(served.machine.on_sent(sync.token, None))
    assert 1 == served.counters.lost_stamps
    assert 1 == len(served.run(1))


def test_nothing_is_sent_while_the_port_gives_no_time() -> None:
    served = Served()
    served.granted(0, ANNOUNCE, 0, 100)
    assert [] == served.run(50, serving=False)
    assert [51, 52] == [when for when, _ in served.run(52)]


def test_what_was_missed_is_not_made_up_for() -> None:
    served = Served()
    served.granted(0, SYNC, -7, 1000)
    served.run(1)

    assert 1 == len(list(served.machine.on_deadline(at(500), serving=True)))


def test_clients_that_came_apart_are_not_served_in_one_burst_after_the_machine_slept() -> None:
    """Some hundred messages sent at once fill the socket's queue of transmit stamps, and from then on for ever."""
    served = Served()
    for number, seconds in ((3, 0.0), (4, 0.25), (5, 0.5)):
        served.granted(seconds, SYNC, 0, 100, number=number)
    served.run(1)
    list(served.machine.on_deadline(at(10.6), serving=True))
    assert [11.0, 11.25, 11.5] == [seconds for seconds, _ in served.run(11.75)]


def test_two_hundred_clients_get_telecom_rates() -> None:
    """Sync and answers to Delay_Req 16 times a second, and an Announce, as bench/ptp_daemon.py measures them."""
    served = Served()
    for number in range(200):
        for kind, log_interval in ((ANNOUNCE, 0), (SYNC, -4), (DELAY_RESP, -4)):
            assert 300 == served.granted(0, kind, log_interval, 300, number=number)


def test_a_renewal_goes_on_and_another_interval_replaces() -> None:
    served = Served()
    served.granted(0, ANNOUNCE, 0, 10)
    served.run(7)
    served.granted(7.5, ANNOUNCE, 0, 10)
    assert [float(n) for n in range(8, 18)] == [when for when, _ in served.run(20)]

    served.granted(30, ANNOUNCE, 0, 100)
    served.run(31)
    served.granted(31.5, ANNOUNCE, 1, 100)
    out = served.run(36)
    assert [31.5, 33.5, 35.5] == [when for when, _ in out]
    assert [2, 3, 4] == [decoded(one).header.sequence_id for _, one in out]


@pytest.mark.parametrize(
    ("kind", "log_interval", "length", "expected"),
    [
        (ANNOUNCE, -3, 60, 60),
        (ANNOUNCE, -4, 60, 0),
        (SYNC, -7, 60, 60),
        (SYNC, -8, 60, 0),
        (SYNC, 11, 60, 0),
        (SYNC, 127, 60, 0),
        (SYNC, -128, 60, 0),
        (SYNC, 0, 0, 0),
        (SYNC, 0, 0xFFFFFFFF, 1000),
        (DELAY_RESP, -7, 60, 60),
        (DELAY_RESP, -8, 60, 0),
        (MessageType.PDELAY_RESP, 0, 60, 0),  # this port measures end to end
        (MessageType.MANAGEMENT, 0, 60, 0),
    ],
)
def test_limits_of_one_grant(kind: MessageType, log_interval: int, length: int, expected: int) -> None:
    assert expected == Served().granted(0, kind, log_interval, length)


def test_the_table_and_the_rate_are_bounded() -> None:
    few = Served(clients=2)
    assert [60, 60, 0] == [few.granted(0, ANNOUNCE, 0, 60, number=n) for n in (3, 4, 5)]
    assert 60 == few.granted(0, SYNC, 0, 60, number=4)
    few.run(61)
    assert 60 == few.granted(61, ANNOUNCE, 0, 60, number=5)

    slow = Served(rate=5)
    assert [60, 60, 0] == [slow.granted(0, SYNC, 0, 60, number=n) for n in (3, 4, 5)]
    assert 60 == slow.granted(0, ANNOUNCE, 0, 60, number=5)
    assert 0 == slow.granted(0, DELAY_RESP, 0, 60, number=5)
    assert 60 == slow.granted(0, SYNC, 1, 60, number=3)
    assert 60 == slow.granted(0, DELAY_RESP, 0, 60, number=5)


def test_a_flood_of_changed_requests_leaves_nothing_behind() -> None:
    served = Served()
    for number in range(5000):
        served.granted(0, DELAY_RESP, number % 2, 900)
        served.granted(0, ANNOUNCE, number % 2, 900)

    assert 200 > len(served.machine._queue)
    assert 2 << 9 == served.machine._rate
    served.run(1000)
    assert 0 == served.machine._rate


def test_delay_requests_can_be_held_against_their_grant() -> None:
    served = Served()
    who = PortIdentity(identity(3), 1)
    served.granted(0, DELAY_RESP, 0, 10)

    assert served.machine.grants(DELAY_RESP, address(3), who, at(9))
    assert not served.machine.grants(DELAY_RESP, address(3), who, at(10))
    assert not served.machine.grants(DELAY_RESP, address(4), who, at(9))
    assert not served.machine.grants(SYNC, address(3), who, at(9))


def test_a_cancellation_ends_the_grant_and_is_acknowledged() -> None:
    served = Served()
    served.granted(0, ANNOUNCE, 0, 60)
    served.granted(0, SYNC, 0, 60)

    answers = served.ask(1, UnicastCancel(SYNC), UnicastCancel(ANNOUNCE, maintain_request=True))

    assert [UnicastCancel(SYNC, acknowledge=True)] == answers
    assert [{ANNOUNCE: 0}] == [one.granted for one in served.machine.clients()]
    assert [UnicastCancel(SYNC, acknowledge=True)] == served.ask(1, UnicastCancel(SYNC))
    assert [] == served.ask(1, UnicastCancel(SYNC, acknowledge=True))


def test_those_who_are_not_accepted_hear_nothing() -> None:
    served = Served()
    served.accepted = False
    assert [] == served.ask(0, UnicastRequest(ANNOUNCE, 0, 60))
    assert 1 == served.counters.drops["unicast-access"]
    assert () == served.machine.clients()


def test_our_own_requests_and_those_for_others_are_not_granted() -> None:
    served = Served()
    own = signaling(SERVER, UnicastRequest(ANNOUNCE, 0, 60))
    other = signaling(OTHER, UnicastRequest(ANNOUNCE, 0, 60))

    assert [] == list(served.machine.on_signaling(replace(own, target=ALL_PORTS), address(1), at(0)))
    assert [] == list(served.machine.on_signaling(other, address(2), at(0)))


def test_clients_are_told_when_the_server_stops() -> None:
    served = Served()
    served.granted(0, ANNOUNCE, 0, 60)
    served.granted(0, SYNC, 0, 60, number=4)

    effects = list(served.machine.stop())

    assert [address(3), address(4)] == [to for to, _ in sent(effects)]
    assert [UnicastCancel(ANNOUNCE), UnicastCancel(SYNC)] == tlvs(effects)
    assert served.machine.deadline() is None


def test_client_and_server_understand_each_other() -> None:
    """Five minutes of grants of twenty seconds: always renewed, and never an interval without a Sync."""
    served, machine = Served(), client(1)
    at_client: list[float] = []
    outbox = list(machine.start(at(0)))
    selected = False
    seconds = 0.0
    while seconds < 300:
        while outbox:
            for _, data in sent(outbox):
                message = ptp.decode(data)
                assert isinstance(message, Signaling)
                back = list(served.machine.on_signaling(message, address(3), at(seconds)))
            outbox = []
            for _, data in sent(back):
                message = ptp.decode(data)
                assert isinstance(message, Signaling)
                outbox += machine.on_signaling(message, address(1), at(seconds))
            if not selected:
                outbox += machine.select(SERVER, at(seconds))
                selected = True
        due = min(one for one in (machine.deadline(), served.machine.deadline()) if one is not None)
        seconds = (due - at(0)).s()
        for effect in served.machine.on_deadline(due, serving=True):
            kind = SYNC if isinstance(effect, SendEvent) else ANNOUNCE
            machine.heard(kind, address(1), due)
            if kind is SYNC:
                at_client.append(round(seconds))
        outbox = list(machine.on_deadline(due))

    assert list(range(301)) == at_client
