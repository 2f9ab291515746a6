"""A client, its clock and a server made by hand: answers are packed from the layout of RFC 5905, figure 8."""

from __future__ import annotations

import hashlib
import random
import struct
from dataclasses import dataclass, field, replace
from typing import Any

from timesync.base.ids import ClockId, Endpoint, LinkId, SourceId
from timesync.base.machine import Done, Dropped, Effect, Measured, Noted, SendStamped, Status
from timesync.base.measure import Measurement, Stamp, StampSource
from timesync.base.time import Duration, Instant, Mono, Tai, Utc
from timesync.ntp.client import Client, ClientSettings

S = 1_000_000_000
MS = 1_000_000
US = 1_000
TAI_UTC = 37
START_NS = 1_790_000_000 * S
"""UTC, in 2026; true time when a Story begins."""

NTP_UNIX = 2_208_988_800


class Scales:
    """TAI - UTC is 37 s for ever; ``blurred`` UTC seconds are ambiguous."""

    def __init__(self) -> None:
        self.blurred: set[int] = set()

    def tai(self, utc: Instant[Utc], /) -> Instant[Tai]:
        return Instant(utc.scaled_ns + Duration.from_s(TAI_UTC).scaled_ns)

    def utc(self, tai: Instant[Tai], /) -> Instant[Utc]:
        return Instant(tai.scaled_ns - Duration.from_s(TAI_UTC).scaled_ns)

    def ambiguous(self, utc: Instant[Utc], /) -> bool:
        return utc.ns() // S in self.blurred


def entropy(seed: int) -> Any:
    """Bytes that are different at each call, and the same in each run."""
    count = 0

    def read(size: int, /) -> bytes:
        nonlocal count
        count += 1
        return hashlib.sha256(f"{seed}/{count}".encode()).digest()[:size]

    return read


