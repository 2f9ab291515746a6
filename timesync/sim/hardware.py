"""What simulated time hardware is like, and what goes wrong with it when: frozen values only."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from types import MappingProxyType
from typing import Literal, Protocol

from timesync.base.ids import ClockId
from timesync.base.rate import Rate
from timesync.base.time import NS_PER_S, SCALE, UNITS_PER_S, ZERO, Duration
from timesync.sim.clock import ClockModel
from timesync.sim.law import DelayLaw, Exponential, Normal
from timesync.sim.oscillator import Quartz, Temperature


class Fault(enum.Enum):
    """What can go wrong; each sort of hardware knows some of them."""

    WRONG_WEEK = "wrong week"
    """The receiver is 1024 weeks behind: its ten-bit week counter rolled over (IS-GPS-200, 20.3.3.3.1.1)."""
    JUMP = "jump"
    """The receiver says a time that is 1 s ahead; its pulses stay where they were."""
    STALE = "stale"
    """The receiver repeats its last fix, time included, every second."""
    NO_FIX = "no fix"
    """The receiver sees no satellites: its pulses and its time drift with its own oscillator."""
    NO_PULSES = "no pulses"
    """No edges: of a receiver, of a pulse line, of the external timestamps of a PHC."""
    FALSE_LEAP = "false leap"
    """The receiver announces a leap second for the end of the month, for which only UBX has words."""
    UNPLUGGED = "unplugged"
    """The device is gone: feeds are lost, calls fail as GONE, and it cannot be opened."""
    GARBLED = "garbled"
    """One byte in fifty of a receiver arrives as another one."""
    SILENT = "silent"
    """The receiver says nothing; its pulses go on."""

    GPSD_GONE = "gpsd gone"
    """No gpsd runs: connections end, and new ones are refused."""


RECEIVER_FAULTS = frozenset(Fault)
PULSE_FAULTS = frozenset({Fault.NO_PULSES, Fault.UNPLUGGED})
PHC_FAULTS = PULSE_FAULTS
GARBLED_SHARE = 0.02

_WIDTH = Duration.from_ns(100_000_000)
_LATENCY = Normal(0.120, 0.030)
_NO_RATE = Rate(0.0)
_TCXO = Rate(0.5e-6)
_WINDOW = Duration.from_ns(1000)
_EXCESS = Exponential(100e-9)
_MAX_ADJ = Rate(0.1)
_PER_DEGREE = Rate(0.1e-6)


@dataclass(frozen=True, slots=True)
class TimedFault:
    """A fault that comes by itself.

    Attributes:
        fault: Which.
        at: When, after the start of the world.
        lasting: For how long; None: for good.
    """

    fault: Fault
    at: Duration
    lasting: Duration | None = None

    def __post_init__(self) -> None:
        if self.at < ZERO or (self.lasting is not None and self.lasting < ZERO):
            raise ValueError("a fault cannot come before the start, nor last less than no time")


class NoiseLaw(Protocol):
    """A distribution of errors, of either sign."""

    def draw(self, rng: Random, /) -> float:
        """One error in seconds."""
        ...


@dataclass(frozen=True, slots=True)
class Gauss:
    """Symmetric noise around zero.

    Attributes:
        sigma_s: Standard deviation.
    """

    sigma_s: float

    def draw(self, rng: Random, /) -> float:
        """One error in seconds."""
        return rng.gauss(0.0, self.sigma_s)


@dataclass(frozen=True, slots=True)
class SawtoothShape:
    """How far a receiver's pulses lie from where it means them, since it can give them only at its own clock ticks.

    Attributes:
        amplitude: Largest distance, half a tick; 0 for none.
        period_s: In how many seconds the error goes once through its range.
    """

    amplitude: Duration = ZERO
    period_s: float = 37.3

    def __post_init__(self) -> None:
        if self.amplitude < ZERO or self.period_s <= 0:
            raise ValueError("a sawtooth has no negative amplitude, and a positive period")

    def error_ps(self, second: int) -> int:
        """How much too late the pulse of this second comes, in picoseconds (receivers tell whole ones)."""
        turn = second / self.period_s % 1.0
        return round((2 * turn - 1) * self.amplitude.scaled_ns / SCALE * 1000)

    def error_units(self, second: int) -> int:
        """The same in units of 2^-16 ns."""
        return round(self.error_ps(second) * SCALE / 1000)


@dataclass(frozen=True, slots=True)
class FromReceiver:
    """The pulses of a receiver.

    Attributes:
        device: Its path, or ``host:port`` of the gpsd that reads it.
    """

    device: str


@dataclass(frozen=True, slots=True)
class FromOutput:
    """The pulses that a PTP hardware clock gives out (PTP_PEROUT_REQUEST), while somebody has opened that output.

    Attributes:
        phc: The clock.
        channel: Index of its output.
    """

    phc: ClockId
    channel: int = 0


PulseOrigin = FromReceiver | FromOutput | None
"""Where pulses come from; None: from true time itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseHardware:
    """A line with a pulse a second, and who stamps it.

    Attributes:
        origin: Where the pulses come from.
        noise: Error of a stamp, positive is late.
        bias: Constant error of a stamp, positive is late (cable, interrupt).
        missing: Share of pulses that are not seen.
        doubled: Share of pulses that are seen a second time, within 5 ms.
        wild: Share of seconds with an edge at a random moment besides.
        sawtooth: Of the pulses that come from true time or from a receiver.
        width: From the rising edge, which marks the second, to the falling one.
        on_gpio: It has a wire of its own, so that the device stays when its receiver is unplugged.
        faults: What comes by itself.
    """

    origin: PulseOrigin = None
    noise: NoiseLaw = Gauss(100e-9)
    bias: Duration = ZERO
    missing: float = 0.0
    doubled: float = 0.0
    wild: float = 0.0
    sawtooth: SawtoothShape = SawtoothShape()
    width: Duration = _WIDTH
    on_gpio: bool = False
    faults: tuple[TimedFault, ...] = ()

    def __post_init__(self) -> None:
        _check_shares(self.missing, self.doubled, self.wild)
        _check_faults(self.faults, PULSE_FAULTS)
        if not ZERO < self.width < Duration(UNITS_PER_S):
            raise ValueError("a pulse is longer than nothing and shorter than a second")


