"""PTP ports on the network cards of this machine: ``timesync.transport.PtpSocket`` over Ethernet and UDP."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import assert_never
from weakref import WeakKeyDictionary, ref

from timesync.base.measure import Stamp, StampSource
from timesync.host import ClockError, Trouble
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.ptp_wire import Outgoing, Wire, open_wire
from timesync.runtime.stamping import StampClock
from timesync.transport import PtpHandler, PtpPortSpec, TransportName, domain_of, is_event, is_one_step_sync
from timesync_drivers import ethernet, ptp_udp
from timesync_drivers.interfaces import interface_address, interface_rate
from timesync_drivers.link import LinkState
from timesync_drivers.nic import Stamping, stamping
from timesync_drivers.ptp_filter import PtpClaim
from timesync_drivers.ptp_stamp import Arrival, Reading

_RENEW_S = 1.0
"""A card whose stamps do not come is looked at so often: another program may have set it otherwise."""
_ADVICE = "`timesync doctor` shows what each card can do; `timestamping: software` needs nothing of it"


@dataclass(frozen=True, slots=True)
class PtpCards:
    """The calls about network cards; tests put others in their places.

    Attributes:
        stamping: What the card of an interface can stamp.
        claim: A card, to be set to stamp PTP messages.
        name: Of the interface with this index.
    """

    stamping: Callable[[str], Stamping]
    claim: Callable[[str, Stamping], PtpClaim]
    name: Callable[[int], str]


class _Groups:
    """The multicast addresses of a port."""

    def __init__(self, spec: PtpPortSpec) -> None:
        match spec.transport:
            case "udp4":
                self.usual, self.peer = ptp_udp.GROUP4, ptp_udp.PEER_GROUP4
            case "udp6":
                self.usual, self.peer = ptp_udp.group6(spec.ipv6_scope), ptp_udp.PEER_GROUP6
            case "l2":
                self.usual = ethernet.PEER_GROUP if spec.gptp else ethernet.GROUP
                self.peer = ethernet.PEER_GROUP
            case _:
                assert_never(spec.transport)

    def join(self, wire: Wire, spec: PtpPortSpec) -> None:
        """Hear both; where peers are unicast an interface without multicast will do. Raises OSError."""
        both = {self.usual, self.peer}
        if spec.transport == "l2":
            both.add(ethernet.GROUP)  # G.8275.1 leaves the choice to the sender
        for group in both:
            try:
                wire.join(group)
            except OSError:
                if not spec.unicast:
                    raise


@dataclass(slots=True)
class _Held:
    """A card that is set to stamp, and by how many ports."""

    claim: PtpClaim
    users: int = 0
    looked_at: float = 0.0


class _CardStamps:
    """Stamps of the card, on the scale of its clock."""

    def __init__(self, index: int, clock: PhcClock, able: Stamping, cards: PtpCards) -> None:
        self._clock = clock
        self._able = able
        self._cards = cards
        self._same = {0: True, index: True}

    @property
    def phc(self) -> int | None:
        """Index of the clock."""
        return self._able.phc

    def stamp(self, reading: Reading) -> Stamp | None:
        """None where the card took none, where another card took it, and next to a step of its clock."""
        if reading.card_ns is None or not self._is_ours(reading.interface):
            return None
        return self._clock.stamp_raw(reading.card_ns)

    def _is_ours(self, interface: int) -> bool:
        """Packets of a VLAN or of a bond are stamped by the interface below it."""
        found = self._same.get(interface)
        if found is None:
            try:
                found = self._cards.stamping(self._cards.name(interface)).phc == self._able.phc
            except OSError:
                return False
            self._same[interface] = found
        return found


class LinuxPtpSocket:
    """A port; ``timesync.transport.PtpSocket``.

    Attributes:
        software_because: Why stamps are the kernel's where the card's were preferred; else None.
    """

    def __init__(self, network: PtpNetwork, spec: PtpPortSpec, clock: StampClock, handler: PtpHandler) -> None:
        """Open. Raises OSError, and ClockError where hardware stamps are demanded and not to be had."""
        self.software_because: str | None = None
        self._network = network
        self._spec = spec
        self._clock = clock
        self._handler = handler
        self._groups = _Groups(spec)
        self._card: _CardStamps | None = None
        self._one_step = False
        self._open = True
        self._up: bool | None = None
        self._wire = network.wire(spec)
        try:
            self._groups.join(self._wire, spec)
            if spec.timestamping != "software":
                self._use_card()
            self._wire.attach(self)
        except BaseException:
            self.close()
            raise

    @property
    def hardware(self) -> bool:
        """Stamps are taken by the network card."""
        return self._card is not None

    @property
    def one_step(self) -> bool:
        """The card writes the time into Sync messages without ``twoStepFlag``."""
        return self._one_step

    @property
    def mac(self) -> bytes:
        """The interface's MAC address."""
        return self._wire.link.mac

    @property
    def address(self) -> bytes:
        """The interface's address in the protocol of its transport; empty where it has none."""
        if self._spec.transport == "l2":
            return self.mac
        return interface_address(self._wire.link.index, ipv6=self._spec.transport == "udp6")

    @property
    def phc(self) -> int | None:
        """Index of the hardware clock that stamps; None with software stamps."""
        return None if self._card is None else self._card.phc

    @property
    def bits_per_s(self) -> int | None:
        """The rate of the interface now; None where it does not say."""
        return interface_rate(self._wire.link.name)

    @property
    def failed(self) -> int:
        """Messages that could not be sent over this interface and transport, of all ports."""
        return self._wire.failed

    @property
    def unstamped(self) -> int:
        """Event messages over this interface and transport whose transmit stamp did not come, of all ports."""
        return self._wire.unstamped

    def send_event(self, data: bytes, token: int, *, destination: str | None = None, peer: bool = False) -> None:
        """Send an event message; its stamp comes as ``on_sent``, also where sending fails."""
        stamped = not (self._one_step and is_one_step_sync(data))
        if self._open:
            self._wire.send_event(self, token, self._outgoing(data, destination, peer=peer), stamped=stamped)

    def send_general(self, data: bytes, *, destination: str | None = None, peer: bool = False) -> None:
        """Send a general message; failures are counted."""
        if self._open:
            self._wire.send_general(self._outgoing(data, destination, peer=peer))

    def close(self) -> None:
        """Close; the handler is not called again. A second call does nothing."""
        if not self._open:
            return
        self._open = False
        self._wire.detach(self)
        if self._card is not None:
            self._network.release(self._spec.interface)

    def _outgoing(self, data: bytes, destination: str | None, *, peer: bool) -> Outgoing:
        if destination is not None:
            return Outgoing(data, destination, None, self._spec.dscp)
        # Messages of peer delay never pass a router (annexes C and D).
        hops = 1 if peer else self._spec.hop_limit
        return Outgoing(data, self._groups.peer if peer else self._groups.usual, hops, self._spec.dscp)

    # -- called by the wire

    def on_arrival(self, data: bytes, arrival: Arrival) -> None:
        """See ``WirePort``."""
        domains = self._spec.domains
        if domains is not None and domain_of(data) not in domains:
            return
        stamp = self._stamp(arrival.reading) if is_event(data) else None
        self._handler.on_message(data, stamp, arrival.source)

    def on_departure(self, token: int, reading: Reading | None) -> None:
        """See ``WirePort``."""
        stamp = None if reading is None else self._stamp(reading)
        if reading is None:
            self._look_at_card()
        self._handler.on_sent(token, stamp)

    def on_state(self, state: LinkState) -> None:
        """See ``WirePort``."""
        if state.up != self._up:
            self._up = state.up
            self._handler.on_link(up=state.up)

    def on_gone(self, error: OSError) -> None:
        """See ``WirePort``."""
        self._handler.on_error(error)

    def _stamp(self, reading: Reading) -> Stamp | None:
        if self._card is None:
            return None if reading.kernel_ns is None else self._clock.stamp_at(reading.kernel_ns, StampSource.KERNEL)
        if reading.card_ns is None:
            self._look_at_card()
        return self._card.stamp(reading)

    def _look_at_card(self) -> None:
        if self._card is not None:
            self._network.renew(self._spec.interface)

    # -- hardware stamps

    def _use_card(self) -> None:
        """Have the card stamp; where it cannot, raise ClockError or keep why, as the specification wants it."""
        try:
            able = self._network.cards.stamping(self._spec.interface)
            clock = self._clock_of(able)
            one_step = self._network.claim(self._spec, able)
        except OSError as error:
            said = _refusal(self._spec.interface, error)
            if self._spec.timestamping == "hardware":
                raise said from error
            self.software_because = str(said)
            return
        self._card = _CardStamps(self._wire.link.index, clock, able, self._network.cards)
        self._one_step = self._spec.one_step and one_step

    def _clock_of(self, able: Stamping) -> PhcClock:
        interface, clock = self._spec.interface, self._clock
        if able.phc is None or not able.hardware:
            raise ClockError(Trouble.UNSUPPORTED, f"the interface {interface} has no hardware timestamps", _ADVICE)
        path = f"/dev/ptp{able.phc}"
        if not isinstance(clock, PhcClock) or os.path.realpath(clock.hardware.path) != path:
            raise ClockError(
                Trouble.UNSUPPORTED,
                f"packets of {interface} are stamped by {path}, which is not the clock {clock.id}",
                f"name that clock, such as `clocks: {{{interface}: {{phc: {interface}}}}}`",
            )
        return clock


