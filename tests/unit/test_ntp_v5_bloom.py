"""Bloom filters of reference ids."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ntp5_support import entropy

from timesync.ntp.v5.bloom import (
    BITS,
    MAX_MISSING,
    BloomFilter,
    ReferenceId,
    RemoteFilter,
    check_chunk,
    filter_of,
    served_filter,
)

ids = st.binary(min_size=15, max_size=15).map(ReferenceId)
filters = st.lists(ids, max_size=20).map(
    lambda some: served_filter(some[0], map(filter_of, some)) if some else BloomFilter()
)


def octets(numbers: str) -> bytes:
    """Ten numbers of three hexadecimal digits."""
    return bytes.fromhex(numbers.replace(" ", ""))


def test_an_id_is_ten_numbers_of_twelve_bits() -> None:
    """«the 120-bit value of the reference ID is split into 10 12-bit values»."""
    one = ReferenceId(octets("000 004 fff 123 456 789 abc def 001 800"))
    assert (0, 4, 0xFFF, 0x123, 0x456, 0x789, 0xABC, 0xDEF, 1, 0x800) == one.positions()


def test_where_a_bit_stands() -> None:
    """ntpd-rs's test set_bits: bits 0, 4 and 4095."""
    data = filter_of(ReferenceId(octets("000 004 fff" + " 000" * 7))).to_bytes()
    assert (0b0001_0001, 0b1000_0000) == (data[0], data[511])
    assert bytes(510) == data[1:511]


def test_the_id_of_an_older_server_is_the_md5_of_its_address() -> None:
    """97.98.99.100 is «abcd» in octets: MD5 e2fc714c 4727ee93 95f324cd 2e7f331f, by md5sum(1)."""
    assert bytes.fromhex("e2fc714c4727ee9395f324cd2e7f33") == ReferenceId.of_address("97.98.99.100").octets


def test_the_id_of_a_clock_is_the_md5_of_its_code() -> None:
    """«4-octet zero-padded ASCII string»; printf 'GPS\\0' | md5sum."""
    assert bytes.fromhex("9e887a87f4a23ce5b489a78b30137a") == ReferenceId.of_clock(b"GPS").octets
    for name in (b"", b"LONGER"):
        with pytest.raises(ValueError, match="code"):
            ReferenceId.of_clock(name)


def test_an_address_of_version_6_has_an_id_too() -> None:
    assert ReferenceId.of_address("2001:db8::1") == ReferenceId.of_address("2001:0db8:0:0::1")
    assert ReferenceId.of_address("2001:db8::1") != ReferenceId.of_address("2001:db8::2")


def test_a_random_id_has_ten_different_numbers() -> None:
    twice = octets("001 001 002 003 004 005 006 007 008 009")
    once = octets("00a 001 002 003 004 005 006 007 008 009")
    sizes: list[int] = []

    def read(size: int, /) -> bytes:
        sizes.append(size)
        return [twice, twice, once][len(sizes) - 1]

    assert ReferenceId(once) == ReferenceId.random(read)
    assert [15, 15, 15] == sizes


@pytest.mark.parametrize("size", [0, 14, 16])
def test_an_id_of_another_size_is_none(size: int) -> None:
    with pytest.raises(ValueError, match="15"):
        ReferenceId(bytes(size))


@given(ids, filters)
def test_no_member_is_ever_missed(one: ReferenceId, others: BloomFilter) -> None:
    assert one in others.with_id(one)
    assert one in (others | filter_of(one))


@given(filters, filters)
def test_a_union_holds_both_and_nothing_else(one: BloomFilter, other: BloomFilter) -> None:
    union = one | other
    expected = bytes(a | b for a, b in zip(one.to_bytes(), other.to_bytes(), strict=True))
    assert expected == union.to_bytes()
    assert union == BloomFilter.from_bytes(expected)
    assert union.count == sum(octet.bit_count() for octet in expected)


def test_strangers_are_seldom_found() -> None:
    """The draft: with 26 ids a collision has a probability of 1e-12; with 118 of 1e-6."""
    read = entropy()
    members = [ReferenceId.random(read) for _ in range(118)]
    full = served_filter(members[0], map(filter_of, members))
    assert all(one in full for one in members)
    assert not full.crowded
    assert not any(ReferenceId.random(read) in full for _ in range(2000))


def test_a_filter_more_than_half_full_is_crowded() -> None:
    assert not BloomFilter((1 << BITS // 2) - 1).crowded
    assert BloomFilter((1 << BITS // 2 + 1) - 1).crowded


@pytest.mark.parametrize("chunk", [4, 8, 16, 32, 64, 128, 256, 512])
def test_a_filter_is_whole_after_one_round(chunk: int) -> None:
    read = entropy(2)
    served = served_filter(ReferenceId.random(read), [filter_of(ReferenceId.random(read)) for _ in range(30)])
    remote = RemoteFilter(chunk)
    for _ in range(512 // chunk):
        assert remote.whole is None
        asked = remote.request()
        remote.received(asked, served.to_bytes()[asked.offset :][: asked.size])
    assert served == remote.whole

    more = served.with_id(ReferenceId.random(read))
    for _ in range(512 // chunk):
        asked = remote.request()
        remote.received(asked, more.to_bytes()[asked.offset :][: asked.size])
    assert more == remote.whole


def test_a_piece_that_was_lost_is_asked_for_again() -> None:
    remote = RemoteFilter(256)
    first = remote.request()
    remote.received(first, bytes(255))
    assert first == remote.request()
    remote.received(first, b"\xff" * 256)
    second = remote.request()
    assert (256, 256) == (second.offset, second.size)
    remote.received(first, bytes(256))
    assert second == remote.request(), "an old piece changes nothing"
    remote.received(second, bytes(256))
    assert BloomFilter.from_bytes(b"\xff" * 256 + bytes(256)) == remote.whole


def test_a_filter_of_which_nothing_comes_any_more_is_forgotten() -> None:
    remote = RemoteFilter(256)

    def receive(octet: bytes) -> None:
        asked = remote.request()
        remote.received(asked, octet * asked.size)

    receive(b"\x01")
    receive(b"\x01")
    for _ in range(3):
        for _ in range(MAX_MISSING - 1):
            remote.missed()
        assert remote.whole is not None
        receive(b"\x02")
    for _ in range(MAX_MISSING):
        remote.missed()
    assert remote.whole is None
    assert 0 == remote.request().offset
    receive(b"\x04")
    assert remote.whole is None, "of the old pieces none is left"
    receive(b"\x04")
    assert BloomFilter.from_bytes(b"\x04" * 512) == remote.whole


@pytest.mark.parametrize("chunk", [-4, 0, 2, 12, 24, 511, 1024])
def test_a_filter_comes_in_equal_pieces_only(chunk: int) -> None:
    with pytest.raises(ValueError, match=str(chunk)):
        check_chunk(chunk)


def test_a_filter_has_512_octets() -> None:
    with pytest.raises(ValueError, match="511"):
        BloomFilter.from_bytes(bytes(511))
