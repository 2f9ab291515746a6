"""Short runs against whole PTP instances; ``run.py`` runs them longer."""

from __future__ import annotations

import pytest
from fuzz_ptp_port import WORLDS, port_target
from fuzz_ptp_storm import SECOND, STORMS, storm_target
from fuzz_ptp_world import sizes
from targets import fuzz

from timesync.ptp.foreign import NOTED


@pytest.mark.parametrize("name", WORLDS)
def test_clocks_withstand_what_comes_and_find_together_again_afterwards(name: str) -> None:
    attacked = WORLDS[name]()

    fuzz(port_target(name, attacked), 1_500, seed=1)
    attacked.calm()

    seen = attacked.world.seen
    assert seen["measured"] > 300, "good messages must be among them"
    assert seen["Dropped"] > 100
    assert {"FAULTY", "LISTENING", "UNCALIBRATED"} <= set(seen)
    assert name not in ("hybrid", "unicast", "g8265") or seen["Signaling"] > 100


@pytest.mark.parametrize("name", STORMS)
def test_a_storm_of_invented_clocks_leaves_the_grandmaster_alone(name: str) -> None:
    storm = STORMS[name]()

    fuzz(storm_target(name, storm), SECOND // 2, seed=1)

    assert storm.state() == storm._before
    noted = max(len(table._noted) for clock in storm.world.clocks for table in clock.instance._foreign.values())
    if storm.names is None:
        assert NOTED == noted, "the storm must have reached the table"
    else:
        assert noted < len(storm.world.clocks), "a guard must have been before it"


def test_sizes_finds_what_grows_wherever_it_is() -> None:
    """Else the checks above would prove little."""
    world = WORLDS["e2e"]().world
    port = world.clocks[1].instance.ports[1]
    for number in range(1000):
        port._requester.__dict__.setdefault("leak", {})[number] = b"x"
    with pytest.raises(AssertionError, match="1000 in leak"):
        world.check_sizes()
    assert 1000 == max(size for _, size in sizes(port))
