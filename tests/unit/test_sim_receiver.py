"""The simulated receiver's time, faults and bytes, taken apart by hand from the layouts of the standards."""

from __future__ import annotations

import json
import struct
from datetime import UTC, datetime
from itertools import pairwise
from random import Random

import pytest
from sim_devices_support import START_S
from sim_support import leap_table

from timesync.base.rate import Rate
from timesync.base.time import UNITS_PER_S, Duration
from timesync.sim.feeds import voice_of
from timesync.sim.hardware import (
    SENTENCES,
    Fault,
    FixModel,
    FromReceiver,
    Hardware,
    PulseHardware,
    ReceiverHardware,
    SawtoothShape,
    TimedFault,
)
from timesync.sim.law import Exactly
from timesync.sim.receiver import SimReceiver, chunks
from timesync.sim.receiver_nmea import framed
from timesync.sim.receiver_ubx import framed as ubx_framed

NOW = START_S + 12_345
"""2026-01-01 03:25:45 UTC."""
LEAP = 1_483_228_800 + 36
"""TAI of 2016-12-31 23:59:60 UTC."""
SAW = SawtoothShape(Duration.from_ns(10), 37.3)


def receiver(
    *faults: Fault, at: int = NOW, saw: SawtoothShape = SAW, since: int = 50, **hardware: object
) -> SimReceiver:
    """Switched on 100 s ago, with faults since."""
    made = SimReceiver(ReceiverHardware(**hardware), leap_table(), Random(3), (at - 100) * UNITS_PER_S, saw)
    for fault in faults:
        made.switch(fault, (at - since) * UNITS_PER_S, on=True)
    return made


def lines(made: SimReceiver, second: int = NOW) -> dict[str, list[str]]:
    """The first NMEA sentence of each kind, as fields, checksums checked."""
    data = voice_of(made.hardware).burst(made.told(second), 0)
    found: dict[str, list[str]] = {}
    for line in data.decode("ascii").split("\r\n")[:-1]:
        assert line.startswith("$")
        assert len(line) <= 80  # NMEA 0183, 5.3: 82 with the end
        body, _, checksum = line[1:].partition("*")
        sums = 0
        for character in body:
            sums ^= ord(character)
        assert f"{sums:02X}" == checksum
        found.setdefault(body[2:5], body.split(","))
    return found


def messages(made: SimReceiver, second: int = NOW) -> dict[tuple[int, int], bytes]:
    """UBX payloads by class and id."""
    data = voice_of(made.hardware).burst(made.told(second), 0)
    return dict(split_ubx(data))


def split_ubx(data: bytes) -> list[tuple[tuple[int, int], bytes]]:
    found = []
    while data:
        assert b"\xb5\x62" == data[:2]
        (length,) = struct.unpack_from("<H", data, 4)
        first = second = 0
        for byte in data[2 : 6 + length]:
            first = (first + byte) % 256
            second = (second + first) % 256
        assert bytes((first, second)) == data[6 + length : 8 + length]
        found.append(((data[2], data[3]), data[6 : 6 + length]))
        data = data[8 + length :]
    return found


def objects(data: bytes) -> list[dict[str, object]]:
    assert data.endswith(b"\r\n") or not data
    return [json.loads(line) for line in data.splitlines()]


def test_frames_are_those_of_the_standards() -> None:
    # The examples that every description of the two protocols has.
    assert b"$GPGLL,5057.970,N,00146.110,E,142451,A*27\r\n" == framed("GPGLL,5057.970,N,00146.110,E,142451,A")
    gga = "GPGGA,123519,4807.038,N,01131.000,E,1,08,0.9,545.4,M,46.9,M,,"
    assert f"${gga}*47\r\n".encode() == framed(gga)
    assert bytes.fromhex("b5620a0400000e34") == ubx_framed((0x0A, 0x04), b"")


def test_nmea_says_time_date_place_and_sky() -> None:
    said = lines(receiver(fix=FixModel(seen=20, used=14, hdop=1.25)))
    assert set(SENTENCES) == set(said)
    rmc, gga, gsa, gsv, zda = (said[name] for name in SENTENCES)
    assert ("032545.00", "A", "010126", "A") == (rmc[1], rmc[2], rmc[9], rmc[12])
    assert ("4717.11398", "N", "00833.91518", "E") == tuple(rmc[3:7])
    assert ("032545.00", "1", "14", "1.25") == (gga[1], gga[6], gga[7], gga[8])
    assert 15 == len(gga)
    assert ("A", "3", "01", "12") == (gsa[1], gsa[2], gsa[3], gsa[14])
    assert 19 == len(gsa)
    assert ("GPGSV", "4", "1", "16", "01") == tuple(gsv[:5])
    assert ["032545.00", "01", "01", "2026", "00", "00"] == zda[1:]


