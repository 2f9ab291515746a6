"""What the core is told, and what it asks to be done: plain values in both directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.machine import Noted
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.servo.steering import SteeringSettings


@dataclass(frozen=True, slots=True)
class Now:
    """The present, as far as the core needs it.

    Attributes:
        mono: Monotonic time.
        clocks: What each clock of this machine reads.
    """

    mono: Instant[Mono]
    clocks: Mapping[ClockId, Instant[Tai]]


@dataclass(frozen=True, slots=True)
class ClockMemory:
    """What is worth keeping of a clock over a restart (the drift file).

    Attributes:
        frequency: Its free-running frequency error, a ratio; positive is fast.
        deviation: One standard deviation of that.
        wander: Its learnt random walk of frequency.
        celsius: The temperature at which that was so; None without a thermometer.
        slope: Change of the frequency per degree, a ratio.
        slope_deviation: One standard deviation of that; infinite when nothing is known.
    """

    frequency: float
    deviation: float
    wander: float
    celsius: float | None = None
    slope: float = 0.0
    slope_deviation: float = math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockSpec:
    """A clock of this machine.

    Attributes:
        clock: Its name.
        disciplined: Whether it may be steered.
        max_frequency: Largest adjustment it takes, a ratio.
        frequency_latency_s: How late an adjustment may take effect.
        memory: From the drift file.
        epoch: At the start.
        rate: The frequency adjustment that was found in force at the start.
        tolerance: How fast its error bound grows at least between measurements, in seconds per second.
        set_freely: Its first correction may be of any size: a hardware clock starts at some arbitrary time.
    """

    clock: ClockId
    disciplined: bool
    max_frequency: float
    frequency_latency_s: float = 0.0
    memory: ClockMemory | None = None
    epoch: int = 0
    rate: Rate = field(default=Rate(0.0))
    set_freely: bool = False
    tolerance: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A source of time, or a link between two clocks of this machine.

    Attributes:
        source: Its identity.
        name: What the operator calls it.
        link: The link its measurements come over.
        clock: The clock that it measures.
        parent: The clock at the far end when that is one of this machine; None for an outside reference.
        reference_id: What we serve as reference id while it is the best source.
        poll: Least and greatest log2 of the interval in seconds; None when its pace is its own.
        trusted: Never outvoted.
        noselect: Measured and shown, never used.
        correction: A known constant error of its offsets, subtracted.
        stamp_noise_s: Noise of one measurement from stamping alone.
    """

    source: SourceId
    name: str
    link: LinkId
    clock: ClockId
    parent: ClockId | None = None
    reference_id: bytes = b"\0\0\0\0"
    poll: tuple[int, int] | None = None
    trusted: bool = False
    noselect: bool = False
    correction: Duration = field(default=Duration(0))
    stamp_noise_s: float = 1e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreSettings:
    """How the core behaves.

    Attributes:
        served: The clock whose time is served and whose state is the appliance's.
        steering: Limits of steering.
        minimum_sources: How many must agree before a clock is touched.
        holdover_s: How long a clock that was locked keeps its standing without a source.
        local_stratum: Stratum to serve when nothing else is there; None: never.
    """

    served: ClockId
    steering: SteeringSettings = field(default_factory=SteeringSettings)
    minimum_sources: int = 1
    holdover_s: float = 3600.0
    local_stratum: int | None = None


@dataclass(frozen=True, slots=True)
class SetFrequency:
    """Run the clock at this total frequency adjustment; answer with ``Controller.applied``."""

    clock: ClockId
    rate: Rate


@dataclass(frozen=True, slots=True)
class StepClock:
    """Set the clock forward by this much; answer with ``Controller.stepped``, unless the clock refuses."""

    clock: ClockId
    by: Duration


@dataclass(frozen=True, slots=True)
class Report:
    """Tell the clock how good it is.

    Attributes:
        clock: Which.
        synchronized: Whether its time may be believed.
        estimated_error: One standard deviation of its offset.
        maximum_error: The claimed bound.
    """

    clock: ClockId
    synchronized: bool
    estimated_error: Duration
    maximum_error: Duration


@dataclass(frozen=True, slots=True)
class SetPoll:
    """Ask this source every ``2**exponent`` seconds."""

    source: SourceId
    exponent: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask this source again as soon as it allows: its last sample did not fit."""

    source: SourceId


Command = SetFrequency | StepClock | Report | SetPoll | Probe | Noted
