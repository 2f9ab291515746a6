"""The worker's hot loop against the pure server: the same requests, the same octets outside the stamps."""

from __future__ import annotations

import os
import random
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from ipaddress import ip_network
from typing import Any

import pytest
from linux_support import await_kernel_stamps
from ntp5_support import message
from ntp_server_support import EVERYBODY, live_state, ns_of, request
from nts_support import NOW, Stream, agreed, keys_for

from timesync.base.ids import Endpoint
from timesync.base.time import Duration
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.limit import LimitReply, RateLimit
from timesync.ntp.server import Server, ServerSettings
from timesync.nts.aead import AeadId
from timesync.nts.cookies import CookieJar
from timesync.nts.master import KeyStore
from timesync.nts.session import NtsAnswer, NtsSession
from timesync.runtime.serve_socket import ServingSocket, open_sockets
from timesync.runtime.serve_worker import BATCH, Lane, decode_settings, encode_settings

KEY = SymmetricKey(7, "SHA1", b"sixteen octets!!")


class NoLuck:
    """Nothing leaks, nothing is kissed."""

    def random(self) -> float:
        return 0.999


SETTINGS = ServerSettings(
    allow=EVERYBODY,
    deny=(ip_network("127.0.0.66/32"),),
    rate_limit=RateLimit(interval=Duration.from_s(10_000), burst=60, reply=LimitReply.DROP),
    keys=(KEY,),
    clients=100,
)


def corpus(seed: int) -> list[bytes]:
    """Requests of all kinds, mostly plain ones; the transmit timestamp is the number in the corpus."""
    rng = random.Random(seed)
    made: list[bytes] = []
    for number in range(400):
        fields: dict[str, Any] = {
            "first": rng.choice([0x23, 0xE3, 0x1B, 0xDB, 0x13, 0x0B, rng.randrange(256)]),
            "poll": rng.randrange(-128, 128),
            "stratum": rng.randrange(256),
            "origin": rng.choice([0, 0, 0, rng.getrandbits(64)]),
            "receive": rng.choice([0, rng.getrandbits(64)]),
            "transmit": number + 1,
        }
        data = request(**fields)
        field = struct.pack("!HH", 9, 28) + bytes(24)
        tail = rng.choice([b"", b"", b"", b"", bytes(rng.randrange(30)), field])
        data = rng.choice([data + tail] * 5 + [KEY.sign(data)])
        if rng.random() < 0.05:
            data = data[: rng.randrange(len(data))]
        made.append(data)
    return made


@contextmanager
def lane(to: str, settings: ServerSettings = SETTINGS) -> Iterator[tuple[Lane, Server, int]]:
    ((bound,),) = open_sockets([Endpoint(to, 0)], 1)
    with bound:
        server = Server(settings, NoLuck(), os.urandom)
        server.publish(live_state())
        await_kernel_stamps()
        made = Lane(ServingSocket(bound), server, interleaved=settings.interleaved)
        yield made, server, bound.getsockname()[1]


def drain(socket_: socket.socket) -> list[bytes]:
    replies = []
    while True:
        try:
            replies.append(socket_.recv(4096))
        except BlockingIOError:
            return replies


def outside_stamps(reply: bytes) -> tuple[bytes, int, bytes]:
    """Everything but receive, transmit and the digest over them."""
    return reply[:32], len(reply), reply[48:52]


def noted(server: Server) -> set[tuple[bytes, int, int, int, int]]:
    """What is noted of clients, apart from the times."""
    records = server.clients.log.clients().records
    return {(one.address, one.requests, one.kind, one.dropped, one.failed) for one in records}


