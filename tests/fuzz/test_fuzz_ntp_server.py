"""Whatever comes: no exception, no reply longer than the request, no answer to anything but a client."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from timesync.base.measure import Leap
from timesync.base.serving import SYSTEM_MAP
from timesync.base.time import Duration, Instant
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.limit import RateLimit
from timesync.ntp.server import Server, ServerSettings, ServeState

NOW_NS = 1_790_000_000_000_000_000
KEYS = (
    SymmetricKey(1, "SHA1", b"sixteen octets!!"),
    SymmetricKey(2, "SHA512", b"sixteen octets!!"),
    SymmetricKey(3, "AES128", b"sixteen octets!!"),
)
STATE = ServeState(
    synchronized=True,
    leap=Leap.NONE,
    stratum=1,
    reference_id=b"GPS\0",
    root_delay=Duration(0),
    root_dispersion=Duration(0),
    dispersion_rate=1e-5,
    at=Instant(0),
    valid_until=Instant.from_ns(1 << 60),
    reference_time=0,
    precision=-20,
    serving_map=SYSTEM_MAP,
    epoch=0,
)


def server(seed: int, *, limited: bool) -> Server:
    limit = RateLimit(interval=Duration.from_s(1), burst=2, kiss=1) if limited else None
    everybody = (ip_network("0.0.0.0/0"), ip_network("::/0"))
    made = Server(ServerSettings(allow=everybody, keys=KEYS, rate_limit=limit), random.Random(seed))
    made.publish(STATE)
    return made


def check(target: Server, data: bytes, source: bytes, port: int, at_ns: int) -> None:
    """One datagram, and what must hold of the reply."""
    before = target.counters()
    reply = target.respond(data, source, port, at_ns, at_ns + 1000, at_ns - NOW_NS)
    after = target.counters()
    outcomes = ("answered", "denied", "limited", "bad", "late", "auth_failed")
    assert sum(getattr(after, name) - getattr(before, name) for name in outcomes) == 1
    if reply is None:
        return
    version, mode = data[0] >> 3 & 7, data[0] & 7
    assert mode == 3 or (mode == 0 and version == 1 and port != 123)
    assert 1 <= version <= 4
    assert 48 <= len(reply.data) <= len(data)
    assert reply.data[0] & 7 == 4
    assert reply.data[0] >> 3 & 7 == version
    receive, transmit = struct.unpack_from("!QQ", reply.data, 32)
    assert (receive & 1, transmit & 1) == (1, 0)
    if reply.stamp_as is not None:
        target.sent(reply.stamp_as, at_ns + 2000)


requests = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda first, middle, tail: bytes([first]) + middle + tail,
        st.sampled_from([0x23, 0x1B, 0x13, 0x0B, 0x08, 0xE3]),
        st.binary(min_size=47, max_size=47),
        st.one_of(
            st.just(b""),
            st.binary(max_size=80),
            st.builds(lambda n, b: struct.pack("!HH", 4, n) + b, st.integers(0, 100), st.binary(max_size=96)),
        ),
    ),
)


@given(
    data=st.lists(requests, min_size=1, max_size=8),
    source=st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16)),
    port=st.sampled_from([1, 123, 40_000]),
    limited=st.booleans(),
)
def test_no_reply_is_longer_than_its_request(data: list[bytes], source: bytes, port: int, limited: bool) -> None:
    target = server(1, limited=limited)
    for number, one in enumerate(data):
        check(target, one, source, port, NOW_NS + number)


@given(key=st.sampled_from(KEYS), first=st.sampled_from([0x23, 0x1B]), body=st.binary(min_size=47, max_size=47))
def test_a_signed_request_gets_a_signed_reply_of_the_same_length(key: SymmetricKey, first: int, body: bytes) -> None:
    data = key.sign(bytes([first]) + body)
    reply = server(1, limited=False).respond(data, bytes(4), 9, NOW_NS, NOW_NS + 1000, 0)

    assert reply is not None
    assert len(reply.data) == len(data)
    assert reply.data == key.sign(reply.data[:48])


def mutated(rng: random.Random, pool: list[bytes]) -> bytes:
    data = bytearray(rng.choice(pool))
    for _ in range(rng.choice([0, 1, 1, 2, 5])):
        kind = rng.randrange(4)
        if kind == 0 and data:
            data[rng.randrange(len(data))] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif kind == 1:
            del data[rng.randrange(len(data) + 1) :]
        elif kind == 2:
            place = rng.randrange(len(data) + 1)
            data[place:place] = rng.randbytes(rng.choice([1, 4, 16, 20, 28]))
        else:
            data += rng.choice(pool)[: rng.randrange(80)]
    return bytes(data)


def request_pool(keys: Sequence[SymmetricKey]) -> list[bytes]:
    """Good requests: plain, with an extension field, of version 3, interleaved; and signed with each key."""
    plain = bytes([0x23]) + bytes(39) + b"\1\2\3\4\5\6\7\x08"
    field = struct.pack("!HH", 0x104, 36) + bytes(32)
    pool = [plain, plain + field, bytes([0x1B]) + plain[1:], plain[:24] + b"\xeb\0\0\0\0\0\0\1" + plain[32:]]
    pool += [key.sign(base) for key in keys for base in pool[:3]]
    return pool


def fuzz_server(count: int, seed: int) -> None:
    """So many mutations of good requests; the server and its clients live through all of them."""
    rng = random.Random(seed)
    pool = request_pool(KEYS)
    target = server(seed, limited=True)
    sources = [rng.randbytes(rng.choice([4, 16])) for _ in range(50)]
    for number in range(count):
        check(
            target,
            mutated(rng, pool),
            rng.choice(sources),
            rng.choice([123, 5000]),
            NOW_NS + number * 50_000,
        )
    assert target.counters().received == count


def test_mutated_requests() -> None:
    fuzz_server(20_000, seed=11)
