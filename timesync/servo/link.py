"""What is learnt of one link: its minimum delay, and how noise depends on the delay in excess of it.

Queueing only ever adds delay, so a sample that came as fast as the link can is good whatever its
neighbours suffered. With ``e`` the excess of the one-way delay over its minimum, the error of the offset lies
within ``+-e``; its variance is modelled as ``base + slope * e**2``. For exponential queues in both directions
the slope is 1/3, for a single congested direction up to 1, for stamping noise 0. Both numbers are learnt from
innovations by weighted least squares with forgetting.
"""

from __future__ import annotations

import math
from collections import deque

_MEMORY = 200.0
"""Samples after which an innovation's say in the noise model has fallen to 1/e."""

_WINDOW = 128
"""Samples over which the minimum delay is taken: a route that got longer is believed after so many."""

_RECENT = 0.03
"""Share of a new sample in what is typical of the link."""

_PRIOR_SLOPE = 1 / 3
_PRIOR_WEIGHT = 6.0
_FRESH_WEIGHT = 0.7
_SETTLING = 1.15
"""A noise that was only assumed gives way to the samples at once, and gets its inertia back within some of them."""

_FIRST_EXCESS = 0.25
"""Before anything is known, the excess of a sample is taken to be this share of its delay."""


class LinkModel:
    """The noise of one link, learnt."""

    def __init__(self, stamp_noise_s: float) -> None:
        """Start from the stamping noise alone (one standard deviation, seconds)."""
        self._floor = max(stamp_noise_s, 1e-10) ** 2
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._minimum = math.inf
        self._guess = 0.0
        self._sum = 0.0
        self._mean_excess = 0.0
        self._samples = 0
        self._base = 4 * self._floor
        self._slope = _PRIOR_SLOPE
        # Normal equations of the weighted fit residual**2 = base + slope * excess**2.
        self._s11 = self._s12 = self._s22 = self._t1 = self._t2 = 0.0
        self._information = 0.0
        self._leaning = 0.0
        self._inertia = _PRIOR_WEIGHT

    @property
    def minimum_delay_s(self) -> float | None:
        """The least one-way delay of the recent samples, in seconds."""
        return None if math.isinf(self._minimum) else self._minimum

    @property
    def typical_s(self) -> float | None:
        """The effective standard deviation of one measurement: of the harmonic mean of the variances."""
        if self._information <= 0:
            return None
        return float(self._information**-0.5)

    @property
    def lean_s(self) -> float:
        """How far the samples can lean to one side together: their mean excess delay, weighted as they are used.

        The noise model takes the two directions for alike. Where only one of them queues, every sample errs by its
        excess to the same side, and no average helps.
        """
        return self._leaning / self._information if self._information > 0 else self._hidden()

    def assume(self, variance: float) -> None:
        """Samples scatter by this much more than anything learnt so far explains: learn anew from there."""
        self._base = max(variance, self._floor)
        self._inertia = _FRESH_WEIGHT
        self._s11 = self._s12 = self._s22 = self._t1 = self._t2 = 0.0
        self._information = self._leaning = 0.0

    def observe_delay(self, delay_s: float | None) -> float:
        """Take in the delay of a new sample; returns its excess, in seconds."""
        if delay_s is None:
            return 0.0
        if self._samples == 0:
            self._guess = _FIRST_EXCESS * abs(delay_s)
        if len(self._recent) == _WINDOW:
            self._sum -= self._recent[0]
        self._recent.append(delay_s)
        self._sum += delay_s
        self._minimum = min(self._recent)
        self._samples += 1
        excess = delay_s - self._minimum
        known = len(self._recent)
        self._mean_excess = (self._guess * known / self._samples + self._sum - known * self._minimum) / known
        return excess + self._hidden()

    @property
    def mean_excess_s(self) -> float:
        """Mean excess delay of the recent samples, at first what is usual for such a delay."""
        return self._mean_excess

    def _hidden(self) -> float:
        """How far the true minimum may lie below the least delay seen.

        For two exponential queues the least of n sums lies about ``mean * 0.7 / sqrt(n)`` above their minimum.
        """
        if not self._recent:
            return 0.0
        return 0.7 * self._mean_excess / math.sqrt(len(self._recent))

    def variance(self, excess_s: float) -> float:
        """Variance of an offset measured with this excess delay, in s^2."""
        return self._base + self._slope * excess_s * excess_s

    def learn(self, excess_s: float, innovation_s: float, predicted_variance: float) -> None:
        """Take in one innovation; ``predicted_variance`` is what the state's own uncertainty explains of it."""
        variance = self.variance(excess_s)
        keep = 1 - 1 / _MEMORY
        gain = _RECENT if self._information else 1.0
        self._information += gain * (1 / variance - self._information)
        self._leaning += gain * (excess_s / variance - self._leaning)
        e2 = excess_s * excess_s
        # The variance of a squared Gaussian is twice its variance squared: that is its weight.
        weight = 1 / (variance + predicted_variance) ** 2
        target = innovation_s * innovation_s - predicted_variance
        # One wild sample may not rewrite the model; it is bounded at five standard deviations.
        target = min(target, 25 * (variance + predicted_variance))
        self._s11 = keep * self._s11 + weight
        self._s12 = keep * self._s12 + weight * e2
        self._s22 = keep * self._s22 + weight * e2 * e2
        self._t1 = keep * self._t1 + weight * target
        self._t2 = keep * self._t2 + weight * target * e2
        self._solve()

    def _solve(self) -> None:
        """Fit base and slope, with the prior slope and the present base as pseudo-samples, inside their bounds."""
        spread = self._mean_excess**2 + 1e-30
        # Pseudo-samples weigh as samples would that the state explains perfectly.
        unit = 1 / (self._base + self._slope * spread) ** 2
        p22 = _PRIOR_WEIGHT * unit * spread * spread
        p11 = self._inertia * unit
        self._inertia = min(self._inertia * _SETTLING, _PRIOR_WEIGHT)
        s11, s12, s22 = self._s11 + p11, self._s12, self._s22 + p22
        t1 = self._t1 + p11 * self._base
        t2 = self._t2 + p22 * _PRIOR_SLOPE
        determinant = s11 * s22 - s12 * s12
        if determinant <= 1e-9 * s11 * s22:
            return
        base = (t1 * s22 - t2 * s12) / determinant
        slope = (s11 * t2 - s12 * t1) / determinant
        if slope < 0:
            slope, base = 0.0, t1 / s11
        elif slope > 1:
            slope, base = 1.0, (t1 - s12) / s11
        if base < self._floor:
            base = self._floor
            slope = min(max((t2 - s12 * base) / s22, 0.0), 1.0)
        self._base, self._slope = base, slope
