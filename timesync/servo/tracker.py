"""One source against one free-running clock: its own estimator, noise model and gate.

Every source is followed on its own, so that sources can be compared before any is believed. All trackers of a
clock see the same free clock and hence the same wander; the difference of two of them is free of it.
"""

from __future__ import annotations

import enum
import math

from timesync.base.ids import LinkId
from timesync.base.time import Instant, Mono, Tai
from timesync.servo.estimator import Estimator, Prediction
from timesync.servo.link import LinkModel

GATE = 4.5
"""An innovation beyond so many standard deviations is an outlier, or news."""

DOUBTFUL = 2.5
"""One beyond so many is used, but may be the first of a change: it is asked for another at once."""

DRIFT_WANDER = 2e-13
"""Random walk of the frequency's drift: what a day's temperature does to an uncompensated crystal."""

_WARM_UP = 8
"""Samples before the noise model is good enough to refuse any by it."""

_UNTAUGHT = 4.0
"""After so many samples they say themselves how far noise depends on the delay."""

_FASTEST_CHANGE = 1e-4
"""No crystal changes its frequency by more than this (a ratio), whatever one sample seems to say."""

_NEWS = 2
_LIKE = 8.0
"""Two witnesses saw the same when what they saw differs by no more than this factor: they look at other intervals."""

_ROUGH = 5.0
_SURPRISES = 2
"""So many samples that lie off by so many standard deviations while little is known: one may show a frequency that
nobody expected, and the next ones fit it; where they do not, the samples are that noisy."""

_MISFIT_SHARE = 0.1
_MISFITS = 0.5
"""Share of recent samples that did not fit, from which on not the clock but the idea of the noise must be wrong."""


class Verdict(enum.Enum):
    """What became of a sample."""

    USED = "used"
    OUTLIER = "outlier"
    NEWS = "news"


class Wander:
    """The random walk of one clock's frequency, learnt from how innovations follow each other.

    With the right gain innovations are white. When one tends to have its predecessor's sign, the estimator lags:
    the clock wanders more than believed; when signs alternate, it wanders less. The scale of the measurement noise
    does not enter, so this cannot be confused with a noisy link.
    """

    LEAST = 1e-12
    MOST = 1e-6
    _GAIN = 0.025

    def __init__(self, start: float = 1e-9) -> None:
        """Start from a standard deviation of the frequency after one second."""
        self.value = start

    def learn(self, before: float, now: float) -> None:
        """Two successive normalized innovations of one link."""
        product = max(-3.0, min(3.0, before)) * max(-3.0, min(3.0, now))
        self.value *= math.exp(self._GAIN * max(-2.0, min(2.0, product)))
        self.value = min(max(self.value, self.LEAST), self.MOST)


class Gate:
    """Tells outliers from news: one odd sample is dropped, two in a row on the same side are believed."""

    __slots__ = ("_expected", "_run", "_sign")

    def __init__(self) -> None:
        self._run = 0
        self._sign = 0.0
        self._expected: float | None = None

    def expect(self, innovation_s: float) -> None:
        """Somebody else saw something odd on this side: one sample there that is odd in the same way will do."""
        self._expected = innovation_s

    def relax(self) -> None:
        """Somebody else saw that all is well again."""
        self._expected = None

    def judge(self, innovation_s: float, deviation_s: float) -> Verdict:
        """Decide on an innovation against the standard deviation that was expected of it."""
        expected, self._expected = self._expected, None
        if abs(innovation_s) <= GATE * deviation_s:
            self._run = 0
            return Verdict.USED
        sign = math.copysign(1.0, innovation_s)
        self._run = self._run + 1 if sign == self._sign else 1
        if expected is not None and 1 / _LIKE <= innovation_s / expected <= _LIKE:
            self._run = max(self._run, _NEWS)
        self._sign = sign
        if self._run >= _NEWS:
            self._run = 0
            return Verdict.NEWS
        return Verdict.OUTLIER


