"""A server of CSPTP as a source: its name looked up, its interface opened, its client machine driven."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable, Mapping
from typing import assert_never

from timesync.base.ids import ClockId, LinkId, SourceId
from timesync.base.machine import Dropped, Measured, Status
from timesync.base.measure import Stamp
from timesync.base.time import Duration
from timesync.config.csptp import EVENT_PORT
from timesync.config.sources import CsptpSource
from timesync.daemon.group import DeviceGroup, Surroundings
from timesync.daemon.ptp_assemble import clock_identity
from timesync.observe.snapshot import SourceFacts
from timesync.ptp.csptp.client import ClientEffect, ClientSettings, CsptpClient
from timesync.ptp.effect import SendEvent
from timesync.ptp.outlook import PTP_REFERENCE
from timesync.runtime.drive import Alarm
from timesync.servo.command import SourceSpec
from timesync.transport import PtpPortSpec, PtpSocket
from timesync.wire.csptp_tlv import SDO_ID

HARDWARE_NOISE_S = 8e-9
SOFTWARE_NOISE_S = 1e-6
"""One standard deviation of a stamp of a card, and of the kernel; as for the ports of PTP instances."""

_AGAIN = Duration.from_s(3)
_RESOLVE_LIMIT_S = 20.0
_SILENT = 8
"""After so many requests without an answer the name is looked up again: the server may have moved."""


class CsptpGroup(DeviceGroup):
    """One entry of ``sources`` with ``csptp``."""

    def __init__(self, source: CsptpSource, clock: ClockId, around: Surroundings) -> None:
        """Nothing is opened or sent before ``start``."""
        super().__init__(source, around, (clock,))
        self._options = source
        self._clock = clock
        self._identity = SourceId(source.title)
        self._server: str | None = None
        self._socket: PtpSocket | None = None
        self._client: CsptpClient | None = None
        self._lookup: asyncio.Task[None] | None = None
        self._requests = Alarm(around.host, self._ring)

    @property
    def trouble(self) -> str | None:
        """Why it asks nobody, if so."""
        return None if self._client is not None else self._trouble

    # -- life

    def start(self) -> None:
        """Look the name up and begin to ask."""
        self._due()

    def stop(self) -> None:
        """Ask no more."""
        self._alarm.cancel()
        if self._lookup is not None:
            self._lookup.cancel()
            self._lookup = None
        self._close()

    def _due(self) -> None:
        if self._lookup is None:
            self._lookup = asyncio.get_running_loop().create_task(self._resolve())

    async def _resolve(self) -> None:
        try:
            async with asyncio.timeout(_RESOLVE_LIMIT_S):
                found = await self._around.host.resolve(self._options.csptp, EVENT_PORT)
        except Exception as error:  # noqa: BLE001  whatever it is (IDNA's UnicodeError, say), the source must live on
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            self._failed(f"the name {self._options.csptp} cannot be looked up ({why}); trying again", self._identity)
            found = []
        self._lookup = None
        addresses = [str(ipaddress.ip_address(one.address.partition("%")[0])) for one in found]
        if addresses and self._server not in addresses:
            self._close()
            self._server = addresses[0]
        if self._client is None and self._server is not None:
            self._open(self._server)
        if self._client is None:
            self._wake(_AGAIN)

    def _open(self, server: str) -> None:
        """Ask this server from now on."""
        spec = PtpPortSpec(
            interface=self._options.interface,
            transport="udp6" if ":" in server else "udp4",
            clock=self._clock,
            timestamping=self._options.timestamping,
            unicast=True,
            domains=frozenset({(self._options.domain, SDO_ID)}),
        )
        try:
            self._socket = self._around.host.open_ptp(spec, self)
        except OSError as error:
            advice = getattr(error, "advice", None)
            text = f"{spec.interface}: {error.strerror or error}{'' if advice is None else f'; {advice}'}; trying again"
            self._failed(text, self._identity)
            return
        noise = HARDWARE_NOISE_S if self._socket.hardware else SOFTWARE_NOISE_S
        host = self._around.host
        settings = self._settings(server, noise, self._socket)
        self._client = CsptpClient(settings, self._around.leap_table, host.rng, host.entropy)
        self._works(self._identity)
        self._around.listener.added(self._spec(noise))
        self._perform(())

    def _settings(self, server: str, noise: float, socket: PtpSocket) -> ClientSettings:
        return ClientSettings(
            source=self._identity,
            link=LinkId(self._identity),
            local=self._clock,
            server=server,
            domain=self._options.domain,
            poll_min=self._options.poll.least,
            poll_max=self._options.poll.most,
            stamp_noise_s=noise,
            identity=clock_identity(socket.mac),
        )

    def _spec(self, noise: float) -> SourceSpec:
        return SourceSpec(
            source=self._identity,
            name=self._options.title,
            link=LinkId(self._identity),
            clock=self._clock,
            reference_id=PTP_REFERENCE,
            poll=(self._options.poll.least, self._options.poll.most),
            trusted=self._options.trust,
            noselect=self._options.noselect,
            correction=-self._options.offset,
            stamp_noise_s=noise,
        )

    def _close(self) -> None:
        self._requests.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._client is not None:
            self._client = None
            self._around.listener.removed(self._identity)

    # -- the network

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        """See ``PtpHandler``."""
        if self._client is not None:
            self._perform(self._client.on_message(data, stamp, source.partition("%")[0]))

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        """See ``PtpHandler``."""
        if self._client is not None:
            self._perform(self._client.on_sent(token, stamp))

    def on_link(self, *, up: bool) -> None:
        """See ``PtpHandler``: a request soon, instead of one that waits its turn."""
        if up:
            self.probe(self._identity)

    def on_error(self, error: OSError) -> None:
        """See ``PtpHandler``: the interface is gone; it is looked for again."""
        self._failed(f"{self._options.interface}: {error.strerror or error}; trying again", self._identity)
        self._close()
        self._wake(_AGAIN)

    # -- what the core and the operator want

    def set_poll(self, source: SourceId, exponent: int) -> None:
        """Advice of the core."""
        if source == self._identity and self._client is not None:
            self._client.set_poll(exponent, self._around.host.mono())
            self._perform(())

    def probe(self, source: SourceId) -> None:
        """Ask again soon."""
        if source == self._identity and self._client is not None:
            self._client.ask_soon(self._around.host.mono())
            self._perform(())

    def clock_stepped(self, clock: ClockId) -> None:
        """What is on its way is worth nothing any more."""
        if clock == self._clock and self._client is not None:
            self._perform(self._client.restart())

    def review(self, outvoted: object, own: Iterable[str], taken: object) -> None:
        """Now and then: look the name of a silent server up again."""
        del outvoted, own, taken
        if self._client is None:
            return
        status = self._client.status()
        if status.reach == 0 and status.sent >= _SILENT:
            self._due()

    def facts(self) -> Mapping[SourceId, SourceFacts]:
        """What is known of it outside the core."""
        if self._client is None:
            return {}
        facts = SourceFacts(
            kind=self.kind,
            address=self._server,
            status=None,
            drops=dict(self._client.drops),
            details={"interface": self._options.interface, "domain": self._options.domain},
        )
        return {self._identity: facts}

    # -- effects

    def _ring(self) -> None:
        if self._client is not None:
            self._perform(self._client.on_deadline(self._around.host.mono()))

    def _perform(self, effects: Iterable[ClientEffect]) -> None:
        for effect in effects:
            match effect:
                case SendEvent():
                    if self._socket is not None:
                        self._socket.send_event(effect.data, effect.token, destination=effect.destination)
                case Measured():
                    self._around.listener.measured(self._identity, effect.measurement)
                case Status():
                    self._around.listener.status(effect.status)
                case Dropped():
                    pass  # counted by the client itself
                case _:
                    assert_never(effect)
        if self._client is not None:
            self._requests.set(self._client.deadline())
