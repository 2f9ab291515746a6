"""Whole PTP instances on wires in virtual time, and what must stay true of them whatever comes in between.

The clocks talk to each other as they would on a network. A fuzz target sends what it likes among them, loses and
repeats transmit stamps, and pulls cables; ``World`` checks each effect, and now and then the size of all they hold.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from timesync.base.ids import ClockId, ClockIdentity, LinkId, PortIdentity, SourceId
from timesync.base.machine import Measured
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.ptp.effect import ParentChanged, PtpEffect, SendEvent, SendGeneral, StateChanged
from timesync.ptp.instance import Instance
from timesync.ptp.security import Association
from timesync.ptp.settings import InstanceSettings, LocalQuality, PortSettings
from timesync.ptp.states import PortState
from timesync.wire import ptp
from timesync.wire.ptp_message import ClockQuality

NS = 10**9
EPOCH_NS = 1_800_000_000 * NS
DELAY_NS = 500
"""Of a wire."""

LONGEST = 1500
"""Octets of a message that fit into an Ethernet frame."""

LARGEST = 320
"""Entries of one container; the limits of the code are 256 and below, but for those of ``LARGER``."""

LARGER = {"_waiting": 4096}
"""By the attribute that holds it."""

WHOLE = 150_000
"""Entries and octets that one instance holds, all together: 8 foreign clocks with 64 TLVs each are the most of it."""

MOST_EFFECTS = 128
MOST_ROUNDS = 4
"""A timer that rings may start another that is due at once, and not many more."""

FOLLOWING = (PortState.UNCALIBRATED, PortState.TIME_RECEIVER)
BEST = LocalQuality(
    quality=ClockQuality(6, 0x21, 0x4E5D),
    utc_offset_valid=True,
    time_traceable=True,
    frequency_traceable=True,
    time_source=0x20,
    synchronized=True,
)


def identity(number: int) -> ClockIdentity:
    """Of clock ``number``."""
    return ClockIdentity(bytes.fromhex("001b19fffe") + number.to_bytes(3, "big"))


def port_settings(number: int = 1, **changes: object) -> PortSettings:
    """A port, with changes."""
    given: dict[str, object] = {
        "number": number,
        "name": f"eth{number}",
        "clock": ClockId("local"),
        "source": SourceId(f"ptp:eth{number}"),
        "link": LinkId(f"ptp:eth{number}"),
        **changes,
    }
    return PortSettings(**given)  # type: ignore[arg-type]  # the dataclass checks the names


@dataclass
class Clock:
    """A clock on the network.

    Attributes:
        instance: What is attacked.
        address: Where it is.
        parents: How often it has changed its parent.
        up: Its ports with a link.
        states: Of its ports, as it told them.
        past: Tokens of event messages whose stamps were delivered or lost.
    """

    instance: Instance
    address: str
    parents: int = 0
    up: set[int] = field(default_factory=set)
    states: dict[int, PortState] = field(default_factory=dict)
    past: deque[int] = field(default_factory=lambda: deque(maxlen=32))

    def follows(self) -> ClockIdentity | None:
        """The clock that it takes its time from; None for nobody."""
        ports = self.instance.ports.values()
        return next((port.parent.clock for port in ports if port.state in FOLLOWING and port.parent is not None), None)

    def takes_time(self) -> bool:
        """A port is in UNCALIBRATED or TIME_RECEIVER."""
        return any(port.state in FOLLOWING for port in self.instance.ports.values())


class World:
    """Clocks and wires. Time passes by ``run`` only.

    Attributes:
        clocks: All.
        wires: The ends of each, as numbers of a clock and of its port.
        seen: What happened how often, for tests that ask whether anything did.
        recent: Messages that went over a wire lately, each with its wire.
        stamp_loss: The share of transmit stamps that never come.
    """

    def __init__(self, seed: int) -> None:
        self.clocks: list[Clock] = []
        self.wires: list[list[tuple[int, int]]] = []
        self.seen: Counter[str] = Counter()
        self.recent: deque[tuple[int, bytes]] = deque(maxlen=48)
        self.stamp_loss = 0.0
        self.now_ns = 0
        self._rng = random.Random(seed)
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()

    # -- building

    def add(
        self, settings: InstanceSettings, quality: LocalQuality | None = None, association: Association | None = None
    ) -> int:
        """A clock; returns its number."""
        number = len(self.clocks)
        instance = Instance(settings, self._rng, association=association)
        clock = Clock(instance, f"192.0.2.{number + 1}")
        clock.states = {one: port.state for one, port in instance.ports.items()}
        self.clocks.append(clock)
        if quality is not None:
            self.perform(number, instance.set_quality(quality, self.mono()))
        return number

    def wire(self, *ends: tuple[int, int]) -> None:
        """Join ports of clocks."""
        self.wires.append(list(ends))

    def start(self) -> None:
        """All links come up."""
        for number, clock in enumerate(self.clocks):
            for port in clock.instance.ports:
                self.link(number, port, up=True)

    # -- events

    def mono(self) -> Instant[Mono]:
        """Now, for timers."""
        return Instant.from_ns(self.now_ns + NS)

    def tai(self) -> Instant[Tai]:
        """Now, for stamps, which are finer than a nanosecond where a card's latency is corrected."""
        return Instant((EPOCH_NS + self.now_ns << 16) + self._rng.randrange(1 << 16))

    def stamp(self) -> Stamp:
        """Of what passes now."""
        return Stamp(ClockId("local"), 0, self.tai())

    def link(self, number: int, port: int, *, up: bool) -> None:
        """The cable of a port."""
        clock = self.clocks[number]
        clock.up = clock.up | {port} if up else clock.up - {port}
        self.perform(number, clock.instance.on_link(port, self.mono(), up=up))

    def deliver(self, number: int, port: int, data: bytes, source: str, *, stamped: bool = True) -> None:
        """A message comes to a port."""
        clock = self.clocks[number]
        if port in clock.up:
            stamp = self.stamp() if stamped and data and data[0] & 0x0F < 8 else None
            self.perform(number, clock.instance.on_message(port, data, stamp, source, self.mono()))

    def sent(self, number: int, port: int, token: int, stamp: Stamp | None) -> None:
        """The transmit stamp of an event message, or its loss."""
        clock = self.clocks[number]
        clock.past.append(token)
        self.perform(number, clock.instance.on_sent(port, token, stamp, self.mono()))

    def run(self, span_ns: int) -> None:
        """Time passes: messages arrive, timers ring."""
        end = self.now_ns + span_ns
        while True:
            due, who = self._next_timer()
            if self._queue and self._queue[0][0] <= min(end, due):
                self.now_ns, _, call = heapq.heappop(self._queue)
                call()
            elif due <= end:
                self.now_ns = max(due, self.now_ns)
                self._ring(who)
            else:
                break
        self.now_ns = end

    def _next_timer(self) -> tuple[int, int]:
        first, who = 1 << 200, -1
        for number, clock in enumerate(self.clocks):
            deadline = clock.instance.deadline()
            if deadline is not None and deadline.scaled_ns < first:
                first, who = deadline.scaled_ns, number
        # Rounded up: a deadline has parts of a nanosecond.
        return (first >> 16) + 1 - NS, who

    def _ring(self, number: int) -> None:
        """A timer that rang is over: one that goes on ringing would keep a daemon busy for ever."""
        instance = self.clocks[number].instance
        for _ in range(MOST_ROUNDS):
            self.perform(number, instance.on_deadline(self.mono()))
            deadline = instance.deadline()
            if deadline is None or deadline > self.mono():
                return
        raise AssertionError(f"clock {number}: a timer rings without end")

    # -- effects

    def perform(self, number: int, effects: Iterable[PtpEffect]) -> None:
        """Do what a clock wants, and check that it may want it."""
        clock = self.clocks[number]
        count = 0
        for effect in effects:
            count += 1
            match effect:
                case SendEvent():
                    self._send(number, effect)
                    if self._rng.random() >= self.stamp_loss:
                        call = self._stamped(number, effect.port, effect.token)
                        heapq.heappush(self._queue, (self.now_ns + 100, next(self._order), call))
                case SendGeneral():
                    self._send(number, effect)
                case StateChanged():
                    assert clock.states[effect.port] is effect.before, f"clock {number}: {effect}"
                    clock.states[effect.port] = effect.after
                    self.seen[effect.after.name] += 1
                case ParentChanged():
                    clock.parents += 1
                    self.seen["parent"] += 1
                case Measured():
                    self.seen["measured"] += 1
                case _:
                    self.seen[type(effect).__name__] += 1
        assert count <= MOST_EFFECTS, f"clock {number}: {count} effects at once"

    def _stamped(self, number: int, port: int, token: int) -> Callable[[], None]:
        return lambda: self.sent(number, port, token, self.stamp() if self._rng.random() > 0.01 else None)

    def _send(self, number: int, effect: SendEvent | SendGeneral) -> None:
        """To the other ends of the wire, those with the right address."""
        data = effect.data
        message = ptp.decode(data)
        assert (
            PortIdentity(self.clocks[number].instance.context.settings.identity, effect.port) == message.header.source
        )
        assert len(data) <= LONGEST, f"{len(data)} octets of a {type(message).__name__}"
        self.seen[type(message).__name__] += 1
        source = self.clocks[number].address
        for index, ends in enumerate(self.wires):
            if (number, effect.port) not in ends:
                continue
            self.recent.append((index, data))
            for other, port in ends:
                if other != number and effect.destination in (None, self.clocks[other].address):
                    call = self._arrival(other, port, data, source)
                    heapq.heappush(self._queue, (self.now_ns + DELAY_NS, next(self._order), call))

    def _arrival(self, number: int, port: int, data: bytes, source: str) -> Callable[[], None]:
        return lambda: self.deliver(number, port, data, source)

    # -- what holds always

    def check_sizes(self) -> None:
        """Nothing that a clock holds has grown without bound."""
        for number, clock in enumerate(self.clocks):
            whole = 0
            for name, size in sizes(clock.instance):
                whole += size
                assert size <= LARGER.get(name, LARGEST), f"clock {number}: {size} in {name}"
            assert whole <= WHOLE, f"clock {number}: {whole} in all"


