"""Fuzz targets of NTS: key establishment, extension fields, both sides of packets, cookies and files."""

from __future__ import annotations

import hashlib
import random
import struct

from targets import Target, mutate, register

from timesync.base.time import Instant, Utc
from timesync.nts.aead import AeadId, key_size
from timesync.nts.cookies import CookieJar
from timesync.nts.ke_client import Agreed, KeClient, KeOffer, KeRefused
from timesync.nts.ke_server import KeOutcome, KeServer, KeServerSettings
from timesync.nts.keys import SessionKeys
from timesync.nts.master import KeyStore, MasterKeyError, RotationSettings
from timesync.nts.saved import SavedSession, SavedSessionError
from timesync.nts.serve import Authentic, NtsGate
from timesync.nts.session import NtsAnswer, NtsSession
from timesync.runtime.serve_aead import fastest_families
from timesync.wire.error import WireError
from timesync.wire.ntp_ext import decode_authenticator, decode_inner, encode_inner, split

NOW: Instant[Utc] = Instant.from_ns(1_790_000_000_000_000_000)
REQUEST_HEAD = bytes([0x23]) + bytes(39) + b"\1\2\3\4\5\6\7\x08"
REPLY_HEAD = bytes([0x24, 1, 6, 0xEC]) + bytes(44)
SIZES = (0, 1, 2, 4, 5, 16, 32, 64, 100, 256, 257, 4096, 16_384, 65_535)
TOKEN = b"a pool's token"


class Stream:
    """Octets that are never the same twice in a run, and the same in each run."""

    def __init__(self, seed: str) -> None:
        self._hash, self._calls = seed, 0

    def __call__(self, size: int, /) -> bytes:
        self._calls += 1
        return hashlib.shake_256(f"{self._hash}/{self._calls}".encode()).digest(size)


def exporter(label: bytes, length: int, context: bytes, /) -> bytes:
    """One TLS connection's."""
    return hashlib.shake_256(label + context).digest(length)


def keys_for(aead: AeadId) -> SessionKeys:
    """Keys that are always the same."""
    return SessionKeys(aead, b"c" * key_size(aead), b"s" * key_size(aead))


STORE = KeyStore.new(NOW, Stream("store"))
JAR = CookieJar(STORE.keys, Stream("jar"))


# -- key establishment


def records(rng: random.Random) -> bytes:
    """Records of right and wrong types and sizes; often those of a good message; often with an end."""
    bodies = [
        b"\0\0",
        b"\x80\1",
        b"\0\x0f",
        b"\0\x1e",
        b"\0\x0f\0\x1e",
        b"",
        b"a.example",
        TOKEN,
        b"\0" * 32,
        b"c" * 100,
    ]
    made = bytearray()
    if rng.random() < 0.6:
        made += bytes.fromhex("8001 0002 0000") + rng.choice([b"\x80\4\0\2\0\x0f", b"\x80\4\0\2\0\x1e", b""])
    for _ in range(rng.choice((0, 1, 2, 3, 8, 40))):
        kind = rng.choice((*range(16), 1024, rng.randrange(1 << 15))) | rng.choice((0, 1 << 15))
        body = rng.choice(bodies) if rng.random() < 0.8 else rng.randbytes(rng.choice(SIZES[:11]))
        size = len(body) if rng.random() < 0.95 else rng.choice(SIZES)
        made += struct.pack("!HH", kind, size) + body
    if rng.random() < 0.9:
        made += bytes.fromhex("8000 0000")
    return mutate(rng, bytes(made)) if rng.random() < 0.3 else bytes(made)


def responses(rng: random.Random) -> bytes:
    """A good response in which a record is repeated, dropped, or made up, and which may be mutated."""
    parts = [bytes.fromhex(text) for text in ("8001 0002 0000", "8004 0002 001e", "0400 0000", "8007 0002 007b")]
    parts.append(bytes.fromhex("0006 0009") + b"a.example")
    parts += [bytes.fromhex("0005 0044") + rng.randbytes(68) for _ in range(rng.choice((0, 1, 8, 9)))]
    for _ in range(rng.choice((0, 0, 1, 2))):
        place = rng.randrange(len(parts))
        match rng.randrange(4):
            case 0:
                parts.insert(place, rng.choice(parts))
            case 1:
                parts[place] = b""
            case 2:
                parts.insert(place, records(rng)[: rng.randrange(200)])
            case _:
                size = rng.choice(SIZES[:11])
                kind = rng.choice((*range(15), 1024))
                parts.insert(place, struct.pack("!HH", kind, size) + rng.randbytes(size))
    whole = b"".join(parts) + bytes.fromhex("8000 0000")
    return mutate(rng, whole) if rng.random() < 0.3 else whole


