"""NTS extension fields of NTP packets (RFC 8915, 5.2 to 5.6), on top of those of RFC 7822.

In version 4 a field's length counts its padding, is a multiple of four, and at least 16. In version 5
(draft-ietf-ntp-ntpv5) it leaves the padding out, and may be 4. Inside the ciphertext of an authenticator the minimum
of 16 does not hold (RFC 8915, 5.6).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from timesync.wire.error import WireError
from timesync.wire.ntp import HEADER_SIZE, MAX_EXTENSIONS, MAX_MAC, MAX_PACKET, MIN_EXTENSION, Extension

MIN_UNIQUE_ID: Final = 32
"""Octets of a unique identifier (RFC 8915, 5.3)."""

MAX_NONCE_SPACE: Final = 16
"""A request has room for a nonce of this size, or of the longest that its AEAD takes when that is shorter
(RFC 8915, 5.6); so an answer, whose nonce may be longer than the request's, need not be the longer packet."""

_HEAD: Final = struct.Struct("!HH")
_FIELD_HEAD_SIZE: Final = 4
_LENGTHS_SIZE: Final = 4
_unpack_head = _HEAD.unpack_from
_SEALED: Final = struct.Struct("!HHHH")


class NtsField(IntEnum):
    """Field types (RFC 8915, 7.5)."""

    UNIQUE_IDENTIFIER = 0x0104
    COOKIE = 0x0204
    COOKIE_PLACEHOLDER = 0x0304
    AUTHENTICATOR = 0x0404


_UNIQUE_IDENTIFIER: Final = int(NtsField.UNIQUE_IDENTIFIER)
_COOKIE: Final = int(NtsField.COOKIE)
_PLACEHOLDER: Final = int(NtsField.COOKIE_PLACEHOLDER)
_AUTHENTICATOR: Final = int(NtsField.AUTHENTICATOR)


def padded(size: int) -> int:
    """The next multiple of four."""
    return size + 3 & ~3


def encode_field(kind: int, body: bytes, *, version: int = 4) -> bytes:
    """One field, padded with zeros as its version wants it. Raises ValueError when it does not fit: our own bug."""
    size = _FIELD_HEAD_SIZE + len(body)
    whole = padded(size) if version == 5 else max(padded(size), MIN_EXTENSION)
    if whole > MAX_PACKET:
        raise ValueError(f"extension field {kind:#06x} of {whole} octets")
    return _HEAD.pack(kind, size if version == 5 else whole) + body + bytes(whole - size)


@dataclass(slots=True)
class Authenticator:
    """What an authenticator field holds (RFC 8915, 5.6); not frozen, because a server makes one for each packet.

    Attributes:
        nonce: Of the AEAD.
        ciphertext: With the tag.
        nonce_space: Octets that the field has for a nonce: all that is not ciphertext, padding included.
    """

    nonce: bytes
    ciphertext: bytes = field(repr=False)
    nonce_space: int


def encode_authenticator(nonce: bytes, ciphertext: bytes, nonce_space: int, *, version: int = 4) -> bytes:
    """An authenticator field with its head.

    Args:
        nonce: Of the AEAD.
        ciphertext: With the tag.
        nonce_space: Octets that must be there for a nonce, at most ``MAX_NONCE_SPACE``; what ``nonce`` does not fill
            of it is added as zeros at the end.
        version: NTP version of the packet.
    """
    nonce_size, size = len(nonce), len(ciphertext)
    if not (nonce_size | size) & 3 and nonce_size >= nonce_space:
        # Nothing to pad, which is so in every packet of ours.
        return _SEALED.pack(_AUTHENTICATOR, _SEALED.size + nonce_size + size, nonce_size, size) + nonce + ciphertext
    nonce_padding, padding = padded(nonce_size) - nonce_size, padded(size) - size
    body = _HEAD.pack(nonce_size, size) + nonce + bytes(nonce_padding) + ciphertext + bytes(padding)
    return encode_field(_AUTHENTICATOR, body + bytes(max(nonce_space - padded(nonce_size), 0)), version=version)


