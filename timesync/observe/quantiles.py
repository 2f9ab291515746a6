"""Percentiles of values, as tables of reports and replays give them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which so many percent of sorted values lie, between neighbours by their distance.

    Definition 7 of Hyndman and Fan (1996), which numpy and spreadsheets use too; not a number when there are no values.
    """
    if not ordered:
        return math.nan
    place = (len(ordered) - 1) * share / 100
    index = min(int(place), len(ordered) - 2)
    if index < 0:
        return ordered[0]
    return ordered[index] + (ordered[index + 1] - ordered[index]) * (place - index)


def rms(values: Sequence[float]) -> float:
    """Root mean square; not a number when there are no values."""
    return math.sqrt(math.fsum(value * value for value in values) / len(values)) if values else math.nan
