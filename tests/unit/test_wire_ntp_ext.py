"""NTS extension fields: octets written out from RFC 8915, sections 5.2 to 5.6, and RFC 7822."""

from __future__ import annotations

import struct

import pytest

from timesync.wire.error import WireError
from timesync.wire.ntp import MAX_EXTENSIONS, Extension
from timesync.wire.ntp_ext import (
    Authenticator,
    NtsField,
    decode_authenticator,
    decode_inner,
    encode_authenticator,
    encode_field,
    encode_inner,
    padded,
    split,
)

HEAD = bytes([0x23]) + bytes(47)
HEAD_5 = bytes([0x2B]) + bytes(47)


def field(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, 4 + len(body)) + body


AUTHENTICATOR = field(0x0404, struct.pack("!HH", 16, 16) + b"n" * 16 + b"c" * 16)


def test_types_are_those_of_iana() -> None:
    assert [0x0104, 0x0204, 0x0304, 0x0404] == [kind.value for kind in NtsField]


def test_a_field_counts_its_padding_and_has_16_octets() -> None:
    assert bytes.fromhex("0104 0010 61626300 00000000 00000000") == encode_field(0x0104, b"abc")
    assert bytes.fromhex("0204 0018") + b"c" * 17 + bytes(3) == encode_field(0x0204, b"c" * 17)


def test_a_version_5_field_leaves_its_padding_out_of_its_length() -> None:
    assert bytes.fromhex("0104 0007 61626300") == encode_field(0x0104, b"abc", version=5)


def test_a_field_longer_than_a_packet_is_our_own_bug() -> None:
    with pytest.raises(ValueError, match="extension field"):
        encode_field(0x0204, bytes(2048))


def test_the_body_of_an_authenticator() -> None:
    """RFC 8915, figure 4: both lengths, nonce and ciphertext each padded to four octets."""
    octets = bytes.fromhex("0404 00240005 0011" + "11" * 5 + "000000" + "22" * 17 + "000000")
    assert octets == encode_authenticator(b"\x11" * 5, b"\x22" * 17, 8)
    assert Authenticator(b"\x11" * 5, b"\x22" * 17, 8) == decode_authenticator(octets[4:])


def test_a_short_nonce_is_made_up_for_by_padding_at_the_end() -> None:
    octets = encode_authenticator(b"\x11" * 5, b"\x22" * 16, 16)
    expected = bytes.fromhex("0404 00280005 0010" + "11" * 5 + "000000" + "22" * 16) + bytes(8)
    assert expected == octets
    assert 16 == decode_authenticator(octets[4:]).nonce_space


@pytest.mark.parametrize("nonce", [12, 16])
def test_what_needs_no_padding_gets_none(nonce: int) -> None:
    sealed = b"c" * 20
    octets = encode_authenticator(b"n" * nonce, sealed, nonce)
    assert field(0x0404, struct.pack("!HH", nonce, 20) + b"n" * nonce + sealed) == octets


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0\0\0",
        struct.pack("!HH", 0, 1),
        struct.pack("!HH", 1, 0),
        struct.pack("!HH", 16, 17) + bytes(32),
        struct.pack("!HH", 17, 16) + bytes(33),
        struct.pack("!HH", 0xFFFF, 0xFFFF) + bytes(64),
        struct.pack("!HH", 0, 0xFFFF) + bytes(64),
    ],
)
def test_an_authenticator_that_lies_about_its_lengths(body: bytes) -> None:
    with pytest.raises(WireError):
        decode_authenticator(body)


def test_the_fields_of_a_request() -> None:
    before = HEAD + field(0x0104, b"u" * 32) + field(0x0204, b"c" * 100) + field(0x0304, bytes(100)) * 2
    found = split(before + AUTHENTICATOR)

    assert [b"u" * 32] == found.unique_ids
    assert [b"c" * 100] == found.cookies
    assert [100, 100] == found.placeholders
    assert AUTHENTICATOR[4:] == found.authenticator
    assert len(before) == found.protected
    assert [] == found.others


def test_other_fields_are_kept_and_those_after_the_authenticator_are_not() -> None:
    found = split(HEAD + field(0xF323, bytes(24)) + AUTHENTICATOR + field(0xF324, bytes(24)))

    assert [Extension(0xF323, bytes(24))] == found.others
    assert 48 + 28 == found.protected


def test_a_packet_without_fields_has_none() -> None:
    found = split(HEAD)
    assert (None, 0, []) == (found.authenticator, found.protected, found.unique_ids)


@pytest.mark.parametrize("tail", [4, 20, 24])
def test_a_mac_is_no_field(tail: int) -> None:
    assert [] == split(HEAD + bytes(tail)).others


@pytest.mark.parametrize("length", [0, 1, 4, 12, 15, 17, 30, 33, 36, 0xFFFF])
def test_lengths_that_cannot_be(length: int) -> None:
    with pytest.raises(WireError):
        split(HEAD + struct.pack("!HH", 0x0104, length) + bytes(28))


@pytest.mark.parametrize("size", [0, 47, 49, 50, 2052])
def test_sizes_that_are_no_packet(size: int) -> None:
    with pytest.raises(WireError):
        split((HEAD + bytes(2048))[:size])


def test_too_many_fields() -> None:
    many = field(0x7777, bytes(12))
    assert MAX_EXTENSIONS == len(split(HEAD + many * MAX_EXTENSIONS + bytes(24)).others)
    with pytest.raises(WireError):
        split(HEAD + many * (MAX_EXTENSIONS + 2))


def test_in_version_5_a_field_may_be_short_and_odd() -> None:
    octets = HEAD_5 + bytes.fromhex("f501 0004f5ff 0007 61626300") + field(0x0104, b"u" * 32)
    found = split(octets)
    assert [Extension(0xF501, b""), Extension(0xF5FF, b"abc")] == found.others
    assert [b"u" * 32] == found.unique_ids


def test_inside_the_ciphertext_a_field_may_be_shorter_than_16_octets() -> None:
    inner = bytes.fromhex("0204 0008 010203040304 0004")
    assert (Extension(0x0204, b"\1\2\3\4"), Extension(0x0304, b"")) == decode_inner(inner)
    assert bytes.fromhex("0204 0008 01020304") == encode_inner(0x0204, b"\1\2\3\4")
    assert bytes.fromhex("0204 0008 01020300") == encode_inner(0x0204, b"\1\2\3")
    assert bytes.fromhex("0204 0007 01020300") == encode_inner(0x0204, b"\1\2\3", version=5)


@pytest.mark.parametrize("inner", ["02", "0204", "0204 0000", "0204 0003", "0204 0005 00000000", "0204 0010 00000000"])
def test_nonsense_inside_the_ciphertext(inner: str) -> None:
    with pytest.raises(WireError):
        decode_inner(bytes.fromhex(inner))


def test_too_many_fields_inside_the_ciphertext() -> None:
    with pytest.raises(WireError):
        decode_inner(bytes.fromhex("0304 0004") * (MAX_EXTENSIONS + 1))


@pytest.mark.parametrize(("size", "whole"), [(0, 0), (1, 4), (4, 4), (5, 8)])
def test_padding(size: int, whole: int) -> None:
    assert whole == padded(size)
