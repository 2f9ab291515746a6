"""From configuration, core and time zones to what a grandmaster says beside its messages.

Dates of daylight saving are those of the law: in the European Union from the last Sunday of March to the last one of
October, at 01:00 UTC (directive 2000/84/EC). Japan has none, and Lord Howe Island moves by half an hour.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from fractions import Fraction

import pytest

from timesync.base.measure import Leap
from timesync.base.time import Instant, Tai
from timesync.config.load import loads
from timesync.daemon.local_time import LocalTime
from timesync.daemon.ptp_extras import ExtrasMaker, interface_rate
from timesync.daemon.ptp_quality import Known
from timesync.ptp.extras import Extras
from timesync.servo.view import ServoState
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

TAI_UTC = 37
KNOWN = Known(
    state=ServoState.LOCKED,
    primary=True,
    was_locked=True,
    reference_id=b"PPS\0",
    bound_s=80.2e-9,
    deviation_s=10e-9,
    tai_utc=TAI_UTC,
    tai_utc_known=True,
    leap=Leap.NONE,
)


def utc(text: str) -> int:
    """POSIX seconds of a moment such as ``2026-03-29 01:00:00``."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def ptp(text: str) -> int:
    """The same in PTP seconds, with 37 leap seconds."""
    return utc(text) + TAI_UTC


def make(entry: str, when: str, known: Known = KNOWN, parent_s: float = 0.0, **rates: int | None) -> Extras:
    config = loads(f"ptp: {{{entry}, ports: [{{interface: eth0}}, {{interface: eth1}}]}}\n", "t.yaml").config
    at: Instant[Tai] = Instant.from_ns(ptp(when) * 10**9 + 999_999_999)
    numbers = {int(name[1:]): rate for name, rate in rates.items()}
    return ExtrasMaker(config, config.ptp_instances[0]).make(known, at, parent_s, numbers)


# Time zones


def test_a_zone_knows_its_next_jump_to_the_second() -> None:
    berlin = LocalTime("Europe/Berlin")
    spring, autumn = utc("2026-03-29 01:00:00"), utc("2026-10-25 01:00:00")

    assert spring == berlin.next_jump(utc("2026-01-01 00:00:00"))
    assert spring == berlin.next_jump(spring - 1)
    assert autumn == berlin.next_jump(spring)
    assert (3600, "CET", False) == (berlin.at(spring - 1).seconds, berlin.at(spring - 1).name, berlin.at(0).saving)
    assert (7200, "CEST", True) == (
        berlin.at(spring).seconds, berlin.at(spring).name, berlin.at(spring).saving,
    )  # fmt: skip
    assert spring == berlin.next_jump(utc("2026-01-02 00:00:00"))  # also when the clock was set back
    assert LocalTime("Asia/Tokyo").next_jump(spring) is None


def test_local_times_are_told_with_their_next_jump() -> None:
    made = make("alternate_time: [Europe/Berlin, Asia/Tokyo, Australia/Lord_Howe]", "2026-10-24 12:00:00")

    assert (
        AlternateTimeOffset(0, 7200 - 37, -3600, ptp("2026-10-25 01:00:00"), "CEST"),
        AlternateTimeOffset(1, 32400 - 37, 0, 0, "JST"),
        AlternateTimeOffset(2, 39600 - 37, -1800, ptp("2027-04-03 15:00:00"), "+11"),
    ) == made.zones


def test_a_leap_second_is_a_jump_of_local_time_too() -> None:
    """PTP time goes on through it, and every local time falls back by a second against it, or forth."""
    inserted, deleted = (replace(KNOWN, leap=leap) for leap in (Leap.INSERT, Leap.DELETE))
    entry = "alternate_time: [Asia/Tokyo, Europe/London]"

    tokyo, london = make(entry, "2026-12-31 13:00:00", inserted).zones
    midnight = ptp("2027-01-01 00:00:00")
    assert (-1, midnight, -1, midnight) == (tokyo.jump_s, tokyo.next_jump_s, london.jump_s, london.next_jump_s)
    tokyo, _ = make(entry, "2026-12-31 13:00:00", deleted).zones
    assert (1, midnight - 1) == (tokyo.jump_s, tokyo.next_jump_s)
    # The jump that comes first counts: London's of 01:00 on the day of such a leap second is before it.
    _, london = make(entry, "2026-10-25 00:30:00", inserted).zones
    assert (-3600, ptp("2026-10-25 01:00:00")) == (london.jump_s, london.next_jump_s)
    # Portugal's summer time of 1981 ended at midnight UTC: both at once.
    (lisbon,) = make("alternate_time: [Europe/Lisbon]", "1981-09-26 12:00:00", inserted).zones
    assert (-3601, ptp("1981-09-27 00:00:00")) == (lisbon.jump_s, lisbon.next_jump_s)


