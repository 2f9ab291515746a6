"""What temperature does to a crystal: learnt from differences, used in holdover."""

from __future__ import annotations

import math
import random

import pytest
from servo_support import SYSTEM, Bench, BenchClock

from timesync.servo.command import CoreSettings
from timesync.servo.thermal import Thermal
from timesync.servo.view import ServoState

PER_DEGREE = 1e-7
"""0.1 ppm for each degree."""


def _day(seconds: float) -> float:
    """Degrees of a room of 40 °C that swings by 5 °C within a day."""
    return 40.0 + 5.0 * math.sin(2 * math.pi * seconds / 86_400)


def _taught(*, noise: float = 0.0, noise_c: float = 0.0, hours: float = 24, slope: float = PER_DEGREE) -> Thermal:
    rng = random.Random(5)
    thermal = Thermal()
    for step in range(int(hours * 120)):
        at = 30.0 * step
        thermal.observe(at, _day(at) + rng.gauss(0, noise_c), slope * (_day(at) - 40) + rng.gauss(0, noise))
    return thermal


def test_nothing_is_known_at_first() -> None:
    thermal = Thermal()
    assert 0.0 == thermal.slope
    assert (0.0, math.inf) == thermal.learnt


def test_the_slope_is_found_from_a_swing() -> None:
    thermal = _taught(noise=1e-10)
    assert math.isclose(PER_DEGREE, thermal.slope, rel_tol=0.02)
    assert thermal.learnt[1] < 0.02 * PER_DEGREE


def test_a_negative_slope_is_one_too() -> None:
    assert math.isclose(-PER_DEGREE, _taught(slope=-PER_DEGREE).slope, rel_tol=0.02)


def test_a_thermometer_that_shows_only_its_own_noise_teaches_nothing() -> None:
    rng = random.Random(1)
    thermal = Thermal()
    for step in range(2000):
        thermal.observe(30.0 * step, 40 + rng.gauss(0, 0.05), rng.gauss(0, 1e-8))
    assert 0.0 == thermal.slope


def test_a_frequency_that_does_not_care_gives_no_slope() -> None:
    assert 0.0 == _taught(slope=0.0, noise=1e-9).slope


def test_a_random_walk_does_not_pass_for_an_effect_of_temperature() -> None:
    """Both are slow: compared directly they would seem to belong together."""
    found = 0
    for seed in range(40):
        rng = random.Random(seed)
        thermal, walk = Thermal(), 0.0
        for step in range(2 * 2880):
            walk += rng.gauss(0, 5e-9)
            thermal.observe(30.0 * step, _day(30.0 * step), walk)
        found += thermal.slope != 0.0
    assert found <= 1


def test_a_crystal_steeper_than_any_is_not_believed() -> None:
    assert 5e-6 == _taught(slope=1e-4).slope


def test_what_was_remembered_is_used_at_once_and_bettered() -> None:
    thermal = Thermal(2e-7, 1e-8)
    assert 2e-7 == thermal.slope
    for step in range(2880):
        at = 30.0 * step
        thermal.observe(at, _day(at), PER_DEGREE * (_day(at) - 40))
    assert math.isclose(PER_DEGREE, thermal.slope, rel_tol=0.02)


def test_a_difference_over_a_time_without_lock_is_not_taken() -> None:
    thermal = Thermal()
    assert not thermal.observe(0, 40.0, 0.0)
    thermal.lost()
    assert not thermal.observe(300, 45.0, 1e-3)
    assert not thermal.observe(400, 46.0, 1e-3), "a crystal does not feel a change as soon as the sensor does"
    assert not thermal.observe(900, 45.1, 1e-3), "too small to be told from the noise of the sensor"
    assert thermal.observe(1200, 46.0, 1e-3)
    assert not thermal.observe(1200 + 1500, 47.0, 1e-3), "nobody watched for so long"


def _two_hours_alone(seed: int, *, thermometer: bool) -> tuple[float, float]:
    """A day beside a pulse, then two hours without: true offset and claimed bound at the end."""
    bench = Bench([BenchClock(SYSTEM, 2e-5)], seed=seed, settings=CoreSettings(served=SYSTEM, holdover_s=4 * 3600))
    pulses = bench.source("pps", every_s=16.0, noise_s=1e-7, delay_s=0.0)
    rng = random.Random(seed)
    walk = 0.0
    day = 86_400 + seed * 2_000.0
    for step in range(int((day + 7200) / 30)):
        at = step * 30.0
        if at >= day and pulses.up:
            pulses.up = False
            assert ServoState.LOCKED is bench.state()
            bench.perform(bench.controller.remove_source(pulses.spec.source, bench.now()))
        walk += rng.gauss(0, 1e-11 * math.sqrt(30))
        bench.clocks[SYSTEM].frequency = 2e-5 + PER_DEGREE * (_day(at) - 40) + walk
        if thermometer:
            seen = round((_day(at) + rng.gauss(0, 0.02)) * 1000) / 1000
            bench.perform(bench.controller.on_temperature(SYSTEM, seen, bench.now()))
        bench.run(30)
        bound = bench.bound_s() if at > 3600 else math.inf
        assert abs(bench.clocks[SYSTEM].offset_s) <= bound
    assert ServoState.HOLDOVER is bench.state()
    return bench.clocks[SYSTEM].offset_s, bench.bound_s()


@pytest.mark.parametrize("seed", [4])
def test_a_thermometer_makes_two_hours_of_holdover_three_times_better(seed: int) -> None:
    blind, _ = _two_hours_alone(seed, thermometer=False)
    feeling, _ = _two_hours_alone(seed, thermometer=True)
    assert abs(blind) > 50e-6, "the swing does nothing, and so this shows nothing"
    assert abs(feeling) < abs(blind) / 3
