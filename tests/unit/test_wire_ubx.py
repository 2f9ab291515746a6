"""Framing there and back, what is refused, and payloads laid out here by the interface descriptions."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.time import Instant
from timesync.wire import ubx
from timesync.wire import ubx_message as kinds
from timesync.wire.error import WireError

OCTET = st.integers(0, 255)
U2 = st.integers(0, 0xFFFF)
U4 = st.integers(0, 0xFFFF_FFFF)
I4 = st.integers(-(1 << 31), (1 << 31) - 1)


def fletcher(data: bytes) -> bytes:
    """The sums as the description words them: octet by octet, modulo 256."""
    first = second = 0
    for octet in data:
        first = (first + octet) % 256
        second = (second + first) % 256
    return bytes((first, second))


@given(OCTET, OCTET, st.binary(max_size=ubx.MAX_PAYLOAD))
def test_a_frame_splits_to_what_it_was_made_of(cls: int, number: int, payload: bytes) -> None:
    data = ubx.frame((cls, number), payload)
    assert data[:4] == bytes((0xB5, 0x62, cls, number))
    assert data[-2:] == fletcher(data[2:-2])
    assert ubx.Frame((cls, number), payload) == ubx.split(data)


@given(OCTET, OCTET, st.binary(max_size=40), st.data())
def test_no_single_octet_can_change_unnoticed(cls: int, number: int, payload: bytes, data: st.DataObject) -> None:
    good = ubx.frame((cls, number), payload)
    at = data.draw(st.integers(0, len(good) - 1))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(WireError):
        ubx.split(bytes(bad))


@pytest.mark.parametrize("size", range(8 + 5))
def test_a_cut_frame_is_refused(size: int) -> None:
    with pytest.raises(WireError):
        ubx.split(ubx.frame((1, 2), b"hello")[:size])


def test_a_payload_has_a_limit() -> None:
    with pytest.raises(WireError):
        ubx.frame((1, 2), bytes(ubx.MAX_PAYLOAD + 1))
    body = bytes((1, 2)) + (ubx.MAX_PAYLOAD + 1).to_bytes(2, "little") + bytes(ubx.MAX_PAYLOAD + 1)
    with pytest.raises(WireError):
        ubx.split(b"\xb5\x62" + body + fletcher(body))


KNOWN = [
    kinds.NAV_STATUS,
    kinds.NAV_DOP,
    kinds.NAV_PVT,
    kinds.NAV_TIMEGPS,
    kinds.NAV_TIMEUTC,
    kinds.NAV_TIMELS,
    kinds.NAV_SAT,
    kinds.ACK_ACK,
    kinds.ACK_NAK,
    kinds.MON_VER,
    kinds.MON_HW,
    kinds.MON_RF,
    kinds.TIM_TP,
    kinds.SEC_SIG,
]


@pytest.mark.parametrize("kind", KNOWN)
def test_a_poll_is_no_message_of_a_receiver(kind: tuple[int, int]) -> None:
    with pytest.raises(WireError):
        ubx.decode(ubx.poll(kind))


def test_an_unknown_message_is_only_named() -> None:
    assert kinds.Other((0x02, 0x15)) == ubx.decode(ubx.frame((0x02, 0x15), bytes(16)))


@given(U4, U4, I4, U2, st.integers(0, 63), OCTET)
def test_tim_tp(tow: int, sub: int, error: int, week: int, flags: int, info: int) -> None:
    """32.21.8: U4 towMS, U4 towSubMS, I4 qErr, U2 week, X1 flags, X1 refInfo."""
    message = ubx.decode(ubx.frame((0x0D, 0x01), struct.pack("<LLlHBB", tow, sub, error, week, flags, info)))
    expected = kinds.TimTp(
        tow_ms=tow,
        tow_sub=sub,
        quantization_ps=error,
        quantization_valid=flags & 16 == 0,
        week=week,
        utc_base=flags & 1 != 0,
        utc_known=flags & 2 != 0,
        reference=info % 16,
        locked=flags & 32 == 0,
    )
    assert expected == message


@given(st.lists(st.tuples(OCTET, OCTET, OCTET, st.integers(-90, 90), st.integers(0, 360), st.booleans()), max_size=255))
def test_nav_sat(satellites: list[tuple[int, int, int, int, int, bool]]) -> None:
    """32.17.18: U4 iTOW, U1 version, U1 numSvs, 2 reserved; per satellite 12 octets, ``svUsed`` is bit 3 of flags."""
    payload = struct.pack("<LBB2x", 7, 1, len(satellites))
    for system, number, signal, elevation, azimuth, used in satellites:
        payload += struct.pack("<BBBbhhL", system, number, signal, elevation, azimuth, -3, 0x17 | used << 3)
    expected = tuple(
        kinds.Satellite(system=system, number=number, signal_db=signal, elevation=elevation, azimuth=azimuth, used=used)
        for system, number, signal, elevation, azimuth, used in satellites
    )
    assert kinds.NavSat(tow_ms=7, satellites=expected) == ubx.decode(ubx.frame((0x01, 0x35), payload))


@pytest.mark.parametrize(("kind", "count_at", "head"), [(kinds.NAV_SAT, 5, 8), (kinds.MON_RF, 1, 4)])
def test_a_group_that_is_cut_short_is_refused(kind: tuple[int, int], count_at: int, head: int) -> None:
    payload = bytearray(head + 23)
    payload[count_at] = 2
    with pytest.raises(WireError):
        ubx.decode(ubx.frame(kind, bytes(payload)))


def test_mon_rf_lists_its_front_ends() -> None:
    """32.16.12: U1 blockId, X1 flags (jammingState in bits 0 and 1), U1 antStatus, U1 antPower, then 20 octets."""
    payload = bytes((0, 2, 0, 0)) + bytes((0, 1, 2, 1)) + bytes(20) + bytes((1, 3, 4, 0)) + bytes(20)
    expected = kinds.MonRf((kinds.RfBlock(jamming=1, antenna=2), kinds.RfBlock(jamming=3, antenna=4)))
    assert expected == ubx.decode(ubx.frame(kinds.MON_RF, payload))


def test_sec_sig_in_its_first_version() -> None:
    """F9 interface description: U1 version, 3 reserved, X1 jamFlags, 3 reserved, X1 spfFlags, 3 reserved."""
    payload = bytes((1, 0, 0, 0, 1 | 2 << 1, 0, 0, 0, 1 | 3 << 1, 0, 0, 0))
    assert kinds.SecSig(jamming=2, spoofing=3) == ubx.decode(ubx.frame(kinds.SEC_SIG, payload))
    with pytest.raises(WireError):
        ubx.decode(ubx.frame(kinds.SEC_SIG, b"\x03" + payload[1:]))


def test_no_control_character_gets_out_of_mon_ver() -> None:
    payload = b"a\x1b[2Jb\xff".ljust(30, b"\0") + b"0" * 10 + b"PROTVER 15.00".ljust(30, b"\0") + b"half"
    message = ubx.decode(ubx.frame(kinds.MON_VER, payload))
    assert kinds.MonVer("a[2Jb", "0" * 10, ("PROTVER 15.00",)) == message
    assert isinstance(message, kinds.MonVer)
    assert message.extension("PROTVER") == "15.00"
    assert message.extension("MOD") is None


@pytest.mark.parametrize(
    ("nano", "expected_ns"), [(0, 0), (-700_000, -700_000), (521_000_000, 521_000_000), (994_999_999, 994_999_999)]
)
def test_nano_is_added_with_its_sign(nano: int, expected_ns: int) -> None:
    """The example of the M10 integration manual: 2012-01-01 00:00:00 and -700000 ns is 2011-12-31 23:59:59.9993."""
    assert Instant.from_ns(1_325_376_000 * 10**9 + expected_ns) == kinds.RawUtc(2012, 1, 1, 0, 0, 0, nano).posix()


@pytest.mark.parametrize(
    "raw",
    [
        kinds.RawUtc(2026, 0, 0, 0, 0, 0, 0),
        kinds.RawUtc(2026, 2, 29, 0, 0, 0, 0),
        kinds.RawUtc(2026, 1, 1, 25, 0, 0, 0),
        kinds.RawUtc(2026, 1, 1, 0, 0, 0, 1_000_000_001),
    ],
)
def test_a_time_that_does_not_exist_is_refused(raw: kinds.RawUtc) -> None:
    with pytest.raises(WireError):
        raw.posix()


@pytest.mark.parametrize(
    ("key", "value", "tail"),
    [
        (0x10740001, 1, "01007410 01"),
        (0x2091035A, 10, "5a039120 0a"),
        (0x30210001, 1000, "01002130 e803"),
        (0x40520001, 115_200, "01005240 00c20100"),
    ],
)
def test_a_value_has_the_size_that_its_key_says(key: int, value: int, tail: str) -> None:
    """Keys and sizes of the F9 interface description: one bit, U1, U2 and U4."""
    payload = ubx.split(ubx.set_value(key, value)).payload
    assert payload[:4] == bytes((0, 1, 0, 0))
    assert bytes.fromhex(tail) == payload[4:]


def test_a_key_without_a_size_is_refused() -> None:
    with pytest.raises(WireError):
        ubx.set_value(0x00910007, 1)
