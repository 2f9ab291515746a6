"""A receiver's line without wires: octets take their time, and arrive in lots as a UART hands them over."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import TypeVar

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import Instant, Mono, Utc
from timesync.gnss.event import ReceiverEvent, SetBaud
from timesync.gnss.serial_receiver import SerialReceiver, SerialSettings
from timesync.wire import nmea, ubx

S = 1_000_000_000
BUILD: Instant[Utc] = Instant.from_ns(1_780_000_000 * S)
"""2026-05-28."""

TAI_START_NS = 1_790_000_037 * S
Event = TypeVar("Event")


class Line:
    """A ``SerialReceiver`` and what it says.

    Attributes:
        now_ns: Monotonic time; the clock reads ``TAI_START_NS`` more.
        events: All so far.
    """

    def __init__(self, *, baud: int | None = 9600, configure: bool = False, remembered: int | None = None) -> None:
        settings = SerialSettings(
            device="gps0", baud=baud, build_date=BUILD, configure=configure, remembered=remembered
        )
        self.receiver = SerialReceiver(settings)
        self.now_ns = 5 * S
        self.epoch = 0
        self.events: list[ReceiverEvent] = list(self.receiver.on_open(self.now))

    @property
    def now(self) -> Instant[Mono]:
        return Instant.from_ns(self.now_ns)

    @property
    def stamp(self) -> Stamp:
        return Stamp(ClockId("system"), self.epoch, Instant.from_ns(TAI_START_NS + self.now_ns), StampSource.USER)

    def read(self, data: bytes, *, stamped: bool = True) -> list[ReceiverEvent]:
        """One read at the present time."""
        events = self.receiver.on_data(data, self.stamp if stamped else None, self.now)
        self.events += events
        return events

    def send(self, data: bytes, *, begin_ns: int, baud: int = 9600, lot: int = 8) -> list[ReceiverEvent]:
        """Let octets leave from ``begin_ns`` on and be read in lots, each when its last octet is in."""
        events = []
        for at in range(0, len(data), lot):
            part = data[at : at + lot]
            self.now_ns = begin_ns + (at + len(part)) * 10 * S // baud
            events += self.read(part)
        return events

    def wait(self, until_ns: int) -> list[ReceiverEvent]:
        """Let deadlines pass."""
        events: list[ReceiverEvent] = []
        while (due := self.receiver.deadline()) is not None and due <= Instant.from_ns(until_ns):
            self.now_ns = max(self.now_ns, -(-due.scaled_ns // 65_536))
            made = self.receiver.on_deadline(self.now)
            assert made or self.receiver.deadline() != due, "a deadline that does nothing and stays"
            events += made
        self.now_ns = max(self.now_ns, until_ns)
        self.events += events
        return events

    def lock(self) -> None:
        """Two sentences, so that the speed is sure; then nothing to be seen of them."""
        for _ in range(2):
            self.read(nmea.frame("GPTXT,01,01,02,hello"))
        assert self.receiver.locked
        self.now_ns += S
        self.events.clear()


def of(kind: type[Event], events: Sequence[object]) -> list[Event]:
    """The events of one kind."""
    return [event for event in events if isinstance(event, kind)]


def bauds(events: Sequence[ReceiverEvent]) -> list[int]:
    return [event.baud for event in of(SetBaud, events)]


def rmc(time: str = "120000.00", date: str = "150926", status: str = "A", mode: str = "A") -> bytes:
    return nmea.frame(f"GNRMC,{time},{status},,,,,,,{date},,,{mode},V")


def pvt(
    at: tuple[int, int, int, int, int, int] = (2026, 9, 15, 12, 0, 0),
    *,
    nano: int = 0,
    valid: int = 7,
    fix: int = 3,
    flags: int = 1,
    accuracy_ns: int = 25,
) -> bytes:
    """NAV-PVT by UBX-13003221, 32.17.15."""
    year, month, day, hour, minute, second = at
    head = struct.pack(
        "<LHBBBBBBLlBBBB", 0, year, month, day, hour, minute, second, valid, accuracy_ns, nano, fix, flags, 0, 9
    )
    return ubx.frame((0x01, 0x07), head + bytes(92 - len(head)))


def timels(*, source: int = 2, current: int = 18, change_source: int = 2, change: int = 0, until_s: int = 0) -> bytes:
    """NAV-TIMELS by UBX-13003221, 32.17.23."""
    payload = struct.pack("<LBxxxBbBblHHxxxB", 0, 0, source, current, change_source, change, until_s, 0, 0, 3)
    return ubx.frame((0x01, 0x26), payload)


def timtp(*, tow_ms: int, week: int, error_ps: int, flags: int = 3, sub: int = 0, info: int = 0xF) -> bytes:
    """TIM-TP by UBX-13003221, 32.21.8."""
    return ubx.frame((0x0D, 0x01), struct.pack("<LLlHBB", tow_ms, sub, error_ps, week, flags, info))


def monver(protver: str = "32.01") -> bytes:
    """MON-VER of a NEO-M9N."""
    fields = [b"FWVER=SPG 4.04", f"PROTVER={protver}".encode(), b"MOD=NEO-M9N"]
    payload = b"EXT CORE 4.04".ljust(30, b"\0") + b"00190000".ljust(10, b"\0")
    return ubx.frame((0x0A, 0x04), payload + b"".join(one.ljust(30, b"\0") for one in fields))
