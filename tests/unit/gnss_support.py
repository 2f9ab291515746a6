"""A receiver, its pulses and a local clock with a known error, for the tests of ``timesync.gnss``."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib import resources

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.machine import Effect, Measured, Noted, Status
from timesync.base.measure import Measurement, SourceStatus, Stamp, StampSource
from timesync.base.time import UNITS_PER_S, Duration, Instant, Mono, Tai, Utc
from timesync.base.utc import LeapTable
from timesync.gnss.event import FixMode, FixReport, ReceiverEvent, TimeMark
from timesync.gnss.health import HealthSettings
from timesync.gnss.label import NumbererSettings
from timesync.gnss.latency import Truth
from timesync.gnss.receiver import ReceiverJudge, ReceiverSettings

SYSTEM = ClockId("system")
START_S = 1_795_000_000
"""2026-11-18 11:06:40 UTC; no leap second near."""
TAI_UTC = 37


@functools.cache
def leap_table() -> LeapTable:
    return LeapTable.parse(resources.files("timesync_profiles").joinpath("leap-seconds.list").read_text("utf-8"))


def utc(seconds: float) -> Instant[Utc]:
    """So long after the start."""
    return Instant(START_S * UNITS_PER_S + Duration.from_s(seconds).scaled_ns)


def second(number: int) -> Instant[Tai]:
    """The TAI of the full second so long after the start."""
    return Instant((START_S + TAI_UTC + number) * UNITS_PER_S)


def mono(seconds: float) -> Instant[Mono]:
    """Monotonic time so long after the start."""
    return Instant(Duration.from_s(100 + seconds).scaled_ns)


def numberer_settings() -> NumbererSettings:
    return NumbererSettings(source=SourceId("pps0"), name="pps0")


def receiver_settings(**kw: object) -> ReceiverSettings:
    fields: dict[str, object] = {
        "source": SourceId("gps"),
        "name": "gps",
        "link": LinkId("gps"),
        "clock": SYSTEM,
    }
    return ReceiverSettings(**(fields | kw))  # type: ignore[arg-type]  # the fields' own names, checked by the dataclass


@dataclass
class Local:
    """A clock with an offset, a frequency error and steering that is a known function of true time, in s."""

    offset_s: float = 0.0
    frequency: float = 0.0
    epoch: int = 0
    slews: list[tuple[float, float, float]] = field(default_factory=list)
    """From, until, rate."""

    def error_s(self, true_s: float) -> float:
        slewed = sum(rate * (min(true_s, until) - since) for since, until, rate in self.slews if true_s > since)
        return self.offset_s + self.frequency * true_s + slewed

    def stamp(self, true_s: float, noise_s: float = 0.0) -> Stamp:
        at = second(0) + Duration.from_s(true_s) + Duration.from_s(self.error_s(true_s) + noise_s)
        return Stamp(SYSTEM, self.epoch, at, StampSource.KERNEL)

    def steered(self, at: Instant[Tai]) -> Duration:
        """What its slews have added when it read ``at``; right to 1 % of the slew's rate of one second."""
        reading = (at - second(0)).s()
        true_s = reading - self.offset_s
        for _ in range(5):
            true_s = reading - self.error_s(true_s)
        return Duration.from_s(
            sum(r * (min(true_s, until) - since) for since, until, r in self.slews if true_s > since)
        )


def edges(
    rng: random.Random, seconds: int, *, doubled: float = 0.0, missing: float = 0.0, wild: float = 0.0
) -> Iterator[tuple[float, int | None]]:
    """True times of edges, in order, and the second that each marks; None for one that marks none."""
    for number in range(seconds):
        found: list[tuple[float, int | None]] = []
        if rng.random() >= missing:
            found.append((float(number), number))
            if rng.random() < doubled:
                found.append((number + rng.choice([-1, 1]) * rng.uniform(1e-4, 0.3), None))
        elif rng.random() < wild:
            found.append((number + rng.uniform(-0.45, 0.45), None))
        yield from sorted(found, key=lambda edge: edge[0])


def mark(
    local: Local,
    true_s: float,
    said_s: float | None = None,
    *,
    latency_s: float = 0.12,
    kind: str = "RMC",
    trusted: bool = True,
    device: str = "",
) -> TimeMark:
    """What the receiver says at a full second, and when it arrives."""
    said = utc(true_s if said_s is None else said_s)
    return TimeMark(utc=said, stamp=local.stamp(true_s + latency_s), kind=kind, trusted=trusted, device=device)


class Story:
    """A judge, its receiver and the local clock, second by second; keeps what the judge says."""

    def __init__(self, seed: int = 1, local: Local | None = None, **settings: object) -> None:
        self.rng = random.Random(seed)
        self.local = local or Local()
        health = settings.pop("health", HealthSettings(build_date=utc(-20 * 86_400)))
        self.judge = ReceiverJudge(receiver_settings(health=health, **settings), leap_table(), mono(0))
        self.measured: list[tuple[float, Measurement]] = []
        self.statuses: dict[SourceId, SourceStatus] = {}
        self.notes: list[tuple[float, Noted]] = []
        self.truth: Truth | None = None
        self.now = 0.0
        self.latency_s = 0.12
        self.spread_s = 0.03
        self.trusted = True
        self.mode: FixMode | None = FixMode.THREE_D
        self.kinds: tuple[str, ...] = ("RMC", "GGA")
        self.said: Callable[[float], float] = lambda true_s: true_s

    def keep(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, Measured):
                self.measured.append((self.now, effect.measurement))
            elif isinstance(effect, Status):
                self.statuses[effect.status.source] = effect.status
            elif isinstance(effect, Noted):
                self.notes.append((self.now, effect))

    def tell(self, event: ReceiverEvent, at_s: float) -> None:
        """An event at this time, after the deadlines that are due before it."""
        self.wait(at_s)
        self.keep(self.judge.on_event(event, mono(at_s), self.truth))

    def wait(self, until_s: float) -> None:
        """Let time pass; nothing comes."""
        while True:
            deadline = self.judge.deadline()
            if deadline is None or deadline > mono(until_s):
                break
            self.now = max(self.now, (deadline - mono(0)).s())
            self.keep(self.judge.on_deadline(deadline))
            again = self.judge.deadline()
            assert again is None or again > deadline, "a deadline that stays in the past spins"
        self.now = max(self.now, until_s)

    def second(self, number: int) -> None:
        """One burst of the receiver."""
        latency = max(self.latency_s + self.rng.gauss(0, self.spread_s), -0.2)
        for place, kind in enumerate(self.kinds):
            late = latency + 0.06 * place
            said = mark(self.local, number, self.said(number), latency_s=late, kind=kind, trusted=self.trusted)
            self.tell(said, number + late)
        if self.mode is not None:
            self.tell(FixReport(mode=self.mode, used=9, seen=14, hdop=0.9), number + latency + 0.2)

    def run(self, since: int, until: int) -> None:
        """The seconds from ``since`` to before ``until``."""
        for number in range(since, until):
            self.second(number)
        self.wait(until - 0.3)

    @property
    def excluded(self) -> str | None:
        return self.statuses[SourceId("gps")].excluded

    def names(self) -> list[str]:
        return [note.name for _, note in self.notes]

    def errors(self, since_s: float = 0.0) -> list[float]:
        """How far each measurement was from the truth."""
        return [m.offset.s() - self.local.error_s(at) for at, m in self.measured if at >= since_s]
