"""Reloads, replacements and ends in the middle of things: who goes leaves nothing behind, who stays goes on."""

from __future__ import annotations

from functools import partial

import pytest
from story_support import NMEA_AND_PPS, Story

from timesync.base.ids import ClockId
from timesync.sim.hardware import Fault
from timesync.sim.server import Behaviour

TTY = "/dev/ttyAMA0"
PPS = "/dev/pps0"
LOCKED_S = 1e-6
WORLD = """
name: lifecycle
description: A machine with everything.
duration: 400d
settle: 10s
world:
  clock: {offset: 200ms, frequency: 20ppm, wander: 1e-9}
  servers:
    - {name: ntp1, jitter: {exponential: 20us}}
    - {name: ntp2, jitter: {exponential: 20us}}
    - {name: ntp3, jitter: {exponential: 20us}}
  hardware:
    receivers:
      /dev/ttyAMA0: {latency: {mean: 120ms, deviation: 30ms}}
      "localhost:2947": {language: gpsd, latency: {mean: 80ms, deviation: 10ms}}
    pps:
      /dev/pps0: {receiver: /dev/ttyAMA0, noise: 100ns}
"""
PHCS = "    phcs:\n      eth0: {offset: -100d, frequency: -8ppm, wander: 1e-9}\n"
SERVE = '  serve: {ntp: {listen: ["10.0.0.1:123"]}}\n'
RECEIVER = "    - {nmea: /dev/ttyAMA0, baud: 9600}\n    - {pps: /dev/pps0, pairs_with: nmea}\n"
GPSD = '    - {gpsd: "localhost:2947"}\n'
NTP1 = "    - {ntp: ntp1, poll: [8s, 8s]}\n"
NTP2 = "    - {ntp: ntp2, poll: [8s, 8s]}\n"
CARD = "  clocks:\n    eth0: {phc: eth0, pair_interval: 1s}\n"


def _config(*sources: str, clocks: str = "", serve: str = SERVE) -> str:
    world = WORLD + (PHCS if clocks else "")
    return f"{world}config:\n{clocks}  sources:\n{''.join(sources)}{serve}"


def _reloaded(before: str, after: str, *, at: float = 60, until: float = 180) -> tuple[Story, list[str]]:
    story = Story(before)
    restart: list[str] = []
    story.at(at, lambda: restart.extend(story.reload(after)))
    story.look(until - 1)
    story.run(until)
    story.assert_honest()
    return story, restart


def _names(story: Story, second: float) -> list[str]:
    return [entry["name"] for entry in story.seen[second].sources()["sources"]]


def test_a_reload_adds_a_source_and_the_lock_is_kept() -> None:
    story, restart = _reloaded(_config(RECEIVER), _config(RECEIVER, NTP1, NTP2))
    assert [] == restart
    assert ["locked"] == story.states(0, 180)
    assert [TTY, PPS, "ntp1", "ntp2"] == _names(story, 179)
    assert story.worst_s(30, 180) < LOCKED_S


def test_a_reload_takes_the_pulses_away_and_the_rest_goes_on() -> None:
    story, restart = _reloaded(_config(RECEIVER, NTP1, NTP2), _config(NTP1, NTP2))
    assert [] == restart
    assert ["ntp1", "ntp2"] == _names(story, 179)
    # Alone it is better than two servers for a while; then it follows them.
    assert ["locked", "holdover", "locked"] == story.states(0, 180)
    assert {1} == story.strata(30, 62)
    assert {2} == story.strata(120, 180)
    assert "locked" == story.status(179)["state"]


def test_a_reload_without_any_source_that_was_there_is_a_holdover_until_the_new_one_speaks() -> None:
    story, restart = _reloaded(_config(NTP1), _config(RECEIVER))
    assert [] == restart
    assert [TTY, PPS] == _names(story, 179)
    assert 1 == story.status(179)["stratum"]
    assert {1, 2} >= story.strata(30, 180)
    assert story.worst_s(120, 180) < LOCKED_S
    assert "locked" == story.status(179)["state"]


def test_a_reload_swaps_the_receiver_that_numbers_the_pulses() -> None:
    swapped = RECEIVER.replace("    - {nmea: /dev/ttyAMA0, baud: 9600}\n", GPSD).replace(
        "pairs_with: nmea", "pairs_with: gpsd"
    )
    story, restart = _reloaded(_config(RECEIVER), _config(swapped))
    assert [] == restart
    assert ["gpsd://localhost", "gpsd://localhost pps", PPS] == _names(story, 179)
    assert {1} == story.strata(30, 180)
    assert story.worst_s(30, 180) < 10 * LOCKED_S
    assert story.worst_s(120, 180) < LOCKED_S


