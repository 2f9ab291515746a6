"""The server by the stamps of network cards: from a card's clock to what a client is told, and when rather not."""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from linux_support import await_kernel_stamps
from ntp_server_support import EVERYBODY, MONO_NS, START_NS, S, header, live_state, ns_of, request, state

from timesync.base.ids import Endpoint
from timesync.base.serving import CardMap, ServingMap
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.serve_state import Line, render
from timesync.ntp.server import Server, ServerSettings
from timesync.runtime import serve
from timesync.runtime.serve import LoopService
from timesync.runtime.serve_block import MAX_CARDS, decode_state, encode_state
from timesync.runtime.serve_socket import Datagram, ServingSocket, open_sockets
from timesync.runtime.serve_worker import Lane
from timesync_drivers import batch as batches

KEY = SymmetricKey(7, "SHA1", b"sixteen octets!!")
LO = socket.if_nametoindex("lo")
CARD_NS = 5 * 10**17
"""What the card's clock showed at the base of its map: it is not set to any time of day."""

FAST = 50e-6
"""The card's clock gains so much."""

ON_THE_WIRE_NS = 7_000
"""The card sees packets so long before the kernel."""


def _map(kernel_ns: int, interface: int = LO) -> CardMap:
    return CardMap(interface, CARD_NS, kernel_ns - CARD_NS, 1 / (1 + FAST))


def _card_ns(kernel_ns: int, base_ns: int) -> int:
    """What the card's clock showed when the kernel's showed ``kernel_ns``."""
    return CARD_NS + round((kernel_ns - base_ns) * (1 + FAST))


# --- the map


@pytest.mark.parametrize("later_ns", [-3 * S, -1, 0, 1, 1000, S, 3 * S])
def test_a_cards_stamp_becomes_kernel_time_to_the_nanosecond(later_ns: int) -> None:
    template = render(replace(state(), cards=(_map(START_NS),)), START_NS, MONO_NS)
    line = template.lines[LO]
    assert abs(line.at(_card_ns(START_NS + later_ns, START_NS)) - (START_NS + later_ns)) <= 1


@pytest.mark.parametrize(
    ("before_ns", "usable"),
    [(-200_000, False), (-90_000, True), (0, True), (9_000_000, True), (11_000_000, False), (S, False)],
)
def test_a_stamp_that_cannot_be_of_this_packet_is_not_used(before_ns: int, usable: bool) -> None:
    line = Line(CARD_NS, START_NS, 1 << 32)
    assert (START_NS if usable else None) == line.received(START_NS + before_ns, CARD_NS)
    assert (START_NS if usable else None) == line.sent(START_NS - before_ns, CARD_NS)


@pytest.mark.parametrize(("age_ns", "known"), [(0, True), (3 * S - 1, True), (3 * S, False), (-1, False)])
def test_maps_are_of_no_use_after_three_seconds(age_ns: int, known: bool) -> None:
    template = render(replace(state(), cards=(_map(START_NS),)), START_NS, MONO_NS + age_ns)
    assert known == (LO in template.lines)


def test_maps_pass_through_the_shared_memory_as_many_as_fit() -> None:
    cards = tuple(CardMap(index, -index, 2**61 - index, 1 + index * 1e-9) for index in range(MAX_CARDS + 3))
    for count in (0, 1, MAX_CARDS, MAX_CARDS + 3):
        given = replace(state(), cards=cards[:count], serving_map=ServingMap(-1, 5, 1.5))
        data = encode_state(given)
        assert len(data) == len(encode_state(state()))
        assert replace(given, cards=cards[: min(count, MAX_CARDS)]) == decode_state(data)


# --- the worker


