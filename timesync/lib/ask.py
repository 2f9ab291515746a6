"""One call, one answer: SNTP (RFC 5905, 14) with kernel timestamps and with all the tests of a full client."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from timesync.base.ids import Endpoint
from timesync.base.measure import Leap
from timesync.base.time import Duration
from timesync.config.address import NTP_PORT, parse_host_port
from timesync.daemon.leap import load_leap_table
from timesync.daemon.query import SYSTEM_CLOCK, first_address, measuring_host
from timesync.daemon.query import query as ask
from timesync.host import Host
from timesync.lib.trust import NtsTrust
from timesync.ntp.exchange import DropReason, root_distance
from timesync.ntp.query import Outcome, QuerySettings, best_of

T = TypeVar("T")


class QueryError(Exception):
    """There is no answer to believe; the text says why.

    Attributes:
        outcomes: What came of each question; empty when none could be asked.
    """

    def __init__(self, text: str, outcomes: Sequence[Outcome] = ()) -> None:
        super().__init__(text)
        self.outcomes = tuple(outcomes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a server says of the time: the best of the answers that came.

    Attributes:
        server: Who answered.
        offset: This machine's clock minus the server's; positive when this clock is ahead.
        error_bound: If the server is right, so much at most is ``offset`` wrong: half the round trip to its root, and
            its dispersion (RFC 5905, 11.1, root distance).
        round_trip: Time on the way there and back, the server's own share taken off.
        stratum: 1 for a server with a reference clock of its own.
        leap: Announced leap second.
        reference_id: Four octets as on the wire.
        authenticated: NTS proves that the answer is the server's own.
        outcomes: What came of each question, with the whole packets.
    """

    server: Endpoint
    offset: Duration
    error_bound: Duration
    round_trip: Duration
    stratum: int
    leap: Leap
    reference_id: bytes
    authenticated: bool
    outcomes: tuple[Outcome, ...]

    def right_ns(self, reading_ns: int) -> int:
        """The server's POSIX time in ns at the moment when ``time.time_ns()`` said ``reading_ns``."""
        return reading_ns - self.offset.ns()


async def query(
    server: str,
    *,
    count: int = 1,
    version: int = 4,
    timeout_s: float = 3.0,
    interval_s: float = 1.0,
    nts: bool | NtsTrust = False,
) -> Reply:
    """Ask an NTP server for the time.

    Args:
        server: ``host``, ``host:port``, an IPv4 or an IPv6 address, ``[address]:port``; with NTS the port is that of
            key establishment, 4460 unless said.
        count: Questions; the answer with the shortest round trip counts.
        version: 3 or 4.
        timeout_s: How long each answer is waited for.
        interval_s: Between two questions; a public server should not be asked faster than once in two seconds.
        nts: Make keys with the server first, and believe no answer without them (RFC 8915). Who asks more than once
            keeps them in an ``NtsSession``.

    Raises:
        QueryError: No answer came, or none that a client would use; with NTS, ``NtsError`` where there are no keys.
        OSError: The file of ``NtsTrust`` cannot be read.
        ValueError: An argument is out of its range, ``server`` is no address (``AddressError``), or the file of
            ``NtsTrust`` holds no certificates.
    """
    settings = settings_of(count, version, timeout_s, interval_s)
    if nts:
        if version != 4:
            raise ValueError("NTS exists in version 4 only (RFC 8915)")
        # Only who has NTS pays for TLS.
        from timesync.lib.nts import NtsSession

        async with NtsSession(server, trust=nts if isinstance(nts, NtsTrust) else NtsTrust()) as session:
            return await session.query(count=count, timeout_s=timeout_s, interval_s=interval_s)
    table, _ = load_leap_table()
    host = measuring_host(table)
    endpoint = await resolve(host, server, NTP_PORT)
    return reply_of(server, endpoint, await ask(host, table, endpoint, settings), authenticated=False)


def settings_of(count: int, version: int, timeout_s: float, interval_s: float) -> QuerySettings:
    """What to ask. Raises ValueError."""
    if version not in (3, 4):
        # NTPv5 is a draft, and would not stay what it is for programs that are written now.
        raise ValueError(f"version {version} is not 3 or 4")
    return QuerySettings(
        local=SYSTEM_CLOCK,
        version=version,
        count=count,
        interval=Duration.from_s(interval_s),
        timeout=Duration.from_s(timeout_s),
    )


def reply_of(server: str, endpoint: Endpoint, outcomes: Sequence[Outcome], *, authenticated: bool) -> Reply:
    """The best of what came. Raises QueryError.

    Args:
        server: As the user calls it.
        endpoint: Who was asked.
        outcomes: What came of each question.
        authenticated: Answers that were not the server's own were refused.
    """
    best = best_of(outcomes)
    if best is None or not best.usable:
        raise QueryError(f"{server}: {_why(outcomes)}", outcomes)
    assert best.sample is not None
    assert best.packet is not None
    return Reply(
        server=endpoint,
        offset=best.sample.offset,
        error_bound=root_distance(best.packet) + best.sample.round_trip // 2 + best.sample.excess,
        round_trip=best.sample.round_trip,
        stratum=best.packet.stratum,
        leap=best.packet.leap,
        reference_id=best.packet.reference_id,
        authenticated=authenticated,
        outcomes=tuple(outcomes),
    )


def query_blocking(
    server: str,
    *,
    count: int = 1,
    version: int = 4,
    timeout_s: float = 3.0,
    interval_s: float = 1.0,
    nts: bool | NtsTrust = False,
) -> Reply:
    """As ``query``, for programs without an event loop. Raises RuntimeError inside a running one."""
    return run_blocking(
        lambda: query(server, count=count, version=version, timeout_s=timeout_s, interval_s=interval_s, nts=nts)
    )


def run_blocking(make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """What the coroutine returns, from a loop of its own. Raises RuntimeError inside a running one."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(make())
    raise RuntimeError("an event loop is running here: await the function without _blocking in its name")


async def resolve(host: Host, server: str, port: int) -> Endpoint:
    """The first address of a server. Raises QueryError, and AddressError for a text that is no address."""
    try:
        return await first_address(host, parse_host_port(server, port))
    except OSError as error:
        raise QueryError(str(error)) from error


def _why(outcomes: Sequence[Outcome]) -> str:
    last = outcomes[-1]
    if last.trouble is not None:
        return last.trouble + _refused(last.drops)
    if last.kiss is not None:
        return f"it sent a kiss-o'-death {last.kiss}"
    if last.refusal is DropReason.UNSYNCHRONISED:
        return "it says that it is not synchronised"
    return "its answer is of no use" if last.refusal is None else f"its answer is of no use ({last.refusal.value})"


def _refused(drops: Mapping[str, int]) -> str:
    """What came instead of an answer, if anything."""
    return f"; what came was refused ({', '.join(drops)})" if drops else ""