def pieces(data: bytes) -> list[bytes]:
    """The input cut in a way that it decides itself."""
    rng = random.Random(data)
    cuts = sorted(rng.randrange(len(data) + 1) for _ in range(rng.choice((0, 1, 5))))
    return [data[start:end] for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True)]


def ask_server(data: bytes) -> None:
    """One reply at most; cookies only of keys that were agreed upon, and never for a message that is none."""
    server = KeServer(KeServerSettings(pool_tokens=frozenset({TOKEN})), JAR.make)
    for piece in pieces(data):
        reply = server.feed(piece, exporter)
        if reply is None:
            continue
        if (reply.aead is not None) != (reply.outcome is KeOutcome.ESTABLISHED):
            raise AssertionError(f"{reply.outcome} with AEAD {reply.aead}")
        if not reply.data.endswith(bytes.fromhex("8000 0000")) or len(reply.data) > 2000:
            raise AssertionError("a reply without end, or a long one")
        return
    raise WireError("not whole")


def answer_client(data: bytes) -> None:
    """One result at most; what was agreed upon was offered."""
    offer = KeOffer()
    client = KeClient(offer)
    for piece in pieces(data):
        result = client.feed(piece, exporter)
        if isinstance(result, KeRefused):
            raise WireError(result.text)
        if isinstance(result, Agreed):
            if result.protocol not in offer.protocols or result.keys[0].aead not in offer.aeads:
                raise AssertionError("agreed upon what was not offered")
            if not 1 <= len(result.cookies) <= 8 or not all(4 <= len(cookie) <= 256 for cookie in result.cookies):
                raise AssertionError("cookies that cannot be")
            return
    raise WireError(client.ended().text)


# -- packets


def packet(rng: random.Random) -> bytes:
    """A header of version 4 or 5 and fields, NTS's and others, of right and wrong lengths."""
    made = bytearray([rng.choice((0x23, 0x24, 0x2B, 0x2C))]) + rng.randbytes(47)
    for _ in range(rng.choice((1, 2, 3, 4, 9, 17))):
        kind = rng.choice((0x0104, 0x0204, 0x0304, 0x0404, 0x0404, rng.randrange(1 << 16)))
        size = rng.choice((0, 4, 7, 12, 16, 28, 36, 40, 104, 105, 2000, 65_535))
        body = rng.randbytes(max(min(size, 128) - 4, 0))
        if kind == 0x0404 and len(body) >= 4:
            body = struct.pack("!HH", rng.choice((0, 12, 16, 17)), rng.choice((0, 15, 16, 17, 65_535))) + body[4:]
        made += struct.pack("!HH", kind, size) + body + bytes(-len(body) % 4)
    return bytes(made)


def take_apart(data: bytes) -> None:
    """What is found lies inside the packet; encrypted fields encode to what they were decoded from."""
    found = split(data)
    if found.protected > len(data) or sum(map(len, found.cookies + found.unique_ids)) > len(data):
        raise AssertionError("more than there is")
    if found.authenticator is None:
        return
    sealed = decode_authenticator(found.authenticator)
    if len(sealed.nonce) + len(sealed.ciphertext) + 4 > len(found.authenticator):
        raise AssertionError("the authenticator holds more than it has")
    version = data[0] >> 3 & 7
    again = b"".join(
        encode_inner(one.kind, one.body, version=version) for one in decode_inner(sealed.ciphertext, version=version)
    )
    if version == 4 and again != sealed.ciphertext:
        raise AssertionError("encoded again it is something else")


class Requests:
    """Mutations of good requests, in front of a server, and of the same with a worker's AEADs."""

    def __init__(self) -> None:
        self.gate = NtsGate(JAR, Stream("gate"))
        self.worker = NtsGate(JAR, Stream("gate"), fastest_families())
        self.good: list[bytes] = []
        for aead in AeadId:
            keys = keys_for(aead)
            for lost in (0, 3):
                session = NtsSession(
                    Agreed(protocol=0, keys=(keys,), cookies=tuple(JAR.make(keys) for _ in range(8))),
                    Stream(f"{aead}/{lost}"),
                )
                for _ in range(lost + 1):
                    request = session.protect(REQUEST_HEAD)
                assert request is not None
                self.good.append(request)
        self.protected = {request[: split(request).protected] for request in self.good}

    def generate(self, rng: random.Random) -> bytes:
        """One in ten is good."""
        request = rng.choice(self.good)
        return request if rng.random() < 0.1 else mutate(rng, request)

    def target(self, data: bytes) -> None:
        """Only what a client has made is answered, and never with more octets."""
        found = self.gate.examine(data)
        if self.worker.examine(data) != found:
            raise AssertionError("a worker thinks otherwise")
        if not isinstance(found, Authentic):
            raise WireError("refused")
        if data[: split(data).protected] not in self.protected:
            raise AssertionError("believed what nobody has sent")
        reply = self.gate.seal(found, REPLY_HEAD)
        if reply is None or len(reply) > len(data):
            raise AssertionError("no reply, or a longer one")
        if self.worker.seal(found, REPLY_HEAD) != reply:
            raise AssertionError("a worker replies otherwise")


