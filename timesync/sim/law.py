"""Random delays: each law is a frozen value that draws seconds, never negative."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Protocol

from timesync.base.time import Duration


class DelayLaw(Protocol):
    """A distribution of delays."""

    def draw(self, rng: Random, /) -> float:
        """One delay in seconds, at least 0."""
        ...


@dataclass(frozen=True, slots=True)
class Exactly:
    """Always the same delay."""

    delay_s: float = 0.0

    def draw(self, _rng: Random, /) -> float:
        """One delay in seconds."""
        return self.delay_s


@dataclass(frozen=True, slots=True)
class Exponential:
    """Queueing noise: mostly short, with a long tail.

    Attributes:
        mean_s: Mean, and standard deviation.
    """

    mean_s: float

    def draw(self, rng: Random, /) -> float:
        """One delay in seconds."""
        return rng.expovariate(1.0) * self.mean_s


@dataclass(frozen=True, slots=True)
class Normal:
    """Symmetric noise around a mean; what would be negative is drawn again.

    Attributes:
        mean_s: Mean before the cut at zero; at least 0.
        sigma_s: Standard deviation before the cut.
    """

    mean_s: float
    sigma_s: float

    def __post_init__(self) -> None:
        if self.mean_s < 0:
            raise ValueError(f"a mean delay of {self.mean_s} s")

    def draw(self, rng: Random, /) -> float:
        """One delay in seconds."""
        while (delay := rng.gauss(self.mean_s, self.sigma_s)) < 0:
            pass
        return delay


@dataclass(frozen=True, slots=True)
class Lognormal:
    """Noise with a heavy tail.

    Attributes:
        median_s: Half of the delays are shorter.
        sigma: Standard deviation of the natural logarithm.
    """

    median_s: float
    sigma: float

    def draw(self, rng: Random, /) -> float:
        """One delay in seconds."""
        return self.median_s * rng.lognormvariate(0.0, self.sigma)


@dataclass(frozen=True, slots=True)
class Spikes:
    """A law that is now and then joined by a second one.

    Attributes:
        usual: The delay that is always there.
        spike: What is added at times.
        probability: How often, 0 to 1.
    """

    usual: DelayLaw
    spike: DelayLaw
    probability: float

    def draw(self, rng: Random, /) -> float:
        """One delay in seconds."""
        delay = self.usual.draw(rng)
        if rng.random() < self.probability:
            delay += self.spike.draw(rng)
        return delay


NO_DELAY = Exactly()


def draw_duration(law: DelayLaw, rng: Random) -> Duration:
    """One delay of a law."""
    return Duration.from_s(law.draw(rng))
