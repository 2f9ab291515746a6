"""What the tests of NTS share: exporters, entropy, and the other side of NTS packets written out by hand."""

from __future__ import annotations

import hashlib
import struct

from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV

from timesync.base.time import Duration, Instant, Utc
from timesync.nts.aead import AeadId, key_size
from timesync.nts.cookies import CookieJar
from timesync.nts.ke_client import Agreed
from timesync.nts.keys import SessionKeys
from timesync.nts.master import KeyStore

NOW: Instant[Utc] = Instant.from_ns(1_790_000_000_000_000_000)
DAY = Duration.from_s(86_400)
REQUEST_HEAD = bytes([0x23]) + bytes(39) + b"\1\2\3\4\5\6\7\x08"
REPLY_HEAD = bytes([0x24, 1, 6, 0xEC]) + bytes(20) + b"\1\2\3\4\5\6\7\x08" + bytes(16)
NAK_HEAD = bytes([0xE4, 0]) + bytes(10) + b"NTSN" + bytes(8) + b"\1\2\3\4\5\6\7\x08" + bytes(16)


class Stream:
    """Unpredictable for nobody: octets that are never the same twice, and the same in each run."""

    def __init__(self, seed: str = "") -> None:
        self.seed = seed
        self.calls = 0

    def __call__(self, size: int, /) -> bytes:
        self.calls += 1
        return hashlib.shake_256(f"{self.seed}/{self.calls}".encode()).digest(size)


def exporter(label: bytes, length: int, context: bytes, /) -> bytes:
    """Both ends of one TLS connection export the same."""
    return hashlib.shake_256(b"|".join((b"a connection", label, context))).digest(length)


def keys_for(aead: AeadId, seed: str = "keys") -> SessionKeys:
    stream = Stream(seed)
    return SessionKeys(aead, stream(key_size(aead)), stream(key_size(aead)))


def jar(seed: str = "jar") -> CookieJar:
    return CookieJar(KeyStore.new(NOW, Stream(f"{seed} keys")).keys, Stream(seed))


def agreed(keys: SessionKeys, cookies: tuple[bytes, ...]) -> Agreed:
    return Agreed(protocol=0, keys=(keys,), cookies=cookies)


# -- the wire by hand: RFC 8915, 5.2 to 5.6, with nothing of ours


def field(kind: int, body: bytes) -> bytes:
    return struct.pack("!HH", kind, 4 + len(body)) + body


def hand_seal(aead: int, key: bytes, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    if aead in (30, 31):
        return AESGCMSIV(key).encrypt(nonce, plaintext, associated)
    return AESSIV(key).encrypt(plaintext, [associated, nonce])


def hand_open(aead: int, key: bytes, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes:
    if aead in (30, 31):
        return AESGCMSIV(key).decrypt(nonce, ciphertext, associated)
    return AESSIV(key).decrypt(ciphertext, [associated, nonce])


def hand_authenticator(aead: int, key: bytes, nonce: bytes, plaintext: bytes, before: bytes, room: int = 0) -> bytes:
    """The packet with its authenticator; ``room`` octets of padding come after the ciphertext."""
    sealed = hand_seal(aead, key, nonce, plaintext, before)
    body = struct.pack("!HH", len(nonce), len(sealed))
    for part in (nonce, sealed):
        body += part + bytes(-len(part) % 4)
    return before + field(0x0404, body + bytes(room))


def fields_of(packet: bytes) -> list[tuple[int, bytes]]:
    """Types and bodies of all fields after the header."""
    found, position = [], 48
    while position < len(packet):
        kind, length = struct.unpack_from("!HH", packet, position)
        found.append((kind, packet[position + 4 : position + length]))
        position += length + 3 & ~3
    assert position == len(packet)
    return found


def hand_reply(request: bytes, keys: SessionKeys, cookies: list[bytes], head: bytes = REPLY_HEAD) -> bytes:
    """What a right server answers."""
    ((kind, unique_id), *_) = fields_of(request)
    assert kind == 0x0104
    inner = b"".join(field(0x0204, cookie) for cookie in cookies)
    nonce = bytes(range(12 if keys.aead >= 30 else 16))
    return hand_authenticator(keys.aead, keys.s2c, nonce, inner, head + field(0x0104, unique_id))


def hand_nak(request: bytes) -> bytes:
    """What a server answers that cannot open the cookie."""
    return NAK_HEAD + field(*fields_of(request)[0])


def hand_request(
    keys: SessionKeys, cookie: bytes, *, placeholders: int = 0, unique_id: bytes = bytes(range(32))
) -> bytes:
    """What a right client asks."""
    before = REQUEST_HEAD + field(0x0104, unique_id) + field(0x0204, cookie)
    before += field(0x0304, bytes(len(cookie))) * placeholders
    return hand_authenticator(keys.aead, keys.c2s, bytes(range(12 if keys.aead >= 30 else 16)), b"", before)
