"""The clocks of this machine as a user describes them."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config.amounts import Frequency, Ratio, Span
from timesync.config.device import PhcDevice
from timesync.config.fields import Path
from timesync.config.model import Model
from timesync.config.written import refusal

SYSTEM = "system"
"""The name of the system clock (CLOCK_REALTIME)."""

PHC_ONLY = ("timescale", "pulse_out", "pair_interval")
"""Keys that say something of a PTP hardware clock, and of no other."""


class Virtual(Model):
    """A clock in software over the system clock, with an error of its own."""

    offset: Annotated[Duration, Span("-36500d", "36500d")] = Field("0s", validate_default=True)
    """How far it is ahead of the system clock at the start."""
    frequency: Annotated[Rate, Frequency("-100000ppm", "100000ppm")] = Field("0ppm", validate_default=True)
    """The frequency error of its oscillator; positive is fast."""
    wander: Annotated[float, Ratio(1e-3)] = 0.0
    """Random walk of its frequency: the standard deviation of the frequency after one second."""


class PulseOut(Model):
    """A pulse a second out of a PTP hardware clock, at each of its full seconds."""

    channel: Annotated[int, Field(ge=0, le=63)] = 0
    """Index of the periodic output."""
    pin: Annotated[int, Field(ge=0, le=63)] | None = None
    """Index of the pin that is routed to it; absent: the card has no programmable pins, or the routing stands."""
    width: Annotated[Duration, Span("1us", "999ms")] = Field("100ms", validate_default=True)
    """How long a pulse lasts, where the card can choose."""


class Clock(Model):
    """One clock of this machine."""

    discipline: bool = True
    """Steer it; false: measure and report, never touch."""
    virtual: Virtual | None = None
    """Makes this a clock in software, for trials without privileges."""
    phc: Annotated[str, PhcDevice()] | None = None
    """Makes this the PTP hardware clock of a network interface, or the one of a device such as /dev/ptp0."""
    timescale: Literal["tai", "utc"] = "tai"
    """What a PTP hardware clock holds; utc: it is set to UTC, and steps at a leap second."""
    pulse_out: PulseOut | None = None
    """A pulse a second out of a PTP hardware clock; absent: none."""
    pair_interval: Annotated[Duration, Span("10ms", "60s")] = Field("250ms", validate_default=True)
    """How often a PTP hardware clock is compared with the system clock: the tightest of several readings counts."""
    frequency_tolerance: Annotated[Rate, Frequency("0ppm", "500ppm")] = Field("0ppm", validate_default=True)
    """How fast the claimed bound grows at least between measurements: by how much the frequency may jump unseen."""
    thermometer: Annotated[str, Path()] | None = None
    """The file of a thermometer near its oscillator, such as /sys/class/hwmon/hwmon0/temp1_input: helps in holdover."""

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if self.virtual is not None and self.phc is not None:
            raise refusal("virtual and phc exclude each other", step="phc")
        for key in PHC_ONLY if self.phc is None else ():
            if key in self.model_fields_set and getattr(self, key) is not None:
                raise refusal("only a PTP hardware clock has this; phc: says which", step=key)
        return self
