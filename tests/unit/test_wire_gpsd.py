"""gpsd's lines: the examples of its manual, recorded lines of several releases, and what must be refused."""

from __future__ import annotations

import datetime as dt
import json
import time
from typing import Any

import pytest

from timesync.base.time import Instant
from timesync.wire.error import WireError
from timesync.wire.gpsd import (
    MAX_REQUEST,
    Device,
    Devices,
    Error,
    Other,
    Pps,
    Report,
    Sky,
    SkySatellite,
    Toff,
    Tpv,
    Version,
    Watch,
    decode,
    watch,
)
from timesync.wire.gpsd_fields import MAX_LINE

UTC = dt.UTC


def line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"class": kind, **fields}).encode() + b"\r\n"


def posix_ns(*when: int, ns: int = 0) -> int:
    """By the standard library's calendar, not ours."""
    year, month, day, hour, minute, second = when
    return int(dt.datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()) * 10**9 + ns


REPORTS: list[tuple[bytes, Report]] = [
    (
        b'{"class":"VERSION","release":"3.22","rev":"3.22","proto_major":3,"proto_minor":14}\r\n',
        Version("3.22", 3, 14),
    ),
    (
        (
            b'{"class":"DEVICES","devices":[{"class":"DEVICE","path":"/dev/ttyAMA0","driver":"u-blox","subtype":"SW '
            b'ROM CORE 3.01 (107888),HW 00080000","activated":"2019-06-22T08:43:38.163Z","flags":1,"native":1,'
            b'"bps":9600,"parity":"N","stopbits":1,"cycle":1.00,"mincycle":0.25},{"class":"DEVICE","path":"/dev/pps0"}]}\r\n'
        ),
        Devices(
            (
                Device(
                    path="/dev/ttyAMA0",
                    activated=True,
                    driver="u-blox",
                    subtype="SW ROM CORE 3.01 (107888),HW 00080000",
                ),
                Device(path="/dev/pps0", activated=False),
            )
        ),
    ),
    (b'{"class":"DEVICES","devices":[],"remote":"gpsd://other"}', Devices((), remote=True)),
    (b'{"class":"DEVICE","path":"/dev/pts1","activated":0}', Device(path="/dev/pts1", activated=False)),
    (
        (
            b'{"class":"WATCH","enable":true,"json":true,"nmea":false,"raw":0,"scaled":false,"timing":true,'
            b'"split24":false,"pps":true,"device":"/dev/ttyAMA0"}'
        ),
        Watch(enable=True, json=True, pps=True, device="/dev/ttyAMA0"),
    ),
    (
        (
            b'{"class":"TPV","device":"/dev/pts/1","time":"2005-06-08T10:34:48.283Z","ept":0.005,"lat":46.498293369,'
            b'"lon":7.567411672,"alt":1343.127,"eph":36.000,"epv":32.321,"track":10.3788,"speed":0.091,"climb":-0.085,'
            b'"mode":3}'
        ),
        Tpv(
            device="/dev/pts/1",
            mode=3,
            time=Instant.from_ns(posix_ns(2005, 6, 8, 10, 34, 48, ns=283_000_000)),
            ept=0.005,
        ),
    ),
    (
        # As release 3.22 writes it with "timing", a blank before the number and all.
        (
            b'{"class":"TPV","device":"/dev/ttyS0","status":2,"mode":2,"time":"2026-11-21T07:40:00.000Z",'
            b'"leapseconds":18,"ept":0.005,"rtime": 1795246800.123456789,"sor": 1795246800.000000001,"chars":312,'
            b'"sats": 8,"week":2393,"tow":546018.000,"rollovers":2}'
        ),
        Tpv(
            device="/dev/ttyS0",
            mode=2,
            status=2,
            time=Instant.from_ns(posix_ns(2026, 11, 21, 7, 40, 0)),
            leapseconds=18,
            ept=0.005,
            sent_ns=1_795_246_800_123_456_789,
        ),
    ),
    (b'{"class":"TPV","mode":0}', Tpv(mode=0)),
    (
        (
            b'{"class":"SKY","device":"/dev/pts/1","time":"2005-07-08T11:28:07.114Z","xdop":1.55,"hdop":1.24,"pdop":1.99,'
            b'"satellites":[{"PRN":23,"el":6,"az":84,"ss":0,"used":false},{"PRN":28,"el":7,"az":160,"ss":0,"used":false},'
            b'{"PRN":8,"el":66,"az":189,"ss":44,"used":true}]}'
        ),
        Sky(
            device="/dev/pts/1",
            seen=3,
            used=1,
            hdop=1.24,
            satellites=(
                SkySatellite(prn=23, elevation=6, azimuth=84, signal_db=0),
                SkySatellite(prn=28, elevation=7, azimuth=160, signal_db=0),
                SkySatellite(prn=8, elevation=66, azimuth=189, signal_db=44, used=True),
            ),
        ),
    ),
    (
        (
            b'{"class":"SKY","device":"/dev/ttyS0","tdop":0.71,"hdop":0.9,"nSat":31,"uSat":12,"satellites":[{"PRN":1,'
            b'"el":6.0,"az":84.0,"ss":20.0,"used":true,"gnssid":0,"svid":1,"health":1}]}'
        ),
        Sky(
            device="/dev/ttyS0",
            seen=31,
            used=12,
            hdop=0.9,
            tdop=0.71,
            satellites=(SkySatellite(prn=1, gnss=0, number=1, elevation=6.0, azimuth=84.0, signal_db=20.0, used=True),),
        ),
    ),
    (b'{"class":"SKY","device":"/dev/ttyS0","hdop":1}', Sky(device="/dev/ttyS0", hdop=1.0)),
    (b'{"class":"SKY","device":"/dev/ttyS0","uSat":7}', Sky(device="/dev/ttyS0", used=7)),
    (
        (
            b'{"class":"TOFF","device":"/dev/ttyUSB0","real_sec":1330212592, "real_nsec":343182,"clock_sec":1330212592,'
            b'"clock_nsec":343184,"precision":-2}'
        ),
        Toff(
            device="/dev/ttyUSB0",
            real=Instant.from_ns(1_330_212_592_000_343_182),
            clock_ns=1_330_212_592_000_343_184,
        ),
    ),
    (
        (
            b'{"class":"PPS","device":"/dev/ttyAMA0","real_sec":1795246801,"real_nsec":0,"clock_sec":1795246800,'
            b'"clock_nsec":999998765,"precision":-20,"shm":"NTP2","qErr":-8123}'
        ),
        Pps(
            device="/dev/ttyAMA0",
            real=Instant.from_ns(1_795_246_801 * 10**9),
            clock_ns=1_795_246_800_999_998_765,
            precision=-20,
            q_err_ps=-8123,
        ),
    ),
    (b'{"class":"ERROR","message":"Unrecognized request \'?FOO\'"}', Error("Unrecognized request '?FOO'")),
    (b'{"class":"AIS","device":"stdin","type":5,"mmsi":351759000}', Other("AIS")),
]


