"""How often to ask: from the measured wander against the measured noise, never from comfort.

The optimal estimator of a frequency random walk of variance ``q`` per second seen through white noise of variance
``R`` every ``T`` seconds remembers for about ``(R * T / q) ** (1/4)`` seconds. Asking more often than a small fraction
of that gains little; asking less often loses accuracy with ``T ** (3/8)``.
"""

from __future__ import annotations

_SHARE = 9.0
"""The interval is at most this fraction of the estimator's memory."""

_PATIENCE = 4


def desired_interval_s(noise_s: float, wander: float) -> float:
    """The interval at which the estimator's memory is ``_SHARE`` intervals long, in seconds."""
    return float((noise_s * noise_s / (wander * wander) / _SHARE**4) ** (1 / 3))


class PollAdvisor:
    """Chooses log2 of the interval of one source, going up slowly and down at once."""

    def __init__(self, least: int, most: int) -> None:
        """Stay within ``least`` and ``most``, both log2 of seconds."""
        self._least, self._most = least, most
        self._exponent = least
        self._credit = 0

    @property
    def exponent(self) -> int:
        """The present advice, log2 of seconds."""
        return self._exponent

    def settled(self, noise_s: float | None, wander: float, answered: float = 1.0) -> int:
        """A sample was used as expected; returns the advice.

        Args:
            noise_s: Noise of one measurement; None while unknown.
            wander: Of the clock.
            answered: Share of the requests that are answered: what counts is how often a measurement comes.
        """
        if noise_s is None:
            return self._exponent
        wanted = desired_interval_s(noise_s, wander) * answered
        if wanted >= 2.0 ** (self._exponent + 1) and self._exponent < self._most:
            self._credit = max(self._credit, 0) + 1
            if self._credit >= _PATIENCE:
                self._credit = 0
                self._exponent += 1
        elif wanted < 2.0 ** (self._exponent - 0.5) and self._exponent > self._least:
            self._credit = min(self._credit, 0) - 1
            if self._credit <= -_PATIENCE:
                self._credit = 0
                self._exponent -= 1
        else:
            self._credit = 0
        return self._exponent

    def alarmed(self) -> int:
        """A sample did not fit: ask as often as allowed until it is understood."""
        self._exponent = self._least
        self._credit = 0
        return self._exponent
