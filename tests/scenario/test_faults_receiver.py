"""What a receiver on a serial port and its pulse may do wrong: NTP goes on, honestly, and the log says why.

Each story is locked when the fault comes, has it for 80 s, and is well again within a minute.
"""

from __future__ import annotations

import pytest
from story_support import NMEA_AND_PPS, Story

from timesync.sim.hardware import Fault

TTY = "/dev/ttyAMA0"
PPS = "/dev/pps0"
BEGIN, END, LAST = 100.0, 180.0, 260.0
DURING = 178.0
LOCKED_S = 1e-6
"""Far more than the noise of the pulses, far less than any second that is mistaken."""

WITH_SERVERS = NMEA_AND_PPS.replace(
    "  hardware:",
    """  servers:
    - {name: ntp1, jitter: {exponential: 20us}}
    - {name: ntp2, jitter: {exponential: 20us}}
  hardware:""",
).replace(
    "  sources:",
    """  sources:
    - {ntp: ntp1, poll: [16s, 16s]}
    - {ntp: ntp2, poll: [16s, 16s]}""",
)


def _story(fault: Fault, device: str = TTY, text: str = NMEA_AND_PPS) -> Story:
    story = Story(text)
    story.fault(fault, device, BEGIN, END - BEGIN)
    story.look(BEGIN - 2, DURING, LAST - 1)
    story.run(LAST)
    assert ["locked"] == story.states(0, BEGIN)
    assert story.worst_s(60, BEGIN) < LOCKED_S
    # Whatever happened: it was served, it was true, and it is well again.
    story.assert_honest()
    assert {1} == story.strata(60, LAST)
    assert "locked" == story.status(LAST - 1)["state"]
    assert "selected" == story.source(LAST - 1, PPS)["state"]
    assert story.worst_s(END + 60, LAST) < LOCKED_S
    return story


def test_a_date_of_another_week_cycle_is_moved_and_that_is_said() -> None:
    story = _story(Fault.WRONG_WEEK)
    story.assert_said("gnss-week-mended", TTY, "week number rollover", since=BEGIN, until=BEGIN + 5)
    assert [] == story.states(BEGIN, LAST)
    assert story.worst_s(BEGIN, END) < LOCKED_S
    assert "1 sample was refused (week rollover)" in story.why(DURING, TTY)


def test_a_receiver_of_another_week_cycle_numbers_from_the_start() -> None:
    story = Story()
    story.fault(Fault.WRONG_WEEK, TTY, 0)
    story.run(120)
    story.assert_honest()
    assert ["locked"] == story.states(0, 120)
    assert story.worst_s(60, 120) < LOCKED_S


def test_the_pulses_keep_the_clock_while_nothing_decides_which_second_a_receiver_that_jumped_is_in() -> None:
    story = _story(Fault.JUMP)
    story.assert_said("gnss-jump", TTY, "its time jumped by +1", since=BEGIN, until=BEGIN + 5)
    # It stays with its new time, so that one of the two must be wrong, and nobody else can say which.
    story.assert_said("holdover", "no majority", since=BEGIN + 25, until=BEGIN + 40)
    assert "holdover" == story.status(DURING)["state"]
    assert story.worst_s(BEGIN, END) < 10 * LOCKED_S
    assert "no majority" in story.why(DURING, TTY)
    assert abs(story.source(DURING, TTY)["offset_s"] + 1) < 0.1


def test_two_servers_know_better_than_a_receiver_that_jumped() -> None:
    story = _story(Fault.JUMP, text=WITH_SERVERS)
    story.assert_said("gnss-jump", TTY, "its time jumped by +1", since=BEGIN, until=BEGIN + 5)
    assert [] == story.states(BEGIN, LAST)
    assert story.worst_s(BEGIN, END) < LOCKED_S
    story.assert_said("falseticker", TTY, "disagrees with 3 others by", since=BEGIN + 25, until=BEGIN + 40)
    assert "falseticker" == story.source(DURING, TTY)["state"]
    assert "disagrees with 3 others by" in story.why(DURING, TTY)
    assert abs(story.source(DURING, TTY)["offset_s"] + 1) < 0.1
    assert "candidate" == story.source(LAST - 1, TTY)["state"]


