"""The whole appliance in real time, unprivileged: a virtual clock that is wrong, references, and the daemon itself.

The daemon is the one of ``timesync run`` with the shipped ``demo`` profile. Because its clock is virtual, its true
offset is known, and what the daemon claims can be compared with it.
"""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from timesync.base.ids import ClockId, Endpoint
from timesync.base.time import Duration
from timesync.config.load import loads
from timesync.daemon.query import SYSTEM_CLOCK, query
from timesync.daemon.run import Daemon
from timesync.daemon.testserver import Misbehaviour, TrialServer
from timesync.ntp.query import Outcome, QuerySettings, best_of
from timesync.runtime.virtual import VirtualClock
from timesync.servo.view import ClockView, CoreView, ServoState

CLOCK: Final = ClockId("bench")
LOOPBACK: Final = "127.0.0.1"
SETTLING_S: Final = 4.0
"""From lock to the independent query, so that it sees what a client would see from then on."""

_LOOK_S = 0.1
_PROGRESS_S = 5.0
_FIRST_PROGRESS_S = 1.0
_LOOPBACK_PATIENCE_S = 1.0
_QUERY = QuerySettings(local=SYSTEM_CLOCK, count=4, interval=Duration.from_ns(62_500_000))


class Reference(Protocol):
    """Something that the demonstration compares its clock with; each kind starts its own simulated hardware."""

    @property
    def source(self) -> str:
        """Its entry of ``sources``, as YAML in flow style."""
        ...

    @property
    def words(self) -> str:
        """What it is, for people."""
        ...

    def close(self) -> None:
        """Stop it."""
        ...


class NtpReference:
    """A local NTP server with the system clock's time."""

    def __init__(self) -> None:
        """Answer from now on, on a free port. To be called on a running loop; raises OSError."""
        self._server = TrialServer([Endpoint(LOOPBACK, 0)], Misbehaviour())

    @property
    def source(self) -> str:
        """Polled often, because a minute is all that there is.

        Interleaved, because loopback takes no time: what a server can only guess, when its answer leaves, would
        be most of the delay.
        """
        return f"{{ntp: '{self._server.addresses[0]}', poll: [1s, 4s], interleaved: always}}"

    @property
    def words(self) -> str:
        """What it is, for people."""
        return f"an NTP server on {self._server.addresses[0]} with the system's time"

    def close(self) -> None:
        """Stop it."""
        self._server.close()


@dataclass(slots=True)
class Found:
    """What the demonstration came to; times in seconds since its start, offsets in seconds.

    Attributes:
        began_s: Monotonic time of the start.
        locked_s: When the clock was first locked.
        ran_s: How long it ran.
        start_offset_s: True offset at the start.
        offset_s: True offset at the end.
        worst_s: Largest true offset since lock.
        bound_s: Claimed bound at the end.
        looks: Comparisons of claim and truth since lock.
        broken: Those in which the true offset was beyond the claimed bound.
        frequency_ppm: The oscillator's error as the daemon found it.
        frequency_uncertainty_ppm: One standard deviation of that; infinite while nothing is known.
        true_frequency_ppm: As it is.
        requests: Requests that the daemon sent.
        answers: Valid answers to them.
        served: Requests that the daemon's own server answered.
        steps: How many times the clock was stepped.
        asked: What the independent query of the served port saw.
        state: The state at the end.
    """

    began_s: float
    locked_s: float | None = None
    ran_s: float = 0.0
    start_offset_s: float = 0.0
    offset_s: float = 0.0
    worst_s: float = 0.0
    bound_s: float | None = None
    looks: int = 0
    broken: int = 0
    frequency_ppm: float = 0.0
    frequency_uncertainty_ppm: float = math.inf
    true_frequency_ppm: float = 0.0
    requests: int = 0
    answers: int = 0
    served: int = 0
    steps: int = 0
    asked: list[Outcome] = field(default_factory=list)
    state: ServoState = ServoState.ACQUIRING


@dataclass(frozen=True, slots=True)
class Teller:
    """Who hears how it goes.

    Attributes:
        began: All is started: the references, where NTP is served, the control socket.
        progress: Now and then, seconds since the start, true offset, the clock as the daemon sees it.
        locked: For the first time.
        asked: The served port was queried by an independent client.
    """

    began: Callable[[Sequence[Reference], Sequence[str], str], None]
    progress: Callable[[float, float, ClockView], None]
    locked: Callable[[Found], None]
    asked: Callable[[Outcome | None], None]


def configuration(sources: Sequence[str], folder: Path) -> str:
    """The demonstration's configuration: the shipped profile, with what only exists while it runs."""
    listed = "".join(f"  - {source}\n" for source in sources)
    return (
        "profile: demo\n"
        f"sources:\n{listed}"
        f"serve:\n  ntp: {{listen: ['{LOOPBACK}:0'], workers: 1}}\n"
        f"observe: {{control: '{folder}/control.sock', state: '{folder}/state'}}\n"
    )


