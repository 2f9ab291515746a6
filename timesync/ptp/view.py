"""An instance and its ports at one moment, for status and management."""

from __future__ import annotations

from dataclasses import dataclass, replace

from timesync.base.ids import PortIdentity
from timesync.base.time import Duration
from timesync.ptp.context import PortCounters
from timesync.ptp.datasets import DataSets, DefaultDS
from timesync.ptp.following import FOLLOWING_STATES
from timesync.ptp.foreign import ForeignTable
from timesync.ptp.port import Port
from timesync.ptp.settings import InstanceSettings
from timesync.ptp.states import PortState
from timesync.ptp.unicast.client import ServerView
from timesync.ptp.unicast.negotiation import Negotiation
from timesync.ptp.unicast.server import ClientView
from timesync.wire.ptp_tlv_profile import SynchronizationMetadata

_WITHOUT_LINK = (PortState.INITIALIZING, PortState.FAULTY, PortState.DISABLED)
"""Where roles are fixed the link itself makes a port asCapable, whatever the neighbour answers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PortView:
    """A port at one moment.

    Attributes:
        number: ``portNumber``.
        name: Its interface.
        identity: ``portIdentity``.
        state: ``portState``.
        parent: Whom it takes time from; None when from nobody.
        mean_delay: ``meanLinkDelay`` of a peer-to-peer port; None otherwise, or before the first.
        as_capable: gPTP; None elsewhere.
        reason: Why it is, or is not, asCapable.
        rate_ratio: ``neighborRateRatio``; None while unknown.
        counters: Messages and drops.
        servers: Whom it asks for unicast messages.
        clients: Whom it grants them.
    """

    number: int
    name: str
    identity: PortIdentity
    state: PortState
    parent: PortIdentity | None
    mean_delay: Duration | None
    as_capable: bool | None
    reason: str
    rate_ratio: float | None
    counters: PortCounters
    servers: tuple[ServerView, ...] = ()
    clients: tuple[ClientView, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceView:
    """An instance at one moment.

    Attributes:
        settings: As configured.
        default: ``defaultDS``.
        sets: The other data sets.
        ports: One view each.
        metadata: What the grandmaster says of television (SMPTE ST 2059-2); None where it does not.
    """

    settings: InstanceSettings
    default: DefaultDS
    sets: DataSets
    ports: tuple[PortView, ...]
    metadata: SynchronizationMetadata | None = None


def port_view(port: Port, negotiation: Negotiation | None, foreign: ForeignTable, *, gptp: bool) -> PortView:
    """A port, and what it negotiated."""
    servers = () if negotiation is None else negotiation.servers()
    return PortView(
        number=port.settings.number,
        name=port.settings.name,
        identity=port.identity,
        state=port.state,
        parent=port.parent if port.state in FOLLOWING_STATES else None,
        mean_delay=port.mean_delay,
        as_capable=port.link.as_capable and port.state not in _WITHOUT_LINK if gptp else None,
        reason=port.link.reason if gptp else "",
        rate_ratio=port.link.peer.rate_ratio,
        counters=port.counters,
        servers=tuple(replace(one, announce=foreign.announce_of(one.identity)) for one in servers),
        clients=() if negotiation is None else negotiation.clients(),
    )
