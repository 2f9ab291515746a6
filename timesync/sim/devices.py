"""Simulated time hardware: ``timesync.devices.Devices`` over the simulated world."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from functools import partial

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import ZERO, Duration, Instant, Tai, Utc
from timesync.base.utc import LeapTable
from timesync.devices import (
    DatagramInbox,
    FeedHandler,
    FeedSpec,
    KernelPulses,
    Pair,
    PinPulses,
    PulseSpec,
    SerialLine,
    TcpStream,
)
from timesync.host import ClockError, Trouble
from timesync.sim.clock import SimClock
from timesync.sim.feeds import ReceiverPort, SimFeed, Tempo
from timesync.sim.hardware import (
    PHC_FAULTS,
    PULSE_FAULTS,
    Fault,
    FromOutput,
    FromReceiver,
    Hardware,
    PhcHardware,
    PulseHardware,
    SawtoothShape,
    TimedFault,
)
from timesync.sim.oscillator import Oscillator
from timesync.sim.pairs import PairReader
from timesync.sim.pulses import OutputLine, PulseLine, ReceiverLine, SimPin, SimPps, gone
from timesync.sim.receiver import SimReceiver
from timesync.sim.world import World

SEGMENT_SIZE = 96
"""``struct shmTime`` of the NTP reference implementation's driver 28, where ``time_t`` has 64 bits."""
_AHEAD = Duration.from_s(2)
NO_HARDWARE = Hardware()


def make_phc(world: World, name: ClockId, hardware: PhcHardware, leaps: LeapTable, system: SimClock) -> SimClock:
    """The clock of a simulated PTP hardware clock; ``system`` is that of its machine."""
    oscillator = Oscillator(world, f"phc/{name}", hardware.quartz())
    return SimClock(world, oscillator, leaps, hardware.clock(), name, system, kind="phc")


