"""The configuration as typed, frozen values; every key with its meaning, unit, default and range.

This is what users write, not what the core reads: the daemon turns it into the core's own settings. Nothing
here touches files or the network.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from timesync.base.ids import Endpoint
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.config.amounts import Frequency, Span
from timesync.config.clocks import SYSTEM, Clock, PulseOut, Virtual
from timesync.config.csptp import EVENT_PORT, CsptpRateLimit, ServeCsptp
from timesync.config.fields import (
    AutoCount,
    ClientCount,
    ClockName,
    Drafts,
    KeyNumber,
    Listen,
    Networks,
    Path,
    Secret,
    SecretText,
)
from timesync.config.model import Model
from timesync.config.nts import CertificatePair, ServeNts
from timesync.config.observe import Log, Observe
from timesync.config.ptp import Ptp, PtpInstances, PtpPort
from timesync.config.sources import (
    SOURCE_KINDS,
    Called,
    CsptpSource,
    Directory,
    GpsdSource,
    NmeaSource,
    NtpOptions,
    NtpSource,
    PhcSource,
    PoolSource,
    PpsSource,
    ReceiverOptions,
    RoughtimeSource,
    ShmSource,
    SockSource,
    Source,
    SourceOptions,
    source_kind,
)
from timesync.config.written import refusal
from timesync.ntp.auth import MIN_SECRET, SECRET_SIZES
from timesync.wire.ntp5_ext import DRAFTS
from timesync.wire.ntp_over_ptp import NTP_DOMAIN

__all__ = [
    "SOURCE_KINDS",
    "SYSTEM",
    "CertificatePair",
    "Clock",
    "Config",
    "CsptpRateLimit",
    "CsptpSource",
    "GpsdSource",
    "Key",
    "LeapSeconds",
    "Log",
    "Model",
    "NmeaSource",
    "NtpOptions",
    "NtpSource",
    "Observe",
    "PhcSource",
    "PoolSource",
    "PpsSource",
    "Ptp",
    "PtpPort",
    "PulseOut",
    "RateLimit",
    "ReceiverOptions",
    "RoughtimeSource",
    "Serve",
    "ServeCsptp",
    "ServeNtp",
    "ServeNts",
    "ShmSource",
    "SockSource",
    "Source",
    "SourceOptions",
    "Steering",
    "Step",
    "Virtual",
    "check_secret",
    "default_clock",
    "source_kind",
]


PTP_ALGORITHMS = ("HMAC-SHA256-128", "HMAC-SHA256", "AES128", "AES256")
"""What an AUTHENTICATION TLV can be made with (IEEE 1588-2019, 16.14.3.9); the first one is the standard's own."""


def check_secret(algorithm: str, secret: Secret) -> None:
    """Raise the error of ``refusal`` when a secret is of the wrong size for its algorithm."""
    size, needed = len(secret.value), SECRET_SIZES.get(algorithm)
    if needed is not None and size != needed:
        raise refusal(f"{algorithm} needs a secret of {needed} octets, not {size}", step="secret")
    if size < MIN_SECRET:
        raise refusal(f"{size} octets can be found by trying; a secret has at least {MIN_SECRET}", step="secret")


class Key(Model):
    """A symmetric key shared with a server or with clients."""

    algorithm: Literal[
        "AES128", "AES256", "SHA256", "SHA384", "SHA512", "SHA1", "MD5", "HMAC-SHA256-128", "HMAC-SHA256"
    ]
    """How the MAC is made (RFC 5905, RFC 8573); SHA1 and MD5 are for old peers only, HMAC is for PTP only."""
    secret: Annotated[Secret, SecretText()] | None = None
    """The key: HEX: and digits, or ASCII: and text; at least 10 octets, 16 for AES128 and 32 for AES256."""
    file: Annotated[str, Path()] | None = None
    """A file that holds the secret in the same form, instead of `secret`."""

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if (self.secret is None) == (self.file is None):
            raise refusal("needs either secret or file" if self.secret is None else "has both secret and file")
        if self.secret is not None:
            check_secret(self.algorithm, self.secret)
        return self


class Step(Model):
    """When a clock may be stepped rather than slewed."""

    threshold: Annotated[Duration, Span("1us", "36500d")] = Field("100ms", validate_default=True)
    """Step when the offset is larger than this."""
    updates: Annotated[int, Field(ge=0, le=1_000_000)] = 3
    """Only in so many first updates; 0: never."""


