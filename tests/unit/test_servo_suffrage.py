"""A fence around the time, and sources that are only provisional: who has a vote, and what becomes of the clock."""

from __future__ import annotations

from dataclasses import replace

import pytest
from servo_support import SYSTEM, Bench, BenchClock, mono, status, tai

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, SourceId
from timesync.base.time import Duration
from timesync.servo.command import CoreSettings
from timesync.servo.overview import overview
from timesync.servo.steering import SteeringSettings
from timesync.servo.view import ServoState

BY = "2 of 3 Roughtime servers"
HOUR_S = 3600.0


def fence(at_s: float, *, within_s: float = 3.0, lasting_s: float = 7200.0) -> Fence:
    """The truth is known to ``within_s``."""
    within = Duration.from_s(within_s)
    return Fence(mono(at_s), tai(at_s) - within, tai(at_s) + within, mono(at_s + lasting_s), BY)


def enclose(bench: Bench, around: Fence | None, *, awaited: bool = False) -> None:
    bench.perform(bench.controller.on_fence(around, bench.now(), awaited=awaited))


def doubt(bench: Bench, name: str, *, provisional: bool = True) -> None:
    """A source's protocol says whether it is provisional."""
    bench.perform(bench.controller.on_status(replace(status(name), provisional=provisional), bench.now()))


def states(bench: Bench) -> dict[str, str]:
    return {view.source: view.state.value for view in overview(bench.controller, bench.now()).sources}


def reason(bench: Bench, name: str) -> str:
    return bench.controller.owner(SourceId(name)).sources[SourceId(name)].ruling.reason


def new_bench(*, minimum: int = 1, **clock: float) -> Bench:
    settings = CoreSettings(served=SYSTEM, steering=SteeringSettings(panic_s=1e9), minimum_sources=minimum)
    return Bench([BenchClock(SYSTEM, 2e-5, **clock)], settings=settings)


def hour_ahead(_: float) -> float:
    """A source whose time is an hour ahead sees the clock an hour behind."""
    return -HOUR_S


# -- the fence itself


def test_a_fence_gets_wider_by_what_the_monotonic_clock_may_have_gone_wrong() -> None:
    near, far = fence(0.0), fence(0.0).carried(mono(2000.0))
    assert tai(2000 - 3 - 1) == far.earliest
    assert tai(2000 + 3 + 1) == far.latest
    assert None is near.beyond(tai(2003.9), Duration(0), mono(2000.0))
    assert Duration.from_s(1) == near.beyond(tai(2005), Duration(0), mono(2000.0))
    assert Duration.from_s(-1) == near.beyond(tai(1994), Duration.from_s(1), mono(2000.0))
    assert tai(2004) == near.nearest(tai(9999), mono(2000.0))
    assert tai(1996) == near.nearest(tai(-9999), mono(2000.0))
    assert tai(2001) == near.nearest(tai(2001), mono(2000.0))


# -- sources outside of it


def test_a_majority_that_lies_is_shut_out_and_the_one_that_is_right_leads() -> None:
    bench = new_bench(x=0.05)
    enclose(bench, fence(0.0))
    for name in ("liar1", "liar2"):
        bench.source(name, error=hour_ahead)
    bench.source("right")
    bench.run(60)
    assert {"liar1": "excluded", "liar2": "excluded", "right": "selected"} == states(bench)
    # Its bound of some tenths of a millisecond and three seconds and a little are taken off.
    assert f"its time is at least 59.9 min ahead by {BY}" == reason(bench, "liar1")
    assert abs(bench.clocks[SYSTEM].offset_s) < 1e-4
    assert ServoState.LOCKED is bench.state()
    (said, _) = bench.noted("contradicted")
    assert ("warning", f"liar1 is not believed: its time is at least 59.9 min ahead by {BY}") == (said.level, said.text)


