"""What the UBX messages of u-blox receivers say: values without bytes.

Names in double quotes are those of the u-blox 8 / M8 Receiver Description (UBX-13003221, 32).
"""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.time import NS_PER_S, Duration, Instant, Utc
from timesync.wire.civil import Date, TimeOfDay, posix
from timesync.wire.error import WireError

NAV_STATUS = (0x01, 0x03)
NAV_DOP = (0x01, 0x04)
NAV_PVT = (0x01, 0x07)
NAV_TIMEGPS = (0x01, 0x20)
NAV_TIMEUTC = (0x01, 0x21)
NAV_TIMELS = (0x01, 0x26)
NAV_SAT = (0x01, 0x35)
ACK_NAK = (0x05, 0x00)
ACK_ACK = (0x05, 0x01)
MON_VER = (0x0A, 0x04)
MON_HW = (0x0A, 0x09)
MON_RF = (0x0A, 0x38)
TIM_TP = (0x0D, 0x01)
SEC_SIG = (0x27, 0x09)


@dataclass(frozen=True, slots=True)
class RawUtc:
    """Date and time of day as in NAV-PVT and NAV-TIMEUTC: rounded to a hundredth of a second, and the rest apart.

    Attributes:
        year: Four digits.
        month: 1 to 12.
        day: 1 to 31.
        hour: 0 to 23.
        minute: 0 to 59.
        second: 0 to 60.
        nano: What to add, in ns; may be negative.
    """

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: int
    nano: int

    @property
    def in_leap_second(self) -> bool:
        """Whether it says 23:59:60, which POSIX time cannot tell from 23:59:59."""
        return self.second == 60

    def posix(self) -> Instant[Utc]:
        """The instant. Raises WireError for a date or a time that does not exist."""
        if abs(self.nano) > NS_PER_S:
            raise WireError("nano")
        whole = posix(Date(self.year, self.month, self.day), TimeOfDay(self.hour, self.minute, self.second))
        return whole + Duration.from_ns(self.nano)


