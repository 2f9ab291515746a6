"""A network of PTP clocks that do nothing but announce, hear and decide, in virtual time.

Clocks are joined by segments: a cable between two ports, or a switch between several. A clock is made of the code under
test alone: the foreign table, the decision, the table of transitions and the data sets.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from bmca_support import START, identity, port_settings

from timesync.base.ids import PortIdentity
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.bmca import Candidate, Decision, Question, decide, elect, own_candidate
from timesync.ptp.datasets import DataSets, DefaultDS, announced, as_grandmaster, as_time_receiver
from timesync.ptp.foreign import ForeignTable, Heard
from timesync.ptp.settings import Bmca, InstanceSettings, LocalQuality
from timesync.ptp.states import PortEvent, PortState, transition
from timesync.wire.ptp_message import Announce, ClockQuality, Header

S = PortState
LOCK_S = 0.5
"""How long a servo takes to lock."""


@dataclass(eq=False, slots=True)
class Segment:
    """A cable or a switch.

    Attributes:
        ports: Whom it joins.
        loss: Share of the messages that get lost.
        alive: False: nothing passes, and nobody is told.
    """

    ports: list[Port] = field(default_factory=list)
    loss: float = 0.0
    alive: bool = True


@dataclass(eq=False, slots=True)
class Port:
    """A port of a clock.

    Attributes:
        entered: Counts changes of state and of parent, so that a timer set before does nothing.
        parent: Whom it follows; None outside of UNCALIBRATED and TIME_RECEIVER.
    """

    clock: Clock
    number: int
    segment: Segment
    table: ForeignTable
    state: PortState = S.LISTENING
    entered: int = 0
    sequence: int = 0
    parent: PortIdentity | None = None

    @property
    def identity(self) -> PortIdentity:
        return PortIdentity(self.clock.settings.identity, self.number)


@dataclass(eq=False, slots=True)
class Clock:
    """An ordinary clock or a boundary clock; ``lives`` counts how often it was switched on."""

    settings: InstanceSettings
    local: LocalQuality
    sets: DataSets
    ports: list[Port] = field(default_factory=list)
    alive: bool = False
    lives: int = 0

    @property
    def default(self) -> DefaultDS:
        return DefaultDS.of(self.settings, self.local)

    @property
    def rank(self) -> tuple[int, int, int, int, int, bytes]:
        """The order in which clocks should become grandmaster, worked out apart from the code under test."""
        quality = self.local.quality
        return (
            0 if self.settings.bmca is Bmca.G8275 else self.settings.priority1,
            quality.clock_class,
            quality.accuracy,
            quality.variance,
            self.settings.priority2,
            self.settings.identity,
        )


class Network:
    """The clocks, their segments and a heap of what is to come."""

    def __init__(self, seed: int, bmca: Bmca, *, path_trace: bool, maximum_steps: int = 255) -> None:
        self.rng = random.Random(seed)
        self.bmca = bmca
        self.path_trace = path_trace
        self.maximum_steps = maximum_steps
        self.clocks: list[Clock] = []
        self.segments: list[Segment] = []
        self.now = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def segment(self) -> Segment:
        """A new one, without ports yet."""
        self.segments.append(Segment())
        return self.segments[-1]

    def clock(self, *segments: Segment, clock_class: int, slave_only: bool = False, priority1: int = 128) -> Clock:
        """A clock with a port at each of these segments, switched on; its identity is random."""
        settings = InstanceSettings(
            identity=identity(self.rng.getrandbits(64)),
            bmca=self.bmca,
            priority1=priority1,
            priority2=self.rng.choice([127, 128]),
            slave_only=slave_only,
            path_trace=self.path_trace,
            maximum_steps_removed=self.maximum_steps,
            ports=tuple(port_settings(number) for number in range(1, len(segments) + 1)),
        )
        local = LocalQuality(quality=ClockQuality(clock_class))
        clock = Clock(settings, local, as_grandmaster(DefaultDS.of(settings, local), local))
        for segment, port in zip(segments, settings.ports, strict=True):
            clock.ports.append(Port(clock, port.number, segment, ForeignTable(port, settings, self.rng)))
            segment.ports.append(clock.ports[-1])
        self.clocks.append(clock)
        self.switch_on(clock)
        return clock

    def switch_on(self, clock: Clock) -> None:
        """It knows nothing of an earlier life."""
        clock.alive = True
        clock.lives += 1
        clock.sets = as_grandmaster(clock.default, clock.local)
        for port in clock.ports:
            port.table.clear()
            self._enter(port, S.LISTENING, None)
            self._later(self.rng.random(), partial(self._tick, port, clock.lives))

    def run(self, seconds: float) -> None:
        """Let virtual time pass."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = end

    def _later(self, seconds: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (self.now + seconds, next(self._numbers), action))

    def _instant(self) -> Instant[Mono]:
        return START + Duration.from_s(self.now)

    def _tick(self, port: Port, life: int) -> None:
        """Once a second: announce, where that is the port's part."""
        clock = port.clock
        if not clock.alive or clock.lives != life:
            return
        if port.state is S.TIME_TRANSMITTER:
            port.sequence = port.sequence + 1 & 0xFFFF
            header = Header(source=port.identity, sequence_id=port.sequence, log_interval=0)
            message = announced(clock.sets, header, path_trace=self.path_trace)
            for other in port.segment.ports:
                if other is not port and port.segment.alive and self.rng.random() >= port.segment.loss:
                    self._later(self.rng.uniform(1e-5, 0.02), partial(self._hear, other, message))
        self._later(1.0, partial(self._tick, port, life))

    def _hear(self, port: Port, message: Announce) -> None:
        if not port.clock.alive:
            return
        heard = port.table.on_announce(message, self._instant())
        deadline = port.table.deadline()
        if deadline is not None:
            # A nanosecond later, as the time of events is rounded.
            self._later((deadline - self._instant()).s() + 1e-9, partial(self._expire, port))
        if heard is Heard.CHANGED:
            self._decide(port.clock)

    def _expire(self, port: Port) -> None:
        if not port.clock.alive or not port.table.expire(self._instant()):
            return
        if port.table.best(self._instant()) is None and port.state in {S.UNCALIBRATED, S.TIME_RECEIVER, S.PASSIVE}:
            self._happen(port, PortEvent.ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES, None)
        self._decide(port.clock)

    def _decide(self, clock: Clock) -> None:
        """The state decision event (9.2.6.8), for all ports of a clock."""
        now = self._instant()
        port_bests = [port.table.best(now) for port in clock.ports]
        best = elect((candidate for candidate in port_bests if candidate is not None), self.bmca)
        own = None if clock.settings.slave_only else own_candidate(clock.default)
        parent: Candidate | None = None
        for port, port_best in zip(clock.ports, port_bests, strict=True):
            question = Question(
                port=port.identity,
                state=port.state,
                own=own,
                best=best,
                port_best=port_best,
                shadowed=port.table.shadowed(now),
            )
            decision = decide(question, self.bmca)
            if decision is not None:
                parent = decision.parent or parent
                self._follow(port, decision)
        local = clock.local
        clock.sets = as_grandmaster(clock.default, local) if parent is None else as_time_receiver(parent.announce)

    def _follow(self, port: Port, decision: Decision) -> None:
        parent = None if decision.parent is None else decision.parent.sender
        self._happen(port, decision.event(port.parent), parent)
        if port.state is S.PRE_TIME_TRANSMITTER:
            expires = partial(self._happen, port, PortEvent.QUALIFICATION_TIMEOUT_EXPIRES, None)
            if decision.qualification == 0:
                expires()
            else:
                self._while(port, decision.qualification, expires)

    def _happen(self, port: Port, event: PortEvent, parent: PortIdentity | None) -> None:
        after = transition(port.state, event, receiver_only=port.clock.settings.slave_only)
        if event is PortEvent.TIME_TRANSMITTER_CLOCK_SELECTED:
            parent = port.parent
        if (after, parent) != (port.state, port.parent):
            self._enter(port, after, parent)

    def _enter(self, port: Port, state: PortState, parent: PortIdentity | None) -> None:
        port.state, port.parent = state, parent
        port.entered += 1
        if state is S.LISTENING:
            self._while(port, 3 + self.rng.random(), partial(self._silence, port))
        elif state is S.UNCALIBRATED:
            event = PortEvent.TIME_TRANSMITTER_CLOCK_SELECTED
            self._while(port, LOCK_S, partial(self._happen, port, event, None))

    def _silence(self, port: Port) -> None:
        """Nobody was heard since the port came up."""
        self._happen(port, PortEvent.ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES, None)
        self._decide(port.clock)

    def _while(self, port: Port, seconds: float, action: Callable[[], None]) -> None:
        """Do it then, if the port is still in the state in which it is now."""
        entered, lives = port.entered, port.clock.lives

        def expire() -> None:
            if port.clock.alive and (port.entered, port.clock.lives) == (entered, lives):
                action()

        self._later(seconds, expire)


