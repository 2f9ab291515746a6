"""Fuzz targets of NTPv5: codec, server, client."""

from __future__ import annotations

import hashlib
import itertools
import random
import struct

from targets import Target, mutate, register

from timesync.base.ids import ClockId
from timesync.base.measure import Leap, Stamp
from timesync.base.serving import SYSTEM_MAP, ServingMap
from timesync.base.time import Duration, Instant, Tai, Utc
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.exchange import DropReason
from timesync.ntp.interleave import Pairs
from timesync.ntp.serve_state import ServeState
from timesync.ntp.v5.bloom import BloomFilter
from timesync.ntp.v5.client import Answer5, Session5, Settings5
from timesync.ntp.v5.server import Refusal, Reply5, Server5
from timesync.ntp.v5.serving import Monotonic, Scales, Serving
from timesync.wire.error import WireError
from timesync.wire.ntp5 import Timescale, decode, encode

S = 1_000_000_000
NOW_NS = 1_790_000_000 * S
NTP_NOW = (1_790_000_000 + 2_208_988_800) << 32
NAME = "draft-ietf-ntp-ntpv5-09"
DRAFT_FIELD = bytes.fromhex("f5ff001b") + NAME.encode() + b"\0"
KEY = SymmetricKey(1, "AES128", b"sixteen octets!!")
KINDS = (0xF501, *range(0xF503, 0xF50A), 0x104, 0x204, 0x404, 0xF5FF)
STATE = ServeState(
    synchronized=True,
    leap=Leap.INSERT,
    stratum=1,
    reference_id=b"GPS\0",
    root_delay=Duration(0),
    root_dispersion=Duration(0),
    dispersion_rate=1e-5,
    at=Instant(0),
    valid_until=Instant.from_ns(1 << 62),
    reference_time=NTP_NOW,
    precision=-20,
    serving_map=SYSTEM_MAP,
    epoch=0,
)


class LeapSeconds:
    """TAI - UTC is 37 s; nothing is ambiguous."""

    def tai(self, utc: Instant[Utc], /) -> Instant[Tai]:
        return Instant(utc.scaled_ns + Duration.from_s(37).scaled_ns)

    def utc(self, tai: Instant[Tai], /) -> Instant[Utc]:
        return Instant(tai.scaled_ns - Duration.from_s(37).scaled_ns)

    def ambiguous(self, utc: Instant[Utc], /) -> bool:
        return False


def fields(rng: random.Random) -> bytes:
    """Fields of right and wrong lengths; most often with the draft among them."""
    made = [DRAFT_FIELD] if rng.random() < 0.9 else []
    for _ in range(rng.choice((0, 0, 1, 2, 4, 15, 17))):
        size = rng.choice((4, 5, 8, 12, 16, 16, 20, 28, 36, 132, 516))
        body = rng.choice((bytes, rng.randbytes))(size - 4)
        made.append(struct.pack(">HH", rng.choice(KINDS), size) + body + bytes(-size % 4))
    rng.shuffle(made)
    return b"".join(made)


def request(rng: random.Random) -> bytes:
    """A request, often in interleaved mode, sometimes signed, sometimes with a correction at its end."""
    head = struct.pack(
        ">BBbbIIBBHQQQQ",
        0x2B,
        0,
        rng.choice((0, 0, 6, 127, -128)),
        0,
        0,
        0,
        rng.choice((0, 0, 1, 2, 3, 4, 255)),
        0,
        rng.choice((0, 2, 2, 3, 0xFFFF)),
        rng.choice((0, 1, NTP_NOW | 1, rng.getrandbits(64))),
        rng.getrandbits(64),
        0,
        0,
    )
    data = head + fields(rng)
    if rng.random() < 0.3:
        data += bytes.fromhex("f502001800000001") + KEY.digest(data)
    return data + (bytes.fromhex("f506001c") + rng.randbytes(24) if rng.random() < 0.2 else b"")


def maybe_mutated(rng: random.Random, data: bytes) -> bytes:
    return mutate(rng, data) if rng.random() < 0.5 else data


def decode_and_encode(data: bytes) -> None:
    """What decodes must encode to as many octets, and those must mean the same."""
    packet = decode(data)
    again = encode(packet)
    if len(again) != len(data) or decode(again) != packet:
        raise AssertionError(f"encoded again as {again.hex()}")


