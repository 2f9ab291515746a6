"""Simulated streams: receivers on serial lines and behind gpsd, and datagrams on Unix sockets."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from functools import partial
from typing import Protocol

from timesync.base.measure import StampSource
from timesync.base.time import UNITS_PER_S, Duration
from timesync.devices import FeedHandler
from timesync.sim.clock import SimClock
from timesync.sim.hardware import Fault, ReceiverHardware
from timesync.sim.pulses import Edge, PulseLine
from timesync.sim.receiver import Chunk, SimReceiver, Told, Voice, chunks
from timesync.sim.receiver_gpsd import GpsdVoice
from timesync.sim.receiver_nmea import NmeaVoice
from timesync.sim.receiver_ubx import UbxVoice
from timesync.sim.world import Event, World

_PATIENCE = UNITS_PER_S // 2
"""So long a burst waits for the line. A receiver whose line is slower than what it has to say leaves bursts out."""
_ANSWER_AFTER = Duration.from_ns(20_000_000)
_GPSD_READS_BYTES = 400
"""What a receiver behind gpsd sends before gpsd has a fix to report."""


class Tempo(Protocol):
    """How fast the machine is, and how well it reads its clocks."""

    def slowness(self) -> Duration:
        """From an arrival to the callback; drawn anew each time."""
        ...

    def stamp_noise_s(self) -> float:
        """Standard deviation of a stamp."""
        ...


class SimFeed:
    """A ``timesync.devices.Feed``: what comes is told on the loop on which it was opened, in order."""

    def __init__(self, world: World, clock: SimClock, handler: FeedHandler, tempo: Tempo) -> None:
        self.baud: int | None = None
        self._world = world
        self._clock = clock
        self._handler = handler
        self._tempo = tempo
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._told_until = world.units
        self.on_write: Callable[[bytes], None] = _ignore
        self.on_close: Callable[[], None] = _nothing

    @property
    def is_open(self) -> bool:
        """Whether anything can still come."""
        return self._open

    def write(self, data: bytes) -> None:
        """Send. Raises OSError when it is closed."""
        if not self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self.on_write(bytes(data))

    def set_baud(self, baud: int) -> None:
        """Change the speed of a serial port. Raises OSError when it is closed."""
        if not self._open:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        if self.baud is not None:
            self.baud = baud

    def close(self) -> None:
        """End it; the handler is not called again."""
        if self._open:
            self._open = False
            self.on_close()

    def opened(self) -> None:
        """Tell that it is open."""
        self._tell(self._handler.on_open)

    def deliver(self, data: bytes) -> None:
        """Bytes of a stream arrived; none is nothing."""
        if data:
            self.take(data)

    def take(self, data: bytes) -> None:
        """A datagram arrived, be it empty."""
        if self._open:
            self._tell(partial(self._on_data, data))

    def lose(self, error: OSError) -> None:
        """It ended; what was under way is told first."""
        if self._open:
            self._tell(partial(self._on_lost, error))

    def _tell(self, callback: Callable[[], None]) -> None:
        # A machine that is slow once hands over late, but never in another order.
        when = max(self._world.units + self._tempo.slowness().scaled_ns, self._told_until)
        self._told_until = when
        self._world.at_units(when, partial(self._enqueue, callback))

    def _enqueue(self, callback: Callable[[], None]) -> None:
        # A world outlives its loops: what was under way when one ended reaches nobody.
        if not self._loop.is_closed():
            self._loop.call_soon(self._if_open, callback)

    def _if_open(self, callback: Callable[[], None]) -> None:
        if self._open:
            callback()

    def _on_data(self, data: bytes) -> None:
        clock = self._clock
        stamp = clock.stamp(StampSource.USER, self._tempo.stamp_noise_s()) if clock.lost is None else None
        self._handler.on_data(data, stamp)

    def _on_lost(self, error: OSError) -> None:
        self.close()
        self._handler.on_lost(error)


class ReceiverPort:
    """A receiver and those who listen to it; its seconds run while anybody does.

    Attributes:
        receiver: It.
    """

    def __init__(self, world: World, receiver: SimReceiver, system: SimClock, tempo: Tempo) -> None:
        self.receiver = receiver
        self._world = world
        self._system = system
        self._tempo = tempo
        self._line: PulseLine | None = None
        self._ends: list[_End] = []
        self._next: Event | None = None
        self._busy_until = world.units

    def wire(self, line: PulseLine) -> None:
        """Its pulses are on that line; gpsd sees those of the first one, too."""
        if self._line is None:
            self._line = line

    def accepts(self) -> bool:
        """Whether a feed can be opened: the device is there, or gpsd runs."""
        return Fault.GPSD_GONE not in self.receiver.faults if self._by_gpsd else self.receiver.present()

    def open(self, feed: SimFeed, baud: int | None) -> None:
        """Connect an accepted feed."""
        end = _End(feed, voice_of(self.receiver.hardware))
        feed.baud = baud
        feed.on_write = partial(self._on_write, end)
        feed.on_close = partial(self._on_close, end)
        self._ends.append(end)
        if isinstance(end.voice, GpsdVoice) and not self.receiver.present():
            end.voice.unplugged()
        feed.opened()
        feed.deliver(end.voice.greeting())
        if len(self._ends) == 1:
            self._plan()
            if self._by_gpsd and self._line is not None:
                self._line.attach(self)

    def switch(self, fault: Fault, *, on: bool) -> None:
        """Begin or end a fault of the receiver."""
        before = self.receiver.faults
        self.receiver.switch(fault, self._world.units, on=on)
        if self.receiver.faults == before:
            return
        if fault is Fault.UNPLUGGED and self._by_gpsd:
            told = self._told()
            for end in self._ends:
                if isinstance(end.voice, GpsdVoice):
                    end.feed.deliver(end.voice.unplugged() if on else end.voice.plugged(told))
        elif on and fault in {Fault.UNPLUGGED, Fault.GPSD_GONE}:
            number = errno.ECONNRESET if self._by_gpsd else errno.EIO
            for end in tuple(self._ends):
                end.feed.lose(OSError(number, os.strerror(number)))

    def on_edge(self, edge: Edge) -> None:
        """The pulse came, which gpsd reports."""
        stamp = self._system.stamp_at(edge.at, StampSource.KERNEL, edge.error)
        if stamp is None or not self.receiver.talks():
            return
        told = self.receiver.told((edge.at + UNITS_PER_S // 2) // UNITS_PER_S)
        kernel_ns = self._system.leaps.utc(stamp.at).ns()
        for end in self._ends:
            end.feed.deliver(self.receiver.on_the_line(end.voice.pulse(told, kernel_ns)))

    def on_gone(self) -> None:
        """The pulses went with the receiver; a new line discipline sees them again by itself."""

    @property
    def _by_gpsd(self) -> bool:
        return self.receiver.hardware.language == "gpsd"

    def _told(self) -> Told:
        return self.receiver.told(self._world.units // UNITS_PER_S)

    def _plan(self) -> None:
        second = self._world.units // UNITS_PER_S + 1
        self._next = self._world.at_units(second * UNITS_PER_S, partial(self._on_second, second))

    def _on_second(self, second: int) -> None:
        self._plan()
        receiver = self.receiver
        latency = receiver.latency()
        if receiver.talks():
            start = self._world.units + receiver.drift(self._world.units) + latency.scaled_ns
            start, told = max(start, self._world.units), receiver.told(second)
            # A line carries one byte at a time: the next burst waits for the end of the last one.
            if self._busy_until - start <= _PATIENCE:
                self._world.at_units(max(start, self._busy_until), partial(self._on_burst, told))

    def _on_burst(self, told: Told) -> None:
        receiver, hardware = self.receiver, self.receiver.hardware
        if not receiver.talks():
            return
        kernel_ns = self._system.utc_ns(self._tempo.stamp_noise_s())
        for end in self._ends:
            data = end.voice.burst(told, kernel_ns)
            if self._by_gpsd:
                after = Duration.from_ns(_GPSD_READS_BYTES * hardware.byte_ns())
                self._send(end, Chunk(after, data))
            else:
                self._transmit(end, data)

    def _on_write(self, end: _End, data: bytes) -> None:
        receiver = self.receiver
        if not self._by_gpsd and (not receiver.talks() or end.feed.baud != receiver.hardware.baud):
            return
        said = end.voice.answer(data, self._told())
        if not said:
            return
        if self._by_gpsd:
            end.feed.deliver(said)
        else:
            self._world.after(_ANSWER_AFTER, partial(self._transmit, end, said))

    def _on_close(self, end: _End) -> None:
        if end in self._ends:
            self._ends.remove(end)
        if not self._ends:
            if self._next is not None:
                self._next.cancel()
            if self._line is not None:
                self._line.detach(self)

    def _transmit(self, end: _End, data: bytes) -> None:
        """Over a serial line, as fast as that goes and after what it is busy with."""
        now, hardware = self._world.units, self.receiver.hardware
        begin = max(now, self._busy_until)
        self._busy_until = begin + len(data) * hardware.byte_ns() * 65_536
        for chunk in chunks(data, hardware):
            self._send(end, Chunk(chunk.after + Duration(begin - now), chunk.data))

    def _send(self, end: _End, chunk: Chunk) -> None:
        self._world.after(chunk.after, partial(self._arrive, end.feed, chunk.data))

    def _arrive(self, feed: SimFeed, data: bytes) -> None:
        if self.receiver.present() or self._by_gpsd:
            feed.deliver(self.receiver.on_the_line(data, feed.baud))


class _End:
    """One connection to a receiver."""

    def __init__(self, feed: SimFeed, voice: Voice) -> None:
        self.feed = feed
        self.voice = voice


def voice_of(hardware: ReceiverHardware) -> Voice:
    """A new connection to a receiver."""
    match hardware.language:
        case "nmea":
            return NmeaVoice(hardware)
        case "ubx":
            return UbxVoice(hardware)
        case "gpsd":
            return GpsdVoice(hardware)


def _ignore(_: bytes) -> None:
    """Nobody reads what is written."""


def _nothing() -> None:
    """Nobody minds that it is closed."""
