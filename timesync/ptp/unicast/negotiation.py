"""Unicast negotiation of one port: its client and its server, and what may pass to the port (IEEE 1588-2019, 16.1)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from timesync.base.machine import Dropped
from timesync.base.measure import Stamp
from timesync.base.time import Instant, Mono
from timesync.ptp.context import Context
from timesync.ptp.effect import PtpEffect
from timesync.ptp.port import Port
from timesync.ptp.settings import PortSettings, Role, UnicastSettings
from timesync.ptp.states import PortState
from timesync.ptp.timers import earliest
from timesync.ptp.unicast.client import ServerView, UnicastClient, UnicastClientSettings
from timesync.ptp.unicast.server import ClientView, UnicastServer, UnicastServerSettings, accept_all
from timesync.wire.ptp_message import (
    Announce,
    DelayReq,
    DelayResp,
    Flags,
    FollowUp,
    Message,
    MessageType,
    Signaling,
    Sync,
)

_FOLLOWING = (PortState.UNCALIBRATED, PortState.TIME_RECEIVER)
_NO_UNICAST = UnicastSettings()


class Negotiation:
    """What one port asks of others, and grants them."""

    def __init__(self, port: Port, context: Context, accept: Callable[[str], bool] = accept_all) -> None:
        """Nothing is asked before the link is up; ``accept`` says which addresses are granted anything."""
        self._port = port
        self._settings = port.settings.unicast or _NO_UNICAST
        self._client = _client(port) if _asks(port.settings) else None
        self._server = _server(port, context, accept) if _grants(port.settings) else None

    # -- what others see

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called."""
        return earliest(one.deadline() for one in (self._client, self._server) if one is not None)

    def servers(self) -> tuple[ServerView, ...]:
        """Whom the port asks."""
        return () if self._client is None else self._client.view()

    def clients(self) -> tuple[ClientView, ...]:
        """Whom it serves."""
        return () if self._server is None else self._server.clients()

    def preference(self, address: str) -> int | None:
        """The place of a server in the order of preference, from 1; None for others."""
        servers = self._settings.servers
        return servers.index(address) + 1 if address in servers else None

    def configure(self, settings: PortSettings) -> None:
        """Other corrections; what is negotiated stays."""
        if self._server is not None:
            self._server.configure(settings)

    # -- life

    def link(self, now: Instant[Mono], *, up: bool) -> Iterator[PtpEffect]:
        """The port works, or does not any more: then what was negotiated is void."""
        if self._client is not None:
            yield from self._client.stop()
            if up:
                yield from self._client.start(now)
        if self._server is not None and not up:
            yield from self._server.stop()

    def follow(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """After a state decision: Sync and answers to Delay_Req are asked of the parent only."""
        if self._client is not None:
            parent = self._port.parent if self._port.state in _FOLLOWING else None
            yield from self._client.select(parent, now)

    def on_deadline(self, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """What is to be asked for, and what is to be sent."""
        if self._client is not None:
            yield from self._client.on_deadline(now)
        if self._server is not None:
            serving = self._port.state is PortState.TIME_TRANSMITTER
            yield from self._server.on_deadline(now, serving=serving)

    def on_sent(self, token: int, stamp: Stamp | None) -> Iterator[PtpEffect]:
        """The transmit stamp of a message of the server; those of others are passed over."""
        if self._server is not None:
            yield from self._server.on_sent(token, stamp)

    # -- messages

    def on_signaling(self, message: Signaling, address: str, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """Requests, grants and cancellations."""
        if self._client is not None and (self._server is None or self._client.knows(address)):
            yield from self._client.on_signaling(message, address, now)
        if self._server is not None:
            yield from self._server.on_signaling(message, address, now)

    def admits(self, message: Message, address: str, now: Instant[Mono]) -> bool:
        """Whether a message may go on to the port; ``stranger`` tells what to do about one that may not."""
        match message:
            case Announce() | Sync() | FollowUp() | DelayResp():
                return self._admits_time(message, address, now)
            case DelayReq():
                return self._admits_request(message, address, now)
            case _:
                return True

    def _admits_time(self, message: Announce | Sync | FollowUp | DelayResp, address: str, now: Instant[Mono]) -> bool:
        if self._client is None or not self._client.knows(address):
            if Flags.UNICAST not in message.header.flags:
                return not self._settings.only
            return isinstance(message, DelayResp) and self._port.settings.hybrid
        kind = _KINDS.get(type(message))
        if kind is not None:
            self._client.heard(kind, address, now)
        if isinstance(message, Sync) and (parent := self._port.parent) is not None:
            granted = (self._client.log_interval(parent, one) for one in (MessageType.SYNC, MessageType.DELAY_RESP))
            self._port.paced(*granted)
        return True

    def _admits_request(self, message: DelayReq, address: str, now: Instant[Mono]) -> bool:
        if Flags.UNICAST not in message.header.flags:
            return not self._settings.only
        if self._server is not None and self._server.grants(
            MessageType.DELAY_RESP, address, message.header.source, now
        ):
            return True
        return (self._server is None or self._port.settings.hybrid) and not self._settings.only

    def stranger(self, message: Message, address: str, now: Instant[Mono]) -> Iterator[PtpEffect]:
        """A message that may not pass. Who goes on sending what was granted before our restart is told to stop."""
        self._port.counters.drops["unicast-stranger"] += 1
        yield Dropped("unicast-stranger")
        kind = _KINDS.get(type(message))
        if self._client is not None and kind is not None and Flags.UNICAST in message.header.flags:
            yield from self._client.on_stranger(kind, message.header.source, address, now)


_KINDS: dict[type, MessageType] = {
    Announce: MessageType.ANNOUNCE,
    Sync: MessageType.SYNC,
    DelayResp: MessageType.DELAY_RESP,
}
"""What is granted; a Follow_Up comes with its Sync."""


def _asks(settings: PortSettings) -> bool:
    unicast = settings.unicast
    return unicast is not None and bool(unicast.servers) and settings.role is not Role.TIME_TRANSMITTER


def _grants(settings: PortSettings) -> bool:
    return settings.unicast is not None and settings.unicast.grants and settings.role is not Role.TIME_RECEIVER


def _client(port: Port) -> UnicastClient:
    settings, unicast = port.settings, port.settings.unicast or _NO_UNICAST
    wanted = UnicastClientSettings(
        port=settings.number,
        servers=unicast.servers,
        intervals=settings.intervals,
        mechanism=settings.mechanism,
        duration_s=unicast.duration_s,
    )
    return UnicastClient(wanted, port.headers, port.counters)


def _server(port: Port, context: Context, accept: Callable[[str], bool]) -> UnicastServer:
    unicast = port.settings.unicast or _NO_UNICAST
    granted = UnicastServerSettings(clients=unicast.clients, duration_s=unicast.duration_s)
    return UnicastServer(granted, port.settings, context, port.headers, port.counters, accept)
