"""The whole appliance in real time, unprivileged: a clock that is wrong, hardware in software, and the daemon itself.

The daemon is the one of ``timesync run`` with the shipped ``demo`` profile. Because its clocks are virtual, their true
offsets are known, and what the daemon claims can be compared with them.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import math
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from timesync.base.ids import ClockId, Endpoint
from timesync.base.time import Duration
from timesync.config.load import loads
from timesync.daemon.demo_bench import CARD, LOOPBACK, Bench
from timesync.daemon.demo_faults import PlannedFault, ReceiverKind
from timesync.daemon.leap import load_leap_table
from timesync.daemon.query import SYSTEM_CLOCK, query
from timesync.daemon.run import Daemon
from timesync.ntp.query import Outcome, QuerySettings, best_of
from timesync.observe import journal
from timesync.runtime.virtual import VirtualClock
from timesync.servo.view import ClockView, CoreView, ServoState

CLOCK: Final = ClockId("bench")
SETTLING_S: Final = 4.0
"""From lock to the independent query, so that it sees what a client would see from then on."""

_STATES = frozenset(state.value for state in ServoState)
_LOOK_S = 0.1
_START_LOOK_S = 0.005
_START_LOOKS = 1000
_PROGRESS_S = 5.0
_FIRST_PROGRESS_S = 1.0
_LOOPBACK_PATIENCE_S = 1.0
_QUERY = QuerySettings(local=SYSTEM_CLOCK, count=4, interval=Duration.from_ns(62_500_000))


@dataclass(slots=True)
class Judged:
    """A clock's claims beside its true offset, from its first lock on.

    Attributes:
        looks: Comparisons.
        broken: Those in which the true offset was beyond the claimed bound.
        worst_s: Largest true offset.
        squares: Sum of the squares of the true offsets, s².
        offset_s: The last true offset; None before the first look.
        bound_s: The last claimed bound; None while nothing is claimed.
    """

    looks: int = 0
    broken: int = 0
    worst_s: float = 0.0
    squares: float = 0.0
    offset_s: float | None = None
    bound_s: float | None = None

    @property
    def rms_s(self) -> float:
        """Root mean square of the true offsets; 0 without any."""
        return math.sqrt(self.squares / self.looks) if self.looks else 0.0

    def look(self, offset_s: float, bound_s: float | None, *, counted: bool) -> None:
        """Compare once; what is not ``counted`` is only the present state."""
        self.offset_s, self.bound_s = offset_s, bound_s
        if counted:
            self.looks += 1
            self.worst_s = max(self.worst_s, abs(offset_s))
            self.squares += offset_s * offset_s
            self.broken += bound_s is None or abs(offset_s) > bound_s


@dataclass(slots=True)
class Found:
    """What the demonstration came to; times in seconds since its start, offsets in seconds.

    Attributes:
        began_s: Monotonic time of the start.
        locked_s: When the clock was first locked.
        ran_s: How long it ran.
        start_offset_s: True offset at the start.
        bench: The served clock, judged.
        card: The network card's clock, judged.
        frequency_ppm: The oscillator's error as the daemon found it.
        frequency_uncertainty_ppm: One standard deviation of that; infinite while nothing is known.
        true_frequency_ppm: As it is.
        served: Requests that the daemon's own server answered.
        steps: How many times the clock was stepped.
        asked: What the independent query of the served port saw.
        state: The state at the end.
        reason: Why, in words.
        sources: The sources at the end, as ``timesync sources --json`` has them.
    """

    began_s: float
    locked_s: float | None = None
    ran_s: float = 0.0
    start_offset_s: float = 0.0
    bench: Judged = field(default_factory=Judged)
    card: Judged = field(default_factory=Judged)
    frequency_ppm: float = 0.0
    frequency_uncertainty_ppm: float = math.inf
    true_frequency_ppm: float = 0.0
    served: int = 0
    steps: int = 0
    asked: list[Outcome] = field(default_factory=list)
    state: ServoState = ServoState.ACQUIRING
    reason: str = ""
    sources: Sequence[dict[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Teller:
    """Who hears how it goes; moments are seconds since the start.

    Attributes:
        began: All is started: the hardware in words, where NTP is served, the control socket, where the web page is
            (None: it could not be opened).
        progress: Now and then: the moment, true offset, the clock as the daemon sees it.
        locked: For the first time.
        asked: The served port was queried by an independent client.
        fault: Something went wrong with the hardware, or is over: the moment, and what in words.
        said: The daemon says something: the moment, and what.
    """

    began: Callable[[Sequence[str], Sequence[str], str, str | None], None]
    progress: Callable[[float, float, ClockView], None]
    locked: Callable[[Found], None]
    asked: Callable[[Outcome | None], None]
    fault: Callable[[float, str], None]
    said: Callable[[float, str], None]


@dataclass(frozen=True, slots=True)
class Demonstration:
    """What is to be shown.

    Attributes:
        duration: How long.
        receiver: What sort of receiver there is.
        faults: What goes wrong.
        web_port: TCP port of the web page, on loopback; 0: any that is free.
    """

    duration: Duration
    receiver: ReceiverKind = "nmea"
    faults: tuple[PlannedFault, ...] = ()
    web_port: int = 0


def configuration(clocks: str, sources: Sequence[str], folder: Path, web_port: int) -> str:
    """The demonstration's configuration: the shipped profile, with what only exists while it runs."""
    listed = "".join(f"  - {source}\n" for source in sources)
    return (
        "profile: demo\n"
        f"clocks: {clocks}\n"
        f"sources:\n{listed}"
        f"serve:\n  ntp: {{listen: ['{LOOPBACK}:0'], workers: 1}}\n"
        f"observe: {{control: '{folder}/control.sock', state: '{folder}/state', web: '{LOOPBACK}:{web_port}'}}\n"
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


async def demonstrate(show: Demonstration, teller: Teller) -> Found:
    """Run for so long, or until SIGINT or SIGTERM.

    Raises OSError when loopback, /tmp or pseudo terminals cannot be used.
    """
    require_loopback()
    with tempfile.TemporaryDirectory(prefix="timesync-demo-") as name:
        folder = Path(name)
        _let_through(folder)
        table, _ = load_leap_table()
        bench = Bench(show.receiver, folder, table)
        try:
            text = configuration(bench.clocks, bench.sources, folder, show.web_port)
            found = Found(time.monotonic())
            with _overheard(found, teller):
                daemon = Daemon(loads(text, "the demonstration"), None, None, make_host=bench.host)
                watch = _Watch(daemon, teller, bench, found)
                return await watch.run(show)
        finally:
            bench.close()


def _let_through(folder: Path) -> None:
    """The observer keeps its history below; started by root it is somebody else."""
    if os.geteuid() == 0:
        folder.chmod(0o711)


class _Ear(logging.Handler):
    """Hands on to the teller what the daemon's log warns of, and what of that is over."""

    def __init__(self, found: Found, teller: Teller) -> None:
        super().__init__()
        self._found = found
        self._teller = teller

    def emit(self, record: logging.LogRecord) -> None:
        """One line; the states of clocks are told by who looks at them."""
        event = str(getattr(record, "event", ""))
        over = event == "device-back" or event.endswith("-over")
        if (record.levelno >= logging.WARNING or over) and event not in _STATES:
            self._teller.said(time.monotonic() - self._found.began_s, record.getMessage())


@contextmanager
def _overheard(found: Found, teller: Teller) -> Iterator[None]:
    """What the daemon warns of is told among the rest, each line with its moment."""
    logger = journal.LOGGER
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers[:] = [_Ear(found, teller)]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers[:], level, logger.propagate = before
        logger.setLevel(level)


class _Watch:
    """Runs the daemon, looks at it from outside, and breaks the hardware when that is due."""

    def __init__(self, daemon: Daemon, teller: Teller, bench: Bench, found: Found) -> None:
        clock = daemon.host.clocks[CLOCK]
        assert isinstance(clock, VirtualClock)
        self._clock = clock
        self._daemon = daemon
        self._teller = teller
        self._bench = bench
        self._found = found
        self._asking: asyncio.Task[list[Outcome]] | None = None
        self._states: dict[ClockId, ServoState] = {}

    async def run(self, show: Demonstration) -> Found:
        """Until the time is up or the daemon was told to stop."""
        found = self._found
        found.start_offset_s = self._clock.true_offset().s()
        running = asyncio.create_task(self._daemon.run())
        watching = asyncio.create_task(self._watch())
        breaking = asyncio.create_task(self._break(show.faults))
        try:
            tasks = [running, watching]
            await asyncio.wait(tasks, timeout=show.duration.s(), return_when=asyncio.FIRST_COMPLETED)
            for task in (watching, breaking):
                if task.done():
                    task.result()  # an error in it is ours
            if not running.done():
                await self._ask_at_least_once()
                self._look()
                self._account()
        finally:
            watching.cancel()
            breaking.cancel()
            if self._asking is not None:
                self._asking.cancel()
            self._daemon.stop()
            await running
        return found

    async def _break(self, faults: Sequence[PlannedFault]) -> None:
        """Begin and end each fault when it is due."""
        due = [(one.at, True, one) for one in faults]
        due += [(one.at + one.lasting, False, one) for one in faults if one.lasting is not None]
        for when, on, planned in sorted(due, key=lambda item: item[0]):
            await asyncio.sleep(max(self._found.began_s + when.s() - time.monotonic(), 0.0))
            self._bench.switch(planned, on=on)
            text = planned.words if on else f"over: {planned.words}"
            self._teller.fault(time.monotonic() - self._found.began_s, text)

    async def _watch(self) -> None:
        """Compare claim and truth ten times a second, and tell of it less often."""
        observer = self._daemon.watching.observer
        for _ in range(_START_LOOKS):  # the daemon's own start comes first
            if observer.addresses or observer.warnings:
                break
            await asyncio.sleep(_START_LOOK_S)
        control, page = self._daemon.config.observe.control, observer.addresses.get("web")
        self._teller.began(self._bench.words, self._daemon.appliance.snapshot().served, control, page)
        tell_at = _FIRST_PROGRESS_S
        while True:
            view = self._look()
            self._account()
            found = self._found
            if found.locked_s is not None and found.ran_s >= found.locked_s + SETTLING_S:
                self._ask()
            if found.ran_s >= tell_at:
                tell_at += _FIRST_PROGRESS_S if found.locked_s is None else _PROGRESS_S
                self._teller.progress(found.ran_s, self._clock.true_offset().s(), _seen(view, CLOCK))
            await asyncio.sleep(_LOOK_S)

    def _look(self) -> CoreView:
        """One comparison of each clock."""
        found = self._found
        view = self._daemon.appliance.view()
        truth_s = self._clock.true_offset().s()
        bench = _seen(view, CLOCK)
        found.ran_s = time.monotonic() - found.began_s
        found.frequency_ppm = bench.frequency.ppm()
        found.frequency_uncertainty_ppm = bench.frequency_uncertainty.ppm()
        found.true_frequency_ppm = self._clock.true_frequency().ppm()
        found.steps = bench.steps
        found.state, found.reason = view.state, view.reason
        if found.locked_s is None and view.state is ServoState.LOCKED:
            found.locked_s = found.ran_s
            self._teller.locked(found)
        else:
            self._tell_states(view)
        self._states = {clock.clock: clock.state for clock in view.clocks}
        found.bench.look(truth_s, bench.error_bound_s, counted=found.locked_s is not None)
        card, card_truth = _seen(view, CARD), self._bench.card_offset()
        if card_truth is not None:
            claims = card.state in (ServoState.LOCKED, ServoState.HOLDOVER)
            found.card.look(card_truth.s(), card.error_bound_s, counted=claims)
        return view

    def _tell_states(self, view: CoreView) -> None:
        """What became of the clocks that we have made wrong."""
        for clock in (CLOCK, CARD):
            before, after = self._states.get(clock), _seen(view, clock).state
            if before is not None and after is not before:
                why = f": {view.reason}" if clock == view.served else ""
                text = f"clock {clock} is in state {after.value}{why}"
                self._teller.said(time.monotonic() - self._found.began_s, text)

    def _account(self) -> None:
        """What the sources did and what was served so far."""
        snapshot = self._daemon.appliance.snapshot()
        self._found.sources = snapshot.sources()["sources"]
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


def _seen(view: CoreView, clock: ClockId) -> ClockView:
    return next(one for one in view.clocks if one.clock == clock)
