"""The NTPv5 server (draft-ietf-ntp-ntpv5-07, "Server Operation"), without any IO: a request in, its answer out.

Who may ask, and how often, is decided before, as for the older versions. An answer has exactly the octets of its
request, so it cannot amplify; and only mode 3 is answered, so two servers cannot be made to talk to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final, assert_never

from timesync.base.measure import Leap
from timesync.base.time import NS_PER_S
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.interleave import RECEIVE_BIT, Pairs
from timesync.ntp.sealing import SealingTimes
from timesync.ntp.serve_state import UNSYNCHRONIZED, ServeState
from timesync.ntp.v5.header import header
from timesync.ntp.v5.serving import Serving
from timesync.wire.error import WireError
from timesync.wire.ntp import HEADER_SIZE, Extension, Mac, Mode
from timesync.wire.ntp5 import (
    NEVER,
    NO_FLAGS,
    VERSION,
    Flag,
    Ntp5Packet,
    Timescale,
    decode,
    encode,
    fields_of,
    timestamp_from_ns,
)
from timesync.wire.ntp5_ext import (
    DRAFTS,
    Correction,
    Field,
    MonotonicReceive,
    SecondaryReceive,
    decode_correction,
    decode_mac,
    decode_monotonic_receive,
    decode_reference_ids_request,
    decode_reference_timestamp,
    decode_secondary_receive,
    decode_server_information,
    encode_mac,
    encode_reference_timestamp,
    encode_server_information,
)
from timesync.wire.ntp_ext import NtsField, encode_field, padded

OLDEST_NS: Final = 4 * NS_PER_S
"""A request that waited longer is not answered; as in the older versions."""

MAX_RATE_POLL: Final = 17
"""The longest interval that a client is asked for, log2 s: RFC 5905's MAXPOLL."""

_HEAD_SIZE: Final = 4
_TRANSMIT_AT: Final = 40
_MASK64: Final = (1 << 64) - 1

Seal = Callable[[bytes], bytes | None]
"""What NTS does to an answer: gets header and fields, gives them back with its own fields behind them; None when those
do not fit. ``NtsGate.seal`` and ``NtsGate.nak``, their first argument given, are such functions."""


class ServerDrop(StrEnum):
    """Why a request is not answered."""

    FORMAT = "format"
    """It is no NTPv5 request."""
    DRAFT = "draft"
    """It names no draft that is spoken here, or none."""
    MAC = "mac"
    """Its code is wrong, or of an unknown key, or not where it must be."""
    LATE = "late"
    """It waited too long, or the clock was set back meanwhile."""
    LONG = "long"
    """The answer would be longer than the request."""


class Refusal(StrEnum):
    """What a client is told instead of the time."""

    RATE = "rate"
    """It asks too often; ``Serving.poll`` says how often it may."""
    DENY = "deny"
    """It may not ask at all."""
    NAK = "nak"
    """It could not be authenticated."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that is to be answered.

    Attributes:
        packet: Its content.
        size: Its octets.
        draft: The field that names the draft; it is sent back.
        fields: Those that count: before the MAC or NTS's authenticator, when it has one.
        key: Of its MAC, which is right; None without one.
        correction: Of the field at its end, if it has one.
    """

    packet: Ntp5Packet
    size: int
    draft: Extension
    fields: tuple[Extension, ...]
    key: SymmetricKey | None
    correction: Correction | None


@dataclass(frozen=True, slots=True)
class Reply5:
    """An answer; as ``timesync.ntp.server.Reply``.

    Attributes:
        data: Its octets.
        stamp_as: When not None, report when it left with ``Server5.sent(stamp_as, kernel_ns)``.
        interleaved: The transmit timestamp in it is of an earlier answer.
        signed: It has a MAC.
    """

    data: bytes
    stamp_as: int | None = None
    interleaved: bool = False
    signed: bool = False