def test_the_same_reload_again_and_again_changes_nothing() -> None:
    text = _config(RECEIVER, NTP1)
    story = Story(text)
    for second in range(60, 90, 5):
        story.at(second, partial(story.reload, text))
    story.run(120)
    story.assert_honest()
    assert ["locked"] == story.states(0, 120)
    assert story.worst_s(30, 120) < LOCKED_S


def test_other_clocks_need_a_restart_and_are_named() -> None:
    story, restart = _reloaded(_config(RECEIVER), _config(RECEIVER, clocks=CARD))
    assert ["clocks"] == restart
    assert ["system"] == [clock["name"] for clock in story.seen[179].clocks()["clocks"]]
    assert ["locked"] == story.states(0, 180)


def test_another_served_clock_needs_a_restart_and_the_old_one_is_served_on() -> None:
    there = SERVE.replace("serve: {", "serve: {clock: eth0, ")
    story, restart = _reloaded(_config(RECEIVER, clocks=CARD), _config(RECEIVER, clocks=CARD, serve=there))
    assert ["clocks"] == restart
    assert "system" == story.status(179)["served_clock"]
    assert {1} == story.strata(30, 180)
    assert story.worst_s(30, 180) < LOCKED_S


def test_a_source_of_a_clock_that_is_not_there_waits_for_the_restart() -> None:
    more = _config(RECEIVER, "    - {ntp: ntp1, clock: eth0}\n", clocks=CARD)
    story, restart = _reloaded(_config(RECEIVER), more)
    assert ["clocks", "ntp1"] == restart
    assert [TTY, PPS] == _names(story, 179)


def test_a_reload_can_stop_serving_and_serve_again() -> None:
    story = Story(_config(RECEIVER))
    story.at(60, partial(story.reload, _config(RECEIVER, serve="")))
    story.at(90, partial(story.reload, _config(RECEIVER)))
    story.run(120)
    assert [] == [answer for answer in story.answers if 61 <= answer.at < 90]
    assert {1} == story.strata(91, 120)
    story.assert_honest()


def test_a_pool_replaces_the_server_that_was_best_when_it_falls_silent() -> None:
    # Seven servers behind one name, of which three are asked.
    text = _config("    - {pool: pool, count: 3, poll: [4s, 4s]}\n")
    for index in range(4, 8):
        text = text.replace("  hardware:", f"    - {{name: ntp{index}, jitter: {{exponential: 20us}}}}\n  hardware:")
    story = Story(text)
    addresses = [f"10.0.0.{2 + index}" for index in range(7)]
    story.stage.network.dns.set("pool", *addresses)
    silenced: list[str] = []

    def silence() -> None:
        best = story.appliance.controller.standing(ClockId("system")).best
        assert best is not None
        address = story.appliance.snapshot().facts[best.spec.source].address
        assert address is not None
        server = next(
            s
            for name, s in story.stage.servers.items()
            if story.stage.nodes[name].addresses[0] == address.split(":")[0]
        )
        server.behaviour = Behaviour.SILENT
        silenced.append(str(best.spec.name))

    story.at(100, silence)
    story.look(99, 899)
    story.run(900)
    story.assert_honest()
    assert {2} == story.strata(60, 900)
    assert ["locked"] == story.states(0, 900)
    before, after = set(_names(story, 99)), set(_names(story, 899))
    assert (3, 3) == (len(before), len(after))
    assert silenced[0] in before - after
    story.assert_said("replaced", silenced[0], "is asked no more", since=100, until=900)


@pytest.mark.parametrize(
    ("device", "fault"),
    [
        (TTY, Fault.UNPLUGGED),
        (TTY, Fault.GARBLED),
        (TTY, Fault.NO_PULSES),
        (PPS, Fault.UNPLUGGED),
        ("localhost:2947", Fault.GPSD_GONE),
        ("eth0", Fault.UNPLUGGED),
    ],
)
@pytest.mark.parametrize("after", [0.0, 5.0])
def test_the_end_may_come_in_the_middle_of_a_fault(device: str, fault: Fault, after: float) -> None:
    story = Story(_config(RECEIVER, GPSD, NTP1, clocks=CARD))
    story.fault(fault, device, 40)
    story.run(40 + after)  # asserts that nothing stays behind
    assert not any("is selected" in line for line in story.said(40 + after, 41 + after))


def test_the_end_may_come_before_anything_is_known() -> None:
    Story(_config(RECEIVER, GPSD, NTP1, clocks=CARD)).run(0.5)


def test_what_was_learnt_of_message_latency_outlives_the_daemon() -> None:
    first = Story(NMEA_AND_PPS)
    first.look(99)
    first.run(100)
    assert first.source(99, TTY)["details"]["latency_calibrated"]
    second = Story(NMEA_AND_PPS, seed=2)
    second.host.files.update(first.host.files)
    second.look(8)
    second.run(10)
    assert second.source(8, TTY)["details"]["latency_calibrated"]
    assert abs(second.source(8, TTY)["details"]["latency_s"] - 0.12) < 0.03
