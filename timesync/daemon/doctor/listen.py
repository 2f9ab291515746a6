"""Listening to a serial receiver for a few seconds: the speed at which it speaks, and what it says."""

from __future__ import annotations

import contextlib
import select
import termios
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import Instant, Utc
from timesync.base.utc import LeapTable
from timesync.gnss.event import FixMode, FixReport, Garbled, TimeMark
from timesync.gnss.serial_line import BAUDS
from timesync.gnss.serial_receiver import SerialReceiver, SerialSettings
from timesync_drivers.serial import SerialPort
from timesync_drivers.tty import kept_settings

_DWELL_S = 1.3
_SILENCE_S = 2.6
_ENOUGH_S = 2.4
"""At the right speed: two bursts of a receiver that speaks once a second."""
_TEXT_SHARE = 0.9
"""At a wrong speed fewer octets are printable."""
_CLOCK = ClockId("system")


@dataclass(slots=True)
class Heard:
    """What came.

    Attributes:
        octets: By speed, in the order in which they were tried.
        baud: The speed at which messages were valid; None when at none.
        kinds: The messages that tell a time.
        fix: Whether the receiver has one; None when it did not say.
        used: Satellites in its solution; None when it did not say.
        marks: (kind, time told, arrival on the system clock, trusted), in order.
        rollover: The date that it told was of an earlier round of GPS weeks.
        trouble: Why the port could not be opened or read; None when it could.
    """

    octets: dict[int, int] = field(default_factory=dict)
    baud: int | None = None
    kinds: set[str] = field(default_factory=set)
    fix: bool | None = None
    used: int | None = None
    marks: list[tuple[str, Instant[Utc], Instant[Utc], bool]] = field(default_factory=list)
    rollover: bool = False
    trouble: OSError | None = None

    @property
    def silent(self) -> bool:
        """Nothing came at all."""
        return not any(self.octets.values())


def listen(path: str, baud: int | None, table: LeapTable, build_date: Instant[Utc], seconds: float) -> Heard:
    """Try the configured speed, then the others; nothing is sent, and the line's settings are put back.

    Args:
        path: The port; nobody else may read it.
        baud: The configured speed; None: it is to be found.
        table: TAI - UTC.
        build_date: No receiver can rightly tell an earlier date.
        seconds: Stop after so long.
    """
    ends = time.monotonic() + seconds
    heard = Heard()
    order = [baud, *(one for one in BAUDS if one != baud)] if baud is not None else list(BAUDS)
    try:
        with kept_settings(path), contextlib.closing(SerialPort(path, order[0])) as port:
            for one in order:
                if heard.octets:
                    port.set_baud(one)
                settings = SerialSettings(baud=one, build_date=build_date)
                _Session(settings, table, heard).run(port, min(_DWELL_S, ends - time.monotonic()))
                if heard.baud is not None or heard.silent or time.monotonic() >= ends:
                    break
    except OSError as error:
        heard.trouble = error
    except termios.error as error:
        heard.trouble = OSError(*error.args)
    return heard


class _Session:
    """One speed."""

    def __init__(self, settings: SerialSettings, table: LeapTable, heard: Heard) -> None:
        assert settings.baud is not None
        self._baud = settings.baud
        self._receiver = SerialReceiver(settings)
        self._table = table
        self._heard = heard
        self._printable = 0

    def run(self, port: SerialPort, seconds: float) -> None:
        """Read until the speed is known to be wrong, or enough was heard at the right one."""
        began = time.monotonic()
        self._receiver.on_open(Instant.from_ns(time.monotonic_ns()))
        self._heard.octets[self._baud] = 0
        for data, at_ns in _reads(port):
            self._heard.octets[self._baud] += len(data)
            if data:
                self._take(data, at_ns)
            spent = time.monotonic() - began
            if self._receiver.locked:
                self._heard.baud = self._baud
                # Counted from the start, so that a slow line is not cut off in the middle of its only burst.
                if spent >= max(_ENOUGH_S, seconds):
                    return
            elif spent >= (max(_SILENCE_S, seconds) if self._hopeful() else seconds):
                return

    def _hopeful(self) -> bool:
        """Whether waiting may help: nothing came yet, or plain text, of which one sentence a second is too little."""
        octets = self._heard.octets[self._baud]
        return self._heard.silent or (octets > 0 and self._printable >= octets * _TEXT_SHARE)

    def _take(self, data: bytes, at_ns: int) -> None:
        self._printable += sum(0x20 <= octet < 0x7F or octet in b"\r\n" for octet in data)
        utc: Instant[Utc] = Instant.from_ns(at_ns)
        stamp = Stamp(_CLOCK, 0, self._table.tai(utc), StampSource.USER)
        for event in self._receiver.on_data(data, stamp, Instant.from_ns(time.monotonic_ns())):
            match event:
                case TimeMark():
                    self._heard.kinds.add(event.kind)
                    arrived = self._table.utc(event.stamp.at)
                    self._heard.marks.append((event.kind, event.utc, arrived, event.trusted))
                case FixReport():
                    if event.mode not in (None, FixMode.UNKNOWN):
                        self._heard.fix = event.mode is not FixMode.NONE
                    if event.used is not None:
                        self._heard.used = event.used
                case Garbled(reason="week rollover"):
                    self._heard.rollover = True
                case _:
                    pass


def _reads(port: SerialPort) -> Iterator[tuple[bytes, int]]:
    """What comes, with when; nothing now and then while the line is silent."""
    poll = select.poll()
    poll.register(port.fileno(), select.POLLIN)
    while True:
        ready = poll.poll(100)
        at_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        yield (port.read() if ready else b""), at_ns
