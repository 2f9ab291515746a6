"""A client of CSPTP: it asks one server again and again, and measures how far its own clock is from the server's.

Nothing protects an answer but the address that it comes from and 16 random bits: use it where the network is trusted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from timesync.base.ids import ClockId, ClockIdentity, LinkId, SourceId
from timesync.base.machine import Dropped, Entropy, Measured, Rng, Status
from timesync.base.measure import Leap, Measurement, Quality, SourceStatus, Stamp, StampSource
from timesync.base.time import UNITS_PER_S, Duration, Instant, Mono
from timesync.base.utc import LeapTable
from timesync.ptp.csptp.exchange import Exchange, Sample, measure
from timesync.ptp.csptp.message import Request, Response, parse, request
from timesync.ptp.effect import SendEvent
from timesync.ptp.outlook import PTP_REFERENCE, remote_quality
from timesync.wire.error import WireError
from timesync.wire.ptp_message import ClockQuality, Flags, FollowUp

TIMEOUT: Final = Duration.from_s(1)
"""How long an answer is waited for, unless the next request leaves before."""

SPREAD: Final = 0.1
"""Intervals vary by so much either way, so that clients do not keep step with each other."""

LOST_BEFORE_SLOWER: Final = 8
"""So many requests in a row without a sample double the interval."""

_PORT = 1
_REACH = 0xFF
_UNKNOWN_STRATUM = 16

ClientEffect = SendEvent | Measured | Status | Dropped


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What the configuration says of one server.

    Attributes:
        source: Its name.
        link: The link that its measurements come over.
        local: The clock that stamps the messages.
        server: Its numeric address.
        domain: ``domainNumber``.
        poll_min: Shortest interval between requests, log2 s.
        poll_max: Longest.
        stamp_noise_s: One standard deviation of a stamp of ours, seconds.
        identity: What our own server calls itself; a server that names it as its grandmaster is not followed.
            Ours name themselves, whomever they follow: between two of ours only a server that asks itself is found.
    """

    source: SourceId
    link: LinkId
    local: ClockId
    server: str
    domain: int
    poll_min: int
    poll_max: int
    stamp_noise_s: float
    identity: ClockIdentity


@dataclass(slots=True)
class _Known:
    """What is known of the server.

    Attributes:
        reach: The last eight requests, newest in bit 0.
        sent: Requests sent.
        received: Samples made.
        lost: Requests in a row that made none.
        stratum: As for other sources; 16 while unknown.
        leap: As last said.
        source: Where our stamps were taken; None before the first sample.
        loop: It takes its time from us.
    """

    reach: int = 0
    sent: int = 0
    received: int = 0
    lost: int = 0
    stratum: int = _UNKNOWN_STRATUM
    leap: Leap = Leap.UNKNOWN
    source: StampSource | None = None
    loop: bool = False