def test_a_clock_that_is_nowhere_near_the_present_tells_no_local_time() -> None:
    config = loads("ptp: {alternate_time: [Europe/Berlin], ports: [{interface: eth0}]}\n", "t.yaml").config
    maker = ExtrasMaker(config, config.ptp_instances[0])

    assert () == maker.make(KNOWN, Instant.from_ns(10**20 * 9), 0.0, {}).zones


# The power profile


@pytest.mark.parametrize(
    ("entry", "state", "bound_s", "expected"),
    [
        ("profile: power", ServoState.LOCKED, 80.2e-9, PowerProfile2017(0, 81)),
        ("profile: power, grandmaster_id: 9, network_inaccuracy: 1us", ServoState.HOLDOVER, 1e-6,
         PowerProfile2017(9, 2000)),
        ("profile: power", ServoState.ACQUIRING, 1e-9, PowerProfile2017(0, UNKNOWN_INACCURACY)),
        ("profile: power, network_inaccuracy: 1us", ServoState.LOCKED, None, PowerProfile2017(0, UNKNOWN_INACCURACY)),
        ("profile: power", ServoState.LOCKED, 5.0, PowerProfile2017(0, UNKNOWN_INACCURACY)),
        ("profile: power-2011, grandmaster_id: 3", ServoState.LOCKED, 1e-7,
         PowerProfile2011(3, 100, UNKNOWN_INACCURACY)),
        ("profile: power-2011, grandmaster_id: 254, network_inaccuracy: 200ns", ServoState.LOCKED, 1e-7,
         PowerProfile2011(254, 100, 200)),
        ("profile: power-2011", ServoState.LOCKED, 1e-7, None),
        ("profile: utility", ServoState.LOCKED, 1e-7, None),
    ],
)  # fmt: skip
def test_a_grandmaster_says_how_wrong_it_may_be_as_the_core_knows_it(
    entry: str, state: ServoState, bound_s: float | None, expected: object
) -> None:
    known = replace(KNOWN, state=state, bound_s=bound_s)

    assert expected == make(entry, "2026-06-01 00:00:00", known).power


def test_a_boundary_clock_adds_what_of_its_bound_is_not_its_grandmasters() -> None:
    def added(entry: str, bound_s: float | None, parent_s: float) -> int | None:
        return make(entry, "2026-06-01 00:00:00", replace(KNOWN, bound_s=bound_s), parent_s).added_ns

    assert 150 == added("profile: power", 400e-9, 250e-9)
    assert 0 == added("profile: power", 100e-9, 250e-9)
    assert UNKNOWN_INACCURACY == added("profile: power-2011", None, 250e-9)
    assert added("profile: default-p2p", 400e-9, 250e-9) is None


# Studios


def metadata(entry: str, when: str, known: Known = KNOWN) -> SynchronizationMetadata:
    made = make(f"profile: smpte, metadata: {{{entry}}}", when, known).metadata
    assert made is not None
    return made


