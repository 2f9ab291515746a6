"""The one estimator of a clock, fed by every selected source with the noise that its link has earned.

Sources agree only to within their unknown asymmetries, which do not average out. Each therefore carries a bias:
its own track against the weighted mean of all selected tracks. Samples enter with their bias taken out, so that the
estimate has the short-term noise of all samples together, the long-term mean of the weighted tracks, and does not
jump when a source joins or leaves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from timesync.base.ids import SourceId
from timesync.base.time import Instant, Tai
from timesync.servo.estimator import Estimator, Prediction
from timesync.servo.tracker import DOUBTFUL, DRIFT_WANDER, Gate, Verdict, Wander, disturb

_ASYMMETRY = 0.05
"""Typical share of a path's delay by which its two directions differ."""


@dataclass(frozen=True, slots=True)
class Member:
    """A selected source.

    Attributes:
        track: Its track: the free clock against truth by this source alone, carried to a free time.
        path_s: One-way delay to the root of its time: what its unknown asymmetry scales with.
    """

    track: Callable[[Instant[Tai]], Prediction | None]
    path_s: float


class Fusion:
    """The estimate of one free clock from its selected sources."""

    def __init__(self, wander: Wander) -> None:
        """Share the clock's learnt wander."""
        self._wander = wander
        self._estimator: Estimator | None = None
        self._gate = Gate()
        self._members: dict[SourceId, Member] = {}
        self._biases: dict[SourceId, float] = {}
        self._asymmetry_s = 0.0
        self._pending: tuple[Instant[Tai], float, float] | None = None

    @property
    def ready(self) -> bool:
        """There is an estimate."""
        return self._estimator is not None

    def learns_from(self, source: SourceId) -> bool:
        """It is one of those that are used, or none is yet."""
        return source in self._members or self._estimator is None

    @property
    def state(self) -> Prediction | None:
        """The estimate as of the last sample."""
        return None if self._estimator is None else self.predict(self._estimator.at)

    def predict(self, at: Instant[Tai]) -> Prediction | None:
        """The free clock against truth, carried to free time ``at``."""
        if self._estimator is None:
            return None
        return self._estimator.predict(at, self._wander.value, DRIFT_WANDER)

    def choose(self, members: Mapping[SourceId, Member], at: Instant[Tai]) -> None:
        """Use these sources from now on; the state stays, only the links change."""
        self._members = dict(members)
        tracks: dict[SourceId, tuple[float, float, float]] = {}
        for source, member in self._members.items():
            state = member.track(at)
            if state is not None:
                asymmetry = _ASYMMETRY * member.path_s + 1e-9
                tracks[source] = (state.offset_s, max(state.offset_variance, 0.0), asymmetry * asymmetry)
        if not tracks:
            self._biases = {}
            return
        weights = {source: 1 / (variance + square) for source, (_, variance, square) in tracks.items()}
        total = sum(weights.values())
        mean = sum(weights[source] * track[0] for source, track in tracks.items()) / total
        self._biases = {
            source: (offset - mean) * square / (square + variance)
            for source, (offset, variance, square) in tracks.items()
        }
        self._asymmetry_s = math.sqrt(min(square for _, _, square in tracks.values()))
        if self._estimator is None:
            self._start(tracks, mean, at)

    def _start(self, tracks: Mapping[SourceId, tuple[float, float, float]], mean: float, at: Instant[Tai]) -> None:
        best = min(tracks, key=lambda source: tracks[source][1])
        state = self._members[best].track(at)
        assert state is not None
        self._estimator = Estimator(
            at, mean, state.offset_variance, state.frequency, math.sqrt(state.frequency_variance), state.covariance
        )

    def sample(self, source: SourceId, at: Instant[Tai], offset_s: float, variance: float) -> Verdict | None:
        """Take in a sample that its tracker believed; None when its source is not selected."""
        if source not in self._members or self._estimator is None:
            return None
        state = self._estimator.predict(at, self._wander.value, DRIFT_WANDER)
        innovation = offset_s - self._biases.get(source, 0.0) - state.offset_s
        spread = state.offset_variance + variance
        if len(self._members) > 1:
            spread += self._asymmetry_s**2
        deviation = math.sqrt(spread)
        verdict = self._gate.judge(innovation, deviation)
        elapsed = (at - self._estimator.at).s()
        if verdict is Verdict.OUTLIER:
            self.suspect(at, innovation, elapsed)
            return verdict
        self._pending = None
        if verdict is Verdict.USED and abs(innovation) > DOUBTFUL * deviation:
            self._doubt(at, innovation, elapsed)
        if at < self._estimator.at:
            # Late by another source's newer sample: the state is carried back for the innovation only.
            self._estimator.update(innovation, variance)
            return verdict
        self._estimator.advance(at, self._wander.value, DRIFT_WANDER)
        if verdict is Verdict.NEWS:
            disturb(self._estimator, innovation, elapsed)
        self._estimator.update(innovation, variance)
        return verdict

    def expect(self, innovation_s: float) -> None:
        """A comparison with another clock of this machine was odd on this side, and one odd sample will be news."""
        self._gate.expect(innovation_s)

    def suspect(self, at: Instant[Tai], innovation_s: float, elapsed_s: float) -> None:
        """A sample did not fit: until the next one decides, the claim must cover what it said."""
        self.expect(innovation_s)
        self._doubt(at, innovation_s, elapsed_s)

    def _doubt(self, at: Instant[Tai], innovation_s: float, elapsed_s: float) -> None:
        self._pending = (at, abs(innovation_s), max(abs(elapsed_s), 1.0))

    def doubt_s(self, at: Instant[Tai]) -> float:
        """What an undecided sample adds to the error bound at free time ``at``."""
        if self._pending is None:
            return 0.0
        since, innovation, elapsed = self._pending
        return innovation * (1 + max((at - since).s(), 0.0) / elapsed)

    def forget(self) -> None:
        """What was made of the samples so far is wrong: begin anew from the best track."""
        self._estimator = None
        self._gate = Gate()
        self._pending = None

    def disturb(self, offset_variance: float) -> None:
        """Our own steering was not exact."""
        if self._estimator is not None:
            self._estimator.disturb(offset_variance)

    def carried(self, at: Instant[Tai], offset_s: float, frequency: float) -> None:
        """The clock that this one follows turned out, at free time ``at``, to be off by so much more; so is this."""
        if self._estimator is not None:
            # The state is of its last sample: what the frequency made of the time since is in the offset already.
            self._estimator.shift(offset_s - frequency * (at - self._estimator.at).s(), frequency)

    def retune(self, by: float) -> None:
        """See ``Estimator.retune``."""
        if self._estimator is not None:
            self._estimator.retune(by)

    def moved(self, at: Instant[Tai], variance: float) -> None:
        """Somebody else set the free clock, which reads ``at`` now."""
        self._gate = Gate()
        self._pending = None
        if self._estimator is not None:
            self._estimator.moved(at, variance)