class Answers:
    """Mutations of the good answer to each request, in front of a client."""

    def __init__(self, aead: AeadId) -> None:
        self.keys = keys_for(aead)
        self.gate = NtsGate(JAR, Stream("answers"))
        self.stream = Stream(f"client {aead}")
        self.begin()

    def begin(self) -> None:
        """Keys and cookies anew."""
        cookies = tuple(JAR.make(self.keys) for _ in range(8))
        self.session = NtsSession(Agreed(protocol=0, keys=(self.keys,), cookies=cookies), self.stream)
        self.ask()

    def ask(self) -> None:
        """The next request, and the good answer to it."""
        request = self.session.protect(REQUEST_HEAD)
        if request is None:
            self.begin()
            return
        found = self.gate.examine(request)
        assert isinstance(found, Authentic)
        reply = self.gate.seal(found, REPLY_HEAD)
        assert reply is not None
        self.good = reply

    def generate(self, rng: random.Random) -> bytes:
        """One in ten is good."""
        return self.good if rng.random() < 0.1 else mutate(rng, self.good)

    def target(self, data: bytes) -> None:
        """Only what the server has sealed is believed."""
        before = self.session.cookies
        answer = self.session.judge(data)
        protected = split(self.good).protected
        if isinstance(answer, NtsAnswer):
            if data[:protected] != self.good[:protected]:
                raise AssertionError("believed what the server has not said")
            self.ask()
            return
        if self.session.cookies != before:
            raise AssertionError("an answer that is refused has changed the cookies")
        raise WireError(answer)


# -- cookies and files

COOKIES = [JAR.make(keys_for(aead)) for aead in AeadId]
SAVED = SavedSession(
    ke_server="a.example:4460",
    agreed=Agreed(protocol=0, keys=(keys_for(AeadId.AES_SIV_CMAC_256),), cookies=(b"abcd", b"efgh"), port=123),
    established=NOW,
).encode()
FILE = STORE.rotated(NOW, Stream("rotated"), RotationSettings()).encode()


def cookie(rng: random.Random) -> bytes:
    """A good cookie, a mutation of one, or noise of a cookie's size."""
    good = rng.choice(COOKIES)
    return rng.choice((good, mutate(rng, good), rng.randbytes(len(good))))


def open_cookie(data: bytes) -> None:
    """Nothing opens but what was made."""
    if JAR.open(data) is None:
        raise WireError("refused")
    if data not in COOKIES:
        raise AssertionError("opened what was not made here")


def resealed(rng: random.Random, good: bytes) -> bytes:
    """A mutation of a file, often with its sum made right again."""
    body = mutate(rng, good[:-32])
    return body + (hashlib.sha256(body).digest() if rng.random() < 0.8 else good[-32:])


def load_saved(data: bytes) -> None:
    """What loads is stored as the same octets."""
    if SavedSession.decode(data).encode() != data:
        raise AssertionError("stored again it is something else")


def load_store(data: bytes) -> None:
    """What loads is stored as the same octets."""
    if KeyStore.decode(data).encode() != data:
        raise AssertionError("stored again it is something else")


KE_SERVER = Target("nts-ke server", records, ask_server, (WireError,))
KE_CLIENT = Target("nts-ke client", responses, answer_client, (WireError,))
FIELDS = Target("nts fields", packet, take_apart, (WireError,))
COOKIE = Target("nts cookie", cookie, open_cookie, (WireError,))
SAVED_FILE = Target("nts saved session", lambda rng: resealed(rng, SAVED), load_saved, (SavedSessionError,))
KEY_FILE = Target("nts master keys", lambda rng: resealed(rng, FILE), load_store, (MasterKeyError,))


def packet_targets() -> list[Target]:
    """Both sides of packets, in their initial state."""
    requests = Requests()
    rows = [Target("nts server", requests.generate, requests.target, (WireError,))]
    for aead in (AeadId.AES_SIV_CMAC_256, AeadId.AES_128_GCM_SIV):
        answers = Answers(aead)
        rows.append(Target(f"nts client, AEAD {int(aead)}", answers.generate, answers.target, (WireError,)))
    return rows


register(KE_SERVER, KE_CLIENT, FIELDS, COOKIE, SAVED_FILE, KEY_FILE, *packet_targets())
