"""What clocks are compared with, as a user names it: one model for each kind of source."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic_core import PydanticCustomError

from timesync.base.time import ZERO, Duration
from timesync.config.address import NTP_PORT, HostPort
from timesync.config.amounts import Poll, PollRange, Span
from timesync.config.csptp import CsptpDomain, HostName
from timesync.config.device import AutoBaud, AutoSpan, Device, Gpsd, GpsdAddress, PulseDevice, Title
from timesync.config.fields import ClockName, Drafts, Path, Remote
from timesync.config.model import Model
from timesync.config.ptp import InterfaceName
from timesync.config.roughtime import ROUGHTIME_PORT, PublicKey, RoughtimeVersion
from timesync.config.written import Written, refusal
from timesync.wire.ntp5_ext import DRAFTS
from timesync.wire.ntp_over_ptp import NTP_DOMAIN


class SourceOptions(Model):
    """What goes with any source."""

    name: Annotated[str, Title()] | None = None
    """What it is called in reports and in `pairs_with`; absent: what it is written as."""
    clock: Annotated[str, ClockName()] | None = None
    """Which clock it measures; absent: the one that stamps it: system, the served virtual clock, or its own PHC."""
    trust: bool = False
    """Never outvoted by other sources."""
    noselect: bool = False
    """Measured and shown, never used; it may still number the pulses of a source that names it in `pairs_with`."""
    offset: Annotated[Duration, Span("-1h", "1h")] = Field("0s", validate_default=True)
    """A known constant error of the source, subtracted; positive when its time is ahead."""

    @model_validator(mode="after")
    def _trust_or_noselect(self) -> Self:
        if self.trust and self.noselect:
            raise refusal("trust and noselect contradict each other", step="noselect")
        return self

    @property
    def kind(self) -> str:
        """The key that makes it what it is, such as ``ntp`` or ``pps``."""
        return next(kind for kind, model in SOURCE_KINDS.items() if isinstance(self, model))

    @property
    def title(self) -> str:
        """What it is called: its name, or what it is written as, in a form that no other source has."""
        return self.name if self.name is not None else title_of(self.kind, getattr(self, self.kind))


class NtpOptions(SourceOptions):
    """What goes with any NTP server."""

    poll: Annotated[Poll, PollRange()] = Field(["16s", "1024s"], validate_default=True)
    """The range of the interval between requests."""
    burst: bool = True
    """Four quick requests at the start and when the server comes back."""
    interleaved: Literal["auto", "never", "always"] = "auto"
    """Interleaved mode (RFC 9769): more exact transmit timestamps; auto uses it where the server does."""
    timestamping: Literal["auto", "hardware", "software"] = "auto"
    """Who stamps packets: the network card, on a PTP hardware clock of `clocks`, or the kernel; auto: the best one."""
    transport: Literal["udp", "ptp"] = "udp"
    """What carries the messages; ptp: event messages of PTP (port 319 unless given), for cards that stamp no other."""
    ptp_domain: Annotated[int, Field(ge=0, le=255)] = NTP_DOMAIN
    """With `transport: ptp`: `domainNumber` of those."""
    key: Annotated[int, Field(ge=1, le=0xFFFF_FFFF)] | None = None
    """The id of the symmetric key, from `keys`, that authenticates both directions."""
    version: Literal[3, 4, 5, "auto"] = 4
    """NTP version of the requests; 5 is a draft and experimental; auto: 4, and 5 where the server says it speaks it."""
    drafts: Drafts = DRAFTS
    """With `version` 5 or auto: the drafts of NTPv5 to speak, the preferred one first."""
    nts: bool = False
    """Authenticated by NTS (RFC 8915); the port given is then that of NTS-KE, TCP 4460 unless given."""
    ca: Annotated[str, Path()] | None = None
    """With `nts`: a PEM file of certificates to trust instead of the system's."""
    bootstrap: bool = True
    """With `nts`: while the clock was never right since the start, dates of certificates are judged afterwards."""

    @model_validator(mode="after")
    def _what_versions_have(self) -> Self:
        if self.interleaved == "always" and self.version == 3:
            raise refusal("interleaved mode exists from NTP version 4 on (RFC 9769)", step="interleaved")
        if "drafts" in self.model_fields_set and not self.may_speak_5:
            raise refusal("only NTPv5 has drafts; write `version: auto` or `version: 5`, too", step="drafts")
        return self

    @model_validator(mode="after")
    def _of_ptp(self) -> Self:
        if self.transport == "ptp" and self.nts:
            raise refusal("NTS tells the port of NTP, and nothing of PTP; use key", step="transport")
        if self.transport == "ptp" and self.may_speak_5:
            raise refusal("messages over PTP are asked in version 3 or 4", step="version")
        if self.transport != "ptp" and "ptp_domain" in self.model_fields_set:
            raise refusal("only messages over PTP have a domain; add transport: ptp", step="ptp_domain")
        return self

    @model_validator(mode="after")
    def _one_authentication(self) -> Self:
        if self.nts and self.key is not None:
            raise refusal("nts and key are two kinds of authentication; one is used", step="key")
        if self.nts and self.version == 3:
            raise refusal("NTS exists from NTP version 4 on (RFC 8915)", step="version")
        for step in () if self.nts else ("ca", "bootstrap"):
            if step in self.model_fields_set and getattr(self, step) is not None:
                raise refusal("only servers with nts: true have certificates", step=step)
        return self

    @property
    def may_speak_5(self) -> bool:
        """Whether NTPv5 may be spoken."""
        return self.version in (5, "auto")


