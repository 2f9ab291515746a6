"""PTP instances wired to each other in virtual time: clocks with known errors, links with known delays."""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from timesync.base.ids import ClockId, ClockIdentity, LinkId, SourceId
from timesync.base.machine import Measured, Noted
from timesync.base.measure import Measurement, Stamp, StampSource
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.effect import ParentChanged, PtpEffect, SendEvent, SendGeneral, StateChanged
from timesync.ptp.instance import Instance
from timesync.ptp.security import Association
from timesync.ptp.settings import InstanceSettings, LocalQuality, PortSettings
from timesync.ptp.states import PortState
from timesync.transport import is_one_step_sync
from timesync.wire import ptp
from timesync.wire.ptp_message import ClockQuality, Message, Sync

START_S = 1_800_000_000


def identity(number: int) -> ClockIdentity:
    """The identity of clock ``number``."""
    return ClockIdentity(bytes((0, 0x1B, 0x19, 0xFF, 0xFE, 0, number >> 8, number & 0xFF)))


def address(index: int) -> str:
    """Where the node of this number is."""
    return f"192.0.2.{index + 1}"


def port_settings(number: int = 1, **changes: object) -> PortSettings:
    """A port, with changes."""
    given = {
        "number": number,
        "name": f"eth{number}",
        "clock": ClockId(f"eth{number}"),
        "source": SourceId(f"ptp:eth{number}"),
        "link": LinkId(f"ptp:eth{number}"),
        "stamp_noise_s": 1e-8,
        **changes,
    }
    return PortSettings(**given)  # type: ignore[arg-type]  # the tests' own keywords, checked by the dataclass


@dataclass
class Clock:
    """Reads true time with an error: seconds ahead, and gaining ``rate`` each second."""

    ahead_s: float = 0.0
    rate: float = 0.0
    noise_s: float = 0.0
    epoch: int = 0

    def read(self, now_ns: int, rng: random.Random) -> Instant:  # type: ignore[type-arg]  # TAI
        error = self.ahead_s + self.rate * now_ns / 1e9 + (rng.gauss(0.0, self.noise_s) if self.noise_s else 0.0)
        return Instant.from_ns(START_S * 10**9 + now_ns) + Duration.from_s(error)


@dataclass
class Path:
    """One way of a link."""

    delay_ns: Callable[[], float] = lambda: 1000.0
    loss: float = 0.0
    correction: Callable[[Message], Message] = lambda message: message


@dataclass
class Node:
    """A clock on the network."""

    name: str
    instance: Instance
    clock: Clock
    measurements: list[tuple[int, Measurement]] = field(default_factory=list)
    notes: list[Noted] = field(default_factory=list)
    changes: list[tuple[int, StateChanged]] = field(default_factory=list)
    parents: list[ParentChanged] = field(default_factory=list)
    sent: list[tuple[int, int, bytes]] = field(default_factory=list)
    stamp_loss: float = 0.0
    address: str = ""
    destinations: list[str | None] = field(default_factory=list)

    def state(self, port: int = 1) -> PortState:
        return self.instance.ports[port].state


