"""Pulses into and out of the machine: PPS devices of the kernel, and the channels of PTP hardware clocks."""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from timesync.base.measure import StampSource
from timesync.base.time import NS_PER_S, Duration
from timesync.devices import EdgeName, KernelPulses, PinPulses, Pulse
from timesync.host import ClockError, Trouble
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.phc_hardware import Hardware
from timesync.runtime.stamping import StampClock
from timesync_drivers import abi
from timesync_drivers.phc import ExternalStamp, PhcPin, PinFunction
from timesync_drivers.pps import PpsDevice, PpsEdge

_HALF_S = NS_PER_S // 2
_KEPT = 64
"""Edges of a channel that nobody has asked for yet; more than the kernel's queue is not worth keeping."""
_LONG_GAPS = 3
"""So many gaps of a second in a row, and what is remembered of a pulse's width was a bounce or is of another signal."""
_LEAST_MARGIN_NS = NS_PER_S // 1000
"""How far such a gap may be off at least: clocks run wrong, and jitter."""
_LEAD_NS = 2 * NS_PER_S
"""A periodic output begins so far ahead, so that its start is not past when the driver sees it."""
_MISSING = "load its driver (dtoverlay=pps-gpio,gpiopin=18 on a Raspberry Pi, or ldattach for a serial port's DCD line)"


def pps_refused(path: str, error: OSError) -> ClockError:
    """The error of a PPS device in words."""
    reason = error.strerror or str(error)
    text = f"the PPS device {path} cannot be used: {reason}"
    match error.errno:
        case errno.EACCES:
            rule = 'SUBSYSTEM=="pps", GROUP="timesync", MODE="0660"'
            return ClockError(Trouble.PERMISSION, text, f"let the daemon's user open it, by the udev rule {rule}")
        case errno.EPERM:
            advice = "another edge than now is wanted, and changing that takes CAP_SYS_TIME: give it to the daemon"
            return ClockError(Trouble.PERMISSION, text, advice)
        case errno.ENOENT | errno.ENODEV | errno.ENXIO:
            return ClockError(Trouble.GONE, text, f"{_MISSING}; it is taken up as soon as it is there")
        case _:
            return ClockError(
                Trouble.UNSUPPORTED, text, "check that the path is a PPS device and that it has this edge"
            )


class KernelPulseInput:
    """A PPS device; its edges are stamped by CLOCK_REALTIME and placed on any clock."""

    def __init__(
        self, spec: KernelPulses, clock: StampClock, open_device: Callable[[str], PpsDevice] = PpsDevice
    ) -> None:
        """Open it and have the edge captured; what it remembers of earlier pulses is left out. Raises ClockError."""
        self._clock = clock
        self._edge: EdgeName = spec.edge
        bit = abi.PPS_CAPTUREASSERT if spec.edge == "assert" else abi.PPS_CAPTURECLEAR
        try:
            self._device = open_device(spec.path)
        except OSError as error:
            raise pps_refused(spec.path, error) from error
        try:
            self._device.capture(bit)
            self._seen = self._newest().sequence
        except OSError as error:
            self.close()
            raise pps_refused(spec.path, error) from error

    def pulses(self) -> Sequence[Pulse]:
        """The newest edge if it is a new one; none whose moment the clock cannot tell. Raises ClockError."""
        try:
            edge = self._newest()
            # The kernel goes on telling the last edges of a device that was removed.
            gone = edge.sequence == self._seen and self._device.replaced()
        except OSError as error:
            raise pps_refused(self._device.path, error) from error
        if gone:
            raise pps_refused(self._device.path, OSError(errno.ENODEV, "it has vanished"))
        if edge.sequence == self._seen:
            return ()
        self._seen = edge.sequence
        stamp = self._clock.stamp_at(edge.at_ns, StampSource.KERNEL)
        return () if stamp is None else (Pulse(stamp, edge.sequence),)

    def close(self) -> None:
        """Close the device."""
        self._device.close()

    def _newest(self) -> PpsEdge:
        edges = self._device.fetch(0.0)
        return edges.asserted if self._edge == "assert" else edges.cleared


