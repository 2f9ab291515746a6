"""The NTP codec: times, tails, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Duration, Instant, Utc
from timesync.wire.error import WireError
from timesync.wire.ntp import (
    MAX_PACKET,
    Extension,
    Mac,
    Mode,
    NtpPacket,
    decode,
    encode,
    short_from_duration,
    short_to_duration,
    timestamp_from_utc,
    timestamp_to_utc,
)

ERA_S = 1 << 32
CLIENT = NtpPacket(mode=Mode.CLIENT)
HEADER = bytes([0x23]) + bytes(47)


def utc(seconds: int, units: int = 0) -> Instant[Utc]:
    return Instant(seconds * UNITS_PER_S + units)


# -- timestamps


@pytest.mark.parametrize(
    ("unix_s", "era", "seconds"),
    [
        pytest.param(0, 0, 2_208_988_800, id="1970-01-01"),
        pytest.param(63_072_000, 0, 2_272_060_800, id="1972-01-01"),
        pytest.param(946_598_400, 0, 3_155_587_200, id="1999-12-31"),
        pytest.param(2_086_041_600, 1, 63_104, id="2036-02-08"),
    ],
)
def test_the_dates_of_rfc_5905_figure_4(unix_s: int, era: int, seconds: int) -> None:
    assert seconds << 32 == timestamp_from_utc(utc(unix_s))
    assert utc(unix_s) == timestamp_to_utc(seconds << 32, utc(unix_s + 86_400 * 365 * 60))
    assert unix_s + 2_208_988_800 == era * ERA_S + seconds


def test_the_era_is_the_one_nearest_to_the_pivot() -> None:
    half = ERA_S // 2
    for pivot_s in (-half, 0, 1_790_000_000, 2_085_978_496, 5 * ERA_S):
        for distance in (-half + 1, -1, 0, 1, half - 1):
            there = utc(pivot_s + distance)
            assert there == timestamp_to_utc(timestamp_from_utc(there), utc(pivot_s)), (pivot_s, distance)


@pytest.mark.parametrize(
    "timestamp", [0, 1, 2, 3, 0x8000_0000, 0xFFFF_FFFF, 1 << 63, (1 << 64) - 1, 0xDEAD_BEEF_1234_5677]
)
def test_a_timestamp_comes_back_to_the_last_bit(timestamp: int) -> None:
    for pivot in (utc(0), utc(1_790_000_000, 12_345), utc(2_085_978_495, UNITS_PER_S - 1)):
        assert timestamp == timestamp_from_utc(timestamp_to_utc(timestamp, pivot))


def test_the_unit_of_a_timestamp_is_233_ps() -> None:
    one = timestamp_to_utc((2_208_988_800 << 32) + 1, utc(0))
    assert 15_259 == one.scaled_ns, "10^9 * 2^16 / 2^32 = 15258.79 units of 2^-16 ns"


def test_short_format_is_rounded_so_that_a_bound_stays_a_bound() -> None:
    assert 1 == short_from_duration(Duration(1))
    assert 1 == short_from_duration(Duration(UNITS_PER_S >> 16))
    assert 2 == short_from_duration(Duration((UNITS_PER_S >> 16) + 1))
    assert 0x0001_8000 == short_from_duration(Duration.from_s(1.5))
    assert 0 == short_from_duration(Duration(-1))
    assert 0xFFFF_FFFF == short_from_duration(Duration.from_s(70_000))
    assert Duration.from_s(1.5) == short_to_duration(0x0001_8000)
    for short in (0, 1, 2, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF):
        assert short == short_from_duration(short_to_duration(short))


# -- tails


def extension(length: int, kind: int = 0x0104) -> bytes:
    return kind.to_bytes(2, "big") + length.to_bytes(2, "big") + bytes(n % 251 + 1 for n in range(length - 4))


@pytest.mark.parametrize(
    ("tail", "lengths", "mac"),
    [
        pytest.param(b"", [], None, id="nothing"),
        pytest.param(bytes(4), [], 0, id="crypto-NAK"),
        pytest.param(bytes(20), [], 16, id="MD5"),
        pytest.param(bytes(24), [], 20, id="SHA1"),
        pytest.param(extension(28), [28], None, id="last field, 28"),
        pytest.param(extension(16) + bytes(20), [16], 16, id="field of 16 and MD5"),
        pytest.param(extension(16) + bytes(24), [16], 20, id="field of 16 and SHA1"),
        pytest.param(extension(28) + bytes(4), [28], 0, id="field of 28 and crypto-NAK"),
        pytest.param(extension(16) + extension(28), [16, 28], None, id="two fields"),
        pytest.param(extension(16) * 15 + extension(28), [16] * 15 + [28], None, id="sixteen fields"),
        pytest.param(extension(2000), [2000], None, id="long field"),
        pytest.param(extension(24), [], 20, id="a last field of 24 reads as a MAC (RFC 7822, 7.5.1.4)"),
    ],
)
def test_tails_of_version_4(tail: bytes, lengths: list[int], mac: int | None) -> None:
    packet = decode(HEADER + tail)
    assert lengths == [len(field.body) + 4 for field in packet.extensions]
    assert mac == (None if packet.mac is None else len(packet.mac.digest))
    assert HEADER + tail == encode(packet)


@pytest.mark.parametrize("version", [1, 2, 3])
@pytest.mark.parametrize("size", [16, 20, 32, 48, 64])
def test_before_version_4_all_after_the_header_is_mac(version: int, size: int) -> None:
    data = bytes([version << 3 | 3]) + HEADER[1:] + b"\0\0\0\x09" + bytes(range(size))
    packet = decode(data)
    assert Mac(9, bytes(range(size))) == packet.mac
    assert () == packet.extensions
    assert data == encode(packet)


BAD = [
    ("empty", b""),
    ("47 octets", HEADER[:47]),
    ("49 octets", HEADER + b"\0"),
    ("too long", HEADER + extension(2004)),
    ("65507 octets", HEADER + bytes(65_459)),
    ("version 0", bytes([0x03]) + bytes(47)),
    ("version 5", bytes([0x2B]) + bytes(47)),
    ("version 7", bytes([0x3B]) + bytes(47)),
    ("8 octets of tail", HEADER + bytes(8)),
    ("16 octets of tail", HEADER + extension(16)),
    ("field of length 0", HEADER + bytes(28)),
    ("field of length 3", HEADER + b"\1\4\0\3" + bytes(24)),
    ("field of length 12", HEADER + b"\1\4\0\x0c" + bytes(24)),
    ("field of length 17", HEADER + b"\1\4\0\x11" + bytes(28)),
    ("field past the end", HEADER + b"\1\4\0\x20" + bytes(24)),
    ("field of length 65535", HEADER + b"\1\4\xff\xff" + bytes(24)),
    ("field and 12 octets", HEADER + extension(16) + bytes(12)),
    ("seventeen fields", HEADER + extension(16) * 16 + extension(28)),
    ("MAC of 12 in version 3", bytes([0x1B]) + bytes(47 + 16)),
    ("MAC of 24 in version 3", bytes([0x1B]) + bytes(47 + 28)),
    ("MAC of 68 in version 3", bytes([0x1B]) + bytes(47 + 72)),
]


@pytest.mark.parametrize("data", [row[1] for row in BAD], ids=[row[0] for row in BAD])
def test_what_is_not_a_packet(data: bytes) -> None:
    with pytest.raises(WireError):
        decode(data)


def test_a_memoryview_is_as_good_as_bytes() -> None:
    data = HEADER + extension(28)
    assert decode(data) == decode(memoryview(data))


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("leap", list(Leap))
def test_leap_and_mode_bits(mode: Mode, leap: Leap) -> None:
    packet = replace(CLIENT, mode=mode, leap=leap)
    assert leap.value << 6 | 4 << 3 | mode.value == encode(packet)[0]
    assert packet == decode(encode(packet))


@pytest.mark.parametrize(
    "changes",
    [
        {"version": 0},
        {"version": 5},
        {"stratum": 256},
        {"stratum": -1},
        {"poll": 128},
        {"precision": -129},
        {"root_delay": 1 << 32},
        {"root_dispersion": -1},
        {"reference_id": b"abc"},
        {"reference_id": b"abcde"},
        {"origin": 1 << 64},
        {"transmit": -1},
        {"mac": Mac(1, bytes(17))},
        {"mac": Mac(1, bytes(32))},
        {"mac": Mac(1 << 32, bytes(16))},
        {"mac": Mac(-1, bytes(16))},
        {"version": 3, "mac": Mac(1, bytes(24))},
        {"version": 3, "extensions": (Extension(1, bytes(24)),)},
        {"extensions": (Extension(1, bytes(20)),)},
        {"extensions": (Extension(1, bytes(25)),)},
        {"extensions": (Extension(1, bytes(8)),), "mac": Mac(1, bytes(16))},
        {"extensions": (Extension(1, bytes(12)),), "mac": Mac(0, b"")},
        {"extensions": (Extension(1, bytes(24)), Extension(1, bytes(12)))},
        {"extensions": (Extension(1 << 16, bytes(24)),)},
        {"extensions": (Extension(-1, bytes(24)),)},
        {"extensions": (Extension(1, bytes(24)),) * 17},
        {"extensions": (Extension(1, bytes(MAX_PACKET)),)},
        {"extensions": (Extension(1, bytes(70_000)),)},
        {"extensions": (Extension(1, bytes(1020)),) * 2},
    ],
    ids=str,
)
def test_our_own_mistakes_are_value_errors(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        encode(replace(CLIENT, **changes))
