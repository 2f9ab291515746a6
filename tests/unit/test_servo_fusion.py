"""The one estimator that all selected sources feed."""

from __future__ import annotations

import random
from functools import partial

import pytest
from servo_support import mono, tai

from timesync.base.ids import LinkId, SourceId
from timesync.servo.fusion import Fusion, Member
from timesync.servo.tracker import Tracker, Verdict, Wander

A, B = SourceId("a"), SourceId("b")


def _run(biases: dict[SourceId, float], path_s: float, count: int = 200) -> tuple[Fusion, dict[SourceId, Tracker]]:
    rng = random.Random(2)
    wander = Wander()
    fusion = Fusion(wander)
    trackers = {s: Tracker(LinkId(s), 1e-6, 0.0, 1e-6) for s in biases}
    for n in range(count):
        wander.value = 1e-9
        for source, bias in biases.items():
            offset = bias + rng.gauss(0.0, 1e-6)
            verdict, variance = trackers[source].sample(tai(n), offset, path_s, wander, mono(n))
            assert verdict is not Verdict.OUTLIER or n > 8
            members = {s: Member(partial(t.predict, wander=wander), path_s) for s, t in trackers.items() if t.samples}
            fusion.choose(members, tai(n))
            if verdict is not Verdict.OUTLIER:
                fusion.sample(source, tai(n), offset, variance)
    return fusion, trackers


def _offset(fusion: Fusion, at: float) -> float:
    state = fusion.predict(tai(at))
    assert state is not None
    return state.offset_s


def test_equal_sources_that_disagree_are_met_in_the_middle() -> None:
    fusion, _ = _run({A: 1e-4, B: -1e-4}, 1e-2)
    assert 0.0 == pytest.approx(_offset(fusion, 200), abs=1e-5)


def test_a_source_that_leaves_does_not_make_the_estimate_jump() -> None:
    fusion, trackers = _run({A: 1e-4, B: -1e-4}, 1e-2)
    before = _offset(fusion, 200)
    fusion.choose({A: Member(partial(trackers[A].predict, wander=Wander()), 1e-2)}, tai(200))
    assert before == _offset(fusion, 200)


def test_two_sources_make_a_better_estimate_than_one() -> None:
    # Noise of half the variance: the steady variance of a frequency random walk goes with its power 3/4, 0.59.
    one, _ = _run({A: 0.0}, 0.0)
    two, _ = _run({A: 0.0, B: 0.0}, 0.0)
    a, b = one.predict(tai(199)), two.predict(tai(199))
    assert a is not None
    assert b is not None
    assert b.offset_variance < 0.75 * a.offset_variance


def test_who_is_not_selected_has_no_say() -> None:
    fusion, _ = _run({A: 0.0}, 1e-4)
    assert fusion.sample(B, tai(200), 1.0, 1e-12) is None
    assert Fusion(Wander()).predict(tai(0)) is None


def test_an_undecided_sample_widens_the_claim_until_the_next() -> None:
    fusion, _ = _run({A: 0.0}, 1e-4)
    assert 0.0 == fusion.doubt_s(tai(200))
    assert Verdict.OUTLIER is fusion.sample(A, tai(200), 1e-2, 1e-12)
    # It grew to 10 ms within a second, and may go on so.
    assert 2e-2 == pytest.approx(fusion.doubt_s(tai(201)), rel=1e-2)
    assert Verdict.USED is fusion.sample(A, tai(201), 0.0, 1e-12)
    assert 0.0 == fusion.doubt_s(tai(202))


def test_a_sample_that_is_used_although_it_lies_far_off_widens_the_claim_until_the_next() -> None:
    fusion, _ = _run({A: 0.0}, 1e-4)
    state = fusion.predict(tai(204))
    assert state is not None
    # Four seconds after the last one, with next to no noise of its own.
    far = 3.5 * state.offset_variance**0.5
    assert Verdict.USED is fusion.sample(A, tai(204), state.offset_s + far, 1e-16)
    assert far == pytest.approx(fusion.doubt_s(tai(204)), rel=1e-3)
    # It may have come within the seconds since the last one, and then goes on so.
    assert 2 * far == pytest.approx(fusion.doubt_s(tai(209)), rel=1e-3)
    assert Verdict.USED is fusion.sample(A, tai(209), _offset(fusion, 209), 1e-12)
    assert 0.0 == fusion.doubt_s(tai(210))


def test_what_another_clock_carries_over_holds_for_the_moment_at_which_it_was_found() -> None:
    fusion, _ = _run({A: 0.0}, 1e-4)
    before = fusion.predict(tai(201))
    fusion.carried(tai(201), 1e-3, 2e-5)
    after = fusion.predict(tai(201))
    assert before is not None
    assert after is not None
    assert 1e-3 == pytest.approx(after.offset_s - before.offset_s)
    assert 2e-5 == pytest.approx(after.frequency - before.frequency)