class Steering(Model):
    """How clocks are corrected, and what is never done to them."""

    step: Step = Step()
    panic: Annotated[Duration, Span("1s", "36500d")] = Field("1000s", validate_default=True)
    """An offset beyond this is refused and said, unless the first one is allowed on the command line."""
    max_slew: Annotated[Rate, Frequency("1ppm", "100000ppm")] = Field("5000ppm", validate_default=True)
    """The fastest slew."""
    minimum_sources: Annotated[int, Field(ge=1, le=64)] = 1
    """How many sources must agree before a clock is touched."""
    holdover: Annotated[Duration, Span("0s", "365d")] = Field("1h", validate_default=True)
    """How long a clock without any source keeps its class."""


class RateLimit(Model):
    """How many requests of one client address are answered (an IPv6 client is its /64); its /24 or /48 counts as 64."""

    interval: Annotated[Duration, Span("1ms", "1h")] = Field("1s", validate_default=True)
    """One more request is answered after each such time."""
    burst: Annotated[int, Field(ge=1, le=255)] = 8
    """So many requests may come at once."""
    reply: Literal["kod", "drop"] = "kod"
    """To the others: a RATE kiss-o'-death now and then (RFC 5905, 7.4), or nothing."""


class ServeNtp(Model):
    """The NTP server."""

    listen: Annotated[tuple[Annotated[Endpoint, Listen()], ...], Field(min_length=1, max_length=64)] = Field(
        ("0.0.0.0:123", "[::]:123"), validate_default=True
    )
    """Where to listen; the port is 123 unless given, 0 is a free one."""
    allow: Networks = Field(("0.0.0.0/0", "::/0"), validate_default=True)
    """Who is answered; of several networks the longest prefix decides."""
    deny: Networks = ()
    """Who is not; wins over `allow` at the same length."""
    rate_limit: RateLimit | None = None
    """Limits requests per client; absent: no limit."""
    workers: Annotated[int | None, AutoCount(64)] = Field("auto", validate_default=True)
    """Processes that answer; 0: inside the daemon itself."""
    interleaved: bool = True
    """Answer in interleaved mode (RFC 9769) those who ask for it."""
    versions: Annotated[tuple[Literal[1, 2, 3, 4, 5], ...], Field(min_length=1, max_length=5)] = (1, 2, 3, 4)
    """NTP versions that are answered; 5 is a draft and experimental."""
    drafts: Drafts = DRAFTS
    """With 5 in `versions`: the drafts of NTPv5 that are answered."""
    timestamping: Literal["auto", "hardware", "software"] = "auto"
    """Who stamps packets: network cards whose PTP hardware clock is in `clocks`, or the kernel; auto: the best one."""
    ptp_listen: Annotated[tuple[Annotated[Endpoint, Listen(EVENT_PORT)], ...], Field(max_length=64)] = ()
    """Where to listen for NTP over PTP, from clients whose cards stamp nothing else; the port is 319 unless given."""
    ptp_domain: Annotated[int, Field(ge=0, le=255)] = NTP_DOMAIN
    """With `ptp_listen`: `domainNumber` of what is answered."""
    clients: ClientCount = 4096
    """Client addresses of which each worker keeps a record for `timesync clients`, at 0.4 KiB each; 0: no record."""
    leap_smear: Annotated[Duration, Span("1s", "48h")] | None = None
    """Spread a leap second evenly over so long, half before it and half after; absent: serve it as it is."""

    @model_validator(mode="after")
    def _domain_of_ptp(self) -> Self:
        if not self.ptp_listen and "ptp_domain" in self.model_fields_set:
            raise refusal("only messages over PTP have a domain; add ptp_listen", step="ptp_domain")
        return self

    @model_validator(mode="after")
    def _drafts_of_version_5(self) -> Self:
        if "drafts" in self.model_fields_set and 5 not in self.versions:
            raise refusal("only NTPv5 has drafts; add 5 to versions, too", step="drafts")
        return self


class Serve(Model):
    """What is served to others."""

    clock: Annotated[str, ClockName()] | None = None
    """Whose time is served; absent: system, or the virtual clock when that alone is disciplined."""
    ntp: ServeNtp | None = None
    """The NTP server; absent: none."""
    nts: ServeNts | None = None
    """The server of NTS key establishment; absent: none."""
    csptp: ServeCsptp | None = None
    """The server of CSPTP (experimental); absent: none."""
    sock: Annotated[str, Path(socket=True)] | None = None
    """The socket of a chronyd that is fed by its SOCK protocol; absent: none."""
    shm: Annotated[int, Field(ge=0, le=255)] | None = None
    """The unit of an NTP shared memory segment that is written, for an ntpd or a chronyd; absent: none."""
    local_stratum: Annotated[int, Field(ge=1, le=15)] | None = None
    """Serve, honestly marked with this stratum, when no source is reachable; absent: never."""


