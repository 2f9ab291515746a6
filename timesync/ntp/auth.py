"""Symmetric keys and the MAC at the end of a packet (RFC 5905, 7.3 and A.2; RFC 8573 for AES-CMAC).

A key belongs to one peer: the client uses the one key that its association was given and takes no other
in the answer (CVE-2015-7974, CVE-2016-1567).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from timesync.nts.cmac import aes_cmac
from timesync.wire.ntp import HEADER_SIZE, MAX_V4_DIGEST, Mac

MIN_SECRET = 10
"""Octets; a shorter secret can be found by trying, and is refused."""

MAX_KEY_ID = 0xFFFF_FFFF


def _hashed(name: str) -> Callable[[bytes, bytes], bytes]:
    """``digest(key || packet)`` of RFC 5905, A.2; not HMAC, but what every peer computes."""

    def compute(secret: bytes, data: bytes) -> bytes:
        return hashlib.new(name, secret + data).digest()

    return compute


def _md5(secret: bytes, data: bytes) -> bytes:
    # Marked as not for security: on FIPS hosts hashlib would refuse it, and RFC 8573 says the same of it.
    return hashlib.md5(secret + data, usedforsecurity=False).digest()


def _sha1(secret: bytes, data: bytes) -> bytes:
    return hashlib.sha1(secret + data, usedforsecurity=False).digest()


@dataclass(frozen=True, slots=True)
class _Algorithm:
    compute: Callable[[bytes, bytes], bytes]
    secret_size: int | None = None
    weak: bool = False


_ALGORITHMS: Final[Mapping[str, _Algorithm]] = {
    "AES128": _Algorithm(aes_cmac, secret_size=16),
    "AES256": _Algorithm(aes_cmac, secret_size=32),
    "SHA256": _Algorithm(_hashed("sha256")),
    "SHA384": _Algorithm(_hashed("sha384")),
    "SHA512": _Algorithm(_hashed("sha512")),
    "SHA1": _Algorithm(_sha1, weak=True),
    "MD5": _Algorithm(_md5, weak=True),
}

ALGORITHMS: Final = tuple(_ALGORITHMS)
"""Names as chrony's key files have them; there is no default algorithm."""

SECRET_SIZES: Final[Mapping[str, int]] = {
    name: kind.secret_size for name, kind in _ALGORITHMS.items() if kind.secret_size is not None
}
"""Octets of a secret, for the algorithms that take no other number."""

WEAK_ALGORITHMS: Final = tuple(name for name, kind in _ALGORITHMS.items() if kind.weak)
"""Kept for old peers only (RFC 8573, 1): worth a warning."""


class KeyFileError(ValueError):
    """A key is wrong; the text says how, and never holds a secret."""


@dataclass(frozen=True, slots=True)
class SymmetricKey:
    """A secret shared with one peer.

    Raises KeyFileError when the id, the algorithm or the size of the secret is wrong.

    Attributes:
        id: 1 to 2^32-1; 0 is the crypto-NAK's.
        algorithm: One of ``ALGORITHMS``.
        secret: The key's octets; left out of ``repr``, so that no log has it.
    """

    id: int
    algorithm: str
    secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.id <= MAX_KEY_ID:
            raise KeyFileError(f"key id {self.id} is not in 1 to {MAX_KEY_ID}")
        kind = _ALGORITHMS.get(self.algorithm)
        if kind is None:
            # The word itself is not shown: where the two were swapped, it is the secret.
            raise KeyFileError(f"key {self.id}: the algorithm is none of {', '.join(ALGORITHMS)}")
        if kind.secret_size is not None and len(self.secret) != kind.secret_size:
            size = len(self.secret)
            raise KeyFileError(f"key {self.id}: {self.algorithm} needs {kind.secret_size} octets, not {size}")
        if len(self.secret) < MIN_SECRET:
            raise KeyFileError(f"key {self.id}: {len(self.secret)} octets are too few; use {MIN_SECRET} or more")

    def digest(self, data: bytes) -> bytes:
        """The code over a packet up to its MAC, as long as it stands on the wire.

        In a version 4 packet, which its first octet tells, a longer code is cut to 20 octets, because
        RFC 7822 takes a longer tail for an extension field; older versions carry it whole. So does chrony.
        """
        code = _ALGORITHMS[self.algorithm].compute(self.secret, data)
        return code[:MAX_V4_DIGEST] if data[0] >> 3 & 7 == 4 else code

    def verify(self, data: bytes, digest: bytes) -> bool:
        """Whether ``digest`` is the code of ``data``; takes as long wherever they differ (CVE-2016-1550)."""
        return hmac.compare_digest(self.digest(data), digest)

    def sign(self, data: bytes) -> bytes:
        """The packet with its MAC."""
        return data + self.id.to_bytes(4, "big") + self.digest(data)

    def accepts(self, packet: bytes, mac: Mac) -> bool:
        """Whether ``mac``, parsed from the end of ``packet``, is of this key and right."""
        end = len(packet) - 4 - len(mac.digest)
        return mac.key_id == self.id and end >= HEADER_SIZE and self.verify(packet[:end], mac.digest)
