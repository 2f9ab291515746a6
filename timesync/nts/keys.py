"""Keys of a client and a server, exported from the TLS connection of NTS-KE (RFC 8915, 4.2 and 5.1).

chrony 4.4 to 4.6 exported the keys of AEAD_AES_128_GCM_SIV with the number of AEAD_AES_SIV_CMAC_256 in the context.
Since 4.6.1 both sides tell each other by record 1024 that they do it by the RFC. Where only one of them says so, the
server takes the old context, and the client cannot know which the server took: it tries the old one first, and goes
over to the other when the first thing it hears is an NTS NAK. That is why a client has several ``SessionKeys``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Protocol

from timesync.nts.aead import AeadId, key_size

EXPORTER_LABEL: Final = b"EXPORTER-network-time-security"


class Exporter(Protocol):
    """The TLS exporter of a finished handshake (RFC 8446, 7.5); ``Connection.export_keying_material`` fits."""

    def __call__(self, label: bytes, length: int, context: bytes, /) -> bytes:
        """So many octets."""
        ...


class Direction(IntEnum):
    """The last octet of the context (RFC 8915, 5.1)."""

    C2S = 0
    S2C = 1


@dataclass(frozen=True, slots=True)
class SessionKeys:
    """What protects the packets between one client and one server.

    Raises ValueError when a key has not the size of its AEAD.

    Attributes:
        aead: How.
        c2s: Key of requests; left out of ``repr``, as the other.
        s2c: Key of answers.
    """

    aead: AeadId
    c2s: bytes = field(repr=False)
    s2c: bytes = field(repr=False)

    def __post_init__(self) -> None:
        size = key_size(self.aead)
        if len(self.c2s) != size or len(self.s2c) != size:
            raise ValueError(f"{self.aead.name} needs keys of {size} octets, not {len(self.c2s)} and {len(self.s2c)}")


def exporter_context(protocol: int, aead: int, direction: Direction) -> bytes:
    """Five octets: protocol, AEAD, direction (RFC 8915, 5.1)."""
    return protocol.to_bytes(2, "big") + aead.to_bytes(2, "big") + bytes([direction])


def export_keys(exporter: Exporter, protocol: int, aead: AeadId, *, context_aead: int | None = None) -> SessionKeys:
    """Both keys.

    Args:
        exporter: Of the TLS connection.
        protocol: The one that was negotiated (``NextProtocol``).
        aead: The one that was negotiated.
        context_aead: Its number in the context, when it is not its own.
    """
    size = key_size(aead)
    named = aead if context_aead is None else context_aead
    c2s, s2c = (
        exporter(EXPORTER_LABEL, size, exporter_context(protocol, named, direction))
        for direction in (Direction.C2S, Direction.S2C)
    )
    return SessionKeys(aead, c2s, s2c)


def client_keys(exporter: Exporter, protocol: int, aead: AeadId, *, server_complies: bool) -> tuple[SessionKeys, ...]:
    """The keys that a client tries, in that order.

    Args:
        exporter: Of the TLS connection.
        protocol: The one that was negotiated.
        aead: The one that was negotiated.
        server_complies: The server answered with record 1024.
    """
    right = export_keys(exporter, protocol, aead)
    if aead is not AeadId.AES_128_GCM_SIV or server_complies:
        return (right,)
    return (export_keys(exporter, protocol, aead, context_aead=AeadId.AES_SIV_CMAC_256), right)


def server_keys(exporter: Exporter, protocol: int, aead: AeadId, *, client_complies: bool) -> SessionKeys:
    """The keys that go into a server's cookies.

    Args:
        exporter: Of the TLS connection.
        protocol: The one that was negotiated.
        aead: The one that was negotiated.
        client_complies: The client sent record 1024.
    """
    if aead is AeadId.AES_128_GCM_SIV and not client_complies:
        return export_keys(exporter, protocol, aead, context_aead=AeadId.AES_SIV_CMAC_256)
    return export_keys(exporter, protocol, aead)