class Net:
    """Runs nodes; each link joins a port of one with a port of another, or several on one segment."""

    def __init__(self, seed: int = 1) -> None:
        self.rng = random.Random(seed)
        self.now_ns = 0
        self.nodes: list[Node] = []
        self._links: dict[tuple[str, int], list[tuple[Node, int, Path]]] = {}
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._timers: dict[str, int] = {}

    def node(
        self,
        settings: InstanceSettings,
        clock: Clock | None = None,
        quality: LocalQuality | None = None,
        association: Association | None = None,
    ) -> Node:
        name = f"n{len(self.nodes)}"
        instance = Instance(settings, self.rng, association=association)
        node = Node(name, instance, clock or Clock(), address=address(len(self.nodes)))
        self.nodes.append(node)
        if quality is not None:
            self.perform(node, node.instance.set_quality(quality, self.mono()))
        return node

    def link(
        self, a: Node, port_a: int, b: Node, port_b: int, there: Path | None = None, back: Path | None = None
    ) -> None:
        self._links.setdefault((a.name, port_a), []).append((b, port_b, there or Path()))
        self._links.setdefault((b.name, port_b), []).append((a, port_a, back or Path()))

    def up(self, node: Node, port: int = 1, *, up: bool = True) -> None:
        self.perform(node, node.instance.on_link(port, self.mono(), up=up))

    def start(self) -> None:
        for node in self.nodes:
            self.perform(node, node.instance.start(self.mono()))
            for number in node.instance.ports:
                self.up(node, number)

    def mono(self) -> Instant[Mono]:
        return Instant.from_ns(self.now_ns + 10**9)

    def after(self, delay_ns: float, call: Callable[[], None]) -> None:
        heapq.heappush(self._queue, (self.now_ns + max(round(delay_ns), 0), next(self._order), call))

    def run(self, seconds: float) -> None:
        end = self.now_ns + round(seconds * 1e9)
        while self._queue and self._queue[0][0] <= end:
            self.now_ns, _, call = heapq.heappop(self._queue)
            call()
        self.now_ns = end

    def perform(self, node: Node, effects: Iterable[PtpEffect]) -> None:
        for effect in effects:
            match effect:
                case SendEvent():
                    self._send(node, effect, event=True)
                    self._stamp(node, effect)
                case SendGeneral():
                    self._send(node, effect, event=False)
                case Measured():
                    node.measurements.append((self.now_ns, effect.measurement))
                case StateChanged():
                    node.changes.append((self.now_ns, effect))
                case ParentChanged():
                    node.parents.append(effect)
                case Noted():
                    node.notes.append(effect)
                case _:
                    pass
        self._arm(node)

    def _stamp(self, node: Node, effect: SendEvent) -> None:
        lost = self.rng.random() < node.stamp_loss
        stamp = None if lost else self._read(node, effect.port)
        self.after(
            5_000, lambda: self.perform(node, node.instance.on_sent(effect.port, effect.token, stamp, self.mono()))
        )

    def _read(self, node: Node, port: int) -> Stamp:
        clock = node.instance.ports[port].settings.clock
        return Stamp(clock, node.clock.epoch, node.clock.read(self.now_ns, self.rng), StampSource.HARDWARE)

    def _send(self, node: Node, effect: SendEvent | SendGeneral, *, event: bool) -> None:
        port, data = effect.port, effect.data
        if is_one_step_sync(data):
            data = self._written(node, port, data)
        node.sent.append((self.now_ns, port, data))
        node.destinations.append(effect.destination)
        for other, other_port, path in self._links.get((node.name, port), []):
            if effect.destination not in (None, other.address) or self.rng.random() < path.loss:
                continue
            came = ptp.encode(path.correction(ptp.decode(data)))
            self.after(path.delay_ns(), self._arrival(other, other_port, came, node.address, event=event))

    def _written(self, node: Node, port: int, data: bytes) -> bytes:
        """What a card makes of a one-step Sync: it writes when it leaves."""
        sync = ptp.decode(data)
        assert isinstance(sync, Sync)
        whole, rest = ptp.whole_ns(self._read(node, port).at)
        correction = sync.header.correction + rest
        return ptp.encode(replace(sync, origin=whole, header=replace(sync.header, correction=correction)))

    def _arrival(self, node: Node, port: int, data: bytes, source: str, *, event: bool) -> Callable[[], None]:
        def arrive() -> None:
            stamp = self._read(node, port) if event else None
            self.after(
                20_000, lambda: self.perform(node, node.instance.on_message(port, data, stamp, source, self.mono()))
            )

        return arrive

    def _arm(self, node: Node) -> None:
        deadline = node.instance.deadline()
        if deadline is None:
            return
        due = deadline.ns() + 1 - 10**9  # rounded up: a deadline has parts of a nanosecond
        if self._timers.get(node.name) == due:
            return
        self._timers[node.name] = due
        self.after(due - self.now_ns, lambda: self._ring(node, due))

    def _ring(self, node: Node, due: int) -> None:
        if self._timers.get(node.name) != due:
            return
        del self._timers[node.name]
        self.perform(node, node.instance.on_deadline(self.mono()))


def grandmaster(clock_class: int = 6) -> LocalQuality:
    """What a good clock claims."""
    return LocalQuality(
        quality=ClockQuality(clock_class, 0x21, 0x4E5D),
        utc_offset_valid=True,
        time_traceable=True,
        frequency_traceable=True,
        time_source=0x20,
        synchronized=True,
    )
