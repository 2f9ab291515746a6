"""Who talks PTP on a wire: what is kept of each, and how little memory a storm gets."""

from __future__ import annotations

import random
import struct

import pytest
from nodes_support import NOW, A, B, C, Wire, announce, delay_req, delay_resp, healthy, pdelay_req, pdelay_resp, sync

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.ptp.nodes.table import MAX_PER_ADDRESS, MAX_STRANGERS, NodeTable
from timesync.ptp.nodes.words import (
    accuracy_text,
    class_text,
    deviation_s,
    flag_texts,
    guess,
    mechanisms,
    roles,
    time_source_text,
)
from timesync.wire import ptp as wire
from timesync.wire.gptp_tlv import FollowUpInformation
from timesync.wire.ptp_message import Action, Flags, Management, MessageType, Signaling, Tlv
from timesync.wire.ptp_tlv import UnicastGrant, UnicastRequest
from timesync.wire.ptp_tlv_profile import InterfaceRate, PowerProfile2011, PowerProfile2017


def profile(heard: Wire, port: PortIdentity = A) -> str:
    talker = heard.talker(port)
    return guess(talker, [other for other in heard.table.talkers if other.key.wire == talker.key.wire]).profile


# -- roles


def test_a_grandmaster_and_one_that_follows_it() -> None:
    heard = Wire()
    healthy(heard)
    for number in range(4):
        heard.say(number, delay_req(B, number), delay_resp(A, B, number))
    assert roles(heard.talker(A)) == ["timeTransmitter", "grandmaster"]
    assert roles(heard.talker(B)) == ["timeReceiver"]
    assert (heard.talker(B).asked.delay.asked, heard.talker(B).asked.delay.answered) == (4, 4)


def test_a_boundary_clock_and_a_peer() -> None:
    heard = Wire()
    heard.say(0, announce(B, 0, grandmaster=A.clock, steps_removed=1), pdelay_req(C, 0), pdelay_resp(B, C, 0))
    assert roles(heard.talker(B)) == ["timeTransmitter", "boundary clock", "peer"]
    assert roles(heard.talker(C)) == ["peer"]
    assert mechanisms(heard.table.talkers) == {"p2p"}


def test_management_and_unicast_negotiation() -> None:
    heard = Wire()
    request = UnicastRequest(MessageType.ANNOUNCE, 0, 300).to_tlv()
    grant = UnicastGrant(MessageType.ANNOUNCE, 0, 300).to_tlv()
    for port, action in ((C, Action.GET), (A, Action.RESPONSE)):
        head = announce(port, 0).header
        heard.say(0, Management(header=head, target=A, action=action, tlvs=(Tlv(1, b"\x20\x00"),)))
    heard.say(1, Signaling(announce(B, 1).header, A, (request,)), Signaling(announce(A, 1).header, B, (grant,)))
    assert roles(heard.talker(C)) == ["management client"]
    assert roles(heard.talker(A)) == ["unicast server", "managed"]
    assert roles(heard.talker(B)) == ["unicast client"]


# -- versions, places, steps


def test_the_minor_version_and_the_tag_are_kept() -> None:
    heard = Wire(transport="l2")
    heard.say(0, announce(A, 0, minor_version=0), vlan=7)
    heard.say(1, announce(A, 1), vlan=7)
    found = heard.talker(A).found
    assert (found.versions, found.vlans) == ({0, 1}, {7})


def test_one_clock_in_two_domains_is_two_entries() -> None:
    heard = Wire()
    heard.say(0, announce(A, 0), announce(A, 0, domain=5))
    assert [talker.key.domain for talker in heard.table.talkers] == [0, 5]


def test_two_step_is_what_the_last_sync_says() -> None:
    heard = Wire()
    assert not heard.table.talkers
    heard.say(0, sync(A, 0))
    assert heard.talker(A).said.two_step is True
    heard.say(1, sync(A, 1, two_step=False, origin=NOW))
    assert heard.talker(A).said.two_step is False


# -- intervals


def test_lost_packets_lengthen_what_is_heard_and_not_what_was_sent() -> None:
    heard = Wire()
    for number in (0, 1, 2, 4, 5, 7, 8):
        heard.say(number, sync(A, number))
    flow = heard.talker(A).flow(MessageType.SYNC)
    assert flow is not None
    assert (flow.advertised_s, flow.sent_s, flow.heard_s) == (1.0, 1.0, pytest.approx(8 / 6))


def test_sequence_ids_wrap_and_start_again() -> None:
    heard = Wire()
    for number, sequence_id in enumerate((0xFFFE, 0xFFFF, 0, 1)):
        heard.say(number, sync(A, sequence_id))
    flow = heard.talker(A).flow(MessageType.SYNC)
    assert flow is not None
    assert (flow.gaps, flow.sent_s) == (3, 1.0)
    # 0x9000 is more than half way round: the device was switched off and on.
    heard.say(100, sync(A, 0x9000))
    heard.say(101, sync(A, 0x9001))
    assert (flow.gaps, flow.sent_s) == (1, 1.0)