def require_loopback() -> None:
    """Raise OSError unless a datagram to 127.0.0.1 arrives: addresses can be bound while ``lo`` is down."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.settimeout(_LOOPBACK_PATIENCE_S)
            probe.bind((LOOPBACK, 0))
            probe.connect(probe.getsockname())
            probe.send(b"?")
            probe.recv(1)
    except OSError as error:
        raise OSError(
            errno.ENETDOWN,
            f"nothing arrives at {LOOPBACK} ({error.strerror or error}); is the interface lo down? (ip link set lo up)",
        ) from error


async def demonstrate(duration: Duration, teller: Teller) -> Found:
    """Run for so long, or until SIGINT or SIGTERM. Raises OSError when loopback or /tmp cannot be used."""
    require_loopback()
    with tempfile.TemporaryDirectory(prefix="timesync-demo-") as name:
        references: list[Reference] = [NtpReference()]
        try:
            text = configuration([reference.source for reference in references], Path(name))
            daemon = Daemon(loads(text, "the demonstration"), None, None)
            return await _Watch(daemon, teller, references, f"{name}/control.sock").run(duration)
        finally:
            for reference in references:
                reference.close()


class _Watch:
    """Runs the daemon, and looks at it from outside."""

    def __init__(self, daemon: Daemon, teller: Teller, references: Sequence[Reference], control: str) -> None:
        clock = daemon.host.clocks[CLOCK]
        assert isinstance(clock, VirtualClock)
        self._clock = clock
        self._daemon = daemon
        self._teller = teller
        self._references = references
        self._control = control
        self._found = Found(time.monotonic())
        self._asking: asyncio.Task[list[Outcome]] | None = None

    async def run(self, duration: Duration) -> Found:
        """Until the time is up or the daemon was told to stop."""
        found = self._found
        found.start_offset_s = self._clock.true_offset().s()
        running = asyncio.create_task(self._daemon.run())
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.wait([running, watching], timeout=duration.s(), return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                watching.result()  # it only ends by an error, which is ours
            if not running.done():
                await self._ask_at_least_once()
                self._look()
                self._account()
        finally:
            watching.cancel()
            if self._asking is not None:
                self._asking.cancel()
            self._daemon.stop()
            await running
        return found

    async def _watch(self) -> None:
        """Compare claim and truth ten times a second, and tell of it less often."""
        await asyncio.sleep(0)  # the daemon's own start comes first
        self._teller.began(self._references, self._daemon.appliance.snapshot().served, self._control)
        tell_at = _FIRST_PROGRESS_S
        while True:
            view = self._look()
            self._account()
            found = self._found
            if found.locked_s is not None and found.ran_s >= found.locked_s + SETTLING_S:
                self._ask()
            if found.ran_s >= tell_at:
                tell_at += _FIRST_PROGRESS_S if found.locked_s is None else _PROGRESS_S
                self._teller.progress(found.ran_s, found.offset_s, _bench(view))
            await asyncio.sleep(_LOOK_S)

    def _look(self) -> CoreView:
        """One comparison."""
        found = self._found
        view = self._daemon.appliance.view()
        truth_s = self._clock.true_offset().s()
        bench = _bench(view)
        found.ran_s = time.monotonic() - found.began_s
        found.offset_s = truth_s
        found.bound_s = bench.error_bound_s
        found.frequency_ppm = bench.frequency.ppm()
        found.frequency_uncertainty_ppm = bench.frequency_uncertainty.ppm()
        found.true_frequency_ppm = self._clock.true_frequency().ppm()
        found.steps = bench.steps
        found.state = view.state
        if found.locked_s is None and view.state is ServoState.LOCKED:
            found.locked_s = found.ran_s
            self._teller.locked(found)
        if found.locked_s is not None:
            found.looks += 1
            found.worst_s = max(found.worst_s, abs(truth_s))
            if found.bound_s is None or abs(truth_s) > found.bound_s:
                found.broken += 1
        return view

    def _account(self) -> None:
        """What was sent and served so far."""
        snapshot = self._daemon.appliance.snapshot()
        sources = snapshot.sources()["sources"]
        self._found.requests = sum(source["sent"] for source in sources)
        self._found.answers = sum(source["received"] for source in sources)
        self._found.served = 0 if snapshot.counters is None else snapshot.counters.answered

    def _ask(self) -> asyncio.Task[list[Outcome]] | None:
        """Query the served port, once, as any client would; None when nothing is served."""
        served = self._daemon.appliance.snapshot().served
        if self._asking is None and served:
            self._asking = asyncio.create_task(self._query(served[0]))
        return self._asking

    async def _ask_at_least_once(self) -> None:
        asking = self._ask() if self._found.locked_s is not None else None
        if asking is not None:
            await asking

    async def _query(self, where: str) -> list[Outcome]:
        host, _, port = where.rpartition(":")
        table = self._daemon.leap_table
        self._found.asked = await query(self._daemon.host, table, Endpoint(host, int(port)), _QUERY)
        self._account()
        self._teller.asked(best_of(self._found.asked))
        return self._found.asked


def _bench(view: CoreView) -> ClockView:
    return next(clock for clock in view.clocks if clock.clock == CLOCK)