def test_without_a_fence_the_same_majority_wins() -> None:
    bench = new_bench(x=0.05)
    for name in ("liar1", "liar2"):
        bench.source(name, error=hour_ahead)
    bench.source("right")
    bench.run(60)
    assert {"liar1": "selected", "liar2": "selected", "right": "falseticker"} == states(bench)


def test_a_trusted_source_is_no_exception() -> None:
    bench = new_bench()
    enclose(bench, fence(0.0))
    bench.source("receiver", trusted=True, error=hour_ahead)
    bench.source("right")
    bench.run(60)
    assert {"receiver": "excluded", "right": "selected"} == states(bench)


def test_what_lies_inside_is_let_alone_however_coarse_the_fence() -> None:
    bench = new_bench()
    enclose(bench, fence(0.0, within_s=30.0))
    for name in ("a", "b"):
        bench.source(name)
    bench.source("odd", error=lambda _: 20.0)
    bench.run(60)
    assert {"a": "selected", "b": "selected", "odd": "falseticker"} == states(bench)


def test_a_fence_that_is_old_counts_no_more() -> None:
    bench = new_bench()
    enclose(bench, fence(0.0, lasting_s=100.0))
    bench.source("liar", error=hour_ahead)
    bench.run(90)
    assert {"liar": "excluded"} == states(bench)
    assert 0 == bench.clocks[SYSTEM].steps
    bench.run(60)
    assert {"liar": "selected"} == states(bench)


def test_nobody_says_anything_any_more() -> None:
    bench = new_bench()
    enclose(bench, fence(0.0))
    bench.source("liar", error=hour_ahead)
    bench.run(60)
    enclose(bench, None)
    assert {"liar": "selected"} == states(bench)


# -- the clock outside of it


def test_a_clock_that_was_led_astray_is_not_believed_and_is_set_right_again() -> None:
    bench = new_bench()
    liar = bench.source("liar", error=hour_ahead)
    bench.run(60)
    assert (ServoState.LOCKED, True) == (bench.state(), bench.reports[SYSTEM].synchronized)
    enclose(bench, fence(60.0))
    assert (ServoState.ACQUIRING, False) == (bench.state(), bench.reports[SYSTEM].synchronized)
    assert f"its own time is at least 59.9 min ahead by {BY}" == bench.controller.standing(SYSTEM).reason
    assert f"at least 59.9 min ahead by {BY}" == bench.controller.contradiction(SYSTEM, bench.now())
    bench.run(300)
    assert ServoState.ACQUIRING is bench.state(), "no holdover on a time that cannot be right"
    liar.error = lambda _: 0.0
    bench.run(200)
    assert (ServoState.LOCKED, True) == (bench.state(), bench.reports[SYSTEM].synchronized)
    assert abs(bench.clocks[SYSTEM].offset_s) < 1e-3
    assert None is bench.controller.contradiction(SYSTEM, bench.now())


def test_a_clock_in_holdover_is_let_alone_while_it_can_be_right() -> None:
    bench = new_bench()
    source = bench.source("a")
    bench.run(120)
    source.up = False
    bench.perform(bench.controller.on_status(status("a", reach=0), bench.now()))
    enclose(bench, fence(120.0))
    bench.run(600)
    assert ServoState.HOLDOVER is bench.state()


# -- provisional sources


def test_beside_one_that_is_verified_provisional_sources_have_no_vote_however_many_they_are() -> None:
    bench = new_bench()
    bench.source("verified")
    for name in ("p1", "p2", "p3"):
        bench.source(name, error=hour_ahead)
        doubt(bench, name)
    bench.run(60)
    assert {"verified": "selected", "p1": "candidate", "p2": "candidate", "p3": "candidate"} == states(bench)
    assert "provisional: it has no vote beside verified before it is verified" == reason(bench, "p2")
    assert 0 == bench.clocks[SYSTEM].steps
    assert abs(bench.clocks[SYSTEM].offset_s) < 1e-4