def decode_authenticator(body: bytes) -> Authenticator:
    """What is in the body of an authenticator field. Raises WireError when its lengths do not fit in it."""
    whole = len(body)
    if whole < _LENGTHS_SIZE:
        raise WireError("an authenticator without lengths")
    nonce_size, size = _HEAD.unpack_from(body)
    start = _LENGTHS_SIZE + (nonce_size + 3 & ~3)
    space = whole - _LENGTHS_SIZE - (size + 3 & ~3)
    if space < start - _LENGTHS_SIZE:
        raise WireError("an authenticator that is longer inside than outside")
    return Authenticator(body[_LENGTHS_SIZE : _LENGTHS_SIZE + nonce_size], body[start : start + size], space)


@dataclass(slots=True)
class NtsFields:
    """The NTS fields of a packet, up to its authenticator.

    Attributes:
        unique_ids: Bodies; a valid packet has one.
        cookies: Bodies; a valid request has one, and none counts in an answer.
        placeholders: Sizes of the bodies.
        authenticator: Its body; None without one. What comes after it is not protected, and is left out here.
        protected: Octets before the authenticator: what it vouches for; 0 without one.
        others: All other fields before the authenticator, in order.
    """

    unique_ids: list[bytes]
    cookies: list[bytes]
    placeholders: list[int]
    authenticator: bytes | None
    protected: int
    others: list[Extension]


def split(data: bytes) -> NtsFields:
    """The NTS fields of an NTP packet of version 4 or 5; the header is not looked at but for the version.

    Raises WireError when a field's length cannot be, or when there are too many fields. In version 4 a tail of up to
    24 octets is a MAC (RFC 7822, 3), which means nothing here.
    """
    size = len(data)
    if not HEADER_SIZE <= size <= MAX_PACKET or size % 4:
        raise WireError(f"{size} octets are no NTP packet")
    version = data[0] >> 3 & 7
    least, tail = (_FIELD_HEAD_SIZE, 0) if version == 5 else (MIN_EXTENSION, MAX_MAC)
    unique_ids: list[bytes] = []
    cookies: list[bytes] = []
    placeholders: list[int] = []
    others: list[Extension] = []
    position, limit = HEADER_SIZE, MAX_EXTENSIONS
    while size - position > tail:
        kind, length = _unpack_head(data, position)
        end = position + (length + 3 & ~3)
        if length < least or end > size or (length & 3 and tail) or not limit:
            raise WireError(f"extension field of length {length}")
        body = data[position + _FIELD_HEAD_SIZE : position + length]
        if kind == _AUTHENTICATOR:
            return NtsFields(unique_ids, cookies, placeholders, body, position, others)
        if kind == _PLACEHOLDER:
            placeholders.append(length - _FIELD_HEAD_SIZE)
        elif kind == _COOKIE:
            cookies.append(body)
        elif kind == _UNIQUE_IDENTIFIER:
            unique_ids.append(body)
        else:
            others.append(Extension(kind, body))
        position = end
        limit -= 1
    return NtsFields(unique_ids, cookies, placeholders, None, 0, others)


def decode_inner(plaintext: bytes, *, version: int = 4) -> tuple[Extension, ...]:
    """The fields inside an authenticator's ciphertext. Raises WireError when a length cannot be."""
    fields: list[Extension] = []
    position = 0
    while position < len(plaintext):
        if len(plaintext) - position < _HEAD.size or len(fields) == MAX_EXTENSIONS:
            raise WireError("octets inside the authenticator that are no extension field")
        kind, length = _HEAD.unpack_from(plaintext, position)
        end = position + padded(length)
        if length < _FIELD_HEAD_SIZE or end > len(plaintext) or (length % 4 and version != 5):
            raise WireError(f"extension field of length {length} inside the authenticator")
        fields.append(Extension(kind, plaintext[position + _FIELD_HEAD_SIZE : position + length]))
        position = end
    return tuple(fields)


def encode_inner(kind: int, body: bytes, *, version: int = 4) -> bytes:
    """A field for the inside of an authenticator: padded to four octets, without a minimum (RFC 8915, 5.6)."""
    size = _FIELD_HEAD_SIZE + len(body)
    return _HEAD.pack(kind, size if version == 5 else padded(size)) + body + bytes(padded(size) - size)
