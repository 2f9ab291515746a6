"""What a report is made of: tracks of clocks and sources from a recording, or from the file of history."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from timesync.base.time import Duration, Instant, Mono
from timesync.observe.history.store import Columns, History
from timesync.observe.quantiles import percentile
from timesync.observe.records import rows
from timesync.observe.records.reader import files, read_file
from timesync.observe.records.rows import Row
from timesync.observe.replay.player import Moment, Player
from timesync.observe.replay.told import measurement_of
from timesync.observe.stability import Run, longest_run

MOST_POINTS: Final = 100_000
"""Values of a series; a longer time has coarser ones."""

EVENTS: Final = 500
_NS: Final = 1_000_000_000
_EVERY: Final = Duration.from_s(0.9)
_WARM_NS: Final = 3600 * _NS
"""A replay knows the clock well after so long."""


class NothingError(Exception):
    """There is nothing to report; the message is for the user."""


@dataclass(slots=True)
class Series:
    """Values over time.

    Attributes:
        at_s: UTC, seconds since 1970, increasing.
        values: What was known then; means where a value stands for longer.
        low: The lowest that each value stands for; empty: the value itself.
        high: The highest, likewise.
    """

    at_s: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    low: list[float] = field(default_factory=list)
    high: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.values)

    def add(self, at_s: float, value: float) -> None:
        """One more value."""
        self.at_s.append(at_s)
        self.values.append(value)

    @property
    def lows(self) -> Sequence[float]:
        """The lowest values."""
        return self.low or self.values

    @property
    def highs(self) -> Sequence[float]:
        """The highest values."""
        return self.high or self.values


@dataclass(slots=True)
class ClockTrack:
    """One clock.

    Attributes:
        offset: Estimated clock minus truth, seconds.
        bound: The claimed bound on the true offset, seconds.
        frequency: Frequency error of the free clock, ppm.
    """

    offset: Series = field(default_factory=Series)
    bound: Series = field(default_factory=Series)
    frequency: Series = field(default_factory=Series)


@dataclass(frozen=True, slots=True)
class Happening:
    """An event, for the list."""

    utc_ns: int
    level: str
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Input:
    """A file that the report was made of."""

    path: str
    size: int
    sha256: str


@dataclass(slots=True)
class Material:
    """All of it.

    Attributes:
        of: What it was made of, in words.
        served: The clock whose time is served; None when that is not known.
        clocks: By name.
        sources: Offsets, clock minus source as measured, by the source's name.
        events: In order.
        inputs: The files.
        version: Of the timesync that wrote them; None when they do not say.
    """

    of: str
    served: str | None = None
    clocks: dict[str, ClockTrack] = field(default_factory=dict)
    sources: dict[str, Series] = field(default_factory=dict)
    events: list[Happening] = field(default_factory=list)
    inputs: list[Input] = field(default_factory=list)
    version: str | None = None

    @property
    def span(self) -> tuple[float, float]:
        """From the first value to the last, UTC seconds. Raises NothingError."""
        tracks = [track.offset for track in self.clocks.values()]
        every = [series for series in (*tracks, *self.sources.values()) if len(series)]
        if not every:
            raise NothingError("there is nothing in this time")
        return min(series.at_s[0] for series in every), max(series.at_s[-1] for series in every)


def digest(path: Path) -> Input:
    """A file as an input. Raises OSError."""
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256")
    return Input(str(path), path.stat().st_size, found.hexdigest())


# -- from a recording


class _Collector:
    """Takes what a faithful replay shows."""

    def __init__(self, material: Material, from_ns: int, to_ns: int) -> None:
        self._material = material
        self._from_ns = from_ns
        self._to_ns = to_ns
        self._last: Instant[Mono] | None = None

    def look(self, moment: Moment) -> None:
        row, material = moment.row, self._material
        if not self._from_ns <= row.utc_ns < self._to_ns:
            return
        material.served = moment.core.settings.served
        material.events += [Happening(row.utc_ns, n.level, n.name, n.text) for n in moment.notes]
        at_s = row.utc_ns / _NS
        if row.kind == rows.MEASUREMENT:
            self._measured(moment, at_s)
        if self._last is None or not Duration(0) <= moment.now.mono - self._last < _EVERY:
            self._last = moment.now.mono
            self._clocks(moment, at_s)

    def _measured(self, moment: Moment, at_s: float) -> None:
        source = next((one for one in moment.core.sources() if one.spec.source == moment.row.source), None)
        if source is not None:
            offset = measurement_of(moment.row).offset - source.spec.correction
            _later(self._material.sources.setdefault(source.spec.name, Series()), at_s, offset.s())

    def _clocks(self, moment: Moment, at_s: float) -> None:
        now = moment.now
        for clock, model in moment.core.clocks.items():
            estimate = model.estimate(now.clocks[clock])
            if estimate is None:
                continue
            track = self._material.clocks.setdefault(clock, ClockTrack())
            _later(track.offset, at_s, estimate.offset_s)
            _later(track.frequency, at_s, estimate.frequency * 1e6)
            bound = model.error_bound_s(now.clocks[clock], now.mono)
            if bound is not None:
                _later(track.bound, at_s, bound)


def _later(series: Series, at_s: float, value: float) -> None:
    """Add a value, unless the clock that tells the time was set back."""
    if not series.at_s or at_s > series.at_s[-1]:
        series.add(at_s, value)


def of_recording(path: Path, from_ns: int, to_ns: int) -> Material:
    """From a file of a recording, or the directory of them. Raises RecordError, NothingError, OSError."""
    found = files(path)
    firsts = [_first(file) for file in found]
    chosen = []
    for index, file in enumerate(found):
        following = next((utc_ns for utc_ns in firsts[index + 1 :] if utc_ns is not None), None)
        ended = following is not None and following < from_ns - _WARM_NS
        began = firsts[index]
        if not ended and began is not None and began < to_ns:
            chosen.append(file)
    material = Material(f"the recording {path}, replayed through the core")
    collector = _Collector(material, from_ns, to_ns)
    for moment in Player().play(_versioned(chosen, material, to_ns)):
        collector.look(moment)
    material.inputs = [digest(file) for file in chosen]
    return material


def _first(file: Path) -> int | None:
    return next((row.utc_ns for row in read_file(file)), None)


def _versioned(chosen: Iterable[Path], material: Material, to_ns: int) -> Iterator[Row]:
    for file in chosen:
        for row in read_file(file):
            if row.utc_ns >= to_ns:
                return
            if row.kind == rows.BEGIN:
                material.version = (row.details or {}).get("version")
            yield row


# -- from history


def of_history(path: Path, from_ns: int, to_ns: int) -> Material:
    """From the file of history. Raises sqlite3.Error, NothingError, OSError."""
    material = Material(f"the history {path}")
    history = History.read_only(path)
    try:
        earliest = history.earliest()
        from_s, to_s = from_ns // _NS, to_ns // _NS
        if earliest is None or max(from_s, earliest) >= to_s:
            raise NothingError("the history has nothing of this time; the last minutes may not be written yet")
        _fill(material, history, max(from_s, earliest), to_s)
    finally:
        history.close()
    material.inputs = [digest(path)]
    return material


def _fill(material: Material, history: History, from_s: int, to_s: int) -> None:
    for name in history.series():
        kind, _, rest = name.partition("/")
        subject, _, what = rest.rpartition("/")
        if kind == "clock" and what in _CLOCK_FIELDS:
            series = _series(history.query(name, from_s, to_s, MOST_POINTS))
            setattr(material.clocks.setdefault(subject, ClockTrack()), _CLOCK_FIELDS[what], series)
        elif kind == "source" and what == "offset_s":
            series = _series(history.query(name, from_s, to_s, MOST_POINTS))
            if len(series):
                material.sources[subject] = series
    material.clocks = {name: track for name, track in material.clocks.items() if len(track.offset)}
    events = history.events(from_s * _NS, to_s * _NS, EVENTS)
    material.events = [Happening(one.utc_ns, one.level, one.name, one.text) for one in events]


_CLOCK_FIELDS: Final[Mapping[str, str]] = {
    "offset_s": "offset",
    "error_bound_s": "bound",
    "frequency_ppm": "frequency",
}


def _series(columns: Columns) -> Series:
    made = Series()
    cells = zip(columns.at_s, columns.mean, columns.low, columns.high, strict=True)
    for at_s, mean, low, high in cells:
        if mean is not None and low is not None and high is not None:
            made.add(at_s, mean)
            made.low.append(low)
            made.high.append(high)
    return made


# -- what follows from a series


def evenly(series: Series) -> Run:
    """The longest stretch of a series without a gap, in even steps.

    A step is as long as nearly all distances of neighbours at most, and whole seconds.
    """
    if len(series) < 2:
        return Run(0, [], 1.0, whole=True)
    distances = sorted(b - a for a, b in zip(series.at_s, series.at_s[1:], strict=False))
    step = max(math.ceil(percentile(distances, 95) - 0.01), 1)
    start = math.floor(series.at_s[0])
    cells: list[float | None] = [None] * (int((series.at_s[-1] - start) // step) + 1)
    for at_s, value in zip(series.at_s, series.values, strict=True):
        cells[int((at_s - start) // step)] = value
    times = [(start + index * step) * _NS for index in range(len(cells))]
    return longest_run(times, cells, step * _NS)