class PinEvents:
    """The one reader of a hardware clock's events: hands each to the channel that it is of."""

    def __init__(self, clock: PhcClock) -> None:
        """Nothing is read before a channel is taken."""
        self.clock = clock
        self._waiting: dict[int, deque[ExternalStamp]] = {}

    def open(self, channel: int) -> None:
        """Begin to keep the edges of a channel. Raises ClockError when somebody has it already."""
        if channel in self._waiting:
            raise ClockError(
                Trouble.UNSUPPORTED,
                f"channel {channel} of the hardware clock {self.clock.id} is used twice",
                "give each source a channel of its own",
            )
        self._waiting[channel] = deque(maxlen=_KEPT)

    def shut(self, channel: int) -> None:
        """Keep them no longer."""
        self._waiting.pop(channel, None)

    def take(self, channel: int) -> list[ExternalStamp]:
        """The edges of a channel since the last call, oldest first. Raises ClockError, GONE when the clock is away."""
        with self.clock.using("tell the edges it has seen") as device:
            for event in device.events():
                if event.channel in self._waiting:
                    self._waiting[event.channel].append(event)
        waiting = self._waiting[channel]
        taken = list(waiting)
        waiting.clear()
        return taken


class PinPulseInput:
    """An external timestamp channel of a hardware clock; the sequence counts the edges that were seen."""

    def __init__(self, spec: PinPulses, events: PinEvents) -> None:
        """Route the pin and have the edge stamped. Raises ClockError."""
        self._events = events
        self._channel = spec.channel
        self._edge: EdgeName = spec.edge
        self._before: PhcPin | None = None
        self._sequence = 0
        clock = events.clock
        events.open(spec.channel)
        try:
            with clock.using(f"stamp edges on channel {spec.channel}") as device:
                self._device = device
                self._before = _route(clock, device, spec.pin, PinFunction.EXTTS, spec.channel)
                rising = spec.edge == "assert"
                strict = device.enable_extts(spec.channel, rising=rising, falling=not rising)
            events.take(spec.channel)  # left by an earlier user
        except ClockError:
            self.close()
            raise
        self._edges = None if strict else EdgeSorter(spec.edge)
        self._epoch = clock.epoch

    def pulses(self) -> Sequence[Pulse]:
        """The edges since the last call. Raises ClockError; GONE also once the device was away: open another one."""
        clock = self._events.clock
        if clock.hardware is not self._device:
            raise ClockError(
                Trouble.GONE,
                f"the hardware clock {clock.id} was away, and has forgotten this channel",
                "it is opened again by itself",
            )
        found = []
        events = self._events.take(self._channel)
        if clock.epoch != self._epoch:
            self._epoch = clock.epoch
            if self._edges is not None:
                self._edges = EdgeSorter(self._edge)
        for event in events:
            stamp = clock.stamp_raw(event.at_ns)
            # A gap from an edge before a step to one after it says nothing.
            if self._edges is not None and (stamp is None or not self._edges.wanted(event.at_ns)):
                continue
            self._sequence = (self._sequence + 1) % (1 << 32)
            if stamp is not None:
                found.append(Pulse(stamp, self._sequence))
        return found

    def close(self) -> None:
        """Have no more edges stamped, and give the pin back its function."""
        self._events.shut(self._channel)
        clock = self._events.clock
        with suppress(ClockError), clock.using(f"leave channel {self._channel}") as device:
            if device is self._device:
                device.disable_extts(self._channel)
                if self._before is not None:
                    device.set_pin(self._before)


