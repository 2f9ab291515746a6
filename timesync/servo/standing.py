"""How far a clock can be trusted: acquiring, locked, holdover, free-running or at fault, each with a reason."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from timesync.base.machine import Noted
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.servo.command import Command, CoreSettings, Now
from timesync.servo.select import words
from timesync.servo.view import ServoState, SourceState

if TYPE_CHECKING:
    from timesync.servo.clock_model import ClockModel, Estimate, Source

_SETTLED = 6.0
_SETTLED_FLOOR_S = 1e-6
_BEST_HYSTERESIS = 0.7
_LOCK_UPDATES = 3
_WATCHED_SAMPLES = 4


class Standing:
    """The state of one clock, with memory for when it was last fed."""

    def __init__(self, settings: CoreSettings) -> None:
        self._holdover_s = settings.holdover_s
        self.state = ServoState.ACQUIRING
        self.reason = "waiting for the first measurements"
        self.best: Source | None = None
        self._fed = False
        self._above: Standing | None = None
        self._away = False
        self._watched = False
        self._fed_at: Instant[Mono] | None = None
        self._alone = ""
        self._contradiction: str | None = None
        self._notes: list[Command] = []

    def configure(self, settings: CoreSettings) -> None:
        """Another configuration from now on."""
        self._holdover_s = settings.holdover_s

    def notes(self) -> list[Command]:
        """What changed since the last call."""
        notes, self._notes = self._notes, []
        return notes

    def fed(self, model: ClockModel, sources: Sequence[Source], now: Now, above: Standing | None = None) -> None:
        """These sources feed the clock from now on (none: it is on its own), or a link to the clock of ``above``."""
        self._fed = bool(sources)
        self._above = above
        if sources:
            # Following a clock that is itself on its own is no more than being on its own for as long.
            coasts = above is not None and above.state is ServoState.HOLDOVER
            self._fed_at = above.fed_at if above is not None and coasts else now.mono
            self._choose(sources, now)
        else:
            self._alone = _why_not(model)
            if self.state is ServoState.ACQUIRING:
                self.reason = self._alone

    def _choose(self, sources: Sequence[Source], now: Now) -> None:
        """The source that stratum and reference id are taken from; another only when it is clearly better."""
        best = min(sources, key=lambda source: source.distance_s(now.mono))
        held = next((s for s in sources if self.best is not None and s is self.best), None)
        if held is None or best.distance_s(now.mono) < _BEST_HYSTERESIS * held.distance_s(now.mono):
            self.best = best
        else:
            self.best = held

    @property
    def fed_at(self) -> Instant[Mono] | None:
        """When a source fed it last, directly or over other clocks."""
        return self._fed_at

    def holdover_left(self, now: Instant[Mono]) -> Duration | None:
        """For how long its holdover may go on; None in any other state."""
        if self.state is not ServoState.HOLDOVER or self._fed_at is None:
            return None
        return max(Duration.from_s(self._holdover_s) - (now - self._fed_at), ZERO)

    @property
    def coasting(self) -> bool:
        """It was fed by references of its own and may still be believed: other clocks go on following it."""
        return (
            self.state in (ServoState.LOCKED, ServoState.HOLDOVER)
            and self.best is not None
            and self.best.spec.parent is None
        )

    def lost(self, why: str) -> None:
        """What was known of the clock's offset is void."""
        if self.state is not ServoState.FAULT:
            self._enter(ServoState.ACQUIRING, why)

    def gone(self, why: str) -> None:
        """The clock's device has vanished: whatever is known of it, it is of no use before ``present``."""
        self.lost(why)
        self._away = True

    def contradicted(self, why: str | None) -> bool:
        """Others than the sources say that the clock cannot be right, and why; None: they do not.

        Returns:
            Whether that is news: what was known of its offset is void.
        """
        news = why is not None and self._contradiction is None
        self._contradiction = why
        return news

    def present(self) -> None:
        """The clock can be read."""
        self._away = False

    def refused(self, offset_s: float, limit_s: float) -> None:
        """The clock is further off than it may be corrected."""
        text = (
            f"the clock is {words(offset_s)} off, which is beyond steering.panic ({words(limit_s)}): it is left alone; "
            "set it by hand, or start once with --initial-step-anything"
        )
        if self.state is not ServoState.FAULT:
            self._enter(ServoState.FAULT, text)

    @property
    def known(self) -> bool:
        """Whether the clock's offset is known well enough for other clocks to be compared with it."""
        if self.state in (ServoState.LOCKED, ServoState.HOLDOVER):
            return True
        return (
            not self._away and self._watched and self.best is not None and self.best.tracker.samples >= _WATCHED_SAMPLES
        )

    def judge(
        self,
        estimate: Estimate | None,
        bound_s: float | None,
        updates: int,
        now: Instant[Mono],
        *,
        steered: bool = True,
    ) -> None:
        """Move to the state that the estimate deserves; one that is not ``steered`` is only watched."""
        if self._away:
            return
        if not steered:
            self._watched = self._fed and estimate is not None and bound_s is not None
            if self._watched and estimate is not None:
                self._enter(ServoState.ACQUIRING, f"measured, not steered: {words(estimate.offset_s)} off")
            return
        if self.state is ServoState.FAULT and not self._recovered(estimate):
            return
        if self._contradiction is not None:
            self._enter(ServoState.ACQUIRING, self._contradiction)
            return
        if estimate is None or bound_s is None:
            return
        if self._fed:
            self._judge_fed(estimate, updates)
        elif self.state in (ServoState.LOCKED, ServoState.HOLDOVER, ServoState.FREERUN):
            self._judge_alone(bound_s, now)

    def _judge_fed(self, estimate: Estimate, updates: int) -> None:
        settled = abs(estimate.offset_s) <= _SETTLED * estimate.deviation_s + _SETTLED_FLOOR_S
        held = self.state in (ServoState.LOCKED, ServoState.HOLDOVER) and self._above is not None
        if held or self.state is ServoState.LOCKED or (settled and updates >= _LOCK_UPDATES):
            name = "its sources" if self.best is None else self.best.spec.name
            if self._above is not None and self._above.state is ServoState.HOLDOVER:
                self._enter(ServoState.HOLDOVER, f"follows {name}, which is in holdover: {self._above.reason}")
            else:
                self._enter(ServoState.LOCKED, f"follows {name}")
        elif updates:
            self._enter(ServoState.ACQUIRING, f"{words(abs(estimate.offset_s))} still to correct")
        else:
            self._enter(ServoState.ACQUIRING, "comparing the sources")

    def _judge_alone(self, bound_s: float, now: Instant[Mono]) -> None:
        assert self._fed_at is not None
        alone = (now - self._fed_at).s()
        # Holdover that has ended does not begin anew when more of it is configured: the clock was given up.
        if alone <= self._holdover_s and self.state is not ServoState.FREERUN:
            left = words(self._holdover_s - alone)
            self._enter(
                ServoState.HOLDOVER, f"no usable source for {words(alone)}: {self._alone}; holdover for {left} more"
            )
        else:
            self._enter(
                ServoState.FREERUN, f"no usable source for {words(alone)}; the error may have grown to {words(bound_s)}"
            )

    @staticmethod
    def _recovered(estimate: Estimate | None) -> bool:
        return estimate is not None and abs(estimate.offset_s) < 1.0

    def _enter(self, state: ServoState, reason: str) -> None:
        if state is not self.state:
            level = "info" if state is ServoState.LOCKED else "warning"
            if (self.state, state) != (ServoState.ACQUIRING, ServoState.ACQUIRING):
                self._notes.append(Noted(level, state.value, f"{state.value}: {reason}"))
            self.state = state
        self.reason = reason


def _why_not(model: ClockModel) -> str:
    """Why nothing feeds a clock, in words."""
    if not model.sources:
        return "no source is configured for this clock"
    states = [source.ruling.state for source in model.sources.values()]
    count = len(states)
    if all(state is SourceState.UNREACHABLE for state in states):
        what = "no source answers" if count > 1 else "the only source does not answer"
        troubles = {None if source.status is None else source.status.trouble for source in model.sources.values()}
        trouble = troubles.pop() if len(troubles) == 1 else None  # where all have the same one, it is the reason
        return what if trouble is None else f"{what} ({trouble})"
    if all(state is SourceState.WAITING for state in states):
        return "waiting for the first measurements"
    # References before links to other clocks, which only ever pass on what those know.
    sources = sorted(model.sources.values(), key=lambda source: source.spec.parent is not None)
    told = (s for s in sources if s.ruling.state in (SourceState.FALSETICKER, SourceState.CANDIDATE))
    source = next((s for s in told if s.spec.parent is None), sources[0])
    return f"{source.spec.name}: {source.ruling.reason}"
