"""Debian's gpsd, fed by a pseudo-terminal, tells our session of sky, fix and time; and what happens when not."""

from __future__ import annotations

import asyncio
import random
import signal
import statistics
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from interop_gpsd import GPS_UTC, HDOP, SATELLITES, USED, Listener, gpsd, listener, receivers, relay, sentence
from interop_support import Node, lan

from timesync.base.time import Instant, Utc
from timesync.gnss.event import DeviceReport, FixMode, FixReport, Garbled, LeapReport, TimeMark

pytestmark = pytest.mark.interop

START_S = 15
"""gpsd needs a few bursts to know the language of a receiver, and asks other makes first."""


def inside(node: Node, story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Our side of it, in the namespace of gpsd."""
    with node.entered():
        asyncio.run(story())


def marks(ears: Listener, kind: str, device: str | None = None) -> list[TimeMark]:
    """The trusted times of one kind of message."""
    return [
        mark
        for mark in ears.told(TimeMark)
        if mark.kind == kind and mark.trusted and (device is None or mark.device == device)
    ]


def latency_s(ears: Listener, mark: TimeMark) -> float:
    """How late after its second a message came, by the clock that the receiver goes by."""
    return (mark.stamp.at - ears.table.tai(mark.utc)).s()


async def hear_times(ears: Listener, count: int, what: str, device: str | None = None) -> None:
    """Wait for so many more."""
    before = len(marks(ears, "TOFF", device))
    await ears.until(lambda: len(marks(ears, "TOFF", device)) >= before + count, START_S, what)


def test_sky_fix_time_and_leap_seconds_arrive(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    async def story() -> None:
        async with listener() as ears:
            await hear_times(ears, 5, "five times by TOFF")
            await ears.until(lambda: any(fix.used for fix in ears.told(FixReport)), START_S, "a sky")
            await ears.until(lambda: bool(ears.told(LeapReport)), START_S, "the leap seconds")
        toff, tpv = marks(ears, "TOFF"), marks(ears, "TPV")
        assert {receiver.path} == {mark.device for mark in [*toff, *tpv]} | {fix.device for fix in ears.told(FixReport)}
        seconds = [mark.utc.ns() for mark in toff]
        assert [seconds[0] + n * 10**9 for n in range(len(seconds))] == seconds
        late = [latency_s(ears, mark) for mark in toff]
        assert all(0.1 < one < 0.9 for one in late), late
        # TPV comes when the whole fix is there.
        by_second: dict[Instant[Utc], TimeMark] = {mark.utc: mark for mark in tpv}
        both = [(mark, by_second[mark.utc]) for mark in toff if mark.utc in by_second]
        assert len(both) >= 4
        assert all(latency_s(ears, one) < latency_s(ears, other) < 1.2 for one, other in both)
        skies = [fix for fix in ears.told(FixReport) if fix.seen is not None]
        sky = skies[-1]
        assert (receiver.path, USED, len(SATELLITES), HDOP) == (sky.device, sky.used, sky.seen, sky.hdop)
        assert USED == sum(one.used for one in sky.satellites or ())
        assert {number for number, *_ in SATELLITES} == {one.number for one in sky.satellites or ()}
        assert ears.told(FixReport)[-1].mode in (FixMode.THREE_D, None)
        assert {GPS_UTC + 19} == {report.tai_utc for report in ears.told(LeapReport)}
        assert DeviceReport(device=receiver.path, present=True, description="NMEA0183") in ears.events
        assert ears.told(Garbled) == []
        spread_ms = 1e3 * statistics.pstdev(late)
        record_property("TOFF", f"{1e3 * statistics.mean(late):.1f} ms after the second, ± {spread_ms:.2f} ms")

    with lan(1) as (node,), receivers(1) as (receiver,), gpsd(node, tmp_path, receiver.path):
        inside(node, story)


def test_a_lost_fix_ends_the_times_and_comes_back(tmp_path: Path) -> None:
    async def story() -> None:
        async with listener() as ears:
            await hear_times(ears, 2, "times")
            receiver.fix = False
            await ears.until(lambda: ears.told(FixReport)[-1].mode is FixMode.NONE, 10, "no fix any more")
            seen = len(ears.events)
            await asyncio.sleep(3)
            assert [] == [one for one in ears.events[seen:] if isinstance(one, TimeMark) and one.trusted]
            receiver.fix = True
            await hear_times(ears, 2, "times again")

    with lan(1) as (node,), receivers(1) as (receiver,), gpsd(node, tmp_path, receiver.path):
        inside(node, story)


def test_a_killed_gpsd_is_missed_and_found_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with listener(receiver.path) as ears:
            with gpsd(node, tmp_path / "first", receiver.path) as first:
                await hear_times(ears, 2, "times")
                assert ears.opened == 1
                first.process.send_signal(signal.SIGKILL)
                losses = len(ears.losses)
                await ears.until(lambda: len(ears.losses) > losses, 5, "the loss")
                assert DeviceReport(device=receiver.path, present=False) == ears.events[-1]
            # Nobody listens for a while: each try ends with a reason.
            losses = len(ears.losses)
            await ears.until(lambda: len(ears.losses) > losses, 5, "a refused connection")
            assert isinstance(ears.losses[-1], ConnectionRefusedError)
            with gpsd(node, tmp_path / "second", receiver.path):
                await hear_times(ears, 2, "times from the new gpsd")
                assert ears.opened == 2
                assert all(0.1 < latency_s(ears, mark) < 0.9 for mark in marks(ears, "TOFF"))

    with lan(1) as (node,), receivers(1) as (receiver,):
        inside(node, story)


def test_garbage_from_the_receiver_never_becomes_a_time(tmp_path: Path) -> None:
    """Damaged on the line: nonsense with a right checksum gpsd takes for a time, and it has to be judged later."""
    rng = random.Random(3)

    def garbage() -> bytes:
        wrong = [
            b"$GPRMC,000000.00,A,4807.0380,N,01131.0000,E,0.00,0.0,010180,,,A*00\r\n",
            b"$GPZDA,,,,,,*48\r\n",
            sentence("GPRMC,120000.00,A,4807.0380,N,01131.0000,E,0.00,0.0,010230,,,A").replace(b"N", b"S", 1),
            sentence("GPRMC,120000.00,A,4807.0380,N,01131.0000,E,0.00,0.0,010230,,,A")[:30],
            rng.randbytes(40),
        ]
        return b"".join(rng.choices(wrong, k=3))

    async def story() -> None:
        async with listener() as ears:
            await hear_times(ears, 2, "times")
            for _ in range(6):
                receiver.noise = garbage()
                await hear_times(ears, 1, "times in spite of the garbage")
        late = [latency_s(ears, mark) for mark in ears.told(TimeMark) if mark.trusted]
        assert all(0.1 < one < 1.5 for one in late), late
        assert ears.given_up == []

    with lan(1) as (node,), receivers(1) as (receiver,), gpsd(node, tmp_path, receiver.path):
        inside(node, story)


def test_garbage_on_the_connection_is_borne_or_escaped(tmp_path: Path) -> None:
    async def story() -> None:
        async with relay() as line, listener(port=line.port) as ears:
            await hear_times(ears, 2, "times")
            line.mangle = lambda data: b'{"class":"SKY","satell\r\n\xff\xfe\r\n' + data
            await hear_times(ears, 3, "times between the garbage")
            assert {"not JSON", "not UTF-8"} == {event.reason for event in ears.told(Garbled)}
            assert ears.given_up == []
            line.mangle = lambda data: b"\0" + data.replace(b"\n", b"\n\0")
            await ears.until(lambda: bool(ears.given_up), 30, "the session asks for another connection")
            line.mangle = lambda data: data
            await hear_times(ears, 2, "times on the new connection")
            late = [latency_s(ears, mark) for mark in marks(ears, "TOFF")]
            assert all(0.1 < one < 0.9 for one in late), late

    with lan(1) as (node,), receivers(1) as (receiver,), gpsd(node, tmp_path, receiver.path):
        inside(node, story)


def test_two_receivers_and_one_of_them_alone(tmp_path: Path) -> None:
    async def story() -> None:
        async with listener() as both, listener(second.path) as one:
            for path in (first.path, second.path):
                await hear_times(both, 2, f"times of {path}", path)
            await hear_times(one, 2, "times of the one")
            assert {second.path} == {getattr(event, "device", None) for event in one.events}

    with lan(1) as (node,), receivers(2) as (first, second), gpsd(node, tmp_path, first.path, second.path):
        inside(node, story)


def test_a_receiver_is_unplugged_and_plugged_again(tmp_path: Path) -> None:
    async def story() -> None:
        async with listener(receiver.path) as ears:
            await hear_times(ears, 2, "times")
            daemon.control("remove", receiver.path)
            gone = DeviceReport(device=receiver.path, present=False, description="NMEA0183")
            await ears.until(lambda: gone in ears.events, 5, "that it went")
            seen = len(ears.events)
            daemon.control("add", receiver.path)
            await ears.until(
                lambda: any(one.present for one in ears.events[seen:] if isinstance(one, DeviceReport)),
                5,
                "that it came",
            )
            await hear_times(ears, 2, "times again")
            assert ears.opened == 1

    with lan(1) as (node,), receivers(1) as (receiver,), gpsd(node, tmp_path, receiver.path) as daemon:
        inside(node, story)


def test_a_receiver_that_gpsd_does_not_have_yet(tmp_path: Path) -> None:
    """It says so, and the first sign of the receiver is enough: nobody need connect anew."""

    async def story() -> None:
        async with listener(receiver.path) as ears:
            missing = f"gpsd says: No such device as {receiver.path}"
            await ears.until(
                lambda: DeviceReport(device=receiver.path, present=False, description=missing) in ears.events,
                5,
                "that gpsd does not have it",
            )
            daemon.control("add", receiver.path)
            await hear_times(ears, 2, "times")
            assert ears.opened == 1
            assert [Garbled("ERROR")] * len(ears.told(Garbled)) == ears.told(Garbled)

    with lan(1) as (node,), receivers(1) as (receiver,), gpsd(node, tmp_path) as daemon:
        inside(node, story)
