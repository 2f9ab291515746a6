"""A leap second that one source alone announces, with a table that is vouched for and with one that has expired."""

from __future__ import annotations

import pytest
from story_support import Story, expired, leap_table

from timesync.base.measure import Leap
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
