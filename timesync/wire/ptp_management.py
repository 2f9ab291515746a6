"""Management TLVs (IEEE 1588-2019, 15.5.2 and 15.5.4), and which data belongs to which ``managementId``."""

from __future__ import annotations

import enum
import struct
from dataclasses import dataclass
from typing import Protocol

from timesync.wire import ptp_management_data as data_sets
from timesync.wire import ptp_management_np as np
from timesync.wire.error import WireError
from timesync.wire.ptp_layout import Cursor, text_octets
from timesync.wire.ptp_message import Tlv
from timesync.wire.ptp_tlv import TlvType, even, expect, pack


class ManagementId(enum.IntEnum):
    """``managementId`` (table 59); from 0xC000 those of linuxptp."""

    NULL_MANAGEMENT = 0x0000
    CLOCK_DESCRIPTION = 0x0001
    USER_DESCRIPTION = 0x0002
    SAVE_IN_NON_VOLATILE_STORAGE = 0x0003
    RESET_NON_VOLATILE_STORAGE = 0x0004
    INITIALIZE = 0x0005
    FAULT_LOG = 0x0006
    FAULT_LOG_RESET = 0x0007
    DEFAULT_DATA_SET = 0x2000
    CURRENT_DATA_SET = 0x2001
    PARENT_DATA_SET = 0x2002
    TIME_PROPERTIES_DATA_SET = 0x2003
    PORT_DATA_SET = 0x2004
    PRIORITY1 = 0x2005
    PRIORITY2 = 0x2006
    DOMAIN = 0x2007
    SLAVE_ONLY = 0x2008
    LOG_ANNOUNCE_INTERVAL = 0x2009
    ANNOUNCE_RECEIPT_TIMEOUT = 0x200A
    LOG_SYNC_INTERVAL = 0x200B
    VERSION_NUMBER = 0x200C
    ENABLE_PORT = 0x200D
    DISABLE_PORT = 0x200E
    TIME = 0x200F
    CLOCK_ACCURACY = 0x2010
    UTC_PROPERTIES = 0x2011
    TRACEABILITY_PROPERTIES = 0x2012
    TIMESCALE_PROPERTIES = 0x2013
    UNICAST_NEGOTIATION_ENABLE = 0x2014
    PATH_TRACE_LIST = 0x2015
    PATH_TRACE_ENABLE = 0x2016
    GRANDMASTER_CLUSTER_TABLE = 0x2017
    UNICAST_MASTER_TABLE = 0x2018
    UNICAST_MASTER_MAX_TABLE_SIZE = 0x2019
    ACCEPTABLE_MASTER_TABLE = 0x201A
    ACCEPTABLE_MASTER_TABLE_ENABLED = 0x201B
    ACCEPTABLE_MASTER_MAX_TABLE_SIZE = 0x201C
    ALTERNATE_MASTER = 0x201D
    ALTERNATE_TIME_OFFSET_ENABLE = 0x201E
    ALTERNATE_TIME_OFFSET_NAME = 0x201F
    ALTERNATE_TIME_OFFSET_MAX_KEY = 0x2020
    ALTERNATE_TIME_OFFSET_PROPERTIES = 0x2021
    EXTERNAL_PORT_CONFIGURATION_ENABLED = 0x3000
    MASTER_ONLY = 0x3001
    HOLDOVER_UPGRADE_ENABLE = 0x3002
    EXT_PORT_CONFIG_PORT_DATA_SET = 0x3003
    DELAY_MECHANISM = 0x6000
    LOG_MIN_PDELAY_REQ_INTERVAL = 0x6001
    TIME_STATUS_NP = 0xC000
    GRANDMASTER_SETTINGS_NP = 0xC001
    PORT_DATA_SET_NP = 0xC002
    SUBSCRIBE_EVENTS_NP = 0xC003
    PORT_PROPERTIES_NP = 0xC004
    PORT_STATS_NP = 0xC005
    SYNCHRONIZATION_UNCERTAIN_NP = 0xC006
    PORT_SERVICE_STATS_NP = 0xC007
    UNICAST_MASTER_TABLE_NP = 0xC008
    PORT_HWCLOCK_NP = 0xC009
    POWER_PROFILE_SETTINGS_NP = 0xC00A
    CMLDS_INFO_NP = 0xC00B
    PORT_CORRECTIONS_NP = 0xC00C
    EXTERNAL_GRANDMASTER_PROPERTIES_NP = 0xC00D


