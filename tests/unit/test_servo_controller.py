"""The whole core against clocks and sources of known error."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from servo_support import START, SYSTEM, Bench, BenchClock, mono, quality, status, tai

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.measure import Measurement, SourceStatus
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.servo.command import ClockMemory, ClockSpec, CoreSettings, SetFrequency, StepClock
from timesync.servo.steering import SteeringSettings
from timesync.servo.view import ServoState, SourceState

PHC, LAST = ClockId("phc0"), ClockId("phc1")


def _locked(seed: int = 1, settings: CoreSettings | None = None) -> Bench:
    bench = Bench([BenchClock(SYSTEM, 2e-5, x=0.02)], seed=seed, settings=settings)
    bench.source("a")
    bench.run(120)
    assert ServoState.LOCKED is bench.state()
    return bench


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_five_seconds_are_stepped_once_and_never_again(seed: int) -> None:
    bench = Bench([BenchClock(SYSTEM, -5e-5, x=-5.0)], seed=seed)
    bench.source("a")
    clock = bench.clocks[SYSTEM]
    bench.run(60)
    assert (1, ServoState.LOCKED) == (clock.steps, bench.state())
    assert 5.0 == pytest.approx(bench.controller.clocks[SYSTEM].corrections.stepped.s(), abs=0.01)
    worst = 0.0

    def watch() -> None:
        nonlocal worst
        worst = max(worst, abs(clock.offset_s))
        assert abs(clock.offset_s) <= bench.bound_s()

    bench.watch = watch
    bench.run(600)
    assert worst < 3e-6
    assert 1 == clock.steps
    report = bench.reports[SYSTEM]
    assert report.synchronized
    assert report.maximum_error.s() < 1e-3


def test_a_board_in_1970_is_set_when_it_is_allowed_and_then_exact() -> None:
    anything = SteeringSettings(initial_step_anything=True)
    bench = Bench(
        [BenchClock(SYSTEM, 1e-5, base=Duration(-START.scaled_ns))],
        settings=CoreSettings(served=SYSTEM, steering=anything),
    )
    bench.source("a", noise_s=1e-8)
    bench.run(300)
    assert (1, ServoState.LOCKED) == (bench.clocks[SYSTEM].steps, bench.state())
    assert abs(bench.clocks[SYSTEM].offset_s) < 2e-7


def test_a_board_in_1970_is_left_alone_otherwise() -> None:
    bench = Bench([BenchClock(SYSTEM, 1e-5, base=Duration(-START.scaled_ns))])
    bench.source("a")
    bench.run(100)
    assert (0, ServoState.FAULT) == (bench.clocks[SYSTEM].steps, bench.state())
    assert not any(isinstance(c, StepClock | SetFrequency) for c in bench.commands)
    assert not bench.reports[SYSTEM].synchronized


def test_an_outage_is_holdover_then_freerun_with_a_growing_bound_and_ends() -> None:
    bench = _locked(settings=CoreSettings(served=SYSTEM, holdover_s=200.0))
    source = bench.sources[0]
    source.up = False
    bench.perform(bench.controller.on_status(status("a", reach=0), bench.now()))
    bounds = [bench.bound_s()]
    states = []
    for _ in range(6):
        bench.run(64)
        states.append(bench.state())
        bounds.append(bench.bound_s())
        assert abs(bench.clocks[SYSTEM].offset_s) <= bounds[-1]
    assert [ServoState.HOLDOVER] * 3 == states[:3]
    assert ServoState.FREERUN is states[-1]
    assert sorted(bounds) == bounds
    assert bounds[-1] > 2 * bounds[0]
    assert not bench.reports[SYSTEM].synchronized

    source.up = True
    source.next_s = bench.t
    bench.perform(bench.controller.on_status(status("a"), bench.now()))
    bench.run(60)
    assert ServoState.LOCKED is bench.state()
    assert 0 == bench.clocks[SYSTEM].steps


@pytest.mark.parametrize("by", [-3600.0, 3600.0, -1.7e9, 0.2])
def test_a_step_by_others_is_undone_and_the_frequency_kept(by: float) -> None:
    settings = CoreSettings(served=SYSTEM, steering=SteeringSettings(panic_s=0.0))
    bench = _locked(settings=settings)
    clock = bench.clocks[SYSTEM]
    clock.base += Duration.from_s(by)
    clock.epoch += 1
    clock.rate = 1e-4
    bench.controller.foreign_step(SYSTEM, bench.reading(SYSTEM), clock.epoch, Rate(clock.rate))
    assert ServoState.ACQUIRING is bench.state()
    model = bench.controller.clocks[SYSTEM]
    assert Rate(1e-4) == model.ledger.rate
    estimate = model.estimate(bench.reading(SYSTEM))
    assert estimate is not None
    assert 2e-5 == pytest.approx(estimate.frequency, abs=2e-7)
    assert estimate.deviation_s > 1e6
    bench.run(60)
    assert (1, ServoState.LOCKED) == (clock.steps, bench.state())
    for _ in range(20):
        bench.run(30)
        assert abs(clock.offset_s) < 5e-6
        assert abs(clock.offset_s) <= bench.bound_s()


def test_the_frequency_that_others_left_is_not_taken_for_the_oscillators() -> None:
    spec = ClockSpec(clock=SYSTEM, disciplined=False, max_frequency=0.0)
    bench = Bench([BenchClock(SYSTEM, 2e-5, x=0.5)], specs=[spec])
    bench.source("a")
    bench.run(120)
    clock = bench.clocks[SYSTEM]
    clock.base += Duration.from_s(-3.0)
    clock.epoch += 1
    clock.rate = 1e-4
    bench.controller.foreign_step(SYSTEM, bench.reading(SYSTEM), clock.epoch, Rate(clock.rate))
    for _ in range(10):
        bench.run(6)
        estimate = bench.controller.clocks[SYSTEM].estimate(bench.reading(SYSTEM))
        assert estimate is not None
        assert 2e-5 == pytest.approx(estimate.frequency, abs=1e-6)
        assert clock.offset_s == pytest.approx(estimate.offset_s, abs=5e-6)


@pytest.mark.parametrize("refuses", [False, True])
def test_a_step_is_told_of_when_the_clock_was_set_and_not_when_it_refused(refuses: bool) -> None:
    bench = Bench([BenchClock(SYSTEM, 0.0, x=5.0, refuses_steps=refuses)])
    bench.source("a")
    bench.run(4)
    asked = [command for command in bench.commands if isinstance(command, StepClock)]
    assert 1 <= len(asked)
    told = [(note.level, note.text) for note in bench.noted("step")]
    if refuses:
        assert [] == told
    else:
        assert [("warning", f"clock system was 5 s off: stepped by {asked[0].by}")] == told


def test_a_step_that_nobody_performs_is_asked_for_again_but_not_at_once() -> None:
    bench = Bench([BenchClock(SYSTEM, 0.0, x=5.0, refuses_steps=True)])
    bench.source("a", every_s=8.0)
    bench.run(30)
    assert 1 <= sum(isinstance(c, StepClock) for c in bench.commands) <= 40


def test_a_clock_beyond_panic_later_is_left_alone_without_spinning() -> None:
    bench = _locked()
    bench.sources[0].error = lambda _: 5000.0
    bench.run(200)
    assert ServoState.FAULT is bench.state()
    assert abs(bench.clocks[SYSTEM].offset_s) < 1.0


def test_a_measurement_of_an_older_epoch_is_ignored() -> None:
    bench = _locked()
    before = bench.controller.sources()[0].tracker.samples
    m = Measurement(
        link=LinkId("a"),
        local=SYSTEM,
        remote=ClockId("x"),
        at=bench.reading(SYSTEM),
        epoch=-1,
        offset=Duration.from_s(9),
        delay=None,
        noise_s=1e-6,
    )
    assert [] == bench.controller.on_measurement(m, SourceId("a"), bench.now())
    assert [] == bench.controller.on_measurement(replace(m, epoch=0), SourceId("unknown"), bench.now())
    assert before == bench.controller.sources()[0].tracker.samples


@pytest.mark.parametrize(
    ("fallen", "state", "why"),
    [
        (status("a", reach=0), SourceState.UNREACHABLE, "nothing has come from it, 8 times in a row"),
        (status("a", excluded="its key is not known"), SourceState.EXCLUDED, "its key is not known"),
        (replace(status("a"), stratum=16), SourceState.EXCLUDED, "says of itself that it is not synchronized"),
    ],
    ids=["silent", "excluded", "unsynchronized"],
)
def test_a_source_that_is_no_longer_used_is_told_of_once_and_once_when_it_is_back(
    fallen: SourceStatus, state: SourceState, why: str
) -> None:
    bench = _locked()
    assert (1, []) == (len(bench.noted("selected")), bench.noted("deselected"))
    bench.sources[0].up = False
    for _ in range(3):
        bench.perform(bench.controller.on_status(fallen, bench.now()))
        bench.run(40)
    assert state is bench.controller.sources()[0].ruling.state
    expected = [("info", f"a is no longer used: {why}", SourceId("a"))]
    assert expected == [(note.level, note.text, note.source) for note in bench.noted("deselected")]
    bench.sources[0].up = True
    bench.sources[0].next_s = bench.t
    bench.perform(bench.controller.on_status(status("a"), bench.now()))
    bench.run(10)
    assert (2, 1) == (len(bench.noted("selected")), len(bench.noted("deselected")))


def test_a_source_that_falls_away_while_others_are_waited_for_is_told_of_too() -> None:
    spec = ClockSpec(clock=SYSTEM, disciplined=False, max_frequency=0.0)
    bench = Bench([BenchClock(SYSTEM, 1e-5)], specs=[spec])
    bench.source("a")
    bench.run(2)
    assert SourceState.SELECTED is bench.controller.sources()[0].ruling.state
    bench.source("b", up=False)
    bench.perform(bench.controller.on_status(status("a", reach=0), bench.now()))
    assert [SourceId("a")] == [note.source for note in bench.noted("deselected")]


def _pair() -> Bench:
    bench = Bench([BenchClock(SYSTEM, 3e-5, x=0.3), BenchClock(PHC, -2e-5, x=-40.0)])
    bench.source("a")
    bench.source("link", clock=PHC, parent=SYSTEM, every_s=0.5, noise_s=2e-8, delay_s=1e-6, quality=None)
    bench.run(120)
    return bench


def test_a_child_follows_its_parent_over_the_link() -> None:
    bench = _pair()
    assert (ServoState.LOCKED, ServoState.LOCKED) == (bench.state(), bench.state(PHC))
    assert ("link",) == bench.controller.feed(PHC)
    assert abs(bench.clocks[PHC].offset_s) < 5e-6
    assert 1 == bench.clocks[PHC].steps


def _coarse_then_exact(seed: int) -> Bench:
    """A chain of three clocks; the first gets exact pulses after seconds with a coarse source.

    A first one may pass for an outlier, and the next tells of its frequency.
    """
    bench = Bench([BenchClock(SYSTEM, 2e-5, x=3.0), BenchClock(PHC, -8e-6, x=-40.0), BenchClock(LAST, 3e-6)], seed=seed)
    bench.source("coarse", noise_s=2e-2, quality=quality(dispersion=0.4))
    bench.source("link", clock=PHC, parent=SYSTEM, noise_s=1e-8, delay_s=5e-7, quality=None, next_s=0.13)
    bench.source("next link", clock=LAST, parent=PHC, noise_s=1e-8, delay_s=5e-7, quality=None, next_s=0.14)
    bench.run(8)
    bench.source("pulse", noise_s=1e-7, delay_s=5e-6, next_s=8.12)
    bench.run(1.121)
    assert ("pulse",) == bench.controller.feed(SYSTEM)
    return bench


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_turns_out_of_a_parent_is_known_at_once_of_all_that_follow(seed: int) -> None:
    bench = _coarse_then_exact(seed)
    bench.run(1)
    for clock in (SYSTEM, PHC, LAST):
        estimate = bench.controller.clocks[clock].estimate(bench.reading(clock))
        assert estimate is not None
        # It was 20 µs off at least; of the clocks that follow nothing has been measured since.
        assert abs(estimate.offset_s - bench.clocks[clock].offset_s) < 1e-6


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_child_claims_no_more_of_its_frequency_than_its_parent_knows(seed: int) -> None:
    # Of the parent's frequency the second pulse tells first, a second after the links have shown that of the children.
    bench = _coarse_then_exact(seed)
    outside: list[tuple[float, ClockId, float]] = []
    wrong: list[tuple[float, ClockId, float]] = []

    def look() -> None:
        for clock, is_ in bench.clocks.items():
            estimate = bench.controller.clocks[clock].estimate(bench.reading(clock))
            assert estimate is not None
            if abs(is_.offset_s) > bench.bound_s(clock):
                outside.append((bench.t, clock, is_.offset_s))
            if abs(estimate.frequency - is_.frequency) > 5 * estimate.frequency_deviation:
                wrong.append((bench.t, clock, estimate.frequency))

    bench.watch = look
    bench.run(30)
    assert ([], []) == (outside, wrong)


def _jumps(*, linked: bool) -> tuple[float, int]:
    """A clock that one source leads, to whose oscillator something happens: its worst error, and samples refused."""
    bench = Bench([BenchClock(SYSTEM, 0.0, x=0.3), BenchClock(PHC, -2e-5, x=-40.0)], seed=4)
    source = bench.source("ptp", clock=PHC, noise_s=2e-8, delay_s=5e-7)
    if linked:
        bench.source("link", clock=SYSTEM, parent=PHC, every_s=0.25, noise_s=1e-9, delay_s=1e-9, quality=None)
    bench.run(120.6)
    seen = [0.0]
    bench.watch = lambda: seen.append(abs(bench.clocks[PHC].offset_s))
    before = bench.controller.clocks[PHC].sources[source.spec.source].tracker.outliers
    bench.clocks[PHC].frequency += 1e-5
    bench.run(10)
    return max(seen), bench.controller.clocks[PHC].sources[source.spec.source].tracker.outliers - before


def test_an_oscillator_that_jumps_is_believed_at_the_second_sample() -> None:
    # The clock runs away by 10 µs a second, and is sampled a half and one and a half seconds after the jump.
    worst, refused = _jumps(linked=False)
    assert refused == 1
    assert worst < 16e-6


def test_an_oscillator_that_jumps_is_believed_at_once_where_another_clock_saw_it() -> None:
    # Half of the jump is seen at once, for half a second has passed of the second between two samples; the rest next.
    worst, refused = _jumps(linked=True)
    assert refused == 0
    assert worst < 11e-6


def _doubt(seed: int, *, averaged: bool) -> float:
    """How many times its usual variance a sample is given whose delay is three times the usual one."""
    bench = Bench([BenchClock(SYSTEM, 3e-5, x=0.3)], seed=seed)
    made = bench.source("ptp", noise_s=2e-6, averaged=averaged)
    for _ in range(60):
        made.delay_s = 5e-5 + bench.rng.gauss(0.0, 3e-7)
        bench.run(1)
    model = bench.controller.clocks[SYSTEM]
    source = model.sources[made.spec.source]
    usual = source.tracker.model.variance(0.0)
    m = Measurement(
        link=made.spec.link,
        local=SYSTEM,
        remote=ClockId("outside"),
        at=bench.reading(SYSTEM),
        epoch=bench.clocks[SYSTEM].epoch,
        offset=Duration(0),
        delay=Duration.from_s(15e-5),
        noise_s=2e-6,
        averaged=averaged,
    )
    _, _, variance = model.sample(source, m, mono(bench.t))
    # The claim has the delay in it all the same, since it may be all on one side.
    assert source.path_s >= 4.8e-5
    return variance / usual


def test_a_longer_link_makes_samples_doubtful_unless_its_delay_is_measured_apart() -> None:
    assert max(_doubt(seed, averaged=False) for seed in range(8)) > 10
    assert max(_doubt(seed, averaged=True) for seed in range(8)) < 1.2


def test_a_child_goes_on_following_a_parent_in_holdover() -> None:
    bench = _pair()
    bench.sources[0].up = False
    bench.perform(bench.controller.on_status(status("a", reach=0), bench.now()))
    bench.run(300)
    assert (ServoState.HOLDOVER, ServoState.HOLDOVER) == (bench.state(), bench.state(PHC))
    assert abs(bench.clocks[PHC].offset_s - bench.clocks[SYSTEM].offset_s) < 5e-6


def test_a_link_to_a_clock_that_knows_no_time_says_so() -> None:
    bench = _pair()
    link = bench.controller.sources()[1]
    assert (SourceState.SELECTED, []) == (link.ruling.state, bench.noted("deselected"))
    bench.sources[0].up = False
    clock = bench.clocks[SYSTEM]
    clock.base += Duration.from_s(7.0)
    clock.epoch += 1
    bench.controller.foreign_step(SYSTEM, bench.reading(SYSTEM), clock.epoch, Rate(clock.rate))
    bench.run(3)
    assert (SourceState.WAITING, "clock system does not know the time itself") == (
        link.ruling.state,
        link.ruling.reason,
    )
    texts = [note.text for note in bench.noted("deselected")]
    assert ["link is no longer used: clock system does not know the time itself"] == texts


def test_a_link_to_a_clock_that_others_have_set_waits_for_a_measurement() -> None:
    bench = _pair()
    clock = bench.clocks[PHC]
    clock.base += Duration.from_s(7.0)
    clock.epoch += 1
    bench.controller.foreign_step(PHC, bench.reading(PHC), clock.epoch, Rate(clock.rate))
    bench.perform(bench.controller.on_status(status("link"), bench.now()))
    ruling = bench.controller.sources()[1].ruling
    assert (SourceState.WAITING, "no measurement since one of the two clocks was set") == (ruling.state, ruling.reason)
    bench.run(10)
    assert SourceState.SELECTED is bench.controller.sources()[1].ruling.state


def test_a_removed_source_is_gone_and_the_clock_in_holdover() -> None:
    bench = _locked()
    bench.sources[0].up = False
    bench.perform(bench.controller.remove_source(SourceId("a"), bench.now()))
    assert [] == bench.controller.sources()
    assert [] == bench.controller.remove_source(SourceId("a"), bench.now())
    bench.run(70)
    assert ServoState.HOLDOVER is bench.state()


def test_one_of_three_that_lies_is_noted_and_does_no_harm() -> None:
    bench = Bench([BenchClock(SYSTEM, 1e-5)])
    for name in "abc":
        bench.source(name)
    bench.run(100)
    bench.sources[2].error = lambda _: 0.05
    bench.run(100)
    assert [SourceId("c")] == [note.source for note in bench.noted("falseticker")]
    assert SourceState.FALSETICKER is bench.controller.sources()[2].ruling.state
    assert abs(bench.clocks[SYSTEM].offset_s) < 1e-5


def test_settings_take_effect_while_running() -> None:
    bench = _locked()
    bench.controller.configure(replace(bench.controller.settings, minimum_sources=2))
    bench.run(70)
    assert ServoState.HOLDOVER is bench.state()
    assert SourceState.CANDIDATE is bench.controller.sources()[0].ruling.state


def test_a_remembered_frequency_is_set_at_the_start_within_the_limit() -> None:
    for remembered, limit, expected in ((3e-5, 5e-4, -3e-5), (3e-5, 1e-5, -1e-5)):
        memory = ClockMemory(remembered, 1e-8, 1e-10)
        spec = ClockSpec(clock=SYSTEM, disciplined=True, max_frequency=limit, memory=memory)
        bench = Bench([BenchClock(SYSTEM, 3e-5)], specs=[spec])
        assert expected == bench.clocks[SYSTEM].rate


def test_an_undisciplined_clock_is_followed_and_not_touched() -> None:
    spec = ClockSpec(clock=SYSTEM, disciplined=False, max_frequency=0.0)
    bench = Bench([BenchClock(SYSTEM, 1e-5, x=0.5)], specs=[spec])
    bench.source("a")
    bench.run(60)
    assert 0.0 == bench.clocks[SYSTEM].rate
    estimate = bench.controller.clocks[SYSTEM].estimate(bench.reading(SYSTEM))
    assert estimate is not None
    assert bench.clocks[SYSTEM].offset_s == pytest.approx(estimate.offset_s, abs=5e-6)
    assert mono(60) == bench.now().mono
    assert tai(60) < bench.reading(SYSTEM)


def test_the_end_of_the_daemon_ends_a_slew() -> None:
    bench = Bench([BenchClock(SYSTEM, 2e-5, x=0.09)])
    bench.source("a")
    clock = bench.clocks[SYSTEM]
    bench.run(8)
    assert abs(clock.rate + 2e-5) > 1e-3
    bench.perform(bench.controller.finish(bench.now()))
    assert abs(clock.rate + 2e-5) < 5e-6
    assert bench.controller.deadline() is None


def test_a_slew_is_no_faster_than_the_clock_can_go() -> None:
    bench = Bench([BenchClock(SYSTEM, 2e-5, x=0.02)], max_frequency=5e-4)
    bench.source("a")
    clock = bench.clocks[SYSTEM]
    bench.run(20)
    # Of the 500 ppm that the clock takes, 20 go into its own error.
    assert -5e-4 <= clock.rate <= -4.5e-4
    bench.run(100)
    assert abs(clock.offset_s) < 5e-6


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_coarse_source_beside_the_one_that_is_used_does_not_teach_how_the_clock_wanders(seed: int) -> None:
    """Messages of a receiver swing by milliseconds for minutes: taken for the clock's own, the loop would open."""
    clock = BenchClock(SYSTEM, 2e-6)
    bench = Bench([clock], seed=seed)
    walk = random.Random(seed)

    def wander() -> None:
        clock.frequency += walk.gauss(0.0, 1e-9)

    bench.source("PPS", noise_s=1e-7)
    swing = 2e-2
    bench.source("NMEA", noise_s=1e-2, error=lambda t: swing * math.sin(t / 20))
    model = bench.controller.clocks[SYSTEM]
    wanders = []
    for _ in range(1500):
        bench.run(1)
        wander()
        wanders.append(model.wander.value)
    assert 1e-9 / 8 < sorted(wanders[300:])[600] < 8e-9


def test_in_holdover_nobody_who_is_not_used_teaches_how_the_clock_wanders() -> None:
    """Its bound is made of that: a coarse source that swings would make the claim swell, or shrink below the truth."""
    bench = Bench([BenchClock(SYSTEM, 2e-6)])
    bench.source("PPS", noise_s=1e-7, quality=quality(stratum=0))
    bench.source("NTP", noise_s=1e-4, delay_s=2e-2, error=lambda t: 5e-3 * math.sin(t / 600), every_s=16.0)
    bench.run(900)
    wander = bench.controller.clocks[SYSTEM].wander
    learnt = wander.value
    bench.sources[0].up = False
    bench.perform(bench.controller.on_status(status("PPS", reach=0), bench.now()))
    bench.run(600)
    assert ServoState.HOLDOVER is bench.state()
    assert learnt == wander.value
