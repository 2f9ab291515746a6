"""A receiver on a serial line: its speed, its marks, its fix, its leap seconds, its sawtooth."""

from __future__ import annotations

import calendar
import itertools
from collections import Counter
from dataclasses import asdict

import pytest
from serial_support import BUILD, TAI_START_NS, Line, S, bauds, monver, of, pvt, rmc, timels, timtp

from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Utc
from timesync.gnss.event import (
    DeviceReport,
    FixMode,
    FixReport,
    Garbled,
    LeapReport,
    PulseLock,
    Sawtooth,
    SetBaud,
    TimeMark,
    Write,
)
from timesync.gnss.serial_line import BAUDS
from timesync.wire import nmea, ubx
from timesync.wire import ubx_message as kinds

NOON = 1_789_473_600
"""2026-09-15 12:00:00 UTC (``date -u -d '2026-09-15 12:00' +%s``)."""

WEEKS_1024_S = 619_315_200
SATELLITES = nmea.frame("GPGSV,1,1,04,01,40,083,46,02,17,308,41,12,07,344,39,14,22,228,45")


def utc(second: int, ns: int = 0) -> Instant[Utc]:
    return Instant.from_ns(second * S + ns)


def noon_of(year: int, month: int, day: int) -> int:
    return calendar.timegm((year, month, day, 12, 0, 0))


def marks(events: list[object]) -> list[TimeMark]:
    return of(TimeMark, events)


# Speed.


def test_the_speeds_are_tried_in_turn_and_then_again() -> None:
    line = Line(baud=None)
    assert [SetBaud(9600)] == line.events
    line.wait(line.now_ns + int(2.5 * S) * (len(BAUDS) + 1))
    assert [*BAUDS, *BAUDS[:2]] == bauds(line.events)


def test_noise_and_one_right_checksum_are_not_enough() -> None:
    line = Line(baud=None)
    line.read(b"\xff\x13\x80$\x99" + rmc())
    assert not line.receiver.locked
    line.wait(line.now_ns + 3 * S)
    line.read(rmc())
    assert [115_200] == bauds(line.events)[1:], "the count began anew with the new speed"
    assert not line.receiver.locked
    assert not of(TimeMark, line.events)
    assert not of(Garbled, line.events)


def test_two_right_checksums_settle_the_speed() -> None:
    line = Line(baud=None)
    line.wait(line.now_ns + 3 * S)
    line.read(rmc("115959.00") + rmc())
    assert line.receiver.locked
    assert line.receiver.baud == 115_200
    assert [DeviceReport(device="gps0", present=True, description="NMEA at 115200 baud")] == of(
        DeviceReport, line.events
    )
    assert [utc(NOON)] == [mark.utc for mark in of(TimeMark, line.events)]


def test_silence_starts_the_search_with_the_speed_that_was_right() -> None:
    line = Line(baud=None)
    line.wait(line.now_ns + 3 * S)
    line.lock()
    line.wait(line.now_ns + 13 * S)
    assert not of(SetBaud, line.events)
    line.wait(line.now_ns + 4 * S)
    assert [DeviceReport(device="gps0", present=False)] == of(DeviceReport, line.events)
    assert [115_200, 9600] == bauds(line.events)


def test_rubbish_is_silence_too() -> None:
    line = Line(baud=None)
    line.lock()
    for _ in range(16):
        line.wait(line.now_ns + S)
        line.read(bytes(range(128, 200)))
    assert not line.receiver.locked
    assert {Garbled("noise")} == set(of(Garbled, line.events))


def test_a_remembered_speed_is_tried_first() -> None:
    line = Line(baud=None, remembered=57_600)
    assert [SetBaud(57_600)] == line.events
    line.wait(line.now_ns + 3 * S)
    assert [57_600, 9600] == bauds(line.events)


