"""A bench for the servo core: true time, clocks that do as they are told, sources with known errors."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Leap, Measurement, Quality, SourceStatus
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.servo.command import (
    ClockSpec,
    Command,
    CoreSettings,
    Now,
    Report,
    SetFrequency,
    SourceSpec,
    StepClock,
)
from timesync.servo.controller import Controller
from timesync.servo.select import Candidate
from timesync.servo.steering import SteeringSettings
from timesync.servo.view import ServoState

START = Instant[Tai].from_ns(1_800_000_000 * 10**9)
SYSTEM = ClockId("system")


def tai(seconds: float) -> Instant[Tai]:
    """So long after the start of the bench."""
    return START + Duration.from_s(seconds)


def mono(seconds: float) -> Instant[Mono]:
    """So long after the start of the bench."""
    return Instant(Duration.from_s(seconds).scaled_ns)


def quality(stratum: int = 1, leap: Leap = Leap.NONE, root_delay: float = 0.0, dispersion: float = 0.0) -> Quality:
    """What a remote says of itself."""
    return Quality(
        stratum=stratum,
        leap=leap,
        reference_id=b"GPS\0",
        root_delay=Duration.from_s(root_delay),
        root_dispersion=Duration.from_s(dispersion),
        precision_s=1e-7,
        authenticated=False,
    )


def status(source: str, reach: int = 0xFF, sent: int = 20, excluded: str | None = None) -> SourceStatus:
    """What a protocol machine says of its remote."""
    return SourceStatus(
        source=SourceId(source),
        reach=reach,
        poll_s=1.0,
        sent=sent,
        received=sent,
        dropped=0,
        stratum=1,
        leap=Leap.NONE,
        reference_id=b"GPS\0",
        authenticated=False,
        interleaved=False,
        timestamping=None,
        excluded=excluded,
        stepped_back=False,
    )


def candidate(
    name: str,
    offset: float,
    bound: float,
    *,
    frequency: float = 0.0,
    deviation: float = 1e-9,
    trusted: bool = False,
    samples: int = 100,
) -> Candidate:
    """A source as selection sees it."""
    return Candidate(
        source=SourceId(name),
        name=name,
        offset_s=offset,
        deviation_s=bound / 10,
        bound_s=bound,
        frequency=frequency,
        frequency_deviation=deviation,
        trusted=trusted,
        samples=samples,
    )


@dataclass
class BenchClock:
    """A clock whose true offset and frequency are known; ``base`` takes the steps, ``x`` the rest, in seconds."""

    name: ClockId
    frequency: float
    base: Duration = field(default=Duration(0))
    x: float = 0.0
    rate: float = 0.0
    epoch: int = 0
    steps: int = 0
    refuses_steps: bool = False

    def pass_by(self, seconds: float) -> None:
        self.x += seconds * (self.frequency + self.rate + self.frequency * self.rate)

    @property
    def offset_s(self) -> float:
        return self.base.s() + self.x


@dataclass
class BenchSource:
    """A source; it gives the clock's offset plus ``error_s``, gaussian noise and two exponential queues."""

    spec: SourceSpec
    every_s: float = 1.0
    noise_s: float = 1e-6
    queue_s: float = 0.0
    delay_s: float = 1e-4
    error: Callable[[float], float] = lambda _: 0.0
    quality: Quality | None = field(default_factory=quality)
    averaged: bool = False
    up: bool = True
    next_s: float = 0.1


