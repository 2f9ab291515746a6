"""What is said of CSPTP in a configuration: hosts without a port, domains, and the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field
from pydantic.json_schema import JsonSchemaValue

from timesync.base.time import Duration
from timesync.config.address import AddressError, parse_host_port
from timesync.config.amounts import Span
from timesync.config.fields import ClientCount, Networks
from timesync.config.model import Model
from timesync.config.ptp import InterfaceName
from timesync.config.written import Written, refusal
from timesync.ptp.csptp.message import LEAST_DOMAIN, MOST_DOMAIN

CsptpDomain = Annotated[int, Field(ge=LEAST_DOMAIN, le=MOST_DOMAIN)]

EVENT_PORT = 319
"""Assigned by IANA to the event messages of PTP; CSPTP has no ports of its own."""


@dataclass(frozen=True, slots=True)
class HostName(Written):
    """A name or a numeric address, without a port."""

    def parse(self, value: object) -> str:
        """See ``Written``."""
        if not isinstance(value, str):
            raise refusal("expected a host name or an address, such as ptp1.example.org")
        try:
            remote = parse_host_port(value, EVENT_PORT)
        except AddressError as error:
            raise refusal(error.message, error.suggestion) from None
        if remote.port != EVENT_PORT:
            raise refusal(f"PTP messages go to ports {EVENT_PORT} and {EVENT_PORT + 1}, and no others", remote.host)
        return remote.host

    def json_schema(self) -> JsonSchemaValue:
        """See ``Written``."""
        return {"type": "string", "minLength": 1, "maxLength": 261}

    def describe(self) -> str:
        """See ``Written``."""
        return "host"


class CsptpRateLimit(Model):
    """How many requests of one client address are answered (an IPv6 client is its /64); its /24 or /48 counts as 64."""

    interval: Annotated[Duration, Span("1ms", "1h")] = Field("62.5ms", validate_default=True)
    """One more request is answered after each such time."""
    burst: Annotated[int, Field(ge=1, le=255)] = 8
    """So many requests may come at once."""


class ServeCsptp(Model):
    """The server of CSPTP, the client-server PTP of the draft IEEE P1588.1; experimental, the draft may change."""

    interfaces: Annotated[tuple[Annotated[str, InterfaceName()], ...], Field(min_length=1, max_length=64)]
    """The network interfaces on which requests are answered, on UDP ports 319 and 320."""
    transports: Annotated[tuple[Literal["udp4", "udp6"], ...], Field(min_length=1, max_length=2)] = ("udp4", "udp6")
    """Over what."""
    domain: CsptpDomain = 128
    """`domainNumber` of the requests that are answered."""
    timestamping: Literal["auto", "hardware", "software"] = "auto"
    """Who stamps messages: cards whose PTP hardware clock is in `clocks`, or the kernel; auto: the best one."""
    allow: Networks = Field(("0.0.0.0/0", "::/0"), validate_default=True)
    """Who is answered; of several networks the longest prefix decides."""
    deny: Networks = ()
    """Who is not; wins over `allow` at the same length."""
    rate_limit: CsptpRateLimit | None = None
    """Limits requests per client; absent: no limit."""
    clients: ClientCount = 4096
    """Client addresses of which a record is kept for `timesync clients`, at 0.4 KiB each; 0: no record."""
    unpadded: Literal["drop", "answer"] = "drop"
    """What becomes of requests that are smaller than the answer, such as those of ntpd-rs."""