class Tracker:
    """What one link says of one clock, over time."""

    def __init__(self, link: LinkId, stamp_noise_s: float, frequency: float, deviation: float) -> None:
        """Start knowing the clock's frequency error to within ``deviation`` (one standard deviation, a ratio)."""
        self.link = link
        self.model = LinkModel(stamp_noise_s)
        self.samples = 0
        self.outliers = 0
        self.last_at: Instant[Mono] | None = None
        self._gate = Gate()
        self._estimator: Estimator | None = None
        self._normalized: float | None = None
        self._usual_noise_s = math.inf
        self._start = (frequency, deviation)
        self._misfits = 0.0
        self._surprises = 0
        self._began_anew = False
        self._doubtful = 0

    @property
    def puzzled(self) -> bool:
        """The last sample was used, but lay oddly far off, and the one before it did not: another would tell."""
        return self._doubtful == 1

    def began_anew(self) -> bool:
        """Whether the noise was found to be of another size and the track begun anew, since this was asked last."""
        found, self._began_anew = self._began_anew, False
        return found

    @property
    def estimator(self) -> Estimator | None:
        """The state; None before the first sample."""
        return self._estimator

    def predict(self, at: Instant[Tai], wander: Wander) -> Prediction | None:
        """The free clock against this source, carried to free time ``at``."""
        return None if self._estimator is None else self._estimator.predict(at, wander.value, DRIFT_WANDER)

    def sample(
        self,
        at: Instant[Tai],
        offset_s: float,
        delay_s: float | None,
        wander: Wander,
        now: Instant[Mono],
        noise_s: float = 0.0,
        *,
        teaches: bool = True,
    ) -> tuple[Verdict, float]:
        """Take in a sample at free time ``at``; returns what became of it and the variance it was given.

        ``noise_s`` is what its stamps say of themselves (one standard deviation). What is usual on this link is in
        the learnt noise already; what exceeds that, such as a stamp taken by the daemon for want of the kernel's,
        is added. Unless it ``teaches``, nothing is learnt of the clock's wander.
        """
        excess = self.model.observe_delay(delay_s)
        variance = self.model.variance(excess)
        if self.samples < 4 * _WARM_UP:
            # Few samples make a poor noise model: believe them less than they say.
            variance *= 1 + _WARM_UP / (self.samples + 1)
        # Nor do they tell whether a short delay is the better one: at first every offset may be off by what is usual.
        variance += (_UNTAUGHT * self.model.mean_excess_s / (self.samples + 1)) ** 2
        self._usual_noise_s = min(self._usual_noise_s, noise_s)
        variance += noise_s * noise_s - self._usual_noise_s * self._usual_noise_s
        self.last_at = now
        if self._estimator is None:
            frequency, deviation = self._start
            self._estimator = Estimator(at, offset_s, variance, frequency, deviation)
            self.samples = 1
            return Verdict.USED, variance
        state = self._estimator.predict(at, wander.value, DRIFT_WANDER)
        innovation = offset_s - state.offset_s
        deviation_s = math.sqrt(state.offset_variance + variance)
        warm = self.samples >= _WARM_UP
        verdict = self._gate.judge(innovation, deviation_s) if warm else Verdict.USED
        odd = warm and verdict is Verdict.USED and abs(innovation) > DOUBTFUL * deviation_s
        self._doubtful = self._doubtful + 1 if odd else 0
        self._misfits += _MISFIT_SHARE * ((verdict is not Verdict.USED) - self._misfits)
        if not warm:
            self._surprises += abs(innovation) > _ROUGH * deviation_s
        if self._misfits > _MISFITS or self._surprises >= _SURPRISES:
            return self._begin_anew(at, offset_s, innovation * innovation / 2)
        if verdict is Verdict.OUTLIER:
            self.outliers += 1
            return verdict, variance
        self.samples += 1
        self._learn(excess, innovation, state.offset_variance, deviation_s, wander if teaches else None, verdict)
        elapsed = (at - self._estimator.at).s()
        self._estimator.advance(at, wander.value, DRIFT_WANDER)
        if verdict is Verdict.NEWS:
            disturb(self._estimator, innovation, elapsed)
        self._estimator.update(innovation, variance)
        return verdict, variance

    def _begin_anew(self, at: Instant[Tai], offset_s: float, variance: float) -> tuple[Verdict, float]:
        """Two samples lie so far apart that each must be that noisy; what was made of them before means nothing."""
        self.model.assume(variance)
        self._estimator = Estimator(at, offset_s, variance, *self._start)
        self.samples = 2
        self._gate = Gate()
        self._normalized = None
        self._misfits = 0.0
        self._surprises = 0
        self._began_anew = True
        return Verdict.NEWS, variance

    def _learn(
        self,
        excess: float,
        innovation: float,
        explained: float,
        deviation: float,
        wander: Wander | None,
        verdict: Verdict,
    ) -> None:
        if verdict is Verdict.NEWS:
            self._normalized = None
            return
        self.model.learn(excess, innovation, explained)
        normalized = innovation / deviation
        if self._normalized is not None and wander is not None and self.samples > _WARM_UP:
            wander.learn(self._normalized, normalized)
        self._normalized = normalized

    def expect(self, innovation_s: float) -> None:
        """A comparison with another clock of this machine was odd on this side, and one odd sample will be news."""
        self._gate.expect(innovation_s)

    def relax(self) -> None:
        """That comparison was right again."""
        self._gate.relax()

    def disturb(self, offset_variance: float) -> None:
        """Our own steering was not exact: believe the offset less."""
        if self._estimator is not None:
            self._estimator.disturb(offset_variance)

    def retune(self, by: float) -> None:
        """See ``Estimator.retune``."""
        if self._estimator is not None:
            self._estimator.retune(by)

    def moved(self, at: Instant[Tai], variance: float) -> None:
        """Somebody else set the clock, and the free clock with it, which reads ``at`` now."""
        self._gate = Gate()
        self._normalized = None
        if self._estimator is not None:
            self._estimator.moved(at, variance)


def disturb(estimator: Estimator, innovation_s: float, elapsed_s: float) -> None:
    """The clock did something the model does not know: open the gain as far as the innovation asks."""
    span = max(abs(elapsed_s), 1.0)
    estimator.disturb(innovation_s * innovation_s, min(abs(innovation_s) / span, _FASTEST_CHANGE) ** 2)
