"""What chronyd's replies to chronyc tell of itself and of its clients (``timesync.wire.candm_reply``).

Signs are chrony's: corrections are positive where the clock is behind; a frequency is positive where it is fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from timesync.wire.candm import MAX_CLIENTS, Address, Layout


@dataclass(frozen=True, slots=True)
class Null:
    """Nothing: a status is all that is told."""

    NUMBER: ClassVar[int] = 1
    LAYOUT: ClassVar = Layout("")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """``chronyc tracking``.

    Attributes:
        reference_id: Four octets as a number.
        address: That of the reference, if it has one.
        stratum: Ours.
        leap: 0 none, 1 insert, 2 delete, 3 not synchronised.
        reference_time_ns: The last update of the clock, ns since 1970, UTC.
        correction_s: True time minus the clock.
        last_offset_s: Local clock minus true time, as found at the last update.
        rms_offset_s: Its long-term average.
        frequency_ppm: Of the clock without corrections.
        residual_ppm: What the reference says beyond that.
        skew_ppm: Uncertainty of the frequency.
        root_delay_s: Round trip to the root.
        root_dispersion_s: Error apart from that.
        update_interval_s: Between the last two updates.
    """

    NUMBER: ClassVar[int] = 5
    LAYOUT: ClassVar = Layout("IAHHTFFFFFFFFF")
    reference_id: int
    address: Address
    stratum: int
    leap: int
    reference_time_ns: int
    correction_s: float
    last_offset_s: float
    rms_offset_s: float
    frequency_ppm: float
    residual_ppm: float
    skew_ppm: float
    root_delay_s: float
    root_dispersion_s: float
    update_interval_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """``chronyc activity``: how many NTP sources are asked, not asked, in a burst, and without an address."""

    NUMBER: ClassVar[int] = 12
    LAYOUT: ClassVar = Layout("IIIII")
    online: int
    offline: int
    burst_online: int
    burst_offline: int
    unresolved: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ManualList:
    """``chronyc manual list``: times that somebody typed in, of which there is none."""

    NUMBER: ClassVar[int] = 18
    LAYOUT: ClassVar = Layout("I384x")
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """A line of ``chronyc clients``; of NTP, of key establishment and of commands.

    Attributes:
        address: Who.
        ntp_hits, ke_hits, command_hits: Requests.
        ntp_drops, ke_drops, command_drops: Of them dropped because they came too often.
        ntp_interval, ke_interval, command_interval: log2 s between them; NO_INTERVAL.
        limited_interval: That of NTP while they are dropped; NO_INTERVAL.
        ntp_ago_s, ke_ago_s, command_ago_s: Since the last; NEVER.
    """

    LAYOUT: ClassVar = Layout("AIIIIIIbbbbIII")
    address: Address
    ntp_hits: int
    ke_hits: int
    command_hits: int
    ntp_drops: int
    ke_drops: int
    command_drops: int
    ntp_interval: int
    ke_interval: int
    command_interval: int
    limited_interval: int
    ntp_ago_s: int
    ke_ago_s: int
    command_ago_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Clients:
    """A page of clients.

    Attributes:
        total: Indices that there are.
        following: Where the next page begins.
        clients: At most MAX_CLIENTS.
    """

    NUMBER: ClassVar[int] = 21
    LAYOUT: ClassVar = Layout(f"III{MAX_CLIENTS * Client.LAYOUT.size}s")
    total: int
    following: int
    clients: tuple[Client, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats:
    """``chronyc serverstats`` before chrony 4.0."""

    NUMBER: ClassVar[int] = 14
    LAYOUT: ClassVar = Layout("IIIII")
    ntp_hits: int
    command_hits: int
    ntp_drops: int
    command_drops: int
    log_drops: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats2:
    """Of chrony 4.0 and 4.1."""

    NUMBER: ClassVar[int] = 22
    LAYOUT: ClassVar = Layout("IIIIIIII")
    ntp_hits: int
    ke_hits: int
    command_hits: int
    ntp_drops: int
    ke_drops: int
    command_drops: int
    log_drops: int
    ntp_authenticated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats3:
    """Of chrony 4.2 and 4.3."""

    NUMBER: ClassVar[int] = 24
    LAYOUT: ClassVar = Layout("IIIIIIIIIII")
    ntp_hits: int
    ke_hits: int
    command_hits: int
    ntp_drops: int
    ke_drops: int
    command_drops: int
    log_drops: int
    ntp_authenticated: int
    ntp_interleaved: int
    ntp_timestamps: int
    ntp_span_s: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerStats4:
    """Since chrony 4.4; sums since the start.

    Attributes:
        ntp_hits: NTP requests received.
        ke_hits: Connections of key establishment that were accepted.
        command_hits: Requests of this protocol.
        ntp_drops: NTP requests dropped because they came too often.
        ke_drops: Connections refused for that.
        command_drops: Requests of this protocol dropped for that.
        log_drops: Records of clients that gave way to others.
        ntp_authenticated: NTP requests that were authentic.
        ntp_interleaved: Answers in interleaved mode.
        ntp_timestamps: Stamps held for that.
        ntp_span_s: Between the first and the last of them.
        daemon_rx: Receive stamps that the daemon took, and so on.
        daemon_tx: See ``daemon_rx``.
        kernel_rx: See ``daemon_rx``.
        kernel_tx: See ``daemon_rx``.
        hardware_rx: See ``daemon_rx``.
        hardware_tx: See ``daemon_rx``.
    """

    NUMBER: ClassVar[int] = 25
    LAYOUT: ClassVar = Layout("QQQQQQQQQQQQQQQQQ", reserved=32)
    ntp_hits: int
    ke_hits: int
    command_hits: int
    ntp_drops: int
    ke_drops: int
    command_drops: int
    log_drops: int
    ntp_authenticated: int
    ntp_interleaved: int
    ntp_timestamps: int
    ntp_span_s: int
    daemon_rx: int
    daemon_tx: int
    kernel_rx: int
    kernel_tx: int
    hardware_rx: int
    hardware_tx: int
