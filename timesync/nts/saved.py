"""Keys and cookies of a client, kept in the state directory so that a restart needs no key establishment.

The file is secret. It must be deleted when it has been read, before the first of its cookies is used, and written
again at the end: a cookie that is used twice lets others follow a client (RFC 8915, 9.1), and a crash must not make
that happen.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from dataclasses import dataclass, field
from typing import Final

from timesync.base.time import ZERO, Duration, Instant, Utc
from timesync.nts.aead import AeadId, key_size
from timesync.nts.ke_client import MAX_COOKIE, MAX_COOKIES, Agreed, usable_cookie
from timesync.nts.keys import SessionKeys
from timesync.wire.error import WireError
from timesync.wire.nts_ke_message import server_name

LIFETIME: Final = Duration.from_s(4 * 7 * 86_400)
"""Keys older than this are made anew (chrony's ``ntsrefresh``, four weeks)."""

_MAGIC: Final = b"timesync NTS session 1\n"
_DIGEST_SIZE: Final = 32
_MAX_KEYS: Final = 2
_U16: Final = struct.Struct("!H")


class SavedSessionError(ValueError):
    """A stored session cannot be used; the text says why, and never holds a secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSession:
    """What is stored.

    Attributes:
        ke_server: Name and port of the NTS-KE server that it is of; another one's file is of no use.
        agreed: Keys and the cookies that are left.
        established: When the keys were made; UTC by the clock of this machine.
    """

    ke_server: str
    agreed: Agreed = field(repr=False)
    established: Instant[Utc]

    def age(self, now: Instant[Utc]) -> Duration | None:
        """How old the keys are; None when they are too old, or seem to be of the future, so that nobody knows."""
        age = now - self.established
        return age if ZERO <= age < LIFETIME else None

    def encode(self) -> bytes:
        """Octets for the file."""
        agreed = self.agreed
        parts = [
            _block(self.ke_server.encode()),
            self.established.scaled_ns.to_bytes(12, "big", signed=True),
            _U16.pack(agreed.protocol),
            _block((agreed.server or "").encode()),
            _U16.pack(agreed.port or 0),
            _U16.pack(len(agreed.keys)),
            *(_U16.pack(keys.aead) + keys.c2s + keys.s2c for keys in agreed.keys),
            _U16.pack(len(agreed.cookies)),
            *(_block(cookie) for cookie in agreed.cookies),
        ]
        body = _MAGIC + b"".join(parts)
        return body + hashlib.sha256(body).digest()

    @staticmethod
    def decode(data: bytes) -> SavedSession:
        """What ``encode`` made. Raises SavedSessionError when the file is of something else, or was cut."""
        body, digest = data[:-_DIGEST_SIZE], data[-_DIGEST_SIZE:]
        if not body.startswith(_MAGIC) or not hmac.compare_digest(digest, hashlib.sha256(body).digest()):
            raise SavedSessionError("this is no file of an NTS session, or it is damaged")
        try:
            return _decode(_Cursor(body, len(_MAGIC)))
        except (WireError, UnicodeDecodeError) as error:
            raise SavedSessionError(f"a file of an NTS session that makes no sense: {error}") from None


def _block(octets: bytes) -> bytes:
    return _U16.pack(len(octets)) + octets


class _Cursor:
    """Takes octets from the front; WireError when there are too few."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data = data
        self._position = position

    def take(self, size: int) -> bytes:
        taken = self._data[self._position : self._position + size]
        if len(taken) != size:
            raise WireError("it ends too early")
        self._position += size
        return taken

    def number(self, most: int = 0xFFFF) -> int:
        value = int.from_bytes(self.take(2), "big")
        if value > most:
            raise WireError(f"{value} where at most {most} can be")
        return value

    def block(self, most: int) -> bytes:
        return self.take(self.number(most))

    def end(self) -> None:
        if self._position != len(self._data):
            raise WireError("it goes on after its end")


def _decode(cursor: _Cursor) -> SavedSession:
    ke_server = cursor.block(512).decode()
    established: Instant[Utc] = Instant(int.from_bytes(cursor.take(12), "big", signed=True))
    protocol = cursor.number()
    server = cursor.block(255)
    port = cursor.number()
    keys = tuple(_decode_keys(cursor) for _ in range(cursor.number(_MAX_KEYS)))
    cookies = tuple(cursor.block(MAX_COOKIE) for _ in range(cursor.number(MAX_COOKIES)))
    cursor.end()
    if not keys or not all(usable_cookie(cookie) for cookie in cookies):
        raise WireError("no keys, or cookies of a size that cannot be")
    agreed = Agreed(
        protocol=protocol,
        keys=keys,
        cookies=cookies,
        server=server_name(server) if server else None,
        port=port or None,
    )
    return SavedSession(ke_server=ke_server, agreed=agreed, established=established)


def _decode_keys(cursor: _Cursor) -> SessionKeys:
    number = cursor.number()
    try:
        aead = AeadId(number)
    except ValueError:
        raise WireError(f"AEAD algorithm {number}") from None
    return SessionKeys(aead, cursor.take(key_size(aead)), cursor.take(key_size(aead)))
