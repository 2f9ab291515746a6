"""Debian's gpsd, a receiver on a pseudo-terminal for it to read, our session as its client, and a bad line between.

Nothing here is built from our own NMEA writer or JSON reader.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import fcntl
import os
import pty
import struct
import subprocess
import termios
import threading
import time
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

from interop_support import ROOT, Node, peer_environment, running, wait_until

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import Instant, Mono
from timesync.base.utc import LeapTable
from timesync.devices import Feed, TcpStream
from timesync.gnss.event import ReceiverEvent, Write
from timesync.gnss.gpsd_session import GpsdSession
from timesync.runtime.feeds import open_feed
from timesync.runtime.system_clock import SystemClock
from timesync_drivers.clock import KernelClock

PORT = 2947
BYTES_PER_S = 960
FIRST_S = 0.1
"""A burst begins so long after its second."""

SATELLITES = ((4, 40, 83, 46), (5, 17, 308, 41), (9, 7, 344, 39), (12, 22, 228, 45), (24, 40, 183, 46), (25, 17, 8, 41))
USED = 5
HDOP = 0.9
GPS_UTC = 18
_GPS_EPOCH = 315_964_800
_WEEK = 604_800
_PLACE = "4807.0380,N,01131.0000,E"

E = TypeVar("E")


class Receiver:
    """A receiver at 9600 baud that knows the time of this machine.

    Attributes:
        path: Its serial port.
        fix: Whether it has one.
        noise: Octets to send before the next burst.
    """

    def __init__(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        # gpsd gives up being root, and opens the port once more after that.
        Path(self.path).chmod(0o666)
        self.fix = True
        self.noise = b""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.path)
        self._thread.start()

    def close(self) -> None:
        """Fall silent, and unplug."""
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _run(self) -> None:
        while True:
            second = int(time.time() + 1 - FIRST_S)
            if self._stop.wait(max(second + FIRST_S - time.time(), 0)):
                return
            noise, self.noise = self.noise, b""
            self._send(noise + b"".join(map(sentence, self._burst(second))))

    def _send(self, data: bytes) -> None:
        """At the pace of the line; what nobody reads is lost, as it is on a port that nobody has open."""
        (unread,) = struct.unpack("i", fcntl.ioctl(self._slave, termios.FIONREAD, bytes(4)))
        if unread:
            termios.tcflush(self._slave, termios.TCIFLUSH)
        step = BYTES_PER_S // 20
        for start in range(0, len(data), step):
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, data[start : start + step])
            with contextlib.suppress(BlockingIOError):
                os.read(self._master, 4096)  # what gpsd asks of other makes of receivers
            if self._stop.wait(0.05):
                return

    def _burst(self, second: int) -> Iterator[str]:
        now = dt.datetime.fromtimestamp(second, dt.UTC)
        clock, day = f"{now:%H%M%S}.00", f"{now:%d%m%y}"
        since = second + GPS_UTC - _GPS_EPOCH
        if not self.fix:
            yield f"GPRMC,{clock},V,,,,,,,{day},,,N"
            yield f"GPGGA,{clock},,,,,0,00,99.99,,,,,,"
            yield "GPGSA,A,1,,,,,,,,,,,,,99.99,99.99,99.99"
            return
        used = ",".join(f"{number:02}" for number, *_ in SATELLITES[:USED]) + "," * (12 - USED)
        yield f"GPRMC,{clock},A,{_PLACE},0.00,0.0,{day},,,A"
        yield f"GPGGA,{clock},{_PLACE},1,{USED:02},{HDOP},545.4,M,46.9,M,,"
        yield f"GPGSA,A,3,{used},1.8,{HDOP},1.5"
        for part in range(2):
            some = SATELLITES[4 * part : 4 * part + 4]
            groups = [f"{number:02},{elevation:02},{azimuth:03},{cno}" for number, elevation, azimuth, cno in some]
            yield f"GPGSV,2,{part + 1},{len(SATELLITES):02},{','.join(groups)}"
        # The sentence by which gpsd learns GPS - UTC from a receiver that does not speak binary.
        yield (f"PGRMF,{since // _WEEK % 1024},{since % _WEEK},{day},{now:%H%M%S},{GPS_UTC},{_PLACE},A,2,0.0,0.0,1,1")


def sentence(body: str) -> bytes:
    """With its checksum."""
    checksum = 0
    for octet in body.encode():
        checksum ^= octet
    return f"${body}*{checksum:02X}\r\n".encode()


@contextmanager
def receivers(count: int) -> Iterator[list[Receiver]]:
    """So many of them, unplugged afterwards."""
    made: list[Receiver] = []
    try:
        made += [Receiver() for _ in range(count)]
        yield made
    finally:
        for receiver in made:
            receiver.close()


class Gpsd:
    """A running gpsd."""

    def __init__(self, node: Node, process: subprocess.Popen[bytes], control: Path, log: Path) -> None:
        self._node = node
        self._control = control
        self.process = process
        self.log = log

    def control(self, verb: str, path: str) -> None:
        """What udev does when a receiver is plugged (``add``) or unplugged (``remove``)."""
        command = self._node.command(["gpsdctl", verb, path])
        environment = {**peer_environment(), "GPSD_SOCKET": str(self._control)}
        subprocess.run(command, env=environment, check=True, capture_output=True, timeout=10)


@contextmanager
def gpsd(node: Node, directory: Path, *devices: str) -> Iterator[Gpsd]:
    """Debian's gpsd with these receivers, on the loopback interface of a namespace.

    It makes NTP shared memory segments for other daemons, so it has a world of its own for these as well.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log, control = directory / "gpsd.log", directory / "gpsd.sock"
    command: list[str | Path] = [
        "unshare",
        "--ipc",
        "gpsd",
        "-N",
        "-n",
        "-D",
        "1",
        "-F",
        control,
        "-S",
        str(PORT),
        *devices,
    ]
    with running(node.command(command), log, peer_environment()) as process:

        def listens() -> bool:
            assert process.poll() is None, f"gpsd ended:\n{log.read_text(errors='replace')}"
            sockets = node.peer("ss", "-Hltn", f"sport = {PORT}")
            return str(PORT) in sockets.stdout

        wait_until(listens, 10, "gpsd listens", lambda: log.read_text(errors="replace"))
        yield Gpsd(node, process, control, log)


