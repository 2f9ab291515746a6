"""The extension fields of NTPv5 (draft-ietf-ntp-ntpv5-07, "Extension Fields"), with the type numbers of the drafts.

Each ``decode_`` gets the body of a field and raises WireError when it cannot be one; each ``encode_`` makes the whole
``Extension``. Bodies have no padding: that belongs to the message.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from timesync.wire.error import WireError
from timesync.wire.ntp import Extension, Mac

DRAFTS: Final = ("draft-ietf-ntp-ntpv5-08", "draft-ietf-ntp-ntpv5-09", "draft-ietf-ntp-ntpv5-07")
"""Drafts that are spoken unless others are configured, in the order in which they are tried; on the wire they are one.

The one that ntpd-rs speaks is the first: it does not answer the others.
"""

FIRST_DRAFT: Final = 6
"""Draft -06 moved header fields; what is older cannot be spoken with this codec."""

MAX_DRAFT: Final = 64
"""Octets of a draft's name; a longer one is nobody's."""

FILTER_SIZE: Final = 512
"""Octets of the filter of reference ids."""

_DRAFT: Final = re.compile(r"draft-[a-z0-9-]+-([0-9]{2})")
_OFFSET: Final = struct.Struct("!H")
_INFO: Final = struct.Struct("!HH")
_CORRECTION: Final = struct.Struct("!qHHqHH")
_REFERENCE: Final = struct.Struct("!Q")
_MONOTONIC: Final = struct.Struct("!IQ")
_SECONDARY: Final = struct.Struct("!BBHQ")
_KEY_ID: Final = struct.Struct("!I")
_VERSIONS: Final = range(1, 17)


class Field(IntEnum):
    """Field types, those for drafts; the final ones are not assigned yet."""

    PADDING = 0xF501
    MAC = 0xF502
    REFERENCE_IDS_REQUEST = 0xF503
    REFERENCE_IDS_RESPONSE = 0xF504
    SERVER_INFORMATION = 0xF505
    CORRECTION = 0xF506
    REFERENCE_TIMESTAMP = 0xF507
    MONOTONIC_RECEIVE = 0xF508
    SECONDARY_RECEIVE = 0xF509
    DRAFT_IDENTIFICATION = 0xF5FF


def check_draft(name: str) -> str:
    """The name of a draft that can be spoken. Raises ValueError with a sentence for who configured it."""
    found = _DRAFT.fullmatch(name)
    if found is None or len(name) > MAX_DRAFT:
        raise ValueError(f"{name!r} is not the name of an Internet-Draft, such as {DRAFTS[0]}")
    if name.startswith("draft-ietf-ntp-ntpv5-") and int(found.group(1)) < FIRST_DRAFT:
        raise ValueError(f"{name} has another layout than the drafts from -{FIRST_DRAFT:02} on")
    return name


def encode_draft(name: str) -> Extension:
    """The field that names a draft; not terminated."""
    return Extension(Field.DRAFT_IDENTIFICATION, name.encode("ascii"))


def encode_mac(mac: Mac) -> Extension:
    """A message authentication code, whole."""
    return Extension(Field.MAC, _KEY_ID.pack(mac.key_id) + mac.digest)


def decode_mac(body: bytes) -> Mac:
    """Key id and code."""
    if len(body) <= _KEY_ID.size:
        raise WireError(f"a MAC of {len(body)} octets")
    return Mac(_KEY_ID.unpack_from(body)[0], body[_KEY_ID.size :])


@dataclass(frozen=True, slots=True)
class ReferenceIdsRequest:
    """Which part of the filter is wanted.

    Attributes:
        offset: First octet.
        size: Octets; the field is as long, and so is the answer.
    """

    offset: int
    size: int

    @property
    def valid(self) -> bool:
        """Whether the filter has these octets; a server ignores what is beyond."""
        return self.offset + self.size <= FILTER_SIZE

    def encode(self) -> Extension:
        """The field."""
        return Extension(Field.REFERENCE_IDS_REQUEST, _OFFSET.pack(self.offset).ljust(self.size, b"\0"))


def decode_reference_ids_request(body: bytes) -> ReferenceIdsRequest:
    """The request, valid or not."""
    if len(body) < _OFFSET.size:
        raise WireError("a request for reference ids without an offset")
    return ReferenceIdsRequest(_OFFSET.unpack_from(body)[0], len(body))


def encode_server_information(versions: Iterable[int] = ()) -> Extension:
    """The NTP versions that a server answers; none in a request."""
    return Extension(Field.SERVER_INFORMATION, _INFO.pack(sum(1 << version - 1 for version in set(versions)), 0))


def decode_server_information(body: bytes) -> frozenset[int]:
    """The versions, 1 to 16: version 1 is the lowest bit."""
    (bits, _) = _whole(_INFO, body, "server information")
    return frozenset(version for version in _VERSIONS if bits >> version - 1 & 1)


@dataclass(frozen=True, slots=True)
class Correction:
    """What switches and routers say of the time that a message spent in them; nothing protects it.

    Attributes:
        origin: Copy of the request's ``delay``, in the answer; 2^-16 ns.
        origin_path: Copy of the request's ``path``.
        delay: What has accumulated on the way so far; 2^-16 ns, as PTP's correctionField.
        path: Sum of the ids of the ports that were passed.
    """

    origin: int = 0
    origin_path: int = 0
    delay: int = 0
    path: int = 0

    def answer(self) -> Correction:
        """What the answer to this request has when it leaves."""
        return Correction(origin=self.delay, origin_path=self.path)

    def encode(self) -> Extension:
        """The field, which must be the last one."""
        body = _CORRECTION.pack(self.origin, self.origin_path, 0, self.delay, self.path, 0)
        return Extension(Field.CORRECTION, body)


def decode_correction(body: bytes) -> Correction:
    """The corrections; the checksum complement is of no interest after the UDP checksum was tested."""
    origin, origin_path, _, delay, path, _ = _whole(_CORRECTION, body, "a correction")
    return Correction(origin, origin_path, delay, path)


def encode_reference_timestamp(timestamp: int = 0) -> Extension:
    """When the server's clock was last set, timestamp64; 0 in a request."""
    return Extension(Field.REFERENCE_TIMESTAMP, _REFERENCE.pack(timestamp))


