"""Fuzz targets of the serial receiver's languages: ``nmea``, ``ubx``, and the machine that takes both mixed."""

from __future__ import annotations

import random
import struct

from targets import Target, mutate, register

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono, Utc
from timesync.gnss.event import Garbled, LeapReport, Sawtooth, TimeMark
from timesync.gnss.serial_receiver import SerialReceiver, SerialSettings
from timesync.wire import nmea, ubx
from timesync.wire import ubx_message as kinds
from timesync.wire.error import WireError

S = 1_000_000_000
BUILD: Instant[Utc] = Instant.from_ns(1_780_000_000 * S)
WEEK_S = 604_800
BODIES = (
    "GNRMC,223745.00,A,3806.62964,N,12237.61382,W,0.040,,110720,,,D,V",
    "GPRMC,235960,V,,,,,,,311216,,",
    "GNZDA,223745.00,11,07,2026,00,00",
    "GNGGA,223745.00,3806.62964,N,12237.61382,W,2,12,0.54,83.1,M,-29.5,M,,0000",
    "GNGSA,A,3,29,20,18,16,51,13,44,26,,,,,0.99,0.54,0.83,1",
    "GPGSV,4,1,16,05,01,047,,10,29,224,,13,22,062,23,15,40,094,,1",
    "GNTXT,01,01,02,ANTSTATUS=OK",
    "PUBX,00,,,,",
)
SIZES = {
    kinds.NAV_STATUS: 16,
    kinds.NAV_DOP: 18,
    kinds.NAV_PVT: 92,
    kinds.NAV_TIMEGPS: 16,
    kinds.NAV_TIMEUTC: 20,
    kinds.NAV_TIMELS: 24,
    kinds.NAV_SAT: 8 + 12 * 4,
    kinds.ACK_NAK: 2,
    kinds.MON_VER: 40 + 60,
    kinds.MON_HW: 60,
    kinds.MON_RF: 4 + 24 * 2,
    kinds.TIM_TP: 16,
    kinds.SEC_SIG: 12,
    (0x02, 0x15): 48,
}


def sentence(rng: random.Random) -> bytes:
    """A right sentence, one with wrong contents and a right checksum, or a mutated one."""
    body = rng.choice(BODIES).encode()
    if rng.random() < 0.5:
        body = bytes(one for one in mutate(rng, body)[:240] if 0x20 <= one < 0x7F and one not in b"$*")
    data = nmea.frame(body.decode("ascii") or "GPTXT")
    return mutate(rng, data) if rng.random() < 0.3 else data


def message(rng: random.Random) -> bytes:
    """A message of known kind and mostly right length with any contents, or a mutated one."""
    kind = rng.choice(tuple(SIZES))
    size = SIZES[kind] if rng.random() < 0.8 else rng.randrange(120)
    payload = bytearray(rng.choice((rng.randbytes, bytes))(size))
    if kind == kinds.NAV_PVT and size == 92 and rng.random() < 0.7:
        date = (rng.choice((1980, 2006, 2026, 2099)), rng.randrange(14), rng.randrange(33))
        time = (rng.randrange(25), rng.randrange(61), rng.randrange(62), 7)
        struct.pack_into("<H6B", payload, 4, *date, *time)
    data = ubx.frame(kind, bytes(payload))
    return mutate(rng, data) if rng.random() < 0.3 else data


def stream(rng: random.Random) -> bytes:
    """Both mixed, with noise between."""
    parts = [rng.choice((sentence, message, lambda rng: rng.randbytes(rng.randrange(12))))(rng) for _ in range(6)]
    return b"".join(parts)


def decode_sentence(data: bytes) -> None:
    """What decodes must encode to what decodes to the same."""
    found = nmea.decode(data)
    if isinstance(found, nmea.Other):
        return
    again = nmea.decode(nmea.encode(found))
    if again != found:
        raise AssertionError(f"{found} came back as {again}")


def decode_message(data: bytes) -> None:
    """Dates are refused when they are asked for."""
    found = ubx.decode(data)
    if isinstance(found, kinds.NavPvt | kinds.NavTimeUtc):
        found.utc.posix()


def _lost_a_rollover(utc: Instant[Utc]) -> bool:
    """Whether some times 1024 weeks more make it one of the ten years after the build."""
    return any(0 <= (utc - BUILD).s() + n * 1024 * WEEK_S < 512 * WEEK_S for n in (1, 2, 3))


class Receiver:
    """One receiver for all inputs: it must go on, hold little, say little, and mend what lost rollovers."""

    def __init__(self, *, baud: int | None) -> None:
        self.receiver = SerialReceiver(SerialSettings(baud=baud, build_date=BUILD, configure=True))
        self.now_ns = S
        self.receiver.on_open(self.now)

    @property
    def now(self) -> Instant[Mono]:
        return Instant.from_ns(self.now_ns)

    def target(self, data: bytes) -> None:
        """One read, and the deadlines that passed."""
        self.now_ns += 10_000_000 + len(data) * 1_000_000
        stamp = Stamp(ClockId("system"), 0, Instant.from_ns(1_790_000_000 * S + self.now_ns))
        events = self.receiver.on_data(data, stamp, self.now)
        due = self.receiver.deadline()
        if due is not None and due <= self.now:
            events += self.receiver.on_deadline(self.now)
        if len(events) > len(data) + 10:
            raise AssertionError(f"{len(events)} events of {len(data)} octets")
        for event in events:
            match event:
                case TimeMark(trusted=True) if _lost_a_rollover(event.utc):
                    raise AssertionError(f"a lost rollover that was not mended: {event}")
                case TimeMark() if not Duration(0) <= stamp.at - event.stamp.at <= Duration.from_s(20):
                    raise AssertionError(f"stamped {stamp.at - event.stamp.at} before its read")
                case Sawtooth(second=second) if second is not None and second < BUILD:
                    raise AssertionError(f"a pulse before the build: {event}")
                case LeapReport(at=at) if at is not None and at.scaled_ns % (86_400 * S << 16):
                    raise AssertionError(f"not at midnight: {event}")
                case Garbled(reason=reason) if len(reason) > 24:
                    raise AssertionError(f"an endless set of reasons: {reason}")
                case _:
                    pass
        if len(self.receiver._splitter._held) > ubx.MAX_PAYLOAD + ubx.OVERHEAD:  # the bound itself is what is tested
            raise AssertionError("holds more than a message")


def receiver_target(name: str, baud: int | None) -> Target:
    """A row whose state starts anew with the row."""
    return Target(name, stream, Receiver(baud=baud).target)


NMEA = Target("nmea", sentence, decode_sentence, (WireError,))
UBX = Target("ubx", message, decode_message, (WireError,))

register(NMEA, UBX, receiver_target("serial receiver", 9600), receiver_target("serial receiver, auto", None))
