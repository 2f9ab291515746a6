"""What a simulation file says of PTP: the cards of the simulated machine, and the clocks at the other end of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Self

from pydantic import Field, model_validator

from timesync.config.fields import ClockName
from timesync.config.hardware import Error, Hardware, Length, Part, Share
from timesync.config.model import Model
from timesync.config.ptp import Every, InterfaceName, Ptp
from timesync.config.written import refusal

Octet = Annotated[int, Field(ge=0, le=255)]


class Jitter(Model):
    """What queues add to the least delay; one of these."""

    exponential: Length | None = None
    """Mean of an exponential law."""
    normal: Length | None = None
    """Standard deviation of a normal law around the least delay."""
    lognormal: Length | None = None
    """Median of a lognormal law with sigma 1."""

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        if sum(law is not None for law in (self.exponential, self.normal, self.lognormal)) != 1:
            raise refusal("needs one of exponential, normal and lognormal")
        return self


class PtpCard(Model):
    """A network card of the simulated machine."""

    phc: Annotated[str, ClockName()] | None = None
    """The hardware clock that stamps, one of `hardware`; absent: the kernel stamps."""
    stamp_noise: Length = Field("0s", validate_default=True)
    """Standard deviation of a stamp, whoever takes it."""
    lost_stamps: Share = 0.0
    """Share of transmit stamps that never come."""
    slowness: Length = Field("50us", validate_default=True)
    """Mean time from a message's arrival, or the taking of a stamp, to the daemon's hearing of it."""
    disorder: Length = Field("0s", validate_default=True)
    """Mean of what each message waits besides, so that later ones may be heard of before it."""


class Late(Model):
    """Some messages meet a long queue."""

    share: Share
    """How many."""
    by: Length
    """How late they are."""


class PtpPeer(Model):
    """A clock that gives time, in every domain that the daemon has a port in on this card."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{0,62}$")]
    """Its name."""
    card: Annotated[str, InterfaceName()]
    """The card of ours that it is connected with."""
    offset: Error = Field("0s", validate_default=True)
    """Its clock minus truth at the start."""
    drift: Part = Field("0ppm", validate_default=True)
    """Frequency error of its clock."""
    priority1: Octet = 128
    """Who is grandmaster: the lowest number."""
    clock_class: Octet = 6
    """What it says of itself."""
    accuracy: Octet = 0x20
    """`clockAccuracy`: 32 is within 25 ns (IEEE 1588-2019, table 5)."""
    announce_interval: Every | None = None
    """Between its Announce messages; absent: as the daemon's profile says."""
    sync_interval: Every | None = None
    """Between its Sync messages; absent: as the daemon's profile says."""
    delay_interval: Every | None = None
    """Between the questions for the delay that it allows; absent: as the daemon's profile says."""
    delay: Length = Field("1us", validate_default=True)
    """Least delay of each direction."""
    asymmetry: Length = Field("0s", validate_default=True)
    """Added to the least delay of the way to it."""
    jitter: Jitter
    """What queues add, each way."""
    late: Late | None = None
    """What is added at times besides."""
    loss: Share = 0.0
    """Share of messages that vanish, each way."""


class PtpWorld(Model):
    """The PTP network."""

    cards: dict[Annotated[str, InterfaceName()], PtpCard] = Field({}, validate_default=True)
    """The network cards of the simulated machine, by their interfaces."""
    peers: Annotated[tuple[PtpPeer, ...], Field(max_length=32)] = ()
    """The clocks that give time."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        names = [peer.name for peer in self.peers]
        for index, peer in enumerate(self.peers):
            if peer.name in names[:index]:
                raise refusal(f"peers[{index}] is named {peer.name}, as another one is", step="peers")
            if peer.card not in self.cards:
                raise refusal(f"peers[{index}] is connected with {peer.card}, which is not in cards", step="peers")
        return self

    def unknown_clock(self, hardware: Hardware) -> str | None:
        """A hardware clock that a card is said to have and that is not there."""
        return next((c.phc for c in self.cards.values() if c.phc is not None and c.phc not in hardware.phcs), None)

    def unconnected(self, instances: tuple[Ptp, ...]) -> Iterator[tuple[int, int, str]]:
        """Ports without a card: the numbers of instance and port, and why."""
        for number, instance in enumerate(instances):
            for index, port in enumerate(instance.ports):
                if port.interface not in self.cards:
                    yield number, index, "no card of this name is in ptp.cards of the world"


NO_PTP = PtpWorld()
"""A world without any."""