class ErrorId(enum.IntEnum):
    """``managementErrorId`` (table 109)."""

    RESPONSE_TOO_BIG = 0x0001
    NO_SUCH_ID = 0x0002
    WRONG_LENGTH = 0x0003
    WRONG_VALUE = 0x0004
    NOT_SETABLE = 0x0005
    NOT_SUPPORTED = 0x0006
    GENERAL_ERROR = 0xFFFE


_ID = struct.Struct(">H")
_ERROR = struct.Struct(">HH4x")


@dataclass(frozen=True, slots=True)
class ManagementTlv:
    """MANAGEMENT (15.5.2).

    Attributes:
        id: ``managementId``, any number: see ManagementId.
        data: ``dataField``, of even length. A GET may have it empty, or of the right length and without meaning.
    """

    id: int
    data: bytes = b""

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> ManagementTlv:
        """Raises WireError."""
        value = expect(tlv, TlvType.MANAGEMENT)
        if len(value) < _ID.size:
            raise WireError("management TLV without an id")
        return cls(_ID.unpack_from(value)[0], value[_ID.size :])

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        return Tlv(TlvType.MANAGEMENT, pack(_ID, self.id) + self.data)


@dataclass(frozen=True, slots=True)
class ManagementError:
    """MANAGEMENT_ERROR_STATUS (15.5.4).

    Attributes:
        error: ``managementErrorId``, any number: see ErrorId.
        id: The ``managementId`` that it is about.
        text: ``displayData``, for people.
    """

    error: int
    id: int
    text: str = ""

    @classmethod
    def from_tlv(cls, tlv: Tlv) -> ManagementError:
        """Raises WireError."""
        value = expect(tlv, TlvType.MANAGEMENT_ERROR_STATUS)
        if len(value) < _ERROR.size:
            raise WireError(f"management error of {len(value)} octets")
        error, about = _ERROR.unpack_from(value)
        rest = Cursor(value[_ERROR.size :])
        text = rest.text() if len(value) > _ERROR.size else ""
        rest.finish()
        return cls(error, about, text)

    def to_tlv(self) -> Tlv:
        """Raises ValueError."""
        text = text_octets(self.text) if self.text else b""
        return Tlv(TlvType.MANAGEMENT_ERROR_STATUS, even(pack(_ERROR, self.error, self.id) + text))


class ManagementData(Protocol):
    """What all classes of management data have."""

    def encode(self) -> bytes:
        """The ``dataField``; raises ValueError when a value does not fit."""
        ...


class _DataType(Protocol):
    def decode(self, data: bytes, /) -> ManagementData: ...