def test_a_given_speed_is_kept() -> None:
    line = Line(baud=38_400)
    line.wait(line.now_ns + 100 * S)
    line.lock()
    line.wait(line.now_ns + 100 * S)
    assert [DeviceReport(device="gps0", present=False)] == of(DeviceReport, line.events)
    assert not of(SetBaud, line.events)
    assert line.receiver.baud == 38_400
    line.read(rmc() + rmc())
    assert line.receiver.locked


def test_after_a_loss_it_begins_with_the_speed_that_was_found() -> None:
    line = Line(baud=None)
    line.wait(line.now_ns + 3 * S)
    line.lock()
    assert [DeviceReport(device="gps0", present=False)] == line.receiver.on_lost()
    assert [SetBaud(115_200)] == line.receiver.on_open(line.now)
    assert not line.receiver.locked


# Marks.


@pytest.mark.parametrize("lot", [1, 7, 8, 14, 1000])
@pytest.mark.parametrize("before", [b"", SATELLITES])
def test_a_mark_is_stamped_when_the_burst_began_however_it_was_read(lot: int, before: bytes) -> None:
    line = Line()
    line.lock()
    begin = line.now_ns + S
    [mark] = marks(list(line.send(before + rmc(), begin_ns=begin, lot=lot)))
    assert mark.kind == "RMC"
    assert utc(NOON) == mark.utc
    assert mark.trusted
    # An octet at 9600 baud does not last whole nanoseconds.
    assert abs(mark.stamp.at - Instant.from_ns(TAI_START_NS + begin)) < Duration.from_ns(1000)


