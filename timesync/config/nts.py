"""What is said of NTS in a configuration: the NTS-KE server, and its certificates."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from timesync.base.ids import Endpoint
from timesync.config.address import HostPort
from timesync.config.fields import ClientCount, Listen, Path, Remote
from timesync.config.model import Model

KE_PORT = 4460
"""TCP port of NTS-KE, assigned by IANA (RFC 8915, 7.1)."""


class CertificatePair(Model):
    """A certificate and its key."""

    certificate: Annotated[str, Path()]
    """The certificate in PEM form, with those of its issuers after it; it is read again when the file changes."""
    private_key: Annotated[str, Path()]
    """Its private key in PEM form, without a password; only its owner may read the file."""


class ServeNts(CertificatePair):
    """The server of NTS key establishment (RFC 8915), for the NTP server here or for another one."""

    listen: Annotated[tuple[Annotated[Endpoint, Listen(KE_PORT)], ...], Field(min_length=1, max_length=64)] = Field(
        ("0.0.0.0:4460", "[::]:4460"), validate_default=True
    )
    """Where to listen; the TCP port is 4460 unless given, 0 is a free one."""
    more: Annotated[tuple[CertificatePair, ...], Field(max_length=15)] = ()
    """Further certificates, each shown to clients that ask for one of its names."""
    server: Annotated[HostPort, Remote()] | None = None
    """The NTP server that clients are sent to, which must have the same `seed`; absent: this one."""
    seed: Annotated[str, Path()] | None = None
    """A file of 32 random octets or more, the same on all servers behind one name: each takes the others' cookies."""
    connections: Annotated[int, Field(ge=1, le=4096)] = 512
    """Connections at once; one client (an IPv4 address or an IPv6 /64) has 8 of them at most."""

    clients: ClientCount = 4096
    """Client addresses of which a record is kept for `timesync clients`, at 0.4 KiB each; 0: no record."""

    @property
    def pairs(self) -> tuple[CertificatePair, ...]:
        """All certificates; the first is for clients that name no server, or an unknown one."""
        return (self, *self.more)
