"""Single satellites: systems by name, what UBX says of them, how long they stand."""

from __future__ import annotations

import pytest

from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.constellation import SpokenSky, mean_cn0, of_ubx
from timesync.gnss.event import FixReport, Satellite
from timesync.gnss.sky_watch import SkyWatch
from timesync.wire import nmea
from timesync.wire.ubx_message import Satellite as UbxSatellite

START: Instant[Mono] = Instant(0)


def gsv(body: str) -> nmea.Gsv:
    sentence = nmea.decode(nmea.frame(body))
    assert isinstance(sentence, nmea.Gsv)
    return sentence


def satellite(cn0: float | None, *, used: bool) -> Satellite:
    return Satellite(gnss="GPS", number=1, elevation_deg=10, azimuth_deg=20, cn0_db_hz=cn0, used=used)


def test_ubx_numbers_the_systems_and_says_91_degrees_for_unknown() -> None:
    common = {"number": 4, "azimuth": 12, "used": True}
    known, unknown, new = of_ubx(
        [
            UbxSatellite(system=6, signal_db=40, elevation=-3, **common),
            UbxSatellite(system=2, signal_db=0, elevation=-91, **common),
            UbxSatellite(system=99, signal_db=1, elevation=90, **common),
        ]
    )
    assert ("GLONASS", -3, 12, 40.0) == (known.gnss, known.elevation_deg, known.azimuth_deg, known.cn0_db_hz)
    assert ("Galileo", None, None, None) == (
        unknown.gnss,
        unknown.elevation_deg,
        unknown.azimuth_deg,
        unknown.cn0_db_hz,
    )
    assert "" == new.gnss


def test_the_mean_signal_is_of_the_satellites_in_use() -> None:
    assert 40.0 == mean_cn0([satellite(38, used=True), satellite(42, used=True), satellite(10, used=False)])
    assert 10.0 == mean_cn0([satellite(None, used=True), satellite(10, used=False)])
    assert mean_cn0([satellite(None, used=False)]) is None


@pytest.mark.parametrize("used", [[("1", 5), ("2", 66)], [("GN", 5), ("GN", 66)], [("GP", 5), ("GL", 66)]])
def test_gsa_names_the_systems_in_three_ways(used: list[tuple[str, int]]) -> None:
    sky = SpokenSky()
    sky.hear(gsv("GPGSV,1,1,02,05,40,083,46,06,17,308,41"))
    sky.hear(gsv("GLGSV,1,1,01,66,09,027,30"))
    told = sky.burst(used, START)
    assert told is not None
    assert {("GPS", 5, True), ("GPS", 6, False), ("GLONASS", 66, True)} == {
        (one.gnss, one.number, one.used) for one in told
    }


def test_the_strongest_signal_of_a_satellite_counts_and_a_silent_system_is_forgotten() -> None:
    sky = SpokenSky()
    sky.hear(gsv("GAGSV,1,1,01,03,44,149,31,7"))
    sky.hear(gsv("GAGSV,1,1,01,03,44,149,40,2"))
    sky.hear(gsv("GAGSV,1,1,01,03,44,149,,1"))
    told = sky.burst([], START)
    assert told is not None
    assert [40.0] == [one.cn0_db_hz for one in told]
    assert sky.burst([], START) is None, "nothing was said of it in this second"
    for seconds, expected in ((9, {"GPS", "Galileo"}), (11, {"GPS"})):
        sky.hear(gsv("GPGSV,1,1,01,05,40,083,46"))
        told = sky.burst([], START + Duration.from_s(seconds))
        assert expected == {one.gnss for one in told or ()}


def test_what_was_said_of_the_sky_stands_for_a_minute() -> None:
    watch = SkyWatch()
    watch.on_fix(FixReport(satellites=(satellite(40, used=True),)), START)
    watch.on_fix(FixReport(hdop=1.0), START + Duration.from_s(59))
    assert 1 == len(watch.sky(START + Duration.from_s(60)).satellites or ())
    assert watch.sky(START + Duration.from_s(61)).satellites is None


def test_a_flood_of_invented_satellites_is_bounded() -> None:
    sky = SpokenSky()
    for talker in ("GP", "GL", "GA"):
        for first in range(1, 997, 4):
            four = ",".join(f"{number:03},10,020,30" for number in range(first, first + 4))
            sky.hear(gsv(f"{talker}GSV,9,1,99,{four}"))
    assert 128 == len(sky.burst([], START) or ())
