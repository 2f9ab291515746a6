"""A time-aware bridge (IEEE 802.1AS-2020, 10.2): the grandmaster's time is passed on, not told anew.

A Sync that comes in by one port goes out by the others with the time stamp that the grandmaster gave it. What it spent
on the way is added to its correction: on the link before, and inside this bridge. Only how fast the own clock runs
against the grandmaster's matters for that, and not what it shows: a bridge whose clock is still wrong relays right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.ptp.follower import SyncSample
from timesync.ptp.timers import interval
from timesync.wire.error import WireError
from timesync.wire.gptp_tlv import RATE_UNIT, FollowUpInformation
from timesync.wire.ptp_message import LOG_INTERVAL_NONE, FollowUp

_INTERVALS_KEPT = 3
"""Sync intervals for which what came last is passed on (``syncReceiptTimeout``, 10.7.3.1)."""

_MOST_SCALED = (1 << 31) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream:
    """The grandmaster's time as it came in last (the structure PortSyncSync, 10.2.2.3).

    Attributes:
        origin: ``preciseOriginTimestamp``.
        correction: ``followUpCorrectionField``: that of Sync and Follow_Up together.
        departed: ``upstreamTxTime``: when it left the neighbour, by the clock of the port that it came by.
        rate_ratio: The grandmaster's frequency divided by that of the own clock.
        information: The Follow_Up information TLV.
        log_interval: Of Sync.
        received: When it came.
    """

    origin: Instant[Tai]
    correction: Duration
    departed: Stamp
    rate_ratio: float
    information: FollowUpInformation
    log_interval: int
    received: Instant[Mono]


@dataclass(frozen=True, slots=True)
class Passed:
    """What a Follow_Up of the bridge says.

    Attributes:
        origin: ``preciseOriginTimestamp``, unchanged.
        correction: ``correctionField``.
        information: The TLV with the rate offset of this bridge.
    """

    origin: Instant[Tai]
    correction: Duration
    information: FollowUpInformation


class Relay:
    """Between the ports of a bridge (the entity SiteSync, 10.2.7).

    Attributes:
        upstream: What came last; None before, and for a clock that is the grandmaster itself.
    """

    def __init__(self) -> None:
        self.upstream: Upstream | None = None
        self._receiving: tuple[int, ClockId] | None = None
        self._news = False

    def receive_by(self, port: int | None, clock: ClockId | None) -> None:
        """The grandmaster's time comes in by this port, whose messages that clock stamps; None: it is our own."""
        receiving = None if port is None or clock is None else (port, clock)
        if receiving != self._receiving:
            self._receiving, self.upstream = receiving, None

    def serves(self, clock: ClockId) -> bool:
        """Whether a port with this clock passes time on: stamps of two clocks cannot be subtracted.

        A port with another clock gives the time of its own clock, which follows the grandmaster's.
        """
        return self._receiving is not None and self._receiving[1] == clock

    def paced(self, log_interval: int) -> bool:
        """Whether a port that sends so often does so as Sync comes in (``syncLocked``, 10.2.5.12)."""
        return self.upstream is None or self.upstream.log_interval == log_interval

    def fresh(self, now: Instant[Mono]) -> bool:
        """What came last may still be passed on."""
        last = self.upstream
        return last is not None and now - last.received <= interval(last.log_interval) * _INTERVALS_KEPT

    def heard(
        self, port: int, sample: SyncSample, delay: Duration, neighbor_rate_ratio: float | None, asymmetry: Duration
    ) -> None:
        """A Sync came in by a port (11.2.14.2.1).

        Args:
            port: Its number; only that which time comes in by counts.
            sample: The Sync with its Follow_Up.
            delay: ``meanLinkDelay``, by the own clock.
            neighbor_rate_ratio: The neighbour's frequency divided by ours; None while unknown.
            asymmetry: ``delayAsymmetry``.
        """
        if self._receiving is None or port != self._receiving[0]:
            return
        told = sample.follow_up
        said = information(told) or FollowUpInformation()
        correction = sample.sync.correction
        if told is not None:
            correction += told.header.correction
        # As it was sent: together with a correction that is nonsense it need not be a time that can be sent on.
        origin = sample.origin - correction
        log_interval = sample.sync.log_interval
        self.upstream = Upstream(
            origin=origin,
            correction=correction,
            departed=replace(sample.arrival, at=sample.arrival.at - delay - asymmetry),
            rate_ratio=said.rate_ratio + ((neighbor_rate_ratio or 1.0) - 1.0),
            information=said,
            log_interval=0 if log_interval == LOG_INTERVAL_NONE else log_interval,
            received=sample.received,
        )
        self._news = True

    def news(self) -> bool:
        """Whether time came in since this was asked last."""
        news, self._news = self._news, False
        return news

    def passed(self, sent: Stamp) -> Passed | None:
        """What goes with a Sync that was ``sent`` (11.2.15.2.4); None when there is nothing that fits."""
        last = self.upstream
        if last is None or (sent.clock, sent.epoch) != (last.departed.clock, last.departed.epoch):
            return None
        residence = (sent.at - last.departed.at).scaled_ns
        # The float only touches what the rates differ by.
        grown = residence + round(residence * (last.rate_ratio - 1.0))
        scaled = round((last.rate_ratio - 1.0) / RATE_UNIT)
        told = replace(last.information, cumulative_scaled_rate_offset=min(max(scaled, -_MOST_SCALED), _MOST_SCALED))
        return Passed(last.origin, last.correction + Duration(grown), told)


def information(message: FollowUp | None) -> FollowUpInformation | None:
    """The Follow_Up information TLV of a message; None when it has none that can be read."""
    for tlv in () if message is None else message.tlvs:
        try:
            return FollowUpInformation.from_tlv(tlv)
        except WireError:
            continue  # another TLV
    return None
