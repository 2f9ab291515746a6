"""PTP instances and their ports as a user describes them.

What is absent comes from the PTP profile (``config.ptp_profiles``), which also says what may be changed.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue

from timesync.base.ids import ClockIdentity, identity_text
from timesync.base.time import UNITS_PER_S, Duration
from timesync.config import quantity
from timesync.config.amounts import Span
from timesync.config.device import INTERFACE
from timesync.config.fields import ClockName, Networks, Path
from timesync.config.model import Model
from timesync.config.ptp_extras import PtpMetadata, ZoneName
from timesync.config.written import Written, refusal

ProfileName = Literal[
    "default-e2e", "default-p2p", "gptp", "automotive-gm", "automotive-endpoint", "g8265.1", "g8275.1", "g8275.2",
    "power", "power-2011", "utility", "smpte", "aes67",
]  # fmt: skip
RoleName = Literal["auto", "timeReceiver", "timeTransmitter"]

LEAST_INTERVAL = -7
MOST_INTERVAL = 6
_UNITS = (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9))
_MAC = re.compile(r"[0-9a-f]{2}([:-])(?:[0-9a-f]{2}\1){4}[0-9a-f]{2}", re.ASCII | re.IGNORECASE)
_OCTET_PAIRS = re.compile(r"[0-9a-f]{16}", re.ASCII | re.IGNORECASE)


def interval_text(log2: int) -> str:
    """An interval as it is written: ``16s``, ``125ms``."""
    seconds = 2.0**log2
    unit, worth = next(((unit, worth) for unit, worth in _UNITS if seconds >= worth), _UNITS[-1])
    shown = seconds / worth
    return f"{shown:.0f}{unit}" if shown == int(shown) else f"{shown:.5g}{unit}"


@dataclass(frozen=True, slots=True)
class Interval:
    """How often messages are sent.

    Attributes:
        log2: Of seconds: -3 is 125 ms.
    """

    log2: int


@dataclass(frozen=True, slots=True)
class IntervalText(Written):
    """An interval between messages, a power of two of a second (IEEE 1588-2019, 7.7.2)."""

    def parse(self, value: object) -> Interval:
        """See ``Written``."""
        if isinstance(value, Interval):
            return value
        try:
            span = quantity.parse_duration(value)
        except quantity.QuantityError as error:
            raise refusal(error.message, error.suggestion) from None
        fitting = min(range(LEAST_INTERVAL, MOST_INTERVAL + 1), key=lambda log2: abs(_power(log2) - span))
        if _power(fitting) != span:
            low, high = interval_text(LEAST_INTERVAL), interval_text(MOST_INTERVAL)
            message = f"{quantity.format_duration(span)} is not a power of two of a second from {low} to {high}"
            raise refusal(message, interval_text(fitting))
        return Interval(fitting)

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": quantity.DURATION_PATTERN}

    def describe(self) -> str:
        """See ``Written``."""
        return f"duration, a power of two from {interval_text(LEAST_INTERVAL)} to {interval_text(MOST_INTERVAL)}"


@dataclass(frozen=True, slots=True)
class InterfaceName(Written):
    """A network interface."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str) or not INTERFACE.fullmatch(value):
            raise refusal("expected a network interface such as eth0")
        return value

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,15}$"}

    def describe(self) -> str:
        """See ``Written``."""
        return "name of an interface"


@dataclass(frozen=True, slots=True)
class IdentityText(Written):
    """A clock, or one port of a clock, as other programs print it: ``aabbcc.fffe.ddeeff``, with ``-1`` for a port."""

    def parse(self, value: object) -> str:
        """See ``Written``; in one form, whatever was between the digits."""
        text = value if isinstance(value, str) else ""
        clock, dash, port = text.partition("-") if "." in text or ":" in text else (text, "", "")
        digits = clock.replace(".", "").replace(":", "")
        if not _OCTET_PAIRS.fullmatch(digits):
            raise refusal('expected the identity of a clock, such as "aabbcc.fffe.ddeeff", or of a port of it, with -1')
        shown = identity_text(ClockIdentity(bytes.fromhex(digits)))
        if not dash:
            return shown
        if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 0xFFFE):
            raise refusal("the number of a port is 1 to 65534", shown)
        return f"{shown}-{int(port)}"

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 16, "maxLength": 29}

    def describe(self) -> str:
        """See ``Written``."""
        return "identity of a clock or port"


Every = Annotated[Interval, IntervalText()]


