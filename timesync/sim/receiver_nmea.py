"""A simulated receiver's NMEA 0183 sentences (version 4.10), written by the standard's field lists.

It shares nothing with the parser that it is there to try.
"""

from __future__ import annotations

from collections.abc import Iterator

from timesync.sim.hardware import ReceiverHardware, Sentence
from timesync.sim.receiver import Told

LATITUDE = 47.285233
LONGITUDE = 8.565253
HEIGHT_M = 499.6
SEPARATION_M = 48.0
_GPS_SATELLITES = 16
"""The first of them are of GPS, all others of GLONASS."""
_GLONASS_FIRST = 65


def satellites(count: int) -> list[tuple[int, int, int, int]]:
    """So many satellites: NMEA number, elevation and azimuth in degrees, signal in dBHz; the strongest first."""
    return [
        (
            index + 1 if index < _GPS_SATELLITES else _GLONASS_FIRST + index - _GPS_SATELLITES,
            max(80 - 6 * index, 5),
            index * 47 % 360,
            max(46 - index, 20),
        )
        for index in range(count)
    ]


class NmeaVoice:
    """A receiver that speaks NMEA and takes no commands."""

    def __init__(self, hardware: ReceiverHardware) -> None:
        self._hardware = hardware

    def greeting(self) -> bytes:
        """Nothing."""
        return b""

    def answer(self, data: bytes, told: Told) -> bytes:
        """Nothing: it does not listen."""
        del data, told
        return b""

    def pulse(self, told: Told, kernel_ns: int) -> bytes:
        """Nothing."""
        del told, kernel_ns
        return b""

    def burst(self, told: Told, kernel_ns: int) -> bytes:
        """The sentences of a second."""
        del kernel_ns
        lines = (line for name in self._hardware.sentences for line in self._sentences(name, told))
        return b"".join(map(framed, lines))

    def _sentences(self, name: Sentence, told: Told) -> Iterator[str]:
        talker = self._hardware.talker
        match name:
            case "RMC":
                yield f"{talker}RMC,{_rmc(told)}"
            case "GGA":
                yield f"{talker}GGA,{self._gga(told)}"
            case "GSA":
                yield from (f"{talker}GSA,{rest}" for rest in self._gsa(told))
            case "GSV":
                yield from self._gsv()
            case "ZDA":
                yield f"{talker}ZDA,{_zda(told)}"

    def _gga(self, told: Told) -> str:
        fix = self._hardware.fix
        if not told.fix:
            return f"{_clock(told)},,,,,0,00,99.99,,,,,,"
        return f"{_clock(told)},{_place()},1,{fix.used:02},{fix.hdop:.2f},{HEIGHT_M:.1f},M,{SEPARATION_M:.1f},M,,"

    def _gsa(self, told: Told) -> Iterator[str]:
        fix = self._hardware.fix
        used = [number for number, *_ in satellites(fix.used)] if told.fix else []
        mode = "3" if told.fix else "1"
        hdop = fix.hdop if told.fix else 99.99
        vdop = 1.3 * hdop if told.fix else 99.99
        pdop = (hdop**2 + vdop**2) ** 0.5 if told.fix else 99.99
        systems = {1: [n for n in used if n < _GLONASS_FIRST], 2: [n for n in used if n >= _GLONASS_FIRST]}
        for system, numbers in systems.items():
            # A sentence has room for twelve; of a system with none there is one all the same.
            for start in range(0, max(len(numbers), 1), 12):
                part = [f"{number:02}" for number in numbers[start : start + 12]]
                slots = ",".join(part + [""] * (12 - len(part)))
                yield f"A,{mode},{slots},{pdop:.2f},{hdop:.2f},{vdop:.2f},{system}"

    def _gsv(self) -> Iterator[str]:
        sky = satellites(self._hardware.fix.seen)
        for talker in ("GP", "GL"):
            mine = [one for one in sky if (one[0] < _GLONASS_FIRST) == (talker == "GP")]
            total = max((len(mine) + 3) // 4, 1)
            for number in range(total):
                four = mine[4 * number : 4 * number + 4]
                blocks = "".join(
                    f",{sat:02},{elevation:02},{azimuth:03},{cno:02}" for sat, elevation, azimuth, cno in four
                )
                yield f"{talker}GSV,{total},{number + 1},{len(mine):02}{blocks},1"


def framed(body: str) -> bytes:
    """A sentence with its start, its checksum (exclusive or of all between $ and *) and its end."""
    checksum = 0
    for byte in body.encode("ascii"):
        checksum ^= byte
    return f"${body}*{checksum:02X}\r\n".encode("ascii")


def _clock(told: Told) -> str:
    if not told.known:
        return ""
    *_, hour, minute, second = told.date()
    return f"{hour:02}{minute:02}{second:02}.00"


def _place() -> str:
    latitude, longitude = abs(LATITUDE), abs(LONGITUDE)
    return (
        f"{int(latitude):02}{latitude % 1 * 60:08.5f},{'N' if LATITUDE >= 0 else 'S'},"
        f"{int(longitude):03}{longitude % 1 * 60:08.5f},{'E' if LONGITUDE >= 0 else 'W'}"
    )


def _rmc(told: Told) -> str:
    year, month, day, *_ = told.date()
    date = f"{day:02}{month:02}{year % 100:02}" if told.known else ""
    if not told.fix:
        return f"{_clock(told)},V,,,,,,,{date},,,N,V"
    return f"{_clock(told)},A,{_place()},0.004,77.52,{date},,,A,V"


def _zda(told: Told) -> str:
    if not told.known:
        return ",,,,00,00"
    year, month, day, *_ = told.date()
    return f"{_clock(told)},{day:02},{month:02},{year:04},00,00"
