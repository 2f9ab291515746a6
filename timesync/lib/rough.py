"""Roughtime (RFC 10049): signed, coarse time from servers that need not be trusted one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from timesync.base.time import Duration
from timesync.config.roughtime import ROUGHTIME_PORT
from timesync.daemon.leap import load_leap_table
from timesync.daemon.query import SYSTEM_CLOCK, measuring_host
from timesync.lib.ask import resolve, run_blocking
from timesync.ntp.roughtime import Agreement, Probe, RoughtimeChain, RoughtimeServer
from timesync.runtime.roughtime import ChainDriver


@dataclass(frozen=True, slots=True)
class RoughtimeServerAddress:
    """A Roughtime server.

    Attributes:
        address: ``host``, ``host:port``, as for ``query``; port 5319 unless said.
        public_key: Its long-term Ed25519 key, 32 octets, from whoever runs it.
    """

    address: str
    public_key: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RoughtimeAnswer:
    """What came of one measurement.

    Attributes:
        agreement: What more than half of the servers say together; None when there is no such half.
        contradiction: Why the system clock cannot be right by that, to be read after its name; None when it can be.
        malfeasance: The proof, as JSON of the RFC (8.4), that one of the servers has lied; None when they agree.
        troubles: Why a server has not answered, or was not believed, by its address.
        probes: The verified responses in order.
    """

    agreement: Agreement | None
    contradiction: str | None
    malfeasance: str | None
    troubles: dict[str, str] = field(default_factory=dict)
    probes: tuple[Probe, ...] = ()


async def roughtime(servers: Sequence[RoughtimeServerAddress], *, timeout_s: float = 3.0) -> RoughtimeAnswer:
    """Ask these servers, each twice, and compare the system clock with what most of them say.

    Args:
        servers: Three or more, of different owners, so that a majority means something. They are asked in a random
            order.
        timeout_s: How long each response is waited for.

    Raises:
        QueryError: A name cannot be looked up.
        ValueError: An argument is out of its range.
    """
    table, _ = load_leap_table()
    host = measuring_host(table)
    shuffled = list(servers)
    host.rng.shuffle(shuffled)
    listed = [RoughtimeServer(one.address, one.public_key) for one in shuffled]
    chain = RoughtimeChain(listed, host.entropy, timeout=Duration.from_s(timeout_s))
    endpoints = [await resolve(host, one.address, ROUGHTIME_PORT) for one in shuffled]
    await ChainDriver(chain, host, endpoints).run()
    now = host.mono()
    agreement = chain.agreement(now)
    clock = table.utc(host.clocks[SYSTEM_CLOCK].read().at)
    return RoughtimeAnswer(
        agreement=agreement,
        contradiction=None if agreement is None else agreement.contradiction(clock, Duration(0), now),
        malfeasance=chain.malfeasance(),
        troubles=dict(chain.troubles),
        probes=tuple(chain.probes),
    )


def roughtime_blocking(servers: Sequence[RoughtimeServerAddress], *, timeout_s: float = 3.0) -> RoughtimeAnswer:
    """As ``roughtime``, for programs without an event loop. Raises RuntimeError inside a running one."""
    return run_blocking(lambda: roughtime(servers, timeout_s=timeout_s))
