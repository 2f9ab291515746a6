"""History as others use it: what was, from memory and file together."""

from __future__ import annotations

import itertools
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from timesync.observe.history.blocks import TIERS, Block, Cell, Gatherer, Tier
from timesync.observe.history.file import Event, HistoryFile
from timesync.observe.history.series import NUMBER_OF_SERIES

EARLIEST_S: Final = 1_704_067_200
"""2024-01-01: what is said to be older was measured by a clock that knew nothing."""

_EVENTS_WAITING: Final = 1000
_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Columns:
    """A series over time, in even steps without gaps: what is not known is None.

    Attributes:
        step_s: Seconds between neighbours.
        at_s: UTC seconds of each.
        mean: Mean of the values from there to the next one.
        low: The lowest of them.
        high: The highest.
    """

    step_s: int
    at_s: list[int]
    mean: list[float | None]
    low: list[float | None]
    high: list[float | None]


class History:
    """Takes values once a second, and tells what was."""

    def __init__(self, file: HistoryFile | None, say: Callable[[str], None] = lambda _: None) -> None:
        """``file``: None keeps it in memory alone, for as long as a block lasts. ``say`` takes troubles in words."""
        self._file = file
        self._say = say
        self._trouble: str | None = None
        self._blocks: dict[tuple[str, int, int], Block] = {}
        self._gatherers: dict[str, tuple[Gatherer, ...]] = {}
        self._events: deque[Event] = deque(maxlen=_EVENTS_WAITING)
        self._now_s = 0
        self._sure = False

    @classmethod
    def open(cls, path: Path, size: int, say: Callable[[str], None]) -> History:
        """The history in a file, to go on with; one that cannot be used is set aside as ``….broken``."""
        try:
            return cls(HistoryFile(path, size), say)
        except sqlite3.OperationalError as error:
            # The place, not the file: no such directory, not ours to write.
            say(f"history is kept in memory only: {path}: {error}")
            return cls(None, say)
        except sqlite3.DatabaseError as error:
            aside = path.with_name(f"{path.name}.broken")
            say(f"history begins anew, and what was is set aside as {aside}: {error}")
        try:
            path.replace(aside)
            for rest in ("-wal", "-shm"):
                path.with_name(path.name + rest).unlink(missing_ok=True)
            return cls(HistoryFile(path, size), say)
        except (OSError, sqlite3.Error) as error:
            say(f"history is kept in memory only: {path}: {error}")
            return cls(None, say)

    @classmethod
    def read_only(cls, path: Path) -> History:
        """The history that another process keeps in a file. Raises ``sqlite3.Error``."""
        return cls(HistoryFile(path, None))

    # -- writing

    def add(self, utc_ns: int, values: Mapping[str, float], *, sure: bool = True) -> None:
        """Values of a moment.

        Args:
            utc_ns: When, ns since 1970, UTC.
            values: By name.
            sure: The clock that says so is right. One that is not, such as that of a board without a battery before it
                has asked anybody, cannot tell that what the file has is of a future that never came.
        """
        at_s = utc_ns // _NS
        self._sure = sure and at_s >= EARLIEST_S
        if at_s < EARLIEST_S:
            return
        self._now_s = at_s
        for name, value in values.items():
            gatherers = self._gatherers.get(name)
            if gatherers is None:
                if len(self._gatherers) >= NUMBER_OF_SERIES:
                    continue
                gatherers = self._gatherers[name] = tuple(Gatherer(tier) for tier in TIERS[1:])
                self._resume(name)
            self._put(name, TIERS[0], Cell(at_s, value, value, value, 1))
            for tier, gatherer in zip(TIERS[1:], gatherers, strict=True):
                closed = gatherer.put(at_s, value)
                if closed is not None:
                    self._put(name, tier, closed)

    def happened(self, event: Event) -> None:
        """Something has happened."""
        self._events.append(event)

    def flush(self, *, closing: bool = False) -> None:
        """Write what is new to the file; what is whole is then forgotten here.

        Blocks of the coarser tiers are written when they are whole, or when all ends (``closing``): written each time,
        they would be most of what a card has to bear. After a power cut they are made anew of the finer ones.
        """
        if len(self._gatherers) >= NUMBER_OF_SERIES:
            self._retire()
        if self._sure:
            for key in [key for key in self._blocks if key[2] > self._now_s]:
                del self._blocks[key]  # of a clock that leapt ahead, and back
        if self._file is not None and not self._file.read_only:
            changed: dict[str, list[Block]] = {}
            for (name, number, start), block in self._blocks.items():
                if not number or closing or not start <= self._now_s < start + TIERS[number].block_s:
                    changed.setdefault(name, []).append(block)
            try:
                self._file.write(changed, self._events, self._now_s, sure=self._sure)
            except sqlite3.Error as error:
                self._complain(f"history cannot be written: {error}")
            else:
                self._trouble = None
                self._events.clear()
        self._forget()

    def close(self) -> None:
        """Write what is new, and close the file."""
        for name in self._gatherers:
            self._end_steps(name)
        self.flush(closing=True)
        if self._file is not None:
            self._file.close()
            self._file = None

    def _end_steps(self, name: str) -> None:
        """Put what is being gathered of a series into its blocks."""
        for tier, gatherer in zip(TIERS[1:], self._gatherers[name], strict=True):
            part = gatherer.take()
            if part is not None:
                self._put(name, tier, part)

    def _retire(self) -> None:
        """Give the places of series that have had no value for an hour to others: members of pools come and go."""
        for name, (minutes, _) in list(self._gatherers.items()):
            if abs(self._now_s - minutes.at_s) > TIERS[1].block_s:
                self._end_steps(name)
                del self._gatherers[name]

    def _complain(self, text: str) -> None:
        if self._trouble != text:
            self._trouble = text
            self._say(text)

    def _put(self, name: str, tier: Tier, cell: Cell) -> None:
        start = tier.start(cell.at_s)
        block = self._blocks.get((name, tier.number, start))
        if block is None:
            block = self._begun(name, tier, start)
        block.put(cell)

    def _begun(self, name: str, tier: Tier, start_s: int) -> Block:
        """A block to add to: what the file has of it already, from before a restart, or an empty one."""
        block: Block | None = None
        if self._file is not None:
            try:
                block = self._file.block(name, tier, start_s)
            except sqlite3.Error as error:
                self._complain(f"history cannot be read: {error}")
        block = self._blocks[name, tier.number, start_s] = block or Block(tier, start_s)
        return block

    def _resume(self, name: str) -> None:
        """Make the blocks of the coarser tiers that were not whole when it ended without warning, of the finer ones."""
        if self._file is None:
            return
        try:
            for finer, tier in itertools.pairwise(TIERS):
                last = self._file.latest(name, finer)
                if last is None or self._file.block(name, tier, tier.start(last)) is not None:
                    continue
                start = tier.start(last)
                gatherer = Gatherer(tier)
                made = self._blocks[name, tier.number, start] = Block(tier, start)
                for cell in self._stored(name, finer, start, start + tier.block_s):
                    closed = gatherer.merge(cell)
                    if closed is not None:
                        made.put(closed)
                rest = gatherer.take()
                if rest is not None:
                    made.put(rest)
        except sqlite3.Error as error:
            self._complain(f"history cannot be read: {error}")

    def _forget(self) -> None:
        """Keep only the blocks that the present falls into."""
        # Without a file they are all there is: the finest tier for as long as a coarser block lasts.
        kept_s = 0 if self._file is not None else TIERS[1].block_s
        for key in list(self._blocks):
            _, number, start = key
            if start > self._now_s or start + TIERS[number].block_s + kept_s <= self._now_s:
                del self._blocks[key]

    # -- reading

    def series(self) -> tuple[str, ...]:
        """The names of all that is kept, in order."""
        known = set(self._gatherers)
        if self._file is not None:
            self._file.reread()
            known.update(self._file.series)
        return tuple(sorted(known))

    def query(self, name: str, from_s: int, to_s: int, points: int = 600) -> Columns:
        """A series from one moment to another, in at most so many steps.

        The finest tier is used of which there is something at that time, unless a coarser one is fine enough.
        Raises ``sqlite3.Error``.
        """
        span = max(to_s - from_s, 1)
        step = max(-(-span // points), 1)
        tier = self._tier_for(step, from_s)
        step = -(-step // tier.step_s) * tier.step_s
        first = from_s - from_s % step
        gatherers: dict[int, _Sum] = {}
        for cell in self._cells(name, tier, from_s, to_s):
            gatherers.setdefault((cell.at_s - first) // step, _Sum()).put(cell)
        at = list(range(first, to_s, step))
        sums = [gatherers.get(index) for index in range(len(at))]
        return Columns(
            step,
            at,
            [None if one is None else one.total / one.count for one in sums],
            [None if one is None else one.low for one in sums],
            [None if one is None else one.high for one in sums],
        )

    def earliest(self) -> int | None:
        """When the oldest block of the file begins, UTC seconds; None without any. Raises ``sqlite3.Error``."""
        starts = () if self._file is None else map(self._file.earliest, TIERS)
        return min((start for start in starts if start is not None), default=None)

    def events(self, from_ns: int, to_ns: int, most: int = 200) -> list[Event]:
        """The last ``most`` events from one moment to another, the newest last. Raises ``sqlite3.Error``."""
        found = [] if self._file is None else self._file.events(from_ns, to_ns, most)
        found += (event for event in self._events if from_ns <= event.utc_ns < to_ns)
        return found[-most:]

    def _tier_for(self, step_s: int, from_s: int) -> Tier:
        """The coarsest one that is fine enough; a coarser one where that reaches further back, if it is asked for."""
        tier = [tier for tier in TIERS if tier.step_s <= step_s][-1]
        if self._file is None:
            return tier
        for coarser in TIERS[tier.number + 1 :]:
            ours, theirs = self._file.earliest(tier), self._file.earliest(coarser)
            # By a block at least: it began earlier only because its blocks are longer.
            if theirs is not None and (ours is None or (from_s < ours and theirs + coarser.block_s <= ours)):
                tier = coarser
        return tier

    def _cells(self, name: str, tier: Tier, from_s: int, to_s: int) -> Iterator[Cell]:
        """What is known, in order; a block that is in memory takes the place of the same one in the file."""
        yield from self._stored(name, tier, from_s, to_s)
        yield from self._unfinished(name, tier, from_s, to_s)

    def _stored(self, name: str, tier: Tier, from_s: int, to_s: int) -> Iterator[Cell]:
        stored = [] if self._file is None else self._file.blocks(name, tier, from_s, to_s)
        blocks = {block.start_s: block for block in stored}
        for (owner, number, start), block in self._blocks.items():
            if owner == name and number == tier.number and start < to_s and start + tier.block_s > from_s:
                blocks[start] = block
        for _, block in sorted(blocks.items()):
            yield from (cell for cell in block.cells() if from_s <= cell.at_s < to_s)

    def _unfinished(self, name: str, tier: Tier, from_s: int, to_s: int) -> Iterable[Cell]:
        """The step of a coarser tier that is still being gathered."""
        if not tier.number or name not in self._gatherers:
            return ()
        cell = self._gatherers[name][tier.number - 1].peek()
        return (cell,) if cell is not None and from_s <= cell.at_s < to_s else ()


class _Sum:
    """Cells of a step together."""

    def __init__(self) -> None:
        self.count = 0
        self.total = 0.0
        self.low = float("inf")
        self.high = float("-inf")

    def put(self, cell: Cell) -> None:
        self.count += cell.count
        self.total += cell.mean * cell.count
        self.low = min(self.low, cell.low)
        self.high = max(self.high, cell.high)
