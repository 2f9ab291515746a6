"""What the last measurements and corrections looked like."""

from __future__ import annotations

import pytest
from servo_support import SYSTEM, Bench, BenchClock, mono, tai

from timesync.base.time import Duration
from timesync.servo.overview import overview
from timesync.servo.recent import POINTS, Point, Recent, Updates

POINT = Point(Duration.from_s(0.5), tai(1), Duration(0))


def test_points_runs_and_span() -> None:
    recent = Recent()
    assert (None, 0, 0, 0.0) == (recent.last, recent.points, recent.runs, recent.span_s)
    for second, innovation in enumerate((1.0, 2.0, -1.0, -1.0, 1.0)):
        recent.add(POINT, innovation, mono(second))
    assert (POINT, 5, 3, 4.0) == (recent.last, recent.points, recent.runs, recent.span_s)


def test_old_points_are_forgotten() -> None:
    recent = Recent()
    for second in range(100):
        recent.add(POINT, (-1.0) ** second, mono(second))
    assert (POINTS, POINTS, POINTS - 1.0) == (recent.points, recent.runs, recent.span_s)


def test_the_mean_of_corrections_begins_with_the_first_and_forgets_it_slowly() -> None:
    updates = Updates()
    assert (None, 0.0, 0.0) == (updates.offset_s, updates.rms_s, updates.interval_s)
    updates.add(-3.0, mono(10))
    assert (-3.0, 3.0, 0.0) == (updates.offset_s, updates.rms_s, updates.interval_s)
    updates.add(1.0, mono(14))
    assert (1.0, 4.0) == (updates.offset_s, updates.interval_s)
    assert (9 - 0.8) ** 0.5 == pytest.approx(updates.rms_s)
    for second in range(200):
        updates.add(2.0, mono(20 + second))
    assert 2.0 == pytest.approx(updates.rms_s)


def test_a_measurement_is_carried_over_what_the_clock_did_by_itself_and_what_was_done_to_it() -> None:
    clock = BenchClock(SYSTEM, 2e-5, base=Duration.from_s(5.0))
    bench = Bench([clock])
    bench.source("s0", noise_s=1e-9)
    once = bench.source("once", noise_s=1e-9)
    bench.run(1.05)
    once.up = False
    before = _track(bench, "once")
    assert 5.0 == pytest.approx(before.measured_s, abs=1e-3)
    bench.run(60)
    assert 1 <= clock.steps
    after = _track(bench, "once")
    assert before.measured_s == after.measured_s
    # Two samples tell little of the frequency, but of a step they know all.
    assert clock.offset_s == pytest.approx(after.carried_s, abs=0.01)
    good = _track(bench, "s0")
    assert 61 == good.points
    assert clock.offset_s == pytest.approx(good.carried_s, abs=1e-7)
    assert 0 == pytest.approx(good.residual_frequency.ratio, abs=1e-8)


def _track(bench: Bench, name: str):  # type: ignore[no-untyped-def]  # the class is of no interest here
    track = next(view.track for view in overview(bench.controller, bench.now()).sources if view.source == name)
    assert track is not None
    return track


def test_the_frequency_of_a_source_that_disagrees_is_its_own() -> None:
    bench = Bench([BenchClock(SYSTEM, 1e-5)])
    for name in ("a", "b", "c"):
        bench.source(name, noise_s=1e-8)
    bench.source("fast", noise_s=1e-8, error=lambda t: -1e-7 * t)
    bench.run(300)
    # It runs ahead by 1e-7, so that the clock is slow against it; the rest of the error is corrected.
    assert -1e-7 == pytest.approx(_track(bench, "fast").residual_frequency.ratio, rel=0.1)
    assert 0 == pytest.approx(_track(bench, "a").residual_frequency.ratio, abs=1e-8)


def test_the_view_names_the_reference_and_the_last_correction() -> None:
    bench = Bench([BenchClock(SYSTEM, 1e-5)])
    empty = overview(bench.controller, bench.now())
    assert (None, None) == (empty.reference, empty.update)
    bench.source("s0")
    bench.run(100)
    view = overview(bench.controller, bench.now())
    assert "s0" == view.reference
    assert view.update is not None
    assert abs(view.update.offset_s) < 1e-5
    assert 0 < view.update.interval_s < 10
    assert view.update.rms_offset_s > 0
