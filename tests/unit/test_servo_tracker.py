"""One source against one free clock: the gate, and what is learnt of the clock's wander."""

from __future__ import annotations

import random

import pytest
from servo_support import mono, tai

from timesync.base.ids import LinkId
from timesync.servo.tracker import GATE, Gate, Tracker, Verdict, Wander


def _walk(seed: int, wander: float, noise: float, count: int, start: float) -> tuple[Wander, Tracker, float, float]:
    """A random-walk clock sampled once a second: its learnt wander, its track, true offset and frequency."""
    rng = random.Random(seed)
    learnt = Wander(start)
    tracker = Tracker(LinkId("l"), noise, 0.0, 1e-4)
    x, f = 0.0, 2e-6
    for n in range(count):
        tracker.sample(tai(n), x + rng.gauss(0.0, noise), None, learnt, mono(n))
        x += f + rng.gauss(0.0, wander) * 0.5
        f += rng.gauss(0.0, wander)
    return learnt, tracker, x, f


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("start", [1e-11, 1e-9, 1e-7])
def test_the_wander_of_a_clock_is_found_within_a_factor_of_three(seed: int, start: float) -> None:
    learnt, _, _, _ = _walk(seed, 1e-9, 1e-8, 6000, start)
    assert 1e-9 / 3 < learnt.value < 3e-9


def test_a_track_follows_its_clock_to_within_its_own_claim() -> None:
    inside = 0
    for seed in range(20):
        learnt, tracker, x, f = _walk(seed, 1e-9, 1e-7, 600, 1e-9)
        state = tracker.predict(tai(600), learnt)
        assert state is not None
        inside += abs(state.offset_s - x) <= 3 * state.offset_variance**0.5
        assert abs(state.frequency - f) <= 5 * state.frequency_variance**0.5
    assert inside >= 18


def test_the_wander_has_limits() -> None:
    wander = Wander(1e-9)
    for _ in range(10_000):
        wander.learn(3.0, 3.0)
    assert Wander.MOST == wander.value
    for _ in range(10_000):
        wander.learn(3.0, -3.0)
    assert Wander.LEAST == wander.value


def test_the_gate_drops_one_and_believes_two_on_the_same_side() -> None:
    gate = Gate()
    far = GATE * 1.01
    assert Verdict.USED is gate.judge(GATE * 0.99, 1.0)
    assert Verdict.OUTLIER is gate.judge(far, 1.0)
    assert Verdict.OUTLIER is gate.judge(-far, 1.0)
    assert Verdict.NEWS is gate.judge(-far, 1.0)
    assert Verdict.OUTLIER is gate.judge(far, 1.0)
    assert Verdict.USED is gate.judge(0.0, 1.0)
    assert Verdict.OUTLIER is gate.judge(far, 1.0)


def _settled() -> tuple[Tracker, Wander]:
    rng = random.Random(3)
    wander, tracker = Wander(), Tracker(LinkId("l"), 1e-6, 0.0, 1e-6)
    for n in range(100):
        tracker.sample(tai(n), rng.gauss(0.0, 1e-6), 1e-3, wander, mono(n))
    return tracker, wander


def test_a_single_wild_sample_leaves_no_trace() -> None:
    tracker, wander = _settled()
    before = tracker.predict(tai(101), wander)
    verdict, _ = tracker.sample(tai(100), 1e-2, 1e-3, wander, mono(100))
    assert Verdict.OUTLIER is verdict
    assert (1, 100) == (tracker.outliers, tracker.samples)
    assert before == tracker.predict(tai(101), wander)


def test_two_wild_samples_are_news_and_are_followed_at_once() -> None:
    tracker, wander = _settled()
    tracker.sample(tai(100), 1e-2, 1e-3, wander, mono(100))
    verdict, _ = tracker.sample(tai(101), 1e-2, 1e-3, wander, mono(101))
    assert Verdict.NEWS is verdict
    state = tracker.predict(tai(101), wander)
    assert state is not None
    assert 1e-2 == pytest.approx(state.offset_s, abs=1e-4)


@pytest.mark.parametrize(("deviations", "puzzled"), [(2.0, False), (3.0, True), (-3.0, True), (6.0, False)])
def test_a_sample_that_is_used_although_it_lies_far_off_makes_one_wish_for_another(
    deviations: float, puzzled: bool
) -> None:
    tracker, wander = _settled()
    state = tracker.predict(tai(100), wander)
    assert state is not None
    spread = (state.offset_variance + tracker.model.variance(0.0)) ** 0.5
    verdict, _ = tracker.sample(tai(100), state.offset_s + deviations * spread, 1e-3, wander, mono(100))
    assert (verdict is Verdict.USED) == (abs(deviations) < GATE)
    assert puzzled is tracker.puzzled


