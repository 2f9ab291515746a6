"""Management against what ptp4l answers, and what it does not do: access, hops, bounds, subscriptions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from ptp_management_captures import DATAGRAMS, OUTCOMES
from ptp_management_support import CLOCK, START, answered, ask, at, opened, outcome, ptp4l_like, with_states

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import Duration, Instant
from timesync.ptp.management.change import (
    DisablePort,
    EnablePort,
    SetCorrections,
    SetGrandmaster,
    SetNeighborThreshold,
    SetPriority1,
    SetPriority2,
    SetUncertain,
)
from timesync.ptp.management.data import Description, ManagedClock
from timesync.ptp.management.responder import Responder
from timesync.ptp.management.values import Access, Local, ManagementSettings, Network, Reaction
from timesync.ptp.settings import LocalQuality
from timesync.ptp.states import PortState
from timesync.wire.ptp_management import ErrorId, ManagementError, ManagementId, ManagementTlv
from timesync.wire.ptp_management_data import CurrentDataSet, PathTraceList, UtcProperties
from timesync.wire.ptp_management_np import Event, GrandmasterSettings, PortCorrections, PortStats, SubscribeEvents
from timesync.wire.ptp_message import Action, ClockQuality, Flags, MessageType

OWNER = Local("/run/pmc.1", writable=True)
READER = Local("/run/pmc.2", writable=False)
NEAR = Network(1, "192.0.2.7")
GET, SET, RESPONSE, COMMAND = 0, 1, 2, 3
ME = PortIdentity(ClockIdentity(bytes.fromhex("1122334455667788")), 1)

COLUMNS = (
    ("rw GET", OWNER, GET),
    ("ro GET", READER, GET),
    ("rw SET", OWNER, SET),
    ("ro SET", READER, SET),
    ("rw SET without data", OWNER, SET),
    ("rw COMMAND", OWNER, COMMAND),
    ("ro COMMAND", READER, COMMAND),
)

DIFFERENT = {
    # Answered here and not by ptp4l.
    **{
        (name, way): "c"
        for name in ("UTC_PROPERTIES", "PATH_TRACE_LIST", "PATH_TRACE_ENABLE")
        for way in ("rw GET", "ro GET")
    },
    # Not built: each is refused by whom it is about.
    **{
        (name, way): "c6"
        for name in (
            "ALTERNATE_TIME_OFFSET_ENABLE",
            "ALTERNATE_TIME_OFFSET_NAME",
            "ALTERNATE_TIME_OFFSET_PROPERTIES",
            "EXTERNAL_GRANDMASTER_PROPERTIES_NP",
        )
        for way in ("rw GET", "ro GET", "rw SET", "rw COMMAND")
    },
    **{
        (name, way): "p6"
        for name in ("CMLDS_INFO_NP", "POWER_PROFILE_SETTINGS_NP", "PORT_SERVICE_STATS_NP")
        for way in ("rw GET", "ro GET")
    },
    ("POWER_PROFILE_SETTINGS_NP", "rw SET"): "f2",
    # ptp4l sends an answer without data.
    ("SUBSCRIBE_EVENTS_NP", "ro GET"): "c6",
}


def outcomes() -> Iterator[tuple[str, str, str]]:
    for line in OUTCOMES.split("\n"):
        name, *words = line.split() or [""]
        for (way, _, _), word in zip(COLUMNS, words, strict=bool(words)):
            yield name, way, DIFFERENT.get((name, way), word)


def react(
    data: bytes, came: Local | Network = OWNER, clock: ManagedClock | None = None, **settings: object
) -> Reaction:
    responder = Responder(ManagementSettings(**settings))  # type: ignore[arg-type]  # the tests' own keywords
    return responder.on_message(data, came, clock or ptp4l_like(), START)


@pytest.fixture(scope="module")
def clock() -> ManagedClock:
    return ptp4l_like()


def body(name: str) -> bytes:
    """Data as ptp4l gave it; empty where it gave none."""
    captured = DATAGRAMS.get(f"GET {name}")
    return b"" if captured is None else bytes.fromhex(captured[0])[54:]


def good_data(name: str, clock: ManagedClock) -> bytes:
    """PORT_STATS_NP and others are too long to be captured whole: our own answer has the right length."""
    if name in {"PORT_STATS_NP", "SUBSCRIBE_EVENTS_NP"}:
        (first, *_) = Responder(ManagementSettings()).on_message(ask(ManagementId[name]), OWNER, clock, START).outgoing
        return answered(first, ManagementId[name])
    return bytes(90) if name == "PORT_SERVICE_STATS_NP" else body(name)


@pytest.mark.parametrize(("name", "way", "expected"), [pytest.param(*row, id=" ".join(row[:2])) for row in outcomes()])
def test_who_answers_and_with_which_error(clock: ManagedClock, name: str, way: str, expected: str) -> None:
    came, action = next((came, action) for known, came, action in COLUMNS if known == way)
    data = good_data(name, clock) if way in ("rw SET", "ro SET") else b""

    sent = react(ask(ManagementId[name], action, data), came, clock).outgoing

    assert expected == outcome(sent)
    assert all(one.to == came for one in sent)
    wanted = Action.ACKNOWLEDGE if action == COMMAND else Action.RESPONSE
    assert {wanted} == {opened(one).action for one in sent}


OURS_ONLY = ("TIMESCALE_PROPERTIES", "CMLDS_INFO_NP", "POWER_PROFILE_SETTINGS_NP")
SAME = [
    name
    for name in DATAGRAMS
    if name.startswith("GET ")
    and name.removeprefix("GET ") in ManagementId.__members__
    and name.removeprefix("GET ") not in OURS_ONLY
    and not name.startswith(("GET ALTERNATE", "GET EXTERNAL"))
]


@pytest.mark.parametrize("name", SAME)
def test_answers_are_those_of_ptp4l_octet_by_octet(clock: ManagedClock, name: str) -> None:
    sent = react(ask(ManagementId[name.removeprefix("GET ")]), OWNER, clock).outgoing

    assert list(DATAGRAMS[name]) == [one.data.hex() for one in sent]


@pytest.mark.parametrize(
    ("name", "request_"),
    [
        ("port 9", ask(ManagementId.PORT_DATA_SET, port=9)),
        ("port 1", ask(ManagementId.PORT_DATA_SET, port=1)),
        ("GET response hops 3 1", ask(ManagementId.PRIORITY1, hops=(3, 1))),
        ("nosuch", ask(0xCFFF)),
        ("SET priority1 77", ask(ManagementId.PRIORITY1, SET, b"\x4d\0")),
    ],
)
def test_special_answers_are_those_of_ptp4l(clock: ManagedClock, name: str, request_: bytes) -> None:
    sent = react(request_, OWNER, clock, forward=False).outgoing

    assert list(DATAGRAMS[name]) == [one.data.hex() for one in sent]


@pytest.mark.parametrize(
    "data",
    [
        ask(ManagementId.PRIORITY1, clock=b"\1" * 8),
        ask(ManagementId.PRIORITY1, domain=1),
        ask(ManagementId.PRIORITY1, RESPONSE, b"\x80\0"),
        ask(ManagementId.PRIORITY1, tail=b"\0\1\0\2\x20\6"),
        ask(ManagementId.PRIORITY1)[:-1],
        ask(ManagementId.PRIORITY1, 5),
        b"",
    ],
    ids=["other clock", "other domain", "answer", "two TLVs", "cut", "reserved action", "empty"],
)
def test_what_is_not_for_us_is_not_answered(data: bytes) -> None:
    assert Reaction() == react(data)


def test_a_get_with_a_body_of_any_length_is_answered() -> None:
    (sent,) = react(ask(ManagementId.PRIORITY1, GET, bytes(8))).outgoing

    assert b"\x80\0" == answered(sent, ManagementId.PRIORITY1)


SETTINGS = GrandmasterSettings(ClockQuality(6, 0x21, 0x4E5D), 37, Flags(0x3C), 0x20)


@pytest.mark.parametrize(
    ("id_", "data", "command"),
    [
        (ManagementId.PRIORITY1, b"\x05\0", SetPriority1(5)),
        (ManagementId.PRIORITY2, b"\x06\0", SetPriority2(6)),
        (ManagementId.GRANDMASTER_SETTINGS_NP, SETTINGS.encode(), SetGrandmaster(SETTINGS)),
        (ManagementId.SYNCHRONIZATION_UNCERTAIN_NP, b"\x01\0", SetUncertain(True)),
        (ManagementId.SYNCHRONIZATION_UNCERTAIN_NP, b"\xff\0", SetUncertain(None)),
    ],
)
def test_a_set_gives_a_command_and_answers_what_will_be(id_: ManagementId, data: bytes, command: object) -> None:
    reaction = react(ask(id_, SET, data))

    assert [command] == reaction.commands
    assert data == answered(reaction.outgoing[0], id_)


def test_a_set_of_ports_gives_a_command_for_each_that_is_addressed() -> None:
    limit = bytes.fromhex("0000032000000000")
    both = react(ask(ManagementId.PORT_DATA_SET_NP, SET, limit))
    second = react(ask(ManagementId.PORT_DATA_SET_NP, SET, b"\xff\xff\xff\xff" + bytes(4), port=2))

    assert [SetNeighborThreshold(number, Duration.from_ns(800)) for number in (1, 2)] == both.commands
    # asCapable is not what was written but what it is.
    assert [limit[:7] + b"\1"] * 2 == [answered(one, ManagementId.PORT_DATA_SET_NP) for one in both.outgoing]
    assert [SetNeighborThreshold(2, None)] == second.commands


def test_corrections_are_set_in_the_byte_order_of_ptp4l() -> None:
    data = bytes.fromhex("000005000000000000000700000000000000000000000000")

    reaction = react(ask(ManagementId.PORT_CORRECTIONS_NP, SET, data, port=1))

    assert [
        SetCorrections(1, PortCorrections(Duration.from_ns(5), Duration.from_ns(7), Duration(0)))
    ] == reaction.commands


def test_ports_are_switched_by_commands() -> None:
    assert [DisablePort(1), DisablePort(2)] == react(ask(ManagementId.DISABLE_PORT, COMMAND)).commands
    reaction = react(ask(ManagementId.ENABLE_PORT, COMMAND, port=2))
    assert [EnablePort(2)] == reaction.commands
    assert "000100 02200d".replace(" ", "") == reaction.outgoing[0].data[48:].hex()


def test_what_the_owner_does_not_carry_out_is_refused() -> None:
    none = frozenset[ManagementId]()
    assert "c6" == outcome(react(ask(ManagementId.PRIORITY1, SET, b"\1\0"), performs=none).outgoing)
    assert "p6" == outcome(react(ask(ManagementId.DISABLE_PORT, COMMAND), performs=none).outgoing)
    assert not react(ask(ManagementId.PRIORITY1, SET, b"\1\0"), performs=none).commands


@pytest.mark.parametrize(("value", "length", "error"), [(2, 2, ErrorId.WRONG_VALUE), (1, 4, ErrorId.WRONG_LENGTH)])
def test_wrong_values_and_lengths_are_told(value: int, length: int, error: ErrorId) -> None:
    data = bytes((value,)) + bytes(length - 1)
    (sent,) = react(ask(ManagementId.SYNCHRONIZATION_UNCERTAIN_NP, SET, data)).outgoing

    assert error == ManagementError.from_tlv(opened(sent).tlvs[0]).error


def test_grandmaster_settings_become_claims() -> None:
    local = SetGrandmaster(SETTINGS).applied(LocalQuality(leap61=True, synchronized=True))

    assert (
        LocalQuality(
            quality=SETTINGS.quality,
            utc_offset=37,
            utc_offset_valid=True,
            ptp_timescale=True,
            time_traceable=True,
            frequency_traceable=True,
            time_source=0x20,
            synchronized=True,
        )
        == local
    )


# -- the network


def test_the_network_may_read_by_default_and_write_when_allowed() -> None:
    get, set_ = ask(ManagementId.PRIORITY1), ask(ManagementId.PRIORITY1, SET, b"\1\0")

    assert not react(get, NEAR, network=Access.NONE).outgoing
    read = react(set_, NEAR)
    assert not read.commands
    (refused,) = read.outgoing
    assert ErrorId.NOT_SUPPORTED == ManagementError.from_tlv(opened(refused).tlvs[0]).error
    assert [SetPriority1(1)] == react(set_, NEAR, network=Access.WRITE).commands


def test_answers_to_the_network_are_multicast_unless_asked_unicast() -> None:
    (all_,) = react(ask(ManagementId.PRIORITY1), NEAR).outgoing
    (one,) = react(ask(ManagementId.PRIORITY1, flags=0x0400), NEAR).outgoing

    assert Network(1, None) == all_.to
    assert Flags(0) == opened(all_).header.flags
    assert NEAR == one.to
    assert Flags.UNICAST == opened(one).header.flags
    # The port that heard it answers for the clock.
    assert PortIdentity(CLOCK, 1) == opened(one).header.source


@pytest.mark.parametrize("id_", [ManagementId.PORT_PROPERTIES_NP, ManagementId.PORT_HWCLOCK_NP])
def test_device_names_and_subscriptions_are_for_the_owner_only(id_: ManagementId) -> None:
    for request in (ask(id_), ask(ManagementId.SUBSCRIBE_EVENTS_NP)):
        (sent,) = react(request, Network(2, None), network=Access.WRITE).outgoing
        assert ErrorId.NOT_SUPPORTED == ManagementError.from_tlv(opened(sent).tlvs[0]).error
    wanted = SubscribeEvents.of(60, Event.TIME_SYNC).encode()
    (sent,) = react(ask(ManagementId.SUBSCRIBE_EVENTS_NP, SET, wanted), NEAR, network=Access.WRITE).outgoing
    assert ErrorId.NOT_SUPPORTED == ManagementError.from_tlv(opened(sent).tlvs[0]).error


def test_what_the_network_can_cause_is_bounded(clock: ManagedClock) -> None:
    responder = Responder(ManagementSettings(network_rate=10, network_burst=20))
    asked = ask(ManagementId.PORT_DATA_SET)

    sent = sum(len(responder.on_message(asked, NEAR, clock, START).outgoing) for _ in range(100))
    later = sum(len(responder.on_message(asked, NEAR, clock, at(1)).outgoing) for _ in range(100))

    assert (20, 10) == (sent, later)
    assert 370 == responder.drops["rate"]
    assert 2 == len(responder.on_message(asked, OWNER, clock, at(1)).outgoing)


# -- boundary hops


def test_requests_are_passed_on_with_one_hop_less(clock: ManagedClock) -> None:
    data = ask(ManagementId.PRIORITY1, hops=(3, 2), clock=b"\1" * 8)

    (passed,) = react(data + bytes(6), NEAR, clock).outgoing  # padding of the transport stays behind

    assert Network(2, None) == passed.to
    assert data[:45] + b"\1" + data[46:] == passed.data


@pytest.mark.parametrize(
    ("came", "hops", "states", "expected"),
    [
        (NEAR, 0, "TIME_TRANSMITTER TIME_TRANSMITTER", []),
        (NEAR, 1, "PASSIVE TIME_TRANSMITTER", []),
        (NEAR, 1, "TIME_RECEIVER LISTENING", []),
        (NEAR, 1, "TIME_RECEIVER PRE_TIME_TRANSMITTER", [Network(2, None)]),
        (NEAR, 1, "UNCALIBRATED TIME_TRANSMITTER", [Network(2, None)]),
        (OWNER, 1, "TIME_RECEIVER TIME_TRANSMITTER", [Network(1, None), Network(2, None)]),
        (OWNER, 1, "TIME_RECEIVER FAULTY", [Network(1, None)]),
        (READER, 1, "TIME_RECEIVER TIME_TRANSMITTER", []),
        (Network(9, None), 1, "TIME_RECEIVER TIME_TRANSMITTER", []),
    ],
)
def test_which_ports_pass_on(
    clock: ManagedClock, came: Local | Network, hops: int, states: str, expected: list[Network]
) -> None:
    there = with_states(clock, *(PortState[name] for name in states.split()))

    sent = react(ask(ManagementId.PRIORITY1, hops=(hops, hops), clock=b"\1" * 8), came, there).outgoing

    assert expected == [one.to for one in sent]


def test_answers_from_the_network_come_back_to_who_asked_over_the_socket(clock: ManagedClock) -> None:
    responder = Responder(ManagementSettings())
    responder.on_message(ask(ManagementId.PRIORITY1, hops=(2, 2)), OWNER, clock, START)
    answer = bytearray(ask(ManagementId.PRIORITY1, RESPONSE, b"\7\0", clock=ME.clock, port=1, hops=(1, 1)))
    answer[20:28] = b"\1" * 8  # it is of another clock

    near = responder.on_message(bytes(answer), NEAR, clock, at(1)).outgoing
    late = responder.on_message(bytes(answer), NEAR, clock, at(100)).outgoing
    responder.on_message(ask(ManagementId.PRIORITY1, hops=(2, 2)), OWNER, clock, at(100))
    responder.on_unreachable(OWNER.address)
    gone = responder.on_message(bytes(answer), NEAR, clock, at(100)).outgoing

    assert [Network(2, None), OWNER] == [one.to for one in near]
    assert [0, 0] == [opened(one).hops for one in near]
    assert [Network(2, None)] == [one.to for one in late]
    assert [Network(2, None)] == [one.to for one in gone]


def test_requests_are_never_passed_to_the_socket(clock: ManagedClock) -> None:
    responder = Responder(ManagementSettings())
    responder.on_message(ask(ManagementId.PRIORITY1, hops=(2, 2)), OWNER, clock, START)

    for action in (GET, SET, COMMAND):
        request = ask(ManagementId.PRIORITY1, action, b"\7\0", clock=ME.clock, port=1, hops=(1, 1))
        sent = responder.on_message(request, NEAR, clock, START).outgoing
        assert [Network(2, None)] == [one.to for one in sent]


def test_our_own_answers_are_not_passed_on(clock: ManagedClock) -> None:
    answer = bytearray(ask(ManagementId.PRIORITY1, RESPONSE, b"\7\0", hops=(1, 1)))
    answer[20:28] = CLOCK

    assert Reaction() == react(bytes(answer), NEAR, clock)


# -- data


def test_offsets_beyond_a_time_interval_are_cut(clock: ManagedClock) -> None:
    """A clock that starts in 1970 is off by more than 2^63 units of 2^-16 ns."""
    off = replace(clock, offset=Duration.from_s(-1_800_000_000), mean_delay=Duration.from_ns(5))

    (current,) = react(ask(ManagementId.CURRENT_DATA_SET), OWNER, off).outgoing
    (status,) = react(ask(ManagementId.TIME_STATUS_NP), OWNER, off).outgoing

    said = CurrentDataSet.decode(answered(current, ManagementId.CURRENT_DATA_SET))
    assert CurrentDataSet(0, Duration(-(1 << 63) + 1), Duration.from_ns(5)) == said
    nanoseconds = int.from_bytes(answered(status, ManagementId.TIME_STATUS_NP)[:8], "big", signed=True)
    assert -1_800_000_000 * 10**9 == nanoseconds


def test_counters_go_to_the_place_of_their_type(clock: ManagedClock) -> None:
    port = clock.view.ports[0]
    port.counters.received[MessageType.MANAGEMENT] = 3
    port.counters.sent[MessageType.SYNC] = 1 << 40

    first, _ = react(ask(ManagementId.PORT_STATS_NP), OWNER, clock).outgoing

    stats = PortStats.decode(answered(first, ManagementId.PORT_STATS_NP))
    assert (3, 1 << 40) == (stats.received[0xD], stats.sent[0])


def test_path_and_utc_can_be_asked(clock: ManagedClock) -> None:
    path = (ClockIdentity(b"\1" * 8), ClockIdentity(b"\2" * 8))
    there = replace(clock, view=replace(clock.view, sets=replace(clock.view.sets, path=path)))

    (sent,) = react(ask(ManagementId.PATH_TRACE_LIST), OWNER, there).outgoing
    (utc,) = react(ask(ManagementId.UTC_PROPERTIES), OWNER, there).outgoing

    assert PathTraceList(path).encode() == answered(sent, ManagementId.PATH_TRACE_LIST)
    assert UtcProperties(37, Flags(0)).encode() == answered(utc, ManagementId.UTC_PROPERTIES)


def test_an_answer_too_big_for_a_frame_is_an_error(clock: ManagedClock) -> None:
    path = (ClockIdentity(b"\1" * 8),) * 179
    there = replace(clock, view=replace(clock.view, sets=replace(clock.view.sets, path=path)))

    (sent,) = react(ask(ManagementId.PATH_TRACE_LIST), OWNER, there).outgoing

    error = ManagementError.from_tlv(opened(sent).tlvs[0])
    assert (ErrorId.RESPONSE_TOO_BIG, ManagementId.PATH_TRACE_LIST) == (error.error, error.id)


@pytest.mark.parametrize("wrong", [{"user": "ä" * 65}, {"manufacturer": b"12"}, {"profile": b""}])
def test_descriptions_that_do_not_fit_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"octets|three"):
        Description(**wrong)  # type: ignore[arg-type]  # what is wrong with it is the test


# -- subscriptions


def subscribe(responder: Responder, clock: ManagedClock, duration_s: int, *events: Event) -> None:
    wanted = SubscribeEvents.of(duration_s, *events).encode()
    (sent,) = responder.on_message(ask(ManagementId.SUBSCRIBE_EVENTS_NP, SET, wanted), OWNER, clock, START).outgoing
    assert wanted == answered(sent, ManagementId.SUBSCRIBE_EVENTS_NP)


def present(responder: Responder, clock: ManagedClock, seconds: float) -> SubscribeEvents:
    (sent,) = responder.on_message(ask(ManagementId.SUBSCRIBE_EVENTS_NP), OWNER, clock, at(seconds)).outgoing
    return SubscribeEvents.decode(answered(sent, ManagementId.SUBSCRIBE_EVENTS_NP))


def test_a_change_of_state_is_told_as_ptp4l_tells_it(clock: ManagedClock) -> None:
    responder = Responder(ManagementSettings())
    subscribe(responder, clock, 60, Event.PORT_STATE, Event.PARENT_DATA_SET)

    told = responder.notify(with_states(clock, PortState.DISABLED, PortState.TIME_TRANSMITTER), at(1))

    # ptp4l 4.4 after DISABLE_PORT, to the same subscriber.
    expected = (
        "0d12005000000000000000000000000000000000020000fffe00000a00010000007f11223344556677880001010102000001001c"
        "2004020000fffe00000a000103000000000000000000010300010002"
    )
    assert [(expected, OWNER)] == [(one.data.hex(), one.to) for one in told]


def test_each_event_goes_to_those_who_want_it(clock: ManagedClock) -> None:
    responder = Responder(ManagementSettings())
    subscribe(responder, clock, 60, Event.TIME_SYNC)
    parent = replace(clock.view.sets.parent, priority1=1)
    moved = replace(clock, view=replace(clock.view, sets=replace(clock.view.sets, parent=parent)))
    synced = replace(moved, ingress=Instant.from_ns(5), offset=Duration.from_ns(-3))

    first = responder.notify(moved, at(1))
    second = responder.notify(synced, at(2))
    third = responder.notify(synced, at(3))
    fourth = responder.notify(replace(synced, ingress=Instant.from_ns(6)), at(4))

    assert [] == first
    assert [] == third
    messages = [opened(one) for one in (*second, *fourth)]
    assert [0, 1] == [one.header.sequence_id for one in messages]
    assert [ManagementId.TIME_STATUS_NP] * 2 == [ManagementTlv.from_tlv(one.tlvs[0]).id for one in messages]


def test_subscriptions_end(clock: ManagedClock) -> None:
    responder = Responder(ManagementSettings())
    changed = with_states(clock, PortState.DISABLED, PortState.DISABLED)
    subscribe(responder, clock, 60, Event.PORT_STATE)
    assert SubscribeEvents.of(50, Event.PORT_STATE) == present(responder, clock, 10)
    assert SubscribeEvents(0) == present(responder, clock, 60)
    assert [] == responder.notify(changed, at(60))

    subscribe(responder, clock, 0xFFFF, Event.PORT_STATE)
    assert SubscribeEvents.of(0xFFFF, Event.PORT_STATE) == present(responder, clock, 10**6)
    assert 2 == len(responder.notify(changed, at(10**6)))

    subscribe(responder, clock, 60)
    assert SubscribeEvents(0) == present(responder, clock, 1)
    subscribe(responder, clock, 60, Event.PORT_STATE)
    responder.on_unreachable(OWNER.address)
    assert [] == responder.notify(changed, at(1))


def test_a_renewal_misses_nothing_and_a_new_subscription_tells_nothing_old(clock: ManagedClock) -> None:
    changed = with_states(clock, PortState.DISABLED, PortState.TIME_TRANSMITTER)
    responder = Responder(ManagementSettings())
    subscribe(responder, clock, 60, Event.PORT_STATE)

    subscribe(responder, changed, 60, Event.PORT_STATE)
    assert 1 == len(responder.notify(changed, at(1)))
    subscribe(responder, clock, 0)
    subscribe(responder, clock, 60, Event.PORT_STATE)
    assert [] == responder.notify(clock, at(2))
