"""The server's side of NTS in NTP packets (RFC 8915, 5.7), without any IO and without any state about a client.

A request is looked at in the order of cost: first the lengths of its fields, then its one cookie, then its
authenticator; nothing is done for a placeholder before the request is known to be a client's. A reply never has more
octets than its request.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from timesync.base.machine import Entropy
from timesync.nts.aead import MAKERS, TAG_SIZE, AeadId, nonce_size, padded_nonce_size
from timesync.nts.cookies import NONCE_SIZE, CookieJar, cookie_size
from timesync.nts.session import NTSN
from timesync.wire.error import WireError
from timesync.wire.ntp_ext import (
    MIN_UNIQUE_ID,
    NtsField,
    decode_authenticator,
    decode_inner,
    encode_authenticator,
    encode_field,
    split,
)

__all__ = ["NTSN", "Authentic", "NtsFault", "NtsGate", "Refused"]

MAX_COOKIES: Final = 8

_COOKIE_HEADS: Final = {aead: struct.pack("!HH", NtsField.COOKIE, cookie_size(aead) + 4) for aead in AeadId}
_NONCE_SIZES: Final = {aead: nonce_size(aead) for aead in AeadId}
_NONCE_SPACES: Final = {aead: padded_nonce_size(aead) for aead in AeadId}
_LENGTHS: Final = 8
"""Of an authenticator: head, and the lengths of nonce and ciphertext."""


class NtsFault(StrEnum):
    """Why a request is not answered with the time."""

    FORMAT = "format"
    """Its fields make no sense, or one that must be there once is not, or is there twice."""
    PADDING = "padding"
    """The authenticator lacks the room that a longer nonce would take (RFC 8915, 5.6)."""
    COOKIE = "cookie"
    """The cookie is not ours, was changed, or is too old."""
    TAG = "tag"
    """The authenticator is not of the cookie's keys, or the request was changed."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that gets no time.

    Attributes:
        fault: Why.
        unique_id: When not None, answer with an NTS NAK that has it; else with nothing.
    """

    fault: NtsFault
    unique_id: bytes | None = None


@dataclass(slots=True)
class Authentic:
    """A request that is a client's; not frozen, because one is made for each packet.

    Attributes:
        unique_id: To be copied into the reply.
        aead: How the client's packets are protected.
        s2c: Key of the reply.
        sealed: What goes into the client's new cookies.
        cookies: How many it wants, 1 to 8.
        size: Octets of the request.
    """

    unique_id: bytes
    aead: AeadId
    s2c: bytes = field(repr=False)
    sealed: bytes = field(repr=False)
    cookies: int
    size: int


class NtsGate:
    """Opens requests and seals replies.

    Args:
        jar: Opens and makes cookies.
        entropy: For nonces.
    """

    def __init__(self, jar: CookieJar, entropy: Entropy) -> None:
        self.jar = jar
        self._entropy = entropy

    def examine(self, request: bytes) -> Authentic | Refused | None:
        """What a request of version 4 or 5 is; None when it has neither cookie nor authenticator: it is not NTS's."""
        try:
            found = split(request)
            body = found.authenticator
            if body is None and not found.cookies:
                return None
            if body is None or len(found.cookies) != 1 or len(found.unique_ids) != 1:
                return Refused(NtsFault.FORMAT)
            (unique_id,), (cookie,) = found.unique_ids, found.cookies
            if len(unique_id) < MIN_UNIQUE_ID:
                return Refused(NtsFault.FORMAT)
            sealed = decode_authenticator(body)
            opened = self.jar.open_raw(cookie)
            if opened is None:
                return Refused(NtsFault.COOKIE, unique_id)
            aead, c2s, s2c, content = opened
            if sealed.nonce_space < _NONCE_SPACES[aead]:
                return Refused(NtsFault.PADDING)
            plaintext = MAKERS[aead](c2s).open(sealed.nonce, sealed.ciphertext, request[: found.protected])
            if plaintext is None:
                return Refused(NtsFault.TAG, unique_id)
            wanted = 1 + found.placeholders.count(len(cookie))
            if plaintext:
                # A client may hide its placeholders (RFC 8915, 5.7).
                inner = decode_inner(plaintext, version=request[0] >> 3 & 7)
                wanted += sum(one.kind == NtsField.COOKIE_PLACEHOLDER and len(one.body) == len(cookie) for one in inner)
        except WireError:
            return Refused(NtsFault.FORMAT)
        return Authentic(unique_id, aead, s2c, content, min(wanted, MAX_COOKIES), len(request))

    def seal(self, request: Authentic, packet: bytes) -> bytes | None:
        """The reply: the packet, the unique identifier, and the authenticator with the new cookies inside.

        Fewer cookies than were asked for go in when the reply would get longer than the request; None when even
        without any it would.

        Args:
            request: As examined.
            packet: Header and, if any, other extension fields, as they go on the wire; no MAC.
        """
        version = packet[0] >> 3 & 7
        aead, seal = request.aead, self.jar.seal
        clear = packet + encode_field(NtsField.UNIQUE_IDENTIFIER, request.unique_id, version=version)
        start, head, content = _NONCE_SIZES[aead], _COOKIE_HEADS[aead], request.sealed
        room = request.size - len(clear) - _LENGTHS - start - TAG_SIZE
        if room < 0:
            return None
        count = min(request.cookies, room // (len(head) + cookie_size(aead)))
        random = self._entropy(start + count * NONCE_SIZE)
        plaintext = b"".join(
            [head + seal(content, random[at : at + NONCE_SIZE]) for at in range(start, len(random), NONCE_SIZE)]
        )
        nonce = random[:start]
        ciphertext = MAKERS[aead](request.s2c).seal(nonce, plaintext, clear)
        return clear + encode_authenticator(nonce, ciphertext, start, version=version)

    @staticmethod
    def nak(unique_id: bytes, packet: bytes) -> bytes:
        """An NTS NAK: a kiss-o'-death packet with the code ``NTSN``, which the caller makes, and the identifier.

        It has no authenticator (RFC 8915, 5.7), and fewer octets than the request, which had a cookie besides.
        """
        return packet + encode_field(NtsField.UNIQUE_IDENTIFIER, unique_id, version=packet[0] >> 3 & 7)
