"""Records and messages of NTS key establishment (RFC 8915, 4), and those of NTS pools.

What is inside TLS is a sequence of records, the last of which is End of Message. ``RecordReader`` takes the octets as
they come, and never holds more than its limit. The messages made of the records are in ``wire/nts_ke_message.py``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final

from timesync.wire.error import WireError

MAX_MESSAGE: Final = 16_384
"""Octets of a message that a client takes, as chrony has it. A usual reply with eight cookies has under 1 KiB."""

MAX_REQUEST: Final = 4096
"""Octets of a request that a server takes, as ntpd-rs has it. A usual request has 16 octets."""

MAX_RECORDS: Final = 128
"""A message of 16 KiB could be 4096 empty records, and none needs more than a few dozen."""

CRITICAL: Final = 0x8000
_HEAD: Final = struct.Struct("!HH")


class RecordType(IntEnum):
    """RFC 8915, 7.6, and what IANA has given out early for draft-ietf-ntp-nts-keyexchange-pool."""

    END_OF_MESSAGE = 0
    NEXT_PROTOCOL = 1
    ERROR = 2
    WARNING = 3
    AEAD_ALGORITHM = 4
    NEW_COOKIE = 5
    SERVER = 6
    PORT = 7
    KEEP_ALIVE = 8
    """Pool: the connection stays open for another request."""
    SUPPORTED_NEXT_PROTOCOLS = 9
    """Pool: which protocols the time source speaks; empty in a request."""
    SUPPORTED_ALGORITHMS = 10
    """Pool: which AEADs it knows, each with its key size; empty in a request."""
    FIXED_KEY_REQUEST = 12
    """Pool: make cookies for these keys (C2S, then S2C) and not for those of this TLS connection."""
    NTP_SERVER_DENY = 13
    """Pool: the client has this server already, or does not want it."""
    AUTHENTICATION_TOKEN = 14
    """Pool: says that the pool may ask what only a pool may."""
    COMPLIANT_128GCM_EXPORT = 1024
    """chrony: keys of AEAD_AES_128_GCM_SIV are exported with its own number, as the RFC says; see ``nts/keys.py``."""


class ErrorCode(IntEnum):
    """RFC 8915, 4.1.3."""

    UNRECOGNIZED_CRITICAL_RECORD = 0
    BAD_REQUEST = 1
    INTERNAL_SERVER_ERROR = 2


class NextProtocol(IntEnum):
    """What the keys are for (RFC 8915, 7.7)."""

    NTPV4 = 0
    NTPV5_DRAFT = 0x8001
    """From the range for experiments, as ntpd-rs has it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One record (RFC 8915, figure 2).

    Attributes:
        kind: Record type, 0 to 0x7FFF; often a ``RecordType``.
        body: Up to 65535 octets; left out of ``repr``, because it may be a key.
        critical: Who does not know the type must refuse the whole message (RFC 8915, 4).
    """

    kind: int
    body: bytes = field(default=b"", repr=False)
    critical: bool = False

    def encode(self) -> bytes:
        """The record's octets. Raises ValueError for what does not fit: our own bug."""
        if not 0 <= self.kind < CRITICAL or len(self.body) > 0xFFFF:
            raise ValueError(f"record {self.kind} of {len(self.body)} octets")
        return _HEAD.pack(self.kind | (CRITICAL if self.critical else 0), len(self.body)) + self.body


END: Final = Record(RecordType.END_OF_MESSAGE, critical=True)


class RecordReader:
    """Octets of one message in, however they are cut; its records out.

    It refuses a message as soon as it is known to be too long, which is when a record's head says so: what the head
    promises is not waited for, and never stored.

    Args:
        max_message: Octets of the message, End of Message included.
    """

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self._left = max_message
        self._buffer = bytearray()
        self._records: list[Record] = []
        self._finished = False

    def feed(self, octets: bytes) -> tuple[Record, ...] | None:
        """The records before End of Message when the message is whole, else None.

        Raises WireError when it is too long, when End of Message is not the last thing in it, has a body, or is not
        critical (RFC 8915, 4.1.1). After that, and after the end, the reader is of no more use.
        """
        if self._finished and octets:
            raise WireError("octets after the end of the message")
        buffer = self._buffer
        if len(buffer) + len(octets) > self._left:
            raise WireError("the message is too long")
        position = 0
        buffer += octets
        while not self._finished and len(buffer) - position >= _HEAD.size:
            head, size = _HEAD.unpack_from(buffer, position)
            if size + _HEAD.size > self._left:
                raise WireError("the message is too long")
            if len(buffer) - position < size + _HEAD.size:
                break
            start = position + _HEAD.size
            position = start + size
            self._left -= size + _HEAD.size
            self._take(Record(head & ~CRITICAL, bytes(buffer[start:position]), head >= CRITICAL))
        del buffer[:position]
        if not self._finished:
            return None
        if buffer:
            raise WireError("octets after the end of the message")
        return tuple(self._records)

    def _take(self, record: Record) -> None:
        if record.kind == RecordType.END_OF_MESSAGE:
            if record.body or not record.critical:
                raise WireError("End of Message with a body, or not critical")
            self._finished = True
            return
        if len(self._records) == MAX_RECORDS:
            raise WireError("too many records")
        self._records.append(record)


def encode_records(records: tuple[Record, ...]) -> bytes:
    """A whole message: the records, and End of Message after them."""
    return b"".join(record.encode() for record in (*records, END))


def numbers(body: bytes) -> tuple[int, ...]:
    """A body that is a list of 16-bit numbers. Raises WireError when it is not."""
    if len(body) % 2:
        raise WireError(f"a list of 16-bit numbers in {len(body)} octets")
    return struct.unpack(f"!{len(body) // 2}H", body)


def number(body: bytes) -> int:
    """A body that is one 16-bit number. Raises WireError when it is not."""
    if len(body) != 2:
        raise WireError(f"a 16-bit number in {len(body)} octets")
    return int.from_bytes(body, "big")


def pack_numbers(values: tuple[int, ...]) -> bytes:
    """The body for a list of 16-bit numbers."""
    return struct.pack(f"!{len(values)}H", *values)
