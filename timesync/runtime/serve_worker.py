"""A server worker: a process of its own that does nothing but answer.

``python -m timesync.runtime.serve_worker CONTROL BLOCK PAGE SLOT PARENT SOCKET...`` with descriptors that were
inherited: a socket to the daemon (settings come over it, and its end is the worker's end), the shared block, the page
for its clients, the number of this worker's counters, the daemon's process id, and the bound sockets, those of NTP over
PTP with a ``p`` behind their numbers.

A plain request (48 octets, mode 3, not interleaved, from a client that is known and not over its limit) is
answered in ``Lane._answer_all``, from the same template, buckets and counters that
``timesync.ntp.server.Server`` uses; everything else goes to ``Server.respond``. A test sends the same
requests both ways and compares the octets.
"""

from __future__ import annotations

import gc
import json
import os
import random
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from time import CLOCK_REALTIME, clock_gettime_ns, monotonic_ns
from typing import Final

from timesync.base.time import Duration
from timesync.ntp.auth import SymmetricKey
from timesync.ntp.interleave import RECEIVE_BIT
from timesync.ntp.limit import LimitReply, RateLimit
from timesync.ntp.over_ptp import respond as respond_over_ptp
from timesync.ntp.serve_state import MASK64, Template
from timesync.ntp.server import OLDEST_NS, Count, Reply, Server, ServerSettings
from timesync.nts.aead import FAMILIES
from timesync.nts.master import MasterKeys
from timesync.runtime.client_page import ClientPage
from timesync.runtime.serve_aead import fastest_families
from timesync.runtime.serve_block import SharedBlock
from timesync.runtime.serve_socket import ServingSocket, departure_ns, is_unicast
from timesync.wire.ntp import HEADER_SIZE
from timesync_drivers.batch import Batch
from timesync_drivers.confine import (
    become_nobody,
    die_with_parent,
    drop_capabilities,
    forbid_children,
    forbid_files,
    forbid_inspection,
    forbid_new_code,
)

BATCH: Final = 32
TOGETHER: Final = 8
"""Replies sent by one system call: what that costs is shared, and the last one is not long behind its timestamp."""

ROUNDS: Final = 16
"""Batches taken from one socket before the others and the shared state are looked at."""

READY: Final = b"R"
UNCONFINED: Final = b"F"
"""This kernel cannot take files away from it."""
LISTED: Final = b"C"
"""The page tells of the clients as ``LIST`` wanted."""

LIST: Final = b"clients"
"""A line of the daemon: tell of the clients."""

OVER_PTP: Final = "p"
"""Behind the number of a socket that is asked by NTP over PTP."""

# First octet, poll, reference timestamp, last octet of the origin timestamp, transmit timestamp.
_REQUEST = "BxB13x8s7xB8x8s"
# As timesync.ntp.server.REPLY, with the origin as octets and the transmit timestamp left for Batch.stamp.
_REPLY = "BBB21s8sQ8x"
_KNOWN_LOCALS = 1024
_ORDER_SIZE: Final = 65536
_TRANSMIT_MASK = MASK64 ^ RECEIVE_BIT


