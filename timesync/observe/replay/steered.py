"""Readings of clocks as they would have been, had they been steered otherwise.

The ledger's idea once more: what the recording did to a clock is taken out of each reading, and what the replay does is
put in. What is left alone is the free clock: nobody's steering changes it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from timesync.base.measure import Measurement
from timesync.base.rate import Rate
from timesync.base.time import ZERO, Duration, Instant, Tai
from timesync.servo.ledger import Ledger

_ROUNDS: Final = 40
"""More than enough: each one takes the error down by a steering frequency, a tenth at the most."""


class Twice:
    """One clock, steered as it was recorded and as the replay wants it."""

    def __init__(self, at: Instant[Tai], epoch: int, rate: Rate) -> None:
        """Both begin when the clock reads ``at``."""
        self.theirs = Ledger(at, epoch, rate)
        self.ours = Ledger(at, epoch, rate)

    def moved(self, at: Instant[Tai]) -> Instant[Tai]:
        """What the replayed clock reads when the recorded one reads ``at``."""
        return at + self.shift(at)

    def shift(self, at: Instant[Tai]) -> Duration:
        """How far the replayed clock is ahead of the recorded one when that reads ``at``."""
        was = self.theirs.adjustment(at)
        shift = ZERO
        for _ in range(_ROUNDS):
            better = self.ours.adjustment(at + shift) - was
            if better == shift:
                break
            shift = better
        return shift

    def free(self, at: Instant[Tai]) -> Instant[Tai]:
        """The free clock when the recorded one reads ``at``."""
        return self.theirs.free(at)

    def reading(self, free: Instant[Tai]) -> Instant[Tai]:
        """What the replayed clock reads at this time of the free one."""
        at = free + self.ours.adjustment(free)
        for _ in range(_ROUNDS):
            better = free + self.ours.adjustment(at)
            if better == at:
                break
            at = better
        return at


def carried(m: Measurement, near: Twice, far: Twice | None) -> Measurement:
    """A measurement as the replayed clocks would have had it.

    Args:
        m: As it was recorded.
        near: The clock that took it.
        far: The clock at the other end, where that is one of this machine.
    """
    shift = near.shift(m.at)
    other = ZERO if far is None else far.shift(m.at - m.offset)
    return replace(m, at=m.at + shift, offset=m.offset + shift - other, epoch=near.ours.epoch)