@pytest.mark.parametrize(("data", "report"), REPORTS, ids=lambda one: type(one).__name__)
def test_a_line_of_gpsd(data: bytes, report: Report) -> None:
    assert report == decode(data)


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("2026-02-28T23:59:59.999999999Z", posix_ns(2026, 2, 28, 23, 59, 59, ns=999_999_999)),
        ("2024-02-29T12:00:00.5Z", posix_ns(2024, 2, 29, 12, 0, 0, ns=500_000_000)),
        ("2026-11-21T07:40:00.001Z", posix_ns(2026, 11, 21, 7, 40, 0, ns=1_000_000)),
        ("9999-12-31T23:59:59.000Z", 253_402_300_799 * 10**9),
        # POSIX time has no name for a leap second: it repeats the second before.
        ("2016-12-31T23:59:60.250Z", posix_ns(2016, 12, 31, 23, 59, 59, ns=250_000_000)),
    ],
)
def test_a_time_is_exact(text: str, ns: int) -> None:
    report = decode(line("TPV", mode=3, time=text))
    assert isinstance(report, Tpv)
    assert report.time is not None
    assert (ns, 0) == divmod(report.time.scaled_ns, 65_536)


def test_the_time_of_writing_does_not_pass_through_a_float() -> None:
    """A float of today would be 238 ns coarse."""
    for digits in ("1795246800.000000001", "1795246800.999999999", "1795246800.12", "1795246800"):
        report = decode(b'{"class":"TPV","mode":1,"rtime":%s}' % digits.encode())
        assert isinstance(report, Tpv)
        whole, _, fraction = digits.partition(".")
        assert int(whole + fraction.ljust(9, "0")) == report.sent_ns


