"""What the ports of one instance share: its data sets, its claims, and the numbers of what is under way."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from timesync.base.ids import PortIdentity
from timesync.base.machine import Rng
from timesync.base.time import ZERO, Duration, Instant, Tai
from timesync.ptp.datasets import DataSets, DefaultDS
from timesync.ptp.extras import Extras
from timesync.ptp.gptp.relay import Relay
from timesync.ptp.security import Security
from timesync.ptp.settings import InstanceSettings, LocalQuality, PortSettings
from timesync.wire import ptp
from timesync.wire.ptp_message import LOG_INTERVAL_NONE, NO_FLAGS, Flags, Header, Message, MessageType

_FALL_BACK = 3
"""Event messages in a row without a transmit stamp before minorVersion 0 is tried."""


@dataclass(slots=True)
class Context:
    """State that all ports read and the instance writes.

    Attributes:
        settings: Of the instance.
        local: What this clock may claim of its own time.
        default: ``defaultDS``.
        sets: What the last state decision wrote.
        rng: Spreads timers.
        uncertain: What management wants said as ``synchronizationUncertain``; None: what the parent says.
        tokens: Numbers event messages on their way.
        relay: Of a time-aware bridge.
        time_base: ``gmTimeBaseIndicator``: how many times our own time jumped (802.1AS, 9.2.2.3).
        one_step: Numbers of the ports whose card writes the time into Sync messages (7.3.8.3).
        security: Signs and verifies messages; None: they have no AUTHENTICATION TLV (16.14).
        extras: What is said in the TLVs of profiles.
        phase_change: ``lastGmPhaseChange``: by how much our own time jumped last (802.1AS, 9.2.2.4).
    """

    settings: InstanceSettings
    local: LocalQuality
    default: DefaultDS
    sets: DataSets
    rng: Rng
    uncertain: bool | None = None
    tokens: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    relay: Relay | None = None
    time_base: int = 0
    one_step: frozenset[int] = frozenset()
    security: Security | None = None
    extras: Extras = field(default_factory=Extras)
    phase_change: Duration = field(default=ZERO)

    @property
    def is_grandmaster(self) -> bool:
        """The time is our own: this clock follows nobody."""
        return self.sets.parent.parent.clock == self.settings.identity and not self.sets.current.steps_removed

    def sends_one_step(self, number: int) -> bool:
        """Whether a card is to write the time into Sync: it knows its own timescale only (see ``told``)."""
        return number in self.one_step and self.sets.time_properties.ptp_timescale

    def told(self, at: Instant[Tai]) -> Instant[Tai]:
        """A time as it is sent, on the grandmaster's timescale: what is no TAI was taken for UTC when it came in."""
        if self.sets.time_properties.ptp_timescale:
            return at
        return at - Duration.from_s(self.local.utc_offset)


@dataclass(slots=True)
class PortCounters:
    """What went in and out of a port (linuxptp's PORT_STATS_NP), and what was wrong with it.

    Attributes:
        received: Messages by type.
        sent: Messages by type.
        drops: Refused ones by reason.
        lost_stamps: Transmit stamps that never came.
    """

    received: Counter[MessageType] = field(default_factory=Counter)
    sent: Counter[MessageType] = field(default_factory=Counter)
    drops: Counter[str] = field(default_factory=Counter)
    lost_stamps: int = 0


class Headers:
    """Makes the headers of a port's messages, and signs them; each type has a sequence of its own (7.3.7, table 42)."""

    def __init__(self, context: Context, port: PortSettings) -> None:
        self._context = context
        self._identity = PortIdentity(context.settings.identity, port.number)
        self._sequences: dict[MessageType, int] = {}
        self.minor_version = context.settings.minor_version
        self._unstamped = 0

    @property
    def identity(self) -> PortIdentity:
        """Of the port."""
        return self._identity

    def stamped(self, came: bool) -> None:
        """Whether the transmit stamp of an event message came. Some cards stamp messages of minorVersion 0 only."""
        self._unstamped = 0 if came else self._unstamped + 1
        if self._unstamped >= _FALL_BACK:
            self.minor_version = 0

    def make(
        self,
        kind: MessageType,
        *,
        sequence: int | None = None,
        log_interval: int = LOG_INTERVAL_NONE,
        flags: Flags = NO_FLAGS,
        correction: Duration = ZERO,
    ) -> Header:
        """A header; the sequence is the next of its type unless it answers something."""
        if sequence is None:
            sequence = self._sequences[kind] = (self._sequences.get(kind, -1) + 1) & 0xFFFF
        settings = self._context.settings
        return Header(
            source=self._identity,
            sequence_id=sequence,
            domain=settings.domain,
            sdo_id=settings.sdo_id,
            flags=flags,
            correction=correction,
            log_interval=log_interval,
            minor_version=self.minor_version,
        )

    def encode(self, message: Message) -> bytes:
        """The octets of a message, with its AUTHENTICATION TLV where the domain has keys (16.14)."""
        data = ptp.encode(message)
        security = self._context.security
        return data if security is None else security.seal(data)
