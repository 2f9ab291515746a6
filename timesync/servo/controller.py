"""Measurements in, commands out: the core's one entrance.

Pure: it is told what was measured, what time it is and what became of its commands, and answers with commands. It
knows no protocol and no operating system.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Measurement, SourceStatus
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.servo.clock_model import ClockModel, Link, Source
from timesync.servo.command import (
    ClockMemory,
    ClockSpec,
    Command,
    CoreSettings,
    Now,
    Probe,
    Report,
    SetFrequency,
    SetPoll,
    SourceSpec,
    StepClock,
)
from timesync.servo.election import LEAST_SAMPLES, Election
from timesync.servo.estimator import Prediction
from timesync.servo.lineage import Lineage
from timesync.servo.select import words
from timesync.servo.standing import Standing
from timesync.servo.steering import Refuse, Slew, Step, correct
from timesync.servo.tracker import Verdict
from timesync.servo.view import ServoState

_RESTEER_S = 32.0
_RETRY_S = 1.0
"""Before a step is asked for again that nobody performed."""

_FELT = 1e-11
"""A smaller change of frequency by temperature is left to the next measurement's steering."""

_FREE_STEP_S = 20e-6
"""linuxptp's ``first_step_threshold``."""

_REGISTER = 8
"""Requests that the reach register knows of."""

_WORST = Duration.from_s(16)
"""The kernel's own limit for its error estimates, beyond which it calls itself unsynchronized."""


