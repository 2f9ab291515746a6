"""Network cards that stamp PTP messages, and the cables and switches between them: ``PtpSocket`` in simulated time."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import assert_never

from timesync.base.measure import Stamp, StampSource
from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai
from timesync.host import ClockError, Trouble
from timesync.sim.clock import SimClock
from timesync.sim.law import NO_DELAY, DelayLaw, Exactly, Exponential, draw_duration
from timesync.sim.network import Path, Way
from timesync.sim.world import World
from timesync.transport import (
    PtpHandler,
    PtpPortSpec,
    TransportName,
    domain_of,
    is_event,
    is_one_step_sync,
    trimmed,
)

CABLE = Path(base=Duration.from_ns(500), jitter=Exactly())
"""A hundred metres."""
SLOWNESS = Exponential(50e-6)
STAMP_PATIENCE = Duration.from_ns(100_000_000)
_ORIGIN_AT = 34
"""Where ``originTimestamp`` lies in a Sync (IEEE 1588-2019, 13.6)."""
_MAC_PREFIX = bytes.fromhex("0200")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardModel:
    """How good a card and the machine behind it are.

    Attributes:
        stamp_noise_s: Standard deviation of a stamp of the card.
        kernel_noise_s: That of a software stamp.
        transmit_stamp_loss: Share of transmit stamps that never come; ``on_sent`` then has None.
        receive_stamp_loss: Share of event messages that come without a stamp.
        transmit_delay: From the call to the wire, where the stamp is taken.
        slowness: From an arrival, or the taking of a stamp, to the callback; callbacks of one card stay in order.
        disorder: What each message waits besides, whatever came before it: those of two sockets have no order.
        one_step: It can write the time into Sync messages.
        bits_per_s: The rate of its interface; None: it does not say.
    """

    stamp_noise_s: float = 0.0
    kernel_noise_s: float = 0.0
    transmit_stamp_loss: float = 0.0
    receive_stamp_loss: float = 0.0
    transmit_delay: DelayLaw = NO_DELAY
    slowness: DelayLaw = SLOWNESS
    disorder: DelayLaw = NO_DELAY
    one_step: bool = False
    bits_per_s: int | None = 1_000_000_000


@dataclass(frozen=True, slots=True)
class _Frame:
    """A message under way; ``source`` and ``target`` are addresses of its transport, None is everybody."""

    data: bytes
    transport: TransportName
    source: str
    target: str | None


class PtpSegment:
    """A cable, or a switch: what one card sends to a group all others hear, each by a way of its own.

    Attributes:
        world: Whose time it is.
        lost: Messages that vanished on the way, or found a card without a link.
    """

    def __init__(self, world: World, name: str = "segment", default: Path = CABLE, first: int = 1) -> None:
        """No card is there yet.

        Args:
            world: Whose time it is.
            name: For random streams; unique in the world.
            default: How messages travel between cards that ``connect`` has not named.
            first: Number of its first card, which its addresses are made of; segments of one machine differ in it.
        """
        self.world = world
        self.lost = 0
        self._name = name
        self._default = default
        self._first = first
        self._cards: list[SimCard] = []
        self._ways: dict[tuple[str, str], Way] = {}

    def card(
        self, name: str, *, phc: SimClock | None = None, interface: str = "eth0", model: CardModel | None = None
    ) -> SimCard:
        """Plug in one more card; it has a link. Raises ValueError for a name that is taken.

        Args:
            name: Of the machine, unique on this segment; for paths and random streams.
            phc: The clock of the card; None: it cannot stamp.
            interface: What its machine calls it.
            model: How good it is.
        """
        if any(card.name == name for card in self._cards):
            raise ValueError(f"there is a card {name} already")
        number = self._first + len(self._cards)
        made = SimCard(self, name, interface, number, phc, model or CardModel())
        self._cards.append(made)
        return made

    def connect(self, one: SimCard, other: SimCard, there: Path, back: Path | None = None) -> None:
        """From now on messages from ``one`` go ``there``, those from ``other`` come ``back`` (or alike)."""
        self._way(one, other).path = there
        self._way(other, one).path = there if back is None else back

    def outage(self, one: SimCard, other: SimCard, since: Instant[Tai], until: Instant[Tai]) -> None:
        """Lose all between the two from ``since`` to before ``until``; the links stay up, as behind a switch."""
        for way in (self._way(one, other), self._way(other, one)):
            way.outages.append((since.scaled_ns, until.scaled_ns))

    def carry(self, sender: SimCard, frame: _Frame) -> None:
        """Take a message along, from now."""
        others = [card for card in self._cards if card is not sender]
        if frame.target is not None:
            others = [card for card in others if card.address(frame.transport) == frame.target]
            self.lost += not others
        for card in others:
            arrivals = self._way(sender, card).arrivals(self.world)
            self.lost += not arrivals
            for when in arrivals:
                self.world.at_units(when, partial(self._arrive, card, frame))

    def _arrive(self, card: SimCard, frame: _Frame) -> None:
        if card.has_link:
            card.on_frame(frame)
        else:
            self.lost += 1

    def _way(self, sender: SimCard, receiver: SimCard) -> Way:
        key = sender.name, receiver.name
        found = self._ways.get(key)
        if found is None:
            stream = f"ptp/{self._name}/{sender.name}>{receiver.name}"
            found = self._ways[key] = Way(self.world, stream, self._default)
        return found


class SimCard:
    """A network card of a simulated machine.

    Attributes:
        name: Of its machine.
        interface: What its machine calls it.
        mac: Six octets.
        model: How good it is; may be exchanged at any time.
        failed: Messages that could not be sent.
    """

    def __init__(
        self, segment: PtpSegment, name: str, interface: str, number: int, phc: SimClock | None, model: CardModel
    ) -> None:
        self.name = name
        self.interface = interface
        self.mac = _MAC_PREFIX + number.to_bytes(4, "big")
        self.model = model
        self.failed = 0
        self._segment = segment
        self.number = number
        self._phc = phc
        self._up = True
        self._there = True
        self._busy_until = 0
        self._sockets: list[SimPtpSocket] = []
        self._rng = segment.world.stream(f"card/{name}/{interface}")

    @property
    def world(self) -> World:
        """Whose time it is."""
        return self._segment.world

    @property
    def phc(self) -> SimClock | None:
        """The clock of the card."""
        return self._phc

    @property
    def up(self) -> bool:
        """Its link is up."""
        return self._up

    @up.setter
    def up(self, up: bool) -> None:
        if up != self._up:
            self._up = up
            for port in tuple(self._sockets):
                port.on_link(up=up)

    @property
    def has_link(self) -> bool:
        """Messages come and go."""
        return self._up and self._there

    def address(self, transport: TransportName) -> str:
        """Its address on the segment, in the one way to write it."""
        match transport:
            case "udp4":
                return str(ipaddress.IPv4Address("192.0.2.0") + self.number)
            case "udp6":
                return str(ipaddress.IPv6Address("fe80::") + self.number)
            case "l2":
                return self.mac.hex(":")
            case _:
                assert_never(transport)

    def open_ptp(self, spec: PtpPortSpec, clock: SimClock, handler: PtpHandler) -> SimPtpSocket:
        """A port on this card, to be opened on a running loop.

        Raises OSError: ENODEV when it is gone or of another name, and ClockError where hardware stamps are demanded of
        a card that cannot, or of another clock than the card's.
        """
        if spec.interface != self.interface or not self._there:
            raise _gone(spec.interface)
        made = SimPtpSocket(self, spec, clock, handler)
        self._sockets.append(made)
        return made

    def remove(self) -> None:
        """Pull it out of its machine: the ports on it are told once, and are of no use any more."""
        self._there = False
        for port in tuple(self._sockets):
            port.on_gone()

    def leave(self, frame: _Frame) -> None:
        """Put a message on the wire."""
        if self.has_link:
            self._segment.carry(self, frame)
        else:
            self.failed += 1

    def on_frame(self, frame: _Frame) -> None:
        """A message arrived."""
        for port in tuple(self._sockets):
            port.on_frame(frame)

    def forget(self, port: SimPtpSocket) -> None:
        """A port was closed."""
        if port in self._sockets:
            self._sockets.remove(port)

    def delay(self, law: DelayLaw) -> Duration:
        """A delay inside this machine."""
        return draw_duration(law, self._rng)

    def lateness(self) -> Duration:
        """How long the machine takes for what happens now; it takes one after the other, as they come."""
        now = self.world.units
        self._busy_until = max(self._busy_until, now + self.delay(self.model.slowness).scaled_ns)
        return Duration(self._busy_until - now)

    def chance(self, probability: float) -> bool:
        """Whether something of that probability happens now."""
        return self._rng.random() < probability


class SimPtpSocket:
    """A port on a simulated card; ``timesync.transport.PtpSocket``.

    Attributes:
        software_because: As there.
    """

    def __init__(self, card: SimCard, spec: PtpPortSpec, clock: SimClock, handler: PtpHandler) -> None:
        self._card = card
        self._spec = spec
        self._clock = clock
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._hardware = spec.timestamping != "software" and clock is card.phc
        self.software_because: str | None = None
        if spec.timestamping != "software" and not self._hardware:
            self.software_because = f"packets of {spec.interface} are not stamped by the clock {clock.id}"
            if spec.timestamping == "hardware":
                advice = "name the card's own clock, or write `timestamping: software`"
                raise ClockError(Trouble.UNSUPPORTED, self.software_because, advice)
        self._loop.call_soon(self._if_open, lambda: handler.on_link(up=card.up))

    @property
    def hardware(self) -> bool:
        """Stamps are taken by the network card."""
        return self._hardware

    @property
    def one_step(self) -> bool:
        """The card writes the time into Sync messages without ``twoStepFlag``."""
        return self._hardware and self._spec.one_step and self._card.model.one_step

    @property
    def mac(self) -> bytes:
        """The card's MAC address."""
        return self._card.mac

    @property
    def address(self) -> bytes:
        """Its address on the segment."""
        if self._spec.transport == "l2":
            return self._card.mac
        return ipaddress.ip_address(self._card.address(self._spec.transport)).packed

    @property
    def phc(self) -> int | None:
        """Index of the hardware clock that stamps; there is one for each card, of its number."""
        return self._card.number if self._hardware else None

    @property
    def bits_per_s(self) -> int | None:
        """The rate of the interface."""
        return self._card.model.bits_per_s

    # A segment has no groups: everybody hears what has no destination.

    def send_event(self, data: bytes, token: int, *, destination: str | None = None, peer: bool = False) -> None:  # noqa: ARG002 - the Protocol's signature
        """Send an event message; its stamp comes as ``on_sent``, also where sending fails."""
        if not self._open:
            return
        if not self._card.has_link:
            self._card.failed += 1
            self._loop.call_soon(self._if_open, lambda: self._handler.on_sent(token, None))
            return
        self._after(self._card.delay(self._card.model.transmit_delay), lambda: self._leave(data, token, destination))

    def send_general(self, data: bytes, *, destination: str | None = None, peer: bool = False) -> None:  # noqa: ARG002 - the Protocol's signature
        """Send a general message; failures are counted by the card."""
        if self._open:
            frame = self._frame(data, destination)
            self._after(self._card.delay(self._card.model.transmit_delay), lambda: self._card.leave(frame))

    def close(self) -> None:
        """Close; the handler is not called again. A second call does nothing."""
        self._open = False
        self._card.forget(self)

    # -- called by the card, at the true time

    def on_frame(self, frame: _Frame) -> None:
        """A message arrived; it is stamped now and told when the machine gets to it."""
        data = trimmed(frame.data)
        domains = self._spec.domains
        if frame.transport != self._spec.transport or (domains is not None and domain_of(data) not in domains):
            return
        stamp = self._stamp(self._card.model.receive_stamp_loss) if is_event(data) else None
        after = self._card.lateness() + self._card.delay(self._card.model.disorder)
        self._call(lambda: self._handler.on_message(data, stamp, frame.source), after)

    def on_link(self, *, up: bool) -> None:
        """The link changed."""
        self._call(lambda: self._handler.on_link(up=up))

    def on_gone(self) -> None:
        """The card was removed."""
        self._call(lambda: self._handler.on_error(_gone(self._spec.interface)))

    def _leave(self, data: bytes, token: int, destination: str | None) -> None:
        """The message goes onto the wire, and is stamped there."""
        if self.one_step and is_one_step_sync(data):
            stamp = self._stamp(0.0)
            assert stamp is not None
            data = _with_origin(data, stamp.at)
            self._card.leave(self._frame(data, destination))
            self._call(lambda: self._handler.on_sent(token, None))
            return
        stamp = self._stamp(self._card.model.transmit_stamp_loss)
        self._card.leave(self._frame(data, destination))
        self._call(lambda: self._handler.on_sent(token, stamp), None if stamp is not None else STAMP_PATIENCE)

    def _frame(self, data: bytes, destination: str | None) -> _Frame:
        transport = self._spec.transport
        return _Frame(bytes(data), transport, self._card.address(transport), _plain(transport, destination))

    def _stamp(self, loss: float) -> Stamp | None:
        model = self._card.model
        if self._card.chance(loss):
            return None
        if self._hardware:
            return self._clock.stamp(StampSource.HARDWARE, model.stamp_noise_s)
        return self._clock.stamp(StampSource.KERNEL, model.kernel_noise_s)

    def _call(self, callback: Callable[[], None], after: Duration | None = None) -> None:
        """Call the handler on the loop as late as the machine is slow, unless it is closed by then."""
        delay = self._card.lateness() if after is None else after
        self._after(delay, lambda: self._enqueue(callback))

    def _after(self, delay: Duration, callback: Callable[[], None]) -> None:
        self._card.world.after(delay, callback)

    def _enqueue(self, callback: Callable[[], None]) -> None:
        # A world outlives its loops: what was under way when one ended reaches nobody.
        if not self._loop.is_closed():
            self._loop.call_soon(self._if_open, callback)

    def _if_open(self, callback: Callable[[], None]) -> None:
        if self._open:
            callback()


def _with_origin(data: bytes, at: Instant[Tai]) -> bytes:
    """A Sync with ``originTimestamp`` filled in: 48 bits of seconds, 32 of nanoseconds (5.3.3)."""
    seconds, units = divmod(at.scaled_ns, UNITS_PER_S)
    origin = seconds.to_bytes(6, "big") + (units >> 16).to_bytes(4, "big")
    return data[:_ORIGIN_AT] + origin + data[_ORIGIN_AT + len(origin) :]


def _plain(transport: TransportName, destination: str | None) -> str | None:
    """The one way to write an address."""
    if destination is None:
        return None
    if transport == "l2":
        return destination.lower().replace("-", ":")
    try:
        return str(ipaddress.ip_address(destination))
    except ValueError:
        return destination  # which nobody has


def _gone(interface: str) -> OSError:
    return OSError(errno.ENODEV, os.strerror(errno.ENODEV), interface)
