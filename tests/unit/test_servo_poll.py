"""Poll intervals from noise and wander."""

from __future__ import annotations

import pytest

from timesync.servo.poll import PollAdvisor, desired_interval_s


def test_the_interval_makes_the_memory_nine_intervals_long() -> None:
    """Memory (R T / q)^(1/4) = 9 T, solved for T, with R = noise^2 and q = wander^2."""
    for noise, wander in ((1e-5, 1e-9), (1e-3, 1e-10), (1e-8, 1e-8)):
        t = desired_interval_s(noise, wander)
        assert 9 * t == pytest.approx((noise**2 * t / wander**2) ** 0.25)


def test_advice_grows_with_noise_and_falls_with_wander() -> None:
    def final(noise: float, wander: float) -> int:
        advisor = PollAdvisor(0, 10)
        for _ in range(200):
            advisor.settled(noise, wander)
        return advisor.exponent

    by_noise = [final(10.0**n, 1e-9) for n in range(-9, 0)]
    by_wander = [final(1e-4, 10.0**n) for n in range(-12, -5)]
    assert sorted(by_noise) == by_noise
    assert sorted(by_wander, reverse=True) == by_wander
    assert (0, 10) == (by_noise[0], by_noise[-1])


def test_it_goes_up_slowly_and_down_at_an_alarm() -> None:
    advisor = PollAdvisor(4, 10)
    assert [4, 4, 4, 5, 5, 5, 5, 6] == [advisor.settled(1.0, 1e-9) for _ in range(8)]
    assert 4 == advisor.alarmed()
    assert 4 == advisor.settled(None, 1e-9)


def test_a_link_that_loses_half_is_asked_more_often() -> None:
    def advice(answered: float) -> int:
        advisor = PollAdvisor(4, 10)
        for _ in range(100):
            advisor.settled(1e-3, 1e-9, answered)
        return advisor.exponent

    assert advice(0.5) == advice(1.0) - 1
