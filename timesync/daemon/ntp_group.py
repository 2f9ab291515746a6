"""The NTP servers of one configured source: names resolved, associations driven, dead addresses replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field

from timesync.base.ids import ClockId, Endpoint, SourceId
from timesync.base.machine import Dropped, Effect, Measured, Noted, Status
from timesync.base.measure import Measurement, SourceStatus
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.config.schema import PoolSource
from timesync.daemon.assemble import (
    NtpLike,
    client_settings,
    reference_id,
    roster_settings,
    source_id,
    source_name,
    source_spec,
)
from timesync.host import Host
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.client import Client
from timesync.ntp.pool import Add, Health, Remove, Resolve, Roster, RosterEffect, health
from timesync.runtime.drive import Alarm, Driver
from timesync.servo.command import SourceSpec

_RESOLVE_LIMIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears what sources do.

    Attributes:
        added: A server is followed from now on.
        removed: It is no longer.
        measured: A measurement came from it.
        status: What is known of it changed.
        note: Something to say.
    """

    added: Callable[[SourceSpec], None]
    removed: Callable[[SourceId], None]
    measured: Callable[[SourceId, Measurement], None]
    status: Callable[[SourceStatus], None]
    note: Callable[[Noted], None]


@dataclass(slots=True)
class Server:
    """One server that is asked.

    Attributes:
        endpoint: Where.
        client: Its association.
        driver: What drives that.
        drops: Refused answers by reason.
    """

    endpoint: Endpoint
    client: Client
    driver: Driver
    drops: dict[str, int] = field(default_factory=dict)


class NtpGroup:
    """All servers of one entry of ``sources``."""

    def __init__(
        self,
        source: NtpLike,
        clock: ClockId,
        host: Host,
        leap_table: LeapTable,
        keys: Mapping[int, SymmetricKey],
        listener: Listener,
    ) -> None:
        self.source = source
        self.clock = clock
        self.servers: dict[SourceId, Server] = {}
        self._host = host
        self._leap_table = leap_table
        self._keys = keys
        self._listener = listener
        self._roster = Roster(roster_settings(source), host.rng)
        self._alarm = Alarm(host, self._due)
        self._lookup: asyncio.Task[None] | None = None
        self._trouble: str | None = None

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return source_name(self.source)

    @property
    def kind(self) -> str:
        """``ntp`` or ``pool``."""
        return "pool" if isinstance(self.source, PoolSource) else "ntp"

    @property
    def trouble(self) -> str | None:
        """Why its name has no address, if so."""
        return None if self.servers else self._trouble

    def start(self) -> None:
        """Look the name up and begin to ask."""
        self._arm()

    def stop(self) -> None:
        """Ask no more."""
        self._alarm.cancel()
        if self._lookup is not None:
            self._lookup.cancel()
        for identity in list(self.servers):
            self._remove(identity)

    def review(self, outvoted: Collection[SourceId], own: Iterable[str], taken: Iterable[str]) -> None:
        """Now and then: replace servers that do no good.

        Args:
            outvoted: The sources that selection does not believe.
            own: This machine's addresses.
            taken: Addresses that other groups ask.
        """
        addresses = list(own)
        self._roster.bar(own=addresses, taken=taken)
        ids = frozenset(reference_id(address) for address in addresses)
        states: dict[Endpoint, Health] = {}
        for identity, server in self.servers.items():
            server.client.set_own_reference_ids(ids)
            states[server.endpoint] = health(server.client.status(), falseticker=identity in outvoted)
        self._perform(self._roster.observe(states, self._host.mono()))

    def set_poll(self, source: SourceId, exponent: int) -> None:
        """Advice of the core."""
        server = self.servers.get(source)
        if server is not None:
            server.client.set_poll(exponent, self._host.mono())
            server.driver.perform(())

    def probe(self, source: SourceId) -> None:
        """Ask again soon."""
        server = self.servers.get(source)
        if server is not None and server.client.burst_now(self._host.mono()):
            server.driver.perform(())

    def clock_stepped(self, clock: ClockId) -> None:
        """Exchanges under way are worth nothing any more."""
        if clock == self.clock:
            for server in self.servers.values():
                server.driver.perform(server.client.restart(self._host.mono()))

    # -- the roster's effects

    def _arm(self) -> None:
        self._alarm.set(self._roster.deadline())

    def _due(self) -> None:
        self._perform(self._roster.on_deadline(self._host.mono()))

    def _perform(self, effects: Iterable[RosterEffect]) -> None:
        for effect in effects:
            match effect:
                case Resolve():
                    self._lookup = asyncio.get_running_loop().create_task(self._resolve(effect))
                case Add():
                    self._add(effect.endpoint)
                case Remove():
                    identity = source_id(self.source, effect.endpoint)
                    self._say("info", "replaced", f"{identity} ({effect.endpoint}) is asked no more: {effect.reason}")
                    self._remove(identity)
        self._arm()

    async def _resolve(self, wanted: Resolve) -> None:
        try:
            async with asyncio.timeout(_RESOLVE_LIMIT_S):
                endpoints = await self._host.resolve(wanted.name, wanted.port)
        except (OSError, TimeoutError) as error:
            why = getattr(error, "strerror", None) or str(error) or "no answer from the name server"
            text = f"the name {wanted.name} cannot be looked up ({why}); trying again, other sources are not affected"
            if self._trouble != text:
                self._say("warning", "resolve", text)
            self._trouble = text
            self._roster.on_resolve_failed(self._host.mono())
            self._arm()
            return
        self._trouble = None
        self._perform(self._roster.on_resolved(endpoints, self._host.mono()))

    def _add(self, endpoint: Endpoint) -> None:
        identity = source_id(self.source, endpoint)
        clock = self._host.clocks[self.clock]
        settings = client_settings(self.source, endpoint, self.clock, self._keys)
        precision = max(clock.limits.precision, Duration.from_ns(1))
        client = Client(settings, self._leap_table, self._host.rng, self._host.entropy, precision)

        def sink(effect: Effect) -> None:
            self._hear(identity, effect)

        server = Server(endpoint, client, Driver(client, self._host, endpoint, self.clock, sink))
        self.servers[identity] = server
        self._listener.added(source_spec(self.source, endpoint, clock))
        server.driver.start()

    def _remove(self, identity: SourceId) -> None:
        server = self.servers.pop(identity, None)
        if server is not None:
            server.driver.stop()
            self._listener.removed(identity)

    def _hear(self, identity: SourceId, effect: Effect) -> None:
        match effect:
            case Measured():
                self._listener.measured(identity, effect.measurement)
            case Status():
                self._listener.status(effect.status)
            case Dropped():
                drops = self.servers[identity].drops
                drops[effect.reason] = drops.get(effect.reason, 0) + 1
            case Noted():
                self._listener.note(effect)
            case _:
                raise AssertionError(effect)

    def _say(self, level: str, name: str, text: str) -> None:
        self._listener.note(Noted(level, name, text))
