"""A conversation with gpsd, line by line."""

from __future__ import annotations

import json
from typing import Any

import pytest

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.event import (
    DeviceReport,
    FixMode,
    FixReport,
    Garbled,
    LeapReport,
    PulseMark,
    ReceiverEvent,
    Satellite,
    TimeMark,
    Write,
)
from timesync.gnss.gpsd_session import GpsdSession
from timesync.wire.gpsd_fields import MAX_LINE

TTY = "/dev/ttyAMA0"
USB = "/dev/ttyUSB0"
SYSTEM = ClockId("system")
TAI_UTC = 37
S = 10**9
UTC_S = 1_795_246_800  # 2026-11-21 07:40:00
ISO = "2026-11-21T07:40:00.000Z"
WATCH = Write(b'?WATCH={"json":true,"pps":true,"timing":true};\n')
VERSION = {"class": "VERSION", "release": "3.22", "rev": "3.22", "proto_major": 3, "proto_minor": 14}


def stamp_of(kernel_ns: int) -> Stamp | None:
    """A clock that is exactly CLOCK_REALTIME."""
    return Stamp(SYSTEM, 4, Instant.from_ns(kernel_ns + TAI_UTC * S))


def at(seconds: float) -> Instant[Mono]:
    return Instant(Duration.from_s(seconds).scaled_ns)


def arrival(ns: int = UTC_S * S + 300_000_000, epoch: int = 4) -> Stamp:
    return Stamp(SYSTEM, epoch, Instant.from_ns(ns + TAI_UTC * S))


def utc(seconds: int) -> Instant[Any]:
    return Instant.from_ns(seconds * S)


def line(kind: str, **fields: Any) -> bytes:
    return json.dumps({"class": kind, **fields}).encode() + b"\r\n"


def clock_line(kind: str, real_s: int, clock_ns: int, **fields: Any) -> bytes:
    seconds, nanoseconds = divmod(clock_ns, S)
    return line(kind, real_sec=real_s, real_nsec=0, clock_sec=seconds, clock_nsec=nanoseconds, **fields)


class Talk:
    """A session that has been greeted."""

    def __init__(self, device: str | None = None, *, local: bool = True) -> None:
        self.session = GpsdSession(device, stamp_of if local else None)
        self.now = at(100)
        self.opened = self.session.on_open(self.now)
        assert self.hear(json.dumps(VERSION).encode() + b"\r\n") == []

    def hear(self, data: bytes, stamp: Stamp | None = None) -> list[ReceiverEvent]:
        return self.session.on_data(data, stamp or arrival(), self.now)


def test_it_asks_at_once() -> None:
    assert [WATCH] == Talk().opened
    (write,) = Talk(TTY).opened
    assert isinstance(write, Write)
    assert b'"device":"/dev/ttyAMA0"' in write.data


def test_a_fix_with_its_time() -> None:
    talk = Talk()
    tpv = line("TPV", device=TTY, mode=3, time=ISO, leapseconds=18, ept=0.005)
    assert [
        FixReport(device=TTY, mode=FixMode.THREE_D),
        TimeMark(device=TTY, utc=utc(UTC_S), stamp=arrival(), kind="TPV", accuracy_s=0.005, trusted=True),
        LeapReport(device=TTY, tai_utc=37),
    ] == talk.hear(tpv)


@pytest.mark.parametrize(
    ("mode", "status", "said", "trusted"),
    [
        (0, None, FixMode.UNKNOWN, False),
        (1, None, FixMode.NONE, False),
        (2, None, FixMode.TWO_D, True),
        (3, 2, FixMode.THREE_D, True),
        (3, 7, FixMode.TIME, True),
        (1, 7, FixMode.NONE, False),
        (3, 5, FixMode.THREE_D, False),
        (3, 6, FixMode.THREE_D, True),
        (3, 8, FixMode.THREE_D, False),
    ],
)
def test_which_fix_is_trusted(mode: int, status: int | None, said: FixMode, trusted: bool) -> None:
    talk = Talk()
    fields = {} if status is None else {"status": status}
    fix, mark = talk.hear(line("TPV", device=TTY, mode=mode, time=ISO, **fields))
    assert FixReport(device=TTY, mode=said) == fix
    assert isinstance(mark, TimeMark)
    assert trusted == mark.trusted
    # TOFF does not say it itself.
    (toff,) = talk.hear(clock_line("TOFF", UTC_S + 1, (UTC_S + 1) * S, device=TTY), arrival((UTC_S + 1) * S))
    assert isinstance(toff, TimeMark)
    assert trusted == toff.trusted


