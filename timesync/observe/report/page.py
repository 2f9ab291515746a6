"""The report as one file of HTML that needs nothing else: no script, no picture, no network."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final

from timesync import __version__
from timesync.observe.quantiles import percentile, rms
from timesync.observe.report.material import ClockTrack, Material, Series, evenly
from timesync.observe.report.svg import Bin, Plot, binned, second_labels, time_labels, typical
from timesync.observe.report.verdict import Verdict, judge, written
from timesync.observe.stability import MASKS, STATISTICS, Mask, Point

PERCENTILES: Final = (1, 5, 25, 50, 75, 95, 99)
_BARS: Final = 60
_SOURCE_HEIGHT: Final = 150
_SMALL: Final = 420
_SMALL_HEIGHT: Final = 260
_NAMES: Final = {"adev": "ADEV", "tdev": "TDEV", "mtie": "MTIE"}

_STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b1f24; --page: #ffffff; --soft: #667080; --grid: #e3e6ea; --line: #0b62c4;
  --band: #0b62c422; --other: #b4540a; --good: #1a7f37; --bad: #c62828; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e8eb; --page: #14171b; --soft: #98a2b0; --grid: #2b3138;
  --line: #62a8ff; --band: #62a8ff2a; --other: #f0a04b; --good: #4fc46a; --bad: #ff7b72; } }
@media print { :root { --ink: #000; --page: #fff; --soft: #444; --grid: #ddd; --line: #0b62c4; --band: #0b62c422;
  --other: #b4540a; --good: #1a7f37; --bad: #c62828; }
  svg, tr { break-inside: avoid; } table { display: table !important; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60em;
  margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.5em; } h2 { font-size: 1.2em; margin-top: 2em; } h3 { font-size: 1em; margin: 1.2em 0 .3em; }
p.small, td.small { color: var(--soft); font-size: .87em; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .82em; display: block;
  overflow-x: auto; }
th, td { text-align: right; white-space: nowrap; padding: .2em .6em .2em 0;
  border-bottom: 1px solid var(--grid); vertical-align: top; }
th:first-child, td:first-child, td.text, th.text { text-align: left; }
td.hash { font-family: monospace; text-align: left; }
td.text { white-space: normal; }
.passed { color: var(--good); font-weight: 600; } .failed, .error { color: var(--bad); font-weight: 600; }
.warning { color: var(--other); }
svg { max-width: 100%; height: auto; display: block; } svg text { font: 11px system-ui, sans-serif; fill: var(--soft); }
.row { display: flex; flex-wrap: wrap; gap: .5em; }
.frame { fill: none; stroke: var(--soft); stroke-width: 1; } .grid { stroke: var(--grid); stroke-width: 1; }
.line { fill: none; stroke: var(--line); stroke-width: 1.4; } .band { fill: var(--band); stroke: none; }
.bar { fill: var(--line); } .dot { fill: var(--line); } .mask { fill: none; stroke: var(--other); stroke-width: 1.6; }
.bound { fill: none; stroke: var(--other); stroke-width: 1; stroke-dasharray: 4 3; }
"""


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the reader asked for.

    Attributes:
        limit_s: The largest error bound that is allowed; None: none is.
        mask: The name of masks to hold the stability against; None: none.
        title: Of the page.
    """

    limit_s: float | None = None
    mask: str | None = None
    title: str = "Time report"


def render(material: Material, wishes: Wishes, now_s: float) -> tuple[str, Verdict]:
    """The page, and the verdict on the served clock. Raises NothingError."""
    span = material.span
    clocks = material.clocks
    judged = material.served if material.served in clocks else next(iter(clocks), None)
    verdict = (
        Verdict(None if wishes.limit_s is None else False, "Nothing is known of any clock in this time.")
        if judged is None
        else judge(judged, clocks[judged], wishes.limit_s)
    )
    parts = [
        f"<h1>{escape(wishes.title)}</h1>",
        f"<p>{_moment(span[0])} to {_moment(span[1])} UTC, from {escape(material.of)}.</p>",
        _verdict(verdict),
        *(_clock(name, track, span, wishes) for name, track in clocks.items()),
        _sources(material.sources, span),
        _events(material),
        _made_of(material, now_s),
    ]
    body = "\n".join(part for part in parts if part)
    page = (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<title>{escape(wishes.title)}</title>\n<link rel="icon" href="data:,">\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )
    return page, verdict


def _moment(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _verdict(verdict: Verdict) -> str:
    if verdict.passed is None:
        return f"<p>{escape(verdict.text)}</p>"
    word, kind = ("Passed", "passed") if verdict.passed else ("Failed", "failed")
    return f'<p><span class="{kind}">{word}.</span> {escape(verdict.text)}</p>'


# -- clocks


def _clock(name: str, track: ClockTrack, span: tuple[float, float], wishes: Wishes) -> str:
    parts = [
        f"<section><h2>Clock {escape(name)}</h2>",
        "<h3>Offset as estimated (line), and the claimed bound on the true one (band)</h3>",
        _offset_plot(name, track, span),
    ]
    if len(track.frequency):
        parts += ["<h3>Frequency error of the free clock, ppm</h3>", _frequency_plot(name, track.frequency, span)]
    parts += ["<h3>How often which offset was</h3>", _histogram(name, track.offset)]
    rows: list[tuple[str, Series, Callable[[float], str]]] = [("offset", track.offset, written)]
    if len(track.bound):
        rows.append(("claimed bound", track.bound, written))
    if len(track.frequency):
        rows.append(("frequency, ppm", track.frequency, lambda ppm: f"{ppm:.4f}"))
    parts += [_percentiles("", rows), _stability(name, track.offset, wishes.mask), "</section>"]
    return "\n".join(parts)


def _offset_plot(name: str, track: ClockTrack, span: tuple[float, float]) -> str:
    offset, bound = track.offset, track.bound
    plot = Plot(f"Offset of clock {name}")
    lines = binned(offset.at_s, offset.values, offset.lows, offset.highs, span)
    bounds = binned(bound.at_s, bound.values, bound.lows, bound.highs, span) if len(bound) else []
    every = [end for piece in lines for one in piece for end in (one.low, one.high)]
    every += [sign * one.high for piece in bounds for one in piece for sign in (1, -1)]
    plot.axes(_wide(span), typical(every))
    plot.grid(time_labels(span), second_labels(plot.y))
    plot.band("band", [[(one.at, -one.high, one.high) for one in piece] for piece in bounds])
    plot.band("band", [[(one.at, one.low, one.high) for one in piece] for piece in lines])
    plot.line("line", [[(one.at, one.mean) for one in piece] for piece in lines])
    return plot.render() + _beyond(plot, lines, written, "offset") + _beyond(plot, bounds, written, "bound")


def _beyond(plot: Plot, pieces: list[list[Bin]], write: Callable[[float], str], what: str) -> str:
    """What of a series the edges of its plot leave out, in words; the table of percentiles has its largest value."""
    every = [one for piece in pieces for one in piece]
    beyond = [one for one in every if one.low < plot.y.first or one.high > plot.y.last]
    if not beyond:
        return ""
    low, high = min(one.low for one in beyond), max(one.high for one in beyond)
    reach = write(low) if low == high else f"{write(low)} to {write(high)}"
    return (
        f'<p class="small">Beyond the edges: the {what} in {len(beyond)} of {len(every)} stretches of time, first at '
        f"{_moment(beyond[0].at)}, which have {escape(reach)}.</p>"
    )


def _frequency_plot(name: str, series: Series, span: tuple[float, float]) -> str:
    plot = Plot(f"Frequency error of clock {name}", height=_SOURCE_HEIGHT)
    lines = binned(series.at_s, series.values, series.lows, series.highs, span)
    plot.axes(_wide(span), typical(end for piece in lines for one in piece for end in (one.low, one.high)))
    plot.grid(time_labels(span), _plain_labels(plot))
    plot.band("band", [[(one.at, one.low, one.high) for one in piece] for piece in lines])
    plot.line("line", [[(one.at, one.mean) for one in piece] for piece in lines])
    return plot.render() + _beyond(plot, lines, lambda ppm: f"{ppm:.4f} ppm", "frequency")


def _plain_labels(plot: Plot) -> list[tuple[float, str]]:
    ticks = plot.y.ticks()
    step = abs(ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    decimals = next((digits for digits in range(7) if step >= 0.999 * 10.0**-digits), 7)
    return [(tick, f"{tick:.{decimals}f}") for tick in ticks]


def _wide(span: tuple[float, float]) -> tuple[float, float]:
    return span if span[1] > span[0] else (span[0] - 1, span[1] + 1)


def _histogram(name: str, series: Series) -> str:
    ordered = sorted(series.values)
    # The ends of a long tail would squeeze everything else into one bar.
    low, high = percentile(ordered, 0.5), percentile(ordered, 99.5)
    if high <= low:
        low, high = low - 1e-9, high + 1e-9
    width = (high - low) / _BARS
    counts = [0] * _BARS
    for value in ordered:
        counts[min(max(int((value - low) / width), 0), _BARS - 1)] += 1
    plot = Plot(f"Histogram of the offset of clock {name}", height=_SOURCE_HEIGHT)
    plot.axes((low, high), (0, max(counts) * 1.05))
    unit = second_labels(plot.x)
    plot.grid(unit, [(tick, f"{tick:.0f}") for tick in plot.y.ticks() if tick == int(tick)])
    plot.bars("bar", [(low + index * width, low + (index + 1) * width, count) for index, count in enumerate(counts)])
    return plot.render()


def _percentiles(first: str, rows: Iterable[tuple[str, Series, Callable[[float], str]]]) -> str:
    heads = [f"{share} %" for share in PERCENTILES]
    lines = []
    for name, series, write in rows:
        ordered = sorted(series.values)
        largest = max((abs(end) for end in (min(series.lows), max(series.highs))), default=0.0)
        values = [percentile(ordered, share) for share in PERCENTILES]
        cells = [*map(write, values), write(rms(series.values)), write(largest), str(len(ordered))]
        lines.append((name, *cells))
    return _table((first, *heads, "RMS", "largest", "values"), lines)


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


# -- stability


def _stability(name: str, series: Series, mask: str | None) -> str:
    run = evenly(series)
    plots, words = [], []
    for statistic, title in _NAMES.items():
        points = [point for point in STATISTICS[statistic](run.phase_s, run.tau0_s) if point.value > 0]
        held = next((one for one in MASKS if one.name == mask and one.statistic == statistic), None)
        if points:
            plots.append(_deviation_plot(f"{title} of clock {name}", points, held, seconds=statistic != "adev"))
        if points and held is not None:
            broken = held.broken(points)
            text = f"{title} is {'above' if broken else 'within'} {held.name} ({held.clause})"
            words.append(text + (f" from {broken[0].tau_s:g} s on" if broken else ""))
    if not plots:
        return ""
    length = f"{len(run.phase_s)} values, {run.tau0_s:g} s apart"
    gaps = "" if run.whole else ", the longest stretch without a gap"
    verdict = f"<p>{escape('; '.join(words))}.</p>" if words else ""
    return (
        "<h3>Stability of the offset: ADEV, TDEV and MTIE over averaging time</h3>"
        f'<div class="row">{"".join(plots)}</div>{verdict}'
        f'<p class="small">Of the offset as estimated: {length}{gaps}.</p>'
    )


def _deviation_plot(title: str, points: Sequence[Point], mask: Mask | None, *, seconds: bool) -> str:
    plot = Plot(title, width=_SMALL, height=_SMALL_HEIGHT)
    taus = [point.tau_s for point in points]
    limits = [] if mask is None else [(tau, limit) for tau in taus if (limit := mask.limit(tau)) is not None]
    values = [point.value for point in points] + [limit for _, limit in limits]
    plot.axes((taus[0] / 1.3, taus[-1] * 1.3), (min(values) / 2, max(values) * 2), log=True)
    ticks = plot.y.ticks()
    labels = second_each(ticks) if seconds else [(tick, f"{tick:.0e}") for tick in ticks]
    plot.grid([(tick, f"{tick:g} s") for tick in plot.x.ticks()], labels)
    plot.line("mask", [limits])
    plot.line("line", [[(point.tau_s, point.value) for point in points]])
    plot.dots("dot", [(point.tau_s, point.value) for point in points])
    return f'<figure style="margin:0">{plot.render()}<figcaption class="small">{escape(title)}</figcaption></figure>'


def second_each(ticks: Iterable[float]) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis of seconds, each in its own unit."""
    return [(tick, written(tick)) for tick in ticks]


