"""Sources far noisier than their stamps: NMEA by shared memory says a microsecond and means twenty milliseconds."""

from __future__ import annotations

import pytest
from servo_support import SYSTEM, Bench, BenchClock, quality

from timesync.servo.view import ServoState


@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("noise_s", [1e-4, 1e-3, 0.02, 0.1])
def test_noise_beyond_all_claims_is_noticed_and_averaged(seed: int, noise_s: float) -> None:
    bench = Bench([BenchClock(SYSTEM, 2e-5, x=0.05)], seed=seed)
    bench.source("rough", noise_s=noise_s, delay_s=0.0, quality=quality(dispersion=noise_s))
    wrong: list[float] = []

    def watch() -> None:
        model = bench.controller.clocks[SYSTEM]
        if bench.t > 60 and bench.state() is ServoState.LOCKED and model.fusion.ready:
            error = abs(bench.clocks[SYSTEM].offset_s)
            if error > bench.bound_s():
                wrong.append(bench.t)

    bench.watch = watch
    bench.run(600)
    assert [] == wrong
    assert ServoState.LOCKED is bench.state()
    assert abs(bench.clocks[SYSTEM].offset_s) < noise_s
    # Of the noise of a sample a small part is left in the clock, and nothing runs away.
    assert abs(bench.clocks[SYSTEM].rate + 2e-5) < max(noise_s * 1e-3, 1e-7)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_source_that_becomes_ten_thousand_times_noisier_is_seen_to(seed: int) -> None:
    bench = Bench([BenchClock(SYSTEM, 2e-5)], seed=seed)
    source = bench.source("once good", noise_s=1e-7, delay_s=0.0, quality=quality(dispersion=0.01))
    bench.run(300)
    assert abs(bench.clocks[SYSTEM].offset_s) < 1e-6
    source.noise_s = 1e-3
    bench.run(600)
    assert abs(bench.clocks[SYSTEM].offset_s) < 2e-3
    assert abs(bench.clocks[SYSTEM].offset_s) < bench.bound_s()
    assert abs(bench.clocks[SYSTEM].rate + 2e-5) < 2e-5


@pytest.mark.parametrize("frequency", [3e-4, -3e-3])
def test_a_clock_worse_than_any_crystal_is_caught_all_the_same(frequency: float) -> None:
    """A virtual clock or a broken one: what looks like noise at first turns out to be its frequency."""
    bench = Bench([BenchClock(SYSTEM, frequency)])
    bench.source("good", noise_s=1e-7, delay_s=0.0)
    bench.run(300)
    assert ServoState.LOCKED is bench.state()
    assert abs(bench.clocks[SYSTEM].offset_s) < 2e-6
