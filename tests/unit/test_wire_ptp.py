"""What the message codec refuses, and what it does at the ends of its fields."""

from __future__ import annotations

import struct
from dataclasses import replace

import pytest

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import Duration, Instant
from timesync.wire.error import WireError
from timesync.wire.ptp import CORRECTION_TOO_BIG, MAX_TLVS, decode, encode, whole_ns
from timesync.wire.ptp_message import (
    Action,
    Announce,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Header,
    Management,
    Message,
    PdelayReq,
    PdelayResp,
    PdelayRespFollowUp,
    Signaling,
    Sync,
    Tlv,
)

CLOCK = ClockIdentity(bytes(range(8)))
PORT = PortIdentity(CLOCK, 0x0102)
OTHER = PortIdentity(ClockIdentity(b"\xff" * 8), 0xFFFF)
HEADER = Header(source=PORT, sequence_id=0x0304)
AT = Instant.from_ns(0x0102_0304_0506 * 1_000_000_000 + 0x0708_090A)

ALL: list[tuple[Message, int, int]] = [
    (Sync(HEADER, AT), 44, 0),
    (DelayReq(HEADER, AT), 44, 1),
    (PdelayReq(HEADER, AT), 54, 5),
    (PdelayResp(HEADER, AT, OTHER), 54, 5),
    (FollowUp(HEADER, AT), 44, 2),
    (DelayResp(HEADER, AT, OTHER), 54, 3),
    (PdelayRespFollowUp(HEADER, AT, OTHER), 54, 5),
    (Announce(header=HEADER, origin=AT, grandmaster=CLOCK), 64, 5),
    (Signaling(HEADER, OTHER), 44, 5),
    (Management(header=HEADER, target=OTHER, action=Action.GET), 48, 4),
]
"""Each with its length (13.5 to 13.12, 15.4.1) and the ``controlField`` of the 2008 edition (its table 23)."""


def ids(value: object) -> str:
    return type(value).__name__ if not isinstance(value, int) else ""


@pytest.mark.parametrize(("message", "size", "control"), ALL, ids=ids)
def test_lengths_and_control_fields_are_those_of_the_edition(message: Message, size: int, control: int) -> None:
    data = encode(message)
    assert (size, size, 0) == (len(data), int.from_bytes(data[2:4], "big"), data[32])
    old = encode(replace(message, header=replace(HEADER, minor_version=0)))
    assert (0x02, control) == (old[1], old[32])


def test_the_octets_of_a_header_are_in_their_places() -> None:
    """Figure of 13.3.1, octet by octet."""
    header = replace(
        HEADER,
        domain=0x2A,
        sdo_id=0x1FE,
        flags=Flags.TWO_STEP | Flags.UTC_OFFSET_VALID,
        correction=Duration(-2),
        log_interval=-3,
        message_specific=0xA1A2A3A4,
    )
    expected = "18 12 002c 2a fe 0204 fffffffffffffffe a1a2a3a4 0001020304050607 0102 0304 00 fd010203040506 0708090a"
    assert bytes.fromhex(expected) == encode(FollowUp(header, AT))