class Far:
    """One server through all inputs; each comes a little later, and every tenth state is another one."""

    def __init__(self) -> None:
        self._count = itertools.count()
        self._server = Server5(keys=(KEY,), pairs=Pairs(capacity=64))

    def generate(self, rng: random.Random) -> bytes:
        """A request, whole or mutated, after one octet that says what is done with it."""
        return bytes([rng.randrange(256)]) + maybe_mutated(rng, request(rng))

    def target(self, data: bytes) -> None:
        """An answer has the octets and the cookie of its request, and refusals have no time."""
        number = next(self._count)
        if number % 10 == 0:
            self._publish(number)
        at_ns = NOW_NS + number * 10_000_000
        what, asked = data[0] % 8, data[1:]
        refusal = [*Refusal][what] if what < len(Refusal) else None
        if refusal is not None:
            reply = self._server.refuse(asked, refusal)
        else:
            reply = self._server.respond(asked, at_ns, at_ns + 1000, number)
        if not isinstance(reply, Reply5):
            return
        if len(reply.data) != len(asked) or asked[0] & 0x3F != 0x2B or reply.data[0] & 0x3F != 0x2C:
            raise AssertionError("not an answer to a request, or of another length")
        if reply.data[24:32] != asked[24:32] or DRAFT_FIELD[4:24] not in reply.data[48:]:
            raise AssertionError("the cookie or the draft is another one")
        if refusal is not None and any(reply.data[32:48]):
            raise AssertionError("a refusal with a time")
        decode(reply.data)
        if reply.stamp_as is not None:
            self._server.sent(reply.stamp_as, at_ns + 2000)

    def _publish(self, number: int) -> None:
        rng = random.Random(number)
        served = rng.choice((Timescale.UTC, Timescale.SMEARED))
        shifts = {Timescale.UTC: rng.choice((None, 5)), Timescale.TAI: rng.choice((None, 37 * S))}
        serving = Serving(
            poll=rng.randrange(-4, 18),
            references=rng.choice((None, BloomFilter(rng.getrandbits(4096)))),
            scales=Scales(served, shifts, rng.choice((0.0, 1e-5, -0.5)), NOW_NS),
            monotonic=rng.choice((None, Monotonic(rng.getrandbits(32), ServingMap(NOW_NS, -NOW_NS, 1 + 1e-6)))),
        )
        self._server.publish(STATE, serving)


class Near:
    """One client through all inputs, and mutations of the right answer to each of its requests."""

    def __init__(self, name: str, settings: Settings5) -> None:
        self.name = name
        self._settings = settings
        self._calls = 0
        self.accepted = 0
        self._session = Session5(settings)
        self._ask()

    def _entropy(self, size: int, /) -> bytes:
        self._calls += 1
        return hashlib.sha256(f"{self.name}/{self._calls}".encode()).digest()[:size]

    def _ask(self) -> None:
        self._asked = self._session.request(NAME, 6, self._entropy)

    def valid(self, rng: random.Random) -> bytes:
        """What a right server may answer."""
        interleaved = self._asked.server_cookie != 0 and rng.random() < 0.5
        head = struct.pack(
            ">BBbbIIBBHQQQQ",
            rng.choice((0x2C, 0x6C, 0xEC)),
            rng.choice((0, 1, 2, 15, 255)),
            rng.choice((0, 6, 7, 20, 127)),
            rng.choice((-30, 0, 100, 127)),
            rng.getrandbits(32),
            rng.getrandbits(32),
            rng.choice((0, 0, 1, 3, 4)),
            rng.choice((0, 0, 0, 1, 255)),
            rng.choice((0, 1, 1, 1, 4, 0xFFF9)) | (2 if interleaved else 0),
            rng.getrandbits(64),
            self._asked.cookie,
            rng.choice((0, NTP_NOW, rng.getrandbits(64))),
            rng.choice((0, NTP_NOW + 5, rng.getrandbits(64))),
        )
        data = head + DRAFT_FIELD
        if self._asked.part is not None:
            size = self._asked.part.size
            data += struct.pack(">HH", 0xF504, size + 4) + rng.randbytes(size)
        if self._settings.key is not None:
            data += bytes.fromhex("f502001800000001") + self._settings.key.digest(data)
        return data + (bytes.fromhex("f506001c") + rng.randbytes(24) if rng.random() < 0.5 else b"")

    def generate(self, rng: random.Random) -> bytes:
        """The answer, or a mutation of it that most often spares version, mode and cookie."""
        spared = frozenset((0, *range(24, 32))) if rng.random() < 0.8 else frozenset[int]()
        data = self.valid(rng)
        return mutate(rng, data, protect=spared) if rng.random() < 0.7 else data

    def target(self, data: bytes) -> None:
        """Believed only with our cookie; and with a key only unchanged up to the correction."""
        stamp = Stamp(ClockId("system"), 0, Instant.from_ns(NOW_NS + 37 * S))
        got = self._session.judge(data, self._asked, stamp, LeapSeconds())
        if isinstance(got, DropReason):
            return
        if not isinstance(got, Answer5) or data[24:32] != self._asked.cookie.to_bytes(8, "big"):
            raise AssertionError("believed without its cookie")
        if self._settings.key is not None:
            end = data.rindex(bytes.fromhex("f502001800000001"))
            if data[end + 8 : end + 24] != self._settings.key.digest(data[:end]):
                raise AssertionError("believed without its code")
        if not -128 <= got.least_poll <= 18 or not 0 <= got.packet.receive < 1 << 64:
            raise AssertionError(f"out of range: {got}")
        self.accepted += 1
        self._session.accepted(self._asked, got)
        self._ask()


def client_sessions() -> list[Near]:
    """Clients in their initial state."""
    return [
        Near("ntp5 client", Settings5(chunk=16, interleaved=True)),
        Near("ntp5 client, keyed", Settings5(timescale=Timescale.TAI, key=KEY, chunk=128)),
        Near("ntp5 client, smeared", Settings5(timescale=Timescale.SMEARED)),
    ]


CODEC = Target("ntp5 codec", lambda rng: maybe_mutated(rng, request(rng)), decode_and_encode, (WireError,))
FAR = Far()
SERVER = Target("ntp5 server", FAR.generate, FAR.target)
CLIENTS = [Target(one.name, one.generate, one.target) for one in client_sessions()]

register(CODEC, SERVER, *CLIENTS)
