"""What a simulation file says: a world with servers and events, a configuration, and what is expected of it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config import yaml
from timesync.config.amounts import Frequency, Ratio, Span
from timesync.config.explain import explain
from timesync.config.hardware import Error, FaultName, Hardware, Length, Part, Share
from timesync.config.load import Loaded, finish
from timesync.config.problem import ConfigError, Problem, format_path
from timesync.config.ptp_world import NO_PTP, Jitter, PtpWorld
from timesync.config.schema import (
    SYSTEM,
    CsptpSource,
    GpsdSource,
    Model,
    NmeaSource,
    PpsSource,
    RoughtimeSource,
    ShmSource,
    SockSource,
    SourceOptions,
)
from timesync.config.tree import Location, Mapping, key_mark, plain
from timesync.config.written import refusal


class Temperature(Model):
    """A sine in the frequency."""

    amplitude: Annotated[Rate, Frequency("0ppm", "1000ppm")]
    """Largest departure of the frequency."""
    period: Annotated[Duration, Span("1s", "400d")] = Field("24h", validate_default=True)
    """From one maximum to the next."""


class WorldClock(Model):
    """The clock that is disciplined, and its machine."""

    offset: Error = Field("0s", validate_default=True)
    """Clock minus truth at the start."""
    frequency: Part = Field("0ppm", validate_default=True)
    """Frequency error at the start; positive is fast."""
    wander: Annotated[float, Ratio(1e-3)] = 0.0
    """Random-walk FM: standard deviation of the frequency after one second."""
    white_fm: Annotated[float, Ratio(1e-3)] = 0.0
    """White FM: standard deviation of the frequency averaged over one second."""
    temperature: Temperature | None = None
    """Day and night."""
    tick: Length = Field("0s", validate_default=True)
    """A change of frequency takes effect at the next multiple of this."""
    stamp_noise: Length = Field("0s", validate_default=True)
    """Standard deviation of a kernel timestamp."""
    slowness: Length = Field("50us", validate_default=True)
    """Mean time from a packet's arrival to the daemon's hearing of it."""
    held_up: Length = Field("0s", validate_default=True)
    """Mean time for which others have the processor just when the daemon has changed the frequency."""


class WorldServer(Model):
    """An NTP server of the simulated network; its DNS name is its name here."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,62}$")]
    """Its name."""
    offset: Error = Field("0s", validate_default=True)
    """Its clock minus truth at the start."""
    drift: Part = Field("0ppm", validate_default=True)
    """Frequency error of its clock."""
    stratum: Annotated[int, Field(ge=1, le=15)] = 1
    """What it says of itself."""
    delay: Length = Field("100us", validate_default=True)
    """Least delay of each direction."""
    asymmetry: Length = Field("0s", validate_default=True)
    """Added to the least delay of the way back."""
    jitter: Jitter
    """What queues add, each way."""
    loss: Share = 0.0
    """Share of datagrams that vanish, each way."""
    behaviour: Literal["answer", "silent", "deny", "rate", "unsynchronized"] = "answer"
    """What it does with requests."""


class WorldEvent(Model):
    """Something that happens; one of these."""

    at: Length
    """When, after the start."""
    frequency_step: Part | None = None
    """The frequency of the disciplined clock's oscillator changes by this."""
    clock_step: Error | None = None
    """Somebody else sets the disciplined clock forward by this."""
    outage: tuple[str, ...] | None = None
    """These servers, or PTP clocks, cannot be reached; an empty list means all."""
    peer_step: Error | None = None
    """The clock of the PTP peer that `device` names is set forward by this."""
    fault: FaultName | None = None
    """Something goes wrong with the hardware that `device` names."""
    device: Annotated[str, Field(max_length=4095)] | None = None
    """To which device of the hardware a fault happens, or to which PTP clock a step."""
    lasting: Length | None = None
    """How long an outage or a fault lasts; a fault without it stays."""
    restart: bool = False
    """The daemon is stopped and started again with what it saved."""

    @model_validator(mode="after")
    def _one_event(self) -> Self:
        happens = (self.frequency_step, self.clock_step, self.outage, self.peer_step, self.fault)
        if sum(event is not None for event in happens) + self.restart != 1:
            raise refusal("needs one of frequency_step, clock_step, outage, peer_step, fault and restart")
        if (self.fault is None and self.peer_step is None) != (self.device is None):
            raise refusal("fault and device go together, and so do peer_step and device")
        if self.fault is None and (self.outage is None) != (self.lasting is None):
            raise refusal("outage and lasting go together")
        return self


