"""A machine with hardware clocks that are made of numbers, by the rules of drivers/ptp/ptp_clock.c."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field, replace

from linux_support import NOW_NS, SYSTEM, TABLE, S

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import SYSTEM_MAP, ServingMap
from timesync.base.time import Duration, Instant
from timesync.base.utc import LeapTable
from timesync.host import ClockLimits, ClockReport
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.phc_hardware import Surroundings
from timesync.runtime.phc_scale import Timescale
from timesync_drivers.clock import ClockState, Progress
from timesync_drivers.cross import CrossReading
from timesync_drivers.phc import ExternalStamp, PhcCapabilities, PhcPin, PinFunction

CAPABILITIES = PhcCapabilities(
    max_adj_ppb=62_500_000,
    n_ext_ts=2,
    n_per_out=2,
    n_pins=2,
    pps=True,
    cross_timestamping=False,
    adjust_phase=False,
    max_phase_adj_ns=0,
)
ETH0 = ClockId("eth0")
ETH1 = ClockId("eth1")


class Machine:
    """CLOCK_MONOTONIC_RAW, CLOCK_MONOTONIC and CLOCK_REALTIME, and the cards that are plugged in.

    Attributes:
        raw_ns: CLOCK_MONOTONIC_RAW.
        mono_ns: CLOCK_MONOTONIC.
        system_ratio: What CLOCK_MONOTONIC gains on the raw one, each second.
        real_offset_ns: CLOCK_REALTIME less CLOCK_MONOTONIC.
        slept_ns: How long it was suspended.
        daemons: Programs that steer clocks.
        cards: By the name under which they are opened.
    """

    def __init__(self, utc_ns: int = NOW_NS) -> None:
        self.raw_ns = self.mono_ns = 5 * S
        self.system_ratio = 0.0
        self.real_offset_ns = utc_ns - self.mono_ns
        self.slept_ns = 0
        self.daemons: list[str] = []
        self.cards: dict[str, FakeCard] = {}

    @property
    def real_ns(self) -> int:
        return self.mono_ns + self.real_offset_ns

    def run(self, seconds: float) -> None:
        """Let time pass."""
        elapsed = round(seconds * S)
        self.raw_ns += elapsed
        self.mono_ns += elapsed + round(elapsed * self.system_ratio)
        for card in self.cards.values():
            card.run(elapsed)

    def around(self) -> Surroundings:
        return Surroundings(
            daemons=lambda: self.daemons,
            slept_ns=lambda: self.slept_ns,
            system_offset_ns=lambda: self.real_offset_ns,
            raw_ns=lambda: self.raw_ns,
            real_ns=lambda: self.real_ns,
        )

    def plug(self, name: str, phc_ns: int, ppm: float = 0.0) -> FakeCard:
        self.cards[name] = FakeCard(self, phc_ns, ppm * 1e-6)
        return self.cards[name]

    def open(self, name: str) -> FakeCard:
        if name not in self.cards:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return self.cards[name]

    def clock(self, clock: ClockId = ETH0, timescale: Timescale = "tai", table: LeapTable = TABLE) -> PhcClock:
        return PhcClock(clock, str(clock), table, timescale=timescale, open_device=self.open, around=self.around())


class FakeCard:
    """A hardware clock with an oscillator of its own; both the device and its clock.

    Attributes:
        phc_ns: What it shows.
        oscillator: What it gains by itself, each second of CLOCK_MONOTONIC_RAW.
        freq: The adjustment in force, scaled ppm.
        failing: Raise this from every call.
        window_ns: Half the window of a reading beside the system clock.
        strict: Edges can be chosen.
        edges: External stamps that wait.
        calls: What was done with channels and pins.
    """

    path = "/dev/ptp0"
    writable = True

    def __init__(self, machine: Machine, phc_ns: int, oscillator: float) -> None:
        self.machine = machine
        self.phc_ns = phc_ns
        self.oscillator = oscillator
        self.freq = 0
        self.failing: OSError | None = None
        self.window_ns = 200
        self.strict = True
        self.capabilities = CAPABILITIES
        self.edges: list[ExternalStamp] = []
        self.pins = [PhcPin(index, f"SDP{index}", PinFunction.NONE, 0) for index in range(2)]
        self.calls: list[str] = []
        self.closed = False

    def run(self, raw_ns: int) -> None:
        ratio = (1 + self.oscillator) * (1 + self.freq / 65_536e6) - 1
        self.phc_ns += raw_ns + round(raw_ns * ratio)

    def vanish(self) -> None:
        """Be unplugged."""
        self.failing = OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        del self.machine.cards[next(name for name, card in self.machine.cards.items() if card is self)]

    @property
    def clock(self) -> FakeCard:
        return self

    def _check(self) -> None:
        if self.failing is not None:
            raise self.failing

    def read_ns(self) -> int:
        self._check()
        return self.phc_ns

    def progress(self) -> Progress:
        self._check()
        return Progress(self.phc_ns, self.machine.raw_ns, 400)

    def state(self) -> ClockState:
        self._check()
        return ClockState(0, self.freq, 0, 0, 0, 0, 0, 0)

    def set_frequency(self, scaled_ppm: int) -> int:
        self._check()
        if (1 + scaled_ppm) * 125 >> 13 > self.capabilities.max_adj_ppb:  # scaled_ppm_to_ppb
            raise OSError(errno.ERANGE, os.strerror(errno.ERANGE))
        self.freq = scaled_ppm
        return self.freq

    def step(self, by_ns: int) -> None:
        self._check()
        self.phc_ns += by_ns

    def cross(self) -> CrossReading:
        self._check()
        return CrossReading(self.phc_ns, self.machine.real_ns, self.window_ns, "extended")

    def close(self) -> None:
        self.closed = True

    def route(self, index: int, function: PinFunction, channel: int) -> PhcPin | None:
        self._check()
        before = self.pins[index]
        self.pins[index] = replace(before, function=function, channel=channel)
        return None if self.pins[index] == before else before

    def set_pin(self, pin: PhcPin) -> None:
        self._check()
        self.pins[pin.index] = pin

    def enable_extts(self, channel: int, *, rising: bool, falling: bool) -> bool:
        self._check()
        self.calls.append(f"extts {channel} {'rising' if rising else 'falling' if falling else '-'}")
        return self.strict

    def disable_extts(self, channel: int) -> None:
        self._check()
        self.calls.append(f"no extts {channel}")

    def events(self) -> list[ExternalStamp]:
        self._check()
        taken, self.edges = self.edges, []
        return taken

    def start_perout(self, channel: int, *, start_ns: int, period_ns: int, width_ns: int | None) -> bool:
        self._check()
        self.calls.append(f"perout {channel} from {start_ns} every {period_ns} for {width_ns}")
        return width_ns is not None

    def stop_perout(self, channel: int) -> None:
        self._check()
        self.calls.append(f"no perout {channel}")


@dataclass
class SystemBase:
    """CLOCK_REALTIME of a made-up machine, as a clock that timestamps can be placed on; 37 s from TAI."""

    machine: Machine
    id: ClockId = SYSTEM
    kind: str = "system"
    epoch: int = 0
    limits: ClockLimits = field(
        default=ClockLimits(Rate.from_ppm(500), Duration.from_ns(0), Duration.from_ns(100)), init=False
    )

    def read(self) -> Stamp:
        return self._stamp(self.machine.real_ns, StampSource.USER)

    def stamp_at(self, kernel_ns: int, source: StampSource) -> Stamp | None:
        return None if kernel_ns > self.machine.real_ns else self._stamp(kernel_ns, source)

    def _stamp(self, kernel_ns: int, source: StampSource) -> Stamp:
        return Stamp(self.id, self.epoch, Instant.from_ns(kernel_ns + 37 * S), source)

    def frequency(self) -> Rate:
        return Rate(self.machine.system_ratio)

    def adjust_frequency(self, rate: Rate) -> Rate:
        raise AssertionError("only read here")

    def step(self, by: Duration) -> None:
        raise AssertionError("only read here")

    def report(self, report: ClockReport) -> None:
        raise AssertionError("only read here")

    def serving_map(self) -> ServingMap:
        return SYSTEM_MAP
