"""A simulated satellite receiver in real time: what it says leaves when it would, on a serial line or by gpsd."""

from __future__ import annotations

import asyncio
from functools import partial
from random import Random
from typing import Protocol

from timesync.base.time import NS_PER_S, UNITS_PER_S, Duration, Instant, Tai
from timesync.base.utc import LeapTable
from timesync.runtime.virtual_pulses import Edges, real_ns
from timesync.sim.feeds import voice_of
from timesync.sim.hardware import Fault, ReceiverHardware
from timesync.sim.receiver import SimReceiver, Told, Voice, chunks

_ANSWER_S = 0.02
_PATIENCE_S = 0.5
"""So long a burst waits for the line. A receiver whose line is slower than what it has to say leaves bursts out."""
_GPSD_READS_BYTES = 400
"""What a receiver behind gpsd sends before gpsd has a fix to report."""

_PULSE_TOLD_S = 0.001
"""From an edge to what gpsd says of it."""


class Outlet(Protocol):
    """Where bytes leave."""

    def send(self, data: bytes) -> None:
        """Send without waiting."""
        ...

    def baud(self) -> int | None:
        """At what speed the other side listens; None where that means nothing."""
        ...


class LivePulses:
    """The pulse output of a receiver, on a wire of its own; ``timesync.runtime.virtual_pulses.PulseLine``."""

    def __init__(self, receiver: SimReceiver) -> None:
        self._receiver = receiver
        self._faults: set[Fault] = set()

    def switch(self, fault: Fault, *, on: bool) -> None:
        """Begin or end a fault of the wire, not of the receiver."""
        (self._faults.add if on else self._faults.discard)(fault)

    def present(self) -> bool:
        """Whether the device that stamps it is there; the receiver may be gone all the same."""
        return Fault.UNPLUGGED not in self._faults

    def lateness(self, second: int) -> Duration | None:
        """See ``PulseLine``."""
        if self._faults or not self._receiver.pulses(second):
            return None
        return Duration(self._receiver.pulse_error(second))


class LiveReceiver:
    """Plays a receiver on the running loop, second by second.

    Attributes:
        receiver: What it says and when.
    """

    def __init__(self, hardware: ReceiverHardware, table: LeapTable, rng: Random) -> None:
        """Switch it on."""
        self._table = table
        self._loop = asyncio.get_running_loop()
        self._ends: list[Connection] = []
        self._busy_until = 0.0
        self.receiver = SimReceiver(hardware, table, rng, self._now())
        self._edges: Edges | None = None
        self._next: asyncio.TimerHandle | None = None
        self._plan(0)

    def tell_pulses(self, edges: Edges) -> None:
        """Let those who listen hear of these edges of its own: gpsd sees the pulses, too."""
        self._edges = edges

    def connect(self, outlet: Outlet) -> Connection:
        """Speak to one more."""
        end = Connection(self, outlet, voice_of(self.receiver.hardware))
        self._ends.append(end)
        return end

    def leave(self, end: Connection) -> None:
        """Speak to this one no more."""
        if end in self._ends:
            self._ends.remove(end)

    def connections(self) -> list[Connection]:
        """To whom it speaks."""
        return list(self._ends)

    def switch(self, fault: Fault, *, on: bool) -> None:
        """Begin or end a fault."""
        self.receiver.switch(fault, self._now(), on=on)

    def told(self) -> Told:
        """What it has to say about the present second."""
        return self.receiver.told(self._now() // UNITS_PER_S)

    def answer(self, end: Connection, data: bytes) -> None:
        """Say what it says to what was sent to it, some milliseconds later."""
        self._loop.call_later(_ANSWER_S, self._transmit, end, data)

    def close(self) -> None:
        """Switch it off."""
        self._ends.clear()
        if self._next is not None:
            self._next.cancel()

    def _now(self) -> int:
        """True TAI: that of the system clock, in units."""
        now: Instant[Tai] = self._table.tai(Instant.from_ns(real_ns()))
        return now.scaled_ns

    def _plan(self, after: int) -> None:
        now = self._now()
        second = now // UNITS_PER_S + 1
        if second == after:
            # A timer is some microseconds early where the system clock runs slow.
            second += 1
        wait = (second * UNITS_PER_S - now) / UNITS_PER_S
        self._next = self._loop.call_later(wait, self._on_second, second)

    def _on_second(self, second: int) -> None:
        self._plan(second)
        receiver = self.receiver
        latency = receiver.latency()
        if not receiver.talks():
            return
        begin = second * UNITS_PER_S + receiver.drift(self._now()) + latency.scaled_ns
        wait = max((begin - self._now()) / UNITS_PER_S, 0.0)
        # A line carries one byte at a time: the next burst waits for the end of the last one.
        at, told = self._loop.time() + wait, receiver.told(second)
        if self._busy_until - at <= _PATIENCE_S:
            self._loop.call_at(max(at, self._busy_until), self._on_burst, told)
        if self._edges is not None:
            error_s = Duration(receiver.pulse_error(second)).s()
            self._loop.call_later(max(error_s, 0.0) + _PULSE_TOLD_S, self._on_pulse, receiver.told(second))

    def _on_pulse(self, told: Told) -> None:
        stamps = [] if self._edges is None else self._edges.take()
        for end in self.connections() if stamps and self.receiver.talks() else ():
            end.say(end.voice.pulse(told, stamps[-1]))

    def _on_burst(self, told: Told) -> None:
        if not self.receiver.talks():
            return
        kernel_ns = real_ns()
        for end in self.connections():
            data = end.voice.burst(told, kernel_ns)
            if end.serial:
                self._transmit(end, data)
            else:
                wait = _GPSD_READS_BYTES * self.receiver.hardware.byte_ns() / NS_PER_S
                self._loop.call_later(wait, end.say, data)

    def _transmit(self, end: Connection, data: bytes) -> None:
        """Over a serial line, as fast as that goes and after what it is busy with."""
        hardware = self.receiver.hardware
        begin = max(self._loop.time(), self._busy_until)
        self._busy_until = begin + len(data) * hardware.byte_ns() / NS_PER_S
        for chunk in chunks(data, hardware):
            self._loop.call_at(begin + chunk.after.s(), partial(end.say, chunk.data))


class Connection:
    """One listener to a receiver: its serial line, or one client of its gpsd.

    Attributes:
        voice: How the receiver speaks to it.
    """

    def __init__(self, player: LiveReceiver, outlet: Outlet, voice: Voice) -> None:
        self.voice = voice
        self._player = player
        self._outlet = outlet

    @property
    def serial(self) -> bool:
        """Whether it is a serial line."""
        return self._player.receiver.hardware.language != "gpsd"

    def begun(self) -> None:
        """It is connected."""
        self.say(self.voice.greeting())

    def heard(self, data: bytes) -> None:
        """It was spoken to."""
        receiver = self._player.receiver
        if not self.serial:
            self.say(self.voice.answer(data, self._player.told()))
        elif receiver.talks() and self._outlet.baud() == receiver.hardware.baud:
            said = self.voice.answer(data, self._player.told())
            if said:
                self._player.answer(self, said)

    def ended(self) -> None:
        """It is gone."""
        self._player.leave(self)

    def say(self, data: bytes) -> None:
        """Let bytes leave as they come out of the wire: not at all when it is unplugged, damaged when it is noisy."""
        receiver = self._player.receiver
        if self not in self._player.connections() or not data:
            return
        if self.serial and not receiver.present():
            return
        self._outlet.send(receiver.on_the_line(data, self._outlet.baud() if self.serial else None))