class World(Model):
    """What is simulated around the daemon."""

    clock: WorldClock = WorldClock()
    """The clock that is disciplined."""
    servers: Annotated[tuple[WorldServer, ...], Field(max_length=32)] = ()
    """The NTP servers."""
    hardware: Hardware = Hardware()
    """The receivers, pulses, PTP hardware clocks and thermometers of the machine."""
    ptp: PtpWorld = NO_PTP
    """Its PTP network."""
    events: tuple[WorldEvent, ...] = ()
    """What happens, in any order."""

    @model_validator(mode="after")
    def _servers_are_told_apart(self) -> Self:
        names = [server.name for server in self.servers]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise refusal(f"servers[{index}] is named {name}, as another one is", step="servers")
        peers = [peer.name for peer in self.ptp.peers]
        unknown = sorted({name for event in self.events for name in event.outage or ()} - {*names, *peers})
        if unknown:
            raise refusal(f"an outage of {unknown[0]}, which is not among the servers", step="events")
        for event in self.events:
            if event.peer_step is not None and event.device not in peers:
                raise refusal(f"a step of {event.device}, which is not among the peers of ptp", step="events")
        return self

    @model_validator(mode="after")
    def _cards_have_clocks(self) -> Self:
        unknown = self.ptp.unknown_clock(self.hardware)
        if unknown is not None:
            raise refusal(f"a card with the clock {unknown}, which is not in hardware.phcs", step="ptp")
        return self

    @model_validator(mode="after")
    def _faults_are_possible(self) -> Self:
        faults = self.hardware.faults()
        if not self.servers and not faults and not self.ptp.peers:
            raise refusal("there is nothing to compare with: servers, ptp or hardware is needed")
        for event in self.events:
            if event.fault is None or event.device is None:
                continue
            if event.device not in faults:
                there = f"there are {', '.join(islice(faults, 8))}" if faults else "there is none"
                raise refusal(f"a fault of {event.device}, which is not in the hardware; {there}", step="events")
            known = faults[event.device]
            if event.fault not in known:
                raise refusal(f"{event.device} knows no fault {event.fault}, only {', '.join(known)}", step="events")
        return self


class First(Model):
    """How soon the clock must be how near."""

    within: Length
    """True offset to be reached."""
    by: Length
    """Time after the start."""