class Controller:
    """The shared servo core over all clocks and links."""

    def __init__(self, settings: CoreSettings, clocks: Iterable[ClockSpec], now: Now) -> None:
        self._settings = settings
        self._clocks = {spec.clock: ClockModel(spec, now.clocks[spec.clock]) for spec in clocks}
        self._owner: dict[SourceId, ClockModel] = {}
        self._deadlines: dict[ClockId, tuple[Instant[Mono], Rate | None]] = {}
        self._standing = {clock: Standing(settings) for clock in self._clocks}
        self.lineage = Lineage(self._clocks, self._standing)
        self._election = Election(settings, self._clocks, self._standing, self.lineage)

    # -- what the core is made of ------------------------------------------------------------------------------

    def add_clock(self, spec: ClockSpec, now: Now) -> None:
        """Follow one more clock: a device that appeared late."""
        self._clocks[spec.clock] = ClockModel(spec, now.clocks[spec.clock])
        self._standing[spec.clock] = Standing(self._settings)

    def add_source(self, spec: SourceSpec) -> None:
        """Follow one more source."""
        model = self._clocks[spec.clock]
        model.add(spec, None if spec.parent is None else self._clocks[spec.parent])
        self._owner[spec.source] = model

    def remove_source(self, source: SourceId, now: Now) -> list[Command]:
        """Forget a source."""
        model = self._owner.pop(source, None)
        if model is None:
            return []
        del model.sources[source]
        self._election.forget(model.spec.clock, source)
        return self._election.hold(model, now)

    def configure(self, settings: CoreSettings) -> None:
        """Behave differently from now on; clocks and what is known of them stay."""
        self._settings = settings
        self._election.configure(settings)
        for standing in self._standing.values():
            standing.configure(settings)

    @property
    def clocks(self) -> Mapping[ClockId, ClockModel]:
        """The models, for views."""
        return self._clocks

    @property
    def settings(self) -> CoreSettings:
        """As given."""
        return self._settings

    def standing(self, clock: ClockId) -> Standing:
        """How far a clock can be trusted."""
        return self._standing[clock]

    def owner(self, source: SourceId) -> ClockModel:
        """The clock that a source measures."""
        return self._owner[source]

    def feed(self, clock: ClockId) -> tuple[SourceId, ...]:
        """The sources that feed a clock now."""
        feed = self.lineage.feeds.get(clock)
        return () if feed is None else tuple(feed.sources)

    def sources(self) -> list[Source]:
        """All sources in the order in which they were added."""
        return [self._owner[source].sources[source] for source in self._owner]

    def memory(self, now: Now) -> dict[ClockId, ClockMemory]:
        """What the drift file should hold."""
        kept = {clock: model.remember(now.clocks[clock]) for clock, model in self._clocks.items()}
        return {clock: memory for clock, memory in kept.items() if memory is not None}

    # -- what happens ------------------------------------------------------------------------------------------

    def start(self, now: Now) -> list[Command]:
        """Set each clock to the frequency that is remembered of it."""
        commands: list[Command] = []
        for clock, model in self._clocks.items():
            memory = model.spec.memory
            if memory is not None and model.spec.disciplined:
                commands.append(SetFrequency(clock, self._limited(model, -memory.frequency)))
            commands += self._report(model, now)
        return commands

    def finish(self, now: Now) -> list[Command]:
        """Nobody will steer any more: no slew may go on for ever, each clock is left at its right frequency."""
        self._deadlines.clear()
        commands: list[Command] = []
        for clock, model in self._clocks.items():
            estimate = model.estimate(now.clocks[clock])
            if estimate is None or not model.spec.disciplined:
                continue
            rate = self._limited(model, -estimate.frequency)
            if rate != model.ledger.rate:
                commands.append(SetFrequency(clock, rate))
        return commands

    def on_measurement(self, m: Measurement, source_id: SourceId, now: Now) -> list[Command]:
        """A measurement came in from this source."""
        model = self._owner.get(source_id)
        if model is None or m.epoch != model.ledger.epoch:
            return []
        source = model.sources[source_id]
        self._standing[model.spec.clock].present()
        if source.spec.parent is not None:
            m = replace(m, quality=self.lineage.quality(source.spec.parent, now))
        self._election.measured(now.mono)
        verdict, offset, variance = model.sample(source, m, now.mono)
        commands = self._pace(model, source, verdict)
        if verdict is not Verdict.OUTLIER and math.isnan(offset):
            # Whom it follows knows no truth any more: it is on its own at once.
            commands += self._election.hold(model, now)
        if verdict is Verdict.OUTLIER or math.isnan(offset):
            return commands + self._report(model, now)
        commands += self._election.hold(model, now)
        free = model.ledger.free(m.at)
        before = model.fusion.predict(free)
        fused = model.fusion.sample(source_id, free, offset, variance)
        self._carry_on(model, before, m.at, now)
        model.claim(now.clocks[model.spec.clock], now.mono)
        if fused in (Verdict.USED, Verdict.NEWS):
            commands += self._steer(model, now)
        commands += self._report(model, now)
        return commands

    def _carry_on(self, model: ClockModel, before: Prediction | None, at: Instant[Tai], now: Now) -> None:
        """A clock turned out to be elsewhere when it read ``at``, or to run otherwise: so do those that follow it."""
        after = model.fusion.predict(model.ledger.free(at))
        if before is None or after is None:
            return
        since = now.clocks[model.spec.clock] - at
        for other in self._clocks.values():
            if other.follows is not None and self.lineage.follows(other.spec.clock, model.spec.clock):
                there = other.ledger.free(now.clocks[other.spec.clock] - since)
                other.fusion.carried(there, after.offset_s - before.offset_s, after.frequency - before.frequency)

    def on_status(self, status: SourceStatus, now: Now) -> list[Command]:
        """A protocol machine says how its remote does."""
        model = self._owner.get(status.source)
        if model is None:
            return []
        source = model.sources[status.source]
        before, source.status = source.status, status
        if before is None or _matters(before) != _matters(status):
            return [*self._election.hold(model, now), *self._report(model, now)]
        return []

    def on_fence(self, fence: Fence | None, now: Now, *, awaited: bool = False) -> list[Command]:
        """Between which instants the time is, by others than the sources.

        Args:
            fence: That; None: nobody says so any more, or yet.
            now: The present.
            awaited: It is the first word that is waited for.
        """
        self._election.suffrage.enclose(fence, awaited=awaited)
        commands: list[Command] = []
        for model in self._clocks.values():
            commands += self._election.hold(model, now)
            commands += self._report(model, now)
        return commands

    def fence(self, now: Instant[Mono]) -> Fence | None:
        """What was last said so, as far as it counts now, and carried to now."""
        return self._election.suffrage.fence(now)

    def shut_out(self) -> frozenset[SourceId]:
        """Sources that do not stand for election because they lie outside of it."""
        return frozenset(source.spec.source for source in self.sources()) & self._election.suffrage.shut_out

    def contradiction(self, clock: ClockId, now: Now) -> str | None:
        """How far at least the reading of a clock itself lies outside the fence, in words; None: it does not."""
        return self._election.suffrage.contradiction(now.clocks[clock], 0.0, now.mono)

    def applied(self, clock: ClockId, rate: Rate, at: Instant[Tai], noise_s: float = 0.0) -> None:
        """The clock's frequency adjustment became ``rate`` when it read ``at``.

        Args:
            clock: Which.
            rate: As it was taken.
            at: When, by the clock.
            noise_s: One standard deviation of ``at``.
        """
        model = self._clocks[clock]
        change = rate.ratio - model.ledger.rate.ratio
        model.ledger.steered(rate, at)
        # At once, or as late as it may take effect: not so much around a mean as off to one side.
        self._disturb(model, change**2 * (noise_s**2 + model.spec.frequency_latency_s**2 / 3))

    def stepped(self, clock: ClockId, by: Duration, at: Instant[Tai], epoch: int) -> Noted:
        """The clock was set forward by ``by`` on our command; it read ``at`` just before.

        Returns:
            What is to be said of it: only now, since a clock may refuse to be stepped.
        """
        model = self._clocks[clock]
        model.ledger.stepped(by, at, epoch)
        model.corrections.steps += 1
        model.corrections.stepped += abs(by)
        return Noted("warning", "step", f"clock {clock} was {words(-by.s())} off: stepped by {by}")

    def foreign_step(self, clock: ClockId, at: Instant[Tai], epoch: int, rate: Rate) -> None:
        """Somebody else set the clock by an unknown amount, or its driver was loaded anew.

        It reads ``at`` now and runs at the frequency adjustment ``rate``, which need not be the one that we set last.
        What is known of its oscillator holds still.
        """
        self._clocks[clock].moved(at, epoch)
        for link in self._links_of(clock):
            link.moved()
        self.applied(clock, rate, at)
        self._standing[clock].lost("somebody else has set the clock")

    def on_temperature(self, clock: ClockId, celsius: float, now: Now) -> list[Command]:
        """The temperature of a clock's oscillator, about every half minute."""
        model = self._clocks[clock]
        locked = self._standing[clock].state is ServoState.LOCKED
        felt, relearnt = model.warmed(celsius, now.clocks[clock], now.mono, locked=locked)
        for link in self._links_of(clock):
            if link.far is model:
                link.tracker.retune(relearnt)
        if abs(felt) < _FELT:
            return []
        return self._steer(model, now, counted=False)

    def gone(self, clock: ClockId, why: str) -> None:
        """The clock's device has vanished; when it comes back, its epoch will be another."""
        self._standing[clock].gone(why)

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        return min((when for when, _ in self._deadlines.values()), default=None)

    def on_deadline(self, now: Now) -> list[Command]:
        """Slews that are done end; clocks without news are kept on their predicted course."""
        commands: list[Command] = []
        for clock, (when, after) in list(self._deadlines.items()):
            if when > now.mono:
                continue
            model = self._clocks[clock]
            # At once: whatever comes of it, a deadline may not stay in the past.
            self._deadlines[clock] = (now.mono + Duration.from_s(_RESTEER_S), None)
            if after is not None:
                commands.append(SetFrequency(clock, after))
            else:
                commands += self._election.hold(model, now)
                commands += self._steer(model, now, counted=False)
            commands += self._report(model, now)
        return commands

    def _pace(self, model: ClockModel, source: Source, verdict: Verdict) -> list[Command]:
        """Advise the source's poll interval."""
        advisor = source.advisor
        if advisor is None:
            return []
        before = advisor.exponent
        if verdict is Verdict.USED:
            if source.tracker.samples > 2 * LEAST_SAMPLES:
                advisor.settled(source.tracker.model.typical_s, model.wander.value, source.answered)
        else:
            advisor.alarmed()
        commands: list[Command] = []
        if advisor.exponent != before:
            commands.append(SetPoll(source.spec.source, advisor.exponent))
        if verdict is Verdict.OUTLIER or source.tracker.puzzled:
            commands.append(Probe(source.spec.source))
        return commands

    def _links_of(self, clock: ClockId) -> list[Link]:
        """The links in which a clock takes part, at either end."""
        return [
            source
            for model in self._clocks.values()
            for source in model.sources.values()
            if isinstance(source, Link) and clock in (source.spec.clock, source.spec.parent)
        ]

    # -- steering ----------------------------------------------------------------------------------------------

    @staticmethod
    def _limited(model: ClockModel, ratio: float) -> Rate:
        limit = model.spec.max_frequency
        return Rate(min(max(ratio, -limit), limit))

    def _steer(self, model: ClockModel, now: Now, *, counted: bool = True) -> list[Command]:
        """Turn the estimate into a command."""
        clock = model.spec.clock
        estimate = model.estimate(now.clocks[clock])
        if estimate is None or not model.spec.disciplined:
            return []
        feed = self.lineage.feeds.get(clock)
        sources = () if feed is None else feed.sources
        spacing = min((model.sources[s].spacing_s for s in sources if s in model.sources), default=_RESTEER_S)
        # What the clock can do counts as well, less what its own frequency error takes of it.
        reach = max(model.spec.max_frequency - abs(estimate.frequency), model.spec.max_frequency / 8)
        limits = replace(
            self._settings.steering,
            max_slew=min(self._settings.steering.max_slew, reach),
            initial_step_anything=self._settings.steering.initial_step_anything or model.spec.set_freely,
            step_threshold_s=self._step_threshold_s(model),
        )
        action = correct(
            estimate.offset_s, estimate.deviation_s, estimate.frequency, spacing, model.corrections.updates, limits
        )
        if isinstance(action, Refuse):
            self._standing[clock].refused(action.offset_s, self._settings.steering.panic_s)
            return []
        if counted:
            model.corrections.updates += 1
            model.corrections.updated_at = now.clocks[clock]
            model.corrections.recent.add(estimate.offset_s, now.mono)
        if isinstance(action, Step):
            self._deadlines[clock] = (now.mono if counted else now.mono + Duration.from_s(_RETRY_S), None)
            return [StepClock(clock, action.by)]
        return self._slew(model, action, now)

    def _step_threshold_s(self, model: ClockModel) -> float:
        """A hardware clock that nobody relied on yet is set rather than slewed for longer than need be."""
        threshold = self._settings.steering.step_threshold_s
        return min(threshold, _FREE_STEP_S) if model.spec.set_freely else threshold

    def _slew(self, model: ClockModel, action: Slew, now: Now) -> list[Command]:
        rate, after = self._limited(model, action.rate.ratio), self._limited(model, action.after.ratio)
        self._deadlines[model.spec.clock] = (now.mono + Duration.from_s(action.hold_s), after)
        if rate == model.ledger.rate:
            return []
        return [SetFrequency(model.spec.clock, rate)]

    def _disturb(self, model: ClockModel, variance: float) -> None:
        if variance > 0:
            model.fusion.disturb(variance)
            own = [source for source in model.sources.values() if not isinstance(source, Link)]
            for source in (*own, *self._links_of(model.spec.clock)):
                source.tracker.disturb(variance)

    def _check(self, model: ClockModel, bound_s: float | None, now: Now) -> None:
        """A clock whose claim lies outside the fence was led astray: it is not believed, and may be set anew."""
        clock = model.spec.clock
        why = None
        if bound_s is not None:
            why = self._election.suffrage.contradiction(now.clocks[clock], bound_s, now.mono)
        if self._standing[clock].contradicted(None if why is None else f"its own time is {why}"):
            model.corrections.updates = 0

    def news(self, clock: ClockId) -> list[Command]:
        """What changed in a clock's standing since the last call; with its name where there are several."""
        notes = self._standing[clock].notes()
        if len(self._clocks) == 1:
            return notes
        return [replace(one, text=f"clock {clock}: {one.text}") if isinstance(one, Noted) else one for one in notes]

    def _report(self, model: ClockModel, now: Now) -> list[Command]:
        """What the clock is told of itself, and what changed in its standing."""
        reading = now.clocks[model.spec.clock]
        estimate = model.estimate(reading)
        bound = model.error_bound_s(reading, now.mono)
        standing = self._standing[model.spec.clock]
        model.watched(reading, now.mono, locked=standing.state is ServoState.LOCKED)
        self._check(model, bound, now)
        standing.judge(estimate, bound, model.corrections.updates, now.mono, steered=model.spec.disciplined)
        if not model.spec.disciplined:
            return self.news(model.spec.clock)
        if estimate is None or bound is None:
            return [Report(model.spec.clock, False, _WORST, _WORST), *self.news(model.spec.clock)]
        report = Report(
            model.spec.clock,
            standing.state in (ServoState.LOCKED, ServoState.HOLDOVER),
            min(Duration.from_s(abs(estimate.offset_s) + estimate.deviation_s), _WORST),
            min(Duration.from_s(bound), _WORST),
        )
        return [report, *self.news(model.spec.clock)]


def _matters(status: SourceStatus) -> tuple[object, ...]:
    """What of a status selection goes by, and what its reasons tell."""
    silent = min(status.sent, _REGISTER) if status.reach == 0 else None
    return silent, status.trouble, status.excluded, status.leap, status.stratum, status.provisional
