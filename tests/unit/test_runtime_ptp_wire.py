"""Which transmit stamp belongs to which message, and what becomes of those without one: sockets made of lists."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from ptp_wire_support import DOWN, HEADERS, FakeSockets, FakeWatch, message

from timesync.runtime import ptp_wire
from timesync.runtime.ptp_wire import Outgoing, Wire
from timesync_drivers.link import LinkState
from timesync_drivers.ptp_stamp import Arrival, Departure, Reading


class Port:
    """A port that notes what it is told."""

    def __init__(self, *, hardware: bool = False) -> None:
        self.hardware = hardware
        self.left: list[tuple[int, Reading | None]] = []
        self.heard: list[bytes] = []
        self.states: list[bool] = []
        self.gone: list[int | None] = []
        self.then: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()

    def on_departure(self, token: int, reading: Reading | None) -> None:
        self.left.append((token, reading))
        self._tell()

    def on_arrival(self, data: bytes, arrival: Arrival) -> None:
        self.heard.append(data)
        self._tell()

    def on_state(self, state: LinkState) -> None:
        self.states.append(state.up)
        self._tell()

    def on_gone(self, error: OSError) -> None:
        self.gone.append(error.errno)
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self.then()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


class Bench:
    """A wire with one port; the end of a test takes it apart."""

    def __init__(self) -> None:
        self.watch, self.sockets, self.port = FakeWatch(), FakeSockets(), Port()
        self.ended = 0
        self.wire = Wire(asyncio.get_running_loop(), self.watch, self.sockets, self._end)
        self.wire.attach(self.port)

    def _end(self) -> None:
        self.ended += 1

    def send(self, token: int, data: bytes, port: Port | None = None) -> None:
        self.wire.send_event(port or self.port, token, Outgoing(data, "there"))

    def at(self, kernel_ns: int) -> Reading:
        return Reading(kernel_ns, None, 0)


def on_a_loop(test: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        bench = Bench()
        try:
            await test(bench)
        finally:
            bench.wire.detach(bench.port)
            assert bench.ended == 1
            assert bench.sockets.closed

    with asyncio.Runner() as runner:
        runner.run(main())


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stamps that do not come are given up at once."""
    monkeypatch.setattr(ptp_wire, "STAMP_PATIENCE_S", 0.0)


def test_stamps_in_another_order_find_their_messages() -> None:
    async def test(bench: Bench) -> None:
        for number in range(3):
            bench.send(10 + number, message(number))
        for number in (2, 0, 1):
            bench.sockets.leave(number, HEADERS + message(number), kernel_ns=100 + number)
        await bench.port.until(lambda: len(bench.port.left) == 3)
        assert [(12, bench.at(102)), (10, bench.at(100)), (11, bench.at(101))] == bench.port.left

    on_a_loop(test)


def test_stamps_without_their_message_are_matched_by_number() -> None:
    async def test(bench: Bench) -> None:
        bench.send(1, message(1))
        bench.send(2, message(2))
        bench.sockets.leave(1, b"", kernel_ns=7)
        bench.sockets.leave(9, b"", kernel_ns=8)
        await bench.port.until(lambda: bool(bench.port.left))
        await asyncio.sleep(0)
        assert [(2, bench.at(7))] == bench.port.left

    on_a_loop(test)


def test_numbers_that_the_kernel_gave_to_messages_it_refused_are_made_up_for() -> None:
    """The first stamp shows the shift; the next ones need it, being alike to the octet."""

    async def test(bench: Bench) -> None:
        bench.send(1, message(1))
        bench.send(2, message(5))
        bench.send(3, message(5))
        bench.sockets.leave(2, HEADERS + message(1), kernel_ns=20)
        bench.sockets.leave(4, HEADERS + message(5), kernel_ns=40)
        bench.sockets.leave(3, HEADERS + message(5), kernel_ns=30)
        await bench.port.until(lambda: len(bench.port.left) == 3)
        assert [(1, bench.at(20)), (3, bench.at(40)), (2, bench.at(30))] == bench.port.left
        bench.send(4, message(6))
        bench.sockets.leave(5, b"", kernel_ns=50)
        await bench.port.until(lambda: len(bench.port.left) == 4)
        assert bench.port.left[3] == (4, bench.at(50))

    on_a_loop(test)


