"""A Kalman estimator of one free-running clock: offset, frequency and drift.

The state belongs to the *free* clock of :mod:`timesync.servo.ledger`, so that steering does not touch it.
Floats are seconds and ratios; instants stay integers, and only their differences become floats. Time is counted by
the free clock itself: a frequency of 1e-4 means 100 µs gained per second that *it* shows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from timesync.base.time import Instant, Tai


@dataclass(frozen=True, slots=True)
class Prediction:
    """The state at one moment.

    Attributes:
        offset_s: Free clock minus truth, seconds.
        frequency: Its frequency error, as a ratio; positive is fast.
        drift: Change of the frequency per second.
        offset_variance: s^2.
        frequency_variance: Of the ratio.
        covariance: Of offset and frequency.
    """

    offset_s: float
    frequency: float
    drift: float
    offset_variance: float
    frequency_variance: float
    covariance: float


class Estimator:
    """Three states with a random walk of frequency (``wander**2`` per second) and a slower one of the drift."""

    __slots__ = ("_at", "_d", "_f", "_pdd", "_pfd", "_pff", "_pxd", "_pxf", "_pxx", "_x")

    def __init__(
        self,
        at: Instant[Tai],
        offset_s: float,
        variance: float,
        frequency: float,
        deviation: float,
        covariance: float = 0.0,
    ) -> None:
        """Start at free time ``at`` with an offset and its variance, a frequency and its standard deviation."""
        self._at = at
        self._x, self._f, self._d = offset_s, frequency, 0.0
        self._pxx, self._pff = variance, deviation * deviation
        self._pdd = 0.0
        self._pxf, self._pxd, self._pfd = covariance, 0.0, 0.0

    @property
    def at(self) -> Instant[Tai]:
        """Free time of the state."""
        return self._at

    def predict(self, at: Instant[Tai], wander: float, drift_wander: float = 0.0) -> Prediction:
        """The state carried to free time ``at`` (which may lie a little in the past); changes nothing."""
        t = (at - self._at).s()
        q, r = wander * wander, drift_wander * drift_wander
        a = abs(t)
        t2 = t * t
        half = t2 / 2
        pxx = (
            self._pxx
            + 2 * t * self._pxf
            + t2 * self._pff
            + t2 * self._pxd
            + t2 * t * self._pfd
            + half * half * self._pdd
        )
        pxf = self._pxf + t * self._pff + t * self._pxd + (t2 + half) * self._pfd + half * t * self._pdd
        pff = self._pff + 2 * t * self._pfd + t2 * self._pdd
        pxx += q * a * t2 / 3 + r * a * t2 * t2 / 20
        pxf += q * t2 / 2 * math.copysign(1.0, t) + r * a * t2 * t / 8
        pff += q * a + r * a * t2 / 3
        return Prediction(self._x + self._f * t + self._d * half, self._f + self._d * t, self._d, pxx, pff, pxf)

    def advance(self, at: Instant[Tai], wander: float, drift_wander: float = 0.0) -> None:
        """Carry the state forward to free time ``at``."""
        t = (at - self._at).s()
        if t <= 0:
            return
        ahead = self.predict(at, wander, drift_wander)
        r = drift_wander * drift_wander
        t2 = t * t
        pxd = self._pxd + t * self._pfd + t2 / 2 * self._pdd + r * t2 * t / 6
        pfd = self._pfd + t * self._pdd + r * t2 / 2
        self._x, self._f = ahead.offset_s, ahead.frequency
        self._pxx, self._pxf, self._pff = ahead.offset_variance, ahead.covariance, ahead.frequency_variance
        self._pxd, self._pfd, self._pdd = pxd, pfd, self._pdd + r * t
        self._at = at

    def update(self, innovation_s: float, variance: float) -> None:
        """Take in a measurement of the offset at the state's own time: measured minus predicted, and its variance."""
        s = self._pxx + variance
        kx, kf, kd = self._pxx / s, self._pxf / s, self._pxd / s
        self._x += kx * innovation_s
        self._f += kf * innovation_s
        self._d += kd * innovation_s
        pxx, pxf, pxd = self._pxx, self._pxf, self._pxd
        # pxx * variance / s rather than pxx - kx * pxx: it cannot become negative.
        self._pxx = pxx * variance / s
        self._pxf -= kx * pxf
        self._pxd -= kx * pxd
        self._pff -= kf * pxf
        self._pfd -= kf * pxd
        self._pdd -= kd * pxd

    def disturb(self, offset_variance: float = 0.0, frequency_variance: float = 0.0) -> None:
        """Something happened to the clock that the model does not know: believe the state less."""
        self._pxx += offset_variance
        self._pff += frequency_variance

    def retune(self, by: float) -> None:
        """A part of the frequency is accounted for elsewhere from now on: the state's own goes up by ``by``."""
        self._f += by

    def shift(self, offset_s: float, frequency: float) -> None:
        """Truth is elsewhere than was believed, and goes at another rate: by so much the state goes up."""
        self._x += offset_s
        self._f += frequency

    def moved(self, at: Instant[Tai], variance: float) -> None:
        """The free clock itself was set by somebody else and reads ``at`` now; its offset is 0 to ``variance``.

        The frequency and its drift are still known; what the offset said of them is not.
        """
        self._at = at
        self._x = 0.0
        self._pxx, self._pxf, self._pxd = variance, 0.0, 0.0
