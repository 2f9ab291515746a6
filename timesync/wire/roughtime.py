"""Roughtime packets (RFC 10049, 4 and 5): a few tagged values in an envelope, all little-endian.

What is read here is only well-formed; whether it is true is for ``timesync.nts.roughtime_verify``.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from timesync.wire.error import WireError

VERSION_1: Final = 1
"""That of the RFC."""

VERSION_DRAFT: Final = 0x8000_000C
"""That of drafts 12 to 19."""

VERSIONS: Final = (VERSION_1, VERSION_DRAFT)
"""What is offered, in ascending order (5.1.1)."""

NONCE_SIZE: Final = 32
KEY_SIZE: Final = 32
HASH_SIZE: Final = 32
SIGNATURE_SIZE: Final = 64
MAX_PATH: Final = 32
MAX_VERSIONS: Final = 32
REQUEST_SIZE: Final = 1024
"""Of the message of a request, so that a response is never longer (5.1)."""

MAX_RESPONSE: Final = 2048
"""A response that is longer than its request is against 5.1; this leaves room for requests of others."""

_MAGIC = b"ROUGHTIM"
_ENVELOPE = struct.Struct("<8sI")
_WORD = struct.Struct("<I")
_LONG = struct.Struct("<Q")
_MAX_TAGS = 64
_REQUEST = 0
_RESPONSE = 1


@dataclass(frozen=True, slots=True)
class Delegation:
    """For how long a key may sign responses (5.2.6, DELE).

    Attributes:
        earliest_s: MINT: the first POSIX second for which it may.
        latest_s: MAXT: the last one.
        public_key: PUBK, an Ed25519 key.
        signed: The octets that the long-term key has signed.
        signature: With that key.
    """

    earliest_s: int
    latest_s: int
    public_key: bytes
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedTime:
    """What the delegated key has signed (5.2.5, SREP).

    Attributes:
        version: That of the response.
        versions: All that the server speaks, ascending.
        midpoint_s: MIDP, POSIX seconds.
        radius_s: RADI: the truth lies within so many seconds of ``midpoint_s``.
        root: Root of the Merkle tree of the requests.
        signed: The octets that were signed.
        signature: With the delegated key.
    """

    version: int
    versions: tuple[int, ...]
    midpoint_s: int
    radius_s: int
    root: bytes
    signed: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Response:
    """A response (5.2).

    Attributes:
        nonce: Of the request.
        path: The siblings from the request's leaf to the root.
        index: The leaf's place.
        time: What was signed.
        delegation: Who may sign.
    """

    nonce: bytes
    path: tuple[bytes, ...]
    index: int
    time: SignedTime
    delegation: Delegation


def digest(*parts: bytes) -> bytes:
    """H of the RFC: the first 32 octets of SHA-512."""
    return hashlib.sha512(b"".join(parts)).digest()[:HASH_SIZE]


def server_tag(public_key: bytes) -> bytes:
    """SRV: tells a server which of its long-term keys is expected (5.1.4)."""
    return digest(b"\xff", public_key)


def chained_nonce(response: bytes, blind: bytes) -> bytes:
    """The nonce of a request that shows that it was made after ``response``, a whole packet (8.2)."""
    return digest(response, blind)


def leaf(request: bytes) -> bytes:
    """A leaf of the Merkle tree: that of a whole request packet (5.3)."""
    return digest(b"\0", request)


def node(left: bytes, right: bytes) -> bytes:
    """A node of the Merkle tree above two others (5.3)."""
    return digest(b"\1", left, right)


def climb(request: bytes, path: Sequence[bytes], index: int, *, sibling_first: bool = False) -> bytes | None:
    """The root that a path leads to (5.3.1); None when the index has bits left over.

    Args:
        request: The whole request packet.
        path: The siblings, from the leaf up.
        index: Its bits say, from the least, on which side each sibling stands.
        sibling_first: A bit of 0 puts the sibling to the left, as drafts 12 to 15 have it, instead of to the right.
    """
    reached = leaf(request)
    for sibling in path:
        left = bool(index & 1) != sibling_first
        reached = node(sibling, reached) if left else node(reached, sibling)
        index >>= 1
    return None if index else reached


def encode_message(values: Mapping[str, bytes]) -> bytes:
    """A message of tagged values, put in order (4.2). Raises ValueError for a length that is no multiple of four."""
    pairs = sorted((_tag(name), value) for name, value in values.items())
    offsets, at = [], 0
    for _, value in pairs:
        if len(value) % 4:
            raise ValueError(f"a value of {len(value)} octets is not a multiple of four")
        offsets.append(at)
        at += len(value)
    words = [len(pairs), *offsets[1:], *(tag for tag, _ in pairs)]
    return b"".join([struct.pack(f"<{len(words)}I", *words), *(value for _, value in pairs)])


def decode_message(data: bytes) -> dict[str, bytes]:
    """Tagged values of a message, the tags as text without their padding (4.2). Raises WireError."""
    if len(data) < 4 or len(data) % 4:
        raise WireError(f"a message of {len(data)} octets")
    (count,) = _WORD.unpack_from(data)
    if not 1 <= count <= _MAX_TAGS or len(data) < 8 * count:
        raise WireError(f"{count} tags in {len(data)} octets")
    offsets = [0, *struct.unpack_from(f"<{count - 1}I", data, 4), len(data) - 8 * count]
    tags = struct.unpack_from(f"<{count}I", data, 4 * count)
    if any(one > other or other % 4 for one, other in pairwise(offsets)):
        raise WireError("offsets that do not increase, or are no multiple of four")
    if any(one >= other for one, other in pairwise(tags)):
        raise WireError("tags that are not in ascending order")
    values = memoryview(data)[8 * count :]
    return {_name(tag): bytes(values[one:other]) for tag, (one, other) in zip(tags, pairwise(offsets), strict=True)}


def encode_packet(values: Mapping[str, bytes]) -> bytes:
    """A message in its envelope (5). Raises ValueError."""
    message = encode_message(values)
    return _ENVELOPE.pack(_MAGIC, len(message)) + message


def decode_packet(data: bytes) -> dict[str, bytes]:
    """The values of an enveloped message that fills the datagram (5). Raises WireError."""
    if len(data) < _ENVELOPE.size:
        raise WireError(f"{len(data)} octets are too short for a Roughtime packet")
    magic, length = _ENVELOPE.unpack_from(data)
    if magic != _MAGIC:
        raise WireError("no Roughtime packet")
    if length != len(data) - _ENVELOPE.size:
        raise WireError(f"a message of {length} octets in a packet of {len(data)}")
    return decode_message(data[_ENVELOPE.size :])


def encode_request(nonce: bytes, public_key: bytes | None = None, versions: Sequence[int] = VERSIONS) -> bytes:
    """A request, padded to ``REQUEST_SIZE`` (5.1).

    Args:
        nonce: 32 octets.
        public_key: The long-term key that the response is expected to be of; None leaves that open.
        versions: What is offered, ascending.

    Raises:
        ValueError: The nonce or the key has another size, or the versions are not in order.
    """
    if len(nonce) != NONCE_SIZE or (public_key is not None and len(public_key) != KEY_SIZE):
        raise ValueError("a nonce and a key have 32 octets")
    if not 1 <= len(versions) <= MAX_VERSIONS or any(one >= other for one, other in pairwise(versions)):
        raise ValueError(f"versions {list(versions)}")
    values = {"VER": struct.pack(f"<{len(versions)}I", *versions), "NONC": nonce, "TYPE": _WORD.pack(_REQUEST)}
    if public_key is not None:
        values["SRV"] = server_tag(public_key)
    used = len(encode_message({**values, "ZZZZ": b""}))
    values["ZZZZ"] = bytes(max(REQUEST_SIZE - used, 0))
    return encode_packet(values)


def decode_request(data: bytes) -> dict[str, bytes]:
    """The values of a request that a server may answer (5.1). Raises WireError."""
    values = decode_packet(data)
    _exact(values, "NONC", NONCE_SIZE)
    _versions(values, "VER")
    if _word(values, "TYPE") != _REQUEST:
        raise WireError("not a request")
    return values


def versions_of(request: bytes) -> tuple[int, ...]:
    """What a request offers. Raises WireError."""
    return _versions(decode_request(request), "VER")


def nonce_of(request: bytes) -> bytes:
    """The nonce of a request. Raises WireError."""
    return decode_request(request)["NONC"]


def decode_response(data: bytes) -> Response:
    """Read a response; unknown tags are ignored (5.2, 7). Raises WireError, and nothing else."""
    if len(data) > MAX_RESPONSE:
        raise WireError(f"{len(data)} octets are too long for a response")
    values = decode_packet(data)
    if _word(values, "TYPE") != _RESPONSE:
        raise WireError("not a response")
    path = _value(values, "PATH")
    if len(path) % HASH_SIZE or len(path) > MAX_PATH * HASH_SIZE:
        raise WireError(f"a path of {len(path)} octets")
    return Response(
        nonce=_exact(values, "NONC", NONCE_SIZE),
        path=tuple(path[at : at + HASH_SIZE] for at in range(0, len(path), HASH_SIZE)),
        index=_word(values, "INDX"),
        time=_signed_time(_value(values, "SREP"), _exact(values, "SIG", SIGNATURE_SIZE)),
        delegation=_delegation(_value(values, "CERT")),
    )


def _signed_time(signed: bytes, signature: bytes) -> SignedTime:
    values = decode_message(signed)
    radius_s = _word(values, "RADI")
    if radius_s == 0:
        raise WireError("a radius of zero")
    version, versions = _word(values, "VER"), _versions(values, "VERS")
    if version not in versions:
        raise WireError(f"version 0x{version:x} is none of those that the server says it speaks")
    return SignedTime(
        version=version,
        versions=versions,
        midpoint_s=_long(values, "MIDP"),
        radius_s=radius_s,
        root=_exact(values, "ROOT", HASH_SIZE),
        signed=signed,
        signature=signature,
    )


def _delegation(certificate: bytes) -> Delegation:
    values = decode_message(certificate)
    signed = _value(values, "DELE")
    inner = decode_message(signed)
    return Delegation(
        earliest_s=_long(inner, "MINT"),
        latest_s=_long(inner, "MAXT"),
        public_key=_exact(inner, "PUBK", KEY_SIZE),
        signed=signed,
        signature=_exact(values, "SIG", SIGNATURE_SIZE),
    )


def _tag(name: str) -> int:
    """The number of a tag: up to four capital letters, the first in the least octet (4.1.3)."""
    if not 1 <= len(name) <= 4 or not (name.isascii() and name.isalpha() and name.isupper()):
        raise ValueError(f"tag {name!r}")
    return int.from_bytes(name.encode(), "little")


def _name(tag: int) -> str:
    """The text of a tag. Unknown tags are ignored, ill-formed ones (4.1.3) are not."""
    name = tag.to_bytes(4, "little").rstrip(b"\0")
    if not name or not all(0x41 <= letter <= 0x5A for letter in name):
        raise WireError(f"tag 0x{tag:08x}")
    return name.decode()


def _value(values: Mapping[str, bytes], name: str) -> bytes:
    value = values.get(name)
    if value is None:
        raise WireError(f"no {name}")
    return value


def _exact(values: Mapping[str, bytes], name: str, size: int) -> bytes:
    value = _value(values, name)
    if len(value) != size:
        raise WireError(f"{name} of {len(value)} octets instead of {size}")
    return value


def _word(values: Mapping[str, bytes], name: str) -> int:
    return int.from_bytes(_exact(values, name, _WORD.size), "little")


def _long(values: Mapping[str, bytes], name: str) -> int:
    return int.from_bytes(_exact(values, name, _LONG.size), "little")


def _versions(values: Mapping[str, bytes], name: str) -> tuple[int, ...]:
    value = _value(values, name)
    if not 4 <= len(value) <= 4 * MAX_VERSIONS:
        raise WireError(f"{name} of {len(value)} octets")
    versions = struct.unpack(f"<{len(value) // 4}I", value)
    if any(one >= other for one, other in pairwise(versions)):
        raise WireError(f"{name} is not in ascending order")
    return versions
