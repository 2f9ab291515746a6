"""Which second is this edge? A pulse says when a second starts, and not which one.

A pulse is a measurement modulo one second. It is numbered once by any coarse source of time, and from then on by
counting, so that the coarse source may fail or err. Edges off the grid of the others are refused.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from timesync.base.ids import SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Coarse, Stamp
from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Tai
from timesync.gnss.grid import MOST_RATE, Grid, find_grid

_KEPT = 8
_LOST_UNITS = 5 * UNITS_PER_S // 2
"""After so long without a pulse on the grid, those off it may make a new one."""

_OTHER_SECOND_S = 0.9
_CONTRADICTED_S = 0.1
"""A claim that misses every pulse by more than this is wrong, or the pulses do not mark seconds."""

_CHECK_BOUND_S = 0.4
_CARRY_S = 0.25
_CARRY_SHARE_S = 0.05
_WRAP = 1 << 32
_RESTARTED = 1 << 16
"""A sequence that leaps by more has begun anew."""

_RECENT = 32


class Refusal(enum.Enum):
    """Why an edge is not used."""

    OLD_EPOCH = "taken before the clock was stepped"
    REPEATED = "seen already"
    SEARCHING = "no three edges a second apart yet"
    DOUBLED = "its second has its edge already"
    WILD = "off the grid of the other edges"
    UNNUMBERED = "nothing tells which second it marks"
    AMBIGUOUS = "the coarse time is not good enough to tell the second"
    CONTRADICTED = "the coarse time puts no second there"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A pulse whose second is known.

    Attributes:
        at: What the clock read at the edge.
        second: The second that it marks.
        offset: Local minus truth: ``at`` less the second, the sawtooth and the configured constants.
        missed: Pulses that failed to come just before it.
    """

    at: Stamp
    second: Instant[Tai]
    offset: Duration
    missed: int = 0

    def corrected(self, sawtooth: Duration) -> Labelled:
        """The same with the quantization error of this pulse known (true edge minus nominal one)."""
        return replace(self, offset=self.offset - sawtooth)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumbererSettings:
    """How pulses are numbered.

    Attributes:
        source: The source that the pulses are.
        name: What the operator calls it.
        delay: How late the edge is seen for known reasons (cable, input stage): subtracted.
        contradictions: So many pulses in a row must be contradicted by coarse time before they are renumbered.
        carry_s: How long a gap may be bridged by counting the local clock's seconds.
    """

    source: SourceId
    name: str
    delay: Duration = field(default=ZERO)
    contradictions: int = 5
    carry_s: float = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseFigures:
    """What became of the pulses; for status and metrics.

    Attributes:
        accepted: Edges on the grid, numbered or not.
        missed: Seconds without an edge.
        doubled: Edges in a second that had its own.
        wild: Edges off the grid in a second that had no other.
        unread: Edges that the device counted and that nobody read.
        unnumbered: Accepted edges that could not be numbered.
        renumbered: How often coarse time overruled the count.
        jitter_s: One standard deviation of an edge; None before enough have come.
        numbered_by: Who numbered them; None while nobody has.
    """

    accepted: int
    missed: int
    doubled: int
    wild: int
    unread: int
    unnumbered: int
    renumbered: int
    jitter_s: float | None
    numbered_by: str | None


class _Edges:
    """Counts edges by what became of them.

    An edge off the grid is doubled if its second has a right edge as well, and wild if not: that may be known only
    when the next one comes.
    """

    def __init__(self) -> None:
        self.accepted = self.missed = self.doubled = self.wild = self.unread = 0
        self._odd: int | None = None
        self._odd_count = 0
        self._recent: deque[bool] = deque(maxlen=_RECENT)
        self._sequence: int | None = None
        self._gap = 1
        self._skipped = 0

    @property
    def mostly_doubled(self) -> bool:
        """A good share of the recent edges are second ones."""
        return len(self._recent) == _RECENT and sum(self._recent) > _RECENT // 4

    def counted(self, sequence: int) -> bool:
        """The device's own count of this edge; False when it is the one that was seen last."""
        before, self._sequence = self._sequence, sequence % _WRAP
        if before is None:
            return True
        gap = self._gap = (sequence - before) % _WRAP
        if 1 < gap < _RESTARTED:
            self._skipped += gap - 1
            self.unread += gap - 1
        return gap != 0

    def second_one(self) -> None:
        """An edge in a second that has had its own."""
        self.doubled += 1
        self._recent.append(True)

    def odd(self, index: int) -> None:
        """An edge off the grid, nearest to the place ``index``."""
        if self._gap == 2:
            # A device that keeps only its newest edge showed the second one in place of the right one.
            self.second_one()
            return
        if self._odd != index:
            self.settle(None)
            self._odd = index
        self._odd_count += 1

    def settle(self, index: int | None) -> None:
        """The place ``index`` has its edge now; None when nothing more is expected at the odd ones' place."""
        if self._odd is None:
            return
        if self._odd == index:
            self.doubled += self._odd_count
            self._recent.append(True)
        else:
            self.wild += self._odd_count
        self._odd, self._odd_count = None, 0

    def right(self, index: int, count: int) -> int:
        """An edge on the grid, ``count`` seconds after the one before. Returns the seconds without one between."""
        self.settle(index)
        self.accepted += 1
        self._recent.append(False)
        missed = max(count - 1 - self._skipped, 0)
        self._skipped = 0
        self.missed += missed
        return missed


