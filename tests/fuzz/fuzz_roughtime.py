"""Fuzz targets of Roughtime: the codec, what a client believes, and reports of others."""

from __future__ import annotations

import base64
import json
import random
import struct

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from targets import Target, mutate, register

from timesync.ntp.roughtime import proves_malfeasance
from timesync.nts.roughtime_verify import DELEGATION_CONTEXT, RESPONSE_CONTEXT, RoughtimeError, verify
from timesync.wire.error import WireError
from timesync.wire.roughtime import (
    decode_packet,
    decode_response,
    encode_message,
    encode_packet,
    encode_request,
    leaf,
)

LONG_TERM = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
ONLINE = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
PUBLIC_KEY = LONG_TERM.public_key().public_bytes_raw()
MIDPOINT_S = 1_790_000_000
NONCE = b"n" * 32
REQUEST = encode_request(NONCE, PUBLIC_KEY)
NAMES = ("SIG", "NONC", "TYPE", "PATH", "SREP", "CERT", "INDX", "GREZ")
SIZES = (0, 4, 8, 32, 36, 64, 1024, 1056)


def valid() -> bytes:
    """A response to ``REQUEST`` that is to be believed."""
    period = {"MINT": bytes(8), "MAXT": struct.pack("<Q", 2 * MIDPOINT_S)}
    dele = encode_message({"PUBK": ONLINE.public_key().public_bytes_raw(), **period})
    told = {"VER": b"\1\0\0\0", "VERS": b"\1\0\0\0", "RADI": b"\3\0\0\0", "MIDP": struct.pack("<Q", MIDPOINT_S)}
    srep = encode_message({**told, "ROOT": leaf(REQUEST)})
    return encode_packet(
        {
            "SIG": ONLINE.sign(RESPONSE_CONTEXT + srep),
            "NONC": NONCE,
            "TYPE": b"\1\0\0\0",
            "PATH": b"",
            "SREP": srep,
            "CERT": encode_message({"DELE": dele, "SIG": LONG_TERM.sign(DELEGATION_CONTEXT + dele)}),
            "INDX": bytes(4),
        }
    )


VALID = valid()


def response(rng: random.Random) -> bytes:
    """The valid one with a value exchanged, left out or mutated, its envelope right again; or just mutated."""
    if rng.random() < 0.4:
        return mutate(rng, VALID)
    values = decode_packet(VALID)
    name = rng.choice(NAMES)
    kind = rng.randrange(3)
    if kind == 0:
        values.pop(name, None)
    elif kind == 1:
        values[name] = rng.randbytes(rng.choice(SIZES))
    else:
        changed = mutate(rng, values.get(name, b""))
        values[name] = changed[: len(changed) // 4 * 4]
    return encode_packet(values)


def believed(data: bytes) -> None:
    """Whatever is believed tells the signed time."""
    told = verify(REQUEST, data, PUBLIC_KEY)
    assert (told.midpoint_s, told.radius_s) == (MIDPOINT_S, 3)


def report(rng: random.Random) -> bytes:
    """A chain of two, its texts mutated."""
    parts = {"rand": NONCE, "request": REQUEST, "response": VALID, "publicKey": PUBLIC_KEY}
    entry = {name: base64.b64encode(part).decode() for name, part in parts.items()}
    entry[rng.choice(list(entry))] = base64.b64encode(mutate(rng, rng.choice(list(parts.values())))).decode()
    text = json.dumps({"responses": [entry, entry]}).encode()
    return mutate(rng, text) if rng.random() < 0.5 else text


def unproved(data: bytes) -> None:
    """One honest server proves nothing."""
    assert not proves_malfeasance(data.decode("utf-8"))


CODEC = Target("roughtime-codec", response, lambda data: void(decode_response(data)), (WireError,))
VERIFY = Target("roughtime-verify", response, believed, (RoughtimeError,))
REPORT = Target("roughtime-report", report, unproved, (ValueError,))


def void(_: object) -> None:
    """What came of it is of no interest."""


register(CODEC, VERIFY, REPORT)
