"""The frequency that is claimed for an oscillator, against the true one, from the first seconds on."""

from __future__ import annotations

import pytest

from timesync.config.scenario import read_scenario
from timesync.daemon.leap import load_leap_table
from timesync.daemon.simulate import Result, simulate

_WORLD = """
name: frequency-claim
description: One server, from the first measurement on.
duration: 200s
settle: 100s
world:
  clock: {{wander: 1e-9, frequency: 20ppm, {clock}}}
  servers:
    - {{name: ntp1, delay: 100us, jitter: {{{jitter}}}}}
config:
  sources:
    - {{ntp: ntp1, poll: [16s, 16s]}}
"""
_SEEDS = 30


def _lives(clock: str, jitter: str) -> list[Result]:
    scenario, loaded = read_scenario(_WORLD.format(clock=clock, jitter=jitter).encode(), "frequency-claim.yaml")
    leaps = load_leap_table()[0]
    return [simulate(scenario, loaded.config, leaps, seed) for seed in range(1, _SEEDS + 1)]


@pytest.mark.parametrize(
    ("clock", "jitter"),
    [
        pytest.param("offset: 0s", "exponential: 20us", id="nothing to slew"),
        pytest.param("offset: 90ms", "exponential: 20us", id="a slew of 18 s"),
        pytest.param("offset: 90ms, tick: 10ms", "exponential: 20us", id="a kernel that takes a tick"),
        pytest.param("offset: 10ms, held_up: 5ms", "exponential: 20us", id="a busy machine"),
        pytest.param("offset: 90ms, held_up: 1ms", "exponential: 20us", id="a busy machine, a slew of 18 s"),
        pytest.param("offset: 90ms, held_up: 10ms", "exponential: 20us", id="a very busy machine"),
        pytest.param("offset: 10ms, held_up: 10ms", "normal: 2us", id="a very busy machine on a quiet network"),
        pytest.param("offset: 10ms", "normal: 20us", id="noise that no delay shows"),
        pytest.param("offset: 10ms, stamp_noise: 20us", "exponential: 20us", id="stamps that are noisy themselves"),
        pytest.param("offset: 10ms", "exponential: 200us", id="delays that are mostly queues"),
    ],
)
def test_the_true_frequency_is_within_three_of_its_claimed_deviations(clock: str, jitter: str) -> None:
    """In 99 of a hundred seconds, as it is of a normal law; the bound holds throughout."""
    lives = _lives(clock, jitter)
    assert sum(life.frequency_coverage for life in lives) / _SEEDS >= 0.99
    assert min(life.coverage for life in lives) == 1
