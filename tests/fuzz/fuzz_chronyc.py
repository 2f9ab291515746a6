"""Fuzz targets of chronyc's protocol: the codec, and what answers it."""

from __future__ import annotations

import random
import struct

from targets import Target, mutate, register

from timesync.observe.chronyc_answers import Answers, Asker
from timesync.wire.candm import (
    LAST_COMMAND,
    REPLY_HEAD,
    Address,
    ByAddress,
    ByIndex,
    ClientRange,
    Command,
    Status,
    decode_request,
    encode_request,
)
from timesync.wire.candm_reply import BODIES, decode_reply, encode_reply, size_of
from timesync.wire.error import WireError

SOURCES = [
    {
        "name": name, "kind": kind, "address": address, "state": state, "reach_register": 255, "offset_s": offset,
        "uncertainty_s": 1e-6, "error_bound_s": 1e-3, "delay_s": 2e-3, "jitter_s": 1e-6, "poll_s": 64.0, "stratum": 2,
        "reference_id": "192.0.2.1", "leap": "none", "authenticated": False, "interleaved": False, "version": 4,
        "last_sample_age_s": 5.0, "measured_offset_s": offset, "carried_offset_s": offset,
        "residual_frequency_ppm": 0.1, "residual_frequency_uncertainty_ppm": 0.1, "points": 5, "runs": 3,
        "span_s": 320.0, "samples": 5, "trusted": False, "noselect": False, "sent": 9, "received": 9, "drops": {},
        "details": {},
    }
    for name, kind, address, state, offset in (
        ("a", "ntp", "192.0.2.7:123", "selected", 1e-5),
        ("b", "pool", "[2001:db8::7]:123", "falseticker", -1e6),
        ("c", "ntp", None, "unreachable", None),
        ("d", "pps", "/dev/pps0", "candidate", 1e-9),
    )
]  # fmt: skip
STATE = {
    "type": "state",
    "status": {
        "served_clock": "system", "stratum": 3, "reference_id_hex": "c0000207", "leap": "none", "reference": "a",
        "updated_utc_ns": 1_800_000_000_000_000_000, "last_offset_s": 1e-6, "rms_offset_s": 1e-6,
        "update_interval_s": 64.0, "root_delay_s": 0.1, "root_dispersion_s": 0.1,
        "clocks": [{"name": "system", "offset_s": 1e-6, "frequency_ppm": 1.0, "frequency_uncertainty_ppm": None}],
        "serving": {"counters": {"received": 2**40}}, "nts": None,
    },
    "sources": SOURCES,
}  # fmt: skip
CLIENTS = [
    {"address": f"2001:db8::{n:x}", "protocol": "ntp", "requests": n, "dropped": 0, "interval_s": None, "last_s": None}
    for n in range(30)
]
ANSWERS = Answers(("tracking", "sources"))
ANSWERS.take(STATE)
ANSWERS.take_clients({"clients": CLIENTS})
REQUEST = decode_request(encode_request(Command.TRACKING, 1, size=600))


def request(rng: random.Random) -> bytes:
    """One that makes sense, more often than not mutated."""
    body = rng.choice(
        [
            ByIndex(rng.choice((0, 1, 3, 4, 2**32 - 1))),
            ByAddress.of(Address.of(rng.choice(("192.0.2.7", "2001:db8::7", "192.0.2.9")))),
            ByAddress.of(Address.numbered(rng.randrange(5))),
            ClientRange(rng.randrange(40), rng.randrange(12), rng.randrange(3), rng.randrange(2)),
            None,
        ]
    )
    command = rng.choice(list(Command)) if rng.random() < 0.8 else rng.randrange(LAST_COMMAND + 5)
    data = encode_request(command, rng.getrandbits(32), body, size=rng.choice((28, 48, 72, 104, 152, 196, 284, 520)))
    return mutate(rng, data) if rng.random() < 0.6 else data


def answered(data: bytes) -> None:
    """An answer is well-formed, the request's, and no longer than that; nothing but reports is ever told."""
    for asker in Asker:
        told = ANSWERS.answer(data, asker)
        if told is None:
            decode_request(data)  # raises WireError
            raise AssertionError("a request without an answer")
        asked, reply = decode_request(data), decode_reply(told)
        assert len(told) <= len(data)
        assert (asked.command, asked.sequence) == (reply.command, reply.sequence)
        if reply.status == Status.SUCCESS:
            assert asked.command in set(Command)
            assert asker is Asker.LOCAL or asked.command in (0, 14, 15, 33)


def reply(rng: random.Random) -> bytes:
    """A reply of any kind, its body at random."""
    kind = rng.choice(BODIES)
    head = bytearray(encode_reply(REQUEST, Status.SUCCESS)[:REPLY_HEAD])
    struct.pack_into("!H", head, 6, kind.NUMBER)
    body = bytearray(rng.randbytes(size_of(kind) - REPLY_HEAD))
    if rng.random() < 0.7:
        # Families of addresses and lengths are small numbers.
        body = bytearray(octet if rng.random() < 0.3 else 0 for octet in body)
    data = bytes(head) + bytes(body)
    return mutate(rng, data) if rng.random() < 0.3 else data


REQUESTS = Target("chronyc-requests", request, answered, (WireError,))
REPLIES = Target("chronyc-replies", reply, lambda data: void(decode_reply(data)), (WireError,))


def void(_: object) -> None:
    """What came of it is of no interest."""


register(REQUESTS, REPLIES)
