"""What is known of one server: reach register, counters, its last words, and whether it refuses us."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from timesync.base.ids import SourceId
from timesync.base.measure import Leap, SourceStatus, Stamp, StampSource
from timesync.base.time import Duration
from timesync.ntp.exchange import MAX_STRATUM, worse
from timesync.ntp.poll import Pacing
from timesync.wire.ntp import NtpPacket

REFUSALS_BELIEVED: Final = 3
"""DENY or RSTR is obeyed when so many requests in a row met one; a single one must not do (CVE-2015-7704)."""

REACH_BITS: Final = 8

LOOP_TEXT: Final = "it takes its own time from this machine"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a server said last, and what of its answers was of use.

    Attributes:
        packet: Its last answer.
        response: How long it had the request of the last measurement; None before one.
        tx: Where the last request was stamped; None before both stamps of an exchange were known.
        rx: Where its answer was stamped.
        stamps: Exchanges by where their requests and answers were stamped.
        good: Measurements made.
    """

    packet: NtpPacket
    response: Duration | None
    tx: StampSource | None
    rx: StampSource | None
    stamps: tuple[Mapping[StampSource, int], Mapping[StampSource, int]]
    good: int


class Association:
    """The record of one server (RFC 5905, 9.1), with the association's timer left out.

    Attributes:
        reach: The outcome of the last eight requests, newest in bit 0.
        refused_by: DENY or RSTR once it is obeyed, else None.
    """

    def __init__(self, *, keyed: bool) -> None:
        self.reach = 0
        self.refused_by: str | None = None
        self._keyed = keyed
        self._sent = 0
        self._received = 0
        self._dropped = 0
        self._last: NtpPacket | None = None
        self._interleaved = False
        self._timestamping: StampSource | None = None
        self._response: Duration | None = None
        self._stamps: tuple[StampSource, StampSource] | None = None
        self._stamped = (Counter[StampSource](), Counter[StampSource]())
        self._good = 0
        self._loop = False
        self._refusals = 0
        self._reachable: bool | None = None

    def sent(self) -> None:
        """A request leaves (RFC 5905, 13: the register shifts)."""
        self._sent += 1
        self.reach = self.reach << 1 & 0xFF

    def dropped(self) -> None:
        """Something was refused."""
        self._dropped += 1

    def heard(self, packet: NtpPacket, *, interleaved: bool) -> bool:
        """A valid answer came, no kiss. Returns whether it is the first, or the first after ``just_lost``."""
        revived = self._reachable is not True
        self._reachable = True
        self.reach |= 1
        self._received += 1
        self._refusals = 0
        self._last = packet
        self._interleaved = interleaved
        return revived

    def stamped(self, t1: Stamp, t4: Stamp) -> None:
        """Where our stamps of an exchange were taken."""
        self._timestamping = worse(t1.source, t4.source)
        self._stamps = t1.source, t4.source
        for counter, stamp in zip(self._stamped, (t1, t4), strict=True):
            counter[stamp.source] += 1

    def measured(self, response: Duration) -> None:
        """An exchange gave a measurement; the server had its request for so long."""
        self._response = response
        self._good += 1

    @property
    def last(self) -> Heard | None:
        """What was heard last; None before anything was."""
        if self._last is None:
            return None
        tx, rx = (None, None) if self._stamps is None else self._stamps
        return Heard(self._last, self._response, tx, rx, self._stamped, self._good)

    def repeats(self, packet: NtpPacket) -> bool:
        """Whether this has the same timestamps as the last answer (RFC 5905, 9.2, test 1)."""
        last = self._last
        return last is not None and (last.receive, last.transmit) == (packet.receive, packet.transmit)

    def just_lost(self) -> bool:
        """A request stayed without an answer. Returns whether it is the eighth in a row, and news."""
        if self.reach or self._reachable is False or self._sent < REACH_BITS:
            return False
        self._reachable = False
        return True

    def looped(self, *, loop: bool) -> bool:
        """Whether the server takes its time from us. Returns whether that is news."""
        news = loop != self._loop
        self._loop = loop
        return news

    def kissed(self, code: str) -> bool:
        """DENY or RSTR came. Returns whether it is obeyed from now on, and was not before."""
        self._refusals += 1
        if self._refusals < REFUSALS_BELIEVED or self.refused_by is not None:
            return False
        self.refused_by = code
        return True

    def forgiven(self) -> bool:
        """A valid answer came. Returns whether the server had been refusing us."""
        refused, self.refused_by = self.refused_by, None
        return refused is not None

    def status(
        self,
        source: SourceId,
        pacing: Pacing,
        *,
        authentic: bool,
        provisional: bool,
        draft: str | None,
        excluded: str | None,
        trouble: str | None,
    ) -> SourceStatus:
        """All of it, for selection and display.

        Args:
            source: Which.
            pacing: Its timer.
            authentic: An answer that is verified is surely the server's.
            provisional: It is believed only for want of better.
            draft: The draft of the NTP version that it speaks.
            excluded: Why it may not be selected, unless it refuses us altogether.
            trouble: What the network says of requests.
        """
        last = self._last
        stratum = MAX_STRATUM if last is None or last.stratum == 0 else min(last.stratum, MAX_STRATUM)
        return SourceStatus(
            source=source,
            reach=self.reach,
            poll_s=pacing.interval.s(),
            sent=self._sent,
            received=self._received,
            dropped=self._dropped,
            stratum=stratum,
            leap=Leap.UNKNOWN if last is None else last.leap,
            reference_id=bytes(4) if last is None else last.reference_id,
            # Only what passed the test of its MAC is counted as received.
            authenticated=authentic and self._received > 0,
            interleaved=self._interleaved,
            timestamping=self._timestamping,
            excluded=self._excluded(excluded),
            stepped_back=pacing.stepped_back,
            keyed=self._keyed,
            provisional=provisional,
            version=None if last is None else last.version,
            draft=draft,
            trouble=trouble,
        )

    def _excluded(self, otherwise: str | None) -> str | None:
        if self.refused_by is not None:
            return f"the server refuses to serve this client ({self.refused_by})"
        return otherwise or (LOOP_TEXT if self._loop else None)
