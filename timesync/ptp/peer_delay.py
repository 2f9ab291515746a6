"""The peer-to-peer delay mechanism, both sides (IEEE 1588-2019, 11.4; IEEE 802.1AS-2020, 11.2.19 and 11.2.20)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from timesync.base.ids import PortIdentity
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono, Tai
from timesync.wire.ptp import CORRECTION_TOO_BIG
from timesync.wire.ptp_message import Flags, PdelayResp, PdelayRespFollowUp

_WINDOW = 32
_OUTLIER = 4.0
_ANOTHER = 5
"""So many measurements in a row that lie off to the same side: the way is another one, and what was before is past."""
_RATE_SPAN = Duration.from_s(2)
_MOST_RATE = 1e-2
"""Oscillators are off by 100 ppm at most (802.1AS, B.1.1), but both clocks may be slewing, by 5000 ppm as a rule."""


@dataclass(slots=True)
class _Request:
    sequence: int
    at: Instant[Mono]
    departure: Stamp | None = None
    answer: PdelayResp | None = None
    arrival: Stamp | None = None
    follow_up: PdelayRespFollowUp | None = None


@dataclass(frozen=True, slots=True)
class LinkDelay:
    """One measurement of the link.

    Attributes:
        delay: Mean one-way delay, by the local clock.
        at: When the answer came.
        peer: Who answered.
    """

    delay: Duration
    at: Stamp
    peer: PortIdentity


class PeerDelay:
    """Asks the neighbour, and keeps what is learnt of the link: delay, rate ratio, lost answers.

    Attributes:
        lost: Requests in a row without a whole answer (``lostResponses`` of 802.1AS).
        peer: Who answered last.
    """

    def __init__(self, me: PortIdentity, *, gptp: bool) -> None:
        """``gptp``: the correction of Pdelay_Resp is what is cut off the receipt time, not an addition (11.2.20.3)."""
        self.lost = 0
        self.peer: PortIdentity | None = None
        self._me = me
        self._gptp = gptp
        self._request: _Request | None = None
        self._sequence = 0
        self._delays: deque[int] = deque(maxlen=_WINDOW)
        self._rates: deque[tuple[Instant[Tai], Instant[Tai]]] = deque(maxlen=_WINDOW)
        self._epoch: int | None = None
        self._remembered: float | None = None

    # -- what is known

    @property
    def count(self) -> int:
        """Measurements of the present link."""
        return len(self._delays)

    @property
    def mean(self) -> Duration | None:
        """``meanLinkDelay``: the mean of the recent measurements without the outlying ones; None before the first."""
        if not self._delays:
            return None
        median, most = _usual(self._delays)
        kept = [value for value in self._delays if abs(value - median) <= most]
        return Duration(round(sum(kept) / len(kept)))

    @property
    def rate_ratio(self) -> float | None:
        """``neighborRateRatio``: the neighbour's clock frequency over ours; None before it is known."""
        if len(self._rates) < 2:
            return self._remembered
        (their_first, our_first), (their_last, our_last) = self._rates[0], self._rates[-1]
        ours = (our_last - our_first).s()
        if ours < _RATE_SPAN.s():
            return self._remembered
        ratio = (their_last - their_first).s() / ours
        return ratio if math.isfinite(ratio) and abs(ratio - 1) < _MOST_RATE else None

    def remember(self, delay: Duration, rate_ratio: float | None = None) -> None:
        """What was kept over a restart (Avnu automotive): believed until it is measured."""
        if not self._delays:
            self._delays.append(delay.scaled_ns)
            self._remembered = rate_ratio

    def reset(self) -> None:
        """The link went down, or the local clock was stepped."""
        self._request = None
        self._delays.clear()
        self._rates.clear()
        self._remembered = None
        self.peer = None

    # -- asking

    def asks(self, now: Instant[Mono]) -> int:
        """A Pdelay_Req is sent now; returns its sequence number. One that is still open counts as lost."""
        if self._request is not None:
            self.lost += 1
        self._sequence = (self._sequence + 1) & 0xFFFF
        self._request = _Request(self._sequence, now)
        return self._sequence

    def on_sent(self, sequence: int, stamp: Stamp | None) -> LinkDelay | str | None:
        """The transmit stamp of a request."""
        request = self._request
        if request is None or request.sequence != sequence:
            return None
        if stamp is None:
            self._request = None
            return "transmit-stamp"
        request.departure = stamp
        return self._complete(request)

    def on_answer(self, message: PdelayResp, stamp: Stamp) -> LinkDelay | str | None:
        """A Pdelay_Resp to us."""
        request = self._request
        if message.requesting != self._me or request is None or message.header.sequence_id != request.sequence:
            return "stray"
        if request.answer is not None:
            return "second-answer"
        if message.header.source.clock == self._me.clock:
            return "own"
        if message.header.correction >= CORRECTION_TOO_BIG:
            return "correction"
        request.answer, request.arrival = message, stamp
        return self._complete(request)

    def on_follow_up(self, message: PdelayRespFollowUp) -> LinkDelay | str | None:
        """A Pdelay_Resp_Follow_Up to us."""
        request = self._request
        if message.requesting != self._me or request is None or message.header.sequence_id != request.sequence:
            return "stray"
        if request.answer is not None and request.answer.header.source != message.header.source:
            return "stray"
        if message.header.correction >= CORRECTION_TOO_BIG:
            return "correction"
        request.follow_up = message
        return self._complete(request)

    def _complete(self, request: _Request) -> LinkDelay | str | None:
        """Everything is there: the delay."""
        answer, departure, arrival = request.answer, request.departure, request.arrival
        if answer is None or departure is None or arrival is None:
            return None
        two_step = Flags.TWO_STEP in answer.header.flags
        if two_step and request.follow_up is None:
            return None
        self._request = None
        if departure.epoch != arrival.epoch or departure.clock != arrival.clock:
            return "epoch"
        self.lost = 0
        if answer.header.source != self.peer:
            self._delays.clear()
            self._rates.clear()
        elif arrival.epoch != self._epoch:
            # The clock was set: the link is as long as it was, and the neighbour as fast.
            self._remembered = self.rate_ratio
            self._rates.clear()
        self.peer, self._epoch = answer.header.source, arrival.epoch
        away = (arrival.at - departure.at).scaled_ns
        turnaround = self._turnaround(answer, request.follow_up if two_step else None, arrival.at)
        delay = Duration(round((away - turnaround / (self.rate_ratio or 1.0)) / 2))
        self._take(delay)
        return LinkDelay(delay, arrival, answer.header.source)

    def _take(self, delay: Duration) -> None:
        """Keep a measurement; of a way that became another one only what was measured since."""
        self._delays.append(delay.scaled_ns)
        recent = list(self._delays)[-_ANOTHER:]
        before = list(self._delays)[:-_ANOTHER]
        if len(before) < _ANOTHER:
            return
        median, most = _usual(before)
        if all(value > median + most for value in recent) or all(value < median - most for value in recent):
            self._delays.clear()
            self._delays.extend(recent)

    def _turnaround(self, answer: PdelayResp, follow_up: PdelayRespFollowUp | None, arrival: Instant[Tai]) -> int:
        """How long the neighbour kept the request, by its clock, 2^-16 ns."""
        if follow_up is None:
            return answer.header.correction.scaled_ns
        receipt_part = answer.header.correction if not self._gptp else -answer.header.correction
        left = follow_up.response_origin + follow_up.header.correction
        self._pair(left, arrival)
        return (left + receipt_part - answer.request_receipt).scaled_ns

    def _pair(self, theirs: Instant[Tai], ours: Instant[Tai]) -> None:
        """Note what both clocks showed; when the neighbour's was set meanwhile, its rate is what it was before."""
        if self._rates:
            before_theirs, before_ours = self._rates[-1]
            passed = ours - before_ours
            if abs(((theirs - before_theirs) - passed).s()) > _MOST_RATE * abs(passed.s()):
                self._remembered = self.rate_ratio
                self._rates.clear()
        self._rates.append((theirs, ours))


def _usual(delays: Collection[int]) -> tuple[int, float]:
    """The median, and how far from it a measurement may lie that is not an outlying one; by the median deviation."""
    values = sorted(delays)
    median = values[len(values) // 2]
    spread = sorted(abs(value - median) for value in values)[len(values) // 2] * 1.4826
    return median, _OUTLIER * spread + 1
