"""Authenticated encryption with associated data, as NTS uses it (RFC 5116; RFC 5297, RFC 8452).

An AEAD of the SIV family takes the associated data and the nonce as two strings; of the GCM-SIV family it takes a
nonce of exactly 12 octets. Both stay safe when a nonce comes twice. The ciphertext is 16 octets longer than the
plaintext, which may be empty (in ``cryptography`` only since version 45).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from enum import IntEnum
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV, AESSIV

TAG_SIZE: Final = 16


class AeadId(IntEnum):
    """Numbers of the IANA registry "AEAD Algorithms"."""

    AES_SIV_CMAC_256 = 15
    """AES-128 in SIV mode; the one that all must know (RFC 8915, 5.1)."""
    AES_SIV_CMAC_384 = 16
    AES_SIV_CMAC_512 = 17
    AES_128_GCM_SIV = 30
    """Shorter keys, hence shorter cookies and packets."""
    AES_256_GCM_SIV = 31


_KEY_SIZES: Final = {
    AeadId.AES_SIV_CMAC_256: 32,
    AeadId.AES_SIV_CMAC_384: 48,
    AeadId.AES_SIV_CMAC_512: 64,
    AeadId.AES_128_GCM_SIV: 16,
    AeadId.AES_256_GCM_SIV: 32,
}


def key_size(aead: AeadId) -> int:
    """Octets of a key (RFC 5297, 6; RFC 8452, 6)."""
    return _KEY_SIZES[aead]


def is_siv(aead: AeadId) -> bool:
    """Whether it is of the SIV family, which takes nonces of any size."""
    return aead <= AeadId.AES_SIV_CMAC_512


def nonce_size(aead: AeadId) -> int:
    """Octets of the nonces that we make: N_MAX of GCM-SIV (RFC 8452, 6), and 16 for SIV, where it has none."""
    return 16 if is_siv(aead) else 12


def padded_nonce_size(aead: AeadId) -> int:
    """Octets that a request must have room for in place of its nonce: min(16, N_MAX) (RFC 8915, 5.6)."""
    return nonce_size(aead)


Cipher = Any
"""What ``cryptography`` makes of a key; the arguments of its methods differ, and are for ``Family`` only."""


class Family(NamedTuple):
    """How an AEAD is used, without an object of ours for each key: a server has two new keys in every packet.

    Attributes:
        cipher: Makes a cipher of a key of the right size; that costs more than to use it.
        seal: As ``Aead.seal``, with the cipher first.
        open: As ``Aead.open``, with the cipher first.
    """

    cipher: Callable[[bytes], Cipher]
    seal: Callable[[Cipher, bytes, bytes, bytes], bytes]
    open: Callable[[Cipher, bytes, bytes, bytes], bytes | None]


def _seal_siv(cipher: Cipher, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    sealed: bytes = cipher.encrypt(plaintext, [associated, nonce])
    return sealed


def _open_siv(cipher: Cipher, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes | None:
    if not nonce or len(ciphertext) < TAG_SIZE:
        return None
    try:
        opened: bytes = cipher.decrypt(ciphertext, [associated, nonce])
    except InvalidTag:
        return None
    return opened


def _seal_gcm_siv(cipher: Cipher, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
    sealed: bytes = cipher.encrypt(nonce, plaintext, associated)
    return sealed


def _open_gcm_siv(cipher: Cipher, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes | None:
    if len(nonce) != 12 or len(ciphertext) < TAG_SIZE:
        return None
    try:
        opened: bytes = cipher.decrypt(nonce, ciphertext, associated)
    except InvalidTag:
        return None
    return opened


_SIV: Final = Family(AESSIV, _seal_siv, _open_siv)
_GCM_SIV: Final = Family(AESGCMSIV, _seal_gcm_siv, _open_gcm_siv)

FAMILIES: Final[Mapping[AeadId, Family]] = {aead: _SIV if is_siv(aead) else _GCM_SIV for aead in AeadId}

_PROBES: Final = (0, 1, 15, 16, 17, 104)
"""Octets of plaintext: none, about a block of AES, and a cookie with its head."""


def families_with(others: Mapping[AeadId, Family]) -> Mapping[AeadId, Family]:
    """``FAMILIES``, with each of these in place that makes of some examples the same octets, and refuses the same."""
    return {**FAMILIES, **{aead: other for aead, other in others.items() if _agree(aead, FAMILIES[aead], other)}}


def _agree(aead: AeadId, one: Family, other: Family) -> bool:
    key, nonce, associated = bytes(range(_KEY_SIZES[aead])), bytes(range(nonce_size(aead))), bytes(range(100))
    for size in _PROBES:
        plaintext = bytes(range(size))
        sealed = one.seal(one.cipher(key), nonce, plaintext, associated)
        changed = sealed[:-1] + bytes([sealed[-1] ^ 1])
        if other.seal(other.cipher(key), nonce, plaintext, associated) != sealed:
            return False
        if [other.open(other.cipher(key), nonce, data, associated) for data in (sealed, changed)] != [plaintext, None]:
            return False
    return True


class Aead:
    """One key, ready for use: see ``make_aead``."""

    __slots__ = ("_cipher", "_family")

    def __init__(self, family: Family, key: bytes) -> None:
        self._family = family
        self._cipher = family.cipher(key)

    def seal(self, nonce: bytes, plaintext: bytes, associated: bytes) -> bytes:
        """The ciphertext with its tag."""
        return self._family.seal(self._cipher, nonce, plaintext, associated)

    def open(self, nonce: bytes, ciphertext: bytes, associated: bytes) -> bytes | None:
        """The plaintext; None when anything is not as it was sealed, or the nonce has no possible size."""
        return self._family.open(self._cipher, nonce, ciphertext, associated)


def make_aead(aead: AeadId, key: bytes) -> Aead:
    """An AEAD with its key. Raises ValueError when the key has not its size."""
    if len(key) != _KEY_SIZES[aead]:
        raise ValueError(f"{aead.name} needs a key of {_KEY_SIZES[aead]} octets, not {len(key)}")
    return Aead(FAMILIES[aead], key)


def supported(*aeads: AeadId) -> tuple[AeadId, ...]:
    """Those of them that the OpenSSL underneath has; the GCM-SIV family came with its version 3.2."""
    found = []
    for aead in aeads:
        with suppress(UnsupportedAlgorithm):
            make_aead(aead, bytes(_KEY_SIZES[aead]))
            found.append(aead)
    return tuple(found)
