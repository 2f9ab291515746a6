"""What the core says of itself: frozen values that status, metrics and servers are made from."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Leap
from timesync.base.rate import Rate
from timesync.base.time import ZERO, Duration, Instant, Mono, Tai


class ServoState(enum.Enum):
    """How far the served clock can be trusted."""

    ACQUIRING = "acquiring"
    LOCKED = "locked"
    HOLDOVER = "holdover"
    FREERUN = "freerun"
    FAULT = "fault"


class SourceState(enum.Enum):
    """What selection makes of a source; the names of the status contract."""

    SELECTED = "selected"
    CANDIDATE = "candidate"
    FALSETICKER = "falseticker"
    UNREACHABLE = "unreachable"
    WAITING = "waiting"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackView:
    """What a source's last measurements look like, as other programs for the same purpose show it.

    Attributes:
        measured_s: The clock minus the source in the last measurement.
        carried_s: The same, with what the clock did since: what would be measured now if nothing else had changed.
        residual_frequency: The clock's frequency by this source alone, beyond what all sources together say of it;
            positive is fast.
        residual_frequency_uncertainty: One standard deviation.
        points: How many measurements were regarded, 64 at most.
        runs: How often they went from one side of what was expected to the other, and one.
        span_s: From the first to the last of them.
    """

    measured_s: float
    carried_s: float
    residual_frequency: Rate
    residual_frequency_uncertainty: Rate
    points: int
    runs: int
    span_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateView:
    """The last corrections of the served clock.

    Attributes:
        offset_s: The clock minus truth, as it was found at the last one.
        rms_offset_s: Its quadratic mean over the last dozen or so.
        interval_s: Between the last two; 0 before there were two.
    """

    offset_s: float
    rms_offset_s: float
    interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceView:
    """One source as the core sees it.

    Attributes:
        source: Which.
        clock: The clock it measures.
        state: What selection made of it.
        reason: Why, in one sentence.
        offset_s: The clock minus the source, carried to now; None before the first measurement.
        uncertainty_s: One standard deviation of ``offset_s``.
        error_bound_s: The source's own claim: half its root delay, dispersion and noise together.
        delay_s: Round trip of the last measurement; None where there is none.
        jitter_s: Learnt standard deviation of one measurement of this link.
        last_sample_at: When the last measurement was used; monotonic.
        samples: Measurements taken in.
        outliers: Measurements refused by the gate.
        root_delay_s: Round trip from the source to its root, as it last said; None before it did.
        root_dispersion_s: Its own bound on its error, apart from that delay, as it last said.
        trusted: The configuration says so.
        noselect: The same.
        track: Of its last measurements; None before the first.
    """

    source: SourceId
    clock: ClockId
    state: SourceState
    reason: str
    offset_s: float | None
    uncertainty_s: float | None
    error_bound_s: float | None
    delay_s: float | None
    jitter_s: float | None
    last_sample_at: Instant[Mono] | None
    samples: int
    outliers: int
    root_delay_s: float | None = None
    root_dispersion_s: float | None = None
    trusted: bool = False
    noselect: bool = False
    track: TrackView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockView:
    """One clock as the core sees it.

    Attributes:
        clock: Which.
        disciplined: Whether it is steered.
        state: Its own state.
        offset_s: Estimated clock minus truth, now; None while unknown.
        offset_uncertainty_s: One standard deviation.
        error_bound_s: The claimed bound on the true offset; None while unknown.
        frequency: Estimated frequency error of the free-running oscillator; positive is fast.
        frequency_uncertainty: One standard deviation.
        steering: The frequency adjustment in force.
        wander: Learnt random walk of the frequency, as its standard deviation after one second.
        steps: How many times it was stepped by us.
        fed_by: The links that feed it now.
        stepped: The sizes of all these steps together, whatever their direction.
    """

    clock: ClockId
    disciplined: bool
    state: ServoState
    offset_s: float | None
    offset_uncertainty_s: float | None
    error_bound_s: float | None
    frequency: Rate
    frequency_uncertainty: Rate
    steering: Rate
    wander: float
    steps: int
    fed_by: tuple[str, ...]
    stepped: Duration = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreView:
    """The state of the whole core for the served clock.

    Attributes:
        at: Monotonic time of the view.
        served: The clock it is about.
        state: Of that clock.
        reason: One sentence.
        stratum: One more than the best selected source; 16 when not synchronised.
        reference_id: As RFC 5905 figure 12 has it.
        leap: What to announce.
        root_delay: Round trip to the root.
        root_dispersion: Bound on the error apart from the delay, at ``at``.
        dispersion_rate: How fast that grows, seconds per second.
        reference_time: When the clock was last updated; TAI of the served clock.
        sources: One view each, in the order of configuration.
        links: Comparisons between clocks of this machine, seen from the clock that may follow.
        clocks: One view each.
        fed_at: When a source last fed that clock; None before the first.
        reference: The source that stratum and reference id are of, also if other clocks of this machine lie between;
            None when not synchronised.
        holdover_left: For so long a holdover may go on; None in any other state.
        update: The last corrections; None before any.
    """

    at: Instant[Mono]
    served: ClockId
    state: ServoState
    reason: str
    stratum: int
    reference_id: bytes
    leap: Leap
    root_delay: Duration
    root_dispersion: Duration
    dispersion_rate: float
    reference_time: Instant[Tai] | None
    sources: tuple[SourceView, ...]
    links: tuple[SourceView, ...]
    clocks: tuple[ClockView, ...]
    fed_at: Instant[Mono] | None = None
    reference: SourceId | None = None
    holdover_left: Duration | None = None
    update: UpdateView | None = None