def test_studios_are_told_of_time_code_and_of_the_daily_jam() -> None:
    entry = 'frame_rate: 30000/1001, drop_frame: true, zone: America/New_York, daily_jam: "02:00"'

    # The day before daylight saving ends in New York: Sunday 1 November 2026, 06:00 UTC (15 USC 260a).
    assert SynchronizationMetadata(
        frame_rate=(30000, 1001),
        locking_status=4,
        address_flags=TimeAddressFlags.DROP_FRAME,
        local_offset_s=-14400 - 37,
        jump_s=-3600,
        next_jump_s=ptp("2026-11-01 06:00:00"),
        next_jam_s=ptp("2026-11-01 07:00:00"),
        previous_jam_s=ptp("2026-10-31 06:00:00"),
        previous_jam_offset_s=-14400 - 37,
        daylight_saving=DaylightSaving.CURRENT | DaylightSaving.PREVIOUS,
    ) == metadata(entry, "2026-10-31 12:00:00")


def test_daylight_saving_to_come_is_told_before_and_after_the_jam() -> None:
    entry = 'frame_rate: 25, color_frame: true, zone: Europe/Berlin, daily_jam: "04:00"'

    before = metadata(entry, "2026-03-29 00:30:00")
    after = metadata(entry, "2026-03-29 01:30:00")
    assert (DaylightSaving.NEXT, 3600 - 37, 3600 - 37) == (
        before.daylight_saving, before.local_offset_s, before.previous_jam_offset_s,
    )  # fmt: skip
    # Summer time has begun, the last jam was in winter, and winter comes next.
    assert (DaylightSaving.CURRENT, 7200 - 37, 3600 - 37) == (
        after.daylight_saving, after.local_offset_s, after.previous_jam_offset_s,
    )  # fmt: skip
    assert ptp("2026-03-29 02:00:00") == before.next_jam_s == after.next_jam_s
    assert TimeAddressFlags.COLOR_FRAME is before.address_flags
    assert (25, 1) == before.frame_rate


def test_a_jam_after_a_leap_second_comes_a_second_later_in_ptp_time() -> None:
    entry = 'frame_rate: 50, daily_jam: "00:00"'
    said = metadata(entry, "2026-12-31 13:00:00", replace(KNOWN, leap=Leap.INSERT))

    assert (True, -1, ptp("2027-01-01 00:00:00")) == (said.leap_second_jump, said.jump_s, said.next_jump_s)
    assert ptp("2027-01-01 00:00:00") + 1 == said.next_jam_s


@pytest.mark.parametrize(
    ("state", "was_locked", "expected"),
    [
        (ServoState.LOCKED, True, 4),
        (ServoState.ACQUIRING, True, 3),
        (ServoState.ACQUIRING, False, 2),
        (ServoState.HOLDOVER, True, 1),
        (ServoState.FREERUN, False, 1),
        (ServoState.FAULT, True, 1),
    ],
)
def test_studios_are_told_how_far_the_grandmaster_is_locked(state: ServoState, was_locked: bool, expected: int) -> None:
    said = metadata("frame_rate: 50", "2026-06-01 00:00:00", replace(KNOWN, state=state, was_locked=was_locked))

    assert expected == said.locking_status
    assert (0, 0, 0) == (said.next_jam_s, said.previous_jam_s, said.previous_jam_offset_s)


# Interfaces


def test_the_rate_of_an_interface_is_that_which_linuxptp_tells_of_it() -> None:
    """ptp4l tells 64 bits before and 720 after for a Sync over UDP/IPv4 (unicast_service.c of linuxptp 4)."""
    assert InterfaceRate(10**9, 64, 720) == interface_rate(10**9, "udp4")
    assert InterfaceRate(10**8, 64, 720) == interface_rate(10**10, "udp4")
    # An Ethernet frame has 64 octets at least (IEEE 802.3, 4.4.2).
    assert InterfaceRate(10**10, 64, 512) == interface_rate(10**8, "l2")
    assert 26 == (interface_rate(10**9, "udp4", 26).bits_after - 720) // 8
    assert Fraction(1, 25 * 10**9) == Fraction(interface_rate(25 * 10**9, "udp6").bit_period_as, 10**18)


def test_only_ports_that_know_their_rate_tell_it_and_only_where_the_profile_wants_it() -> None:
    when = "2026-06-01 00:00:00"

    assert {1: InterfaceRate(10**9, 64, 720)} == make(
        "profile: g8275.2, role: timeTransmitter", when, _1=10**9, _2=None
    ).rates
    assert {} == make("profile: default-e2e", when, _1=10**9).rates