class Bench:
    """A lane on loopback, whose packets look as if a card had stamped them."""

    def __init__(self, to: str, bound: socket.socket) -> None:
        self.server = Server(ServerSettings(allow=EVERYBODY, keys=(KEY,)), _NoLuck())
        self.base_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self.lane = Lane(ServingSocket(bound), self.server, interleaved=True)
        self.wire_ns: list[int] = []
        self.error_ns = 0
        self._batch = self.lane._batch
        self._receive = self._batch.receive
        self._batch.receive = self._stamped  # type: ignore[method-assign]  # a card between kernel and worker
        self.client = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM)
        self.client.settimeout(5)
        self.client.connect(bound.getsockname()[:2])

    def publish(self, *cards: CardMap) -> None:
        self.server.publish(live_state(cards=cards))

    def _stamped(self, descriptor: int) -> int:
        got = self._receive(descriptor)
        head = batches._NAME_ROOM + batches._HEAD
        for offset in self._batch.in_offsets[:got]:
            seconds, nanoseconds = struct.unpack_from("=qq", self._batch.inbox, offset + head)
            wire_ns = seconds * S + nanoseconds - ON_THE_WIRE_NS
            card_ns = _card_ns(wire_ns, self.base_ns) + self.error_ns
            struct.pack_into("=qq", self._batch.inbox, offset + head + 32, *divmod(card_ns, S))
            self.wire_ns.append(wire_ns)
        return got

    def ask(self, data: bytes) -> int:
        """The receive timestamp of the reply, ns."""
        self.client.send(data)
        self.lane.drain()
        return ns_of(header(self.client.recv(1000)).receive)


class _NoLuck:
    def random(self) -> float:
        return 0.999


@contextmanager
def _bench(to: str) -> Iterator[Bench]:
    ((bound,),) = open_sockets([Endpoint(to, 0)], 1)
    with bound:
        await_kernel_stamps()
        made = Bench(to, bound)
        with made.client:
            yield made


@pytest.mark.parametrize("to", ["127.0.0.1", "::1"])
def test_both_paths_of_a_worker_tell_the_cards_time_of_arrival(to: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with _bench(to) as bench:
        bench.publish(_map(bench.base_ns))
        told = [bench.ask(KEY.sign(request()))]  # the slow path, which makes the client known
        slow = bench.server.counts[:]
        monkeypatch.setattr(bench.server, "respond", None)
        told += [bench.ask(request(transmit=number)) for number in (1, 2)]

    assert bench.server.counters().hardware == 3
    assert sum(slow[:2]) == 2
    for ns, wire_ns in zip(told, bench.wire_ns, strict=True):
        # Its lowest bit, of a quarter of a nanosecond, is a mark.
        assert abs(ns - wire_ns) <= 2


@pytest.mark.parametrize("error_ns", [S, -S, 50_000_000, -20_000_000])
def test_a_stamp_from_before_a_step_is_left_and_the_kernels_used(error_ns: int) -> None:
    with _bench("127.0.0.1") as bench:
        bench.publish(_map(bench.base_ns))
        bench.error_ns = error_ns
        told = [bench.ask(KEY.sign(request())), bench.ask(request()), bench.ask(request())]

    assert bench.server.counters().hardware == 0
    for ns, wire_ns in zip(told, bench.wire_ns, strict=True):
        assert abs(ns - wire_ns - ON_THE_WIRE_NS) <= 2


def test_a_card_without_a_map_counts_for_nothing() -> None:
    with _bench("127.0.0.1") as bench:
        bench.publish(_map(bench.base_ns, LO + 1))
        told = [bench.ask(KEY.sign(request())), bench.ask(request())]
        bench.publish()
        told.append(bench.ask(request()))

    assert bench.server.counters().hardware == 0
    for ns, wire_ns in zip(told, bench.wire_ns, strict=True):
        assert abs(ns - wire_ns - ON_THE_WIRE_NS) <= 2


def test_the_service_on_the_loop_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    base_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)

    class Stamped(ServingSocket):
        def receive(self) -> Datagram:
            datagram = super().receive()
            assert datagram.interface == LO
            seen.append(datagram.stamp_ns - ON_THE_WIRE_NS)
            return replace(datagram, card_ns=_card_ns(seen[-1], base_ns))

    monkeypatch.setattr(serve, "ServingSocket", Stamped)

    async def main() -> tuple[int, int]:
        service = LoopService(ServerSettings(allow=EVERYBODY), [Endpoint("127.0.0.1", 0)])
        service.publish(live_state(cards=(_map(base_ns),)))
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.setblocking(False)
            client.connect(("127.0.0.1", service.addresses[0].port))
            client.send(request())
            async with asyncio.timeout(5):
                reply = await asyncio.get_running_loop().sock_recv(client, 1000)
        counted = service.counters().hardware
        service.close()
        return ns_of(header(reply).receive), counted

    await_kernel_stamps()
    told, counted = asyncio.run(main())
    assert abs(told - seen[0]) <= 2
    assert counted == 1