@pytest.mark.parametrize("value", [b"-1.5", b'"soon"', b"1e9", b"[]", b"1.0000000001", b"12345678901234.5", b"true"])
def test_a_strange_time_of_writing_costs_only_itself(value: bytes) -> None:
    assert Tpv(mode=3) == decode(b'{"class":"TPV","mode":3,"rtime":%s}' % value)


TIMES = [
    "2026-11-21 07:40:00Z",
    "2026-11-21T07:40:00",
    "2026-11-21T07:40:00+01:00",
    "2026-13-01T00:00:00Z",
    "2026-02-29T00:00:00Z",
    "2026-11-21T24:00:00Z",
    "2026-11-21T12:00:60Z",
    "2026-11-21T07:40:00.Z",
    "2026-11-21T07:40:00.0000000001Z",
    "0000-01-01T00:00:00Z",
    "1969-12-31T23:59:59Z",
    "٢٠٢٦-11-21T07:40:00Z",
    "NaN",
    "",
    1_795_246_800,
    1_795_246_800.5,
    True,
    ["2026-11-21T07:40:00Z"],
]


@pytest.mark.parametrize("time_", TIMES)
def test_a_time_that_is_none(time_: object) -> None:
    with pytest.raises(WireError, match=r"^TPV time$"):
        decode(line("TPV", mode=3, time=time_))


PULSE = {"device": "/dev/ttyS0", "real_sec": 10, "real_nsec": 0, "clock_sec": 10, "clock_nsec": 7, "precision": -20}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not JSON"),
        (b"\r\n", "not JSON"),
        (b"$GPRMC,,V,,,,,,,,,,N*53", "not JSON"),
        (b'{"class":"SKY","satellites":[{"PRN":1', "not JSON"),
        (b'{"class":"TPV","mode":3}{"class":"TPV","mode":3}', "not JSON"),
        (b'{"class":"TPV","mode":03}', "not JSON"),
        (b'{"class":"TPV","mode":\x00}', "not JSON"),
        (b'{"class":"TPV","tag":"\xff"}', "not UTF-8"),
        (b'\xef\xbb\xbf{"class":"TPV","mode":3}', "not JSON"),
        (b"[]", "not an object"),
        (b"3", "not an object"),
        (b"null", "not an object"),
        (b"{}", "no class"),
        (b'{"class":""}', "no class"),
        (b'{"class":3}', "report class"),
        (b'{"class":1.5}', "report class"),
        (b'{"class":"TPV","mode":3,"ept":NaN}', "not a number"),
        (b'{"class":"TPV","mode":3,"ept":Infinity}', "not a number"),
        (b'{"class":"TPV","mode":3,"ept":-Infinity}', "not a number"),
        (b'{"class":"TPV","mode":3,"ept":1e999}', "TPV ept"),
        (b'{"class":"TPV","mode":3,"ept":-0.5}', "TPV ept"),
        (b'{"class":"TPV","mode":3,"ept":"0.5"}', "TPV ept"),
        (b'{"class":"TPV","mode":3,"x":%s}' % (b"9" * 5000), "number too long"),
        (line("TPV"), "TPV mode"),
        (line("TPV", mode=4), "TPV mode"),
        (line("TPV", mode=-1), "TPV mode"),
        (line("TPV", mode=3.0), "TPV mode"),
        (line("TPV", mode=True), "TPV mode"),
        (line("TPV", mode="3"), "TPV mode"),
        (line("TPV", mode=3, leapseconds=18.0), "TPV leapseconds"),
        (line("TPV", mode=3, leapseconds=-18), "TPV leapseconds"),
        (line("TPV", mode=3, device=7), "TPV device"),
        (line("TPV", mode=3, device="/dev/\x1b[2J"), "TPV device"),
        (line("TPV", mode=3, device="/dev/\ud800"), "TPV device"),
        (line("TPV", mode=3, device="/" * 257), "TPV device"),
        (line("SKY", satellites={}), "SKY satellites"),
        (line("SKY", satellites=[3]), "SKY satellites"),
        (line("SKY", satellites=[{"used": 1}]), "SKY used"),
        (line("SKY", nSat=-1), "SKY nSat"),
        (line("SKY", uSat=3.5), "SKY uSat"),
        (line("SKY", hdop="1"), "SKY hdop"),
        (line("SKY", tdop=True), "SKY tdop"),
        (line("DEVICES", devices="none"), "DEVICES devices"),
        (line("DEVICES", devices=[None]), "DEVICES devices"),
        (line("DEVICE", path="/dev/x", activated=[]), "DEVICE activated"),
        (line("WATCH", enable=1), "WATCH enable"),
        (line("VERSION", release="3.22"), "VERSION proto_major"),
        (line("VERSION", release="3.22", proto_major=3, proto_minor="14"), "VERSION proto_minor"),
        (line("ERROR", message=["no"]), "ERROR message"),
        *(
            (line("PPS", **{**PULSE, name: value}), f"PPS {name}")
            for name, value in [
                ("real_sec", None),
                ("real_sec", -1),
                ("real_sec", 253_402_300_800),
                ("real_nsec", 10**9),
                ("clock_sec", 1.5),
                ("clock_nsec", -1),
                ("clock_nsec", "0"),
                ("precision", None),
                ("precision", 1),
                ("precision", -65),
                ("qErr", 2**31),
                ("qErr", 0.5),
            ]
        ),
        (line("TOFF", **{**PULSE, "clock_sec": True}), "TOFF clock_sec"),
    ],
)
def test_what_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(WireError) as caught:
        decode(data)
    assert reason == str(caught.value)


