"""Every shipped scenario, one seed each, against its own expectations; many seeds are for `bin/test scenarios`."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import resources

import pytest

from timesync.config.scenario import read_scenario
from timesync.daemon.leap import load_leap_table
from timesync.daemon.simulate import simulate

SCENARIOS = sorted(
    entry.name
    for entry in resources.files("timesync.sim").joinpath("scenarios").iterdir()
    if entry.name.endswith(".yaml")
)
# The bars of the product: what must be in the files, so that nobody loosens them there.
BARS = {
    "lan.yaml": 4.5e-6,
    "lan-hardware.yaml": 45e-9,
    "wan.yaml": 600e-6,
    "five-servers.yaml": 1.5e-3,
}


def _text(name: str) -> bytes:
    return resources.files("timesync.sim").joinpath("scenarios", name).read_bytes()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_keeps_what_it_promises(name: str) -> None:
    scenario, loaded = read_scenario(_text(name), name)
    result = simulate(scenario, loaded.config, load_leap_table()[0], seed=11)
    assert result.misses == ()


def test_there_are_at_least_eight() -> None:
    assert len(SCENARIOS) >= 8


@pytest.mark.parametrize("name", BARS)
def test_the_bars_stand_in_the_files(name: str) -> None:
    scenario, _ = read_scenario(_text(name), name)
    assert scenario.expect.rms is not None
    assert scenario.expect.rms.s() <= BARS[name]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_scenario_demands_a_true_bound(name: str) -> None:
    scenario, _ = read_scenario(_text(name), name)
    assert scenario.expect.coverage is not None
    assert scenario.expect.coverage >= 0.999


_PROGRAM = """
from importlib import resources
from timesync.config.scenario import read_scenario
from timesync.daemon.leap import load_leap_table
from timesync.daemon.simulate import simulate
text = resources.files("timesync.sim").joinpath("scenarios", "initial-offset.yaml").read_bytes()
scenario, loaded = read_scenario(text, "initial-offset.yaml")
scenario = scenario.model_copy(update={"duration": scenario.settle})
result = simulate(scenario, loaded.config, load_leap_table()[0], seed=3, keep=True)
print(result.trace[-1], result.requests_per_hour, [text.text for _, text in result.notes])
"""


def test_the_same_seed_gives_the_same_life_under_any_hash_seed() -> None:
    outcomes = {
        subprocess.run(
            [sys.executable, "-c", _PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outcomes) == 1
    assert outcomes.pop().strip()
