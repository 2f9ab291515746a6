"""Whether a clock was as good as it had to be: one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from timesync.observe.report.material import ClockTrack
from timesync.observe.report.svg import unit_of


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is said of a clock.

    Attributes:
        passed: Whether every claimed bound was within the limit; None without a limit.
        text: One sentence or two.
    """

    passed: bool | None
    text: str


def judge(name: str, track: ClockTrack, limit_s: float | None) -> Verdict:
    """Hold the claimed bound of a clock against a limit.

    The bound and not the offset: an offset is what the clock believes of itself, the bound is what it answers for.
    """
    highs = track.bound.highs
    if not len(track.bound):
        text = f"Clock {name} claimed no error bound in this time."
        return Verdict(None if limit_s is None else False, text)
    largest = max(highs)
    hours = (track.bound.at_s[-1] - track.bound.at_s[0]) / 3600
    span = f"{hours:.2f} h" if hours >= 1 else f"{hours * 60:.1f} min"
    if limit_s is None:
        return Verdict(None, f"The claimed error bound of clock {name} was at most {written(largest)} in {span}.")
    within = sum(bound <= limit_s for bound in highs)
    # A moment with an offset and without a claim is one at which nothing was promised.
    total = max(len(highs), len(track.offset))
    passed = within == total
    text = (
        f"The claimed error bound of clock {name} was within {written(limit_s)} at {within} of {total} moments "
        f"({within / total:.3%}) in {span}; the largest was {written(largest)}."
    )
    return Verdict(passed, text)


def written(seconds: float) -> str:
    """A span with three or four digits."""
    unit, worth = unit_of(abs(seconds))
    return f"{seconds / worth:.4g} {unit}"