def sizes(root: object) -> Iterator[tuple[str, int]]:
    """Each container that can be reached, with the attribute by which, and how much is in it.

    Strings of octets are counted among the whole only: a container named ``octets``, cut to the permitted size.
    """
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [("", root)]
    while waiting:
        name, one = waiting.pop()
        if id(one) in seen or isinstance(one, int | float | type(None) | type):
            continue
        seen.add(id(one))
        if isinstance(one, str | bytes):
            yield from (("octets", LARGEST) for _ in range(len(one) // LARGEST))
        elif isinstance(one, dict):
            yield name, len(one)
            waiting += [(name, part) for pair in one.items() for part in pair]
        elif isinstance(one, list | tuple | set | frozenset | deque):
            yield name, len(one)
            waiting += [(name, part) for part in one]
        elif type(one).__module__.startswith("timesync."):
            waiting += _attributes(one)


def _attributes(one: object) -> Iterator[tuple[str, object]]:
    yield from vars(one).items() if hasattr(one, "__dict__") else ()
    for kind in type(one).__mro__:
        for name in getattr(kind, "__slots__", ()):
            if hasattr(one, name):
                yield name, getattr(one, name)


def lasting(duration_s: float) -> int:
    """Nanoseconds."""
    return Duration.from_s(duration_s).ns()