def test_no_octet_came_before_the_read_that_did_not_have_it() -> None:
    """A USB receiver talks faster than its baud says."""
    line = Line(baud=4800)
    line.lock()
    line.read(b"\r\n")
    before = line.stamp.at
    line.now_ns += 150_000_000
    [mark] = marks(list(line.read(rmc())))
    assert before < mark.stamp.at == line.stamp.at - Duration((10 * S << 16) // 4800) * len(rmc())
    line.now_ns += 850_000_000
    line.read(b"\r\n")
    before = line.stamp.at
    line.now_ns += 1_000_000
    [mark] = marks(list(line.read(rmc("120001.00"))))
    assert before == mark.stamp.at


@pytest.mark.parametrize("lots", [1, 3])
def test_a_line_with_a_baud_in_name_only_takes_no_time(lots: int) -> None:
    """A receiver on USB: 130 octets at once, or in three packets a millisecond apart."""
    line = Line(baud=9600)
    line.lock()
    errors = []
    for second in range(8):
        line.now_ns += S
        begin = line.stamp.at
        data = rmc(f"1200{second:02}.00") + SATELLITES
        events: list[object] = []
        size = -(-len(data) // lots)
        for at in range(0, len(data), size):
            events += line.read(data[at : at + size])
            line.now_ns += 1_000_000
        errors += [(mark.stamp.at - begin).s() for mark in marks(events)]
    assert errors[0] < -0.01
    assert [0.0] * 4 == [round(error, 2) for error in errors[-4:]]


def test_one_late_read_does_not_make_a_line_fast() -> None:
    line = Line()
    line.lock()
    for second in range(9):
        begin = line.now_ns + S
        lot = 1000 if second % 3 == 2 else 8
        events = line.send(rmc(f"1200{second:02}.00") + SATELLITES, begin_ns=begin, lot=lot)
        [mark] = marks(list(events))
        assert abs(mark.stamp.at - Instant.from_ns(TAI_START_NS + begin)) < Duration.from_ns(1000)


def test_a_stepped_clock_bounds_nothing() -> None:
    line = Line()
    line.lock()
    line.read(b"\r\n")
    line.now_ns += 10_000_000
    line.epoch = 1
    [mark] = marks(list(line.read(rmc())))
    assert mark.stamp.at == line.stamp.at - Duration((10 * S << 16) // 9600) * len(rmc())


def test_without_a_stamp_there_is_no_mark() -> None:
    line = Line()
    line.lock()
    assert not marks(list(line.read(rmc(), stamped=False)))


def test_all_messages_of_a_burst_share_its_stamp() -> None:
    line = Line()
    line.lock()
    begin = line.now_ns + S
    zda = nmea.frame("GNZDA,120000.00,15,09,2026,00,00")
    found = marks(list(line.send(rmc() + SATELLITES + zda + pvt(), begin_ns=begin)))
    assert [("RMC", True), ("ZDA", True), ("NAV-PVT", True)] == [(one.kind, one.trusted) for one in found]
    assert len({one.stamp.at for one in found}) == 1
    assert found[2].accuracy_s == pytest.approx(25e-9)


def test_a_line_without_a_pause_marks_each_time_by_its_own_message() -> None:
    """At 10 Hz the next burst follows at once."""
    line = Line(baud=115_200)
    line.lock()
    begins = []
    data = b""
    for tenth in range(5):
        begins.append(len(data))
        data += rmc(f"1200{tenth // 10:02}.{tenth % 10}0") + SATELLITES
    begin = line.now_ns + S
    found = marks(list(line.send(data, begin_ns=begin, baud=115_200, lot=16)))
    spans = [(one.stamp.at - found[0].stamp.at).s() for one in found]
    assert [at * 10 / 115_200 for at in begins] == pytest.approx(spans, abs=1e-6)


def test_a_pause_within_a_message_opens_no_burst() -> None:
    line = Line()
    line.lock()
    begin = line.now_ns + S
    line.send(SATELLITES[:30], begin_ns=begin)
    [mark] = marks(list(line.send(SATELLITES[30:] + rmc(), begin_ns=line.now_ns + 300_000_000)))
    assert abs(mark.stamp.at - Instant.from_ns(TAI_START_NS + begin)) < Duration.from_ns(1000)


def test_noise_in_the_pause_is_no_part_of_the_burst() -> None:
    line = Line()
    line.lock()
    line.now_ns += S
    line.read(b"\x80\x80")
    begin = line.now_ns + 30_000_000
    [mark] = marks(list(line.send(rmc(), begin_ns=begin)))
    assert abs(mark.stamp.at - Instant.from_ns(TAI_START_NS + begin)) < Duration.from_ns(1000)


@pytest.mark.parametrize(
    ("status", "mode", "trusted"),
    [("A", "A", True), ("A", "D", True), ("V", "N", False), ("A", "E", False), ("A", "S", False), ("A", "N", False)],
)
def test_only_a_time_from_satellites_is_trusted(status: str, mode: str, trusted: bool) -> None:
    line = Line()
    line.lock()
    [mark] = marks(list(line.read(rmc(status=status, mode=mode))))
    assert trusted == mark.trusted


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"valid": 3}, False),
        ({"flags": 0}, False),
        ({"fix": 0}, False),
        ({"fix": 1}, False),
        ({"fix": 5}, True),
        ({"valid": 6}, None),
        ({"valid": 5}, None),
    ],
)
def test_nav_pvt_is_trusted_when_its_flags_say_so(change: dict[str, int], expected: bool | None) -> None:
    """Bits of ``valid``: date, time, fully resolved."""
    line = Line()
    line.lock()
    found = marks(list(line.read(pvt(**change))))
    assert [expected] == [one.trusted for one in found] or (expected is None and not found)


def test_nav_pvt_has_a_fraction_of_either_sign() -> None:
    line = Line()
    line.lock()
    assert [utc(NOON, -277_753)] == [one.utc for one in marks(list(line.read(pvt(nano=-277_753))))]


def test_a_zda_is_worth_what_the_fix_is_worth() -> None:
    line = Line()
    line.lock()
    zda = nmea.frame("GNZDA,120000.00,15,09,2026,00,00")
    assert [False] == [one.trusted for one in marks(list(line.read(zda)))]
    line.read(rmc(status="V", mode="N"))
    assert [False] == [one.trusted for one in marks(list(line.read(zda)))]
    line.read(rmc())
    assert [True] == [one.trusted for one in marks(list(line.read(zda)))]
    line.now_ns += 14 * S
    line.read(rmc(status="V", mode="N"))
    assert [False] == [one.trusted for one in marks(list(line.read(zda)))]