def test_nmea_without_a_fix_says_so_and_keeps_time() -> None:
    said = lines(receiver(Fault.NO_FIX))
    assert ("032545.00", "V", "", "010126", "N") == (
        said["RMC"][1], said["RMC"][2], said["RMC"][3], said["RMC"][9], said["RMC"][12],
    )  # fmt: skip
    assert ("0", "00") == (said["GGA"][6], said["GGA"][7])
    assert "1" == said["GSA"][2]


def test_a_cold_receiver_knows_no_time_and_has_no_pulses() -> None:
    made = receiver(fix=FixModel(first=Duration.from_s(130)))
    said = lines(made)
    assert ("", "V", "") == (said["RMC"][1], said["RMC"][2], said["RMC"][9])
    assert ["", "", "", ""] == said["ZDA"][1:5]
    assert not made.pulses(NOW)
    assert made.pulses(NOW + 30)
    assert "A" == lines(made, NOW + 30)["RMC"][2]


def test_the_leap_second_has_the_number_sixty() -> None:
    made = receiver(at=LEAP)
    seen = [lines(made, LEAP + step)["ZDA"][1:4] for step in (-1, 0, 1)]
    assert [["235959.00", "31", "12"], ["235960.00", "31", "12"], ["000000.00", "01", "01"]] == seen
    ubx = receiver(at=LEAP, language="ubx")
    pvt = [struct.unpack_from("<HBBBBB", messages(ubx, LEAP + step)[1, 7], 4) for step in (-1, 0, 1)]
    assert [(2016, 12, 31, 23, 59, 59), (2016, 12, 31, 23, 59, 60), (2017, 1, 1, 0, 0, 0)] == pvt
    # GPS - UTC was 17 s up to the end of the leap second.
    leaps = [struct.unpack_from("<b", messages(ubx, LEAP + step)[1, 0x26], 9)[0] for step in (-1, 0, 1)]
    assert [17, 17, 18] == leaps


def test_ubx_says_date_time_and_fix() -> None:
    pvt = messages(receiver(language="ubx"))[0x01, 0x07]
    assert 92 == len(pvt)
    # 2026-01-01 is a Thursday of GPS week 2399, and GPS is 18 s ahead of UTC.
    assert 4 * 86_400_000 + (3 * 3600 + 25 * 60 + 45 + 18) * 1000 == struct.unpack_from("<I", pvt)[0]
    assert (2026, 1, 1, 3, 25, 45, 0x07, 20) == struct.unpack_from("<HBBBBBBI", pvt, 4)
    assert (3, 1, 0xE0, 9) == struct.unpack_from("<BBBB", pvt, 20)
    assert 5 == messages(receiver(language="ubx", fix=FixModel(fixed_position=True)))[1, 7][20]


def test_ubx_without_a_fix_is_ever_less_sure() -> None:
    made = receiver(Fault.NO_FIX, language="ubx", drift=Rate(1e-6))
    pvt = [messages(made, NOW + later)[1, 7] for later in (0, 1000)]
    assert [(0, 0)] * 2 == [(one[20], one[21]) for one in pvt]
    accuracies = [struct.unpack_from("<I", one, 12)[0] for one in pvt]
    assert [50_020, 1_050_020] == accuracies


