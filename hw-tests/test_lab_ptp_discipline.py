"""Our daemon and Debian's ptp4l over cables between cards, half an hour each, beside ptp4l with itself.

Four pairs of cards run at once, with the same noise, the same walk of the oscillators and the same mishaps: on two of
them the subject is ours, on two ptp4l; it takes time from a ptp4l or gives time to one. What is judged is how far the
card that takes is from the card that gives, as ``phc_ctl`` reads both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hw_judge import Figures, Series, figures, settled_after, watch
from hw_lab import need_lab
from hw_programs import Timesync, timesync
from hw_ptp import (
    ASYMMETRY_NS,
    GIVES,
    LONGER_NS,
    LOST_PER_MILLE,
    SHIFT_PPB,
    TAKES,
    WAYS,
    Course,
    Link,
    Role,
    Way,
    between,
    cold_start,
    links,
    ours,
    port_of,
    ptp4l,
)

SECONDS = 1800
SETTLE_S = 300
NEAR_NS = 1_000
LOCK_S = 30
GIVES_AS_WELL = 1.25
"""Where ours gives, both takers are the same program with noise of its own: a tenth of chance either way."""

Record = Callable[[str, object], None]


@dataclass(frozen=True)
class Phase:
    """A part of the half hour.

    Attributes:
        name: For people.
        stretches: From when to when, in seconds, and what is known to be wrong meanwhile, which nobody's stamps show.
    """

    name: str
    stretches: tuple[tuple[int, int, float], ...]

    def figures(self, errors: Series, began: float) -> Figures:
        """Of this part."""
        return figures(
            [
                error
                for since, until, known in self.stretches
                for error in between(errors, began + since, began + until, known)
            ]
        )


LOSS, LENGTHENED, SHORTENED, FASTER = 900, 1200, 1440, 1560
PHASES = [
    Phase("quiet", ((SETTLE_S, LOSS, 0.0),)),
    Phase("5 % of the subject's transmit stamps lost", ((LOSS, 1140, 0.0),)),
    Phase(
        "the cable 300 ns longer in one direction, and as it was",
        ((LENGTHENED, SHORTENED, ASYMMETRY_NS), (SHORTENED, FASTER, 0.0)),
    ),
    Phase("the oscillator 500 ppb faster, and back, again and again", ((FASTER, SECONDS - 30, 0.0),)),
]
EVENTS: dict[float, Callable[[Course], None]] = {
    LOSS: lambda course: course.lose_stamps(LOST_PER_MILLE),
    1140: lambda course: course.lose_stamps(0),
    LENGTHENED: lambda course: course.lengthen(LONGER_NS),
    SHORTENED: lambda course: course.lengthen(0),
    # At any fraction of a second: how long it takes until somebody can see it is a matter of chance.
    **{FASTER + 30.2 * turn: lambda course, by=SHIFT_PPB * (-1) ** turn: course.shift(by) for turn in range(7)},
}


@dataclass(frozen=True)
class Trial:
    """What became of a subject.

    Attributes:
        errors: The taking card less the giving one, ns.
        port: Ours, as it is at the end; empty where the subject is ptp4l.
        said: What it logged.
    """

    errors: Series
    port: Mapping[str, object]
    said: str


@pytest.fixture(autouse=True)
def _in_the_lab() -> None:
    need_lab()


@contextmanager
def subject(who: str, way: Way, role: Role, link: Link, directory: Path) -> Iterator[Callable[[], Trial]]:
    """One on the near card, a ptp4l on the far one; gives what asks how it did, without errors as yet."""
    takes = role == "timeReceiver"
    peer = {**way.peer, **(GIVES if takes else TAKES)}
    mine = {**way.peer, **(TAKES if takes else GIVES)}
    with ExitStack() as stack:
        stack.enter_context(ptp4l(directory, "peer", link.there(), link.far, peer))
        if who == "ptp4l":
            daemon = stack.enter_context(ptp4l(directory, "subject", [], link.near, mine))
            yield lambda: Trial([], {}, daemon.log())
        else:
            running: Timesync = stack.enter_context(timesync(directory / "subject", ours(way, role, link.near)))
            yield lambda: Trial([], port_of(running.ask("ports")), running.log())


ROLES: tuple[Role, ...] = ("timeReceiver", "timeTransmitter")
SUBJECTS = [(who, role) for role in ROLES for who in ("ours", "ptp4l")]


def half_an_hour(way: Way, directory: Path) -> tuple[float, dict[tuple[str, Role], Trial]]:
    """Everybody at once, from a cold start; also when the course of events began."""
    with links(len(SUBJECTS)) as made:
        cards = {
            chosen: (link.near, link.far) if chosen[1] == "timeReceiver" else (link.far, link.near)
            for chosen, link in zip(SUBJECTS, made, strict=True)
        }
        devices = {card: file for link in made for card, file in link.devices.items()}
        takers, givers = zip(*cards.values(), strict=True)
        cold_start([devices[card] for card in takers], [devices[card] for card in givers])
        with Course(takers, [link.near for link in made], EVENTS) as course, ExitStack() as stack:
            asks = {
                chosen: stack.enter_context(subject(chosen[0], way, chosen[1], link, directory / "-".join(chosen)))
                for chosen, link in zip(SUBJECTS, made, strict=True)
            }
            watched = watch(list(devices.values()), None, SECONDS, directory / "watched")
            told = {chosen: ask() for chosen, ask in asks.items()}
    return course.began, {
        chosen: Trial(watched.against(devices[taker], devices[giver]), told[chosen].port, told[chosen].said)
        for chosen, (taker, giver) in cards.items()
    }


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.name.replace(" ", "-"))
def test_beside_ptp4l(way: Way, tmp_path: Path, record_property: Record) -> None:
    began, trials = half_an_hour(way, tmp_path)
    worse = []
    for role in ROLES:
        mine, theirs = trials["ours", role], trials["ptp4l", role]
        for phase in PHASES:
            found, bar = phase.figures(mine.errors, began), phase.figures(theirs.errors, began)
            told = f"ours {found} | ptp4l {bar}"
            record_property(f"{role}, {phase.name}", told)
            if found.rms_ns > bar.rms_ns * (1 if role == "timeReceiver" else GIVES_AS_WELL):
                worse.append(f"{role}, {phase.name}: {told}")
        cold = [
            settled_after([(at, x) for at, x in t.errors if at < began + SETTLE_S], NEAR_NS) for t in (mine, theirs)
        ]
        record_property(f"{role}, within 1 us", f"ours after {cold[0]:.0f} s | ptp4l after {cold[1]:.0f} s")
        assert cold[0] < LOCK_S, mine.said
        assert mine.port["state"] == ("TIME_RECEIVER" if role == "timeReceiver" else "TIME_TRANSMITTER"), mine.said
        # The loss was there, and no port ever left its state for it.
        assert mine.port["lost_stamps"], mine.port
        assert "faulty" not in mine.said.lower()
    assert worse == [], trials["ours", "timeReceiver"].said + trials["ours", "timeTransmitter"].said
