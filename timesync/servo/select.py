"""Which sources to believe: interval intersection, agreement in frequency, hysteresis; every refusal in words.

The intersection follows RFC 5905, 11.2.1 (Marzullo's algorithm as modified there): each source claims that the
truth lies within its error bound of its offset, and the largest set of claims that can be true together wins, if it
is more than half. Offsets of a slowly drifting source agree for hours, so frequencies are compared as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from timesync.base.ids import SourceId
from timesync.servo.view import SourceState

_FREQUENCY_GATE = 5.0
_FREQUENCY_RETURN = 3.0
_FREQUENCY_TOLERANCE = 2e-8
_ENTER_RATIO = 3.0
_LEAVE_RATIO = 5.0
_RETURN_AFTER = 4
_KNOWN_FREQUENCY = 12
"""Measurements before a source's frequency says anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A source that could be used, at one moment.

    Attributes:
        source: Which.
        name: What the operator calls it.
        offset_s: The clock against it.
        deviation_s: One standard deviation of that.
        bound_s: Half-width of its claim: the truth lies within ``offset_s +- bound_s`` if it is right.
        frequency: The free clock's frequency error against it, as a ratio.
        frequency_deviation: One standard deviation of that.
        trusted: Never outvoted.
        samples: Measurements so far.
        vouched: It stands for what the sources of another clock have agreed on already.
    """

    source: SourceId
    name: str
    offset_s: float
    deviation_s: float
    bound_s: float
    frequency: float
    frequency_deviation: float
    trusted: bool
    samples: int
    vouched: bool = False


@dataclass(frozen=True, slots=True)
class Ruling:
    """What selection made of one source."""

    state: SourceState
    reason: str


_LONG_UNITS = (("d", 86400.0, 172_800.0), ("h", 3600.0, 3597.0))
"""Unit, its seconds, and from where it is used: days from two on, hours from where minutes would round to 60."""
_SHORT_UNITS = (("min", 60.0, 60.0), ("s", 1.0, 0.9995), ("ms", 1e-3, 9.995e-4), ("µs", 1e-6, 9.995e-7))
"""Likewise; below a minute from where the smaller unit would round to 1000, which three digits cannot show."""


def words(seconds: float) -> str:
    """A length of time for people, in the largest unit that fits: ``-12.5 µs``, ``3 min``, ``1.0 h``."""
    for unit, size, since in _LONG_UNITS:
        if abs(seconds) >= since:
            return f"{seconds / size:.1f} {unit}"
    for unit, size, since in _SHORT_UNITS:
        if abs(seconds) >= since:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


def intersection(candidates: Sequence[Candidate]) -> tuple[float, float] | None:
    """Where more than half of the claims overlap, with the fewest sources left out (RFC 5905, 11.2.1).

    As there, sources that are left out must account for all offsets outside the overlap, so that a false claim which
    touches the others by its edge does not drag the result there. Where claims overlap and yet no
    offset lies inside (two wide claims with offsets far apart), the deepest overlap counts.
    """
    count = len(candidates)
    lows = sorted(c.offset_s - c.bound_s for c in candidates)
    highs = sorted((c.offset_s + c.bound_s for c in candidates), reverse=True)
    for left_out in range((count + 1) // 2):
        low, high = (
            _edge(lows, highs, count - left_out),
            -_edge([-x for x in highs], [-x for x in lows], count - left_out),
        )
        outside = sum(not low <= c.offset_s <= high for c in candidates)
        if low <= high and outside <= left_out:
            return low, high
    return _deepest(candidates)


def _edge(lows: Sequence[float], highs: Sequence[float], needed: int) -> float:
    """The lowest point that ``needed`` claims cover, going up; infinity where there is none."""
    rising = sorted([(x, 0) for x in lows] + [(x, 1) for x in highs])
    depth = 0
    for x, closes in rising:
        depth += -1 if closes else 1
        if depth >= needed:
            return x
    return math.inf


def _deepest(candidates: Sequence[Candidate]) -> tuple[float, float] | None:
    """The widest among the deepest overlaps, if more than half of the claims share it."""
    edges = sorted(
        [(c.offset_s - c.bound_s, 0) for c in candidates] + [(c.offset_s + c.bound_s, 1) for c in candidates]
    )
    depth, best, found = 0, len(candidates) // 2, None
    for (x, closes), (following, _) in zip(edges, [*edges[1:], edges[-1]], strict=True):
        depth += -1 if closes else 1
        if depth > best or (depth == best and found is not None and following - x > found[1] - found[0]):
            best, found = depth, (x, following)
    return found


def consensus(candidates: Sequence[Candidate], low: float, high: float) -> float:
    """The best guess of the truth: the mean of the offsets inside the overlap, weighted by their bounds."""
    inside = [(c.offset_s, 1 / (c.bound_s * c.bound_s + 1e-24)) for c in candidates if low <= c.offset_s <= high]
    if not inside:
        return (low + high) / 2
    return sum(x * w for x, w in inside) / sum(w for _, w in inside)


class Selector:
    """Remembers what was selected, so that a source near a limit does not hop in and out."""

    def __init__(self, minimum_sources: int) -> None:
        self._minimum = minimum_sources
        self._selected: frozenset[SourceId] = frozenset()
        self._refused_until: dict[SourceId, int] = {}
        self._odd_frequency: set[SourceId] = set()

    def configure(self, minimum_sources: int) -> None:
        """Ask for so many that agree from now on; what was selected is remembered."""
        self._minimum = minimum_sources

    def forget(self, source: SourceId) -> None:
        """The source is gone; should it come back, it begins anew."""
        self._selected -= {source}
        self._refused_until.pop(source, None)
        self._odd_frequency.discard(source)

    def select(self, candidates: Sequence[Candidate]) -> dict[SourceId, Ruling]:
        """Rule on each candidate; those that may steer come out as SELECTED."""
        rulings: dict[SourceId, Ruling] = {}
        if not candidates:
            self._selected = frozenset()
            return rulings
        agreeing = self._intersect(candidates, rulings)
        agreeing = self._compare_frequencies(agreeing, rulings)
        agreeing = self._hold_back(agreeing, rulings)
        if agreeing and len(agreeing) < self._minimum and not any(c.trusted or c.vouched for c in agreeing):
            for c in agreeing:
                rulings[c.source] = Ruling(
                    SourceState.CANDIDATE,
                    f"{len(agreeing)} agree of the {self._minimum} that steering.minimum_sources asks for",
                )
            agreeing = []
        self._combine(agreeing, rulings)
        self._selected = frozenset(s for s, r in rulings.items() if r.state is SourceState.SELECTED)
        return rulings

    def _intersect(self, candidates: Sequence[Candidate], rulings: dict[SourceId, Ruling]) -> list[Candidate]:
        trusted = [c for c in candidates if c.trusted]
        voters = trusted or list(candidates)
        overlap = intersection(voters)
        if overlap is None:
            for c in candidates:
                rulings[c.source] = Ruling(
                    SourceState.FALSETICKER, f"no majority: no more than half of the {len(voters)} sources agree"
                )
            return []
        truth = consensus(voters, *overlap)
        agreeing = [c for c in candidates if abs(c.offset_s - truth) <= c.bound_s]
        for c in candidates:
            if c in agreeing:
                continue
            rulings[c.source] = Ruling(
                SourceState.FALSETICKER,
                f"disagrees with {len(agreeing)} others by {words(abs(c.offset_s - truth))}, "
                f"which its error bound of {words(c.bound_s)} does not explain",
            )
            self._refused_until[c.source] = c.samples + _RETURN_AFTER
        return agreeing

    def _compare_frequencies(self, agreeing: list[Candidate], rulings: dict[SourceId, Ruling]) -> list[Candidate]:
        voters = [c for c in agreeing if c.samples >= _KNOWN_FREQUENCY]
        if len(voters) < 3:
            return agreeing
        middle = sorted(voters, key=lambda c: c.frequency)[len(voters) // 2]
        kept = []
        for c in agreeing:
            difference = abs(c.frequency - middle.frequency)
            spread = math.hypot(c.frequency_deviation, middle.frequency_deviation)
            gate = _FREQUENCY_RETURN if c.source in self._odd_frequency else _FREQUENCY_GATE
            if c.trusted or c not in voters or difference <= gate * spread + _FREQUENCY_TOLERANCE:
                self._odd_frequency.discard(c.source)
                kept.append(c)
                continue
            self._odd_frequency.add(c.source)
            self._refused_until[c.source] = c.samples + _RETURN_AFTER
            rulings[c.source] = Ruling(
                SourceState.FALSETICKER,
                f"its frequency differs from that of {len(agreeing) - 1} others by {difference * 1e6:.3g} ppm",
            )
        if 2 * len(kept) <= len(agreeing):
            # The odd ones are as many as the others: frequency decides nothing here.
            for c in agreeing:
                rulings.pop(c.source, None)
            return agreeing
        return kept

    def _hold_back(self, agreeing: list[Candidate], rulings: dict[SourceId, Ruling]) -> list[Candidate]:
        """A source that was refused must agree for a few samples before it may steer again."""
        kept = []
        for c in agreeing:
            left = self._refused_until.get(c.source, 0) - c.samples
            if left > 0 and len(agreeing) > 1:
                rulings[c.source] = Ruling(
                    SourceState.CANDIDATE, f"agrees again; used after {left} more measurements that agree"
                )
            else:
                self._refused_until.pop(c.source, None)
                kept.append(c)
        if not kept:
            for c in agreeing:
                rulings.pop(c.source, None)
            return agreeing
        return kept

    def _combine(self, agreeing: list[Candidate], rulings: dict[SourceId, Ruling]) -> None:
        if not agreeing:
            return
        best = min(c.bound_s for c in agreeing)
        for c in agreeing:
            ratio = _LEAVE_RATIO if c.source in self._selected else _ENTER_RATIO
            if c.bound_s <= ratio * best or c.trusted:
                others = len(agreeing) - 1
                reason = "the only source" if others == 0 else f"agrees with {others} other{'s' if others > 1 else ''}"
                rulings[c.source] = Ruling(SourceState.SELECTED, reason)
            else:
                rulings[c.source] = Ruling(
                    SourceState.CANDIDATE,
                    f"agrees, but its error bound of {words(c.bound_s)} is more than {ratio:.0f} times "
                    f"the best one, {words(best)}",
                )
