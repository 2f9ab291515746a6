"""What management changes of a clock: SET and COMMAND as values that the clock's owner carries out."""

from __future__ import annotations

from dataclasses import dataclass, replace

from timesync.base.time import Duration
from timesync.ptp.management.data import NO_THRESHOLD, UNCERTAIN
from timesync.ptp.settings import LocalQuality
from timesync.ptp.view import PortView
from timesync.wire import ptp_management_data as data_sets
from timesync.wire import ptp_management_np as np
from timesync.wire.ptp_management import ManagementData, ManagementId
from timesync.wire.ptp_message import Flags

_TIME_FLAGS = Flags(0x3F)


@dataclass(frozen=True, slots=True)
class SetPriority1:
    """``defaultDS.priority1`` shall be this."""

    value: int


@dataclass(frozen=True, slots=True)
class SetPriority2:
    """``defaultDS.priority2`` shall be this."""

    value: int


@dataclass(frozen=True, slots=True)
class SetGrandmaster:
    """What the clock claims of itself as grandmaster shall be this."""

    settings: np.GrandmasterSettings

    def applied(self, local: LocalQuality) -> LocalQuality:
        """The claims with these settings; ``synchronized`` stays the core's."""
        flags = self.settings.flags
        return replace(
            local,
            quality=self.settings.quality,
            utc_offset=self.settings.utc_offset,
            utc_offset_valid=Flags.UTC_OFFSET_VALID in flags,
            leap61=Flags.LEAP_61 in flags,
            leap59=Flags.LEAP_59 in flags,
            ptp_timescale=Flags.PTP_TIMESCALE in flags,
            time_traceable=Flags.TIME_TRACEABLE in flags,
            frequency_traceable=Flags.FREQUENCY_TRACEABLE in flags,
            time_source=self.settings.time_source,
        )


@dataclass(frozen=True, slots=True)
class SetUncertain:
    """Say this of synchronizationUncertain; None: what the parent says."""

    value: bool | None


@dataclass(frozen=True, slots=True)
class SetNeighborThreshold:
    """A port's ``neighborPropDelayThresh`` shall be this; None: any delay will do."""

    port: int
    threshold: Duration | None


@dataclass(frozen=True, slots=True)
class SetCorrections:
    """A port's latencies and asymmetry shall be these."""

    port: int
    corrections: np.PortCorrections


@dataclass(frozen=True, slots=True)
class EnablePort:
    """DESIGNATED_ENABLED."""

    port: int


@dataclass(frozen=True, slots=True)
class DisablePort:
    """DESIGNATED_DISABLED."""

    port: int


Command = (
    SetPriority1
    | SetPriority2
    | SetGrandmaster
    | SetUncertain
    | SetNeighborThreshold
    | SetCorrections
    | EnablePort
    | DisablePort
)


def clock_change(id_: int, data: ManagementData) -> tuple[Command, ManagementData] | None:
    """What a SET changes of the clock, and the answer; None when nothing. Raises ValueError for a wrong value."""
    match id_, data:
        case ManagementId.PRIORITY1, data_sets.Octet(value):
            return SetPriority1(value), data
        case ManagementId.PRIORITY2, data_sets.Octet(value):
            return SetPriority2(value), data
        case ManagementId.GRANDMASTER_SETTINGS_NP, np.GrandmasterSettings():
            return SetGrandmaster(data), replace(data, flags=data.flags & _TIME_FLAGS)
        case ManagementId.SYNCHRONIZATION_UNCERTAIN_NP, data_sets.Octet(value):
            known = {number: meaning for meaning, number in UNCERTAIN.items()}
            if value not in known:
                raise ValueError(f"synchronizationUncertain of {value}")
            return SetUncertain(known[value]), data
    return None


def port_change(id_: int, data: ManagementData, port: PortView) -> tuple[Command, ManagementData] | None:
    """What a SET changes of a port, and the answer; None when nothing."""
    match id_, data:
        case ManagementId.PORT_DATA_SET_NP, np.PortDataSetNp(limit_ns):
            threshold = None if limit_ns == NO_THRESHOLD else Duration.from_ns(limit_ns)
            # asCapable follows from the link and cannot be set.
            answer = np.PortDataSetNp(limit_ns, port.as_capable is not False)
            return SetNeighborThreshold(port.number, threshold), answer
        case ManagementId.PORT_CORRECTIONS_NP, np.PortCorrections():
            return SetCorrections(port.number, data), data
    return None


def port_command(id_: int, port: PortView) -> Command | None:
    """What a COMMAND does to a port; None when nothing."""
    match id_:
        case ManagementId.ENABLE_PORT:
            return EnablePort(port.number)
        case ManagementId.DISABLE_PORT:
            return DisablePort(port.number)
    return None