def build(
    seed: int, bmca: Bmca, *, path_trace: bool, boundary: int = 12, ordinary: int = 8, maximum_steps: int = 255
) -> Network:
    """Boundary clocks in a random mesh with loops, and ordinary clocks at its edges.

    Clocks that never follow (class 6 and 7) and such as never lead are at the edges: in the middle they would cut
    the network in two, as the standard wants it.
    """
    network = Network(seed, bmca, path_trace=path_trace, maximum_steps=maximum_steps)
    rng = network.rng
    joined: list[list[Segment]] = [[] for _ in range(boundary)]

    def join(near: int, far: int) -> None:
        """By a new cable, or by a port at a switch that the far one is at already."""
        if joined[far] and rng.random() < 0.3:
            segment = rng.choice(joined[far])
        else:
            segment = network.segment()
            joined[far].append(segment)
        joined[near].append(segment)

    for number in range(1, boundary):
        join(number, rng.randrange(number))
    for _ in range(boundary // 2):
        join(*rng.sample(range(boundary), 2))
    edges = [rng.choice(network.segments) if rng.random() < 0.4 else network.segment() for _ in range(ordinary)]
    for segment in edges:
        if not any(segment in segments for segments in joined):
            rng.choice(joined).append(segment)
    for segments in joined:
        network.clock(*segments, clock_class=rng.choice([187, 248]), priority1=rng.choice([127, 128]))
    for number, segment in enumerate(edges):
        clock_class = {0: 6, 1: 7}.get(number, 248)
        network.clock(segment, clock_class=clock_class, slave_only=number in {2, 3}, priority1=128)
    return network


def components(network: Network) -> Iterator[list[Clock]]:
    """Clocks between which messages pass."""
    left = {clock for clock in network.clocks if clock.alive}
    while left:
        found = {min(left, key=network.clocks.index)}
        edge = list(found)
        while edge:
            segments = (port.segment for port in edge.pop().ports if port.segment.alive)
            near = {other.clock for segment in segments for other in segment.ports if other.clock.alive} - found
            found |= near
            edge += near
        left -= found
        yield sorted(found, key=network.clocks.index)


def grandmaster(clocks: list[Clock]) -> Clock | None:
    """Who ought to be grandmaster of clocks that hear each other."""
    return min((clock for clock in clocks if not clock.settings.slave_only), key=lambda clock: clock.rank, default=None)


def faults(network: Network) -> list[str]:
    """What is wrong with the trees that the clocks have made; nothing, when they have converged."""
    found = []
    for clocks in components(network):
        best = grandmaster(clocks)
        if best is not None:
            found += [fault for clock in clocks for fault in _clock_faults(clock, best, clocks)]
    for segment in network.segments:
        senders = [
            port for port in segment.ports if port.clock.alive and segment.alive and port.state is S.TIME_TRANSMITTER
        ]
        if len(senders) > 1:
            found.append(
                f"{len(senders)} ports send in one segment: {', '.join(str(port.identity) for port in senders)}"
            )
    return found


def _clock_faults(clock: Clock, best: Clock, clocks: list[Clock]) -> Iterator[str]:
    name = str(clock.ports[0].identity)
    receivers = [port for port in clock.ports if port.state in {S.UNCALIBRATED, S.TIME_RECEIVER}]
    states = [port.state.name for port in clock.ports]
    if clock is best:
        if receivers or not any(port.state is S.TIME_TRANSMITTER for port in clock.ports):
            yield f"grandmaster {name} is {states}"
        return
    if clock.local.quality.clock_class <= 127 and clock.settings.bmca is not Bmca.GPTP:
        if states != ["PASSIVE"]:
            yield f"{name} of class {clock.local.quality.clock_class} is {states}"
        return
    if [port.state for port in receivers] != [S.TIME_RECEIVER]:
        yield f"{name} follows on {len(receivers)} ports: {states}"
        return
    if clock.sets.parent.grandmaster != best.settings.identity:
        yield f"{name} follows {clock.sets.parent.grandmaster.hex()} rather than {best.settings.identity.hex()}"
    way = _way(clock, clocks)
    if way is None or way[-1] is not best or len(way) != clock.sets.current.steps_removed:
        yield f"{name} has no way to the grandmaster of {clock.sets.current.steps_removed} steps"


def _way(clock: Clock, clocks: list[Clock]) -> list[Clock] | None:
    """The clocks from one to the end of those that it follows; None when that is a circle or a dead end."""
    ports = {port.identity: port for other in clocks for port in other.ports}
    way: list[Clock] = []
    while len(way) <= len(clocks):
        receiver = next((port for port in clock.ports if port.state is S.TIME_RECEIVER), None)
        if receiver is None:
            return way
        sender = None if receiver.parent is None else ports.get(receiver.parent)
        if sender is None or sender.segment is not receiver.segment or sender.state is not S.TIME_TRANSMITTER:
            return None
        clock = sender.clock
        way.append(clock)
    return None
