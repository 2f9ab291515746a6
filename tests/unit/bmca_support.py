"""Short ways to say who announces what."""

from __future__ import annotations

import random

from timesync.base.ids import ClockId, ClockIdentity, LinkId, PortIdentity, SourceId
from timesync.base.time import Duration, Instant, Mono
from timesync.ptp.bmca import Candidate, own_candidate
from timesync.ptp.datasets import DefaultDS
from timesync.ptp.foreign import ForeignTable
from timesync.ptp.settings import Bmca, InstanceSettings, Intervals, LocalQuality, PortSettings, Role
from timesync.wire.ptp_message import NO_FLAGS, Announce, ClockQuality, Flags, Header, Tlv

OWN = 0x50
"""The number of the clock under test; others are numbered below and above it."""

START: Instant[Mono] = Instant(0)


def identity(number: int) -> ClockIdentity:
    return ClockIdentity(number.to_bytes(8, "big"))


def port_of(number: int, port: int = 1) -> PortIdentity:
    return PortIdentity(identity(number), port)


def at(seconds: float) -> Instant[Mono]:
    return START + Duration.from_s(seconds)


def announce(
    sender: int | PortIdentity,
    *,
    grandmaster: int | None = None,
    steps: int = 0,
    priority1: int = 128,
    clock_class: int = 248,
    accuracy: int = 0xFE,
    variance: int = 0xFFFF,
    priority2: int = 128,
    sequence: int = 0,
    log_interval: int = 0,
    flags: Flags = NO_FLAGS,
    path: tuple[int, ...] = (),
) -> Announce:
    """What a clock announces; it is its own grandmaster unless another is named."""
    source = sender if isinstance(sender, PortIdentity) else port_of(sender)
    return Announce(
        header=Header(source=source, sequence_id=sequence & 0xFFFF, log_interval=log_interval, flags=flags),
        priority1=priority1,
        quality=ClockQuality(clock_class, accuracy, variance),
        priority2=priority2,
        grandmaster=source.clock if grandmaster is None else identity(grandmaster),
        steps_removed=steps,
        tlvs=(Tlv(0x0008, b"".join(map(identity, path))),) if path else (),
    )


def heard(message: Announce, port: int = 1, *, receiver: int = OWN, local_priority: int = 128) -> Candidate:
    """The same, as a port of the clock under test hears it."""
    return Candidate(message, port_of(receiver, port), local_priority)


def port_settings(
    number: int = 1,
    *,
    role: Role = Role.AUTO,
    log_interval: int | None = 0,
    timeout: int = 3,
    acceptable: frozenset[str] = frozenset(),
    local_priority: int = 128,
) -> PortSettings:
    return PortSettings(
        number=number,
        name=f"p{number}",
        clock=ClockId("phc"),
        source=SourceId(f"ptp{number}"),
        link=LinkId(f"ptp{number}"),
        role=role,
        intervals=Intervals(announce=log_interval),
        announce_receipt_timeout=timeout,
        acceptable=acceptable,
        local_priority=local_priority,
    )


def instance_settings(
    *ports: PortSettings,
    number: int = OWN,
    bmca: Bmca = Bmca.DEFAULT,
    slave_only: bool = False,
    maximum_steps: int = 255,
) -> InstanceSettings:
    return InstanceSettings(
        identity=identity(number), bmca=bmca, slave_only=slave_only, maximum_steps_removed=maximum_steps, ports=ports
    )


def own(clock_class: int = 248, *, priority1: int = 128, local_priority: int = 128, number: int = OWN) -> Candidate:
    """D0 of the clock under test."""
    settings = InstanceSettings(
        identity=identity(number), priority1=priority1, local_priority=local_priority, ports=(port_settings(),)
    )
    return own_candidate(DefaultDS.of(settings, LocalQuality(quality=ClockQuality(clock_class))))


def table(
    port: PortSettings | None = None, *, bmca: Bmca = Bmca.DEFAULT, maximum_steps: int = 255, seed: int = 1
) -> ForeignTable:
    port = port or port_settings()
    return ForeignTable(port, instance_settings(port, bmca=bmca, maximum_steps=maximum_steps), random.Random(seed))
