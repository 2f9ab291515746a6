"""An asyncio event loop that never waits: it moves the world to whatever comes next."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, NoReturn, Protocol, TypeVar, TypeVarTuple, Unpack

from timesync.base.rate import Rate
from timesync.base.time import NS_PER_S, UNITS_PER_S, Duration, Instant, Mono
from timesync.sim.world import World

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Ticks(Protocol):
    """What a machine's monotonic clock runs from: an oscillator, or a clock without its steps."""

    def elapsed(self) -> int:
        """Time since the machine was switched on, by its own reckoning, in units of 2^-16 ns."""
        ...

    def true_frequency(self) -> Rate:
        """How much faster than true time it runs at this moment."""
        ...


class _TrueTicks:
    """A machine whose monotonic clock is perfect."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._start = world.units

    def elapsed(self) -> int:
        return self._world.units - self._start

    def true_frequency(self) -> Rate:
        return Rate(0.0)


class _Selector:
    """Stands where BaseEventLoop has a selector; instead of waiting it moves the world."""

    def __init__(self, loop: SimLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[object]:
        self._loop.move(timeout)
        return []


class SimLoop(asyncio.BaseEventLoop):
    """A real asyncio loop in simulated time; what runs on it cannot tell, except that it is fast.

    ``time()`` is the monotonic time of the simulated machine in seconds. It starts at zero, so that a float64
    resolves a nanosecond for 52 days (2^52 ns). A timer fires within 1 ns of what it asked for, and a little
    later when the machine's clock changes its frequency meanwhile. Computing takes no simulated time.

    When neither a timer nor an event of the world is left the loop raises RuntimeError: whatever is being
    awaited could never come. Real sockets, threads and processes raise RuntimeError too, so that nothing
    escapes determinism.
    """

    _ready: deque[asyncio.Handle]

    def __init__(self, world: World, machine: Ticks | None = None) -> None:
        super().__init__()
        self.world = world
        self._machine: Ticks = machine or _TrueTicks(world)
        self._selector = _Selector(self)
        # BaseEventLoop fires what is due within its resolution; ``move`` arrives at the nearest nanosecond.
        self._clock_resolution = 0.5 / NS_PER_S
        self._rescheduled = False
        self._thread = threading.get_ident()

    def mono(self) -> Instant[Mono]:
        """The same as ``time()``, exactly."""
        return Instant(self._machine.elapsed())

    def time(self) -> float:
        """Seconds since the machine was switched on."""
        return self._machine.elapsed() / UNITS_PER_S

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As every loop's; an event of the world may call it too."""
        self._rescheduled = True
        return super().call_at(when, callback, *args, context=context)

    def call_soon_threadsafe(
        self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: Context | None = None
    ) -> asyncio.Handle:
        """``call_soon``, which is all that is left of it here. Raises RuntimeError in another thread."""
        if threading.get_ident() != self._thread:
            raise RuntimeError("another thread calls into simulated time")
        return self.call_soon(callback, *args, context=context)

    def move(self, timeout: float | None) -> None:
        """Let events of the world happen until one makes work for the loop or ``timeout`` seconds pass.

        Raises RuntimeError when nothing is left to happen.
        """
        world = self.world
        limit = None if timeout is None else world.units + self._true_units(timeout)
        self._rescheduled = False
        while not self._ready or timeout == 0:
            nearest = world.next_units()
            if limit is not None and (nearest is None or nearest > limit):
                world.advance(limit)
                return
            if not world.step():
                raise RuntimeError("nothing is left that could happen: no timer, no event, no packet under way")
            if self._rescheduled:
                return

    def _true_units(self, timeout: float) -> int:
        """How much true time the machine's clock needs for ``timeout`` seconds at its present frequency.

        At least 1 ns, so that a wait always ends; when this leaves the timer short, the loop asks again.
        """
        if timeout <= 0:
            return 0
        return max(round(timeout / (1 + self._machine.true_frequency().ratio) * NS_PER_S), 1) << 16

    def _process_events(self, event_list: list[object]) -> None:
        """No file descriptor, no event."""

    def _write_to_self(self) -> None:
        """Nobody sleeps who would have to be woken."""


def _refuse(self: SimLoop, *_: object, **__: object) -> NoReturn:
    raise RuntimeError(f"no real sockets, threads or processes at {Duration(self.mono().scaled_ns)} of simulated time")


# One body for all of them: each has a signature of its own, and none of them matters here.
for _name in (
    "run_in_executor",
    "add_reader",
    "add_writer",
    "getaddrinfo",
    "getnameinfo",
    "create_connection",
    "create_server",
    "create_datagram_endpoint",
    "create_unix_connection",
    "create_unix_server",
    "connect_accepted_socket",
    "connect_read_pipe",
    "connect_write_pipe",
    "subprocess_shell",
    "subprocess_exec",
    "sock_accept",
    "sock_connect",
    "sock_recv",
    "sock_recv_into",
    "sock_recvfrom",
    "sock_recvfrom_into",
    "sock_sendall",
    "sock_sendto",
    "sock_sendfile",
    "sendfile",
    "start_tls",
):
    setattr(SimLoop, _name, _refuse)


def run(world: World, main: Coroutine[Any, Any, T], machine: Ticks | None = None) -> T:
    """``asyncio.run`` in simulated time: run ``main`` to its end and give its result."""
    with asyncio.Runner(loop_factory=lambda: SimLoop(world, machine)) as runner:
        return runner.run(main)
