"""Reference ids in a Bloom filter (draft-ietf-ntp-ntpv5-07, "Reference IDs Request and Response").

Each server has an id of 120 random bits, which sets ten of the filter's 4096. A server hands out the union of its
sources' filters and its own id. So who finds his own id in a server's filter knows that time would run in a circle,
over however many hops: a reference id of 32 bits tells of one hop only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from timesync.base.machine import Entropy
from timesync.wire.ntp5_ext import FILTER_SIZE, ReferenceIdsRequest

ID_SIZE: Final = 15
BITS: Final = 8 * FILTER_SIZE
HASHES: Final = 10

MAX_MISSING: Final = 8
"""Requests in a row that bring no piece of a server's filter, after which what is known of it says nothing any more. It
is ours: the draft has every server hand out its filter, and says nothing of one that ceases to."""

_WIDTH: Final = 12
_CLOCK_NAME: Final = 4


@dataclass(frozen=True, slots=True)
class ReferenceId:
    """120 bits. Raises ValueError when they are not 15 octets."""

    octets: bytes

    def __post_init__(self) -> None:
        if len(self.octets) != ID_SIZE:
            raise ValueError(f"a reference id of {len(self.octets)} octets, not {ID_SIZE}")

    @classmethod
    def random(cls, entropy: Entropy) -> ReferenceId:
        """A server's own. Its ten numbers differ, else it would be taken for another one's more easily."""
        while True:
            made = cls(entropy(ID_SIZE))
            if len(set(made.positions())) == HASHES:
                return made

    @classmethod
    def of_address(cls, address: str) -> ReferenceId:
        """Of a server that is asked in an older version: from the MD5 of its address."""
        return cls(_md5(ip_address(address).packed))

    @classmethod
    def of_clock(cls, name: bytes) -> ReferenceId:
        """Of a reference clock, by its code such as ``GPS`` (RFC 5905, figure 12), filled up with zeros to four."""
        if not 1 <= len(name) <= _CLOCK_NAME:
            raise ValueError(f"{name!r} is not the code of a reference clock")
        return cls(_md5(name.ljust(_CLOCK_NAME, b"\0")))

    def positions(self) -> tuple[int, ...]:
        """The ten numbers of 12 bits, the first from the highest bits."""
        value = int.from_bytes(self.octets, "big")
        return tuple(value >> shift & BITS - 1 for shift in range(_WIDTH * (HASHES - 1), -1, -_WIDTH))


def _md5(data: bytes) -> bytes:
    # Not for security: the draft needs bits that are spread well, and any peer computes the same.
    return hashlib.md5(data, usedforsecurity=False).digest()[:ID_SIZE]


@dataclass(frozen=True, slots=True)
class BloomFilter:
    """A set of reference ids: never says no to a member, and seldom yes to another.

    Bit ``i`` is the bit ``1 << i % 8`` of octet ``i // 8``; the draft leaves that open, and ntpd-rs has it so.

    Attributes:
        bits: Bit ``i`` of the filter is bit ``i`` of this number.
    """

    bits: int = 0

    @classmethod
    def from_bytes(cls, data: bytes) -> BloomFilter:
        """A whole filter as on the wire. Raises ValueError when it is not."""
        if len(data) != FILTER_SIZE:
            raise ValueError(f"a filter of {len(data)} octets, not {FILTER_SIZE}")
        return cls(int.from_bytes(data, "little"))

    def to_bytes(self) -> bytes:
        """As on the wire."""
        return self.bits.to_bytes(FILTER_SIZE, "little")

    def with_id(self, one: ReferenceId) -> BloomFilter:
        """With one more member."""
        bits = self.bits
        for position in one.positions():
            bits |= 1 << position
        return BloomFilter(bits)

    def __or__(self, other: BloomFilter) -> BloomFilter:
        return BloomFilter(self.bits | other.bits)

    def __contains__(self, one: ReferenceId) -> bool:
        return all(self.bits >> position & 1 for position in one.positions())

    @property
    def count(self) -> int:
        """Bits that are set."""
        return self.bits.bit_count()

    @property
    def crowded(self) -> bool:
        """More than half of the bits are set: by then one id in a thousand is found that is not in it."""
        return self.count > BITS // 2


def served_filter(own: ReferenceId, sources: Iterable[BloomFilter]) -> BloomFilter:
    """What a server hands out: all that its selected sources have, and itself."""
    union = BloomFilter()
    for one in sources:
        union |= one
    return union.with_id(own)


def filter_of(one: ReferenceId) -> BloomFilter:
    """Of a source that has no filter: an older server, a reference clock."""
    return BloomFilter().with_id(one)


class RemoteFilter:
    """A server's filter, fetched in pieces, round after round.

    Args:
        chunk: Octets asked for at a time: a multiple of four that divides 512. Raises ValueError for others.
    """

    def __init__(self, chunk: int) -> None:
        check_chunk(chunk)
        self._chunk = chunk
        self._data = bytearray(FILTER_SIZE)
        self._offset = 0
        self._missing = 0
        self._whole: BloomFilter | None = None

    @property
    def whole(self) -> BloomFilter | None:
        """The filter with its newest pieces; None before all have come, and when none comes any more."""
        return self._whole

    def request(self) -> ReferenceIdsRequest:
        """The piece to ask for next; the same until it has come."""
        return ReferenceIdsRequest(self._offset, self._chunk)

    def received(self, asked: ReferenceIdsRequest, data: bytes) -> None:
        """A piece came, in a valid answer to the request that had ``asked``; one of another size is ignored."""
        if asked != self.request() or len(data) != asked.size:
            return
        self._missing = 0
        self._data[asked.offset : asked.offset + asked.size] = data
        self._offset = (asked.offset + asked.size) % FILTER_SIZE
        if self._offset == 0 or self._whole is not None:
            self._whole = BloomFilter.from_bytes(bytes(self._data))

    def missed(self) -> None:
        """A request brought no piece: the answer had none, or there was none."""
        self._missing += 1
        if self._missing >= MAX_MISSING:
            self.forget()

    def forget(self) -> None:
        """Begin anew."""
        self._offset = self._missing = 0
        self._whole = None


def check_chunk(chunk: int) -> int:
    """A size of pieces that a filter can be fetched in. Raises ValueError for others."""
    if not (4 <= chunk <= FILTER_SIZE and chunk % 4 == 0 and FILTER_SIZE % chunk == 0):
        raise ValueError(f"{chunk} octets are not a power of two from 4 to {FILTER_SIZE}")
    return chunk