# --- transmit stamps


class Scripted:
    """A socket whose error queue is written beforehand."""

    def __init__(self) -> None:
        self.queue: list[list[tuple[int, int, bytes]]] = []
        self.asked: list[int] = []

    def setsockopt(self, *_: Any) -> None:
        """Timestamping is switched as wanted."""

    def sendmsg(self, _: Any, ancillary: list[tuple[int, int, bytes]], *__: Any) -> int:
        self.asked += [struct.unpack("@I", value)[0] for _, kind, value in ancillary if kind == 37]
        return 48

    def recvmsg(self, *_: Any) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        if not self.queue:
            raise BlockingIOError(errno.EAGAIN, "empty")
        return b"", self.queue.pop(0), 0, None

    def stamp(self, number: int, *, kernel_ns: int = 0, card_ns: int = 0) -> None:
        """The kernel or the card stamps the datagram of this number (linux/errqueue.h)."""
        stamps = struct.pack("=6q", *divmod(kernel_ns, S), 0, 0, *divmod(card_ns, S))
        error = struct.pack("=IBBBBII", errno.ENOMSG, 4, 0, 0, 0, 0, number)
        self.queue.append([(socket.SOL_SOCKET, STAMPS, stamps), (socket.IPPROTO_IP, 11, error)])


@pytest.fixture
def scripted() -> tuple[Scripted, ServingSocket]:
    made: Any = Scripted()
    return made, ServingSocket(made)


Sent = Callable[[int], list[tuple[int, int]]]
TX_HARDWARE, TX_SOFTWARE = 1, 2  # linux/net_tstamp.h
STAMPS = 37 if struct.calcsize("@l") == 8 else 65  # asm-generic/socket.h: SO_TIMESTAMPING with 64-bit seconds


def test_the_cards_stamp_comes_after_the_kernels_and_counts(scripted: tuple[Scripted, ServingSocket]) -> None:
    wire, serving = scripted
    before = time.clock_gettime_ns(time.CLOCK_REALTIME)
    serving.reply(b"", ("192.0.2.1", 9), None, 77, 3)
    serving.reply(b"", ("192.0.2.1", 9), None, 78)
    assert [TX_HARDWARE | TX_SOFTWARE, TX_SOFTWARE] == wire.asked
    lines = {3: Line(CARD_NS, before, 1 << 32)}
    wire.stamp(0, kernel_ns=before + 20_000)
    wire.stamp(1, kernel_ns=before + 25_000)
    wire.stamp(0, card_ns=CARD_NS + 30_000)
    wire.stamp(0, card_ns=CARD_NS + 30_001)
    assert [(77, before + 20_000), (78, before + 25_000), (77, before + 30_000)] == list(serving.stamps(lines))


def test_a_cards_transmit_stamp_from_before_a_step_is_left(scripted: tuple[Scripted, ServingSocket]) -> None:
    wire, serving = scripted
    before = time.clock_gettime_ns(time.CLOCK_REALTIME)
    serving.reply(b"", ("192.0.2.1", 9), None, 77, 3)
    wire.stamp(0, kernel_ns=before + 20_000)
    wire.stamp(0, card_ns=CARD_NS - S)
    assert [(77, before + 20_000)] == list(serving.stamps({3: Line(CARD_NS, before, 1 << 32)}))


def test_what_waits_for_a_stamp_is_bounded_and_the_oldest_goes(scripted: tuple[Scripted, ServingSocket]) -> None:
    wire, serving = scripted
    for number in range(300):
        serving.reply(b"", ("192.0.2.1", 9), None, number, 3)
    for number in (0, 43, 44, 299):
        wire.stamp(number, kernel_ns=1000 + number)
    assert [(44, 1044), (299, 1299)] == list(serving.stamps({}))
