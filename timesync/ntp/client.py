"""An NTP client association (RFC 5905, mode 3; RFC 9769; RFC 9109 by a fresh socket for each request; NTPv5).

Nothing is believed, nor any state changed, before the answer's origin timestamp has matched the 64 random
bits of the one request on its way, and its MAC our key.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timesync.base.ids import ClockId, Endpoint, LinkId, SourceId
from timesync.base.machine import (
    Done,
    Dropped,
    Effect,
    Entropy,
    Measured,
    Noted,
    Rng,
    SendStamped,
    Status,
)
from timesync.base.measure import Measurement, Quality, SourceStatus, Stamp
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.ntp.association import LOOP_TEXT, REACH_BITS, Association, Heard
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.authenticator import Authenticator, KeyAuthenticator
from timesync.ntp.client_interleaved import Interleaved, InterleavedAsk
from timesync.ntp.client_samples import Found, evaluate
from timesync.ntp.exchange import (
    Answer,
    Answered,
    DropReason,
    Exchange,
    Limits,
    Residence,
    Timescales,
    check_server,
    precision_of,
)
from timesync.ntp.poll import Pacing
from timesync.ntp.speech import Ask, Speech, Speech4
from timesync.wire.ntp import NtpPacket

__all__ = ["Client", "ClientSettings", "Interleaved"]

TIMEOUT: Final = Duration.from_s(5)
"""How long an answer is waited for, unless the next request leaves before."""

MAX_DISTANCE: Final = Duration.from_s(16)
"""RFC 5905, figure 6 (MAXDISP)."""

MAX_DELAY: Final = Duration.from_s(3)
"""chrony's default."""

