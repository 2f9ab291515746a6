"""The NTP servers of one configured source: names resolved, associations driven, dead addresses replaced."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from timesync.base.ids import ClockId, Endpoint, SourceId, reference_id
from timesync.base.machine import Dropped, Effect, Measured, Noted, Status
from timesync.base.time import Instant, Utc
from timesync.config.schema import PoolSource
from timesync.daemon.assemble import (
    NtpLike,
    client_settings,
    roster_settings,
    source_id,
    source_spec,
    speak5,
)
from timesync.daemon.finder import Finder, NameFinder
from timesync.daemon.group import Surroundings
from timesync.daemon.references import filter_of_server
from timesync.daemon.stamping import StampChoice, Stamping
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.authenticator import Authenticator, KeyAuthenticator
from timesync.ntp.client import Client
from timesync.ntp.over_ptp import OverPtp
from timesync.ntp.pool import Add, Health, Remove, Resolve, Roster, RosterEffect, health
from timesync.ntp.v5.bloom import ReferenceId
from timesync.ntp.v5.speech import Loops, Speech5
from timesync.observe.ntp_answer import answer_object
from timesync.observe.snapshot import SourceFacts
from timesync.runtime.drive import Alarm, Driver, RequestMachine


@dataclass(slots=True)
class Server:
    """One server that is asked.

    Attributes:
        endpoint: Where.
        stamping: Who stamps its packets.
        client: Its association.
        speech: What is said to it where NTPv5 is; None: an older version alone.
        driver: What drives that.
        drops: Refused answers by reason.
    """

    endpoint: Endpoint
    stamping: Stamping
    client: Client
    speech: Speech5 | None
    driver: Driver
    drops: dict[str, int] = field(default_factory=dict)


class NtpGroup:
    """All servers of one entry of ``sources``."""

    def __init__(
        self,
        source: NtpLike,
        clock: ClockId,
        around: Surroundings,
        keys: Mapping[int, SymmetricKey],
        *,
        taken: Callable[[], Iterable[str]] = tuple,
        cards: Collection[ClockId] = (),
        finder: Finder | None = None,
        loops: bool = False,
    ) -> None:
        """Nothing is asked before ``start``.

        Args:
            source: The entry.
            clock: The clock that is measured where the kernel stamps its packets.
            around: What it works with.
            keys: Symmetric keys by id.
            taken: Addresses that other groups ask now; a server that two entries name is asked by one of them.
            cards: The clocks of network cards that may be measured instead, by ``card_clocks``.
            finder: Knows where the servers are; None: the resolver does.
            loops: Others may take their time from us: of servers of NTPv5 the reference ids are asked for.
        """
        self.source = source
        self.clock = clock
        self.servers: dict[SourceId, Server] = {}
        self._host = host = around.host
        self._references = around.references
        self._loops = loops
        self._leap_table = around.leap_table
        self._keys = keys
        self._taken = taken
        self._choice = StampChoice(source, clock, cards, host, lambda text: self._say("info", "timestamping", text))
        self._waiting: dict[Endpoint, str] = {}
        self._listener = around.listener
        self._finder = NameFinder(host) if finder is None else finder
        self._roster = Roster(roster_settings(source), host.rng)
        self._alarm = Alarm(host, self._due)
        self._lookup: asyncio.Task[None] | None = None
        self._trouble: str | None = None

    @property
    def clocks(self) -> tuple[ClockId, ...]:
        """The clock that it cannot do without."""
        return (self.clock,)

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        return self.source.title

    @property
    def kind(self) -> str:
        """``ntp`` or ``pool``."""
        return "pool" if isinstance(self.source, PoolSource) else "ntp"

    @property
    def trouble(self) -> str | None:
        """Why it asks nobody, if so."""
        return None if self.servers else self._trouble

    def start(self) -> None:
        """Look the name up and begin to ask."""
        self._arm()

    def stop(self) -> None:
        """Ask no more."""
        self._alarm.cancel()
        if self._lookup is not None:
            self._lookup.cancel()
        self._finder.close()
        for identity in list(self.servers):
            self._remove(identity)
        self._waiting.clear()

    def review(self, outvoted: Collection[SourceId], own: Iterable[str], taken: Iterable[str]) -> None:
        """Now and then: replace servers that do no good.

        Args:
            outvoted: The sources that selection does not believe.
            own: This machine's addresses.
            taken: Addresses that other groups ask.
        """
        addresses = list(own)
        self._roster.bar(own=addresses, taken=taken)
        ids = _reference_ids(addresses)
        names = self._references.names(self._host.entropy, addresses) if self._loops else frozenset[ReferenceId]()
        states: dict[Endpoint, Health] = {}
        for identity, server in self.servers.items():
            server.client.set_own_reference_ids(ids)
            if server.speech is not None:
                server.speech.set_own(names)
            states[server.endpoint] = health(server.client.status(), falseticker=identity in outvoted)
        self._perform(self._roster.observe(states, self._host.mono()))
        for endpoint, why in self._finder.review().items():
            self._expel(endpoint, why)
        if self._finder.stale(self._host.mono()):
            self._perform(self._roster.look_again())
        self._review_stamping()

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
        for server in self.servers.values():
            if server.stamping.clock == clock:
                server.driver.perform(server.client.restart(self._host.mono()))

    def addresses(self) -> Collection[str]:
        """Whom it asks, or is about to."""
        asked = [server.endpoint.address for server in self.servers.values()]
        return asked + [endpoint.address for endpoint in self._waiting]

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """What is known of its servers outside the core."""
        return {
            identity: SourceFacts(
                kind=self.kind,
                address=str(server.endpoint),
                status=None,
                drops=server.drops,
                details={
                    **self._finder.details(server.endpoint),
                    **_carriage(server.driver.machine),
                    **self._said(server.client),
                },
            )
            for identity, server in self.servers.items()
        }

    def _said(self, client: Client) -> Mapping[str, object]:
        """What the server said last, and the key that protects it."""
        key = None if self.source.key is None else self._keys[self.source.key]
        heard = client.heard
        return {
            "key": None if key is None else {"id": key.id, "algorithm": key.algorithm, "bits": 8 * len(key.secret)},
            "answer": None if heard is None else answer_object(heard, self._utc()),
        }

    def _utc(self) -> Instant[Utc]:
        return self._leap_table.utc(self._host.clocks[self.clock].read().at)

    def calibration(self) -> Mapping[str, object]:
        """Nothing."""
        return {}

    # -- the roster's effects

    def _arm(self) -> None:
        self._alarm.set(self._roster.deadline())

    def _due(self) -> None:
        self._bar()
        self._perform(self._roster.on_deadline(self._host.mono()))

    def _perform(self, effects: Iterable[RosterEffect]) -> None:
        for effect in effects:
            match effect:
                case Resolve():
                    self._lookup = asyncio.get_running_loop().create_task(self._resolve(effect))
                case Add():
                    self._add(effect.endpoint)
                case Remove():
                    self._finder.forget(effect.endpoint)
                    identity = source_id(self.source, effect.endpoint)
                    self._say("info", "replaced", f"{identity} ({effect.endpoint}) is asked no more: {effect.reason}")
                    self._remove(identity)
                    self._waiting.pop(effect.endpoint, None)
                case _:
                    assert_never(effect)
        self._tell_doubles()
        self._arm()

    def _bar(self) -> None:
        """Before an address is taken, not at the next review: in between, one server would have two votes."""
        self._roster.bar(own=self._host.own_addresses(), taken=self._taken())

    def _tell_doubles(self) -> None:
        """Say why nobody is asked, when that is because another entry asks them all."""
        doubled = () if self.servers else self._roster.doubled
        if doubled:
            whom = " and ".join(doubled)
            text = f"{self.name} is not asked: another source asks {whom} already, and one server has one vote"
            self._in_trouble("double", text)

    def _in_trouble(self, name: str, text: str) -> None:
        """Say it when it is new; it stays the group's trouble until a server is asked."""
        if self._trouble != text:
            self._say("warning", name, text)
        self._trouble = text

    async def _resolve(self, wanted: Resolve) -> None:
        try:
            async with asyncio.timeout(self._finder.limit_s):
                endpoints = await self._finder.find(wanted.name, wanted.port)
        except Exception as error:  # noqa: BLE001  whatever it is (IDNA's UnicodeError, say), the source must live on
            self._lookup_failed(wanted.name, error)
            now = self._host.mono()
            self._roster.on_resolve_failed(now, self._finder.wait(now))
            self._arm()
            return
        self._bar()
        self._perform(self._roster.on_resolved(endpoints, self._host.mono()))
        if self.servers:
            self._trouble = None
        elif not self._roster.doubled and not self._waiting:
            self._in_trouble("resolve", f"the name {wanted.name} has no address that can be asked; trying again")

    def _lookup_failed(self, name: str, error: Exception) -> None:
        why = getattr(error, "strerror", None) or str(error)
        if not why:
            why = "no answer from the name server" if isinstance(error, TimeoutError) else type(error).__name__
        what = "gives no keys" if self.source.nts else "cannot be looked up"
        text = f"the name {name} {what} ({why}); trying again, other sources are not affected"
        self._in_trouble("resolve", text)

    def _add(self, endpoint: Endpoint) -> None:
        stamping = self._choice.choose(endpoint)
        if isinstance(stamping, str):
            self._wait(endpoint, stamping)
        else:
            self._ask(endpoint, stamping)

    def _wait(self, endpoint: Endpoint, why: str) -> None:
        """Do not ask a server before its packets can be stamped as the source wants it."""
        self._waiting[endpoint] = why
        self._in_trouble("timestamping", f"{source_id(self.source, endpoint)} is not asked: {why}")

    def _ask(self, endpoint: Endpoint, stamping: Stamping) -> None:
        authenticator = self._finder.authenticator(endpoint)
        if self.source.nts and authenticator is None:
            # Its keys are gone, and without them it is nobody in particular.
            self._perform(self._roster.drop(endpoint, "there are no keys for it any more", self._host.mono()))
            return
        identity = source_id(self.source, endpoint)
        settings = client_settings(self.source, endpoint, stamping.clock, self._keys)
        precision = stamping.precision(self._host)
        speech = self._speech(authenticator or KeyAuthenticator(settings.key), settings.key)
        client = Client(
            settings,
            self._leap_table,
            self._host.rng,
            self._host.entropy,
            precision,
            authenticator,
            speech,
        )
        # Before its first answer: a server that follows this machine must never be followed back.
        client.set_own_reference_ids(_reference_ids(self._host.own_addresses()))

        def sink(effect: Effect) -> None:
            why = self._finder.heard(endpoint, effect)
            if why is None:
                self._hear(identity, effect)
            else:
                # Not while its driver is at work.
                asyncio.get_running_loop().call_soon(self._expel, endpoint, why)

        self._trouble = None
        over_ptp = self.source.transport == "ptp"
        machine = OverPtp(client, self.source.ptp_domain) if over_ptp else client
        driver = Driver(
            machine, self._host, endpoint, stamping.clock, sink, hardware=stamping.hardware, over_ptp=over_ptp
        )
        self.servers[identity] = Server(endpoint, stamping, client, speech, driver)
        self._references.follow(
            identity, lambda: filter_of_server(endpoint.address, None if speech is None else speech.references)
        )
        self._listener.added(source_spec(self.source, endpoint, stamping.clock, precision))
        driver.start()

    def _speech(self, authenticator: Authenticator, key: SymmetricKey | None) -> Speech5 | None:
        """How to speak NTPv5 to a server, where that is wanted."""
        words = speak5(self.source, key)
        if words is None:
            return None
        loops = None
        if self._loops:
            names = self._references.names(self._host.entropy, self._host.own_addresses())
            loops = Loops(names, self._host.rng)
        return Speech5(words, authenticator, self._leap_table, self._host.entropy, loops)

    def _review_stamping(self) -> None:
        """Cards come and go, routes change, and a card may not keep what it promised."""
        for endpoint, why in list(self._waiting.items()):
            stamping = self._choice.choose(endpoint)
            if isinstance(stamping, Stamping):
                del self._waiting[endpoint]
                self._ask(endpoint, stamping)
            elif stamping != why:
                self._wait(endpoint, stamping)
        for identity, server in list(self.servers.items()):
            stamping = self._choice.choose(server.endpoint)
            if stamping == server.stamping:
                continue
            self._remove(identity)
            if isinstance(stamping, str):
                self._wait(server.endpoint, stamping)
            else:
                self._say("info", "timestamping", f"{identity} is stamped {stamping}, from now on")
                self._ask(server.endpoint, stamping)

    def _expel(self, endpoint: Endpoint, why: str) -> None:
        """A server has shown that it must not be believed."""
        self._say("error", "nts-refused", why)
        self._finder.forget(endpoint)
        self._perform(self._roster.drop(endpoint, why, self._host.mono()))

    def _remove(self, identity: SourceId) -> None:
        server = self.servers.pop(identity, None)
        if server is not None:
            server.driver.stop()
            self._references.leave(identity)
            self._listener.removed(identity)

    def _hear(self, identity: SourceId, effect: Effect) -> None:
        match effect:
            case Measured():
                self._listener.measured(identity, effect.measurement)
            case Status():
                self._listener.status(effect.status)
                if self._finder.stale(self._host.mono()):
                    self._perform(self._roster.look_again())
            case Dropped():
                drops = self.servers[identity].drops
                drops[effect.reason] = drops.get(effect.reason, 0) + 1
            case Noted():
                self._listener.note(effect)
            case _:
                raise AssertionError(effect)

    def _say(self, level: str, name: str, text: str) -> None:
        self._listener.note(Noted(level, name, text))


def _carriage(machine: RequestMachine) -> Mapping[str, object]:
    """What of NTP over PTP there is to tell: in which form the server answers; None while it has not."""
    if not isinstance(machine, OverPtp):
        return {}
    return {"over_ptp": None if machine.form is None else machine.form.value}


def _reference_ids(addresses: Iterable[str]) -> frozenset[bytes]:
    """What stands for this machine in the reference id of those who follow it."""
    return frozenset(reference_id(address) for address in addresses)
