"""The extension fields of NTPv5, from the figures of draft-ietf-ntp-ntpv5-07."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.wire.error import WireError
from timesync.wire.ntp import Extension, Mac
from timesync.wire.ntp5_ext import (
    DRAFTS,
    Correction,
    MonotonicReceive,
    ReferenceIdsRequest,
    SecondaryReceive,
    check_draft,
    decode_correction,
    decode_mac,
    decode_monotonic_receive,
    decode_reference_ids_request,
    decode_reference_timestamp,
    decode_secondary_receive,
    decode_server_information,
    encode_draft,
    encode_mac,
    encode_reference_timestamp,
    encode_server_information,
)
from timesync.wire.ntp_ext import encode_field


def wire(field: Extension) -> str:
    return encode_field(field.kind, field.body, version=5).hex()


def test_the_draft_is_named_without_an_end_mark() -> None:
    """ntpd-rs's test draft_identification has these octets: the length leaves the one octet of padding out."""
    name = "draft-ietf-ntp-ntpv5-09"
    assert "f5ff001b" + name.encode().hex() + "00" == wire(encode_draft(name))


def test_a_mac() -> None:
    mac = Mac(0x2A, bytes(range(0xF0, 0x100)))
    assert "f5020018" + "0000002a" + bytes(range(0xF0, 0x100)).hex() == wire(encode_mac(mac))
    assert mac == decode_mac(bytes.fromhex("0000002a") + bytes(range(0xF0, 0x100)))


def test_reference_ids() -> None:
    request = ReferenceIdsRequest(offset=0x1E0, size=16)
    assert "f5030014" + "01e0" + "00" * 14 == wire(request.encode())
    assert request == decode_reference_ids_request(bytes.fromhex("01e0") + bytes(14))
    # ntpd-rs's test_reference_id_request_decode: the length of the field is that of the piece.
    assert ReferenceIdsRequest(offset=2, size=5) == decode_reference_ids_request(bytes([0, 2, 0, 0, 0]))
    # ntpd-rs's test_reference_id_response_serialize.
    assert bytes([0xF5, 4, 0, 7, 0, 0, 0, 0]).hex() == wire(Extension(0xF504, bytes(3)))


@pytest.mark.parametrize(
    ("offset", "size", "valid"),
    [(0, 512, True), (496, 16, True), (497, 16, False), (1, 512, False), (510, 2, True), (0xFFFF, 2, False)],
)
def test_a_piece_must_lie_inside_the_filter(offset: int, size: int, valid: bool) -> None:
    """«larger than 512 minus length of data»."""
    assert valid == ReferenceIdsRequest(offset, size).valid


def test_server_information() -> None:
    """«the least significant bit corresponds to the version 1»: 3, 4 and 5 are 0b11100."""
    assert "f5050008" + "001c0000" == wire(encode_server_information({3, 4, 5}))
    assert frozenset({3, 4, 5}) == decode_server_information(bytes.fromhex("001c0000"))
    assert "f5050008" + "00000000" == wire(encode_server_information())


def test_a_correction() -> None:
    correction = Correction(origin=0x0000_0000_0003_8000, origin_path=0x1234, delay=-0x18000, path=0xABCD)
    body = "0000000000038000" + "1234" + "0000" + "fffffffffffe8000" + "abcd" + "0000"
    assert "f506001c" + body == wire(correction.encode())
    assert correction == decode_correction(bytes.fromhex(body[:-4] + "7777")), "the complement means nothing"
    assert Correction(origin=-0x18000, origin_path=0xABCD) == correction.answer()


def test_timestamps() -> None:
    assert "f507000c" + "ec11d70080000000" == wire(encode_reference_timestamp(0xEC11D700_80000000))
    assert 0xEC11D700_80000000 == decode_reference_timestamp(bytes.fromhex("ec11d70080000000"))
    monotonic = MonotonicReceive(epoch=0xDEADBEEF, at=0x00000010_40000000)
    assert "f5080010" + "deadbeef" + "0000001040000000" == wire(monotonic.encode())
    assert monotonic == decode_monotonic_receive(bytes.fromhex("deadbeef0000001040000000"))
    secondary = SecondaryReceive(timescale=3, era=1, at=0x00000000_80000000)
    assert "f5090010" + "03010000" + "0000000080000000" == wire(secondary.encode())
    assert secondary == decode_secondary_receive(bytes.fromhex("03010000" + "0000000080000000"))


DECODERS: list[tuple[Callable[[bytes], Any], set[int]]] = [
    (decode_server_information, {4}),
    (decode_correction, {24}),
    (decode_reference_timestamp, {8}),
    (decode_monotonic_receive, {12}),
    (decode_secondary_receive, {12}),
    (decode_mac, set(range(5, 80))),
    (decode_reference_ids_request, set(range(2, 80))),
]


@pytest.mark.parametrize(("decoder", "sizes"), DECODERS)
def test_every_other_length_is_refused(decoder: Callable[[bytes], Any], sizes: set[int]) -> None:
    for size in range(80):
        if size in sizes:
            decoder(bytes(size))
        else:
            with pytest.raises(WireError):
                decoder(bytes(size))


@given(st.integers(-(1 << 63), (1 << 63) - 1), st.integers(0, 0xFFFF), st.integers(-(1 << 63), (1 << 63) - 1))
def test_every_correction_comes_back(origin: int, path: int, delay: int) -> None:
    correction = Correction(origin, path, delay, path ^ 0xFFFF)
    assert correction == decode_correction(correction.encode().body)


def test_the_drafts_from_06_on_can_be_configured_and_older_ones_not() -> None:
    for name in (*DRAFTS, "draft-ietf-ntp-ntpv5-06", "draft-ietf-ntp-ntpv5-10", "draft-example-ntp-00"):
        assert name == check_draft(name)
    for name in ("draft-ietf-ntp-ntpv5-05", "draft-ietf-ntp-ntpv5-00"):
        with pytest.raises(ValueError, match="another layout"):
            check_draft(name)
    for name in ("", "ntpv5", "draft-ietf-ntp-ntpv5-9", "draft-ietf-ntp-ntpv5-09\0", "draft-" + "x" * 60 + "-01"):
        with pytest.raises(ValueError, match="not the name"):
            check_draft(name)
