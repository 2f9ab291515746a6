"""One PTP instance: its ports, its data sets, and the decisions that join them (IEEE 1588-2019, 9.2 and 9.3).

An ordinary clock has one port and a boundary clock several; there is no difference in the code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import assert_never

from timesync.base.ids import identity_text
from timesync.base.machine import Dropped, Rng, Status
from timesync.base.measure import Stamp
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.ptp.bmca import Decision, Question, decide, elect, own_candidate
from timesync.ptp.context import Context
from timesync.ptp.datasets import DefaultDS, as_grandmaster, as_time_receiver, as_unannounced
from timesync.ptp.effect import ParentChanged, PtpEffect, StateChanged
from timesync.ptp.extras import Extras
from timesync.ptp.following import FOLLOWING_STATES
from timesync.ptp.foreign import ForeignTable, Heard
from timesync.ptp.gptp.relay import Relay
from timesync.ptp.link import LinkMemory
from timesync.ptp.metadata import Metadata
from timesync.ptp.port import Port
from timesync.ptp.security import Association, Security
from timesync.ptp.settings import Bmca, InstanceSettings, LocalQuality, Role
from timesync.ptp.signals import Signals
from timesync.ptp.states import PortEvent, PortState
from timesync.ptp.timers import earliest
from timesync.ptp.unicast.negotiation import Negotiation
from timesync.ptp.view import InstanceView, port_view
from timesync.wire import ptp
from timesync.wire.error import WireError
from timesync.wire.ptp_message import (
    MESSAGE_TYPES,
    Announce,
    DelayReq,
    DelayResp,
    FollowUp,
    Management,
    Message,
    PdelayReq,
    PdelayResp,
    PdelayRespFollowUp,
    Signaling,
    Sync,
)

_CMLDS_SDO = 0x200
_WATCHES_SYNC = (Bmca.GPTP, Bmca.G8265)
_DEAF = (PortState.INITIALIZING, PortState.FAULTY, PortState.DISABLED)


def _accept_all(number: int, address: str) -> bool:
    del number, address
    return True


class Instance:
    """An ordinary or boundary clock in one domain."""

    def __init__(
        self,
        settings: InstanceSettings,
        rng: Rng,
        accept: Callable[[int, str], bool] = _accept_all,
        association: Association | None = None,
    ) -> None:
        """Nothing is sent before ``start``.

        Args:
            settings: How it behaves.
            rng: Spreads timers.
            accept: Which addresses a port, by its number, grants unicast messages.
            association: The keys of the domain; None: messages are not signed.
        """
        local = LocalQuality()
        default = DefaultDS.of(settings, local)
        self.context = Context(settings, local, default, as_grandmaster(default, local), rng)
        self.context.security = None if association is None else Security(association)
        self.context.relay = Relay() if settings.relay else None
        self.ports = {one.number: Port(one, self.context) for one in settings.ports}
        self._foreign = {one.number: ForeignTable(one, settings, rng) for one in settings.ports}
        self._signals = {one.number: Signals(one, self.context, self.ports[one.number]) for one in settings.ports}
        self.unicast = {
            one.number: Negotiation(self.ports[one.number], self.context, partial(accept, one.number))
            for one in settings.ports
            if one.unicast is not None
        }
        self._metadata = Metadata(self.context, self.ports.values())
        self._receipt: dict[int, Instant[Mono]] = {}
        self._known = local
        self._claim: Callable[[LocalQuality], LocalQuality] | None = None
        self._linked: set[int] = set()

    # -- what others see

    def view(self) -> InstanceView:
        """For status and management."""
        gptp = self.context.settings.gptp
        return InstanceView(
            settings=self.context.settings,
            default=self.context.default,
            sets=self.context.sets,
            metadata=self._metadata.heard(),
            ports=tuple(
                port_view(port, self.unicast.get(number), self._foreign[number], gptp=gptp)
                for number, port in self.ports.items()
            ),
        )

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        due = [port.deadline() for port in self.ports.values()]
        due += [table.deadline() for table in self._foreign.values()]
        due += [signals.deadline() for signals in self._signals.values()]
        due += [negotiation.deadline() for negotiation in self.unicast.values()]
        due += [self._metadata.deadline(), *self._receipt.values()]
        return earliest(due)

    # -- life

    def start(self, now: Instant[Mono]) -> list[PtpEffect]:
        """Make the data sets ready; the ports begin when their links are up (``on_link``)."""
        del now
        return []

    def on_link(self, number: int, now: Instant[Mono], *, up: bool) -> list[PtpEffect]:
        """The sockets of a port work and its link is up, or not any more."""
        port = self.ports[number]
        effects: list[PtpEffect] = []
        self._linked = self._linked | {number} if up else self._linked - {number}
        if port.state is PortState.DISABLED:
            return []  # until it is switched on
        if up:
            effects += port.event(PortEvent.FAULT_CLEARED, now, "the link is up")
            effects += port.event(PortEvent.INITIALIZED, now, "the port is ready")
            self._expect(port, now)
        else:
            self._foreign[number].clear()
            self._receipt.pop(number, None)
            effects += port.event(PortEvent.FAULT_DETECTED, now, "the link is down")
        self._signals[number].link(now, up=up)
        if number in self.unicast:
            effects += self.unicast[number].link(now, up=up)
        return effects + self._decide(now)

    def stop(self, now: Instant[Mono]) -> list[PtpEffect]:
        """The ports will be closed: give back, and end, what was negotiated, so that nobody sends in vain."""
        return [effect for one in self.unicast.values() for effect in one.link(now, up=False)]

    def use_one_step(self, number: int, *, used: bool) -> None:
        """The card of a port writes the time into Sync messages by itself, or does not (7.3.8.3)."""
        ports = self.context.one_step
        self.context.one_step = ports | {number} if used else ports - {number}

    def set_quality(self, local: LocalQuality, now: Instant[Mono]) -> list[PtpEffect]:
        """The core knows better, or worse, what this clock may claim of its time."""
        self._known = local
        return self._claim_anew(now)

    def set_extras(self, extras: Extras, now: Instant[Mono]) -> None:
        """What is to be said in the TLVs of profiles from now on."""
        self.context.extras = extras
        self._metadata.changed(now)

    # -- management: see timesync.ptp.management.perform

    def claim(self, change: Callable[[LocalQuality], LocalQuality], now: Instant[Mono]) -> list[PtpEffect]:
        """Claim what ``change`` makes of that which the core knows, from now on."""
        self._claim = change
        return self._claim_anew(now)

    def _claim_anew(self, now: Instant[Mono]) -> list[PtpEffect]:
        local = self._known if self._claim is None else self._claim(self._known)
        if local == self.context.local:
            return []
        self.context.local = local
        self.context.default = DefaultDS.of(self.context.settings, local)
        return self._decide(now)

    def set_uncertain(self, uncertain: bool | None, now: Instant[Mono]) -> list[PtpEffect]:
        """Say this as ``synchronizationUncertain``; None: what the parent says."""
        self.context.uncertain = uncertain
        return self._decide(now)

    def configure(self, settings: InstanceSettings, now: Instant[Mono]) -> list[PtpEffect]:
        """Other priorities, or other thresholds and corrections of ports; all else must be as it was."""
        before, self.context.settings = self.context.settings, settings
        self.context.default = DefaultDS.of(settings, self.context.local)
        for one in settings.ports:
            if one != self.ports[one.number].settings:
                self.ports[one.number].configure(one)
                if one.number in self.unicast:
                    self.unicast[one.number].configure(one)
        if before.slave_only and not settings.slave_only:
            for port in self.ports.values():
                if port.state is PortState.LISTENING:
                    self._expect(port, now)  # it may become timeTransmitter now, if nobody is heard
        return self._decide(now)

    def designate(self, number: int, now: Instant[Mono], *, enabled: bool) -> list[PtpEffect]:
        """The operator switches a port on or off (9.2.6.5, 9.2.6.6)."""
        port = self.ports[number]
        if enabled:
            effects = list(port.event(PortEvent.DESIGNATED_ENABLED, now, "management switched it on"))
            return effects + self.on_link(number, now, up=number in self._linked) if effects else []
        self._foreign[number].clear()
        self._receipt.pop(number, None)
        self._signals[number].link(now, up=False)
        given_back = list(self.unicast[number].link(now, up=False)) if number in self.unicast else []
        effects = given_back + list(port.event(PortEvent.DESIGNATED_DISABLED, now, "management switched it off"))
        return effects + self._decide(now)

    def servo(self, number: int, now: Instant[Mono], *, locked: bool) -> list[PtpEffect]:
        """The clock of a port follows its parent closely, or does not any more (9.2.6.13, 9.2.6.14)."""
        event = PortEvent.TIME_TRANSMITTER_CLOCK_SELECTED if locked else PortEvent.SYNCHRONIZATION_FAULT
        reason = "the clock is locked" if locked else "the clock lost its lock"
        return list(self.ports[number].event(event, now, reason)) + self._signals[number].locked(now, locked=locked)

    def memory(self) -> dict[int, LinkMemory]:
        """What is worth keeping of the links over a restart, by port number (Avnu automotive)."""
        found = {number: port.link.memory() for number, port in self.ports.items()}
        return {number: kept for number, kept in found.items() if kept is not None}

    def restore(self, kept: Mapping[int, LinkMemory]) -> None:
        """Believe what was kept of the links until they are measured; to be called before they come up."""
        for number, link in kept.items():
            if number in self.ports:
                self.ports[number].link.restore(link)

    def clock_stepped(self, clock: str, by: Duration = ZERO) -> None:
        """A clock of this machine was set forward by so much; zero where that is not known."""
        if any(port.settings.clock == clock for port in self.ports.values()):
            self.context.time_base = (self.context.time_base + 1) & 0xFFFF
            self.context.phase_change = by
        for port in self.ports.values():
            if port.settings.clock == clock:
                port.clock_stepped()

    # -- what happens

    def on_deadline(self, now: Instant[Mono]) -> list[PtpEffect]:
        """Timers that rang."""
        effects: list[PtpEffect] = []
        for number, port in self.ports.items():
            effects += port.on_deadline(now)
            effects += self._signals[number].on_deadline(now)
            if number in self.unicast:
                effects += self.unicast[number].on_deadline(now)
        for number, port in self.ports.items():
            if port.take_timeout() and port.parent is not None and self.context.settings.bmca in _WATCHES_SYNC:
                # 802.1AS, 10.3.11.2.1: who announces himself and sends no time is no grandmaster. G.8265.1, 6.7.3.2.
                self._foreign[number].give_up(port.parent, now)
        effects += self._metadata.on_deadline(now)
        expired = [table.expire(now) for table in self._foreign.values()]
        for number in [number for number, at in self._receipt.items() if at <= now]:
            del self._receipt[number]
            effects += self._unheard(self.ports[number], now)
        if any(expired):
            effects += self._decide(now)
        return effects

    def on_sent(self, number: int, token: int, stamp: Stamp | None, now: Instant[Mono]) -> list[PtpEffect]:
        """The transmit stamp of an event message."""
        effects = list(self.ports[number].on_sent(token, stamp, now))
        if number in self.unicast:
            effects += self.unicast[number].on_sent(token, stamp)
        return effects

    def on_message(
        self, number: int, data: bytes, stamp: Stamp | None, source: str, now: Instant[Mono]
    ) -> list[PtpEffect]:
        """A message came in by a port."""
        port = self.ports[number]
        try:
            message = ptp.decode(data)
        except WireError:
            port.counters.drops["malformed"] += 1
            return [Dropped("malformed")]
        header = message.header
        ours = (header.domain, header.sdo_id) == (self.context.settings.domain, self.context.settings.sdo_id)
        if not ours and not (isinstance(message, PdelayReq) and header.sdo_id == _CMLDS_SDO):
            return []
        security = self.context.security
        if security is not None and (refusal := security.refusal(number, message, data, now)) is not None:
            port.counters.drops[refusal] += 1
            return [Dropped(refusal)]
        port.counters.received[MESSAGE_TYPES[type(message)]] += 1
        return self._dispatch(port, message, stamp, source, now)

    def _dispatch(
        self, port: Port, message: Message, stamp: Stamp | None, source: str, now: Instant[Mono]
    ) -> list[PtpEffect]:
        negotiation = self.unicast.get(port.settings.number)
        if negotiation is not None and not negotiation.admits(message, source, now):
            return list(negotiation.stranger(message, source, now))
        match message:
            case Announce():
                preference = None if negotiation is None else negotiation.preference(source)
                return self._on_announce(port, message, preference, now)
            case Sync() | DelayReq() | PdelayReq() | PdelayResp():
                return [*port.on_event(message, stamp, source, now), *self._pass_on(now)]
            case FollowUp() | DelayResp() | PdelayRespFollowUp():
                return [*port.on_general(message, now), *self._pass_on(now)]
            case Signaling() if port.state in _DEAF:
                return []
            case Signaling():
                effects = list(self._signals[port.settings.number].on_signaling(message, now))
                return (
                    effects if negotiation is None else effects + list(negotiation.on_signaling(message, source, now))
                )
            case Management():
                # What asks is answered by whoever owns the view; see timesync.ptp.management.
                self._metadata.on_management(message, port, now)
                return []
            case _:
                assert_never(message)

    def _pass_on(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The grandmaster's time came in: out by the other ports with it."""
        if self.context.relay is not None and self.context.relay.news():
            for port in self.ports.values():
                yield from port.pass_on(now)

    # -- decisions

    def _on_announce(
        self, port: Port, message: Announce, preference: int | None, now: Instant[Mono]
    ) -> list[PtpEffect]:
        if port.state in _DEAF:
            return []
        if self.context.settings.gptp and not port.link.as_capable:
            port.counters.drops["not-as-capable"] += 1
            return []
        if self.context.settings.bmca is Bmca.NONE:
            return []
        heard = self._foreign[port.settings.number].on_announce(message, now, preference)
        if heard.refused:
            port.counters.drops[heard.value] += 1
            return [Dropped(heard.value)]
        if heard in (Heard.CHANGED, Heard.UNCHANGED):
            # One that is only noted is no reason to wait longer.
            self._expect(port, now)
        return self._decide(now) if heard is Heard.CHANGED else []

    def _expect(self, port: Port, now: Instant[Mono]) -> None:
        """Start ``announceReceiptTimeout`` (9.2.6.12) where nobody is qualified yet; who is, times out by himself."""
        if port.settings.role is Role.TIME_TRANSMITTER or self.context.settings.bmca is Bmca.NONE:
            self._receipt.setdefault(port.settings.number, now)
            return
        if self._foreign[port.settings.number].best(now) is not None:
            self._receipt.pop(port.settings.number, None)
            return
        log_interval = port.settings.intervals.announce
        span = Duration.from_s(2.0 ** (1 if log_interval is None else log_interval))
        wait = span * port.settings.announce_receipt_timeout
        wait += Duration(round(span.scaled_ns * self.context.rng.random()))
        self._receipt[port.settings.number] = now + wait

    def _unheard(self, port: Port, now: Instant[Mono]) -> list[PtpEffect]:
        """Nobody worth following has been heard on a port for too long."""
        if port.settings.role is Role.TIME_TRANSMITTER or self.context.settings.bmca is Bmca.NONE:
            return self._decide(now)
        reason = "no Announce of a clock to follow came in time"
        effects = list(port.event(PortEvent.ANNOUNCE_RECEIPT_TIMEOUT_EXPIRES, now, reason))
        return effects + self._decide(now)

    def _decide(self, now: Instant[Mono]) -> list[PtpEffect]:
        """Hold the election and write the data sets (9.3.2, tables 30 to 33)."""
        settings = self.context.settings
        own = None if settings.slave_only else own_candidate(self.context.default)
        bests = {number: self._foreign[number].best(now) for number in self.ports}
        best = elect((one for one in bests.values() if one is not None), settings.bmca)
        effects: list[PtpEffect] = []
        decisions: dict[int, Decision] = {}
        for number, port in self.ports.items():
            if port.state in _DEAF:
                continue
            question = Question(
                port=port.identity,
                state=port.state,
                own=own,
                best=best,
                port_best=bests[number],
                role=port.settings.role,
                shadowed=self._foreign[number].shadowed(now),
            )
            decision = decide(question, settings.bmca)
            if decision is not None:
                decisions[number] = decision
        receiving = next((number for number, one in decisions.items() if one.state is PortState.TIME_RECEIVER), None)
        effects += self._write(receiving, decisions)
        if self.context.relay is not None:
            clock = None if receiving is None else self.ports[receiving].settings.clock
            self.context.relay.receive_by(receiving, clock)
        for number, decision in decisions.items():
            effects += self._recommend(self.ports[number], decision, now)
        for negotiation in self.unicast.values():
            effects += negotiation.follow(now)
        if receiving is not None:
            # The core need not wait for what the other ports may hear.
            others = (port for number, port in self.ports.items() if number != receiving)
            effects += [Status(port.status()) for port in others if port.settings.role is not Role.TIME_TRANSMITTER]
        return effects

    def _write(self, receiving: int | None, decisions: dict[int, Decision]) -> list[PtpEffect]:
        """The data sets, whole."""
        before = self.context.sets
        if receiving is None:
            after = as_grandmaster(self.context.default, self.context.local)
        else:
            parent = decisions[receiving].parent
            if parent is None:
                after = as_unannounced(self.context.default, self.context.local)
            else:
                after = as_time_receiver(parent.announce)
        if self.context.uncertain is not None:
            after = replace(after, time_properties=replace(after.time_properties, uncertain=self.context.uncertain))
        self.context.sets = after
        if after.parent.parent == before.parent.parent and after.parent.grandmaster == before.parent.grandmaster:
            return []
        if receiving is None:
            return [ParentChanged(None, "this clock is the grandmaster")]
        text = f"{after.parent.parent}, grandmaster {identity_text(after.parent.grandmaster)}"
        return [ParentChanged(receiving, text)]

    def _recommend(self, port: Port, decision: Decision, now: Instant[Mono]) -> Iterator[PtpEffect]:
        event = decision.event(port.parent if port.state in FOLLOWING_STATES else None)
        before = port.state
        effects: Iterable[PtpEffect] = list(port.event(event, now, decision.reason))
        if decision.state is PortState.TIME_RECEIVER:
            port.follow(None if decision.parent is None else decision.parent.sender, now)
        if port.state is PortState.PRE_TIME_TRANSMITTER:
            if not decision.qualification:
                effects = [*effects, *port.event(PortEvent.QUALIFICATION_TIMEOUT_EXPIRES, now, decision.reason)]
            elif before is not PortState.PRE_TIME_TRANSMITTER:
                port.qualify(decision.qualification, now)
        yield from _merged(effects)


def _merged(effects: Iterable[PtpEffect]) -> Iterator[PtpEffect]:
    """A state that is passed through at once is not worth telling."""
    held: StateChanged | None = None
    for effect in effects:
        if isinstance(effect, StateChanged):
            held = effect if held is None else StateChanged(effect.port, held.before, effect.after, effect.reason)
        else:
            yield effect
    if held is not None:
        yield held
