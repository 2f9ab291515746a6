"""The three messages of CSPTP: a Sync that asks, a Sync that answers, and the Follow_Up that says when that left.

All have sdoId 0x300, no sourcePortIdentity and no interval. Which answer belongs to which request is told by
domainNumber and sequenceId, and by the address it comes from.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from timesync.base.ids import ClockIdentity, PortIdentity
from timesync.base.time import ZERO, Duration, Instant, Tai
from timesync.wire import ptp
from timesync.wire.csptp_tlv import SDO_ID, CsptpRequest, CsptpResponse, CsptpStatus
from timesync.wire.error import WireError
from timesync.wire.ptp_message import NO_FLAGS, Flags, FollowUp, Header, Sync, Tlv
from timesync.wire.ptp_tlv import Pad, TlvType

LEAST_DOMAIN: Final = 128
MOST_DOMAIN: Final = 239
"""The domains of CSPTP."""

NOBODY: Final = PortIdentity(ClockIdentity(bytes(8)), 0)
"""``sourcePortIdentity`` of all messages: no port of a PTP instance sends them."""

PACKET_OVERHEAD: Final = 64
"""Octets that a message has around it at most: Ethernet 14, IPv6 40, UDP 8, and 2 after it (annex D)."""

_MESSAGE = 44
_TLV = 4
_REQUEST = _MESSAGE + _TLV + 4
_RESPONSE = _MESSAGE + _TLV + 18
_STATUS = _TLV + 22


@dataclass(frozen=True, slots=True)
class Request:
    """A client asks.

    Attributes:
        header: Of its Sync.
        wants: What the answer is to hold.
        size: Octets of the message.
    """

    header: Header
    wants: CsptpRequest
    size: int


@dataclass(frozen=True, slots=True)
class Response:
    """A server answers.

    Attributes:
        header: Of its Sync; the flags say what timescale its time is on, and what leap second it expects.
        origin: When it left; None in a two-step answer, whose Follow_Up says it.
        content: When the request arrived, and its correction then.
        status: What the server says of its clock; None where it says nothing.
    """

    header: Header
    origin: Instant[Tai] | None
    content: CsptpResponse
    status: CsptpStatus | None


CsptpMessage = Request | Response | FollowUp


def parse(data: bytes) -> CsptpMessage:
    """The message in these octets. Raises WireError for what is none of CSPTP."""
    message = ptp.decode(data)
    if not isinstance(message, Sync | FollowUp) or message.header.sdo_id != SDO_ID:
        raise WireError("not of CSPTP")
    if isinstance(message, FollowUp):
        return message
    asks = [tlv for tlv in message.tlvs if tlv.kind == TlvType.CSPTP_REQUEST]
    answers = [tlv for tlv in message.tlvs if tlv.kind == TlvType.CSPTP_RESPONSE]
    if len(asks) + len(answers) != 1:
        raise WireError(f"{len(asks)} requests and {len(answers)} responses in one Sync")
    if asks:
        return Request(message.header, CsptpRequest.from_tlv(asks[0]), len(data))
    statuses = [CsptpStatus.from_tlv(tlv) for tlv in message.tlvs if tlv.kind == TlvType.CSPTP_STATUS]
    if len(statuses) > 1:
        raise WireError(f"{len(statuses)} statuses in one Sync")
    origin = None if Flags.TWO_STEP in message.header.flags else message.origin
    return Response(message.header, origin, CsptpResponse.from_tlv(answers[0]), statuses[0] if statuses else None)


def answer_size(*, status: bool) -> int:
    """Octets of a two-step answer: of the response and of its Follow_Up."""
    return _RESPONSE + (_STATUS if status else 0) + _MESSAGE


def enough(size: int, *, status: bool) -> bool:
    """Whether an answer to a request of this size is no more octets than that, with all that is around messages."""
    return size + PACKET_OVERHEAD >= answer_size(status=status) + 2 * PACKET_OVERHEAD


def request(domain: int, sequence_id: int) -> bytes:
    """A request for time and status, as large as the answer will be."""
    room = answer_size(status=True) + PACKET_OVERHEAD - _REQUEST - _TLV
    tlvs = (CsptpRequest(status=True).to_tlv(), Pad(room).to_tlv())
    return ptp.encode(Sync(_header(domain, sequence_id), tlvs=tlvs))


def response(asked: Header, content: CsptpResponse, status: CsptpStatus | None, flags: Flags) -> bytes:
    """A two-step answer; ``flags`` are those of the time properties (IEEE 1588-2019, table 37)."""
    tlvs: tuple[Tlv, ...] = (content.to_tlv(),)
    if status is not None:
        tlvs += (status.to_tlv(),)
    return ptp.encode(Sync(_header(asked.domain, asked.sequence_id, flags | Flags.TWO_STEP), tlvs=tlvs))


def follow_up(domain: int, sequence_id: int, at: Instant[Tai]) -> bytes:
    """When the response left."""
    whole, rest = ptp.whole_ns(at)
    return ptp.encode(FollowUp(_header(domain, sequence_id, Flags.TWO_STEP, rest), whole))


def _header(domain: int, sequence_id: int, flags: Flags = NO_FLAGS, correction: Duration = ZERO) -> Header:
    return Header(
        source=NOBODY,
        sequence_id=sequence_id,
        domain=domain,
        sdo_id=SDO_ID,
        flags=flags | Flags.UNICAST,
        correction=correction,
    )
