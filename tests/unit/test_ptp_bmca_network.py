"""Twenty clocks in random networks make one tree, and make another one when a part dies."""

from __future__ import annotations

import pytest
from bmca_network import Network, build, components, faults, grandmaster

from timesync.ptp.settings import Bmca
from timesync.ptp.states import PortState

SETTLE_S = 90
VARIANTS = [Bmca.DEFAULT, Bmca.G8275, Bmca.GPTP]


def settle(network: Network, seconds: float = SETTLE_S) -> None:
    network.run(seconds)
    assert [] == faults(network)


@pytest.mark.parametrize("seed", [0, 5, 204, 212])
@pytest.mark.parametrize("bmca", VARIANTS)
def test_twenty_clocks_converge_and_do_so_again_after_every_death(bmca: Bmca, seed: int) -> None:
    """A link or a clock dies, unnoticed by the others but for its silence; the grandmaster too; some come back."""
    network = build(seed, bmca, path_trace=True)
    assert 20 == len(network.clocks)
    settle(network)
    for _ in range(2):
        cut, dead = network.rng.choice(network.segments), network.rng.choice(network.clocks)
        cut.alive = False
        settle(network)
        dead.alive = False
        settle(network)
        largest = max(components(network), key=len)
        best = grandmaster(largest)
        assert best is not None
        best.alive = False
        settle(network)
        cut.alive = True
        network.switch_on(best)
        settle(network)


@pytest.mark.parametrize("seed", [1, 204])
def test_without_path_trace_the_number_of_steps_ends_what_goes_round_in_circles(seed: int) -> None:
    """Announces of a dead grandmaster run through the loops of the mesh until they have taken too many steps."""
    network = build(seed, Bmca.DEFAULT, path_trace=False, maximum_steps=24)
    settle(network)
    for _ in range(2):
        best = grandmaster(max(components(network), key=len))
        assert best is not None
        best.alive = False
        settle(network, 200)


def test_the_same_with_the_standards_own_limit_of_255_steps() -> None:
    network = build(5, Bmca.DEFAULT, path_trace=False, boundary=5, ordinary=3)
    settle(network)
    best = grandmaster(network.clocks)
    assert best is not None
    best.alive = False
    settle(network, 1200)


@pytest.mark.parametrize("bmca", VARIANTS)
def test_a_network_that_lost_a_third_of_its_announces_converges_once_it_loses_none(bmca: Bmca) -> None:
    network = build(11, bmca, path_trace=True)
    for segment in network.segments:
        segment.loss = 0.3
    network.run(120)
    for segment in network.segments:
        segment.loss = 0.0
    settle(network)


@pytest.mark.parametrize("seed", range(3))
def test_some_loss_does_not_change_who_is_grandmaster(seed: int) -> None:
    network = build(seed, Bmca.DEFAULT, path_trace=True)
    settle(network)
    best = grandmaster(network.clocks)
    assert best is not None
    for segment in network.segments:
        segment.loss = 0.1
    followers = 0
    for _ in range(120):
        network.run(1)
        assert all(port.state is PortState.TIME_TRANSMITTER for port in best.ports)
        followers += sum(clock.sets.parent.grandmaster == best.settings.identity for clock in network.clocks)

    assert followers > 120 * 0.8 * len(network.clocks)


def test_two_ports_of_one_clock_in_one_network_send_once_and_take_over_from_each_other() -> None:
    network = Network(3, Bmca.DEFAULT, path_trace=False)
    switch, cable = network.segment(), network.segment()
    sender = network.clock(switch, switch, clock_class=187)
    follower = network.clock(switch, cable, clock_class=248)
    settle(network)

    assert [PortState.TIME_TRANSMITTER, PortState.PASSIVE] == [port.state for port in sender.ports]
    assert sender.ports[0].identity == follower.ports[0].parent

    switch.ports.remove(sender.ports[0])
    sender.ports[0].segment = cable
    cable.ports.append(sender.ports[0])
    settle(network)
    assert [PortState.TIME_TRANSMITTER] * 2 == [port.state for port in sender.ports]


def test_what_is_checked_for_is_found() -> None:
    """Each of the faults that the other tests look for, made on purpose."""
    network = build(1, Bmca.DEFAULT, path_trace=True)
    settle(network)
    best = grandmaster(network.clocks)
    assert best is not None
    follower = next(clock for clock in network.clocks if len(clock.ports) > 2 and clock is not best)
    receiver = next(port for port in follower.ports if port.state is PortState.TIME_RECEIVER)

    receiver.state = PortState.TIME_TRANSMITTER
    assert any("follows on 0 ports" in fault for fault in faults(network))
    assert any("ports send in one segment" in fault for fault in faults(network))
    receiver.state = PortState.TIME_RECEIVER
    receiver.parent = follower.ports[-1].identity
    assert any("no way to the grandmaster" in fault for fault in faults(network))
    best.alive = False
    assert any("rather than" in fault for fault in faults(network))
