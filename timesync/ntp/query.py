"""A few questions to one server, each with all that came back: a measuring instrument, no association.

Answers are tested as ``Client`` tests them before anything is believed; what a server then says of itself is
shown rather than acted upon, so that one sees why a client would not use it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from timesync.base.ids import ClockId
from timesync.base.machine import Done, Dropped, Effect, Entropy, Noted, SendStamped
from timesync.base.measure import Stamp, StampSource
from timesync.base.time import Duration, Instant, Mono
from timesync.ntp.authenticator import Authenticator, KeyAuthenticator
from timesync.ntp.client import HIDDEN_PRECISION, MAX_DELAY, MAX_DISTANCE
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
    parse_answer,
    precision_of,
    server_time,
    worse,
)
from timesync.wire.ntp import Mode, NtpPacket, encode

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
        version: 3 or 4.
        count: Questions; fewer are asked when the server answers with a kiss-o'-death.
        interval: Between two questions.
        timeout: How long an answer is waited for.
        interleaved: Ask for interleaved mode from the second question on (RFC 9769).
    """

    local: ClockId
    version: int = 4
    count: int = 1
    interval: Duration = _INTERVAL
    timeout: Duration = _TIMEOUT
    interleaved: bool = False

    def __post_init__(self) -> None:
        if self.version not in (3, 4) or self.count < 1:
            raise ValueError(f"version {self.version}, count {self.count}")
        if self.interval.scaled_ns <= 0 or self.timeout.scaled_ns <= 0:
            raise ValueError("interval and timeout must be positive")
        if self.interleaved and self.version != 4:
            raise ValueError("interleaved mode exists in version 4 only")


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
        drops: Datagrams that were refused while waiting, by reason.
    """

    packet: NtpPacket | None = None
    sample: Sample | None = None
    refusal: DropReason | None = None
    trouble: str | None = None
    stamping: StampSource | None = None
    interleaved: bool = False
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
        self._entropy = entropy
        self._limits = Limits(precision, MAX_DELAY)
        self._authenticator = authenticator or KeyAuthenticator(None)
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
            waited = self._settings.timeout
            return self._finish(exchange, Outcome(trouble=f"no answer within {waited.s():g} s", drops=self._drops))
        return self._send(now) if self._next_at is not None and now >= self._next_at else []

    def on_packet(self, token: int, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> list[Effect]:  # noqa: ARG002  the Machine protocol
        """An answer, or what claims to be one."""
        exchange = self._exchange
        if exchange is None or exchange.token != token:
            return self._drop(DropReason.LATE)
        packet = parse_answer(data, self._settings.version)
        if isinstance(packet, DropReason):
            return self._drop(packet)
        if not exchange.matches(packet.origin):
            return self._drop(DropReason.ORIGIN)
        forged = self._authenticator.verify(data, packet)
        if forged is not None:
            return self._drop(forged)
        if exchange.answer is not None:
            return self._drop(DropReason.DUPLICATE)
        outcome = Outcome(packet=packet, drops=self._drops)
        if outcome.kiss is not None:
            if outcome.kiss in _OBEYED_KISSES:
                self._next_at = None
            return self._finish(exchange, Outcome(packet=packet, refusal=DropReason.KISS, drops=self._drops))
        if packet.receive == 0 or packet.transmit == 0:
            return self._finish(exchange, Outcome(packet=packet, refusal=DropReason.ZERO, drops=self._drops))
        if stamp is None:
            return self._finish(exchange, Outcome(packet=packet, refusal=DropReason.STAMP, drops=self._drops))
        exchange.answer = Answer(packet, stamp, exchange.is_interleaved(packet.origin))
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
        self._token += 1
        last = self._token == self._settings.count
        self._next_at = None if last else now + self._settings.interval
        self._drops = {}
        origin = self._previous.receive if self._settings.interleaved and self._previous is not None else 0
        receive = self._random_stamp(origin) if origin else 0
        transmit = self._random_stamp(origin, receive)
        header = encode(
            NtpPacket(
                version=self._settings.version,
                mode=Mode.CLIENT,
                poll=_POLL,
                precision=HIDDEN_PRECISION,
                origin=origin,
                receive=receive,
                transmit=transmit,
            )
        )
        self._exchange = Exchange(self._token, transmit, receive, now + self._settings.timeout)
        data = self._authenticator.sign(header)
        if data is None:
            self._next_at = None
            return self._finish(self._exchange, Outcome(trouble="there are no cookies left", drops=self._drops))
        return [SendStamped(data, self._token)]

    def _random_stamp(self, *others: int) -> int:
        """64 bits that nobody can guess, not 0 and none of the others."""
        while True:
            stamp = int.from_bytes(self._entropy(8), "big")
            if stamp != 0 and stamp not in others:
                return stamp

    def _complete(self, exchange: Exchange, answer: Answer) -> list[Effect]:
        """Answer and transmit stamp are both settled."""
        previous, self._previous = self._previous, None
        refusal = check_server(answer.packet, frozenset(), MAX_DISTANCE)
        stamps_and_sample = self._sample(exchange, answer, previous)
        if isinstance(stamps_and_sample, DropReason):
            return self._finish(exchange, Outcome(packet=answer.packet, refusal=stamps_and_sample, drops=self._drops))
        sample, stamping = stamps_and_sample
        outcome = Outcome(
            packet=answer.packet,
            sample=sample,
            refusal=refusal,
            stamping=stamping,
            interleaved=answer.interleaved,
            drops=self._drops,
        )
        return self._finish(exchange, outcome)

    def _sample(
        self, exchange: Exchange, answer: Answer, previous: Previous | None
    ) -> tuple[Sample, StampSource] | DropReason:
        """What the timestamps give, and remember them for an interleaved answer."""
        packet, t4, t1 = answer.packet, answer.t4, exchange.t1
        t2 = server_time(packet.receive, t4, self._scales)
        t3 = server_time(packet.transmit, t4, self._scales)
        if isinstance(t2, DropReason) or isinstance(t3, DropReason):
            return DropReason.LEAP_SECOND
        # Never ``used``: the same exchange measured again with a better transmit stamp is what is asked for.
        self._previous = Previous(packet.receive, t1, t2, t4, packet.root_delay, packet.root_dispersion, used=False)
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
        self.outcomes.append(outcome)
        return [Done(exchange.token), Noted("info", ANSWERED, outcome.trouble or "answered")]

    def _drop(self, reason: DropReason) -> list[Effect]:
        self._drops[reason.value] = self._drops.get(reason.value, 0) + 1
        return [Dropped(reason.value)]
