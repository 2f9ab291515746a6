"""An hour without reference, shortened: what is served meanwhile, and the way back."""

from __future__ import annotations

from functools import partial
from importlib import resources
from itertools import pairwise

import pytest
from story_support import NMEA_AND_PPS as FAULTLESS
from story_support import Story

from timesync.base.ids import ClockId
from timesync.base.time import Duration
from timesync.daemon.ptp_quality import Known, Stages, clock_class
from timesync.servo.view import ServoState

LOST, BACK, LAST = 1800.0, 3000.0, 3300.0


def _shortened(holdover: str = "2h") -> str:
    text = resources.files("timesync.sim").joinpath("scenarios", "holdover.yaml").read_text()
    for long, short in (
        ("at: 6h", "at: 30min"),
        ("lasting: 1h", "lasting: 20min"),
        ("holdover: 2h}", f"holdover: {holdover}}}\n  serve: {{ntp: {{listen: ['10.0.0.1:123']}}}}"),
    ):
        assert long in text
        text = text.replace(long, short)
    return text


@pytest.mark.parametrize("seed", [1, 2])
def test_a_clock_alone_stays_stratum_one_and_says_ever_less(seed: int) -> None:
    story = Story(_shortened(), seed=seed)
    story.look(BACK - 1, LAST - 1)
    story.run(LAST)
    story.assert_honest()
    assert ["locked", "holdover", "locked"] == story.states(0, LAST)
    assert {1} == story.strata(60, LAST)
    assert {b"PPS\0"} == story.references(60, LAST - 60)
    bounds = [answer.bound_s for answer in story.told(LOST + 20, BACK)]
    assert all(later >= before - 2**-16 for before, later in pairwise(bounds))
    # Before three hours were watched, 1 ppm is allowed for; 1200 s of that, and what the estimator knows itself.
    assert 1.2e-3 < bounds[-1] < 3e-3
    assert story.worst_s(LOST, BACK) < 5e-4
    assert story.worst_s(60, LOST) < 1e-6
    assert story.worst_s(BACK + 60, LAST) < 1e-6
    status = story.status(BACK - 1)
    assert "holdover" == status["state"]
    assert "holdover for 1.7 h more" in status["reason"]
    assert status["root_dispersion_s"] == pytest.approx(bounds[-1], rel=0.05)
    story.assert_said("holdover", "no usable source", since=LOST, until=LOST + 20)
    story.assert_said("locked", "follows", since=BACK, until=BACK + 30)


def test_when_the_time_is_up_nothing_is_claimed_any_more() -> None:
    story = Story(_shortened("10min"))
    story.look(BACK - 1)
    story.run(LAST)
    story.assert_honest()
    assert ["locked", "holdover", "freerun", "locked"] == story.states(0, LAST)
    assert {1} == story.strata(60, LOST + 600)
    assert {16} == story.strata(LOST + 660, BACK)
    assert {1} == story.strata(BACK + 60, LAST)
    assert "freerun" == story.status(BACK - 1)["state"]
    assert "the error may have grown to" in story.why(BACK - 1)


def test_a_clock_that_was_right_once_is_not_given_out_as_one_that_never_was() -> None:
    story = Story(FAULTLESS)
    known: dict[float, Known] = {}

    def ask(second: float) -> None:
        known[second] = story.appliance._answers.claims(ClockId("system"))

    for second in (1.0, 60.0, 62.5):
        story.at(second, partial(ask, second))
    story.at(61, lambda: story.clock("system").disturb(Duration.from_s(3)))
    story.run(63)
    assert [False, True, True] == [known[second].was_locked for second in sorted(known)]
    assert ServoState.ACQUIRING is known[62.5].state, "somebody else has set it meanwhile"
    # IEEE 1588-2019, table 4: 248 is for a clock that was never synchronized.
    assert [248, 6, 187] == [clock_class(known[second], Stages()) for second in sorted(known)]