def test_a_fix_that_is_repeated_is_not_time_and_its_pulses_mean_nothing() -> None:
    story = _story(Fault.STALE)
    story.assert_said("gnss-stale", TTY, "repeats the same time", since=BEGIN, until=BEGIN + 5)
    story.assert_said("holdover", TTY, "repeats the same time", since=BEGIN, until=BEGIN + 5)
    story.assert_said("gnss-stale-over", TTY, "is believed again", since=END, until=END + 5)
    assert ["holdover", "locked"] == story.states(BEGIN, LAST)
    assert "holdover" == story.status(DURING)["state"]
    assert f"its receiver {TTY}: repeats the same time" in story.why(DURING, PPS)


def test_pulses_without_a_fix_drift_and_are_not_followed() -> None:
    story = _story(Fault.NO_FIX)
    story.assert_said("gnss-no-fix", TTY, "the receiver has no fix", since=BEGIN, until=BEGIN + 5)
    story.assert_said("holdover", "the receiver has no fix", since=BEGIN, until=BEGIN + 5)
    story.assert_said("gnss-no-fix-over", TTY, since=END, until=END + 20)
    assert ["holdover", "locked"] == story.states(BEGIN, LAST)
    # The receiver's oscillator is 0.5 ppm off: its pulses would have taken the clock 60 µs along.
    assert story.worst_s(BEGIN, END) < 10 * LOCKED_S
    assert f"its receiver {TTY}: the receiver has no fix" in story.why(DURING, PPS)
    assert "no fix, with 0 of 12 satellites" in story.why(DURING, TTY)


def test_pulses_of_a_receiver_that_never_had_a_fix_are_not_used() -> None:
    story = Story(NMEA_AND_PPS.replace("deviation: 30ms}", "deviation: 30ms}, fix: {first: 100s}"))
    story.look(90)
    story.run(240)
    story.assert_honest()
    assert {16} == story.strata(0, 99)
    assert "acquiring" == story.status(90)["state"]
    assert "the receiver has no fix" in story.why(90)
    assert ["locked"] == story.states(0, 240)
    assert story.worst_s(180, 240) < LOCKED_S


def test_a_fix_without_pulses_does_not_spoil_the_holdover() -> None:
    story = _story(Fault.NO_PULSES)
    story.assert_said("holdover", "alone the clock is still within", since=BEGIN, until=BEGIN + 20)
    story.assert_said("pulses-back", PPS, "81 s", since=END, until=END + 5)
    story.assert_said("pulses-numbered", PPS, TTY, since=END, until=END + 10)
    assert {b"PPS\0"} == story.references(60, BEGIN)
    # Messages come 120 ms late, give or take 30 ms: the clock alone is better for hours.
    assert {b"PPS\0"} == story.references(BEGIN + 30, END)
    assert max(answer.bound_s for answer in story.told(BEGIN + 30, END)) < 0.001
    assert "nothing has come from it" in story.why(DURING, PPS)
    assert "The last pulse came 1.32 min ago" in story.why(DURING, PPS)
    assert "The last pulse came" not in story.why(LAST - 1, PPS)
    assert 80 == story.source(LAST - 1, PPS)["details"]["missed"]


def test_a_receiver_that_falls_silent_leaves_the_count_of_the_pulses() -> None:
    story = _story(Fault.SILENT)
    story.assert_said("gnss-silent", TTY, "nothing comes from the receiver", since=BEGIN, until=BEGIN + 8)
    story.assert_said("is believed again", TTY, since=END, until=END + 10)
    assert [] == story.states(BEGIN, LAST)
    assert story.worst_s(BEGIN, END) < LOCKED_S
    assert "selected" == story.source(DURING, PPS)["state"]
    assert "excluded" == story.source(DURING, TTY)["state"]
    assert not any("no full date" in line for line in story.said(END, LAST))