@dataclass(frozen=True, slots=True, kw_only=True)
class NavPvt:
    """Position, velocity and time; the position is left out.

    Attributes:
        tow_ms: GPS time of week of the fix.
        utc: What it says the time is.
        date_valid: ``validDate``.
        time_valid: ``validTime``.
        resolved: ``fullyResolved``: not a second is in doubt.
        accuracy_ns: ``tAcc``: one standard deviation; None when unknown.
        fix: 0 none, 1 dead reckoning, 2 2D, 3 3D, 4 both, 5 time only.
        fix_ok: ``gnssFixOK``: within the limits set for accuracy.
        used: Satellites in the solution.
    """

    tow_ms: int
    utc: RawUtc
    date_valid: bool
    time_valid: bool
    resolved: bool
    accuracy_ns: int | None
    fix: int
    fix_ok: bool
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NavTimeUtc:
    """UTC, and whose.

    Attributes:
        tow_ms: GPS time of week.
        utc: The time.
        accuracy_ns: One standard deviation; None when unknown.
        valid: Time of week, week and leap seconds are all known.
        standard: 3 USNO, 5 European laboratories, 6 SU, 7 NTSC China, 15 unknown, ...
    """

    tow_ms: int
    utc: RawUtc
    accuracy_ns: int | None
    valid: bool
    standard: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NavTimeLs:
    """Leap seconds.

    Attributes:
        tow_ms: GPS time of week.
        source: Where ``current`` is from: 0 the firmware, which can be outdated; 1 GPS and GLONASS compared; 2 GPS,
            3 SBAS, 4 BeiDou, 5 Galileo; 7 configured; 255 unknown.
        current: GPS - UTC in seconds; None when not valid.
        change_source: Where the next is from: 0 nowhere, 2 GPS, 3 SBAS, 4 BeiDou, 5 Galileo, 6 GLONASS.
        change: 1, -1, or 0: none is scheduled.
        until_s: Seconds until the event, or, negative, since it; None when not valid.
        week: GPS week of the event.
        day: GPS day of that week at whose end it happens.
    """

    tow_ms: int
    source: int
    current: int | None
    change_source: int
    change: int
    until_s: int | None
    week: int
    day: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NavTimeGps:
    """GPS time.

    Attributes:
        tow_ms: Time of week.
        nano: What to add, in ns.
        week: Since 1980-01-06, rollovers counted.
        leap: GPS - UTC in seconds; None when not valid.
        valid: Time of week and week are.
        accuracy_ns: One standard deviation.
    """

    tow_ms: int
    nano: int
    week: int
    leap: int | None
    valid: bool
    accuracy_ns: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TimTp:
    """About the next time pulse.

    Attributes:
        tow_ms: Its time of week, on the scale that the pulse is aligned with.
        tow_sub: 2^-32 ms to add.
        quantization_ps: ``qErr``; the edge comes earlier than it should by so many picoseconds.
        quantization_valid: Firmware that knows the flag sets it where ``qErr`` means nothing.
        week: Week of ``tow_ms``.
        utc_base: The pulse is aligned with UTC, and ``tow_ms`` and ``week`` count UTC, not GNSS time.
        utc_known: UTC is available.
        reference: With a GNSS base: 0 GPS, 1 GLONASS, 2 BeiDou, 3 Galileo, 15 unknown.
        locked: The pulse follows the satellites.
    """

    tow_ms: int
    tow_sub: int
    quantization_ps: int
    quantization_valid: bool
    week: int
    utc_base: bool
    utc_known: bool
    reference: int
    locked: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NavStatus:
    """Status of the receiver.

    Attributes:
        tow_ms: GPS time of week.
        fix: As in ``NavPvt``.
        fix_ok: Likewise.
        spoofing: ``spoofDetState``: 0 unknown, 1 none, 2 indicated, 3 several indications.
    """

    tow_ms: int
    fix: int
    fix_ok: bool
    spoofing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NavDop:
    """Dilution of precision, in hundredths.

    Attributes:
        tow_ms: GPS time of week.
        time: Of time.
        horizontal: Of the horizontal position.
    """

    tow_ms: int
    time: int
    horizontal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Satellite:
    """One satellite of NAV-SAT.

    Attributes:
        system: ``gnssId``: 0 GPS, 1 SBAS, 2 Galileo, 3 BeiDou, 5 QZSS, 6 GLONASS, 7 NavIC.
        number: ``svId``.
        signal_db: C/N0 in dBHz; 0 when not received.
        elevation: Degrees.
        azimuth: Degrees.
        used: It is in the solution.
    """

    system: int
    number: int
    signal_db: int
    elevation: int
    azimuth: int
    used: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NavSat:
    """The satellites that the receiver knows to be in view.

    Attributes:
        tow_ms: GPS time of week.
        satellites: All of them.
    """

    tow_ms: int
    satellites: tuple[Satellite, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RfBlock:
    """One front end.

    Attributes:
        jamming: 0 unknown, 1 ok, 2 warning, 3 critical.
        antenna: 0 starting, 1 unknown, 2 ok, 3 short, 4 open.
    """

    jamming: int
    antenna: int


@dataclass(frozen=True, slots=True)
class MonRf:
    """The front ends (MON-RF), or the only one of an older receiver (MON-HW).

    Attributes:
        blocks: Each of them.
    """

    blocks: tuple[RfBlock, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SecSig:
    """Signal security.

    Attributes:
        jamming: 0 unknown, 1 ok, 2 warning, 3 critical.
        spoofing: 0 unknown, 1 none, 2 indicated, 3 affirmed.
    """

    jamming: int
    spoofing: int


@dataclass(frozen=True, slots=True)
class MonVer:
    """Versions; printable ASCII only.

    Attributes:
        software: Such as ``EXT CORE 4.04 (7f89f7)``.
        hardware: Such as ``00190000``.
        extensions: Such as ``FWVER=SPG 4.04``, ``PROTVER=32.01``, ``MOD=NEO-M9N``.
    """

    software: str
    hardware: str
    extensions: tuple[str, ...] = ()

    def extension(self, name: str) -> str | None:
        """The value of ``NAME=value``; older firmware has a space in place of the sign."""
        for one in self.extensions:
            if one.startswith((f"{name}=", f"{name} ")):
                return one[len(name) + 1 :].strip()
        return None


@dataclass(frozen=True, slots=True)
class Ack:
    """An answer to a configuration message.

    Attributes:
        ok: Taken, or refused.
        kind: Class and id of the message.
    """

    ok: bool
    kind: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Other:
    """A message of no interest.

    Attributes:
        kind: Class and id.
    """

    kind: tuple[int, int]


Message = (
    NavPvt
    | NavTimeUtc
    | NavTimeLs
    | NavTimeGps
    | TimTp
    | NavStatus
    | NavDop
    | NavSat
    | MonRf
    | SecSig
    | MonVer
    | Ack
    | Other
)
