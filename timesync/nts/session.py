"""The client's side of NTS in NTP packets (RFC 8915, 5.7), without any IO.

``protect`` makes a request of a packet, ``judge`` says whether what came is its answer. An answer is believed only
when it has the request's unique identifier and opens under the S2C key; until then it changes nothing here. An NTS NAK
cannot be authenticated, so it is only noted: it acts when the next request is made and no valid answer has come.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from timesync.base.machine import Entropy
from timesync.nts.aead import Aead, make_aead, nonce_size, padded_nonce_size
from timesync.nts.ke_client import Agreed
from timesync.nts.keys import SessionKeys
from timesync.nts.stash import CookieStash
from timesync.wire.error import WireError
from timesync.wire.ntp import Extension
from timesync.wire.ntp_ext import (
    MIN_UNIQUE_ID,
    NtsField,
    NtsFields,
    decode_authenticator,
    decode_inner,
    encode_authenticator,
    encode_field,
    split,
)

NTSN: Final = b"NTSN"
"""The kiss code of an NTS NAK (RFC 8915, 7.4)."""


class NtsRefusal(StrEnum):
    """Why an answer is not believed."""

    FORMAT = "nts-format"
    """Its fields, or those inside the authenticator, make no sense."""
    LATE = "nts-late"
    """No request waits for one; the request has its answer already, so this is a copy."""
    UNIQUE_ID = "nts-unique-id"
    """The unique identifier is not this request's, or is not there."""
    MISSING = "nts-missing"
    """It has no authenticator."""
    TAG = "nts-tag"
    """It does not open under the S2C key: it was changed, or is somebody else's."""
    NAK = "nts-nak"
    """The server says that it could not open our request, and cannot prove that it is the one to say so."""


@dataclass(frozen=True, slots=True)
class NtsAnswer:
    """An answer that is the server's.

    Attributes:
        fields: Authenticated extension fields that are not NTS's own: the clear ones before the authenticator, then
            the encrypted ones. Fields after the authenticator are not among them.
        protected: Octets of the packet that are authenticated.
        cookies: How many new ones were kept.
    """

    fields: tuple[Extension, ...]
    protected: int
    cookies: int


@dataclass(slots=True)
class _Pending:
    """The last request.

    Attributes:
        unique_id: Its identifier.
        answered: A valid answer has come.
        nak: An NTS NAK has come.
    """

    unique_id: bytes
    answered: bool = False
    nak: bool = False


@dataclass(slots=True)
class _Key:
    """One of the keys that may be the right ones, ready for use."""

    keys: SessionKeys
    c2s: Aead = field(init=False)
    s2c: Aead = field(init=False)

    def __post_init__(self) -> None:
        self.c2s = make_aead(self.keys.aead, self.keys.c2s)
        self.s2c = make_aead(self.keys.aead, self.keys.s2c)


