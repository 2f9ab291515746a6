"""Fuzz target of the NTP server: whatever comes, no exception and no reply longer than its request."""

from __future__ import annotations

import itertools
import random

from targets import Target, register
from test_fuzz_ntp_server import KEYS, NOW_NS, check, mutated, request_pool, server

_SOURCES = [bytes([192, 0, 2, n]) for n in range(40)] + [bytes(15) + bytes([n]) for n in range(10)]

_APART_NS = 20_000_000


class Session:
    """One server, its clients and its clock, through all inputs of a run."""

    def __init__(self) -> None:
        self._pool = request_pool(KEYS)
        self._server = server(1, limited=True)
        self._count = itertools.count()

    def generate(self, rng: random.Random) -> bytes:
        """A mutation of a good request, after one octet that says who asks from which port."""
        return bytes([rng.randrange(256)]) + mutated(rng, self._pool)

    def target(self, data: bytes) -> None:
        """One datagram; so far apart that the rate limit lets some of each client's pass, and not others."""
        source, port = _SOURCES[(data[0] >> 1) % len(_SOURCES)], (123, 5000)[data[0] & 1]
        check(self._server, data[1:], source, port, NOW_NS + next(self._count) * _APART_NS)


SESSION = Session()
SERVER = Target("ntp server", SESSION.generate, SESSION.target)
register(SERVER)
