"""What servers and status are told."""

from __future__ import annotations

from dataclasses import replace

import pytest
from servo_support import SYSTEM, Bench, BenchClock, quality, status

from timesync.base.measure import Leap
from timesync.servo.command import CoreSettings
from timesync.servo.overview import LOCAL_REFERENCE, overview
from timesync.servo.view import ServoState, SourceState


def _locked(*leaps: Leap, stratum: int = 2) -> Bench:
    bench = Bench([BenchClock(SYSTEM, 1e-5)])
    for n, leap in enumerate(leaps):
        bench.source(f"s{n}", quality=quality(stratum, leap, root_delay=0.01, dispersion=0.002))
    bench.run(100)
    assert ServoState.LOCKED is bench.state()
    return bench


def test_a_follower_is_one_stratum_further_than_its_source() -> None:
    bench = _locked(Leap.NONE)
    view = overview(bench.controller, bench.now())
    assert (3, b"s0\0\0", Leap.NONE) == (view.stratum, view.reference_id, view.leap)
    # The source's own 10 ms and a round trip of twice 100 µs.
    assert 0.0102 == pytest.approx(view.root_delay.s(), abs=2e-6)
    bound = bench.bound_s()
    assert bound == pytest.approx(view.root_delay.s() / 2 + view.root_dispersion.s(), abs=1e-9)
    assert view.root_dispersion.s() > 0.002
    assert view.dispersion_rate > 0
    (source,), (clock,) = view.sources, view.clocks
    assert (SourceState.SELECTED, ("s0",)) == (source.state, clock.fed_by)
    assert 1e-5 == pytest.approx(clock.frequency.ratio, abs=1e-8)
    assert view.reference_time is not None
    assert (source.source, None) == (view.reference, view.holdover_left)
    # As it says of itself.
    assert (0.01, 0.002) == (source.root_delay_s, source.root_dispersion_s)


@pytest.mark.parametrize(
    ("leaps", "expected"),
    [
        ((Leap.INSERT, Leap.INSERT, Leap.NONE), Leap.INSERT),
        ((Leap.INSERT, Leap.NONE, Leap.NONE), Leap.NONE),
        ((Leap.DELETE,), Leap.DELETE),
        ((Leap.INSERT, Leap.DELETE), Leap.NONE),
    ],
)
def test_a_leap_needs_more_than_half(leaps: tuple[Leap, ...], expected: Leap) -> None:
    bench = _locked(*leaps)
    assert expected is overview(bench.controller, bench.now()).leap


def test_before_the_first_lock_nothing_is_claimed_unless_told_to() -> None:
    bench = Bench([BenchClock(SYSTEM, 0.0)])
    view = overview(bench.controller, bench.now())
    assert (16, Leap.UNKNOWN, ServoState.ACQUIRING) == (view.stratum, view.leap, view.state)
    bench.controller.configure(CoreSettings(served=SYSTEM, local_stratum=10))
    view = overview(bench.controller, bench.now())
    assert (10, LOCAL_REFERENCE, Leap.NONE) == (view.stratum, view.reference_id, view.leap)


def test_holdover_keeps_the_stratum_and_freerun_does_not() -> None:
    bench = _locked(Leap.NONE)
    bench.controller.configure(replace(bench.controller.settings, holdover_s=100.0))
    bench.sources[0].up = False
    bench.perform(bench.controller.on_status(status("s0", reach=0), bench.now()))
    bench.run(70)
    view = overview(bench.controller, bench.now())
    assert (ServoState.HOLDOVER, 3) == (view.state, view.stratum)
    assert view.fed_at is not None
    assert view.holdover_left is not None
    assert 25 < view.holdover_left.s() < 35
    assert 100.0 == pytest.approx((view.at - view.fed_at + view.holdover_left).s())
    bench.run(100)
    view = overview(bench.controller, bench.now())
    assert (ServoState.FREERUN, 16, Leap.UNKNOWN) == (view.state, view.stratum, view.leap)
    assert (None, None) == (view.reference, view.holdover_left)


def test_a_source_of_stratum_fifteen_makes_no_server() -> None:
    bench = _locked(Leap.NONE, stratum=15)
    assert 16 == overview(bench.controller, bench.now()).stratum


def test_a_leap_that_was_announced_is_announced_in_holdover_too() -> None:
    bench = _locked(Leap.INSERT)
    bench.sources[0].up = False
    bench.perform(bench.controller.on_status(status("s0", reach=0), bench.now()))
    bench.run(70)
    view = overview(bench.controller, bench.now())
    assert (ServoState.HOLDOVER, Leap.INSERT) == (view.state, view.leap)
