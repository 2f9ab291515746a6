"""chronyc's protocol: numbers at their limits, round trips, and what is no packet."""

from __future__ import annotations

import math
import struct
from dataclasses import fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.wire.candm import (
    UNSPECIFIED,
    Address,
    ByAddress,
    ByIndex,
    ClientRange,
    Family,
    Layout,
    Request,
    Status,
    decode_float,
    decode_request,
    decode_time,
    encode_float,
    encode_request,
    encode_time,
)
from timesync.wire.candm_reply import BODIES, decode_reply, encode_reply, size_of
from timesync.wire.candm_sources import SourceName
from timesync.wire.candm_system import Client, Clients
from timesync.wire.error import WireError

REQUEST = Request(33, 0, 7, 6, bytes(600))
ADDRESSES = st.one_of(
    st.just(UNSPECIFIED),
    st.binary(min_size=4, max_size=4).map(lambda octets: Address(Family.INET4, octets)),
    st.binary(min_size=16, max_size=16).map(lambda octets: Address(Family.INET6, octets)),
    st.integers(0, 2**32 - 1).map(Address.numbered),
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "A": ADDRESSES,
    "T": st.integers(-(2**40), 2**62),
    "F": st.integers(0, 2**32 - 1).map(decode_float).filter(lambda x: decode_float(encode_float(x)) == x),
    "B": st.integers(0, 255),
    "b": st.integers(-128, 127),
    "H": st.integers(0, 2**16 - 1),
    "h": st.integers(-(2**15), 2**15 - 1),
    "I": st.integers(0, 2**32 - 1),
    "Q": st.integers(0, 2**64 - 1),
}


def layout(body: type[Any]) -> list[str]:
    """The letters of its fields."""
    return [letter for letter in body.LAYOUT.letters if letter.isalpha() and letter != "x"]


@st.composite
def replies(draw: st.DrawFn) -> Any:
    kind = draw(st.sampled_from(BODIES))
    if kind is SourceName:
        return SourceName.of(draw(st.text(max_size=60).filter(lambda name: "\0" not in name)))
    if kind is Clients:
        rows = st.builds(Client, **_fields(Client))
        numbers = st.integers(0, 2**32 - 1)
        return Clients(
            total=draw(numbers), following=draw(numbers), clients=tuple(draw(st.lists(rows, max_size=8)))
        )  # fmt: skip
    return draw(st.builds(kind, **_fields(kind)))


def _fields(kind: type[Any]) -> dict[str, st.SearchStrategy[Any]]:
    return {field.name: VALUES[letter] for field, letter in zip(fields(kind), layout(kind), strict=True)}


@given(replies())
def test_a_reply_is_read_as_it_was_written(body: Any) -> None:
    data = encode_reply(REQUEST, Status.SUCCESS, body)
    got = decode_reply(data)
    assert (body, 33, 7, 0) == (got.body, got.command, got.sequence, got.status)
    assert size_of(type(body)) == len(data)


@given(st.binary(max_size=600))
def test_whatever_comes_is_read_or_is_a_wire_error(data: bytes) -> None:
    for read in (decode_request, decode_reply):
        try:
            read(data)
        except WireError:
            continue


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e17, max_value=1e17))
def test_a_float_keeps_seven_digits(value: float) -> None:
    got = decode_float(encode_float(value))
    assert math.isclose(value, got, rel_tol=2**-23, abs_tol=2**-88)


@pytest.mark.parametrize(
    ("value", "word"),
    # By hand: the coefficient times 2^(exponent - 25).
    [(0.0, 0), (1.0, 2 << 25 | 1 << 23), (-1.0, 1 << 25 | 1 << 24), (0.5, 1 << 25 | 1 << 23), (3.0, 3 << 25 | 3 << 22)],
)
def test_floats_by_hand(value: float, word: int) -> None:
    assert value == decode_float(word)
    assert value == decode_float(encode_float(value))


def test_what_a_float_cannot_hold_becomes_the_nearest_that_it_can() -> None:
    largest = decode_float(63 << 25 | (1 << 24) - 1)
    assert largest == decode_float(encode_float(1e300)) == decode_float(encode_float(math.inf))
    assert -largest > decode_float(encode_float(-math.inf)) > -largest * 1.001
    assert 0 == encode_float(math.nan)
    assert 0 == decode_float(encode_float(1e-300))
    assert 0 < decode_float(encode_float(1e-26)) < 1e-25


@given(st.integers(-(2**40), 2**62))
def test_a_time_is_read_as_it_was_written(ns: int) -> None:
    assert ns == decode_time(encode_time(ns))


def test_a_time_of_32_bits_has_no_upper_half_and_no_second_has_more_than_its_nanoseconds() -> None:
    assert 5_000_000_001 == decode_time(struct.pack("!III", 0x7FFFFFFF, 5, 1))
    with pytest.raises(WireError, match="ns in a second"):
        decode_time(struct.pack("!III", 0, 5, 10**9))


def test_addresses() -> None:
    assert Address(Family.INET4, b"\xc0\0\2\1") == Address.of("192.0.2.1")
    assert Address(Family.INET6, b"\xfe\x80" + bytes(13) + b"\1") == Address.of("fe80::1%eth0")
    with pytest.raises(WireError, match="family of address: 9"):
        Address.decode(bytes(17) + b"\x09\0\0")
    with pytest.raises(ValueError, match="nosuch"):
        Address.of("nosuch")


def test_requests_are_read_as_they_were_written() -> None:
    asked = decode_request(encode_request(15, 99, ByIndex(3), size=76, attempt=2))
    assert (15, 2, 99, 6, 76, 3) == (
        asked.command, asked.attempt, asked.sequence, asked.version, asked.size, asked.index().index,
    )  # fmt: skip
    address = Address.of("2001:db8::7")
    assert address == decode_request(encode_request(57, 1, ByAddress.of(address), size=152)).address()
    wanted = ClientRange(8, 8, 2, 0)
    assert wanted == decode_request(encode_request(68, 1, wanted, size=520)).clients()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        encode_request(33, 1, size=104)[:27],
        encode_request(33, 1, size=104, version=4),
        b"\6\2" + encode_request(33, 1, size=104)[2:],
        b"\6\1\1\0" + encode_request(33, 1, size=104)[4:],
    ],
)
def test_what_is_no_request(data: bytes) -> None:
    with pytest.raises(WireError):
        decode_request(data)


def test_what_is_no_reply() -> None:
    good = encode_reply(REQUEST, Status.SUCCESS)
    for data in (good[:27], b"\5" + good[1:], good[:1] + b"\1" + good[2:], good[:7] + b"\xfe" + good[8:]):
        with pytest.raises(WireError):
            decode_reply(data)
    crowd = encode_reply(REQUEST, Status.SUCCESS, Clients(total=0, following=0, clients=()))
    with pytest.raises(WireError, match="clients: 9"):
        decode_reply(crowd[:36] + struct.pack("!I", 9) + crowd[40:])


def test_reserved_octets_are_ones() -> None:
    assert b"\0\0\0\5\xff\xff" == Layout("I", reserved=2).encode((5,))
