"""Who follows whom, what a clock says of itself to those that follow, and who may number pulses."""

from __future__ import annotations

import pytest
from servo_support import SYSTEM, Bench, BenchClock, quality, status

from timesync.base.ids import ClockId, SourceId
from timesync.servo.command import CoreSettings
from timesync.servo.view import ServoState, SourceState

PHC, OTHER = ClockId("eth0"), ClockId("eth1")


def _bench(**reference: object) -> Bench:
    """A reference on the system clock; eth0 follows that, and eth1 follows eth0."""
    bench = Bench([BenchClock(SYSTEM, 3e-5, x=0.01), BenchClock(PHC, -2e-5), BenchClock(OTHER, 1e-5)])
    bench.source("gps", **{"noise_s": 1e-6, "delay_s": 1e-4, **reference})  # type: ignore[arg-type]
    bench.source("a->b", clock=PHC, parent=SYSTEM, every_s=0.5, noise_s=2e-8, delay_s=1e-6, quality=None)
    bench.source("b->c", clock=OTHER, parent=PHC, every_s=0.5, noise_s=2e-8, delay_s=1e-6, quality=None)
    bench.source("b->a", clock=SYSTEM, parent=PHC, every_s=0.5, noise_s=2e-8, delay_s=1e-6, quality=None)
    bench.run(90)
    return bench


def test_following_goes_over_any_number_of_clocks_and_never_in_a_circle() -> None:
    bench = _bench()
    lineage = bench.controller.lineage
    assert lineage.follows(PHC, SYSTEM)
    assert lineage.follows(OTHER, PHC)
    assert lineage.follows(OTHER, SYSTEM)
    assert not lineage.follows(SYSTEM, PHC)
    assert not lineage.follows(PHC, OTHER)
    assert not lineage.follows(SYSTEM, SYSTEM)
    back = next(s for s in bench.controller.sources() if s.spec.source == SourceId("b->a"))
    assert (SourceState.CANDIDATE, "clock eth0 itself follows this clock") == (back.ruling.state, back.ruling.reason)


def test_the_root_is_the_outside_reference_with_the_way_to_it() -> None:
    bench = _bench()
    lineage = bench.controller.lineage
    for clock, links in ((SYSTEM, 0), (PHC, 1), (OTHER, 2)):
        root, delay = lineage.root(clock)
        assert root is not None
        assert SourceId("gps") == root.spec.source
        assert 2 * 1e-4 + links * 2e-6 == pytest.approx(delay.s(), rel=0.05)


def test_before_anything_is_known_there_is_no_root_and_no_quality() -> None:
    bench = Bench([BenchClock(SYSTEM, 0.0), BenchClock(PHC, 0.0)])
    root, _ = bench.controller.lineage.root(PHC)
    assert root is None
    assert bench.controller.lineage.quality(SYSTEM, bench.now()) is None


def test_a_clock_says_what_its_root_says_and_adds_what_it_does_not_know_itself() -> None:
    bench = _bench(quality=quality(stratum=1, root_delay=1e-3, dispersion=1e-3))
    lineage, now = bench.controller.lineage, bench.now()
    qualities = {clock: lineage.quality(clock, now) for clock in (SYSTEM, PHC, OTHER)}
    for clock, said in qualities.items():
        assert said is not None
        assert (1, b"GPS\0") == (said.stratum, said.reference_id)
        claim = said.root_delay.s() / 2 + said.root_dispersion.s()
        # The reference's own 1.5 ms, our 0.1 ms of path, and some noise; never less.
        assert 1.6e-3 <= claim < 1.75e-3, clock
        assert abs(bench.clocks[clock].offset_s) < claim


def test_a_clock_alone_says_less_and_less() -> None:
    bench = _bench()
    lineage = bench.controller.lineage
    before = lineage.quality(SYSTEM, bench.now())
    bench.sources[0].up = False
    bench.perform(bench.controller.on_status(status("gps", reach=0), bench.now()))
    bench.run(600)
    after = lineage.quality(SYSTEM, bench.now())
    assert before is not None
    assert after is not None
    assert after.root_dispersion.s() > before.root_dispersion.s() + 600e-6
    assert ServoState.HOLDOVER is bench.state(OTHER), "and those that follow it say that it is on its own"


def test_a_clock_whose_device_has_gone_says_nothing() -> None:
    bench = _bench()
    bench.controller.gone(SYSTEM, "its device has vanished")
    assert bench.controller.lineage.quality(SYSTEM, bench.now()) is None
    assert ServoState.ACQUIRING is bench.state()


