"""One-shot questions to an NTP server, with the kernel's timestamps; no clock is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Effect, Noted
from timesync.base.time import Duration
from timesync.base.utc import LeapTable
from timesync.config.address import HostPort
from timesync.daemon.linux import LinuxHost, SystemSpec
from timesync.host import Host
from timesync.ntp.authenticator import Authenticator
from timesync.ntp.query import ANSWERED, Outcome, Query, QuerySettings
from timesync.runtime.drive import Driver

SYSTEM_CLOCK = ClockId("system")

_RESOLVE_LIMIT_S = 10.0


def measuring_host(table: LeapTable) -> LinuxHost:
    """The machine under us with its system clock, which is only read."""
    return LinuxHost([SystemSpec(SYSTEM_CLOCK)], table, None)


async def first_address(host: Host, server: HostPort) -> Endpoint:
    """The first address of a server. Raises OSError with a sentence."""
    try:
        async with asyncio.timeout(_RESOLVE_LIMIT_S):
            found = await host.resolve(server.host, server.port)
    except (OSError, TimeoutError) as error:
        why = getattr(error, "strerror", None) or str(error) or "no answer from the name server"
        raise OSError(f"the name {server.host} cannot be looked up: {why}") from error
    if not found:
        raise OSError(f"the name {server.host} has no address")
    return found[0]


async def query(
    host: Host,
    table: LeapTable,
    remote: Endpoint,
    settings: QuerySettings,
    heard: Callable[[Outcome], None] | None = None,
    authenticator: Authenticator | None = None,
) -> list[Outcome]:
    """Ask, and return what came of each question.

    Args:
        host: Where to ask from.
        table: TAI - UTC.
        remote: Whom.
        settings: How often and how.
        heard: Told of each outcome at once.
        authenticator: What makes answers the server's own; None: nothing.
    """
    precision = max(host.clocks[settings.local].limits.precision, Duration.from_ns(1))
    machine = Query(settings, table, host.entropy, precision, authenticator)
    finished = asyncio.Event()

    def sink(effect: Effect) -> None:
        if not isinstance(effect, Noted) or effect.name != ANSWERED:
            return
        if heard is not None:
            heard(machine.outcomes[-1])
        if machine.finished:
            finished.set()

    driver = Driver(machine, host, remote, settings.local, sink)
    driver.start()
    try:
        await finished.wait()
    finally:
        driver.stop()
    return machine.outcomes
