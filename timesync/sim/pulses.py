"""Simulated pulses: lines on which edges happen at their true moments, and the devices that stamp them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

from timesync.base.measure import StampSource
from timesync.base.time import SCALE, UNITS_PER_S, Duration, Instant
from timesync.devices import EdgeName, Pulse
from timesync.host import ClockError, Trouble
from timesync.sim.clock import SimClock
from timesync.sim.hardware import Fault, PulseHardware
from timesync.sim.receiver import SimReceiver
from timesync.sim.world import Event, World

PIN_QUEUE = 128
"""Events that the kernel keeps of external timestamps before it drops the oldest (PTP_MAX_TIMESTAMPS)."""
_HALF = UNITS_PER_S // 2
_BOUNCE_S = (10e-6, 5e-3)
_SEQUENCES = 1 << 32
_SLACK = SCALE


@dataclass(frozen=True, slots=True)
class Edge:
    """A rising edge.

    Attributes:
        at: True time in units.
        error: What is wrong with its stamp, positive is late.
    """

    at: int
    error: Duration


class Listener(Protocol):
    """Who sees the edges of a line."""

    def on_edge(self, edge: Edge) -> None:
        """There was one, a moment ago at most."""
        ...

    def on_gone(self) -> None:
        """The device was unplugged."""
        ...


class PulseLine:
    """A line with a pulse a second, which runs while anybody listens.

    Attributes:
        name: What the device is called.
        hardware: What it is like.
        faults: What is wrong with it now.
        sequence: Edges so far, as the kernel counts them.
    """

    def __init__(self, world: World, name: str, hardware: PulseHardware, stream: str) -> None:
        """``stream`` names its random numbers, and must be unique in the world."""
        self.name = name
        self.hardware = hardware
        self.faults: frozenset[Fault] = frozenset()
        self.sequence = 0
        self._world = world
        self._rng = world.stream(f"pulses/{stream}")
        self._listeners: list[Listener] = []
        self._stopped = world.units
        self._due = 0
        self._next: Event | None = None

    def attach(self, listener: Listener) -> None:
        """Show it all edges from now on."""
        self._listeners.append(listener)
        if len(self._listeners) == 1:
            # What nobody saw was counted all the same.
            self._count((self._world.units - self._stopped) // UNITS_PER_S)
            self._due = 0
            self.plan()

    def detach(self, listener: Listener) -> None:
        """Show it no more."""
        if listener in self._listeners:
            self._listeners.remove(listener)
            self._stopped = self._world.units
        if not self._listeners and self._next is not None:
            self._next.cancel()

    def switch(self, fault: Fault, *, on: bool) -> None:
        """Begin or end a fault."""
        if on == (fault in self.faults):
            return
        self.faults ^= {fault}
        if fault is Fault.UNPLUGGED and on:
            for listener in tuple(self._listeners):
                listener.on_gone()

    def present(self) -> bool:
        """Whether the device is there."""
        return Fault.UNPLUGGED not in self.faults

    def plan(self) -> None:
        """Arrange for the next edge, if anybody listens."""
        if self._next is not None:
            self._next.cancel()
        when = self.next_edge(self._world.units) if self._listeners else None
        self._next = None if when is None else self._world.at_units(when, self._happen)

    def next_edge(self, after: int) -> int | None:
        """When the next edge is due after a true time, in units: here, from true time itself; None: not known now."""
        second = after // UNITS_PER_S + 1
        # An early edge of the next second may have been by now, and a late one of this second may still come.
        for candidate in (second - 1, second, second + 1):
            at = candidate * UNITS_PER_S + self._error(candidate)
            # A receiver that finds its fix again moves its pulses; no second has two for that.
            if at > after and candidate > self._due:
                self._due = candidate
                return at
        raise AssertionError("an edge lies within half a second of its second")

    def edge_now(self) -> int | None:
        """When the edge that was planned for now really was; None when there is none."""
        return self._world.units if not self.faults else None

    def _error(self, second: int) -> int:
        """How much too late the pulse of that second is, in units, within half a second."""
        return self.hardware.sawtooth.error_units(second)

    def _happen(self) -> None:
        at, hardware, rng = self.edge_now(), self.hardware, self._rng
        self._next = None
        if at is not None:
            if not hardware.missing or rng.random() >= hardware.missing:
                self._show(at)
            if hardware.doubled and rng.random() < hardware.doubled:
                self._world.after(Duration.from_s(rng.uniform(*_BOUNCE_S)), self._spurious)
            if hardware.wild and rng.random() < hardware.wild:
                self._world.after(Duration.from_s(rng.random()), self._spurious)
        self.plan()

    def _spurious(self) -> None:
        if not self.faults:
            self._show(self._world.units)

    def _show(self, at: int) -> None:
        self._count(1)
        edge = Edge(at, self.hardware.bias + Duration.from_s(self.hardware.noise.draw(self._rng)))
        for listener in tuple(self._listeners):
            listener.on_edge(edge)

    def _count(self, edges: int) -> None:
        self.sequence = (self.sequence + edges) % _SEQUENCES


class ReceiverLine(PulseLine):
    """The pulses of a receiver."""

    def __init__(self, world: World, name: str, hardware: PulseHardware, stream: str, receiver: SimReceiver) -> None:
        super().__init__(world, name, hardware, stream)
        self._receiver = receiver

    def edge_now(self) -> int | None:
        """See ``PulseLine``."""
        at = super().edge_now()
        return at if at is not None and self._receiver.pulses((at + _HALF) // UNITS_PER_S) else None

    def _error(self, second: int) -> int:
        # A drift of more than half a second makes it the pulse of another second.
        return (self._receiver.pulse_error(second) + _HALF) % UNITS_PER_S - _HALF


class OutputLine(PulseLine):
    """The pulses that a PTP hardware clock gives out at its full seconds, while its output is on."""

    def __init__(
        self, world: World, name: str, hardware: PulseHardware, stream: str, clock: SimClock, is_on: Callable[[], bool]
    ) -> None:
        super().__init__(world, name, hardware, stream)
        self._clock = clock
        self._is_on = is_on
        self._second = 0

    def next_edge(self, after: int) -> int | None:
        """See ``PulseLine``: when the clock will show its next full second, at its present frequency."""
        if not self._is_on():
            return None
        # Found times are right to a unit or two, so this second's edge may seem to be still to come.
        self._second = (self._clock.exact().scaled_ns + _SLACK) // UNITS_PER_S + 1
        moment = self._moment()
        assert moment is not None
        return max(moment, after + 1)

    def edge_now(self) -> int | None:
        """See ``PulseLine``: where a change of frequency moved the edge to, which the clock's history tells."""
        moment = self._moment()
        if super().edge_now() is None or not self._is_on() or moment is None:
            return None
        # A clock that was set back shows the second later once more, and this edge is none of it.
        return moment if 0 <= self._world.units - moment < _HALF else None

    def _happen(self) -> None:
        moment = self._moment()
        if moment is not None and 0 < moment - self._world.units < UNITS_PER_S:
            # The clock was slowed down meanwhile.
            self._next = self._world.at_units(moment, self._happen)
        else:
            super()._happen()

    def _moment(self) -> int | None:
        """When the clock shows the second; None when it was stepped over it."""
        return self._clock.true_at(Instant(self._second * UNITS_PER_S))