class NtpSource(NtpOptions):
    """One NTP server."""

    ntp: Annotated[HostPort, Remote()]
    """The server; the port is 123 unless given."""


class PoolSource(NtpOptions):
    """Several NTP servers behind one name."""

    pool: Annotated[HostPort, Remote(name_only=True)]
    """A name with many addresses; the port is 123 unless given."""
    count: Annotated[int, Field(ge=1, le=16)] = 4
    """How many of its servers are used at a time; dead ones are replaced."""


class ReceiverOptions(SourceOptions):
    """What goes with any satellite receiver that sends messages."""

    delay: Annotated[Duration | None, AutoSpan("0s", "1s")] = Field("auto", validate_default=True)
    """How long after the second its message arrives; auto: measured against the pulse, and remembered."""


class GpsdSource(ReceiverOptions):
    """A satellite receiver behind gpsd."""

    gpsd: Annotated[Gpsd, GpsdAddress()]
    """Where gpsd listens, and which receiver of it is meant; the port is 2947 unless given."""


class NmeaSource(ReceiverOptions):
    """A satellite receiver on a serial port, without gpsd; it may speak NMEA 0183, UBX, or both."""

    nmea: Annotated[str, Device("/dev/ttyAMA0")]
    """The serial port."""
    baud: Annotated[int | None, AutoBaud()] = Field("auto", validate_default=True)
    """Its speed in bits per second; auto: found by trying."""
    configure: bool = False
    """Send UBX settings that switch on the messages we use; they are lost when the receiver loses power."""


class PpsSource(SourceOptions):
    """Pulses, one at the beginning of each second; something else must say which second."""

    pps: Annotated[str, PulseDevice()]
    """A PPS device such as /dev/pps0, or a clock of `clocks` that has `phc`: its external timestamps."""
    edge: Literal["assert", "clear"] = "assert"
    """Which edge marks the second (RFC 2783)."""
    channel: Annotated[int, Field(ge=0, le=63)] = 0
    """Index of the external timestamp channel of a PTP hardware clock."""
    pin: Annotated[int, Field(ge=0, le=63)] | None = None
    """Index of the pin that is routed to it; absent: the card has no programmable pins, or the routing stands."""
    pairs_with: Annotated[str, Field(max_length=300)] | None = None
    """Who numbers the seconds: a source by its name, by what it is written as, or by its kind; absent: any good one."""

    @property
    def phc(self) -> str | None:
        """The clock whose external timestamps these are; None for a PPS device of the kernel."""
        return None if "/" in self.pps else self.pps

    @property
    def title(self) -> str:
        """What it is called."""
        if self.name is None and self.phc is not None and self.channel:
            return f"pps:{self.phc}:{self.channel}"
        return super().title

    @model_validator(mode="after")
    def _pins_are_of_a_phc(self) -> Self:
        for key in ("channel", "pin") if self.phc is None else ():
            if key in self.model_fields_set and getattr(self, key) is not None:
                raise refusal("only the external timestamps of a PTP hardware clock have this", step=key)
        if self.phc is not None and self.clock not in (None, self.phc):
            raise refusal(f"these edges are stamped by {self.phc}, and measure no other clock", self.phc, step="clock")
        return self


class SockSource(SourceOptions):
    """Samples that another program sends by chrony's SOCK protocol."""

    sock: Annotated[str, Path(socket=True)]
    """The Unix datagram socket that we make and the other program sends to."""


class ShmSource(SourceOptions):
    """Samples that another program leaves in an NTP shared memory segment."""

    shm: Annotated[int, Field(ge=0, le=255)]
    """The unit of the segment."""


class PhcSource(SourceOptions):
    """A PTP hardware clock that something else keeps right."""

    phc: Annotated[str, ClockName()]
    """A clock of `clocks` that has `phc` and `discipline: false`."""


class CsptpSource(SourceOptions):
    """A server of CSPTP, the client-server PTP of the draft IEEE P1588.1; experimental, the draft may change."""

    csptp: Annotated[str, HostName()]
    """The server; its messages go to UDP ports 319 and 320."""
    interface: Annotated[str, InterfaceName()]
    """The network interface that it is reached by."""
    domain: CsptpDomain = 128
    """`domainNumber` of the requests."""
    poll: Annotated[Poll, PollRange()] = Field(["1s", "16s"], validate_default=True)
    """The range of the interval between requests."""
    timestamping: Literal["auto", "hardware", "software"] = "auto"
    """Who stamps messages: the card, on a PTP hardware clock of `clocks`, or the kernel; auto: the best one."""


