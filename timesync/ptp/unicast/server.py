"""Grants unicast Announce and Sync to those that ask, and sends them (IEEE 1588-2019, 16.1).

Requests are not authenticated, and one that comes from a forged address makes us send to somebody who never asked.
What can be had so is bounded: by the clients that are accepted, their number, the fastest intervals, the rate of all
grants together and their duration.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from timesync.base.ids import PortIdentity
from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.context import Context, Headers, PortCounters
from timesync.ptp.datasets import announced
from timesync.ptp.effect import PtpEffect, SendEvent, SendGeneral
from timesync.ptp.leader import one_step
from timesync.ptp.settings import DelayMechanism, PortSettings
from timesync.ptp.timers import interval
from timesync.ptp.unicast.signaler import Signaler, is_for
from timesync.wire import ptp, ptp_tlv_read
from timesync.wire.error import WireError
from timesync.wire.ptp_message import Flags, FollowUp, Header, MessageType, Signaling, Sync, Tlv
from timesync.wire.ptp_tlv import UnicastCancel, UnicastGrant, UnicastRequest

_SENT = {MessageType.ANNOUNCE: 1, MessageType.SYNC: 2, MessageType.DELAY_RESP: 1, MessageType.PDELAY_RESP: 2}
"""What can be granted, and how many messages go out each time: a Sync has its Follow_Up."""

_TWO_STEP = Flags.UNICAST | Flags.TWO_STEP

_ANSWERED = 16
"""TLVs of one message that are looked at: there are four kinds of grant, each to be asked for and to be given back."""

_AT_ONE_ADDRESS = 4
"""Clients with one address: behind it there may be some ports, but a forged one must not get all that can be had."""

_TIMED = (MessageType.ANNOUNCE, MessageType.SYNC)
"""What is sent by our own clock; the others answer somebody."""

_SLOWEST = 10
_RATE_UNIT = 10
"""Rates are counted in messages in 2^10 s, whole numbers for all intervals down to the slowest."""

_SLACK = 64
"""Entries of the queue beyond twice those that can be valid."""

_WAITING = 4096
"""Sync messages whose transmit stamps are not there yet."""

Client = tuple[str, PortIdentity]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnicastServerSettings:
    """What is granted.

    Attributes:
        clients: So many at most.
        fastest_announce: Log2 of the shortest interval in seconds.
        fastest_sync: The same.
        fastest_delay: The same, for answers to delay requests.
        duration_s: Longer ones are granted for this long only.
        rate: Messages in a second, of all grants together.
    """

    clients: int = 512
    fastest_announce: int = -3
    fastest_sync: int = -7
    fastest_delay: int = -7
    duration_s: int = 1000
    rate: int = 12_000


@dataclass(slots=True)
class _Contract:
    log_interval: int
    until: Instant[Mono]
    serial: int
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class ClientView:
    """A client at one moment: where it is, who it is, and the log2 intervals in seconds of what it is granted."""

    address: str
    identity: PortIdentity
    granted: dict[MessageType, int]


def accept_all(address: str) -> bool:
    """Everybody may ask."""
    del address
    return True


class UnicastServer:
    """The server of one port."""

    def __init__(
        self,
        settings: UnicastServerSettings,
        port: PortSettings,
        context: Context,
        headers: Headers,
        counters: PortCounters,
        accept: Callable[[str], bool] = accept_all,
    ) -> None:
        """Ask ``accept`` which addresses are served; the others are not answered at all."""
        self._settings = settings
        self._port = port
        self._context = context
        self._headers = headers
        self._counters = counters
        self._accept = accept
        self._signaler = Signaler(port.number, headers, counters)
        self._clients: dict[Client, dict[MessageType, _Contract]] = {}
        self._queue: list[tuple[int, int, Client, MessageType]] = []
        self._serials = itertools.count()
        self._waiting: dict[int, tuple[int, str]] = {}
        self._rate = 0

    # -- what others see

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        while self._queue and self._contract(self._queue[0]) is None:
            heapq.heappop(self._queue)
        return Instant(self._queue[0][0]) if self._queue else None

    def clients(self) -> tuple[ClientView, ...]:
        """For status."""
        return tuple(
            ClientView(address, identity, {kind: one.log_interval for kind, one in contracts.items()})
            for (address, identity), contracts in self._clients.items()
        )

    def grants(self, kind: MessageType, address: str, identity: PortIdentity, now: Instant[Mono]) -> bool:
        """Whether a client has a grant for this type now, such as for the answer to its Delay_Req."""
        one = self._clients.get((address, identity), {}).get(kind)
        return one is not None and one.until > now

    # -- negotiation

    def on_signaling(self, message: Signaling, address: str, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Requests and cancellations; all answers go into one message.

        With grants goes the rate of the interface, where it is known and wanted (ITU-T G.8275.2, annex D).
        """
        source, own = message.header.source, self._signaler.identity
        if source.clock == own.clock or not is_for(message.target, own):
            return
        answers: list[Tlv] = []
        granted = False
        for raw in message.tlvs[:_ANSWERED]:
            try:
                tlv = ptp_tlv_read.read(raw)
            except WireError:
                continue
            if not isinstance(tlv, UnicastRequest | UnicastCancel):
                continue
            if not self._accept(address):
                self._counters.drops["unicast-access"] += 1
                return
            if isinstance(tlv, UnicastRequest):
                length = self._grant((address, source), tlv, now)
                granted = granted or length > 0
                answers.append(UnicastGrant(tlv.message_type, tlv.log_interval, length, length > 0).to_tlv())
            elif not tlv.acknowledge and not tlv.maintain_request:
                self._end((address, source), tlv.message_type)
                answers.append(UnicastCancel(tlv.message_type, acknowledge=True).to_tlv())
        rate = self._context.extras.rates.get(self._port.number)
        if granted and rate is not None:
            answers.append(rate.to_tlv())
        yield from self._signaler.send(tuple(answers), source, address)

    def _grant(self, client: Client, request: UnicastRequest, now: Instant[Mono]) -> int:
        """For how many seconds a request is granted; 0: it is refused (16.1.4.2.4)."""
        kind, log_interval = request.message_type, request.log_interval
        fastest = self._fastest(kind)
        if fastest is None or not fastest <= log_interval <= _SLOWEST:
            return 0
        length = min(request.duration_s, self._settings.duration_s)
        contracts = self._clients.get(client, {})
        before = contracts.get(kind)
        known = bool(contracts) or self._has_room(client[0])
        rate = self._rate + _rate(kind, log_interval) - (0 if before is None else _rate(kind, before.log_interval))
        if length == 0 or not known or rate > self._settings.rate << _RATE_UNIT:
            return 0
        until = now + Duration.from_s(length)
        if before is not None and before.log_interval == log_interval:
            before.until = max(before.until, until)
            return length
        self._rate = rate
        contract = _Contract(log_interval, until, next(self._serials), 0 if before is None else before.sequence)
        self._clients.setdefault(client, {})[kind] = contract
        self._schedule(client, kind, contract, now if kind in _TIMED else until)
        return length

    def _has_room(self, address: str) -> bool:
        """For one more client there."""
        if len(self._clients) >= self._settings.clients:
            return False
        return sum(1 for known, _ in self._clients if known == address) < _AT_ONE_ADDRESS

    def _fastest(self, kind: MessageType) -> int | None:
        """The log2 of the shortest interval; None for what is never sent here."""
        settings, mechanism = self._settings, self._port.mechanism
        match kind:
            case MessageType.ANNOUNCE:
                return settings.fastest_announce
            case MessageType.SYNC:
                return settings.fastest_sync
            case MessageType.DELAY_RESP:
                return settings.fastest_delay if mechanism is DelayMechanism.E2E else None
            case MessageType.PDELAY_RESP:
                return settings.fastest_delay if mechanism is DelayMechanism.P2P else None
            case _:
                return None

    def _end(self, client: Client, kind: MessageType) -> None:
        contracts = self._clients.get(client)
        if contracts is None:
            return
        contract = contracts.pop(kind, None)
        if contract is not None:
            self._rate -= _rate(kind, contract.log_interval)
        if not contracts:
            del self._clients[client]

    def configure(self, port: PortSettings) -> None:
        """Other corrections."""
        self._port = port

    def stop(self) -> Iterator[PtpEffect]:
        """The port will not work any more: tell the clients, so that they need not wait."""
        for (address, identity), contracts in self._clients.items():
            tlvs = tuple(UnicastCancel(kind).to_tlv() for kind in contracts)
            yield from self._signaler.send(tlvs, identity, address)
        self._clients.clear()
        self._queue.clear()
        self._waiting.clear()
        self._rate = 0

    # -- service

    def on_deadline(self, now: Instant[Mono], *, serving: bool) -> Iterator[PtpEffect]:
        """Send what is due; nothing unless ``serving``: the port is in TIME_TRANSMITTER."""
        while self._queue and self._queue[0][0] <= now.scaled_ns:
            entry = heapq.heappop(self._queue)
            contract = self._contract(entry)
            if contract is None:
                continue
            due, _, client, kind = entry
            if contract.until <= now:
                self._end(client, kind)
                continue
            if kind not in _TIMED:
                self._schedule(client, kind, contract, contract.until)
                continue
            # What was missed, because the machine slept, is not made up for; nor do all clients come at once after it.
            step = interval(contract.log_interval).scaled_ns
            self._schedule(client, kind, contract, Instant(due + step * (1 + (now.scaled_ns - due) // step)))
            if serving:
                yield self._announce(client, contract) if kind is MessageType.ANNOUNCE else self._sync(client, contract)

    def on_sent(self, token: int, stamp: Stamp | None) -> Iterator[PtpEffect]:
        """The transmit stamp of a Sync: its Follow_Up. Tokens of others are passed over."""
        waiting = self._waiting.pop(token, None)
        if waiting is None:
            return
        self._headers.stamped(stamp is not None)
        if stamp is None:
            self._counters.lost_stamps += 1
            return
        sequence, address = waiting
        whole, part = ptp.whole_ns(self._context.told(stamp.at + self._port.egress_latency))
        header = self._headers.make(MessageType.FOLLOW_UP, sequence=sequence, flags=Flags.UNICAST, correction=part)
        self._counters.sent[MessageType.FOLLOW_UP] += 1
        yield SendGeneral(
            port=self._port.number, data=self._headers.encode(FollowUp(header, whole)), destination=address
        )

    def _announce(self, client: Client, contract: _Contract) -> PtpEffect:
        header = self._header(MessageType.ANNOUNCE, contract, Flags.UNICAST, contract.log_interval)
        context = self._context
        message = announced(context.sets, header, path_trace=context.settings.path_trace, extras=context.extras)
        return SendGeneral(port=self._port.number, data=self._headers.encode(message), destination=client[0])

    def _sync(self, client: Client, contract: _Contract) -> PtpEffect:
        token = next(self._context.tokens)
        if self._context.sends_one_step(self._port.number):
            header = self._header(MessageType.SYNC, contract, Flags.UNICAST, 0x7F)
            data = one_step(header, self._port)
            return SendEvent(port=self._port.number, data=data, token=token, destination=client[0])
        header = self._header(MessageType.SYNC, contract, _TWO_STEP, 0x7F)
        while len(self._waiting) >= _WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[token] = header.sequence_id, client[0]
        return SendEvent(
            port=self._port.number, data=self._headers.encode(Sync(header)), token=token, destination=client[0]
        )

    def _header(self, kind: MessageType, contract: _Contract, flags: Flags, log_interval: int) -> Header:
        """Each client has sequence numbers of its own (7.3.7); a unicast Sync says no interval (table 42)."""
        sequence = contract.sequence
        contract.sequence = (sequence + 1) & 0xFFFF
        self._counters.sent[kind] += 1
        return self._headers.make(kind, sequence=sequence, log_interval=log_interval, flags=flags)

    def _schedule(self, client: Client, kind: MessageType, contract: _Contract, at: Instant[Mono]) -> None:
        heapq.heappush(self._queue, (at.scaled_ns, contract.serial, client, kind))
        if len(self._queue) > _SLACK + 2 * len(_SENT) * len(self._clients):
            # Whoever asks for another interval again and again leaves entries behind.
            self._queue = [entry for entry in self._queue if self._contract(entry) is not None]
            heapq.heapify(self._queue)

    def _contract(self, entry: tuple[int, int, Client, MessageType]) -> _Contract | None:
        """What an entry of the queue is about; None when that is over."""
        _, serial, client, kind = entry
        contract = self._clients.get(client, {}).get(kind)
        return contract if contract is not None and contract.serial == serial else None


def _rate(kind: MessageType, log_interval: int) -> int:
    return _SENT[kind] << (_RATE_UNIT - log_interval)