class SimPps:
    """A ``timesync.devices.PulseInput`` of the kernel: it keeps the newest edge alone."""

    def __init__(self, world: World, line: PulseLine, clock: SimClock, edge: EdgeName) -> None:
        self._line = line
        self._clock = clock
        self._newest: Pulse | None = None
        self._gone = False
        self._listener = _Delayed(world, self, line.hardware.width if edge == "clear" else None)
        line.attach(self._listener)

    def pulses(self) -> Sequence[Pulse]:
        """The newest edge, if it came since the last call. Raises ClockError."""
        if self._gone:
            raise gone(self._line.name)
        newest, self._newest = self._newest, None
        return () if newest is None else (newest,)

    def close(self) -> None:
        """Let go of the device."""
        self._line.detach(self._listener)

    def on_edge(self, edge: Edge) -> None:
        """See ``Listener``."""
        stamp = self._clock.stamp_at(edge.at, StampSource.KERNEL, edge.error)
        if stamp is not None:
            self._newest = Pulse(stamp, self._line.sequence)

    def on_gone(self) -> None:
        """See ``Listener``; an open device does not come back, it has to be opened again."""
        self._gone = True


class SimPin:
    """A ``timesync.devices.PulseInput`` of a PTP hardware clock: edges wait in a queue; the count is ours."""

    def __init__(self, world: World, line: PulseLine, clock: SimClock, edge: EdgeName) -> None:
        self._line = line
        self._clock = clock
        self._queue: deque[Pulse] = deque(maxlen=PIN_QUEUE)
        self._count = 0
        self._gone = False
        self._listener = _Delayed(world, self, line.hardware.width if edge == "clear" else None)
        line.attach(self._listener)

    def pulses(self) -> Sequence[Pulse]:
        """The edges since the last call, oldest first. Raises ClockError."""
        if self._gone:
            raise gone(self._line.name)
        queue, self._queue = self._queue, deque(maxlen=PIN_QUEUE)
        return tuple(queue)

    def close(self) -> None:
        """Stop the external timestamps."""
        self._line.detach(self._listener)

    def on_edge(self, edge: Edge) -> None:
        """See ``Listener``."""
        stamp = self._clock.stamp_at(edge.at, StampSource.HARDWARE, edge.error)
        if stamp is not None:
            self._count = (self._count + 1) % _SEQUENCES
            self._queue.append(Pulse(stamp, self._count))

    def on_gone(self) -> None:
        """See ``Listener``."""
        self._gone = True


class _Delayed:
    """Hands edges on, the falling ones as late as a pulse is long."""

    def __init__(self, world: World, target: Listener, by: Duration | None) -> None:
        self._world = world
        self._target = target
        self._by = by

    def on_edge(self, edge: Edge) -> None:
        if self._by is None:
            self._target.on_edge(edge)
        else:
            falling = replace(edge, at=edge.at + self._by.scaled_ns)
            # It may lie a little in the past, where the line told of its edge late.
            self._world.at_units(max(falling.at, self._world.units), partial(self._target.on_edge, falling))

    def on_gone(self) -> None:
        self._target.on_gone()


def gone(name: str) -> ClockError:
    """The device of that name is not there."""
    return ClockError(Trouble.GONE, f"{name} is gone", "plug it in: it is taken up again as soon as it is there")
