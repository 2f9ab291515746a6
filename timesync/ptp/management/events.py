"""Who wants to be told of events (linuxptp's SUBSCRIBE_EVENTS_NP), and what he is told."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from timesync.base.ids import PortIdentity
from timesync.base.time import UNITS_PER_S, Duration, Instant, Mono
from timesync.ptp.management.data import ManagedClock, clock_data, port_data
from timesync.wire import ptp
from timesync.wire.ptp_management import ManagementData, ManagementId, with_data
from timesync.wire.ptp_management_np import Event, SubscribeEvents
from timesync.wire.ptp_message import Action, Header, Management, Tlv

FOR_EVER = 0xFFFF
"""``duration`` of a subscription that does not end."""

_MOST = 64
"""Subscribers kept; the oldest goes. Only this machine's owner can subscribe."""


@dataclass(slots=True)
class _Subscriber:
    address: str
    bitmap: bytes
    until: Instant[Mono] | None
    sequence: int = 0

    def wants(self, event: Event) -> bool:
        return SubscribeEvents(0, self.bitmap).wants(event)


class Subscribers:
    """A table by the subscriber's ``portIdentity``, and what was last told."""

    def __init__(self) -> None:
        self._all: dict[PortIdentity, _Subscriber] = {}
        self._told: ManagedClock | None = None

    def set(
        self,
        source: PortIdentity,
        address: str,
        wanted: SubscribeEvents,
        clock: ManagedClock,
        now: Instant[Mono],
    ) -> None:
        """Subscribe, change or end a subscription; it is told of what changes from now on."""
        if not self._all:
            self._told = clock  # one who only renews misses nothing that happened since he was last told
        before = self._all.pop(source, None)
        if not any(wanted.bitmap) or wanted.duration_s == 0:
            return
        while len(self._all) >= _MOST:
            del self._all[next(iter(self._all))]
        until = None if wanted.duration_s == FOR_EVER else now + Duration.from_s(wanted.duration_s)
        sequence = 0 if before is None else before.sequence
        self._all[source] = _Subscriber(address, wanted.bitmap, until, sequence)

    def of(self, source: PortIdentity, now: Instant[Mono]) -> SubscribeEvents:
        """What somebody is subscribed to, and for how long still."""
        one = self._all.get(source)
        if one is None:
            return SubscribeEvents(0)
        if one.until is None:
            return SubscribeEvents(FOR_EVER, one.bitmap)
        left = (one.until - now).scaled_ns // UNITS_PER_S
        return SubscribeEvents(left, one.bitmap) if left > 0 else SubscribeEvents(0)

    @property
    def some(self) -> bool:
        """There are subscribers, some of whose time may be over."""
        return bool(self._all)

    def forget(self, address: str) -> None:
        """Nobody listens there any more."""
        self._all = {source: one for source, one in self._all.items() if one.address != address}

    def changed(self, clock: ManagedClock, now: Instant[Mono]) -> list[tuple[str, bytes]]:
        """Messages about what is different from the last time, each with the path it goes to."""
        self._all = {source: one for source, one in self._all.items() if one.until is None or one.until > now}
        before, self._told = self._told, clock if self._all else None
        if before is None or not self._all:
            return []
        return [
            (one.address, self._message(source, one, identity, tlv, clock))
            for event, identity, tlv in _events(before, clock)
            for source, one in self._all.items()
            if one.wants(event)
        ]

    def _message(
        self, subscriber: PortIdentity, one: _Subscriber, identity: PortIdentity, tlv: Tlv, clock: ManagedClock
    ) -> bytes:
        settings = clock.view.settings
        header = Header(
            source=identity,
            sequence_id=one.sequence,
            domain=settings.domain,
            sdo_id=settings.sdo_id,
            minor_version=settings.minor_version,
        )
        one.sequence = (one.sequence + 1) & 0xFFFF
        # One hop, as ptp4l sends them, although they go no further than the socket.
        message = Management(
            header=header, target=subscriber, starting_hops=1, hops=1, action=Action.RESPONSE, tlvs=(tlv,)
        )
        return ptp.encode(message)


def _events(before: ManagedClock, after: ManagedClock) -> Iterator[tuple[Event, PortIdentity, Tlv]]:
    """What happened: the event, who tells it, and what he says."""
    states = {port.number: port.state for port in before.view.ports}
    whole = PortIdentity(after.view.settings.identity, 0)
    for port in after.view.ports:
        if states.get(port.number) is not port.state:
            yield Event.PORT_STATE, port.identity, _said(ManagementId.PORT_DATA_SET, after, port.number)
    if (before.ingress, before.offset) != (after.ingress, after.offset):
        yield Event.TIME_SYNC, whole, _said(ManagementId.TIME_STATUS_NP, after)
    if before.view.sets.parent != after.view.sets.parent:
        yield Event.PARENT_DATA_SET, whole, _said(ManagementId.PARENT_DATA_SET, after)


def _said(id_: ManagementId, clock: ManagedClock, number: int | None = None) -> Tlv:
    data: ManagementData | None
    if number is None:
        data = clock_data(id_, clock)
    else:
        data = port_data(id_, clock, next(port for port in clock.view.ports if port.number == number))
    assert data is not None
    return with_data(id_, data)