def test_a_second_one_in_a_row_is_not_asked_about_again() -> None:
    tracker, wander = _settled()
    puzzled = []
    for n in range(100, 103):
        state = tracker.predict(tai(n), wander)
        assert state is not None
        spread = (state.offset_variance + tracker.model.variance(0.0)) ** 0.5
        far = 3.5 if n < 102 else 0.0
        tracker.sample(tai(n), state.offset_s + far * spread, 1e-3, wander, mono(n))
        puzzled.append(tracker.puzzled)
    assert [True, False, False] == puzzled


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_that_no_delay_shows_is_allowed_for_from_the_first_samples_on(seed: int) -> None:
    """Delays and offsets are independent of each other: the sample with the shortest delay is as bad as any."""
    rng = random.Random(seed)
    sigma, inside, count = 1e-5, 0, 300
    for _ in range(count):
        wander, tracker = Wander(), Tracker(LinkId("l"), 1e-9, 0.0, 1e-4)
        for n in range(6):
            delay = max(1e-4 + rng.gauss(0.0, sigma), 0.0)
            tracker.sample(tai(2 * n), rng.gauss(0.0, sigma), delay, wander, mono(2 * n))
        state = tracker.predict(tai(10), wander)
        assert state is not None
        inside += abs(state.offset_s) <= 3 * state.offset_variance**0.5
    assert inside >= 0.98 * count


@pytest.mark.parametrize(
    ("seen", "expected"), [(3e-3, Verdict.NEWS), (-3e-3, Verdict.OUTLIER), (3e-7, Verdict.OUTLIER)]
)
def test_one_odd_sample_is_news_where_another_witness_saw_the_same(seen: float, expected: Verdict) -> None:
    tracker, wander = _settled()
    tracker.expect(seen)
    verdict, _ = tracker.sample(tai(100), 1e-2, 1e-3, wander, mono(100))
    assert expected is verdict


def test_what_another_witness_saw_is_forgotten_once_a_sample_fits() -> None:
    tracker, wander = _settled()
    tracker.expect(3e-3)
    tracker.sample(tai(100), 0.0, 1e-3, wander, mono(100))
    verdict, _ = tracker.sample(tai(101), 1e-2, 1e-3, wander, mono(101))
    assert Verdict.OUTLIER is verdict


def test_what_another_witness_takes_back_counts_no_more() -> None:
    """A comparison of two clocks has tails: one that was odd must not let a wild packet in, hours later."""
    tracker, wander = _settled()
    tracker.expect(3e-3)
    tracker.relax()
    verdict, _ = tracker.sample(tai(100), 1e-2, 1e-3, wander, mono(100))
    assert Verdict.OUTLIER is verdict


def test_a_tracker_without_a_sample_predicts_nothing() -> None:
    assert Tracker(LinkId("l"), 1e-6, 0.0, 1e-6).predict(tai(0), Wander()) is None


def test_a_stamp_worse_than_the_usual_ones_counts_for_less() -> None:
    rng, wander = random.Random(5), Wander(1e-9)
    tracker = Tracker(LinkId("a"), 1e-7, 0.0, 1e-7)
    for n in range(60):
        _, usual = tracker.sample(tai(n), rng.gauss(0.0, 1e-6), 1e-3, wander, mono(n), 1e-7)
    _, worse = tracker.sample(tai(60), 0.0, 1e-3, wander, mono(60), 5e-5)
    assert 5e-5**2 < worse < 5e-5**2 + 4 * usual


def test_what_a_single_congested_direction_makes_of_the_offset_is_owned_up_to() -> None:
    rng, wander = random.Random(9), Wander(1e-11)
    tracker = Tracker(LinkId("a"), 1e-7, 0.0, 1e-7)
    for n in range(400):
        # The way there queues for 10 to 20 µs, the way back never: the best sample leans by half of that, 5 µs.
        queue = 10e-6 + rng.random() * 10e-6
        tracker.sample(tai(n), queue / 2, 50e-6 + queue / 2, wander, mono(n))
    state = tracker.predict(tai(400), wander)
    assert state is not None
    minimum = tracker.model.minimum_delay_s
    assert minimum is not None
    # Of the 55 µs of least delay 5 µs are the lean of every sample; the rest must come from ``lean_s``.
    assert abs(state.offset_s) - 5e-6 <= tracker.model.lean_s <= 5e-6
    assert abs(state.offset_s) > 5.2e-6


def test_a_link_without_delay_does_not_lean() -> None:
    tracker = Tracker(LinkId("pps"), 1e-8, 0.0, 1e-7)
    tracker.sample(tai(0), 1e-6, None, Wander(1e-9), mono(0))
    assert tracker.model.lean_s == 0.0
