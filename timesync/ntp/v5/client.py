"""The NTPv5 client of one server (draft-ietf-ntp-ntpv5-07, "Client Operation"), without any IO and without a timer.

It makes requests, and turns an answer into the ``NtpPacket`` that an answer in version 4 would have been, with its
timestamps in UTC; so pacing, tests and samples are those of ``timesync.ntp.client``. What version 4 cannot say stands
beside it in ``Answer5``. ``judge`` changes nothing: only ``accepted``, once all tests have been passed, does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from timesync.base.machine import Entropy
from timesync.base.measure import Leap, Stamp
from timesync.base.time import Duration, Instant, Utc
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.exchange import BUILD_DATE, DropReason, Timescales
from timesync.ntp.v5.bloom import BloomFilter, RemoteFilter, check_chunk
from timesync.wire.error import WireError
from timesync.wire.ntp import (
    HEADER_SIZE,
    Extension,
    Mac,
    Mode,
    NtpPacket,
    short_from_duration,
    timestamp_from_utc,
    timestamp_to_utc,
)
from timesync.wire.ntp5 import (
    NEVER,
    NO_FLAGS,
    UNKNOWN_TIME32,
    VERSION,
    Flag,
    Ntp5Packet,
    Timescale,
    decode,
    encode,
    fields_of,
    time32_to_duration,
    timestamp_to_units,
)
from timesync.wire.ntp5_ext import (
    Field,
    ReferenceIdsRequest,
    decode_mac,
    encode_draft,
    encode_mac,
)
from timesync.wire.ntp_ext import encode_field

MAX_SERVER_POLL: Final = 15
"""The longest interval that a server may ask for, log2 s: over nine hours; the draft's figure."""

MAX_SERVER_POLL_AUTHENTICATED: Final = 18
"""The same for one that has proved who it is."""

BEYOND: Final = 0xFFFF_FFFF
"""For a root delay or dispersion that a time32 cannot say: no test passes that."""

RATE: Final = b"RATE"
DENY: Final = b"DENY"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings5:
    """How to speak NTPv5 to one server. Raises ValueError when a value is out of its range.

    Attributes:
        timescale: UTC, TAI or SMEARED. TAI has no ambiguous second; an answer in UTC is taken as well, and the other
            way round.
        chunk: Octets of the server's reference ids to ask for each time; 0: none, for who serves nobody. With 128 the
            first burst of four brings them all.
        interleaved: Whether to ask for interleaved mode.
        key: For the MAC; None: no authentication.
    """

    timescale: Timescale = Timescale.UTC
    chunk: int = 0
    interleaved: bool = False
    key: SymmetricKey | None = None

    def __post_init__(self) -> None:
        if self.chunk:
            check_chunk(self.chunk)
        if self.timescale is Timescale.UT1:
            raise ValueError("UT1 cannot be followed: how far it is from UTC is not known here")


@dataclass(frozen=True, slots=True)
class Asked5:
    """A request on its way.

    Attributes:
        data: Its octets, without what NTS adds.
        cookie: The client cookie; for ``Exchange.transmit``.
        server_cookie: The answer that it asks the transmit timestamp of; 0 in basic mode; for ``Exchange.receive``.
        draft: The draft that it names.
        poll: Our interval, log2 s, which is not in the request: a server that wants a longer one refuses us.
        part: The piece of the server's reference ids that it asks for.
    """

    data: bytes
    cookie: int
    server_cookie: int
    draft: str
    poll: int
    part: ReferenceIdsRequest | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer5:
    """An answer to our request, of the right form.

    Attributes:
        packet: As in version 4: origin is the client cookie, or the server cookie of the request where the answer is
            interleaved; timestamps are UTC; a refusal has its kiss code; an unsynchronised server leap UNKNOWN.
        leap: The server's announcement; UNKNOWN from a synchronised server that knows nothing of leap seconds, which
            ``packet`` cannot say.
        root_delay: Finer than in ``packet``.
        root_dispersion: Likewise.
        least_poll: Shortest interval that the server allows, log2 s, limited to what may be obeyed.
        pivot: An instant near its timestamps, by the era it says, to settle that of a timestamp by; None when that is
            before this software was made: it has left the era at 0.
        smeared: The timestamps are smeared UTC.
        server_cookie: For the next request in interleaved mode.
        references: The piece of its reference ids that was asked for, if it is there.
    """

    packet: NtpPacket
    leap: Leap
    root_delay: Duration
    root_dispersion: Duration
    least_poll: int
    pivot: Instant[Utc] | None
    smeared: bool
    server_cookie: int
    references: bytes | None = None