class PtpNetwork:
    """All PTP ports of this process on one loop: they share the sockets and the settings of cards.

    Attributes:
        cards: The calls about network cards.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, cards: PtpCards | None = None) -> None:
        self.cards = cards or PtpCards(stamping, PtpClaim, socket.if_indextoname)
        # Weak, so that a loop that is done with can go although it is a key of ``_NETWORKS``.
        self._loop = ref(loop)
        self._wires: dict[tuple[str, TransportName], Wire] = {}
        self._claims: dict[str, _Held] = {}

    def open(self, spec: PtpPortSpec, clock: StampClock, handler: PtpHandler) -> LinuxPtpSocket:
        """Open a port. Raises OSError, and ClockError where hardware stamps are demanded and not to be had.

        Args:
            spec: How it reaches the network.
            clock: The clock that its stamps are of; raw stamps of a card are used if it is the card's.
            handler: Told what comes, on the loop and never from inside a call to the socket.
        """
        return LinuxPtpSocket(self, spec, clock, handler)

    def wire(self, spec: PtpPortSpec) -> Wire:
        """The sockets of an interface and a transport; the same for all that ask. Raises OSError."""
        key = spec.interface, spec.transport
        found = self._wires.get(key)
        if found is None:
            found = open_wire(self._running(), *key, partial(self._wires.pop, key, None))
            self._wires[key] = found
        return found

    def claim(self, spec: PtpPortSpec, able: Stamping) -> bool:
        """Have the card stamp for one more port; whether it does one-step Sync. Raises OSError."""
        held = self._claims.get(spec.interface) or _Held(self.cards.claim(spec.interface, able))
        held.claim.need(ethernet=spec.transport == "l2", one_step=spec.one_step)
        held.users += 1
        self._claims[spec.interface] = held
        return held.claim.one_step

    def release(self, interface: str) -> None:
        """One port less wants the stamps of a card; after the last the old setting is put back."""
        held = self._claims[interface]
        held.users -= 1
        if not held.users:
            del self._claims[interface]
            with suppress(OSError):
                held.claim.release()

    def renew(self, interface: str) -> None:
        """Stamps do not come: look, not too often, whether somebody has set the card otherwise, and set it again."""
        held = self._claims.get(interface)
        now = self._running().time()
        if held is None or now - held.looked_at < _RENEW_S:
            return
        held.looked_at = now
        with suppress(OSError):
            held.claim.renew()

    def _running(self) -> asyncio.AbstractEventLoop:
        loop = self._loop()
        if loop is None:
            raise RuntimeError("the event loop of these ports is gone")
        return loop


_NETWORKS: WeakKeyDictionary[asyncio.AbstractEventLoop, PtpNetwork] = WeakKeyDictionary()


def open_ptp(
    loop: asyncio.AbstractEventLoop, spec: PtpPortSpec, clock: StampClock, handler: PtpHandler
) -> LinuxPtpSocket:
    """Open a port among all others of this loop; see ``PtpNetwork.open``. Raises OSError."""
    network = _NETWORKS.get(loop)
    if network is None:
        network = _NETWORKS[loop] = PtpNetwork(loop)
    return network.open(spec, clock, handler)


def _refusal(interface: str, error: OSError) -> ClockError:
    if isinstance(error, ClockError):
        return error
    permission = error.errno in (errno.EPERM, errno.EACCES)
    trouble = Trouble.PERMISSION if permission else Trouble.UNSUPPORTED
    advice = "give the daemon CAP_NET_ADMIN" if permission else _ADVICE
    why = f"the card of {interface} cannot be set to stamp PTP messages: {error.strerror or error}"
    return ClockError(trouble, why, advice)
