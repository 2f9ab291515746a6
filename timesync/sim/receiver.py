"""A simulated GNSS receiver: which time it tells in each second, where its pulses lie, and when its bytes leave.

Nothing here waits or reads a clock: true time comes as an argument, so that the same receiver runs in virtual time and,
fed with the real one, on a pseudo terminal or a TCP socket.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from random import Random
from typing import Protocol

from timesync.base.time import UNITS_PER_S, Duration, Instant, Utc
from timesync.base.utc import LeapTable
from timesync.sim.hardware import GARBLED_SHARE, Fault, ReceiverHardware, SawtoothShape

GPS_EPOCH_S = 315_964_800
"""POSIX second of 1980-01-06, where GPS weeks are counted from (IS-GPS-200, 20.3.3.5.2.4)."""
GPS_TAI_S = 19
"""TAI - GPS, for ever (IS-GPS-200, 3.3.4: GPS time equals UTC of 1980-01-06, when TAI - UTC was 19 s)."""
WEEK_S = 604_800
ROLLOVER_S = 1024 * WEEK_S
_ANNOUNCED_S = 183 * 86_400


@dataclass(frozen=True, slots=True)
class LeapNews:
    """A leap second.

    Attributes:
        change: 1 is inserted, -1 is left out.
        at: POSIX second from which the new TAI - UTC holds.
    """

    change: int
    at: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a receiver has to say about one second, faults included.

    Attributes:
        utc_s: The POSIX second.
        leap_second: It is 23:59:60; ``utc_s`` is then that of 23:59:59.
        gps_s: Seconds since the GPS epoch.
        tai_utc: TAI - UTC as it knows it.
        known: It knows the time, since it has had a fix.
        fix: It has one now.
        unfixed_s: For how long it has had none.
        announced: A leap second to come; None when none is announced.
        last_leap: The last one that was.
        pulse_error_ps: How much later than its nominal time the pulse of this second is; quantization alone.
        next_error_ps: The same of the next pulse; None while the receiver cannot know.
    """

    utc_s: int
    leap_second: bool
    gps_s: int
    tai_utc: int
    known: bool
    fix: bool
    unfixed_s: float
    announced: LeapNews | None
    last_leap: LeapNews
    pulse_error_ps: int
    next_error_ps: int | None

    def date(self) -> tuple[int, int, int, int, int, int]:
        """Year, month, day, hour, minute, second of UTC; the second is 60 in a leap second."""
        broken = time.gmtime(self.utc_s)
        return (*broken[:5], 60 if self.leap_second else broken.tm_sec)


