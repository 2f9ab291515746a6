"""The server's side of NTS in NTP packets (RFC 8915, 5.7), without any IO and without any state about a client.

A request is looked at in the order of cost: first the lengths of its fields, then its one cookie, then its
authenticator; nothing is done for a placeholder before the request is known to be a client's. A reply never has more
octets than its request.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from timesync.base.machine import Entropy
from timesync.nts.aead import FAMILIES, TAG_SIZE, AeadId, Cipher, Family, nonce_size, padded_nonce_size
from timesync.nts.cookies import NONCE_SIZE, CookieJar, cookie_size
from timesync.nts.session import NTSN
from timesync.wire.error import WireError
from timesync.wire.ntp import HEADER_SIZE
from timesync.wire.ntp_ext import (
    MIN_UNIQUE_ID,
    NtsField,
    decode_authenticator,
    decode_inner,
    encode_authenticator,
    encode_field,
    split,
)

__all__ = ["NTSN", "Authentic", "NtsFault", "NtsGate", "Parts", "Refused", "any_parts", "usual_parts"]

MAX_COOKIES: Final = 8

_LENGTHS: Final = 8
"""Of an authenticator: head, and the lengths of nonce and ciphertext."""

_UNIQUE_ID_HEAD: Final = struct.pack("!HH", NtsField.UNIQUE_IDENTIFIER, 4 + MIN_UNIQUE_ID)


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


class _Kind(NamedTuple):
    """What all packets with one AEAD have in common.

    Attributes:
        cipher: Of a key, as in ``Family``, and so are the next two.
        seal: Of a reply.
        open: Of a request.
        nonce_size: Octets of our nonces.
        nonce_space: Octets that a request must have for its nonce.
        cookie_head: Of an extension field with a cookie.
        cookie_room: Octets of that field.
    """

    cipher: Callable[[bytes], Cipher]
    seal: Callable[[Cipher, bytes, bytes, bytes], bytes]
    open: Callable[[Cipher, bytes, bytes, bytes], bytes | None]
    nonce_size: int
    nonce_space: int
    cookie_head: bytes
    cookie_room: int


def _kind(aead: AeadId, family: Family) -> _Kind:
    head, room = _cookie_head(aead), 4 + cookie_size(aead)
    return _Kind(*family, nonce_size(aead), padded_nonce_size(aead), head, room)


def _cookie_head(aead: AeadId) -> bytes:
    return struct.pack("!HH", NtsField.COOKIE, 4 + cookie_size(aead))


class Parts(NamedTuple):
    """What a request with NTS consists of; nothing in it is to be believed yet.

    Attributes:
        unique_id: Body of its field, 32 octets or more.
        cookie: Body of its field.
        nonce: Of the authenticator.
        ciphertext: Of the authenticator, with the tag.
        nonce_space: Octets that the authenticator has for a nonce.
        protected: Octets before the authenticator.
        placeholders: Sizes of the bodies of these fields.
    """

    unique_id: bytes
    cookie: bytes
    nonce: bytes
    ciphertext: bytes
    nonce_space: int
    protected: int
    placeholders: Sequence[int]


class _Shape(NamedTuple):
    """A request as nearly all are: unique identifier, one cookie, authenticator, with nothing to pad anywhere.

    Attributes:
        unpack: Gives, in turn, the heads below and what follows them: identifier, cookie, nonce and tag.
        unique_id_head: Of the first field.
        cookie_head: Of the second.
        authenticator_head: Of the third, with the lengths of nonce and ciphertext.
        nonce_size: Octets of the nonce.
        protected: Octets before the authenticator.
    """

    unpack: Callable[[bytes], tuple[bytes, ...]]
    unique_id_head: bytes
    cookie_head: bytes
    authenticator_head: bytes
    nonce_size: int
    protected: int


def _shape(aead: AeadId) -> tuple[int, _Shape]:
    """The request that clients make with this AEAD, by its size."""
    nonce, cookie = nonce_size(aead), cookie_size(aead)
    whole = struct.Struct(f"!{HEADER_SIZE}x 4s {MIN_UNIQUE_ID}s 4s {cookie}s 8s {nonce}s {TAG_SIZE}s")
    body = _LENGTHS + nonce + TAG_SIZE
    heads = _UNIQUE_ID_HEAD, _cookie_head(aead), struct.pack("!4H", NtsField.AUTHENTICATOR, body, nonce, TAG_SIZE)
    return whole.size, _Shape(whole.unpack, *heads, nonce, whole.size - body)


_SHAPES: Final = dict(map(_shape, AeadId))


def usual_parts(request: bytes) -> Parts | None:
    """The parts of a request that looks as nearly all do, at a fourth of what ``any_parts`` takes; None for others."""
    shape = _SHAPES.get(len(request))
    if shape is None:
        return None
    first, unique_id, second, cookie, third, nonce, tag = shape.unpack(request)
    if first != shape.unique_id_head or second != shape.cookie_head or third != shape.authenticator_head:
        return None
    return Parts(unique_id, cookie, nonce, tag, shape.nonce_size, shape.protected, ())


def any_parts(request: bytes) -> Parts | Refused | None:
    """The parts of any request; None when it has neither cookie nor authenticator. Raises WireError."""
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
    return Parts(
        unique_id, cookie, sealed.nonce, sealed.ciphertext, sealed.nonce_space, found.protected, found.placeholders
    )


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
        families: How each AEAD is used.
    """

    def __init__(self, jar: CookieJar, entropy: Entropy, families: Mapping[AeadId, Family] = FAMILIES) -> None:
        self.jar = jar
        self._entropy = entropy
        self._kinds = {aead: _kind(aead, family) for aead, family in families.items()}

    def examine(self, request: bytes) -> Authentic | Refused | None:
        """What a request of version 4 or 5 is; None when it has neither cookie nor authenticator: it is not NTS's."""
        try:
            parts = usual_parts(request) or any_parts(request)
            if not isinstance(parts, Parts):
                return parts
            unique_id, cookie, nonce, ciphertext, nonce_space, protected, placeholders = parts
            opened = self.jar.open_raw(cookie)
            if opened is None:
                return Refused(NtsFault.COOKIE, unique_id)
            aead, c2s, s2c, content = opened
            kind = self._kinds[aead]
            if nonce_space < kind.nonce_space:
                return Refused(NtsFault.PADDING)
            plaintext = kind.open(kind.cipher(c2s), nonce, ciphertext, request[:protected])
            if plaintext is None:
                return Refused(NtsFault.TAG, unique_id)
            wanted = 1 + placeholders.count(len(cookie)) if placeholders else 1
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
        kind, seal, content = self._kinds[request.aead], self.jar.seal, request.sealed
        unique_id, start, head = request.unique_id, kind.nonce_size, kind.cookie_head
        if len(unique_id) == MIN_UNIQUE_ID:
            clear = packet + _UNIQUE_ID_HEAD + unique_id
        else:
            clear = packet + encode_field(NtsField.UNIQUE_IDENTIFIER, unique_id, version=version)
        room = request.size - len(clear) - _LENGTHS - start - TAG_SIZE
        if room < 0:
            return None
        count = min(request.cookies, room // kind.cookie_room)
        random = self._entropy(start + count * NONCE_SIZE)
        plaintext = b""
        for at in range(start, len(random), NONCE_SIZE):
            plaintext += head + seal(content, random[at : at + NONCE_SIZE])
        nonce = random[:start]
        ciphertext = kind.seal(kind.cipher(request.s2c), nonce, plaintext, clear)
        return clear + encode_authenticator(nonce, ciphertext, start, version=version)

    @staticmethod
    def nak(unique_id: bytes, packet: bytes) -> bytes:
        """An NTS NAK: a kiss-o'-death packet with the code ``NTSN``, which the caller makes, and the identifier.

        It has no authenticator (RFC 8915, 5.7), and fewer octets than the request, which had a cookie besides.
        """
        return packet + encode_field(NtsField.UNIQUE_IDENTIFIER, unique_id, version=packet[0] >> 3 & 7)
