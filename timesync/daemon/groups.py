"""From each entry of a configuration to what runs for it, over all that it depends on: its wiring."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import assert_never

from timesync.base.ids import ClockId, SourceId
from timesync.base.time import Duration
from timesync.config.ptp import Ptp
from timesync.config.schema import SYSTEM, Config
from timesync.config.sources import (
    CsptpSource,
    GpsdSource,
    NmeaSource,
    NtpSource,
    PhcSource,
    PoolSource,
    PpsSource,
    RoughtimeSource,
    ShmSource,
    SockSource,
    SourceOptions,
)
from timesync.daemon.csptp_source import CsptpGroup
from timesync.daemon.finder import Finder
from timesync.daemon.group import SourceGroup, Surroundings
from timesync.daemon.ntp_group import NtpGroup
from timesync.daemon.pair_group import LinkGroup, PhcGroup
from timesync.daemon.ptp_group import PtpGroup
from timesync.daemon.pulse_group import PulseGroup
from timesync.daemon.receiver_group import ReceiverGroup
from timesync.daemon.roughtime_group import RoughtimeGroup
from timesync.daemon.sample_group import ShmGroup, SockGroup
from timesync.daemon.stamping import card_clocks
from timesync.ntp.auth import SymmetricKey

Calibrations = Callable[[str], Mapping[str, object]]
"""What a source of this name had learnt of itself before the restart."""


@dataclass(frozen=True, slots=True)
class LinkWiring:
    """A link between the system clock and a hardware clock.

    Attributes:
        clock: The hardware clock.
        every: How often they are compared.
    """

    clock: ClockId
    every: Duration


@dataclass(frozen=True, slots=True)
class PtpWiring:
    """A PTP instance.

    Attributes:
        entry: Its entry.
        config: The rest, of which it reads the clocks and the keys that its entry names. Neither changes while the
            daemon runs, since ``adoptable`` keeps them as they are, so it is not compared.
    """

    entry: Ptp
    config: Config = field(compare=False)


@dataclass(frozen=True, slots=True)
class NtpWiring:
    """Servers that are asked.

    Attributes:
        source: The entry.
        clock: The clock that is measured by kernel timestamps.
        cards: The clocks of network cards that may be measured instead.
        key: The key of the entry, if it has one.
        loops: Others may take their time from us, so a loop must be looked for (NTPv5).
    """

    source: NtpSource | PoolSource
    clock: ClockId
    cards: frozenset[ClockId]
    key: SymmetricKey | None
    loops: bool = False


@dataclass(frozen=True, slots=True)
class PulseWiring:
    """Pulses.

    Attributes:
        source: The entry.
        clock: The clock that stamps them.
        only: The one source that may number them; None: any.
        receiver: The receiver that they hang on; None: none, or nobody knows which.
    """

    source: PpsSource
    clock: ClockId
    only: SourceId | None
    receiver: SourceId | None


@dataclass(frozen=True, slots=True)
class DeviceWiring:
    """A receiver, samples that another program leaves, or a server of CSPTP.

    Attributes:
        source: The entry.
        clock: The clock that is measured.
    """

    source: GpsdSource | NmeaSource | ShmSource | SockSource | CsptpSource
    clock: ClockId


@dataclass(frozen=True, slots=True)
class PhcWiring:
    """A hardware clock as a reference.

    Attributes:
        source: The entry.
        clock: The clock that is measured.
        every: How often they are compared.
    """

    source: PhcSource
    clock: ClockId
    every: Duration


@dataclass(frozen=True, slots=True)
class RoughtimeWiring:
    """All Roughtime servers, which count together.

    Attributes:
        sources: The entries.
        clock: The clock that is shown against them.
    """

    sources: tuple[RoughtimeSource, ...]
    clock: ClockId


Wiring = LinkWiring | PtpWiring | NtpWiring | PulseWiring | DeviceWiring | PhcWiring | RoughtimeWiring
"""All that a group is made from; groups of equal wirings do the same."""


def wirings(config: Config, keys: Mapping[int, SymmetricKey]) -> list[Wiring]:
    """What a configuration asks for: links between clocks, PTP, and the sources in their order."""
    references = {source.phc for source in config.sources if isinstance(source, PhcSource)}
    rough = tuple(source for source in config.sources if isinstance(source, RoughtimeSource))
    return [
        # A hardware clock that is somebody else's reference is not linked to the clocks that follow it.
        *(
            LinkWiring(ClockId(name), clock.pair_interval)
            for name, clock in config.clocks.items()
            if clock.phc is not None and name not in references
        ),
        *(PtpWiring(entry, config) for entry in config.ptp_instances),
        # Before the sources, so that their first word is waited for where that matters.
        *([RoughtimeWiring(rough, ClockId(config.served_clock()))] if rough else []),
        *(source_wiring(source, config, keys) for source in config.sources if source not in rough),
    ]


def source_wiring(source: SourceOptions, config: Config, keys: Mapping[int, SymmetricKey]) -> Wiring:
    """All that the group of one entry depends on, other entries and keys included."""
    clock = ClockId(config.clock_of(source))
    match source:
        case NtpSource() | PoolSource():
            key = None if source.key is None else keys[source.key]
            loops = source.may_speak_5 and config.serve.ntp is not None
            return NtpWiring(source, clock, card_clocks(config, source), key, loops)
        case PpsSource():
            numbering = config.numbering(source)
            only = None if numbering is None else SourceId(numbering.title)
            return PulseWiring(source, clock, only, _receiver(source, config))
        case GpsdSource() | NmeaSource() | ShmSource() | SockSource() | CsptpSource():
            return DeviceWiring(source, clock)
        case PhcSource():
            return PhcWiring(source, clock, config.clocks[source.phc].pair_interval)
        case _:
            raise AssertionError(source)


def make_group(
    wiring: Wiring, around: Surroundings, calibration: Calibrations, taken: Callable[[], Iterable[str]]
) -> SourceGroup:
    """What runs for a wiring; nothing is opened or asked before it is started.

    Args:
        wiring: Of what.
        around: What it works with.
        calibration: What it had learnt of itself before the restart.
        taken: Addresses that other groups ask.
    """
    match wiring:
        case LinkWiring():
            return LinkGroup(around, wiring.clock, ClockId(SYSTEM), wiring.every)
        case PtpWiring():
            group = PtpGroup(wiring.config, wiring.entry, around)
            group.remember(calibration(group.name))
            return group
        case NtpWiring():
            keys = {} if wiring.key is None else {wiring.key.id: wiring.key}
            finder = _nts_finder(wiring, around) if wiring.source.nts else None
            return NtpGroup(
                wiring.source,
                wiring.clock,
                around,
                keys,
                taken=taken,
                cards=wiring.cards,
                finder=finder,
                loops=wiring.loops,
            )
        case PulseWiring():
            return PulseGroup(wiring.source, wiring.clock, around, wiring.only, wiring.receiver)
        case DeviceWiring():
            return _device_group(wiring, around, calibration)
        case PhcWiring():
            return PhcGroup(wiring.source, around, wiring.clock, wiring.every)
        case RoughtimeWiring():
            return RoughtimeGroup(wiring.sources, wiring.clock, around)
        case _:
            assert_never(wiring)


def _nts_finder(wiring: NtpWiring, around: Surroundings) -> Finder:
    # Only who has NTS pays for TLS.
    from timesync.daemon.nts_finder import NtsFinder

    return NtsFinder(wiring.source, wiring.clock, around)


def _device_group(wiring: DeviceWiring, around: Surroundings, calibration: Calibrations) -> SourceGroup:
    match wiring.source:
        case GpsdSource() | NmeaSource():
            return ReceiverGroup(wiring.source, wiring.clock, around, calibration(wiring.source.title))
        case ShmSource():
            return ShmGroup(wiring.source, wiring.clock, around)
        case SockSource():
            return SockGroup(wiring.source, wiring.clock, around)
        case CsptpSource():
            return CsptpGroup(wiring.source, wiring.clock, around)
        case _:
            assert_never(wiring.source)


def _receiver(source: PpsSource, config: Config) -> SourceId | None:
    """The receiver that pulses hang on: the one that numbers them, else the only one there is."""
    receivers = [one for one in config.sources if isinstance(one, GpsdSource | NmeaSource)]
    numbering = config.numbering(source)
    if numbering is not None:
        return SourceId(numbering.title) if numbering in receivers else None
    return SourceId(receivers[0].title) if len(receivers) == 1 else None
