"""Who has asked, how often and when: a record of each client address, in bounded memory.

Nothing is decided by it: rate limits have buckets of their own. It is for the operator, who may turn it off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from heapq import nlargest
from itertools import chain
from operator import attrgetter
from typing import Final, NamedTuple

from timesync.base.time import NS_PER_S
from timesync.ntp.access import unmapped

NTS: Final = 1 << 8
INTERLEAVED: Final = 1 << 9
"""Bits of ``kind`` beside the first octet of the request: what the reply was."""

SHOWN: Final = 256
"""So many of those heard last are told, and as many of those that asked most."""

REGULAR_REQUESTS: Final = 4
REGULAR_NS: Final = 64 * NS_PER_S
"""A client is a regular one when it has asked so often, and over so long."""

_SMOOTHING: Final = 3
_SETTLED: Final = 4 << _SMOOTHING
"""Before so many requests their smoothed interval still shows where it began."""

_PASSED: Final = 8
"""Mean intervals without a request after which a server is taken for no longer asked."""


@dataclass(slots=True, eq=False)
class Tally:
    """What one client did; the worker's loop adds to it.

    Attributes:
        requests: Requests that came, of a version that is served.
        last_ns: Monotonic time of the last one; of when it was read, so that those read together have the same.
        kind: Its first octet (leap, version and mode), with ``NTS`` and ``INTERLEAVED``.
        interval_ns: Smoothed interval between requests.
        first_ns: Monotonic time of the first one.
        dropped: Refused: by the access list, or asking too often.
        failed: Not answered with the time for another reason: bad authentication, late, malformed.
    """

    requests: int = 0
    last_ns: int = 0
    kind: int = 0
    interval_ns: int = 0
    first_ns: int = 0
    dropped: int = 0
    failed: int = 0

    def note(self, kind: int, mono_ns: int) -> None:
        """A request has come."""
        if self.requests:
            self.interval_ns += (mono_ns - self.last_ns - self.interval_ns) >> _SMOOTHING
        else:
            self.first_ns = mono_ns
        self.requests += 1
        self.last_ns = mono_ns
        self.kind = kind


class ClientRecord(NamedTuple):
    """A client at one moment; the fields after ``address`` are those of ``Tally``.

    Attributes:
        address: 4 or 16 octets.
    """

    address: bytes
    requests: int
    last_ns: int
    kind: int
    interval_ns: int
    first_ns: int
    dropped: int
    failed: int

    @property
    def version(self) -> int:
        """NTP version of the last request."""
        return self.kind >> 3 & 7

    @property
    def mode(self) -> int:
        """Association mode of the last request (RFC 5905, 7.3)."""
        return self.kind & 7

    @property
    def nts(self) -> bool:
        """Whether the last reply was protected by NTS."""
        return bool(self.kind & NTS)

    @property
    def interleaved(self) -> bool:
        """Whether the last reply was in interleaved mode."""
        return bool(self.kind & INTERLEAVED)

    @property
    def answered(self) -> int:
        """Requests that were answered with the time."""
        return self.requests - self.dropped - self.failed

    def mean_interval_ns(self) -> int | None:
        """Between requests lately; over all of them while they are few, None for a single one."""
        if self.requests < 2:
            return None
        if self.requests < _SETTLED:
            return max(self.last_ns - self.first_ns, 0) // (self.requests - 1)
        return max(self.interval_ns, 0)


class ClientList(NamedTuple):
    """What is told of the clients.

    Attributes:
        records: Of some of them, or of all.
        known: How many there are.
    """

    records: Sequence[ClientRecord] = ()
    known: int = 0

    @classmethod
    def merged(cls, lists: Sequence[ClientList]) -> ClientList:
        """Those of several servers, each address once; who asks two of them is known twice unless both told of him."""
        records: dict[bytes, ClientRecord] = {}
        for record in chain.from_iterable(one.records for one in lists):
            before = records.get(record.address)
            records[record.address] = record if before is None else _sum(before, record)
        twice = sum(len(one.records) for one in lists) - len(records)
        return cls(list(records.values()), sum(one.known for one in lists) - twice)

    def leading(self, count: int = SHOWN) -> ClientList:
        """So many of those heard last, and of those that asked most."""
        if len(self.records) <= count:
            return self
        last, most = (nlargest(count, self.records, key=attrgetter(name)) for name in ("last_ns", "requests"))
        return ClientList(list({*last, *most}), self.known)


class ClientLog:
    """The records of at most ``capacity`` clients; about 0.4 KiB each.

    When it is full, a quarter of it is forgotten at once: those heard longest ago, of the regular clients and of the
    others apart. Half of the room belongs to the regular ones, a quarter to the others, and either may use what the
    other one leaves: so a flood from invented addresses pushes out newcomers, and nobody who has been here for long.
    """

    def __init__(self, capacity: int, forget: Callable[[bytes], object] | None = None) -> None:
        """``forget`` is told each address whose record is gone; capacity 0 keeps no record of anybody."""
        self._capacity = capacity
        self._forget = forget
        self._tallies: dict[bytes, Tally] = {}
        self._nobody = Tally()

    def __len__(self) -> int:
        return len(self._tallies)

    def of(self, host: bytes) -> Tally:
        """The tally of a packed address, from now on its own until it is forgotten."""
        tally = self._tallies.get(host)
        if tally is None:
            if not self._capacity:
                return self._nobody
            if len(self._tallies) >= self._capacity:
                self._sweep()
            tally = self._tallies[host] = Tally()
        return tally

    def clients(self) -> ClientList:
        """All who have asked."""
        return self._told(self._tallies.items())

    def leading(self, count: int = SHOWN) -> ClientList:
        """So many of those heard last, and of those that asked most."""
        items = self._tallies.items()
        if len(items) <= count:
            return self._told(items)
        return self._told({*nlargest(count, items, key=_last), *nlargest(count, items, key=_requests)})

    def _told(self, items: Iterable[tuple[bytes, Tally]]) -> ClientList:
        return ClientList([_record(host, tally) for host, tally in items if tally.requests], len(self._tallies))

    def restore(self, records: Iterable[ClientRecord]) -> None:
        """Begin with what was known before; with those heard last when there are more than fit."""
        for record in nlargest(self._capacity, records, key=attrgetter("last_ns")):
            self._tallies[record.address] = Tally(*record[1:])

    def _sweep(self) -> None:
        """Make room for a quarter of the capacity: so it costs little a client."""
        newest = sorted(self._tallies.items(), key=_last, reverse=True)
        regulars = [item for item in newest if _is_regular(item[1])]
        others = [item for item in newest if not _is_regular(item[1])]
        half, quarter = self._capacity // 2, self._capacity // 4
        kept = dict(regulars[: max(half, half + quarter - len(others))])
        kept.update(others[: half + quarter - len(kept)])
        gone = self._tallies.keys() - kept.keys()
        self._tallies = kept
        if self._forget is not None:
            for host in gone:
                self._forget(host)


def _sum(one: ClientRecord, other: ClientRecord) -> ClientRecord:
    """What two servers know of a client; the kind is that of its last request."""
    early, late = sorted((one, other), key=attrgetter("last_ns"))
    return late._replace(
        interval_ns=_interval_of_both(early, late),
        requests=one.requests + other.requests,
        first_ns=min(one.first_ns, other.first_ns),
        dropped=one.dropped + other.dropped,
        failed=one.failed + other.failed,
    )


def _interval_of_both(early: ClientRecord, late: ClientRecord) -> int:
    """Requests from a new port each time fall now on one worker, now on another: what each sees are parts of them.

    Whoever was not asked for long, by its own interval, is asked no more: then the other one sees all.
    """
    intervals = early.mean_interval_ns(), late.mean_interval_ns()
    if not intervals[0] or not intervals[1] or late.last_ns - early.last_ns > _PASSED * intervals[0]:
        return late.interval_ns
    return intervals[0] * intervals[1] // (intervals[0] + intervals[1])


def _record(host: bytes, tally: Tally) -> ClientRecord:
    return ClientRecord(
        unmapped(host),
        tally.requests,
        tally.last_ns,
        tally.kind,
        tally.interval_ns,
        tally.first_ns,
        tally.dropped,
        tally.failed,
    )


def _last(item: tuple[bytes, Tally]) -> int:
    return item[1].last_ns


def _requests(item: tuple[bytes, Tally]) -> int:
    return item[1].requests


def _is_regular(tally: Tally) -> bool:
    return tally.requests >= REGULAR_REQUESTS and tally.last_ns - tally.first_ns >= REGULAR_NS
