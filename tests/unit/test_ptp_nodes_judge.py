"""What looks wrong among PTP talkers: each judgement once true, and once not."""

from __future__ import annotations

import inspect
import re
import struct

import pytest
from nodes_support import (
    GOOD,
    NOW,
    WORLD,
    A,
    B,
    C,
    Wire,
    announce,
    delay_req,
    delay_resp,
    follow_up,
    header,
    healthy,
    pdelay_req,
    pdelay_resp,
    sync,
)

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.measure import Leap
from timesync.base.time import Duration
from timesync.ptp.nodes import checks as nodes_checks
from timesync.ptp.nodes import judge as nodes_judge
from timesync.ptp.nodes.checks import World
from timesync.ptp.nodes.page import MEANINGS
from timesync.wire.ptp import CORRECTION_TOO_BIG
from timesync.wire.ptp_message import ClockQuality, Flags, MessageType, Signaling
from timesync.wire.ptp_tlv import PathTrace, UnicastGrant, UnicastRequest


def test_nothing_is_wrong_with_a_healthy_grandmaster_and_its_clients() -> None:
    heard = Wire()
    healthy(heard, 20)
    for number in range(0, 20, 3):
        heard.say(20, delay_req(B, number), delay_resp(A, B, number))
    assert heard.findings() == []


# -- what is announced


def test_class_255_is_announced() -> None:
    heard = Wire()
    healthy(heard, quality=ClockQuality(255, 0xFE, 0xFFFF))
    assert "clockClass 255" in heard.sentence("class-255")


@pytest.mark.parametrize(("accuracy", "wrong"), [(0x20, True), (0xFE, False), (0x31, False)])
def test_free_running_and_accurate_at_once(accuracy: int, wrong: bool) -> None:
    heard = Wire()
    healthy(heard, quality=ClockQuality(248, accuracy, 0xFFFF))
    assert ("accuracy" in heard.ids()) is wrong


def test_a_gptp_clock_that_cannot_be_grandmaster_announces_itself() -> None:
    heard = Wire(transport="l2")
    healthy(heard, sdo_id=0x100, priority1=255)
    assert "priority1-255" in heard.ids()
    # In other profiles 255 is the least preferred, and no more.
    heard = Wire(transport="l2")
    healthy(heard, priority1=255)
    assert heard.findings() == []


@pytest.mark.parametrize(
    ("offset", "flags", "wrong"),
    [
        (37, GOOD, False),
        (36, GOOD, True),
        (0, Flags.PTP_TIMESCALE, True),
        # With an arbitrary timescale the field means nothing.
        (0, Flags(0), False),
        # The offset changes within the hours of a leap second.
        (38, GOOD | Flags.LEAP_61, False),
    ],
)
def test_the_utc_offset_against_the_table(offset: int, flags: Flags, wrong: bool) -> None:
    heard = Wire()
    healthy(heard, utc_offset=offset, flags=flags)
    assert ("utc-offset" in heard.ids(World(37, Leap.INSERT))) is wrong


def test_an_expired_table_does_not_judge_the_offset() -> None:
    heard = Wire()
    healthy(heard, utc_offset=38)
    assert "utc-offset" not in heard.ids(World())
    assert "1 s off" in heard.sentence("utc-offset")


@pytest.mark.parametrize(
    ("flags", "known", "wrong"),
    [
        (Flags.LEAP_61, Leap.NONE, True),
        (Flags.LEAP_61, Leap.INSERT, False),
        (Flags.LEAP_61, Leap.UNKNOWN, False),
        (Flags.LEAP_59, Leap.INSERT, True),
        (Flags.LEAP_61 | Flags.LEAP_59, Leap.UNKNOWN, True),
    ],
)
def test_leap_seconds_that_nobody_knows_of(flags: Flags, known: Leap, wrong: bool) -> None:
    heard = Wire()
    healthy(heard, flags=GOOD | flags)
    assert ("leap" in heard.ids(World(37, known))) is wrong


