"""Exchanges on each kind of selector loop, on loopback."""

from __future__ import annotations

import asyncio
import os
import selectors
import socket
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest
from linux_support import TABLE, await_kernel_stamps

from timesync.base.ids import ClockId, Endpoint
from timesync.base.measure import Stamp, StampSource
from timesync.runtime import sockets
from timesync.runtime.sockets import LinuxExchange, TransmitStamps
from timesync.runtime.system_clock import SystemClock
from timesync_drivers import netstamp
from timesync_drivers.clock import KernelClock
from timesync_drivers.netstamp import StampedSocket, Transmitted, hold_stamps

WAIT_S = 5.0
Runner = Callable[[Coroutine[Any, Any, None]], None]


@pytest.fixture(params=[selectors.SelectSelector, selectors.PollSelector, selectors.EpollSelector])
def run(request: pytest.FixtureRequest) -> Runner:
    def runner(main: Coroutine[Any, Any, None]) -> None:
        with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(request.param())) as loop:
            loop.run(asyncio.wait_for(main, 2 * WAIT_S))

    return runner


@pytest.fixture(autouse=True)
def stamping() -> Iterator[None]:
    with hold_stamps():
        await_kernel_stamps()
        yield


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind(("127.0.0.1", 0))
        udp.settimeout(WAIT_S)
        yield udp


def _remote(peer: socket.socket) -> Endpoint:
    return Endpoint("127.0.0.1", peer.getsockname()[1])


class Handler:
    """Notes what it is told, and lets a test wait for it."""

    def __init__(self) -> None:
        self.events: list[tuple[str, object]] = []
        self.on_event: Callable[[str], None] | None = None
        self._changed = asyncio.Event()

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:
        self._note(data.decode(), stamp)

    def on_sent(self, stamp: Stamp | None) -> None:
        self._note("sent", stamp)

    def on_error(self, error: OSError) -> None:
        self._note("error", error)

    def _note(self, name: str, value: object) -> None:
        self.events.append((name, value))
        self._changed.set()
        if self.on_event is not None:
            self.on_event(name)

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.events]

    def stamp(self, name: str) -> Stamp:
        value = next(value for known, value in self.events if known == name)
        assert isinstance(value, Stamp)
        return value

    async def until(self, *names: str) -> None:
        while not set(names) <= set(self.names):
            self._changed.clear()
            await asyncio.wait_for(self._changed.wait(), WAIT_S)


def _exchange(
    remote: Endpoint,
    handler: Handler,
    stamps: TransmitStamps | None = None,
    udp: StampedSocket | None = None,
) -> LinuxExchange:
    clock = SystemClock(ClockId("system"), KernelClock(), TABLE)
    udp = udp or StampedSocket(remote, os.urandom)
    return LinuxExchange(asyncio.get_running_loop(), udp, remote, clock, handler, stamps or TransmitStamps())


def test_a_request_gives_its_stamp_and_then_the_answer_with_its_own(run: Runner, peer: socket.socket) -> None:
    async def main() -> None:
        handler = Handler()
        exchange = _exchange(_remote(peer), handler)
        exchange.send(b"ping")
        data, source = peer.recvfrom(100)
        # Waiting for the stamp before there is an answer: the error queue alone wakes the loop.
        await handler.until("sent")
        assert handler.names == ["sent"]
        peer.sendto(b"pong", source)
        await handler.until("pong")
        exchange.close()

        assert data == b"ping"
        assert handler.names == ["sent", "pong"]
        sent, received = handler.stamp("sent"), handler.stamp("pong")
        assert sent.source is StampSource.KERNEL
        assert sent.at < received.at
        assert (received.at - sent.at).s() < WAIT_S

    run(main())


def test_the_stamp_is_told_once_and_never_from_inside_send(run: Runner, peer: socket.socket) -> None:
    async def main() -> None:
        handler = Handler()
        exchange = _exchange(_remote(peer), handler)
        exchange.send(b"ping")
        assert handler.names == []
        await handler.until("sent")
        # Past the time-out: it must not fire after all.
        await asyncio.sleep(2 * sockets.TRANSMIT_TIMEOUT_S)
        exchange.close()
        assert handler.names == ["sent"]

    run(main())