Language = Literal["nmea", "ubx", "gpsd"]
Sentence = Literal["RMC", "GGA", "GSA", "GSV", "ZDA"]
UbxMessage = Literal["NAV-PVT", "TIM-TP", "NAV-TIMELS", "NAV-SAT", "MON-RF"]
SENTENCES: tuple[Sentence, ...] = ("RMC", "GGA", "GSA", "GSV", "ZDA")
UBX_MESSAGES: tuple[UbxMessage, ...] = ("TIM-TP", "NAV-PVT", "NAV-TIMELS", "NAV-SAT", "MON-RF")


@dataclass(frozen=True, slots=True, kw_only=True)
class FixModel:
    """How well the receiver sees the sky.

    Attributes:
        first: From power-on to the first fix, after which it knows the time.
        seen: Satellites in view.
        used: Satellites in the solution.
        hdop: Horizontal dilution of precision.
        tdop: Time dilution of precision.
        accuracy_s: What it claims for its time, one sigma, with a fix.
        fixed_position: A timing receiver that knows its place: its fix is of time only.
    """

    first: Duration = ZERO
    seen: int = 12
    used: int = 9
    hdop: float = 0.9
    tdop: float = 0.8
    accuracy_s: float = 20e-9
    fixed_position: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.used <= self.seen <= 32:
            raise ValueError("a receiver uses some of the satellites that it sees, 32 at most")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverHardware:
    """A GNSS receiver, or one behind a gpsd.

    Attributes:
        language: What it speaks: ``nmea``, ``ubx``, or ``gpsd`` for JSON.
        latency: From the second to the first byte of the burst about it.
        baud: Speed of its line; 10 bits a byte. For ``gpsd`` the line between the receiver and gpsd.
        fifo: Bytes that the port collects before it hands them over; fewer at the end of a burst.
        sentences: NMEA sentences, in order.
        messages: UBX messages, in order.
        talker: NMEA talker identifier, such as ``GP`` or ``GN``.
        utc_grid: UBX: pulses are told in UTC, else in GPS time (CFG-TP-TIMEGRID).
        fix: How it sees the sky.
        drift: Frequency error of its oscillator, which shows while it has no fix.
        model: What it says of itself.
        device: gpsd: the device that it reads.
        faults: What comes by itself.
    """

    language: Language = "nmea"
    latency: DelayLaw = _LATENCY
    baud: int = 9600
    fifo: int = 32
    sentences: tuple[Sentence, ...] = SENTENCES
    messages: tuple[UbxMessage, ...] = UBX_MESSAGES
    talker: str = "GN"
    utc_grid: bool = True
    fix: FixModel = FixModel()
    drift: Rate = _TCXO
    model: str = "NEO-M8T-0"
    device: str = "/dev/ttyACM0"
    faults: tuple[TimedFault, ...] = ()

    def __post_init__(self) -> None:
        _check_faults(self.faults, self.known_faults())
        if self.baud <= 0 or self.fifo <= 0:
            raise ValueError("speed and buffer of a line are positive")

    def known_faults(self) -> frozenset[Fault]:
        """What can go wrong with it."""
        needs = {Fault.GPSD_GONE: "gpsd", Fault.FALSE_LEAP: "ubx"}
        return frozenset(fault for fault in RECEIVER_FAULTS if needs.get(fault, self.language) == self.language)

    def byte_ns(self) -> int:
        """How long one byte takes on the line."""
        return 10 * NS_PER_S // self.baud


