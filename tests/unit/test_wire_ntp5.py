"""NTPv5 messages laid out by hand from draft-ietf-ntp-ntpv5-07, and the octets of ntpd-rs's own tests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.measure import Leap
from timesync.base.time import SCALE, Duration
from timesync.wire.error import WireError
from timesync.wire.ntp import MAX_EXTENSIONS, MAX_PACKET, Extension, Mode
from timesync.wire.ntp5 import (
    NEVER,
    UPGRADE_DRAFT,
    Flag,
    Ntp5Packet,
    Timescale,
    decode,
    encode,
    time32_from_duration,
    time32_to_duration,
    timestamp_from_ns,
    timestamp_to_units,
)

S = 1_000_000_000

ANSWER = bytes.fromhex(
    "6c"  # LI 1, VN 5, mode 4: 01 101 100
    "02 06 e7"  # stratum 2, poll 2^6 s, precision -25
    "18000000"  # root delay 1.5 s: 4 bits of seconds, 28 of fraction
    "00000041"  # root dispersion 65 / 2^28 s
    "01 00"  # TAI, era 0
    "0003"  # synchronized, interleaved
    "1111111122222221"  # server cookie
    "0123456789abcdef"  # client cookie
    "ec11d700ffffffff"  # receive
    "ec11d70100000000"  # transmit
    "f501 0006 0000 0000"  # padding of two octets, and two more up to the next word
    "0104 0005 aa000000"  # a field of another document: one octet
)

ANSWER_PACKET = Ntp5Packet(
    leap=Leap.INSERT,
    mode=Mode.SERVER,
    stratum=2,
    poll=6,
    precision=-25,
    root_delay=3 << 27,
    root_dispersion=65,
    timescale=Timescale.TAI,
    era=0,
    flags=Flag.SYNCHRONIZED | Flag.INTERLEAVED,
    server_cookie=0x11111111_22222221,
    client_cookie=0x0123456789ABCDEF,
    receive=0xEC11D700_FFFFFFFF,
    transmit=0xEC11D701_00000000,
    extensions=(Extension(0xF501, b"\0\0"), Extension(0x0104, b"\xaa")),
)

# ntpd-rs, ntp-proto/src/packet/v5/mod.rs, tests parse_request, parse_response and parse_response_unsynchronized.
NTPD_RS_REQUEST = bytes([0b11_101_011, 0, 5, 0, *bytes(8), 2, 0, 0, 2, *bytes(8), *range(8, 0, -1), *bytes(16)])
NTPD_RS_ANSWER = bytes(
    [0b00_101_100, 4, 5, 6, 0x10, 0, 0, 0, 0x20, 0, 0, 0, 1, 7, 0, 3, *range(1, 9), *range(8, 0, -1)]
    + [0x11] * 8
    + [0x22] * 8
)
NTPD_RS_UNSYNCHRONIZED = NTPD_RS_ANSWER[:15] + b"\x02" + NTPD_RS_ANSWER[16:]


def test_an_answer_of_the_draft() -> None:
    assert ANSWER_PACKET == decode(ANSWER)
    assert ANSWER == encode(ANSWER_PACKET)


def test_the_request_of_ntpd_rs() -> None:
    packet = decode(NTPD_RS_REQUEST)
    expected = Ntp5Packet(
        leap=Leap.UNKNOWN,
        mode=Mode.CLIENT,
        poll=5,
        timescale=Timescale.UT1,
        flags=Flag.INTERLEAVED,
        client_cookie=0x0807060504030201,
    )
    assert expected == packet
    assert NTPD_RS_REQUEST == encode(packet)


def test_the_answers_of_ntpd_rs() -> None:
    packet = decode(NTPD_RS_ANSWER)
    assert (Leap.NONE, Mode.SERVER, 4, 5, 6) == (
        packet.leap,
        packet.mode,
        packet.stratum,
        packet.poll,
        packet.precision,
    )
    assert (Duration.from_s(1), Duration.from_s(2)) == (
        time32_to_duration(packet.root_delay),
        time32_to_duration(packet.root_dispersion),
    )
    assert (Timescale.TAI, 7, Flag.SYNCHRONIZED | Flag.INTERLEAVED) == (packet.timescale, packet.era, packet.flags)
    assert (0x0102030405060708, 0x0807060504030201) == (packet.server_cookie, packet.client_cookie)
    assert (0x1111111111111111, 0x2222222222222222) == (packet.receive, packet.transmit)
    assert NTPD_RS_ANSWER == encode(packet)
    assert Flag.INTERLEAVED == decode(NTPD_RS_UNSYNCHRONIZED).flags


def test_the_mark_of_an_upgrade_is_ascii() -> None:
    """0x4E54503544524654 in the draft, and in ntpd-rs's test v5_upgrade_packet."""
    assert b"NTP5DRFT" == UPGRADE_DRAFT.to_bytes(8, "big")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (ANSWER[:47], "short"),
        (ANSWER[:50], "multiple of four"),
        (ANSWER + bytes(MAX_PACKET), "long"),
        (b"\x24" + ANSWER[1:], "version 4"),
        (b"\x3c" + ANSWER[1:], "version 7"),
        (b"\x29" + ANSWER[1:], "mode 1"),
        (b"\x2d" + ANSWER[1:], "mode 5"),
        (ANSWER[:48] + b"\xf5\x01\0\0", "length 0"),
        (ANSWER[:48] + b"\xf5\x01\0\x03", "length 3"),
        (ANSWER[:48] + b"\xf5\x01\0\x05", "length 5"),
        (ANSWER[:48] + b"\xf5\x01\xff\xff" + bytes(4), "length 65535"),
        (ANSWER[:48] + b"\xf5\x01\0\x04" * (MAX_EXTENSIONS + 1), "too many"),
    ],
)
def test_what_is_no_message(data: bytes, reason: str) -> None:
    with pytest.raises(WireError, match=reason):
        decode(data)


