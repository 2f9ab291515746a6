"""From an estimate to a command: step, slew or only the right frequency."""

from __future__ import annotations

import math
from dataclasses import dataclass

from timesync.base.rate import Rate
from timesync.base.time import Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeringSettings:
    """Limits of what may be done to a clock (``steering:`` in the configuration).

    Attributes:
        step_threshold_s: Step rather than slew beyond this; 0: never.
        step_updates: Only in the first so many updates.
        panic_s: Refuse to touch the clock beyond this; 0: no limit.
        max_slew: Largest rate at which an offset is worked off, a ratio.
        initial_step_anything: The first step may be of any size.
    """

    step_threshold_s: float = 0.1
    step_updates: int = 3
    panic_s: float = 1000.0
    max_slew: float = 5e-3
    initial_step_anything: bool = False


@dataclass(frozen=True, slots=True)
class Slew:
    """Run at ``rate`` (a total frequency adjustment) for ``hold_s`` seconds, then at ``after``."""

    rate: Rate
    after: Rate
    hold_s: float


@dataclass(frozen=True, slots=True)
class Step:
    """Set the clock forward by this much."""

    by: Duration


@dataclass(frozen=True, slots=True)
class Refuse:
    """Leave the clock alone: the offset is beyond the panic limit."""

    offset_s: float


Correction = Slew | Step | Refuse

_SHORTEST_S = 0.5
_LONGEST_S = 64.0
_CERTAIN = 6.0


def correct(
    offset_s: float, deviation_s: float, frequency: float, spacing_s: float, updates: int, settings: SteeringSettings
) -> Correction:
    """What to do about an offset.

    Args:
        offset_s: Clock minus truth, seconds.
        deviation_s: One standard deviation of it.
        frequency: Frequency error of the free clock, a ratio to its own seconds (see ``Estimator``).
        spacing_s: Usual time between updates: an offset within the noise is worked off over a part of it.
        updates: How often the clock was corrected before.
        settings: The limits.
    """
    size = abs(offset_s)
    anything = settings.initial_step_anything and updates == 0
    if settings.panic_s and size > settings.panic_s and not anything:
        return Refuse(offset_s)
    if settings.step_threshold_s and size > settings.step_threshold_s and updates < settings.step_updates:
        return Step(Duration.from_s(-offset_s))
    # Per second of the free clock: truth passes at 1 - frequency of its pace, and that is what it must be steered to.
    base = -frequency
    hold = min(max(spacing_s / 4, _SHORTEST_S), _LONGEST_S)
    if size > _CERTAIN * deviation_s:
        # Not noise: as fast as allowed.
        hold = _SHORTEST_S
    hold = max(hold, size / settings.max_slew)
    slew = math.copysign(min(size / hold, settings.max_slew), -offset_s)
    return Slew(Rate(base + slew), Rate(base), hold)