def test_a_stamp_of_another_message_is_not_taken(impatient: None) -> None:
    async def test(bench: Bench) -> None:
        bench.send(1, message(1))
        bench.sockets.leave(0, HEADERS + message(2), kernel_ns=1)
        bench.sockets.leave(0, HEADERS + message(1, kind=1), kernel_ns=1)
        bench.sockets.leave(0, HEADERS + message(1, port=2), kernel_ns=1)
        bench.sockets.leave(0, HEADERS, kernel_ns=1)
        await bench.port.until(lambda: bool(bench.port.left))
        assert [(1, None)] == bench.port.left
        assert bench.wire.unstamped == 1

    on_a_loop(test)


def test_a_stamp_that_does_not_come_is_none_once_and_a_late_one_is_nothing(impatient: None) -> None:
    async def test(bench: Bench) -> None:
        bench.send(1, message(1))
        bench.send(2, message(2))
        assert bench.port.left == []
        await bench.port.until(lambda: len(bench.port.left) == 2)
        bench.sockets.leave(0, HEADERS + message(1), kernel_ns=1)
        bench.send(3, message(3))
        bench.sockets.leave(2, HEADERS + message(3), kernel_ns=3)
        await bench.port.until(lambda: len(bench.port.left) == 3)
        assert [(1, None), (2, None), (3, bench.at(3))] == bench.port.left

    on_a_loop(test)


def test_a_stamp_that_lay_unread_is_taken_when_its_time_is_up(impatient: None) -> None:
    """The loop was late, not the card."""

    async def test(bench: Bench) -> None:
        bench.send(1, message(1))
        bench.sockets.departures.append(Departure(0, b"", bench.at(5)))
        await bench.port.until(lambda: bool(bench.port.left))
        assert [(1, bench.at(5))] == bench.port.left

    on_a_loop(test)


def test_all_stamps_of_a_burst_that_lay_unread_are_taken_when_its_time_is_up(impatient: None) -> None:
    """Hundreds of unicast clients are served, and the machine had no time for us."""

    async def test(bench: Bench) -> None:
        for token in range(100):
            bench.send(token, message(token))
            bench.sockets.departures.append(Departure(token, b"", bench.at(token + 1)))
        await bench.port.until(lambda: len(bench.port.left) == 100)
        assert [(token, bench.at(token + 1)) for token in range(100)] == bench.port.left

    on_a_loop(test)


def test_stamps_of_the_card_and_of_the_kernel_go_to_who_wants_them() -> None:
    async def test(bench: Bench) -> None:
        card = Port(hardware=True)
        bench.wire.attach(card)
        assert [(True, False), (True, True)] == bench.sockets.asked
        bench.send(1, message(1))
        bench.send(2, message(2), card)
        for number in (0, 1):
            bench.sockets.leave(number, HEADERS + message(number + 1), kernel_ns=10 + number)
            bench.sockets.leave(number, HEADERS + message(number + 1), card_ns=20 + number)
        await bench.port.until(lambda: bool(bench.port.left))
        await card.until(lambda: bool(card.left))
        assert [(1, Reading(10, None, 0))] == bench.port.left
        assert [(2, Reading(None, 21, 0))] == card.left
        bench.wire.detach(card)

    on_a_loop(test)


def test_what_cannot_be_sent_has_no_stamp_and_no_number() -> None:
    async def test(bench: Bench) -> None:
        bench.sockets.refuse = OSError(errno.ENETUNREACH, "no route")
        bench.send(1, message(1))
        bench.wire.send_general(Outgoing(message(2), "there"))
        assert bench.port.left == []
        await bench.port.until(lambda: bool(bench.port.left))
        assert (2, [(1, None)]) == (bench.wire.failed, bench.port.left)
        bench.sockets.refuse = None
        bench.send(3, message(3))
        bench.sockets.leave(0, b"", kernel_ns=1)
        await bench.port.until(lambda: len(bench.port.left) == 2)
        assert bench.port.left[1] == (3, bench.at(1))

    on_a_loop(test)