@dataclass(frozen=True, slots=True)
class UnicastAddress(Written):
    """Where a single clock is reached: a numeric IPv4 or IPv6 address, or a MAC address."""

    def parse(self, value: object) -> str:
        """See ``Written``; in the form in which sources of packets are written."""
        text = value if isinstance(value, str) else ""
        if _MAC.fullmatch(text):
            return text.lower().replace("-", ":")
        text, zone, _ = text.partition("%")
        if zone:
            raise refusal("the zone is that of the port's interface: leave it away", text)
        try:
            found = ip_address(text)
        except ValueError:
            raise refusal("expected a numeric IP address, or a MAC address", "192.0.2.1") from None
        if found.is_multicast or found.is_unspecified:
            raise refusal("this is not the address of a single clock")
        return str(found)

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 2, "maxLength": 64}

    def describe(self) -> str:
        """See ``Written``."""
        return "numeric IP address or MAC address"


class PtpUnicast(Model):
    """Unicast negotiation by a port (IEEE 1588-2019, 16.1): whom it asks, and whom it gives what they ask for."""

    servers: Annotated[tuple[Annotated[str, UnicastAddress()], ...], Field(max_length=64)] = ()
    """Addresses of timeTransmitters that are asked, the preferred one first."""
    grant: bool | None = None
    """Others are granted what they ask for; absent: unless the port only takes time."""
    allow: Networks = Field(("0.0.0.0/0", "::/0"), validate_default=True)
    """Who is granted anything: name your clients' networks, as a forged request may point our messages at anybody."""
    deny: Networks = ()
    """Who is not; wins over `allow` at the same length."""
    clients: Annotated[int, Field(ge=1, le=4096)] = 512
    """How many are served at most."""
    duration: Annotated[Duration, Span("10s", "1000s")] = Field("300s", validate_default=True)
    """For how long is asked, and granted at most; a grant is renewed when three quarters of it have passed."""
    multicast: bool | None = None
    """Announce and Sync go to all, and come from all, as well; absent: unless the profile has unicast only."""


class PtpAuthentication(Model):
    """The AUTHENTICATION TLV (IEEE 1588-2019, 16.14): who has no key can give no time, and read no less."""

    keys: Annotated[tuple[Annotated[int, Field(ge=1, le=0xFFFF_FFFF)], ...], Field(min_length=1, max_length=16)]
    """Ids of keys in `keys:`; the first one signs what is sent, any of them verifies what comes."""
    spp: Annotated[int, Field(ge=0, le=255)] = 1
    """The security parameters pointer (16.14.3.2); the same on all clocks of the domain."""
    unsigned: Literal["refuse", "accept"] = "refuse"
    """What becomes of messages without the TLV; accept: for the time until all clocks have keys."""
    mutable_correction: bool = False
    """Leave correctionField out of what is signed, for transparent clocks that have no key (16.14.3.9)."""


class PtpPort(Model):
    """A port: one interface, in one domain."""

    interface: Annotated[str, InterfaceName()]
    """The network interface."""
    transport: Literal["udp4", "udp6", "l2"] | None = None
    """UDP over IPv4, UDP over IPv6, or Ethernet; absent: the first that the profile names."""
    delay: Literal["e2e", "p2p"] | None = None
    """How delay is measured: to the timeTransmitter, or to the next device; absent: as the profile says."""
    timestamping: Literal["auto", "hardware", "software"] = "auto"
    """Who stamps messages: the card, on a PTP hardware clock of `clocks`, or the kernel; auto: the best one."""
    role: RoleName | None = None
    """What the port may become; absent: as the instance."""
    announce_interval: Every | None = None
    """Between Announce messages; absent: as the profile says."""
    announce_receipt_timeout: Annotated[int, Field(ge=2, le=255)] | None = None
    """So many announce intervals without any, and another timeTransmitter is looked for."""
    sync_interval: Every | None = None
    """Between Sync messages that we send."""
    sync_receipt_timeout: Annotated[int, Field(ge=2, le=255)] | None = None
    """So many sync intervals without any, and the time is held to be lost; gPTP only."""
    delay_interval: Every | None = None
    """Between questions for the delay."""
    operational_sync_interval: Every | None = None
    """What the neighbour is asked for once the clock is locked; automotive only."""
    operational_delay_interval: Every | None = None
    """Between questions for the delay once the clock is locked; automotive only."""
    steps: Literal["two-step", "one-step"] | None = None
    """one-step: Sync carries its own time where the card can write it; absent: two-step, with Follow_Up."""
    hybrid: bool = False
    """Questions for the delay, and their answers, go unicast although Sync comes multicast; `e2e` only."""
    unicast: PtpUnicast | None = None
    """Unicast negotiation; absent: none, unless the profile has it."""
    neighbor_threshold: Annotated[Duration, Span("0ns", "1s")] | None = None
    """A link with a longer delay is not asCapable; gPTP only."""
    allowed_lost_responses: Annotated[int, Field(ge=1, le=255)] | None = None
    """So many questions for the delay may be lost in a row before a link is not asCapable; gPTP only."""
    local_priority: Annotated[int, Field(ge=1, le=255)] | None = None
    """Prefers this port over others of lower priority, that is of a larger number; G.8275 only."""
    l2_destination: Literal["01-1B-19-00-00-00", "01-80-C2-00-00-0E"] | None = None
    """Where messages go on Ethernet: the first address is forwarded by switches, the second is not."""
    hop_limit: Annotated[int, Field(ge=1, le=255)] = 1
    """TTL or hop limit of multicast messages over UDP."""
    dscp: Annotated[int, Field(ge=0, le=63)] | None = None
    """DSCP of messages over UDP; absent: as the profile says, else 0."""
    asymmetry: Annotated[Duration, Span("-1s", "1s")] = Field("0s", validate_default=True)
    """By how much the way from the timeTransmitter is longer than the mean of both ways (IEEE 1588-2019, 7.4.2)."""
    ingress_latency: Annotated[Duration, Span("-1ms", "1ms")] = Field("0s", validate_default=True)
    """How much later messages are stamped than they pass the connector (IEEE 1588-2019, 7.3.4)."""
    egress_latency: Annotated[Duration, Span("-1ms", "1ms")] = Field("0s", validate_default=True)
    """How much earlier messages are stamped than they pass the connector (IEEE 1588-2019, 7.3.4)."""
    acceptable: Annotated[tuple[Annotated[str, IdentityText()], ...], Field(max_length=64)] = ()
    """The only clocks, or ports of clocks, that may be followed; empty: all (IEEE 1588-2019, 17.5)."""
    trust: bool = False
    """As a source: never outvoted by other sources."""
    noselect: bool = False
    """As a source: measured and shown, never used."""
    offset: Annotated[Duration, Span("-1h", "1h")] = Field("0s", validate_default=True)
    """As a source: a known constant error, subtracted; positive when its time is ahead."""

    @model_validator(mode="after")
    def _trust_or_noselect(self) -> Self:
        if self.trust and self.noselect:
            raise refusal("trust and noselect contradict each other", step="noselect")
        return self