def test_a_field_may_be_empty_and_unaligned() -> None:
    """The least length is 4, and unlike in version 4 none is too short to be told from a MAC."""
    assert (Extension(0x1234, b""),) == decode(ANSWER[:48] + b"\x12\x34\0\x04").extensions
    assert b"\x12\x34\0\x07abc\0" == encode(replace(ANSWER_PACKET, extensions=(Extension(0x1234, b"abc"),)))[48:]


def test_an_unknown_timescale_and_unknown_flags_are_kept() -> None:
    packet = decode(ANSWER[:12] + b"\x09\x00\x80\x01" + ANSWER[16:])
    assert (9, 0x8001) == (packet.timescale, packet.flags)
    assert Flag.SYNCHRONIZED in packet.flags


def test_a_poll_of_127_is_to_be_left_alone() -> None:
    assert NEVER == decode(ANSWER[:2] + b"\x7f" + ANSWER[3:]).poll


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": Mode.BROADCAST},
        {"stratum": 256},
        {"poll": 128},
        {"era": 256},
        {"root_delay": 1 << 32},
        {"flags": Flag(1 << 16)},
        {"client_cookie": 1 << 64},
        {"extensions": (Extension(1, b""),) * (MAX_EXTENSIONS + 1)},
        {"extensions": (Extension(1, bytes(1200)),) * 2},
    ],
)
def test_what_does_not_fit_is_our_own_bug(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        encode(replace(ANSWER_PACKET, **changes))
    assert not isinstance(caught.value, WireError)


packets = st.builds(
    Ntp5Packet,
    leap=st.sampled_from(Leap),
    mode=st.sampled_from([Mode.CLIENT, Mode.SERVER]),
    stratum=st.integers(0, 255),
    poll=st.integers(-128, 127),
    precision=st.integers(-128, 127),
    root_delay=st.integers(0, (1 << 32) - 1),
    root_dispersion=st.integers(0, (1 << 32) - 1),
    timescale=st.integers(0, 255),
    era=st.integers(0, 255),
    flags=st.integers(0, 0xFFFF).map(Flag),
    server_cookie=st.integers(0, (1 << 64) - 1),
    client_cookie=st.integers(0, (1 << 64) - 1),
    receive=st.integers(0, (1 << 64) - 1),
    transmit=st.integers(0, (1 << 64) - 1),
    extensions=st.lists(
        st.builds(Extension, st.integers(0, 0xFFFF), st.binary(max_size=40)), max_size=MAX_EXTENSIONS
    ).map(tuple),
)


@given(packets)
def test_every_message_comes_back(packet: Ntp5Packet) -> None:
    data = encode(packet)
    assert len(data) % 4 == 0
    assert packet == decode(data)


@given(st.binary(max_size=120))
def test_octets_are_a_message_or_a_wire_error(tail: bytes) -> None:
    try:
        packet = decode(ANSWER[:48] + tail)
    except WireError:
        return
    assert len(encode(packet)) == 48 + len(tail)


def test_time32() -> None:
    """4 bits of seconds and 28 of fraction; ntpd-rs's test time32 has the first three."""
    assert Duration.from_s(1) == time32_to_duration(0x10000000)
    assert 3 == time32_to_duration(1).scaled_ns // SCALE
    assert 37 == time32_to_duration(10).scaled_ns // SCALE
    assert 0x1800_0000 == time32_from_duration(Duration.from_s(1.5))
    assert 1 == time32_from_duration(Duration.from_ns(1)), "a bound is rounded up"
    assert 0 == time32_from_duration(Duration.from_ns(-1))
    assert 0xFFFF_FFFF == time32_from_duration(Duration.from_s(16))


@given(st.integers(0, 16 * S - 4))
def test_a_bound_stays_one_as_a_time32(nanoseconds: int) -> None:
    """It is rounded up, by less than 2^-28 s, which is under 4 ns."""
    assert nanoseconds << 28 <= time32_from_duration(Duration.from_ns(nanoseconds)) * S < (nanoseconds + 4) << 28


def test_timestamps_and_eras() -> None:
    """1972-01-01 is 2272060800 («Data Types»); era 1 begins on 2036-02-07 at 06:28:16 (RFC 5905, figure 4)."""
    assert (0, 2_272_060_800 << 32) == timestamp_from_ns(63_072_000 * S)
    assert (0, (2_272_060_800 + 10) << 32 | 1 << 31) == timestamp_from_ns(63_072_010 * S + S // 2)
    era_1 = 2_085_978_496 * S
    assert (0, 0xFFFF_FFFF_FFFF_FFFB) == timestamp_from_ns(era_1 - 1)
    assert (1, 1) == timestamp_from_ns(era_1), "0 would mean that the time is not known"
    assert (1, 1 << 32) == timestamp_from_ns(era_1 + S)
    assert era_1 * SCALE == timestamp_to_units(0, 1)
    assert 63_072_000 * S * SCALE == timestamp_to_units(2_272_060_800 << 32, 0)


@given(st.integers(-2_208_988_800 * S + 1, 30_000 * 365 * 86_400 * S))
def test_a_timestamp_with_its_era_comes_back_to_the_nanosecond(nanoseconds: int) -> None:
    era, timestamp = timestamp_from_ns(nanoseconds)
    assert -SCALE // 2 <= timestamp_to_units(timestamp, era) - nanoseconds * SCALE <= SCALE // 2
