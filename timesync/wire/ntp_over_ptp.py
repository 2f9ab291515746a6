"""NTP messages inside PTP event messages, for network cards and switches that stamp or correct those alone.

The carrier is a unicast Delay_Req (IEEE 1588-2019, 13.6) to UDP port 319, or the port that both sides agreed upon, with
one TLV that holds the NTP message. Requests and answers look the same; the mode is NTP's own. Both TLVs are chrony's:
that of its versions 4.9 and newer, under the IANA's organisation id (14.3), and the experimental one of 4.2 to 4.8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from timesync.base.time import UNITS_PER_S, ZERO, Duration
from timesync.wire.error import WireError
from timesync.wire.ntp import Extension
from timesync.wire.ptp_message import Flags, MessageType

NTP_DOMAIN: Final = 123
"""``domainNumber`` of such messages, unless the two sides agree upon another."""

# messageType with majorSdoId, versionPTP with its minor number, messageLength, domainNumber, minorSdoId, flagField,
# correctionField; then zeros up to the TLV, of whose head the last two are. No field is needed to find the request of
# an answer, for NTP has its own.
_HEAD = struct.Struct(">BBHBBHq28xHH")
_MESSAGE_TYPES = frozenset({MessageType.DELAY_REQ, MessageType.SYNC})
_VERSIONS = frozenset({0x02, 0x12})
_EXPERIMENTAL = 0x2023
_ORGANIZATION_EXTENSION = 0x0003
_ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE = 0x8000
# 00-00-5E is the IANA's; then what it calls an NTP message, and two octets that keep that one aligned.
_NTP_MESSAGE = bytes.fromhex("00005e 000001")
_RESERVED = bytes(2)
_LONGEST = 0xFFFF

NETWORK_CORRECTION: Final = 0x010A
"""Extension field of NTPv4 for what transparent clocks said of the way of the request; empty in the request itself."""

# 64 bits as a timestamp has them, in seconds; then zeros, for RFC 7822 wants a last field of 28 octets.
_CORRECTION = struct.Struct(">Q16x")
_NEGATIVE = 1 << 63


class Form(Enum):
    """Which TLV carries the message; an implementation knows one of them, and answers nothing to the other."""

    ORGANIZATION = "organization"
    """Chrony 4.9 and newer."""
    EXPERIMENTAL = "experimental"
    """Chrony 4.2 to 4.8."""


@dataclass(frozen=True, slots=True)
class Carried:
    """What came.

    Attributes:
        ntp: The NTP message.
        form: In what it came; the answer goes back in the same.
        correction: What transparent clocks on its way say that it spent in them (correctionField); zero without any.
    """

    ntp: bytes
    form: Form
    correction: Duration


def wrap(ntp: bytes, form: Form, domain: int = NTP_DOMAIN) -> bytes:
    """The PTP message that carries an NTP message. Raises ValueError when it is too long, or the domain no octet."""
    inner = ntp if form is Form.EXPERIMENTAL else _NTP_MESSAGE + _RESERVED + ntp
    kind = _EXPERIMENTAL if form is Form.EXPERIMENTAL else _ORGANIZATION_EXTENSION
    length = _HEAD.size + len(inner)
    if length > _LONGEST or not 0 <= domain <= 0xFF:
        raise ValueError(f"{length} octets in domain {domain}")
    return _HEAD.pack(MessageType.DELAY_REQ, 2, length, domain, 0, Flags.UNICAST, 0, kind, len(inner)) + inner


def unwrap(data: bytes, domain: int = NTP_DOMAIN) -> Carried:
    """The NTP message in a PTP message. Raises WireError: another message, or of another domain.

    What follows the message in its datagram is passed over, as PTP over IPv6 may have it (annex D).
    """
    if len(data) < _HEAD.size:
        raise WireError(f"{len(data)} octets are no NTP over PTP")
    kind, version, length, number, sdo, flags, correction, tlv, size = _HEAD.unpack_from(data)
    if kind not in _MESSAGE_TYPES or version not in _VERSIONS or sdo != 0:
        raise WireError(f"PTP message {kind:#04x} of version {version:#04x} carries no NTP")
    if number != domain:
        raise WireError(f"NTP over PTP of domain {number}")
    if flags != Flags.UNICAST:
        raise WireError(f"NTP over PTP with flags {flags:#06x}")
    if length > len(data) or length != _HEAD.size + size:
        raise WireError(f"NTP over PTP of {length} octets in {len(data)}, with a TLV of {size}")
    inner = data[_HEAD.size : length]
    if tlv == _EXPERIMENTAL:
        return Carried(inner, Form.EXPERIMENTAL, Duration(correction))
    if tlv not in (_ORGANIZATION_EXTENSION, _ORGANIZATION_EXTENSION_DO_NOT_PROPAGATE):
        raise WireError(f"TLV {tlv:#06x} carries no NTP")
    skipped = len(_NTP_MESSAGE) + len(_RESERVED)
    if inner[: len(_NTP_MESSAGE)] != _NTP_MESSAGE or size < skipped:
        raise WireError("the TLV of an organisation that is not NTP's")
    return Carried(inner[skipped:], Form.ORGANIZATION, Duration(correction))


def encode_correction(spent: Duration = ZERO) -> Extension:
    """The field of an answer; that of a request is zero. What is negative, or beyond its range, is zero as well."""
    value = (spent.scaled_ns << 32) // UNITS_PER_S
    return Extension(NETWORK_CORRECTION, _CORRECTION.pack(value if 0 < value < _NEGATIVE else 0))


def decode_correction(fields: Iterable[Extension]) -> Duration | None:
    """What the field among those of a packet says; None: there is none, or it is of another length or negative."""
    for one in fields:
        if one.kind == NETWORK_CORRECTION and len(one.body) == _CORRECTION.size:
            (value,) = _CORRECTION.unpack(one.body)
            return Duration(value * UNITS_PER_S >> 32) if value < _NEGATIVE else None
    return None
