"""What the daemon needs of the machine it runs on: one set of Protocols, two hosts (Linux and simulated)."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from timesync.base.ids import ClockId, Endpoint
from timesync.base.machine import Entropy, Rng
from timesync.base.measure import Leap, Stamp
from timesync.base.rate import Rate
from timesync.base.serving import CardMap, ServingMap
from timesync.base.time import Duration, Instant, Mono, Utc
from timesync.devices import Devices
from timesync.ntp.client_log import ClientList, ClientRecord
from timesync.ntp.server import ServerCounters, ServerSettings, ServeState
from timesync.nts.ke_server import KeServerSettings
from timesync.nts.master import MasterKeys
from timesync.transport import ManagementHandler, ManagementSocket, PtpHandler, PtpPortSpec, PtpSocket

__all__ = [
    "CardMap",
    "Clock",
    "ClockError",
    "ClockLimits",
    "ClockReport",
    "Devices",
    "Exchange",
    "ExchangeHandler",
    "Host",
    "NtpService",
    "NtsKeService",
    "NtsSpec",
    "RefusedCertificate",
    "ServeState",
    "ServedCertificate",
    "ServerCounters",
    "ServerSettings",
    "ServingMap",
    "Stream",
    "Trouble",
]


class Trouble(enum.Enum):
    """What kind of thing went wrong with a clock or a device; decides the exit code and the advice."""

    PERMISSION = "permission missing"
    GONE = "device gone"
    UNSUPPORTED = "not supported"


class ClockError(OSError):
    """A clock refused; never fatal for the daemon.

    Attributes:
        trouble: The kind.
        advice: One sentence: what to do about it.
    """

    def __init__(self, trouble: Trouble, message: str, advice: str) -> None:
        super().__init__(message)
        self.trouble = trouble
        self.advice = advice


@dataclass(frozen=True, slots=True)
class ClockLimits:
    """What a clock can do.

    Attributes:
        max_frequency: Largest magnitude that ``adjust_frequency`` takes.
        frequency_latency: How late a change of frequency may take effect (one kernel tick for the system
            clock), as a worst case; the estimator allows for it.
        precision: Time to read the clock; also the noise of a reading.
    """

    max_frequency: Rate
    frequency_latency: Duration
    precision: Duration


@dataclass(frozen=True, slots=True)
class ClockReport:
    """What a clock is told about itself, for other programs to read (``adjtimex``).

    Attributes:
        synchronized: Whether its time may be believed at all.
        estimated_error: One standard deviation.
        maximum_error: The claimed bound.
        leap: The leap second to be inserted or deleted at the end of this UTC day; NONE on all other days.
        tai_utc: TAI minus UTC in whole seconds, now.
    """

    synchronized: bool
    estimated_error: Duration
    maximum_error: Duration
    leap: Leap
    tai_utc: int


class Clock(Protocol):
    """A clock that can be read and steered. TAI as that clock believes it."""

    @property
    def id(self) -> ClockId:
        """Its name in the configuration."""
        ...

    @property
    def kind(self) -> str:
        """``system``, ``virtual`` or ``phc``."""
        ...

    @property
    def epoch(self) -> int:
        """How many times it has been stepped, by us or by others as far as was noticed."""
        ...

    @property
    def limits(self) -> ClockLimits:
        """What it can do."""
        ...

    def read(self) -> Stamp:
        """The present reading."""
        ...

    def frequency(self) -> Rate:
        """The frequency adjustment now in force, as the clock itself says."""
        ...

    def adjust_frequency(self, rate: Rate) -> Rate:
        """Run faster by ``rate`` than the oscillator does; returns what was taken, clamped and rounded.

        Raises ClockError.
        """
        ...

    def step(self, by: Duration) -> None:
        """Add ``by`` to the reading at once; the epoch goes up by one. Raises ClockError."""
        ...

    def report(self, report: ClockReport) -> None:
        """Tell the clock (the kernel) how good it is. Raises ClockError."""
        ...

    def serving_map(self) -> ServingMap:
        """How kernel timestamps become this clock's UTC, from now on."""
        ...


