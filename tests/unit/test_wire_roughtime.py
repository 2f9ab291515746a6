"""The Roughtime codec: packets of another implementation, and what it refuses."""

from __future__ import annotations

import hashlib
import struct

import pytest
from roughtime_vectors import DEEP_RESPONSE, MIDPOINT_S, REQUEST, REQUEST_NONCE, RESPONSE

from timesync.wire.error import WireError
from timesync.wire.roughtime import (
    VERSION_1,
    VERSION_DRAFT,
    climb,
    decode_message,
    decode_packet,
    decode_request,
    decode_response,
    encode_message,
    encode_packet,
    encode_request,
    nonce_of,
    versions_of,
)


def sha(data: bytes) -> bytes:
    return hashlib.sha512(data).digest()[:32]


def without(packet: bytes, name: str) -> bytes:
    return encode_packet({tag: value for tag, value in decode_packet(packet).items() if tag != name})


def test_a_request_of_another_implementation_is_read_and_written_octet_for_octet() -> None:
    values = decode_request(REQUEST)
    assert REQUEST_NONCE == nonce_of(REQUEST)
    assert (0x8000_000C,) == versions_of(REQUEST)
    assert {"VER", "NONC", "TYPE", "ZZZZ"} == set(values)
    assert encode_packet(values) == REQUEST


def test_our_request_has_its_message_of_1024_octets_and_names_the_key_that_it_expects() -> None:
    request = encode_request(b"\x11" * 32, b"\x22" * 32)
    values = decode_packet(request)
    assert len(request) == 8 + 4 + 1024
    assert values["VER"] == struct.pack("<2I", 1, 0x8000_000C)
    assert values["SRV"] == sha(b"\xff" + b"\x22" * 32)
    assert values["TYPE"] == bytes(4)
    assert not any(values["ZZZZ"])


def test_a_response_of_another_implementation() -> None:
    response = decode_response(RESPONSE)
    assert REQUEST_NONCE == response.nonce
    assert ((), 0) == (response.path, response.index)
    assert (VERSION_DRAFT, 5, MIDPOINT_S) == (response.time.version, response.time.radius_s, response.time.midpoint_s)
    assert (0, 2**64 - 1) == (response.delegation.earliest_s, response.delegation.latest_s)


def test_a_response_from_deep_in_a_tree() -> None:
    response = decode_response(DEEP_RESPONSE)
    assert (8, 2) == (len(response.path), response.index)
    assert (5, 1_748_359_193) == (response.time.radius_s, response.time.midpoint_s)
    assert bytes.fromhex("4c16c619d7716fae") == response.nonce[:8]


def test_a_path_is_climbed_by_the_bits_of_the_index_from_the_least() -> None:
    leaves = [sha(b"\0" + bytes([place])) for place in range(4)]
    left, right = sha(b"\1" + leaves[0] + leaves[1]), sha(b"\1" + leaves[2] + leaves[3])
    root = sha(b"\1" + left + right)
    assert root == climb(b"\2", (leaves[3], left), 2)
    assert root == climb(b"\1", (leaves[0], right), 1)
    assert root != climb(b"\1", (leaves[0], right), 2)


def test_drafts_12_to_15_put_the_sibling_first() -> None:
    mine, other = sha(b"\0mine"), sha(b"\0other")
    assert sha(b"\1" + other + mine) == climb(b"mine", (other,), 0, sibling_first=True)
    assert sha(b"\1" + mine + other) == climb(b"mine", (other,), 1, sibling_first=True)


def test_bits_of_the_index_beyond_the_path_are_refused() -> None:
    assert climb(b"x", (bytes(32),), 2) is None


def test_unknown_tags_are_ignored() -> None:
    values = decode_packet(RESPONSE) | {"GREZ": bytes(8)}
    assert decode_response(RESPONSE) == decode_response(encode_packet(values))


@pytest.mark.parametrize("name", ["SIG", "NONC", "TYPE", "PATH", "SREP", "CERT", "INDX"])
def test_a_response_without_one_of_its_tags_is_refused(name: str) -> None:
    with pytest.raises(WireError, match=name):
        decode_response(without(RESPONSE, name))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TYPE", bytes(4)),
        ("NONC", bytes(28)),
        ("SIG", bytes(60)),
        ("INDX", bytes(8)),
        ("PATH", bytes(36)),
        ("PATH", bytes(33 * 32)),
        ("SREP", b""),
        ("CERT", b"\1\0\0\0"),
    ],
)
def test_a_response_with_an_ill_formed_value_is_refused(name: str, value: bytes) -> None:
    with pytest.raises(WireError):
        decode_response(encode_packet(decode_packet(RESPONSE) | {name: value}))


@pytest.mark.parametrize(
    "changed",
    [
        {"RADI": bytes(4)},
        {"VERS": struct.pack("<2I", VERSION_DRAFT, VERSION_1)},
        {"VERS": struct.pack("<I", VERSION_1)},
        {"VERS": struct.pack("<33I", *range(1, 33), VERSION_DRAFT)},
        {"ROOT": bytes(28)},
        {"MIDP": bytes(4)},
    ],
)
def test_a_signed_part_against_the_rules_is_refused(changed: dict[str, bytes]) -> None:
    values = decode_packet(RESPONSE)
    values["SREP"] = encode_message(decode_message(values["SREP"]) | changed)
    with pytest.raises(WireError):
        decode_response(encode_packet(values))


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"\0\0\0\0",
        b"\1\0\0\0VE",
        struct.pack("<I", 0xFFFF_FFFF) + bytes(64),
        b"\2\0\0\0" + struct.pack("<I", 2) + b"AAAABBBB" + bytes(8),
        b"\2\0\0\0" + struct.pack("<I", 64) + b"AAAABBBB" + bytes(8),
        b"\2\0\0\0" + struct.pack("<I", 4) + b"BBBBAAAA" + bytes(8),
        b"\2\0\0\0" + struct.pack("<I", 4) + b"AAAAAAAA" + bytes(8),
        b"\1\0\0\0aaaa",
        b"\1\0\0\0A\0A\0",
    ],
    ids=["empty", "no tags", "cut", "4 billion tags", "unaligned", "beyond", "order", "twice", "small", "gap"],
)
def test_messages_against_the_rules_are_refused(message: bytes) -> None:
    with pytest.raises(WireError):
        decode_message(message)


@pytest.mark.parametrize("packet", [b"", REQUEST[:11], b"ROUGHTIN" + REQUEST[8:], REQUEST + bytes(4), REQUEST[:-4]])
def test_packets_whose_envelope_is_wrong_are_refused(packet: bytes) -> None:
    with pytest.raises(WireError):
        decode_packet(packet)


def test_nothing_but_wire_errors_comes_of_a_response_with_any_octet_changed() -> None:
    for place in range(len(RESPONSE)):
        for flip in (0x01, 0x80, 0xFF):
            spoilt = bytearray(RESPONSE)
            spoilt[place] ^= flip
            try:
                decode_response(bytes(spoilt))
            except WireError:
                continue


def test_what_we_cannot_send_is_refused() -> None:
    with pytest.raises(ValueError, match="32 octets"):
        encode_request(bytes(31))
    with pytest.raises(ValueError, match="versions"):
        encode_request(bytes(32), versions=(VERSION_DRAFT, VERSION_1))
    with pytest.raises(ValueError, match="multiple"):
        encode_message({"NONC": bytes(3)})
    with pytest.raises(ValueError, match="tag"):
        encode_message({"nonc": bytes(4)})