def test_the_second_copy_of_a_redundant_network_is_no_interval() -> None:
    heard = Wire()
    for number in range(4):
        heard.say(number, sync(A, number), sync(A, number))
    flow = heard.talker(A).flow(MessageType.SYNC)
    assert flow is not None
    assert (flow.count, flow.gaps, flow.heard_s) == (8, 3, 1.0)


# -- profiles


@pytest.mark.parametrize(
    ("transport", "domain", "announce_log", "sync_log", "delay", "expected"),
    [
        ("udp4", 0, 1, 0, "e2e", "IEEE 1588 default, end-to-end (I.3)"),
        ("udp4", 0, 1, 0, "p2p", "IEEE 1588 default, peer-to-peer (I.4)"),
        ("udp4", 0, 1, 0, None, "IEEE 1588 default"),
        ("udp4", 0, 1, -3, "e2e", "AES67 media"),
        ("udp4", 127, -2, -3, "e2e", "SMPTE ST 2059-2"),
        ("l2", 24, -3, -4, "e2e", "ITU-T G.8275.1"),
        ("l2", 43, -3, -4, "e2e", "ITU-T G.8275.1"),
        ("l2", 0, 0, 0, "p2p", "IEC/IEEE 61850-9-3"),
        ("l2", 0, 1, 0, "p2p", "IEEE 1588 default, peer-to-peer (I.4)"),
        ("l2", 254, 0, 0, "p2p", "IEEE C37.238-2017 (power)"),
    ],
)
def test_the_profile_by_domain_transport_and_intervals(
    transport: str, domain: int, announce_log: int, sync_log: int, delay: str | None, expected: str
) -> None:
    heard = Wire(transport=transport)
    heard.say(
        0, announce(A, 0, domain=domain, log_interval=announce_log), sync(A, 0, domain=domain, log_interval=sync_log)
    )
    if delay is not None:
        heard.say(0, (delay_req if delay == "e2e" else pdelay_req)(B, 0, domain=domain))
    assert profile(heard) == expected


@pytest.mark.parametrize(("domain", "expected"), [(44, "ITU-T G.8275.2"), (4, "ITU-T G.8265.1")])
def test_the_telecom_profiles_that_are_unicast(domain: int, expected: str) -> None:
    heard = Wire()
    heard.say(0, announce(A, 0, domain=domain), multicast=False, destination="192.0.2.2")
    assert profile(heard) == expected


def test_the_profile_by_tlv() -> None:
    power_2011, power = PowerProfile2011(3, 50, 100).to_tlv(), PowerProfile2017(3, 250).to_tlv()
    for tlv, expected in (
        (power_2011, "IEEE C37.238-2011 (power)"),
        (power, "IEEE C37.238-2017 (power)"),
        (InterfaceRate(100_000_000, 8, 8).to_tlv(), "ITU-T G.8275.2"),
    ):
        heard = Wire(transport="l2")
        heard.say(0, announce(A, 0, tlvs=(tlv,)))
        assert profile(heard) == expected


def test_gptp_and_its_automotive_kind() -> None:
    information = FollowUpInformation().to_tlv()
    heard = Wire(transport="l2")
    for number in range(8):
        heard.say(number, sync(A, number, sdo_id=0x100, tlvs=(information,)))
    assert profile(heard) == "gPTP, automotive (Avnu)"
    heard.say(9, announce(A, 0, sdo_id=0x100))
    assert profile(heard) == "gPTP (IEEE 802.1AS)"


# -- words


def test_qualities_in_words() -> None:
    """IEEE 1588-2019, tables 4, 5 and 6, and 7.6.3.3."""
    assert class_text(6) == "6 (locked to a primary reference)"
    assert class_text(187) == "187 (in holdover, beyond its specification (degradation B))"
    assert class_text(84) == "84 (frequency of quality level PRC)"
    assert class_text(100) == "100 (for a profile to define)"
    assert class_text(9) == "9 (reserved)"
    assert [accuracy_text(value) for value in (0x17, 0x20, 0x21, 0x23, 0x25, 0x29, 0x2F, 0x30, 0x31, 0xFE, 0x10)] == [
        "within 1 ps", "within 25 ns", "within 100 ns", "within 1 µs", "within 10 µs", "within 1 ms", "within 1 s",
        "within 10 s", "worse than 10 s", "unknown", "0x10, reserved",
    ]  # fmt: skip
    assert time_source_text(0x20) == "GNSS"
    assert time_source_text(0xA0) == "internal oscillator"
    assert time_source_text(0xF3) == "0xF3, of the profile's own"
    # 7.6.3.3: sigma^2 = 2^((value - 0x8000) / 256) s^2.
    assert deviation_s(0x8000) == 1.0
    assert deviation_s(0x8000 - 512) == 0.5
    assert deviation_s(0xFFFF) is None
    assert flag_texts(Flags.TIME_TRACEABLE) == ["arbitrary timescale", "time traceable"]
    assert flag_texts(Flags.PTP_TIMESCALE | Flags.LEAP_61) == [
        "PTP timescale (TAI)", "a leap second will be inserted today",
    ]  # fmt: skip


