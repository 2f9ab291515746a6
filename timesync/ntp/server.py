"""The NTP server (RFC 5905, 9.2 and 14; interleaved mode by RFC 9769), without any IO.

It keeps no state about a client but its token bucket and, for those that ask in interleaved mode, the
transmit timestamp of the last reply. It answers only what is surely a client's request, never with more
octets than were asked with, and never with an error to what it cannot read: so it cannot amplify, and two
servers cannot be made to talk to each other (CVE-2009-3563, CVE-2024-2169).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, fields
from enum import IntEnum
from ipaddress import ip_address
from typing import Final

from timesync.base.machine import Rng
from timesync.base.measure import Leap
from timesync.base.time import NS_PER_S
from timesync.ntp.access import AccessList, Network
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.interleave import RECEIVE_BIT, Pairs
from timesync.ntp.limit import Clients, LimitReply, RateLimit, Verdict
from timesync.ntp.serve_state import UNSYNCHRONIZED, Line, ServeState, Template, render
from timesync.wire.error import WireError
from timesync.wire.ntp import HEADER_SIZE, Mode, NtpPacket, decode

__all__ = [
    "UNSYNCHRONIZED",
    "LimitReply",
    "RateLimit",
    "Reply",
    "ServeState",
    "Server",
    "ServerCounters",
    "ServerSettings",
]

VERSIONS: Final = frozenset({1, 2, 3, 4})
NTP_PORT: Final = 123

OLDEST_NS: Final = 4 * NS_PER_S
"""A request that waited longer is not answered: clients refuse such replies anyway (chrony's test A)."""

REPLY = struct.Struct("!BBB21s8sQQ")
"""A reply: leap, version and mode; stratum; poll; the template's tail; origin; receive; transmit."""

_KISS_TAIL: Final = struct.Struct("!bII4sQ").pack(0, 0, 0, b"RATE", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """How to serve.

    Attributes:
        allow: Networks that may ask; nobody else may.
        deny: Exceptions; the longest matching network decides.
        rate_limit: How often one client may ask; None: as often as it likes.
        keys: Symmetric keys that requests may be authenticated with.
        versions: NTP versions that are answered, with the same version.
        interleaved: Whether the interleaved mode is offered (RFC 9769).
    """

    allow: tuple[Network, ...] = ()
    deny: tuple[Network, ...] = ()
    rate_limit: RateLimit | None = None
    keys: tuple[SymmetricKey, ...] = ()
    versions: frozenset[int] = VERSIONS
    interleaved: bool = True


class Count(IntEnum):
    """Places in the list of counters, in the order of ``ServerCounters``."""

    RECEIVED = 0
    ANSWERED = 1
    DENIED = 2
    LIMITED = 3
    KOD = 4
    BAD = 5
    LATE = 6
    INTERLEAVED = 7
    AUTHENTICATED = 8
    AUTH_FAILED = 9
    UNSENT = 10
    VERSION_1 = 11
    VERSION_2 = 12
    VERSION_3 = 13
    VERSION_4 = 14
    RESTARTS = 15
    HARDWARE = 16


@dataclass(frozen=True, slots=True)
class ServerCounters:
    """Sums since the start.

    Every datagram received is one of answered, denied, limited, bad, late and auth_failed.

    Attributes:
        received: Datagrams read.
        answered: Replies made, kisses left out.
        denied: Came from a network that may not ask.
        limited: Refused because the client asks too often; the kisses are among them.
        kod: Kiss-o'-death replies made.
        bad: Not a request that is answered: malformed, another mode or version, sent to a multicast address.
        late: Waited too long here, or the clock was set back meanwhile.
        interleaved: Replies in interleaved mode.
        authenticated: Replies with a MAC.
        auth_failed: Requests with a MAC that is wrong or of an unknown key.
        unsent: Replies that the kernel did not take.
        version_1: Replies of NTP version 1.
        version_2: Replies of NTP version 2.
        version_3: Replies of NTP version 3.
        version_4: Replies of NTP version 4.
        restarts: Workers that died and were started again.
        hardware: Replies whose receive timestamp is the network card's.
    """

    received: int = 0
    answered: int = 0
    denied: int = 0
    limited: int = 0
    kod: int = 0
    bad: int = 0
    late: int = 0
    interleaved: int = 0
    authenticated: int = 0
    auth_failed: int = 0
    unsent: int = 0
    version_1: int = 0
    version_2: int = 0
    version_3: int = 0
    version_4: int = 0
    restarts: int = 0
    hardware: int = 0

    def __add__(self, other: ServerCounters) -> ServerCounters:
        return ServerCounters(*(a + b for a, b in zip(self.values(), other.values(), strict=True)))

    def values(self) -> tuple[int, ...]:
        """The counters in the order of ``Count``."""
        return astuple(self)


assert [field.name.upper() for field in fields(ServerCounters)] == [count.name for count in Count]


@dataclass(frozen=True, slots=True)
class Reply:
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
        clients: Who may ask, and how often; the worker's loop reads it too.
        counts: Counters by ``Count``; the worker's loop adds to them too.
        heads: For each first octet of a request in mode 3 of a version that is served, version and mode of
            the reply; 0 for all others.
    """

    def __init__(self, settings: ServerSettings, rng: Rng) -> None:
        self.clients = Clients(AccessList(settings.allow, settings.deny), settings.rate_limit, rng)
        self.counts = [0] * len(Count)
        self.heads = [_head(first, settings.versions) for first in range(256)]
        self._settings = settings
        self._keys = {key.id: key for key in settings.keys}
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
        """
        counts = self.counts
        counts[Count.RECEIVED] += 1
        if len(request) < HEADER_SIZE or not self._is_request(request[0], port):
            counts[Count.BAD] += 1
            return None
        host = ip_address(source).packed if isinstance(source, str) else source
        buckets = self.clients.find(host)
        if buckets is None:
            counts[Count.DENIED] += 1
            return None
        verdict = self.clients.judge(buckets, receive_ns)
        if verdict is not Verdict.ANSWER:
            counts[Count.LIMITED] += 1
        if verdict is Verdict.DROP:
            return None
        refused = verdict is Verdict.KISS
        key: SymmetricKey | None = None
        try:
            packet = decode(request)
        except WireError:
            self._count_unless(refused, Count.BAD)
            return None
        if packet.mac is not None:
            key = self._keys.get(packet.mac.key_id)
            # A crypto-NAK is only ever an answer, and none is sent: it would vouch for nothing
            # (CVE-2015-1853).
            if key is None or not key.accepts(request, packet.mac):
                self._count_unless(refused, Count.AUTH_FAILED)
                return None
        template = self.template(receive_ns, mono_ns)
        sent_ns = transmit if isinstance(transmit, int) else transmit()
        if not 0 <= sent_ns - receive_ns <= OLDEST_NS:
            self._count_unless(refused, Count.LATE)
            return None
        if refused:
            return self._kiss(packet, key, template, receive_ns, sent_ns)
        return self._answer(packet, key, template, receive_ns, sent_ns)

    def lines(self, kernel_ns: int, mono_ns: int) -> Mapping[int, Line]:
        """From the stamps of network cards to kernel time, now, by interface."""
        return self.template(kernel_ns, mono_ns).lines

    def sent(self, stamp_as: int, kernel_ns: int) -> None:
        """A reply with ``stamp_as`` left at this kernel time."""
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

    def _answer(
        self, packet: NtpPacket, key: SymmetricKey | None, template: Template, receive_ns: int, sent_ns: int
    ) -> Reply:
        receive = template.timestamp(receive_ns) | RECEIVE_BIT
        transmit = template.timestamp(sent_ns) & ~RECEIVE_BIT
        origin = packet.transmit
        stamp_as: int | None = None
        if self._settings.interleaved and packet.origin & RECEIVE_BIT:
            # RFC 9769, 2: a request in interleaved mode names a receive timestamp of ours, and its own
            # receive and transmit timestamps differ.
            saved = self._pairs.take(packet.origin) if packet.receive != packet.transmit else None
            if saved is not None:
                origin, transmit = packet.receive, saved
                self.counts[Count.INTERLEAVED] += 1
            stamp_as = receive = self._pairs.reserve(receive)
        counts = self.counts
        counts[Count.ANSWERED] += 1
        counts[Count.VERSION_1 + packet.version - 1] += 1
        if key is not None:
            counts[Count.AUTHENTICATED] += 1
        head = template.lead | packet.version << 3 | Mode.SERVER
        data = REPLY.pack(
            head,
            template.stratum,
            packet.poll & 0xFF,
            template.tail,
            origin.to_bytes(8, "big"),
            receive,
            transmit,
        )
        return Reply(data if key is None else key.sign(data), stamp_as)

    def _kiss(
        self, packet: NtpPacket, key: SymmetricKey | None, template: Template, receive_ns: int, sent_ns: int
    ) -> Reply:
        """A kiss-o'-death RATE: leap 3, stratum 0, the code as reference id (RFC 5905, 7.4)."""
        self.counts[Count.KOD] += 1
        data = REPLY.pack(
            Leap.UNKNOWN.value << 6 | packet.version << 3 | Mode.SERVER,
            0,
            packet.poll & 0xFF,
            _KISS_TAIL,
            packet.transmit.to_bytes(8, "big"),
            template.timestamp(receive_ns) | RECEIVE_BIT,
            template.timestamp(sent_ns) & ~RECEIVE_BIT,
        )
        return Reply(data if key is None else key.sign(data))


def _head(first: int, versions: frozenset[int]) -> int:
    version, mode = first >> 3 & 7, first & 7
    return version << 3 | Mode.SERVER if mode == Mode.CLIENT and version in versions else 0