class SimDevices:
    """All that ``Hardware`` describes, working.

    Attributes:
        segments: NTP shared memory, by unit.
        writing: Units whose writer is at work just now.
    """

    def __init__(
        self,
        world: World,
        name: str,
        clocks: Mapping[ClockId, SimClock],
        system: SimClock,
        tempo: Tempo,
        hardware: Hardware = NO_HARDWARE,
    ) -> None:
        """Plug it into the machine of that name, whose clocks have those of ``hardware.phcs`` among them."""
        missing = [phc for phc in hardware.phcs if phc not in clocks]
        if missing:
            raise ValueError(f"there is no clock {missing[0]} for this hardware clock")
        self.segments: dict[int, bytes] = {}
        self.writing: set[int] = set()
        self._world = world
        self._name = name
        self._clocks = clocks
        self._system = system
        self._tempo = tempo
        self._hardware = hardware
        self._pairs = PairReader(world, name, clocks, hardware.phcs)
        self._sockets: dict[str, Callable[[bytes], None]] = {}
        self._outputs: set[tuple[ClockId, int]] = set()
        self._noise = world.stream(f"thermometer/{name}")
        self._ports = {device: self._port(device) for device in hardware.receivers}
        self._kernel_lines = {path: self._line(path, pulses) for path, pulses in hardware.pulses.items()}
        self._pins = {
            (phc, pin.channel): self._line(f"{phc}/{pin.channel}", pin.pulses)
            for phc, parts in hardware.phcs.items()
            for pin in parts.inputs
        }
        self._schedule()

    def switch(self, name: str, fault: Fault, *, on: bool) -> None:
        """Begin or end a fault now.

        Args:
            name: A receiver, a PPS device, a PHC, or an input of one as ``phc/channel``.
            fault: Which.
            on: Whether it begins.

        Raises KeyError for a name that is none, and ValueError for a fault that this hardware does not have.
        """
        lines = {line.name: line for line in self._lines()}
        if name in self._ports:
            _check(fault, self._hardware.receivers[name].known_faults())
            self._ports[name].switch(fault, on=on)
            if fault is Fault.UNPLUGGED:
                # Pulses over the same cable go with it; a card's pin just sees no more of them.
                for line in self._kernel_lines.values():
                    if line.hardware.origin == FromReceiver(name) and not line.hardware.on_gpio:
                        line.switch(fault, on=on)
        elif name in lines:
            _check(fault, PULSE_FAULTS)
            lines[name].switch(fault, on=on)
        elif ClockId(name) in self._hardware.phcs:
            _check(fault, PHC_FAULTS)
            self._switch_phc(ClockId(name), fault, on=on)
        else:
            raise KeyError(name)

    def open_pulses(self, spec: PulseSpec, clock: ClockId) -> SimPps | SimPin:
        """See ``Devices``."""
        match spec:
            case KernelPulses(path, edge):
                line = self._kernel_lines.get(path)
                if line is None or not line.present():
                    raise gone(path)
                return SimPps(self._world, line, self._clocks[clock], edge)
            case PinPulses(phc, channel, pin, edge):
                self._check_pin(phc, pin)
                line = self._pins.get((phc, channel))
                if line is None:
                    raise _unsupported(f"{phc} has no external timestamp channel {channel}")
                return SimPin(self._world, line, self._clocks[phc], edge)

    def open_output(self, phc: ClockId, channel: int, pin: int | None, width: Duration) -> _Output:
        """See ``Devices``; the width changes nothing, since what is wired to it has one of its own."""
        self._check_pin(phc, pin)
        if not 0 <= channel < self._hardware.phcs[phc].n_outputs:
            raise _unsupported(f"{phc} has no output {channel}")
        if width <= ZERO:
            raise _unsupported(f"a pulse of {width}")
        self._outputs.add((phc, channel))
        for line in self._lines():
            if line.hardware.origin == FromOutput(phc, channel):
                line.plan()
        return _Output(partial(self._outputs.discard, (phc, channel)))

    def read_pair(self, local: ClockId, remote: ClockId) -> Pair:
        """See ``Devices``."""
        return self._pairs.read(local, remote)

    def open_feed(self, spec: FeedSpec, clock: ClockId, handler: FeedHandler) -> SimFeed:
        """See ``Devices``; to be opened on a running loop."""
        feed = SimFeed(self._world, self._clocks[clock], handler, self._tempo)
        match spec:
            case SerialLine(path, baud):
                port = self._ports.get(path)
                if port is None or not port.accepts():
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
                port.open(feed, baud)
            case TcpStream(host, number):
                port = self._ports.get(f"[{host}]:{number}" if ":" in host else f"{host}:{number}")
                if port is None or not port.accepts():
                    feed.lose(ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)))
                else:
                    port.open(feed, None)
            case DatagramInbox(path):
                self.listen(path, feed.take)
                feed.on_close = partial(self._unlisten, path, feed.take)
                feed.opened()
        return feed

    def listen(self, path: str, take: Callable[[bytes], None]) -> None:
        """Make the Unix socket ``path``, in place of what is there, whose datagrams go to ``take``."""
        self._sockets[path] = take

    def open_segment(self, unit: int, *, create: bool) -> _Segment:
        """See ``Devices``."""
        if unit not in self.segments:
            if not create:
                raise gone(f"shared memory unit {unit}")
            self.segments[unit] = bytes(SEGMENT_SIZE)
        return _Segment(self, unit)

    def open_outbox(self, path: str) -> _Outbox:
        """See ``Devices``."""
        return _Outbox(self._sockets, path)

    def stamp(self, clock: ClockId, kernel_ns: int) -> Stamp | None:
        """See ``Devices``."""
        system = self._system
        utc: Instant[Utc] = Instant.from_ns(kernel_ns)
        if system.leaps.ambiguous(utc):
            return None
        tai = system.leaps.tai(utc)
        found = system.locate(tai)
        if found is None or found[0] > self._world.units + _AHEAD.scaled_ns:
            return None
        if clock == system.id:
            return Stamp(clock, found[1], tai, StampSource.KERNEL)
        return self._clocks[clock].stamp_at(found[0], StampSource.KERNEL)

    def kernel_ns(self, clock: ClockId, stamp: Stamp) -> int | None:
        """See ``Devices``."""
        system = self._system
        at = self._clocks[clock].true_at(stamp.at, stamp.epoch)
        if at is None or at > self._world.units + _AHEAD.scaled_ns:
            return None
        seen = stamp if clock == system.id else system.stamp_at(at, StampSource.KERNEL)
        return None if seen is None else system.leaps.utc(seen.at).ns()

    def temperature(self, path: str) -> float:
        """See ``Devices``."""
        thermometer = self._hardware.thermometers.get(path)
        if thermometer is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        noise = self._noise.gauss(0.0, 1.0) if thermometer.noise_c else 0.0
        return thermometer.degrees(self._world.elapsed.s(), noise)

    def _port(self, device: str) -> ReceiverPort:
        hardware = self._hardware.receivers[device]
        sawtooth = next(
            (one.sawtooth for one in self._pulse_hardware() if one.origin == FromReceiver(device)), SawtoothShape()
        )
        rng = self._world.stream(f"receiver/{self._name}/{device}")
        receiver = SimReceiver(hardware, self._system.leaps, rng, self._world.units, sawtooth)
        return ReceiverPort(self._world, receiver, self._system, self._tempo)

    def _pulse_hardware(self) -> list[PulseHardware]:
        """All lines; those of the kernel first."""
        pins = [pin.pulses for phc in self._hardware.phcs.values() for pin in phc.inputs]
        return [*self._hardware.pulses.values(), *pins]

    def _line(self, name: str, pulses: PulseHardware) -> PulseLine:
        world, stream = self._world, f"{self._name}/{name}"
        match pulses.origin:
            case None:
                return PulseLine(world, name, pulses, stream)
            case FromReceiver(device):
                port = self._ports[device]
                line = ReceiverLine(world, name, pulses, stream, port.receiver)
                port.wire(line)
                return line
            case FromOutput(phc, channel):
                is_on = partial(self._gives_out, phc, channel)
                return OutputLine(world, name, pulses, stream, self._clocks[phc], is_on)

    def _lines(self) -> list[PulseLine]:
        return [*self._kernel_lines.values(), *self._pins.values()]

    def _gives_out(self, phc: ClockId, channel: int) -> bool:
        return (phc, channel) in self._outputs

    def _unlisten(self, path: str, take: Callable[[bytes], None]) -> None:
        if self._sockets.get(path) == take:
            del self._sockets[path]

    def _check_pin(self, phc: ClockId, pin: int | None) -> None:
        hardware = self._hardware.phcs.get(phc)
        if hardware is None:
            raise gone(phc)
        lost = self._clocks[phc].lost
        if lost is not None:
            raise lost
        if pin is not None and not 0 <= pin < hardware.n_pins:
            raise _unsupported(f"{phc} has no programmable pin {pin}")

    def _switch_phc(self, phc: ClockId, fault: Fault, *, on: bool) -> None:
        clock = self._clocks[phc]
        if fault is Fault.UNPLUGGED and on != (clock.failure is not None):
            clock.failure = gone(phc) if on else None
            if on:
                self._outputs = {output for output in self._outputs if output[0] != phc}
            else:
                clock.restart()
        for (owner, _), line in self._pins.items():
            if owner == phc:
                line.switch(fault, on=on)

    def _schedule(self) -> None:
        """Let the faults come and go by themselves."""
        hardware = self._hardware
        parts: list[tuple[str, tuple[TimedFault, ...]]] = [
            *((name, receiver.faults) for name, receiver in hardware.receivers.items()),
            *((name, pulses.faults) for name, pulses in hardware.pulses.items()),
            *((name, phc.faults) for name, phc in hardware.phcs.items()),
            *(
                (f"{name}/{pin.channel}", pin.pulses.faults)
                for name, phc in hardware.phcs.items()
                for pin in phc.inputs
            ),
        ]
        for name, faults in parts:
            for timed in faults:
                begin = self._world.start + timed.at
                self._at(begin, partial(self.switch, name, timed.fault, on=True))
                if timed.lasting is not None:
                    self._at(begin + timed.lasting, partial(self.switch, name, timed.fault, on=False))

    def _at(self, when: Instant[Tai], call: Callable[[], None]) -> None:
        self._world.at_units(max(when.scaled_ns, self._world.units), call)


