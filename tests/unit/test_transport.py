"""What both kinds of PTP sockets look up in a message; octets laid out by hand (IEEE 1588-2019, tables 35 and 36)."""

from __future__ import annotations

import pytest

from timesync.transport import domain_of, is_event, is_one_step_sync, message_key, trimmed

# gPTP Sync of domain 5: majorSdoId 1, minorSdoId 0x23, two-step, source 1122334455667788-0009, sequence 0xABCD.
SYNC = bytes.fromhex("1012002c05230200" + "00" * 12 + "11223344556677880009abcd007f" + "00" * 10)


def test_a_message_ends_where_its_length_says() -> None:
    assert trimmed(SYNC) == SYNC
    assert trimmed(SYNC + bytes(2)) == SYNC
    assert trimmed(SYNC.ljust(46, b"\0") + bytes.fromhex("00a1002c88fb")) == SYNC


@pytest.mark.parametrize("data", [b"", b"\0\x12\0", SYNC[:43], bytes.fromhex("00120021") + bytes(40)])
def test_what_cannot_be_a_message_is_left_to_the_decoder(data: bytes) -> None:
    assert trimmed(data) == data


def test_the_domain_is_number_and_sdo_id() -> None:
    assert domain_of(SYNC) == (5, 0x123)
    assert domain_of(SYNC[:33]) is None


@pytest.mark.parametrize(
    ("kind", "expected"), [(0, True), (1, True), (3, True), (8, False), (0xB, False), (0xD, False)]
)
def test_event_messages_are_those_below_8(kind: int, expected: bool) -> None:
    assert is_event(bytes([0x10 | kind]) + SYNC[1:]) is expected
    assert not is_event(b"")


def test_a_one_step_sync_has_no_two_step_flag() -> None:
    assert not is_one_step_sync(SYNC)
    one_step = SYNC[:6] + b"\0" + SYNC[7:]
    assert is_one_step_sync(one_step)
    assert not is_one_step_sync(b"\x11" + one_step[1:])  # Delay_Req
    assert not is_one_step_sync(one_step[:33])


def test_the_key_tells_messages_apart_but_not_corrections() -> None:
    assert message_key(SYNC) == message_key(SYNC[:8] + b"\x01" * 8 + SYNC[16:])
    for at in (0, 4, 5, 27, 29, 31):
        other = bytearray(SYNC)
        other[at] ^= 1
        assert message_key(SYNC) != message_key(bytes(other))