@pytest.mark.parametrize("to", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_both_paths_give_the_same_octets(to: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    sources = ["::1"] * 8 if ":" in to else [f"127.0.0.{number}" for number in (1, 1, 2, 3, 4, 5, 6, 66)]
    # All of ::1 is one client, which may ask as often as five others together.
    burst = 300 if ":" in to else 60
    limit = RateLimit(interval=Duration.from_s(10_000), burst=burst, reply=LimitReply.DROP)
    settings = replace(SETTINGS, rate_limit=limit)
    data = corpus(seed)
    pure = Server(settings, NoLuck())
    pure.publish(live_state())
    with lane(to, settings) as (fast, server, port), ExitStack() as stack:
        slow_calls = 0
        respond = server.respond

        def counted(*arguments: Any) -> Any:
            nonlocal slow_calls
            slow_calls += 1
            return respond(*arguments)

        monkeypatch.setattr(server, "respond", counted)
        clients = []
        for source in sources:
            family = socket.AF_INET6 if ":" in to else socket.AF_INET
            made = stack.enter_context(socket.socket(family, socket.SOCK_DGRAM))
            made.setblocking(False)
            made.bind((source, 0))
            made.connect((to, port))
            clients.append(made)
        expected: list[list[bytes]] = [[] for _ in clients]
        got: list[list[bytes]] = [[] for _ in clients]
        for start in range(0, len(data), 50):
            for number, one in enumerate(data[start : start + 50]):
                which = number % len(clients)
                clients[which].send(one)
                now = time.clock_gettime_ns(time.CLOCK_REALTIME)
                reply = pure.respond(
                    one, sources[which], clients[which].getsockname()[1], now, now + 1000, time.monotonic_ns()
                )
                if reply is not None:
                    expected[which].append(reply.data)
            fast.drain()
            fast.read_stamps()
            records = server.clients.log.clients().records
            assert all(one.first_ns <= one.last_ns and one.interval_ns >= 0 for one in records)
            for which, made in enumerate(clients):
                got[which] += drain(made)

        assert [[outside_stamps(one) for one in each] for each in expected] == [
            [outside_stamps(one) for one in each] for each in got
        ]
        assert pure.counters() == server.counters()
        assert noted(pure) == noted(server)
        assert slow_calls < 0.8 * len(data), "the fast path had its share"
        assert server.counters().limited > 0


def test_who_asks_whether_ntpv5_is_spoken_is_told_by_the_slow_path() -> None:
    mark = int.from_bytes(b"NTP5DRFT", "big")
    settings = ServerSettings(allow=EVERYBODY, versions=frozenset({3, 4, 5}))
    for offered, expected in ((settings, b"NTP5DRFT"), (replace(settings, versions=frozenset({3, 4})), None)):
        with lane("127.0.0.1", offered) as (fast, _, port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.connect(("127.0.0.1", port))
            made.setblocking(False)
            for reference in (0, mark, mark + 1, mark):
                made.send(request(reference=reference))
                fast.drain()
            replies = drain(made)
            marked = [reply[16:24] == b"NTP5DRFT" for reply in replies]
            assert ([False, True, False, True] if expected else [False] * 4) == marked


def test_the_fast_path_leaves_version_5_alone() -> None:
    settings = ServerSettings(allow=EVERYBODY, versions=frozenset({4, 5}))
    with lane("127.0.0.1", settings) as (fast, server, port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", port))
        made.setblocking(False)
        for data in (request(), request(), request(first=0x2B), message()):
            made.send(data)
            fast.drain()
        assert [48, 48, len(message())] == [len(reply) for reply in drain(made)]
        counted = server.counters()
        assert (2, 1, 1) == (counted.version_4, counted.version_5, counted.bad), "without a draft it is nobody's"


def test_the_fast_path_keeps_to_the_limit_of_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = RateLimit(interval=Duration.from_s(10_000), burst=2, reply=LimitReply.DROP)
    with lane("127.0.0.1", replace(SETTINGS, rate_limit=limit)) as (fast, server, port), ExitStack() as stack:
        clients = []
        for number in range(1, 81):
            made = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            made.setblocking(False)
            made.bind((f"127.0.0.{number if number < 66 else number + 1}", 0))
            made.connect(("127.0.0.1", port))
            clients.append(made)
        for made in clients:
            made.send(request())
            fast.drain()
        assert (80, 0) == (server.counters().answered, server.counters().limited), "each has two, all together 128"

        slow: list[bytes] = []
        respond = server.respond
        monkeypatch.setattr(server, "respond", lambda *a: slow.append(a[0]) or respond(*a))
        for number, made in enumerate(clients):
            made.send(request(transmit=number + 1))
            fast.drain()
        assert (128, 32) == (server.counters().answered, server.counters().limited)
        assert [request(transmit=number + 1) for number in range(48, 80)] == slow, "the others took the fast path"


def test_a_plain_request_of_a_known_client_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    with lane("127.0.0.1") as (fast, server, port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", port))
        made.send(request())
        fast.drain()

        def never(*_: Any) -> Any:
            raise AssertionError("a plain request went the slow way")

        monkeypatch.setattr(server, "respond", never)
        for version in (1, 2, 3, 4):
            made.send(request(first=version << 3 | 3, transmit=version))
        fast.drain()

        made.setblocking(False)
        assert [1, 2, 3, 4] == [one[0] >> 3 & 7 for one in drain(made)[1:]]
        assert server.counters().version_4 == 2
        assert server.counters().answered == 5


def test_more_than_a_batch_is_drained_at_once_and_stamps_go_up() -> None:
    unlimited = ServerSettings(allow=EVERYBODY)
    with (
        lane("127.0.0.1", unlimited) as (fast, server, port),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made,
    ):
        made.connect(("127.0.0.1", port))
        made.setblocking(False)
        for number in range(3 * BATCH + 5):
            made.send(request(transmit=number + 1))
        fast.drain()
        replies = drain(made)

        cookies = [int.from_bytes(one[24:32], "big") for one in replies]
        assert list(range(1, 3 * BATCH + 6)) == cookies
        for one in replies:
            receive, transmit = struct.unpack("!QQ", one[32:48])
            assert (receive & 1, transmit & 1) == (1, 0)
            assert 0 < transmit - receive < 5 << 32
        assert server.counters().answered == 3 * BATCH + 5


@pytest.mark.parametrize("to", ["127.0.0.1", "::1"])
def test_replies_of_all_sizes_leave_one_batch_in_order_and_whole(to: str) -> None:
    """With NTS, with a MAC and plain ones through the same slots: none is cut, and none has another's end."""
    store = KeyStore.new(NOW, Stream("store"))
    jar = CookieJar(store.keys, Stream("jar"))
    offered = ServerSettings(allow=EVERYBODY, keys=(KEY,), nts=store.keys)
    sessions: dict[int, NtsSession] = {}
    asked: list[bytes] = []
    # From batch to batch each slot has another kind.
    kinds = [(number + number // BATCH) % 4 for number in range(4 * BATCH)]
    for number, kind in enumerate(kinds):
        plain = request(transmit=number)
        if kind == 1:
            keys = keys_for([AeadId.AES_128_GCM_SIV, AeadId.AES_SIV_CMAC_512][number // 4 % 2], str(number))
            cookies = tuple(jar.make(keys) for _ in range(8 - number % 3))
            sessions[number] = NtsSession(agreed(keys, cookies), os.urandom)
            protected = sessions[number].protect(plain)
            assert protected is not None
            asked.append(protected)
        else:
            asked.append(KEY.sign(plain) if kind == 2 else plain)
    forged = bytearray(asked[1])
    forged[-1] ^= 1
    with lane(to, offered) as (fast, server, port):
        family = socket.AF_INET6 if ":" in to else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as made:
            made.setblocking(False)
            made.connect((to, port))
            replies: list[bytes] = []
            for start in range(0, len(asked), BATCH):
                for one in asked[start : start + BATCH]:
                    made.send(one)
                fast.drain()
                replies += drain(made)
            made.send(forged)
            fast.drain()
            (nak,) = drain(made)

    assert [len(one) for one in asked] == [len(one) for one in replies]
    for number, reply in enumerate(replies):
        assert number == int.from_bytes(reply[24:32], "big")
        if number in sessions:
            judged = sessions[number].judge(reply)
            assert isinstance(judged, NtsAnswer)
            assert 8 == len(sessions[number].cookies)
        elif kinds[number] == 2:
            assert KEY.sign(reply[:48]) == reply
    assert b"NTSN" == nak[12:16]
    assert BATCH == server.counters().nts


def test_a_datagram_without_control_data_does_not_get_that_of_an_earlier_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        lane("127.0.0.1", ServerSettings(allow=EVERYBODY)) as (fast, _, port),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made,
    ):
        made.connect(("127.0.0.1", port))
        for _ in range(2):
            made.send(request())
            fast.drain()
            made.recv(100)
        receive, reply, locals_ = fast._batch.receive, fast._socket.reply, []

        def bare(descriptor: int) -> int:
            got = receive(descriptor)
            fast._batch._controls[0] = 0
            return got

        def noted(data: bytes, address: Any, local: bytes | None, *more: Any) -> bool:
            locals_.append(local)
            return reply(data, address, local, *more)

        monkeypatch.setattr(fast._batch, "receive", bare)
        monkeypatch.setattr(fast._socket, "reply", noted)
        made.send(request())
        fast.drain()
        assert 48 == len(made.recv(100))
    assert [None] == locals_


@pytest.mark.parametrize("size", [1, 3, 5, BATCH])
@pytest.mark.parametrize("odd", [None, 0, 2])
def test_no_reply_says_that_it_leaves_later_than_it_does(
    monkeypatch: pytest.MonkeyPatch, size: int, odd: int | None
) -> None:
    """Each batch is stamped when its sending begins, be it whole or parted by a request that goes the slow way."""
    unlimited = ServerSettings(allow=EVERYBODY, keys=(KEY,))
    with lane("127.0.0.1", unlimited) as (fast, _, port), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
        made.connect(("127.0.0.1", port))
        made.send(request())
        fast.drain()
        made.recv(100)
        entered: list[tuple[int, int, int]] = []
        send = fast._batch.send

        def timed(descriptor: int, start: int, count: int) -> int:
            entered.append((start, count, time.clock_gettime_ns(time.CLOCK_REALTIME)))
            return send(descriptor, start, count)

        monkeypatch.setattr(fast._batch, "send", timed)
        for number in range(size):
            plain = request(transmit=number)
            made.send(KEY.sign(plain) if number == odd else plain)
        began = time.clock_gettime_ns(time.CLOCK_REALTIME)
        fast.drain()
        made.setblocking(False)
        replies = {int.from_bytes(one[24:32], "big"): one for one in drain(made)}

    assert set(range(size)) == replies.keys()
    assert list(range(size)) == [slot for start, count, _ in entered for slot in range(start, start + count)]
    if odd is not None and odd < size:
        assert (odd, 1) in [(start, count) for start, count, _ in entered]
    for start, count, at in entered:
        for slot in range(start, start + count):
            # NTP's fractions are floored to 2 units of 2^-32 s.
            assert began - 1 <= ns_of(int.from_bytes(replies[slot][40:48], "big")) <= at


@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        ServerSettings(),
        ServerSettings(
            allow=(ip_network("2001:db8::/32"),),
            versions=frozenset({3, 5}),
            drafts=("draft-ietf-ntp-ntpv5-08",),
            interleaved=False,
            rate_limit=RateLimit(interval=Duration(3), burst=9, reply=LimitReply.KOD, leak=16, kiss=2),
        ),
    ],
)
def test_settings_pass_through_the_socket_unchanged(settings: ServerSettings) -> None:
    line = encode_settings(settings)

    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert settings == decode_settings(line)
