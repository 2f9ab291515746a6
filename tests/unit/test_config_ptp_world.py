"""The PTP network of a simulation file: what makes no sense is refused at its place."""

from __future__ import annotations

import pytest

from timesync.base.time import Duration
from timesync.config.problem import ConfigError
from timesync.config.ptp import Interval
from timesync.config.scenario import read_scenario

FINE = """\
name: t
description: A grandmaster.
duration: 60s
settle: 10s
world:
  hardware: {phcs: {card: {offset: 1s}}}
  ptp:
    cards:
      eth0: {phc: card, stamp_noise: 5ns, lost_stamps: 0.01, slowness: 1us, disorder: 2us}
      eth1: {phc: card}
    peers:
      - {name: gm, card: eth0, offset: 1us, drift: 1ppm, priority1: 5, clock_class: 7, jitter: {normal: 20ns}}
      - {name: other, card: eth1, sync_interval: 125ms, late: {share: 0.5, by: 1ms}, jitter: {normal: 20ns}}
  events:
    - {at: 1s, outage: [gm], lasting: 3s}
    - {at: 2s, peer_step: 1us, device: other}
config:
  clocks: {card: {phc: eth0}}
  ptp:
    clock: card
    ports: [{interface: eth0}, {interface: eth1}]
"""


def test_cards_and_peers() -> None:
    scenario, loaded = read_scenario(FINE.encode(), "t.yaml")

    ptp = scenario.world.ptp
    assert ["eth0", "eth1"] == list(ptp.cards)
    card = ptp.cards["eth0"]
    assert ("card", Duration.from_ns(5), 0.01, Duration.from_ns(2000)) == (
        card.phc,
        card.stamp_noise,
        card.lost_stamps,
        card.disorder,
    )
    first, second = ptp.peers
    assert (5, 7, None, Duration.from_ns(1000)) == (
        first.priority1,
        first.clock_class,
        first.sync_interval,
        first.delay,
    )
    assert Interval(-3) == second.sync_interval
    assert second.late is not None
    assert (0.5, Duration.from_ns(1_000_000)) == (second.late.share, second.late.by)
    assert 2 == len(loaded.config.ptp_instances[0].ports)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("name: other, card: eth1", "name: gm, card: eth1", 11, "peers[1] is named gm, as another one is"),
        ("name: other, card: eth1", "name: other, card: eth7", 11, "peers[1] is connected with eth7, which is not in"),
        ("eth1: {phc: card}", "eth1: {phc: cart}", 7, "a card with the clock cart, which is not in hardware.phcs"),
        ("{interface: eth1}", "{interface: eth2}", 21, "no card of this name is in ptp.cards of the world"),
        ("outage: [gm]", "outage: [gn]", 14, "an outage of gn, which is not among the servers"),
        ("device: other", "device: card", 14, "a step of card, which is not among the peers of ptp"),
        (", device: other", "", 16, "peer_step and device"),
        ("sync_interval: 125ms", "sync_interval: 100ms", 13, "is not a power of two of a second"),
        ("share: 0.5", "share: 1.5", 13, "1"),
        ("priority1: 5", "priority1: 256", 12, "255"),
    ],
)
def test_what_makes_no_sense_is_refused_at_its_place(old: str, new: str, line: int, words: str) -> None:
    assert 1 == FINE.count(old)
    with pytest.raises(ConfigError) as caught:
        read_scenario(FINE.replace(old, new).encode(), "t.yaml")

    said = [(problem.line, problem.message) for problem in caught.value.problems]
    assert [1 for where, text in said if where == line and words in text], said
