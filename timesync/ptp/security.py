"""The AUTHENTICATION TLV with immediate verification (IEEE 1588-2019, 16.14): messages signed, and verified.

All clocks of a domain hold the same keys, so the TLV says that a message comes from one of them, not from which. The
timeReceiver still believes the timeTransmitter that the algorithm chooses. What it keeps out is whoever has no key.
A recorded message about time, or Signaling, cannot be played again while its sender goes on: sequence numbers must
grow. Management is not protected from that.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from timesync.base.ids import PortIdentity
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.timers import interval
from timesync.wire import ptp
from timesync.wire.error import WireError
from timesync.wire.ptp_message import (
    LOG_INTERVAL_NONE,
    Announce,
    FollowUp,
    Message,
    Signaling,
    Sync,
)
from timesync.wire.ptp_tlv import Authentication, SecurityIndicator, TlvType

_LENGTH = slice(2, 4)
_TLV_HEAD = 4
AUTHENTICATION_HEAD = _TLV_HEAD + 6
"""Octets of an AUTHENTICATION TLV before its ICV (16.14.3)."""

_HALF = 1 << 15
_SENDERS = 256
_LEAST_SILENCE = Duration.from_s(4)
_SILENT_INTERVALS = 4


@dataclass(frozen=True, slots=True)
class IcvKey:
    """A key of a security association.

    Attributes:
        size: Octets of the ICV.
        compute: The ICV of some octets.
    """

    size: int
    compute: Callable[[bytes], bytes] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """A security association (16.14.2), the same on all clocks of the domain.

    Attributes:
        spp: ``SPP``, its number.
        key_id: The key that signs.
        keys: All by ``keyID``; each verifies.
        unsigned: Messages without the TLV are taken as well.
        mutable_correction: ``correctionField`` is not protected: transparent clocks without a key change it.
    """

    spp: int
    key_id: int
    keys: Mapping[int, IcvKey]
    unsigned: bool = False
    mutable_correction: bool = False


@dataclass(slots=True)
class _Heard:
    sequence: int
    until: Instant[Mono]


class Security:
    """Signs the messages of an instance, and verifies those that come to it."""

    def __init__(self, association: Association) -> None:
        """Raises KeyError when the key that signs is not there."""
        self._association = association
        self._key = association.keys[association.key_id]
        self._heard: dict[tuple[int, PortIdentity, type], _Heard] = {}

    def seal(self, data: bytes) -> bytes:
        """A message with the TLV after all others. Raises ValueError when it is too long for one."""
        association, key = self._association, self._key
        tlv = Authentication(association.spp, association.key_id, bytes(key.size)).to_tlv()
        value = tlv.kind.to_bytes(2, "big") + len(tlv.value).to_bytes(2, "big") + tlv.value
        length = len(data) + len(value)
        if length > 0xFFFF:
            raise ValueError(f"a message of {length} octets")
        whole = data[: _LENGTH.start] + length.to_bytes(2, "big") + data[_LENGTH.stop :] + value
        signed = ptp.icv_input(whole, key.size, mutable_correction=association.mutable_correction)
        return ptp.set_icv(whole, key.compute(signed))

    def refusal(self, number: int, message: Message, data: bytes, now: Instant[Mono]) -> str | None:
        """Why a message that came by a port is not believed, as a short name for the counters; None when it is."""
        wrong = self.verify(message, data)
        if wrong is not None or not isinstance(message, Announce | Sync | FollowUp | Signaling):
            # The others answer a question, and are matched with it, or are questions.
            return wrong
        return self._replay(number, message, now)

    def verify(self, message: Message, data: bytes) -> str | None:
        """The same, but for the growing of sequence numbers."""
        tlvs = message.tlvs
        places = [index for index, tlv in enumerate(tlvs) if tlv.kind == TlvType.AUTHENTICATION]
        if not places:
            return None if self._association.unsigned else "unsigned"
        if places != [len(tlvs) - 1]:
            return "signature-place"
        try:
            found = Authentication.from_tlv(tlvs[-1])
        except WireError:
            return "signature-form"
        return self._verify_icv(found, data)

    def opened(self, data: bytes) -> bytes | None:
        """A message that came without its TLV; None when it is not believed. For readers of single TLVs."""
        try:
            message = ptp.decode(data)
        except WireError:
            return None
        if self.verify(message, data) is not None:
            return None
        if not message.tlvs or message.tlvs[-1].kind != TlvType.AUTHENTICATION:
            return data
        end = int.from_bytes(data[_LENGTH], "big") - _TLV_HEAD - len(message.tlvs[-1].value)
        return data[: _LENGTH.start] + end.to_bytes(2, "big") + data[_LENGTH.stop : end]

    def _verify_icv(self, found: Authentication, data: bytes) -> str | None:
        association = self._association
        key = association.keys.get(found.key_id)
        if found.spp != association.spp or key is None:
            return "signature-key"
        if found.indicator != SecurityIndicator(0) or len(found.rest) != key.size:
            # Delayed verification (16.14.5) is not done, so its fields cannot be there.
            return "signature-form"
        try:
            signed = ptp.icv_input(data, key.size, mutable_correction=association.mutable_correction)
        except WireError:
            return "signature-form"
        return None if hmac.compare_digest(key.compute(signed), found.rest) else "signature"

    def _replay(self, number: int, message: Announce | Sync | FollowUp | Signaling, now: Instant[Mono]) -> str | None:
        """A sequence number that does not grow; one that was silent for long may begin anew."""
        header = message.header
        sender = number, header.source, type(message)
        known = self._heard.get(sender)
        if known is not None and now < known.until:
            ahead = (header.sequence_id - known.sequence) & 0xFFFF
            if not 0 < ahead < _HALF:
                return "replay"
        self._heard.pop(sender, None)
        while len(self._heard) >= _SENDERS:
            del self._heard[next(iter(self._heard))]
        log_interval = 0 if header.log_interval == LOG_INTERVAL_NONE else min(max(header.log_interval, -10), 10)
        silence = max(interval(log_interval) * _SILENT_INTERVALS, _LEAST_SILENCE)
        self._heard[sender] = _Heard(header.sequence_id, now + silence)
        return None