@pytest.mark.parametrize(
    ("ahead_s", "flags", "says"),
    [
        (-37, GOOD, "gives UTC"),
        (3600, GOOD, "3,600 s ahead of the clock of this machine"),
        (-0.2, GOOD, None),
        (-1_000_000, Flags(0), None),
    ],
)
def test_the_time_that_is_given_against_this_machine(ahead_s: float, flags: Flags, says: str | None) -> None:
    heard = Wire()
    for number in range(4):
        at = NOW + Duration.from_s(number + ahead_s)
        heard.say(number, announce(A, number, flags=flags), sync(A, number), follow_up(A, number, at))
    if says is None:
        assert "time" not in heard.ids()
    else:
        assert says in heard.sentence("time")


# -- messages that belong together


def test_announce_without_sync() -> None:
    heard = Wire()
    for number in range(5):
        heard.say(number, announce(A, number))
        assert heard.findings() == []
    heard.say(6, announce(A, 6))
    assert heard.ids() == {"announce-without-sync"}


def test_announce_to_a_unicast_client_needs_no_sync_yet() -> None:
    heard = Wire()
    for number in range(8):
        heard.say(number, announce(A, number), multicast=False, destination="192.0.2.2")
    assert heard.findings() == []


def test_sync_without_announce() -> None:
    heard = Wire()
    for number in range(8):
        heard.say(number, sync(A, number), follow_up(A, number, NOW + Duration.from_s(number)))
    assert heard.ids() == {"sync-without-announce"}
    automotive = Wire(transport="l2")
    for number in range(8):
        at = NOW + Duration.from_s(number)
        automotive.say(number, sync(A, number, sdo_id=0x100), follow_up(A, number, at, sdo_id=0x100))
    assert automotive.findings() == []


def test_two_step_without_follow_up() -> None:
    heard = Wire()
    for number in range(6):
        heard.say(number, announce(A, number), sync(A, number))
    assert "none of 5" in heard.sentence("no-follow-up")


def test_one_follow_up_that_is_under_way_is_not_missed() -> None:
    heard = Wire()
    healthy(heard, 8)
    heard.say(8, announce(A, 8), sync(A, 8))
    assert heard.findings() == []


def test_follow_up_of_a_sync_that_says_it_is_one_step() -> None:
    heard = Wire()
    for number in range(6):
        at = NOW + Duration.from_s(number)
        heard.say(number, announce(A, number), sync(A, number, two_step=False, origin=at), follow_up(A, number, at))
    assert heard.ids() == {"follow-up-of-one-step"}


def test_one_step_without_a_time() -> None:
    heard = Wire()
    for number in range(6):
        heard.say(number, announce(A, number), sync(A, number, two_step=False))
    assert heard.ids() == {"empty-sync"}
    heard = Wire()
    for number in range(6):
        at = NOW + Duration.from_s(number)
        heard.say(number, announce(A, number), sync(A, number, two_step=False, origin=at))
    assert heard.findings() == []


# -- intervals


@pytest.mark.parametrize(
    ("every_s", "says"), [(1.0, None), (1.25, None), (1.5, "slower"), (0.75, None), (0.5, "faster"), (4.0, "slower")]
)
def test_intervals_other_than_announced(every_s: float, says: str | None) -> None:
    """9.5.8 and 9.5.9.2: within 30 % of the interval that the messages say."""
    heard = Wire()
    for number in range(10):
        at_s = number * every_s
        time = NOW + Duration.from_s(at_s)
        heard.say(at_s, announce(A, number), sync(A, number), follow_up(A, number, time))
    wrong = [finding.sentence for finding in heard.findings() if finding.id == "interval"]
    assert len(wrong) == (0 if says is None else 2)
    assert all(f"{says} than it says" in sentence for sentence in wrong)


