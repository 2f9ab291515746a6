"""Fixed layouts of management data, written once and read both ways.

A layout is a row of parts; each stands for one field of a dataclass, in its order, or for reserved octets. Management
is rare: this is made to be compared with a table of the standard, not for speed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Self

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import NS_PER_S, Duration, Instant
from timesync.wire.error import WireError
from timesync.wire.ptp_message import ClockQuality


@dataclass(frozen=True, slots=True)
class Part:
    """One field: its struct codes, how many numbers they give, and the value they make.

    Attributes:
        codes: For ``struct``, without byte order.
        count: Numbers or strings that they give; 0 is reserved.
        make: From those to the value; may raise WireError.
        take: Back.
    """

    codes: str
    count: int
    make: Callable[..., object]
    take: Callable[[Any], tuple[Any, ...]]


def number(codes: str, make: Callable[[int], object] = int) -> Part:
    """A number, or an enumeration that ``make`` gives."""
    return Part(codes, 1, make, lambda value: (int(value),))


def reserved(octets: int) -> Part:
    """Zero when sent, anything when received."""
    return Part(f"{octets}x", 0, tuple, lambda _: ())


def _take_identity(value: ClockIdentity) -> tuple[ClockIdentity]:
    # struct pads and cuts strings without a word.
    if len(value) != 8:
        raise ValueError(f"clockIdentity of {len(value)} octets")
    return (value,)


def _make_port(clock: bytes, port: int) -> PortIdentity:
    return PortIdentity(ClockIdentity(clock), port)


def _take_port(value: PortIdentity) -> tuple[ClockIdentity, int]:
    return (*_take_identity(value.clock), value.port)


def _make_instant(high: int, low: int, nanoseconds: int) -> object:
    if nanoseconds >= NS_PER_S:
        raise WireError(f"timestamp with {nanoseconds} ns")
    return Instant.from_ns((high << 32 | low) * NS_PER_S + nanoseconds)


def _take_instant(value: Instant[Any]) -> tuple[int, int, int]:
    seconds, nanoseconds = divmod(value.scaled_ns >> 16, NS_PER_S)
    return seconds >> 32, seconds & 0xFFFF_FFFF, nanoseconds


def _make_wide(value: bytes) -> Duration:
    return Duration(int.from_bytes(value, "big", signed=True))


def _take_wide(value: Duration) -> tuple[bytes]:
    try:
        return (value.scaled_ns.to_bytes(12, "big", signed=True),)
    except OverflowError:
        raise ValueError(f"{value} does not fit into 96 bits") from None


U8 = number("B")
I8 = number("b")
U16 = number("H")
I16 = number("h")
U32 = number("I")
I32 = number("i")
I64 = number("q")
BOOL = number("B", bool)
U48 = Part("HI", 2, lambda high, low: high << 32 | low, lambda value: (value >> 32, value & 0xFFFF_FFFF))
INTERVAL = Part("q", 1, Duration, lambda value: (value.scaled_ns,))
"""``TimeInterval`` (5.3.2)."""
SCALED_NS = Part("12s", 1, _make_wide, _take_wide)
"""``ScaledNs`` (802.1AS-2020, 6.4.3.1)."""
TIMESTAMP = Part("HII", 3, _make_instant, _take_instant)
IDENTITY = Part("8s", 1, ClockIdentity, _take_identity)
PORT = Part("8sH", 2, _make_port, _take_port)
QUALITY = Part("BBH", 3, ClockQuality, lambda value: (value.clock_class, value.accuracy, value.variance))


class Layout:
    """A row of parts, with one struct for them all."""

    def __init__(self, *parts: Part, order: str = ">") -> None:
        self._parts = parts
        self._struct = struct.Struct(order + "".join(part.codes for part in parts))
        self.size = self._struct.size

    def read(self, data: bytes) -> list[Any]:
        """The values at the start of ``data``, which must be long enough. Raises WireError."""
        numbers: Sequence[Any] = self._struct.unpack_from(data)
        values: list[Any] = []
        for part in self._parts:
            if part.count:
                values.append(part.make(*numbers[: part.count]))
                numbers = numbers[part.count :]
        return values

    def write(self, values: Iterable[object]) -> bytes:
        """Raises ValueError when one does not fit."""
        try:
            return self._struct.pack(*self._numbers(values))
        except struct.error as error:
            raise ValueError(f"a field does not fit: {error}") from None

    def _numbers(self, values: Iterable[object]) -> Iterator[Any]:
        rest = iter(values)
        for part in self._parts:
            if part.count:
                yield from part.take(next(rest))


@dataclass(frozen=True, slots=True)
class Fixed:
    """Base of dataclasses whose octets are those of one layout.

    A subclass names its fields in the order of the parts that are not reserved.
    """

    LAYOUT: ClassVar[Layout]

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises WireError when the length or a value is wrong."""
        if len(data) != cls.LAYOUT.size:
            raise WireError(f"{cls.__name__} of {len(data)} octets instead of {cls.LAYOUT.size}")
        names = (field.name for field in fields(cls))
        return cls(**dict(zip(names, cls.LAYOUT.read(data), strict=True)))

    def encode(self) -> bytes:
        """Raises ValueError when a field does not fit."""
        return self.LAYOUT.write(getattr(self, field.name) for field in fields(self))


class Cursor:
    """Reads what has no fixed size, one item after another; WireError where the octets end too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        """So many octets."""
        end = self._at + size
        if end > len(self._data):
            raise WireError(f"management data of {len(self._data)} octets ends too early")
        value = self._data[self._at : end]
        self._at = end
        return value

    def number(self, size: int) -> int:
        """An unsigned number of so many octets."""
        return int.from_bytes(self.take(size), "big")

    def values(self, layout: Layout) -> list[Any]:
        """What stands in a fixed layout."""
        return layout.read(self.take(layout.size))

    def text(self) -> str:
        """``PTPText`` (5.3.9): a length of one octet and UTF-8."""
        try:
            return self.take(self.number(1)).decode()
        except UnicodeDecodeError as error:
            raise WireError(f"text is not UTF-8: {error.reason}") from None

    def finish(self) -> None:
        """Nothing may be left but the octet that makes the length even."""
        if len(self._data) != self._at + self._at % 2:
            raise WireError(f"management data of {len(self._data)} octets instead of {self._at}")


def text_octets(text: str) -> bytes:
    """``PTPText``; raises ValueError for more than 255 octets."""
    data = text.encode()
    if len(data) > 255:
        raise ValueError(f"text of {len(data)} octets")
    return bytes((len(data),)) + data