DATA: dict[int, _DataType] = {
    ManagementId.NULL_MANAGEMENT: data_sets.Empty,
    ManagementId.CLOCK_DESCRIPTION: data_sets.ClockDescription,
    ManagementId.USER_DESCRIPTION: data_sets.Text,
    ManagementId.SAVE_IN_NON_VOLATILE_STORAGE: data_sets.Empty,
    ManagementId.RESET_NON_VOLATILE_STORAGE: data_sets.Empty,
    ManagementId.FAULT_LOG_RESET: data_sets.Empty,
    ManagementId.DEFAULT_DATA_SET: data_sets.DefaultDataSet,
    ManagementId.CURRENT_DATA_SET: data_sets.CurrentDataSet,
    ManagementId.PARENT_DATA_SET: data_sets.ParentDataSet,
    ManagementId.TIME_PROPERTIES_DATA_SET: data_sets.TimePropertiesDataSet,
    ManagementId.PORT_DATA_SET: data_sets.PortDataSet,
    ManagementId.PRIORITY1: data_sets.Octet,
    ManagementId.PRIORITY2: data_sets.Octet,
    ManagementId.DOMAIN: data_sets.Octet,
    ManagementId.SLAVE_ONLY: data_sets.Octet,
    ManagementId.LOG_ANNOUNCE_INTERVAL: data_sets.SignedOctet,
    ManagementId.ANNOUNCE_RECEIPT_TIMEOUT: data_sets.Octet,
    ManagementId.LOG_SYNC_INTERVAL: data_sets.SignedOctet,
    ManagementId.VERSION_NUMBER: data_sets.Octet,
    ManagementId.ENABLE_PORT: data_sets.Empty,
    ManagementId.DISABLE_PORT: data_sets.Empty,
    ManagementId.TIME: data_sets.CurrentTime,
    ManagementId.CLOCK_ACCURACY: data_sets.Octet,
    ManagementId.UTC_PROPERTIES: data_sets.UtcProperties,
    ManagementId.TRACEABILITY_PROPERTIES: data_sets.Octet,
    ManagementId.TIMESCALE_PROPERTIES: data_sets.TimescaleProperties,
    ManagementId.UNICAST_NEGOTIATION_ENABLE: data_sets.Octet,
    ManagementId.PATH_TRACE_LIST: data_sets.PathTraceList,
    ManagementId.PATH_TRACE_ENABLE: data_sets.Octet,
    ManagementId.ALTERNATE_TIME_OFFSET_ENABLE: data_sets.AlternateTimeOffsetEnable,
    ManagementId.ALTERNATE_TIME_OFFSET_NAME: data_sets.AlternateTimeOffsetName,
    ManagementId.ALTERNATE_TIME_OFFSET_MAX_KEY: data_sets.Octet,
    ManagementId.ALTERNATE_TIME_OFFSET_PROPERTIES: data_sets.AlternateTimeOffsetProperties,
    ManagementId.MASTER_ONLY: data_sets.Octet,
    ManagementId.DELAY_MECHANISM: data_sets.Octet,
    ManagementId.LOG_MIN_PDELAY_REQ_INTERVAL: data_sets.SignedOctet,
    ManagementId.TIME_STATUS_NP: np.TimeStatus,
    ManagementId.GRANDMASTER_SETTINGS_NP: np.GrandmasterSettings,
    ManagementId.PORT_DATA_SET_NP: np.PortDataSetNp,
    ManagementId.SUBSCRIBE_EVENTS_NP: np.SubscribeEvents,
    ManagementId.PORT_PROPERTIES_NP: np.PortProperties,
    ManagementId.PORT_STATS_NP: np.PortStats,
    ManagementId.SYNCHRONIZATION_UNCERTAIN_NP: data_sets.Octet,
    ManagementId.PORT_SERVICE_STATS_NP: np.PortServiceStats,
    ManagementId.UNICAST_MASTER_TABLE_NP: np.UnicastTable,
    ManagementId.PORT_HWCLOCK_NP: np.PortHardwareClock,
    ManagementId.POWER_PROFILE_SETTINGS_NP: np.PowerProfileSettings,
    ManagementId.CMLDS_INFO_NP: np.CmldsInfo,
    ManagementId.PORT_CORRECTIONS_NP: np.PortCorrections,
    ManagementId.EXTERNAL_GRANDMASTER_PROPERTIES_NP: np.ExternalGrandmaster,
}
"""What reads the data of an id; ids that are missing here have data that nobody reads."""


def read_data(tlv: ManagementTlv) -> ManagementData | None:
    """The data of a TLV as a value; None for an id that is not in DATA. Raises WireError, also for an empty GET."""
    kind = DATA.get(tlv.id)
    return None if kind is None else kind.decode(tlv.data)


def with_data(id_: ManagementId, data: ManagementData) -> Tlv:
    """A management TLV with its data. Raises ValueError when a value does not fit."""
    return ManagementTlv(id_, data.encode()).to_tlv()
