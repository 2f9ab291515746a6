"""Cookies of an NTS server: the keys of one client, sealed so that only this server can read them (RFC 8915, 6).

A cookie is ``key id (2) || nonce (16) || AEAD_AES_SIV_CMAC_256(AEAD number (2) || C2S || S2C)``, with id and nonce as
associated data. The nonce is fresh each time, so nobody else can tell whether two cookies belong to one client. All
cookies for one AEAD have one size, a multiple of four: 68 octets for AEAD 30, 100 for 15, 132 for 16, 164 for 17.
"""

from __future__ import annotations

import struct
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from timesync.base.machine import Entropy
from timesync.nts.aead import AeadId, key_size
from timesync.nts.keys import SessionKeys
from timesync.nts.master import MasterKeys

NONCE_SIZE: Final = 16
_CLEAR: Final = 2 + NONCE_SIZE
_OVERHEAD: Final = _CLEAR + 16 + 2
_U16: Final = struct.Struct("!H")


_SIZES: Final = {aead: _OVERHEAD + 2 * key_size(aead) for aead in AeadId}


def cookie_size(aead: AeadId) -> int:
    """Octets of every cookie for this AEAD."""
    return _SIZES[aead]


_AEAD_HEADS: Final = {aead: _U16.pack(aead) for aead in AeadId}
_BY_SIZE: Final = {
    size: {_AEAD_HEADS[aead]: (aead, 2 + key_size(aead)) for aead in AeadId if _SIZES[aead] == size}
    for size in set(_SIZES.values())
}
"""For each size of cookie, the AEADs that it can be for, and where S2C begins in its plaintext."""


class CookieJar:
    """Makes cookies and opens them, under master keys that change.

    Args:
        keys: The master keys for now.
        entropy: For nonces.
    """

    def __init__(self, keys: MasterKeys, entropy: Entropy) -> None:
        self._entropy = entropy
        self._ciphers: dict[bytes, AESSIV] = {}
        self.replace(keys)

    def replace(self, keys: MasterKeys) -> None:
        """Use these master keys from now on; cookies under keys that are no longer among them do not open."""
        self._keys = keys
        self._ciphers = {_U16.pack(key.id): AESSIV(key.secret) for key in keys.keys}
        self._head = _U16.pack(keys.current)
        self._cipher = self._ciphers[self._head]

    @property
    def keys(self) -> MasterKeys:
        """The master keys in use."""
        return self._keys

    def make(self, keys: SessionKeys) -> bytes:
        """A new cookie with a client's keys."""
        return self.seal(_AEAD_HEADS[keys.aead] + keys.c2s + keys.s2c, self._entropy(NONCE_SIZE))

    def seal(self, plaintext: bytes, nonce: bytes) -> bytes:
        """A new cookie with what ``open_raw`` gave of another; ``nonce`` is 16 fresh random octets."""
        clear = self._head + nonce
        return clear + self._cipher.encrypt(plaintext, [clear])

    def open(self, cookie: bytes) -> SessionKeys | None:
        """The keys in a cookie; None when it is not ours, was changed, or its master key is gone."""
        found = self.open_raw(cookie)
        if found is None:
            return None
        aead, c2s, s2c, _ = found
        return SessionKeys(aead, c2s, s2c)

    def open_raw(self, cookie: bytes) -> tuple[AeadId, bytes, bytes, bytes] | None:
        """As ``open``, without a ``SessionKeys``: AEAD, C2S, S2C and the plaintext for ``seal``."""
        heads = _BY_SIZE.get(len(cookie))
        cipher = self._ciphers.get(cookie[:2])
        if heads is None or cipher is None:
            return None
        try:
            plaintext = cipher.decrypt(cookie[_CLEAR:], [cookie[:_CLEAR]])
        except InvalidTag:
            return None
        # Only we can have sealed it, and an AEAD of another size never gets into a cookie of this one.
        aead, middle = heads[plaintext[:2]]
        return aead, plaintext[2:middle], plaintext[middle:], plaintext