def test_lost_messages_are_not_taken_for_a_slow_sender() -> None:
    heard = Wire()
    for number in range(0, 30, 2):
        at = NOW + Duration.from_s(number)
        heard.say(number, announce(A, number), sync(A, number), follow_up(A, number, at))
    assert "interval" not in heard.ids()


def test_an_interval_that_is_changed_is_measured_anew() -> None:
    heard = Wire()
    healthy(heard, 8)
    for step in range(9):
        at_s = 8 + step / 8
        number = 8 + step
        at = NOW + Duration.from_s(at_s)
        heard.say(at_s, sync(A, number, log_interval=-3), follow_up(A, number, at, log_interval=-3))
    assert heard.findings() == []


# -- loops and corrections


@pytest.mark.parametrize(
    ("announced", "says"),
    [
        ({"grandmaster": B.clock, "steps_removed": 255}, "255 steps"),
        ({"grandmaster": B.clock, "steps_removed": 0}, "stepsRemoved 0"),
        ({"steps_removed": 2}, "its own Announce"),
        (
            {
                "grandmaster": B.clock,
                "steps_removed": 2,
                "tlvs": (PathTrace((B.clock, C.clock, B.clock)).to_tlv(),),
            },
            "twice",
        ),
        (
            {"grandmaster": B.clock, "steps_removed": 2, "tlvs": (PathTrace((B.clock, C.clock)).to_tlv(),)},
            None,
        ),
        ({"grandmaster": B.clock, "steps_removed": 3}, None),
    ],
)
def test_loops(announced: dict[str, object], says: str | None) -> None:
    heard = Wire()
    healthy(heard, **announced)
    if says is None:
        assert heard.findings() == []
    else:
        assert says in heard.sentence("loop")


def test_steps_that_grow_again_and_again() -> None:
    """Two clocks that believe each other count to infinity."""
    heard = Wire()
    for number in range(3):
        heard.say(number, announce(A, number, grandmaster=B.clock, steps_removed=1 + number))
    assert "loop" not in heard.ids()
    heard.say(3, announce(A, 3, grandmaster=B.clock, steps_removed=4))
    assert "circulates" in heard.sentence("loop")


@pytest.mark.parametrize(
    ("correction", "sdo_id", "says"),
    [
        (Duration.from_s(2), 0, "no message stays so long"),
        (Duration.from_s(2), 0x100, None),
        (CORRECTION_TOO_BIG, 0x100, "too big"),
        (Duration.from_s(-0.01), 0, "negative"),
        # Asymmetry that is made good.
        (Duration.from_ns(-500), 0, None),
        (Duration.from_s(0.003), 0, None),
    ],
)
def test_corrections_that_cannot_be(correction: Duration, sdo_id: int, says: str | None) -> None:
    heard = Wire(transport="l2")
    healthy(heard, sdo_id=sdo_id)
    heard.say(10, sync(A, 10, sdo_id=sdo_id, correction=correction), follow_up(A, 10, NOW, sdo_id=sdo_id))
    if says is None:
        assert "correction" not in heard.ids()
    else:
        assert says in heard.sentence("correction")


# -- answers


def test_questions_that_nobody_answers() -> None:
    heard = Wire()
    for number in range(6):
        heard.say(number, delay_req(B, number), pdelay_req(C, number))
    assert {"delay-unanswered", "pdelay-unanswered"} <= heard.ids()
    heard.say(7, delay_resp(A, B, 5), pdelay_resp(A, C, 5))
    assert not {"delay-unanswered", "pdelay-unanswered"} & heard.ids()


def test_an_answer_to_somebody_else_is_none() -> None:
    heard = Wire()
    for number in range(6):
        heard.say(number, delay_req(B, number), delay_resp(A, C, number))
    assert "delay-unanswered" in heard.ids()


