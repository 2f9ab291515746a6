"""Single satellites, from whatever language tells of them: their system by name, where they stand, what is heard."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.event import Satellite
from timesync.wire import gpsd, nmea
from timesync.wire import ubx_message as ubx

MOST: Final = 128
"""Satellites of a sky; more than all systems have above one horizon."""

_BY_ID: Final = {0: "GPS", 1: "SBAS", 2: "Galileo", 3: "BeiDou", 4: "IMES", 5: "QZSS", 6: "GLONASS", 7: "NavIC"}
"""The receiver's ``gnssId`` of UBX, which gpsd's ``gnssid`` is, too."""

_BY_TALKER: Final = {
    "GP": "GPS", "GL": "GLONASS", "GA": "Galileo", "GB": "BeiDou", "BD": "BeiDou", "GQ": "QZSS", "GI": "NavIC"
}  # fmt: skip
_BY_SYSTEM: Final = {"1": "GPS", "2": "GLONASS", "3": "Galileo", "4": "BeiDou", "5": "QZSS", "6": "NavIC"}
"""NMEA 0183 4.11, system id of GSA."""

_BY_NUMBER: Final = (
    (range(1, 33), "GPS"), (range(33, 65), "SBAS"), (range(65, 97), "GLONASS"), (range(120, 159), "SBAS"),
    (range(193, 203), "QZSS"), (range(301, 337), "Galileo"), (range(401, 464), "BeiDou"),
)  # fmt: skip
"""Numbers of satellites that belong to one system each, in NMEA and in gpsd's ``PRN``."""

_TALKER_HOLD: Final = Duration.from_s(10)
"""Some receivers tell of one system only every few seconds."""


def of_ubx(satellites: Iterable[ubx.Satellite]) -> tuple[Satellite, ...]:
    """Those of NAV-SAT; an elevation beyond the zenith is the receiver's way to say that it does not know."""
    return tuple(
        Satellite(
            gnss=_BY_ID.get(one.system, ""),
            number=one.number,
            elevation_deg=one.elevation if abs(one.elevation) <= 90 else None,
            azimuth_deg=one.azimuth % 360 if abs(one.elevation) <= 90 else None,
            cn0_db_hz=float(one.signal_db) if one.signal_db else None,
            used=one.used,
        )
        for one in tuple(satellites)[:MOST]
    )


def of_gpsd(satellites: Iterable[gpsd.SkySatellite]) -> tuple[Satellite, ...]:
    """Those of SKY; before release 3.18 only their numbers say to which system they belong."""
    return tuple(
        Satellite(
            gnss=_of_number(one.prn) if one.gnss is None else _BY_ID.get(one.gnss, ""),
            number=one.prn if one.number is None else one.number,
            elevation_deg=one.elevation,
            azimuth_deg=None if one.azimuth is None else one.azimuth % 360,
            cn0_db_hz=one.signal_db or None,
            used=one.used,
        )
        for one in tuple(satellites)[:MOST]
    )


def mean_cn0(satellites: Iterable[Satellite]) -> float | None:
    """Mean C/N0 in dB-Hz of the satellites in the solution; of all that are heard when none is. None without any."""
    heard = [(one.cn0_db_hz, one.used) for one in satellites if one.cn0_db_hz is not None]
    counted = [cn0 for cn0, used in heard if used] or [cn0 for cn0, _ in heard]
    return sum(counted) / len(counted) if counted else None


class SpokenSky:
    """Gathers the satellites of GSV sentences, of which each tells of four, and those that GSA calls used."""

    def __init__(self) -> None:
        self._gathered: dict[str, dict[int, nmea.InView]] = {}
        self._stand: dict[str, tuple[dict[int, nmea.InView], Instant[Mono]]] = {}

    def hear(self, sentence: nmea.Gsv) -> None:
        """Four satellites. One of several signals is heard once for each: the strongest counts."""
        mine = self._gathered.setdefault(sentence.talker, {})
        for one in sentence.satellites:
            before = mine.get(one.number)
            if (before is not None or len(mine) < MOST) and (
                before is None or (one.signal_db or 0) > (before.signal_db or 0)
            ):
                mine[one.number] = one

    def burst(self, used: Iterable[tuple[str, int]], now: Instant[Mono]) -> tuple[Satellite, ...] | None:
        """A second is over: the sky as it stands, None where nothing was said of it.

        Args:
            used: System and number of the satellites in the solution, as GSA tells them: the id of a system, or the
                talker of a sentence without.
            now: The moment.
        """
        gathered, self._gathered = self._gathered, {}
        self._stand |= {talker: (satellites, now) for talker, satellites in gathered.items()}
        self._stand = {key: kept for key, kept in self._stand.items() if now - kept[1] <= _TALKER_HOLD}
        if not gathered:
            return None
        solved = {(_system(name, number), number) for name, number in used}
        return tuple(self._all(solved))[:MOST]

    def _all(self, solved: set[tuple[str, int]]) -> Iterator[Satellite]:
        for talker, (satellites, _) in self._stand.items():
            for one in satellites.values():
                gnss = _system(talker, one.number)
                yield Satellite(
                    gnss=gnss,
                    number=one.number,
                    elevation_deg=one.elevation,
                    azimuth_deg=None if one.azimuth is None else one.azimuth % 360,
                    cn0_db_hz=None if not one.signal_db else float(one.signal_db),
                    used=(gnss, one.number) in solved,
                )


def _system(name: str, number: int) -> str:
    """The system of a satellite by a talker or a system id, and by its number where that says more.

    SBAS satellites are told of among those of GPS, and GN is the talker of several systems at once.
    """
    said = _BY_SYSTEM.get(name) or _BY_TALKER.get(name)
    by_number = _of_number(number)
    return by_number if said is None or (said == "GPS" and by_number) else said


def _of_number(number: int) -> str:
    return next((name for numbers, name in _BY_NUMBER if number in numbers), "")
