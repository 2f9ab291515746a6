"""Events in order, and random streams that do not depend on each other or on PYTHONHASHSEED."""

from __future__ import annotations

import pytest

from timesync.base.time import Duration
from timesync.sim.world import World

S = Duration.from_s(1)


def test_events_happen_in_order_and_ties_as_asked_for() -> None:
    world, seen = World(1), list[str]()
    world.after(S * 2, lambda: seen.append("c"))
    world.after(S, lambda: seen.append("a"))
    world.after(S, lambda: seen.append("b"))
    world.after(S * 3, lambda: seen.append("too late"))
    world.run_for(S * 2)
    assert ["a", "b", "c"] == seen
    assert S * 2 == world.elapsed


def test_events_see_their_own_time_and_may_make_more() -> None:
    world, seen = World(1), list[int]()

    def tick() -> None:
        seen.append(world.elapsed.ns())
        world.after(S, tick)

    world.after(S, tick)
    world.run_for(S * 3)
    assert [1_000_000_000, 2_000_000_000, 3_000_000_000] == seen


def test_a_cancelled_event_does_not_happen() -> None:
    world, seen = World(1), list[str]()
    event = world.after(S, lambda: seen.append("no"))
    assert not event.cancelled
    event.cancel()
    assert event.cancelled
    assert world.next_units() is None
    world.run_for(S * 2)
    assert [] == seen
    assert not world.step()


def test_the_past_is_refused() -> None:
    world = World(1)
    world.run_for(S)
    with pytest.raises(ValueError, match="too late"):
        world.at(world.start, lambda: None)


def test_streams_depend_on_seed_and_name_only() -> None:
    # SHA-256 of "1/a" seeds a Mersenne Twister: the same on every machine, by definition of both.
    alone = [World(1).stream("a").random() for _ in range(3)]
    assert 1 == len(set(alone))
    world = World(1)
    world.stream("b").random()
    assert alone[0] == world.stream("a").random()
    assert alone[0] != world.stream("a").random()
    assert alone[0] != World(2).stream("a").random()
    assert alone[0] != World(1).stream("b").random()