def test_the_state_of_a_clock_that_has_gone_stays_what_it_is_until_it_can_be_read() -> None:
    bench = _bench()
    bench.controller.gone(PHC, "its device has vanished")
    for source in bench.sources[1:]:
        source.up = False
    bench.run(40)
    assert ServoState.ACQUIRING is bench.state(PHC)
    for source in bench.sources[1:]:
        source.up = True
    bench.run(20)
    assert ServoState.LOCKED is bench.state(PHC)


def _numbers(bench: Bench, clock: ClockId, **question: object) -> str | None:
    found = bench.controller.lineage.coarse(clock, bench.now(), **question)  # type: ignore[arg-type]
    return None if found is None else found.by


def test_pulses_are_numbered_by_the_best_that_is_known_but_by_themselves() -> None:
    bench = Bench([BenchClock(SYSTEM, 1e-5)])
    bench.source("nmea", noise_s=0.02, delay_s=0.0, quality=quality(dispersion=0.1))
    bench.source("pps", noise_s=1e-7, delay_s=0.0)
    bench.run(30)
    assert "pps" == _numbers(bench, SYSTEM)
    assert "nmea" == _numbers(bench, SYSTEM, apart_from=(SourceId("pps"),))
    assert "nmea" == _numbers(bench, SYSTEM, only=SourceId("nmea"))
    assert _numbers(bench, SYSTEM, apart_from=(SourceId("pps"), SourceId("nmea"))) is None


def test_a_source_that_may_be_half_a_second_off_numbers_nothing() -> None:
    bench = Bench([BenchClock(SYSTEM, 1e-5)])
    bench.source("wide", quality=quality(dispersion=0.5))
    bench.run(30)
    assert _numbers(bench, SYSTEM) is None


def test_a_source_that_is_not_believed_numbers_nothing_and_one_that_is_only_shown_may() -> None:
    bench = Bench([BenchClock(SYSTEM, 1e-5)])
    bench.source("a")
    bench.run(30)
    bench.perform(bench.controller.on_status(status("a", excluded="no fix"), bench.now()))
    assert _numbers(bench, SYSTEM) is None
    bench.perform(bench.controller.on_status(status("a"), bench.now()))
    assert "a" == _numbers(bench, SYSTEM)


def test_pulses_on_a_card_are_numbered_through_the_clock_that_knows() -> None:
    bench = Bench([BenchClock(SYSTEM, 1e-5), BenchClock(PHC, -2e-5)])
    bench.source("nmea", noise_s=0.01, delay_s=0.0, quality=quality(dispersion=0.1))
    bench.source("a->b", clock=PHC, parent=SYSTEM, every_s=0.5, noise_s=2e-8, delay_s=1e-6, quality=None)
    bench.run(60)
    assert "a->b" == _numbers(bench, PHC)
    assert "a->b" == _numbers(bench, PHC, only=SourceId("nmea"))
    assert _numbers(bench, PHC, only=SourceId("somebody else")) is None
    bench.sources[0].up = False
    bench.perform(bench.controller.on_status(status("nmea", excluded="the receiver has no fix"), bench.now()))
    assert _numbers(bench, PHC, only=SourceId("nmea")) is None


def test_who_follows_has_no_longer_a_holdover_than_whom_it_follows() -> None:
    bench = Bench(
        [BenchClock(SYSTEM, 3e-5), BenchClock(PHC, -2e-5)], settings=CoreSettings(served=SYSTEM, holdover_s=100.0)
    )
    bench.source("gps")
    bench.source("a->b", clock=PHC, parent=SYSTEM, every_s=0.5, noise_s=2e-8, delay_s=1e-6, quality=None)
    bench.run(60)
    bench.sources[0].up = False
    bench.perform(bench.controller.on_status(status("gps", reach=0), bench.now()))
    bench.run(60)
    assert (ServoState.HOLDOVER, ServoState.HOLDOVER) == (bench.state(), bench.state(PHC))
    assert "follows a->b, which is in holdover" in bench.controller.standing(PHC).reason
    bench.run(80)
    assert (ServoState.FREERUN, ServoState.FREERUN) == (bench.state(), bench.state(PHC))
    bench.sources[0].up = True
    bench.perform(bench.controller.on_status(status("gps"), bench.now()))
    bench.run(30)
    assert (ServoState.LOCKED, ServoState.LOCKED) == (bench.state(), bench.state(PHC))
