"""The replies of chronyd to chronyc (``timesync.wire.candm``).

Signs are chrony's: offsets of sources are positive where the local clock is ahead, corrections and the offset of
``NtpData`` where it is behind; a frequency is positive where it is fast.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from enum import IntEnum
from typing import ClassVar, Final

from timesync.wire.candm import MAX_CLIENTS, REPLY, REPLY_HEAD, VERSION, Address, Layout, Request, Status
from timesync.wire.error import WireError

_HEAD = struct.Struct("!BBBBHHH6xI8x")
NEVER: Final = 0xFFFF_FFFF
"""Seconds since something that has not happened."""

NO_INTERVAL: Final = 127
"""Log2 of an interval that is not known."""


class SourceMode(IntEnum):
    """What a source is."""

    CLIENT = 0
    PEER = 1
    REFERENCE = 2


class SourceState(IntEnum):
    """What selection made of a source, as ``chronyc sources`` shows it."""

    SELECTED = 0
    NONSELECTABLE = 1
    FALSETICKER = 2
    JITTERY = 3
    COMBINED = 4
    """It is good, and used beside the selected one."""
    NOT_COMBINED = 5
    """It is good, and not used."""


class Option(IntEnum):
    """What the configuration says of a source; bits."""

    NOSELECT = 1
    PREFER = 2
    TRUST = 4
    REQUIRE = 8


class AuthMode(IntEnum):
    """How a source is authenticated."""

    NONE = 0
    SYMMETRIC = 1
    NTS = 2


TESTS_PASSED: Final = 0x3FF
INTERLEAVED: Final = 0x4000
AUTHENTICATED: Final = 0x8000
"""Bits of ``NtpData.flags``."""


@dataclass(frozen=True, slots=True)
class Null:
    """Nothing: a status is all that is told."""

    NUMBER: ClassVar[int] = 1
    LAYOUT: ClassVar = Layout("")


@dataclass(frozen=True, slots=True)
class SourceCount:
    """How many sources there are, those without an address too."""

    NUMBER: ClassVar[int] = 2
    LAYOUT: ClassVar = Layout("I")
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceData:
    """A line of ``chronyc sources``.

    Attributes:
        address: Its address; of a reference clock the reference id.
        poll: log2 s.
        stratum: As last said.
        state: ``SourceState``.
        mode: ``SourceMode``.
        flags: ``Option`` bits.
        reach: The last eight requests, newest in bit 0.
        since_sample_s: Age of the last measurement; NEVER.
        measured_s: What it said: local clock minus source.
        carried_s: The same with what was done to the clock since.
        error_s: It may be wrong by so much.
    """

    NUMBER: ClassVar[int] = 3
    LAYOUT: ClassVar = Layout("AhHHHHHIFFF")
    address: Address
    poll: int
    stratum: int
    state: int
    mode: int
    flags: int
    reach: int
    since_sample_s: int
    measured_s: float
    carried_s: float
    error_s: float


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
class SourceStats:
    """A line of ``chronyc sourcestats``.

    Attributes:
        reference_id: Of a reference clock; else its address as a reference id.
        address: Its address; none for a reference clock.
        samples: Points that are regarded.
        runs: Runs of residuals of one sign among them.
        span_s: Between the first and the last.
        deviation_s: Standard deviation of one sample.
        residual_ppm: Local clock's frequency by this source, beyond what is corrected.
        skew_ppm: Uncertainty of that.
        offset_s: Local clock minus source, estimated.
        offset_error_s: Uncertainty of that.
    """

    NUMBER: ClassVar[int] = 6
    LAYOUT: ClassVar = Layout("IAIIIFFFFF")
    reference_id: int
    address: Address
    samples: int
    runs: int
    span_s: int
    deviation_s: float
    residual_ppm: float
    skew_ppm: float
    offset_s: float
    offset_error_s: float


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


@dataclass(frozen=True, slots=True)
class SourceName:
    """The name by which a source was configured; NUL after it."""

    NUMBER: ClassVar[int] = 19
    LAYOUT: ClassVar = Layout("256s")
    padded: bytes

    @classmethod
    def of(cls, name: str) -> SourceName:
        """With so much of it as there is room for."""
        return cls(name.encode("utf-8", "replace")[:255].ljust(256, b"\0"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthData:
    """A line of ``chronyc authdata``.

    Attributes:
        mode: ``AuthMode``.
        key_type: Of a symmetric key 13 or 14 for AES-CMAC, 1 for MD5 and so on; of NTS the number of its AEAD.
        key_id: Of a symmetric key; with NTS how many key establishments there were.
        key_length: In bits.
        attempts: Key establishments tried since the last that succeeded.
        since_establishment_s: Age of the keys; NEVER.
        cookies: That are left.
        cookie_length: Of each, in octets.
        nak: Whether the last answer was an NTS NAK.
    """

    NUMBER: ClassVar[int] = 20
    LAYOUT: ClassVar = Layout("HHIHHIHHH2x")
    mode: int
    key_type: int
    key_id: int
    key_length: int
    attempts: int
    since_establishment_s: int
    cookies: int
    cookie_length: int
    nak: int


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
class SelectData:
    """A line of ``chronyc selectdata``.

    Attributes:
        reference_id: Of a reference clock.
        address: Its address; none for a reference clock.
        state: The letter that says what selection made of it.
        authenticated: 1 or 0.
        leap: As in ``Tracking``.
        configured: ``Option`` bits of the configuration.
        effective: Those in force.
        since_sample_s: Age of the last measurement.
        score: Against the selected source.
        low_s: Lower end of the interval in which the local clock's error lies by it; positive is ahead.
        high_s: Upper end.
    """

    NUMBER: ClassVar[int] = 23
    LAYOUT: ClassVar = Layout("IABBBxHHIFFF")
    reference_id: int
    address: Address
    state: int
    authenticated: int
    leap: int
    configured: int
    effective: int
    since_sample_s: int
    score: float
    low_s: float
    high_s: float


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


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpData:
    """``chronyc ntpdata`` before chrony 4.7.

    Attributes:
        remote: Whom we ask.
        local: From where.
        remote_port: Where it listens.
        leap: As in ``Tracking``.
        version: Of its last answer.
        mode: 4 of a server; 0 before it answered.
        stratum: As it said.
        poll: log2 s, as it said.
        precision: log2 s, as it said.
        root_delay_s: As it said.
        root_dispersion_s: As it said.
        reference_id: As it said.
        reference_time_ns: When its clock was last set, as it said; ns since 1970, UTC.
        offset_s: Server minus local clock, in the last measurement.
        delay_s: Round trip of that.
        dispersion_s: What reading the clocks may add.
        response_s: How long it had the request.
        asymmetry: Of the network's jitter, -0.5 to 0.5.
        flags: Tests passed, INTERLEAVED, AUTHENTICATED.
        tx_stamping: K of the kernel, H of the network card, D of the daemon, or 0.
        rx_stamping: The same of receiving.
        sent: Requests.
        received: Answers.
        valid: Of them well-formed and authentic.
        good: Of them used as measurements.
    """

    NUMBER: ClassVar[int] = 16
    LAYOUT: ClassVar = Layout("AAHBBBBbbFFITFFFFFHBBIIII", reserved=12)
    remote: Address
    local: Address
    remote_port: int
    leap: int
    version: int
    mode: int
    stratum: int
    poll: int
    precision: int
    root_delay_s: float
    root_dispersion_s: float
    reference_id: int
    reference_time_ns: int
    offset_s: float
    delay_s: float
    dispersion_s: float
    response_s: float
    asymmetry: float
    flags: int
    tx_stamping: int
    rx_stamping: int
    sent: int
    received: int
    valid: int
    good: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NtpData2(NtpData):
    """``chronyc ntpdata`` of newer versions.

    Attributes:
        kernel_sent: Requests that the kernel stamped.
        kernel_received: Answers that the kernel stamped.
        hardware_sent: Requests that the network card stamped.
        hardware_received: Answers that the network card stamped.
    """

    NUMBER: ClassVar[int] = 26
    LAYOUT: ClassVar = Layout("AAHBBBBbbFFITFFFFFHBBIIIIIIII", reserved=16)
    kernel_sent: int
    kernel_received: int
    hardware_sent: int
    hardware_received: int


Body = (
    Null | SourceCount | SourceData | Tracking | SourceStats | Activity | ManualList | SourceName | AuthData | Clients
    | SelectData | ServerStats | ServerStats2 | ServerStats3 | ServerStats4 | NtpData | NtpData2
)  # fmt: skip

BODIES: Final[tuple[type[Body], ...]] = (
    Null, SourceCount, SourceData, Tracking, SourceStats, Activity, ManualList, SourceName, AuthData, Clients,
    SelectData, ServerStats, ServerStats2, ServerStats3, ServerStats4, NtpData, NtpData2,
)  # fmt: skip
_BY_NUMBER: Final = {body.NUMBER: body for body in BODIES}


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply.

    Attributes:
        command: Of the request.
        sequence: Of the request.
        status: What became of it; another than ``Status`` has is a number.
        body: What was asked for.
    """

    command: int
    sequence: int
    status: int
    body: Body