class Lane:
    """One socket of a worker."""

    def __init__(self, serving: ServingSocket, server: Server, *, interleaved: bool) -> None:
        self._socket = serving
        self._descriptor = serving.socket.fileno()
        self._server = server
        self._batch = Batch(serving.socket.family, BATCH, _REQUEST, _REPLY)
        self._mark = RECEIVE_BIT if interleaved else 0
        self._known: dict[bytes, tuple[bytes, int]] = {}

    def drain(self) -> None:
        """Answer what is there, up to a bound."""
        for _ in range(ROUNDS):
            try:
                got = self._batch.receive(self._descriptor)
            except OSError:
                # An error that the network left on the socket; reading it has taken it away.
                return
            if got:
                self._answer_all(got)
            if got < BATCH:
                return

    def read_stamps(self) -> None:
        """Take the transmit stamps that have come."""
        lines = self._server.lines(clock_gettime_ns(CLOCK_REALTIME), monotonic_ns())
        for stamp_as, stamp_ns in self._socket.stamps(lines):
            self._server.sent(stamp_as, stamp_ns)

    def _answer_all(self, got: int) -> None:
        """The hot loop. Every name in it is local, because a local is the one that Python finds fastest."""
        server, batch = self._server, self._batch
        now, mono = clock_gettime_ns(CLOCK_REALTIME), monotonic_ns()
        template = server.template(now, mono)
        lead, stratum, tail = template.lead, template.stratum, template.tail
        base, base_ns, factor, lines = template.base, template.base_ns, template.factor, template.lines.get
        find, heads, known, mark_bit = server.clients.hosts.get, server.heads, self._known.get, self._mark
        upgrade, clients = server.upgrade, server.clients
        interval, tolerance = clients.interval_ns, clients.tolerance_ns
        network_interval, network_tolerance = clients.network_interval_ns, clients.network_tolerance_ns
        unpack, inbox, pack, outbox = batch.unpack, batch.inbox, batch.pack, batch.outbox
        lengths, controls = batch.sizes(got)
        expected, oldest = batch.control_size, now - OLDEST_NS
        heads_sent: list[int] = []
        note = heads_sent.append
        start = by_card = 0
        for index, offset, place, length, control in zip(
            range(got), batch.in_offsets, batch.out_offsets, lengths, controls, strict=False
        ):
            host, seconds, nanoseconds, card_s, card_ns, info, first, poll, reference, mark, cookie = unpack(
                inbox, offset
            )
            buckets = find(host)
            head = heads[first]
            plain = (
                head and length == HEADER_SIZE and control == expected and reference != upgrade and not mark & mark_bit
            )
            to = known(info)
            if plain and buckets and to:
                own, network, tally = buckets
                at = seconds * 1_000_000_000 + nanoseconds
                line = lines(to[1]) if card_s else None
                wire = line.received(at, card_s * 1_000_000_000 + card_ns) if line else None
                if wire is not None:
                    at = wire
                ready, network_ready = own[0], network[0]
                if oldest <= at <= now and ready - at <= tolerance and network_ready - at <= network_tolerance:
                    # Not max(), which is a call.
                    own[0] = (at if ready <= at else ready) + interval  # noqa: FURB136 - the reason above
                    network[0] = (at if network_ready <= at else network_ready) + network_interval  # noqa: FURB136
                    pack(
                        outbox,
                        place,
                        to[0],
                        lead | head,
                        stratum,
                        poll,
                        tail,
                        cookie,
                        (base + ((at - base_ns) * factor >> 32)) & MASK64 | 1,
                    )
                    note(head)
                    # As Tally.note, for a client that has asked before.
                    tally.requests += 1
                    tally.interval_ns += (mono - tally.last_ns - tally.interval_ns) >> 3
                    tally.last_ns, tally.kind = mono, first
                    if wire is not None:
                        by_card += 1
                    continue
            if start < index:
                self._send(template, start, index)
            start = index + 1
            # Without the control data as expected ``info`` is what an earlier datagram left there.
            self._answer_one(index, to if control == expected else None)
            # The next request came no earlier, whoever sent it.
            mono = monotonic_ns()
        if start < got:
            self._send(template, start, got)
        server.counts[Count.HARDWARE] += by_card
        self._count(heads_sent)

    def _send(self, template: Template, start: int, stop: int) -> None:
        """Send the replies of these slots; one that the kernel refuses is lost.

        Replies that are sent together all say that they leave when the sending begins. That is too early for the
        last of them, but a forecast would at times be too late, and a round trip would then come out negative.
        """
        batch = self._batch
        stamp, outbox = batch.stamp, batch.outbox
        base, base_ns, factor = template.base, template.base_ns, template.factor
        while start < stop:
            end = min(start + TOGETHER, stop)
            left = clock_gettime_ns(CLOCK_REALTIME) - base_ns
            transmit = (base + (left * factor >> 32)) & _TRANSMIT_MASK
            for place in batch.stamp_offsets[start:end]:
                stamp(outbox, place, transmit)
            start += batch.send(self._descriptor, start, end - start)
            if start < end:
                self._server.counts[Count.UNSENT] += 1
                start += 1

    def _count(self, heads: list[int]) -> None:
        counts = self._server.counts
        counts[Count.RECEIVED] += len(heads)
        counts[Count.ANSWERED] += len(heads)
        for head in set(heads):
            counts[Count.VERSION_1 + (head >> 3) - 1] += heads.count(head)

    def _answer_one(self, slot: int, to: tuple[bytes, int] | None = None) -> None:
        """The slow path, which decides everything anew but ``to``, where it was sent, when that is known."""
        batch, server = self._batch, self._server
        arrival = batch.arrival(slot)
        local, interface = to or ((None, 0) if arrival.info is None else self._place(arrival.info))
        if to is None and local is not None and not is_unicast(local):
            server.counts[Count.RECEIVED] += 1
            server.counts[Count.BAD] += 1
            return
        now_ns, mono_ns = clock_gettime_ns(CLOCK_REALTIME), monotonic_ns()
        stamp_ns = now_ns if arrival.stamp_ns is None else arrival.stamp_ns
        line = server.lines(now_ns, mono_ns).get(interface) if arrival.card_ns else None
        wire = None if line is None else line.received(stamp_ns, arrival.card_ns)
        received_ns = stamp_ns if wire is None else wire
        reply = self._respond(arrival.data, arrival.host, arrival.port, received_ns, departure_ns, mono_ns)
        if reply is None:
            return
        if wire is not None:
            server.counts[Count.HARDWARE] += 1
        data, stamp_as = reply
        if local is None or stamp_as is not None:
            # A transmit stamp of the card beside a receive stamp of the kernel would add what lies between to the
            # delay.
            by = 0 if wire is None else interface
            sent = self._socket.reply(data, batch.address(slot), local, stamp_as, by)
        else:
            sent = batch.send_one(self._descriptor, slot, local, data)
        if not sent:
            server.counts[Count.UNSENT] += 1

    def _respond(
        self, request: bytes, source: bytes, port: int, receive_ns: int, transmit: Callable[[], int], mono_ns: int
    ) -> Reply | None:
        """``Server.respond``."""
        return self._server.respond(request, source, port, receive_ns, transmit, mono_ns)

    def _place(self, info: bytes) -> tuple[bytes, int]:
        """The local address and the interface of a packet info; of one machine's they are kept for the hot loop."""
        found = self._known.get(info)
        if found is None:
            found = self._batch.split(info)
            if is_unicast(found[0]):
                if len(self._known) >= _KNOWN_LOCALS:
                    self._known.clear()
                self._known[info] = found
        return found


