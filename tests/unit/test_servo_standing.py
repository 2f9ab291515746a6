"""How far a clock can be trusted, and what is said of it."""

from __future__ import annotations

from dataclasses import replace

from servo_support import SYSTEM, Bench, BenchClock, mono, status

from timesync.base.ids import LinkId, SourceId
from timesync.base.machine import Noted
from timesync.servo.clock_model import Estimate
from timesync.servo.command import CoreSettings, SourceSpec
from timesync.servo.overview import overview
from timesync.servo.standing import Standing
from timesync.servo.view import ServoState


def _estimate(offset: float) -> Estimate:
    return Estimate(offset, 1e-6, 0.0, 1e-9)


def _bench() -> Bench:
    bench = Bench([BenchClock(SYSTEM, 0.0)])
    bench.source("a")
    bench.run(5)
    return bench


def _state(standing: Standing) -> ServoState:
    return standing.state


def _fed(holdover_s: float = 100.0) -> tuple[Standing, Bench]:
    bench = _bench()
    standing = Standing(CoreSettings(served=SYSTEM, holdover_s=holdover_s))
    model = bench.controller.clocks[SYSTEM]
    standing.fed(model, list(model.sources.values()), bench.now())
    return standing, bench


def test_a_lock_needs_three_updates_and_a_small_offset() -> None:
    standing, _ = _fed()
    standing.judge(_estimate(0.0), 1e-3, 2, mono(6))
    assert ServoState.ACQUIRING is _state(standing)
    standing.judge(_estimate(8e-6), 1e-3, 3, mono(6))
    assert ServoState.ACQUIRING is _state(standing)
    standing.judge(_estimate(6.9e-6), 1e-3, 3, mono(6))
    assert ServoState.LOCKED is _state(standing)
    assert "follows a" in standing.reason
    assert ["locked"] == [note.name for note in standing.notes() if isinstance(note, Noted)]
    assert [] == standing.notes()


def test_what_the_network_says_is_part_of_the_reason() -> None:
    """From the first request on, and how many were asked is kept up to date."""
    bench = Bench([BenchClock(SYSTEM, 0.0)])
    for name in ("a", "b"):
        asked = SourceSpec(source=SourceId(name), name=name, link=LinkId(name), clock=SYSTEM, poll=(4, 10))
        bench.controller.add_source(asked)
    reasons = []
    for sent in (1, 4, 8, 9):
        for name in ("a", "b"):
            silent = replace(status(name, reach=0, sent=sent), received=0, trouble="Connection refused")
            bench.controller.on_status(silent, bench.now())
        view = overview(bench.controller, bench.now())
        reasons.append(view.sources[0].reason)
    assert [
        "no measurement yet (Connection refused)",
        "none of the last 4 requests was answered (Connection refused)",
        "none of the last 8 requests was answered (Connection refused)",
        "none of the last 8 requests was answered (Connection refused)",
    ] == reasons
    assert "no source answers (Connection refused)" == view.reason

    other = replace(status("b", reach=0), received=0, trouble="No route to host")
    bench.controller.on_status(other, bench.now())
    view = overview(bench.controller, bench.now())
    assert "none of the last 8 requests was answered (No route to host)" == view.sources[1].reason
    assert "no source answers" == view.reason


def test_holdover_lasts_as_long_as_configured() -> None:
    standing, bench = _fed(100.0)
    standing.judge(_estimate(0.0), 1e-3, 3, mono(5))
    bench.controller.on_status(status("a", reach=0), bench.now())
    standing.fed(bench.controller.clocks[SYSTEM], [], bench.now())
    standing.judge(_estimate(0.0), 1e-3, 3, mono(104))
    assert ServoState.HOLDOVER is _state(standing)
    assert "the only source does not answer" in standing.reason
    standing.judge(_estimate(0.0), 1e-3, 3, mono(106))
    assert ServoState.FREERUN is _state(standing)


def test_a_clock_that_runs_freely_goes_on_saying_for_how_long_and_how_badly() -> None:
    standing, bench = _fed(100.0)
    standing.judge(_estimate(0.0), 1e-3, 3, mono(5))
    standing.fed(bench.controller.clocks[SYSTEM], [], bench.now())
    standing.judge(_estimate(0.0), 1e-3, 3, mono(106))
    assert ServoState.FREERUN is _state(standing)
    assert "no usable source for 1.68 min; the error may have grown to 1 ms" == standing.reason
    standing.judge(_estimate(0.0), 4e-3, 3, mono(405))
    assert "no usable source for 6.67 min; the error may have grown to 4 ms" == standing.reason
    assert ["locked", "freerun"] == [note.name for note in standing.notes() if isinstance(note, Noted)]

    standing.configure(CoreSettings(served=SYSTEM, holdover_s=1000.0))
    standing.judge(_estimate(0.0), 5e-3, 3, mono(505))
    assert (ServoState.FREERUN, []) == (_state(standing), standing.notes())


def test_a_clock_that_was_never_fed_goes_on_waiting() -> None:
    standing = Standing(CoreSettings(served=SYSTEM))
    standing.judge(_estimate(0.0), 1e-3, 0, mono(1e6))
    assert ServoState.ACQUIRING is _state(standing)


def test_a_fault_is_said_once_and_ends_when_the_offset_is_small() -> None:
    standing, _ = _fed()
    for _ in range(2):
        standing.refused(2000.0, 1000.0)
    assert (ServoState.FAULT, 1) == (standing.state, len(standing.notes()))
    standing.judge(_estimate(2000.0), 1e-3, 5, mono(6))
    assert ServoState.FAULT is _state(standing)
    standing.judge(_estimate(0.0), 1e-3, 5, mono(7))
    assert ServoState.LOCKED is _state(standing)


def test_only_a_clock_with_references_of_its_own_coasts() -> None:
    standing, _ = _fed()
    assert not standing.coasting
    standing.judge(_estimate(0.0), 1e-3, 3, mono(5))
    assert standing.coasting
    standing.lost("somebody else has set the clock")
    assert (ServoState.ACQUIRING, False) == (standing.state, standing.coasting)
