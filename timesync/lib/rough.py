"""Roughtime (draft-ietf-ntp-roughtime-19): signed, coarse time from servers that need not be trusted one by one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from timesync.base.ids import Endpoint
from timesync.base.machine import Done
from timesync.base.measure import Stamp
from timesync.base.time import Duration
from timesync.daemon.leap import load_leap_table
from timesync.daemon.linux import LinuxHost
from timesync.daemon.query import SYSTEM_CLOCK, measuring_host
from timesync.host import Exchange
from timesync.lib.ask import resolve, run_blocking
from timesync.ntp.roughtime import Agreement, Ask, Probe, RoughtimeChain, RoughtimeServer
from timesync.runtime.drive import Alarm

ROUGHTIME_PORT = 2002
"""What servers use until IANA has given a number."""


@dataclass(frozen=True, slots=True)
class RoughtimeServerAddress:
    """A Roughtime server.

    Attributes:
        address: ``host``, ``host:port``, as for ``query``; port 2002 unless said.
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
        malfeasance: The proof, as JSON of the draft (8.4), that one of the servers has lied; None when they agree.
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
    await _Drive(chain, host, endpoints).run()
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


class _Drive:
    """A chain on the event loop: each request from a socket of its own."""

    def __init__(self, chain: RoughtimeChain, host: LinuxHost, endpoints: Sequence[Endpoint]) -> None:
        self._chain = chain
        self._host = host
        self._endpoints = endpoints
        self._exchange: Exchange | None = None
        self._alarm = Alarm(host, self._due)
        self._finished = asyncio.Event()

    async def run(self) -> None:
        """Until all is asked and answered."""
        try:
            self._due()
            await self._finished.wait()
        finally:
            self._alarm.cancel()
            self._close()

    def _due(self) -> None:
        self._perform(self._chain.on_deadline(self._host.mono()))

    def _perform(self, effects: Sequence[Ask | Done]) -> None:
        for effect in effects:
            if isinstance(effect, Done):
                self._close()
            else:
                self._send(effect)
        if self._chain.finished:
            self._finished.set()
        else:
            self._alarm.set(self._chain.deadline())

    def _close(self) -> None:
        if self._exchange is not None:
            self._exchange.close()
            self._exchange = None

    def _send(self, ask: Ask) -> None:
        handler = _Handler(self, ask.token)
        try:
            self._exchange = self._host.open_exchange(self._endpoints[ask.server], SYSTEM_CLOCK, handler)
            self._exchange.send(ask.data)
        except OSError as error:
            # Not from inside the chain's own effects: it learns of it as of any other refusal, a little later.
            asyncio.get_running_loop().call_soon(self.failed, ask.token, error)

    def came(self, token: int, data: bytes) -> None:
        """A datagram."""
        self._perform(self._chain.on_packet(token, data, self._host.mono()))

    def failed(self, token: int, error: OSError) -> None:
        """The network refuses."""
        self._perform(self._chain.on_error(token, error.strerror or str(error), self._host.mono()))


class _Handler:
    """Adds the token to what comes from one exchange."""

    def __init__(self, drive: _Drive, token: int) -> None:
        self._drive = drive
        self._token = token

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:  # noqa: ARG002  the ExchangeHandler protocol
        self._drive.came(self._token, data)

    def on_sent(self, stamp: Stamp | None) -> None:
        """Seconds are enough here: when it was sent is known well enough."""

    def on_error(self, error: OSError) -> None:
        self._drive.failed(self._token, error)