def test_garbled_bytes_are_counted_and_the_pulses_go_on() -> None:
    story = _story(Fault.GARBLED)
    assert [] == story.states(BEGIN, LAST)
    assert story.worst_s(BEGIN, END) < LOCKED_S
    drops = story.source(DURING, TTY)["drops"]
    assert drops["checksum"] > 50
    assert "samples were refused (checksum)" in story.why(DURING, TTY)
    assert len(story.said(BEGIN, END)) < 12, "a bad line is no reason to fill the log"


def test_a_serial_port_that_is_unplugged_is_taken_up_again() -> None:
    story = _story(Fault.UNPLUGGED)
    story.assert_said("device-lost", TTY, "trying again", since=BEGIN, until=BEGIN + 2)
    story.assert_said("device-lost", PPS, "plug it in", since=BEGIN, until=BEGIN + 2)
    story.assert_said("holdover", "the receiver is gone", since=BEGIN, until=BEGIN + 20)
    story.assert_said("device-back", TTY, since=END, until=END + 20)
    story.assert_said("device-back", PPS, since=END, until=END + 5)
    assert ["holdover", "locked"] == story.states(BEGIN, LAST)
    assert story.worst_s(BEGIN, END) < 10 * LOCKED_S
    assert "the receiver is gone" in story.why(DURING)
    assert "is gone" in story.why(DURING, PPS)


def test_pulses_alone_may_be_unplugged() -> None:
    story = _story(Fault.UNPLUGGED, PPS)
    story.assert_said("device-lost", PPS, "plug it in", since=BEGIN, until=BEGIN + 2)
    assert {b"PPS\0"} == story.references(BEGIN + 30, END)
    assert "holdover" == story.status(DURING)["state"]
    assert "excluded" == story.source(DURING, PPS)["state"]


def test_what_is_plugged_in_after_the_start_is_used() -> None:
    story = Story()
    story.fault(Fault.UNPLUGGED, TTY, 0, 100)
    story.look(90)
    story.run(240)
    story.assert_honest()
    assert {16} == story.strata(0, 99)
    assert "acquiring" == story.status(90)["state"]
    said = story.why(90)
    assert "the receiver is gone" in said
    assert "/dev/pps0 is gone" in said
    story.assert_said("device-back", TTY, since=100, until=120)
    story.assert_said("device-back", PPS, since=100, until=105)
    assert ["locked"] == story.states(0, 240)
    assert story.worst_s(200, 240) < LOCKED_S


def test_a_pulse_that_nobody_can_number_is_explained() -> None:
    story = Story(
        WITH_SERVERS.replace("exponential: 20us}}", "exponential: 20us}, behaviour: silent}")
        .replace("    - {nmea: /dev/ttyAMA0, baud: 9600}\n", "")
        .replace(", pairs_with: nmea", "")
    )
    story.look(59)
    story.run(60)
    assert {16} == story.strata(0, 60)
    assert "acquiring" == story.status(59)["state"]
    assert "pulses arrive, but nothing tells which second it marks" in story.why(59, PPS)


@pytest.mark.parametrize("seed", [2, 3])
def test_any_seed_survives_all_of_them_one_after_the_other(seed: int) -> None:
    story = Story(seed=seed)
    faults = [
        Fault.NO_FIX,
        Fault.STALE,
        Fault.GARBLED,
        Fault.NO_PULSES,
        Fault.SILENT,
        Fault.UNPLUGGED,
        Fault.WRONG_WEEK,
    ]
    for index, fault in enumerate(faults):
        story.fault(fault, TTY, 60 + 60 * index, 30)
    story.run(600)
    story.assert_honest()
    assert {1} == story.strata(60, 600)
    assert story.worst_s(60, 600) < 10 * LOCKED_S
    assert story.worst_s(540, 600) < LOCKED_S
