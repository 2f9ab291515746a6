"""What makes a Roughtime response believable (RFC 10049, 5.4): two signatures and a hash tree."""

from __future__ import annotations

from enum import Enum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from timesync.wire.error import WireError
from timesync.wire.roughtime import VERSION_DRAFT, Response, SignedTime, climb, decode_response, nonce_of, versions_of

DELEGATION_CONTEXT = b"Roughtime v1 delegation signature\0"
RESPONSE_CONTEXT = b"Roughtime v1 response signature\0"
"""What is put before octets that are signed (RFC 10049, 5.2.1 and 5.2.6)."""

DRAFT_DELEGATION_CONTEXT = b"RoughTime v1 delegation signature\0"
DRAFT_RESPONSE_CONTEXT = b"RoughTime v1 response signature\0"
"""The same with drafts up to 19, and in the example of the RFC's own appendix B, which is of version 1."""


class RoughtimeFault(Enum):
    """Why a response is not believed."""

    FORM = "it is no well-formed Roughtime response"
    NONCE = "it answers another request"
    VERSION = "it has a version that was not asked for"
    DELEGATION = "its key is not signed by the server's long-term key"
    SIGNATURE = "its time is not signed by the delegated key"
    PERIOD = "its key may not sign for the time that it tells"
    TREE = "the signed tree does not hold our request"


class RoughtimeError(ValueError):
    """A response that is not believed; the server's fault, or that of somebody on the way.

    Attributes:
        fault: Why.
    """

    def __init__(self, fault: RoughtimeFault, detail: str = "") -> None:
        super().__init__(f"{fault.value} ({detail})" if detail else fault.value)
        self.fault = fault


def verify(request: bytes, response: bytes, public_key: bytes) -> SignedTime:
    """What the server has signed for this request. Raises RoughtimeError, and nothing else for what a peer sent.

    Args:
        request: The whole packet that was sent; ours, so ValueError when it is no request.
        response: The whole packet that came.
        public_key: The server's long-term Ed25519 key, 32 octets; ValueError when it is none.
    """
    offered, nonce = versions_of(request), nonce_of(request)
    long_term = Ed25519PublicKey.from_public_bytes(public_key)
    try:
        read = decode_response(response)
    except WireError as error:
        raise RoughtimeError(RoughtimeFault.FORM, str(error)) from error
    if read.nonce != nonce:
        raise RoughtimeError(RoughtimeFault.NONCE)
    if read.time.version not in offered:
        raise RoughtimeError(RoughtimeFault.VERSION, f"0x{read.time.version:x}")
    delegation = read.delegation
    if not any(
        _signed(long_term, context + delegation.signed, delegation.signature)
        for context in _spelled(read.time.version, DELEGATION_CONTEXT, DRAFT_DELEGATION_CONTEXT)
    ):
        raise RoughtimeError(RoughtimeFault.DELEGATION)
    online = _key(delegation.public_key)
    if not any(
        _signed(online, context + read.time.signed, read.time.signature)
        for context in _spelled(read.time.version, RESPONSE_CONTEXT, DRAFT_RESPONSE_CONTEXT)
    ):
        raise RoughtimeError(RoughtimeFault.SIGNATURE)
    if not delegation.earliest_s <= read.time.midpoint_s <= delegation.latest_s:
        raise RoughtimeError(RoughtimeFault.PERIOD)
    if not _in_tree(request, read):
        raise RoughtimeError(RoughtimeFault.TREE)
    return read.time


def _spelled(version: int, of_rfc: bytes, of_drafts: bytes) -> tuple[bytes, ...]:
    """The contexts that a version may have, the likelier first.

    Servers of version 1 that were made by a draft, or by the RFC's appendix, have the spelling of the drafts. Either
    says as clearly what was signed.
    """
    return (of_drafts,) if version == VERSION_DRAFT else (of_rfc, of_drafts)


def _in_tree(request: bytes, response: Response) -> bool:
    """Whether the signed root commits to our request.

    Drafts 12 to 15 and 16 to 19 share a version number and differ in which side a bit of the index stands for. Either
    order commits to the request as well, so there both are tried.
    """
    root = response.time.root
    if climb(request, response.path, response.index) == root:
        return True
    if response.time.version != VERSION_DRAFT:
        return False
    return climb(request, response.path, response.index, sibling_first=True) == root


def _key(public_key: bytes) -> Ed25519PublicKey:
    try:
        return Ed25519PublicKey.from_public_bytes(public_key)
    except ValueError as error:
        raise RoughtimeError(RoughtimeFault.SIGNATURE, "no Ed25519 key") from error


def _signed(key: Ed25519PublicKey, data: bytes, signature: bytes) -> bool:
    try:
        key.verify(signature, data)
    except InvalidSignature:
        return False
    return True
