"""From the PTP network that a simulation file describes to the simulated cards and clocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from timesync.base.ids import ClockId
from timesync.base.time import Duration, Instant, Tai
from timesync.base.utc import LeapTable
from timesync.config.ptp import Interval, Ptp, PtpPort
from timesync.config.ptp_world import Late, PtpCard, PtpPeer, PtpWorld
from timesync.config.schema import Config
from timesync.daemon.ptp_assemble import clock_identity, instance_settings, port_spec
from timesync.daemon.sim_hardware import delay_law
from timesync.ptp.settings import InstanceSettings, Intervals, LocalQuality, Role
from timesync.sim.clock import ClockModel, SimClock
from timesync.sim.host import SimHost
from timesync.sim.law import DelayLaw, Exactly, Exponential, Spikes
from timesync.sim.network import Path
from timesync.sim.oscillator import Oscillator, Quartz
from timesync.sim.ptp_network import CardModel, PtpSegment, SimCard
from timesync.sim.ptp_peer import SimPtpPeer
from timesync.sim.world import World
from timesync.transport import PtpPortSpec
from timesync.wire.ptp_message import ClockQuality

_OURS = "daemon"
_VARIANCE = 0x4E5D
"""``offsetScaledLogVariance`` of a clock that is locked to a primary reference (ITU-T G.8275.1, 6.3)."""
_GNSS = 0x20
_MOST_CARDS = 64
"""On one segment: ours and those of all peers that a file can describe."""


@dataclass(slots=True)
class PtpStage:
    """The PTP network of one seed.

    Attributes:
        segments: By interface of ours.
        cards: Ours, by interface.
        peers: The instances of each peer, by its name.
        qualities: What each peer says of its time.
    """

    segments: dict[str, PtpSegment]
    cards: dict[str, SimCard]
    peers: dict[str, list[SimPtpPeer]]
    qualities: dict[str, LocalQuality]

    def start(self) -> None:
        """Let the peers live, on a running loop."""
        for name, instances in self.peers.items():
            for instance in instances:
                instance.start(self.qualities[name])

    def outage(self, name: str, since: Instant[Tai], until: Instant[Tai]) -> None:
        """Nothing comes from a peer, and nothing to it."""
        for instance in self.peers[name]:
            card = instance.card
            self.segments[card.interface].outage(self.cards[card.interface], card, since, until)

    def step(self, name: str, by: Duration) -> None:
        """Set the clock of a peer forward."""
        for clock in {id(one.clock): one.clock for one in self.peers[name]}.values():
            clock.disturb(by)


def simulated_ptp(world: World, described: PtpWorld, config: Config, host: SimHost, leaps: LeapTable) -> PtpStage:
    """Plug the cards into the machine, and connect the peers."""
    stage = PtpStage({}, {}, {}, {})
    for index, (interface, card) in enumerate(described.cards.items()):
        segment = stage.segments[interface] = PtpSegment(world, interface, first=1 + _MOST_CARDS * index)
        phc = None if card.phc is None else host.clocks[ClockId(card.phc)]
        stage.cards[interface] = segment.card(_OURS, phc=phc, interface=interface, model=_card_model(card))
        host.cards[interface] = stage.cards[interface]
    for peer in described.peers:
        quartz = Oscillator(world, f"ptp/{peer.name}", Quartz(frequency_error=peer.drift))
        clock = SimClock(world, quartz, leaps, ClockModel(offset=peer.offset), peer.name)
        far = stage.segments[peer.card].card(peer.name, phc=clock, interface=peer.card, model=_PERFECT)
        _connect(stage, far, peer)
        stage.qualities[peer.name] = _quality(peer, leaps.tai_utc(leaps.utc(world.now)))
        stage.peers[peer.name] = [
            SimPtpPeer(
                world, far, clock, _settings(config, entry, port, far.mac, peer), _spec(config, entry, port, clock)
            )
            for entry, port in _ports(config, peer.card)
        ]
    return stage


_PERFECT = CardModel(slowness=Exactly(2e-6))
"""Its stamps are exact, and it answers at once."""


def _card_model(card: PtpCard) -> CardModel:
    noise = card.stamp_noise.s()
    return CardModel(
        stamp_noise_s=noise,
        kernel_noise_s=noise,
        transmit_stamp_loss=card.lost_stamps,
        slowness=Exponential(card.slowness.s()),
        disorder=Exponential(card.disorder.s()),
    )


def _connect(stage: PtpStage, far: SimCard, peer: PtpPeer) -> None:
    base, law = delay_law(peer.delay, peer.jitter)
    law = _with_late(law, peer.late)
    here, segment = stage.cards[peer.card], stage.segments[peer.card]
    back = Path(base=base, jitter=law, loss=peer.loss)
    segment.connect(here, far, replace(back, base=base + peer.asymmetry), back)


def _with_late(law: DelayLaw, late: Late | None) -> DelayLaw:
    return law if late is None else Spikes(law, Exactly(late.by.s()), late.share)


def _ports(config: Config, interface: str) -> Iterator[tuple[Ptp, PtpPort]]:
    """The daemon's ports on an interface."""
    for entry in config.ptp_instances:
        for port in entry.ports:
            if port.interface == interface:
                yield entry, port


def _settings(config: Config, entry: Ptp, port: PtpPort, mac: bytes, peer: PtpPeer) -> InstanceSettings:
    """A grandmaster of the daemon's own profile: it listens to nobody."""
    noise = {one.interface: 1e-9 for one in entry.ports}
    ours = instance_settings(config, entry, clock_identity(mac), noise)
    index = entry.ports.index(port)
    own = ours.ports[index]
    mine = replace(
        own,
        number=1,
        role=Role.TIME_TRANSMITTER,
        clock=ClockId(peer.name),
        operational=None,
        intervals=Intervals(
            announce=None if own.intervals.announce is None else _log2(peer.announce_interval, own.intervals.announce),
            sync=_log2(peer.sync_interval, own.intervals.sync),
            delay=_log2(peer.delay_interval, own.intervals.delay),
        ),
        # What is known of the daemon's own card and cable is its to correct.
        asymmetry=Duration(0),
        ingress_latency=Duration(0),
        egress_latency=Duration(0),
    )
    return replace(ours, slave_only=False, priority1=peer.priority1, relay=False, ports=(mine,))


def _spec(config: Config, entry: Ptp, port: PtpPort, clock: SimClock) -> PtpPortSpec:
    return replace(port_spec(config, entry, port), clock=clock.id, timestamping="hardware")


def _log2(given: Interval | None, otherwise: int) -> int:
    return otherwise if given is None else given.log2


def _quality(peer: PtpPeer, tai_utc: int) -> LocalQuality:
    return LocalQuality(
        quality=ClockQuality(peer.clock_class, peer.accuracy, _VARIANCE),
        utc_offset=tai_utc,
        utc_offset_valid=True,
        time_traceable=True,
        frequency_traceable=True,
        time_source=_GNSS,
        synchronized=True,
    )