class Session5:
    """What is kept of one server between its answers.

    Args:
        settings: How to speak.
    """

    def __init__(self, settings: Settings5) -> None:
        self._settings = settings
        self._filter = RemoteFilter(settings.chunk) if settings.chunk else None
        self._server_cookie = 0

    @property
    def references(self) -> BloomFilter | None:
        """The server's reference ids; None until all pieces have come, when none comes any more, if not asked for."""
        return None if self._filter is None else self._filter.whole

    def request(
        self, draft: str, poll: int, entropy: Entropy, *, keep: bool = True, interleaved: bool = True
    ) -> Asked5:
        """The next request.

        Args:
            draft: The draft to name (``Negotiation.draft``).
            poll: Our interval, log2 s.
            entropy: For the client cookie.
            keep: Whether interleaved mode is wanted now, where the settings allow it.
            interleaved: Whether the transmit timestamp of the last answer is still of use; when not, only that of this
                request's own answer is asked to be kept.
        """
        wanted = self._settings.interleaved and keep
        server_cookie = self._server_cookie if wanted and interleaved else 0
        cookie = 0
        while cookie in (0, server_cookie):
            cookie = int.from_bytes(entropy(8), "big")
        part = None if self._filter is None else self._filter.request()
        packet = Ntp5Packet(
            mode=Mode.CLIENT,
            timescale=self._settings.timescale,
            flags=Flag.INTERLEAVED if wanted else NO_FLAGS,
            server_cookie=server_cookie,
            client_cookie=cookie,
            extensions=(encode_draft(draft), *(() if part is None else (part.encode(),))),
        )
        return Asked5(self._signed(encode(packet)), cookie, server_cookie, draft, poll, part)

    def judge(
        self,
        data: bytes,
        asked: Asked5,
        t4: Stamp | None,
        scales: Timescales,
        trusted: tuple[Extension, ...] | None = None,
    ) -> Answer5 | DropReason:
        """The answer in ``data``, or why it is none.

        Args:
            data: The datagram.
            asked: Our request.
            t4: When it came, which settles the era of a server that does not say it; None when that is not known.
            scales: The leap table.
            trusted: Where NTS is used, the fields that it has authenticated (``NtsAnswer.fields``).
        """
        packet = _decode(data)
        if isinstance(packet, DropReason):
            return packet
        if packet.client_cookie != asked.cookie:
            return DropReason.ORIGIN
        fields = _fixed(packet.extensions)
        if packet.flags & Flag.AUTHENTICATION_NAK:
            return DropReason.CRYPTO_NAK
        if self._settings.key is not None:
            if not _signed_by(self._settings.key, data, fields):
                return DropReason.MAC
            fields = fields[:-1]
        fields = fields if trusted is None else trusted
        if _bodies(fields, Field.DRAFT_IDENTIFICATION) != [asked.draft.encode("ascii")]:
            return DropReason.DRAFT
        answer = self._answer(packet, asked, t4, scales)
        if isinstance(answer, DropReason):
            return answer
        proved = trusted is not None or self._settings.key is not None
        chunks = _bodies(fields, Field.REFERENCE_IDS_RESPONSE)
        return replace(
            answer,
            least_poll=min(answer.least_poll, MAX_SERVER_POLL_AUTHENTICATED if proved else MAX_SERVER_POLL),
            references=chunks[0] if len(chunks) == 1 else None,
        )

    def accepted(self, asked: Asked5, answer: Answer5) -> None:
        """The answer to ``asked`` has passed all tests."""
        self._server_cookie = answer.server_cookie
        if self._filter is None or asked.part is None:
            return
        if answer.references is None:
            self._filter.missed()
        else:
            self._filter.received(asked.part, answer.references)

    def lost(self) -> None:
        """A request stayed without an answer."""
        if self._filter is not None:
            self._filter.missed()

    def forget_references(self) -> None:
        """The server is asked in another version: what it said of itself will be old when it is asked in this again."""
        if self._filter is not None:
            self._filter.forget()

    def forget(self) -> None:
        """Our clock was stepped: the next request is in basic mode."""
        self._server_cookie = 0

    def _signed(self, data: bytes) -> bytes:
        key = self._settings.key
        return data if key is None else data + _encoded(encode_mac(Mac(key.id, key.digest(data))))

    def _answer(self, packet: Ntp5Packet, asked: Asked5, t4: Stamp | None, scales: Timescales) -> Answer5 | DropReason:
        """The header in the words of version 4."""
        interleaved = bool(packet.flags & Flag.INTERLEAVED)
        if interleaved and not asked.server_cookie:
            return DropReason.ORIGIN
        kiss = _kiss(packet, asked.poll)
        live = kiss is None and packet.stratum != 0 and bool(packet.flags & Flag.SYNCHRONIZED)
        if live and packet.timescale not in self._allowed():
            return DropReason.TIMESCALE
        pivot: Instant[Utc] | None = None
        receive, transmit = packet.receive, packet.transmit
        if receive and transmit and live:
            local = BUILD_DATE if t4 is None else scales.utc(t4.at)
            arrived, left, said = _expanded(packet, scales, local)
            receive, transmit = timestamp_from_utc(arrived), timestamp_from_utc(left)
            pivot = arrived if said else None
        leap = packet.leap if live else Leap.UNKNOWN
        return Answer5(
            packet=NtpPacket(
                version=VERSION,
                mode=Mode.SERVER,
                leap=Leap.NONE if live and leap is Leap.UNKNOWN else leap,
                stratum=0 if kiss is not None else packet.stratum,
                poll=packet.poll,
                precision=packet.precision,
                root_delay=_short(packet.root_delay),
                root_dispersion=_short(packet.root_dispersion),
                reference_id=kiss or bytes(4),
                origin=asked.server_cookie if interleaved else asked.cookie,
                receive=receive,
                transmit=transmit,
            ),
            leap=leap,
            root_delay=time32_to_duration(packet.root_delay),
            root_dispersion=time32_to_duration(packet.root_dispersion),
            least_poll=packet.poll,
            pivot=pivot,
            smeared=packet.timescale == Timescale.SMEARED,
            server_cookie=packet.server_cookie,
        )

    def _allowed(self) -> tuple[Timescale, ...]:
        """Timescales whose timestamps can be used: UTC and TAI are one by the leap table, smeared UTC is another."""
        if self._settings.timescale is Timescale.SMEARED:
            return (Timescale.SMEARED,)
        return (Timescale.UTC, Timescale.TAI)