def test_tpv_is_stamped_when_gpsd_wrote_it() -> None:
    """The way from gpsd to us, and our being busy, cost nothing then."""
    talk = Talk()
    tpv = b'{"class":"TPV","device":"%s","mode":3,"time":"%s","rtime": 1795246800.290000001}\n'
    mark = talk.hear(tpv % (TTY.encode(), ISO.encode()))[1]
    assert isinstance(mark, TimeMark)
    assert arrival(UTC_S * S + 290_000_001) == mark.stamp


@pytest.mark.parametrize("rtime", [UTC_S + 1, UTC_S - 5, UTC_S + 86_400, 0])
def test_a_time_of_writing_that_cannot_be_is_not_used(rtime: int) -> None:
    mark = Talk().hear(line("TPV", device=TTY, mode=3, time=ISO, rtime=rtime))[1]
    assert isinstance(mark, TimeMark)
    assert arrival() == mark.stamp


def test_a_line_in_pieces_is_stamped_by_its_first() -> None:
    talk = Talk()
    tpv = line("TPV", device=TTY, mode=3, time=ISO)
    early, late = arrival(UTC_S * S + 1), arrival(UTC_S * S + 2)
    events: list[ReceiverEvent] = []
    for number, octet in enumerate(tpv):
        events += talk.hear(bytes([octet]), early if number == 0 else late)
    assert isinstance(events[1], TimeMark)
    assert early == events[1].stamp


def test_two_lines_at_once_and_the_beginning_of_a_third() -> None:
    talk = Talk()
    one, two, three = (line("TPV", device=TTY, mode=mode) for mode in (1, 2, 3))
    events = talk.hear(one + two + three[:20]) + talk.hear(three[20:])
    assert [FixMode.NONE, FixMode.TWO_D, FixMode.THREE_D] == [
        event.mode for event in events if isinstance(event, FixReport)
    ]


def test_without_any_stamp_there_is_no_time() -> None:
    session = GpsdSession()
    session.on_open(at(0))
    session.on_data(json.dumps(VERSION).encode() + b"\n", None, at(0))
    assert [FixReport(device=TTY, mode=FixMode.THREE_D)] == session.on_data(
        line("TPV", device=TTY, mode=3, time=ISO), None, at(0)
    )


def test_toff_is_of_the_kernels_clock() -> None:
    talk = Talk()
    talk.hear(line("TPV", device=TTY, mode=3))
    clock_ns = UTC_S * S + 123_456_789
    assert [TimeMark(device=TTY, utc=utc(UTC_S), stamp=arrival(clock_ns), kind="TOFF")] == talk.hear(
        clock_line("TOFF", UTC_S, clock_ns, device=TTY)
    )


def test_toff_before_anything_was_said_of_the_fix_is_left_out() -> None:
    talk = Talk()
    toff = clock_line("TOFF", UTC_S, UTC_S * S, device=TTY)
    assert talk.hear(toff) == []
    talk.hear(line("TPV", device=TTY, mode=3))
    assert len(talk.hear(toff)) == 1
    talk.hear(line("DEVICE", path=TTY, activated=0))
    assert [DeviceReport(device=TTY, present=True)] == talk.hear(toff)


def test_a_pulse_and_the_sign_of_its_quantization() -> None:
    """A pulse that is late by 8.123 ns has qErr -8123: adding it to the measured time gives the second."""
    clock_ns = UTC_S * S + 271
    assert [
        PulseMark(device=TTY, utc=utc(UTC_S), kernel_ns=clock_ns, noise_s=2**-20, quantization_s=8.123e-9)
    ] == Talk().hear(clock_line("PPS", UTC_S, clock_ns, device=TTY, precision=-20, qErr=-8123))


@pytest.mark.parametrize("kind", ["TOFF", "PPS"])
@pytest.mark.parametrize("late_s", [-1, 6, -86_400, 3600])
def test_the_clock_of_another_machine_is_noticed(kind: str, late_s: int) -> None:
    talk = Talk()
    talk.hear(line("TPV", device=TTY, mode=3))
    data = clock_line(kind, UTC_S, (UTC_S - late_s) * S, device=TTY, precision=-20)
    assert [Garbled("another machine's clock")] == talk.hear(data, arrival(UTC_S * S))


def test_after_a_step_nothing_can_be_compared_with_the_arrival() -> None:
    talk = Talk()
    talk.hear(line("TPV", device=TTY, mode=3))
    data = clock_line("TOFF", UTC_S, (UTC_S - 100) * S, device=TTY)
    assert len(talk.hear(data, arrival(UTC_S * S, epoch=5))) == 1


def test_a_gpsd_elsewhere_tells_time_by_tpv_alone() -> None:
    talk = Talk(local=False)
    tpv = line("TPV", device=TTY, mode=3, time=ISO, rtime=UTC_S)
    mark = talk.hear(tpv)[1]
    assert isinstance(mark, TimeMark)
    assert arrival() == mark.stamp
    assert talk.hear(clock_line("TOFF", UTC_S, UTC_S * S, device=TTY)) == []
    assert talk.hear(clock_line("PPS", UTC_S, UTC_S * S, device=TTY, precision=-20)) == []