class LeapSeconds(Model):
    """Where leap seconds are known from."""

    file: Annotated[str, Path()]
    """A leap-seconds.list to use instead of all others, however old; a bad one is said, and the shipped one is used."""


def _with_system(clocks: dict[str, Clock]) -> dict[str, Clock]:
    """The system clock is always there."""
    return clocks if SYSTEM in clocks else {SYSTEM: Clock(), **clocks}


class Config(Model):
    """A whole configuration."""

    profile: Annotated[str, Field(max_length=64)] | None = None
    """The shipped profile that this one starts from; its own keys win, lists replace, mappings merge."""
    description: Annotated[str, Field(max_length=200)] | None = None
    """What this configuration is for, in one line."""
    clocks: Annotated[dict[Annotated[str, ClockName()], Clock], AfterValidator(_with_system)] = Field(
        {}, validate_default=True
    )
    """The clocks that this machine has, by name; `system` is always there."""
    sources: tuple[Source, ...] = ()
    """What the clocks are compared with."""
    ptp: PtpInstances = ()
    """PTP: one instance, or a list of several, in domains of their own."""
    keys: dict[Annotated[int, KeyNumber()], Key] = Field({}, validate_default=True)
    """Symmetric keys by id."""
    steering: Steering = Steering()
    serve: Serve = Serve()
    observe: Observe = Observe()
    leap: LeapSeconds | None = None

    @property
    def ptp_instances(self) -> tuple[Ptp, ...]:
        """The PTP instances."""
        return (self.ptp,) if isinstance(self.ptp, Ptp) else self.ptp

    def ptp_clock(self, instance: Ptp, port: PtpPort) -> str:
        """Which clock stamps the messages of a port: as configured, else its card's, else as for any source."""
        return instance.clock if instance.clock is not None else self.stamped_by(port.interface, port.timestamping)

    def stamped_by(self, interface: str, timestamping: str) -> str:
        """Which clock stamps PTP messages on an interface: its card's, else the system's or a served virtual one."""
        if timestamping != "software":
            for name, clock in self.clocks.items():
                if clock.phc == interface:
                    return name
        served = self.served_clock()
        return served if self.clocks[served].virtual is not None else SYSTEM

    def served_clock(self) -> str:
        """Whose time is served: as configured, else system or the virtual clock that alone is disciplined."""
        if self.serve.clock is not None:
            return self.serve.clock
        virtual = {name: clock.discipline for name, clock in self.clocks.items() if clock.virtual is not None}
        return default_clock({SYSTEM: self.clocks[SYSTEM].discipline, **virtual})

    def clock_of(self, source: SourceOptions) -> str:
        """Which clock a source measures: as configured, else the one that takes its stamps.

        External timestamps are taken by their PTP hardware clock, messages of CSPTP by the card's where it can, and
        everything else by the kernel, on the system clock or on the virtual clock that is served. A PTP hardware clock
        as a source cannot measure itself.
        """
        if isinstance(source, PpsSource) and source.phc is not None:
            return source.phc
        itself = isinstance(source, PhcSource) and source.clock == source.phc
        if source.clock is not None and not itself:
            return source.clock
        if isinstance(source, CsptpSource):
            return self.stamped_by(source.interface, source.timestamping)
        served = self.served_clock()
        return served if self.clocks[served].virtual is not None else SYSTEM

    def numbering(self, source: PpsSource) -> SourceOptions | None:
        """The source that numbers these pulses; None: any that is good enough.

        Raises ValueError when ``pairs_with`` names none or several, which ``load`` refuses in its own words.
        """
        if source.pairs_with is None:
            return None
        known = Directory(Called(other.kind, getattr(other, other.kind), other.name) for other in self.sources)
        found = known.find(source.pairs_with)
        if len(found) != 1:
            raise ValueError(f"pairs_with: {source.pairs_with!r} names {len(found)} sources")
        return self.sources[found[0]]


def default_clock(disciplined: dict[str, bool]) -> str:
    """The clock that is meant when none is named, of the system clock and the virtual ones."""
    others = [name for name, steered in disciplined.items() if steered and name != SYSTEM]
    return others[0] if len(others) == 1 and not disciplined.get(SYSTEM, True) else SYSTEM
