"""Every kind of feed keeps to ``timesync.devices.Feed``, over real terminals and sockets, on each selector loop."""

from __future__ import annotations

import asyncio
import errno
import os
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol

import pytest
from linux_support import SYSTEM, TABLE

from timesync.base.measure import Stamp, StampSource
from timesync.devices import DatagramInbox, Feed, FeedSpec, SerialLine, TcpStream
from timesync.runtime import feeds
from timesync.runtime.feeds import open_feed
from timesync.runtime.system_clock import SystemClock
from timesync_drivers.clock import KernelClock

WAIT_S = 5.0
Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector])
def run(request: pytest.FixtureRequest) -> Runner:
    def runner(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(request.param())) as loop:
            loop.run(asyncio.wait_for(main, 2 * WAIT_S))

    return runner


class Handler:
    """Notes what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.opened = 0
        self.data: list[bytes] = []
        self.stamps: list[Stamp | None] = []
        self.lost: list[OSError] = []
        self.then: Callable[[], object] = lambda: None
        self._changed = asyncio.Event()

    def on_open(self) -> None:
        self.opened += 1
        self._note()

    def on_data(self, data: bytes, stamp: Stamp | None) -> None:
        self.data.append(data)
        self.stamps.append(stamp)
        self._note()

    def on_lost(self, error: OSError) -> None:
        self.lost.append(error)
        self._note()

    def _note(self) -> None:
        self.then()
        self._changed.set()

    async def until(self, done: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not done():
                self._changed.clear()
                await self._changed.wait()


class Peer(Protocol):
    """The other side of a feed.

    Attributes:
        spec: What to open.
        datagrams: Each ``send`` is handed over as it is.
        two_way: Something can be written.
    """

    spec: FeedSpec
    datagrams: bool
    two_way: bool

    def accept(self) -> None: ...
    def send(self, data: bytes) -> None: ...
    def receive(self) -> bytes: ...
    def vanish(self) -> None: ...
    def close(self) -> None: ...


class Terminal:
    datagrams, two_way = False, True

    def __init__(self, folder: Path) -> None:
        self.far, self.near = os.openpty()
        self.spec: FeedSpec = SerialLine(os.ttyname(self.near), 115_200)

    def accept(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        os.write(self.far, data)

    def receive(self) -> bytes:
        return os.read(self.far, 4096)

    def vanish(self) -> None:
        self.close()

    def close(self) -> None:
        if self.far >= 0:
            os.close(self.far)
            os.close(self.near)
            self.far = -1


class Server:
    datagrams, two_way = False, True

    def __init__(self, folder: Path, family: int, address: str, name: str) -> None:
        self.listener = socket.socket(family, socket.SOCK_STREAM)
        self.listener.bind((address, 0))
        self.listener.listen()
        self.listener.settimeout(WAIT_S)
        self.spec: FeedSpec = TcpStream(name, self.listener.getsockname()[1])
        self.stream: socket.socket | None = None

    def accept(self) -> None:
        if self.stream is not None:
            self.stream.close()
        self.stream, _ = self.listener.accept()
        self.stream.settimeout(WAIT_S)

    def send(self, data: bytes) -> None:
        assert self.stream is not None
        self.stream.sendall(data)

    def receive(self) -> bytes:
        assert self.stream is not None
        return self.stream.recv(4096)

    def vanish(self) -> None:
        assert self.stream is not None
        self.stream.close()

    def close(self) -> None:
        self.listener.close()
        if self.stream is not None:
            self.stream.close()


class Sender:
    datagrams, two_way = True, False

    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "feed.sock")
        self.spec: FeedSpec = DatagramInbox(self.path)
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)

    def accept(self) -> None:
        pass

    def send(self, data: bytes) -> None:
        self.socket.sendto(data, self.path)

    def receive(self) -> bytes:
        raise NotImplementedError

    def vanish(self) -> None:
        raise NotImplementedError

    def close(self) -> None:
        self.socket.close()


PEERS: dict[str, Callable[[Path], Peer]] = {
    "serial": Terminal,
    "tcp4": lambda folder: Server(folder, socket.AF_INET, "127.0.0.1", "127.0.0.1"),
    "tcp6": lambda folder: Server(folder, socket.AF_INET6, "::1", "::1"),
    "tcp-name": lambda folder: Server(folder, socket.AF_INET, "127.0.0.1", "localhost"),
    "inbox": Sender,
}


@pytest.fixture(params=sorted(PEERS))
def peer(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Peer]:
    made = PEERS[request.param](tmp_path)
    yield made
    made.close()


def system_clock() -> SystemClock:
    return SystemClock(SYSTEM, KernelClock(), TABLE)


async def opened(peer: Peer, handler: Handler) -> Feed:
    feed = open_feed(peer.spec, system_clock(), handler)
    assert handler.opened == 0, "on_open comes after the caller has the feed"
    await handler.until(lambda: handler.opened == 1)
    peer.accept()
    return feed


def test_what_comes_is_stamped_between_sending_and_taking(run: Runner, peer: Peer) -> None:
    async def main() -> None:
        handler, clock = Handler(), system_clock()
        feed = await opened(peer, handler)
        before = clock.read().at
        peer.send(b"hello\r\n")
        await handler.until(lambda: b"".join(handler.data) == b"hello\r\n")
        after = clock.read().at
        for stamp in handler.stamps:
            assert stamp is not None
            assert before <= stamp.at <= after
        expected = StampSource.KERNEL if peer.datagrams else StampSource.USER
        assert {expected} == {stamp.source for stamp in handler.stamps if stamp is not None}
        feed.close()

    run(main())


def test_much_comes_whole_and_in_bounded_lots(run: Runner, peer: Peer) -> None:
    async def main() -> None:
        handler = Handler()
        feed = await opened(peer, handler)
        lots = [bytes([number]) * 1000 for number in range(40)]
        for number, lot in enumerate(lots):
            peer.send(lot)
            await handler.until(lambda number=number: sum(map(len, handler.data)) == 1000 * (number + 1))
        assert b"".join(lots) == b"".join(handler.data)
        assert max(map(len, handler.data)) <= 4096
        if peer.datagrams:
            assert lots == handler.data
        feed.close()

    run(main())


def test_what_is_written_arrives_or_is_refused(run: Runner, peer: Peer) -> None:
    async def main() -> None:
        handler = Handler()
        feed = await opened(peer, handler)
        if peer.two_way:
            feed.write(b"?POLL;")
            assert await asyncio.to_thread(peer.receive) == b"?POLL;"
        else:
            with pytest.raises(OSError, match=r".") as caught:
                feed.write(b"?POLL;")
            assert errno.EOPNOTSUPP == caught.value.errno
        feed.set_baud(9600)
        feed.close()

    run(main())


def test_writing_to_nobody_who_reads_drops(run: Runner, peer: Peer) -> None:
    async def main() -> None:
        handler = Handler()
        feed = await opened(peer, handler)
        if peer.two_way:
            for _ in range(200):
                feed.write(bytes(65_536))
        assert not handler.lost
        feed.close()

    run(main())


def test_a_loss_is_told_once_and_nothing_after_it(run: Runner, peer: Peer) -> None:
    if peer.datagrams:
        pytest.skip("nothing that a sender does ends an inbox")

    async def main() -> None:
        handler = Handler()
        feed = await opened(peer, handler)
        peer.send(b"x")
        await handler.until(lambda: handler.data == [b"x"])
        peer.vanish()
        await handler.until(lambda: bool(handler.lost))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(handler.lost) == 1
        with pytest.raises(OSError, match=r".") as caught:
            feed.write(b"y")
        assert errno.EBADF == caught.value.errno
        feed.close()
        assert len(handler.lost) == 1

    run(main())


def test_after_close_the_handler_hears_nothing(run: Runner, peer: Peer) -> None:
    async def main() -> None:
        handler = Handler()
        feed = await opened(peer, handler)
        peer.send(b"unread")
        feed.close()
        feed.close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert ([], []) == (handler.data, handler.lost)

    run(main())


def test_closing_before_it_is_open_is_quiet(run: Runner, peer: Peer) -> None:
    async def main() -> None:
        handler = Handler()
        open_feed(peer.spec, system_clock(), handler).close()
        for _ in range(5):
            await asyncio.sleep(0)
        assert (0, [], []) == (handler.opened, handler.data, handler.lost)

    run(main())


@pytest.mark.parametrize("when", ["open", "data", "lost"])
def test_the_handler_may_close_the_feed(run: Runner, peer: Peer, when: str) -> None:
    if peer.datagrams and when == "lost":
        pytest.skip("nothing that a sender does ends an inbox")

    async def main() -> None:
        handler = Handler()
        made: list[Feed] = []
        if when == "open":
            handler.then = lambda: [feed.close() for feed in made]
        made.append(open_feed(peer.spec, system_clock(), handler))
        await handler.until(lambda: handler.opened == 1)
        peer.accept()
        if when == "open":
            with pytest.raises(OSError, match=r"."):
                made[0].write(b"x")
            return
        handler.then = made[0].close
        if when == "data":
            peer.send(b"first")
            await handler.until(lambda: bool(handler.data))
        else:
            peer.vanish()
            await handler.until(lambda: bool(handler.lost))
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(handler.data) + len(handler.lost) == 1

    run(main())


def test_a_feed_can_be_opened_again(run: Runner, peer: Peer) -> None:
    async def main() -> None:
        for _ in range(2):
            await once()

    async def once() -> None:
        handler = Handler()
        feed = await opened(peer, handler)
        peer.send(b"again")
        await handler.until(lambda: b"".join(handler.data) == b"again")
        feed.close()

    run(main())


def test_a_serial_port_that_is_not_there_fails_at_once(run: Runner, tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(FileNotFoundError):
            open_feed(SerialLine(str(tmp_path / "no"), 9600), system_clock(), Handler())
        with pytest.raises(FileNotFoundError):
            open_feed(DatagramInbox(str(tmp_path / "no" / "x")), system_clock(), Handler())

    run(main())


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_refused_connection_is_a_loss(run: Runner, host: str) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as nobody:
            nobody.bind(("::1" if ":" in host else "127.0.0.1", 0))
            handler = Handler()
            feed = open_feed(TcpStream(host, nobody.getsockname()[1]), system_clock(), handler)
            with pytest.raises(OSError, match=r".") as caught:
                feed.write(b"x")
            assert errno.ENOTCONN == caught.value.errno
            await handler.until(lambda: bool(handler.lost))
        assert ([errno.ECONNREFUSED], 0) == ([one.errno for one in handler.lost], handler.opened)

    run(main())


@pytest.mark.parametrize("host", ["a..b", "x" * 64 + ".example"])
def test_what_is_no_name_is_a_loss(run: Runner, host: str) -> None:
    async def main() -> None:
        handler = Handler()
        open_feed(TcpStream(host, 2947), system_clock(), handler)
        await handler.until(lambda: bool(handler.lost))
        assert handler.opened == 0

    run(main())


def test_a_connection_that_nobody_answers_is_given_up(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener whose queue is full answers no more connections on loopback."""
    monkeypatch.setattr(feeds, "CONNECT_TIMEOUT_S", 0.2)

    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            waiting = []
            for _ in range(4):
                one = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
                one.connect_ex(full.getsockname())
                waiting.append(one)
            handler = Handler()
            open_feed(TcpStream("127.0.0.1", full.getsockname()[1]), system_clock(), handler)
            await handler.until(lambda: bool(handler.lost))
            for one in waiting:
                one.close()
        assert ([errno.ETIMEDOUT], 0) == ([one.errno for one in handler.lost], handler.opened)

    run(main())


def test_small_segments_are_not_held_back(run: Runner) -> None:
    async def main() -> None:
        server = Server(Path(), socket.AF_INET, "127.0.0.1", "127.0.0.1")
        handler = Handler()
        feed = await opened(server, handler)
        assert isinstance(feed, feeds.TcpFeed)
        assert feed._socket is not None
        assert feed._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        feed.close()
        server.close()

    run(main())