def _decode(data: bytes) -> Ntp5Packet | DropReason:
    if len(data) < HEADER_SIZE:
        return DropReason.SHORT
    if data[0] >> 3 & 7 != VERSION:
        return DropReason.VERSION
    if data[0] & 7 != Mode.SERVER:
        return DropReason.MODE
    try:
        return decode(data)
    except WireError:
        return DropReason.FORMAT


def _fixed(fields: tuple[Extension, ...]) -> tuple[Extension, ...]:
    """The fields without a correction, which routers may change and which thus stands behind all that authenticates."""
    return fields[:-1] if fields and fields[-1].kind == Field.CORRECTION else fields


def _signed_by(key: SymmetricKey, data: bytes, fields: tuple[Extension, ...]) -> bool:
    """Whether the last of these fields is the right MAC of all before it."""
    if not fields or fields[-1].kind != Field.MAC:
        return False
    place = fields_of(data)[len(fields) - 1][0]
    try:
        mac = decode_mac(fields[-1].body)
    except WireError:
        return False
    return mac.key_id == key.id and key.verify(data[:place], mac.digest)


def _bodies(fields: tuple[Extension, ...], kind: Field) -> list[bytes]:
    return [one.body for one in fields if one.kind == kind]


def _encoded(field: Extension) -> bytes:
    return encode_field(field.kind, field.body, version=VERSION)


def _kiss(packet: Ntp5Packet, own_poll: int) -> bytes | None:
    """The kiss code of version 4 that says the same; ``Poll`` has taken their place.

    A server does not know our interval, so one that asks for a shorter one, and tells no time, asks for a longer one.
    """
    if packet.poll == NEVER:
        return DENY
    no_time = packet.receive == 0 and packet.transmit == 0
    return RATE if packet.stratum == 0 and (no_time or packet.poll > own_poll) else None


def _short(time32: int) -> int:
    """In the format of version 4, rounded up."""
    return BEYOND if time32 == UNKNOWN_TIME32 else short_from_duration(time32_to_duration(time32))


def _expanded(packet: Ntp5Packet, scales: Timescales, local: Instant[Utc]) -> tuple[Instant[Utc], Instant[Utc], bool]:
    """The timestamps of an answer as UTC, and whether it had said their era.

    A server that leaves the era at 0 in every one of them would from 2036 on be of before this software; then it is
    the era nearest to our clock, as in version 4.
    """
    tai = packet.timescale == Timescale.TAI
    receive: Instant[Utc] = Instant(timestamp_to_units(packet.receive, packet.era))
    said = receive >= BUILD_DATE
    if not said:
        near = max(local, BUILD_DATE)
        receive = timestamp_to_utc(packet.receive, Instant(scales.tai(near).scaled_ns) if tai else near)
    transmit = timestamp_to_utc(packet.transmit, receive)
    if not tai:
        return receive, transmit, said
    return scales.utc(Instant(receive.scaled_ns)), scales.utc(Instant(transmit.scaled_ns)), said