def test_tim_tp_tells_the_sawtooth_of_the_next_pulse() -> None:
    made = receiver(language="ubx")
    for second in range(NOW, NOW + 80):
        tow, sub, error, week, flags, _ = struct.unpack("<IIiHBB", messages(made, second)[0x0D, 0x01])
        assert 2399 == week
        assert 4 * 86_400 + (3 * 3600 + 25 * 60 + 46) + second - NOW == tow // 1000
        assert (0, 0x03) == (sub, flags)
        # qErr added to a pulse's time gives the nominal one: the other sign than the pulse's error.
        assert -error == pytest.approx(made.pulse_error(second + 1) / 65.536, abs=0.51)
    in_gps = receiver(language="ubx", utc_grid=False)
    tow, *_, flags, _ = struct.unpack("<IIiHBB", messages(in_gps)[0x0D, 0x01])
    assert (4 * 86_400 + 3 * 3600 + 25 * 60 + 46 + 18, 0x02) == (tow // 1000, flags)
    lost = struct.unpack("<IIiHBB", messages(receiver(Fault.NO_FIX, language="ubx"))[0x0D, 0x01])
    assert 0x33 == lost[4]


def test_the_sawtooth_goes_through_its_range() -> None:
    errors = [SAW.error_ps(second) for second in range(1000)]
    assert -10_000 <= min(errors) < -9_500
    assert 9_500 < max(errors) <= 10_000
    steps = [later - earlier for earlier, later in pairwise(errors)]
    teeth = sum(step < 0 for step in steps)
    assert round(1000 / 37.3) == pytest.approx(teeth, abs=1)


def test_leap_seconds_are_announced_and_remembered() -> None:
    before = messages(receiver(at=LEAP - 1000, language="ubx"), LEAP - 1000)[0x01, 0x26]
    tow_source_current = struct.unpack_from("<BbBb", before, 8)
    assert (2, 17, 2, 1) == tow_source_current
    until, week, day = struct.unpack_from("<iHH", before, 12)
    # At TAI LEAP - 1000 it is 23:43:20 UTC; the leap second ends the Saturday of GPS week 1929.
    assert (1000, 1929, 7) == (until, week, day)
    assert 3 == before[23]
    calm = messages(receiver(language="ubx"))[0x01, 0x26]
    assert (2, 18, 2, 0) == struct.unpack_from("<BbBb", calm, 8)
    assert struct.unpack_from("<i", calm, 12)[0] < 0


def test_a_false_alarm_is_for_the_end_of_the_month() -> None:
    alarm = messages(receiver(Fault.FALSE_LEAP, language="ubx"))[0x01, 0x26]
    until, week, day = struct.unpack_from("<iHH", alarm, 12)
    assert 1 == struct.unpack_from("<b", alarm, 11)[0]
    end = datetime(2026, 2, 1, tzinfo=UTC) - datetime(2026, 1, 1, 3, 25, 45, tzinfo=UTC)
    # 2026-01-31 is the Saturday of GPS week 2403.
    assert (int(end.total_seconds()), 2403, 7) == (until, week, day)


def test_ubx_tells_satellites_jamming_and_antenna() -> None:
    said = messages(receiver(language="ubx", fix=FixModel(seen=18, used=5)))
    sat = said[0x01, 0x35]
    assert (1, 18, 8 + 12 * 18) == (sat[4], sat[5], len(sat))
    blocks = [struct.unpack_from("<BBBbhhI", sat, 8 + 12 * index) for index in range(18)]
    assert 5 == sum(flags >> 3 & 1 for *_, flags in blocks)
    assert {0, 6} == {block[0] for block in blocks}
    rf = said[0x0A, 0x38]
    # jammingState ok, antenna ok and powered.
    assert (28, 1, 1, 2, 1) == (len(rf), rf[1], rf[5] & 3, rf[6], rf[7])


def test_a_ubx_receiver_answers_polls_and_takes_settings() -> None:
    made = receiver(language="ubx")
    voice, told = voice_of(made.hardware), made.told(NOW)
    poll = bytes.fromhex("b5620a0400000e34")
    assert b"" == voice.answer(b"noise" + poll[:5], told)
    ((kind, payload),) = split_ubx(voice.answer(poll[5:], told))
    assert (0x0A, 0x04) == kind
    assert 40 + 30 * 4 == len(payload)
    assert b"MOD=NEO-M8T-0" in payload
    ((kind, payload),) = split_ubx(voice.answer(ubx_framed((0x06, 0x01), b"\x01\x07\x01"), told))
    assert ((0x05, 0x01), b"\x06\x01") == (kind, payload)
    ((kind, payload),) = split_ubx(voice.answer(ubx_framed((0x01, 0x07), b""), told))
    assert ((0x01, 0x07), 92) == (kind, len(payload))
    ((kind, payload),) = split_ubx(voice.answer(ubx_framed((0x13, 0x40), b""), told))
    assert ((0x05, 0x00), b"\x13\x40") == (kind, payload)
    broken = bytearray(poll)
    broken[-1] ^= 1
    assert b"" == voice.answer(bytes(broken), told)
    assert b"" == voice_of(ReceiverHardware()).answer(poll, told)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault.WRONG_WEEK, datetime(2026, 1, 1, 3, 25, 45, tzinfo=UTC).timestamp() - 1024 * 7 * 86_400),
        (Fault.JUMP, datetime(2026, 1, 1, 3, 25, 46, tzinfo=UTC).timestamp()),
    ],
)
def test_a_receiver_that_is_wrong_is_wrong_in_each_language(fault: Fault, expected: float) -> None:
    when = datetime.fromtimestamp(expected, UTC)
    zda = lines(receiver(fault))["ZDA"]
    assert [f"{when:%H%M%S}.00", f"{when:%d}", f"{when:%m}", f"{when:%Y}"] == zda[1:5]
    pvt = messages(receiver(fault, language="ubx"))[1, 7]
    assert (when.year, when.month, when.day) == struct.unpack_from("<HBB", pvt, 4)
    assert when.second == pvt[10]
    made = receiver(fault, language="gpsd")
    voice = voice_of(made.hardware)
    voice.answer(b'?WATCH={"enable":true,"json":true,"pps":true}\n', made.told(NOW))
    toff, tpv, _ = objects(voice.burst(made.told(NOW), 5))
    assert expected == toff["real_sec"]
    assert f"{when:%Y-%m-%dT%H:%M:%S}.000Z" == tpv["time"]
    # The pulses stay where they are.
    assert receiver().pulse_error(NOW) == made.pulse_error(NOW)


