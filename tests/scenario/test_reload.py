"""Another configuration while the daemon runs: what it makes of others, what must wait, and what may not go wrong."""

from __future__ import annotations

from functools import partial

import pytest
from story_support import Story

import timesync.daemon.crew as crew_module
from timesync.daemon.groups import NtpWiring, make_group
from timesync.observe.snapshot import Snapshot

TTY = "/dev/ttyAMA0"
PPS = "/dev/pps0"
LOCKED_S = 1e-6
WORLD = """
name: reload
description: A receiver with its pulse, two servers and a card.
duration: 400d
settle: 10s
world:
  clock: {offset: 200ms, frequency: 20ppm, wander: 1e-9}
  servers:
    - {name: ntp1, jitter: {exponential: 20us}}
    - {name: ntp2, jitter: {exponential: 20us}}
  hardware:
    receivers:
      /dev/ttyAMA0: {latency: {mean: 120ms, deviation: 30ms}}
    pps:
      /dev/pps0: {receiver: /dev/ttyAMA0, noise: 100ns}
"""
CARDS = """\
    phcs:
      eth0: {offset: -100d, frequency: -8ppm, wander: 1e-9}
  ptp:
    cards:
      eth0: {phc: eth0}
    peers:
      - {name: gm, card: eth0, delay: 1us, priority1: 100, jitter: {normal: 20ns}}
"""
SERVE = '  serve: {ntp: {listen: ["10.0.0.1:123"]}}\n'
NMEA = "    - {nmea: /dev/ttyAMA0, baud: 9600}\n"
PULSE = "    - {pps: /dev/pps0, pairs_with: nmea}\n"
NTP1 = "    - {ntp: ntp1, poll: [8s, 8s]}\n"
NTP2 = "    - {ntp: ntp2, poll: [8s, 8s]}\n"
CARD = "  clocks:\n    eth0: {phc: eth0, pair_interval: 1s}\n"
WATCHED = "  clocks:\n    eth0: {phc: eth0, pair_interval: 1s, discipline: false}\n"


def _config(*sources: str, clocks: str = "", rest: str = "") -> str:
    world = WORLD + (CARDS if clocks else "")
    return f"{world}config:\n{clocks}  sources:\n{''.join(sources)}{SERVE}{rest}"


def _names(snapshot: Snapshot) -> list[str]:
    return [entry["name"] for entry in snapshot.sources()["sources"]]


def test_pulses_whose_only_numberer_must_wait_for_a_restart_wait_with_it() -> None:
    story = Story(_config(NTP1))
    late: list[str] = []
    there = _config(NTP1, NMEA.replace("baud", "clock: eth0, baud"), PULSE, clocks=CARD)
    story.at(60, lambda: late.extend(story.reload(there)))
    story.look(119)
    story.run(120)
    assert ["clocks", TTY, PPS] == late
    assert ["ntp1"] == _names(story.seen[119])
    assert ["locked"] == story.states(0, 120)


def test_ports_cannot_change_while_they_run_and_that_is_said_at_every_reload() -> None:
    before, after = (f"  ptp: {{domain: {domain}, ports: [{{interface: eth0}}]}}\n" for domain in (0, 7))
    story = Story(_config(NTP1, clocks=CARD, rest=before))
    said: list[list[str]] = []
    for second in (30, 40):
        story.at(second, lambda: said.append(story.reload(_config(NTP1, NTP2, clocks=CARD, rest=after))))
    story.at(50, lambda: said.append(story.reload(_config(NTP1, clocks=CARD, rest=before))))
    story.look(45)
    story.run(60)
    assert [["ptp"], ["ptp"], []] == said
    assert [0] == [port.domain for port in story.seen[45].ports]
    assert [0] == [entry.domain for entry in story.appliance.config.ptp_instances]
    assert "ntp2" in _names(story.seen[45]), "the rest is taken over"


def test_a_reload_that_fails_leaves_the_old_running(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(wiring: object, *rest: object) -> object:
        if isinstance(wiring, NtpWiring) and wiring.source.title == "ntp2":
            raise RuntimeError("cannot be made")
        return make_group(wiring, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(crew_module, "make_group", refuse)
    story = Story(_config(NMEA, PULSE))

    def fail() -> None:
        with pytest.raises(RuntimeError, match="cannot be made"):
            story.reload(_config(NTP1, NTP2, rest="  steering: {minimum_sources: 2}\n"))

    story.at(60, fail)
    story.look(119)
    story.run(120)
    assert [TTY, PPS] == _names(story.seen[119])
    assert 1 == story.appliance.controller.settings.minimum_sources
    assert story.config is story.appliance.config
    assert ["locked"] == story.states(0, 120)
    assert story.worst_s(30, 120) < LOCKED_S


def test_pulses_follow_the_receiver_that_numbers_them_to_its_new_name() -> None:
    """Their own entry stays the same to the letter; what it means does not."""
    story = Story(_config(NMEA, PULSE))
    story.at(60, partial(story.reload, _config(NMEA.replace("baud", "name: roof, baud"), PULSE)))
    story.look(179)
    story.run(180)
    story.assert_honest()
    assert ["roof", PPS] == _names(story.seen[179])
    assert {b"PPS\0"} == story.references(120, 180)
    assert "selected" == story.source(179, PPS)["state"]
    assert "roof" == story.source(179, PPS)["details"]["numbered_by"]


def test_a_card_that_becomes_a_reference_is_no_longer_linked_and_is_linked_again_afterwards() -> None:
    # Of another server a reload would change which cards may stamp its packets.
    ntp1 = NTP1.replace("poll", "timestamping: software, poll")
    reference = "    - {phc: eth0, noselect: true}\n"
    story = Story(_config(ntp1, clocks=WATCHED))
    late: list[str] = []
    story.at(60, lambda: late.extend(story.reload(_config(ntp1, reference, clocks=WATCHED))))
    story.at(90, lambda: late.extend(story.reload(_config(ntp1, clocks=WATCHED))))
    story.look(59, 89, 119)
    story.run(120)
    assert [] == late
    links = {second: [link.source for link in seen.core.links] for second, seen in story.seen.items()}
    both = ["system->eth0", "eth0->system"]
    assert {59: both, 89: [], 119: both} == links
    assert {"ntp1", "phc:eth0"} == set(_names(story.seen[89]))
    assert story.source(89, "phc:eth0")["samples"] > 20
    assert ["ntp1"] == _names(story.seen[119])
    assert ["locked"] == story.states(0, 120)


def test_a_server_that_a_reload_leaves_as_it_was_goes_on_counting() -> None:
    story = Story(_config(NTP1, NTP2))
    story.look(60, 61)
    story.at(60.5, partial(story.reload, _config(NTP1)))
    story.run(62)
    assert 5 < story.source(60, "ntp1")["sent"] <= story.source(61, "ntp1")["sent"]
    assert ["ntp1"] == _names(story.seen[61])