class PtpLane(Lane):
    """One socket of a worker that is asked by NTP over PTP; a plain request there is none."""

    def _answer_all(self, got: int) -> None:
        for slot in range(got):
            self._answer_one(slot)

    def _respond(
        self, request: bytes, source: bytes, port: int, receive_ns: int, transmit: Callable[[], int], mono_ns: int
    ) -> Reply | None:
        return respond_over_ptp(self._server, request, source, port, receive_ns, transmit, mono_ns)


class Worker:
    """The loop of a worker process."""

    def __init__(
        self,
        lanes: dict[int, Lane],
        server: Server,
        control: socket.socket,
        orders: Orders,
        block: SharedBlock,
        slot: int,
        page: ClientPage,
    ) -> None:
        self._lanes = lanes
        self._server = server
        self._control = control
        self._orders = orders
        self._block = block
        self._slot = slot
        self._page = page

    def run(self) -> None:
        """Serve until the daemon closes its end, and leave behind who has asked."""
        known = 0
        poller = select.epoll()
        poller.register(self._control.fileno(), select.EPOLLIN)
        for descriptor in self._lanes:
            poller.register(descriptor, select.EPOLLIN)
        self._control.send(READY)
        self._obey(self._orders.waiting())
        while True:
            events = poller.poll()
            fresh = self._block.read_state(known)
            if fresh is not None:
                known, state = fresh
                self._server.publish(state)
            for descriptor, event in events:
                lane = self._lanes.get(descriptor)
                if lane is None:
                    lines = self._orders.read()
                    if lines is None:
                        self._page.write(self._server.clients.log.clients())
                        return
                    self._obey(lines)
                    continue
                if event & select.EPOLLERR:
                    lane.read_stamps()
                lane.drain()
            self._block.write_counters(self._slot, self._server.counts)

    def _obey(self, lines: list[bytes]) -> None:
        """Tell of the clients; or other master keys."""
        for line in lines:
            if line == LIST:
                self._page.write(self._server.clients.log.leading())
                self._control.send(LISTED)
                continue
            self._server.rekey(MasterKeys.decode(bytes.fromhex(line.decode())))