def decode_reference_timestamp(body: bytes) -> int:
    """The timestamp64."""
    (timestamp,) = _whole(_REFERENCE, body, "a reference timestamp")
    return int(timestamp)


@dataclass(frozen=True, slots=True)
class MonotonicReceive:
    """The arrival of a request by a clock whose phase nobody corrects.

    Attributes:
        epoch: Changes when that clock starts anew.
        at: Its reading, timestamp64.
    """

    epoch: int = 0
    at: int = 0

    def encode(self) -> Extension:
        """The field; all 0 in a request."""
        return Extension(Field.MONOTONIC_RECEIVE, _MONOTONIC.pack(self.epoch, self.at))


def decode_monotonic_receive(body: bytes) -> MonotonicReceive:
    """Epoch and reading."""
    return MonotonicReceive(*_whole(_MONOTONIC, body, "a monotonic timestamp"))


@dataclass(frozen=True, slots=True)
class SecondaryReceive:
    """The arrival of a request in another timescale.

    Attributes:
        timescale: Which.
        era: NTP era of ``at``.
        at: timestamp64; 0 in a request, and in an answer where it is not known well enough.
    """

    timescale: int
    era: int = 0
    at: int = 0

    def encode(self) -> Extension:
        """The field."""
        return Extension(Field.SECONDARY_RECEIVE, _SECONDARY.pack(self.timescale, self.era, 0, self.at))


def decode_secondary_receive(body: bytes) -> SecondaryReceive:
    """Timescale, era and timestamp."""
    timescale, era, _, at = _whole(_SECONDARY, body, "a secondary timestamp")
    return SecondaryReceive(timescale, era, at)


def _whole(layout: struct.Struct, body: bytes, what: str) -> tuple[int, ...]:
    """All of a body of fixed length."""
    if len(body) != layout.size:
        raise WireError(f"{what} of {len(body)} octets, not {layout.size}")
    return layout.unpack(body)
