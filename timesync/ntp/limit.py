"""How often a client and a network may ask: a token bucket for each, in bounded memory.

A bucket is a list of one integer, the "theoretical arrival time" of the generic cell rate algorithm: the time
at which the bucket would be full again. It is a bare list because the worker's loop touches one for every
packet.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from timesync.base.machine import Rng
from timesync.base.time import Duration
from timesync.ntp.access import AccessList, unmapped
from timesync.ntp.client_log import ClientLog, Tally

Bucket = list[int]
Buckets = tuple[Bucket, Bucket, Tally]
"""A client's own bucket and that of its network; a request takes one out of both. And what is noted of the client."""

CLIENTS = 16_384
"""Addresses remembered in each of two generations."""

NETWORK_CLIENTS = 64
"""A network (IPv4 /24, IPv6 /48) may ask as much as so many clients: whoever has a /48 has 65536 clients' addresses."""

_FOREVER_NS = 1 << 62


class LimitReply(Enum):
    """What a client that asks too often is told."""

    KOD = "kod"
    DROP = "drop"


class Verdict(Enum):
    """What becomes of a request."""

    ANSWER = "answer"
    KISS = "kiss"
    DROP = "drop"


_ANSWER: Final = Verdict.ANSWER
"""It takes time to look a member up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How often one client may ask.

    Attributes:
        interval: Mean interval between requests that a client may keep up.
        burst: Requests that may come at once after a pause; at least 1.
        reply: Whether some of the refused requests are answered with a kiss-o'-death (RFC 5905, 7.4).
        leak: One refused request in so many, at random, is answered all the same: whoever sends requests in
            somebody else's name cannot silence him altogether. 4 to 16.
        kiss: With KOD, one refused request in so many, at random, gets the kiss; the others get nothing.
    """

    interval: Duration
    burst: int
    reply: LimitReply = LimitReply.KOD
    leak: int = 4
    kiss: int = 4

    def __post_init__(self) -> None:
        if self.interval.scaled_ns <= 0 or self.burst < 1 or not 4 <= self.leak <= 16 or self.kiss < 1:
            raise ValueError(f"rate limit out of range: {self}")


class Clients:
    """The clients that may ask, each with its bucket.

    A client is an IPv4 address or an IPv6 /64 (never a port: one host has 65536 of them). Those of one IPv4 /24
    or IPv6 /48 share a second, larger bucket, so that going through addresses gains little. The table is a
    dictionary of octets, whose hash is SipHash with a secret of this process, so that nobody can make
    addresses collide. When it is full, its oldest generation is forgotten: under a flood of invented
    addresses the limit fails open, and nobody is silenced.

    Attributes:
        hosts: Buckets by packed address, for the worker's loop; always the same object. An address in it is
            allowed, and what is noted of it is in ``log``.
        log: Who has asked; whoever judges notes it, too.
        interval_ns: ns added to a client's bucket by each request.
        tolerance_ns: How far that may be ahead of now.
        network_interval_ns: ns added to the network's bucket by each request.
        network_tolerance_ns: How far that may be ahead of now.
    """

    def __init__(
        self, access: AccessList, limit: RateLimit | None, rng: Rng, capacity: int = CLIENTS, records: int = 0
    ) -> None:
        """``records`` is how many clients ``log`` has room for; 0 keeps none."""
        self.hosts: dict[bytes, Buckets] = {}
        self.log = ClientLog(records, self._forget)
        self.interval_ns = 0 if limit is None else limit.interval.ns()
        self.tolerance_ns = _FOREVER_NS if limit is None else (limit.burst - 1) * self.interval_ns
        self.network_interval_ns = self.interval_ns // NETWORK_CLIENTS
        self.network_tolerance_ns = (
            _FOREVER_NS if limit is None else (limit.burst * NETWORK_CLIENTS - 1) * self.network_interval_ns
        )
        self._access = access
        self._limit = limit
        self._rng = rng
        self._capacity = capacity
        self._buckets: dict[bytes, Bucket] = {}
        self._old_buckets: dict[bytes, Bucket] = {}

    def find(self, host: bytes) -> Buckets | None:
        """The buckets of a packed address; None when it may not ask."""
        buckets = self.hosts.get(host)
        if buckets is not None:
            return buckets
        if not self._access.allows(host):
            return None
        # Where the log is smaller, it keeps ``hosts`` from ever being full.
        if len(self.hosts) >= self._capacity or len(self._buckets) >= 2 * self._capacity:
            self.hosts.clear()
            self._old_buckets, self._buckets = self._buckets, {}
        address = unmapped(host)
        client, network = (address, address[:3]) if len(address) == 4 else (address[:8], address[:6])
        buckets = self._bucket(client), self._bucket(network), self.log.of(host)
        self.hosts[host] = buckets
        return buckets

    def _forget(self, host: bytes) -> None:
        """Its next request is noted in a record of its own again; its bucket stays."""
        self.hosts.pop(host, None)

    def _bucket(self, key: bytes) -> Bucket:
        """The bucket of a client or of a network; the lengths of their prefixes all differ."""
        bucket = self._buckets.get(key) or self._old_buckets.get(key) or [0]
        self._buckets[key] = bucket
        return bucket

    def judge(self, buckets: Buckets, now_ns: int) -> Verdict:
        """Take one request out of both buckets; ``now_ns`` may jump, as it is a kernel timestamp."""
        own, network, _ = buckets
        own_next = _after(own[0], now_ns, self.interval_ns, self.tolerance_ns)
        network_next = _after(network[0], now_ns, self.network_interval_ns, self.network_tolerance_ns)
        if own_next is None or network_next is None:
            return self._refuse()
        own[0], network[0] = own_next, network_next
        return _ANSWER

    def _refuse(self) -> Verdict:
        limit = self._limit
        assert limit is not None
        if self._rng.random() * limit.leak < 1.0:
            return Verdict.ANSWER
        if limit.reply is LimitReply.KOD and self._rng.random() * limit.kiss < 1.0:
            return Verdict.KISS
        return Verdict.DROP


def _after(ready_ns: int, now_ns: int, interval_ns: int, tolerance_ns: int) -> int | None:
    """A bucket after one more request; None when there is no room for it."""
    ahead = ready_ns - now_ns
    if ahead <= tolerance_ns:
        return max(ready_ns, now_ns) + interval_ns
    # No number of requests gets a bucket further ahead than this: the clock was set back.
    return now_ns + interval_ns if ahead > tolerance_ns + interval_ns else None