def test_several_answer_one_peer() -> None:
    heard = Wire(transport="l2")
    heard.say(0, pdelay_req(A, 0), pdelay_resp(B, A, 0))
    assert "pdelay-many" not in heard.ids()
    heard.say(6, pdelay_resp(C, A, 0))
    assert "switch without PTP" in heard.sentence("pdelay-many")


def unicast_request(number: int) -> Signaling:
    return Signaling(header(B, number), A, (UnicastRequest(MessageType.ANNOUNCE, 0, 300).to_tlv(),))


def unicast_grant(number: int, seconds: int) -> Signaling:
    return Signaling(header(A, number), B, (UnicastGrant(MessageType.ANNOUNCE, 0, seconds).to_tlv(),))


def test_unicast_that_nobody_grants() -> None:
    heard = Wire()
    heard.say(0, unicast_request(0), multicast=False)
    heard.say(6, unicast_request(1), multicast=False)
    assert heard.ids() == {"unicast-unanswered"}
    heard.say(7, unicast_grant(0, 0), multicast=False)
    assert heard.ids() == {"unicast-refused"}
    heard.say(8, unicast_grant(1, 300), multicast=False)
    assert heard.findings() == []


# -- where messages are sent


def test_messages_to_the_wrong_port() -> None:
    heard = Wire()
    healthy(heard)
    heard.say(10, sync(A, 10), follow_up(A, 10, NOW + Duration.from_s(10)), port=320)
    assert heard.ids() == {"udp-port"}


def test_gptp_with_a_tag_or_over_udp() -> None:
    tagged, over_udp = Wire(transport="l2"), Wire()
    tagged.say(0, announce(A, 0, sdo_id=0x100), vlan=0)
    over_udp.say(0, announce(A, 0, sdo_id=0x100))
    assert (tagged.ids(), over_udp.ids()) == ({"gptp-vlan"}, {"gptp-udp"})


# -- several talkers


def two(seconds: int, second_from: int = 0, first_until: int | None = None, **keys: object) -> Wire:
    """Two grandmasters."""
    heard = Wire()
    for number in range(seconds):
        if first_until is None or number < first_until:
            healthy(heard, 1, A, number, priority1=100)
        if number >= second_from:
            healthy(heard, 1, B, number, priority1=90, **keys)
    return heard


def test_two_grandmasters_in_one_domain() -> None:
    sentence = two(8).sentence("two-grandmasters")
    assert f"{A} (192.0.2.1)" in sentence
    assert f"{B} (192.0.2.2)" in sentence
    assert "priority1 90" in sentence


def test_a_grandmaster_that_yields_is_none_too_many() -> None:
    """9.3.2.4.4: the better one is believed after its second Announce in four intervals."""
    assert "two-grandmasters" not in two(20, second_from=8, first_until=11).ids()


def test_grandmasters_of_two_domains_or_transports_do_not_meet() -> None:
    assert "two-grandmasters" not in two(20, domain=1).ids()
    heard = Wire()
    healthy(heard, 10, A)
    heard.transport = "udp6"
    healthy(heard, 10, B)
    assert "two-grandmasters" not in heard.ids()


def test_an_alternate_time_transmitter_is_allowed() -> None:
    assert "two-grandmasters" not in two(8, flags=GOOD | Flags.ALTERNATE_TIME_TRANSMITTER).ids()


def test_two_ports_give_the_time_of_one_grandmaster() -> None:
    assert two(8, grandmaster=A.clock, steps_removed=1).ids() == {"two-transmitters"}


def test_mixed_delay_mechanisms() -> None:
    heard = Wire()
    heard.say(0, delay_req(B, 0), pdelay_req(C, 0, domain=1))
    assert "mixed-delay" not in heard.ids()
    heard.say(1, pdelay_req(C, 0))
    sentence = heard.sentence("mixed-delay")
    assert f"{B} (192.0.2.2) end-to-end" in sentence
    assert f"{C} (192.0.2.3) peer-to-peer" in sentence