def test_a_receiver_that_never_tells_its_fix_is_trusted_after_a_while() -> None:
    line = Line()
    line.lock()
    trusted = []
    for second in range(15):
        line.now_ns += S
        found = marks(list(line.read(nmea.frame(f"GNZDA,1200{second:02}.00,15,09,2026,00,00"))))
        trusted += [one.trusted for one in found]
    assert trusted == sorted(trusted)
    assert {False, True} == set(trusted)


@pytest.mark.parametrize(
    "data",
    [nmea.frame("GNRMC,235960.00,A,,,,,,,311226,,,A,V"), pvt((2026, 12, 31, 23, 59, 60))],
)
def test_a_leap_second_gives_no_mark(data: bytes) -> None:
    line = Line()
    line.lock()
    events = line.read(data)
    assert not marks(list(events))
    assert Garbled("leap second") in events


# Rollovers of the GPS week.


@pytest.mark.parametrize("rollovers", [1, 2])
def test_a_date_before_the_build_is_moved_by_whole_rollovers(rollovers: int) -> None:
    line = Line()
    line.lock()
    date, year = {1: ("300107", 2007), 2: ("160687", 1987)}[rollovers]
    day, month = int(date[:2]), int(date[2:4])
    assert NOON - rollovers * WEEKS_1024_S == noon_of(year, month, day)
    events = [
        *line.read(rmc(date=date)),
        *line.read(nmea.frame(f"GNZDA,120000.00,{day:02},{month:02},{year},00,00")),
        *line.read(pvt((year, month, day, 12, 0, 0))),
    ]
    assert [utc(NOON)] * 3 == [one.utc for one in marks(list(events))]
    assert [Garbled("week rollover")] == of(Garbled, events), "said once"


def test_a_date_after_the_build_is_left_alone() -> None:
    line = Line()
    line.lock()
    assert utc(NOON) > BUILD
    events = line.read(rmc())
    assert [utc(NOON)] == [one.utc for one in marks(list(events))]
    assert not of(Garbled, events)