def _unsteered(_: Instant[Tai]) -> Duration:
    return ZERO


class Numberer:
    """Numbers the pulses of one source.

    ``steered`` tells what steering has added to the clock when it read the given instant (``Ledger.adjustment``):
    with it the grid holds through slews. Without it a change of rate costs two pulses.
    """

    def __init__(self, settings: NumbererSettings, steered: Callable[[Instant[Tai]], Duration] = _unsteered) -> None:
        self._settings = settings
        self._steered = steered
        self._edges = _Edges()
        self._grid: Grid | None = None
        self._recent: deque[int] = deque(maxlen=_KEPT)
        self._epoch: int | None = None
        self._second: int | None = None
        self._numbered_by: str | None = None
        self._against: tuple[int, int] = (0, 0)
        self._unnumbered = self._renumbered = 0
        self._last_refusal: Refusal | None = None
        self._notes: list[Noted] = []

    def notes(self) -> list[Noted]:
        """What is worth saying since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def figures(self) -> PulseFigures:
        """The counts so far."""
        edges = self._edges
        return PulseFigures(
            accepted=edges.accepted,
            missed=edges.missed,
            doubled=edges.doubled,
            wild=edges.wild,
            unread=edges.unread,
            unnumbered=self._unnumbered,
            renumbered=self._renumbered,
            jitter_s=None if self._grid is None else self._grid.jitter_s,
            numbered_by=None if self._second is None else self._numbered_by,
        )

    @property
    def trouble(self) -> str | None:
        """Why the pulses are not used, or what is odd about them, in words; None when all is well."""
        if self._epoch is None:
            return "no pulse has come yet"
        if self._grid is None:
            return "edges come, but no three of them are a second apart yet"
        if self._second is None:
            reason = self._last_refusal or Refusal.UNNUMBERED
            return f"pulses arrive, but {reason.value}"
        if self._edges.mostly_doubled:
            return "two edges come in each second: let the device capture only the one that marks it (`edge`)"
        return None

    def forget(self) -> None:
        """The device was lost or opened anew: its next pulses make a grid and need a number of their own."""
        self._restart()
        self._epoch = None

    def pulse(self, stamp: Stamp, sequence: int, coarse: Coarse | None) -> Labelled | Refusal:
        """An edge came.

        Args:
            stamp: What the local clock read at the edge.
            sequence: The device's own count of edges.
            coarse: What is known of the clock's offset just now; None when nothing is.
        """
        if self._epoch is not None and stamp.epoch < self._epoch:
            return Refusal.OLD_EPOCH
        if stamp.epoch != self._epoch:
            self._restart()
            self._epoch = stamp.epoch
        free = (stamp.at - self._steered(stamp.at)).scaled_ns
        if not self._edges.counted(sequence):
            return Refusal.REPEATED
        if self._recent and free == self._recent[-1]:
            return Refusal.REPEATED
        if self._recent and free < self._recent[-1]:
            # Somebody set the clock back and it has not been noticed yet.
            self._restart()
        self._recent.append(free)
        placed = self._place(free)
        if isinstance(placed, Refusal):
            return placed
        return self._number(stamp, placed, coarse)

    # -- the grid

    def _place(self, free: int) -> int | Refusal:
        """Find the edge's place on the grid; answers how many pulses were missed before it."""
        grid = self._grid
        if grid is not None and free - grid.last > round(self._settings.carry_s * UNITS_PER_S):
            gone_s = round((free - grid.last) / UNITS_PER_S)
            self._edges.missed += gone_s - 1
            self._say("info", "pulses-back", f"pulses come again after {gone_s} s, too long to count through")
            self._restart()
            self._recent.append(free)
            grid = None
        if grid is None:
            return self._search(free)
        count, residual = grid.place(free)
        if count <= 0:
            self._edges.second_one()
            return Refusal.DOUBLED
        if abs(residual) <= grid.gate_s(count):
            grid.take(free, count, residual)
            if self._second is not None:
                self._second += count
            return self._edges.right(grid.index, count)
        grid.learn(residual, count)
        self._edges.odd(grid.index + count)
        if free - grid.last > _LOST_UNITS:
            return self._search(free, grid)
        return Refusal.WILD

    def _search(self, free: int, old: Grid | None = None) -> int | Refusal:
        """Look for a grid among the recent edges; of an old one, among those that came after its last."""
        stamps = [stamp for stamp in self._recent if old is None or stamp > old.last]
        found = find_grid(stamps)
        if found is None:
            return Refusal.SEARCHING if old is None else Refusal.WILD
        self._edges.settle(None)
        if old is not None:
            count, residual = old.place(free)
            gone_s = (free - old.last) / UNITS_PER_S
            found.index = old.index + count
            if abs(residual) + MOST_RATE * gone_s + _CARRY_SHARE_S < _CARRY_S:
                if self._second is not None:
                    self._second += count
            elif self._second is not None:
                self._second = None
                self._say("warning", "pulses-moved", f"its pulses moved by {residual * 1e3:+.3g} ms within the second")
        self._grid = found
        self._edges.right(found.index, count=1)
        return 0

    def _restart(self) -> None:
        self._edges.settle(None)
        self._grid = None
        self._second = None
        self._against = (0, 0)
        self._last_refusal = None
        self._recent.clear()

    # -- the number

    def _number(self, stamp: Stamp, missed: int, coarse: Coarse | None) -> Labelled | Refusal:
        said = self._said(stamp, coarse)
        if self._second is None:
            if isinstance(said, Refusal) or coarse is None:
                self._last_refusal = said if isinstance(said, Refusal) else Refusal.UNNUMBERED
                self._unnumbered += 1
                return self._last_refusal
            self._second = said
            self._numbered_by = coarse.by
            self._against = (0, 0)
            self._say("info", "pulses-numbered", f"its pulses are numbered by {coarse.by}")
        elif coarse is not None and not isinstance(said, Refusal) and coarse.bound_s < _CHECK_BOUND_S:
            self._check(said - self._second, coarse)
        second: Instant[Tai] = Instant(self._second * UNITS_PER_S)
        return Labelled(stamp, second, stamp.at - second - self._settings.delay, missed)

    def _check(self, difference: int, coarse: Coarse) -> None:
        """Coarse time says that the count is off by so many seconds."""
        assert self._second is not None
        before, times = self._against
        times = 0 if difference == 0 else times + 1 if difference == before else 1
        self._against = (difference, times)
        if times < self._settings.contradictions:
            return
        self._second += difference
        self._against = (0, 0)
        self._renumbered += 1
        self._numbered_by = coarse.by
        text = f"its pulses are renumbered by {difference:+d} s, since {coarse.by} said so {times} times in a row"
        self._say("warning", "pulses-renumbered", text)

    def _said(self, stamp: Stamp, coarse: Coarse | None) -> int | Refusal:
        """The second by coarse time alone.

        An edge marks a full second, so the second next to the nearest one need only lie outside the claim.
        """
        if coarse is None:
            return Refusal.UNNUMBERED
        truth = stamp.at - self._settings.delay - Duration.from_s(coarse.offset_s)
        second = (truth.scaled_ns + UNITS_PER_S // 2) // UNITS_PER_S
        residual = abs(truth.scaled_ns - second * UNITS_PER_S) / UNITS_PER_S
        if coarse.bound_s >= 0.5 or residual + coarse.bound_s >= _OTHER_SECOND_S:
            return Refusal.AMBIGUOUS
        if residual > coarse.bound_s + _CONTRADICTED_S:
            return Refusal.CONTRADICTED
        return second

    def _say(self, level: str, name: str, text: str) -> None:
        self._notes.append(Noted(level, name, f"{self._settings.name}: {text}", self._settings.source))