class EdgeSorter:
    """Picks one kind of edge where the hardware may stamp both and does not say which is which.

    A pulse a second is high for less than half a second, so the edge after the longer gap begins it. Edges are left
    out until two gaps are known, and after one that was missed. When a second passes between all edges for a while,
    only one kind is stamped, and a short gap before that was a bounce.

    Where the edge that begins a pulse was missed, the gap to the one that ends it is longer by the width. Of a short
    pulse that is less than what a clock gains or loses in a second, so the gap between pulses is measured: a long gap
    with a short one on both sides is that, at whatever rate the clock runs. Until there was one the nominal gap counts.
    """

    def __init__(self, edge: EdgeName) -> None:
        """``assert`` wants the edges that begin a pulse, ``clear`` those that end one."""
        self._leading = edge == "assert"
        self._last_ns: int | None = None
        self._gaps = 0
        self._long = 0
        self._width_ns: int | None = None
        self._between_ns: int | None = None
        self._short = False  # the gap before was
        self._candidate_ns: int | None = None  # the long gap before, if a short one came before that

    def wanted(self, at_ns: int) -> bool:
        """Whether this edge is of the kind; the edges must come in order."""
        gap = 0 if self._last_ns is None else at_ns - self._last_ns
        self._last_ns = at_ns
        if gap <= 0:
            self._short, self._candidate_ns = False, None
            return False
        self._gaps += 1
        self._measure(gap)
        self._count(gap)
        if self._gaps < 2:
            return False
        if self._width_ns is None:  # the hardware stamps but one kind: the one that was asked for
            return True
        if self._leading:
            between = NS_PER_S - self._width_ns if self._between_ns is None else self._between_ns
            return _HALF_S <= gap < between + (self._width_ns + 1) // 2
        return gap < _HALF_S

    def _measure(self, gap: int) -> None:
        """Learn the width from a short gap, and from what came before it how long it is between two pulses."""
        if gap >= _HALF_S:
            # Longer than one and a half: whole pulses were missed.
            self._candidate_ns = gap if self._short and gap < NS_PER_S + _HALF_S else None
            self._short = False
            return
        self._width_ns = gap
        if self._candidate_ns is not None:
            self._between_ns = self._candidate_ns
        self._short, self._candidate_ns = True, None

    def _count(self, gap: int) -> None:
        """Forget the width after some gaps of a second in a row, since that is no gap of a card that stamps both."""
        if self._width_ns is None:
            return
        margin = max(self._width_ns // 2, _LEAST_MARGIN_NS)
        self._long = self._long + 1 if abs(gap - NS_PER_S) <= margin else 0
        if self._long >= _LONG_GAPS:
            self._long = 0
            self._width_ns = self._between_ns = None


class PinPulseOutput:
    """A pulse at each full second of a hardware clock; begun anew whenever the clock is stepped or comes back."""

    def __init__(self, clock: PhcClock, channel: int, pin: int | None, width: Duration) -> None:
        """Route the pin and begin. Raises ClockError, and then leaves the pin as it was."""
        self._clock = clock
        self._channel = channel
        self._pin = pin
        self._width = width
        self._before: PhcPin | None = None
        self._trouble: ClockError | None = None
        self._width_taken = True
        try:
            self._begin()
        except ClockError:
            self._give_back()
            raise
        self._forget = clock.on_moved(self._again)

    def trouble(self) -> str | None:
        """See ``timesync.devices.PulseOutput``."""
        here = f"on output channel {self._channel} of the hardware clock {self._clock.id}"
        if self._trouble is not None:
            return f"no right pulse comes out {here}: {self._trouble}; {self._trouble.advice}"
        if not self._width_taken:
            return f"the pulses {here} are as wide as its driver makes them: it takes no width, so not {self._width}"
        return None

    def tend(self) -> bool:
        """See ``timesync.devices.PulseOutput``."""
        # A clock that is away begins it anew by itself when it is back.
        if self._trouble is not None and self._clock.present:
            self._again()
        return self._trouble is None

    def close(self) -> None:
        """Stop the output, and give the pin back its function."""
        self._forget()
        with suppress(ClockError), self._clock.using(f"stop the output on channel {self._channel}") as device:
            device.stop_perout(self._channel)
        self._give_back()

    def _begin(self) -> None:
        with self._clock.using(f"give out pulses on channel {self._channel}") as device:
            before = _route(self._clock, device, self._pin, PinFunction.PEROUT, self._channel)
            self._before = before or self._before
            start = (device.clock.read_ns() + _LEAD_NS) // NS_PER_S * NS_PER_S
            self._width_taken = device.start_perout(
                self._channel, start_ns=start, period_ns=NS_PER_S, width_ns=self._width.ns()
            )

    def _again(self) -> None:
        # A driver counts from the start that it was given: after a step its edges would lie beside the second.
        try:
            self._begin()
        except ClockError as error:
            self._trouble = error
        else:
            self._trouble = None

    def _give_back(self) -> None:
        before = self._before
        if before is not None:
            with suppress(ClockError), self._clock.using(f"give back pin {before.index}") as device:
                device.set_pin(before)


def _route(clock: PhcClock, device: Hardware, pin: int | None, function: PinFunction, channel: int) -> PhcPin | None:
    """Route a pin where one is named; how it was set before. Raises ClockError for what the card does not have."""
    able = device.capabilities
    channels = able.n_ext_ts if function is PinFunction.EXTTS else able.n_per_out
    what = "external timestamp" if function is PinFunction.EXTTS else "periodic output"
    if channel >= channels:
        text = f"the hardware clock {clock.id} has {channels} {what} channels, so none with index {channel}"
        raise ClockError(Trouble.UNSUPPORTED, text, "they are counted from 0; choose another, or another card")
    if pin is None:
        return None
    if pin >= able.n_pins:
        text = f"the hardware clock {clock.id} has {able.n_pins} programmable pins, so none with index {pin}"
        advice = "they are counted from 0; leave the pin out on a card whose pins are fixed"
        raise ClockError(Trouble.UNSUPPORTED, text, advice)
    return device.route(pin, function, channel)