class RoughtimeSource(SourceOptions):
    """A Roughtime server: a check on all other sources, signed and coarse; no clock is ever steered by it."""

    roughtime: Annotated[HostPort, Remote(default_port=ROUGHTIME_PORT)]
    """The server; the port is UDP 5319 unless given (many servers still use 2002 or 2003)."""
    public_key: Annotated[bytes, PublicKey()]
    """Its long-term Ed25519 key, from whoever runs it."""
    interval: Annotated[Duration, Span("64s", "7d")] = Field("1h", validate_default=True)
    """How often it is asked; its word counts for two intervals."""
    versions: Annotated[tuple[RoughtimeVersion, ...], Field(min_length=1, max_length=2)] = ("rfc", "draft")
    """What is offered: the version of the RFC, and that of drafts 12 to 19."""

    @model_validator(mode="after")
    def _only_checks(self) -> Self:
        meanings = {
            "trust": "Roughtime has no vote that could be outvoted: it is a check on the other sources",
            "clock": "Roughtime measures no clock: it is a check on the sources of all of them",
            "offset": "Roughtime steers no clock, so that a constant error is of no account",
        }
        for step, why in meanings.items():
            if step in self.model_fields_set and getattr(self, step) not in (None, False, ZERO):
                raise refusal(why, step=step)
        return self


SOURCE_KINDS: dict[str, type[SourceOptions]] = {
    "ntp": NtpSource,
    "pool": PoolSource,
    "gpsd": GpsdSource,
    "pps": PpsSource,
    "nmea": NmeaSource,
    "sock": SockSource,
    "shm": ShmSource,
    "phc": PhcSource,
    "csptp": CsptpSource,
    "roughtime": RoughtimeSource,
}
"""The key that makes an entry of ``sources`` a source of its kind."""


def source_kind(value: Any) -> str | None:
    """The one kind that an entry of ``sources`` names; None when it names none or several."""
    if isinstance(value, SourceOptions):
        return value.kind
    if not isinstance(value, dict):
        return None
    kinds = [kind for kind in SOURCE_KINDS if kind in value]
    return kinds[0] if len(kinds) == 1 else None


Source = Annotated[
    Annotated[NtpSource, Tag("ntp")]
    | Annotated[PoolSource, Tag("pool")]
    | Annotated[GpsdSource, Tag("gpsd")]
    | Annotated[PpsSource, Tag("pps")]
    | Annotated[NmeaSource, Tag("nmea")]
    | Annotated[SockSource, Tag("sock")]
    | Annotated[ShmSource, Tag("shm")]
    | Annotated[PhcSource, Tag("phc")]
    | Annotated[CsptpSource, Tag("csptp")]
    | Annotated[RoughtimeSource, Tag("roughtime")],
    Discriminator(source_kind),
]


@dataclass(frozen=True, slots=True)
class Called:
    """What a source can be called.

    Attributes:
        kind: Its kind.
        value: What stands behind the key of its kind, as read.
        name: Its name, if it has one.
    """

    kind: str
    value: object
    name: str | None


def read_value(kind: str, written: object) -> object | None:
    """What the key of a kind says; None when it is not of the right form."""
    mark = next((mark for mark in SOURCE_KINDS[kind].model_fields[kind].metadata if isinstance(mark, Written)), None)
    if mark is None:
        return written
    try:
        return mark.parse(written)
    except PydanticCustomError:
        return None


def title_of(kind: str, value: object) -> str:
    """What a source without a name is called."""
    match value:
        case HostPort():
            return value.host if value.port == NTP_PORT else str(value)
        case str() if "/" in value:
            return value
        case Gpsd():
            return str(value)
        case _:
            return f"{kind}:{value}"


NUMBERLESS = ("pps", "roughtime")
"""Kinds of sources that tell nobody which second it is."""


class Directory:
    """Finds sources by what they are called; those that number nothing are never found, such as pulses."""

    def __init__(self, sources: Iterable[Called]) -> None:
        self._names: dict[str, list[int]] = {}
        self._texts: dict[tuple[str, object], list[int]] = {}
        self._titles: dict[str, list[int]] = {}
        self._kinds: dict[str, list[int]] = {}
        for index, source in enumerate(sources):
            if source.kind in NUMBERLESS:
                continue
            if source.name is not None:
                self._names.setdefault(source.name, []).append(index)
            self._texts.setdefault((source.kind, source.value), []).append(index)
            self._titles.setdefault(title_of(source.kind, source.value), []).append(index)
            self._kinds.setdefault(source.kind, []).append(index)

    def find(self, wanted: str) -> list[int]:
        """Which sources a reference means: those of that name, else those written so, else those of that kind."""
        if wanted in self._names:
            return self._names[wanted]
        written = [index for kind in self._kinds for index in self._texts.get((kind, read_value(kind, wanted)), [])]
        return written or self._titles.get(wanted) or self._kinds.get(wanted, [])