def encode_settings(settings: ServerSettings) -> bytes:
    """Settings as one line, for the socket to a worker."""
    limit = settings.rate_limit
    return (
        json.dumps(
            {
                "allow": [str(network) for network in settings.allow],
                "deny": [str(network) for network in settings.deny],
                "rate_limit": limit
                and [limit.interval.scaled_ns, limit.burst, limit.reply.value, limit.leak, limit.kiss],
                "keys": [[key.id, key.algorithm, key.secret.hex()] for key in settings.keys],
                "versions": sorted(settings.versions),
                "drafts": settings.drafts,
                "interleaved": settings.interleaved,
                "ptp_domain": settings.ptp_domain,
                "nts": settings.nts and settings.nts.encode().hex(),
                "clients": settings.clients,
            }
        ).encode()
        + b"\n"
    )


def decode_settings(line: bytes) -> ServerSettings:
    """Settings from the daemon's line."""
    raw = json.loads(line)
    limit: RateLimit | None = None
    if raw["rate_limit"] is not None:
        interval, burst, reply, leak, kiss = raw["rate_limit"]
        limit = RateLimit(interval=Duration(interval), burst=burst, reply=LimitReply(reply), leak=leak, kiss=kiss)
    return ServerSettings(
        allow=tuple(ip_network(text) for text in raw["allow"]),
        deny=tuple(ip_network(text) for text in raw["deny"]),
        rate_limit=limit,
        keys=tuple(SymmetricKey(number, name, bytes.fromhex(secret)) for number, name, secret in raw["keys"]),
        versions=frozenset(raw["versions"]),
        drafts=tuple(raw["drafts"]),
        interleaved=raw["interleaved"],
        ptp_domain=raw["ptp_domain"],
        nts=raw["nts"] and MasterKeys.decode(bytes.fromhex(raw["nts"])),
        clients=raw["clients"],
    )


def encode_keys(keys: MasterKeys) -> bytes:
    """Other master keys of NTS as one line, for the socket to a worker."""
    return keys.encode().hex().encode() + b"\n"


class Orders:
    """The lines that the daemon sends to a worker."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._rest = b""

    def first(self) -> bytes:
        """The settings, which come first; waits for them. Raises SystemExit when the daemon is gone."""
        while b"\n" not in self._rest:
            self._rest += self._more()
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def waiting(self) -> list[bytes]:
        """What came together with the settings: nobody will say that there is something to read."""
        *lines, self._rest = self._rest.split(b"\n")
        return lines

    def read(self) -> list[bytes] | None:
        """What has come; None when the daemon is gone."""
        more = self._control.recv(_ORDER_SIZE)
        if not more:
            return None
        *lines, self._rest = (self._rest + more).split(b"\n")
        return lines

    def _more(self) -> bytes:
        more = self._control.recv(_ORDER_SIZE)
        if not more:
            raise SystemExit(0)
        return more


def main(arguments: Sequence[str]) -> None:
    """Run a worker on inherited descriptors until the daemon goes away."""
    control_number, block_number, page_number, slot, parent = map(int, arguments[:5])
    # A terminal and a service manager signal the whole group; the daemon says when to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=control_number)
    orders = Orders(control)
    settings = decode_settings(orders.first())
    block = SharedBlock(block_number, slot + 1)
    families = FAMILIES if settings.nts is None else fastest_families()
    server = Server(settings, random.SystemRandom(), os.urandom, families)
    # A worker that takes the place of a dead one goes on counting where that stopped.
    server.counts[:] = block.read_counters(slot).values()
    page = ClientPage(page_number)
    server.clients.log.restore(page.read().records)
    lanes: dict[int, Lane] = {}
    for argument in arguments[5:]:
        kind = PtpLane if argument.endswith(OVER_PTP) else Lane
        descriptor = int(argument.removesuffix(OVER_PTP))
        serving = ServingSocket(socket.socket(fileno=descriptor))
        lanes[descriptor] = kind(serving, server, interleaved=settings.interleaved)
    become_nobody()
    drop_capabilities()
    forbid_children()
    # Nothing but the code of this program: the key of NTS-KE may belong to the user that we are.
    if not forbid_files(sys.path):
        control.send(UNCONFINED)
    forbid_inspection()
    forbid_new_code()
    die_with_parent(parent)
    gc.freeze()
    gc.disable()
    Worker(lanes, server, control, orders, block, slot, page).run()


if __name__ == "__main__":
    main(sys.argv[1:])