def test_a_message_that_is_not_stamped_keeps_its_number() -> None:
    """One-step Sync: the kernel counts it, but no stamp comes."""

    async def test(bench: Bench) -> None:
        bench.wire.send_event(bench.port, 1, Outgoing(message(1), "there"), stamped=False)
        bench.send(2, message(2))
        bench.sockets.leave(1, b"", kernel_ns=1)
        await bench.port.until(lambda: len(bench.port.left) == 2)
        assert [(1, None), (2, bench.at(1))] == bench.port.left

    on_a_loop(test)


def test_messages_come_without_padding_and_errors_of_the_socket_are_survived() -> None:
    async def test(bench: Bench) -> None:
        bench.sockets.fail(errno.ENETDOWN, event=True)
        bench.sockets.fail(errno.ENOBUFS, event=False)
        bench.sockets.departures.append(OSError(errno.ENETDOWN, "down"))
        bench.sockets.come(message(1) + bytes(2), event=True)
        bench.sockets.come(message(2, kind=8) + bytes(16), event=False)
        await bench.port.until(lambda: len(bench.port.heard) == 2)
        assert [message(1), message(2, kind=8)] == bench.port.heard
        assert bench.port.gone == []

    on_a_loop(test)


def test_a_flood_on_one_socket_leaves_the_loop_to_others() -> None:
    async def test(bench: Bench) -> None:
        for number in range(100):
            bench.sockets.come(message(number), event=True)
        await bench.port.until(lambda: bool(bench.port.heard))
        assert len(bench.port.heard) < 50
        await bench.port.until(lambda: len(bench.port.heard) == 100)

    on_a_loop(test)


def test_the_state_of_the_link_and_a_new_address() -> None:
    async def test(bench: Bench) -> None:
        await bench.port.until(lambda: bool(bench.port.states))
        bench.watch.tell(DOWN)
        await bench.port.until(lambda: len(bench.port.states) == 2)
        bench.watch.tell(LinkState(3, "eth0", bytes(6), up=True))
        await bench.port.until(lambda: len(bench.port.states) == 3)
        assert [True, False, True] == bench.port.states
        assert bench.sockets.mac == bytes(6)

    on_a_loop(test)


@pytest.mark.parametrize("how", ["link", "receive", "send"])
def test_an_interface_that_is_gone_is_told_once_to_each(how: str) -> None:
    async def test(bench: Bench) -> None:
        other = Port()
        bench.wire.attach(other)
        bench.send(1, message(1))
        if how == "link":
            bench.watch.tell(OSError(errno.ENODEV, "gone"))
        elif how == "receive":
            bench.sockets.fail(errno.ENODEV, event=False)
        else:
            bench.sockets.refuse = OSError(errno.ENODEV, "gone")
            bench.wire.send_general(Outgoing(message(2), "there"))
            bench.wire.send_general(Outgoing(message(2), "there"))
        await other.until(lambda: bool(other.gone))
        bench.send(2, message(2))
        await bench.port.until(lambda: len(bench.port.left) == 2)
        assert [(1, None), (2, None)] == bench.port.left
        assert [errno.ENODEV] == bench.port.gone == other.gone
        bench.wire.detach(other)

    on_a_loop(test)


def test_a_port_may_leave_from_inside_a_call_and_is_not_called_again() -> None:
    async def test(bench: Bench) -> None:
        first, second = Port(), Port()
        bench.wire.attach(first)
        bench.wire.attach(second)
        await second.until(lambda: bool(second.states))
        bench.send(5, message(9), second)
        first.then = lambda: bench.wire.detach(second)
        bench.sockets.come(message(1), event=True)
        bench.sockets.come(message(2), event=True)
        await first.until(lambda: len(first.heard) == 2)
        bench.sockets.leave(0, b"", kernel_ns=1)
        bench.sockets.come(message(3), event=False)
        await first.until(lambda: len(first.heard) == 3)
        assert ([], []) == (second.heard, second.left)
        assert first.heard == bench.port.heard == [message(1), message(2), message(3)]
        bench.wire.detach(first)

    on_a_loop(test)