class Server5:
    """Requests in, answers out.

    Args:
        drafts: Names of the drafts that are answered.
        keys: Symmetric keys that requests may be authenticated with.
        pairs: Memory for the interleaved mode; None: the mode is not offered.
    """

    def __init__(
        self, drafts: tuple[str, ...] = DRAFTS, keys: tuple[SymmetricKey, ...] = (), pairs: Pairs | None = None
    ) -> None:
        self._drafts = frozenset(name.encode("ascii") for name in drafts)
        self._keys = {key.id: key for key in keys}
        self._pairs = pairs
        self._state = UNSYNCHRONIZED
        self._serving = Serving()
        self._sealing = SealingTimes()

    def publish(self, state: ServeState, serving: Serving) -> None:
        """Answer from this from now on."""
        # What a timestamp from before a smear, from within it, or from before a leap second is in another timescale
        # nobody could say later.
        turns = serving.scales.turned(self._serving.scales)
        if self._pairs is not None and (turns or state.epoch != self._state.epoch):
            self._pairs.clear()
        self._state, self._serving = state, serving

    def examine(self, request: bytes, *, authenticate: bool = True) -> Asked | ServerDrop:
        """What is asked, and whether that is answered at all.

        Args:
            request: The datagram.
            authenticate: Whether its MAC, when it has one, must be right.
        """
        try:
            packet = decode(request)
        except WireError:
            return ServerDrop.FORMAT
        if packet.mode is not Mode.CLIENT:
            return ServerDrop.FORMAT
        fields = list(packet.extensions)
        correction: Correction | None = None
        if fields and fields[-1].kind == Field.CORRECTION:
            # It is allowed behind a MAC and behind NTS, because routers change it.
            correction = _correction(fields.pop().body)
        kinds: list[int] = [one.kind for one in fields]
        key: SymmetricKey | None = None
        if Field.MAC in kinds and authenticate:
            at = kinds.index(Field.MAC)
            key = self._key_of(request, at) if at == len(fields) - 1 else None
            if key is None:
                return ServerDrop.MAC
        ends = [kinds.index(kind) for kind in (Field.MAC, NtsField.AUTHENTICATOR) if kind in kinds]
        counted = tuple(fields[: min(ends, default=len(fields))])
        drafts = [one for one in counted if one.kind == Field.DRAFT_IDENTIFICATION]
        if len(drafts) != 1 or drafts[0].body not in self._drafts:
            return ServerDrop.DRAFT
        return Asked(packet, len(request), drafts[0], counted, key, correction)

    def respond(
        self,
        request: bytes,
        receive_ns: int,
        transmit: Callable[[], int] | int,
        mono_ns: int,
        seal: Seal | None = None,
    ) -> Reply5 | ServerDrop:
        """The answer to a datagram, or why it gets none.

        Args:
            request: The datagram, of somebody who may ask.
            receive_ns: Kernel time (CLOCK_REALTIME, ns) of its arrival.
            transmit: Kernel time of the answer's departure: now, or a function that is called as late as possible.
            mono_ns: Monotonic time, on the scale of ``ServeState.at``.
            seal: For a request that NTS has authenticated.
        """
        asked = self.examine(request)
        if isinstance(asked, ServerDrop):
            return asked
        state, serving = self._state, self._serving
        clock_ns = state.serving_map.utc_ns(receive_ns)
        timescale, shift_ns = serving.scales.answer(asked.packet.timescale, clock_ns)
        era, receive = timestamp_from_ns(clock_ns + shift_ns)
        fields = self._fields(asked.fields, receive_ns, clock_ns, shift_ns)
        about = header(state, serving, timescale, clock_ns, mono_ns)
        saved, cookie = None, None
        if serving.scales.lasting(timescale):
            saved, cookie = self._interleave(asked.packet, timestamp_from_ns(clock_ns)[1])
        packet = replace(
            about,
            era=era,
            flags=about.flags | (NO_FLAGS if saved is None else Flag.INTERLEAVED),
            server_cookie=cookie or 0,
            client_cookie=asked.packet.client_cookie,
            receive=receive,
            extensions=(asked.draft, *fields),
        )
        data = self._leave(encode(packet), asked, seal, receive_ns, transmit, saved, timescale)
        if isinstance(data, ServerDrop):
            return data
        return Reply5(data, cookie, saved is not None, seal is None and asked.key is not None)

    def _leave(
        self,
        clear: bytes,
        asked: Asked,
        seal: Seal | None,
        receive_ns: int,
        transmit: Callable[[], int] | int,
        saved: int | None,
        timescale: Timescale,
    ) -> bytes | ServerDrop:
        """The whole answer, its transmit timestamp put in as the last thing, or the last before it is sealed.

        Args:
            clear: Header and fields, without that timestamp.
            asked: The request.
            seal: What NTS does.
            receive_ns: Kernel time of the request's arrival.
            transmit: Kernel time of the departure.
            saved: The timestamp of an earlier answer, to be sent instead.
            timescale: Of the answer; the memory has the served one.
        """
        kind = (seal is not None, asked.key is not None, asked.size)
        sealed = seal is not None or asked.key is not None
        whole = None if sealed else _finish(clear, asked, None)
        begun_ns = transmit if isinstance(transmit, int) else transmit()
        if not 0 <= begun_ns - receive_ns <= OLDEST_NS:
            return ServerDrop.LATE
        sent_ns = begun_ns + (self._sealing.foretold_ns(kind) if sealed else 0)
        clock_ns = self._state.serving_map.utc_ns(sent_ns)
        shift_ns = self._serving.scales.shift_ns(timescale, clock_ns) or 0
        left = timestamp_from_ns(clock_ns)[1] if saved is None else saved
        stamped = _shifted(left, shift_ns).to_bytes(8, "big")
        if sealed:
            whole = _finish(clear[:_TRANSMIT_AT] + stamped + clear[HEADER_SIZE:], asked, seal)
            if not isinstance(transmit, int):
                self._sealing.took(kind, transmit() - begun_ns)
        elif whole is not None:
            whole = whole[:_TRANSMIT_AT] + stamped + whole[HEADER_SIZE:]
        return ServerDrop.LONG if whole is None else whole

    def refuse(self, request: bytes, refusal: Refusal, seal: Seal | None = None) -> Reply5 | ServerDrop:
        """What tells a client that it gets no time: stratum 0, no timestamps, and no fields but the draft's.

        Args:
            request: The datagram.
            refusal: Why.
            seal: For a request of NTS; what it adds need not authenticate a NAK (RFC 8915, 5.7).
        """
        asked = self.examine(request, authenticate=refusal is not Refusal.NAK)
        if isinstance(asked, ServerDrop):
            return asked
        poll, flags = self._serving.poll, NO_FLAGS
        match refusal:
            case Refusal.RATE:
                # ntpd-rs says its own interval in a request and obeys a longer one only; by the draft it is 0.
                poll = min(max(poll, asked.packet.poll + 1), MAX_RATE_POLL)
            case Refusal.DENY:
                poll = NEVER
            case Refusal.NAK:
                flags = Flag.AUTHENTICATION_NAK
            case _:
                assert_never(refusal)
        packet = Ntp5Packet(
            leap=Leap.UNKNOWN,
            mode=Mode.SERVER,
            poll=poll,
            timescale=self._serving.scales.served,
            flags=flags,
            client_cookie=asked.packet.client_cookie,
            extensions=(asked.draft,),
        )
        data = _finish(encode(packet), asked, seal)
        return ServerDrop.LONG if data is None else Reply5(data)

    def sent(self, stamp_as: int, kernel_ns: int) -> bool:
        """An answer with ``stamp_as`` left at this kernel time; False when nobody may ask for that any more."""
        if self._pairs is None or stamp_as not in self._pairs:
            return False
        self._pairs.complete(stamp_as, timestamp_from_ns(self._state.serving_map.utc_ns(kernel_ns))[1])
        return True

    def _key_of(self, request: bytes, at: int) -> SymmetricKey | None:
        """The key of the MAC in the field number ``at``, when it is right."""
        place, mac_field = fields_of(request)[at]
        try:
            mac = decode_mac(mac_field.body)
        except WireError:
            return None
        key = self._keys.get(mac.key_id)
        return key if key is not None and key.verify(request[:place], mac.digest) else None

    def _interleave(self, packet: Ntp5Packet, now: int) -> tuple[int | None, int | None]:
        """The transmit timestamp that the request's cookie names, and the cookie of the answer (RFC 9769 by flag)."""
        if self._pairs is None or not packet.flags & Flag.INTERLEAVED:
            return None, None
        saved = self._pairs.take(packet.server_cookie) if packet.server_cookie & RECEIVE_BIT else None
        # «It can reuse the NTPv4 support in NTPv5 by setting the server cookie to the (unique) receive timestamp.»
        return saved, self._pairs.reserve(now | RECEIVE_BIT)

    def _fields(self, asked: tuple[Extension, ...], receive_ns: int, clock_ns: int, shift_ns: int) -> list[Extension]:
        """The fields of the answer, each as long as that of the request; what makes no sense is left out."""
        answers: list[Extension] = []
        told: set[int] = set()
        for one in asked:
            if one.kind == Field.SECONDARY_RECEIVE and one.body[:1] and one.body[0] in told:
                continue
            try:
                answer = self._field(one, receive_ns, clock_ns, shift_ns)
            except WireError:
                continue
            if answer is None:
                continue
            if one.kind == Field.SECONDARY_RECEIVE:
                told.add(one.body[0])
            answers.append(answer)
        return answers

    def _field(self, asked: Extension, receive_ns: int, clock_ns: int, shift_ns: int) -> Extension | None:
        """One field of the answer; None when it is not offered. Raises WireError when the request's is malformed."""
        serving, body = self._serving, asked.body
        if asked.kind == Field.REFERENCE_IDS_REQUEST:
            wanted = decode_reference_ids_request(body)
            if serving.references is None or not wanted.valid:
                return None
            chunk = serving.references.to_bytes()[wanted.offset : wanted.offset + wanted.size]
            return Extension(Field.REFERENCE_IDS_RESPONSE, chunk)
        if asked.kind == Field.SERVER_INFORMATION:
            decode_server_information(body)
            return encode_server_information(serving.versions)
        if asked.kind == Field.REFERENCE_TIMESTAMP:
            decode_reference_timestamp(body)
            set_at = self._state.reference_time
            return encode_reference_timestamp(set_at and _shifted(set_at, shift_ns))
        if asked.kind == Field.MONOTONIC_RECEIVE and serving.monotonic is not None:
            decode_monotonic_receive(body)
            _, at = timestamp_from_ns(serving.monotonic.map.utc_ns(receive_ns))
            return MonotonicReceive(serving.monotonic.epoch, at).encode()
        if asked.kind == Field.SECONDARY_RECEIVE:
            timescale = decode_secondary_receive(body).timescale
            if not serving.scales.offers(timescale):
                return None
            shift = serving.scales.shift_ns(timescale, clock_ns)
            era, at = (0, 0) if shift is None else timestamp_from_ns(clock_ns + shift)
            return SecondaryReceive(timescale, era, at).encode()
        return None


