"""The delay request-response mechanism, requesting side (IEEE 1588-2019, 11.3)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from timesync.base.machine import Rng
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.ptp.follower import SyncSample
from timesync.ptp.timers import interval
from timesync.wire.ptp import CORRECTION_TOO_BIG
from timesync.wire.ptp_message import LOG_INTERVAL_NONE, DelayResp, Flags

_KEPT = 8
_PATIENCE = Duration.from_s(5)
_SOON = Duration.from_ns(8_000_000)
_SPREAD_LEAST, _SPREAD_MOST = 0.5, 1.5
"""Requests are spread around their mean interval (9.5.11.2 allows 0 to 2); narrower keeps samples evenly spaced."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One Delay_Req and what came back, beside the Sync before it.

    Attributes:
        sync: The Sync.
        departure: t3: when the Delay_Req left.
        arrival: t4: when it came to the timeTransmitter, with all corrections of the way taken out.
    """

    sync: SyncSample
    departure: Stamp
    arrival: Instant[Tai]

    @property
    def offset(self) -> Duration:
        """Local clock minus timeTransmitter, half way between the two messages."""
        return (self.sync.apart - (self.arrival - self.departure.at)) // 2

    @property
    def delay(self) -> Duration:
        """Mean of the one-way delays."""
        return (self.sync.apart + (self.arrival - self.departure.at)) // 2

    @property
    def at(self) -> Instant[Tai]:
        """The local clock half way between the two messages, where ``offset`` is exact whatever its frequency."""
        return self.sync.arrival.at + (self.departure.at - self.sync.arrival.at) // 2


@dataclass(slots=True)
class _Pending:
    sync: SyncSample
    sent: Instant[Mono]
    departure: Stamp | None = None
    stamped: bool = False
    arrival: Instant[Tai] | None = None


class DelayRequester:
    """Decides when to ask, and joins stamps and answers by sequence number."""

    def __init__(self, log_interval: int, rng: Rng) -> None:
        """Ask as often as this at first; the timeTransmitter says how often it will be asked."""
        self.log_interval = log_interval
        self._rng = rng
        self._pending: dict[int, _Pending] = {}
        self._next: Instant[Mono] | None = None
        self._sequence = 0

    def reset(self) -> None:
        """Another timeTransmitter, or another epoch of the local clock."""
        self._pending.clear()
        self._next = None

    def due(self, sync: SyncSample, now: Instant[Mono]) -> Instant[Mono] | None:
        """A Sync came: when to send a Delay_Req after it; None: not after this one."""
        self._expire(now)
        if self._next is not None and now + _SOON < self._next:
            return None
        gap = interval(self.log_interval)
        shortest = interval(sync.sync.log_interval) if sync.sync.log_interval < LOG_INTERVAL_NONE else gap
        spread = _SPREAD_LEAST + (_SPREAD_MOST - _SPREAD_LEAST) * self._rng.random()
        if gap <= shortest:
            # After every Sync: its own timer spreads the requests of many clocks, and each Sync is used.
            spread = _SPREAD_LEAST
        self._next = now + Duration(round(gap.scaled_ns * spread))
        span = min(_SOON.scaled_ns, min(gap, shortest).scaled_ns // 8)
        return now + Duration(round(span * self._rng.random()))

    def asked(self, sync: SyncSample, now: Instant[Mono]) -> int:
        """A Delay_Req is sent now; returns its sequence number."""
        self._sequence = (self._sequence + 1) & 0xFFFF
        while len(self._pending) >= _KEPT:
            del self._pending[next(iter(self._pending))]
        self._pending[self._sequence] = _Pending(sync, now)
        return self._sequence

    def on_sent(self, sequence: int, stamp: Stamp | None) -> Exchange | None:
        """The transmit stamp; None when it is lost, and with it the exchange."""
        pending = self._pending.get(sequence)
        if pending is None:
            return None
        if stamp is None:
            del self._pending[sequence]
            return None
        pending.departure = stamp
        return self._complete(sequence, pending)

    def on_answer(self, message: DelayResp, now: Instant[Mono]) -> Exchange | str | None:
        """A Delay_Resp for us from the timeTransmitter that we follow."""
        self._expire(now)
        pending = self._pending.get(message.header.sequence_id)
        if pending is None or pending.arrival is not None:
            return "unasked"
        if message.header.correction >= CORRECTION_TOO_BIG:
            return "correction"
        if Flags.UNICAST not in message.header.flags and message.header.log_interval != LOG_INTERVAL_NONE:
            self.log_interval = min(max(message.header.log_interval, -10), 22)
        pending.arrival = message.receive - message.header.correction
        return self._complete(message.header.sequence_id, pending)

    def _complete(self, sequence: int, pending: _Pending) -> Exchange | None:
        if pending.departure is None or pending.arrival is None:
            return None
        del self._pending[sequence]
        return Exchange(pending.sync, pending.departure, pending.arrival)

    def _expire(self, now: Instant[Mono]) -> None:
        for sequence in [key for key, one in self._pending.items() if now - one.sent > _PATIENCE]:
            del self._pending[sequence]


def shifted(exchange: Exchange, asymmetry: Duration) -> Exchange:
    """The exchange with a known asymmetry taken out: positive when the way from the timeTransmitter is longer."""
    sync = replace(exchange.sync, origin=exchange.sync.origin + asymmetry)
    return Exchange(sync, exchange.departure, exchange.arrival + asymmetry)
