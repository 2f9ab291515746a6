"""One protocol machine on the event loop: packets in, effects performed, one timer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol, assert_never

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Done, Dropped, Effect, Machine, Measured, Noted, SendStamped, Status
from timesync.base.measure import Stamp
from timesync.base.time import Instant, Mono
from timesync.host import Exchange, Host

_LATE_S = 4e-9

Sink = Callable[[Effect], None]
"""Takes what a machine tells: measurements, status, notes, drops."""


class RequestMachine(Machine, Protocol):
    """A machine whose requests may meet a refusing socket."""

    def on_error(self, token: int, text: str, now: Instant[Mono]) -> Iterable[Effect]:
        """The socket of ``token`` reported an error."""
        ...


class Alarm:
    """A timer on the loop that can be moved; it never fires early, and once per setting."""

    def __init__(self, host: Host, call: Callable[[], None]) -> None:
        self._host = host
        self._call = call
        self._handle: asyncio.TimerHandle | None = None
        self._when: Instant[Mono] | None = None

    def set(self, when: Instant[Mono] | None) -> None:
        """Fire at ``when``; None: not at all."""
        if when == self._when:
            return
        self.cancel()
        self._when = when
        if when is not None:
            # Loops fire within their resolution of what was asked; a machine asked too early would ask again, for ever.
            delay = max((when - self._host.mono()).s(), 0.0) + _LATE_S
            self._handle = asyncio.get_running_loop().call_later(delay, self._fire)

    def cancel(self) -> None:
        """Do not fire."""
        if self._handle is not None:
            self._handle.cancel()
        self._handle = self._when = None

    def _fire(self) -> None:
        self._handle = self._when = None
        self._call()


class Driver:
    """Drives a machine that asks one remote, each request from a socket of its own."""

    def __init__(
        self,
        machine: RequestMachine,
        host: Host,
        remote: Endpoint,
        clock: ClockId,
        sink: Sink,
        *,
        hardware: bool = False,
        over_ptp: bool = False,
    ) -> None:
        """With ``hardware`` all stamps are to be those of the network card whose clock is ``clock``.

        With ``over_ptp`` what the machine sends are messages of PTP.
        """
        self.machine = machine
        self._host = host
        self._remote = remote
        self._clock = clock
        self._sink = sink
        self._hardware = hardware
        self._over_ptp = over_ptp
        self._exchanges: dict[int, Exchange] = {}
        self._alarm = Alarm(host, self._due)
        self._stopped = False

    def start(self) -> None:
        """Arm the machine's first deadline."""
        self._arm()

    def stop(self) -> None:
        """Close all sockets; the machine is not called again."""
        self._stopped = True
        self._alarm.cancel()
        for exchange in self._exchanges.values():
            exchange.close()
        self._exchanges.clear()

    def perform(self, effects: Iterable[Effect]) -> None:
        """Perform what the machine asks for, in order, and arm its next deadline."""
        for effect in effects:
            match effect:
                case SendStamped():
                    self._send(effect)
                case Done():
                    exchange = self._exchanges.pop(effect.token, None)
                    if exchange is not None:
                        exchange.close()
                case Measured() | Status() | Dropped() | Noted():
                    self._sink(effect)
                case _:
                    assert_never(effect)
        self._arm()

    def _arm(self) -> None:
        if not self._stopped:
            self._alarm.set(self.machine.deadline())

    def _due(self) -> None:
        self.perform(self.machine.on_deadline(self._host.mono()))

    def _send(self, request: SendStamped) -> None:
        try:
            handler = _Handler(self, request.token)
            exchange = self._host.open_exchange(
                self._remote, self._clock, handler, hardware=self._hardware, over_ptp=self._over_ptp
            )
            self._exchanges[request.token] = exchange
            exchange.send(request.data)
        except OSError as error:
            # Not from inside the machine's own effects: it learns of it as of any other refusal, a little later.
            call = partial(self.on_error, request.token, error)
            asyncio.get_running_loop().call_soon(call)

    def on_packet(self, token: int, data: bytes, stamp: Stamp | None) -> None:
        """See ``ExchangeHandler``."""
        if not self._stopped:
            self.perform(self.machine.on_packet(token, data, stamp, self._host.mono()))

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        """See ``ExchangeHandler``."""
        if not self._stopped:
            self.perform(self.machine.on_sent(token, stamp, self._host.mono()))

    def on_error(self, token: int, error: OSError) -> None:
        """See ``ExchangeHandler``."""
        if not self._stopped:
            self.perform(self.machine.on_error(token, error.strerror or str(error), self._host.mono()))


class _Handler:
    """Adds the token to what comes from one exchange."""

    def __init__(self, driver: Driver, token: int) -> None:
        self._driver = driver
        self._token = token

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:
        self._driver.on_packet(self._token, data, stamp)

    def on_sent(self, stamp: Stamp | None) -> None:
        self._driver.on_sent(self._token, stamp)

    def on_error(self, error: OSError) -> None:
        self._driver.on_error(self._token, error)
