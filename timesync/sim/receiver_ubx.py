"""A simulated u-blox receiver's UBX messages, written by the interface description (UBX-18010854 and UBX-13003221).

It shares nothing with the parser that it is there to try.
"""

from __future__ import annotations

import struct

from timesync.sim.hardware import ReceiverHardware, UbxMessage
from timesync.sim.receiver import GPS_EPOCH_S, WEEK_S, Told
from timesync.sim.receiver_nmea import HEIGHT_M, LATITUDE, LONGITUDE, SEPARATION_M, satellites

SYNC = b"\xb5\x62"
NAV_PVT = (0x01, 0x07)
NAV_TIMELS = (0x01, 0x26)
NAV_SAT = (0x01, 0x35)
TIM_TP = (0x0D, 0x01)
MON_VER = (0x0A, 0x04)
MON_RF = (0x0A, 0x38)
ACK_NAK = (0x05, 0x00)
ACK_ACK = (0x05, 0x01)
CFG = 0x06
_IDS: dict[UbxMessage, tuple[int, int]] = {
    "NAV-PVT": NAV_PVT,
    "TIM-TP": TIM_TP,
    "NAV-TIMELS": NAV_TIMELS,
    "NAV-SAT": NAV_SAT,
    "MON-RF": MON_RF,
}
_NEVER = 0xFFFF_FFFF
_GPS, _GLONASS = 0, 6
_FROM_GPS = 2


