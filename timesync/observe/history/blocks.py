"""Values of one series in even steps, packed: the unit in which history is kept in memory and in its file.

A block covers a fixed stretch of UTC from a multiple of its own length on, so which block a moment belongs to is
arithmetic, and two that cover the same stretch can be merged. Values are single-precision: seven digits, a picosecond
of an offset of 10 µs.
"""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Tier:
    """A resolution.

    Attributes:
        number: In the file; the finest is 0.
        step_s: Seconds from one value to the next.
        length: Values in a block.
    """

    number: int
    step_s: int
    length: int

    @property
    def block_s(self) -> int:
        """Seconds that a block covers."""
        return self.step_s * self.length

    def start(self, at_s: int) -> int:
        """The beginning of the block that a moment belongs to."""
        return at_s - at_s % self.block_s


TIERS: Final = (Tier(0, 1, 300), Tier(1, 60, 60), Tier(2, 3600, 24))
"""Blocks of five minutes, an hour and a day."""


@dataclass(frozen=True, slots=True)
class Cell:
    """What a step of a block holds.

    Attributes:
        at_s: Its beginning.
        mean: Of the values in it.
        low: The lowest of them.
        high: The highest.
        count: How many there were, at least one.
    """

    at_s: int
    mean: float
    low: float
    high: float
    count: int


class Block:
    """Values of one series in one stretch of one tier; a step without any value has a count of 0.

    Attributes:
        tier: Its resolution.
        start_s: Its beginning, UTC seconds.
    """

    def __init__(self, tier: Tier, start_s: int) -> None:
        self.tier = tier
        self.start_s = start_s
        self._count = array("H", [0]) * tier.length
        self._mean = array("f", [0.0]) * tier.length
        # Of a single second the lowest and the highest are the value itself.
        self._low = array("f", self._mean) if tier.number else self._mean
        self._high = array("f", self._mean) if tier.number else self._mean

    def put(self, cell: Cell) -> None:
        """Add the values of a step to those that it has; in the finest tier the last one wins."""
        index = (cell.at_s - self.start_s) // self.tier.step_s
        had = self._count[index] if self.tier.number else 0
        if not had:
            self._count[index] = min(cell.count, 0xFFFF)
            self._mean[index], self._low[index], self._high[index] = cell.mean, cell.low, cell.high
            return
        total = had + cell.count
        self._mean[index] += (cell.mean - self._mean[index]) * cell.count / total
        self._low[index] = min(self._low[index], cell.low)
        self._high[index] = max(self._high[index], cell.high)
        self._count[index] = min(total, 0xFFFF)

    def cells(self) -> Iterator[Cell]:
        """The steps that have values, in order."""
        for index, count in enumerate(self._count):
            if count:
                at = self.start_s + index * self.tier.step_s
                yield Cell(at, self._mean[index], self._low[index], self._high[index], count)

    def pack(self) -> bytes:
        """As octets."""
        ends = self._low.tobytes() + self._high.tobytes() if self.tier.number else b""
        return zlib.compress(self._count.tobytes() + self._mean.tobytes() + ends, 6)

    @classmethod
    def unpack(cls, tier: Tier, start_s: int, data: bytes) -> Block:
        """From octets. Raises ValueError for what was not made by ``pack``."""
        made = cls(tier, start_s)
        size = tier.length * (2 + 4 + (8 if tier.number else 0))
        inflate = zlib.decompressobj()
        try:
            raw = inflate.decompress(data, size + 1)
        except zlib.error as error:
            raise ValueError("not a block") from error
        if len(raw) != size or not inflate.eof:
            raise ValueError("not a block of this tier")
        ends = [2 * tier.length + 4 * tier.length * column for column in range(4)]
        made._count = array("H", raw[: ends[0]])
        made._mean = array("f", raw[ends[0] : ends[1]])
        made._low = array("f", raw[ends[1] : ends[2]]) if tier.number else made._mean
        made._high = array("f", raw[ends[2] : ends[3]]) if tier.number else made._mean
        return made


class Gatherer:
    """Makes cells of coarser tiers from values of seconds.

    Attributes:
        at_s: The beginning of the step that the last value belongs to.
    """

    def __init__(self, tier: Tier) -> None:
        self._tier = tier
        self.at_s = 0
        self._count = 0
        self._sum = 0.0
        self._low = self._high = 0.0

    def put(self, at_s: int, value: float) -> Cell | None:
        """Take a value; the cell that it closed, if it did."""
        return self.merge(Cell(at_s, value, value, value, 1))

    def merge(self, cell: Cell) -> Cell | None:
        """Take a cell of a finer tier; the cell that it closed, if it did."""
        step = cell.at_s - cell.at_s % self._tier.step_s
        closed = self.take() if step != self.at_s else None
        self._low = min(self._low, cell.low) if self._count else cell.low
        self._high = max(self._high, cell.high) if self._count else cell.high
        self.at_s, self._count, self._sum = step, self._count + cell.count, self._sum + cell.mean * cell.count
        return closed

    def peek(self) -> Cell | None:
        """What was gathered since the last cell; None when nothing was."""
        if not self._count:
            return None
        return Cell(self.at_s, self._sum / self._count, self._low, self._high, self._count)

    def take(self) -> Cell | None:
        """The same, and begin anew."""
        cell = self.peek()
        self._count, self._sum = 0, 0.0
        return cell
