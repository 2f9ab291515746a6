"""The protocol between chronyc and chronyd, version 6: what every packet has, and requests.

There is no document of it. What is here was seen on the wire between Debian's chronyd and chronyc, 4.3 and 4.9, and
agrees with the Apache-2.0 client of ``github.com/facebook/time``. A request is padded to the length of its reply at
least, so that nobody can be flooded through a server. Integers are big-endian.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import astuple, dataclass
from enum import IntEnum
from ipaddress import ip_address
from typing import Any, ClassVar, Final, Self

from timesync.wire.error import WireError

VERSION: Final = 6
OLDEST_TOLD: Final = 5
"""Requests of this version and others are told that ours is another one; older ones get no answer."""

REQUEST_HEAD: Final = 20
REPLY_HEAD: Final = 28
"""No request is shorter than the shortest reply."""

MAX_CLIENTS: Final = 8
"""In one reply."""

REQUEST: Final = 1
REPLY: Final = 2

_REQUEST_HEAD = struct.Struct("!BBBBHHI8x")
_HIGH_UNKNOWN = 0x7FFF_FFFF
_NS_PER_S = 1_000_000_000
_COEFFICIENT_BITS = 25
_EXPONENT_BITS = 7
_MAX_EXPONENT = (1 << _EXPONENT_BITS - 1) - 1
_MIN_EXPONENT = -(1 << _EXPONENT_BITS - 1)
_MAX_COEFFICIENT = (1 << _COEFFICIENT_BITS - 1) - 1


class Command(IntEnum):
    """Requests that only ask for the state; all others change something, or ask who may ask."""

    NULL = 0
    N_SOURCES = 14
    SOURCE_DATA = 15
    TRACKING = 33
    SOURCE_STATS = 34
    RTC_REPORT = 35
    MANUAL_LIST = 41
    ACTIVITY = 44
    SMOOTHING = 51
    SERVER_STATS = 54
    NTP_DATA = 57
    NTP_SOURCE_NAME = 65
    AUTH_DATA = 67
    CLIENT_ACCESSES = 68
    SELECT_DATA = 69


RETIRED: Final = frozenset({12, 27, 28, 32, 38, 39, 40, 55, 58, 59, 60, 61})
"""Commands that chronyd itself knows no more."""

LAST_COMMAND: Final = 75
"""What is beyond it is unknown to chrony 4.9."""


class Status(IntEnum):
    """What became of a request."""

    SUCCESS = 0
    FAILED = 1
    UNAUTHORIZED = 2
    INVALID = 3
    NO_SUCH_SOURCE = 4
    INVALID_TIMESTAMP = 5
    NOT_ENABLED = 6
    NO_RTC = 13
    BAD_VERSION = 18
    BAD_LENGTH = 19


class Family(IntEnum):
    """Of an address."""

    UNSPECIFIED = 0
    INET4 = 1
    INET6 = 2
    ID = 3
    """Not yet resolved; it has a number instead."""


@dataclass(frozen=True, slots=True)
class Address:
    """Who a source or a client is.

    Attributes:
        family: What ``octets`` are.
        octets: 4, 16 or none, by the family.
    """

    family: Family
    octets: bytes

    SIZE: ClassVar[int] = 20

    @classmethod
    def of(cls, text: str) -> Address:
        """That of a numeric address; a zone does not count. Raises ValueError."""
        packed = ip_address(text.partition("%")[0]).packed
        return cls(Family.INET4 if len(packed) == 4 else Family.INET6, packed)

    @classmethod
    def numbered(cls, number: int) -> Address:
        """That of a source whose name has no address yet."""
        return cls(Family.ID, number.to_bytes(4, "big"))

    @classmethod
    def decode(cls, data: bytes) -> Address:
        """Read 20 octets. Raises WireError."""
        family = int.from_bytes(data[16:18], "big")
        if family not in _ADDRESS_SIZES:
            raise WireError(f"family of address: {family}")
        return cls(Family(family), bytes(data[: _ADDRESS_SIZES[Family(family)]]))

    def encode(self) -> bytes:
        """Write 20 octets."""
        return self.octets.ljust(16, b"\0") + self.family.to_bytes(2, "big") + b"\0\0"


_ADDRESS_SIZES: Final = {Family.UNSPECIFIED: 0, Family.INET4: 4, Family.INET6: 16, Family.ID: 4}
UNSPECIFIED: Final = Address(Family.UNSPECIFIED, b"")


def encode_float(value: float) -> int:
    """Coefficient of 25 bits and exponent of 7: coefficient x 2^(exponent - 25); what is too large is the largest."""
    if not value or math.isnan(value):
        return 0
    if math.isinf(value):
        fraction, exponent = math.copysign(1.0, value), _MAX_EXPONENT + 1
    else:
        fraction, exponent = math.frexp(value)
        exponent += 1  # a bit for the sign
    # Half a unit at least away from zero: what is tiny is not nothing.
    below = max(_MIN_EXPONENT - exponent, 0)
    exponent += below
    coefficient = round(math.ldexp(fraction, _COEFFICIENT_BITS - 1 - min(below, 2 * _COEFFICIENT_BITS)))
    if coefficient > _MAX_COEFFICIENT:
        coefficient >>= 1
        exponent += 1
    if exponent > _MAX_EXPONENT:
        exponent = _MAX_EXPONENT
        coefficient = _MAX_COEFFICIENT if value > 0 else -_MAX_COEFFICIENT - 1
    return (exponent & (1 << _EXPONENT_BITS) - 1) << _COEFFICIENT_BITS | coefficient & (1 << _COEFFICIENT_BITS) - 1


def decode_float(word: int) -> float:
    """See ``encode_float``."""
    exponent = word >> _COEFFICIENT_BITS
    if exponent > _MAX_EXPONENT:
        exponent -= 1 << _EXPONENT_BITS
    coefficient = word & (1 << _COEFFICIENT_BITS) - 1
    if coefficient > _MAX_COEFFICIENT:
        coefficient -= 1 << _COEFFICIENT_BITS
    return math.ldexp(coefficient, exponent - _COEFFICIENT_BITS)


def encode_time(ns: int) -> bytes:
    """A moment in ns since 1970, UTC, as 12 octets."""
    seconds, fraction = divmod(ns, _NS_PER_S)
    return struct.pack("!QI", seconds & (1 << 64) - 1, fraction)


def decode_time(data: bytes) -> int:
    """See ``encode_time``. Raises WireError."""
    words: tuple[int, int, int] = struct.unpack("!III", data)
    high, low, fraction = words
    if fraction >= _NS_PER_S:
        raise WireError(f"time: {fraction} ns in a second")
    # chronyd on a machine with 32 bits of time_t does not know the upper half.
    seconds = (0 if high == _HIGH_UNKNOWN else high) << 32 | low
    return (seconds - (1 << 64) if seconds >> 63 else seconds) * _NS_PER_S + fraction


def _same(value: Any) -> Any:
    return value


_CONVERTED: Final[dict[str, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "A": ("20s", Address.encode, Address.decode),
    "T": ("12s", encode_time, decode_time),
    "F": ("I", encode_float, decode_float),
}
"""Letters of a layout that ``struct`` does not have: its own, there and back."""


class Layout:
    """How the fields of a dataclass follow each other: letters of ``struct``, A an address, T a time, F a float.

    ``reserved`` octets follow, all ones, as chronyd has them.

    Attributes:
        letters: One for each field, and those of gaps.
    """

    def __init__(self, letters: str, reserved: int = 0) -> None:
        self.letters = letters
        self._tail = b"\xff" * reserved
        self._struct = struct.Struct("!" + "".join(_CONVERTED[c][0] if c in _CONVERTED else c for c in letters))
        fields = [c for c in letters if c.isalpha() and c != "x"]
        self._there = [_CONVERTED[c][1] if c in _CONVERTED else _same for c in fields]
        self._back = [_CONVERTED[c][2] if c in _CONVERTED else _same for c in fields]

    @property
    def size(self) -> int:
        """In octets."""
        return self._struct.size + len(self._tail)

    def encode(self, values: tuple[Any, ...]) -> bytes:
        """Write them."""
        there = (convert(value) for convert, value in zip(self._there, values, strict=True))
        return self._struct.pack(*there) + self._tail

    def decode(self, data: bytes, offset: int = 0) -> tuple[Any, ...]:
        """Read them. Raises WireError."""
        if len(data) < offset + self.size:
            raise WireError(f"length: {len(data)} octets, needs {offset + self.size}")
        return tuple(
            back(value) for back, value in zip(self._back, self._struct.unpack_from(data, offset), strict=True)
        )


@dataclass(frozen=True, slots=True)
class ByIndex:
    """Which source is asked about, from 0."""

    LAYOUT: ClassVar = Layout("I")
    index: int


@dataclass(frozen=True, slots=True)
class ByAddress:
    """Which source or host is asked about."""

    LAYOUT: ClassVar = Layout("20s")
    packed: bytes

    @property
    def address(self) -> Address:
        """Whose. Raises WireError."""
        return Address.decode(self.packed)

    @classmethod
    def of(cls, address: Address) -> Self:
        """The question about it."""
        return cls(address.encode())


@dataclass(frozen=True, slots=True)
class ClientRange:
    """Which clients are asked for.

    Attributes:
        first: Index of the first.
        count: At most so many.
        minimum: Only who has asked so many times.
        reset: Not 0: forget their counts afterwards.
    """

    LAYOUT: ClassVar = Layout("IIII")
    first: int
    count: int
    minimum: int
    reset: int


@dataclass(frozen=True, slots=True)
class Request:
    """A request, as far as all have the same form.

    Attributes:
        command: What is wanted; ``Command`` where it is one of those.
        attempt: 0, or how often it was sent before.
        sequence: Of the client's choice; the reply has it too.
        version: Of the protocol.
        data: What follows the head, with all padding.
    """

    command: int
    attempt: int
    sequence: int
    version: int
    data: bytes

    @property
    def size(self) -> int:
        """Octets of the packet: no reply may have more."""
        return REQUEST_HEAD + len(self.data)

    def index(self) -> ByIndex:
        """For SOURCE_DATA, SOURCE_STATS, SELECT_DATA. Raises WireError."""
        return ByIndex(*ByIndex.LAYOUT.decode(self.data))

    def address(self) -> Address:
        """For NTP_DATA, NTP_SOURCE_NAME, AUTH_DATA. Raises WireError."""
        return ByAddress(*ByAddress.LAYOUT.decode(self.data)).address

    def clients(self) -> ClientRange:
        """For CLIENT_ACCESSES. Raises WireError."""
        return ClientRange(*ClientRange.LAYOUT.decode(self.data))


def decode_request(data: bytes) -> Request:
    """Read one. Raises WireError for what deserves no answer, not even an error."""
    if len(data) < REPLY_HEAD:
        raise WireError(f"length: {len(data)} octets, a request has {REPLY_HEAD} at least")
    version, kind, reserved, reserved2, command, attempt, sequence = _REQUEST_HEAD.unpack_from(data)
    if kind != REQUEST or reserved or reserved2:
        raise WireError("not a request")
    if version < OLDEST_TOLD:
        raise WireError(f"version: {version}")
    return Request(command, attempt, sequence, version, data[REQUEST_HEAD:])


def encode_request(
    command: int,
    sequence: int,
    body: ByIndex | ByAddress | ClientRange | None = None,
    *,
    size: int,
    attempt: int = 0,
    version: int = VERSION,
) -> bytes:
    """Write one, padded to ``size`` octets: those of the reply that is hoped for."""
    head = _REQUEST_HEAD.pack(version, REQUEST, 0, 0, command, attempt, sequence)
    data = b"" if body is None else body.LAYOUT.encode(astuple(body))
    return (head + data).ljust(size, b"\0")