class Voice(Protocol):
    """How a receiver puts it into bytes; one for each connection."""

    def greeting(self) -> bytes:
        """What comes as soon as somebody connects."""
        ...

    def answer(self, data: bytes, told: Told) -> bytes:
        """What it says to what was sent to it."""
        ...

    def pulse(self, told: Told, kernel_ns: int) -> bytes:
        """What it says right after a pulse, which CLOCK_REALTIME stamped ``kernel_ns`` (ns since 1970, UTC)."""
        ...

    def burst(self, told: Told, kernel_ns: int) -> bytes:
        """What it says about a second; CLOCK_REALTIME showed ``kernel_ns`` at its first byte."""
        ...


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that a port hands over together.

    Attributes:
        after: When the last of them is in, after the first byte of the burst began.
        data: The bytes.
    """

    after: Duration
    data: bytes


def chunks(data: bytes, hardware: ReceiverHardware) -> Iterator[Chunk]:
    """How the port hands over a burst: each time its buffer is full, and at the end."""
    byte_ns = hardware.byte_ns()
    for start in range(0, len(data), hardware.fifo):
        part = data[start : start + hardware.fifo]
        yield Chunk(Duration.from_ns((start + len(part)) * byte_ns), part)


class SimReceiver:
    """A receiver with its faults; seconds are whole seconds of TAI.

    Attributes:
        hardware: What it is like.
        sawtooth: Quantization of its pulses.
        faults: What is wrong with it now; changed by ``switch``.
    """

    def __init__(
        self,
        hardware: ReceiverHardware,
        leaps: LeapTable,
        rng: Random,
        start: int,
        sawtooth: SawtoothShape | None = None,
    ) -> None:
        """Switch it on at true TAI ``start``, in units of 2^-16 ns."""
        self.hardware = hardware
        self.sawtooth = sawtooth or SawtoothShape()
        self.faults: frozenset[Fault] = frozenset()
        self._leaps = leaps
        self._rng = rng
        self._on_since = start
        self._lost: int | None = None
        self._frozen: Told | None = None

    def switch(self, fault: Fault, now: int, *, on: bool) -> None:
        """Begin or end a fault at true TAI ``now`` (units)."""
        if on == (fault in self.faults):
            return
        self.faults ^= {fault}
        match fault:
            case Fault.NO_FIX:
                self._lost = now if on else None
            case Fault.UNPLUGGED if not on:
                self._begin(now)
            case _:
                pass

    def present(self) -> bool:
        """Whether it is plugged in."""
        return Fault.UNPLUGGED not in self.faults

    def talks(self) -> bool:
        """Whether it says anything of its own accord."""
        return not self.faults & {Fault.UNPLUGGED, Fault.SILENT}

    def pulses(self, second: int) -> bool:
        """Whether there is a pulse at that second: from the first fix on, with or without a later one."""
        return not self.faults & {Fault.UNPLUGGED, Fault.NO_PULSES} and self._knows(second * UNITS_PER_S)

    def drift(self, at: int) -> int:
        """How much too late its own second begins at true TAI ``at``, in units: 0 with a fix."""
        if self._lost is None or at <= self._lost:
            return 0
        # A fast oscillator counts its second too soon.
        return -round((at - self._lost) * self.hardware.drift.ratio)

    def pulse_error(self, second: int) -> int:
        """How much later than true TAI ``second`` its pulse is, in units."""
        return self.drift(second * UNITS_PER_S) + self.sawtooth.error_units(second)

    def latency(self) -> Duration:
        """From one of its seconds to the first byte of the burst; drawn anew each time."""
        return Duration.from_s(self.hardware.latency.draw(self._rng))

    def told(self, second: int) -> Told:
        """What it says about true TAI ``second``."""
        if self._frozen is not None and Fault.STALE in self.faults:
            return self._frozen
        told = self._fresh(second)
        self._frozen = told
        return told

    def on_the_line(self, data: bytes, baud: int | None = None) -> bytes:
        """What arrives of what it sends; nonsense where the line listens at another speed than it speaks."""
        if baud is not None and baud != self.hardware.baud:
            # Bits are taken at the wrong places: bytes of no meaning, and about as many as time allows.
            return self._rng.randbytes(max(len(data) * baud // self.hardware.baud, 1)) if data else b""
        if Fault.GARBLED not in self.faults:
            return data
        damaged = bytearray(data)
        for index in range(len(damaged)):
            if self._rng.random() < GARBLED_SHARE:
                damaged[index] ^= self._rng.randrange(1, 256)
        return bytes(damaged)

    def _begin(self, now: int) -> None:
        """Power on, with or without a view of the sky."""
        self._on_since = now
        self._lost = now if Fault.NO_FIX in self.faults else None
        self._frozen = None

    def _knows(self, at: int) -> bool:
        """Whether it has had a fix since it was switched on."""
        first = self._on_since + self.hardware.fix.first.scaled_ns
        return at >= first and (self._lost is None or self._lost > first)

    def _fresh(self, second: int) -> Told:
        at = second * UNITS_PER_S
        utc: Instant[Utc] = self._leaps.utc(Instant(at))
        utc_s = utc.scaled_ns // UNITS_PER_S
        tai_utc = second - utc_s
        leap_second = self._leaps.in_leap_second(Instant(at))
        known = self._knows(at)
        fix = known and self._lost is None
        announced, last = self._leaps_around(utc_s)
        if Fault.FALSE_LEAP in self.faults:
            announced = LeapNews(1, _month_end(utc_s))
        told = Told(
            utc_s=utc_s,
            leap_second=leap_second,
            gps_s=second - GPS_TAI_S - GPS_EPOCH_S,
            # Inside the inserted second the new offset has begun in the table, but not yet for the receiver.
            tai_utc=tai_utc - leap_second,
            known=known,
            fix=fix,
            unfixed_s=0.0 if self._lost is None else max(at - self._lost, 0) / UNITS_PER_S,
            announced=announced if known else None,
            last_leap=last,
            pulse_error_ps=self.sawtooth.error_ps(second),
            next_error_ps=self.sawtooth.error_ps(second + 1) if fix else None,
        )
        return _displaced(told, self.faults)

    def _leaps_around(self, utc_s: int) -> tuple[LeapNews | None, LeapNews]:
        """The leap second to come, where one is announced, and the last one."""
        last = LeapNews(1, self._leaps.steps[0][0])
        before = self._leaps.steps[0][1]
        for start, offset in self._leaps.steps[1:]:
            if start > utc_s:
                return LeapNews(offset - before, start) if start - utc_s <= _ANNOUNCED_S else None, last
            last, before = LeapNews(offset - before, start), offset
        return None, last


def _displaced(told: Told, faults: frozenset[Fault]) -> Told:
    """With the time that the faults make of it."""
    shift = -ROLLOVER_S if Fault.WRONG_WEEK in faults else 0
    if Fault.JUMP in faults:
        shift += 1
    if not shift:
        return told
    return replace(told, utc_s=told.utc_s + shift, gps_s=told.gps_s + shift)


def _month_end(utc_s: int) -> int:
    """POSIX second of the start of the next month."""
    now = time.gmtime(utc_s)
    days = calendar.monthrange(now.tm_year, now.tm_mon)[1]
    return calendar.timegm((now.tm_year, now.tm_mon, days, 0, 0, 0)) + 86_400
