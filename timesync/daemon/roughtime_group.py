"""All Roughtime servers of a configuration: asked together in a chain, and joined to a fence around the time.

One group for all of them, because none counts by itself: what more than half of them say together is the fence. What
it means for sources and clocks is for ``timesync.servo.suffrage``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from timesync.base.fence import Fence
from timesync.base.ids import ClockId, Endpoint, SourceId
from timesync.base.machine import Noted
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.config.clocks import SYSTEM
from timesync.config.roughtime import version_numbers
from timesync.config.sources import RoughtimeSource
from timesync.daemon.group import Surroundings
from timesync.daemon.roughtime_server import Circle, Server, facts
from timesync.ntp.roughtime import RoughtimeChain, RoughtimeServer, agree
from timesync.observe.roughtime import REPORT_FILE, RoughtimeFacts
from timesync.observe.snapshot import SourceFacts
from timesync.runtime.drive import Alarm
from timesync.runtime.roughtime import ChainDriver
from timesync.servo.select import words

_LEAP_DOUBT: Final = Duration.from_s(1)
"""Roughtime is UTC: a leap second that one of us does not know of, or spreads, must not look like a lie."""

_AGAIN: Final = Duration.from_s(64)
"""Before servers that have not answered are asked again, for the first time; twice as long each time after that."""

_SPREAD: Final = 0.1
"""Share of the interval that is random, for clients not to fall into step."""

_RESOLVE_LIMIT_S: Final = 10.0


@dataclass(slots=True)
class _Pace:
    """When the next round is.

    Attributes:
        tries: Rounds in a row after which some server had not answered.
        doubts: Rounds since the last one in due time that came early because sources were shut out.
        began: When the last one began.
        due: When the next one is; None before the first and while one goes on.
    """

    tries: int = 0
    doubts: int = 0
    began: Instant[Mono] | None = None
    due: Instant[Mono] | None = None


class RoughtimeGroup:
    """All entries of ``sources`` with ``roughtime``."""

    source = None
    kind = "roughtime"
    name = "roughtime"
    clocks: tuple[ClockId, ...] = ()
    trouble = None

    def __init__(self, sources: Sequence[RoughtimeSource], clock: ClockId, around: Surroundings) -> None:
        """Nobody is asked before ``start``; ``clock`` is the one that is shown against the servers."""
        self.servers = {
            one.title: Server(one, RoughtimeServer(one.title, one.public_key, version_numbers(one.versions)))
            for one in sources
        }
        self._clock = clock
        self._around = around
        self._host = around.host
        self._alarm = Alarm(around.host, self._due)
        self._round: asyncio.Task[None] | None = None
        self._pace = _Pace()
        self._first = True
        self._fenced = False
        self._shut_out: frozenset[SourceId] = frozenset()

    # -- life

    def start(self) -> None:
        """Ask at once: others may be waiting for it."""
        self._around.listener.fenced(None, True)
        self._due()

    def stop(self) -> None:
        """Ask no more; what was said counts no more."""
        self._alarm.cancel()
        if self._round is not None:
            self._round.cancel()
            self._round = None
        self._around.listener.fenced(None, False)

    def clock_stepped(self, clock: ClockId) -> None:
        """Where somebody else has set the clock, the machine may have slept, and then monotonic time stood still."""
        if clock != SYSTEM or self._around.core.last_step(clock) != ZERO:
            return
        for server in self.servers.values():
            server.bound = None
        self._tell()
        if self._round is None:
            self._set(self._not_before(_AGAIN))

    def review(self, outvoted: Collection[SourceId], own: Iterable[str], taken: Iterable[str]) -> None:
        """Now and then: the word of those who were not heard for long counts no more, and what it led to is checked."""
        del outvoted, own, taken
        self._tell()
        before, self._shut_out = self._shut_out, frozenset(self._around.core.shut_out())
        if self._shut_out - before:
            self._doubt()

    def set_poll(self, source: SourceId, exponent: int) -> None:
        """The interval is configured."""

    def probe(self, source: SourceId) -> None:
        """The interval is configured."""

    def addresses(self) -> Collection[str]:
        """None: a server may give NTP as well, which is another vote."""
        return ()

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """None: they are no sources of the core."""
        return {}

    def calibration(self) -> Mapping[str, object]:
        """Nothing."""
        return {}

    # -- rounds

    def _doubt(self) -> None:
        """Ask all servers again soon, before sources stay shut out by what was said long ago.

        A virtual machine that was halted does not know it: its clocks stood still, and the sources are right.
        """
        if self._pace.due is None:
            return
        soon = self._not_before(min(_AGAIN * (1 << min(self._pace.doubts, 20)), self._shortest()))
        self._pace.doubts += 1
        for server in self.servers.values():
            server.asked_at = None
        self._set(min(soon, self._pace.due))

    def _shortest(self) -> Duration:
        return min(server.source.interval for server in self.servers.values())

    def _set(self, due: Instant[Mono]) -> None:
        self._pace.due = due
        self._alarm.set(due)

    def _due(self) -> None:
        if self._round is None:
            self._round = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        """One round: every server that is due, each twice, in a random order."""
        now = self._host.mono()
        if self._pace.began is None or now - self._pace.began >= self._shortest():
            self._pace.doubts = 0
        self._pace.began, self._pace.due = now, None
        due = [server for server in self.servers.values() if server.due(now)]
        due.sort(key=lambda _: self._host.rng.random())
        for server in due:
            server.asked_at = now
            server.endpoint = await self._resolve(server)
        found = [(server, server.endpoint) for server in due if server.endpoint is not None]
        if found:
            await self._chain(found)
        for server in due:
            answered = server.bound is not None and server.bound.at >= now
            server.reach = (server.reach << 1 | answered) & 0xFF
        self._round = None
        self._first = False
        self._tell()
        self._plan(now)

    async def _resolve(self, server: Server) -> Endpoint | None:
        place = server.source.roughtime
        try:
            async with asyncio.timeout(_RESOLVE_LIMIT_S):
                found = await self._host.resolve(place.host, place.port)
        except Exception as error:  # noqa: BLE001  whatever it is (IDNA's UnicodeError, say), the others must live on
            why = getattr(error, "strerror", None) or str(error) or "no answer from the name server"
            server.trouble = f"the name {place.host} cannot be looked up ({why})"
            return None
        if not found:
            server.trouble = f"the name {place.host} has no address"
            return None
        return found[0]

    async def _chain(self, asked: Sequence[tuple[Server, Endpoint]]) -> None:
        chain = RoughtimeChain([server.server for server, _ in asked], self._host.entropy)
        counted = 0

        def heard() -> None:
            nonlocal counted
            if len(chain.probes) > counted:
                counted = len(chain.probes)
                self._take(chain)
                self._tell()

        await ChainDriver(chain, self._host, [endpoint for _, endpoint in asked], heard).run()
        for server, _ in asked:
            server.sent += chain.sent[server.server.name]
            server.trouble = chain.troubles.get(server.server.name)
        proof = chain.malfeasance()
        if proof is not None:
            self._accuse([server for server, _ in asked], proof)

    def _take(self, chain: RoughtimeChain) -> None:
        """The newest response of a chain."""
        bound, probe = chain.bounds[-1], chain.probes[-1]
        server = self.servers[probe.server.name]
        server.bound = bound
        server.received += 1
        server.radius = Duration.from_s(probe.time.radius_s)
        server.took = bound.width - server.radius * 2

    def _accuse(self, asked: Sequence[Server], proof: str) -> None:
        """Their answers cannot all be true, in the order in which they were given."""
        now = self._host.mono()
        for server in asked:
            server.contradicted_at = now
        names = ", ".join(sorted(server.source.title for server in asked))
        kept = f"the proof is {REPORT_FILE} in the state directory"
        try:
            self._host.save(REPORT_FILE, proof.encode())
        except OSError as error:
            kept = f"the proof could not be kept: {error.strerror or error}"
        text = f"the Roughtime servers {names} contradict each other, so that one of them has lied; {kept}"
        self._say("error", "roughtime-malfeasance", text)

    def _plan(self, began: Instant[Mono]) -> None:
        """When to ask again after a round."""
        known = [next_at for server in self.servers.values() if (next_at := server.next_at) is not None]
        if len(known) == len(self.servers):
            self._pace.tries = 0
        else:
            shortest = min(server.source.interval for server in self.servers.values() if server.next_at is None)
            known.append(began + min(_AGAIN * (1 << min(self._pace.tries, 20)), shortest))
            self._pace.tries += 1
        wait = min(known) - began
        spread = Duration.from_s(wait.s() * _SPREAD * self._host.rng.random())
        self._set(self._not_before(wait + spread))

    def _not_before(self, gap: Duration) -> Instant[Mono]:
        now = self._host.mono()
        return now if self._pace.began is None else max(now, self._pace.began + gap)

    # -- what they say together

    def circle(self, now: Instant[Mono]) -> Circle:
        """All servers that count, together."""
        asked = [server for server in self.servers.values() if not server.source.noselect]
        heard = [bound for server in asked if (bound := server.fresh(now)) is not None]
        return Circle(agree(heard, len(asked), now), len(heard), len(asked))

    def _tell(self) -> None:
        """Tell the core what they say now."""
        now = self._host.mono()
        circle = self.circle(now)
        agreement = circle.agreement
        if agreement is None:
            self._around.listener.fenced(None, self._first)
            if self._fenced:
                self._say("warning", "roughtime", "no majority of the Roughtime servers agrees: nothing is checked")
            self._fenced = False
            return
        table = self._around.leap_table
        earliest, latest = agreement.bound.earliest - _LEAP_DOUBT, agreement.bound.latest + _LEAP_DOUBT
        ends = [end for name in agreement.servers if (end := self.servers[name].ends()) is not None]
        by = f"{len(agreement.servers)} of {agreement.asked} Roughtime servers"
        self._around.listener.fenced(Fence(now, table.tai(earliest), table.tai(latest), min(ends), by), False)
        if not self._fenced:
            within = words(agreement.bound.width.s() / 2)
            self._say("info", "roughtime", f"{by} agree on the time, which is known to {within} by them")
        self._fenced = True

    def witnesses(self) -> tuple[RoughtimeFacts, ...]:
        """The servers, for ``timesync sources``."""
        now = self._host.mono()
        circle = self.circle(now)
        handle = self._host.clocks.get(self._clock)
        reading = None if handle is None else self._around.leap_table.utc(handle.read().at)
        return tuple(facts(server, circle, self._clock, reading, now) for server in self.servers.values())

    def _say(self, level: str, name: str, text: str) -> None:
        self._around.listener.note(Noted(level, name, text))
