"""What an instance says in the TLVs of its profile: from the configuration, from the core, and from time zones."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Instant, Tai
from timesync.config.ptp import Ptp
from timesync.config.ptp_extras import PtpMetadata
from timesync.config.ptp_profiles import PtpProfile, ptp_profile
from timesync.config.schema import Config
from timesync.daemon.local_time import LocalTime
from timesync.daemon.ptp_assemble import port_spec
from timesync.daemon.ptp_quality import Known
from timesync.daemon.ptp_security import association
from timesync.ptp.extras import Extras, PowerProfile
from timesync.ptp.security import AUTHENTICATION_HEAD
from timesync.servo.view import ServoState
from timesync.transport import TransportName
from timesync.wire.ptp_tlv import AlternateTimeOffset
from timesync.wire.ptp_tlv_profile import (
    UNKNOWN_INACCURACY,
    DaylightSaving,
    InterfaceRate,
    PowerProfile2011,
    PowerProfile2017,
    SynchronizationMetadata,
    TimeAddressFlags,
)

_DAY_S = 86_400
_LONGEST_NAME = 10
"""Characters of ``displayName`` (IEEE 1588-2019, 16.3.3.8)."""

_RIGHT = (ServoState.LOCKED, ServoState.HOLDOVER)
_PREAMBLE_BITS = 64
"""Before the point of a frame at which it is stamped (7.3.4.1): preamble and start of frame."""

_FRAME_OCTETS: Mapping[TransportName, int] = {"l2": 18, "udp4": 46, "udp6": 68}
"""Of an Ethernet frame with its check sequence around a PTP message; over IPv6 two octets follow it (annex D)."""

_LEAST_FRAME = 64
_SYNC_OCTETS = 44

_NOT_IN_USE, _FREE_RUN, _COLD_LOCKING, _WARM_LOCKING, _LOCKED = range(5)
"""``masterLockingStatus``."""


@dataclass(frozen=True, slots=True)
class _Jump:
    """The next change of local time against PTP's.

    Attributes:
        at_s: Second of PTP time; 0 when none is known.
        by_s: Positive moves local time forward.
        leap: It is a leap second's.
    """

    at_s: int = 0
    by_s: int = 0
    leap: bool = False


@dataclass(frozen=True, slots=True)
class _Now:
    """The present: POSIX second, TAI - UTC, and the leap second at the end of this UTC day."""

    utc_s: int
    tai_utc: int
    leap: Leap

    @classmethod
    def of(cls, at: Instant[Tai], known: Known) -> _Now:
        return cls(at.scaled_ns // UNITS_PER_S - known.tai_utc, known.tai_utc, known.leap)

    @property
    def midnight_s(self) -> int:
        """The end of this UTC day."""
        return (self.utc_s // _DAY_S + 1) * _DAY_S

    def ptp_s(self, utc_s: int) -> int:
        """A second of UTC in PTP time."""
        if utc_s < self.midnight_s:
            return utc_s + self.tai_utc
        return utc_s + self.tai_utc + (self.leap is Leap.INSERT) - (self.leap is Leap.DELETE)


class ExtrasMaker:
    """Of one instance. Zones that this machine does not know are left out; ``timesync check`` refuses them."""

    def __init__(self, config: Config, entry: Ptp) -> None:
        """Raises nothing: what is missing is not said."""
        self._entry = entry
        self._transports = [port_spec(config, entry, port).transport for port in entry.ports]
        signed = association(config, entry)
        self._signature = 0 if signed is None else AUTHENTICATION_HEAD + signed.keys[signed.key_id].size
        self._profile: PtpProfile = ptp_profile(entry.profile)
        wanted = entry.alternate_time if entry.metadata is None else (*entry.alternate_time, entry.metadata.zone)
        self._zones = {name: zone for name in wanted if (zone := _zone(name)) is not None}

    def make(self, known: Known, at: Instant[Tai], parent_s: float, rates: Mapping[int, int | None]) -> Extras:
        """What is to be said now.

        Args:
            known: What the core knows of the clock that is given out.
            at: What that clock reads.
            parent_s: What the parent's announced accuracy contributes to the bound of the clock's error, seconds.
            rates: Bits in a second that interfaces send, by port number; None for one that does not tell.
        """
        now = _Now.of(at, known)
        powered = self._profile.has_tlv("power-2011") or self._profile.has_tlv("power-2017")
        bound_ns = _ns(known.bound_s) if known.state in _RIGHT else UNKNOWN_INACCURACY
        added = bound_ns if bound_ns == UNKNOWN_INACCURACY else max(bound_ns - round(parent_s * 1e9), 0)
        return Extras(
            power=self._power(bound_ns),
            added_ns=added if powered else None,
            zones=tuple(self._alternate(now)),
            metadata=self._metadata(known, now),
            rates=self._rates(rates) if self._profile.has_tlv("interface-rate") else {},
        )

    def _rates(self, rates: Mapping[int, int | None]) -> dict[int, InterfaceRate]:
        """What unicast clients are told of the interfaces."""
        return {
            number: interface_rate(rate, self._transports[number - 1], self._signature)
            for number, rate in rates.items()
            if rate is not None
        }

    def _power(self, bound_ns: int) -> PowerProfile | None:
        """The TLV of IEEE C37.238 of a grandmaster."""
        given, network = self._entry.grandmaster_id, self._entry.network_inaccuracy
        network_ns = None if network is None else network.ns()
        if self._profile.has_tlv("power-2011") and given is not None:
            return PowerProfile2011(given, bound_ns, UNKNOWN_INACCURACY if network_ns is None else network_ns)
        if self._profile.has_tlv("power-2017"):
            whole = bound_ns if bound_ns == UNKNOWN_INACCURACY else bound_ns + (network_ns or 0)
            return PowerProfile2017(given or 0, min(whole, UNKNOWN_INACCURACY))
        return None

    def _alternate(self, now: _Now) -> list[AlternateTimeOffset]:
        """The time zones, each with its place in the list as its key."""
        found = []
        for key, name in enumerate(self._entry.alternate_time):
            zone = self._zones.get(name)
            if zone is None:
                continue
            try:
                offset, jump = zone.at(now.utc_s), _jump(zone, now)
            except (OverflowError, ValueError, OSError):
                continue  # the clock is not even near the present
            shown = offset.name[:_LONGEST_NAME]
            found.append(AlternateTimeOffset(key, offset.seconds - now.tai_utc, jump.by_s, jump.at_s, shown))
        return found

    def _metadata(self, known: Known, now: _Now) -> SynchronizationMetadata | None:
        wanted = self._entry.metadata
        zone = None if wanted is None else self._zones.get(wanted.zone)
        if wanted is None or zone is None:
            return None
        try:
            return _said(wanted, zone, known, now)
        except (OverflowError, ValueError, OSError):
            return None  # as above


def _said(wanted: PtpMetadata, zone: LocalTime, known: Known, now: _Now) -> SynchronizationMetadata:
    """SMPTE ST 2059-2, 5.13 and 5.14."""
    offset, jump = zone.at(now.utc_s), _jump(zone, now)
    saving = DaylightSaving.CURRENT if offset.saving else DaylightSaving(0)
    if offset.saving if not jump.at_s else zone.at(jump.at_s - now.tai_utc).saving:
        saving |= DaylightSaving.NEXT
    jammed_s = jam_s = jam_offset_s = 0
    if wanted.daily_jam is not None:
        last, following = zone.around(now.utc_s, wanted.daily_jam)
        then = zone.at(last)
        jammed_s, jam_offset_s = now.ptp_s(last), then.seconds - now.tai_utc
        jam_s = now.ptp_s(following)
        saving |= DaylightSaving.PREVIOUS if then.saving else DaylightSaving(0)
    flags = TimeAddressFlags.DROP_FRAME if wanted.drop_frame else TimeAddressFlags(0)
    flags |= TimeAddressFlags.COLOR_FRAME if wanted.color_frame else TimeAddressFlags(0)
    return SynchronizationMetadata(
        frame_rate=(wanted.frame_rate.numerator, wanted.frame_rate.denominator),
        locking_status=_locking(known),
        address_flags=flags,
        local_offset_s=offset.seconds - now.tai_utc,
        jump_s=jump.by_s,
        next_jump_s=jump.at_s,
        next_jam_s=jam_s,
        previous_jam_s=jammed_s,
        previous_jam_offset_s=jam_offset_s,
        daylight_saving=saving,
        leap_second_jump=jump.leap,
    )


def _locking(known: Known) -> int:
    """``masterLockingStatus``: a clock that was right once comes back without a step of its time code."""
    match known.state:
        case ServoState.LOCKED:
            return _LOCKED
        case ServoState.ACQUIRING:
            return _WARM_LOCKING if known.was_locked else _COLD_LOCKING
        case ServoState.HOLDOVER | ServoState.FREERUN | ServoState.FAULT:
            return _FREE_RUN


def _jump(zone: LocalTime, now: _Now) -> _Jump:
    """Of the zone, or that of a leap second if it comes first.

    PTP time goes on through an inserted second and UTC does not: local time falls back by one against it.
    """
    at = zone.next_jump(now.utc_s)
    own = _Jump() if at is None else _Jump(now.ptp_s(at), zone.at(at).seconds - zone.at(now.utc_s).seconds)
    if now.leap not in (Leap.INSERT, Leap.DELETE):
        return own
    inserted = now.leap is Leap.INSERT
    leap = _Jump(now.midnight_s + now.tai_utc - (not inserted), -1 if inserted else 1, leap=True)
    if own.at_s and own.at_s < leap.at_s:
        return own
    if at == now.midnight_s:
        return _Jump(leap.at_s, leap.by_s + own.by_s, leap=True)
    return leap


def _zone(name: str) -> LocalTime | None:
    try:
        return LocalTime(name)
    except (LookupError, ValueError, OSError):
        return None


def _ns(seconds: float | None) -> int:
    """An inaccuracy as it is told, rounded up; unknown where there is no bound, or none that fits."""
    if seconds is None or not math.isfinite(seconds) or seconds * 1e9 >= UNKNOWN_INACCURACY:
        return UNKNOWN_INACCURACY
    return math.ceil(seconds * 1e9)


def interface_rate(bits_per_s: int, transport: TransportName, tlv_octets: int = 0) -> InterfaceRate:
    """What is told of an interface (ITU-T G.8275.2, annex D): how long the rest of a stamped Sync takes.

    Args:
        bits_per_s: Its rate.
        transport: What is around a message.
        tlv_octets: What hangs on each Sync.
    """
    octets = max(_FRAME_OCTETS[transport] + _SYNC_OCTETS + tlv_octets, _LEAST_FRAME)
    return InterfaceRate(10**18 // bits_per_s, _PREAMBLE_BITS, 8 * octets)
