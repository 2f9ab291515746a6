"""The noise model of a link, learnt from links whose noise is known."""

from __future__ import annotations

import math
import random

import pytest

from timesync.servo.link import LinkModel


def _learnt(seed: int, there: float, back: float, noise: float, count: int = 4000) -> LinkModel:
    rng = random.Random(seed)
    model = LinkModel(1e-7)
    for _ in range(count):
        up = rng.expovariate(1 / there) if there else 0.0
        down = rng.expovariate(1 / back) if back else 0.0
        excess = model.observe_delay(1e-2 + (up + down) / 2)
        model.learn(excess, (up - down) / 2 + rng.gauss(0.0, noise), 0.0)
    return model


def _slope(model: LinkModel, scale: float) -> float:
    """The growth of the variance with the square of the excess."""
    return (model.variance(scale) - model.variance(0.0)) / scale**2


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_queues_both_ways_give_a_third(seed: int) -> None:
    """Given the sum of two equal exponentials, their difference is uniform within it: variance excess^2 / 3."""
    assert 1 / 3 == pytest.approx(_slope(_learnt(seed, 1e-3, 1e-3, 1e-6), 1e-3), rel=0.35)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_one_congested_direction_gives_one(seed: int) -> None:
    """All of the excess is error; the prior of 1/3 and the doubt about the minimum hold it somewhat below."""
    assert 0.65 < _slope(_learnt(seed, 1e-3, 0.0, 1e-6), 1e-3) <= 1.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_noise_that_delay_does_not_explain_is_base(seed: int) -> None:
    """Stamps with a normal error of sigma each way: offset and delay are independent, each sigma / sqrt(2)."""
    rng = random.Random(seed)
    model = LinkModel(1e-7)
    sigma = 1e-5
    for _ in range(4000):
        up, down = rng.gauss(0.0, sigma), rng.gauss(0.0, sigma)
        excess = model.observe_delay(1e-2 + (up + down) / 2)
        model.learn(excess, (up - down) / 2, 0.0)
    assert _slope(model, sigma) < 0.12
    assert sigma / math.sqrt(2) == pytest.approx(math.sqrt(model.variance(0.0)), rel=0.25)


def test_what_the_state_explains_is_not_blamed_on_the_link() -> None:
    rng = random.Random(4)
    model = LinkModel(1e-7)
    for _ in range(4000):
        model.observe_delay(None)
        model.learn(0.0, rng.gauss(0.0, math.hypot(3e-6, 4e-6)), (4e-6) ** 2)
    assert 3e-6 == pytest.approx(math.sqrt(model.variance(0.0)), rel=0.2)


def test_the_minimum_is_that_of_the_last_128_samples() -> None:
    model = LinkModel(1e-7)
    assert model.minimum_delay_s is None
    model.observe_delay(1e-3)
    for _ in range(127):
        model.observe_delay(2e-3)
    assert 1e-3 == model.minimum_delay_s
    model.observe_delay(2e-3)
    assert 2e-3 == model.minimum_delay_s


def test_noise_never_falls_below_that_of_the_stamps() -> None:
    model = LinkModel(1e-6)
    for _ in range(1000):
        model.learn(model.observe_delay(1e-3), 0.0, 0.0)
    assert 1e-6 == pytest.approx(math.sqrt(model.variance(0.0)))


def test_one_wild_sample_does_not_rewrite_the_model() -> None:
    model = _learnt(1, 0.0, 0.0, 1e-6)
    before = math.sqrt(model.variance(0.0))
    model.learn(0.0, 1.0, 0.0)
    assert math.sqrt(model.variance(0.0)) < 1.2 * before


def test_a_link_without_delays_has_no_minimum_and_no_excess() -> None:
    model = LinkModel(1e-7)
    assert 0.0 == model.observe_delay(None)
    assert model.minimum_delay_s is None
    assert model.typical_s is None
