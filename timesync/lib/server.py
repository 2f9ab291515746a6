"""An NTP server inside another program: the system clock's time, or that time moved, with a claim of how good it is."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from timesync.base.ids import Endpoint
from timesync.base.measure import Leap
from timesync.base.serving import ServingMap
from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.config.address import NTP_PORT, parse_listen, parse_network
from timesync.lib.trust import NtsCertificate
from timesync.ntp.server import ServerCounters, ServerSettings, ServeState
from timesync.runtime.serve import LoopService, WorkerService, open_service
from timesync.wire.ntp import timestamp_from_utc
from timesync_drivers import abi
from timesync_drivers.clock import KernelClock

if TYPE_CHECKING:
    from timesync.lib.server_nts import ServedNts

LOOPBACK = ("127.0.0.0/8", "::1/128")

_PUBLISH_S = 1.0
_VALID = Duration.from_s(10)
_DISPERSION_RATE = 15e-6
"""RFC 5905, figure 6 (PHI): between two claims the clock may run so much wrong."""

_PRECISION = -23


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What the server says of the time that it serves. Raises ValueError for what cannot stand in a packet.

    Attributes:
        stratum: 1 to 15.
        reference_id: Four octets (RFC 5905, 7.3).
        root_dispersion: Bound on the error of the served time, apart from the delay.
        root_delay: Round trip to the root of that time.
        leap: Announced leap second; UNKNOWN: clients are told that the server is not synchronised.
        offset: Served time minus the system clock; positive serves a later time.
    """

    stratum: int
    reference_id: bytes
    root_dispersion: Duration
    root_delay: Duration = ZERO
    leap: Leap = Leap.NONE
    offset: Duration = ZERO

    def __post_init__(self) -> None:
        if not 1 <= self.stratum <= 15 or len(self.reference_id) != 4:
            raise ValueError(f"stratum {self.stratum}, reference id of {len(self.reference_id)} octets")
        if self.root_dispersion < ZERO or self.root_delay < ZERO:
            raise ValueError("a delay and a dispersion are not negative")


def claim_of_system_clock(stratum: int = 10, reference_id: bytes = b"\x7f\x7f\x01\x01") -> Claim:
    """What the kernel says of the system clock: ``maxerror`` as dispersion, and nothing while nobody keeps it right.

    The kernel does not know a stratum. The default says "some local clock", as ntpd's driver 127.127.1.1 did.
    """
    state = KernelClock().state()
    leap = Leap.UNKNOWN if state.status & abi.STA_UNSYNC else _pending(state.status)
    bound = Duration.from_ns(state.maximum_error_us * 1000)
    return Claim(stratum=stratum, reference_id=reference_id, root_dispersion=bound, leap=leap)


class NtpServer:
    """A server that runs; ``serve`` makes it."""

    def __init__(
        self, service: LoopService | WorkerService, claim: Callable[[], Claim], nts: ServedNts | None = None
    ) -> None:
        """Serve what ``claim`` says, from the first ``update`` on, to clients of ``nts`` too."""
        self._service = service
        self._nts = nts
        self._claim = claim
        self._timer: asyncio.TimerHandle | None = None
        self._said: Claim | None = None
        self._epoch = 0

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """What it listens on, with the real port where 0 was asked for."""
        return self._service.addresses

    @property
    def nts_addresses(self) -> Sequence[Endpoint]:
        """Where it establishes keys for NTS; none without NTS."""
        return () if self._nts is None else self._nts.addresses

    def counters(self) -> ServerCounters:
        """Sums since the start."""
        return self._service.counters()

    def update(self) -> None:
        """Ask for the claim and serve by it from now on; done once a second anyway."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(_PUBLISH_S, self.update)
        keys = None if self._nts is None else self._nts.tick()
        if keys is not None:
            self._service.rekey(keys)
        claim = self._claim()
        utc_ns = time.time_ns() + claim.offset.ns()
        if self._said is not None and claim.offset != self._said.offset:
            # Older timestamps are of another time: no interleaved answer may mix the two.
            self._epoch += 1
        self._said = claim
        now: Instant[Mono] = Instant.from_ns(time.monotonic_ns())
        self._service.publish(
            ServeState(
                synchronized=claim.leap is not Leap.UNKNOWN,
                leap=claim.leap,
                stratum=claim.stratum,
                reference_id=claim.reference_id,
                root_delay=claim.root_delay,
                root_dispersion=claim.root_dispersion,
                dispersion_rate=_DISPERSION_RATE,
                at=now,
                valid_until=now + _VALID,
                reference_time=timestamp_from_utc(Instant.from_ns(utc_ns)),
                precision=_PRECISION,
                serving_map=ServingMap(0, claim.offset.ns(), 1.0),
                epoch=self._epoch,
            )
        )

    def close(self) -> None:
        """Answer no more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._nts is not None:
            self._nts.close()
        self._service.close()


@asynccontextmanager
async def serve(
    *listen: str,
    claim: Callable[[], Claim] = claim_of_system_clock,
    allow: Sequence[str] = LOOPBACK,
    workers: int | None = 0,
    nts: NtsCertificate | None = None,
) -> AsyncIterator[NtpServer]:
    """Answer NTP requests until the block ends.

    Args:
        listen: Addresses with or without a port, as ``127.0.0.1:11123``; port 0 is a free one.
        claim: What to say of the served time, asked once a second. What it raises goes to the loop's exception
            handler, and ten seconds later clients are told that the server is not synchronised.
        allow: Networks whose requests are answered; this machine's own alone, unless said.
        workers: Processes that answer; 0: this one, None: as many as there are processors for.
        nts: Answer clients with NTS too (RFC 8915), and establish keys with whoever connects, in a process of its own
            that alone uses the private key. Cookies are good for a week, or until the block ends.

    Raises:
        OSError: A socket cannot be had, or a file of ``nts`` not be read.
        ValueError: An address or a network is none, or the files are no certificate and its key.
    """
    if not listen:
        raise ValueError("serve needs an address to listen on")
    networks, where = [parse_network(one) for one in allow], [parse_listen(one, NTP_PORT) for one in listen]
    with ExitStack() as opened:
        served = None if nts is None else _served(nts)
        settings = ServerSettings(allow=tuple(networks), nts=None if served is None else served.cookies.keys)
        service = open_service(settings, where, workers)
        opened.callback(service.close)
        if served is not None:
            served.open(service.addresses)
            opened.callback(served.close)
        server = NtpServer(service, claim, served)
        opened.callback(server.close)
        server.update()
        yield server


def _served(nts: NtsCertificate) -> ServedNts:
    # Only who has NTS pays for TLS.
    from timesync.lib.server_nts import ServedNts

    return ServedNts(nts)


def _pending(status: int) -> Leap:
    if status & abi.STA_INS:
        return Leap.INSERT
    return Leap.DELETE if status & abi.STA_DEL else Leap.NONE
