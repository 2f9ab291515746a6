"""What chronyd's replies to chronyc tell of sources (``timesync.wire.candm_reply``).

Signs are chrony's: offsets of sources are positive where the local clock is ahead, those of ``NtpData`` where it is
behind; a frequency is positive where it is fast.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar, Final

from timesync.wire.candm import Address, Layout

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
