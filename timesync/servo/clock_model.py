"""Everything the core knows of one clock: what was done to it, its sources' tracks, and the estimate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from timesync.base.ids import SourceId
from timesync.base.measure import Measurement, Quality, SourceStatus
from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Mono, Tai
from timesync.servo.command import ClockMemory, ClockSpec, SourceSpec
from timesync.servo.estimator import Prediction
from timesync.servo.fusion import Fusion
from timesync.servo.holdover import UNMODELLED, Habits
from timesync.servo.ledger import Ledger
from timesync.servo.poll import PollAdvisor
from timesync.servo.recent import Point, Recent, Updates
from timesync.servo.select import Candidate, Ruling
from timesync.servo.tracker import Tracker, Verdict, Wander
from timesync.servo.view import SourceState

CONFIDENCE = 4.0
"""Standard deviations in an error bound."""

_UNKNOWN_FREQUENCY = 1e-4
_ANYTHING = 1e18
"""Variance of an offset after somebody else has set the clock, in s^2."""

_REMEMBERED_AT_LEAST = 1e-7


@dataclass(frozen=True, slots=True)
class Estimate:
    """One clock at one moment.

    Attributes:
        offset_s: Clock minus truth.
        deviation_s: One standard deviation of it.
        frequency: Frequency error of the free clock, a ratio.
        frequency_deviation: One standard deviation of it.
    """

    offset_s: float
    deviation_s: float
    frequency: float
    frequency_deviation: float


@dataclass(slots=True)
class Corrections:
    """What was done to one clock so far, which decides what may still be done to it.

    Attributes:
        updates: How often it was corrected since it was last at some arbitrary time: the first corrections may be
            steps.
        updated_at: What it read at the last correction; None before any.
        steps: How often it was stepped by us.
        stepped: How far in all, whatever the direction.
        led: References of its own have fed it.
        recent: The last of them.
    """

    updates: int = 0
    updated_at: Instant[Tai] | None = None
    steps: int = 0
    stepped: Duration = ZERO
    led: bool = False
    recent: Updates = field(default_factory=Updates)


class Source:
    """A source and what is known of it."""

    def __init__(self, spec: SourceSpec, tracker: Tracker, wander: Wander) -> None:
        self.spec = spec
        self.tracker = tracker
        self.wander = wander
        self.status: SourceStatus | None = None
        self.quality: Quality | None = None
        self.delay_s: float | None = None
        self.ruling = Ruling(SourceState.WAITING, "no measurement yet")
        self.advisor = None if spec.poll is None else PollAdvisor(*spec.poll)
        self.spacing_s = 1.0
        self.recent = Recent()

    def track(self, at: Instant[Tai]) -> Prediction | None:
        """The free clock against truth by this source alone, carried to free time ``at``, from the model's origin."""
        return self.tracker.predict(at, self.wander)

    def spread_s(self, at: Instant[Tai], state: Prediction) -> float:
        """One standard deviation of its track in ``state``, as far as what it says of itself does not cover it."""
        del at
        return math.sqrt(max(state.offset_variance, 0.0))

    @property
    def path_s(self) -> float:
        """One-way delay to the root of its time."""
        delay = self.tracker.model.minimum_delay_s
        if delay is None:
            delay = (self.delay_s or 0.0) / 2
        root = 0.0 if self.quality is None else self.quality.root_delay.s() / 2
        return max(delay, 0.0) + root

    @property
    def answered(self) -> float:
        """Share of the last requests that were answered; 1 where nothing is asked."""
        if self.status is None or not self.status.sent:
            return 1.0
        return max(self.status.reach.bit_count() / min(self.status.sent, 8), 1 / 8)

    def distance_s(self, now: Instant[Mono], growth: float = UNMODELLED) -> float:
        """What its claim adds to our own uncertainty: path, its dispersion, and age (RFC 5905, 11.2.1)."""
        dispersion = 0.0 if self.quality is None else self.quality.root_dispersion.s() + self.quality.precision_s
        last = self.tracker.last_at
        age = 0.0 if last is None else (now - last).s()
        return self.path_s + self.tracker.model.lean_s + dispersion + age * growth