MIN_POLL: Final = -4
MAX_POLL: Final = 17
"""RFC 5905, figure 6 (MAXPOLL); the lower end is ours, for servers on the same LAN."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientSettings:
    """What the configuration says of one server. Raises ValueError when a value is out of its range.

    Attributes:
        source: Its name.
        link: The link that its measurements come over.
        local: The clock that stamps the packets.
        remote: The server.
        version: 1 to 4; without meaning where ``Client`` is given how to speak.
        poll_min: Shortest poll interval, log2 s; -4 to 17.
        poll_max: Longest.
        burst: Four requests 2 s apart at the start, and when the server answers again after a silence.
        interleaved: Whether to ask for interleaved mode, which only version 4 has (RFC 9769): AUTO never asks in
            another.
        key: For the MAC of requests and answers; None: no authentication.
        max_distance: Root distance from which a server is too bad (test 7).
        max_delay: Longest round trip (test A).
        corrections: Ask what transparent clocks say of the way, and take it out: version 4, over PTP.
    """

    source: SourceId
    link: LinkId
    local: ClockId
    remote: Endpoint
    version: int = 4
    poll_min: int = 6
    poll_max: int = 10
    burst: bool = True
    interleaved: Interleaved = Interleaved.AUTO
    key: SymmetricKey | None = None
    max_distance: Duration = MAX_DISTANCE
    max_delay: Duration = MAX_DELAY
    corrections: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.version <= 4:
            raise ValueError(f"version {self.version} is not in 1 to 4")
        if self.interleaved is Interleaved.ALWAYS and self.version != 4:
            raise ValueError("interleaved mode exists in version 4 only")
        if self.corrections and self.version != 4:
            raise ValueError("corrections of NTP over PTP exist in version 4 only")
        if not MIN_POLL <= self.poll_min <= self.poll_max <= MAX_POLL:
            raise ValueError(f"poll range {self.poll_min} to {self.poll_max} is not in {MIN_POLL} to {MAX_POLL}")
        if self.max_distance.scaled_ns <= 0 or self.max_delay.scaled_ns <= 0:
            raise ValueError("the greatest distance and delay must be positive")


class Client:
    """One server and we; a ``Machine``.

    Args:
        settings: The configuration.
        leap_table: UTC to TAI and back.
        rng: For spreading requests in time.
        entropy: For the random timestamps of requests.
        precision: Of the local clock, with its stamping.
        authenticator: What makes answers the server's own; None: the key of the settings, or nothing.
        speech: How to speak to the server, such as in NTPv5; None: in the version of the settings.
    """

    def __init__(
        self,
        settings: ClientSettings,
        leap_table: Timescales,
        rng: Rng,
        entropy: Entropy,
        precision: Duration,
        authenticator: Authenticator | None = None,
        speech: Speech | None = None,
    ) -> None:
        self._settings = settings
        self._authenticator = authenticator or KeyAuthenticator(settings.key)
        self._speech = speech or Speech4(
            settings.version, self._authenticator, entropy, corrections=settings.corrections
        )
        self._scales = leap_table
        self._limits = Limits(precision, settings.max_delay)
        self._pacing = Pacing(settings.poll_min, settings.poll_max, rng, burst=settings.burst)
        self._association = Association(keyed=authenticator is not None or settings.key is not None)
        self._interleaved = InterleavedAsk(settings.interleaved if settings.version == 4 else Interleaved.NEVER)
        self._own: frozenset[bytes] = frozenset()
        self._token = 0
        self._exchange: Exchange | None = None
        self._trouble: str | None = None
        self._noted: str | None = None
        self._untold = 0

    # -- the Machine protocol

    def deadline(self) -> Instant[Mono]:
        """When the next request leaves or the present one is given up."""
        due = self._pacing.next_at
        return due if self._exchange is None else min(due, self._exchange.expires)

    def on_deadline(self, now: Instant[Mono]) -> list[Effect]:
        """Give up what has waited long enough, and send what is due."""
        effects: list[Effect] = []
        due = now >= self._pacing.next_at
        if self._exchange is not None and (due or now >= self._exchange.expires):
            effects += self._expire(self._exchange)
        if due:
            effects += self._send(now)
        return effects

    def on_packet(
        self, token: int, data: bytes, stamp: Stamp | None, now: Instant[Mono], residence: Duration = ZERO
    ) -> list[Effect]:
        """An answer, or what claims to be one, which has been in transparent clocks for ``residence``."""
        exchange = self._exchange
        if exchange is None or exchange.token != token or now > exchange.expires:
            return self._drop(DropReason.LATE)
        said = self._speech.read(data, exchange.request, stamp)
        if isinstance(said, DropReason):
            return self._drop(said)
        packet = said.packet
        if exchange.answer is not None:
            return self._drop(DropReason.DUPLICATE)
        if packet.stratum == 0 and _is_kiss_code(packet.reference_id):
            return self._kissed(exchange, packet)
        if packet.receive == 0 or packet.transmit == 0:
            return self._drop(DropReason.ZERO)
        if self._association.repeats(packet):
            return self._drop(DropReason.DUPLICATE)
        return self._accept(exchange, said, stamp, residence)

    def on_sent(self, token: int, stamp: Stamp | None, now: Instant[Mono]) -> list[Effect]:  # noqa: ARG002  the Machine protocol
        """When the request of ``token`` left; may come after its answer."""
        exchange = self._exchange
        if exchange is None or exchange.token != token or exchange.t1_settled:
            return []
        exchange.t1_settled = True
        # A stamp of another clock says nothing about ours.
        exchange.t1 = stamp if stamp is not None and stamp.clock == self._settings.local else None
        return [] if exchange.answer is None else self._complete(exchange, exchange.answer)

    # -- orders from the runtime and the core

    def on_error(self, token: int, text: str, now: Instant[Mono]) -> list[Effect]:  # noqa: ARG002  events have one form
        """The network says that the request cannot arrive (ICMP).

        That may be forged, so the answer is still waited for. The words are noted once, until the server is
        heard again; status has them for eight requests, since routers do not tell each time.
        """
        exchange = self._exchange
        if exchange is None or exchange.token != token:
            return []
        exchange.trouble = self._trouble = text
        self._untold = 0
        if text == self._noted:
            return []
        self._noted = text
        return [self._note("warning", "ntp-network-error", f"{self._settings.remote}: {text}")]

    def set_poll(self, log2: int, now: Instant[Mono]) -> None:
        """The core's advice on the poll interval (log2 s), followed inside the configured range."""
        self._pacing.advise(log2, now)

    def burst_now(self, now: Instant[Mono]) -> bool:
        """Send four requests 2 s apart, from now; False when the server has asked us to hold back."""
        return self._pacing.burst(now)

    def restart(self, now: Instant[Mono]) -> list[Effect]:
        """The local clock was stepped: the stamps so far are worthless. The next request leaves soon."""
        self._interleaved.forget()
        self._speech.forget()
        self._pacing.soon(now)
        if self._exchange is None:
            return []
        token, self._exchange = self._exchange.token, None
        return [Done(token)]

    def set_own_reference_ids(self, ids: frozenset[bytes]) -> None:
        """The reference ids by which other servers would name this machine (RFC 5905, 7.3)."""
        self._own = ids

    @property
    def heard(self) -> Heard | None:
        """What the server said last; None before it has answered."""
        return self._association.last

    def status(self) -> SourceStatus:
        """What is known of the server now."""
        return self._association.status(
            self._settings.source,
            self._pacing,
            authentic=self._authenticator.authentic,
            provisional=self._authenticator.provisional,
            draft=self._speech.draft,
            excluded=self._speech.excluded,
            trouble=self._trouble,
        )

    # -- sending

    def _send(self, now: Instant[Mono]) -> list[Effect]:
        self._pacing.sent(now)
        self._association.sent()
        self._token += 1
        poll = self._pacing.poll
        ask = Ask(poll, self._interleaved.origin(poll), self._interleaved.wanted(poll))
        request = self._speech.request(ask)
        if request is None:
            # Whoever owns the authenticator sees to it; meanwhile this counts as a request without an answer.
            self._pacing.lost()
            return [Status(self.status())]
        self._exchange = Exchange(self._token, request, min(now + TIMEOUT, self._pacing.next_at))
        return [SendStamped(request.data, self._token)]

    def _expire(self, exchange: Exchange) -> list[Effect]:
        """The next request is due, or the time is up."""
        if exchange.answer is not None:
            # The runtime owes us the transmit stamp and has not delivered.
            exchange.t1_settled = True
            return self._complete(exchange, exchange.answer)
        self._exchange = None
        self._untold += exchange.trouble is None
        if self._untold >= REACH_BITS:
            self._trouble = None
        self._pacing.lost()
        self._interleaved.lost(asked=exchange.request.receive != 0)
        effects: list[Effect] = [Done(exchange.token), *self._turn(self._speech.lost(exchange.request))]
        if self._association.just_lost():
            effects.append(self._note("warning", "ntp-unreachable", f"{self._settings.remote} does not answer"))
        return [*effects, Status(self.status())]

    # -- receiving

    def _accept(self, exchange: Exchange, said: Answered, stamp: Stamp | None, back: Duration) -> list[Effect]:
        """All tests of the packet as such were passed: it is the answer. State changes from here on."""
        packet = said.packet
        interleaved = exchange.request.is_interleaved(packet.origin)
        revived = self._association.heard(packet, interleaved=interleaved)
        effects: list[Effect] = []
        if self._association.forgiven():
            self._pacing.refused(by_server=False)
            effects.append(self._note("info", "ntp-served-again", f"{self._settings.remote} serves this client again"))
        self._pacing.answered(revived=revived)
        self._pacing.allowed(said.least_poll)
        self._interleaved.answered(asked=exchange.request.receive != 0, interleaved=interleaved)
        self._trouble = self._noted = None
        if revived:
            effects.append(self._note("info", "ntp-reachable", f"{self._settings.remote} answers"))
        effects += self._turn(self._speech.accepted(exchange.request, said))
        refusal = check_server(packet, self._own, self._settings.max_distance)
        if refusal is None and self._speech.loop:
            refusal = DropReason.LOOP
        effects += self._loop_noted(loop=refusal is DropReason.LOOP)
        if refusal is None and (stamp is None or stamp.clock != self._settings.local):
            refusal = DropReason.STAMP
        if refusal is not None or stamp is None:
            self._interleaved.forget()
            return [*effects, *self._finish(exchange, refusal or DropReason.STAMP)]
        exchange.answer = Answer(said, stamp, interleaved, Residence(said.residence or ZERO, back))
        if exchange.t1_settled:
            effects += self._complete(exchange, exchange.answer)
        return effects

    def _complete(self, exchange: Exchange, answer: Answer) -> list[Effect]:
        """Answer and transmit stamp are both settled: make the sample."""
        if exchange.t1 is not None:
            self._association.stamped(exchange.t1, answer.t4)
        found, self._interleaved.previous = evaluate(
            exchange.t1, answer, self._interleaved.previous, self._limits, self._scales
        )
        if isinstance(found, Found):
            return [Measured(self._measurement(found, answer)), *self._finish(exchange, None)]
        return self._finish(exchange, found)

    def _measurement(self, found: Found, answer: Answer) -> Measurement:
        """For the core."""
        packet, sample = answer.packet, found.sample
        self._association.measured(found.response)
        self._pacing.measured(sample.round_trip + sample.residence)
        return Measurement(
            link=self._settings.link,
            local=self._settings.local,
            remote=ClockId(f"ntp:{self._settings.remote}"),
            at=sample.at,
            epoch=sample.epoch,
            offset=sample.offset,
            delay=sample.round_trip // 2,
            noise_s=sample.noise_s,
            quality=Quality(
                stratum=packet.stratum,
                leap=packet.leap,
                reference_id=packet.reference_id,
                root_delay=found.root_delay + sample.residence,
                root_dispersion=found.root_dispersion,
                precision_s=precision_of(packet.precision).s(),
                authenticated=self._authenticator.authentic,
            ),
        )

    def _finish(self, exchange: Exchange, reason: DropReason | None) -> list[Effect]:
        """The exchange is over; ``reason`` is why it gave nothing, if something was wrong."""
        self._exchange = None
        refused = [] if reason is None else self._drop(reason)
        return [*refused, Done(exchange.token), Status(self.status())]

    def _kissed(self, exchange: Exchange, packet: NtpPacket) -> list[Effect]:
        """A kiss-o'-death that answers our request (RFC 5905, 7.4). Codes but these three change nothing."""
        remote = self._settings.remote
        effects: list[Effect] = []
        self._interleaved.forget()
        code = packet.reference_id.rstrip(b"\0").decode("ascii")
        if code == "RATE":
            if self._pacing.rate_limited(packet.poll):
                text = f"{remote} asks for fewer requests; now one each {self._pacing.interval.s():g} s"
                effects.append(self._note("warning", "ntp-rate-limited", text))
        elif code in ("DENY", "RSTR") and self._association.kissed(code):
            self._pacing.refused(by_server=True)
            effects.append(self._note("warning", "ntp-refused", f"{remote} refuses to serve this client ({code})"))
        return [*effects, *self._finish(exchange, DropReason.KISS)]

    def _loop_noted(self, *, loop: bool) -> list[Effect]:
        if not self._association.looped(loop=loop) or not loop:
            return []
        text = f"{self._settings.remote} is not used: {LOOP_TEXT}"
        return [self._note("warning", "ntp-loop", text)]

    def _turn(self, news: str | None) -> list[Effect]:
        """The server is spoken to in another way from now on: transmit timestamps of before are not to be had."""
        if news is None:
            return []
        self._interleaved.forget()
        return [self._note("info", "ntp-version", f"{self._settings.remote} {news}")]

    def _drop(self, reason: DropReason) -> list[Effect]:
        self._association.dropped()
        return [Dropped(reason.value)]

    def _note(self, level: str, name: str, text: str) -> Noted:
        return Noted(level, name, text, self._settings.source)


def _is_kiss_code(reference_id: bytes) -> bool:
    """Whether the reference id of a stratum 0 answer is a kiss code (RFC 5905, figure 13).

    INIT and STEP are in that figure too, but mean no more than that the server has no time yet.
    """
    code = reference_id.rstrip(b"\0")
    return code.isalnum() and code.isupper() and code not in (b"INIT", b"STEP")
