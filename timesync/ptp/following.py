"""What a port knows of the time that comes in by it: how regularly, from where, and as what (IEEE 1588-2019, 9.5.4)."""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.measure import Leap, SourceStatus, StampSource
from timesync.base.time import Duration
from timesync.ptp import outlook
from timesync.ptp.datasets import DataSets
from timesync.ptp.follower import SyncSample
from timesync.ptp.settings import PortSettings
from timesync.ptp.states import PortState
from timesync.ptp.timers import interval

FOLLOWING_STATES = (PortState.UNCALIBRATED, PortState.TIME_RECEIVER)
"""States in which a port takes time."""

_REACH = 0xFF
_LEAST_WATCH = Duration.from_s(1)
_FIRST_WATCH = Duration.from_s(3)
"""For the first Sync: how often they come is not known yet."""


@dataclass(slots=True)
class Following:
    """The time that comes in by one port.

    Attributes:
        reach: Of the last eight Sync messages, newest in bit 0.
        received: Sync messages joined.
        log_interval: Of Sync, as last said or granted.
        uncertain: The last Sync or Announce called itself uncertain.
        last: The newest Sync.
        time_base: ``gmTimeBaseIndicator`` of the grandmaster, as last said.
        address: Where the newest Sync came from.
    """

    reach: int = 0
    received: int = 0
    log_interval: int = 0
    uncertain: bool = False
    last: SyncSample | None = None
    time_base: int | None = None
    address: str = ""

    def joined(self, sample: SyncSample) -> None:
        """A Sync came, with the time of its departure."""
        self.received += 1
        self.reach = (self.reach << 1 | 1) & _REACH
        if sample.sync.log_interval < 0x7F:
            self.log_interval = sample.sync.log_interval
        self.last = sample

    def missed(self) -> bool:
        """No Sync came in time; true for the first one of a gap."""
        first = bool(self.reach & 1)
        self.reach = self.reach << 1 & _REACH
        return first

    def patience(self, settings: PortSettings) -> Duration:
        """How long to wait for the next Sync (802.1AS ``syncReceiptTimeout``; long where the profile has none)."""
        count, least = settings.sync_receipt_timeout, Duration(0)
        if count is None:
            count, least = 3, _LEAST_WATCH
        if not self.received:
            least = _FIRST_WATCH
        return max(interval(self.log_interval) * count, least)

    def status(self, settings: PortSettings, sets: DataSets, state: PortState, dropped: int) -> SourceStatus:
        """The port as a source of time."""
        quality = outlook.quality(sets, uncertain=self.uncertain, precision_s=settings.stamp_noise_s)
        followed = state in FOLLOWING_STATES
        return SourceStatus(
            source=settings.source,
            reach=self.reach,
            poll_s=2.0 ** min(max(self.log_interval, -10), 22),
            sent=self.received + (0 if self.reach else 1),
            received=self.received,
            dropped=dropped,
            stratum=quality.stratum,
            leap=Leap.NONE if quality.leap is Leap.UNKNOWN and not self.uncertain else quality.leap,
            reference_id=outlook.PTP_REFERENCE,
            authenticated=settings.authenticated,
            interleaved=False,
            timestamping=StampSource.USER if self.last is None else self.last.arrival.source,
            excluded=None if followed else f"the port is {state.name.lower().replace('_', ' ')}",
            stepped_back=False,
        )
