"""Ids, settings and messages of management, as values."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field

from timesync.ptp.management.change import Command
from timesync.wire.ptp_management import ManagementId

CLOCK_IDS = frozenset(
    {
        ManagementId.USER_DESCRIPTION,
        ManagementId.SAVE_IN_NON_VOLATILE_STORAGE,
        ManagementId.RESET_NON_VOLATILE_STORAGE,
        ManagementId.INITIALIZE,
        ManagementId.FAULT_LOG,
        ManagementId.FAULT_LOG_RESET,
        ManagementId.DEFAULT_DATA_SET,
        ManagementId.CURRENT_DATA_SET,
        ManagementId.PARENT_DATA_SET,
        ManagementId.TIME_PROPERTIES_DATA_SET,
        ManagementId.PRIORITY1,
        ManagementId.PRIORITY2,
        ManagementId.DOMAIN,
        ManagementId.SLAVE_ONLY,
        ManagementId.TIME,
        ManagementId.CLOCK_ACCURACY,
        ManagementId.UTC_PROPERTIES,
        ManagementId.TRACEABILITY_PROPERTIES,
        ManagementId.TIMESCALE_PROPERTIES,
        ManagementId.PATH_TRACE_LIST,
        ManagementId.PATH_TRACE_ENABLE,
        ManagementId.GRANDMASTER_CLUSTER_TABLE,
        ManagementId.ACCEPTABLE_MASTER_TABLE,
        ManagementId.ACCEPTABLE_MASTER_MAX_TABLE_SIZE,
        ManagementId.ALTERNATE_TIME_OFFSET_ENABLE,
        ManagementId.ALTERNATE_TIME_OFFSET_NAME,
        ManagementId.ALTERNATE_TIME_OFFSET_MAX_KEY,
        ManagementId.ALTERNATE_TIME_OFFSET_PROPERTIES,
        ManagementId.TIME_STATUS_NP,
        ManagementId.GRANDMASTER_SETTINGS_NP,
        ManagementId.SUBSCRIBE_EVENTS_NP,
        ManagementId.SYNCHRONIZATION_UNCERTAIN_NP,
        ManagementId.EXTERNAL_GRANDMASTER_PROPERTIES_NP,
    }
)
"""Ids about the whole clock: answered once, whichever port is addressed."""

PORT_IDS = frozenset(
    {
        ManagementId.NULL_MANAGEMENT,
        ManagementId.CLOCK_DESCRIPTION,
        ManagementId.PORT_DATA_SET,
        ManagementId.LOG_ANNOUNCE_INTERVAL,
        ManagementId.ANNOUNCE_RECEIPT_TIMEOUT,
        ManagementId.LOG_SYNC_INTERVAL,
        ManagementId.VERSION_NUMBER,
        ManagementId.ENABLE_PORT,
        ManagementId.DISABLE_PORT,
        ManagementId.UNICAST_NEGOTIATION_ENABLE,
        ManagementId.UNICAST_MASTER_TABLE,
        ManagementId.UNICAST_MASTER_MAX_TABLE_SIZE,
        ManagementId.ACCEPTABLE_MASTER_TABLE_ENABLED,
        ManagementId.ALTERNATE_MASTER,
        ManagementId.MASTER_ONLY,
        ManagementId.DELAY_MECHANISM,
        ManagementId.LOG_MIN_PDELAY_REQ_INTERVAL,
    }
)
"""Ids about ports that are refused by NOT_SUPPORTED; all others, as in ptp4l, by NO_SUCH_ID."""

NOT_BUILT = frozenset(
    {ManagementId.CMLDS_INFO_NP, ManagementId.POWER_PROFILE_SETTINGS_NP, ManagementId.PORT_SERVICE_STATS_NP}
)
"""Ids about ports that ptp4l answers and this clock may not: a GET is refused by NOT_SUPPORTED."""

CHANGES = frozenset(
    {
        ManagementId.PRIORITY1,
        ManagementId.PRIORITY2,
        ManagementId.GRANDMASTER_SETTINGS_NP,
        ManagementId.SYNCHRONIZATION_UNCERTAIN_NP,
        ManagementId.PORT_DATA_SET_NP,
        ManagementId.PORT_CORRECTIONS_NP,
        ManagementId.ENABLE_PORT,
        ManagementId.DISABLE_PORT,
    }
)
"""Ids by which something can be changed."""


class Access(enum.Enum):
    """What the network may do."""

    NONE = "none"
    READ = "read"
    WRITE = "write"


@dataclass(frozen=True, slots=True, kw_only=True)
class ManagementSettings:
    """How a clock is managed.

    Attributes:
        network: What management messages from the network may do. They are not authenticated.
        forward: A boundary clock passes messages on that have hops left.
        performs: Which of CHANGES the owner carries out; others are refused.
        network_rate: Messages that the network may cause in a second, answers to a wildcard counted one by one.
        network_burst: So many of them at once.
    """

    network: Access = Access.READ
    forward: bool = True
    performs: frozenset[ManagementId] = CHANGES
    network_rate: int = 100
    network_burst: int = 200


@dataclass(frozen=True, slots=True)
class Local:
    """The Unix socket.

    Attributes:
        address: Path of the other end's socket.
        writable: It is the one on which changes are allowed.
    """

    address: str
    writable: bool


@dataclass(frozen=True, slots=True)
class Network:
    """A port of the clock.

    Attributes:
        port: ``portNumber``.
        address: Of the other end; None: the multicast address of the transport.
    """

    port: int
    address: str | None


Where = Local | Network


@dataclass(frozen=True, slots=True)
class Outgoing:
    """Something to send: over the network a general message (port 320)."""

    data: bytes
    to: Where


@dataclass(slots=True)
class Reaction:
    """What a message leads to.

    Attributes:
        outgoing: To be sent, in this order.
        commands: To be carried out. The answers say already what will be then.
    """

    outgoing: list[Outgoing] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)