class ExchangeHandler(Protocol):
    """Who listens on an exchange's socket."""

    def on_packet(self, data: bytes, stamp: Stamp | None) -> None:
        """A datagram came from the remote; ``stamp`` is of the exchange's clock, None when there is none."""
        ...

    def on_sent(self, stamp: Stamp | None) -> None:
        """The transmit stamp of the one datagram sent; called exactly once, None when it was lost."""
        ...

    def on_error(self, error: OSError) -> None:
        """The socket reported an error (connection refused, host unreachable)."""
        ...


class Exchange(Protocol):
    """A UDP socket from a fresh random port, connected to one remote, for one request (RFC 9109)."""

    def send(self, data: bytes) -> None:
        """Send the request. Raises OSError."""
        ...

    def close(self) -> None:
        """Close the socket; the handler is not called again."""
        ...


class Stream(Protocol):
    """A TCP connection."""

    async def receive(self) -> bytes:
        """Octets that came, some thousand at most; empty when the remote sends no more. Raises OSError."""
        ...

    async def send(self, data: bytes) -> None:
        """Send all of them, in one piece as far as the network lets. Raises OSError."""
        ...

    def close(self) -> None:
        """Close it; nobody may be waiting in ``receive`` or ``send``."""
        ...


class NtpService(Protocol):
    """A running NTP server, in this process or in workers of its own."""

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """What it listens on, with the real port where 0 was asked for."""
        ...

    def publish(self, state: ServeState) -> None:
        """Answer from this state from now on."""
        ...

    def rekey(self, keys: MasterKeys) -> None:
        """Open and make cookies of NTS with these master keys from now on."""
        ...

    def counters(self) -> ServerCounters:
        """Sums over all workers since the start."""
        ...

    async def clients(self) -> ClientList:
        """Who has asked, a second ago at most: those heard last and those that asked most, of all workers."""
        ...

    def close(self) -> Sequence[ClientRecord]:
        """Stop answering; gives all who have asked, for ``serve_ntp``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NtsSpec:
    """How NTS key establishment is served.

    Attributes:
        listen: TCP endpoints.
        certificates: Files of certificate and private key; the first is for clients that name no server.
        offer: What is agreed upon.
        connections: At once.
        clients: Of so many a record is kept.
    """

    listen: Sequence[Endpoint]
    certificates: Sequence[tuple[str, str]]
    offer: KeServerSettings
    connections: int
    clients: int


@dataclass(frozen=True, slots=True)
class ServedCertificate:
    """A certificate that is shown to clients of NTS-KE.

    Attributes:
        file: Where it is from.
        names: DNS names and addresses that it is for.
        expires: When it, or one of its chain, is valid no more.
    """

    file: str
    names: tuple[str, ...]
    expires: Instant[Utc]


@dataclass(frozen=True, slots=True)
class RefusedCertificate:
    """A certificate that cannot be served.

    Attributes:
        file: Where it is.
        why: In words.
    """

    file: str
    why: str


class NtsKeService(Protocol):
    """A running server of NTS key establishment, in a process that has no power over clocks."""

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """What it listens on, with the real port where 0 was asked for."""
        ...

    @property
    def certificates(self) -> Sequence[ServedCertificate]:
        """What is served."""
        ...

    @property
    def refused(self) -> Sequence[RefusedCertificate]:
        """What could not be taken when it was last tried."""
        ...

    def counters(self) -> Mapping[str, int]:
        """What became of connections and requests since the start, by name."""
        ...

    async def clients(self) -> ClientList:
        """Who has connected; those heard last and those that came most, where there are many."""
        ...

    def publish(self, keys: MasterKeys) -> None:
        """Make cookies under these master keys from now on."""
        ...

    def close(self) -> None:
        """Stop serving."""
        ...


class Host(Protocol):
    """The machine: its clocks, its network, its storage."""

    @property
    def rng(self) -> Rng:
        """For spreading timers."""
        ...

    @property
    def entropy(self) -> Entropy:
        """For what must not be guessed."""
        ...

    @property
    def clocks(self) -> Mapping[ClockId, Clock]:
        """The clocks that the configuration names."""
        ...

    @property
    def devices(self) -> Devices:
        """Its time hardware."""
        ...

    @property
    def missing(self) -> Mapping[ClockId, str]:
        """Configured clocks that are not there, and why, in words."""
        ...

    def retry_missing(self) -> Sequence[ClockId]:
        """Look for them again; those that came are among ``clocks`` from now on."""
        ...

    def mono(self) -> Instant[Mono]:
        """Monotonic time; the same scale as the event loop's ``time()``."""
        ...

    def open_exchange(
        self,
        remote: Endpoint,
        clock: ClockId,
        handler: ExchangeHandler,
        *,
        hardware: bool = False,
        over_ptp: bool = False,
    ) -> Exchange:
        """A fresh socket towards ``remote`` whose stamps are of ``clock``. Raises OSError.

        With ``hardware`` they are the network card's alone, whose clock that must be; a stamp is None where the card
        gave none. With ``over_ptp`` the socket has the remote's port, by which cards know messages of PTP.
        """
        ...

    def card_clock(self, remote: Endpoint, *, over_ptp: bool = False) -> ClockId:
        """The clock of the network card that packets to ``remote`` leave by, once the card is set to stamp them.

        With ``over_ptp`` they are messages of PTP. Raises ClockError with why there is none.
        """
        ...

    def card_maps(self, *, over_ptp: bool = False) -> tuple[CardMap, ...]:
        """How the stamps of network cards become kernel timestamps now, for a server; the cards are set to stamp.

        With ``over_ptp`` so are those that stamp messages of PTP only.
        """
        ...

    def check_foreign(self) -> str | None:
        """What something other than us did to the clocks since the last call, in sentences; None if nothing.

        A clock that was stepped has a new epoch afterwards.
        """
        ...

    def own_addresses(self) -> frozenset[str]:
        """The numeric addresses of this machine, loopback included: no source of a pool, and a loop as a reference."""
        ...

    def open_ptp(self, spec: PtpPortSpec, handler: PtpHandler) -> PtpSocket:
        """The sockets of a PTP port, with stamps of ``spec.clock``. Raises OSError."""
        ...

    def open_management(self, path: str, handler: ManagementHandler) -> ManagementSocket:
        """The Unix sockets by which a PTP instance is managed, at ``path`` and ``path`` + "ro". Raises OSError."""
        ...

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        """The addresses of a name, in the resolver's order. Raises OSError."""
        ...

    async def connect(self, remote: Endpoint) -> Stream:
        """A TCP connection to ``remote``; waits as long as the network does. Raises OSError."""
        ...

    def serve_ntp(
        self,
        settings: ServerSettings,
        listen: Sequence[Endpoint],
        workers: int | None,
        ptp_listen: Sequence[Endpoint] = (),
        clients: Sequence[ClientRecord] = (),
    ) -> NtpService:
        """Start serving. Raises OSError.

        Args:
            settings: How.
            listen: Where.
            workers: Processes; None: the host decides, 0: inside this process.
            ptp_listen: Where NTP over PTP is served.
            clients: Who has asked before, as the ``close`` of a service gave it.
        """
        ...

    def serve_nts(
        self, spec: NtsSpec, keys: MasterKeys, now: Callable[[], Instant[Utc]], note: Callable[[str, str], None]
    ) -> NtsKeService:
        """Establish keys for clients of NTS. Raises OSError, ValueError.

        Args:
            spec: How.
            keys: Master keys of cookies.
            now: What our clock says, for sentences about the dates of certificates.
            note: Takes a level and a sentence for the operator.
        """
        ...

    def load(self, name: str) -> bytes | None:
        """A file of the state directory; None when there is none. Raises OSError."""
        ...

    def save(self, name: str, data: bytes) -> None:
        """Replace a file of the state directory, whole or not at all. Raises OSError."""
        ...
