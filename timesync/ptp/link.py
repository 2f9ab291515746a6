"""The link of a port: peer delay asked and answered, and with gPTP whether the neighbour is fit to be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TypeVar

from timesync.base.machine import Dropped, Noted
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.context import Context, Headers, PortCounters
from timesync.ptp.effect import PtpEffect, SendEvent, SendGeneral
from timesync.ptp.peer_delay import LinkDelay, PeerDelay
from timesync.ptp.settings import Bmca, DelayMechanism, PortSettings
from timesync.ptp.timers import Timers, interval
from timesync.wire.ptp_message import Flags, Header, MessageType, PdelayReq, PdelayResp, PdelayRespFollowUp

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class LinkMemory:
    """What is kept of a link over a restart.

    Attributes:
        delay: ``meanLinkDelay``.
        rate_ratio: ``neighborRateRatio``; None while unknown.
    """

    delay: Duration
    rate_ratio: float | None = None


_KEPT = 16
_NEGATIVE_GUARD = Duration.from_s(-0.02)
"""A link cannot be shorter than nothing; slightly negative values come from stamps and calibration."""


class Link:
    """One port's end of a link."""

    def __init__(
        self, settings: PortSettings, context: Context, headers: Headers, counters: PortCounters, timers: Timers
    ) -> None:
        self.peer = PeerDelay(headers.identity, gptp=context.settings.gptp)
        self.log_interval = settings.intervals.delay
        self._settings = settings
        self._context = context
        self._headers = headers
        self._counters = counters
        self._timers = timers
        self._asking: dict[int, int] = {}
        self._answering: dict[int, tuple[PdelayReq, Header, str]] = {}
        self._capable = False
        self._silent = False
        self._kept: LinkMemory | None = None
        self.reason = "no answer from the neighbour yet"

    @property
    def mean(self) -> Duration | None:
        """``meanLinkDelay``."""
        return self.peer.mean

    @property
    def as_capable(self) -> bool:
        """``asCapable`` (802.1AS, 10.2.5.1); where roles are fixed it is true as soon as the link is up (Avnu)."""
        return self._capable or self._context.settings.bmca is Bmca.NONE

    def configure(self, settings: PortSettings) -> None:
        """Another threshold, other corrections."""
        self._settings = settings

    def begin(self, now: Instant[Mono]) -> None:
        """The port works: ask the neighbour, where peer delay is used."""
        if self._settings.mechanism is DelayMechanism.P2P:
            self._timers.start("pdelay", now)
        if self._kept is not None:
            self.restore(self._kept)

    def end(self) -> None:
        """The port does not work, or the link is down."""
        self._timers.stop("pdelay")
        if self._context.settings.bmca is Bmca.NONE:
            # Avnu automotive: the neighbour is always the same one.
            self._kept = self.memory() or self._kept
        self.log_interval = self._settings.intervals.delay
        self._silent = False
        self._asking.clear()
        self._answering.clear()
        self.peer.reset()
        self._capable, self.reason = False, "the link is down"

    def memory(self) -> LinkMemory | None:
        """What is worth keeping over a restart; None before anything is known."""
        mean = self.peer.mean
        return None if mean is None else LinkMemory(mean, self.peer.rate_ratio)

    def restore(self, kept: LinkMemory) -> None:
        """Believe what was kept until it is measured (Avnu automotive)."""
        self._kept = kept
        self.peer.remember(kept.delay, kept.rate_ratio)

    def neighbor_silent(self, *, silent: bool) -> Iterator[PtpEffect]:
        """The neighbour said that it speaks gPTP and says so no more, or does again (802.1AS, 10.4.2)."""
        self._silent = silent
        yield from self._judge()

    def clock_stepped(self) -> None:
        """Stamps of before and after cannot be combined; the link is as long as it was."""
        self._asking.clear()
        self._answering.clear()

    def on_timer(self, name: str, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Time to ask the neighbour."""
        assert name == "pdelay", name
        self._timers.start("pdelay", now + interval(self.log_interval))
        sequence = self.peer.asks(now)
        yield from self._judge()
        header = self._headers.make(MessageType.PDELAY_REQ, sequence=sequence, log_interval=self._said())
        token = self._token(self._asking)
        self._asking[token] = sequence
        self._counters.sent[MessageType.PDELAY_REQ] += 1
        yield SendEvent(
            port=self._settings.number, data=self._headers.encode(PdelayReq(header)), token=token, peer=True
        )

    def _said(self) -> int:
        """With gPTP a request tells its interval, in 1588 it does not (table 42)."""
        return self.log_interval if self._context.settings.gptp else 0x7F

    def on_request(self, message: PdelayReq, stamp: Stamp, source: str) -> Iterator[PtpEffect]:
        """A neighbour asks (11.4.2): answer in its domain, two-step."""
        if self._settings.mechanism is not DelayMechanism.P2P:
            return
        unicast = Flags.UNICAST in message.header.flags
        part = stamp.at.scaled_ns & 0xFFFF
        header = replace(
            self._headers.make(MessageType.PDELAY_RESP, sequence=message.header.sequence_id),
            domain=message.header.domain,
            sdo_id=message.header.sdo_id,
            flags=Flags.TWO_STEP | (Flags.UNICAST if unicast else Flags(0)),
            # 802.1AS adds what the time stamp cannot hold, 1588 takes it off (11.4.2 c: a receiver adds it).
            correction=Duration(part if self._context.settings.gptp else -part),
        )
        answer = PdelayResp(header, Instant(stamp.at.scaled_ns - part), message.header.source)
        token = self._token(self._answering)
        self._answering[token] = message, header, source if unicast else ""
        self._counters.sent[MessageType.PDELAY_RESP] += 1
        yield SendEvent(
            port=self._settings.number,
            data=self._headers.encode(answer),
            token=token,
            peer=True,
            destination=source if unicast else None,
        )

    def on_sent(self, token: int, stamp: Stamp | None, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The transmit stamp of a request or an answer."""
        if token in self._asking or token in self._answering:
            self._headers.stamped(stamp is not None)
        sequence = self._asking.pop(token, None)
        if sequence is not None:
            if stamp is None:
                self._counters.lost_stamps += 1
            else:
                stamp = replace(stamp, at=stamp.at + self._settings.egress_latency)
            yield from self._completed(self.peer.on_sent(sequence, stamp), now)
            return
        answering = self._answering.pop(token, None)
        if answering is None:
            return
        if stamp is None:
            self._counters.lost_stamps += 1
            return
        request, header, destination = answering
        left = stamp.at + self._settings.egress_latency
        part = left.scaled_ns & 0xFFFF
        follow_up = PdelayRespFollowUp(
            replace(
                header, flags=header.flags & ~Flags.TWO_STEP, correction=request.header.correction + Duration(part)
            ),
            Instant(left.scaled_ns - part),
            request.header.source,
        )
        self._counters.sent[MessageType.PDELAY_RESP_FOLLOW_UP] += 1
        yield SendGeneral(
            port=self._settings.number, data=self._headers.encode(follow_up), peer=True, destination=destination or None
        )

    def on_answer(self, message: PdelayResp, stamp: Stamp, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """A neighbour answered."""
        yield from self._completed(self.peer.on_answer(message, stamp), now)

    def on_follow_up(self, message: PdelayRespFollowUp, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """The second half of its answer."""
        yield from self._completed(self.peer.on_follow_up(message), now)

    def _completed(self, result: LinkDelay | str | None, now: Instant[Mono]) -> Iterator[PtpEffect]:
        del now
        if isinstance(result, str):
            self._counters.drops[result] += 1
            yield Dropped(result)
        elif result is not None:
            yield from self._judge()

    def _judge(self) -> Iterator[PtpEffect]:
        """``asCapable``, with its reason (802.1AS, 11.2.2, 11.2.13.6)."""
        before = self._capable
        verdict = self._fault()
        self._capable = verdict is None
        self.reason = "the neighbour answers, and the link is short enough" if verdict is None else verdict
        if self._capable is not before and self._context.settings.gptp:
            word = "asCapable" if self._capable else "not asCapable"
            level = "info" if self._capable else "warning"
            text = f"{self._settings.name} is {word}: {self.reason}"
            yield Noted(level, "as-capable", text, self._settings.source)

    def _fault(self) -> str | None:
        peer, settings = self.peer, self._settings
        if self._silent:
            return "the neighbour no longer says that it speaks gPTP"
        if peer.mean is None:
            return "no whole answer from the neighbour yet"
        if peer.lost > settings.allowed_lost_responses:
            return f"{peer.lost} requests in a row had no answer, {settings.allowed_lost_responses} are allowed"
        limit = settings.neighbor_threshold
        if limit is not None and peer.mean > limit:
            return (
                f"the link delay of {peer.mean.s() * 1e9:.0f} ns is above the threshold of {limit.s() * 1e9:.0f} ns: "
                "is there a switch between that does not know gPTP?"
            )
        if peer.mean < _NEGATIVE_GUARD:
            return f"the link delay of {peer.mean.s() * 1e9:.0f} ns is negative: check the latencies of the port"
        if self._context.settings.gptp and peer.rate_ratio is None:
            return "the neighbour's frequency is not known yet"
        return None

    def _token(self, table: dict[int, T]) -> int:
        while len(table) >= _KEPT:
            del table[next(iter(table))]
        return next(self._context.tokens)
