"""One PTP port: its state, its timers, and what it makes of each message (IEEE 1588-2019, 9.2 and 9.5)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import assert_never

from timesync.base.ids import ClockId, PortIdentity
from timesync.base.machine import Dropped, Measured, Noted, Status
from timesync.base.measure import Measurement, SourceStatus, Stamp
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.ptp import outlook
from timesync.ptp.context import Context, Headers, PortCounters
from timesync.ptp.delay_request import DelayRequester, Exchange, shifted
from timesync.ptp.effect import PtpEffect, SendEvent, StateChanged
from timesync.ptp.follower import SyncPairing, SyncSample
from timesync.ptp.following import FOLLOWING_STATES, Following
from timesync.ptp.gptp.relay import information
from timesync.ptp.leader import Leader
from timesync.ptp.link import Link
from timesync.ptp.settings import Bmca, DelayMechanism, PortSettings, Role
from timesync.ptp.states import PortEvent, PortState, transition
from timesync.ptp.timers import Timers, interval
from timesync.wire.ptp_message import (
    NO_FLAGS,
    DelayReq,
    DelayResp,
    EventMessage,
    Flags,
    FollowUp,
    MessageType,
    PdelayReq,
    PdelayResp,
    PdelayRespFollowUp,
    Sync,
)

_SILENT = (PortState.INITIALIZING, PortState.FAULTY, PortState.DISABLED)
_KEPT_ASKING = 32

GeneralReceived = FollowUp | DelayResp | PdelayRespFollowUp


class Port:
    """A port of an instance. What is common to the instance (data sets, decisions) it is told."""

    def __init__(self, settings: PortSettings, context: Context) -> None:
        self.settings = settings
        self.state = PortState.INITIALIZING
        self.parent: PortIdentity | None = None
        self.counters = PortCounters()
        self._context = context
        self._headers = Headers(context, settings)
        self._timers = Timers()
        self._leader = Leader(settings, context, self._headers, self.counters)
        self.link = Link(settings, context, self._headers, self.counters, self._timers)
        self._pairing = SyncPairing()
        self._requester = DelayRequester(settings.intervals.delay, context.rng)
        self._following = Following(log_interval=settings.intervals.sync)
        self._asking: dict[int, int] = {}
        self._timed_out = False

    # -- what others see

    @property
    def identity(self) -> PortIdentity:
        """``portIdentity``."""
        return self._headers.identity

    @property
    def mean_delay(self) -> Duration | None:
        """Of the link (peer to peer); what an end-to-end port measures is the core's to know."""
        return self.link.mean

    @property
    def headers(self) -> Headers:
        """Makes the headers of its messages."""
        return self._headers

    @property
    def leader(self) -> Leader:
        """What it sends in TIME_TRANSMITTER."""
        return self._leader

    @property
    def receiver_only(self) -> bool:
        """It never gives time."""
        return self._context.settings.slave_only or self.settings.role is Role.TIME_RECEIVER

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        return self._timers.deadline()

    @property
    def _held(self) -> bool:
        """Nothing is sent to a neighbour that does not speak gPTP (802.1AS, 10.2.12.3 and 10.3.16.3)."""
        return self._context.settings.gptp and not self.link.as_capable

    def take_timeout(self) -> bool:
        """Whether ``syncReceiptTimeout`` has passed without Sync since this was asked last."""
        timed_out, self._timed_out = self._timed_out, False
        return timed_out

    # -- life

    def event(self, event: PortEvent, now: Instant[Mono], reason: str) -> Iterator[PtpEffect]:
        """Something happened that may change the state (figures 30 and 31)."""
        before = self.state
        after = transition(before, event, receiver_only=self.receiver_only)
        if after is before:
            return
        self.state = after
        if before is PortState.TIME_TRANSMITTER:
            self._leader.end(self._timers)
        if after in _SILENT:
            self._forget()
            self.link.end()
            # A neighbour's wishes end with the link to it.
            self._leader.intervals = self.settings.intervals
        elif before in _SILENT:
            self.link.begin(now)
        if before in FOLLOWING_STATES and after not in FOLLOWING_STATES:
            self._forget()
        if after is PortState.TIME_TRANSMITTER:
            self._leader.begin(self._timers, now)
        if after is not PortState.PRE_TIME_TRANSMITTER:
            self._timers.stop("qualification")
        yield StateChanged(self.settings.number, before, after, reason)

    def qualify(self, intervals: int, now: Instant[Mono]) -> None:
        """PRE_TIME_TRANSMITTER lasts so many announce intervals (9.2.6.11)."""
        log_interval = self._leader.intervals.announce
        wait = interval(0 if log_interval is None else log_interval) * intervals
        self._timers.start("qualification", now + wait)

    def follow(self, parent: PortIdentity | None, now: Instant[Mono]) -> None:
        """Take time from this port from now on; None: from whoever sends (roles are fixed)."""
        if parent != self.parent or not self._timers.runs("sync-watch"):
            self._forget()
            self.parent = parent
            self._following = Following(log_interval=self.settings.intervals.sync)
            self._watch(now)

    def paced(self, sync: int | None, delay: int | None) -> None:
        """How often the parent granted Sync, and answers to Delay_Req: unicast messages do not say so themselves."""
        if sync is not None:
            self._following.log_interval = sync
        if delay is not None:
            self._requester.log_interval = delay

    def _forget(self) -> None:
        self._pairing.reset()
        self._requester.reset()
        self._timers.stop("ask", "sync-watch")
        self.parent = None

    def configure(self, settings: PortSettings) -> None:
        """Other corrections and thresholds. What is under way has the old ones taken out, and is forgotten."""
        self.settings = settings
        self._leader.configure(settings)
        self.link.configure(settings)
        self.clock_stepped()

    def clock_stepped(self) -> None:
        """The clock of the port was stepped: what is under way is worth nothing."""
        self._pairing.reset()
        self._requester.reset()
        self.link.clock_stepped()

    # -- time

    def on_deadline(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Timers that rang. A receipt time-out of Announce is the instance's to see."""
        for name in self._timers.expired(now):
            match name:
                case "announce" | "sync" if self._held:
                    self._timers.start(name, now + interval(self._leader.intervals.sync))
                case "announce":
                    yield from self._leader.announce(self._timers, now)
                case "sync":
                    yield from self._leader.sync(self._timers, now)
                case "ask":
                    yield from self._ask(now)
                case "sync-watch":
                    yield from self._missed(now)
                case "qualification":
                    reason = "no better clock was heard of meanwhile"
                    yield from self.event(PortEvent.QUALIFICATION_TIMEOUT_EXPIRES, now, reason)
                case _:
                    yield from self.link.on_timer(name, now)

    def on_sent(self, token: int, stamp: Stamp | None, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The transmit stamp of an event message."""
        sequence = self._asking.pop(token, None)
        if sequence is None:
            yield from self._leader.on_sent(token, stamp)
            yield from self.link.on_sent(token, stamp, now)
            return
        self._headers.stamped(stamp is not None)
        if stamp is None:
            self.counters.lost_stamps += 1
        elif (late := self.settings.egress_latency).scaled_ns:
            stamp = replace(stamp, at=stamp.at + late)
        exchange = self._requester.on_sent(sequence, stamp)
        if exchange is not None:
            yield from self._exchanged(exchange)

    # -- messages

    def on_event(
        self, message: EventMessage, stamp: Stamp | None, source: str, now: Instant[Mono]
    ) -> Iterator[PtpEffect]:
        """An event message; without a stamp it is worth nothing."""
        if self.state in _SILENT:
            return
        if stamp is None:
            yield self._drop("receive-stamp")
            return
        if early := self.settings.ingress_latency.scaled_ns:
            stamp = replace(stamp, at=stamp.at - Duration(early))
        match message:
            case Sync():
                if self._is_from_parent(message.header.source):
                    self._following.address = source
                    self._following.uncertain = Flags.SYNCHRONIZATION_UNCERTAIN in message.header.flags
                    yield from self._joined(self._pairing.on_sync(message, stamp, now), now)
            case DelayReq():
                if self.state is PortState.TIME_TRANSMITTER and self.settings.mechanism is DelayMechanism.E2E:
                    # The stamp's own latency is taken off above.
                    yield from self._leader.answer(message, stamp, source)
            case PdelayReq():
                yield from self.link.on_request(message, stamp, source)
            case PdelayResp():
                yield from self.link.on_answer(message, stamp, now)
            case _:
                assert_never(message)

    def on_general(self, message: GeneralReceived, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """A general message about time."""
        if self.state in _SILENT:
            return
        match message:
            case FollowUp():
                if self._is_from_parent(message.header.source):
                    yield from self._joined(self._pairing.on_follow_up(message, now), now)
            case DelayResp():
                if message.requesting != self.identity or not self._is_from_parent(message.header.source):
                    return
                answer = self._requester.on_answer(message, now)
                if isinstance(answer, str):
                    yield self._drop(answer)
                elif answer is not None:
                    yield from self._exchanged(answer)
            case PdelayRespFollowUp():
                yield from self.link.on_follow_up(message, now)
            case _:
                assert_never(message)

    def _is_from_parent(self, source: PortIdentity) -> bool:
        if self.state not in FOLLOWING_STATES or source.clock == self.identity.clock:
            return False
        return source == self.parent or (self.parent is None and self._context.settings.bmca is Bmca.NONE)

    # -- following

    def _joined(self, sample: SyncSample | str | None, now: Instant[Mono]) -> Iterator[PtpEffect]:
        if sample is None:
            return
        if isinstance(sample, str):
            yield self._drop(sample)
            return
        if self._context.settings.gptp and not self.link.as_capable:
            yield self._drop("not-as-capable")
            return
        self._following.joined(sample)
        self._watch(now)
        yield from self._time_base(sample)
        match self.settings.mechanism:
            case DelayMechanism.E2E:
                yield from self._schedule(sample, now)
            case DelayMechanism.P2P:
                yield from self._measure_link(sample)
            case DelayMechanism.NONE:
                yield from self._measured(sample.apart - self.settings.asymmetry, None, sample.arrival.at, sample)
            case _:
                assert_never(self.settings.mechanism)
        yield Status(self.status())

    def _schedule(self, sample: SyncSample, now: Instant[Mono]) -> Iterator[PtpEffect]:
        due = self._requester.due(sample, now)
        if due is None:
            return
        if due <= now:
            yield from self._ask(now)
        else:
            self._timers.start("ask", due)

    def _ask(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Send a Delay_Req (11.3.2)."""
        sample = self._following.last
        if sample is None or self.state not in FOLLOWING_STATES:
            return
        sequence = self._requester.asked(sample, now)
        alone = self.settings.hybrid or Flags.UNICAST in sample.sync.flags
        flags = Flags.UNICAST if alone else NO_FLAGS
        header = self._headers.make(MessageType.DELAY_REQ, sequence=sequence, flags=flags)
        token = next(self._context.tokens)
        self._asking[token] = sequence
        if len(self._asking) > _KEPT_ASKING:
            del self._asking[next(iter(self._asking))]
        self.counters.sent[MessageType.DELAY_REQ] += 1
        yield SendEvent(
            port=self.settings.number,
            data=self._headers.encode(DelayReq(header)),
            token=token,
            destination=self._following.address if alone else None,
        )

    def _exchanged(self, exchange: Exchange) -> Iterator[PtpEffect]:
        """A Sync and a Delay_Req with all four stamps."""
        here, there = exchange.sync.arrival, exchange.departure
        if (here.clock, here.epoch) != (there.clock, there.epoch):
            yield self._drop("epoch")
            return
        exchange = shifted(exchange, self.settings.asymmetry)
        yield from self._measured(exchange.offset, exchange.delay, exchange.at, exchange.sync)

    def _measure_link(self, sample: SyncSample) -> Iterator[PtpEffect]:
        delay = self.link.mean
        if delay is None:
            yield self._drop("link-delay")
            return
        if self._context.relay is not None:
            number, ratio = self.settings.number, self.link.peer.rate_ratio
            self._context.relay.heard(number, sample, delay, ratio, self.settings.asymmetry)
        yield from self._measured(sample.apart - delay - self.settings.asymmetry, delay, sample.arrival.at, sample)

    def _measured(
        self, offset: Duration, delay: Duration | None, at: Instant[Tai], sample: SyncSample
    ) -> Iterator[PtpEffect]:
        stamp = sample.arrival
        if not self._context.sets.time_properties.ptp_timescale:
            # ARB: what comes is no TAI. Those who give such time with a date give their system's (linuxptp with
            # software timestamps does): UTC.
            offset -= Duration.from_s(self._context.local.utc_offset)
        yield Measured(
            Measurement(
                link=self.settings.link,
                local=stamp.clock,
                remote=ClockId(f"ptp:{sample.sync.source}"),
                at=at,
                epoch=stamp.epoch,
                offset=offset,
                delay=delay,
                averaged=self.settings.mechanism is DelayMechanism.P2P,
                noise_s=self.settings.stamp_noise_s,
                quality=outlook.quality(
                    self._context.sets,
                    uncertain=self._following.uncertain,
                    precision_s=self.settings.stamp_noise_s,
                ),
            )
        )

    def pass_on(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The grandmaster's time came in by another port of this bridge."""
        if self.state is PortState.TIME_TRANSMITTER and not self._held:
            yield from self._leader.relayed(now)

    def _time_base(self, sample: SyncSample) -> Iterator[PtpEffect]:
        """The grandmaster tells when its own time has jumped (802.1AS, 9.2.2.3)."""
        told = information(sample.follow_up) if self._context.settings.gptp else None
        if told is None:
            return
        before, self._following.time_base = self._following.time_base, told.time_base_indicator
        if before is not None and before != told.time_base_indicator:
            text = f"{self.settings.name}: the grandmaster says that its time jumped by {told.last_phase_change}"
            yield Noted("warning", "time-base", text, self.settings.source)

    def _watch(self, now: Instant[Mono]) -> None:
        """Expect the next Sync in time."""
        self._timers.start("sync-watch", now + self._following.patience(self.settings))

    def _missed(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """No Sync came for too long."""
        first = self._following.missed()
        self._watch(now)
        self._timed_out = self.settings.sync_receipt_timeout is not None
        if first:
            text = f"{self.settings.name}: no Sync comes any more from {self.parent or 'anybody'}"
            yield Noted("warning", "sync-lost", text, self.settings.source)
        yield Status(self.status())

    def status(self) -> SourceStatus:
        """The port as a source of time."""
        dropped = sum(self.counters.drops.values())
        return self._following.status(self.settings, self._context.sets, self.state, dropped)

    def _drop(self, reason: str) -> Dropped:
        self.counters.drops[reason] += 1
        return Dropped(reason)