def test_a_line_may_be_long_but_not_longer() -> None:
    short = line("TPV", mode=3, pad="")
    fits = line("TPV", mode=3, pad="x" * (MAX_LINE + 2 - len(short)))
    assert Tpv(mode=3) == decode(fits)
    with pytest.raises(WireError, match="line too long"):
        decode(b" " + fits)


def test_the_longest_sky_is_read() -> None:
    satellites = [
        {"PRN": n, "gnssid": n % 7, "svid": n, "sigid": 3, "az": 359.9, "el": 89.9, "ss": 44.4, "used": n % 3 == 0}
        for n in range(1, 601)
    ]
    data = line("SKY", device="/dev/ttyACM0", nSat=600, uSat=200, satellites=satellites)
    assert 10_240 < len(data) <= MAX_LINE
    sky = decode(data)
    assert isinstance(sky, Sky)
    assert ("/dev/ttyACM0", 600, 200) == (sky.device, sky.seen, sky.used)
    assert 600 == len(sky.satellites or ())


def test_what_cannot_be_of_a_satellite_does_not_cost_the_report() -> None:
    strange = {"PRN": "7", "gnssid": 1.5, "svid": -3, "el": -91, "az": "north", "ss": 1e300, "used": True}
    sky = decode(line("SKY", satellites=[strange, {"PRN": 3, "el": -5.5}]))
    assert isinstance(sky, Sky)
    assert (SkySatellite(prn=0, used=True), SkySatellite(prn=3, elevation=-5.5)) == sky.satellites


@pytest.mark.parametrize(
    "bomb", [b"[" * 65_000, b'{"class":' * 7_000, b'{"class":"TPV","x":' + b"[" * 9 + b"]" * 9 + b"}"]
)
def test_depth_is_bounded(bomb: bytes) -> None:
    with pytest.raises(WireError, match="nested too deeply"):
        decode(bomb)


def test_brackets_in_words_are_no_depth() -> None:
    text = '[[[[[[[[[[{{{{ "quoted\\" [[[['
    assert Error(text) == decode(line("ERROR", message=text))


@pytest.mark.parametrize("unit", [b'"', b'\\"', b'"\\', b'"[', b'\\\\"', b'{"a":"'])
def test_no_line_is_slow(unit: bytes) -> None:
    """The check of the depth is one pass, whatever the quotes; quadratic, it would take minutes."""
    data = (unit * MAX_LINE)[:MAX_LINE]
    began = time.process_time()
    with pytest.raises(WireError):
        decode(data)
    assert time.process_time() - began < 2


def test_words_for_people_are_cut_and_printable() -> None:
    report = decode(line("DEVICE", path="/dev/x", driver="NMEA\x1b[2J\ud800\n0183", subtype="y" * 1000))
    assert Device(path="/dev/x", activated=False, driver="NMEA\ufffd[2J\ufffd\ufffd0183", subtype="y" * 256) == report


def test_the_last_of_two_equal_keys_counts() -> None:
    assert Tpv(mode=1) == decode(b'{"class":"TPV","mode":3,"mode":1}')


def test_the_request() -> None:
    assert b'?WATCH={"json":true,"pps":true,"timing":true};\n' == watch(None)
    assert b'?WATCH={"json":true,"pps":true,"timing":true,"device":"/dev/ttyAMA0"};\n' == watch("/dev/ttyAMA0")
    assert len(watch("/dev/serial0").rstrip()) <= MAX_REQUEST
    assert watch('/dev/"odd"\n').count(b"\n") == 1
