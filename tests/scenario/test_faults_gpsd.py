"""What gpsd and the line to it may do wrong; the pulses are seen by the kernel as well, or only by gpsd."""

from __future__ import annotations

import pytest
from story_support import NMEA_AND_PPS, Story

from timesync.sim.hardware import Fault

GPSD = "gpsd://localhost"
MARKS = "gpsd://localhost pps"
PPS = "/dev/pps0"
ADDRESS = "localhost:2947"
WITH_GPSD = (
    NMEA_AND_PPS.replace("/dev/ttyAMA0: {latency", '"localhost:2947": {language: gpsd, latency')
    .replace("receiver: /dev/ttyAMA0", 'receiver: "localhost:2947"')
    .replace("nmea: /dev/ttyAMA0, baud: 9600", 'gpsd: "localhost:2947"')
    .replace("pairs_with: nmea", "pairs_with: gpsd")
)
GPSD_ALONE = WITH_GPSD.replace("    - {pps: /dev/pps0, pairs_with: gpsd}\n", "")
BEGIN, END, LAST = 100.0, 180.0, 260.0
DURING = 178.0
LOCKED_S = 1e-6


def _story(fault: Fault, text: str = WITH_GPSD) -> Story:
    story = Story(text)
    story.fault(fault, ADDRESS, BEGIN, END - BEGIN)
    story.look(BEGIN - 2, DURING, LAST - 1)
    story.run(LAST)
    assert ["locked"] == story.states(0, BEGIN)
    story.assert_honest()
    assert {1} == story.strata(60, LAST)
    assert "locked" == story.status(LAST - 1)["state"]
    assert story.worst_s(60, BEGIN) < LOCKED_S
    assert story.worst_s(END + 60, LAST) < LOCKED_S
    return story


def test_sky_fix_and_latency_arrive() -> None:
    story = Story(WITH_GPSD)
    story.look(100)
    story.run(101)
    details = story.source(100, GPSD)["details"]
    assert ("3D", 9, 12) == (details["fix"], details["satellites_used"], details["satellites_seen"])
    assert "TOFF" == details["message"]
    assert "Its fix is 3D, with 9 of 12 satellites" in story.why(100, GPSD)


def test_without_gpsd_the_pulses_of_the_kernel_go_on() -> None:
    story = _story(Fault.GPSD_GONE)
    story.assert_said("device-lost", GPSD, "trying again", since=BEGIN, until=BEGIN + 2)
    story.assert_said("device-lost", GPSD, "Connection refused", since=BEGIN, until=BEGIN + 5)
    story.assert_said("device-back", GPSD, since=END, until=END + 20)
    assert [] == story.states(BEGIN, LAST)
    assert story.worst_s(BEGIN, END) < LOCKED_S
    assert "the receiver is gone" in story.why(DURING, GPSD)
    assert len(story.said(BEGIN, END)) < 6, "what fails again and again is said once"


def test_gpsd_alone_gone_and_back_is_a_holdover_in_between() -> None:
    story = _story(Fault.GPSD_GONE, GPSD_ALONE)
    story.assert_said("holdover", "no usable source", since=BEGIN, until=BEGIN + 15)
    story.assert_said("device-back", GPSD, since=END, until=END + 20)
    assert ["holdover", "locked"] == story.states(BEGIN, LAST)
    assert story.worst_s(BEGIN, END) < 10 * LOCKED_S
    assert {b"PPS\0"} == story.references(60, END)
    assert "holdover" == story.status(DURING)["state"]
    assert "nothing has come from it" in story.why(DURING, MARKS)
    assert "selected" == story.source(LAST - 1, MARKS)["state"]


def test_a_receiver_that_gpsd_loses_takes_its_pulses_along() -> None:
    story = _story(Fault.UNPLUGGED)
    story.assert_said("gnss-gone", GPSD, "the receiver is gone", since=BEGIN, until=BEGIN + 2)
    story.assert_said("device-lost", PPS, "plug it in", since=BEGIN, until=BEGIN + 2)
    story.assert_said("device-back", PPS, since=END, until=END + 5)
    assert ["holdover", "locked"] == story.states(BEGIN, LAST)


def test_a_garbled_stream_is_left_and_asked_for_again_ever_less_often() -> None:
    story = _story(Fault.GARBLED)
    story.assert_said("device-lost", GPSD, "hardly ever a report of gpsd", since=BEGIN, until=BEGIN + 15)
    story.assert_said("device-back", GPSD, since=BEGIN, until=LAST)
    assert [] == story.states(BEGIN, LAST)
    assert story.worst_s(BEGIN, END) < LOCKED_S
    drops = story.source(DURING, GPSD)["drops"]
    assert drops["not UTF-8"] + drops["not JSON"] > 50


@pytest.mark.parametrize(
    ("fault", "phrase"),
    [
        (Fault.STALE, "repeats the same time"),
        (Fault.NO_FIX, "the receiver has no fix"),
        (Fault.SILENT, "nothing comes from the receiver"),
    ],
)
def test_what_a_receiver_does_wrong_is_told_through_gpsd_too(fault: Fault, phrase: str) -> None:
    story = _story(fault, GPSD_ALONE)
    story.assert_said(GPSD, phrase, since=BEGIN, until=BEGIN + 10)
    assert phrase in story.why(DURING, GPSD)
    assert story.worst_s(BEGIN, END) < 10 * LOCKED_S


def test_a_gpsd_that_starts_later_is_used() -> None:
    story = Story(GPSD_ALONE)
    story.fault(Fault.GPSD_GONE, ADDRESS, 0, 100)
    story.look(90)
    story.run(240)
    story.assert_honest()
    assert {16} == story.strata(0, 99)
    story.assert_said("device-lost", "Connection refused", since=0, until=5)
    assert "the receiver is gone" in story.why(90)
    assert ["locked"] == story.states(0, 240)
    assert story.worst_s(200, 240) < LOCKED_S