def test_a_domain_that_the_configuration_does_not_use() -> None:
    heard = Wire()
    healthy(heard, 3, domain=24)
    assert heard.ids(WORLD) == set()
    assert "domain 24 is not used" in heard.sentence("domain", World(37, Leap.NONE, frozenset({(0, 0)})))
    assert heard.ids(World(37, Leap.NONE, frozenset({(24, 0)}))) == set()
    # gPTP's domain 24 would be another one.
    assert heard.ids(World(37, Leap.NONE, frozenset({(24, 0x100)}))) == {"domain"}


def test_one_identity_from_two_addresses() -> None:
    heard = Wire()
    healthy(heard, 4)
    heard.say(4, announce(A, 4), mac="02:00:00:00:00:99")
    # Once could be a card that took over from another.
    assert "duplicate-identity" not in heard.ids()
    heard.say(5, announce(A, 5))
    assert "02:00:00:00:00:99 and 02:11:22:33:44:55" in heard.sentence("duplicate-identity")


def test_one_identity_in_two_domains_from_two_addresses() -> None:
    heard = Wire()
    heard.say(0, announce(A, 0), announce(A, 0, domain=1))
    assert "duplicate-identity" not in heard.ids()
    heard.say(1, announce(A, 0, domain=2), mac="02:00:00:00:00:99")
    assert "duplicate-identity" in heard.ids()


def test_two_ports_of_a_boundary_clock_are_two_identities() -> None:
    heard = Wire()
    heard.say(0, announce(A, 0))
    heard.say(0, announce(PortIdentity(A.clock, 2), 0), mac="02:00:00:00:00:99")
    assert "duplicate-identity" not in heard.ids()


def test_signaling_is_relayed_and_says_nothing_of_addresses() -> None:
    heard = Wire()
    healthy(heard, 3)
    for number in range(4):
        relayed = Signaling(header(A, number), B, ())
        heard.say(3, relayed, mac="02:00:00:00:00:99")
        heard.say(3, announce(A, 3 + number))
    assert "duplicate-identity" not in heard.ids()


# -- strangers


def test_a_talker_of_version_1() -> None:
    heard = Wire()
    octets = struct.pack(">HH16sBB6sHHBBH", 1, 1, b"_DFLT", 1, 1, bytes.fromhex("020304050607"), 1, 9, 0, 0, 0)
    heard.octets(0, octets + bytes(88), source="192.0.2.77")
    assert "192.0.2.77 speaks PTP version 1" in heard.sentence("ptp-v1")


def test_what_cannot_be_read_is_said_once_with_its_number() -> None:
    heard = Wire()
    for number in range(5):
        heard.octets(number, b"\x0b\x12\x00\x40", source="192.0.2.78")
    assert "192.0.2.78 sends what cannot be read, 5 times" in heard.sentence("unreadable")


def test_a_forger_is_named() -> None:
    heard = Wire()
    for number in range(65):
        heard.say(number, announce(PortIdentity(B.clock, number + 1), 0), source="192.0.2.66")
    assert "192.0.2.66" in heard.sentence("flood")


def test_forged_talkers_are_no_reason_for_a_book() -> None:
    heard = Wire()
    for number in range(200):
        forged = PortIdentity(ClockIdentity(number.to_bytes(8, "big")), 1)
        for second in range(3):
            quality = ClockQuality(255, 0xFE, 0xFFFF)
            heard.say(second, announce(forged, second, quality=quality), source=f"10.0.0.{number}")
    sentences = [finding.sentence for finding in heard.findings() if finding.id == "class-255"]
    assert len(sentences) == 9
    assert "192 more" in sentences[-1]


def test_every_judgement_is_explained_in_the_reference() -> None:
    source = "".join(map(inspect.getsource, (nodes_checks, nodes_judge)))
    assert set(re.findall(r'Finding\(\s*"([a-z0-9-]+)"', source)) == set(MEANINGS)