class Listener:
    """Our session on our feed, opened again whenever it is lost or not worth having.

    Attributes:
        events: All that the receivers told.
        opened: How often a connection was made.
        losses: Why connections ended.
        given_up: Why the session asked for a new one.
    """

    def __init__(self, device: str | None, port: int) -> None:
        table = LeapTable.parse((ROOT / "profiles" / "timesync_profiles" / "leap-seconds.list").read_text())
        self._clock = SystemClock(ClockId("system"), KernelClock(), table)
        self._loop = asyncio.get_running_loop()
        self._port = port
        self._feed: Feed | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self.session = GpsdSession(device, self._stamp_of)
        self.table = table
        self.events: list[ReceiverEvent] = []
        self.opened = 0
        self.losses: list[OSError] = []
        self.given_up: list[str] = []
        self._connect()

    def close(self) -> None:
        """End it."""
        for timer in (self._timer, self._retry):
            if timer is not None:
                timer.cancel()
        if self._feed is not None:
            self._feed.close()

    def told(self, kind: type[E]) -> list[E]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, condition: Callable[[], bool], within_s: float, what: str) -> None:
        """Wait for it; fails with ``what``."""
        deadline = self._loop.time() + within_s
        while not condition():
            if self._loop.time() > deadline:
                last = "\n".join(map(str, self.events[-10:]))
                raise AssertionError(f"not within {within_s:g} s: {what}\n{last}\n{self.losses} {self.given_up}")
            await asyncio.sleep(0.05)

    def on_open(self) -> None:
        """The feed is there."""
        self.opened += 1
        self._take(self.session.on_open(_now()))

    def on_data(self, data: bytes, stamp: Stamp | None) -> None:
        """The feed brought something."""
        self._take(self.session.on_data(data, stamp, _now()))

    def on_lost(self, error: OSError) -> None:
        """The feed is gone."""
        self.losses.append(error)
        self._again()

    def _stamp_of(self, kernel_ns: int) -> Stamp | None:
        return self._clock.stamp_at(kernel_ns, StampSource.KERNEL)

    def _connect(self) -> None:
        self._feed = open_feed(TcpStream("127.0.0.1", self._port), self._clock, self)

    def _again(self) -> None:
        self.events += self.session.on_lost()
        self._retry = self._loop.call_later(0.2, self._connect)

    def _take(self, events: list[ReceiverEvent]) -> None:
        assert self._feed is not None
        for event in events:
            if isinstance(event, Write):
                self._feed.write(event.data)
            else:
                self.events.append(event)
        if self._timer is not None:
            self._timer.cancel()
        if self.session.broken is not None:
            self.given_up.append(self.session.broken)
            self._feed.close()
            self._again()
        elif (due := self.session.deadline()) is not None:
            self._timer = self._loop.call_at(due.ns() / 1e9, lambda: self._take(self.session.on_deadline(_now())))


@asynccontextmanager
async def listener(device: str | None = None, port: int = PORT) -> AsyncIterator[Listener]:
    """Our client, closed afterwards."""
    client = Listener(device, port)
    try:
        yield client
    finally:
        client.close()


def _now() -> Instant[Mono]:
    return Instant.from_ns(time.monotonic_ns())


class Relay:
    """A line between gpsd and its client that can go bad.

    Attributes:
        mangle: What it does to what gpsd says.
        port: Where it listens.
    """

    def __init__(self) -> None:
        self.mangle: Callable[[bytes], bytes] = lambda data: data
        self.port = 0
        self._tasks: list[asyncio.Task[None]] = []
        self._writers: list[asyncio.StreamWriter] = []

    def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A client came."""
        self._writers.append(writer)
        self._tasks.append(asyncio.create_task(self._carry(reader, writer)))

    async def close(self) -> None:
        """Cut all connections."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", PORT)
        self._writers.append(there_writer)
        await asyncio.gather(_pump(reader, there_writer, bytes), _pump(there_reader, writer, self._mangled))

    def _mangled(self, data: bytes) -> bytes:
        return self.mangle(data)


@asynccontextmanager
async def relay() -> AsyncIterator[Relay]:
    """A good line at first."""
    line = Relay()
    server = await asyncio.start_server(line.serve, "127.0.0.1", 0)
    line.port = server.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        server.close()
        await line.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, mangle: Callable[[bytes], bytes]) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(4096):
            writer.write(mangle(data))
            await writer.drain()
    writer.close()
