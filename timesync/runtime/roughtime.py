"""A Roughtime chain on the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Done
from timesync.base.measure import Stamp
from timesync.config.clocks import SYSTEM
from timesync.host import Exchange, Host
from timesync.ntp.roughtime import Ask, RoughtimeChain
from timesync.runtime.drive import Alarm


class ChainDriver:
    """A chain on the event loop: each request from a socket of its own."""

    def __init__(
        self,
        chain: RoughtimeChain,
        host: Host,
        endpoints: Sequence[Endpoint],
        heard: Callable[[], None] = lambda: None,
    ) -> None:
        """Nothing is sent before ``run``.

        Args:
            chain: What is driven.
            host: The network.
            endpoints: Of the chain's servers, in their order.
            heard: Called after each datagram that came.
        """
        self._chain = chain
        self._heard = heard
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
            self._exchange = self._host.open_exchange(self._endpoints[ask.server], ClockId(SYSTEM), handler)
            self._exchange.send(ask.data)
        except OSError as error:
            # Not from inside the chain's own effects: it learns of it as of any other refusal, a little later.
            asyncio.get_running_loop().call_soon(self.failed, ask.token, error)

    def came(self, token: int, data: bytes) -> None:
        """A datagram."""
        self._perform(self._chain.on_packet(token, data, self._host.mono()))
        self._heard()

    def failed(self, token: int, error: OSError) -> None:
        """The network refuses."""
        self._perform(self._chain.on_error(token, error.strerror or str(error), self._host.mono()))


class _Handler:
    """Adds the token to what comes from one exchange."""

    def __init__(self, drive: ChainDriver, token: int) -> None:
        self._drive = drive
        self._token = token

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:  # noqa: ARG002  the ExchangeHandler protocol
        self._drive.came(self._token, data)

    def on_sent(self, stamp: Stamp | None) -> None:
        """Seconds are enough here: when it was sent is known well enough."""

    def on_error(self, error: OSError) -> None:
        self._drive.failed(self._token, error)
