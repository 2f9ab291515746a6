"""What a simulation file says of the time hardware of the simulated machine.

Names of devices are those that the configuration in the same file uses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError

from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config.address import AddressError, parse_host_port
from timesync.config.amounts import Frequency, Ratio, Span
from timesync.config.device import BAUDS, GPSD_PORT, AutoBaud, Device
from timesync.config.fields import ClockName, Path
from timesync.config.model import Model
from timesync.config.written import Written, refusal

Length = Annotated[Duration, Span("0s", "400d")]
Error = Annotated[Duration, Span("-36500d", "36500d")]
Part = Annotated[Rate, Frequency("-1000ppm", "1000ppm")]
Share = Annotated[float, Field(ge=0, le=1)]

FaultName = Literal[
    "wrong_week", "jump", "stale", "no_fix", "no_pulses", "false_leap", "unplugged", "garbled", "silent", "gpsd_gone"
]
"""What can go wrong with a receiver."""
RECEIVER_FAULTS: tuple[str, ...] = get_args(FaultName)
_LANGUAGES = {"false_leap": "ubx", "gpsd_gone": "gpsd"}
"""Faults that receivers of one language alone have: the others have no words for a leap second to come, or no gpsd."""
LINE_FAULTS = ("no_pulses", "unplugged")
"""What of that can go wrong with a pulse line or a PTP hardware clock."""


@dataclass(frozen=True, slots=True)
class Port(Written):
    """Where a receiver is: the path of a serial port, or host and port of a gpsd."""

    def parse(self, value: object) -> str:
        """See ``Written``; a gpsd in the form host:port."""
        if not isinstance(value, str) or value.startswith("/"):
            return Path().parse(value)
        try:
            return str(parse_host_port(value, GPSD_PORT))
        except AddressError as error:
            raise refusal(error.message, error.suggestion) from None

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 1, "maxLength": 4095}

    def describe(self) -> str:
        """See ``Written``."""
        return "path of a device, or host[:port]"


class Latency(Model):
    """A normal law."""

    mean: Annotated[Duration, Span("0s", "1s")] = Field("120ms", validate_default=True)
    """Mean."""
    deviation: Annotated[Duration, Span("0s", "1s")] = Field("30ms", validate_default=True)
    """Standard deviation."""


class Fix(Model):
    """How well a receiver sees the sky."""

    first: Length = Field("0s", validate_default=True)
    """From the start to the first fix."""
    seen: Annotated[int, Field(ge=0, le=32)] = 12
    """Satellites in view."""
    used: Annotated[int, Field(ge=0, le=32)] = 9
    """Satellites in the solution."""
    hdop: Annotated[float, Field(ge=0, le=99)] = 0.9
    """Horizontal dilution of precision."""
    tdop: Annotated[float, Field(ge=0, le=99)] = 0.8
    """Time dilution of precision."""
    accuracy: Annotated[Duration, Span("0ns", "1s")] = Field("20ns", validate_default=True)
    """What it claims for its time, one standard deviation."""
    fixed_position: bool = False
    """A timing receiver that knows its place: its fix is of time only."""

    @model_validator(mode="after")
    def _uses_what_it_sees(self) -> Self:
        if self.used > self.seen:
            raise refusal(f"it cannot use {self.used} of {self.seen} satellites", step="used")
        return self


class Receiver(Model):
    """A satellite receiver, or one behind gpsd."""

    language: Literal["nmea", "ubx", "gpsd"] = "nmea"
    """What it speaks; gpsd: JSON over TCP."""
    latency: Latency = Latency()
    """From the second to the first byte of the messages about it."""
    baud: Annotated[int | None, AutoBaud()] = 9600
    """Speed of its line; with gpsd, of the line between receiver and gpsd."""
    sentences: Annotated[tuple[Literal["RMC", "GGA", "GSA", "GSV", "ZDA"], ...], Field(min_length=1)] = (
        "RMC", "GGA", "GSA", "GSV", "ZDA",
    )  # fmt: skip
    """NMEA sentences in the order in which they come."""
    fix: Fix = Fix()
    """How it sees the sky."""
    drift: Part = Field("0.5ppm", validate_default=True)
    """Frequency error of its own oscillator, which shows while it has no fix."""

    @model_validator(mode="after")
    def _has_a_speed(self) -> Self:
        if self.baud is None:
            raise refusal(f"a simulated line has one speed: {', '.join(map(str, BAUDS))}", step="baud")
        if "sentences" in self.model_fields_set and self.language != "nmea":
            raise refusal("only NMEA has sentences", step="sentences")
        return self


class Teeth(Model):
    """How far pulses lie from where the receiver means them, since it gives them at ticks of its own clock."""

    amplitude: Annotated[Duration, Span("0ns", "1us")]
    """Largest distance: half a tick."""
    period: Annotated[Duration, Span("1s", "1h")] = Field("37.3s", validate_default=True)
    """In what time the error goes once through its range."""


class Output(Model):
    """An output of a PTP hardware clock."""

    clock: Annotated[str, ClockName()]
    """The clock."""
    channel: Annotated[int, Field(ge=0, le=63)] = 0
    """Index of the output."""


class PulseLine(Model):
    """A line with a pulse a second; without receiver and output the pulses come from true time itself."""

    receiver: Annotated[str, Port()] | None = None
    """The receiver whose pulses these are."""
    output: Output | None = None
    """The output of a PTP hardware clock whose pulses these are."""
    noise: Annotated[Duration, Span("0ns", "100ms")] = Field("100ns", validate_default=True)
    """Standard deviation of a stamp."""
    bias: Annotated[Duration, Span("-100ms", "100ms")] = Field("0ns", validate_default=True)
    """Constant error of a stamp; positive is late."""
    missing: Share = 0.0
    """Share of pulses that are not seen."""
    doubled: Share = 0.0
    """Share of pulses that are seen a second time."""
    wild: Share = 0.0
    """Share of seconds with an edge at a random moment besides."""
    sawtooth: Teeth | None = None
    """Error of a receiver that can give pulses only at its own ticks; absent: none."""
    width: Annotated[Duration, Span("1us", "999ms")] = Field("100ms", validate_default=True)
    """From the edge that marks the second to the other one."""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if self.receiver is not None and self.output is not None:
            raise refusal("receiver and output exclude each other", step="output")
        return self


class PhcInput(PulseLine):
    """What is wired to an external timestamp channel of a PTP hardware clock."""

    channel: Annotated[int, Field(ge=0, le=63)] = 0
    """Index of the channel."""


class Phc(Model):
    """A PTP hardware clock."""

    offset: Error = Field("0s", validate_default=True)
    """Its error at the start; positive is ahead."""
    frequency: Part = Field("0ppm", validate_default=True)
    """Frequency error of its oscillator; positive is fast."""
    wander: Annotated[float, Ratio(1e-3)] = 0.0
    """Random-walk FM: standard deviation of the frequency after one second."""
    white_fm: Annotated[float, Ratio(1e-3)] = 0.0
    """White FM: standard deviation of the frequency averaged over one second."""
    read_noise: Annotated[Duration, Span("0ns", "1ms")] = Field("5ns", validate_default=True)
    """Standard deviation of a reading."""
    pair_window: Annotated[Duration, Span("0ns", "10ms")] = Field("1us", validate_default=True)
    """Shortest time between the two readings of the system clock around one of this clock."""
    pair_excess: Annotated[Duration, Span("0ns", "10ms")] = Field("100ns", validate_default=True)
    """Mean of what is added to either half of that window, exponentially distributed."""
    pair_method: Literal["precise", "extended", "plain"] = "extended"
    """How the kernel compares it with the system clock; precise has no window."""
    max_adjustment: Annotated[Rate, Frequency("1ppm", "1000000ppm")] = Field("100000ppm", validate_default=True)
    """Largest adjustment of its frequency."""
    pins: Annotated[int, Field(ge=0, le=64)] = 0
    """Programmable pins; 0: its channels are wired for good."""
    outputs: Annotated[int, Field(ge=0, le=64)] = 1
    """Channels that give out pulses."""
    inputs: tuple[PhcInput, ...] = ()
    """What is wired to its external timestamp channels."""

    @model_validator(mode="after")
    def _one_input_a_channel(self) -> Self:
        channels = [line.channel for line in self.inputs]
        if len(set(channels)) < len(channels):
            raise refusal("one channel has one input", step="inputs")
        return self


class Thermometer(Model):
    """A file with the temperature that the clock's oscillator feels."""

    mean: Annotated[float, Field(ge=-100, le=200)] = 40.0
    """Degrees Celsius around which it goes."""
    per_degree: Part = Field("0.1ppm", validate_default=True)
    """How much faster the oscillator runs for each degree more."""
    noise: Annotated[float, Field(ge=0, le=10)] = 0.0
    """Standard deviation of a reading, in degrees Celsius."""
    resolution: Annotated[float, Field(ge=1e-6, le=10)] = 0.001
    """Readings are multiples of this, in degrees Celsius."""

    @model_validator(mode="after")
    def _feels_something(self) -> Self:
        if not self.per_degree.ratio:
            raise refusal("without an influence on the frequency it shows nothing", step="per_degree")
        return self


