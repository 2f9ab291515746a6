"""Who talks PTP on a wire: what a listener heard, kept per talker, in bounded memory.

Nothing is answered and nothing is asked. ``words`` puts it into words, ``judge`` says what looks
wrong.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, assert_never

from timesync.base.ids import PortIdentity
from timesync.base.time import Duration, Instant, Tai
from timesync.ptp.nodes.flow import Flow, Steps
from timesync.ptp.nodes.talker import Found, Heard, Key, Said, Stranger, Talker
from timesync.wire import ptp as wire
from timesync.wire.error import WireError
from timesync.wire.ptp_message import (
    LOG_INTERVAL_NONE,
    MESSAGE_TYPES,
    Action,
    Announce,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Management,
    Message,
    PdelayReq,
    PdelayResp,
    PdelayRespFollowUp,
    Signaling,
    Sync,
    Tlv,
)
from timesync.wire.ptp_tlv import ORGANIZATION_KINDS, PathTrace, TlvType, UnicastGrant, UnicastRequest

T = TypeVar("T")

MAX_TALKERS = 1024
MAX_PER_ADDRESS = 64
"""More identities that come from one address are not kept: no clock has so many ports, but a forger has."""
MAX_STRANGERS = 64
"""Addresses that send what is no PTP version 2."""
_MAX_RESPONDERS = 4
_MAX_ORGANIZATIONS = 16
_V1_UUID, _V1_PORT = slice(22, 28), slice(28, 30)
_V1_SIZE = 36


class NodeTable:
    """All talkers of a wire.

    It holds ``limit`` of them at most. Where it is full, a new one takes the place of the one that was heard only once
    and longest ago; where all were heard twice, it is not kept.

    Attributes:
        messages: Packets that were taken in.
        refused: Packets of talkers for whom there was no place.
        flooding: Addresses with more than MAX_PER_ADDRESS identities; a few of them.
    """

    def __init__(self, limit: int = MAX_TALKERS) -> None:
        self._limit = limit
        self._talkers: dict[Key, Talker] = {}
        self._once: OrderedDict[Key, None] = OrderedDict()
        self._per_address: Counter[str] = Counter()
        self._strangers: dict[tuple[str, bool], Stranger] = {}
        self.messages = 0
        self.refused = 0
        self.flooding: set[str] = set()

    @property
    def talkers(self) -> list[Talker]:
        """By domain, transport and identity."""
        return [self._talkers[key] for key in sorted(self._talkers)]

    @property
    def strangers(self) -> list[Stranger]:
        """In the order in which they came."""
        return list(self._strangers.values())

    def hear(self, packet: Heard) -> None:
        """Take a packet in; whatever is in it, nothing is raised."""
        self.messages += 1
        try:
            message = wire.decode(packet.data)
        except WireError as error:
            self._strange(packet, str(error))
            return
        header = message.header
        key = Key(header.domain, header.sdo_id, packet.transport, header.source)
        talker = self._admit(key, packet)
        if talker is None:
            self.refused += 1
            return
        talker.messages += 1
        talker.last_ns = packet.at_ns
        kind = MESSAGE_TYPES[type(message)]
        talker.found.note(packet, kind)
        if len(talker.found.versions) < 16:
            talker.found.versions.add(header.minor_version)
        flows = talker.multicast if packet.multicast else talker.unicast
        log_interval = None if header.log_interval == LOG_INTERVAL_NONE else header.log_interval
        flows.setdefault(kind, Flow()).note(packet.at_ns, header.sequence_id, log_interval, packet.destination)
        self._take(talker, message, packet)

    # -- places

    def _admit(self, key: Key, packet: Heard) -> Talker | None:
        talker = self._talkers.get(key)
        if talker is not None:
            self._once.pop(key, None)
            return talker
        address = packet.source
        if self._per_address[address] >= MAX_PER_ADDRESS:
            if len(self.flooding) < MAX_STRANGERS:
                self.flooding.add(address)
            return None
        if len(self._talkers) >= self._limit and not self._make_place():
            return None
        talker = Talker(key, packet.at_ns, packet.at_ns, Found(address))
        self._talkers[key] = talker
        self._once[key] = None
        self._per_address[address] += 1
        return talker

    def _make_place(self) -> bool:
        if not self._once:
            return False
        key, _ = self._once.popitem(last=False)
        # Heard once: the address it has is the one that it was counted for.
        address = self._talkers.pop(key).found.address
        self._per_address[address] -= 1
        if not self._per_address[address]:
            del self._per_address[address]
        return True

    def _strange(self, packet: Heard, why: str) -> None:
        data = packet.data
        version_1 = len(data) >= _V1_SIZE and data[:2] == b"\0\1" and packet.port is not None
        if version_1:
            why = f"{data[_V1_UUID].hex(':')}, port {int.from_bytes(data[_V1_PORT], 'big')}"
        key = packet.source, version_1
        stranger = self._strangers.get(key)
        if stranger is None:
            if len(self._strangers) >= MAX_STRANGERS:
                self.refused += 1
                return
            stranger = self._strangers[key] = Stranger(packet.source, why, version_1)
        stranger.count += 1

    # -- what messages say

    def _take(self, talker: Talker, message: Message, packet: Heard) -> None:
        said, asked = talker.said, talker.asked
        _note_organizations(said, message.tlvs)
        match message:
            case Announce():
                _announced(said, message)
            case Sync():
                _synced(said, message, packet)
            case FollowUp():
                _corrected(said, message.header.correction)
                _told_time(said, message.precise_origin, packet)
            case DelayReq():
                asked.delay.asked += packet.multicast
            case PdelayReq():
                asked.pdelay.asked += 1
            case DelayResp() | PdelayResp() | PdelayRespFollowUp():
                self._answered(talker, message)
            case Signaling():
                self._signaled(talker, message)
            case Management():
                asked.managed += message.action in (Action.GET, Action.SET, Action.COMMAND)
            case _:
                assert_never(message)

    def _answered(self, talker: Talker, message: DelayResp | PdelayResp | PdelayRespFollowUp) -> None:
        if not isinstance(message, PdelayResp):
            _corrected(talker.said, message.header.correction)
        for other in self._others(talker, message.requesting):
            if isinstance(message, DelayResp):
                other.asked.delay.answered += 1
            elif isinstance(message, PdelayResp):
                other.asked.pdelay.answered += 1
                if len(other.asked.responders) < _MAX_RESPONDERS:
                    other.asked.responders.add(talker.key.port)

    def _signaled(self, talker: Talker, message: Signaling) -> None:
        for _ in _read(message.tlvs, TlvType.REQUEST_UNICAST_TRANSMISSION, UnicastRequest.from_tlv):
            talker.asked.unicast.asked += 1
        for grant in _read(message.tlvs, TlvType.GRANT_UNICAST_TRANSMISSION, UnicastGrant.from_tlv):
            talker.said.grants += 1
            for other in self._others(talker, message.target):
                other.asked.unicast.answered += 1
                other.asked.refused += grant.duration_s == 0

    def _others(self, talker: Talker, port: PortIdentity) -> Iterator[Talker]:
        """Whom an answer is to, where it was heard; an answer never makes a place for anybody."""
        found = self._talkers.get(Key(*talker.key.wire, port))
        if found is not None:
            yield found


def _read(tlvs: Iterable[Tlv], kind: int, reader: Callable[[Tlv], T]) -> Iterator[T]:
    for tlv in tlvs:
        if tlv.kind == kind:
            try:
                yield reader(tlv)
            except WireError:
                continue


def _note_organizations(said: Said, tlvs: Iterable[Tlv]) -> None:
    for tlv in tlvs:
        if tlv.kind in ORGANIZATION_KINDS and len(said.organizations) < _MAX_ORGANIZATIONS:
            said.organizations.add(tlv.value[:6])


def _announced(said: Said, message: Announce) -> None:
    if said.announce is not None and said.announce.grandmaster != message.grandmaster:
        said.steps = Steps()
    said.steps.note(message.steps_removed)
    said.announce = message
    said.path = ()
    for tlv in message.tlvs:
        if tlv.kind == TlvType.PATH_TRACE:
            try:
                said.path = PathTrace.from_tlv(tlv).path
            except WireError:
                continue


def _synced(said: Said, message: Sync, packet: Heard) -> None:
    said.two_step = bool(message.header.flags & Flags.TWO_STEP)
    said.two_step_syncs += said.two_step
    _corrected(said, message.header.correction)
    if not said.two_step:
        said.empty_syncs += not message.origin.scaled_ns
        _told_time(said, message.origin, packet)


def _corrected(said: Said, correction: Duration) -> None:
    low, high = said.corrections or (correction, correction)
    said.corrections = min(low, correction), max(high, correction)


def _told_time(said: Said, at: Instant[Tai], packet: Heard) -> None:
    if packet.tai is not None and at.scaled_ns:
        said.ahead = at - packet.tai
