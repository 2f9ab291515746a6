"""A continuous client inside another program: sources asked, compared, and combined, and no clock touched."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from timesync.base.ids import ClockId
from timesync.base.machine import Noted
from timesync.base.rate import Rate
from timesync.config.address import NTP_PORT, parse_host_port
from timesync.config.load import loads
from timesync.config.nts import KE_PORT
from timesync.daemon.appliance import Appliance, Start
from timesync.daemon.leap import load_leap_table
from timesync.daemon.leap_book import LiveTable
from timesync.daemon.linux import LinuxHost
from timesync.daemon.run import host_clocks
from timesync.lib.trust import NtsTrust
from timesync.servo.view import CoreView, SourceState, SourceView

_SYSTEM = ClockId("system")


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowState:
    """How the system clock stands, as all sources together have it.

    Attributes:
        synchronized: Sources agree now, and ``offset_s`` can be believed.
        reason: The state in one sentence.
        offset_s: The system clock minus the true time, now; None before anything is known. The daemon that steers the
            clock, if there is one, is seen here as a clock that is steered.
        error_bound_s: The claimed bound on what ``offset_s`` leaves; None before anything is known.
        frequency: How much faster than true the system clock runs.
        sources: Each source, with what selection made of it and why.
        core: All that the servo core says.
    """

    synchronized: bool
    reason: str
    offset_s: float | None
    error_bound_s: float | None
    frequency: Rate
    sources: tuple[SourceView, ...]
    core: CoreView


class Follower:
    """Runs between ``follow``'s entry and exit; iterate over it for the state at a steady pace."""

    def __init__(self, appliance: Appliance, every_s: float) -> None:
        self._appliance = appliance
        self._every_s = every_s
        self._next_s = time.monotonic()

    def state(self) -> FollowState:
        """The state now."""
        core = self._appliance.view()
        (clock,) = (one for one in core.clocks if one.clock == _SYSTEM)
        return FollowState(
            # Not by the core's stratum: a clock that is not steered has none.
            synchronized=clock.error_bound_s is not None and _selected(core.sources),
            reason=core.reason,
            offset_s=clock.offset_s,
            error_bound_s=clock.error_bound_s,
            frequency=clock.frequency,
            sources=core.sources,
            core=core,
        )

    def __aiter__(self) -> AsyncIterator[FollowState]:
        return self

    async def __anext__(self) -> FollowState:
        """The state at the next beat; beats that nobody waited for are left out."""
        now_s = time.monotonic()
        self._next_s = max(self._next_s + self._every_s, now_s)
        await asyncio.sleep(self._next_s - now_s)
        return self.state()


def _selected(sources: Sequence[SourceView]) -> bool:
    return any(source.state is SourceState.SELECTED for source in sources)


@asynccontextmanager
async def follow(
    *servers: str,
    poll_s: tuple[float, float] | None = None,
    every_s: float = 1.0,
    nts: bool | NtsTrust | Mapping[str, bool | NtsTrust] = False,
    note: Callable[[Noted], None] = lambda _: None,
) -> AsyncIterator[Follower]:
    """Ask these servers as the daemon does, until the block ends.

    Args:
        servers: As for ``query``; two or more, so that a wrong one is noticed.
        poll_s: Least and greatest interval between two questions to a server, powers of two from 1/16 on; None: the
            daemon's, 64 s to 1024 s.
        every_s: Pace of the states that the follower yields.
        nts: Believe no answer that is not authenticated (RFC 8915): of all servers, or of those that are named here as
            among ``servers``. The port of such a server is that of key establishment, 4460 unless said.
        note: Takes what the daemon would write to its log.

    Raises:
        ValueError: An argument is out of its range, or a server is no address. A problem of the configuration that
            is made from them is one too (``ConfigError``).
    """
    if not servers or every_s <= 0:
        raise ValueError("follow needs servers, and a pace above zero")
    each = nts if isinstance(nts, Mapping) else dict.fromkeys(servers, nts)
    strangers = [name for name in each if name not in servers]
    if strangers:
        raise ValueError(f"nts names what is not followed: {', '.join(strangers)}")
    loaded = loads(_configuration(servers, poll_s, each), "follow")
    table = LiveTable.of(load_leap_table()[0])
    host = LinuxHost(host_clocks(loaded.config), table, None)
    appliance = Appliance(loaded.config, host, table, Start({}, note))
    appliance.start()
    try:
        yield Follower(appliance, every_s)
    finally:
        appliance.stop()


def _configuration(
    servers: tuple[str, ...], poll_s: tuple[float, float] | None, nts: Mapping[str, bool | NtsTrust]
) -> str:
    poll = "" if poll_s is None else f", poll: [{poll_s[0]:g}s, {poll_s[1]:g}s]"
    lines = []
    for server in servers:
        trust = nts.get(server, False)
        # Parsed and written anew: what is not an address cannot get into the text.
        named = parse_host_port(server, KE_PORT if trust else NTP_PORT)
        lines.append(f"  - {{ntp: '{named}'{poll}{_keyed(trust)}}}")
    return "\n".join(["clocks: {system: {discipline: false}}", "sources:", *lines, ""])


def _keyed(trust: bool | NtsTrust) -> str:
    """What is written of NTS; dates are judged by the system clock, as wherever the library asks."""
    if not trust:
        return ""
    path = trust.path if isinstance(trust, NtsTrust) else None
    ca = "" if path is None else f", ca: {json.dumps(path, ensure_ascii=False)}"
    return f", nts: true, bootstrap: false{ca}"