# -- what is hostile


def test_a_storm_from_one_address_takes_few_places() -> None:
    heard = Wire()
    healthy(heard, 3)
    for number in range(5_000):
        forged = PortIdentity(ClockIdentity(number.to_bytes(8, "big")), 1)
        heard.say(3, announce(forged, 0), source="198.51.100.9")
    assert len(heard.table.talkers) == MAX_PER_ADDRESS + 1
    assert heard.table.flooding == {"198.51.100.9"}
    assert heard.talker(A).messages == 9


def test_a_storm_from_many_addresses_leaves_those_who_speak_again() -> None:
    heard = Wire(NodeTable(limit=32))
    healthy(heard, 3)
    for number in range(5_000):
        forged = PortIdentity(ClockIdentity(number.to_bytes(8, "big")), 1)
        heard.say(3, announce(forged, 0), source=f"10.0.{number >> 8}.{number & 255}")
    assert len(heard.table.talkers) == 32
    assert heard.talker(A).messages == 9
    heard.say(4, announce(B, 0))
    heard.say(5, announce(B, 1))
    assert heard.talker(B).messages == 2
    assert len(heard.table._per_address) == 32


def test_a_table_full_of_those_who_speak_again_refuses_the_next() -> None:
    heard = Wire(NodeTable(limit=2))
    for number in range(2):
        heard.say(number, announce(A, number), announce(B, number))
    heard.say(3, announce(C, 0))
    assert [talker.key.port for talker in heard.table.talkers] == sorted([A, B])
    assert heard.table.refused == 1
    assert "full" in heard.ids()


def test_whatever_comes_nothing_is_raised_and_nothing_grows() -> None:
    """Ten thousand mutations of real messages, from as many addresses as one likes."""
    rng = random.Random(11)
    heard = Wire(NodeTable(limit=64))
    whole = [
        wire.encode(message)
        for message in (
            announce(A, 1, tlvs=(PowerProfile2017(3, 250).to_tlv(), Tlv(8, bytes(16)))),
            sync(A, 1),
            Signaling(announce(B, 1).header, A, (UnicastRequest(MessageType.SYNC, 0, 300).to_tlv(),)),
            Management(header=announce(C, 0).header, target=A, action=Action.GET, tlvs=(Tlv(1, b"\x20\x00"),)),
        )
    ]
    for number in range(10_000):
        data = bytearray(rng.choice(whole))
        for _ in range(rng.randrange(4)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        heard.octets(number / 100, bytes(data[: rng.randrange(len(data) + 1)]), source=f"10.1.0.{rng.randrange(256)}")
    heard.findings()
    assert len(heard.table.talkers) <= 64
    assert len(heard.table.strangers) <= MAX_STRANGERS


def test_version_1_is_told_from_what_cannot_be_read() -> None:
    """IEEE 1588-2002, annex D: versionPTP, versionNetwork, subdomain, then the sender's UUID and port."""
    version_1 = struct.pack(">HH16sBB6sHHBBH", 1, 1, b"_DFLT", 1, 1, bytes.fromhex("020304050607"), 1, 9, 0, 0, 0)
    heard = Wire()
    heard.octets(0, version_1 + bytes(88), source="192.0.2.77")
    heard.octets(0, b"\x00\x02\x00", source="192.0.2.78")
    old, broken = heard.table.strangers
    assert (old.version_1, old.address, old.what) == (True, "192.0.2.77", "02:03:04:05:06:07, port 1")
    assert (broken.version_1, broken.address) == (False, "192.0.2.78")


# -- scapy


def test_messages_that_scapy_builds_are_read_alike() -> None:
    scapy_ptp = pytest.importorskip("scapy.contrib.ptp_v2", reason="scapy, the second opinion, is not installed")
    heard = Wire()
    built = scapy_ptp.PTP(
        messageType=0xB, domainNumber=3, clockIdentity=int.from_bytes(A.clock, "big"), portNumber=1, sequenceId=1,
        logMessageInterval=1, currentUtcOffset=37, grandmasterPriority1=77, grandmasterClockClass=7,
        grandmasterClockAccuracy=0x22, grandmasterPriority2=66, grandmasterIdentity=int.from_bytes(A.clock, "big"),
        stepsRemoved=0, timeSource=0x20,
    )  # fmt: skip
    heard.octets(0, bytes(built), source="192.0.2.1")
    talker = heard.talker(A)
    announced = talker.said.announce
    assert announced is not None
    assert (talker.key.domain, announced.priority1, announced.priority2) == (3, 77, 66)
    assert (announced.quality.clock_class, announced.quality.accuracy, announced.time_source) == (7, 0x22, 0x20)
    assert roles(talker) == ["timeTransmitter", "grandmaster"]