def test_the_sky_of_old_and_new_releases() -> None:
    talk = Talk()
    old = [{"PRN": n, "el": 40, "az": 360, "ss": 41, "used": True} for n in (1, 70, 120)]
    new = [{"PRN": 301, "gnssid": 2, "svid": 1, "el": 5.5, "az": 90.0, "ss": 0.0, "used": False}]
    heard = {"elevation_deg": 40.0, "azimuth_deg": 0.0, "cn0_db_hz": 41.0, "used": True}
    sky = (
        Satellite(gnss="GPS", number=1, **heard),
        Satellite(gnss="GLONASS", number=70, **heard),
        Satellite(gnss="SBAS", number=120, **heard),
        Satellite(gnss="Galileo", number=1, elevation_deg=5.5, azimuth_deg=90.0, cn0_db_hz=None, used=False),
    )
    report = FixReport(device=TTY, used=3, seen=4, satellites=sky)
    assert [report] == talk.hear(line("SKY", device=TTY, satellites=old + new))
    assert [FixReport(device=TTY, used=9, seen=20)] == talk.hear(line("SKY", device=TTY, nSat=20, uSat=9))
    assert [FixReport(device=TTY, hdop=0.8, tdop=0.6)] == talk.hear(line("SKY", device=TTY, hdop=0.8, tdop=0.6))


def test_a_configured_device_filters() -> None:
    talk = Talk(TTY)
    assert talk.hear(line("TPV", device=USB, mode=3, time=ISO)) == []
    assert talk.hear(line("SKY", device=USB, nSat=4)) == []
    assert talk.hear(clock_line("PPS", UTC_S, UTC_S * S, device=USB, precision=-20)) == []
    assert talk.hear(line("DEVICE", path=USB, activated=ISO)) == []
    assert len(talk.hear(line("TPV", device=TTY, mode=3, time=ISO))) == 2
    # Where there is only one receiver it may be left out.
    assert len(talk.hear(line("TPV", mode=3, time=ISO))) == 2


def test_each_event_names_its_device() -> None:
    talk = Talk()
    both = [talk.hear(line("TPV", device=path, mode=3, time=ISO, leapseconds=18)) for path in (TTY, USB)]
    assert [{TTY}, {USB}] == [{getattr(event, "device", None) for event in events} for events in both]


def test_devices_come_and_go() -> None:
    talk = Talk()
    ublox = {"class": "DEVICE", "path": TTY, "driver": "u-blox", "subtype": "MOD=NEO-M8T", "activated": ISO}
    devices = line("DEVICES", devices=[ublox, {"class": "DEVICE", "path": USB}])
    assert [
        DeviceReport(device=TTY, present=True, description="u-blox, MOD=NEO-M8T"),
        DeviceReport(device=USB, present=False),
    ] == talk.hear(devices)
    assert talk.hear(devices) == [], "no news"
    opened = line("DEVICE", path=USB, activated=ISO)
    assert [DeviceReport(device=USB, present=True)] == talk.hear(opened)
    identified = line("DEVICE", path=USB, activated=ISO, driver="NMEA0183")
    assert [DeviceReport(device=USB, present=True, description="NMEA0183")] == talk.hear(identified)
    closed = line("DEVICE", path=TTY, activated=0)
    assert [DeviceReport(device=TTY, present=False, description="u-blox, MOD=NEO-M8T")] == talk.hear(closed)
    # gpsd opens it again by itself, and its reports are the first sign.
    assert (
        DeviceReport(device=TTY, present=True, description="u-blox, MOD=NEO-M8T")
        == talk.hear(line("TPV", device=TTY, mode=1))[0]
    )
    assert [DeviceReport(device=USB, present=False, description="NMEA0183")] == talk.hear(
        line("DEVICES", devices=[ublox])
    )


def test_the_devices_of_a_remote_gpsd_are_not_all_devices() -> None:
    talk = Talk()
    talk.hear(line("DEVICE", path=TTY, activated=ISO))
    assert talk.hear(line("DEVICES", devices=[], remote="gpsd://other")) == []


def test_a_configured_device_that_gpsd_does_not_have() -> None:
    talk = Talk(TTY)
    assert [DeviceReport(device=TTY, present=False)] == talk.hear(line("DEVICES", devices=[]))
    message = f"No such device as {TTY}"
    assert [
        Garbled("ERROR"),
        DeviceReport(device=TTY, present=False, description=f"gpsd says: {message}"),
    ] == talk.hear(line("ERROR", message=message))
    assert talk.session.broken is None