# -- sources, events, inputs


def _sources(sources: dict[str, Series], span: tuple[float, float]) -> str:
    if not sources:
        return ""
    parts = ["<section><h2>Sources</h2>", '<p class="small">The clock minus the source, as measured.</p>']
    for name, series in sources.items():
        plot = Plot(f"Offset from source {name}", height=_SOURCE_HEIGHT)
        lines = binned(series.at_s, series.values, series.lows, series.highs, span)
        plot.axes(_wide(span), typical(end for piece in lines for one in piece for end in (one.low, one.high)))
        plot.grid(time_labels(span), second_labels(plot.y))
        plot.band("band", [[(one.at, one.low, one.high) for one in piece] for piece in lines])
        plot.line("line", [[(one.at, one.mean) for one in piece] for piece in lines])
        parts += [f"<h3>{escape(name)}</h3>", plot.render() + _beyond(plot, lines, written, "offset")]
    parts += [_percentiles("source", [(name, series, written) for name, series in sources.items()]), "</section>"]
    return "\n".join(parts)


def _events(material: Material) -> str:
    if not material.events:
        return ""
    lines = "".join(
        f'<tr><td>{_moment(one.utc_ns / 1e9)}</td><td class="text {escape(one.level)}">{escape(one.level)}</td>'
        f'<td class="text">{escape(one.text)}</td></tr>'
        for one in material.events[-500:]
    )
    more = len(material.events) - 500
    note = f'<p class="small">The last 500 of {len(material.events)}.</p>' if more > 0 else ""
    return (
        f'<section><h2>Events</h2>{note}<table><thead><tr><th>UTC</th><th class="text">level</th>'
        f'<th class="text">what</th></tr></thead><tbody>{lines}</tbody></table></section>'
    )


def _made_of(material: Material, now_s: float) -> str:
    lines = "".join(
        f'<tr><td>{escape(one.path)}</td><td>{one.size}</td><td class="hash">{one.sha256}</td></tr>'
        for one in material.inputs
    )
    wrote = "" if material.version is None else f" They were written by timesync {escape(material.version)}."
    return (
        "<section><h2>What this was made of</h2><table><thead><tr><th>file</th><th>octets</th>"
        f'<th class="text">SHA-256</th></tr></thead><tbody>{lines}</tbody></table>'
        f'<p class="small">Made at {_moment(now_s)} UTC by timesync {escape(__version__)}, Python '
        f"{escape(platform.python_version())}.{wrote} Percentiles: linear between neighbours. ADEV, TDEV, MTIE: "
        "overlapping estimators of NIST SP 1065.</p></section>"
    )
