"""What makes a Roughtime response believable (draft-ietf-ntp-roughtime-19, 5.4): two signatures and a hash tree."""

from __future__ import annotations

from enum import Enum

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from timesync.wire.error import WireError
from timesync.wire.roughtime import VERSION_DRAFT, Response, SignedTime, climb, decode_response, nonce_of, versions_of

DELEGATION_CONTEXT = b"RoughTime v1 delegation signature\0"
RESPONSE_CONTEXT = b"RoughTime v1 response signature\0"


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
    if not _signed(long_term, DELEGATION_CONTEXT + delegation.signed, delegation.signature):
        raise RoughtimeError(RoughtimeFault.DELEGATION)
    if not _signed(_key(delegation.public_key), RESPONSE_CONTEXT + read.time.signed, read.time.signature):
        raise RoughtimeError(RoughtimeFault.SIGNATURE)
    if not delegation.earliest_s <= read.time.midpoint_s <= delegation.latest_s:
        raise RoughtimeError(RoughtimeFault.PERIOD)
    if not _in_tree(request, read):
        raise RoughtimeError(RoughtimeFault.TREE)
    return read.time


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
