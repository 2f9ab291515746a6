"""Fuzz target of NTP over PTP: a server that is asked in it, whatever comes."""

from __future__ import annotations

import itertools
import random

from targets import Target, mutate, register
from test_fuzz_ntp_server import KEYS, NOW_NS, request_pool, server

from timesync.ntp.over_ptp import respond
from timesync.ntp.server import ServerCounters
from timesync.wire.ntp_ext import encode_field
from timesync.wire.ntp_over_ptp import Form, encode_correction, unwrap, wrap

_FIELD = encode_correction()
_ASKING = request_pool(())[0] + encode_field(_FIELD.kind, _FIELD.body)
"""It asks what transparent clocks have written into it."""

_POOL = [
    wrap(request, form)
    for request in (*request_pool(KEYS), _ASKING, *(key.sign(_ASKING) for key in KEYS))
    for form in Form
]
_SERVER = server(1, limited=False)
_COUNT = itertools.count()


def generate(rng: random.Random) -> bytes:
    """A mutation of a good request, in half of all cases behind the header."""
    data = rng.choice(_POOL)
    return mutate(rng, data, protect=frozenset(range(48)) if rng.random() < 0.5 else frozenset())


def answer(data: bytes) -> None:
    """A reply is never longer than its request, is carried as that was, and is no request itself."""
    at_ns = NOW_NS + next(_COUNT)
    before = _SERVER.counters()
    reply = respond(_SERVER, data, bytes([192, 0, 2, 1]), 319, at_ns, at_ns + 1000, at_ns - NOW_NS)
    after = _SERVER.counters()
    assert after.received == before.received + 1
    if reply is None:
        assert after.over_ptp == before.over_ptp
        return
    assert len(reply.data) <= len(data)
    assert unwrap(reply.data).form is unwrap(data).form
    assert unwrap(reply.data).ntp[0] & 7 == 4


def counters() -> ServerCounters:
    """What the server has counted."""
    return _SERVER.counters()


OVER_PTP = Target("ntp over ptp server", generate, answer)
register(OVER_PTP)