def _shifted(timestamp: int, shift_ns: int) -> int:
    """A timestamp64 so many nanoseconds later; never 0, which would mean that it is not known."""
    return timestamp + (shift_ns << 32) // NS_PER_S & _MASK64 or 1


def _correction(body: bytes) -> Correction | None:
    try:
        return decode_correction(body)
    except WireError:
        return None


def _finish(clear: bytes, asked: Asked, seal: Seal | None) -> bytes | None:
    """The whole answer, as long as its request; None when it would be longer.

    The padding stands before a MAC, which must be last, and behind the authenticator of NTS, where it needs no second
    sealing: it means nothing to anyone. A correction comes at the very end.
    """
    data = clear if seal is None else seal(clear)
    if data is None:
        return None
    key = asked.key if seal is None else None
    mac_size = 0 if key is None else _HEAD_SIZE + padded(_HEAD_SIZE + len(key.digest(data)))
    tail = b""
    if asked.correction is not None:
        tail = _encoded(asked.correction.answer().encode())
    gap = asked.size - len(data) - mac_size - len(tail)
    if gap < 0 and tail:
        gap, tail = gap + len(tail), b""
    if gap < 0:
        return None
    if gap:
        data += encode_field(Field.PADDING, bytes(gap - _HEAD_SIZE), version=VERSION)
    if key is not None:
        data += _encoded(encode_mac(Mac(key.id, key.digest(data))))
    return data + tail


def _encoded(field: Extension) -> bytes:
    return encode_field(field.kind, field.body, version=VERSION)