def ntp_stamp(utc_ns: int) -> int:
    """A UTC instant as a 64-bit timestamp, rounded up so that it comes back as the same nanosecond."""
    seconds, ns = divmod(utc_ns, S)
    return ((seconds + NTP_UNIX) % 2**32) << 32 | -(-(ns << 32) // S)


@dataclass(frozen=True)
class Request:
    """What a request has on the wire."""

    data: bytes
    token: int

    def field(self, offset: int) -> int:
        return int.from_bytes(self.data[offset : offset + 8], "big")

    @property
    def origin(self) -> int:
        return self.field(24)

    @property
    def receive(self) -> int:
        return self.field(32)

    @property
    def transmit(self) -> int:
        return self.field(40)


@dataclass(frozen=True)
class Reply:
    """An answer to be packed."""

    leap: int = 0
    version: int = 4
    mode: int = 4
    stratum: int = 2
    poll: int = 6
    precision: int = -24
    root_delay: int = 0x0000_0200
    root_dispersion: int = 0x0000_0100
    reference_id: bytes = b"\xc0\x00\x02\x07"
    reference: int = 0
    origin: int = 0
    receive: int = 0
    transmit: int = 0

    def pack(self) -> bytes:
        return struct.pack(
            ">BBbbII4sQQQQ",
            self.leap << 6 | self.version << 3 | self.mode,
            self.stratum,
            self.poll,
            self.precision,
            self.root_delay,
            self.root_dispersion,
            self.reference_id,
            self.reference,
            self.origin,
            self.receive,
            self.transmit,
        )


def settings(**changes: Any) -> ClientSettings:
    base = ClientSettings(
        source=SourceId("a"),
        link=LinkId("a"),
        local=ClockId("system"),
        remote=Endpoint("192.0.2.1", 123),
        poll_min=4,
        poll_max=10,
        burst=False,
    )
    return replace(base, **changes)


@dataclass
class Story:
    """One client in time that only the test moves.

    ``local_ahead_ns`` is the true offset of the client's clock; forward and back are the network's delays.
    """

    changes: dict[str, Any] = field(default_factory=dict)
    local_ahead_ns: int = 3 * MS
    forward_ns: int = 500 * US
    back_ns: int = 500 * US
    served_ns: int = 20 * US
    precision: Duration = field(default_factory=lambda: Duration.from_ns(100))
    seed: int = 1
    start_ns: int = START_NS
    epoch: int = 0
    source: StampSource = StampSource.KERNEL
    scales: Scales = field(default_factory=Scales)

    def __post_init__(self) -> None:
        rng = random.Random(self.seed)
        self.client = Client(settings(**self.changes), self.scales, rng, entropy(self.seed), self.precision)
        self.mono_ns = 1_000 * S
        self.effects: list[Effect] = []

    @property
    def now(self) -> Instant[Mono]:
        return Instant.from_ns(self.mono_ns)

    @property
    def utc_ns(self) -> int:
        """True time."""
        return self.start_ns + self.mono_ns

    def stamp(self, true_utc_ns: int, **changes: Any) -> Stamp:
        at: Instant[Tai] = Instant.from_ns(true_utc_ns + TAI_UTC * S + self.local_ahead_ns)
        return replace(Stamp(ClockId("system"), self.epoch, at, self.source), **changes)

    def wait(self) -> Request | None:
        """Go to the deadline and call it; the request that leaves, if one does."""
        due = self.client.deadline()
        self.mono_ns = max(self.mono_ns, -(-due.scaled_ns // 65536))
        effects = self.client.on_deadline(self.now)
        self.effects = list(effects)
        sent = [effect for effect in effects if isinstance(effect, SendStamped)]
        return Request(sent[0].data, sent[0].token) if sent else None

    def ask(self) -> Request:
        """Go on until a request leaves."""
        effects: list[Effect] = []
        for _ in range(3):
            request = self.wait()
            effects += self.effects
            if request is not None:
                self.effects = effects
                return request
        raise AssertionError("no request left")

    def reply(self, request: Request, **changes: Any) -> Reply:
        """What a right server answers in basic mode."""
        t2 = self.utc_ns + self.forward_ns
        reply = Reply(origin=request.transmit, receive=ntp_stamp(t2), transmit=ntp_stamp(t2 + self.served_ns))
        return replace(reply, **changes)

    def sent(self, request: Request, *, lost: bool = False) -> list[Effect]:
        """The transmit stamp is reported; it is of the present moment."""
        stamp = None if lost else self.stamp(self.utc_ns)
        return list(self.client.on_sent(request.token, stamp, self.now))

    def receive(self, request: Request, data: bytes, **changes: Any) -> list[Effect]:
        """The answer arrives after the network's delays; time does not move for the story."""
        t4 = self.utc_ns + self.forward_ns + self.served_ns + self.back_ns
        later = self.now + Duration.from_ns(t4 - self.utc_ns)
        return list(self.client.on_packet(request.token, data, self.stamp(t4, **changes), later))

    def exchange(self, **changes: Any) -> list[Effect]:
        """One whole exchange."""
        request = self.ask()
        data = self.reply(request, **changes).pack()
        return self.sent(request) + self.receive(request, data)

    def lose(self, count: int = 1) -> list[Effect]:
        """So many requests without an answer; what the last one's time-out gave."""
        for _ in range(count):
            request = self.ask()
            self.sent(request)
            assert self.wait() is None
        return self.effects


def reasons(effects: list[Effect]) -> list[str]:
    return [effect.reason for effect in effects if isinstance(effect, Dropped)]


def measured(effects: list[Effect]) -> list[Measurement]:
    return [effect.measurement for effect in effects if isinstance(effect, Measured)]


def notes(effects: list[Effect]) -> list[str]:
    return [effect.name for effect in effects if isinstance(effect, Noted)]


def done(effects: list[Effect]) -> list[int]:
    return [effect.token for effect in effects if isinstance(effect, Done)]


def statuses(effects: list[Effect]) -> list[Status]:
    return [effect for effect in effects if isinstance(effect, Status)]
