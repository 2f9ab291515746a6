"""How stable a clock is: Allan, modified Allan and time deviation, MTIE, and the masks that they are held against.

The input is phase data: the offset of a clock in seconds, at even steps of ``tau0_s`` and without gaps; ``longest_run``
finds such a stretch in data that have some. Each statistic is the overlapping estimator, for averaging times of
``tau0_s`` times 1, 2, 4, and so on, as far as the data allow. Definitions: NIST SP 1065 (ADEV: equation 14, MDEV: 17,
TDEV: 19, MTIE: 29), ITU-T G.810 appendix II.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final


@dataclass(frozen=True, slots=True)
class Point:
    """A statistic at one averaging time.

    Attributes:
        tau_s: Averaging time, or for MTIE the observation interval; seconds.
        value: ADEV and MDEV are ratios; TDEV and MTIE seconds.
        count: How many terms it is made of: the fewer, the less it says.
    """

    tau_s: float
    value: float
    count: int


def octaves(most: int) -> Iterator[int]:
    """1, 2, 4, … up to ``most``."""
    step = 1
    while step <= most:
        yield step
        step *= 2


def adev(phase_s: Sequence[float], tau0_s: float) -> list[Point]:
    """Overlapping Allan deviation; needs three values for one point."""
    size = len(phase_s)
    found = []
    for m in octaves((size - 1) // 2):
        count = size - 2 * m
        squares = sum((phase_s[i + 2 * m] - 2 * phase_s[i + m] + phase_s[i]) ** 2 for i in range(count))
        tau = m * tau0_s
        found.append(Point(tau, math.sqrt(squares / (2 * count)) / tau, count))
    return found


def mdev(phase_s: Sequence[float], tau0_s: float) -> list[Point]:
    """Modified Allan deviation; needs four values for one point."""
    size = len(phase_s)
    # From the mean, so that the sums of a long record do not eat the digits of small differences.
    mean = math.fsum(phase_s) / size if size else 0.0
    sums = [0.0, *accumulate(value - mean for value in phase_s)]
    found = []
    for m in octaves(size // 3):
        count = size - 3 * m + 1
        squares = sum((sums[j + 3 * m] - 3 * sums[j + 2 * m] + 3 * sums[j + m] - sums[j]) ** 2 for j in range(count))
        tau = m * tau0_s
        found.append(Point(tau, math.sqrt(squares / (2 * count)) / (m * tau), count))
    return found


def tdev(phase_s: Sequence[float], tau0_s: float) -> list[Point]:
    """Time deviation, in seconds: MDEV times the averaging time, over the square root of 3."""
    return [Point(at.tau_s, at.tau_s * at.value / math.sqrt(3), at.count) for at in mdev(phase_s, tau0_s)]


def mtie(phase_s: Sequence[float], tau0_s: float) -> list[Point]:
    """Maximum time interval error, in seconds: the largest swing within any window of so long.

    A window of twice the length is made of two that overlap or touch, so each octave costs as much as the first.
    """
    highest, lowest = list(phase_s), list(phase_s)
    found = []
    window = 1  # values; its length in time is one step less than their number
    for m in octaves(len(phase_s) - 1):
        # To m + 1 values: for the first octave 1 -> 2, then m/2 + 1 -> m + 1, each time by the same shift.
        shift = m + 1 - window
        highest = [max(pair) for pair in zip(highest, highest[shift:], strict=False)]
        lowest = [min(pair) for pair in zip(lowest, lowest[shift:], strict=False)]
        window = m + 1
        swing = max(high - low for high, low in zip(highest, lowest, strict=True))
        found.append(Point(m * tau0_s, swing, len(highest)))
    return found


STATISTICS: Final[Mapping[str, Callable[[Sequence[float], float], list[Point]]]] = {
    "adev": adev,
    "mdev": mdev,
    "tdev": tdev,
    "mtie": mtie,
}
"""All, by name."""


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of even phase data.

    Attributes:
        start: Index of its first value in the data that it was found in.
        phase_s: Its values.
        tau0_s: Their distance.
        whole: Whether that is all there was: no gap was met.
    """

    start: int
    phase_s: Sequence[float]
    tau0_s: float
    whole: bool