def size_of(body: type[Body]) -> int:
    """Octets of a reply."""
    return REPLY_HEAD + body.LAYOUT.size


def _values(body: Body | Client) -> tuple[object, ...]:
    """In the order of the layout; ``dataclasses.astuple`` would take addresses apart."""
    return tuple(getattr(body, field.name) for field in fields(body))


def encode_reply(request: Request, status: Status, body: Body | None = None) -> bytes:
    """Write the reply to a request."""
    told = Null() if body is None else body
    values = _values(told)
    if isinstance(told, Clients):
        # The number of them stands before them.
        rows = b"".join(Client.LAYOUT.encode(_values(one)) for one in told.clients)
        values = (told.total, told.following, len(told.clients), rows)
    head = _HEAD.pack(VERSION, REPLY, 0, 0, request.command, told.NUMBER, status, request.sequence)
    return head + told.LAYOUT.encode(values)


def decode_reply(data: bytes) -> Reply:
    """Read one. Raises WireError."""
    if len(data) < REPLY_HEAD:
        raise WireError(f"length: {len(data)} octets, a reply has {REPLY_HEAD} at least")
    version, kind, _, _, command, number, status, sequence = _HEAD.unpack_from(data)
    if version != VERSION or kind != REPLY:
        raise WireError("not a reply")
    found = _BY_NUMBER.get(number)
    if found is None:
        raise WireError(f"reply: {number}")
    values = found.LAYOUT.decode(data, REPLY_HEAD)
    if found is Clients:
        total, following, count, rows = values
        if count > MAX_CLIENTS:
            raise WireError(f"clients: {count}")
        size = Client.LAYOUT.size
        clients = tuple(_client(rows, index * size) for index in range(count))
        return Reply(command, sequence, status, Clients(total=total, following=following, clients=clients))
    names = (field.name for field in fields(found))
    return Reply(command, sequence, status, found(**dict(zip(names, values, strict=True))))


def _client(rows: bytes, offset: int) -> Client:
    names = (field.name for field in fields(Client))
    return Client(**dict(zip(names, Client.LAYOUT.decode(rows, offset), strict=True)))