class Bench:
    """Runs a controller against clocks and sources in virtual time."""

    def __init__(
        self,
        clocks: list[BenchClock],
        *,
        settings: CoreSettings | None = None,
        seed: int = 1,
        max_frequency: float = 0.1,
        specs: list[ClockSpec] | None = None,
    ) -> None:
        self.rng = random.Random(seed)
        self.t = 0.0
        self.clocks = {clock.name: clock for clock in clocks}
        self.sources: list[BenchSource] = []
        self.notes: list[Noted] = []
        self.reports: dict[ClockId, Report] = {}
        self.commands: list[Command] = []
        self.watch: Callable[[], None] = lambda: None
        self.controller = Controller(
            settings or CoreSettings(served=SYSTEM, steering=SteeringSettings()),
            specs or [ClockSpec(clock=c.name, disciplined=True, max_frequency=max_frequency) for c in clocks],
            self.now(),
        )
        self.perform(self.controller.start(self.now()))

    def reading(self, clock: ClockId) -> Instant[Tai]:
        c = self.clocks[clock]
        return tai(self.t) + c.base + Duration.from_s(c.x)

    def now(self) -> Now:
        return Now(mono(self.t), {name: self.reading(name) for name in self.clocks})

    def source(
        self, name: str, *, clock: ClockId = SYSTEM, parent: ClockId | None = None, trusted: bool = False, **kw: object
    ) -> BenchSource:
        spec = SourceSpec(
            source=SourceId(name),
            name=name,
            link=LinkId(name),
            clock=clock,
            parent=parent,
            trusted=trusted,
            reference_id=name.encode()[:4].ljust(4, b"\0"),
        )
        made = BenchSource(spec, **kw)  # type: ignore[arg-type]  # the bench's own keywords, checked by the dataclass
        self.sources.append(made)
        self.controller.add_source(spec)
        return made

    def perform(self, commands: list[Command]) -> None:
        self.commands += commands
        for command in commands:
            if isinstance(command, SetFrequency):
                clock = self.clocks[command.clock]
                clock.rate = command.rate.ratio
                self.controller.applied(command.clock, Rate(clock.rate), self.reading(command.clock))
            elif isinstance(command, StepClock):
                clock = self.clocks[command.clock]
                if clock.refuses_steps:
                    continue
                before = self.reading(command.clock)
                clock.base += command.by
                clock.epoch += 1
                clock.steps += 1
                self.notes.append(self.controller.stepped(command.clock, command.by, before, clock.epoch))
            elif isinstance(command, Noted):
                self.notes.append(command)
            elif isinstance(command, Report):
                self.reports[command.clock] = command

    def measure(self, source: BenchSource) -> None:
        clock = self.clocks[source.spec.clock]
        remote = tai(self.t) if source.spec.parent is None else self.reading(source.spec.parent)
        there = self.rng.expovariate(1 / source.queue_s) if source.queue_s else 0.0
        back = self.rng.expovariate(1 / source.queue_s) if source.queue_s else 0.0
        error = source.error(self.t) + self.rng.gauss(0.0, source.noise_s) + (there - back) / 2
        at = self.reading(clock.name)
        m = Measurement(
            link=source.spec.link,
            local=clock.name,
            remote=source.spec.parent or ClockId("outside"),
            at=at,
            epoch=clock.epoch,
            offset=at - remote + Duration.from_s(error),
            delay=Duration.from_s(source.delay_s + (there + back) / 2),
            noise_s=source.noise_s,
            quality=source.quality,
            averaged=source.averaged,
        )
        self.perform(self.controller.on_measurement(m, source.spec.source, self.now()))

    def run(self, seconds: float) -> None:
        """Let time pass; measurements and deadlines happen when they are due."""
        end = self.t + seconds
        while True:
            deadline = self.controller.deadline()
            due = end if deadline is None else max(deadline.scaled_ns / 65536e9 + 1e-9, self.t)
            then = min([due, end, *(s.next_s for s in self.sources)])
            then = max(then, self.t)
            for clock in self.clocks.values():
                clock.pass_by(then - self.t)
            self.t = then
            if then >= end:
                return
            for source in self.sources:
                if source.next_s <= self.t:
                    source.next_s += source.every_s
                    if source.up:
                        self.measure(source)
            if deadline is not None and deadline <= mono(self.t):
                self.perform(self.controller.on_deadline(self.now()))
                again = self.controller.deadline()
                assert again is None or again > mono(self.t - 1e-6), "a deadline that stays in the past spins"
            self.watch()

    def state(self, clock: ClockId = SYSTEM) -> ServoState:
        return self.controller.standing(clock).state

    def bound_s(self, clock: ClockId = SYSTEM) -> float:
        bound = self.controller.clocks[clock].error_bound_s(self.reading(clock), mono(self.t))
        assert bound is not None
        return bound

    def noted(self, name: str) -> list[Noted]:
        return [note for note in self.notes if note.name == name]
