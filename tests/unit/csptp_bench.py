"""Two machines with a card each on one segment: a client of CSPTP on the one, its server on the other."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from group_support import Stand
from sim_devices_support import Scene
from sim_support import INSTANT, leap_table, make_clock

from timesync.base.ids import ClockId, SourceId
from timesync.base.machine import Noted
from timesync.base.measure import Coarse, Leap
from timesync.base.time import ZERO, Duration, Instant, Tai
from timesync.config.schema import Config
from timesync.config.sources import CsptpSource
from timesync.daemon.csptp_service import CsptpService
from timesync.daemon.csptp_source import CsptpGroup
from timesync.daemon.group import Listener, Surroundings
from timesync.daemon.ptp_quality import Known
from timesync.servo.view import ServoState, SourceView
from timesync.sim.clock import ClockModel
from timesync.sim.hardware import Hardware
from timesync.sim.host import SimHost
from timesync.sim.law import Exactly
from timesync.sim.network import Path
from timesync.sim.ptp_network import CardModel, PtpSegment

AHEAD_S = 0.002
NAME, SERVER_ADDRESS, CLIENT_ADDRESS = "ptp1.example.org", "192.0.2.1", "192.0.2.2"
WAY_NS = 5_000
EXACT = CardModel(stamp_noise_s=0.0, kernel_noise_s=0.0, slowness=Exactly(20e-6))


class ServersCore:
    """What the core of the server's machine says of its clocks; set ``state``."""

    def __init__(self) -> None:
        self.state = ServoState.LOCKED

    def claims(self, clock: ClockId) -> Known:
        return Known(
            state=self.state,
            primary=True,
            was_locked=True,
            reference_id=b"GPS\0",
            bound_s=80e-9,
            deviation_s=20e-9,
            tai_utc=37,
            tai_utc_known=True,
            leap=Leap.NONE,
        )

    def coarse(
        self, clock: ClockId, *, apart_from: Collection[SourceId] = (), only: SourceId | None = None
    ) -> Coarse | None:
        return None

    def known(self, clock: ClockId) -> Coarse | None:
        return None

    def vouched(self, *, apart_from: Collection[SourceId]) -> bool:
        return False

    def adjustment(self, clock: ClockId, at: Instant[Tai]) -> Duration:
        return ZERO

    def seen(self, source: SourceId) -> SourceView | None:
        return None

    def epoch(self, clock: ClockId) -> int:
        return 0


class Bench:
    """Both machines; the client's clock is 2 ms ahead.

    Attributes:
        stand: The client's.
        group: The source under test.
        service: The server under test.
        notes: What the server's machine said.
    """

    def __init__(self, serve: dict[str, Any] | None = None, **source: Any) -> None:
        scene = Scene(Hardware(), model=ClockModel(offset=Duration.from_s(AHEAD_S)))
        self.stand = Stand(scene)
        network = scene.host.node.network
        network.dns.set(NAME, SERVER_ADDRESS)
        clock = make_clock(scene.world, name="far")
        self.far = SimHost(scene.world, network.node("far", "192.0.2.77"), [clock], INSTANT)
        self.segment = PtpSegment(scene.world)
        self.far_card = self.segment.card("far", model=EXACT)
        self.near_card = self.segment.card("near", model=EXACT)
        assert [SERVER_ADDRESS, CLIENT_ADDRESS] == [card.address("udp4") for card in (self.far_card, self.near_card)]
        self.segment.connect(self.far_card, self.near_card, Path(base=Duration.from_ns(WAY_NS), jitter=Exactly()))
        self.far.cards["eth0"] = self.far_card
        scene.host.cards["eth0"] = self.near_card
        self.notes: list[Noted] = []
        self.core = ServersCore()
        listener = Listener(_nothing, _nothing, _nothing, _nothing, self.notes.append)
        self.service = CsptpService(Surroundings(self.far, leap_table(), listener, self.core))
        self.config = served(**(serve or {}))
        entry = CsptpSource.model_validate({"csptp": NAME, "interface": "eth0", "poll": ["1s", "4s"], **source})
        self.group = CsptpGroup(entry, ClockId("system"), self.stand.around)

    def play(self, seconds: float, *acts: tuple[float, Any]) -> None:
        """Let both run, with a tick of the server's machine every second."""
        ticks = [(second + 0.5, self.service.tick) for second in range(int(seconds))]
        self.stand.play(self, seconds, *ticks, *acts)

    def start(self) -> None:
        self.service.configure(self.config)
        self.group.start()

    def stop(self) -> None:
        self.group.stop()
        self.service.close()


def served(**options: Any) -> Config:
    """A configuration of the server's machine, whose clock is called ``far``."""
    lists = {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}
    return Config.model_validate(
        {
            "clocks": {"system": {"discipline": False}, "far": {"virtual": {}}},
            "serve": {"clock": "far", "csptp": {"interfaces": ("eth0",), "transports": ("udp4",), **lists}},
        }
    )


def _nothing(*_: object) -> None:
    """For what is of no interest here."""
