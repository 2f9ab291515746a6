"""A receiver at the end of a serial line: octets in, what they tell out.

It takes NMEA and UBX mixed on one line, finds the line's speed, and asks u-blox receivers for more when that is
wanted. It reads no clock and opens nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from timesync.base.measure import Leap, Stamp
from timesync.base.time import SCALE, UNITS_PER_S, Duration, Instant, Mono, Utc
from timesync.gnss.event import (
    DeviceReport,
    Garbled,
    LeapReport,
    PulseLock,
    ReceiverEvent,
    Sawtooth,
    TimeMark,
)
from timesync.gnss.rollover import mended
from timesync.gnss.serial_frames import Arrival, Binary, Splitter, Text
from timesync.gnss.serial_line import SerialLine
from timesync.gnss.serial_sky import Sky, is_real
from timesync.gnss.serial_ublox import Ublox
from timesync.wire import nmea, ubx
from timesync.wire import ubx_message as kinds
from timesync.wire.civil import posix
from timesync.wire.error import WireError

GPS_EPOCH_S = 315_964_800
"""POSIX second of 1980-01-06, where GPS weeks are counted from (IS-GPS-200, 3.3.4)."""

_TAI_GPS_S = 19
_WEEK_S = 604_800
_DAY = 86_400 * UNITS_PER_S
_CENTURY = 1980
"""Two digits of a year are of the hundred years that begin here: no receiver knows an earlier date."""

_SAME_EPOCH = Duration.from_ns(20_000_000)
_LONGEST_BURST = Duration.from_s(1)
_FRESH = Duration.from_s(2)
_SETTLE = Duration.from_s(10)
_WHOLE_MS = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialSettings:
    """What is known of a receiver beforehand.

    Attributes:
        device: Its name in events.
        baud: Speed of the line in bits per second; None to find it out.
        remembered: The speed that was found another time, to begin with.
        build_date: When this program was built: no receiver's date can be earlier, and one that lost whole rollovers of
            the week number is moved.
        configure: Ask a u-blox receiver for the messages that help, in its RAM. Without, it is only asked who it is.
    """

    device: str = ""
    baud: int | None = None
    remembered: int | None = None
    build_date: Instant[Utc]
    configure: bool = False


class SerialReceiver:
    """The machine for one line."""

    def __init__(self, settings: SerialSettings) -> None:
        self._device = settings.device
        self._line = SerialLine(settings.baud, settings.remembered)
        self._splitter = Splitter()
        self._sky = Sky(settings.device)
        self._ublox = Ublox(settings.device, configure=settings.configure)
        self._times = _Times(settings.device, settings.build_date)
        self._found_at: Instant[Mono] | None = None

    @property
    def baud(self) -> int:
        """The speed in force: open the port with it, and remember it when ``locked``."""
        return self._line.baud

    @property
    def locked(self) -> bool:
        """Whether a receiver speaks at that speed."""
        return self._line.found

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        return min((one for one in (self._line.deadline(), self._ublox.deadline()) if one is not None), default=None)

    def on_open(self, now: Instant[Mono]) -> list[ReceiverEvent]:
        """The port is open."""
        set_baud = self._line.open(now)
        self._splitter.reset(set_baud.baud)
        self._ublox.stop()
        return [set_baud]

    def on_lost(self) -> list[ReceiverEvent]:
        """The port is gone; ``on_open`` comes when it is back."""
        self._ublox.stop()
        return [DeviceReport(device=self._device, present=False)] if self._line.found else []

    def on_deadline(self, now: Instant[Mono]) -> list[ReceiverEvent]:
        """The deadline has passed."""
        was_found = self._line.found
        set_baud = self._line.expired(now)
        events: list[ReceiverEvent] = []
        if was_found and not self._line.found:
            self._ublox.stop()
            events.append(DeviceReport(device=self._device, present=False))
        if set_baud is not None:
            self._splitter.reset(set_baud.baud)
            events.append(set_baud)
        return [*events, *self._ublox.on_deadline(now)]

    def on_data(self, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> list[ReceiverEvent]:
        """Octets came, the last of them at ``stamp``. Nothing is believed before the speed is sure."""
        events: list[ReceiverEvent] = []
        for piece in self._splitter.feed(data, stamp, now):
            if isinstance(piece, Garbled):
                events += [piece] if self._line.found else []
                continue
            if self._line.valid(now):
                self._found_at = now
                self._ublox.start(now)
                what = "NMEA" if isinstance(piece, Text) else "UBX"
                text = f"{what} at {self._line.baud} baud"
                events.append(DeviceReport(device=self._device, present=True, description=text))
            if self._line.found:
                events += self._piece(piece, now)
        return events

    def _piece(self, piece: Text | Binary, now: Instant[Mono]) -> list[ReceiverEvent]:
        events: list[ReceiverEvent] = []
        if piece.arrival.opens:
            events += self._new_second(now)
            self._times.opened(piece.arrival)
        try:
            match piece:
                case Text():
                    events += self._sentence(nmea.read(piece.fields), piece.arrival, now)
                case Binary():
                    events += self._message(ubx.read(piece.frame), piece.arrival, now)
                case _:
                    assert_never(piece)
        except WireError:
            # Only sentences and messages that are known by name get so far: the reasons are few.
            name = piece.fields[0][2:] if isinstance(piece, Text) else f"UBX {bytes(piece.frame.kind).hex('-')}"
            events.append(Garbled(f"contents of {name}"))
        return events

    def _new_second(self, now: Instant[Mono]) -> list[ReceiverEvent]:
        return list(self._sky.burst(now))

    def _sentence(self, sentence: nmea.Sentence, arrival: Arrival, now: Instant[Mono]) -> list[ReceiverEvent]:
        events: list[ReceiverEvent] = list(self._sky.sentence(sentence, now))
        if not isinstance(sentence, nmea.Rmc | nmea.Zda) or sentence.time is None or sentence.date is None:
            return events
        if sentence.time.in_leap_second:
            return [*events, Garbled("leap second")]
        if isinstance(sentence, nmea.Rmc):
            utc = posix(sentence.date.in_century_of(_CENTURY), sentence.time)
            return events + self._mark("RMC", utc, arrival, now, trusted=is_real(sentence))
        utc = posix(sentence.date, sentence.time)
        return events + self._mark("ZDA", utc, arrival, now, trusted=self._fixed(now))

    def _message(self, message: kinds.Message, arrival: Arrival, now: Instant[Mono]) -> list[ReceiverEvent]:
        events: list[ReceiverEvent] = list(self._sky.message(message, now))
        match message:
            case kinds.NavPvt():
                self._ublox.told(now)
                if not (message.date_valid and message.time_valid):
                    return events
                # Without a fix the flags stay, and the time is that of the receiver's own oscillator.
                trusted = message.resolved and message.fix_ok and self._sky.usable(now) is not False
                return events + self._utc("NAV-PVT", message, arrival, now, trusted=trusted)
            case kinds.NavTimeUtc():
                if message.valid:
                    return events + self._utc("NAV-TIMEUTC", message, arrival, now, trusted=self._fixed(now))
            case kinds.NavTimeLs():
                events.append(self._times.leap(message, now))
            case kinds.NavTimeGps():
                self._times.gps_utc = message.leap
            case kinds.TimTp():
                events += self._times.pulse(message)
            case kinds.MonVer():
                events += self._ublox.version(message, now)
            case kinds.Ack():
                events += [] if message.ok else [Garbled("configuration refused")]
            case kinds.NavStatus() | kinds.NavDop() | kinds.NavSat() | kinds.MonRf() | kinds.SecSig() | kinds.Other():
                pass
            case _:
                assert_never(message)
        return events

    def _utc(
        self,
        kind: str,
        message: kinds.NavPvt | kinds.NavTimeUtc,
        arrival: Arrival,
        now: Instant[Mono],
        *,
        trusted: bool,
    ) -> list[ReceiverEvent]:
        if message.utc.in_leap_second:
            return [Garbled("leap second")]
        accuracy = None if message.accuracy_ns is None else message.accuracy_ns * 1e-9
        return self._mark(kind, message.utc.posix(), arrival, now, trusted=trusted, accuracy_s=accuracy)

    def _mark(
        self,
        kind: str,
        utc: Instant[Utc],
        arrival: Arrival,
        now: Instant[Mono],
        *,
        trusted: bool,
        accuracy_s: float | None = None,
    ) -> list[ReceiverEvent]:
        """A time was said; a new one begins a new second also where the line knows no pause."""
        events: list[ReceiverEvent] = []
        if self._times.is_new(utc):
            events += self._new_second(now)
        return events + self._times.mark(kind, utc, arrival, now, trusted=trusted, accuracy_s=accuracy_s)

    def _fixed(self, now: Instant[Mono]) -> bool:
        """Whether to trust a time that comes without a word on its worth: a receiver's battery-backed clock talks, too.

        One that never says whether it has a fix is trusted after a while.
        """
        usable = self._sky.usable(now)
        if usable is not None:
            return usable
        return self._found_at is not None and now - self._found_at > _SETTLE


class _Times:
    """The time that the receiver says, its rollovers mended, and what hangs on it."""

    def __init__(self, device: str, build_date: Instant[Utc]) -> None:
        self._device = device
        self._build_date = build_date
        self._began: Stamp | None = None
        self._epoch: Instant[Utc] | None = None
        self._latest: tuple[Instant[Utc], Instant[Mono]] | None = None
        self._rollover_said = False
        self.gps_utc: int | None = None

    def opened(self, arrival: Arrival) -> None:
        """A message opened a burst."""
        self._began = arrival.began
        self._epoch = None

    def is_new(self, utc: Instant[Utc]) -> bool:
        """Whether a time is another one than the burst began with."""
        return self._epoch is not None and abs(utc - self._epoch) > _SAME_EPOCH

    def mark(
        self,
        kind: str,
        utc: Instant[Utc],
        arrival: Arrival,
        now: Instant[Mono],
        *,
        trusted: bool,
        accuracy_s: float | None,
    ) -> list[ReceiverEvent]:
        """The mark, its rollover mended; none without a stamp."""
        # All sentences of a burst belong to one instant, and what stands before the one with the time varies from
        # second to second (GSV): only the start of the burst has a steady distance from that instant.
        if self.is_new(utc) or self._too_old(arrival):
            self._began = arrival.began
        self._epoch = utc
        events: list[ReceiverEvent] = []
        if trusted:
            right = mended(utc, self._build_date)
            if right != utc and not self._rollover_said:
                self._rollover_said = True
                events.append(Garbled("week rollover"))
            utc = right
            self._latest = utc, now
        if self._began is not None:
            events.append(
                TimeMark(
                    device=self._device,
                    utc=utc,
                    stamp=self._began,
                    kind=kind,
                    accuracy_s=accuracy_s,
                    trusted=trusted,
                )
            )
        return events

    def leap(self, message: kinds.NavTimeLs, now: Instant[Mono]) -> LeapReport:
        """NAV-TIMELS; what stems from the firmware's own table is not knowledge of the sky."""
        self.gps_utc = message.current if message.source not in (0, 255) else None
        tai_utc = None if self.gps_utc is None else self.gps_utc + _TAI_GPS_S
        if message.until_s is None or message.change_source == 0 or message.change not in (-1, 0, 1):
            return LeapReport(device=self._device, tai_utc=tai_utc)
        if message.until_s <= 0 or message.change == 0:
            return LeapReport(device=self._device, tai_utc=tai_utc, leap=Leap.NONE)
        at = self._midnight(message.until_s, now)
        if at is None:
            return LeapReport(device=self._device, tai_utc=tai_utc)
        leap = Leap.INSERT if message.change == 1 else Leap.DELETE
        return LeapReport(device=self._device, tai_utc=tai_utc, leap=leap, at=at)

    def pulse(self, message: kinds.TimTp) -> list[ReceiverEvent]:
        """TIM-TP: whether the pulse is any good, and its sawtooth where it is about a pulse at a full second."""
        events: list[ReceiverEvent] = [PulseLock(device=self._device, locked=message.locked)]
        seconds, ms = divmod(message.tow_ms + (message.tow_sub >> 31), 1000)
        if not (message.locked and message.quantization_valid) or _WHOLE_MS < ms < 1000 - _WHOLE_MS:
            return events
        seconds += GPS_EPOCH_S + message.week * _WEEK_S + (ms > 500)
        second: Instant[Utc] | None = None
        if message.utc_base:
            second = self._possible(seconds)
        elif message.reference == 0 and self.gps_utc is not None:
            second = self._possible(seconds - self.gps_utc)
        # The edge is early by qErr: a counter started by a reference and stopped by the pulse becomes smooth when
        # qErr is added to what it says (measured on a ZED-F9T, anderswallin.net, October 2019).
        correction = Duration(-(message.quantization_ps * SCALE // 1000))
        return [*events, Sawtooth(device=self._device, second=second, correction=correction)]

    def _possible(self, seconds: int) -> Instant[Utc] | None:
        """The second of a pulse; None when it cannot be right, and the message is only known to be about the next."""
        second = mended(Instant(seconds * UNITS_PER_S), self._build_date)
        return None if second < self._build_date else second

    def _midnight(self, after_s: int, now: Instant[Mono]) -> Instant[Utc] | None:
        """The start of a UTC day so many seconds from now; None while the time is not known."""
        if self._latest is None or now - self._latest[1] > _FRESH:
            return None
        # Said to the second, and counted in GPS seconds: off by a few at most.
        at = self._latest[0].scaled_ns + after_s * UNITS_PER_S
        return Instant((at + _DAY // 2) // _DAY * _DAY)

    def _too_old(self, arrival: Arrival) -> bool:
        began = self._began
        if began is None or arrival.began is None or began.epoch != arrival.began.epoch:
            return True
        return arrival.began.at - began.at > _LONGEST_BURST
