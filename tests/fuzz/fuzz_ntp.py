"""Fuzz targets of the NTP codec, client and query."""

from __future__ import annotations

import hashlib
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass

from targets import Target, mutate, register

from timesync.base.ids import ClockId, Endpoint, LinkId, SourceId
from timesync.base.machine import Dropped, Effect, Measured, SendStamped
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono, Tai, Utc
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.client import Client, ClientSettings
from timesync.ntp.client_interleaved import Interleaved
from timesync.ntp.query import Query, QuerySettings
from timesync.wire.error import WireError
from timesync.wire.ntp import decode, encode

S = 1_000_000_000
TAI_UTC = 37
START_S = 1_790_000_000
NTP_UNIX = 2_208_988_800
ORIGIN = frozenset(range(24, 32))


class Scales:
    """TAI - UTC is 37 s; nothing is ambiguous."""

    def tai(self, utc: Instant[Utc], /) -> Instant[Tai]:
        return Instant(utc.scaled_ns + Duration.from_s(TAI_UTC).scaled_ns)

    def utc(self, tai: Instant[Tai], /) -> Instant[Utc]:
        return Instant(tai.scaled_ns - Duration.from_s(TAI_UTC).scaled_ns)

    def ambiguous(self, utc: Instant[Utc], /) -> bool:
        return False


def header(rng: random.Random) -> bytes:
    """48 octets, most of which often are those of an answer."""
    if rng.random() < 0.2:
        return rng.randbytes(48)
    first = rng.choice((0x23, 0x24, 0x1C, 0x64, 0xE4, 0xD9))
    words = struct.pack(">BBbbII", first, rng.randrange(18), 6, -20, rng.randrange(1 << 17), rng.randrange(1 << 17))
    return words + rng.randbytes(36)


def datagram(rng: random.Random) -> bytes:
    """A header, extension fields of right and wrong lengths, a MAC; then sometimes mutated."""
    data = header(rng)
    for _ in range(rng.choice((0, 0, 1, 2, 16, 17))):
        size = rng.choice((0, 4, 12, 16, 17, 24, 28, 64, 65_535))
        data += rng.randbytes(2) + size.to_bytes(2, "big") + bytes(max(min(size, 64) - 4, 0))
    data += rng.randbytes(rng.choice((0, 0, 4, 20, 24, 36, 68)))
    return mutate(rng, data) if rng.random() < 0.5 else data


def decode_and_encode(data: bytes) -> None:
    """What decodes must encode to the same octets."""
    again = encode(decode(data))
    if again != data:
        raise AssertionError(f"encoded again as {again.hex()}")


def right_answer(request: bytes, mono_ns: int, server_receive: int) -> bytes:
    """What a right server answers, in interleaved mode when the request has its last receive timestamp as origin."""
    origin, receive, transmit = struct.unpack(">QQQ", request[24:48])
    t2 = ((START_S + NTP_UNIX) << 32) + ((mono_ns + 500_000) << 32) // S
    interleaved = origin != 0 and origin == server_receive
    t3 = server_receive + 90_000 if interleaved else t2 + 85_000
    back = receive if interleaved else transmit
    return struct.pack(">BBbbII4sQQQQ", 0x24, 2, 0, -24, 512, 256, b"\xc0\0\2\7", t2, back, t2, t3)


