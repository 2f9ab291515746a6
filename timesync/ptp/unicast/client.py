"""Asks servers for unicast Announce, and the one that is followed for Sync and Delay_Resp too (IEEE 1588-2019, 16.1).

Of every server Announce is asked; the election among them is the instance's, which tells its result by ``select``.
A grant is renewed when three quarters of its time have passed. A server that does not answer, or refuses, is asked
again at growing intervals; one whose messages stop although it granted them is asked anew, since it may have been
restarted.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from timesync.base.ids import ALL_PORTS, PortIdentity
from timesync.base.machine import Dropped, Noted
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.context import Headers, PortCounters
from timesync.ptp.effect import PtpEffect
from timesync.ptp.settings import DelayMechanism, Intervals
from timesync.ptp.timers import interval
from timesync.ptp.unicast.signaler import Signaler, is_for
from timesync.wire import ptp_tlv_read
from timesync.wire.error import WireError
from timesync.wire.ptp_message import Announce, MessageType, Signaling, Tlv
from timesync.wire.ptp_tlv import UnicastCancel, UnicastGrant, UnicastRequest
from timesync.wire.ptp_tlv_profile import InterfaceRate

_SLOWEST_DOUBLINGS = 6
"""How often the interval between questions to a silent server doubles."""

_SILENT_INTERVALS = 4
_LEAST_SILENCE = Duration.from_s(8)
"""A server that has just started is not timeTransmitter yet and sends nothing for some seconds."""

_FASTEST, _SLOWEST = -10, 22
"""Intervals that a grant may have (logMessageInterval is bounded to them everywhere)."""

_STRANGERS = 128
_STRANGER_PAUSE = Duration.from_s(1)
_TIME = (MessageType.SYNC, MessageType.DELAY_RESP)
_WATCHED = (MessageType.ANNOUNCE, MessageType.SYNC)


@dataclass(frozen=True, slots=True, kw_only=True)
class UnicastClientSettings:
    """Whom a port asks, and for what.

    Attributes:
        port: ``portNumber``.
        servers: Their addresses.
        intervals: What is asked for; Announce at one second where it says that none is sent.
        mechanism: With E2E, Delay_Resp is asked for.
        duration_s: For how long grants are asked (``durationField``).
        query: Log2 of the interval in seconds at which a server is asked that has not answered.
    """

    port: int
    servers: tuple[str, ...]
    intervals: Intervals = field(default_factory=Intervals)
    mechanism: DelayMechanism = DelayMechanism.E2E
    duration_s: int = 300
    query: int = 0


class UnicastState(enum.Enum):
    """How far it has come with a server; the values are those of linuxptp's UNICAST_MASTER_TABLE_NP."""

    WAIT = 0
    HAVE_ANNOUNCE = 1
    NEED_SYNC = 2
    HAVE_SYNC = 3


@dataclass(frozen=True, slots=True)
class ServerView:
    """A server at one moment.

    Attributes:
        address: Its address.
        identity: Its ``portIdentity``; None before its first grant.
        state: How far it has come.
        selected: It is the one that is followed.
        granted: Log2 intervals in seconds by type of message.
        announce: Its newest Announce; None while it may not be followed.
        rate: What it said of its interface with its grants (ITU-T G.8275.2, annex D); None when it did not.
    """

    address: str
    identity: PortIdentity | None
    state: UnicastState
    selected: bool
    granted: dict[MessageType, int]
    announce: Announce | None = None
    rate: InterfaceRate | None = None


@dataclass(slots=True)
class _Grant:
    log_interval: int
    until: Instant[Mono]
    renew: Instant[Mono]
    silent: Instant[Mono] | None


@dataclass(slots=True)
class _Server:
    address: str
    due: Instant[Mono]
    identity: PortIdentity | None = None
    selected: bool = False
    failures: int = 0
    refused: bool = False
    asked: set[MessageType] = field(default_factory=set)
    grants: dict[MessageType, _Grant] = field(default_factory=dict)
    rate: InterfaceRate | None = None

    @property
    def target(self) -> PortIdentity:
        return ALL_PORTS if self.identity is None else self.identity