def test_not_more_receivers_than_any_gpsd_has() -> None:
    talk = Talk()
    for number in range(10_000):
        talk.hear(line("DEVICE", path=f"/dev/x{number}", activated=ISO))
    assert len(talk.session.on_lost()) == 32


def test_after_a_loss_everything_begins_anew() -> None:
    talk = Talk()
    opened = line("DEVICE", path=TTY, activated=ISO)
    talk.hear(opened)
    talk.hear(line("TPV", device=TTY, mode=3)[:-9])
    assert [DeviceReport(device=TTY, present=False)] == talk.session.on_lost()
    assert talk.session.on_lost() == []
    assert talk.session.deadline() is None
    assert [WATCH] == talk.session.on_open(at(200))
    assert [Garbled("no VERSION before it")] == talk.hear(opened), "nothing is left of the line before"
    assert talk.hear(json.dumps(VERSION).encode() + b"\n") == []
    assert [DeviceReport(device=TTY, present=True)] == talk.hear(opened)


@pytest.mark.parametrize("major", [2, 4])
def test_another_protocol_is_given_up(major: int) -> None:
    session = GpsdSession()
    session.on_open(at(0))
    version = json.dumps({**VERSION, "proto_major": major}).encode() + b"\n"
    said = session.on_data(version + line("TPV", device=TTY, mode=3), arrival(), at(0))
    assert [Garbled("protocol version")] == said
    assert f"gpsd 3.22 speaks protocol {major}.14, not 3" == session.broken
    assert session.deadline() is None
    assert session.on_data(line("TPV", device=TTY, mode=3), arrival(), at(1)) == []
    session.on_open(at(10))
    assert session.broken is None


def test_nothing_counts_before_the_greeting() -> None:
    session = GpsdSession()
    session.on_open(at(0))
    said = session.on_data(line("TPV", device=TTY, mode=3, time=ISO), arrival(), at(0))
    assert [Garbled("no VERSION before it")] == said


def test_bad_lines_among_good_ones_are_borne() -> None:
    """A gpsd whose buffer is too short for the sky cuts off every SKY."""
    talk = Talk()
    for _ in range(1000):
        assert [Garbled("not JSON")] == talk.hear(b'{"class":"SKY","satellites":[{"PR\r\n')
        talk.hear(line("TPV", device=TTY, mode=3))
    assert talk.session.broken is None


def test_a_stream_of_garbage_is_given_up() -> None:
    talk = Talk()
    events = talk.hear(b"garbage\n" * 1000)
    assert [*[Garbled("not JSON")] * 21, Garbled("too many bad lines")] == events
    assert talk.session.broken is not None
    assert talk.session.deadline() is None


def test_a_line_without_end_is_counted_once_and_skipped() -> None:
    talk = Talk()
    events: list[ReceiverEvent] = []
    for _ in range(100):
        events += talk.hear(b"x" * 4096)
    assert [Garbled("line too long")] == events
    assert talk.hear(b"y" * 10 + b"\n") == []
    assert [FixReport(device=TTY, mode=FixMode.THREE_D)] == talk.hear(line("TPV", device=TTY, mode=3))


def test_the_longest_line_that_is_read() -> None:
    talk = Talk()
    short = line("TPV", device=TTY, mode=3, pad="")
    fits = line("TPV", device=TTY, mode=3, pad="x" * (MAX_LINE + 2 - len(short)))
    assert [FixReport(device=TTY, mode=FixMode.THREE_D)] == talk.hear(fits)
    assert [Garbled("line too long")] == talk.hear(b" " + fits)


def test_silence_is_asked_about_and_then_given_up() -> None:
    talk = Talk()
    session = talk.session
    assert at(110) == session.deadline()
    assert session.on_deadline(at(109)) == []
    assert [WATCH] == session.on_deadline(at(110))
    assert at(120) == session.deadline()
    assert session.broken is None
    assert [Garbled("silence")] == session.on_deadline(at(120))
    assert session.broken is not None


def test_an_answer_ends_the_doubt() -> None:
    talk = Talk()
    talk.session.on_deadline(at(110))
    talk.now = at(111)
    talk.hear(line("DEVICES", devices=[]))
    assert at(121) == talk.session.deadline()
    assert [WATCH] == talk.session.on_deadline(at(121))
    assert talk.session.broken is None


def test_garbage_is_no_answer() -> None:
    talk = Talk()
    talk.session.on_deadline(at(110))
    talk.now = at(119)
    talk.hear(b"garbage\n")
    assert [Garbled("silence")] == talk.session.on_deadline(at(120))


def test_who_does_not_introduce_himself_is_given_up() -> None:
    session = GpsdSession()
    assert session.deadline() is None
    session.on_open(at(0))
    assert [Garbled("silence")] == session.on_deadline(at(10))
    assert session.broken == "gpsd did not introduce itself"