def test_a_provisional_source_that_is_trusted_has_no_vote_either() -> None:
    bench = new_bench()
    bench.source("verified")
    bench.source("p", trusted=True, error=hour_ahead)
    doubt(bench, "p")
    bench.run(60)
    assert {"verified": "selected", "p": "candidate"} == states(bench)


def test_alone_they_set_the_clock_and_vote_like_any_other_once_they_are_verified() -> None:
    bench = new_bench(x=5.0)
    bench.source("p1")
    bench.source("p2")
    doubt(bench, "p1")
    doubt(bench, "p2")
    bench.run(60)
    assert ({"p1": "selected", "p2": "selected"}, ServoState.LOCKED) == (states(bench), bench.state())
    late = bench.source("late")
    late.next_s = bench.t
    bench.run(30)
    assert {"p1": "candidate", "p2": "candidate", "late": "selected"} == states(bench)
    doubt(bench, "p1", provisional=False)
    doubt(bench, "p2", provisional=False)
    assert {"p1": "selected", "p2": "selected", "late": "selected"} == states(bench)


def test_a_verified_source_that_falls_silent_gives_the_vote_back() -> None:
    bench = new_bench()
    verified = bench.source("verified")
    bench.source("p")
    doubt(bench, "p")
    bench.run(30)
    assert {"verified": "selected", "p": "candidate"} == states(bench)
    verified.up = False
    bench.perform(bench.controller.on_status(status("verified", reach=0), bench.now()))
    bench.run(30)
    assert {"verified": "unreachable", "p": "selected"} == states(bench)


@pytest.mark.parametrize(("error", "selected"), [(0.0, True), (-HOUR_S, False)])
def test_they_make_up_the_number_that_must_agree_where_they_agree(error: float, selected: bool) -> None:
    bench = new_bench(minimum=2)
    bench.source("verified")
    for name in ("p1", "p2"):
        bench.source(name, error=lambda _: error)
        doubt(bench, name)
    bench.run(60)
    state = states(bench)
    assert selected == (state["verified"] == "selected")
    assert ["selected" if selected else "candidate"] * 2 == [state["p1"], state["p2"]]
    if not selected:
        assert "1 agree of the 2 that steering.minimum_sources asks for" == reason(bench, "verified")
        assert 0 == bench.clocks[SYSTEM].steps


def test_they_wait_for_the_first_word_of_those_who_make_the_fence() -> None:
    bench = new_bench(x=5.0)
    enclose(bench, None, awaited=True)
    bench.source("p")
    doubt(bench, "p")
    bench.run(30)
    assert {"p": "candidate"} == states(bench)
    assert "provisional: others are asked first whether its time can be right" == reason(bench, "p")
    assert 0 == bench.clocks[SYSTEM].steps
    enclose(bench, fence(30.0))
    bench.run(30)
    assert ({"p": "selected"}, 1) == (states(bench), bench.clocks[SYSTEM].steps)


def test_nobody_else_waits_for_it() -> None:
    bench = new_bench(x=5.0)
    enclose(bench, None, awaited=True)
    bench.source("plain")
    bench.run(30)
    assert {"plain": "selected"} == states(bench)


def test_a_link_to_a_clock_that_has_its_time_from_a_provisional_source_is_no_better() -> None:
    phc = ClockId("phc0")
    bench = Bench([BenchClock(SYSTEM, 1e-5), BenchClock(phc, -1e-5)])
    bench.source("p", clock=phc, error=lambda _: 0.05)
    bench.source("link", parent=phc, noise_s=1e-8, delay_s=0.0, quality=None)
    bench.source("verified")
    doubt(bench, "p")
    bench.run(120)
    found = {view.source: view for view in overview(bench.controller, bench.now()).links}
    assert "selected" == states(bench)["verified"]
    assert "candidate" == found[SourceId("link")].state.value
    assert "provisional" in found[SourceId("link")].reason
    assert abs(bench.clocks[SYSTEM].offset_s) < 1e-3