def test_an_error_of_the_socket_reaches_the_handler(run: Runner, peer: socket.socket) -> None:
    async def main() -> None:
        remote = _remote(peer)
        peer.close()
        handler = Handler()
        exchange = _exchange(remote, handler)
        exchange.send(b"ping")
        await handler.until("sent", "error")
        exchange.close()
        assert sorted(handler.names) == ["error", "sent"]
        assert isinstance(dict(handler.events)["error"], ConnectionRefusedError)

    run(main())


@pytest.mark.parametrize("closing", ["sent", "pong"])
def test_a_handler_may_close_from_inside_and_is_not_called_again(
    run: Runner, peer: socket.socket, closing: str
) -> None:
    async def main() -> None:
        handler = Handler()
        exchange = _exchange(_remote(peer), handler)
        handler.on_event = lambda name: exchange.close() if name == closing else None
        exchange.send(b"ping")
        _, source = peer.recvfrom(100)
        for _ in range(3):
            peer.sendto(b"pong", source)
        await handler.until(closing)
        await asyncio.sleep(0)
        exchange.close()
        assert handler.names[-1] == closing
        assert handler.names.count(closing) == 1
        with pytest.raises(OSError, match="Bad file descriptor"):
            exchange.send(b"again")

    run(main())


def test_closing_before_the_stamp_silences_it(run: Runner, peer: socket.socket) -> None:
    async def main() -> None:
        handler = Handler()
        exchange = _exchange(_remote(peer), handler)
        exchange.send(b"ping")
        exchange.close()
        await asyncio.sleep(2 * sockets.TRANSMIT_TIMEOUT_S)
        assert handler.names == []

    run(main())


def test_an_error_of_the_handler_is_not_one_of_the_socket(peer: socket.socket) -> None:
    """A clock that cannot be read is an OSError as well, and no fault of the remote."""

    async def main() -> None:
        raised: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: raised.append(context.get("exception")))
        handler = Handler()

        def fail(name: str) -> None:
            raise OSError(name)

        handler.on_event = fail
        exchange = _exchange(_remote(peer), handler)
        exchange.send(b"ping")
        await handler.until("sent")
        peer.sendto(b"pong", peer.recvfrom(100)[1])
        await handler.until("pong")
        exchange.close()
        assert handler.names == ["sent", "pong"]
        assert [str(error) for error in raised] == ["sent", "pong"]

    asyncio.run(main())


class _Deaf(StampedSocket):
    """A socket on an interface whose driver gives no transmit stamps."""

    def read_transmit_stamp(self) -> Transmitted | None:
        super().read_transmit_stamp()  # taken off the queue, or the loop would turn on it for ever
        return None


def test_a_lost_stamp_is_none_and_after_four_losses_the_time_of_the_call(peer: socket.socket) -> None:
    async def main() -> None:
        stamps = TransmitStamps()
        remote = _remote(peer)
        outcomes = []
        for udp in [_Deaf] * 5 + [StampedSocket]:
            handler = Handler()
            exchange = _exchange(remote, handler, stamps, udp(remote, os.urandom))
            exchange.send(b"ping")
            await handler.until("sent")
            exchange.close()
            stamp = handler.events[0][1]
            assert handler.names == ["sent"]
            assert stamp is None or isinstance(stamp, Stamp)
            outcomes.append(stamp and stamp.source)

        assert outcomes == [None, None, None, StampSource.USER, StampSource.USER, StampSource.KERNEL]
        assert not stamps.missing(remote)

    asyncio.run(asyncio.wait_for(main(), 2 * WAIT_S))


def test_without_kernel_stamps_both_are_of_the_user(
    run: Runner, peer: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(netstamp, "_WANTED", 1 << 30)  # a flag that no kernel knows: it refuses with EINVAL

    async def main() -> None:
        handler = Handler()
        exchange = _exchange(_remote(peer), handler)
        exchange.send(b"ping")
        assert handler.names == []
        await handler.until("sent")
        peer.sendto(b"pong", peer.recvfrom(100)[1])
        await handler.until("pong")
        exchange.close()
        assert handler.stamp("sent").source is StampSource.USER
        assert handler.stamp("pong").source is StampSource.USER
        assert handler.stamp("sent").at < handler.stamp("pong").at

    run(main())


def test_the_record_of_lost_stamps_is_bounded() -> None:
    stamps = TransmitStamps()
    for number in range(5000):
        stamps.lost(Endpoint(f"10.0.{number // 256}.{number % 256}", 123))
    assert len(stamps._lost) <= 1024