class CsptpClient:
    """One server and we.

    Attributes:
        drops: Refused answers by reason.
    """

    def __init__(self, settings: ClientSettings, leap_table: LeapTable, rng: Rng, entropy: Entropy) -> None:
        """The first request leaves at the first deadline.

        Args:
            settings: The configuration.
            leap_table: TAI - UTC, for servers that do not give TAI.
            rng: For spreading requests in time.
            entropy: For sequence numbers.
        """
        self.drops: Counter[str] = Counter()
        self._settings = settings
        self._leap_table = leap_table
        self._rng = rng
        self._entropy = entropy
        self._known = _Known()
        self._wanted = settings.poll_min
        self._next_at: Instant[Mono] = Instant(0)
        self._sent_at: Instant[Mono] | None = None
        self._token = 0
        self._exchange: Exchange | None = None

    # -- time

    def deadline(self) -> Instant[Mono]:
        """When ``on_deadline`` wants to be called next."""
        return self._next_at if self._exchange is None else min(self._next_at, self._exchange.expires)

    def on_deadline(self, now: Instant[Mono]) -> Iterator[ClientEffect]:
        """Give an answer up, or ask again."""
        if self._exchange is not None and now >= min(self._exchange.expires, self._next_at):
            yield from self._lose(None)
        if now >= self._next_at:
            yield self._ask(now)

    @property
    def poll(self) -> int:
        """The present interval between requests, log2 s."""
        return min(self._wanted + self._known.lost // LOST_BEFORE_SLOWER, self._settings.poll_max)

    def set_poll(self, exponent: int, now: Instant[Mono]) -> None:
        """Advice of the core, kept within what is configured; a shorter interval counts from the last request."""
        self._wanted = min(max(exponent, self._settings.poll_min), self._settings.poll_max)
        if self._sent_at is not None:
            self._next_at = max(min(self._next_at, self._sent_at + self._interval()), now)

    def ask_soon(self, now: Instant[Mono]) -> None:
        """Ask again without waiting, as fast as is configured."""
        soonest = now if self._sent_at is None else self._sent_at + _power(self._settings.poll_min)
        self._next_at = max(min(self._next_at, soonest), now)

    def _ask(self, now: Instant[Mono]) -> SendEvent:
        sequence_id = int.from_bytes(self._entropy(2), "big")
        self._token += 1
        self._exchange = Exchange(self._token, sequence_id, now + TIMEOUT)
        self._known.sent += 1
        self._known.reach = self._known.reach << 1 & _REACH
        self._sent_at = now
        spread = 1 + SPREAD * (2 * self._rng.random() - 1)
        self._next_at = now + Duration(round(self._interval().scaled_ns * spread))
        data = request(self._settings.domain, sequence_id)
        return SendEvent(port=_PORT, data=data, token=self._token, destination=self._settings.server)

    def _interval(self) -> Duration:
        return _power(self.poll)

    # -- what comes

    def on_sent(self, token: int, stamp: Stamp | None) -> Iterator[ClientEffect]:
        """The transmit stamp of a request, or None when it is lost, or nothing was sent."""
        exchange = self._exchange
        if exchange is None or token != exchange.token:
            return
        if stamp is None or stamp.clock != self._settings.local:
            yield from self._lose("stamp")
            return
        exchange.t1 = stamp
        yield from self._finish()

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> Iterator[ClientEffect]:
        """A message came from an address; the stamp is of event messages only.

        What others send is not for us: their server may be another client's, or we theirs.
        """
        if source != self._settings.server:
            return
        try:
            message = parse(data)
        except WireError:
            yield self._drop("malformed")
            return
        if isinstance(message, Request):
            return  # the server is a client of ours
        exchange = self._exchange
        if exchange is None:
            yield self._drop("late")
        elif (message.header.domain, message.header.sequence_id) != (self._settings.domain, exchange.sequence_id):
            yield self._drop("sequence")
        elif isinstance(message, FollowUp):
            yield from self._followed(exchange, message)
        else:
            yield from self._answered(exchange, message, stamp)

    def _followed(self, exchange: Exchange, message: FollowUp) -> Iterator[ClientEffect]:
        if exchange.follow_up is not None:
            yield self._drop("duplicate")
            return
        exchange.follow_up = message
        yield from self._finish()

    def _answered(self, exchange: Exchange, message: Response, stamp: Stamp | None) -> Iterator[ClientEffect]:
        if exchange.response is not None:
            yield self._drop("duplicate")
        elif stamp is None or stamp.clock != self._settings.local:
            yield self._drop("stamp")
        else:
            exchange.response = message, stamp
            yield from self._finish()

    def _finish(self) -> Iterator[ClientEffect]:
        """Measure, once all is there."""
        exchange = self._exchange
        if exchange is None or exchange.response is None or not exchange.complete:
            return
        quality = self._learn(exchange.response[0])
        sample = measure(exchange, self._leap_table, self._settings.stamp_noise_s)
        if isinstance(sample, str):
            yield from self._lose(sample)
            return
        if self._known.loop:
            yield from self._lose("loop")
            return
        self._exchange = None
        self._known.lost = 0
        self._known.received += 1
        self._known.reach |= 1
        self._known.source = sample.source
        yield Status(self.status())
        yield Measured(self._measurement(sample, quality))

    def _learn(self, response: Response) -> Quality:
        """What the server says of itself; who says nothing is like a grandmaster that knows nothing of its clock."""
        status = response.status
        quality = remote_quality(
            ClockQuality() if status is None else status.quality,
            1 if status is None else status.steps_removed + 1,
            _leap(response.header.flags),
            self._settings.stamp_noise_s,
        )
        self._known.stratum, self._known.leap = quality.stratum, quality.leap
        self._known.loop = status is not None and status.grandmaster == self._settings.identity
        return quality

    def _measurement(self, sample: Sample, quality: Quality) -> Measurement:
        return Measurement(
            link=self._settings.link,
            local=self._settings.local,
            remote=ClockId(self._settings.source),
            at=sample.at,
            epoch=sample.epoch,
            offset=sample.offset,
            delay=sample.delay,
            noise_s=self._settings.stamp_noise_s,
            quality=quality,
        )

    # -- what goes wrong

    def restart(self) -> Iterator[ClientEffect]:
        """Our clock was stepped: what is on its way is worth nothing."""
        if self._exchange is not None:
            yield from self._lose("epoch")

    def _lose(self, reason: str | None) -> Iterator[ClientEffect]:
        """The exchange came to nothing; None: no answer came."""
        self._exchange = None
        self._known.lost += 1
        if reason is not None:
            yield self._drop(reason)
        yield Status(self.status())

    def _drop(self, reason: str) -> Dropped:
        self.drops[reason] += 1
        return Dropped(reason)

    # -- views

    def status(self) -> SourceStatus:
        """What is known of the server."""
        known = self._known
        return SourceStatus(
            source=self._settings.source,
            reach=known.reach,
            poll_s=_power(self.poll).s(),
            sent=known.sent,
            received=known.received,
            dropped=sum(self.drops.values()),
            stratum=known.stratum,
            leap=known.leap,
            reference_id=PTP_REFERENCE,
            authenticated=False,
            interleaved=False,
            timestamping=known.source,
            excluded="it takes its time from this machine" if known.loop else None,
            stepped_back=False,
        )


def _power(log2: int) -> Duration:
    return Duration(UNITS_PER_S << log2 if log2 >= 0 else UNITS_PER_S >> -log2)


def _leap(flags: Flags) -> Leap:
    """The announced leap second; UNKNOWN where the server doubts its own time (IEEE 1588-2019, table 37)."""
    if Flags.SYNCHRONIZATION_UNCERTAIN in flags:
        return Leap.UNKNOWN
    if Flags.LEAP_61 in flags:
        return Leap.INSERT
    return Leap.DELETE if Flags.LEAP_59 in flags else Leap.NONE