@pytest.mark.parametrize("date", ["270526", "110720", "010117"])
def test_a_date_that_no_rollover_explains_is_left_alone(date: str) -> None:
    """One day, six and nine years before the build: 1024 weeks more would make them 2036 to 2046."""
    line = Line()
    line.lock()
    events = line.read(rmc(date=date))
    day, month, year = int(date[:2]), int(date[2:4]), 2000 + int(date[4:])
    assert [noon_of(year, month, day)] == [one.utc.ns() // S for one in marks(list(events))]
    assert not of(Garbled, events)


def test_what_a_receiver_says_before_its_fix_is_not_made_to_look_right() -> None:
    """The date of a receiver without a battery is the start of its week count."""
    line = Line()
    line.lock()
    [mark] = marks(list(line.read(rmc(date="060180", status="V", mode="N"))))
    assert (False, noon_of(1980, 1, 6)) == (mark.trusted, mark.utc.ns() // S)


# Leap seconds.


def test_nothing_scheduled() -> None:
    line = Line()
    line.lock()
    assert [LeapReport(device="gps0", tai_utc=37, leap=Leap.NONE)] == of(
        LeapReport, line.read(pvt() + timels(change=0, until_s=1_321_624))
    )


@pytest.mark.parametrize(("change", "leap"), [(1, Leap.INSERT), (-1, Leap.DELETE)])
def test_a_leap_second_is_announced_for_a_midnight(change: int, leap: Leap) -> None:
    """From noon of 15 September 2026 there are 107.5 days to the end of the year (``date -u -d 2027-01-01 +%s``)."""
    line = Line()
    line.lock()
    expected = LeapReport(device="gps0", tai_utc=37, leap=leap, at=utc(1_798_761_600))
    events = line.read(pvt() + timels(change=change, until_s=107 * 86_400 + 43_200 + 3))
    assert [expected] == of(LeapReport, events)


def test_without_the_time_an_announcement_has_no_date() -> None:
    line = Line()
    line.lock()
    assert [LeapReport(device="gps0", tai_utc=37)] == of(LeapReport, line.read(timels(change=1, until_s=1000)))


@pytest.mark.parametrize("source", [0, 255])
def test_the_firmwares_own_table_is_no_knowledge(source: int) -> None:
    line = Line()
    line.lock()
    expected = [LeapReport(device="gps0", tai_utc=None)]
    assert expected == of(LeapReport, line.read(timels(source=source, change_source=0)))


# The sawtooth.


def test_tim_tp_names_its_second_in_utc() -> None:
    """2026-09-15 is a Tuesday: noon is 2 * 86400 + 43200 s into week 2436 that began on 2026-09-13."""
    line = Line()
    line.lock()
    data = timtp(tow_ms=(2 * 86_400 + 43_200) * 1000, week=2436, error_ps=9862)
    expected = Sawtooth(device="gps0", second=utc(NOON), correction=Duration(-(9862 * 65_536 // 1000)))
    assert [expected] == of(Sawtooth, line.read(data))
    assert expected.correction.s() == pytest.approx(-9.862e-9, abs=1e-14)


@pytest.mark.parametrize("tow_ms", [216_000_000, 215_999_999])
def test_a_fraction_beside_the_full_second_is_rounded_away(tow_ms: int) -> None:
    line = Line()
    line.lock()
    sub = 4_294_967_168 if tow_ms % 1000 else 128
    [one] = of(Sawtooth, line.read(timtp(tow_ms=tow_ms, week=2436, error_ps=0, sub=sub)))
    assert utc(NOON) == one.second


def test_a_pulse_aligned_with_gps_needs_the_leap_seconds() -> None:
    line = Line()
    line.lock()
    data = timtp(tow_ms=216_018_000, week=2436, error_ps=1000, flags=0, info=0)
    assert [None] == [one.second for one in of(Sawtooth, line.read(data))]
    line.read(timels())
    assert [utc(NOON)] == [one.second for one in of(Sawtooth, line.read(data))]


def test_a_lost_rollover_is_mended_here_too() -> None:
    line = Line()
    line.lock()
    [one] = of(Sawtooth, line.read(timtp(tow_ms=216_000_000, week=2436 - 1024, error_ps=0)))
    assert utc(NOON) == one.second


def test_a_pulse_whose_named_second_cannot_be_right_is_only_known_to_be_the_next() -> None:
    """Week 2100 began on 2020-04-05, and with 1024 weeks more in 2039."""
    line = Line()
    line.lock()
    [one] = of(Sawtooth, line.read(timtp(tow_ms=216_000_000, week=2100, error_ps=5)))
    assert one.second is None


def test_a_pulse_that_does_not_follow_the_satellites_is_told_and_has_no_sawtooth() -> None:
    """TpNotLocked is bit 5 of the flags."""
    line = Line()
    line.lock()
    events = line.read(timtp(tow_ms=216_000_000, week=2436, error_ps=5, flags=0x23))
    assert [PulseLock(device="gps0", locked=False)] == of(PulseLock, events)
    assert not of(Sawtooth, events)
    events = line.read(timtp(tow_ms=216_001_000, week=2436, error_ps=5))
    assert [PulseLock(device="gps0", locked=True)] == of(PulseLock, events)


def test_noise_without_end_piles_nothing_up() -> None:
    line = Line()
    line.lock()
    for _ in range(2000):
        line.now_ns += S
        line.read(b"\x12$GPRMC,cut\xb5short")
    assert len(line.receiver._splitter._gaps) <= 4


def test_a_pause_before_noise_still_opens_the_burst_behind_it() -> None:
    line = Line()
    line.lock()
    line.now_ns += S
    line.read(b"\x12\x13\x14")
    line.now_ns += S
    line.read(b"\x15\x16")
    line.now_ns += 20_000_000
    events = line.read(rmc())
    assert [utc(NOON)] == [one.utc for one in marks(list(events))]
    assert line.stamp.at - Duration.from_s(0.1) <= marks(list(events))[0].stamp.at


@pytest.mark.parametrize("change", [{"flags": 0x13}, {"tow_ms": 216_000_500}])
def test_no_sawtooth_without_a_valid_error_at_a_full_second(change: dict[str, int]) -> None:
    line = Line()
    line.lock()
    assert not of(Sawtooth, line.read(timtp(**({"tow_ms": 216_000_000, "week": 2436, "error_ps": 5} | change))))


# The fix.

M9N = """
$GNRMC,223745.00,A,3806.62964,N,12237.61382,W,0.040,,110720,,,D,V*0E
$GNGGA,223745.00,3806.62964,N,12237.61382,W,2,12,0.54,83.1,M,-29.5,M,,0000*44
$GNGSA,A,3,29,20,18,16,51,13,44,26,,,,,0.99,0.54,0.83,1*0E
$GNGSA,A,3,82,73,74,67,81,83,68,,,,,,0.99,0.54,0.83,2*08
$GNGSA,A,3,03,05,30,27,15,,,,,,,,0.99,0.54,0.83,3*0D
$GNGSA,A,3,32,28,30,33,27,,,,,,,,0.99,0.54,0.83,4*03
$GPGSV,4,1,16,05,01,047,,10,29,224,,13,22,062,23,15,40,094,,1*65
$GPGSV,4,2,16,16,25,306,30,18,68,358,39,20,63,235,37,21,35,292,,1*6B
$GPGSV,4,3,16,23,58,225,,25,00,179,,26,33,265,35,27,07,316,,1*60
$GPGSV,4,4,16,29,46,133,43,44,45,171,45,46,45,191,43,51,43,156,43,1*60
$GLGSV,3,1,10,66,09,027,,67,56,054,40,68,55,168,44,69,08,194,21,1*79
$GAGSV,3,1,10,03,44,149,40,05,42,071,39,08,08,190,,09,06,034,,7*74
$GBGSV,2,1,07,04,01,262,,07,03,328,,27,78,059,44,28,29,115,34,1*79
$GBGSV,2,2,07,30,37,312,36,32,45,196,44,33,20,043,27,1*4D
"""


def test_constellations_are_summed() -> None:
    """A NEO-M9N (gpsd's test log): GGA stops at 12, GSA lists 8 + 7 + 5 + 5, and GSV sees 16 + 10 + 10 + 7."""
    line = Line()
    line.lock()
    burst = M9N.strip().replace("\n", "\r\n").encode() + b"\r\n"
    first = line.send(burst, begin_ns=line.now_ns + S)
    assert not of(Garbled, first)
    modes = {report.mode for report in of(FixReport, first)} - {None}
    assert {FixMode.TWO_D, FixMode.THREE_D} == modes, "RMC only knows of two dimensions"
    second = line.send(burst, begin_ns=line.now_ns + S)
    summed = of(FixReport, second)[0]
    assert (25, 43) == (summed.used, summed.seen)
    # The log is cut: these are the ones of the 43 that it tells of.
    sky = {(one.gnss, one.number): one for one in summed.satellites or ()}
    assert {"GPS": 13, "SBAS": 3, "GLONASS": 4, "Galileo": 4, "BeiDou": 7} == Counter(gnss for gnss, _ in sky)
    here = {"gnss": "SBAS", "number": 44, "elevation_deg": 45, "azimuth_deg": 171, "cn0_db_hz": 45.0, "used": True}
    silent = {"gnss": "GPS", "number": 25, "elevation_deg": 0, "azimuth_deg": 179, "cn0_db_hz": None, "used": False}
    assert (here, silent) == (asdict(sky["SBAS", 44]), asdict(sky["GPS", 25]))
    used = {key for key, one in sky.items() if one.used}
    assert {
        "GPS": {13, 16, 18, 20, 26, 29}, "SBAS": {44, 51}, "GLONASS": {67, 68}, "Galileo": {3, 5},
        "BeiDou": {27, 28, 30, 32, 33},
    } == {gnss: {number for name, number in used if name == gnss} for gnss, _ in used}  # fmt: skip
    assert {FixMode.THREE_D} == {report.mode for report in of(FixReport, second)} - {None}
    assert {25} == {report.used for report in of(FixReport, second)} - {None}
    assert {0.54} == {report.hdop for report in of(FixReport, second)} - {None}


def test_a_constellation_that_is_no_longer_told_of_is_forgotten() -> None:
    line = Line()
    line.lock()
    glonass = nmea.frame("GLGSV,1,1,03,66,09,027,,67,56,054,40,68,55,168,44")
    line.read(SATELLITES + glonass)
    seen = []
    for _ in range(13):
        line.now_ns += S
        seen += [one.seen for one in of(FixReport, line.read(SATELLITES))]
    assert seen[0] == 7
    assert seen[-1] == 4


def test_several_signals_of_one_constellation_count_once() -> None:
    line = Line()
    line.lock()
    line.read(nmea.frame("GPGSV,1,1,04,01,40,083,46,1") + nmea.frame("GPGSV,1,1,02,01,40,083,40,8"))
    line.now_ns += S
    assert [4] == [one.seen for one in of(FixReport, line.read(SATELLITES)) if one.seen is not None]


@pytest.mark.parametrize(
    ("body", "mode"),
    [
        ("GPGGA,120000.00,,,,,0,00,,,,,,,", FixMode.NONE),
        ("GPGGA,120000.00,,,,,1,03,1.2,,,,,,", FixMode.TWO_D),
        ("GPGGA,120000.00,,,,,1,07,1.2,,,,,,", FixMode.THREE_D),
        ("GPGGA,120000.00,,,,,6,07,1.2,,,,,,", FixMode.NONE),
        ("GPGSA,A,1,,,,,,,,,,,,,,,", FixMode.NONE),
        ("GPGSA,A,2,1,2,3,,,,,,,,,,2.0,1.0,1.5", FixMode.TWO_D),
    ],
)
def test_one_sentence_is_enough_for_a_fix(body: str, mode: FixMode) -> None:
    line = Line()
    line.lock()
    assert [mode] == [one.mode for one in of(FixReport, line.read(nmea.frame(body)))]


def test_ubx_tells_of_jamming_spoofing_and_the_antenna() -> None:
    line = Line()
    line.lock()
    status = ubx.frame(kinds.NAV_STATUS, bytes((0, 0, 0, 0, 3, 1, 0, 2 << 3)) + bytes(8))
    rf = ubx.frame(kinds.MON_RF, bytes((0, 2, 0, 0)) + bytes((0, 1, 2)) + bytes(21) + bytes((1, 3, 4)) + bytes(21))
    dop = ubx.frame(kinds.NAV_DOP, bytes(8) + bytes((63, 0, 0, 0, 59, 0)) + bytes(4))
    reports = of(FixReport, line.read(status + rf + dop))
    assert [
        FixReport(device="gps0", mode=FixMode.THREE_D, spoofing="indicated"),
        FixReport(device="gps0", jamming="critical", antenna="open"),
        FixReport(device="gps0", hdop=0.59, tdop=0.63),
    ] == reports
    sec_sig = ubx.frame(kinds.SEC_SIG, bytes((2, 1 << 1 | 1 << 4, 0, 0)))
    assert [FixReport(device="gps0", jamming="ok", spoofing="none")] == of(FixReport, line.read(sec_sig))
    assert [None] == [one.jamming for one in of(FixReport, line.read(rf))], "SEC-SIG knows better"


# Asking and configuring.


def test_everybody_is_asked_who_he_is_but_not_for_ever() -> None:
    line = Line()
    line.lock()
    asked = []
    for _ in range(60):
        asked += of(Write, line.wait(line.now_ns + S))
        line.read(rmc())
    assert [Write(ubx.poll(kinds.MON_VER))] * 3 == asked


def test_a_u_blox_receiver_is_named_and_left_alone() -> None:
    line = Line()
    line.lock()
    line.wait(line.now_ns)
    description = "u-blox NEO-M9N, SPG 4.04, protocol 32.01"
    events = line.read(monver())
    assert [DeviceReport(device="gps0", present=True, description=description)] == events
    line.read(rmc())
    assert not of(Write, line.wait(line.now_ns + 14 * S))


def frames(writes: list[Write]) -> list[ubx.Frame]:
    data = b"".join(write.data for write in writes)
    found = []
    while data:
        size = int.from_bytes(data[4:6], "little") + 8
        found.append(ubx.split(data[:size]))
        data = data[size:]
    return found


def test_a_new_one_is_configured_by_keys_in_ram() -> None:
    line = Line(configure=True)
    line.lock()
    sent = frames(of(Write, line.read(monver("32.01"))))
    assert {(0x06, 0x8A)} == {one.kind for one in sent}
    assert {bytes((0, 1, 0, 0))} == {one.payload[:4] for one in sent}
    keys = {int.from_bytes(one.payload[4:8], "little") for one in sent}
    # CFG-MSGOUT-UBX_TIM_TP and _NAV_PVT on UART1 and on USB; never on UART2.
    assert {0x2091017E, 0x20910180, 0x20910007, 0x20910009} <= keys
    assert not {0x2091017F, 0x20910008} & keys


def test_an_old_one_is_configured_by_messages_for_this_port() -> None:
    line = Line(configure=True)
    line.lock()
    sent = frames(of(Write, line.read(monver("18.00"))))
    assert {((0x06, 0x01), 3)} == {(one.kind, len(one.payload)) for one in sent}
    assert {bytes((0x01, 0x07, 1)), bytes((0x0D, 0x01, 1))} <= {one.payload for one in sent}


def test_one_that_forgets_is_configured_again() -> None:
    line = Line(configure=True)
    line.lock()
    line.read(monver())
    for second in range(30):
        line.wait(line.now_ns + S)
        line.read(pvt((2026, 9, 15, 12, 0, second)))
    line.events.clear()
    for second in range(30):
        line.wait(line.now_ns + S)
        line.read(rmc(f"1201{second:02}.00"))
        if Write(ubx.poll(kinds.MON_VER)) in line.events:
            break
    else:
        pytest.fail("nobody asked")
    assert frames(of(Write, line.read(monver())))


def test_a_refusal_is_counted() -> None:
    line = Line()
    line.lock()
    assert [Garbled("configuration refused")] == line.read(ubx.frame(kinds.ACK_NAK, b"\x06\x8a"))


# What is broken.


def test_sentences_that_break_their_form_are_counted_and_keep_the_line_alive() -> None:
    line = Line(baud=None)
    line.lock()
    for _ in range(20):
        line.wait(line.now_ns + S)
        line.read(nmea.frame("GNRMC,250000.00,A,,,,,,,150926,,,A,V") + ubx.frame(kinds.NAV_PVT, b"short"))
    assert {Garbled("contents of RMC"), Garbled("contents of UBX 01-07")} == set(of(Garbled, line.events))
    assert line.receiver.locked


@pytest.mark.parametrize("cut", range(1, len(pvt()), 7))
def test_good_messages_are_found_after_any_cut(cut: int) -> None:
    line = Line()
    line.lock()
    for first, second in itertools.product((pvt(), rmc()), repeat=2):
        line.now_ns += 3 * S
        events = line.read(first[:cut] + second * 60)
        assert any(one.trusted for one in marks(list(events)))
