"""A few questions to one server, each with all that came back: a measuring instrument, no association.

Answers are tested as ``Client`` tests them before anything is believed; what a server then says of itself is
shown rather than acted upon, so that one sees why a client would not use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from timesync.base.ids import ClockId
from timesync.base.machine import Done, Dropped, Effect, Entropy, Noted, SendStamped
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import Duration, Instant, Mono
from timesync.ntp.authenticator import Authenticator, KeyAuthenticator
from timesync.ntp.client import MAX_DELAY, MAX_DISTANCE
from timesync.ntp.client_interleaved import Previous, pair_stamps
from timesync.ntp.exchange import (
    MAX_RESPONSE,
    Answer,
    DropReason,
    Exchange,
    Limits,
    Sample,
    Timescales,
    check_server,
    measure,
    precision_of,
    server_time,
    worse,
)
from timesync.ntp.speech import Ask, Speech, Speech4
from timesync.ntp.v5.negotiation import SpeakV5
from timesync.ntp.v5.speech import Speak5, Speech5
from timesync.wire.ntp import NtpPacket
from timesync.wire.ntp5 import VERSION as NTPV5
from timesync.wire.ntp5_ext import DRAFTS

ANSWERED: Final = "query-answer"
"""Name of the note after each question; ``Query.outcomes`` has grown by one then."""

_OBEYED_KISSES = ("DENY", "RSTR", "RATE")

_INTERVAL = Duration.from_s(1)
_TIMEOUT = Duration.from_s(3)
_POLL = 6
"""Said in requests; nothing follows from it, and 64 s offends no server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuerySettings:
    """What to ask. Raises ValueError when a value is out of its range.

    Attributes:
        local: The clock that stamps the packets.
        version: 3, 4 or 5.
        drafts: For version 5, the drafts to ask in; until an answer comes a question is asked in one after the other.
        count: Questions; fewer are asked when the server answers with a kiss-o'-death.
        interval: Between two questions.
        timeout: How long an answer is waited for.
        interleaved: Ask for interleaved mode (RFC 9769), from the second question on, in version 5 from the first.
    """

    local: ClockId
    version: int = 4
    drafts: tuple[str, ...] = DRAFTS
    count: int = 1
    interval: Duration = _INTERVAL
    timeout: Duration = _TIMEOUT
    interleaved: bool = False

    def __post_init__(self) -> None:
        if self.version not in (3, 4, NTPV5) or self.count < 1 or not self.drafts:
            raise ValueError(f"version {self.version}, count {self.count}")
        if self.interval.scaled_ns <= 0 or self.timeout.scaled_ns <= 0:
            raise ValueError("interval and timeout must be positive")
        if self.interleaved and self.version == 3:
            raise ValueError("interleaved mode exists from version 4 on")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of one question.

    Attributes:
        packet: The answer; None when none came, a kiss-o'-death included.
        sample: Offset and delay; None when they could not be had.
        refusal: Why there is no sample, or why a client would not use the server; None when all is well.
        trouble: Why there is no answer, in words; None when one came.
        stamping: Where our stamps were taken, the worse of both; None without a sample.
        interleaved: The sample has the server's own transmit stamp of the answer before.
        draft: The draft of an answer of NTPv5.
        drops: Datagrams that were refused while waiting, by reason.
    """

    packet: NtpPacket | None = None
    sample: Sample | None = None
    refusal: DropReason | None = None
    trouble: str | None = None
    stamping: StampSource | None = None
    interleaved: bool = False
    draft: str | None = None
    drops: dict[str, int] = field(default_factory=dict)

    @property
    def kiss(self) -> str | None:
        """The kiss code (RFC 5905, 7.4), if that is what came."""
        if self.packet is None or self.packet.stratum != 0:
            return None
        code = self.packet.reference_id.rstrip(b"\0")
        return code.decode("ascii") if code.isalnum() and code.isupper() else None

    @property
    def usable(self) -> bool:
        """Whether a client would take the time from it."""
        return self.sample is not None and self.refusal is None


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The one with the least delay, the usable ones first; None when none has a sample."""
    measured = [
        (not one.usable, one.sample.round_trip + one.sample.excess, place)
        for place, one in enumerate(outcomes)
        if one.sample
    ]
    return outcomes[min(measured)[2]] if measured else None