def longest_run(times_ns: Sequence[int], phase_s: Sequence[float | None], tau0_ns: int) -> Run:
    """The longest stretch without a gap: a missing value, or a step in time of more than half of ``tau0_ns`` beside it.

    A deviation that is computed across a gap as if there were none is of something that never was.

    Args:
        times_ns: When, increasing.
        phase_s: What; None where there is no value.
        tau0_ns: The distance that neighbours should have.
    """
    best, start = (0, 0), None
    for index, value in enumerate(phase_s):
        if value is None:
            start = None
            continue
        if start is None or abs(times_ns[index] - times_ns[index - 1] - tau0_ns) > tau0_ns // 2:
            start = index
        if index + 1 - start > best[1] - best[0]:
            best = start, index + 1
    values = [value for value in phase_s[slice(*best)] if value is not None]
    return Run(best[0], values, tau0_ns / 1e9, len(values) == len(phase_s))


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a mask: ``offset + slope * tau`` from above ``above_s`` up to and including ``until_s``; seconds."""

    above_s: float
    until_s: float
    offset_s: float
    slope: float

    def at(self, tau_s: float) -> float | None:
        """The limit; None outside."""
        return self.offset_s + self.slope * tau_s if self.above_s < tau_s <= self.until_s else None


@dataclass(frozen=True, slots=True)
class Mask:
    """A limit on a statistic as a function of time.

    Attributes:
        name: What is called so.
        statistic: ``mtie`` or ``tdev``.
        clause: Where it stands.
        pieces: In order of time.
    """

    name: str
    statistic: str
    clause: str
    pieces: tuple[Piece, ...]

    def limit(self, tau_s: float) -> float | None:
        """The largest allowed value in seconds; None where the mask says nothing."""
        found = (piece.at(tau_s) for piece in self.pieces)
        return next((limit for limit in found if limit is not None), None)

    def broken(self, points: Iterable[Point]) -> list[Point]:
        """The points that are above it."""
        limits = ((point, self.limit(point.tau_s)) for point in points)
        return [point for point, limit in limits if limit is not None and point.value > limit]


_FOREVER: Final = math.inf
_NS: Final = 1e-9
_PRC_TDEV: Final = (
    Piece(0.1, 100, 3 * _NS, 0),
    Piece(100, 1000, 0, 0.03 * _NS),
    Piece(1000, 10_000, 30 * _NS, 0),
)

MASKS: Final = (
    Mask(
        "PRTC-A", "mtie", "ITU-T G.8272, 6.2",
        (Piece(0.1, 273, 25 * _NS, 0.275 * _NS), Piece(273, _FOREVER, 100 * _NS, 0)),
    ),
    Mask("PRTC-A", "tdev", "ITU-T G.8272, 6.2", _PRC_TDEV),
    Mask(
        "PRTC-B", "mtie", "ITU-T G.8272, 6.2",
        (Piece(0.1, 54.5, 25 * _NS, 0.275 * _NS), Piece(54.5, _FOREVER, 40 * _NS, 0)),
    ),
    Mask(
        "PRTC-B", "tdev", "ITU-T G.8272, 6.2",
        (Piece(0.1, 100, 1 * _NS, 0), Piece(100, 500, 0, 0.01 * _NS), Piece(500, 100_000, 5 * _NS, 0)),
    ),
    Mask(
        "ePRTC", "mtie", "ITU-T G.8272.1, 6.2",
        (
            Piece(0.1, 1, 4 * _NS, 0), Piece(1, 100, 3.89 * _NS, 0.11114 * _NS),
            Piece(100, 400_000, 15 * _NS, 0.0375e-3 * _NS), Piece(400_000, _FOREVER, 30 * _NS, 0),
        ),
    ),
    Mask(
        "ePRTC", "tdev", "ITU-T G.8272.1, 6.2",
        (
            Piece(0.1, 30_000, 1 * _NS, 0), Piece(30_000, 300_000, 0, 3.33333e-5 * _NS),
            Piece(300_000, 1_000_000, 10 * _NS, 0),
        ),
    ),
    Mask(
        "PRC", "mtie", "ITU-T G.811, 6",
        (Piece(0.1, 1000, 25 * _NS, 0.275 * _NS), Piece(1000, _FOREVER, 290 * _NS, 0.01 * _NS)),
    ),
    Mask("PRC", "tdev", "ITU-T G.811, 6", _PRC_TDEV),
)  # fmt: skip
"""What operators of time servers are asked for; the network around a server has wider ones."""
