"""Plots as SVG inside HTML: no script, colours by the page's style sheet."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final
from zlib import crc32

from timesync.observe.quantiles import percentile

WIDTH: Final = 860
HEIGHT: Final = 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 12, 10, 30
_TICKS: Final = 5
_UNITS: Final = (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9), ("ps", 1e-12))
_STEPS_S: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400)
COLUMNS: Final = 400
"""A plot does not show more points beside each other."""


def unit_of(size: float) -> tuple[str, float]:
    """The unit in which a number of seconds has few digits, and its worth."""
    return next(((name, worth) for name, worth in _UNITS if size >= worth), _UNITS[-1])


@dataclass(frozen=True, slots=True)
class Axis:
    """A scale.

    Attributes:
        first: The value at the beginning.
        last: The value at the end.
        start: Where that is, in pixels.
        end: Likewise.
        log: Whether it is logarithmic.
    """

    first: float
    last: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Where a value is, in pixels."""
        first, last = (math.log10(self.first), math.log10(self.last)) if self.log else (self.first, self.last)
        place = math.log10(max(value, 1e-300)) if self.log else value
        share = (place - first) / (last - first) if last != first else 0.5
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values along it."""
        if self.log:
            low, high = math.ceil(math.log10(self.first) - 1e-9), math.floor(math.log10(self.last) + 1e-9)
            stride = max((high - low) // 6, 1)
            return [10.0**power for power in range(low, high + 1, stride)]
        rough = (self.last - self.first) / _TICKS
        if rough <= 0:
            return [self.first]
        base = 10.0 ** math.floor(math.log10(rough))
        step = next(base * factor for factor in (1, 2, 5, 10) if base * factor >= rough * 0.999)
        start = math.ceil(self.first / step - 1e-9)
        stop = math.floor(self.last / step + 1e-9)
        return [index * step for index in range(start, stop + 1)]


def spread(values: Iterable[float]) -> tuple[float, float]:
    """The ends of an axis for these values, with a little room."""
    found = [value for value in values if math.isfinite(value)]
    low, high = (min(found), max(found)) if found else (0.0, 1.0)
    room = (high - low) * 0.06 or abs(high) * 0.1 or 1e-12
    return low - room, high + room


def typical(values: Iterable[float]) -> tuple[float, float]:
    """The ends of an axis that most of these values need, generously, as on the web page.

    A few that are far out, as at a start, would make a flat line of all others: they lie beyond the edge.
    """
    found = sorted(value for value in values if math.isfinite(value))
    if not found:
        return spread(found)
    tenth, ninth = percentile(found, 10), percentile(found, 90)
    return spread((max(found[0], 2 * tenth - ninth), min(found[-1], 2 * ninth - tenth)))


class Plot:
    """One plot being drawn; what lies beyond its edges is not seen."""

    def __init__(self, title: str, *, width: int = WIDTH, height: int = HEIGHT) -> None:
        self._title = title
        self._width = width
        self._height = height
        self._parts: list[str] = []
        self._clip = f"in-{crc32(title.encode()):08x}"
        self.x = self.y = Axis(0, 1, 0, 1)

    def axes(self, x: tuple[float, float], y: tuple[float, float], *, log: bool = False) -> None:
        """Set both scales."""
        self.x = Axis(*x, _LEFT, self._width - _RIGHT, log)
        self.y = Axis(*y, self._height - _BOTTOM, _TOP, log)

    def grid(self, x_labels: Iterable[tuple[float, str]], y_labels: Iterable[tuple[float, str]]) -> None:
        """Draw lines and words at the ticks."""
        for value, text in x_labels:
            at = self.x(value)
            self._line("grid", at, _TOP, at, self._height - _BOTTOM)
            self._text(at, self._height - _BOTTOM + 16, text, "middle")
        for value, text in y_labels:
            at = self.y(value)
            self._line("grid", _LEFT, at, self._width - _RIGHT, at)
            self._text(_LEFT - 6, at + 4, text, "end")

    def _line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        self._parts.append(f'<line class="{kind}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>')

    def _text(self, x: float, y: float, text: str, anchor: str) -> None:
        self._parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>')

    def line(self, kind: str, points: Iterable[Sequence[tuple[float, float]]]) -> None:
        """Draw lines; each sequence is one, so that a gap stays a gap."""
        path = " ".join(
            " ".join(f"{'L' if index else 'M'}{self.x(x):.1f} {self.y(y):.1f}" for index, (x, y) in enumerate(piece))
            for piece in points
            if piece
        )
        if path:
            self._parts.append(f'<path class="{kind}" clip-path="url(#{self._clip})" d="{path}"/>')

    def band(self, kind: str, pieces: Iterable[Sequence[tuple[float, float, float]]]) -> None:
        """Fill between low and high: values of x, low and high."""
        for piece in pieces:
            if len(piece) < 2:
                continue
            there = " ".join(f"{self.x(x):.1f},{self.y(high):.1f}" for x, _, high in piece)
            back = " ".join(f"{self.x(x):.1f},{self.y(low):.1f}" for x, low, _ in reversed(piece))
            self._parts.append(f'<polygon class="{kind}" clip-path="url(#{self._clip})" points="{there} {back}"/>')

    def dots(self, kind: str, points: Iterable[tuple[float, float]]) -> None:
        """Draw points."""
        for x, y in points:
            self._parts.append(f'<circle class="{kind}" cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="2"/>')

    def bars(self, kind: str, bars: Iterable[tuple[float, float, float]]) -> None:
        """Draw bars from zero: from, to, and height of each."""
        base = self.y(0)
        for first, last, height in bars:
            left, right, top = self.x(first), self.x(last), self.y(height)
            self._parts.append(
                f'<rect class="{kind}" x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 1, 0.5):.1f}" '
                f'height="{max(base - top, 0):.1f}"/>'
            )

    def render(self) -> str:
        """The element."""
        box = f'x="{_LEFT}" y="{_TOP}" width="{self._width - _LEFT - _RIGHT}" height="{self._height - _TOP - _BOTTOM}"'
        clip = f'<clipPath id="{self._clip}"><rect {box}/></clipPath>'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" viewBox="0 0 {self._width} {self._height}" '
            f'width="{self._width}" height="{self._height}"><title>{escape(self._title)}</title>'
            f'{clip}{"".join(self._parts)}<rect class="frame" {box}/></svg>'
        )


@dataclass(frozen=True, slots=True)
class Bin:
    """Values of a stretch of time together."""

    at: float
    mean: float
    low: float
    high: float


def binned(
    at: Sequence[float], values: Sequence[float], low: Sequence[float], high: Sequence[float], span: tuple[float, float]
) -> list[list[Bin]]:
    """A series in at most ``COLUMNS`` bins, in pieces: a stretch without values, longer than usual, is a gap."""
    width = max((span[1] - span[0]) / COLUMNS, 1e-9)
    pieces: list[list[Bin]] = []
    usual = (at[-1] - at[0]) / max(len(at) - 1, 1)
    index = 0
    while index < len(at):
        end = bisect_left(at, span[0] + (math.floor((at[index] - span[0]) / width) + 1) * width, index + 1)
        part = slice(index, end)
        count = end - index
        made = Bin(sum(at[part]) / count, sum(values[part]) / count, min(low[part]), max(high[part]))
        if not pieces or at[index] - at[index - 1] > max(8 * usual, 3 * width):
            pieces.append([])
        pieces[-1].append(made)
        index = end
    return pieces


def time_labels(span: tuple[float, float]) -> list[tuple[float, str]]:
    """Round moments of UTC."""
    length = max(span[1] - span[0], 1.0)
    step = next((one for one in _STEPS_S if length / one <= 9), None)
    if step is None:
        step = 86_400 * math.ceil(length / 86_400 / 9)
    form = "%d %b" if step >= 86_400 else "%H:%M" if step >= 60 else "%H:%M:%S"
    first = math.ceil(span[0] / step)
    last = math.floor(span[1] / step)
    moments = [index * step for index in range(first, last + 1)]
    return [(at, datetime.fromtimestamp(at, UTC).strftime(_form(at, form))) for at in moments]


def _form(at: float, form: str) -> str:
    return "%d %b" if at % 86_400 == 0 else form


def second_labels(axis: Axis) -> list[tuple[float, str]]:
    """Ticks of an axis of seconds, all in one unit."""
    unit, worth = unit_of(max(abs(axis.first), abs(axis.last)))
    return [(tick, f"{tick / worth:.4g} {unit}") for tick in axis.ticks()]