@dataclass
class Answers:
    """A client, and mutations of the valid answer to each of its requests.

    ``generate`` makes the answer to the request that is on its way; ``target`` delivers it, and then a valid
    one from time to time, so that the client's state moves on.
    """

    name: str
    key: SymmetricKey | None
    interleaved: Interleaved
    protected: frozenset[int]
    seed: int = 0

    def __post_init__(self) -> None:
        self.calls = 0
        self.client = Client(
            ClientSettings(
                source=SourceId("a"),
                link=LinkId("a"),
                local=ClockId("system"),
                remote=Endpoint("192.0.2.1", 123),
                poll_min=0,
                key=self.key,
                interleaved=self.interleaved,
            ),
            Scales(),
            random.Random(self.seed),
            self._entropy,
            Duration.from_ns(100),
        )
        self.mono_ns = 10 * S
        self.request = b""
        self.token = 0
        self.server_receive = 0
        self._ask()

    def _entropy(self, size: int, /) -> bytes:
        self.calls += 1
        return hashlib.sha256(f"{self.seed}/{self.calls}".encode()).digest()[:size]

    @property
    def now(self) -> Instant[Mono]:
        return Instant.from_ns(self.mono_ns)

    def _stamp(self, ns: int) -> Stamp:
        return Stamp(ClockId("system"), 0, Instant.from_ns((START_S + TAI_UTC) * S + ns))

    def _ask(self) -> None:
        """On to the next request."""
        while True:
            due = self.client.deadline()
            self.mono_ns = max(self.mono_ns, -(-due.scaled_ns // 65_536))
            for effect in self.client.on_deadline(self.now):
                if isinstance(effect, SendStamped):
                    self.request, self.token = effect.data, effect.token
                    self.client.on_sent(self.token, self._stamp(self.mono_ns), self.now)
                    return

    def valid(self) -> bytes:
        """The answer of a right server, in interleaved mode when it was asked for."""
        data = right_answer(self.request, self.mono_ns, self.server_receive)
        return data if self.key is None else self.key.sign(data)

    def generate(self, rng: random.Random) -> bytes:
        """The valid answer or a mutation of it, with the origin protected or not."""
        if rng.random() < 0.1:
            return self.valid()
        return mutate(rng, self.valid(), protect=self.protected)

    def target(self, data: bytes) -> None:
        """Deliver; a measurement needs this request's origin, and with a key every octet of the server."""
        valid = self.valid()
        effects = self.client.on_packet(self.token, data, self._stamp(self.mono_ns + 1_020_000), self.now)
        measured = [effect.measurement for effect in effects if isinstance(effect, Measured)]
        if measured and (data[24:32] != valid[24:32] or data[24:32] == bytes(8)):
            raise AssertionError("measured without its origin")
        if measured and self.key is not None and data != valid:
            raise AssertionError("measured without its MAC")
        for measurement in measured:
            if measurement.delay is None or not 0 <= measurement.delay.s() <= 3:
                raise AssertionError(f"delay {measurement.delay}")
        if effects and self.client.deadline() >= self.now + Duration.from_s(3700):
            raise AssertionError("asleep for more than the slowest probe")
        if data[24:32] == valid[24:32] and len(data) >= 48:
            self.server_receive = int.from_bytes(valid[32:40], "big") if data == valid else 0
            self._ask()


def answers(name: str, key: SymmetricKey | None, interleaved: Interleaved, protected: frozenset[int]) -> Target:
    """A row whose state starts anew with the row."""
    session = Answers(name, key, interleaved, protected)
    generate: Callable[[random.Random], bytes] = session.generate
    return Target(name, generate, session.target)


def client_targets() -> list[Target]:
    """Clients in their initial state."""
    key = SymmetricKey(1, "SHA256", b"0123456789abcdef")
    return [
        answers("ntp client", None, Interleaved.NEVER, frozenset()),
        answers("ntp client, origin intact", None, Interleaved.NEVER, ORIGIN),
        answers("ntp client, interleaved", None, Interleaved.ALWAYS, ORIGIN),
        answers("ntp client, keyed", key, Interleaved.AUTO, ORIGIN),
    ]


@dataclass
class Questions:
    """One question of ``timesync query`` at a time, and mutations of the valid answer to it.

    Each input is the whole story of a fresh ``Query`` of two questions: the first is answered rightly, so that the
    second can be interleaved, and the input is the answer to the second.
    """

    name: str
    interleaved: bool

    def __post_init__(self) -> None:
        self.calls = 0
        self._begin()

    def _entropy(self, size: int, /) -> bytes:
        self.calls += 1
        return hashlib.sha256(f"{self.name}/{self.calls}".encode()).digest()[:size]

    def _stamp(self, ns: int) -> Stamp:
        return Stamp(ClockId("system"), 0, Instant.from_ns((START_S + TAI_UTC) * S + ns))

    @property
    def now(self) -> Instant[Mono]:
        return Instant.from_ns(self.mono_ns)

    def _begin(self) -> None:
        settings = QuerySettings(local=ClockId("system"), count=2, interleaved=self.interleaved)
        self.query = Query(settings, Scales(), self._entropy, Duration.from_ns(100))
        self.mono_ns = 10 * S
        self.server_receive = 0
        self._ask()
        self.answer(self.valid())
        self._ask()

    def _ask(self) -> None:
        due = self.query.deadline()
        assert due is not None
        self.mono_ns = max(self.mono_ns, -(-due.scaled_ns // 65_536))
        (request,) = [one for one in self.query.on_deadline(self.now) if isinstance(one, SendStamped)]
        self.request, self.token = request.data, request.token
        self.query.on_sent(self.token, self._stamp(self.mono_ns), self.now)

    def valid(self) -> bytes:
        """The answer of a right server."""
        return right_answer(self.request, self.mono_ns, self.server_receive)

    def answer(self, data: bytes) -> list[Effect]:
        """Deliver an answer that took a millisecond."""
        self.server_receive = int.from_bytes(self.valid()[32:40], "big")
        return self.query.on_packet(self.token, data, self._stamp(self.mono_ns + 1_020_000), self.now)

    def generate(self, rng: random.Random) -> bytes:
        """Mutations of the valid answer; half of them spare the origin."""
        return mutate(rng, self.valid(), protect=ORIGIN if rng.random() < 0.5 else frozenset())

    def target(self, data: bytes) -> None:
        """The question ends once, by an answer with its own origin or by the time-out; then a new story."""
        valid = self.valid()
        before = len(self.query.outcomes)
        effects = self.answer(data)
        ended = len(self.query.outcomes) - before
        if ended and (data[24:32] != valid[24:32] or data[24:32] == bytes(8)):
            raise AssertionError("believed without its origin")
        if ended == sum(isinstance(effect, Dropped) for effect in effects):
            raise AssertionError("neither taken nor dropped, or both")
        if not ended:
            due = self.query.deadline()
            if due is None or due > self.now + Duration.from_s(3):
                raise AssertionError("it would wait for longer than it says")
            self.query.on_deadline(due)
        outcome = self.query.outcomes[-1]
        if not self.query.finished or len(self.query.outcomes) != before + 1:
            raise AssertionError("the question has not ended once")
        if outcome.usable and (outcome.sample is None or not 0 <= outcome.sample.round_trip.s() <= 3):
            raise AssertionError(f"round trip {outcome.sample}")
        for shown in (outcome.kiss, outcome.trouble):
            if shown is not None and not shown.isprintable():
                raise AssertionError("control characters for the terminal")
        self._begin()


def query_targets() -> list[Target]:
    """Queries in their initial state."""
    sessions = [Questions("ntp query", interleaved=False), Questions("ntp query, interleaved", interleaved=True)]
    return [Target(session.name, session.generate, session.target) for session in sessions]


CODEC = Target("ntp codec", datagram, decode_and_encode, (WireError,))
NOISE = Target("ntp codec, noise", lambda rng: rng.randbytes(rng.randrange(300)), decode_and_encode, (WireError,))


register(CODEC, NOISE, *client_targets(), *query_targets())
