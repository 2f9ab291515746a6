"""A real NTP server that is wrong on purpose: for seeing what a client makes of it.

It tells the system clock's time, changed as asked for, and touches no clock.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Final

from timesync.base.ids import Endpoint
from timesync.base.machine import Entropy, Rng
from timesync.base.measure import Leap
from timesync.base.rate import Rate
from timesync.base.serving import ServingMap
from timesync.base.time import NS_PER_S, ZERO, Duration, Instant, Mono
from timesync.ntp.serve_state import ServeState
from timesync.ntp.server import Reply, Server, ServerCounters, ServerSettings
from timesync.ntp.server_settings import VERSIONS
from timesync.ntp.v5.server import Refusal
from timesync.runtime.serve import LoopService
from timesync.servo.select import words
from timesync.wire.ntp import NTP_TO_UNIX_S, decode, encode
from timesync.wire.ntp5 import VERSION as NTPV5

KISSES: Final = {"deny": b"DENY", "rate": b"RATE"}
"""Ways to refuse, with their kiss codes (RFC 5905, 7.4)."""

_REFUSALS5: Final = {b"DENY": Refusal.DENY, b"RATE": Refusal.RATE}
_REFERENCE_ID = b"TEST"
_DISPERSION = Duration.from_ns(1_000)
"""What it claims against the system clock: it reads that very clock."""

_PRECISION = -23
_PUBLISH_S = 1.0
_VALID = Duration.from_s(10)
_ANYBODY = (ip_network("0.0.0.0/0"), ip_network("::/0"))

Heard = Callable[[str, int, str], None]
"""Told of each datagram: the sender's address and port, and what was done with it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Misbehaviour:
    """What is wrong with the server; nothing, unless said. Raises ValueError for what contradicts itself.

    Attributes:
        reply: ``answer``, ``deny`` and ``rate`` (a kiss-o'-death to every request), ``silent``.
        offset: Served time minus system time at the start.
        drift: How fast the served time runs away from the system's; positive is fast.
        leap: Announced leap second.
        unsynchronized: Says that it is not synchronised.
        stratum: 1 to 15.
        ntpv5: NTPv5 is answered, too (experimental).
    """

    reply: str = "answer"
    offset: Duration = ZERO
    drift: Rate = Rate(0.0)  # noqa: RUF009  frozen, so one for all is fine
    leap: Leap = Leap.NONE
    unsynchronized: bool = False
    stratum: int = 1
    ntpv5: bool = False

    def __post_init__(self) -> None:
        if self.reply not in ("answer", "silent", *KISSES):
            raise ValueError(f"unknown reply {self.reply!r}")
        if self.reply != "answer" and (self.offset or self.drift.ratio or self.leap is not Leap.NONE):
            raise ValueError(f"a server that only says {self.reply} tells no time that could be wrong")
        if self.unsynchronized and (self.reply != "answer" or self.leap is not Leap.NONE):
            raise ValueError("a server that is not synchronised announces nothing else")

    def words(self) -> str:
        """What it does, for people."""
        if self.reply == "silent":
            return "reads every request and answers none"
        if self.reply in KISSES:
            return f"answers every request with a kiss-o'-death {KISSES[self.reply].decode()}"
        wrong = []
        if self.offset:
            by = words(abs(self.offset.s()))
            wrong.append(f"{by} {'ahead' if self.offset > ZERO else 'behind'}")
        if self.drift.ratio:
            wrong.append(f"drifting by {self.drift.ppm():+g} ppm")
        if self.leap is not Leap.NONE:
            wrong.append(f"announcing a leap second ({self.leap.name.lower()})")
        if self.unsynchronized:
            wrong.append("saying that it is not synchronised")
        return f"serves the system clock's time, {', '.join(wrong) or 'as it is'}"