class Expectation(Model):
    """Limits that each seed must keep; absent ones are not checked."""

    rms: Length | None = None
    """True offset after settling, root mean square."""
    maximum: Length | None = None
    """True offset after settling, largest."""
    first: First | None = None
    """The first approach."""
    coverage: Share | None = None
    """Least share of seconds in which the true offset is inside the claimed bound."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """How many times the clock is stepped, exactly."""
    falsetickers: tuple[str, ...] | None = None
    """The servers that are named as falsetickers at the end, exactly."""


class Scenario(Model):
    """A simulation file, without its ``config`` section."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")]
    """Its name."""
    description: Annotated[str, Field(max_length=200)]
    """What it shows, in one line."""
    duration: Annotated[Duration, Span("10s", "400d")]
    """How long it runs."""
    settle: Length
    """From when on the true offset counts."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 3
    """How many random worlds are tried unless the command line says otherwise."""
    world: World
    """What is simulated."""
    expect: Expectation = Expectation()
    """What must come out."""

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        if self.settle >= self.duration:
            raise refusal("the simulation ends before this: nothing would be judged", step="settle")
        return self


def read_scenario(text: bytes, name: str, directory: str | None = None) -> tuple[Scenario, Loaded]:
    """A scenario and the configuration in it. Raises ConfigError with every problem."""
    root = yaml.compose(yaml.decode(text, name, directory))
    problems: list[Problem] = []
    own = Mapping({key: entry for key, entry in root.entries.items() if key != "config"}, root.mark)
    scenario: Scenario | None = None
    loaded: Loaded | None = None
    try:
        scenario = Scenario.model_validate(plain(own))
    except ValidationError as error:
        problems += explain(error, own, Scenario)
    entry = root.entries.get("config")
    if entry is None or not isinstance(entry.value, Mapping):
        problems.append(Problem.at(root.mark, "config", "a scenario needs a configuration"))
    else:
        try:
            loaded = finish(entry.value, None, None)
        except ConfigError as error:
            problems += error.problems
        else:
            problems += _not_simulated(loaded, None if scenario is None else scenario.world)
    if problems or scenario is None or loaded is None:
        raise ConfigError(problems)
    return scenario, loaded


def _not_simulated(loaded: Loaded, world: World | None) -> Iterator[Problem]:
    """What a configuration asks for and the simulated world does not have; None: what it has could not be read."""
    hardware = None if world is None else world.hardware
    wrong = partial(_not_there, loaded.tree)
    for name, clock in loaded.config.clocks.items():
        if name != SYSTEM and (clock.phc is None or (hardware is not None and name not in hardware.phcs)):
            yield wrong(
                ("clocks", name), "the simulated machine has its system clock and the phcs of its hardware only"
            )
        if hardware is not None and clock.thermometer is not None and clock.thermometer not in hardware.thermometers:
            yield wrong(("clocks", name, "thermometer"), "no thermometer of this name is in the hardware")
    for name in () if hardware is None else hardware.phcs:
        if name not in loaded.config.clocks:
            text = f"the simulated machine has the hardware clock {name}, so that it must be named here"
            yield Problem.at(loaded.tree.mark, "config.clocks", text)
    if loaded.config.leap is not None:
        yield wrong(("leap",), "in simulated time the leap seconds of this machine's own list happen, for all alike")
    if loaded.config.serve.nts is not None:
        yield wrong(("serve", "nts"), "keys are not established in simulated time")
    if loaded.config.keys:
        yield wrong(("keys",), "the simulated servers know no keys")
    for index, source in enumerate(loaded.config.sources):
        why = None if hardware is None else _not_connected(source, hardware)
        if why is not None:
            yield wrong(("sources", index, source.kind), why)
        if getattr(source, "nts", False):
            yield wrong(("sources", index, "nts"), "keys are not established in simulated time")
    many = isinstance(loaded.config.ptp, tuple)
    for number, port, why in () if world is None else world.ptp.unconnected(loaded.config.ptp_instances):
        yield wrong(("ptp", *((number,) if many else ()), "ports", port, "interface"), why)


def _not_connected(source: SourceOptions, hardware: Hardware) -> str | None:
    """Why nothing can come from a source, if so."""
    match source:
        case GpsdSource() if str(source.gpsd.server) not in hardware.receivers:
            return "no receiver of this name is in the hardware"
        case NmeaSource() if source.nmea not in hardware.receivers:
            return "no receiver of this name is in the hardware"
        case PpsSource() if source.phc is None and source.pps not in hardware.pps:
            return "no pulses of this name are in the hardware"
        case PpsSource() if source.phc is not None and not _wired(hardware, source.phc, source.channel):
            return f"nothing is wired to channel {source.channel} of this clock"
        case SockSource() | ShmSource():
            return "no program of the simulated world writes there"
        case CsptpSource():
            return "nobody of the simulated world answers CSPTP"
        case RoughtimeSource():
            return "nobody of the simulated world answers Roughtime"
        case _:
            return None


def _wired(hardware: Hardware, clock: str, channel: int) -> bool:
    phc = hardware.phcs.get(clock)
    return phc is not None and any(line.channel == channel for line in phc.inputs)


def _not_there(tree: Mapping, location: Location, message: str) -> Problem:
    return Problem.at(key_mark(tree, location), f"config.{format_path(location)}", message)
