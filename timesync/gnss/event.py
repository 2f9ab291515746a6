"""What a receiver tells, whatever language it speaks: the values between its protocol and what judges it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from timesync.base.measure import Leap, Stamp
from timesync.base.time import Duration, Instant, Utc


class FixMode(Enum):
    """How well the receiver knows where and when it is."""

    UNKNOWN = "unknown"
    NONE = "no fix"
    TIME = "time only"
    TWO_D = "2D"
    THREE_D = "3D"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeMark:
    """The receiver said which time it is.

    Attributes:
        device: Which receiver, where one connection carries several; empty otherwise.
        utc: The time it said.
        stamp: What our clock read when the first byte of the message arrived, or when gpsd says it did.
        kind: The message: ``RMC``, ``ZDA``, ``GGA``, ``NAV-PVT``, ``TPV``, ``TOFF``, ...
        accuracy_s: The receiver's own one-sigma claim, in seconds; None where it makes none.
        trusted: The receiver calls this time valid (RMC status A, NAV-PVT fullyResolved, TPV mode 2 or 3).
    """

    device: str = ""
    utc: Instant[Utc]
    stamp: Stamp
    kind: str
    accuracy_s: float | None = None
    trusted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseMark:
    """A pulse that somebody else (gpsd) saw and numbered.

    Attributes:
        device: Which receiver.
        utc: The second that the pulse marks.
        kernel_ns: What CLOCK_REALTIME read at the pulse, ns since 1970, UTC.
        noise_s: One standard deviation, as far as the sender says.
        quantization_s: The sawtooth correction that belongs to it; 0 when unknown. True pulse time is ``utc`` plus
            this.
    """

    device: str = ""
    utc: Instant[Utc]
    kernel_ns: int
    noise_s: float
    quantization_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Satellite:
    """A satellite in view.

    Attributes:
        gnss: Its system: ``GPS``, ``SBAS``, ``Galileo``, ``BeiDou``, ``IMES``, ``QZSS``, ``GLONASS``, ``NavIC``; empty
            when unknown.
        number: Within its system, as the receiver counts.
        elevation_deg: Above the horizon; None when unknown, as the others.
        azimuth_deg: Clockwise from north.
        cn0_db_hz: Carrier-to-noise density; None when it is not heard.
        used: It is in the solution.
    """

    gnss: str
    number: int
    elevation_deg: float | None
    azimuth_deg: float | None
    cn0_db_hz: float | None
    used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FixReport:
    """How the receiver sees the sky; None where the message did not say.

    Attributes:
        device: Which receiver.
        mode: Fix.
        used: Satellites in the solution.
        seen: Satellites in view.
        hdop: Horizontal dilution of precision.
        tdop: Time dilution of precision.
        jamming: The receiver's jamming state: ``ok``, ``warning``, ``critical``.
        spoofing: Its spoofing state: ``none``, ``indicated``, ``multiple``.
        antenna: ``ok``, ``short``, ``open``.
        satellites: All that are in view.
    """

    device: str = ""
    mode: FixMode | None = None
    used: int | None = None
    seen: int | None = None
    hdop: float | None = None
    tdop: float | None = None
    jamming: str | None = None
    spoofing: str | None = None
    antenna: str | None = None
    satellites: tuple[Satellite, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeapReport:
    """What the receiver knows of leap seconds.

    Attributes:
        device: Which receiver.
        tai_utc: TAI - UTC now, in seconds (GPS - UTC plus 19); None when it does not know.
        leap: The next leap second it announces.
        at: When that takes effect; None when none is announced.
    """

    device: str = ""
    tai_utc: int | None = None
    leap: Leap = Leap.UNKNOWN
    at: Instant[Utc] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sawtooth:
    """Quantization error of the next pulse (UBX-TIM-TP ``qErr``).

    Attributes:
        device: Which receiver.
        second: The second whose pulse it is about, UTC; None when the message does not say.
        correction: Add this to the pulse's nominal time to have its true time.
    """

    device: str = ""
    second: Instant[Utc] | None = None
    correction: Duration


@dataclass(frozen=True, slots=True, kw_only=True)
class PulseLock:
    """Whether the next pulse follows the satellites (UBX-TIM-TP ``TpNotLocked``).

    Attributes:
        device: Which receiver.
        locked: It does; else its own oscillator places it, and it marks no second.
    """

    device: str = ""
    locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReport:
    """A receiver appeared, was identified, or went.

    Attributes:
        device: Which.
        present: Whether it is there.
        description: Driver, model and firmware, as far as known.
    """

    device: str = ""
    present: bool
    description: str = ""


@dataclass(frozen=True, slots=True)
class Write:
    """Send these bytes to the receiver."""

    data: bytes


@dataclass(frozen=True, slots=True)
class SetBaud:
    """Try the line at this speed."""

    baud: int


@dataclass(frozen=True, slots=True)
class Garbled:
    """Something came that could not be read; counted by reason."""

    reason: str


ReceiverEvent = (
    TimeMark | PulseMark | FixReport | LeapReport | Sawtooth | PulseLock | DeviceReport | Write | SetBaud | Garbled
)
