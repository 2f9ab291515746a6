"""What the daemon and its NTS-KE server process say to each other, over a socket that keeps messages apart.

To the server: settings, certificate files (as open descriptors, so that the daemon never holds a TLS key in its
memory), master keys of cookies. From it: that it serves, what it thinks of the certificates, and its counters.
Nothing of it ever leaves the machine.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from timesync.base.time import UNITS_PER_S, Instant
from timesync.nts.aead import AeadId
from timesync.nts.certificates import MAX_PEM, CertificateError, Validity
from timesync.nts.ke_server import KeServerSettings

LARGEST: Final = 65_536
"""Octets of a message."""

MAX_PAIRS: Final = 64


class To(Enum):
    """First octet of a message to the server."""

    SETTINGS = b"S"
    CERTIFICATES = b"C"
    MASTER_KEYS = b"K"
    PING = b"P"
    """Are you there?"""
    LIST = b"L"
    """Who has connected?"""
    BEFORE = b"B"
    """Who had, to the process before it."""


class From(Enum):
    """First octet of a message from it."""

    READY = b"R"
    UNCONFINED = b"F"
    """This kernel cannot take files away from it."""
    CERTIFICATES = b"C"
    COUNTERS = b"N"
    CLIENTS = b"L"
    PONG = b"P"
    """I am."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeLimits:
    """What one client, and all together, may take of the server.

    Attributes:
        connections: At once.
        per_client: At once from one IPv4 address, or one IPv6 /64.
        request_s: From the connection to the whole request, the TLS handshake included.
        total_s: To the end of the connection.
    """

    connections: int = 512
    per_client: int = 8
    request_s: float = 2.0
    total_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class KeServiceSettings:
    """How NTS-KE is served.

    Attributes:
        offer: Inside TLS.
        limits: Of connections.
        clients: Of so many a record is kept.
    """

    offer: KeServerSettings = field(default_factory=KeServerSettings)
    limits: KeLimits = field(default_factory=KeLimits)
    clients: int = 4096


@dataclass(frozen=True, slots=True)
class PairFacts:
    """A certificate that is served.

    Attributes:
        title: The file it came from.
        names: What it is for.
        validity: When it and its chain are valid.
    """

    title: str
    names: tuple[str, ...]
    validity: Validity


@dataclass(frozen=True, slots=True)
class Refused:
    """A certificate that cannot be served; if there was one before, that is served on.

    Attributes:
        title: The file.
        text: Why, in words.
    """

    title: str
    text: str


def encode_settings(settings: KeServiceSettings) -> bytes:
    """Settings for the server's socket."""
    offer, limits = settings.offer, settings.limits
    return To.SETTINGS.value + _dump(
        {
            "aeads": [int(aead) for aead in offer.aeads],
            "protocols": list(offer.protocols),
            "server": offer.server,
            "port": offer.port,
            "max_message": offer.max_message,
            "pool_tokens": sorted(token.hex() for token in offer.pool_tokens),
            "connections": limits.connections,
            "per_client": limits.per_client,
            "request_s": limits.request_s,
            "total_s": limits.total_s,
            "clients": settings.clients,
        }
    )


def decode_settings(body: bytes) -> KeServiceSettings:
    """Settings from the daemon's message, without its first octet."""
    raw = json.loads(body)
    return KeServiceSettings(
        offer=KeServerSettings(
            aeads=tuple(AeadId(aead) for aead in raw["aeads"]),
            protocols=tuple(raw["protocols"]),
            server=raw["server"],
            port=raw["port"],
            max_message=raw["max_message"],
            pool_tokens=frozenset(bytes.fromhex(token) for token in raw["pool_tokens"]),
        ),
        limits=KeLimits(
            connections=raw["connections"],
            per_client=raw["per_client"],
            request_s=raw["request_s"],
            total_s=raw["total_s"],
        ),
        clients=raw["clients"],
    )


def encode_titles(titles: Sequence[str]) -> bytes:
    """Names of certificate files; their descriptors and those of their keys go with the message, by turns."""
    return To.CERTIFICATES.value + _dump(list(titles))


def decode_titles(body: bytes) -> list[str]:
    """The reverse."""
    return [str(title) for title in json.loads(body)]


def encode_facts(facts: Sequence[PairFacts], refused: Sequence[Refused]) -> bytes:
    """What became of the certificates."""
    return From.CERTIFICATES.value + _dump(
        {
            "served": [
                [
                    pair.title,
                    list(pair.names),
                    pair.validity.not_before.scaled_ns // UNITS_PER_S,
                    pair.validity.not_after.scaled_ns // UNITS_PER_S,
                ]
                for pair in facts
            ],
            "refused": [[one.title, one.text] for one in refused],
        }
    )


def decode_facts(body: bytes) -> tuple[tuple[PairFacts, ...], tuple[Refused, ...]]:
    """The reverse."""
    raw = json.loads(body)
    served = tuple(
        PairFacts(title, tuple(names), Validity(Instant(first * UNITS_PER_S), Instant(last * UNITS_PER_S)))
        for title, names, first, last in raw["served"]
    )
    return served, tuple(Refused(title, text) for title, text in raw["refused"])


def encode_counters(counters: Mapping[str, int]) -> bytes:
    """Counters since the start of the process."""
    return From.COUNTERS.value + _dump(dict(counters))


def decode_counters(body: bytes) -> dict[str, int]:
    """The reverse."""
    return {str(name): int(count) for name, count in json.loads(body).items()}


def read_pem(descriptor: int) -> bytes:
    """All of a file from its beginning, wherever its descriptor stands. Raises CertificateError."""
    try:
        data = os.pread(descriptor, MAX_PEM + 1, 0)
    except OSError as error:
        raise CertificateError(f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_PEM:
        raise CertificateError(f"is longer than {MAX_PEM} octets")
    return data


def _dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
