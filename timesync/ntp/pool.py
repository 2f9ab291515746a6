"""Which addresses of a name are asked for the time: a pool of servers, or one server with several addresses.

A ``Roster`` resolves no name and opens no socket. It is told what came of the addresses that it has asked
for, and answers with effects.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import zip_longest
from typing import Final, assert_never

from timesync.base.ids import Endpoint
from timesync.base.machine import Rng
from timesync.base.measure import Leap, SourceStatus
from timesync.base.time import ZERO, Duration, Instant, Mono

MAX_MEMBERS: Final = 16
"""chrony's limit for one pool."""

REFRESH: Final = Duration.from_s(1800)
"""A name that resolves is asked for again no sooner than this."""

FIRST_RETRY: Final = Duration.from_s(2)
"""After a failed look-up, doubling up to ``REFRESH``."""

LOST_POLLS: Final = 8
"""Requests without an answer after which an address counts as dead: the whole reach register."""

OUTVOTED_PATIENCE: Final = Duration.from_s(1800)
"""So long may a server be outvoted before another takes its place: the majority may be wrong at first."""

DOUBLE_RETRY: Final = Duration.from_s(60)
"""A written-out address that another source asks is looked at again so often: that source may go."""

AVOIDANCE: Final = Duration.from_s(3600)
"""An address that was given up is not taken again for so long, unless there is no other."""

MAX_AVOIDED: Final = 64
MAX_CANDIDATES: Final = 64
"""Addresses kept of one look-up."""