class Link(Source):
    """A link to another clock of this machine.

    What is tracked is one free clock against the other: it knows nothing of truth, so that what the far clock errs
    passes neither for noise nor for wander of the near one.
    """

    def __init__(self, spec: SourceSpec, tracker: Tracker, near: ClockModel, far: ClockModel) -> None:
        super().__init__(spec, tracker, Wander(near.wander.value))
        self.near = near
        self.far = far
        self._origin: Duration | None = None

    def between(self, m: Measurement) -> float:
        """The near free clock minus the far one in this comparison, in seconds from the link's own origin."""
        there = self.far.ledger.adjustment(m.at - m.offset)
        apart = m.offset - self.spec.correction - self.near.ledger.adjustment(m.at) + there
        if self._origin is None:
            self._origin = apart
        return (apart - self._origin).s()

    def moved(self) -> None:
        """Somebody set one of the clocks by an unknown amount."""
        self._origin = None
        if self.tracker.estimator is not None:
            self.tracker.moved(self.tracker.estimator.at, _ANYTHING)

    def alarm(self, innovation_s: float) -> None:
        """One of the two clocks did something that the model does not know; its own sources will show which."""
        for model, sign in ((self.near, 1), (self.far, -1)):
            model.fusion.expect(sign * innovation_s)
            for source in model.sources.values():
                if not isinstance(source, Link):
                    source.tracker.expect(sign * innovation_s)

    def calm(self) -> None:
        """They agree again as they should: what was odd was this comparison alone."""
        for model in (self.near, self.far):
            for source in model.sources.values():
                if not isinstance(source, Link):
                    source.tracker.relax()

    def against_truth(self, between_s: float, at: Instant[Tai]) -> tuple[float, Prediction] | None:
        """The near clock against truth, from its own origin, where the two clocks are ``between_s`` apart.

        Returns:
            That, and the far clock's own state; None while the far clock knows no truth.
        """
        if self._origin is None or self.quality is None:
            return None
        above = self.far.above(self._there(self._origin, between_s, at))
        if above is None:
            return None
        origin, state = above
        return self.near.from_origin(self._origin + origin) + between_s + state.offset_s, state

    @staticmethod
    def _there(origin: Duration, between_s: float, at: Instant[Tai]) -> Instant[Tai]:
        """What the far free clock reads when the near one reads ``at``."""
        return at - origin - Duration.from_s(between_s)

    def inherited(self, at: Instant[Tai], below: tuple[ClockModel, ...]) -> tuple[float, float]:
        """See ``ClockModel.inherited``; those in ``below`` lie between the clock that is asked for and the far one."""
        own = self.tracker.predict(at, self.wander)
        if own is None or self._origin is None:
            state = self.far.fusion.state
            return (0.0, 0.0) if state is None else (state.offset_variance, state.frequency_variance)
        there = self._there(self._origin, own.offset_s, at)
        state = self.far.fusion.predict(there)
        if state is None:
            return 0.0, 0.0
        offset, frequency = self.far.inherited(there, below)
        return state.offset_variance + offset, state.frequency_variance + frequency

    def spread_s(self, at: Instant[Tai], state: Prediction) -> float:
        """See ``Source``: that of the far clock is in its claim already."""
        own = self.tracker.predict(at, self.wander)
        return super().spread_s(at, state if own is None else own)

    def track(self, at: Instant[Tai]) -> Prediction | None:
        """See ``Source``: the track of the link upon that of the far clock."""
        own = self.tracker.predict(at, self.wander)
        found = None if own is None else self.against_truth(own.offset_s, at)
        if own is None or found is None:
            return None
        offset_s, state = found
        return Prediction(
            offset_s,
            own.frequency + state.frequency,
            own.drift + state.drift,
            own.offset_variance + state.offset_variance,
            own.frequency_variance + state.frequency_variance,
            own.covariance + state.covariance,
        )


