"""Frequencies as ratios."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True, slots=True, order=True)
class Rate:
    """A relative frequency; positive means that the clock runs fast.

    Attributes:
        ratio: Seconds gained per second (dimensionless): 1e-6 is 1 ppm.
    """

    ratio: float

    @classmethod
    def from_ppm(cls, ppm: float) -> Rate:
        """So many parts per million."""
        return cls(ppm * 1e-6)

    @classmethod
    def from_ppb(cls, ppb: float) -> Rate:
        """So many parts per billion."""
        return cls(ppb * 1e-9)

    @classmethod
    def from_kernel(cls, scaled_ppm: int) -> Rate:
        """The ``freq`` field of ``struct timex``: parts per million with 16 fractional bits."""
        return cls(scaled_ppm / 65536e6)

    def ppm(self) -> float:
        """Parts per million."""
        return self.ratio * 1e6

    def ppb(self) -> float:
        """Parts per billion."""
        return self.ratio * 1e9

    def to_kernel(self) -> int:
        """As the ``freq`` field of ``struct timex``, rounded to nearest."""
        return round(self.ratio * 65536e6)

    def __neg__(self) -> Rate:
        return Rate(-self.ratio)

    def __add__(self, other: Rate) -> Rate:
        return Rate(self.ratio + other.ratio)

    def __sub__(self, other: Rate) -> Rate:
        return Rate(self.ratio - other.ratio)

    def __str__(self) -> str:
        return f"{self.ppm():+.4f} ppm"
