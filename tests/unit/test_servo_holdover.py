"""How far a clock may run away on its own, from what it was seen to do."""

from __future__ import annotations

import pytest
from servo_support import SYSTEM, Bench, BenchClock, status

from timesync.servo.command import ClockSpec
from timesync.servo.holdover import UNMODELLED, Habits, Roaming
from timesync.servo.view import ServoState


def _hours(roaming: Roaming, count: int, swing: float, start: float = 0.0) -> float:
    """Watch so many hours, in each of which the frequency goes once through ``swing``; returns the end."""
    at = start
    for _ in range(count):
        for minute in range(60):
            roaming.observe(at, swing * minute / 59, 1e-12)
            at += 60.0
    roaming.observe(at, 0.0, 1e-12)
    return at


def test_before_three_hours_the_worst_is_assumed() -> None:
    roaming = Roaming()
    assert UNMODELLED == roaming.growth
    _hours(roaming, 2, 1e-9)
    assert UNMODELLED == roaming.growth


def test_after_three_hours_twice_what_was_seen_is_assumed() -> None:
    roaming = Roaming()
    _hours(roaming, 3, 5e-8)
    assert pytest.approx(1e-7, rel=0.05) == roaming.growth


def test_no_crystal_is_believed_to_stand_still_nor_to_be_worse_than_unknown() -> None:
    calm, wild = Roaming(), Roaming()
    _hours(calm, 4, 0.0)
    _hours(wild, 4, 1e-3)
    assert 1e-8 == calm.growth
    assert UNMODELLED == wild.growth


def test_the_worst_hour_of_the_day_counts_and_is_forgotten_after_it() -> None:
    roaming = Roaming()
    at = _hours(roaming, 1, 3e-7)
    at = _hours(roaming, 10, 1e-8, at)
    assert pytest.approx(6e-7, rel=0.05) == roaming.growth
    _hours(roaming, 24, 1e-8, at)
    assert pytest.approx(2e-8, rel=0.05) == roaming.growth


def test_an_hour_that_was_not_watched_to_its_end_does_not_count() -> None:
    roaming = Roaming()
    at = _hours(roaming, 2, 1e-8)
    for _ in range(10):
        # Fifty minutes, then a quarter of an hour without a lock.
        for _ in range(50):
            roaming.observe(at, 0.0, 1e-12)
            at += 60.0
        roaming.lost()
        at += 900.0
    assert UNMODELLED == roaming.growth
    at += 3600.0
    for _ in range(50):
        roaming.observe(at, 0.0, 1e-12)
        at += 60.0
    at += 1000.0
    roaming.observe(at, 0.0, 1e-12)
    assert UNMODELLED == roaming.growth, "it was not watched for more than a quarter of an hour"


def test_a_frequency_that_is_not_known_makes_no_clock_restless() -> None:
    roaming = Roaming()
    at = 0.0
    for minute in range(4 * 60 + 1):
        roaming.observe(at, 1e-5 if minute % 7 == 0 else 0.0, 2e-6 if minute % 7 == 0 else 1e-12)
        at += 60.0
    assert 1e-8 == roaming.growth


def test_the_first_temperature_is_the_reference_unless_one_was_remembered() -> None:
    fresh = Habits()
    assert (0.0, 0.0) == fresh.warmed(0, 50.0, None)
    assert 50.0 == fresh.celsius
    known = Habits(40.0, 1e-7, 1e-9)
    relearnt, environment = known.warmed(0, 50.0, None)
    assert 0.0 == relearnt
    assert pytest.approx(1e-6) == environment


def test_a_better_slope_says_what_was_ascribed_wrongly_so_far() -> None:
    habits = Habits(40.0, 2e-7, 1e-8)
    habits.warmed(0, 40.0, None)
    total = 0.0
    for step in range(1, 200):
        celsius = 40.0 + (step % 10)
        relearnt, environment = habits.warmed(300.0 * step, celsius, 1e-7 * (celsius - 40.0))
        total += relearnt
        assert pytest.approx(habits.thermal.slope * (celsius - 40.0), abs=1e-12) == environment
    assert pytest.approx(1e-7, rel=0.02) == habits.thermal.slope
    assert total != 0.0


def test_the_claim_of_a_clock_alone_covers_twice_the_worst_hour() -> None:
    """Four hours with a draught of 0.1 ppm now and then, and one more when nobody watches."""
    bench = Bench([BenchClock(SYSTEM, 1e-5)])
    bench.source("a", every_s=8.0, noise_s=1e-7, delay_s=0.0)
    for minute in range(4 * 60):
        bench.clocks[SYSTEM].frequency = 1e-5 + (1e-7 if minute % 60 >= 30 else 0.0)
        bench.run(60)
    assert 1.5e-7 < bench.controller.clocks[SYSTEM].growth < 5e-7
    bench.sources[0].up = False
    bench.perform(bench.controller.on_status(status("a", reach=0), bench.now()))
    assert ServoState.HOLDOVER is bench.state(), "at once, not with the next measurement that does not come"
    before = bench.bound_s()
    bench.clocks[SYSTEM].frequency = 1e-5 + 2e-7
    bench.run(3000)
    assert bench.bound_s() > before + 3000 * 1.5e-7
    assert abs(bench.clocks[SYSTEM].offset_s) < bench.bound_s()


def _bound_s(tolerance: float, after: float) -> float:
    """What is claimed so long after the last of two minutes' samples, one a second."""
    spec = ClockSpec(clock=SYSTEM, disciplined=True, max_frequency=0.1, tolerance=tolerance)
    bench = Bench([BenchClock(SYSTEM, 2e-5)], specs=[spec])
    source = bench.source("s", noise_s=1e-6)
    bench.run(120.05)
    source.up = False
    bench.run(after)
    bound = bench.controller.clocks[SYSTEM].error_bound_s(bench.reading(SYSTEM), bench.now().mono)
    assert bound is not None
    return bound


@pytest.mark.parametrize("after", [10.0, 1000.0])
def test_a_clock_that_may_jump_by_so_much_claims_that_it_did_until_a_sample_says_otherwise(after: float) -> None:
    untold, told = _bound_s(0.0, after), _bound_s(1e-5, after)
    assert (1e-5 - UNMODELLED) * after == pytest.approx(told - untold, rel=0.05, abs=2e-5)
    assert untold == _bound_s(UNMODELLED / 2, after), "what is learnt, or not known yet, counts where it is more"
