"""A Roughtime measurement (RFC 10049, 8): several servers asked one after the other, in a chain.

Each request holds the response before, so that the order of the responses can be proved to others. Servers whose times
contradict that order have lied, one at least, and the chain is the proof. What a majority says together is a bound on
the time: coarse, for judging other sources by, never for steering.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

from timesync.base.fence import beyond, mono_drift
from timesync.base.machine import Done, Entropy
from timesync.base.time import UNITS_PER_S, Duration, Instant, Mono, Utc
from timesync.nts.roughtime_verify import RoughtimeError, verify
from timesync.wire.error import WireError
from timesync.wire.roughtime import KEY_SIZE, NONCE_SIZE, VERSIONS, SignedTime, chained_nonce, encode_request, nonce_of

ROUNDS: Final = 2
"""The same servers in the same order twice: then each pair is seen in both orders (8.2)."""

TIMEOUT: Final = Duration.from_s(3)
"""How long a response is waited for; a later one would bound the time no better."""


@dataclass(frozen=True, slots=True)
class RoughtimeServer:
    """A server that may be asked. Raises ValueError when the key has not 32 octets.

    Attributes:
        name: For people.
        public_key: Its long-term Ed25519 key.
        versions: Of the protocol, those that are offered to it; ascending.
    """

    name: str
    public_key: bytes
    versions: tuple[int, ...] = VERSIONS

    def __post_init__(self) -> None:
        if len(self.public_key) != KEY_SIZE:
            raise ValueError(f"the key of {self.name} has {len(self.public_key)} octets instead of {KEY_SIZE}")


@dataclass(frozen=True, slots=True)
class Ask:
    """Send a request; what comes back goes to ``on_packet`` with the token, until ``Done``.

    Attributes:
        server: Its place in the list of servers.
        data: The datagram.
        token: Names the request.
    """

    server: int
    data: bytes
    token: int


@dataclass(frozen=True, slots=True)
class Probe:
    """A request and its verified response; one link of the chain.

    Attributes:
        server: Who answered.
        blind: The random octets that made the nonce of the response before; None for the first one.
        request: The packet sent.
        response: The packet that came.
        time: What was signed.
    """

    server: RoughtimeServer
    blind: bytes | None
    request: bytes
    response: bytes
    time: SignedTime


@dataclass(frozen=True, slots=True)
class Bound:
    """Between which instants the time was.

    Attributes:
        server: Who says so.
        at: Monotonic time for which it holds.
        earliest: The truth was not before.
        latest: Nor after.
    """

    server: str
    at: Instant[Mono]
    earliest: Instant[Utc]
    latest: Instant[Utc]

    @property
    def width(self) -> Duration:
        """From the one to the other."""
        return self.latest - self.earliest

    def carried(self, now: Instant[Mono]) -> Bound:
        """The same for ``now``, wider by what the monotonic clock may have gone wrong."""
        elapsed = now - self.at
        drift = mono_drift(elapsed)
        return Bound(self.server, now, self.earliest + elapsed - drift, self.latest + elapsed + drift)


@dataclass(frozen=True, slots=True)
class Agreement:
    """What more than half of the servers say together.

    Attributes:
        bound: Where the time is; its ``server`` lists them.
        servers: Whose bounds reach into that.
        asked: How many servers there are.
    """

    bound: Bound
    servers: tuple[str, ...]
    asked: int

    def contradiction(self, claimed: Instant[Utc], within: Duration, now: Instant[Mono]) -> str | None:
        """Why a source cannot be right that claims that it is ``claimed`` now, give or take ``within``; None: it can.

        The sentence goes after the name of the source.
        """
        here = self.bound.carried(now)
        off = beyond(claimed, within, here.earliest, here.latest)
        if off is None:
            return None
        side = "ahead of" if off.scaled_ns > 0 else "behind"
        allowing = f"{len(self.servers)} of {self.asked} Roughtime servers"
        return f"is at least {abs(off).s():.3g} s {side} what {allowing} allow"


@dataclass(slots=True)
class _Pending:
    """The request on its way."""

    token: int
    blind: bytes | None
    request: bytes
    sent: Instant[Mono]


class RoughtimeChain:
    """One measurement: every server is asked ``rounds`` times, in the order of the list, which the caller shuffles.

    Attributes:
        probes: The verified responses in the order in which they came.
        bounds: What each of them says of the time.
        troubles: Why a server has no response yet, by its name, in words.
        sent: Requests to each server, by its name.
    """

    def __init__(
        self,
        servers: Sequence[RoughtimeServer],
        entropy: Entropy,
        *,
        rounds: int = ROUNDS,
        timeout: Duration = TIMEOUT,
    ) -> None:
        """Ask from the first ``on_deadline`` on. Raises ValueError without servers, or with two of one name or key."""
        if not servers or rounds < 1:
            raise ValueError("no servers to ask")
        if len({one.name for one in servers}) < len(servers) or len({one.public_key for one in servers}) < len(servers):
            raise ValueError("a server stands in the list twice, and would have two votes")
        self.probes: list[Probe] = []
        self.bounds: list[Bound] = []
        self.troubles: dict[str, str] = {}
        self.sent = dict.fromkeys((one.name for one in servers), 0)
        self._servers = tuple(servers)
        self._entropy = entropy
        self._timeout = timeout
        self._left = rounds * len(servers)
        self._token = 0
        self._pending: _Pending | None = None

    @property
    def finished(self) -> bool:
        """Whether nothing more will be asked or waited for."""
        return self._pending is None and self._left == 0

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called; None when all is over."""
        if self._pending is not None:
            return self._pending.sent + self._timeout
        return Instant(0) if self._left else None

    def on_deadline(self, now: Instant[Mono]) -> list[Ask | Done]:
        """Give up the present server, ask the next one."""
        pending = self._pending
        if pending is None:
            return self._next(now)
        if now < pending.sent + self._timeout:
            return []
        self.troubles.setdefault(self._server(pending.token).name, f"no response within {self._timeout.s():g} s")
        return self._end(pending, now)

    def on_packet(self, token: int, data: bytes, now: Instant[Mono]) -> list[Ask | Done]:
        """What claims to be the response. One that is not believed is forgotten: the real one may still come."""
        pending = self._pending
        if pending is None or pending.token != token:
            return []
        server = self._server(token)
        try:
            time = verify(pending.request, data, server.public_key)
        except RoughtimeError as error:
            self.troubles[server.name] = f"a response was not believed: {error}"
            return []
        self.troubles.pop(server.name, None)
        self.probes.append(Probe(server, pending.blind, pending.request, data, time))
        self.bounds.append(_bound(server.name, time, now - pending.sent, now))
        return self._end(pending, now)

    def on_error(self, token: int, text: str, now: Instant[Mono]) -> list[Ask | Done]:
        """The request cannot arrive."""
        pending = self._pending
        if pending is None or pending.token != token:
            return []
        self.troubles[self._server(token).name] = text
        return self._end(pending, now)

    def agreement(self, now: Instant[Mono]) -> Agreement | None:
        """What more than half of all servers say together; None when there is no such half."""
        latest = {bound.server: bound for bound in self.bounds}
        return agree([bound.carried(now) for bound in latest.values()], len(self._servers), now)

    def malfeasance(self) -> str | None:
        """The proof that one of the servers has lied, in the RFC's JSON (8.4); None when their times can be true."""
        return report(self.probes) if contradictory([probe.time for probe in self.probes]) else None

    def _server(self, token: int) -> RoughtimeServer:
        return self._servers[(token - 1) % len(self._servers)]

    def _next(self, now: Instant[Mono]) -> list[Ask | Done]:
        if not self._left:
            return []
        self._left -= 1
        self._token += 1
        fresh = self._entropy(NONCE_SIZE)
        before = self.probes[-1].response if self.probes else None
        nonce, blind = (fresh, None) if before is None else (chained_nonce(before, fresh), fresh)
        server = self._server(self._token)
        self.sent[server.name] += 1
        request = encode_request(nonce, server.public_key, server.versions)
        self._pending = _Pending(self._token, blind, request, now)
        return [Ask((self._token - 1) % len(self._servers), request, self._token)]

    def _end(self, pending: _Pending, now: Instant[Mono]) -> list[Ask | Done]:
        self._pending = None
        return [Done(pending.token), *self._next(now)]


