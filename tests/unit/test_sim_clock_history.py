"""What a simulated clock read earlier, and when it read something."""

from __future__ import annotations

from random import Random

import pytest
from sim_support import make_clock

from timesync.base.measure import StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant
from timesync.sim.clock import SimClock
from timesync.sim.oscillator import HISTORY, Oscillator, Quartz
from timesync.sim.world import World

S = Duration.from_s(1)
NOISY = Quartz(frequency_error=Rate.from_ppm(-40), wander=1e-8, white_fm=1e-8)


def test_an_oscillator_remembers_what_it_counted_to_the_last_unit() -> None:
    world = World(3)
    oscillator = Oscillator(world, "x", NOISY)
    seen: list[tuple[int, int]] = []
    rng = Random(5)
    for index in range(40):
        world.run_for(Duration(rng.randrange(S.scaled_ns // 3)))
        seen.append((world.units, oscillator.elapsed()))
        if index % 7 == 0:
            oscillator.step_frequency(Rate.from_ppm(rng.uniform(-20, 20)))
    for at, count in seen:
        assert count == oscillator.elapsed_at(at)


def test_an_oscillator_forgets_and_does_not_prophesy() -> None:
    world = World(3)
    oscillator = Oscillator(world, "x", NOISY)
    world.run_for(S * 100)
    oscillator.elapsed_at(world.units - HISTORY)
    with pytest.raises(ValueError, match="forgotten"):
        oscillator.elapsed_at(world.units - 2 * HISTORY)
    with pytest.raises(ValueError, match="future"):
        oscillator.elapsed_at(world.units + 1)


def _steered(world: World, clock: SimClock, seconds: int) -> list[tuple[int, Instant, int]]:
    """Steer and step it about; what it showed, when, in which epoch."""
    rng, seen = Random(9), []
    for index in range(seconds * 4):
        world.run_for(Duration(S.scaled_ns // 4 + rng.randrange(1000)))
        seen.append((world.units, clock.exact(), clock.epoch))
        clock.adjust_frequency(Rate.from_ppm(rng.uniform(-400, 400)))
        if index % 13 == 12:
            clock.step(Duration.from_s(rng.uniform(0.1, 0.9)))
    return seen


def test_a_clock_remembers_its_readings_and_their_epochs() -> None:
    world = World(4)
    clock = make_clock(world, NOISY)
    for at, reading, epoch in _steered(world, clock, 12):
        stamp = clock.stamp_at(at - 1, StampSource.KERNEL)
        assert stamp is not None
        assert epoch == stamp.epoch
        assert abs(stamp.at.scaled_ns - reading.scaled_ns) <= 65_536


def test_a_reading_leads_back_to_its_moment() -> None:
    world = World(4)
    clock = make_clock(world, NOISY)
    for at, reading, epoch in _steered(world, clock, 12):
        found = clock.true_at(reading, epoch)
        assert found is not None
        # A unit of rounding each way, at most 500 ppm of a clock that never stands.
        assert abs(found - at) <= 3


def test_a_reading_that_came_twice_is_told_apart_by_its_epoch() -> None:
    world = World(1)
    clock = make_clock(world)
    world.run_for(S * 5)
    first = world.units - S.scaled_ns
    reading = clock.exact() - S
    clock.step(-S * 2)
    world.run_for(S * 3)
    assert first == clock.true_at(reading, 0)
    assert first + 2 * S.scaled_ns == clock.true_at(reading, 1)
    assert first + 2 * S.scaled_ns == clock.true_at(reading)
    assert clock.true_at(reading, 2) is None


def test_a_reading_that_was_stepped_over_or_is_forgotten_has_no_moment() -> None:
    world = World(1)
    clock = make_clock(world)
    world.run_for(S * 2)
    clock.step(S * 10)
    world.run_for(S * 2)
    assert clock.true_at(clock.exact() - S * 5) is None
    world.run_for(S * 60)
    assert clock.true_at(clock.exact() - S * 40) is None
    assert clock.stamp_at(world.units - 60 * S.scaled_ns, StampSource.KERNEL) is None


def test_a_moment_to_come_is_told_by_the_present_frequency() -> None:
    world = World(1)
    clock = make_clock(world, Quartz(frequency_error=Rate.from_ppm(100)))
    reading = clock.exact() + S
    at = clock.true_at(reading)
    assert at is not None
    assert 1 / 1.0001 == pytest.approx((at - world.units) / S.scaled_ns, abs=1e-12)
    stamp = clock.stamp_at(at, StampSource.KERNEL)
    assert stamp is not None
    assert abs((stamp.at - reading).ns()) <= 1


def test_a_clock_that_restarts_begins_anew() -> None:
    world = World(1)
    clock = make_clock(world, Quartz(frequency_error=Rate.from_ppm(10)))
    clock.adjust_frequency(Rate.from_ppm(50))
    world.run_for(S * 3)
    clock.restart()
    assert Duration(0) == clock.true_offset()
    assert Rate(0.0) == clock.frequency()
    assert 1 == clock.epoch
    assert 10.0 == pytest.approx(clock.true_frequency().ppm())