class NtsSession:
    """Keys and cookies for one server, as one key establishment gave them.

    Args:
        agreed: What came of it.
        entropy: For unique identifiers and nonces.

    Attributes:
        protocol: The one that keys and cookies are good for (``NextProtocol``).
    """

    def __init__(self, agreed: Agreed, entropy: Entropy) -> None:
        self.protocol = agreed.protocol
        self._entropy = entropy
        self._left = list(agreed.keys)
        self._key = _Key(self._left.pop(0))
        self._stash = CookieStash(agreed.cookies)
        self._pending: _Pending | None = None
        self._verified = False

    @property
    def keys(self) -> tuple[SessionKeys, ...]:
        """The keys in use, and after them those that are still to be tried."""
        return (self._key.keys, *self._left)

    @property
    def cookies(self) -> tuple[bytes, ...]:
        """The cookies that are left, for storing."""
        return self._stash.content()

    @property
    def verified(self) -> bool:
        """A valid answer has come under these keys."""
        return self._verified

    @property
    def refused(self) -> bool:
        """An NTS NAK has come for the last request, and no valid answer."""
        return self._pending is not None and self._pending.nak and not self._pending.answered

    def ready(self) -> bool:
        """Whether ``protect`` can make a request; a NAK that no valid answer has contradicted is believed now."""
        self._heed_nak()
        return len(self._stash) > 0

    def protect(self, packet: bytes) -> bytes | None:
        """The request for a packet: with NTS's fields after it, the authenticator last (RFC 8915, 5.7).

        None when there are no keys or cookies left that can be of use: key establishment is to be made again.

        Args:
            packet: Header and, if any, other extension fields, as they go on the wire; no MAC.
        """
        self._heed_nak()
        cookie = self._stash.take()
        if cookie is None:
            self._pending = None
            return None
        version = packet[0] >> 3 & 7
        unique_id = self._entropy(MIN_UNIQUE_ID)
        aead = self._key.keys.aead
        more = self._stash.placeholders(len(cookie))
        clear = packet + encode_field(NtsField.UNIQUE_IDENTIFIER, unique_id, version=version)
        clear += encode_field(NtsField.COOKIE, cookie, version=version)
        clear += encode_field(NtsField.COOKIE_PLACEHOLDER, bytes(len(cookie)), version=version) * more
        nonce = self._entropy(nonce_size(aead))
        ciphertext = self._key.c2s.seal(nonce, b"", clear)
        self._pending = _Pending(unique_id)
        return clear + encode_authenticator(nonce, ciphertext, padded_nonce_size(aead), version=version)

    def _heed_nak(self) -> None:
        """A NAK that nothing has contradicted until the next request is believed."""
        pending = self._pending
        if pending is None or pending.answered or not pending.nak:
            return
        self._pending = None
        if self._left:
            # Nothing has ever opened under these keys: the server may have exported others (see nts/keys.py).
            self._key = _Key(self._left.pop(0))
        else:
            self._stash.clear()

    def judge(self, data: bytes) -> NtsAnswer | NtsRefusal:
        """Whether a packet is the answer to the last request; its new cookies are kept when it is.

        What the packet says of the time, its origin timestamp above all, is for the caller to test as without NTS.
        """
        try:
            found = split(data)
            pending = self._pending
            if pending is None or pending.answered:
                return NtsRefusal.LATE
            if len(found.unique_ids) != 1 or not hmac.compare_digest(found.unique_ids[0], pending.unique_id):
                return NtsRefusal.UNIQUE_ID
            if found.authenticator is None:
                return self._without_authenticator(data, pending)
            return self._open(data, found, found.authenticator, pending)
        except WireError:
            return NtsRefusal.FORMAT

    def _without_authenticator(self, data: bytes, pending: _Pending) -> NtsRefusal:
        # Stratum 0 and the code as reference identifier; in version 5 it is a flag (authentication NAK).
        version = data[0] >> 3 & 7
        is_nak = bool(data[15] & 4) if version == 5 else data[1] == 0 and data[12:16] == NTSN
        if not is_nak:
            return NtsRefusal.MISSING
        pending.nak = True
        return NtsRefusal.NAK

    def _open(self, data: bytes, found: NtsFields, body: bytes, pending: _Pending) -> NtsAnswer | NtsRefusal:
        version = data[0] >> 3 & 7
        sealed = decode_authenticator(body)
        plaintext = self._key.s2c.open(sealed.nonce, sealed.ciphertext, data[: found.protected])
        if plaintext is None:
            return NtsRefusal.TAG
        inner = decode_inner(plaintext, version=version)
        pending.answered = self._verified = True
        # The server knows these keys; the others are not.
        self._left.clear()
        # Only encrypted cookies count (RFC 8915, 5.7): clear ones would let others follow us.
        kept = self._stash.add(one.body for one in inner if one.kind == NtsField.COOKIE)
        others = tuple(one for one in inner if one.kind != NtsField.COOKIE)
        return NtsAnswer((*found.others, *others), found.protected, kept)