@dataclass(frozen=True, slots=True)
class PinHardware:
    """What is wired to an input of a PTP hardware clock.

    Attributes:
        channel: Index of the external timestamp channel.
        pulses: What comes; its noise is that of the stamp.
    """

    channel: int
    pulses: PulseHardware


PairMethod = Literal["precise", "extended", "plain"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhcHardware:
    """A PTP hardware clock.

    Attributes:
        offset: Its error at the start; positive is ahead of true TAI.
        frequency_error: Of its oscillator.
        wander: Random-walk FM, as in ``Quartz``.
        white_fm: White FM, as in ``Quartz``.
        read_noise_s: Standard deviation of a reading.
        pair_window: Shortest time between the two readings of the system clock around one of this clock.
        pair_excess: What is added to either half of that window.
        pair_samples: How many such readings are made for one comparison, of which the shortest counts.
        pair_method: How the kernel compares it with the system clock; ``precise`` has no window.
        max_adj: Largest adjustment of its frequency.
        n_pins: Programmable pins; 0: its channels are wired for good.
        n_outputs: Channels that give out pulses.
        inputs: What is wired to its external timestamp channels.
        faults: What comes by itself.
    """

    offset: Duration = ZERO
    frequency_error: Rate = _NO_RATE
    wander: float = 0.0
    white_fm: float = 0.0
    read_noise_s: float = 5e-9
    pair_window: Duration = _WINDOW
    pair_excess: DelayLaw = _EXCESS
    pair_samples: int = 10
    pair_method: PairMethod = "extended"
    max_adj: Rate = _MAX_ADJ
    n_pins: int = 0
    n_outputs: int = 1
    inputs: tuple[PinHardware, ...] = ()
    faults: tuple[TimedFault, ...] = ()

    def __post_init__(self) -> None:
        _check_faults(self.faults, PHC_FAULTS)
        channels = [pin.channel for pin in self.inputs]
        if len(set(channels)) != len(channels):
            raise ValueError("one external timestamp channel, one input")
        if self.pair_samples < 1:
            raise ValueError("a comparison needs a reading")

    def quartz(self) -> Quartz:
        """Its oscillator."""
        return Quartz(frequency_error=self.frequency_error, wander=self.wander, white_fm=self.white_fm)

    def clock(self) -> ClockModel:
        """What steers over it."""
        return ClockModel(offset=self.offset, max_frequency=self.max_adj, read_noise_s=self.read_noise_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermometer:
    """A file with the temperature near an oscillator.

    Attributes:
        mean_c: Degrees Celsius around which it goes.
        swings: The same that the oscillator follows (``Quartz.temperature``).
        per_degree: How much faster the oscillator runs for each degree more; not 0.
        noise_c: Standard deviation of a reading.
        resolution_c: Readings are multiples of this.
    """

    mean_c: float = 40.0
    swings: tuple[Temperature, ...] = ()
    per_degree: Rate = _PER_DEGREE
    noise_c: float = 0.0
    resolution_c: float = 0.001

    def __post_init__(self) -> None:
        if not self.per_degree.ratio or self.resolution_c <= 0:
            raise ValueError("a thermometer needs a coefficient and a resolution")

    def degrees(self, at_s: float, noise: float) -> float:
        """What it shows so many seconds after the start; ``noise`` is of standard deviation 1."""
        swing = sum(sine.frequency(at_s) for sine in self.swings) / self.per_degree.ratio
        warm = self.mean_c + swing + noise * self.noise_c
        return round(warm / self.resolution_c) * self.resolution_c


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """All that is plugged into a simulated machine.

    Attributes:
        receivers: By serial path, or by ``host:port`` where they speak gpsd's JSON.
        pulses: PPS devices of the kernel, by path.
        phcs: PTP hardware clocks, by the name of the clock.
        thermometers: By path.
    """

    receivers: Mapping[str, ReceiverHardware] = field(default_factory=lambda: MappingProxyType({}))
    pulses: Mapping[str, PulseHardware] = field(default_factory=lambda: MappingProxyType({}))
    phcs: Mapping[ClockId, PhcHardware] = field(default_factory=lambda: MappingProxyType({}))
    thermometers: Mapping[str, Thermometer] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        lines = [*self.pulses.values(), *(pin.pulses for phc in self.phcs.values() for pin in phc.inputs)]
        for line in lines:
            match line.origin:
                case FromReceiver(device) if device not in self.receivers:
                    raise ValueError(f"pulses from the receiver {device}, which is not there")
                case FromOutput(phc, channel) if phc not in self.phcs or channel >= self.phcs[phc].n_outputs:
                    raise ValueError(f"pulses from output {channel} of {phc}, which is not there")
                case _:
                    pass


def _check_shares(*shares: float) -> None:
    if not all(0 <= share <= 1 for share in shares):
        raise ValueError("a share lies between 0 and 1")


def _check_faults(faults: tuple[TimedFault, ...], known: frozenset[Fault]) -> None:
    for timed in faults:
        if timed.fault not in known:
            raise ValueError(f"this hardware has no fault {timed.fault.value!r}")
