"""From each entry of ``sources`` to what runs for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from timesync.base.ids import ClockId, SourceId
from timesync.config.schema import SYSTEM, Config
from timesync.config.sources import (
    GpsdSource,
    NmeaSource,
    NtpSource,
    PhcSource,
    PoolSource,
    PpsSource,
    ShmSource,
    SockSource,
)
from timesync.daemon.group import SourceGroup, Surroundings
from timesync.daemon.ntp_group import NtpGroup
from timesync.daemon.pair_group import LinkGroup, PhcGroup
from timesync.daemon.ptp_group import PtpGroup
from timesync.daemon.pulse_group import PulseGroup
from timesync.daemon.receiver_group import ReceiverGroup
from timesync.daemon.sample_group import ShmGroup, SockGroup
from timesync.daemon.stamping import card_clocks
from timesync.ntp.auth import SymmetricKey

Calibrations = Callable[[str], Mapping[str, object]]
"""What a source of this name had learnt of itself before the restart."""


def link_groups(config: Config, around: Surroundings) -> list[SourceGroup]:
    """The links between the system clock and every hardware clock that is not somebody else's reference for it."""
    system = ClockId(SYSTEM)
    references = {source.phc for source in config.sources if isinstance(source, PhcSource)}
    return [
        LinkGroup(around, ClockId(name), system, clock.pair_interval)
        for name, clock in config.clocks.items()
        if clock.phc is not None and name not in references
    ]


def ptp_groups(config: Config, around: Surroundings, calibration: Calibrations) -> list[SourceGroup]:
    """The PTP instances."""
    groups: list[SourceGroup] = []
    for entry in config.ptp_instances:
        group = PtpGroup(config, entry, around)
        group.remember(calibration(group.name))
        groups.append(group)
    return groups


def source_group(
    source: object,
    config: Config,
    around: Surroundings,
    keys: Mapping[int, SymmetricKey],
    calibration: Calibrations,
    taken: Callable[[], Iterable[str]],
) -> SourceGroup:
    """What runs for one entry."""
    match source:
        case NtpSource() | PoolSource():
            clock = ClockId(config.clock_of(source))
            return NtpGroup(source, clock, around, keys, taken=taken, cards=card_clocks(config, source))
        case PpsSource():
            numbering = config.numbering(source)
            only = None if numbering is None else SourceId(numbering.title)
            return PulseGroup(source, ClockId(config.clock_of(source)), around, only, _receiver(source, config))
        case GpsdSource() | NmeaSource():
            return ReceiverGroup(source, ClockId(config.clock_of(source)), around, calibration(source.title))
        case ShmSource():
            return ShmGroup(source, ClockId(config.clock_of(source)), around)
        case SockSource():
            return SockGroup(source, ClockId(config.clock_of(source)), around)
        case PhcSource():
            every = config.clocks[source.phc].pair_interval
            return PhcGroup(source, around, ClockId(config.clock_of(source)), every)
        case _:
            raise AssertionError(source)


def _receiver(source: PpsSource, config: Config) -> SourceId | None:
    """The receiver that pulses hang on: the one that numbers them, else the only one there is."""
    receivers = [one for one in config.sources if isinstance(one, GpsdSource | NmeaSource)]
    numbering = config.numbering(source)
    if numbering is not None:
        return SourceId(numbering.title) if numbering in receivers else None
    return SourceId(receivers[0].title) if len(receivers) == 1 else None