class ClockModel:
    """One clock of this machine, as the core follows it."""

    def __init__(self, spec: ClockSpec, at: Instant[Tai]) -> None:
        """Start when the clock reads ``at``."""
        self.spec = spec
        self.ledger = Ledger(at, spec.epoch, spec.rate)
        memory = spec.memory
        self.wander = Wander() if memory is None else Wander(memory.wander)
        self.fusion = Fusion(self.wander)
        self.sources: dict[SourceId, Source] = {}
        self.corrections = Corrections()
        self.follows: Link | None = None
        self.habits = Habits() if memory is None else Habits(memory.celsius, memory.slope, memory.slope_deviation)
        self._origin: Duration | None = None
        self._distance: tuple[float, Instant[Mono]] | None = None

    def add(self, spec: SourceSpec, far: ClockModel | None = None) -> Source:
        """Follow a source, or a link to the clock ``far``."""
        if far is not None:
            link = Link(spec, Tracker(spec.link, spec.stamp_noise_s, 0.0, _UNKNOWN_FREQUENCY), self, far)
            self.sources[spec.source] = link
            return link
        memory = self.spec.memory
        if memory is None:
            start = (0.0, _UNKNOWN_FREQUENCY)
        else:
            start = (memory.frequency, max(memory.deviation, _REMEMBERED_AT_LEAST))
        source = Source(spec, Tracker(spec.link, spec.stamp_noise_s, *start), self.wander)
        self.sources[spec.source] = source
        return source

    @property
    def steps(self) -> int:
        """How often it was stepped by us."""
        return self.corrections.steps

    def free_offset(self, m: Measurement, correction: Duration) -> float:
        """The free clock's offset in this measurement, in seconds from this model's own origin."""
        return self.from_origin(m.offset - correction - self.ledger.adjustment(m.at))

    def from_origin(self, offset: Duration) -> float:
        """An offset of the free clock in seconds from the model's origin, which the first one makes."""
        if self._origin is None:
            self._origin = offset
        return (offset - self._origin).s()

    def above(self, at: Instant[Tai]) -> tuple[Duration, Prediction] | None:
        """Origin and state for a clock that follows this one, at this one's free time; None while nothing is known."""
        state = self.fusion.predict(at)
        return None if state is None or self._origin is None else (self._origin, state)

    def moved(self, at: Instant[Tai], epoch: int) -> None:
        """Somebody else set the clock by an unknown amount, and it reads ``at`` now.

        The free clock's own time starts anew there: carried back over a jump of unknown size, no state would hold.
        """
        self.ledger.stepped(Duration(0), at, epoch)
        self.corrections.updates = 0
        self._origin = None
        free = self.ledger.free(at)
        self.fusion.moved(free, _ANYTHING)
        for source in self.sources.values():
            source.tracker.moved(free, _ANYTHING)

    def sample(self, source: Source, m: Measurement, now: Instant[Mono]) -> tuple[Verdict, float, float]:
        """Take in a measurement: what became of it, the free offset and the variance it was given.

        The offset is not a number while nothing is known of the far clock of a link.
        """
        free = self.ledger.free(m.at)
        tracker = source.tracker
        if tracker.last_at is not None:
            source.spacing_s += 0.3 * ((now - tracker.last_at).s() - source.spacing_s)
        source.delay_s = None if m.delay is None else 2 * m.delay.s()
        source.quality = m.quality
        offset = source.between(m) if isinstance(source, Link) else self.free_offset(m, source.spec.correction)
        before = tracker.predict(free, source.wander)
        point = Point(m.offset, free, m.at - free)
        source.recent.add(point, 0.0 if before is None else offset - before.offset_s, now)
        delay = None if m.delay is None or m.averaged else m.delay.s()
        # Who is not used may be too coarse to show how the clock wanders: what repeats in him is his own.
        teaches = isinstance(source, Link) or self.fusion.learns_from(source.spec.source)
        verdict, variance = tracker.sample(free, offset, delay, source.wander, now, m.noise_s, teaches=teaches)
        if tracker.began_anew() and source.ruling.state is SourceState.SELECTED:
            # The estimate has taken the same noise for an offset and a frequency.
            self.fusion.forget()
        if verdict is Verdict.OUTLIER and before is not None and source.ruling.state is SourceState.SELECTED:
            assert tracker.estimator is not None
            self.fusion.suspect(free, offset - before.offset_s, (free - tracker.estimator.at).s())
        if isinstance(source, Link):
            if verdict is not Verdict.USED and before is not None:
                source.alarm(offset - before.offset_s)
            elif verdict is Verdict.USED:
                source.calm()
            found = source.against_truth(offset, free)
            offset = math.nan if found is None else found[0]
        return verdict, offset, variance

    def steered_offset(self, free_offset_s: float, reading: Instant[Tai]) -> float:
        """Carry an offset of the free clock over to the steered one."""
        origin = self._origin or Duration(0)
        return free_offset_s + (origin + self.ledger.adjustment(reading)).s()

    def candidate(self, source: Source, reading: Instant[Tai], now: Instant[Mono]) -> Candidate | None:
        """The source as selection sees it; None before the first measurement."""
        free = self.ledger.free(reading)
        state = source.track(free)
        if state is None:
            return None
        deviation = math.sqrt(max(state.offset_variance, 0.0))
        return Candidate(
            source=source.spec.source,
            name=source.spec.name,
            offset_s=self.steered_offset(state.offset_s, reading),
            deviation_s=deviation,
            bound_s=source.distance_s(now, self.growth) + CONFIDENCE * source.spread_s(free, state),
            frequency=state.frequency,
            frequency_deviation=math.sqrt(max(state.frequency_variance, 0.0)),
            trusted=source.spec.trusted,
            samples=source.tracker.samples,
            vouched=source.spec.parent is not None,
        )

    def estimate(self, reading: Instant[Tai]) -> Estimate | None:
        """The clock when it reads ``reading``; None before anything is known."""
        free = self.ledger.free(reading)
        state = self.fusion.predict(free)
        if state is None:
            return None
        offset, frequency = self.inherited(free)
        return Estimate(
            self.steered_offset(state.offset_s, reading),
            math.sqrt(max(state.offset_variance + offset, 0.0)),
            state.frequency + self.ledger.environment,
            math.sqrt(max(state.frequency_variance + frequency, 0.0)),
        )

    def inherited(self, at: Instant[Tai], below: tuple[ClockModel, ...] = ()) -> tuple[float, float]:
        """Variance of the offset and of the frequency that the clocks have, at free time ``at``, that this one follows.

        No comparison with them shows it. While somebody changes whom he follows there may be a circle: a clock in
        ``below`` is asked no more.
        """
        if self.follows is None or self in below:
            return 0.0, 0.0
        return self.follows.inherited(at, (*below, self))

    @property
    def growth(self) -> float:
        """How fast every error bound grows for what no model knows, in seconds per second."""
        return max(self.habits.roaming.growth, self.spec.tolerance)

    def watched(self, reading: Instant[Tai], now: Instant[Mono], *, locked: bool) -> None:
        """Learn how far the frequency roams; to be called at least once a minute."""
        estimate = self.estimate(reading) if locked else None
        if estimate is None:
            self.habits.roaming.lost()
        else:
            # What the temperature explains is taken out in holdover too, so it is no roaming.
            own = estimate.frequency - self.ledger.environment
            self.habits.roaming.observe(now.scaled_ns / UNITS_PER_S, own, estimate.frequency_deviation)

    def warmed(self, celsius: float, reading: Instant[Tai], now: Instant[Mono], *, locked: bool) -> tuple[float, float]:
        """Take in the oscillator's temperature.

        Returns:
            By how much its known frequency changed, and how much of it was ascribed anew; ratios.
        """
        before = self.ledger.environment
        estimate = self.estimate(reading) if locked else None
        at_s = now.scaled_ns / UNITS_PER_S
        relearnt, environment = self.habits.warmed(at_s, celsius, None if estimate is None else estimate.frequency)
        if relearnt:
            # The slope is better known: the whole frequency is what it was, only its parts are divided anew.
            self.fusion.retune(-relearnt)
            for source in self.sources.values():
                source.tracker.retune(-relearnt)
        self.ledger.compensated(environment, reading)
        return environment - before - relearnt, relearnt

    def claim(self, reading: Instant[Tai], now: Instant[Mono]) -> None:
        """Note how far the estimate may be from the truth for reasons that no sample shows: paths and roots.

        The truth lies within every selected source's claim, so the tightest counts.
        """
        free = self.ledger.free(reading)
        ours = self.fusion.predict(free)
        if ours is None:
            return
        distances = []
        for source in self.sources.values():
            if source.ruling.state is not SourceState.SELECTED:
                continue
            track = source.track(free)
            if track is not None:
                apart = abs(track.offset_s - ours.offset_s)
                spread = CONFIDENCE * math.sqrt(max(track.offset_variance, 0.0)) if len(self.sources) > 1 else 0.0
                distances.append(source.distance_s(now, self.growth) + apart + spread)
        if distances:
            self._distance = min(distances), now

    def error_bound_s(self, reading: Instant[Tai], now: Instant[Mono]) -> float | None:
        """The claimed bound on the true offset; None while unknown."""
        estimate = self.estimate(reading)
        if estimate is None or self._distance is None:
            return None
        distance, since = self._distance
        doubt = self.fusion.doubt_s(self.ledger.free(reading)) + (now - since).s() * self.growth
        return abs(estimate.offset_s) + CONFIDENCE * estimate.deviation_s + distance + doubt

    def remember(self, reading: Instant[Tai]) -> ClockMemory | None:
        """What the drift file should hold; None before anything is known."""
        estimate = self.estimate(reading)
        if estimate is None:
            return None
        slope, deviation = self.habits.thermal.learnt
        return ClockMemory(
            estimate.frequency,
            estimate.frequency_deviation,
            self.wander.value,
            self.habits.celsius,
            slope,
            deviation,
        )