class MisbehavingServer(Server):
    """The real server, but what leaves it may be turned into a refusal or kept back."""

    def __init__(self, settings: ServerSettings, rng: Rng, wrong: Misbehaviour, heard: Heard) -> None:
        super().__init__(settings, rng)
        self._wrong = wrong
        self._heard = heard

    def respond(
        self,
        request: bytes,
        source: bytes | str,
        port: int,
        receive_ns: int,
        transmit: Callable[[], int] | int,
        mono_ns: int,
        fields: bytes = b"",
    ) -> Reply | None:
        """As the server does, then misbehave; what it would not answer stays unanswered."""
        reply = super().respond(request, source, port, receive_ns, transmit, mono_ns, fields)
        host = source if isinstance(source, str) else source.hex()
        if reply is None:
            self._heard(host, port, "not a request that is answered")
            return None
        if self._wrong.reply == "silent":
            self._heard(host, port, "kept silent")
            return None
        code = KISSES.get(self._wrong.reply)
        if code is None:
            self._heard(host, port, f"answered (version {request[0] >> 3 & 7})")
            return reply
        self._heard(host, port, f"refused with {code.decode()}")
        if request[0] >> 3 & 7 == NTPV5:
            return self.refuse5(request, _REFUSALS5[code])
        return Reply(_kiss(reply.data, code))


def _kiss(reply: bytes, code: bytes) -> bytes:
    """A reply as a kiss-o'-death: leap 3, stratum 0, the code as reference id (RFC 5905, 7.4)."""
    kiss = replace(
        decode(reply), leap=Leap.UNKNOWN, stratum=0, reference_id=code, root_delay=0, root_dispersion=0, reference=0
    )
    return encode(kiss)


class TrialServer:
    """A server on the running loop; also the honest reference of the demonstration, with no misbehaviour.

    Attributes:
        wrong: What is wrong with it.
    """

    def __init__(self, listen: Sequence[Endpoint], wrong: Misbehaviour, heard: Heard = lambda *_: None) -> None:
        """Answer from now on. Raises OSError."""
        self.wrong = wrong
        self._base_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self._timer: asyncio.TimerHandle | None = None

        loop = asyncio.get_running_loop()

        def later(host: str, port: int, what: str) -> None:
            # Printing takes longer than all the rest; the reply, already stamped, must not wait for it.
            loop.call_soon(heard, host, port, what)

        def make(settings: ServerSettings, rng: Rng, entropy: Entropy) -> Server:
            del entropy  # it has no secrets
            return MisbehavingServer(settings, rng, wrong, later)

        # A kiss-o'-death in interleaved mode would make no sense to anybody.
        versions = VERSIONS | {NTPV5} if wrong.ntpv5 else VERSIONS
        settings = ServerSettings(allow=_ANYBODY, versions=versions, interleaved=wrong.reply == "answer")
        self._service = LoopService(settings, listen, make)
        self._publish()

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """What it listens on, with the real port where 0 was asked for."""
        return self._service.addresses

    def counters(self) -> ServerCounters:
        """Sums since the start; what was kept back or turned into a kiss counts as answered here."""
        return self._service.counters()

    def close(self) -> None:
        """Stop answering."""
        if self._timer is not None:
            self._timer.cancel()
        self._service.close()

    def _publish(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(_PUBLISH_S, self._publish)
        wrong = self.wrong
        mapping = ServingMap(self._base_ns, wrong.offset.ns(), 1.0 + wrong.drift.ratio)
        now: Instant[Mono] = Instant.from_ns(time.monotonic_ns())
        kernel_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self._service.publish(
            ServeState(
                synchronized=not wrong.unsynchronized,
                leap=wrong.leap,
                stratum=wrong.stratum,
                reference_id=_REFERENCE_ID,
                root_delay=ZERO,
                root_dispersion=_DISPERSION,
                dispersion_rate=0.0,
                at=now,
                valid_until=now + _VALID,
                reference_time=_ntp(mapping.utc_ns(kernel_ns)),
                precision=_PRECISION,
                serving_map=mapping,
                epoch=0,
            )
        )


def _ntp(utc_ns: int) -> int:
    """A 64-bit NTP timestamp of POSIX nanoseconds (RFC 5905, 6)."""
    return ((utc_ns << 32) // NS_PER_S + (NTP_TO_UNIX_S << 32)) & (1 << 64) - 1
