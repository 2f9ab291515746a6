"""From an estimate to a command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from timesync.base.time import Duration
from timesync.servo.steering import Refuse, Slew, SteeringSettings, Step, correct

PLAIN = SteeringSettings()


def _slew(
    offset: float, deviation: float, frequency: float, spacing: float, settings: SteeringSettings = PLAIN
) -> Slew:
    action = correct(offset, deviation, frequency, spacing, 10, settings)
    assert isinstance(action, Slew)
    return action


@pytest.mark.parametrize(("updates", "steps"), [(0, True), (2, True), (3, False), (100, False)])
def test_steps_happen_only_in_the_first_updates(updates: int, steps: bool) -> None:
    action = correct(-0.5, 1e-3, 0.0, 1.0, updates, PLAIN)
    assert steps is (action == Step(Duration.from_s(0.5)))


def test_below_the_threshold_and_without_one_nothing_is_stepped() -> None:
    assert isinstance(correct(0.0999, 1e-6, 0.0, 1.0, 0, PLAIN), Slew)
    assert isinstance(correct(50.0, 1e-6, 0.0, 1.0, 0, replace(PLAIN, step_threshold_s=0.0)), Slew)


def test_panic_is_refused_except_once_when_asked_for() -> None:
    assert Refuse(1000.5) == correct(1000.5, 1.0, 0.0, 1.0, 0, PLAIN)
    assert Refuse(-1000.5) == correct(-1000.5, 1.0, 0.0, 1.0, 5, PLAIN)
    anything = replace(PLAIN, initial_step_anything=True)
    assert Step(Duration.from_s(1.8e9)) == correct(-1.8e9, 1.0, 0.0, 1.0, 0, anything)
    assert isinstance(correct(-1.8e9, 1.0, 0.0, 1.0, 1, anything), Refuse)
    assert isinstance(correct(-1.8e9, 1.0, 0.0, 1.0, 0, replace(PLAIN, panic_s=0.0)), Step)


@pytest.mark.parametrize("offset", [3e-4, -3e-4, 0.09, -0.09])
def test_the_slew_ends_exactly_at_zero(offset: float) -> None:
    action = _slew(offset, 1e-7, 2e-5, 16.0)
    assert 0.0 == pytest.approx(offset + (action.rate.ratio - action.after.ratio) * action.hold_s, abs=1e-12)
    assert abs(action.rate.ratio - action.after.ratio) <= PLAIN.max_slew * (1 + 1e-12)


def test_a_certain_offset_goes_as_fast_as_allowed_and_noise_gently() -> None:
    assert 0.5 == _slew(1e-3, 1e-6, 0.0, 64.0).hold_s
    assert 16.0 == _slew(5e-6, 1e-6, 0.0, 64.0).hold_s
    assert 0.05 / 5e-3 == pytest.approx(_slew(0.05, 1e-6, 0.0, 64.0).hold_s)


@pytest.mark.parametrize("frequency", [5e-4, -5e-4, 2e-2])
def test_afterwards_the_clock_runs_at_the_pace_of_truth(frequency: float) -> None:
    """A free clock that shows ``1 + f`` seconds a second gains ``f / (1 + f)`` in each of its own."""
    seen = frequency / (1 + frequency)
    after = _slew(0.0, 1e-6, seen, 1.0).after.ratio
    assert 1.0 == pytest.approx((1 + frequency) * (1 + after), abs=1e-14)