def spread(outcomes: Sequence[Outcome]) -> Duration | None:
    """Largest minus smallest offset; None for fewer than two samples."""
    offsets = [one.sample.offset for one in outcomes if one.sample is not None]
    return max(offsets) - min(offsets) if len(offsets) > 1 else None


class Query:
    """A ``Machine`` that asks ``count`` times and is finished then.

    Attributes:
        outcomes: One for each question so far.
    """

    def __init__(
        self,
        settings: QuerySettings,
        scales: Timescales,
        entropy: Entropy,
        precision: Duration,
        authenticator: Authenticator | None = None,
    ) -> None:
        """Ask from the first ``on_deadline`` on.

        Args:
            settings: What to ask.
            scales: The leap table.
            entropy: For the random timestamps of requests.
            precision: Of the local clock.
            authenticator: What makes answers the server's own; None: nothing.
        """
        self.outcomes: list[Outcome] = []
        self._settings = settings
        self._scales = scales
        self._speech = _speech(settings, authenticator or KeyAuthenticator(None), scales, entropy)
        self._asked = 0
        self._untried = len(settings.drafts) - 1 if settings.version == NTPV5 else 0
        self._limits = Limits(precision, MAX_DELAY)
        self._next_at: Instant[Mono] | None = Instant(0)
        self._token = 0
        self._exchange: Exchange | None = None
        self._previous: Previous | None = None
        self._drops: dict[str, int] = {}

    @property
    def finished(self) -> bool:
        """Whether all has been asked and answered."""
        return self._exchange is None and self._next_at is None

    # -- the Machine protocol

    def deadline(self) -> Instant[Mono] | None:
        """When the present answer is given up, or the next question leaves."""
        return self._next_at if self._exchange is None else self._exchange.expires

    def on_deadline(self, now: Instant[Mono]) -> list[Effect]:
        """Give up what has waited long enough; send what is due."""
        exchange = self._exchange
        if exchange is not None:
            if now < exchange.expires:
                return []
            if exchange.answer is not None:
                exchange.t1_settled = True
                return self._complete(exchange, exchange.answer)
            self._speech.lost(exchange.request)
            if self._untried:
                # A server that does not know a draft is silent.
                self._untried -= 1
                return [Done(exchange.token), *self._ask_in_words(now)]
            waited = self._settings.timeout
            return self._finish(exchange, Outcome(trouble=f"no answer within {waited.s():g} s", drops=self._drops))
        return self._send(now) if self._next_at is not None and now >= self._next_at else []

    def on_packet(self, token: int, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> list[Effect]:  # noqa: ARG002  the Machine protocol
        """An answer, or what claims to be one."""
        exchange = self._exchange
        if exchange is None or exchange.token != token:
            return self._drop(DropReason.LATE)
        said = self._speech.read(data, exchange.request, stamp)
        if isinstance(said, DropReason):
            return self._drop(said)
        if exchange.answer is not None:
            return self._drop(DropReason.DUPLICATE)
        packet = said.packet
        self._untried = 0
        outcome = Outcome(packet=packet, drops=self._drops)
        if outcome.kiss is not None:
            if outcome.kiss in _OBEYED_KISSES:
                self._next_at = None
            return self._finish(exchange, replace(outcome, refusal=DropReason.KISS))
        self._speech.accepted(exchange.request, said)
        outcome = replace(outcome, draft=self._speech.draft)
        if packet.receive == 0 or packet.transmit == 0:
            return self._finish(exchange, replace(outcome, refusal=DropReason.ZERO))
        if stamp is None:
            return self._finish(exchange, replace(outcome, refusal=DropReason.STAMP))
        exchange.answer = Answer(said, stamp, exchange.request.is_interleaved(packet.origin))
        return self._complete(exchange, exchange.answer) if exchange.t1_settled else []

    def on_sent(self, token: int, stamp: Stamp | None, now: Instant[Mono]) -> list[Effect]:  # noqa: ARG002  the Machine protocol
        """When the question left; may come after its answer."""
        exchange = self._exchange
        if exchange is None or exchange.token != token or exchange.t1_settled:
            return []
        exchange.t1, exchange.t1_settled = stamp, True
        return [] if exchange.answer is None else self._complete(exchange, exchange.answer)

    def on_error(self, token: int, text: str, now: Instant[Mono]) -> list[Effect]:  # noqa: ARG002  the Machine protocol
        """The network says that the question cannot arrive. Nothing is lost by believing it: one can ask again."""
        exchange = self._exchange
        if exchange is None or exchange.token != token or exchange.answer is not None:
            return []
        return self._finish(exchange, Outcome(trouble=text, drops=self._drops))

    # -- inside

    def _send(self, now: Instant[Mono]) -> list[Effect]:
        self._asked += 1
        last = self._asked == self._settings.count
        self._next_at = None if last else now + self._settings.interval
        self._drops = {}
        return self._ask_in_words(now)

    def _ask_in_words(self, now: Instant[Mono]) -> list[Effect]:
        """The question itself."""
        self._token += 1
        origin = self._previous.receive if self._settings.interleaved and self._previous is not None else 0
        request = self._speech.request(Ask(_POLL, origin, self._settings.interleaved))
        if request is None:
            self._next_at = self._exchange = None
            return self._ended(Outcome(trouble="there are no cookies left", drops=self._drops))
        self._exchange = Exchange(self._token, request, now + self._settings.timeout)
        return [SendStamped(request.data, self._token)]

    def _complete(self, exchange: Exchange, answer: Answer) -> list[Effect]:
        """Answer and transmit stamp are both settled."""
        previous, self._previous = self._previous, None
        refusal = check_server(answer.packet, frozenset(), MAX_DISTANCE)
        stamps_and_sample = self._sample(exchange, answer, previous)
        draft = self._speech.draft
        if isinstance(stamps_and_sample, DropReason):
            failed = Outcome(packet=answer.packet, refusal=stamps_and_sample, draft=draft, drops=self._drops)
            return self._finish(exchange, failed)
        sample, stamping = stamps_and_sample
        outcome = Outcome(
            packet=answer.packet,
            sample=sample,
            refusal=refusal,
            stamping=stamping,
            interleaved=answer.interleaved,
            draft=draft,
            drops=self._drops,
        )
        return self._finish(exchange, outcome)

    def _sample(
        self, exchange: Exchange, answer: Answer, previous: Previous | None
    ) -> tuple[Sample, StampSource] | DropReason:
        """What the timestamps give, and remember them for an interleaved answer."""
        packet, t4, t1 = answer.packet, answer.t4, exchange.t1
        said = answer.said
        t2 = server_time(packet.receive, t4, self._scales, said.pivot)
        t3 = server_time(packet.transmit, t4, self._scales, said.pivot)
        if isinstance(t2, DropReason) or isinstance(t3, DropReason):
            return DropReason.LEAP_SECOND
        # Never ``used``: the same exchange measured again with a better transmit stamp is what is asked for.
        self._previous = Previous(packet.receive, t1, t2, t4, said.root_delay, said.root_dispersion, used=False)
        asked = t2
        if answer.interleaved:
            pair = pair_stamps(previous, t1, t2, t4)
            if pair is None or isinstance(pair, DropReason) or previous is None:
                return DropReason.STAMP
            t1, t2, t4 = pair
            asked = previous.t2
        if t1 is None:
            return DropReason.STAMP
        if not -precision_of(packet.precision) <= t3 - asked <= MAX_RESPONSE:
            return DropReason.RESPONSE
        sample = measure(t1, t2, t3, t4, packet.precision, self._limits, self._scales)
        if isinstance(sample, DropReason):
            return sample
        return sample, worse(t1.source, t4.source)

    def _finish(self, exchange: Exchange, outcome: Outcome) -> list[Effect]:
        self._exchange = None
        return [Done(exchange.token), *self._ended(outcome)]

    def _ended(self, outcome: Outcome) -> list[Effect]:
        self.outcomes.append(outcome)
        return [Noted("info", ANSWERED, outcome.trouble or "answered")]

    def _drop(self, reason: DropReason) -> list[Effect]:
        self._drops[reason.value] = self._drops.get(reason.value, 0) + 1
        return [Dropped(reason.value)]


def _speech(settings: QuerySettings, authenticator: Authenticator, scales: Timescales, entropy: Entropy) -> Speech:
    if settings.version != NTPV5:
        return Speech4(settings.version, authenticator, entropy)
    words = Speak5(speak=SpeakV5.ALWAYS, drafts=settings.drafts, interleaved=settings.interleaved)
    return Speech5(words, authenticator, scales, entropy)
