"""Counts of a local source, in the shape in which every source reports itself."""

from __future__ import annotations

from dataclasses import dataclass, field

from timesync.base.ids import SourceId
from timesync.base.measure import Leap, SourceStatus, StampSource

_REACH = 0xFF


@dataclass(slots=True)
class Tally:
    """What became of the samples that were expected.

    Attributes:
        reach: The last eight, newest in bit 0.
        sent: How many were expected.
        received: How many were good.
        dropped: How many were refused.
        drops: Refused ones by reason.
    """

    reach: int = 0
    sent: int = 0
    received: int = 0
    dropped: int = 0
    drops: dict[str, int] = field(default_factory=dict)

    def good(self) -> None:
        """One came and is used."""
        self.sent += 1
        self.received += 1
        self.reach = (self.reach << 1 | 1) & _REACH

    def missed(self) -> None:
        """One was expected and did not come."""
        self.sent += 1
        self.reach = self.reach << 1 & _REACH

    def refused(self, why: str) -> None:
        """One came that cannot be used."""
        self.sent += 1
        self.refuse_extra(why)
        self.reach = self.reach << 1 & _REACH

    def refuse_extra(self, why: str) -> None:
        """One came that was not even expected."""
        self.dropped += 1
        self.drops[why] = self.drops.get(why, 0) + 1

    def status(
        self,
        source: SourceId,
        reference_id: bytes,
        every_s: float,
        *,
        leap: Leap = Leap.NONE,
        excluded: str | None = None,
        timestamping: StampSource = StampSource.KERNEL,
    ) -> SourceStatus:
        """The report."""
        return SourceStatus(
            source=source,
            reach=self.reach,
            poll_s=every_s,
            sent=self.sent,
            received=self.received,
            dropped=self.dropped,
            stratum=0,
            leap=leap,
            reference_id=reference_id,
            authenticated=False,
            interleaved=False,
            timestamping=timestamping,
            excluded=excluded,
            stepped_back=False,
        )
