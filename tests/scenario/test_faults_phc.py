"""What hardware clocks and what is wired to them may do wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from story_support import Story

from timesync.base.ids import ClockId
from timesync.sim.clock import SimClock
from timesync.sim.hardware import Fault
from timesync.sim.host import SimHost

PHC = "eth0"
BEGIN, END, LAST = 100.0, 180.0, 260.0
DURING = 178.0
LOCKED_S = 1e-6
FOLLOWER = """
name: phc
description: A pulse on a pin of a hardware clock, which the system clock follows.
duration: 400d
settle: 10s
world:
  clock: {offset: 200ms, frequency: 20ppm, wander: 1e-9}
  hardware:
    receivers:
      /dev/ttyAMA0: {latency: {mean: 120ms, deviation: 30ms}}
    phcs:
      eth0: {offset: -100d, frequency: -8ppm, wander: 1e-9, inputs: [{receiver: /dev/ttyAMA0, noise: 20ns}]}
config:
  clocks:
    eth0: {phc: eth0, pair_interval: 1s}
  sources:
    - {nmea: /dev/ttyAMA0, baud: 9600}
    - {pps: eth0, pairs_with: nmea}
  serve: {ntp: {listen: ["10.0.0.1:123"]}}
"""
GRANDMASTER = (
    FOLLOWER.replace(", inputs: [{receiver: /dev/ttyAMA0, noise: 20ns}]", "")
    .replace("    phcs:", "    pps:\n      /dev/pps0: {receiver: /dev/ttyAMA0, noise: 100ns}\n    phcs:")
    .replace("pps: eth0", "pps: /dev/pps0")
)


def test_a_card_that_vanishes_and_comes_back_with_another_time() -> None:
    story = Story(FOLLOWER)
    story.fault(Fault.UNPLUGGED, PHC, BEGIN, END - BEGIN)
    story.look(BEGIN - 2, DURING, LAST - 1)
    story.run(LAST)
    story.assert_honest()
    assert {1} == story.strata(60, LAST)
    assert {b"PPS\0"} == story.references(60, BEGIN)
    story.assert_said("device-lost", "clock eth0: eth0 is gone", since=BEGIN, until=BEGIN + 2)
    story.assert_said("clock-refused", "plug it in", since=BEGIN, until=BEGIN + 2)
    story.assert_said("device-back", "clock eth0", since=END, until=END + 5)
    story.assert_said("step", "clock eth0", "-100.0 d off", since=END, until=END + 10)
    assert "clock eth0 is not there: eth0 is gone" in story.why(DURING)
    assert "eth0 is gone" in story.why(DURING, "pps:eth0")
    # Only the messages are left meanwhile; they move nothing that was better known.
    assert story.worst_s(60, END + 30) < 10 * LOCKED_S
    assert story.worst_s(END + 60, LAST) < LOCKED_S
    assert story.offset_s(PHC, END + 60, LAST) < LOCKED_S
    assert "selected" == story.source(LAST - 1, "pps:eth0")["state"]
    assert () == story.seen[LAST - 1].warnings


def test_nothing_is_served_of_a_clock_that_has_vanished() -> None:
    story = Story(FOLLOWER.replace("serve: {", "serve: {clock: eth0, "))
    story.fault(Fault.UNPLUGGED, PHC, BEGIN, END - BEGIN)
    story.look(DURING)
    story.run(LAST)
    story.assert_honest()
    assert {1} == story.strata(60, BEGIN)
    assert {16} == story.strata(BEGIN + 2, END)
    assert {1} == story.strata(END + 30, LAST)
    assert "acquiring" == story.status(DURING)["state"]
    assert 16 == story.status(DURING)["stratum"]
    assert ["acquiring", "locked"] == story.states(BEGIN, LAST)


def test_a_card_that_comes_later_is_set_and_followed() -> None:
    story = Story(FOLLOWER)
    story.fault(Fault.UNPLUGGED, PHC, 0, BEGIN)
    story.look(BEGIN - 10)
    story.run(LAST)
    story.assert_honest()
    story.assert_said("device-lost", "clock eth0", since=0, until=3)
    story.assert_said("device-back", "clock eth0", since=BEGIN, until=BEGIN + 5)
    # Until then the messages alone are followed, within their claim.
    assert {b"GPS\0"} == story.references(30, BEGIN)
    assert "clock eth0 is not there" in story.why(BEGIN - 10)
    assert story.offset_s(PHC, BEGIN + 60, LAST) < LOCKED_S
    assert {b"PPS\0"} == story.references(BEGIN + 30, LAST)
    assert story.worst_s(LAST - 10, LAST) < LOCKED_S
    assert not any("no majority" in line for line in story.said(0, LAST))


def test_external_timestamps_that_stop_are_a_holdover_of_both_clocks() -> None:
    story = Story(FOLLOWER)
    story.fault(Fault.NO_PULSES, PHC, BEGIN, END - BEGIN)
    story.look(DURING, LAST - 1)
    story.run(LAST)
    story.assert_honest()
    assert {1} == story.strata(60, LAST)
    story.assert_said("holdover", "pps:eth0: nothing has come from it", since=BEGIN, until=BEGIN + 15)
    story.assert_said("holdover", "follows clock eth0, which is in holdover", since=BEGIN, until=BEGIN + 15)
    assert "holdover" == story.status(DURING)["state"]
    assert "which is in holdover" in story.why(DURING)
    assert "is the pulse output on, and its wire connected?" in story.why(DURING, "pps:eth0")
    assert story.worst_s(60, END) < 10 * LOCKED_S
    bounds = [answer.bound_s for answer in story.told(BEGIN + 15, END)]
    assert bounds[0] < bounds[len(bounds) // 2] < bounds[-1]
    assert "locked" == story.status(LAST - 1)["state"]
    assert story.worst_s(END + 30, LAST) < LOCKED_S


def test_a_holdover_that_lasts_too_long_ends_for_the_clock_that_follows_too() -> None:
    story = Story(FOLLOWER.replace("  serve:", "  steering: {holdover: 60s}\n  serve:"))
    story.fault(Fault.NO_PULSES, PHC, BEGIN)
    story.fault(Fault.SILENT, "/dev/ttyAMA0", BEGIN)
    story.look(LAST - 1)
    story.run(LAST)
    story.assert_honest()
    assert {1} == story.strata(60, BEGIN + 60)
    assert {16} == story.strata(BEGIN + 110, LAST)
    assert "freerun" == story.status(LAST - 1)["state"]
    assert "the error may have grown to" in story.why(LAST - 1)


def test_a_card_that_follows_goes_and_comes_without_harm_to_the_rest() -> None:
    story = Story(GRANDMASTER)
    story.fault(Fault.UNPLUGGED, PHC, BEGIN, END - BEGIN)
    story.look(DURING, LAST - 1)
    story.run(LAST)
    story.assert_honest()
    assert {1} == story.strata(60, LAST)
    assert story.worst_s(60, LAST) < LOCKED_S
    assert "locked" == story.status(DURING)["state"]
    assert story.offset_s(PHC, 60, BEGIN) < LOCKED_S
    assert story.offset_s(PHC, END + 40, LAST) < LOCKED_S
    clocks = {clock["name"]: clock for clock in story.seen[LAST - 1].clocks()["clocks"]}
    assert 2 == clocks[PHC]["steps"]
    story.assert_said("clocks eth0 and system", "cannot be compared", since=BEGIN, until=BEGIN + 3)
    story.assert_said("clocks eth0 and system", "works again", since=END, until=END + 5)


@pytest.mark.parametrize("seed", [2, 3, 4])
def test_pulses_that_stop_under_a_grandmaster_leave_the_card_with_the_system_clock(seed: int) -> None:
    story = Story(GRANDMASTER, seed=seed)
    story.fault(Fault.UNPLUGGED, "/dev/ttyAMA0", BEGIN, END - BEGIN)
    story.run(LAST)
    story.assert_honest()
    apart = [abs(o["eth0"] - o["system"]) for at, o in story.offsets if 60 <= at < LAST]
    assert max(apart) < LOCKED_S
    states = story.states(BEGIN, LAST)
    assert ("holdover", "locked") == (states[0], states[-1])


class WithoutCard:
    """A machine whose card is put in later: until then there is no such clock at all, as on Linux."""

    def __init__(self, host: SimHost) -> None:
        self._host = host
        self.present = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)

    @property
    def clocks(self) -> Mapping[ClockId, SimClock]:
        return {name: clock for name, clock in self._host.clocks.items() if self.present or name != PHC}

    @property
    def missing(self) -> Mapping[ClockId, str]:
        return {} if self.present else {ClockId(PHC): "there is no interface eth0"}

    def retry_missing(self) -> Sequence[ClockId]:
        # Put in just now.
        self.present = True
        return [ClockId(PHC)]


def test_a_server_that_is_asked_by_a_card_which_comes_late_is_asked_then() -> None:
    """Whatever is reviewed while it waits must not begin it before its clock is there."""
    text = FOLLOWER.replace(
        "  hardware:", "  servers:\n    - {name: ntp1, jitter: {exponential: 20us}}\n  hardware:"
    ).replace("{pps: eth0, pairs_with: nmea}", "{ntp: ntp1, clock: eth0, timestamping: software, poll: [8s, 8s]}")
    story = Story(text)
    late = WithoutCard(story.host)
    story.host = cast("SimHost", late)
    retry = late.retry_missing
    late.retry_missing = lambda: retry() if story.world.elapsed.s() > 60 else []  # type: ignore[method-assign]
    story.look(50, 119)
    story.run(120)
    assert "waits for clock eth0, which is not there" in story.why(50, "ntp1")
    assert story.source(119, "ntp1")["received"] > 3


@pytest.mark.parametrize("more", ["", ", local_stratum: 10"])
def test_a_served_clock_that_is_not_there_at_the_start_is_waited_for_and_then_served(more: str) -> None:
    story = Story(FOLLOWER.replace("serve: {", f"serve: {{clock: eth0{more}, "))
    late = WithoutCard(story.host)
    story.host = cast("SimHost", late)
    put_in: list[float] = []
    retry = late.retry_missing

    def find_it_late() -> Sequence[ClockId]:
        if story.world.elapsed.s() < 30:
            return []
        put_in.append(story.world.elapsed.s())
        return retry()

    late.retry_missing = find_it_late  # type: ignore[method-assign]  # put in after half a minute
    story.look(20, LAST - 1)
    story.run(LAST)
    story.assert_honest()
    (came,) = put_in
    assert {16} == story.strata(2, came), "LI=3 until then"
    assert {0} == {answer.packet.stratum for answer in story.told(2, came)}
    status = story.status(20)
    assert ("acquiring", 16, "unknown", None) == tuple(
        status[key] for key in ("state", "stratum", "leap", "error_bound_s")
    )
    assert "waits for the device of the served clock: there is no interface eth0" in story.why(20)
    clocks = {clock["name"]: (clock["kind"], clock["state"]) for clock in status["clocks"]}
    assert ("phc", "acquiring") == clocks[PHC]
    assert "waits for clock eth0, which is not there" in story.why(20, "pps:eth0")
    assert 37 == status["tai_utc_offset_s"]
    story.assert_said("device-back", "clock eth0 is there now", since=came - 1, until=came + 1)
    assert {1} == story.strata(came + 60, LAST)
    assert {b"PPS\0"} == story.references(came + 60, LAST)
    assert story.worst_s(LAST - 30, LAST) < LOCKED_S
    assert "locked" == story.status(LAST - 1)["state"]