class UnicastClient:
    """The client of one port."""

    def __init__(self, settings: UnicastClientSettings, headers: Headers, counters: PortCounters) -> None:
        """Nothing is asked before ``start``."""
        self._settings = settings
        self._counters = counters
        self._signaler = Signaler(settings.port, headers, counters)
        self._servers: dict[str, _Server] = {}
        self._strangers: dict[str, Instant[Mono]] = {}

    # -- what others see

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        return min((self._next(server) for server in self._servers.values()), default=None)

    def knows(self, address: str) -> bool:
        """Whether unicast messages of time from this address are wanted; for others see ``on_stranger``."""
        return address in self._servers

    def log_interval(self, identity: PortIdentity, kind: MessageType) -> int | None:
        """At which interval a server granted this type of message; None when it has not."""
        for server in self._servers.values():
            if server.identity == identity and kind in server.grants:
                return server.grants[kind].log_interval
        return None

    def view(self) -> tuple[ServerView, ...]:
        """For status and management."""
        return tuple(
            ServerView(
                server.address,
                server.identity,
                self._state(server),
                server.selected,
                {kind: grant.log_interval for kind, grant in server.grants.items()},
                rate=server.rate,
            )
            for server in self._servers.values()
        )

    def _state(self, server: _Server) -> UnicastState:
        if server.selected:
            whole = all(kind in server.grants for kind in self._wanted(server))
            return UnicastState.HAVE_SYNC if whole else UnicastState.NEED_SYNC
        return UnicastState.HAVE_ANNOUNCE if MessageType.ANNOUNCE in server.grants else UnicastState.WAIT

    # -- life

    def start(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The port works: ask all servers."""
        self._servers = {address: _Server(address, now) for address in self._settings.servers}
        yield from self.on_deadline(now)

    def stop(self) -> Iterator[PtpEffect]:
        """The port will not work any more: give back what was granted."""
        for server in self._servers.values():
            yield from self._cancel(server, tuple(server.grants))
        self._servers.clear()

    def on_deadline(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Ask for what is missing, and renew what ends soon."""
        for server in self._servers.values():
            yield from self._tend(server, now)

    def select(self, parent: PortIdentity | None, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The parent is another one: it is asked for Sync and Delay_Resp, the one before to stop them."""
        for server in self._servers.values():
            selected = parent is not None and server.identity == parent
            if selected is server.selected:
                continue
            server.selected = selected
            if selected:
                server.due = now
                yield from self._tend(server, now)
            else:
                yield from self._cancel(server, _TIME)

    # -- messages

    def heard(self, kind: MessageType, address: str, now: Instant[Mono]) -> None:
        """A message of this type came from a server."""
        server = self._servers.get(address)
        grant = None if server is None else server.grants.get(kind)
        if grant is not None and kind in _WATCHED:
            grant.silent = now + _silence(grant.log_interval)

    def on_stranger(
        self, kind: MessageType, source: PortIdentity, address: str, now: Instant[Mono]
    ) -> Iterator[PtpEffect]:
        """Somebody who is not asked sends unicast messages: a server that granted them to this address before.

        It is asked to stop, once a second at most, since the address may be forged.
        """
        last = self._strangers.pop(address, None)
        if last is not None and now - last < _STRANGER_PAUSE:
            self._strangers[address] = last
            return
        while len(self._strangers) >= _STRANGERS:
            del self._strangers[next(iter(self._strangers))]
        self._strangers[address] = now
        yield from self._signaler.send((UnicastCancel(kind).to_tlv(),), source, address)

    def on_signaling(self, message: Signaling, address: str, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Grants and cancellations; what else it says is for others."""
        server = self._servers.get(address)
        if not is_for(message.target, self._signaler.identity):
            return
        acknowledged: list[Tlv] = []
        for tlv in _negotiation(message.tlvs):
            if server is None:
                yield self._drop("unicast-stranger")
                return
            if isinstance(tlv, UnicastGrant):
                yield from self._granted(server, tlv, message.header.source, now)
            elif not tlv.acknowledge and not tlv.maintain_grant:
                acknowledged.append(UnicastCancel(tlv.message_type, tlv.maintain_request, acknowledge=True).to_tlv())
                yield from self._taken_back(server, tlv.message_type, now)
        if server is not None:
            if message.header.source == server.identity:
                server.rate = ptp_tlv_read.find(message.tlvs, InterfaceRate) or server.rate
            yield from self._signaler.send(tuple(acknowledged), server.target, address)

    def _taken_back(self, server: _Server, kind: MessageType, now: Instant[Mono]) -> Iterator[PtpEffect]:
        if server.grants.pop(kind, None) is not None:
            # Asked again at once it would only refuse.
            server.due = max(server.due, now + interval(self._settings.query))
            yield self._noted("unicast-cancelled", f"{server.address} takes back its grant of {kind.name}")

    def _granted(
        self, server: _Server, grant: UnicastGrant, source: PortIdentity, now: Instant[Mono]
    ) -> Iterator[PtpEffect]:
        kind = grant.message_type
        if kind not in server.asked:
            yield self._drop("unicast-unasked")
            return
        if grant.duration_s and not _FASTEST <= grant.log_interval <= _SLOWEST:
            yield self._drop("unicast-interval")
            return
        server.asked.discard(kind)
        if grant.duration_s == 0:
            if not server.refused:
                server.refused = True
                yield self._noted("unicast-refused", f"{server.address} refuses to send {kind.name}")
            return
        if server.identity != source:
            # Another clock has the address now; what the old one granted is void.
            server.identity, server.selected, server.rate = source, False, None
            server.grants.clear()
        server.failures, server.refused = 0, False
        length = Duration.from_s(min(grant.duration_s, self._settings.duration_s))
        server.grants[kind] = _Grant(
            grant.log_interval,
            until=now + length,
            renew=now + length * 3 // 4,
            silent=now + _silence(grant.log_interval) if kind in _WATCHED else None,
        )

    # -- asking

    def _wanted(self, server: _Server) -> tuple[MessageType, ...]:
        if not server.selected:
            return (MessageType.ANNOUNCE,)
        if self._settings.mechanism is DelayMechanism.E2E:
            return (MessageType.ANNOUNCE, *_TIME)
        return (MessageType.ANNOUNCE, MessageType.SYNC)

    def _next(self, server: _Server) -> Instant[Mono]:
        """When there is something to do about a server."""
        times: list[Instant[Mono]] = []
        for kind, grant in server.grants.items():
            times.append(grant.until)
            if grant.silent is not None:
                times.append(grant.silent)
            if kind in self._wanted(server):
                times.append(max(grant.renew, server.due))
        if any(kind not in server.grants for kind in self._wanted(server)):
            times.append(server.due)
        return min(times)

    def _tend(self, server: _Server, now: Instant[Mono]) -> Iterator[PtpEffect]:
        for kind, grant in tuple(server.grants.items()):
            if grant.until <= now or (grant.silent is not None and grant.silent <= now):
                del server.grants[kind]
        if server.due > now:
            return
        wanted = self._wanted(server)
        missing = tuple(kind for kind in wanted if kind not in server.grants)
        if any(grant.renew <= now for kind, grant in server.grants.items() if kind in wanted):
            # All of them in one message, so that they end together from now on.
            yield from self._ask(server, wanted, now)
        elif missing:
            yield from self._ask(server, missing, now)

    def _ask(self, server: _Server, kinds: Iterable[MessageType], now: Instant[Mono]) -> Iterator[PtpEffect]:
        intervals, length = self._settings.intervals, self._settings.duration_s
        logs = {
            MessageType.ANNOUNCE: 0 if intervals.announce is None else intervals.announce,
            MessageType.SYNC: intervals.sync,
            MessageType.DELAY_RESP: intervals.delay,
        }
        tlvs = tuple(UnicastRequest(kind, logs[kind], length).to_tlv() for kind in kinds)
        server.asked.update(kinds)
        server.due = now + interval(self._settings.query + min(server.failures, _SLOWEST_DOUBLINGS))
        server.failures += 1
        yield from self._signaler.send(tlvs, server.target, server.address)

    def _cancel(self, server: _Server, kinds: Iterable[MessageType]) -> Iterator[PtpEffect]:
        """Give grants back (16.1.4.3)."""
        given = tuple(kind for kind in kinds if server.grants.pop(kind, None) is not None)
        server.asked.difference_update(kinds)
        yield from self._signaler.send(
            tuple(UnicastCancel(kind).to_tlv() for kind in given), server.target, server.address
        )

    def _drop(self, reason: str) -> Dropped:
        self._counters.drops[reason] += 1
        return Dropped(reason)

    @staticmethod
    def _noted(name: str, text: str) -> Noted:
        return Noted("warning", name, text)


def _silence(log_interval: int) -> Duration:
    return max(interval(log_interval) * _SILENT_INTERVALS, _LEAST_SILENCE)


def _negotiation(tlvs: tuple[Tlv, ...]) -> Iterator[UnicastGrant | UnicastCancel]:
    """The grants and cancellations of a message; broken ones are passed over."""
    for tlv in tlvs:
        try:
            found = ptp_tlv_read.read(tlv)
        except WireError:
            continue
        if isinstance(found, UnicastGrant | UnicastCancel):
            yield found