class Health(Enum):
    """What to think of a member; ``health`` derives it."""

    GOOD = "good"
    WAITING = "waiting"
    OUTVOTED = "outvoted by the other sources for long"
    UNREACHABLE = "unreachable"
    UNSYNCHRONISED = "not synchronised"
    EXCLUDED = "excluded"


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look the name up, and call ``on_resolved`` or ``on_resolve_failed``."""

    name: str
    port: int


@dataclass(frozen=True, slots=True)
class Add:
    """Start an association with this endpoint."""

    endpoint: Endpoint


@dataclass(frozen=True, slots=True)
class Remove:
    """End the association with this endpoint.

    Attributes:
        endpoint: Which.
        reason: Why, for the operator.
    """

    endpoint: Endpoint
    reason: str


RosterEffect = Resolve | Add | Remove


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterSettings:
    """What the configuration says of a name. Raises ValueError when ``count`` is out of its range.

    Attributes:
        name: A host name, or an address, which is never resolved and never replaced.
        port: UDP port.
        count: Associations to keep, 1 to 16.
        pool: The name stands for many servers; otherwise for one, whose addresses are alternatives.
        indirect: The name is that of somebody who tells where the servers are (NTS-KE): even an address is looked up,
            and each look-up names all servers that can be asked, with their ports.
    """

    name: str
    port: int = 123
    count: int = 4
    pool: bool = True
    indirect: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.count <= (MAX_MEMBERS if self.pool else 1):
            raise ValueError(f"count {self.count}: a pool keeps 1 to {MAX_MEMBERS} servers, a server is one")


def health(status: SourceStatus, *, falseticker: bool) -> Health:
    """The health of a member from what its association and the selection say."""
    if status.excluded is not None:
        return Health.EXCLUDED
    if status.reach == 0:
        return Health.UNREACHABLE if status.sent >= LOST_POLLS else Health.WAITING
    if status.received and (status.leap is Leap.UNKNOWN or status.stratum >= 16):
        return Health.UNSYNCHRONISED
    return Health.OUTVOTED if falseticker else Health.GOOD


@dataclass(slots=True)
class _Member:
    endpoint: Endpoint
    health: Health = Health.WAITING
    outvoted_since: Instant[Mono] | None = None

    def failing(self, now: Instant[Mono]) -> bool:
        """Whether another address should take its place."""
        match self.health:
            case Health.GOOD | Health.WAITING:
                return False
            case Health.UNREACHABLE | Health.UNSYNCHRONISED | Health.EXCLUDED:
                return True
            case Health.OUTVOTED:
                return self.outvoted_since is not None and now - self.outvoted_since >= OUTVOTED_PATIENCE
            case _:
                assert_never(self.health)


class Roster:
    """The members of one name.

    A failing member stays until there is an address to replace it with: a bad server may recover, an empty
    list never does.

    Args:
        settings: The configuration.
        rng: For spreading look-ups in time.
    """

    def __init__(self, settings: RosterSettings, rng: Rng) -> None:
        self._settings = settings
        self._rng = rng
        self._literal = not settings.indirect and _parse(settings.name) is not None
        self._members: list[_Member] = []
        self._candidates: list[Endpoint] = []
        self._avoid: dict[str, Instant[Mono]] = {}
        self._own: frozenset[str] = frozenset()
        self._taken: frozenset[str] = frozenset()
        self._resolving = False
        self._failures = 0
        self._wanted = True
        self._allowed_at: Instant[Mono] = Instant(0)

    @property
    def doubled(self) -> tuple[str, ...]:
        """Addresses that it knows and does not ask, because another source asks them."""
        known = [self._settings.name] if self._literal else [candidate.address for candidate in self._candidates]
        return tuple(dict.fromkeys(address for address in known if _normal(address) in self._taken))

    @property
    def members(self) -> tuple[Endpoint, ...]:
        """The endpoints that have an association now."""
        return tuple(member.endpoint for member in self._members)

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called; None while a look-up is under way or none is wanted."""
        return self._allowed_at if self._wanted and not self._resolving else None

    def on_deadline(self, now: Instant[Mono]) -> list[RosterEffect]:
        """A look-up is due, if one is still wanted."""
        if self._resolving or not self._wanted or now < self._allowed_at:
            return []
        if self._literal:
            if _normal(self._settings.name) in self._taken:
                self._allowed_at = now + self._spread(DOUBLE_RETRY)
                return []
            self._wanted = False
            return [self._add(Endpoint(self._settings.name, self._settings.port))]
        self._resolving = True
        return [Resolve(self._settings.name, self._settings.port)]

    def on_resolved(self, endpoints: Sequence[Endpoint], now: Instant[Mono]) -> list[RosterEffect]:
        """The look-up gave these addresses, in the resolver's order."""
        self._resolving = False
        self._candidates = _alternate(self._usable(endpoints))[:MAX_CANDIDATES]
        effects: list[RosterEffect] = []
        if self._candidates and (self._settings.indirect or not self._settings.pool):
            # An address that its owner has withdrawn may be somebody else's tomorrow.
            listed = {_place(endpoint) for endpoint in endpoints}
            gone = [member for member in self._members if _place(member.endpoint) not in listed]
            reason = f"{self._settings.name} no longer has this address"
            effects += [self._remove(member, reason, now) for member in gone]
            # Whoever has only gone to another port has done nothing wrong.
            for candidate in self._candidates:
                if any(_key(candidate) == _key(member.endpoint) for member in gone):
                    self._avoid.pop(_key(candidate), None)
        effects += self._replace_and_fill(now)
        if self._members:
            self._failures = 0
            self._allowed_at = now + self._spread(REFRESH)
        else:
            self._retry(now)
        return effects

    def on_resolve_failed(self, now: Instant[Mono], wait: Duration = ZERO) -> None:
        """The look-up failed; the members stay. Another one is not made before ``wait`` has passed."""
        self._resolving = False
        self._retry(now)
        self._allowed_at = max(self._allowed_at, now + wait)

    def look_again(self) -> list[RosterEffect]:
        """What is known of the servers is at an end, though they answer: look up at once, unless that is under way."""
        if self._resolving:
            return []
        self._resolving = True
        return [Resolve(self._settings.name, self._settings.port)]

    def drop(self, endpoint: Endpoint, reason: str, now: Instant[Mono]) -> list[RosterEffect]:
        """A member must not be asked any more, whatever becomes of the source."""
        gone = [self._remove(member, reason, now) for member in self._members if member.endpoint == endpoint]
        self._candidates = [candidate for candidate in self._candidates if candidate != endpoint]
        if gone:
            self._retry(now)
        return [*gone]

    def observe(self, states: Mapping[Endpoint, Health], now: Instant[Mono]) -> list[RosterEffect]:
        """What is now thought of the members. Spare addresses replace failing ones at once."""
        for member in self._members:
            state = states.get(member.endpoint, Health.WAITING)
            if state is not Health.OUTVOTED:
                member.outvoted_since = None
            elif member.outvoted_since is None:
                member.outvoted_since = now
            member.health = state
        return [] if self._literal else self._replace_and_fill(now)

    def bar(self, *, own: Iterable[str], taken: Iterable[str]) -> None:
        """Addresses not to be taken from now on; members stay.

        Args:
            own: This machine's. A pool never gives one; a single server's name may, as ``localhost`` does.
            taken: Those that other sources ask already: a server under two names would have two votes. An
                address that is written out is subject to this too. Loopback is not: what a laboratory runs
                on the ports of one machine is told apart by them.
        """
        self._own = frozenset(_normal(address) for address in own) if self._settings.pool else frozenset()
        self._taken = frozenset(_normal(address) for address in taken if not _is_loopback(address))

    def _replace_and_fill(self, now: Instant[Mono]) -> list[RosterEffect]:
        effects: list[RosterEffect] = []
        for member in [m for m in self._members if m.failing(now)]:
            fresh = self._fresh(now)
            if fresh is None:
                break
            effects += [self._remove(member, member.health.value, now), self._add(fresh)]
        while len(self._members) < self._settings.count and (fresh := self._fresh(now)) is not None:
            effects.append(self._add(fresh))
        missing = len(self._members) < self._settings.count
        self._wanted = missing or any(member.failing(now) for member in self._members)
        return effects

    def _fresh(self, now: Instant[Mono]) -> Endpoint | None:
        """The first candidate that is not a member, was not given up lately, and may be taken."""
        members = {_key(member.endpoint) for member in self._members}
        barred = self._own | self._taken
        unused = [c for c in self._candidates if _key(c) not in members and _normal(c.address) not in barred]
        for candidate in unused:
            if self._avoid.get(_key(candidate), now) <= now:
                return candidate
        return unused[0] if unused and not members else None

    def _add(self, endpoint: Endpoint) -> Add:
        self._members.append(_Member(endpoint))
        return Add(endpoint)

    def _remove(self, member: _Member, reason: str, now: Instant[Mono]) -> Remove:
        self._members.remove(member)
        key = _key(member.endpoint)
        self._avoid.pop(key, None)
        self._avoid[key] = now + AVOIDANCE
        if len(self._avoid) > MAX_AVOIDED:
            del self._avoid[next(iter(self._avoid))]
        return Remove(member.endpoint, reason)

    def _usable(self, endpoints: Sequence[Endpoint]) -> list[Endpoint]:
        """Those that can be a server, each once."""
        usable: dict[str, Endpoint] = {}
        for endpoint in endpoints:
            address = _parse(endpoint.address)
            if address is None or address.is_unspecified or address.is_multicast:
                continue
            if address.is_loopback and self._settings.pool:
                continue
            usable.setdefault(_key(endpoint), endpoint)
        return list(usable.values())

    def _retry(self, now: Instant[Mono]) -> None:
        delay = min(FIRST_RETRY * (1 << min(self._failures, 10)), REFRESH)
        self._failures += 1
        self._wanted = True
        self._allowed_at = now + self._spread(delay)

    def _spread(self, span: Duration) -> Duration:
        """A little longer, by up to a tenth: thousands of clients start together after a power cut."""
        return span + Duration(round(span.scaled_ns * self._rng.random() / 10))


def _parse(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed


def _is_loopback(address: str) -> bool:
    parsed = _parse(address)
    return parsed is not None and parsed.is_loopback


def _normal(address: str) -> str:
    """One spelling of an address; an IPv4 address that IPv6 wraps is the IPv4 address."""
    parsed = _parse(address)
    return address if parsed is None else str(parsed)


def _key(endpoint: Endpoint) -> str:
    """What makes two endpoints the same server: the address; the port does not give another vote."""
    return f"{_normal(endpoint.address)}%{endpoint.scope}"


def _place(endpoint: Endpoint) -> str:
    """Where exactly a server is."""
    return f"{_key(endpoint)} {endpoint.port}"


def _alternate(endpoints: Sequence[Endpoint]) -> list[Endpoint]:
    """IPv4 and IPv6 by turns, the resolver's favourite first: should one be broken, half the members live."""
    six = [endpoint for endpoint in endpoints if ":" in endpoint.address]
    four = [endpoint for endpoint in endpoints if ":" not in endpoint.address]
    first, second = (six, four) if endpoints and ":" in endpoints[0].address else (four, six)
    return [endpoint for pair in zip_longest(first, second) for endpoint in pair if endpoint is not None]
