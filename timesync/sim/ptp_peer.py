"""A PTP clock at the other end of a simulated link: our own instance on a clock of its own, with no servo behind it.

It makes the traffic; what comes of it is judged by true time, which knows nothing of this code.
"""

from __future__ import annotations

from collections.abc import Iterable

from timesync.base.measure import Stamp
from timesync.base.time import Instant, Mono
from timesync.ptp.effect import PtpEffect, SendEvent, SendGeneral
from timesync.ptp.instance import Instance
from timesync.ptp.settings import InstanceSettings, LocalQuality
from timesync.sim.clock import SimClock
from timesync.sim.ptp_network import SimCard, SimPtpSocket
from timesync.sim.world import Event, World
from timesync.transport import PtpPortSpec

_PORT = 1


class SimPtpPeer:
    """One port of one instance.

    Attributes:
        instance: What it runs.
        clock: Its clock.
        card: Its card.
    """

    def __init__(
        self, world: World, card: SimCard, clock: SimClock, settings: InstanceSettings, spec: PtpPortSpec
    ) -> None:
        """Nothing is sent before ``start``; its one port is number 1."""
        self.instance = Instance(settings, world.stream(f"ptp-peer/{card.name}/{settings.domain}"))
        self.clock = clock
        self.card = card
        self._world = world
        self._spec = spec
        self._socket: SimPtpSocket | None = None
        self._alarm: tuple[Instant[Mono], Event] | None = None

    def start(self, quality: LocalQuality) -> None:
        """Come to life, on a running loop, with this to say of its time."""
        self._socket = self.card.open_ptp(self._spec, self.clock, self)
        self._perform(self.instance.start(self._now()))
        self._perform(self.instance.set_quality(quality, self._now()))

    # -- the network: ``PtpHandler``

    def on_message(self, data: bytes, stamp: Stamp | None, source: str) -> None:
        """See ``PtpHandler``."""
        self._perform(self.instance.on_message(_PORT, data, stamp, source, self._now()))

    def on_sent(self, token: int, stamp: Stamp | None) -> None:
        """See ``PtpHandler``."""
        self._perform(self.instance.on_sent(_PORT, token, stamp, self._now()))

    def on_link(self, *, up: bool) -> None:
        """See ``PtpHandler``."""
        self._perform(self.instance.on_link(_PORT, self._now(), up=up))

    def on_error(self, error: OSError) -> None:
        """See ``PtpHandler``: it is silent from now on."""
        del error
        self._socket = None

    # -- itself

    def _now(self) -> Instant[Mono]:
        """True time since the start: nobody sees it."""
        return Instant(self._world.elapsed.scaled_ns)

    def _perform(self, effects: Iterable[PtpEffect]) -> None:
        socket = self._socket
        for effect in effects:
            if socket is None:
                continue
            # What it measures and says of itself is of no interest.
            if isinstance(effect, SendEvent):
                socket.send_event(effect.data, effect.token, destination=effect.destination, peer=effect.peer)
            elif isinstance(effect, SendGeneral):
                socket.send_general(effect.data, destination=effect.destination, peer=effect.peer)
        self._arm()

    def _arm(self) -> None:
        due = self.instance.deadline()
        if self._alarm is not None:
            if self._alarm[0] == due and not self._alarm[1].cancelled:
                return
            self._alarm[1].cancel()
            self._alarm = None
        if due is not None:
            self._alarm = (
                due,
                self._world.at_units(max(self._world.start.scaled_ns + due.scaled_ns, self._world.units), self._ring),
            )

    def _ring(self) -> None:
        if self._socket is not None:
            self._perform(self.instance.on_deadline(self._now()))
