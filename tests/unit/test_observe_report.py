"""The report: figures as others compute them, well-formed plots, and a verdict that can fail."""

from __future__ import annotations

import math
import random
import re
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from record_support import WAN, record

from timesync.config.observe import Measurements
from timesync.observe.history.file import Event
from timesync.observe.history.store import History
from timesync.observe.quantiles import percentile, rms
from timesync.observe.records.writer import Writer
from timesync.observe.report.material import (
    ClockTrack,
    Happening,
    Material,
    NothingError,
    Series,
    evenly,
    of_history,
    of_recording,
)
from timesync.observe.report.page import Wishes, render
from timesync.observe.report.svg import Axis, binned, second_labels, time_labels
from timesync.observe.report.verdict import judge
from timesync.observe.stability import MASKS

EPOCH_S = 1_790_000_000
SVG = "{http://www.w3.org/2000/svg}"
VOID = {"meta", "link"}
values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


class Strict(HTMLParser):
    """Sees that every element is closed, and keeps what could load something."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        self.loads += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def strict(page: str) -> Strict:
    parsed = Strict()
    parsed.feed(page)
    parsed.close()
    assert not parsed.open
    return parsed


def plots(page: str) -> list[ET.Element]:
    return [ET.fromstring(text) for text in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]


def track(size: int = 3600, bound: float = 1e-3) -> ClockTrack:
    noise = random.Random(3)
    made = ClockTrack()
    for second in range(size):
        made.offset.add(EPOCH_S + second, noise.gauss(0, 1e-6))
        made.bound.add(EPOCH_S + second, bound)
        made.frequency.add(EPOCH_S + second, 5 + noise.gauss(0, 1e-3))
    return made


def material() -> Material:
    made = Material("a test", served="<system>")
    made.clocks["<system>"] = track()
    made.sources["ntp & co"] = made.clocks["<system>"].offset
    made.events = [Happening(EPOCH_S * 10**9, "warning", "step", "stepped by <1 s>")]
    return made


@given(values, st.floats(0, 100))
def test_percentiles_are_those_of_numpy(found: list[float], share: float) -> None:
    assert percentile(sorted(found), share) == pytest.approx(float(np.percentile(found, share)), rel=1e-9, abs=1e-9)


@given(values)
def test_the_root_mean_square_is_that_of_numpy(found: list[float]) -> None:
    assert rms(found) == pytest.approx(float(np.sqrt(np.mean(np.square(found)))), rel=1e-9, abs=1e-12)


def test_of_nothing_there_is_no_percentile() -> None:
    assert math.isnan(percentile([], 50))
    assert math.isnan(rms([]))


def test_the_page_is_whole_and_loads_nothing() -> None:
    page, _ = render(material(), Wishes(mask="PRTC-A", title="A & B"), EPOCH_S)
    parsed = strict(page)
    assert "script" not in parsed.counts
    assert ["data:,"] == parsed.loads
    assert "<title>A &amp; B</title>" in page
    assert "stepped by &lt;1 s&gt;" in page
    assert "Clock &lt;system&gt;" in page
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page


def test_the_plots_are_xml_with_what_they_should_show() -> None:
    page, _ = render(material(), Wishes(mask="PRTC-A"), EPOCH_S)
    found = plots(page)
    # Offset, frequency, histogram, ADEV, TDEV, MTIE of the clock; one source.
    titles = [plot.findtext(f"{SVG}title") for plot in found]
    assert [title.split(" of ")[0] for title in titles if title] == [
        "Offset", "Frequency error", "Histogram", "ADEV", "TDEV", "MTIE", "Offset from source ntp & co",
    ]  # fmt: skip
    kinds = [[element.get("class") for element in plot] for plot in found]
    assert 2 == kinds[0].count("band")
    assert 1 == kinds[0].count("line")
    assert 60 == kinds[2].count("bar")
    assert ["mask" in one for one in kinds] == [False, False, False, False, True, True, False]
    # 1, 2, 4 … of 3600 values: ADEV to 1024, TDEV to 1024, MTIE to 2048.
    assert [11, 11, 12] == [kind.count("dot") for kind in kinds[3:6]]
    for plot in found:
        numbers = [float(n) for p in plot.iter(f"{SVG}path") for n in re.findall(r"-?[\d.]+", p.get("d") or "")]
        assert all(0 <= x <= 860 for x in numbers[::2])
        assert all(0 <= y <= 260 for y in numbers[1::2])


def test_a_start_does_not_make_a_flat_line_of_the_rest_and_is_told() -> None:
    """A second at half a second off, and then an hour within a microsecond, with a bound of ten."""
    made = Material("a test", served="a")
    made.clocks["a"] = ClockTrack()
    for second in range(3600):
        at = EPOCH_S + second
        made.clocks["a"].offset.add(at, 1e-6 * math.sin(second) if second else 0.5)
        made.clocks["a"].bound.add(at, 1e-5)
        made.clocks["a"].frequency.add(at, 20.0 + 0.01 * math.sin(second) if second else -400.0)
    made.sources["b"] = made.clocks["a"].offset
    page, _ = render(made, Wishes(), EPOCH_S + 3600)
    strict(page)

    drawn = plots(page)
    for title, units in (("Offset of clock", "µs"), ("Offset from source", "µs"), ("Frequency", "")):
        (plot,) = (one for one in drawn if (one.findtext(f"{SVG}title") or "").startswith(title))
        labels = [one.text or "" for one in plot.findall(f"{SVG}text") if one.get("text-anchor") == "end"]
        assert {units} == {label.partition(" ")[2] for label in labels}, labels
        (clip,) = plot.findall(f"{SVG}clipPath")
        assert {f"url(#{clip.get('id')})"} == {one.get("clip-path") for one in plot.findall(f"{SVG}path")}
    assert 3 == page.count("Beyond the edges")
    assert 2 == page.count("the offset in 1 of 401 stretches of time, first at ")
    assert "500 ms" in page
    assert "which have -400.0000 ppm to 20." in page
    assert "Beyond the edges" not in render(material(), Wishes(), EPOCH_S + 3600)[0]


def test_the_histogram_counts_every_value() -> None:
    made = material()
    page, _ = render(made, Wishes(), EPOCH_S)
    bars = [element for element in plots(page)[2] if element.get("class") == "bar"]
    heights = [float(bar.get("height") or 0) for bar in bars]
    counts, _ = np.histogram(
        np.clip(
            made.clocks["<system>"].offset.values, *np.percentile(made.clocks["<system>"].offset.values, [0.5, 99.5])
        ),
        60,
    )
    assert int(np.argmax(counts)) == heights.index(max(heights))
    assert sum(heights) / max(heights) == pytest.approx(3600 / counts.max(), rel=0.02)


def test_percentiles_stand_in_the_table() -> None:
    made = material()
    page, _ = render(made, Wishes(), EPOCH_S)
    found = np.percentile(made.clocks["<system>"].offset.values, [1, 5, 25, 50, 75, 95, 99])
    row = re.search(r"<tr><td>offset</td>(.*?)</tr>", page)
    assert row is not None
    cells = re.findall(r"<td>(.*?)</td>", row[1])
    assert f"{found[0] / 1e-6:.4g} µs" == cells[0]
    assert f"{found[6] / 1e-6:.4g} µs" == cells[6]
    assert "3600" == cells[-1]


@pytest.mark.parametrize(("limit", "passed"), [(2e-3, True), (1e-3, True), (0.5e-3, False), (None, None)])
def test_the_verdict_is_on_the_claimed_bound(limit: float | None, passed: bool | None) -> None:
    page, verdict = render(material(), Wishes(limit_s=limit), EPOCH_S)
    assert verdict.passed is passed
    assert ("Passed." in page, "Failed." in page) == (passed is True, passed is False)


def test_a_moment_without_a_claim_is_not_within_any_limit() -> None:
    made = track(10)
    made.bound = Series([EPOCH_S], [1e-9])
    verdict = judge("c", made, 1.0)
    assert verdict.passed is False
    assert "at 1 of 10 moments" in verdict.text
    made.bound = Series()
    assert judge("c", made, 1.0).passed is False
    assert judge("c", made, None).passed is None


def test_one_moment_beyond_the_limit_fails() -> None:
    made = track(1000)
    made.bound.values[500] = 1.1e-3
    verdict = judge("c", made, 1e-3)
    assert verdict.passed is False
    assert "999 of 1000 moments (99.900%)" in verdict.text


def test_nothing_is_no_report() -> None:
    with pytest.raises(NothingError, match="nothing in this time"):
        render(Material("nothing"), Wishes(), EPOCH_S)


def test_even_steps_end_at_a_gap() -> None:
    series = Series()
    for second in [*range(0, 400, 4), *range(1000, 2000, 4)]:
        series.add(EPOCH_S + second + 0.2, second * 1e-6)
    run = evenly(series)
    assert 4.0 == run.tau0_s
    assert not run.whole
    assert 250 == len(run.phase_s)
    assert evenly(Series()).phase_s == []


def test_bins_keep_the_extremes_and_the_gaps() -> None:
    at = [float(second) for second in [*range(5000), *range(8000, 10_000)]]
    found = [0.0] * len(at)
    found[123], found[6000] = 7.0, -7.0
    pieces = binned(at, found, found, found, (0, 10_000))
    assert 2 == len(pieces)
    every = [one for piece in pieces for one in piece]
    assert len(every) <= 400
    assert (7.0, -7.0) == (max(one.high for one in every), min(one.low for one in every))


def test_ticks_are_round() -> None:
    assert [-2e-6, -1e-6, 0.0, 1e-6] == pytest.approx(Axis(-2.3e-6, 1.9e-6, 0, 1).ticks())
    assert [(0.0, "0 µs"), (5e-6, "5 µs"), (10e-6, "10 µs")] == [
        (pytest.approx(at), text) for at, text in second_labels(Axis(-1e-6, 12e-6, 0, 1)) if text[0] != "-"
    ]
    assert [1, 10, 100] == pytest.approx(Axis(0.8, 130, 0, 1, log=True).ticks())
    labels = time_labels((EPOCH_S, EPOCH_S + 86_400))
    assert 5 <= len(labels) <= 10
    assert all(at % 3600 == 0 for at, _ in labels)


def test_a_report_of_a_recording_shows_what_was(tmp_path: Path) -> None:
    recorded, _ = record(WAN)
    writer = Writer(Measurements(directory=str(tmp_path)), lambda *_: None)
    writer.take(recorded)
    writer.close()
    found = of_recording(tmp_path, 0, 1 << 62)
    assert {"system"} == set(found.clocks)
    assert {"near", "far"} == set(found.sources)
    assert "system" == found.served
    assert {"selected", "locked"} <= {event.name for event in found.events}
    assert 1 == len(found.inputs)
    assert 64 == len(found.inputs[0].sha256)
    page, verdict = render(found, Wishes(limit_s=0.1), EPOCH_S)
    strict(page)
    assert verdict.passed
    first, last = found.span
    middle = round((first + last) / 2 * 1e9)
    half = of_recording(tmp_path, middle, 1 << 62)
    # What came before was replayed all the same: the clock is known from the first moment.
    assert abs(half.clocks["system"].offset.values[0]) < 20e-6
    assert half.span[0] >= middle / 1e9
    assert of_recording(tmp_path, 0, middle).span[1] < middle / 1e9


def test_a_report_of_history_shows_what_was(tmp_path: Path) -> None:
    path = tmp_path / "history.sqlite"
    history = History.open(path, 10**6, lambda _: None)
    for second in range(1200):
        values_ = {
            "clock/system/offset_s": 1e-6 * (second % 7),
            "clock/system/error_bound_s": 1e-4,
            "clock/system/frequency_ppm": -3.0,
            "source/pool/a/offset_s": 2e-6,
            "port/eth0.0/offset_s": 1.0,
        }
        history.add((EPOCH_S + second) * 10**9, values_)
    history.happened(Event((EPOCH_S + 5) * 10**9, "info", "locked", None, "locked: follows a"))
    history.close()
    found = of_history(path, 0, (EPOCH_S + 2000) * 10**9)
    assert {"system"} == set(found.clocks)
    assert {"pool/a"} == set(found.sources)
    assert 1200 == len(found.clocks["system"].offset)
    assert ["locked: follows a"] == [event.text for event in found.events]
    page, verdict = render(found, Wishes(limit_s=1e-4 * 1.01), EPOCH_S)
    strict(page)
    assert verdict.passed
    with pytest.raises(NothingError, match="nothing of this time"):
        of_history(path, (EPOCH_S + 3000) * 10**9, (EPOCH_S + 2000) * 10**9)


def test_every_mask_can_be_held_against_a_clock() -> None:
    for name in {mask.name for mask in MASKS}:
        page, _ = render(material(), Wishes(mask=name), EPOCH_S)
        assert f"TDEV is above {name}" in page or f"TDEV is within {name}" in page
        assert f"MTIE is above {name}" in page or f"MTIE is within {name}" in page
