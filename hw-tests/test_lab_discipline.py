"""The real daemon on the lab's clocks for half an hour of virtual time, judged by a card that nobody steers.

Beside it: what linuxptp's ts2phc and phc2sys reach with the same hardware, the same noise and the same wander.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hw_judge import NS_PER_S, Series, Watched, after, figures, settled_after, watch
from hw_lab import JUDGE, PPS, TAI_UTC, hardware, need_lab, pulse_output, receiver
from hw_programs import gpsd, phc2sys, timesync, ts2phc

SECONDS = 1800
SETTLE_S = 300
LOCK_S = 120
NEAR_NS = 1_000

Record = Callable[[str, object], None]
Runner = Callable[[Path, str], AbstractContextManager[object]]


@pytest.fixture(autouse=True)
def _in_the_lab() -> None:
    need_lab()


@dataclass(frozen=True)
class Story:
    """One arrangement of clocks.

    Attributes:
        configuration: Ours.
        peers: The same by linuxptp; gets the directory and the receiver's port.
        cards: The cards that are disciplined.
        wired: The card whose pin gives out the receiver's pulse; None: /dev/pps0 does.
        limits_ns: The largest root of the mean square by clock, after it has settled.
    """

    configuration: str
    peers: Runner
    cards: tuple[str, ...]
    limits_ns: Mapping[str, float]
    wired: str | None = None


def errors(watched: Watched, cards: tuple[str, ...]) -> dict[str, Series]:
    """By clock: how far from the judge."""
    system = [(at, ahead + TAI_UTC * NS_PER_S) for at, ahead in watched.system_against(JUDGE)]
    return {"system": system, **{card: watched.against(card, JUDGE) for card in cards}}


def trial(story: Story, directory: Path, who: Runner) -> dict[str, Series]:
    """Half an hour from a cold start."""
    directory.mkdir()
    wander_of = tuple(card for card in story.cards if card != story.wired)
    with hardware(directory, wander_of=wander_of, true=story.wired) as phase, receiver(phase) as port:
        if story.wired is not None:
            pulse_output(story.wired)
        with who(directory, port):
            return errors(watch([JUDGE, *story.cards], None, SECONDS, directory), story.cards)


def ours(configuration: str) -> Runner:
    """The daemon with a real gpsd."""

    @contextmanager
    def run(directory: Path, port: str) -> Iterator[None]:
        with gpsd(directory, port, PPS), timesync(directory, configuration) as daemon:
            try:
                yield
            finally:
                (directory / "why").write_text(f"{daemon.ask('status')}\n{daemon.ask('sources')}\n{daemon.ask('why')}")

    return run


@contextmanager
def pulses_by_phc2sys(directory: Path, _port: str, *cards: str) -> Iterator[None]:
    """The system clock from /dev/pps0, the cards from the system clock.

    The judge numbers the pulses: without a clock that does, phc2sys takes the wake-up of each clear edge for another
    pulse, at the same time, and never begins to steer.
    """
    with ExitStack() as stack:
        options = ("-d", PPS, "-s", JUDGE, "-c", "CLOCK_REALTIME", "-O", str(-TAI_UTC))
        stack.enter_context(phc2sys(directory, "system", *options))
        for card in cards:
            of_card = ("-s", "CLOCK_REALTIME", "-c", card, "-O", str(TAI_UTC), "-R", "4")
            stack.enter_context(phc2sys(directory, card, *of_card))
        yield


@contextmanager
def pin_by_ts2phc(directory: Path, port: str) -> Iterator[None]:
    """A card from its own pin, the system clock from the card."""
    options = ("-s", "lab0", "-c", "CLOCK_REALTIME", "-O", str(-TAI_UTC), "-R", "4")
    with ts2phc(directory, "lab0", 0, 0, port), phc2sys(directory, "system", *options):
        yield


STORIES = {
    "a card by /dev/pps0, the system clock by the card": Story(
        """
        clocks: {lab0: {phc: lab0}}
        sources:
          - gpsd: localhost
          - {pps: /dev/pps0, clock: lab0, pairs_with: gpsd}
        """,
        lambda directory, port: pulses_by_phc2sys(directory, port, "lab0"),
        ("lab0",),
        {"system": 60, "lab0": 60},
    ),
    "a card by its own pin, the system clock by the card": Story(
        """
        clocks: {lab0: {phc: lab0}}
        sources:
          - gpsd: localhost
          - {pps: lab0, channel: 0, pin: 0, pairs_with: gpsd}
        """,
        pin_by_ts2phc,
        ("lab0",),
        {"system": 60, "lab0": 60},
        wired="lab1",
    ),
    "the system clock by /dev/pps0, a card by the system clock": Story(
        """
        clocks: {lab0: {phc: lab0}}
        sources:
          - gpsd: localhost
          - {pps: /dev/pps0, pairs_with: gpsd}
        """,
        lambda directory, port: pulses_by_phc2sys(directory, port, "lab0"),
        ("lab0",),
        {"system": 60, "lab0": 60},
    ),
    "a card by /dev/pps0, the system clock by the card, another card by the system clock": Story(
        """
        clocks: {lab0: {phc: lab0}, lab1: {phc: lab1}}
        sources:
          - gpsd: localhost
          - {pps: /dev/pps0, clock: lab0, pairs_with: gpsd}
        """,
        lambda directory, port: pulses_by_phc2sys(directory, port, "lab0", "lab1"),
        ("lab0", "lab1"),
        {"system": 60, "lab0": 60, "lab1": 60},
    ),
}


@pytest.mark.parametrize("story", STORIES.values(), ids=list(STORIES))
def test_clocks_against_the_judge(story: Story, tmp_path: Path, record_property: Record) -> None:
    mine = trial(story, tmp_path / "ours", ours(story.configuration))
    theirs = trial(story, tmp_path / "peers", story.peers)
    for clock, series in mine.items():
        for name, found in (("ours", series), ("linuxptp", theirs[clock])):
            lock = settled_after(found, NEAR_NS)
            record_property(f"{clock}, {name}", f"{figures(after(found, SETTLE_S))}; within 1 us after {lock:.0f} s")
    said = (tmp_path / "ours" / "why").read_text()
    for clock, series in mine.items():
        assert figures(after(series, SETTLE_S)).rms_ns < story.limits_ns[clock], said
        assert figures(after(series, SETTLE_S)).rms_ns < figures(after(theirs[clock], SETTLE_S)).rms_ns, said
        assert settled_after(series, NEAR_NS) < LOCK_S, said
