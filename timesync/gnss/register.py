"""The outcome of the last eight messages that a source should have sent, at one a second."""

from __future__ import annotations

from timesync.base.ids import SourceId
from timesync.base.measure import Leap, SourceStatus, StampSource
from timesync.base.time import Duration, Instant, Mono

_SECOND = Duration.from_s(1)
_TOLERANCE = Duration.from_s(0.5)


class Register:
    """The reach register of a source that speaks by itself (RFC 5905, 9.2 "reach"), and its counters.

    Attributes:
        reach: Newest in bit 0.
        expected: Messages that should have come.
        received: Those that did.
        dropped: What came and was refused.
    """

    def __init__(self, source: SourceId, reference_id: bytes) -> None:
        self.source = source
        self.reach = self.expected = self.received = self.dropped = 0
        self._reference_id = reference_id
        self._next: Instant[Mono] | None = None
        self._timestamping: StampSource | None = None

    def start(self, now: Instant[Mono]) -> None:
        """Expect messages from now on."""
        self._next = now + _SECOND

    def heard(self, now: Instant[Mono], stamp: StampSource) -> None:
        """The message of this second came, stamped there."""
        self.reach = (self.reach << 1 | 1) & 0xFF
        self.expected += 1
        self.received += 1
        self._next = now + _SECOND
        self._timestamping = stamp

    def deadline(self) -> Instant[Mono] | None:
        """When the next one is overdue."""
        return None if self._next is None else self._next + _TOLERANCE

    def overdue(self, now: Instant[Mono]) -> bool:
        """Note what should have come by now; answers whether anything was missed."""
        missed = False
        while self._next is not None and self._next + _TOLERANCE <= now:
            missed = True
            self.reach = self.reach << 1 & 0xFF
            self.expected += 1
            self._next += _SECOND
            if not self.reach and now - self._next > _SECOND * 60:
                self._next = now
        return missed

    def status(self, excluded: str | None, leap: Leap) -> SourceStatus:
        """For the core; ``excluded`` is why the source may not be used."""
        return SourceStatus(
            source=self.source,
            reach=self.reach,
            poll_s=1.0,
            sent=self.expected,
            received=self.received,
            dropped=self.dropped,
            stratum=0,
            leap=leap,
            reference_id=self._reference_id,
            authenticated=False,
            interleaved=False,
            timestamping=self._timestamping,
            excluded=excluded,
            stepped_back=False,
        )
