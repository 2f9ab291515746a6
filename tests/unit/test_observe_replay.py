"""Replays: the same decisions with the same settings, and others as they should be with other ones."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
from record_support import WAN, record

from timesync.base.ids import ClockId
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Tai
from timesync.observe.records import rows
from timesync.observe.records.rows import RecordError, Row
from timesync.observe.replay.figures import Baseline, replay
from timesync.observe.replay.player import Changes, Player
from timesync.observe.replay.reference import Sighting, estimated, smoothed
from timesync.observe.replay.steered import Twice
from timesync.servo.command import CoreSettings

CARD = """
name: card
description: A card with a pulse, which the system clock follows, and a step by somebody else.
duration: 4min
settle: 1min
world:
  clock: {offset: 20ms, frequency: -30ppm, wander: 1e-9}
  hardware:
    phcs: {eth0: {offset: 3s, frequency: 40ppm, wander: 1e-9}}
  servers:
    - {name: ntp1, delay: 200us, jitter: {exponential: 20us}}
  events:
    - {at: 2min, clock_step: 5ms}
config:
  clocks: {eth0: {phc: eth0}}
  sources:
    - {ntp: ntp1, poll: [1s, 1s]}
"""


def slewing(ratio: float) -> Changes:
    def changed(settings: CoreSettings) -> CoreSettings:
        return replace(settings, steering=replace(settings.steering, max_slew=ratio))

    return Changes(changed)


@pytest.mark.parametrize("text", [WAN, CARD], ids=["wan", "card"])
def test_the_same_settings_make_the_same_decisions(text: str) -> None:
    recorded, _ = record(text)
    baseline = Baseline(recorded)
    commands = sum(row.kind in (rows.APPLIED, rows.STEPPED) for row in recorded)
    assert commands > 100
    assert (commands, commands) == (baseline.fidelity.compared, baseline.fidelity.same)
    assert baseline.fidelity.apart < 1.6e-11  # half of the last bit of the kernel's frequencies
    assert baseline.reference is not None
    again = replay(recorded, Changes(), "again", baseline.reference)
    assert baseline.figures is not None
    assert baseline.figures.rms_s == pytest.approx(again.rms_s, rel=1e-6)
    assert baseline.figures.locked_s == again.locked_s
    assert baseline.figures.selected == again.selected
    assert baseline.figures.steps == again.steps


def test_a_decision_that_the_core_does_not_take_again_is_seen() -> None:
    recorded, _ = record(WAN)
    place = [index for index, row in enumerate(recorded) if row.kind == rows.APPLIED][100]
    recorded[place] = recorded[place]._replace(rate=(recorded[place].rate or 0.0) + 1e-6)
    fidelity = Baseline(recorded).fidelity
    assert 0 < fidelity.compared - fidelity.same


def test_the_figures_are_true() -> None:
    recorded, result = record(WAN)
    baseline = Baseline(recorded)
    assert baseline.figures is not None
    assert baseline.reference is not None
    assert "near, 1" in baseline.reference.words
    settled = [abs(true) for true, _ in result.trace[600:]]
    assert baseline.figures.percentiles_s[50] < 5 * sorted(settled)[len(settled) // 2] + 1e-6
    assert baseline.figures.rms_s < 10e-6
    assert 1.0 == baseline.figures.held


def test_a_slower_slew_takes_as_much_longer_as_it_should() -> None:
    recorded, _ = record(WAN)
    baseline = Baseline(recorded)
    assert baseline.reference is not None
    assert baseline.figures is not None
    slow = replay(recorded, slewing(1e-4), "slow", baseline.reference)
    # 30 ms at 100 ppm.
    assert slow.locked_s == pytest.approx(300, abs=20)
    assert baseline.figures.locked_s is not None
    assert baseline.figures.locked_s < 30
    assert slow.rms_s < 10e-6
    fast = replay(recorded, slewing(5e-3), "fast", baseline.reference)
    assert fast.locked_s == baseline.figures.locked_s


def test_a_clock_that_was_slewed_can_be_stepped_instead() -> None:
    recorded, result = record(WAN)
    baseline = Baseline(recorded)
    assert baseline.reference is not None
    assert 0 == result.steps

    def stepping(settings: CoreSettings) -> CoreSettings:
        return replace(settings, steering=replace(settings.steering, step_threshold_s=1e-3))

    stepped = replay(recorded, Changes(stepping), "stepped", baseline.reference)
    assert 1 == stepped.steps
    assert stepped.rms_s < 10e-6
    assert stepped.held == 1.0


def test_a_source_can_be_left_out() -> None:
    recorded, _ = record(WAN)
    baseline = Baseline(recorded)
    assert baseline.reference is not None
    without = Changes(source=lambda spec: replace(spec, noselect=spec.name == "near"))
    found = replay(recorded, without, "without", baseline.reference)
    assert 0 == found.selected["near"]
    assert found.selected["far"] > 0.9
    assert found.rms_s > 5e-6  # half of its jitter, and no longer microseconds


def test_a_step_by_somebody_else_begins_another_stretch() -> None:
    recorded, _ = record(CARD)
    assert 1 == sum(row.kind == rows.FOREIGN for row in recorded)
    baseline = Baseline(recorded)
    assert baseline.reference is not None
    assert [1, 2] == sorted(baseline.reference.courses)
    slow = replay(recorded, slewing(1e-3), "slow", baseline.reference)
    assert slow.maximum_s > 1e-3
    assert slow.percentiles_s[50] < 50e-6


def test_a_restart_of_the_daemon_begins_another_session() -> None:
    text = WAN.replace("40min", "20min").replace("config:", "  events:\n    - {at: 10min, restart: true}\nconfig:")
    recorded, _ = record(text)
    assert 2 == sum(row.kind == rows.BEGIN for row in recorded)
    baseline = Baseline(recorded)
    assert baseline.fidelity.same == baseline.fidelity.compared > 100
    assert baseline.figures is not None
    assert baseline.figures.span_s == pytest.approx(1200, rel=0.1)
    twice = Baseline([*recorded, *recorded])
    assert twice.figures is not None
    assert twice.figures.maximum_s < 1e-3  # not the 30 ms of the second beginning


def test_a_recording_without_a_beginning_is_refused() -> None:
    recorded, _ = record(WAN)
    with pytest.raises(RecordError, match="has no beginning"):
        list(Player().play(recorded[1:]))
    wrong = recorded[0]._replace(details={**(recorded[0].details or {}), "format": 99})
    with pytest.raises(RecordError, match="written in format 99; this timesync reads 1"):
        list(Player().play([wrong]))
    short = dict(recorded[0].details or {})
    del short["settings"]
    with pytest.raises(RecordError, match="a beginning without its 'settings'"):
        list(Player().play([recorded[0]._replace(details=short)]))


def test_readings_move_by_the_difference_of_what_was_done() -> None:
    start: Instant[Tai] = Instant.from_ns(1_800_000_000 * 10**9)
    twice = Twice(start, 0, Rate(0.0))
    later = start + Duration.from_s(100)
    assert later == twice.moved(later)
    twice.theirs.steered(Rate(1e-3), start)
    # A reading of theirs 100 s later is 100/1.001 s of the free clock.
    assert (later - twice.moved(later)).s() == pytest.approx(100 - 100 / 1.001, abs=1e-9)
    twice.ours.steered(Rate(1e-3), start)
    assert later == twice.moved(later)
    twice.ours.stepped(Duration.from_s(-7), start + Duration.from_s(50), 1)
    assert (twice.moved(later) - later).s() == pytest.approx(-7, abs=1e-9)
    assert twice.moved(later) == twice.reading(twice.free(later))


def test_smoothing_finds_the_course_of_a_clock_through_noise() -> None:
    noise = random.Random(1)
    start: Instant[Tai] = Instant.from_ns(10**18)
    seen, true = [], []
    for index in range(500):
        offset = 1e-3 + 5e-6 * index + (0 if index < 250 else 4e-6 * (index - 250))
        true.append(offset)
        error = noise.gauss(0, 1e-6) + (1e-3 if index == 100 else 0)
        free = start + Duration.from_s(index)
        seen.append(Sighting(free, Duration.from_s(offset + error), 1e-12))
    course = smoothed(seen, 1e-8)
    assert course is not None
    errors = []
    for one, offset in zip(seen[1:-1], true[1:-1], strict=True):
        # A clock that nobody steers reads its free time: what is left is its own offset.
        error = course.error_s(one.free, one.free)
        assert error is not None
        errors.append(abs(error - offset))
    assert sorted(errors)[len(errors) // 2] < 0.4e-6
    assert sorted(errors)[-5] < 1.5e-6  # the worst are at the bend, before the change is noticed
    assert errors[99] < 0.5e-6
    assert course.error_s(start - Duration.from_s(1), start - Duration.from_s(1)) is None
    assert smoothed(seen[:2], 1e-8) is None
    assert estimated([(start, Duration(0))]) is None


def test_what_is_recorded_is_enough_for_every_entrance_of_the_core() -> None:
    """A new entrance of the controller must be recorded too, or a replay is no longer the same."""
    from timesync.observe.records.taped import TapedController
    from timesync.servo.controller import Controller

    asking = {
        "clocks", "settings", "standing", "owner", "feed", "sources", "deadline", "news",
        "fence", "contradiction", "shut_out",
    }  # fmt: skip
    entrances = {name for name in vars(Controller) if not name.startswith("_")} - asking
    assert entrances <= set(vars(TapedController))


def test_a_row_of_an_unknown_kind_is_passed_over() -> None:
    recorded, _ = record(WAN)
    strange = Row(recorded[5].utc_ns, "of-tomorrow", mono=recorded[5].mono, clocks=recorded[0].clocks)
    fidelity = Baseline([*recorded[:5], strange, *recorded[5:]]).fidelity
    assert fidelity.same == fidelity.compared > 0
    assert not math.isnan(fidelity.apart)
    assert ClockId("system") in (recorded[0].clocks or {})