class UbxVoice:
    """A receiver that speaks UBX."""

    def __init__(self, hardware: ReceiverHardware) -> None:
        self._hardware = hardware
        self._heard = bytearray()

    def greeting(self) -> bytes:
        """Nothing."""
        return b""

    def answer(self, data: bytes, told: Told) -> bytes:
        """Answers polls (empty payloads), and takes every setting, of which none changes what it sends."""
        self._heard += data
        said = b""
        while (frame := self._take()) is not None:
            kind, payload = frame
            if kind[0] == CFG:
                said += framed(ACK_ACK, bytes(kind))
            elif payload:
                continue
            elif kind == MON_VER:
                said += framed(MON_VER, self._version())
            else:
                asked = next((name for name, known in _IDS.items() if known == kind), None)
                said += framed(ACK_NAK, bytes(kind)) if asked is None else self._message(asked, told)
        return said

    def pulse(self, told: Told, kernel_ns: int) -> bytes:
        """Nothing."""
        del told, kernel_ns
        return b""

    def burst(self, told: Told, kernel_ns: int) -> bytes:
        """The messages of a second."""
        del kernel_ns
        return b"".join(self._message(name, told) for name in self._hardware.messages)

    def _take(self) -> tuple[tuple[int, int], bytes] | None:
        """The next whole frame with a right checksum; what is none is dropped."""
        heard = self._heard
        while True:
            start = heard.find(SYNC)
            if start < 0:
                del heard[: max(len(heard) - 1, 0)]
                return None
            del heard[:start]
            if len(heard) < 8:
                return None
            length = int.from_bytes(heard[4:6], "little")
            if len(heard) < 8 + length:
                return None
            body = bytes(heard[2 : 6 + length])
            if checksum(body) == bytes(heard[6 + length : 8 + length]):
                del heard[: 8 + length]
                return (body[0], body[1]), body[4:]
            del heard[:2]

    def _message(self, name: UbxMessage, told: Told) -> bytes:
        match name:
            case "NAV-PVT":
                payload = self._nav_pvt(told)
            case "TIM-TP":
                payload = self._tim_tp(told)
            case "NAV-TIMELS":
                payload = _nav_timels(told)
            case "NAV-SAT":
                payload = self._nav_sat(told)
            case "MON-RF":
                payload = _mon_rf()
        return framed(_IDS[name], payload)

    def _nav_pvt(self, told: Told) -> bytes:
        fix = self._hardware.fix
        accuracy_ns = round(1e9 * (fix.accuracy_s + told.unfixed_s * abs(self._hardware.drift.ratio)))
        fix_type = 0 if not told.fix else 5 if fix.fixed_position else 3
        # valid: date, time, fully resolved. flags2: confirmation is known, date and time are confirmed.
        valid, confirmed = (0x07, 0xE0) if told.known else (0, 0)
        return struct.pack(
            "<IHBBBBBBIiBBBBiiiiIIiiiiiIIHHIiHH",
            _week_ms(told.gps_s),
            *told.date(),
            valid,
            min(max(accuracy_ns, 1), _NEVER) if told.known else _NEVER,
            0,
            fix_type,
            0x01 if told.fix else 0,
            confirmed,
            fix.used if told.fix else 0,
            *(round(LONGITUDE * 1e7), round(LATITUDE * 1e7)),
            *(round((HEIGHT_M + SEPARATION_M) * 1000), round(HEIGHT_M * 1000)),
            *(1200, 1800) if told.fix else (_NEVER, _NEVER),
            *(0, 0, 0, 0, 0),
            *(50, 180 * 100_000),
            160 if told.fix else 9999,
            *(0, 0, 0, 0, 0),
        )

    def _tim_tp(self, told: Told) -> bytes:
        utc = self._hardware.utc_grid
        # About the next pulse, in the scale of the grid.
        next_s = told.utc_s + 1 - GPS_EPOCH_S if utc else told.gps_s + 1
        error = told.next_error_ps
        # timeBase, utc available, qErrInvalid, and that the pulse is not locked to GNSS time.
        flags = 0x01 * utc | 0x02 * told.known | 0x10 * (error is None) | 0x20 * (not told.fix)
        # qErr has the other sign than the pulse's error: add it to a pulse's measured time to have the nominal one.
        reference = 0x30 if utc else 0x00
        return struct.pack("<IIiHBB", _week_ms(next_s), 0, -(error or 0), next_s // WEEK_S & 0xFFFF, flags, reference)

    def _nav_sat(self, told: Told) -> bytes:
        fix = self._hardware.fix
        sky = satellites(fix.seen)
        blocks = b"".join(
            struct.pack(
                "<BBBbhhI",
                _GPS if number <= 32 else _GLONASS,
                number if number <= 32 else number - 64,
                cno,
                elevation,
                azimuth,
                0,
                # qualityInd 7 (carrier locked), svUsed, healthy, ephemeris.
                0x07 | 0x08 * (told.fix and index < fix.used) | 0x10 | 0x100,
            )
            for index, (number, elevation, azimuth, cno) in enumerate(sky)
        )
        return struct.pack("<IBBH", _week_ms(told.gps_s), 1, len(sky), 0) + blocks

    def _version(self) -> bytes:
        extensions = ("ROM BASE 3.01 (107888)", "FWVER=TIM 1.10", "PROTVER=22.00", f"MOD={self._hardware.model}")
        texts = [(30, "EXT CORE 3.01 (111141)"), (10, "00080000"), *((30, text) for text in extensions)]
        return b"".join(text.encode("ascii").ljust(size, b"\0") for size, text in texts)


def framed(kind: tuple[int, int], payload: bytes) -> bytes:
    """A message with its sync characters, its length and its checksum."""
    body = bytes(kind) + len(payload).to_bytes(2, "little") + payload
    return SYNC + body + checksum(body)


def checksum(body: bytes) -> bytes:
    """The 8-bit Fletcher sums over class, id, length and payload (RFC 1145)."""
    first = second = 0
    for byte in body:
        first = first + byte & 0xFF
        second = second + first & 0xFF
    return bytes((first, second))


def _week_ms(seconds: int) -> int:
    return seconds % WEEK_S * 1000


def _nav_timels(told: Told) -> bytes:
    news = told.announced
    event = told.last_leap if news is None else news
    # Week and day of the event: the day, counted from 1, that it ends.
    day = (event.at - 1 - GPS_EPOCH_S) // 86_400
    return struct.pack(
        "<IB3xBbBbiHH3xB",
        _week_ms(told.gps_s),
        0,
        _FROM_GPS if told.known else 255,
        told.tai_utc - 19 if told.known else 0,
        _FROM_GPS if told.known else 0,
        0 if news is None else news.change,
        event.at - told.utc_s,
        day // 7 & 0xFFFF,
        day % 7 + 1,
        0x03 if told.known else 0,
    )


def _mon_rf() -> bytes:
    # One block: jamming state ok, antenna ok and powered; the noise and gain figures of a quiet place.
    block = struct.pack("<BBBBI4xHHBbBbB3x", 0, 0x01, 2, 1, 0, 91, 5300, 7, 3, 135, -2, 140)
    return struct.pack("<BBH", 0, 1, 0) + block
