"""Somebody else's NTP server on the simulated network, good or bad."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from timesync.base.ids import Endpoint
from timesync.base.measure import Leap, StampSource
from timesync.base.time import Duration, Instant, Utc
from timesync.base.utc import LeapTable
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.law import DelayLaw, Exponential, draw_duration
from timesync.sim.network import WILDCARDS, Datagram, Node
from timesync.sim.oscillator import Oscillator, Quartz
from timesync.sim.world import World
from timesync.wire.error import WireError
from timesync.wire.ntp import Mode, NtpPacket, decode, encode, short_from_duration, timestamp_from_utc

PERFECT = Quartz()
TURNAROUND = Exponential(20e-6)
NO_OFFSET = Duration(0)
NTP_PORT = 123
_SET_AGO = Duration.from_s(8)


class Behaviour(Enum):
    """What the server does with a request."""

    ANSWER = "answer"
    SILENT = "silent"
    DENY = "deny"
    RATE = "rate"
    UNSYNCHRONIZED = "unsynchronized"


@dataclass(slots=True, kw_only=True)
class Claims:
    """What the server says of itself, true or not; may be changed at any time.

    Attributes:
        stratum: 1 to 15.
        reference_id: Four octets.
        leap: None: what the leap second table says for this month; else this.
        root_delay: Round trip to its root.
        root_dispersion: Its bound.
        precision: Log2 of seconds.
    """

    stratum: int = 1
    reference_id: bytes = b"GPS\0"
    leap: Leap | None = None
    root_delay: Duration = NO_OFFSET
    root_dispersion: Duration = Duration.from_ns(10_000)  # noqa: RUF009 - frozen, so one for all will do
    precision: int = -23


class SimNtpServer:
    """A server with a clock of its own; basic mode only, versions 1 to 4 (RFC 5905, 9.2).

    Attributes:
        clock: Its clock; ``disturb`` steps it, ``true_offset`` judges it.
        oscillator: What drives it; ``step_frequency`` makes it drift from then on.
        claims: What it says of itself.
        behaviour: What it does with requests from now on.
        requests: Requests that came.
        answers: Packets that it sent, kisses included.
    """

    def __init__(
        self,
        world: World,
        node: Node,
        leaps: LeapTable,
        *,
        offset: Duration = NO_OFFSET,
        quartz: Quartz = PERFECT,
        turnaround: DelayLaw = TURNAROUND,
        stamp_noise_s: float = 0.0,
    ) -> None:
        self.oscillator = Oscillator(world, f"server/{node.name}", quartz)
        self.clock = SimClock(world, self.oscillator, leaps, ClockModel(offset=offset), name=f"server/{node.name}")
        self.claims = Claims()
        self.behaviour = Behaviour.ANSWER
        self.requests = 0
        self.answers = 0
        self._world = world
        self._leaps = leaps
        self._turnaround = turnaround
        self._stamp_noise_s = stamp_noise_s
        self._rng = world.stream(f"turnaround/{node.name}")
        self._sockets = {address: node.bind(self, address, NTP_PORT) for address in WILDCARDS}

    def close(self) -> None:
        """Stop listening: requests are refused by ICMP from now on."""
        for bound in self._sockets.values():
            bound.close()

    def on_datagram(self, datagram: Datagram) -> None:
        """A request arrived; the answer leaves after the turnaround."""
        try:
            request = decode(datagram.data)
        except WireError:
            return
        if request.mode is not Mode.CLIENT:
            return
        self.requests += 1
        if self.behaviour is Behaviour.SILENT:
            return
        received = timestamp_from_utc(self._utc())
        bound = self._sockets[WILDCARDS[":" in datagram.target.address]]

        def leave() -> None:
            bound.send(encode(self._answer(request, received)), datagram.source, source=datagram.target.address)
            self.answers += 1

        self._world.after(draw_duration(self._turnaround, self._rng), leave)

    def on_refused(self, target: Endpoint) -> None:
        """A client went away before its answer came; a server does not care."""

    def _utc(self) -> Instant[Utc]:
        return self._leaps.utc(self.clock.stamp(StampSource.KERNEL, self._stamp_noise_s).at)

    def _answer(self, request: NtpPacket, received: int) -> NtpPacket:
        claims, now = self.claims, self._utc()
        leap = self._leaps.pending_month(now) if claims.leap is None else claims.leap
        stratum, reference_id = claims.stratum, claims.reference_id
        match self.behaviour:
            case Behaviour.DENY:
                leap, stratum, reference_id = Leap.UNKNOWN, 0, b"DENY"
            case Behaviour.RATE:
                leap, stratum, reference_id = Leap.UNKNOWN, 0, b"RATE"
            case Behaviour.UNSYNCHRONIZED:
                # Stratum 16 goes over the wire as 0 (RFC 5905, 7.3 "Stratum").
                leap, stratum, reference_id = Leap.UNKNOWN, 0, b"\0\0\0\0"
            case Behaviour.ANSWER | Behaviour.SILENT:
                pass
        return NtpPacket(
            leap=leap,
            version=request.version,
            mode=Mode.SERVER,
            stratum=stratum,
            poll=request.poll,
            precision=claims.precision,
            root_delay=short_from_duration(claims.root_delay),
            root_dispersion=short_from_duration(claims.root_dispersion),
            reference_id=reference_id,
            reference=timestamp_from_utc(now - _SET_AGO),
            origin=request.transmit,
            receive=received,
            transmit=timestamp_from_utc(now),
        )
