"""The oscillator against closed forms and against the statistics of its noises."""

from __future__ import annotations

import math
from itertools import pairwise
from statistics import fmean

import pytest

from timesync.base.rate import Rate
from timesync.base.time import UNITS_PER_S, Duration
from timesync.sim.oscillator import Oscillator, Quartz, Temperature
from timesync.sim.world import World

S = Duration.from_s(1)
DAY = Duration.from_s(86_400)
PICOSECOND = UNITS_PER_S / 1e12


def gained_s(world: World, oscillator: Oscillator) -> float:
    return (oscillator.elapsed() - world.elapsed.scaled_ns) / UNITS_PER_S


def test_a_constant_error_is_exact_over_days() -> None:
    world = World(1)
    # 2^-15 (30.5 ppm) is exact in binary, so the answer is an integer.
    oscillator = Oscillator(world, "x", Quartz(frequency_error=Rate(2.0**-15)))
    world.run_for(DAY * 3 + Duration(12_345))
    exact = world.elapsed.scaled_ns + (world.elapsed.scaled_ns >> 15)
    assert abs(oscillator.elapsed() - exact) < PICOSECOND


def test_temperature_follows_the_integral_of_its_sine() -> None:
    world = World(1)
    sine = Temperature(amplitude=Rate.from_ppm(1), period=Duration.from_s(600), phase=0.5)
    oscillator = Oscillator(world, "x", Quartz(temperature=(sine,)))
    turn = math.tau / 600
    for seconds in (0.3, 149.9, 300.25, 86_400.75):
        world.run_until(world.start + Duration.from_s(seconds))
        exact = 1e-6 / turn * (math.cos(0.5) - math.cos(turn * seconds + 0.5))
        assert abs(gained_s(world, oscillator) - exact) < 1e-12
        assert oscillator.true_frequency().ratio == pytest.approx(1e-6 * math.sin(turn * seconds + 0.5), abs=1e-13)


def test_ageing_is_a_parabola() -> None:
    world = World(1)
    oscillator = Oscillator(world, "x", Quartz(ageing_per_day=Rate.from_ppb(10)))
    world.run_for(DAY * 2 + Duration.from_s(0.5))
    days = world.elapsed.s() / 86_400
    assert abs(gained_s(world, oscillator) - 10e-9 * days**2 / 2 * 86_400) < 1e-12


def test_a_frequency_step_counts_from_its_moment() -> None:
    world = World(1)
    oscillator = Oscillator(world, "x", Quartz(frequency_error=Rate.from_ppm(-5)))
    world.run_for(Duration.from_s(10.25))
    oscillator.step_frequency(Rate.from_ppm(10))
    assert 5e-6 == pytest.approx(oscillator.true_frequency().ratio)
    world.run_for(Duration.from_s(0.5))
    oscillator.step_frequency(Rate.from_ppm(-2))
    world.run_for(Duration.from_s(100))
    exact = -5e-6 * 10.25 + 5e-6 * 0.5 + 3e-6 * 100
    assert abs(gained_s(world, oscillator) - exact) < 1e-12


def test_looking_changes_nothing() -> None:
    quartz = Quartz(wander=1e-8, white_fm=1e-9, frequency_error=Rate.from_ppm(7))
    ends = []
    for step_s in (0.013, 1.0, 7.7, 100.0):
        world = World(3)
        oscillator = Oscillator(world, "x", quartz)
        while world.elapsed < Duration.from_s(1000):
            oscillator.elapsed()
            world.run_until(min(world.now + Duration.from_s(step_s), world.start + Duration.from_s(1000)))
        ends.append(oscillator.elapsed())
    assert 1 == len(set(ends))


def test_time_runs_forward_and_smoothly() -> None:
    world = World(5)
    oscillator = Oscillator(world, "x", Quartz(wander=1e-7, white_fm=1e-7))
    before, worst = oscillator.elapsed(), 0.0
    for _ in range(2_000):
        frequency = oscillator.true_frequency().ratio
        world.run_for(Duration.from_ns(10_000_000))
        now = oscillator.elapsed()
        worst = max(worst, abs((now - before) / UNITS_PER_S - 0.01 * (1 + frequency)))
        before = now
    # White FM jumps by some 1e-7 between segments; over 10 ms that is a few ns, never more.
    assert worst < 10e-9


@pytest.mark.parametrize("segment_s", [1.0, 0.25, 16.0])
def test_random_walk_fm_has_its_variance(segment_s: float) -> None:
    """Allan variance of random-walk FM: q * tau / 3, on any grid, finer or as coarse as tau."""
    wander, tau, pairs = 1e-9, 16, 3_000
    world = World(11)
    segment = Duration.from_s(segment_s)
    oscillator = Oscillator(world, "x", Quartz(wander=wander, segment=segment))
    phases = []
    for _ in range(2 * pairs + 1):
        phases.append(gained_s(world, oscillator))
        world.run_for(S * tau)
    means = [(b - a) / tau for a, b in pairwise(phases)]
    allan = fmean((b - a) ** 2 / 2 for a, b in pairwise(means))
    # As a ratio, because approx() takes anything below 1e-12 for equal.
    assert 1.0 == pytest.approx(allan / (wander**2 * tau / 3), rel=0.1)


@pytest.mark.parametrize("segment_s", [1.0, 0.3])
def test_random_walk_fm_spreads_with_the_root_of_time(segment_s: float) -> None:
    world = World(13)
    quartz = Quartz(wander=1e-9, segment=Duration.from_s(segment_s))
    many = [Oscillator(world, str(index), quartz) for index in range(1_000)]
    world.run_for(S * 30)
    spread = math.sqrt(fmean(each.true_frequency().ratio ** 2 for each in many))
    phase = math.sqrt(fmean(gained_s(world, each) ** 2 for each in many))
    assert 1e-9 * math.sqrt(30) == pytest.approx(spread, rel=0.08)
    assert 1e-9 * math.sqrt(30**3 / 3) == pytest.approx(phase, rel=0.08)


def test_white_fm_has_its_variance() -> None:
    """Allan variance of white FM falls with 1 / tau."""
    world = World(12)
    oscillator = Oscillator(world, "x", Quartz(white_fm=1e-9))
    for tau in (1, 16):
        phases = []
        for _ in range(3_000):
            phases.append(gained_s(world, oscillator))
            world.run_for(S * tau)
        means = [(b - a) / tau for a, b in pairwise(phases)]
        allan = fmean((b - a) ** 2 / 2 for a, b in pairwise(means))
        assert 1.0 == pytest.approx(allan / (1e-18 / tau), rel=0.1)
