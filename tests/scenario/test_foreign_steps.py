"""Somebody else has set a clock, and its frequency with it."""

from __future__ import annotations

import pytest
from story_support import Story

from timesync.base.ids import ClockId
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.sim.hardware import Fault

SYSTEM = ClockId("system")
RECEIVER = "/dev/ttyAMA0"
ALONE, SET = 120, 130.3


def _steering_ppm(story: Story, second: float) -> float:
    (found,) = (clock for clock in story.status(second)["clocks"] if clock["name"] == SYSTEM)
    return float(found["steering_ppm"])


def test_a_frequency_that_came_with_a_step_is_known_at_once_and_put_right_without_any_source() -> None:
    story = Story()
    clock = story.clock(SYSTEM)

    def meddle() -> None:
        clock.disturb(Duration.from_s(3.0))
        clock.adjust_frequency(Rate.from_ppm(100))

    story.fault(Fault.UNPLUGGED, RECEIVER, ALONE)
    story.fault(Fault.NO_PULSES, "/dev/pps0", ALONE)
    story.at(SET, meddle)
    story.look(SET - 1, SET + 2, SET + 60)
    story.run(SET + 61)

    story.assert_said("foreign-change", "something else stepped the clock system by", since=SET, until=SET + 2)
    own = _steering_ppm(story, SET - 1)
    assert -20 == pytest.approx(own, abs=0.1)
    assert 100 == pytest.approx(_steering_ppm(story, SET + 2), abs=1e-3)
    assert own == pytest.approx(_steering_ppm(story, SET + 60), abs=0.1)
    assert _steering_ppm(story, SET + 60) == pytest.approx(clock.frequency().ratio * 1e6, abs=1e-3)
