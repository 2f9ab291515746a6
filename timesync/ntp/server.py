"""The NTP server (RFC 5905, 9.2 and 14; interleaved mode by RFC 9769; NTPv5 by ``v5.desk``), without any IO.

Of a client it keeps its token bucket, if it asks in interleaved mode the transmit timestamp of the last reply, and
where that is wanted a record for the operator. It answers only what is surely a client's request, never with more
octets than were asked with, and never with an error to what it cannot read: so it cannot amplify, and two servers
cannot be made to talk to each other (CVE-2009-3563, CVE-2024-2169).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from enum import Enum
from ipaddress import ip_address
from typing import Final, NamedTuple

from timesync.base.machine import Entropy, Rng
from timesync.base.measure import Leap
from timesync.base.time import NS_PER_S
from timesync.ntp.access import AccessList
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.client_log import INTERLEAVED, NTS
from timesync.ntp.counters import Count, ServerCounters
from timesync.ntp.interleave import RECEIVE_BIT, Pairs
from timesync.ntp.limit import Clients, LimitReply, RateLimit, Verdict
from timesync.ntp.sealing import SealingTimes
from timesync.ntp.serve_state import UNSYNCHRONIZED, Line, ServeState, Template, render
from timesync.ntp.server_settings import ServerSettings
from timesync.ntp.v5.desk import Desk
from timesync.ntp.v5.server import Refusal
from timesync.nts.aead import FAMILIES, AeadId, Family
from timesync.nts.cookies import CookieJar
from timesync.nts.master import MasterKeys
from timesync.nts.serve import NTSN, Authentic, NtsFault, NtsGate, Refused
from timesync.wire.error import WireError
from timesync.wire.ntp import HEADER_SIZE, Mode, decode
from timesync.wire.ntp5 import UPGRADE_DRAFT
from timesync.wire.ntp5 import VERSION as NTPV5

__all__ = [
    "UNSYNCHRONIZED",
    "Count",
    "LimitReply",
    "RateLimit",
    "Reply",
    "ServeState",
    "Server",
    "ServerCounters",
    "ServerSettings",
]

NTP_PORT: Final = 123

OLDEST_NS: Final = 4 * NS_PER_S
"""A request that waited longer is not answered: clients refuse such replies anyway (chrony's test A)."""

REPLY = struct.Struct("!BBB21s8sQQ")
"""A reply: leap, version and mode; stratum; poll; the template's tail; origin; receive; transmit."""

_TAIL: Final = struct.Struct("!bII4sQ")
_KISS_TAIL: Final = _TAIL.pack(0, 0, 0, b"RATE", 0)
_NAK_TAIL: Final = _TAIL.pack(0, 0, 0, NTSN, 0)

_ASKED: Final = struct.Struct("!B x B x 4x 4x 4x 8s 8s 8s 8s")
"""Of a request: leap, version and mode; poll; reference, origin, receive and transmit timestamps."""

# What each request needs of enumerations: it takes time to look a member up.
_RECEIVED: Final = int(Count.RECEIVED)
_ANSWERED: Final = int(Count.ANSWERED)
_AUTHENTICATED: Final = int(Count.AUTHENTICATED)
_NTS: Final = int(Count.NTS)
_INTERLEAVED: Final = int(Count.INTERLEAVED)
_VERSION_0: Final = Count.VERSION_1 - 1
_SERVER: Final = int(Mode.SERVER)
_ANSWER: Final = Verdict.ANSWER
_DROP: Final = Verdict.DROP

_UPGRADE: Final = UPGRADE_DRAFT.to_bytes(8, "big")


class _Asked(NamedTuple):
    """What of a request a reply repeats, or depends on.

    Attributes:
        first: Leap, version and mode.
        poll: As one octet.
        reference: Raw timestamp, as the others: as on the wire, since it is mostly only repeated. By it a client may
            ask for NTPv5.
        origin: In interleaved mode, a receive timestamp of ours.
        receive: In interleaved mode another than ``transmit``.
        transmit: The reply's origin.
    """

    first: int
    poll: int
    reference: bytes
    origin: bytes
    receive: bytes
    transmit: bytes

    @property
    def version(self) -> int:
        """NTP version."""
        return self.first >> 3 & 7


class _Unanswered(Enum):
    """A request that gets no reply."""

    YES = "yes"


_UNANSWERED: Final = _Unanswered.YES
_Signature = SymmetricKey | Authentic | Refused | _Unanswered | None
"""With what a request is authenticated; None: with nothing."""


class Reply(NamedTuple):
    """A datagram to send back, from the address that the request was sent to.

    Attributes:
        data: Its octets.
        stamp_as: When not None, the client is in interleaved mode: report the transmit timestamp with
            ``Server.sent(stamp_as, kernel_ns)``, from the kernel if it gives one.
    """

    data: bytes
    stamp_as: int | None = None


class Server:
    """Requests in, replies out.

    Attributes:
        clients: Who may ask, how often, and who did; the worker's loop reads it and notes, too.
        counts: Counters by ``Count``; the worker's loop adds to them too.
        heads: For each first octet of a request in mode 3 of a version up to 4 that is served, version and mode
            of the reply; 0 for all others.
        upgrade: Reference timestamp of a request in version 4 that asks for NTPv5, as octets, where that is served.
    """

    def __init__(
        self,
        settings: ServerSettings,
        rng: Rng,
        entropy: Entropy | None = None,
        families: Mapping[AeadId, Family] = FAMILIES,
    ) -> None:
        """``rng`` thins out kisses; ``entropy`` makes the nonces of NTS, and without it NTS is not offered.

        ``families`` are how its AEADs are used.
        """
        access = AccessList(settings.allow, settings.deny)
        self.clients = Clients(access, settings.rate_limit, rng, records=settings.clients)
        self.counts = [0] * len(Count)
        self.heads = [_head(first, settings.versions) for first in range(256)]
        self._settings = settings
        self._keys = {key.id: key for key in settings.keys}
        self._gate: NtsGate | None = None
        if settings.nts is not None and entropy is not None:
            self._gate = NtsGate(CookieJar(settings.nts, entropy), entropy, families)
        self._sealing = SealingTimes()
        self._desk: Desk | None = None
        self.upgrade: bytes | None = None
        if NTPV5 in settings.versions:
            self._desk = Desk(settings.desk(), self.counts)
            self.upgrade = _UPGRADE
        self._pairs = Pairs()
        self._state = UNSYNCHRONIZED
        self._template: Template | None = None
        self._last: Template | None = None

    def publish(self, state: ServeState) -> None:
        """Answer from this state from now on."""
        if state.epoch != self._state.epoch:
            self._pairs.clear()
        self._state = state
        self._template = None
        if self._desk is not None:
            self._desk.publish(state)

    def rekey(self, keys: MasterKeys) -> None:
        """Open and make cookies with these master keys from now on, where NTS is offered."""
        if self._gate is not None:
            self._gate.jar.replace(keys)

    @property
    def ptp_domain(self) -> int:
        """``domainNumber`` of NTP over PTP."""
        return self._settings.ptp_domain

    def counters(self) -> ServerCounters:
        """Sums since the start."""
        return ServerCounters(*self.counts)

    def template(self, kernel_ns: int, mono_ns: int) -> Template:
        """The template for now; the kernel time may be that of a request's arrival, a little earlier."""
        template = self._template
        if template is None or not template.fits(kernel_ns):
            template = self._template = self._last = render(self._state, kernel_ns, mono_ns)
        return template

    def respond(
        self,
        request: bytes,
        source: bytes | str,
        port: int,
        receive_ns: int,
        transmit: Callable[[], int] | int,
        mono_ns: int,
        fields: bytes = b"",
    ) -> Reply | None:
        """The reply to a datagram, or None.

        Args:
            request: The datagram.
            source: The address it came from, packed (4 or 16 octets) or as text.
            port: The port it came from.
            receive_ns: Kernel time (CLOCK_REALTIME, ns) of its arrival.
            transmit: Kernel time of the reply's departure: now, or a function that is called as late as
                possible.
            mono_ns: Monotonic time, on the scale of ``ServeState.at``.
            fields: Extension fields for the answer, unless it is a kiss, of NTS, or of version 5; the request has
                such of that length.
        """
        counts = self.counts
        counts[_RECEIVED] += 1
        if len(request) < HEADER_SIZE or not (self.heads[request[0]] or self._is_request(request[0], port)):
            counts[Count.BAD] += 1
            return None
        host = ip_address(source).packed if isinstance(source, str) else source
        buckets = self.clients.find(host)
        if buckets is None:
            counts[Count.DENIED] += 1
            tally = self.clients.log.of(host)
            tally.note(request[0], mono_ns)
            tally.dropped += 1
            return None
        before = counts[_ANSWERED], counts[_NTS], counts[_INTERLEAVED]
        verdict = self.clients.judge(buckets, receive_ns)
        refused = verdict is not _ANSWER
        reply: Reply | None = None
        if verdict is not _DROP:
            reply = self._reply(request, receive_ns, transmit, mono_ns, fields, refused=refused)
        answered, nts, interleaved = before
        tally, kind = buckets[2], request[0]
        if counts[_NTS] != nts:
            kind |= NTS
        if counts[_INTERLEAVED] != interleaved:
            kind |= INTERLEAVED
        tally.note(kind, mono_ns)
        if refused:
            counts[Count.LIMITED] += 1
            tally.dropped += 1
        elif counts[_ANSWERED] == answered:
            tally.failed += 1
        return reply

    def _reply(
        self,
        request: bytes,
        receive_ns: int,
        transmit: Callable[[], int] | int,
        mono_ns: int,
        fields: bytes,
        *,
        refused: bool,
    ) -> Reply | None:
        """The reply to a client, which a refused one is told with a kiss."""
        if self._desk is not None and request[0] >> 3 & 7 == NTPV5:
            answer = self._desk.respond(request, receive_ns, transmit, mono_ns, self._gate, refused=refused)
            return None if answer is None else Reply(answer.data, answer.stamp_as)
        signature = self._authenticate(request, refused=refused)
        if signature is _UNANSWERED:
            return None
        template = self.template(receive_ns, mono_ns)
        sent_ns = transmit if isinstance(transmit, int) else transmit()
        if not 0 <= sent_ns - receive_ns <= OLDEST_NS:
            self._count_unless(refused, Count.LATE)
            return None
        asked = _Asked._make(_ASKED.unpack_from(request))
        if isinstance(signature, Authentic):
            return self._protected(asked, signature, template, receive_ns, sent_ns, transmit, refused=refused)
        if isinstance(signature, Refused):
            return self._nak(asked, signature, template, receive_ns, sent_ns)
        make = self._kiss if refused else self._answer
        plain = make(asked, template, receive_ns, sent_ns)
        if fields and not refused:
            plain = plain._replace(data=plain.data + fields)
        if signature is None:
            return plain
        if not refused:
            self.counts[Count.AUTHENTICATED] += 1
        return Reply(signature.sign(plain.data), plain.stamp_as)

    def _authenticate(self, request: bytes, *, refused: bool) -> _Signature:
        """With what a request is authenticated: a key, NTS, nothing; what is not answered is counted here."""
        if self._gate is not None and len(request) > HEADER_SIZE and request[0] >> 3 & 7 == 4:
            found = self._gate.examine(request)
            if isinstance(found, Refused):
                bad = found.fault in (NtsFault.FORMAT, NtsFault.PADDING)
                self._count_unless(refused, Count.BAD if bad else Count.AUTH_FAILED)
                # Nothing proves who it is: a NAK to him who is told to ask less would be a kiss that costs more.
                return _UNANSWERED if refused or found.unique_id is None else found
            if found is not None:
                return found
        try:
            packet = decode(request)
        except WireError:
            self._count_unless(refused, Count.BAD)
            return _UNANSWERED
        if packet.mac is None:
            return None
        key = self._keys.get(packet.mac.key_id)
        # A crypto-NAK is only ever an answer, and none is sent: it would vouch for nothing (CVE-2015-1853).
        if key is None or not key.accepts(request, packet.mac):
            self._count_unless(refused, Count.AUTH_FAILED)
            return _UNANSWERED
        return key

    def refuse5(self, request: bytes, refusal: Refusal) -> Reply | None:
        """A refusal of a request in version 5, for servers that refuse everybody; None where none is due."""
        answer = None if self._desk is None else self._desk.refuse(request, refusal)
        return None if answer is None else Reply(answer.data)

    def lines(self, kernel_ns: int, mono_ns: int) -> Mapping[int, Line]:
        """From the stamps of network cards to kernel time, now, by interface."""
        return self.template(kernel_ns, mono_ns).lines

    def sent(self, stamp_as: int, kernel_ns: int) -> None:
        """A reply with ``stamp_as`` left at this kernel time."""
        if self._desk is not None and self._desk.sent(stamp_as, kernel_ns):
            return
        if self._last is not None:
            self._pairs.complete(stamp_as, self._last.timestamp(kernel_ns) & ~RECEIVE_BIT)

    def _is_request(self, first: int, port: int) -> bool:
        """Mode 3; or version 1 with mode 0, where a client is who does not send from port 123 (RFC 1059)."""
        version, mode = first >> 3 & 7, first & 7
        if version not in self._settings.versions:
            return False
        return mode == Mode.CLIENT or (version == 1 and mode == Mode.RESERVED and port != NTP_PORT)

    def _count_unless(self, refused: bool, count: Count) -> None:
        """Count a datagram that gets no reply, once: a refused one is in ``limited`` already."""
        if not refused:
            self.counts[count] += 1

    def _protected(
        self,
        asked: _Asked,
        signature: Authentic,
        template: Template,
        receive_ns: int,
        begun_ns: int,
        transmit: Callable[[], int] | int,
        *,
        refused: bool,
    ) -> Reply | None:
        """A reply to a client of NTS, whose making begins at ``begun_ns``.

        What the sealing takes is known from the replies of its kind before, and is in the transmit timestamp.
        """
        assert self._gate is not None
        kind = signature.aead, signature.cookies
        make = self._kiss if refused else self._answer
        plain = make(asked, template, receive_ns, begun_ns + self._sealing.foretold_ns(kind))
        data = self._gate.seal(signature, plain.data)
        if data is None:
            # A unique identifier that leaves no room for an authenticator cannot be answered at all.
            return None
        if not isinstance(transmit, int):
            self._sealing.took(kind, transmit() - begun_ns)
        counts = self.counts
        counts[_NTS] += 1
        counts[_AUTHENTICATED] += 1
        return Reply(data, plain.stamp_as)

    def _nak(self, asked: _Asked, refused: Refused, template: Template, receive_ns: int, sent_ns: int) -> Reply:
        """An NTS NAK (RFC 8915, 5.7): it vouches for nothing, and the client believes it only for want of an answer."""
        assert refused.unique_id is not None
        self.counts[Count.NTS_NAK] += 1
        packet = self._stratum_0(asked, _NAK_TAIL, template, receive_ns, sent_ns)
        return Reply(NtsGate.nak(refused.unique_id, packet))

    def _answer(self, asked: _Asked, template: Template, receive_ns: int, sent_ns: int) -> Reply:
        """The time, with no authentication yet."""
        receive = template.timestamp(receive_ns) | RECEIVE_BIT
        transmit = template.timestamp(sent_ns) & ~RECEIVE_BIT
        first, poll, reference, named, theirs, origin = asked
        stamp_as: int | None = None
        counts = self.counts
        if named[7] & RECEIVE_BIT and self._settings.interleaved:
            # RFC 9769, 2: a request in interleaved mode names a receive timestamp of ours, and its own
            # receive and transmit timestamps differ.
            saved = self._pairs.take(int.from_bytes(named, "big")) if theirs != origin else None
            if saved is not None:
                origin, transmit = theirs, saved
                counts[_INTERLEAVED] += 1
            stamp_as = receive = self._pairs.reserve(receive)
        version = first >> 3 & 7
        counts[_ANSWERED] += 1
        counts[_VERSION_0 + version] += 1
        head = template.lead | version << 3 | _SERVER
        tail = template.tail
        if reference == self.upgrade and version == 4:
            # The client asks whether we speak NTPv5, and this is how to say yes.
            tail = tail[: -len(reference)] + reference
        data = REPLY.pack(head, template.stratum, poll, tail, origin, receive, transmit)
        return Reply(data, stamp_as)

    def _kiss(self, asked: _Asked, template: Template, receive_ns: int, sent_ns: int) -> Reply:
        """A kiss-o'-death RATE."""
        self.counts[Count.KOD] += 1
        return Reply(self._stratum_0(asked, _KISS_TAIL, template, receive_ns, sent_ns))

    @staticmethod
    def _stratum_0(packet: _Asked, tail: bytes, template: Template, receive_ns: int, sent_ns: int) -> bytes:
        """A kiss-o'-death: leap 3, stratum 0, the code as reference id (RFC 5905, 7.4)."""
        return REPLY.pack(
            Leap.UNKNOWN.value << 6 | packet.version << 3 | Mode.SERVER,
            0,
            packet.poll,
            tail,
            packet.transmit,
            template.timestamp(receive_ns) | RECEIVE_BIT,
            template.timestamp(sent_ns) & ~RECEIVE_BIT,
        )


def _head(first: int, versions: frozenset[int]) -> int:
    version, mode = first >> 3 & 7, first & 7
    plain = mode == Mode.CLIENT and version != NTPV5 and version in versions
    return version << 3 | Mode.SERVER if plain else 0