def sync(at: int, octets: bytes) -> bytes:
    """A Sync of which some octets are others."""
    data = encode(Sync(HEADER, AT))
    return data[:at] + octets + data[at + len(octets) :]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "too short"),
        (bytes(33), "too short"),
        (sync(1, b"\x11"), "version 1"),
        (sync(1, b"\x13"), "version 3"),
        (sync(0, b"\x04"), "type 0x4 is reserved"),
        (sync(0, b"\x0f"), "type 0xf is reserved"),
        (sync(2, b"\0\x2b"), "messageLength 43"),
        (sync(2, b"\0\x2d"), "messageLength 45"),
        (sync(2, b"\0\0"), "messageLength 0"),
        (sync(0, b"\x0b"), "messageLength 44"),
        (sync(40, struct.pack(">I", 1_000_000_000)), "timestamp"),
        (encode(Management(header=HEADER, target=OTHER, action=Action.GET))[:46] + b"\x05\0", "action 5"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(WireError, match=words):
        decode(data)


@pytest.mark.parametrize(
    ("tail", "words"),
    [
        (b"\0", "1 octets after"),
        (b"\0\3\0", "3 octets after"),
        (b"\0\3\0\1", "length 1"),
        (b"\0\3\0\3\0\0\0", "length 3"),
        (b"\0\3\0\4\0\0", "length 4"),
        (b"\0\3\0\0" * (MAX_TLVS + 1), "too many"),
    ],
)
def test_a_broken_chain_of_tlvs_is_refused(tail: bytes, words: str) -> None:
    data = sync(2, struct.pack(">H", 44 + len(tail))) + tail
    with pytest.raises(WireError, match=words):
        decode(data)


def test_a_chain_of_as_many_tlvs_as_allowed_is_read() -> None:
    message = Sync(HEADER, AT, (Tlv(3, b""), Tlv(0xFFFF, b"\1\2")) * (MAX_TLVS // 2))
    assert message == decode(encode(message))


@pytest.mark.parametrize("tail", [bytes(2), bytes(6), bytes(16), b"\0\3\0\x40"])
def test_what_follows_the_message_is_not_looked_at(tail: bytes) -> None:
    assert Sync(HEADER, AT) == decode(encode(Sync(HEADER, AT)) + tail)


def test_any_minor_version_is_read() -> None:
    for minor in range(16):
        assert minor == decode(sync(1, bytes((minor << 4 | 2,)))).header.minor_version


def test_reserved_flags_and_the_control_field_are_not_looked_at() -> None:
    data = sync(6, b"\x9a\x80")
    assert Flags.TWO_STEP == decode(data).header.flags
    assert decode(data) == decode(data[:32] + b"\xee" + data[33:])


def test_padding_is_not_counted() -> None:
    data = encode(Sync(HEADER, AT), pad=2)
    assert (46, 44, b"\0\0") == (len(data), int.from_bytes(data[2:4], "big"), data[44:])


def test_a_timestamp_loses_what_is_under_a_nanosecond_and_whole_ns_saves_it() -> None:
    fine = Instant(AT.scaled_ns + 0xFFFF)
    assert (AT, Duration(0xFFFF)) == whole_ns(fine)
    assert Sync(HEADER, AT) == decode(encode(Sync(HEADER, fine)))


@pytest.mark.parametrize("units", [1 << 70, 1 << 63, -(1 << 63) - 1, -(1 << 70)])
def test_a_correction_too_big_is_said_to_be_so(units: int) -> None:
    """13.3.2.9: all bits but the highest; one that is too far below zero too, since others' messages can make it."""
    data = encode(Sync(replace(HEADER, correction=Duration(units))))
    assert "7fffffffffffffff" == data[8:16].hex()
    assert CORRECTION_TOO_BIG == decode(data).header.correction


@pytest.mark.parametrize(
    "message",
    [
        Sync(replace(HEADER, domain=256)),
        Sync(replace(HEADER, sequence_id=0x10000)),
        Sync(replace(HEADER, sdo_id=0x1000)),
        Sync(replace(HEADER, minor_version=16)),
        Sync(replace(HEADER, log_interval=128)),
        Sync(replace(HEADER, source=PortIdentity(ClockIdentity(b"short"), 1))),
        Sync(HEADER, Instant.from_ns(-1)),
        Sync(HEADER, Instant.from_ns((1 << 48) * 1_000_000_000)),
        DelayResp(HEADER, AT, PortIdentity(ClockIdentity(bytes(9)), 1)),
        Announce(header=HEADER, grandmaster=ClockIdentity(b"")),
        Announce(header=HEADER, grandmaster=CLOCK, priority1=256),
        Sync(HEADER, AT, (Tlv(3, b"odd"),)),
        Sync(HEADER, AT, (Tlv(0x10000, b""),)),
        Sync(HEADER, AT, (Tlv(3, bytes(0x10000)),)),
        Sync(HEADER, AT, (Tlv(3, bytes(0xFFFE)),)),
        Sync(HEADER, AT, (Tlv(3, b""),) * (MAX_TLVS + 1)),
    ],
)
def test_what_does_not_fit_is_our_own_bug(message: Message) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - only that it is no WireError matters here
        encode(message)
    assert not isinstance(caught.value, WireError)
