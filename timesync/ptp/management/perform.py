"""What management commands do to an instance."""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from timesync.base.time import Instant, Mono
from timesync.ptp.effect import PtpEffect
from timesync.ptp.instance import Instance
from timesync.ptp.management.change import (
    Command,
    DisablePort,
    EnablePort,
    SetCorrections,
    SetGrandmaster,
    SetNeighborThreshold,
    SetPriority1,
    SetPriority2,
    SetUncertain,
)
from timesync.ptp.settings import Bmca, InstanceSettings, PortSettings, Role

_NEVER_GRANDMASTER = 255


def perform(instance: Instance, command: Command, now: Instant[Mono]) -> list[PtpEffect]:
    """Carry out one command; it holds until the next of its kind, or until the daemon starts anew."""
    settings = instance.context.settings
    match command:
        case SetPriority1():
            return instance.configure(_with_priority1(settings, command.value), now)
        case SetPriority2():
            return instance.configure(replace(settings, priority2=command.value), now)
        case SetGrandmaster():
            return instance.claim(command.applied, now)
        case SetUncertain():
            return instance.set_uncertain(command.value, now)
        case SetNeighborThreshold():
            port = replace(_port(settings, command.port), neighbor_threshold=command.threshold)
            return instance.configure(_with_port(settings, port), now)
        case SetCorrections():
            wanted = command.corrections
            port = replace(
                _port(settings, command.port),
                egress_latency=wanted.egress_latency,
                ingress_latency=wanted.ingress_latency,
                asymmetry=wanted.asymmetry,
            )
            return instance.configure(_with_port(settings, port), now)
        case EnablePort():
            return instance.designate(command.port, now, enabled=True)
        case DisablePort():
            return instance.designate(command.port, now, enabled=False)
        case _:
            assert_never(command)


def _with_priority1(settings: InstanceSettings, value: int) -> InstanceSettings:
    """With gPTP, 255 says that a clock is never grandmaster (IEEE 802.1AS-2020, 8.6.2.1)."""
    receiver_only = settings.slave_only
    if settings.gptp and settings.bmca is not Bmca.NONE:
        receiver_only = value == _NEVER_GRANDMASTER or all(port.role is Role.TIME_RECEIVER for port in settings.ports)
    return replace(settings, priority1=value, slave_only=receiver_only)


def _port(settings: InstanceSettings, number: int) -> PortSettings:
    return next(port for port in settings.ports if port.number == number)


def _with_port(settings: InstanceSettings, changed: PortSettings) -> InstanceSettings:
    ports = (changed if port.number == changed.number else port for port in settings.ports)
    return replace(settings, ports=tuple(ports))
