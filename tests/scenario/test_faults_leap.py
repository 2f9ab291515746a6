"""A leap second that one source alone announces, with a table that is vouched for and with one that has expired."""

from __future__ import annotations

from dataclasses import replace

import pytest
from story_support import Story, expired, leap_table

from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Utc
from timesync.base.utc import LeapTable
from timesync.sim.hardware import Fault

TTY = "/dev/ttyAMA0"
THREE = """
name: leap
description: Two servers and a receiver.
duration: 400d
settle: 10s
world:
  clock: {offset: 200ms, frequency: 20ppm, wander: 1e-9}
  servers:
    - {name: ntp1, jitter: {exponential: 20us}}
    - {name: ntp2, jitter: {exponential: 20us}}
  hardware:
    receivers:
      /dev/ttyAMA0: {language: ubx, latency: {mean: 120ms, deviation: 30ms}}
    pps:
      /dev/pps0: {receiver: /dev/ttyAMA0, noise: 100ns}
config:
  sources:
    - {ntp: ntp1, poll: [8s, 8s]}
    - {ntp: ntp2, poll: [8s, 8s]}
    - {nmea: /dev/ttyAMA0, baud: 9600}
    - {pps: /dev/pps0, pairs_with: nmea}
  serve: {ntp: {listen: ["10.0.0.1:123"]}}
"""
ALONE = THREE.replace("    - {ntp: ntp1, poll: [8s, 8s]}\n    - {ntp: ntp2, poll: [8s, 8s]}\n", "")


@pytest.mark.parametrize("table", [leap_table(), expired(leap_table())], ids=["valid", "expired"])
def test_one_of_three_that_announces_a_leap_second_is_not_believed(table: LeapTable) -> None:
    story = Story(THREE, table=table)
    story.fault(Fault.FALSE_LEAP, TTY, 60, 120)
    story.run(240)
    story.assert_honest()
    story.assert_said(
        "leap-vote", f"one of three sources ({TTY}) announces a leap second", "not believed", since=60, until=100
    )
    assert {Leap.NONE} == story.leaps(30, 240)
    assert {Leap.NONE} == {report.leap for report in story.host.system.reports}
    assert [] == story.states(60, 240)
    assert story.worst_s(60, 240) < 1e-6


def test_a_table_that_is_vouched_for_is_not_overruled_by_the_only_source() -> None:
    story = Story(ALONE)
    story.fault(Fault.FALSE_LEAP, TTY, 60, 60)
    story.run(150)
    story.assert_said(
        "leap-vote", f"the only source ({TTY})", "the table does not know: not believed", since=60, until=100
    )
    assert {Leap.NONE} == story.leaps(30, 150)


def test_in_a_month_without_leap_seconds_nobody_is_believed_even_when_the_table_has_expired() -> None:
    story = Story(ALONE, table=expired(leap_table()))
    story.fault(Fault.FALSE_LEAP, TTY, 60, 60)
    story.run(150)
    story.assert_said("leap-vote", "for the end of a month that has never had one: not believed", since=60, until=100)
    assert {Leap.NONE} == story.leaps(30, 150)
    story.assert_said("the leap second table expired on", since=0, until=150)


NEW_YEAR: Instant[Utc] = Instant.from_ns(1_798_761_600 * 10**9)
"""2027-01-01 00:00:00."""
BEFORE_S = 180
"""So long before it the stories of a voted leap second begin."""


def _eve(offset: int, text: str) -> Story:
    """The last minutes of 2026, whose last second makes TAI - UTC ``offset``; the daemon's table ended long before."""
    known = expired(leap_table())
    truth = replace(leap_table(), steps=(*leap_table().steps, (NEW_YEAR.ns() // 10**9, offset)))
    return Story(text, table=known, truth=truth, start=known.tai(NEW_YEAR) - Duration.from_s(BEFORE_S))


@pytest.mark.parametrize(("offset", "leap"), [(38, Leap.INSERT), (36, Leap.DELETE)])
def test_a_leap_second_by_vote_is_taken_by_everybody_at_the_same_moment(offset: int, leap: Leap) -> None:
    story = _eve(offset, THREE)
    over = BEFORE_S + offset - 37
    story.look(60, over + 90)
    story.run(over + 120)
    story.assert_said("leap-vote", "the leap second table has expired", "believed", since=0, until=60)
    story.assert_said(
        "leap-vote", "at the end of 2026-12-31 is final by vote", f"TAI - UTC is {offset} s", since=100, until=BEFORE_S
    )
    assert {leap} == story.leaps(60, BEFORE_S - 2)
    assert {Leap.NONE} == story.leaps(over + 2, over + 120)
    assert (37, offset) == (story.status(60)["tai_utc_offset_s"], story.status(over + 90)["tai_utc_offset_s"])
    # Nobody takes the second for an error of the clock.
    assert [] == story.states(60, over + 120)
    assert not any("falseticker" in line or "step" in line for line in story.said(60, over + 120))
    assert story.offset_s("system", 60, over + 120) < 1e-6
    assert story.worst_s(over + 2, over + 120) < 1e-6
    told = {(report.leap, report.tai_utc) for report in story.host.system.reports}
    assert {(Leap.NONE, 37), (leap, 37), (Leap.NONE, offset)} == told


def test_sources_that_know_no_calendar_do_not_outvote_those_that_do() -> None:
    """One server announces; a receiver that says nothing of leap seconds, and its pulse, have no voice."""
    text = THREE.replace("    - {ntp: ntp2, poll: [8s, 8s]}\n", "").replace("language: ubx, ", "")
    story = _eve(38, text)
    story.run(BEFORE_S - 30)
    story.assert_said("leap-vote", "the only source (ntp1) announces a leap second", "believed", since=0, until=100)
    assert {Leap.INSERT} == story.leaps(60, BEFORE_S - 30)
