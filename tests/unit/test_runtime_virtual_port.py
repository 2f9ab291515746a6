"""A pseudo terminal as a serial port: opened by our own serial driver, unplugged, and never waited for."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from linux_support import TABLE

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp
from timesync.devices import SerialLine
from timesync.runtime.feeds import open_feed
from timesync.runtime.system_clock import SystemClock
from timesync.runtime.virtual_port import VirtualPort
from timesync_drivers.clock import KernelClock

PATIENCE_S = 10.0
SYSTEM = SystemClock(ClockId("system"), KernelClock(), TABLE)


class Handler:
    """Keeps what a feed tells."""

    def __init__(self) -> None:
        self.opened = False
        self.data = b""
        self.stamps: list[Stamp | None] = []
        self.lost: OSError | None = None

    def on_open(self) -> None:
        self.opened = True

    def on_data(self, data: bytes, stamp: Stamp | None) -> None:
        self.data += data
        self.stamps.append(stamp)

    def on_lost(self, error: OSError) -> None:
        self.lost = error


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not true():  # noqa: ASYNC110 - a feed tells its handler, which is no event
            await asyncio.sleep(0.005)


def test_the_serial_driver_opens_it_and_bytes_go_both_ways(tmp_path: Path) -> None:
    async def story() -> None:
        written: list[bytes] = []
        port = VirtualPort(tmp_path / "gps", written.append)
        handler = Handler()
        feed = open_feed(SerialLine(str(port.path), 9600), SYSTEM, handler)
        await until(lambda: handler.opened)
        assert 9600 == port.baud()

        # As a terminal in its usual state would change or echo it.
        port.send(b"$GNRMC\r\n\x03\x11\n")
        await until(lambda: len(handler.data) >= 11)
        feed.write(b"\xb5\x62\r\n")
        await until(lambda: b"".join(written) == b"\xb5\x62\r\n")
        feed.set_baud(38400)

        assert b"$GNRMC\r\n\x03\x11\n" == handler.data
        assert all(stamp is not None for stamp in handler.stamps)
        assert 38400 == port.baud()
        feed.close()
        port.close()

    asyncio.run(story())


def test_unplugging_hangs_the_line_up_and_the_name_is_gone(tmp_path: Path) -> None:
    async def story() -> None:
        port = VirtualPort(tmp_path / "gps", lambda _: None)
        handler = Handler()
        open_feed(SerialLine(str(port.path), 9600), SYSTEM, handler)
        await until(lambda: handler.opened)
        port.unplug()
        await until(lambda: handler.lost is not None)

        assert not port.path.is_symlink()
        with pytest.raises(FileNotFoundError):
            open_feed(SerialLine(str(port.path), 9600), SYSTEM, Handler())
        port.send(b"nobody hears this")
        assert port.baud() is None

        port.plug()
        again = Handler()
        feed = open_feed(SerialLine(str(port.path), 9600), SYSTEM, again)
        await until(lambda: again.opened)
        port.send(b"back")
        await until(lambda: again.data == b"back")
        feed.close()
        port.close()

    asyncio.run(story())
    assert [] == list(tmp_path.iterdir())


def test_a_near_end_that_nobody_reads_holds_nobody_up(tmp_path: Path) -> None:
    async def story() -> None:
        port = VirtualPort(tmp_path / "gps", lambda _: None)
        near = os.open(port.path, os.O_RDWR | os.O_NOCTTY)
        began = time.monotonic()
        for _ in range(1000):
            port.send(b"x" * 1000)
        assert time.monotonic() - began < PATIENCE_S
        assert len(os.read(near, 65_536)) > 0
        os.close(near)
        # A near end that was closed again does not keep the loop busy.
        turns = await turns_in(0.2)
        port.close()
        assert turns < 100

    asyncio.run(story())


async def turns_in(seconds: float) -> int:
    """How often the loop polls its descriptors in that time."""
    loop = asyncio.get_running_loop()
    selector = loop._selector  # type: ignore[attr-defined]  # the one place where a spinning loop shows
    count = 0
    select = selector.select

    def counted(timeout: float | None = None) -> object:
        nonlocal count
        count += 1
        return select(timeout)

    selector.select = counted
    await asyncio.sleep(seconds)
    selector.select = select
    return count
