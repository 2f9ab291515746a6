"""The simulated clock as ``timesync.host.Clock``."""

from __future__ import annotations

from fractions import Fraction
from statistics import fmean, pstdev

import pytest
from sim_support import MS, leap_table, make_clock

from timesync.base.measure import Leap, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import SYSTEM_MAP
from timesync.base.time import NS_PER_S, UNITS_PER_S, Duration, Instant, Tai
from timesync.host import Clock, ClockError, ClockReport, Trouble
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.oscillator import Oscillator, Quartz
from timesync.sim.world import World

S = Duration.from_s(1)


def test_it_is_a_clock() -> None:
    clock: Clock = make_clock(World(1), name="eth0")
    assert "eth0" == clock.id
    assert "system" == clock.kind
    assert 0 == clock.epoch
    assert 500.0 == pytest.approx(clock.limits.max_frequency.ppm())


def test_frequency_is_clamped_and_quantised_as_the_kernel_does() -> None:
    clock = make_clock(World(1))
    assert Rate.from_kernel(1) == clock.adjust_frequency(Rate.from_kernel(1) + Rate(0.3 / 65_536e6))
    assert Rate.from_ppm(500).to_kernel() == clock.adjust_frequency(Rate.from_ppm(900)).to_kernel()
    assert Rate.from_ppm(-500).to_kernel() == clock.adjust_frequency(Rate.from_ppm(-900)).to_kernel()
    assert Rate.from_ppm(-500).to_kernel() == clock.frequency().to_kernel()