def agree(bounds: Sequence[Bound], asked: int, now: Instant[Mono]) -> Agreement | None:
    """From the first to the last instant that the bounds of more than half of ``asked`` share; one bound per server.

    The time is there while more than half are right. Where the most bounds meet it need not be: one that is wrong can
    overlap with some of those that are right, and leave the truth to the others. All bounds are for ``now``.
    """

    def shared(at: Instant[Utc]) -> bool:
        return 2 * sum(one.earliest <= at <= one.latest for one in bounds) > asked

    starts = [one.earliest for one in bounds if shared(one.earliest)]
    ends = [one.latest for one in bounds if shared(one.latest)]
    if not starts:
        return None
    earliest, latest = min(starts), max(ends)
    names = tuple(sorted(one.server for one in bounds if one.earliest <= latest and one.latest >= earliest))
    return Agreement(Bound(", ".join(names), now, earliest, latest), names, asked)


def contradictory(times: Sequence[SignedTime]) -> bool:
    """Whether times that were given in this order cannot all be true (8.2)."""
    return any(
        one.midpoint_s - one.radius_s > other.midpoint_s + other.radius_s for one, other in combinations(times, 2)
    )


def report(probes: Sequence[Probe]) -> str:
    """A chain as a malfeasance report: JSON with its parts in base64 (8.4)."""
    responses = []
    for probe in probes:
        parts = {} if probe.blind is None else {"rand": probe.blind}
        parts |= {"request": probe.request, "response": probe.response, "publicKey": probe.server.public_key}
        responses.append({name: base64.b64encode(part).decode() for name, part in parts.items()})
    return json.dumps({"responses": responses}, indent=1)


def proves_malfeasance(text: str) -> bool:
    """Whether a report proves that one of its servers has lied: all signed, in this order, and contradictory.

    Raises ValueError when the text is no report.
    """
    times: list[SignedTime] = []
    before: bytes | None = None
    try:
        for entry in json.loads(text)["responses"]:
            parts = {name: base64.b64decode(entry[name], validate=True) for name in entry}
            request, response = parts["request"], parts["response"]
            if before is not None and nonce_of(request) != chained_nonce(before, parts["rand"]):
                return False
            times.append(verify(request, response, parts["publicKey"]))
            before = response
    except RoughtimeError:
        return False
    except (WireError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"this is no malfeasance report: {error}") from error
    return contradictory(times)


def _bound(server: str, time: SignedTime, took: Duration, now: Instant[Mono]) -> Bound:
    """The server read its clock after we had asked and before its response came."""
    midpoint: Instant[Utc] = Instant(time.midpoint_s * UNITS_PER_S)
    radius = Duration.from_s(time.radius_s)
    return Bound(server, now, midpoint - radius, midpoint + radius + took)