class Hardware(Model):
    """The time hardware of the simulated machine, by the names that the configuration uses."""

    receivers: dict[Annotated[str, Port()], Receiver] = Field({}, validate_default=True)
    """Satellite receivers by serial port, or by host and port where they speak for gpsd."""
    pps: dict[Annotated[str, Device("/dev/pps0")], PulseLine] = Field({}, validate_default=True)
    """PPS devices of the kernel."""
    phcs: dict[Annotated[str, ClockName()], Phc] = Field({}, validate_default=True)
    """PTP hardware clocks, by their names in `clocks`."""
    thermometers: dict[Annotated[str, Path()], Thermometer] = Field({}, validate_default=True)
    """Files of thermometers."""

    @model_validator(mode="before")
    @classmethod
    def _one_receiver_a_port(cls, data: Any) -> Any:
        """A port may be written in two ways; the second entry would silently take the place of the first."""
        receivers = data.get("receivers") if isinstance(data, dict) else None
        seen: dict[str, object] = {}
        for written in receivers if isinstance(receivers, dict) else ():
            try:
                port = Port().parse(written)
            except PydanticCustomError:
                continue  # it is complained about where it stands
            if seen.setdefault(port, written) != written:
                raise refusal(f"{written} is the same port as {seen[port]}", step="receivers")
        return data

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        for port, receiver in self.receivers.items():
            if (receiver.language == "gpsd") == port.startswith("/"):
                raise refusal(f"{port}: a gpsd has a host and a port, another receiver a path", step="receivers")
        teeth: dict[str, Teeth | None] = {}
        for section, line in self._lines():
            output = line.output
            if line.receiver is not None and teeth.setdefault(line.receiver, line.sawtooth) != line.sawtooth:
                message = f"pulses of {line.receiver} with another sawtooth: it is of the receiver, so of all its lines"
                raise refusal(message, step=section)
            if line.receiver is not None and line.receiver not in self.receivers:
                raise refusal(f"pulses of the receiver {line.receiver}, which is not in receivers", step=section)
            if output is not None and (
                output.clock not in self.phcs or output.channel >= self.phcs[output.clock].outputs
            ):
                message = f"pulses of output {output.channel} of {output.clock}, which is not in phcs"
                raise refusal(message, step=section)
        return self

    def _lines(self) -> Iterator[tuple[str, PulseLine]]:
        yield from (("pps", line) for line in self.pps.values())
        yield from (("phcs", line) for phc in self.phcs.values() for line in phc.inputs)

    def faults(self) -> dict[str, tuple[str, ...]]:
        """What can go wrong with each device."""
        lines: dict[str, tuple[str, ...]] = dict.fromkeys([*self.pps, *self.phcs], LINE_FAULTS)
        receivers = {
            port: tuple(one for one in RECEIVER_FAULTS if _LANGUAGES.get(one, receiver.language) == receiver.language)
            for port, receiver in self.receivers.items()
        }
        return lines | receivers