def test_a_stale_receiver_repeats_itself_until_it_recovers() -> None:
    made = receiver()
    times = []
    for second in range(NOW, NOW + 6):
        if second == NOW + 2:
            made.switch(Fault.STALE, second * UNITS_PER_S, on=True)
        if second == NOW + 4:
            made.switch(Fault.STALE, second * UNITS_PER_S, on=False)
        times.append(lines(made, second)["RMC"][1][4:6])
    assert ["45", "46", "46", "46", "49", "50"] == times


def test_pulses_drift_without_a_fix_and_come_back_with_it() -> None:
    made = receiver(saw=SawtoothShape(), drift=Rate(0.5e-6))
    assert 0 == made.pulse_error(NOW)
    made.switch(Fault.NO_FIX, NOW * UNITS_PER_S, on=True)
    # A fast oscillator is early.
    assert -500_000 == pytest.approx(made.pulse_error(NOW + 1000) / 65_536, abs=1)
    assert made.pulses(NOW + 1000)
    made.switch(Fault.NO_FIX, (NOW + 1000) * UNITS_PER_S, on=False)
    assert 0 == made.pulse_error(NOW + 1001)


@pytest.mark.parametrize("fault", [Fault.NO_PULSES, Fault.UNPLUGGED])
def test_pulses_can_stop(fault: Fault) -> None:
    made = receiver(fault)
    assert not made.pulses(NOW)
    made.switch(fault, NOW * UNITS_PER_S, on=False)
    assert made.pulses(NOW + 1)


def test_a_receiver_that_is_plugged_in_again_starts_cold() -> None:
    made = receiver(fix=FixModel(first=Duration.from_s(30)))
    assert made.pulses(NOW)
    made.switch(Fault.UNPLUGGED, NOW * UNITS_PER_S, on=True)
    made.switch(Fault.UNPLUGGED, (NOW + 5) * UNITS_PER_S, on=False)
    assert not made.told(NOW + 34).known
    assert made.told(NOW + 35).fix


def test_latency_is_that_of_the_law() -> None:
    made = receiver()
    draws = [made.latency().s() for _ in range(4000)]
    mean = sum(draws) / len(draws)
    spread = (sum((one - mean) ** 2 for one in draws) / len(draws)) ** 0.5
    assert 0.120 == pytest.approx(mean, abs=0.002)
    assert 0.030 == pytest.approx(spread, rel=0.05)


def test_a_port_hands_over_full_buffers_and_the_rest() -> None:
    hardware = ReceiverHardware(baud=9600, fifo=32)
    parts = list(chunks(bytes(range(70)), hardware))
    assert [32, 32, 6] == [len(part.data) for part in parts]
    assert bytes(range(70)) == b"".join(part.data for part in parts)
    # Ten bits a byte.
    assert [32 / 960, 64 / 960, 70 / 960] == pytest.approx([part.after.s() for part in parts], abs=1e-6)


