"""The server of CSPTP on the interfaces of this machine: sockets opened, requests answered, quality kept up to date."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from functools import partial
from typing import assert_never

from timesync.base.ids import ClockId
from timesync.base.machine import Dropped, Noted
from timesync.base.measure import Stamp
from timesync.config.csptp import ServeCsptp
from timesync.config.schema import Config
from timesync.daemon.group import Surroundings
from timesync.daemon.ptp_assemble import clock_identity
from timesync.daemon.ptp_quality import Stages, local_quality
from timesync.ntp.access import AccessList
from timesync.ntp.client_log import ClientList
from timesync.ntp.limit import Clients, LimitReply, RateLimit, Verdict
from timesync.observe.snapshot import CsptpFacts
from timesync.ptp.csptp.server import CsptpServer, ServerEffect, ServerSettings
from timesync.ptp.effect import SendEvent, SendGeneral
from timesync.transport import PtpPortSpec, PtpSocket, TransportName
from timesync.wire.csptp_tlv import SDO_ID

_REOPEN_TICKS = 3
_STAGES = Stages()
"""The clock classes of IEEE 1588-2019, table 4."""


class CsptpService:
    """All that ``serve.csptp`` asks for."""

    def __init__(self, around: Surroundings) -> None:
        """Nothing is opened before ``configure``."""
        self._around = around
        self._places: list[_Place] = []
        self._clients: Clients | None = None
        self._ticks = 0
        self._asked: tuple[ServeCsptp, tuple[ClockId, ...]] | None = None

    def configure(self, config: Config) -> None:
        """Serve what a configuration asks for, instead of what was served; what stays as it was goes on."""
        serve = config.serve.csptp
        if serve is None:
            self.close()
            return
        clocks = tuple(ClockId(config.stamped_by(one, serve.timestamping)) for one in serve.interfaces)
        if self._asked == (serve, clocks):
            return
        before = self.clients()
        self.close()
        self._asked = serve, clocks
        access = AccessList(serve.allow, serve.deny)
        self._clients = clients = Clients(access, _limit(serve), self._around.host.rng, records=serve.clients)
        clients.log.restore(before.records)
        for interface, clock in zip(serve.interfaces, clocks, strict=True):
            for transport in serve.transports:
                self._places.append(_Place(self._around, serve, interface, transport, clock, clients))
        self._open()

    def close(self) -> None:
        """Answer no more."""
        for place in self._places:
            place.close()
        self._places.clear()
        self._asked = self._clients = None

    def tick(self) -> None:
        """Once a second: what the core thinks of our clocks; interfaces that have come."""
        self._ticks += 1
        if self._ticks % _REOPEN_TICKS == 0:
            self._open()
        for place in self._places:
            place.claim()

    def troubles(self) -> tuple[str, ...]:
        """What cannot be served, in sentences."""
        return tuple(place.trouble for place in self._places if place.trouble is not None)

    def facts(self) -> tuple[CsptpFacts, ...]:
        """What is served, and how often."""
        return tuple(fact for place in self._places if (fact := place.facts()) is not None)

    def clients(self) -> ClientList:
        """Who has asked."""
        return ClientList() if self._clients is None else self._clients.log.clients()

    def _open(self) -> None:
        for place in self._places:
            place.open()


class _Place:
    """One interface and one transport.

    Attributes:
        trouble: Why nothing is served there, if so.
    """

    def __init__(
        self,
        around: Surroundings,
        serve: ServeCsptp,
        interface: str,
        transport: TransportName,
        clock: ClockId,
        clients: Clients,
    ) -> None:
        self.trouble: str | None = None
        self._around = around
        self._serve = serve
        self._spec = PtpPortSpec(
            interface=interface,
            transport=transport,
            clock=clock,
            timestamping=serve.timestamping,
            unicast=True,
            domains=frozenset({(serve.domain, SDO_ID)}),
        )
        self._gate = partial(self._judge, clients)
        self._socket: PtpSocket | None = None
        self._server: CsptpServer | None = None

    def _judge(self, clients: Clients, source: str, now_ns: int) -> str | None:
        """Why an address gets no answer now; None: it does."""
        return _judge(clients, source, now_ns, self._around.host.mono().ns())

    def open(self) -> None:
        """Serve there, unless that is so already or cannot be."""
        spec, host = self._spec, self._around.host
        if self._socket is not None:
            return
        if spec.clock not in host.clocks:
            self._fail(f"clock {spec.clock} is not there")
            return
        try:
            self._socket = host.open_ptp(spec, self)
        except OSError as error:
            advice = getattr(error, "advice", None)
            self._fail(f"{error.strerror or error}{'' if advice is None else f'; {advice}'}")
            return
        self.trouble = None
        settings = ServerSettings(
            clock=spec.clock,
            identity=clock_identity(self._socket.mac),
            domain=self._serve.domain,
            unpadded=self._serve.unpadded == "answer",
        )
        self._server = CsptpServer(settings, self._gate)
        self.claim()

    def close(self) -> None:
        """Serve there no more."""
        if self._socket is not None:
            self._socket.close()
        self._socket = self._server = None

    def claim(self) -> None:
        """Say of the clock what the core knows of it."""
        if self._server is not None and self._spec.clock in self._around.host.clocks:
            self._server.set_quality(local_quality(self._around.core.claims(self._spec.clock), _STAGES))

    def facts(self) -> CsptpFacts | None:
        """What was answered; None where nothing is served."""
        if self._socket is None or self._server is None:
            return None
        return CsptpFacts(
            interface=self._spec.interface,
            transport=self._spec.transport,
            domain=self._serve.domain,
            timestamping="hardware" if self._socket.hardware else "software",
            answered=self._server.answered,
            drops=dict(self._server.drops),
        )

    def _fail(self, why: str) -> None:
        text = f"CSPTP cannot be served on {self._spec.interface} over {self._spec.transport}: {why}; trying again"
        if self.trouble != text:
            self._around.listener.note(Noted("warning", "csptp-serve", text))
        self.trouble = text

    # -- the network

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        """See ``PtpHandler``."""
        if self._server is not None:
            self._perform(self._server.on_message(data, stamp, source))

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        """See ``PtpHandler``."""
        if self._server is not None:
            self._perform(self._server.on_sent(token, stamp))

    def on_link(self, *, up: bool) -> None:
        """See ``PtpHandler``: without a link nobody asks."""

    def on_error(self, error: OSError) -> None:
        """See ``PtpHandler``: the interface is gone; it is looked for again."""
        self.close()
        self._fail(error.strerror or str(error))

    def _perform(self, effects: Iterable[ServerEffect]) -> None:
        for effect in effects:
            match effect:
                case SendEvent():
                    if self._socket is not None:
                        self._socket.send_event(effect.data, effect.token, destination=effect.destination)
                case SendGeneral():
                    if self._socket is not None:
                        self._socket.send_general(effect.data, destination=effect.destination)
                case Dropped():
                    pass  # counted by the server itself
                case _:
                    assert_never(effect)


def _limit(serve: ServeCsptp) -> RateLimit | None:
    limit = serve.rate_limit
    if limit is None:
        return None
    # CSPTP has no word for "ask less often".
    return RateLimit(interval=limit.interval, burst=limit.burst, reply=LimitReply.DROP)


def _judge(clients: Clients, source: str, now_ns: int, mono_ns: int) -> str | None:
    """Why an address gets no answer now, which is noted; None: it does."""
    try:
        host = ipaddress.ip_address(source.partition("%")[0]).packed
    except ValueError:
        return "address"
    buckets = clients.find(host)
    tally = clients.log.of(host)
    tally.note(0, mono_ns)
    why = "denied" if buckets is None else None if clients.judge(buckets, now_ns) is Verdict.ANSWER else "rate"
    tally.dropped += why is not None
    return why
