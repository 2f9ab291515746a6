"""A port in TIME_TRANSMITTER: Announce, Sync with Follow_Up, and answers to Delay_Req (IEEE 1588-2019, 9.5, 11.3)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.context import Context, Headers, PortCounters
from timesync.ptp.datasets import announced
from timesync.ptp.effect import PtpEffect, SendEvent, SendGeneral
from timesync.ptp.settings import PortSettings
from timesync.ptp.timers import Timers, interval
from timesync.wire import gptp_tlv, ptp
from timesync.wire.ptp_message import NO_FLAGS, DelayReq, DelayResp, Flags, FollowUp, Header, MessageType, Sync, Tlv

_KEPT = 16


@dataclass(slots=True)
class _Waiting:
    header: Header
    at: Instant[Mono]


class Leader:
    """Gives time to others. The current intervals may be changed by whom they are for (802.1AS, 10.6.4.3)."""

    def __init__(self, settings: PortSettings, context: Context, headers: Headers, counters: PortCounters) -> None:
        self.intervals = settings.intervals
        self._settings = settings
        self._context = context
        self._headers = headers
        self._counters = counters
        self._waiting: dict[int, _Waiting] = {}

    def configure(self, settings: PortSettings) -> None:
        """Other corrections."""
        self._settings = settings

    def begin(self, timers: Timers, now: Instant[Mono]) -> None:
        """Send at once, and then at the intervals; to single clients only see ``negotiation``."""
        if self._settings.unicast is not None and self._settings.unicast.only:
            return
        if self.intervals.announce is not None:
            timers.start("announce", now)
        timers.start("sync", now)

    def end(self, timers: Timers) -> None:
        """Send no more."""
        timers.stop("announce", "sync")
        self._waiting.clear()

    def announce(self, timers: Timers, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The announce timer rang."""
        log_interval = self.intervals.announce
        if log_interval is None:
            return
        timers.start("announce", now + interval(log_interval))
        header = self._headers.make(MessageType.ANNOUNCE, log_interval=log_interval)
        context = self._context
        message = announced(context.sets, header, path_trace=context.settings.path_trace, extras=context.extras)
        self._counters.sent[MessageType.ANNOUNCE] += 1
        yield SendGeneral(port=self._settings.number, data=self._headers.encode(message))

    def sync(self, timers: Timers, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The sync timer rang."""
        timers.start("sync", now + interval(self.intervals.sync))
        relay = self._context.relay
        waits = relay is not None and relay.serves(self._settings.clock)
        if waits and relay is not None and (relay.paced(self.intervals.sync) or not relay.fresh(now)):
            return
        yield from self.send_sync(now)

    def relayed(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The grandmaster's time came in: pass it on at once, when Sync goes out as often as it comes in."""
        relay = self._context.relay
        if relay is not None and relay.serves(self._settings.clock) and relay.paced(self.intervals.sync):
            yield from self.send_sync(now)

    def send_sync(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """A Sync, now."""
        token = next(self._context.tokens)
        self._counters.sent[MessageType.SYNC] += 1
        if self._context.sends_one_step(self._settings.number):
            header = self._headers.make(MessageType.SYNC, log_interval=self.intervals.sync)
            yield SendEvent(port=self._settings.number, data=one_step(header, self._settings), token=token)
            return
        header = self._headers.make(MessageType.SYNC, log_interval=self.intervals.sync, flags=Flags.TWO_STEP)
        while len(self._waiting) >= _KEPT:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[token] = _Waiting(header, now)
        yield SendEvent(port=self._settings.number, data=self._headers.encode(Sync(header)), token=token)

    def on_sent(self, token: int, stamp: Stamp | None) -> Iterator[PtpEffect]:
        """The transmit stamp of a Sync: its Follow_Up; without a stamp the Sync is worth nothing and is left alone."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return
        self._headers.stamped(stamp is not None)
        if stamp is None:
            self._counters.lost_stamps += 1
            return
        header = replace(waiting.header, flags=waiting.header.flags & ~Flags.TWO_STEP)
        stamp = replace(stamp, at=stamp.at + self._settings.egress_latency)
        relay = self._context.relay
        if relay is not None and relay.serves(self._settings.clock):
            passed = relay.passed(stamp)
            if passed is None:
                return  # the clock was stepped meanwhile: this Sync is worth nothing
            message = FollowUp(
                replace(header, correction=passed.correction), passed.origin, (passed.information.to_tlv(),)
            )
        else:
            whole, part = ptp.whole_ns(self._context.told(stamp.at))
            message = FollowUp(replace(header, correction=part), whole, self._information())
        self._counters.sent[MessageType.FOLLOW_UP] += 1
        yield SendGeneral(port=self._settings.number, data=self._headers.encode(message))

    def answer(self, message: DelayReq, stamp: Stamp, source: str) -> Iterator[PtpEffect]:
        """A Delay_Req: when it came (11.3.2)."""
        unicast = Flags.UNICAST in message.header.flags
        whole, part = ptp.whole_ns(self._context.told(stamp.at))
        header = self._headers.make(
            MessageType.DELAY_RESP,
            sequence=message.header.sequence_id,
            log_interval=0x7F if unicast else self.intervals.delay,
            flags=Flags.UNICAST if unicast else NO_FLAGS,
            # The receiver subtracts the correction, so what the time stamp cannot hold is taken off it.
            correction=_left_over(message.header.correction, part),
        )
        response = DelayResp(header, whole, message.header.source)
        self._counters.sent[MessageType.DELAY_RESP] += 1
        yield SendGeneral(
            port=self._settings.number,
            data=self._headers.encode(response),
            destination=source if unicast or self._settings.hybrid else None,
        )

    def _information(self) -> tuple[Tlv, ...]:
        """The Follow_Up information TLV (802.1AS, 11.4.4.3): the time is our own, so nothing has accumulated.

        ``scaledLastGmFreqChange`` is 0: our clocks are set, and go on at the rate that they had.
        """
        if not self._context.settings.gptp:
            return ()
        context = self._context
        information = gptp_tlv.FollowUpInformation(
            time_base_indicator=context.time_base, last_phase_change=context.phase_change
        )
        return (information.to_tlv(),)


def one_step(header: Header, settings: PortSettings) -> bytes:
    """A Sync into which the card writes when it left (7.3.8.3): what its stamp lacks is in ``correctionField``."""
    return ptp.encode(Sync(replace(header, correction=settings.egress_latency)))


def _left_over(correction: Duration, part: Duration) -> Duration:
    """A correction less a part of a nanosecond; one that nobody may use stays so (13.3.2.9)."""
    return correction if correction >= ptp.CORRECTION_TOO_BIG else correction - part