def test_garbled_bytes_are_as_many_as_said() -> None:
    made = receiver(Fault.GARBLED)
    data = bytes(20_000)
    arrived = made.on_the_line(data)
    assert len(data) == len(arrived)
    assert 0.02 == pytest.approx(sum(byte != 0 for byte in arrived) / len(data), rel=0.2)
    assert data == receiver().on_the_line(data)


def test_the_wrong_speed_makes_nonsense() -> None:
    sentence = b"$GNRMC,032545.00,A,4717.11398,N\r\n" * 10
    arrived = receiver(baud=9600).on_the_line(sentence, 38_400)
    assert 4 * len(sentence) == len(arrived)
    assert b"$GNRMC" not in arrived
    assert sentence == receiver(baud=9600).on_the_line(sentence, 9600)


def test_gpsd_greets_watches_and_reports() -> None:
    made = receiver(language="gpsd", device="/dev/ttyS7", fix=FixModel(seen=11, used=7, hdop=1.1, tdop=0.7))
    voice, told = voice_of(made.hardware), made.told(NOW)
    (version,) = objects(voice.greeting())
    assert ("VERSION", 3) == (version["class"], version["proto_major"])
    assert b"" == voice.burst(told, 5) == voice.pulse(told, 5)
    assert b"" == voice.answer(b'?WATCH={"enable":true,"js', told)
    devices, watch = objects(voice.answer(b'on":true,"pps":true};\r\n', told))
    assert ["/dev/ttyS7"] == [device["path"] for device in devices["devices"]]
    assert (True, True, True) == (watch["enable"], watch["json"], watch["pps"])
    toff, tpv, sky = objects(voice.burst(told, 1_767_237_945_123_456_789))
    assert {"class": "TOFF", "device": "/dev/ttyS7", "real_sec": 1_767_237_945, "real_nsec": 0} | {
        "clock_sec": 1_767_237_945,
        "clock_nsec": 123_456_789,
    } == toff
    assert (3, "2026-01-01T03:25:45.000Z", 18) == (tpv["mode"], tpv["time"], tpv["leapseconds"])
    assert (11, 7, 0.7, 7) == (sky["nSat"], sky["uSat"], sky["tdop"], sum(one["used"] for one in sky["satellites"]))
    (pps,) = objects(voice.pulse(told, 1_767_237_945_000_000_250))
    assert (1_767_237_945, 0, 1_767_237_945, 250) == tuple(
        pps[key] for key in ("real_sec", "real_nsec", "clock_sec", "clock_nsec")
    )
    assert -SAW.error_ps(NOW) == pps["qErr"]
    assert "ERROR" == objects(voice.answer(b"?FOO;\n", told))[0]["class"]
    assert "ERROR" == objects(voice.answer(b"?WATCH={];\n", told))[0]["class"]


def test_gpsd_without_a_fix_has_no_pulses_and_no_time_offset() -> None:
    made = receiver(Fault.NO_FIX, language="gpsd")
    voice, told = voice_of(made.hardware), made.told(NOW)
    voice.answer(b'?WATCH={"enable":true,"json":true,"pps":true}\n', told)
    assert b"" == voice.pulse(told, 5)
    tpv, sky = objects(voice.burst(told, 5))
    assert (1, 0) == (tpv["mode"], sky["uSat"])


def test_hardware_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="no fault"):
        PulseHardware(faults=(TimedFault(Fault.STALE, Duration(0)),))
    with pytest.raises(ValueError, match="no fault"):
        ReceiverHardware(faults=(TimedFault(Fault.GPSD_GONE, Duration(0)),))
    with pytest.raises(ValueError, match="share"):
        PulseHardware(missing=1.5)
    with pytest.raises(ValueError, match="uses some"):
        FixModel(seen=3, used=4)
    with pytest.raises(ValueError, match="not there"):
        Hardware(pulses={"/dev/pps0": PulseHardware(origin=FromReceiver("/dev/ttyS0"))})
    with pytest.raises(ValueError, match="before the start"):
        TimedFault(Fault.JUMP, Duration(-1))


def test_latency_can_be_exact() -> None:
    assert Duration.from_s(0.05) == receiver(latency=Exactly(0.05)).latency()