def test_many_changes_of_frequency_lose_nothing() -> None:
    """Against exact fractions, with readings in between."""
    world = World(1)
    clock = make_clock(world)
    exact = Fraction(0)
    for index in range(1_000):
        taken = clock.adjust_frequency(Rate.from_kernel(37 * index - 11_111)).to_kernel()
        span = 1_234_567_891 * (index + 1)
        world.run_for(Duration(span))
        exact += span + Fraction(span * taken, 65_536_000_000)
        clock.read()
    assert int(exact // 1) == clock.elapsed()


def test_a_step_changes_reading_and_epoch_at_once() -> None:
    world = World(1)
    clock = make_clock(world, model=ClockModel(offset=MS * 10))
    assert MS * 10 == clock.true_offset()
    clock.step(-MS * 10)
    assert Duration(0) == clock.true_offset()
    assert 1 == clock.epoch
    assert 1 == clock.read().epoch
    assert 0 == clock.elapsed()


def test_somebody_elses_step_is_told_once() -> None:
    clock = make_clock(World(1))
    assert clock.check_foreign() is None
    clock.disturb(S * 2)
    assert S * 2 == clock.true_offset()
    assert 0 == clock.epoch
    assert "something else stepped the clock system by 2 s" == clock.check_foreign()
    assert 1 == clock.epoch
    assert clock.check_foreign() is None
    assert 1 == clock.read().epoch


def test_offset_follows_oscillator_and_steering() -> None:
    world = World(1)
    clock = make_clock(world, Quartz(frequency_error=Rate.from_ppm(20)))
    world.run_for(S * 100)
    assert 2e-3 == pytest.approx(clock.true_offset().s(), abs=1e-12)
    clock.adjust_frequency(Rate.from_ppm(-20))
    world.run_for(S * 100)
    # (1 + 20e-6) (1 - 20e-6) leaves 0.4 ppb less.
    assert 2e-3 - 4e-8 == pytest.approx(clock.true_offset().s(), abs=1e-10)
    assert -4e-10 == pytest.approx(clock.true_frequency().ratio, abs=1e-12)


def test_a_tick_delays_the_change_of_frequency() -> None:
    world = World(1)
    clock = make_clock(world, model=ClockModel(tick=MS * 10))
    assert MS * 10 == clock.limits.frequency_latency
    world.run_for(MS * 13)
    clock.adjust_frequency(Rate.from_ppm(100))
    clock.adjust_frequency(Rate.from_ppm(200))
    assert 200.0 == pytest.approx(clock.frequency().ppm(), abs=1e-4)
    world.run_for(MS * 7)
    assert Duration(0) == clock.true_offset()
    world.run_for(S)
    assert 200e-6 == pytest.approx(clock.true_offset().s(), abs=1e-8)


def test_others_have_the_processor_after_a_change_of_frequency() -> None:
    world = World(1)
    clock = make_clock(world, model=ClockModel(held_up_s=5e-3))
    happened: list[float] = []
    world.after(Duration.from_ns(1000), lambda: happened.append(world.elapsed.s()))
    spans = []
    for _ in range(2000):
        began = world.elapsed
        clock.adjust_frequency(Rate.from_ppm(100))
        spans.append((world.elapsed - began).s())
    assert 5e-3 == pytest.approx(sum(spans) / len(spans), rel=0.1)
    assert [1e-6] == happened, "the world does not wait for the daemon"
    assert world.elapsed.s() * 1e-4 == pytest.approx(clock.true_offset().s(), rel=1e-3), (
        "and the change holds meanwhile"
    )


def test_the_oscillator_alone_is_as_fast_as_it_is() -> None:
    world = World(1)
    clock = make_clock(world, Quartz(frequency_error=Rate.from_ppm(20)))
    clock.adjust_frequency(Rate.from_ppm(-300))
    assert 20.0 == pytest.approx(clock.free_frequency().ppm(), abs=1e-9)


def test_stamps_are_whole_nanoseconds_with_noise() -> None:
    world = World(4)
    clock = make_clock(world, model=ClockModel(read_noise_s=100e-9))
    errors = []
    for _ in range(4_000):
        world.run_for(Duration(1_000_003))
        stamp = clock.read()
        assert stamp.at.scaled_ns % 65_536 == 0
        errors.append((stamp.at - world.now).s())
    assert StampSource.USER == stamp.source
    assert 100e-9 == pytest.approx(pstdev(errors), rel=0.1)
    assert 0.0 == pytest.approx(fmean(errors), abs=1e-8)
    assert Duration.from_ns(100) == clock.limits.precision


def test_reports_and_failures() -> None:
    clock = make_clock(World(1))
    report = ClockReport(synchronized=True, estimated_error=MS, maximum_error=MS * 2, leap=Leap.NONE, tai_utc=37)
    clock.report(report)
    assert [report] == clock.reports
    clock.failure = ClockError(Trouble.PERMISSION, "no", "run it as root")
    for call in (
        lambda: clock.step(MS),
        lambda: clock.adjust_frequency(Rate(0.0)),
        lambda: clock.report(report),
    ):
        with pytest.raises(ClockError):
            call()
    assert Duration(0) == clock.true_offset()


def test_kernel_timestamps_repeat_in_a_leap_second() -> None:
    # 2016-12-31 23:59:59 UTC + 36 s.
    start: Instant[Tai] = Instant((1_483_228_799 + 36) * UNITS_PER_S)
    world = World(1, start)
    clock = make_clock(world)
    seen = []
    for _ in range(4):
        seen.append(clock.utc_ns() // NS_PER_S - 1_483_228_800)
        world.run_for(S)
    assert [-1, -1, 0, 1] == seen


def test_the_map_of_a_virtual_clock_turns_kernel_time_into_its_own() -> None:
    world = World(1)
    system = make_clock(world, Quartz(frequency_error=Rate.from_ppm(-30)))
    model = ClockModel(offset=MS * 250)
    bench = SimClock(world, Oscillator(world, "bench", Quartz()), leap_table(), model, "bench", system)
    bench.adjust_frequency(Rate.from_ppm(50))
    assert "virtual" == bench.kind
    assert SYSTEM_MAP == system.serving_map()
    world.run_for(S * 7)
    serving = bench.serving_map()
    world.run_for(S * 100)
    assert abs(bench.utc_ns() - serving.utc_ns(system.utc_ns())) <= 2