class _Output:
    """A ``timesync.devices.PulseOutput``."""

    def __init__(self, stop: Callable[[], None]) -> None:
        self._stop = stop

    def trouble(self) -> None:
        """Nothing: a simulated card always obeys."""

    def tend(self) -> bool:
        """Nothing to try again."""
        return True

    def close(self) -> None:
        """Stop the output."""
        self._stop()


class _Segment:
    """A ``timesync.devices.Segment``."""

    def __init__(self, devices: SimDevices, unit: int) -> None:
        self._devices = devices
        self._unit = unit

    def read(self) -> bytes | None:
        """A copy; None while its writer is at work. Raises ClockError when it was removed."""
        if self._unit in self._devices.writing:
            return None
        return self._data()

    def write(self, data: bytes) -> None:
        """Replace it. Raises ClockError when it was removed, ValueError for another size."""
        if len(data) != len(self._data()):
            raise ValueError(f"a segment of {len(self._data())} bytes is given {len(data)}")
        self._devices.segments[self._unit] = bytes(data)

    def close(self) -> None:
        """Detach; the segment stays."""

    def _data(self) -> bytes:
        data = self._devices.segments.get(self._unit)
        if data is None:
            raise gone(f"shared memory unit {self._unit}")
        return data


class _Outbox:
    """A ``timesync.devices.Outbox``."""

    def __init__(self, sockets: Mapping[str, Callable[[bytes], None]], path: str) -> None:
        self._sockets = sockets
        self._path = path

    def send(self, data: bytes) -> None:
        """Send. Raises OSError when nobody has made the socket."""
        take = self._sockets.get(self._path)
        if take is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self._path)
        take(bytes(data))

    def close(self) -> None:
        """Let go."""


def _check(fault: Fault, known: frozenset[Fault]) -> None:
    if fault not in known:
        raise ValueError(f"this hardware has no fault {fault.value!r}")


def _unsupported(message: str) -> ClockError:
    return ClockError(Trouble.UNSUPPORTED, message, "Choose what the card has; `testptp -c` lists it.")