class Ptp(Model):
    """A PTP instance: a clock in one domain, with one port or several; a list makes several instances."""

    profile: ProfileName = "default-e2e"
    """The PTP profile; `timesync profiles show NAME` prints its values and where they come from."""
    domain: Annotated[int, Field(ge=0, le=255)] | None = None
    """`domainNumber`; absent: as the profile says."""
    clock: Annotated[str, ClockName()] | None = None
    """The clock its timestamps come from; absent: for each port that of its interface, else the served one."""
    role: RoleName | None = None
    """Only ever takes time (timeReceiver), only ever gives it (timeTransmitter), or whatever is best (auto)."""
    priority1: Annotated[int, Field(ge=0, le=255)] | None = None
    """Who is grandmaster: the lowest number, before all qualities."""
    priority2: Annotated[int, Field(ge=0, le=255)] | None = None
    """Who is grandmaster among clocks of the same quality: the lowest number."""
    local_priority: Annotated[int, Field(ge=1, le=255)] | None = None
    """Who is preferred, this clock or those heard; G.8275 only."""
    max_steps_removed: Annotated[int, Field(ge=2, le=255)] | None = None
    """A grandmaster so many steps away or more is not followed."""
    path_trace: bool | None = None
    """Announce messages tell which clocks they came through (IEEE 1588-2019, 16.2)."""
    minor_version: Annotated[int, Field(ge=0, le=1)] | None = None
    """`minorVersionPTP` that is sent; 0 for cards and peers that know the 2008 edition only."""
    ports: Annotated[tuple[PtpPort, ...], Field(min_length=1, max_length=64)]
    """Its ports, numbered from 1."""
    grandmaster_id: Annotated[int, Field(ge=1, le=0xFFFE)] | None = None
    """`grandmasterID` of the power profiles; absent: 0, not used. That of 2011 wants one from 3 to 254."""
    network_inaccuracy: Annotated[Duration, Span("0ns", "1s")] | None = None
    """How wrong the network may make the time; power profiles only. Absent: unknown in that of 2011, else 0."""
    alternate_time: Annotated[tuple[Annotated[str, ZoneName()], ...], Field(max_length=4)] = ()
    """Local times that a grandmaster tells in Announce, by their time zones (IEEE 1588-2019, 16.3)."""
    metadata: PtpMetadata | None = None
    """What a grandmaster tells studios; `smpte` only."""
    authentication: PtpAuthentication | None = None
    """Messages are signed, and those of others verified; absent: neither."""
    management: Annotated[str, Path(socket=True)] | None = None
    """A Unix socket that `pmc` and `phc2sys` talk to; with `ro` at its end another one, to read only; absent: none."""


def _one_or_many(value: Any) -> str:
    return "many" if isinstance(value, tuple | list) else "one"


PtpInstances = Annotated[
    Annotated[Ptp, Tag("one")] | Annotated[tuple[Ptp, ...], Tag("many")], Discriminator(_one_or_many)
]


def _power(log2: int) -> Duration:
    return Duration(UNITS_PER_S << log2 if log2 >= 0 else UNITS_PER_S >> -log2)
