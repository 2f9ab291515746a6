"""What `timesync ports` shows of the TLVs of a parent, from the octets on."""

from __future__ import annotations

from timesync.cli.ptp_extras import interface, said
from timesync.observe.ptp_extras import heard_object, rate_object
from timesync.ptp.extras import Heard
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

JUMP_S = 1_792_890_037
"""2026-10-25 01:00:00 UTC in PTP seconds, 37 later."""


def rows(heard: Heard) -> list[tuple[str, str]]:
    return said(heard_object(heard))


def test_a_parent_that_says_nothing_leads_to_no_rows() -> None:
    assert {} == heard_object(Heard())
    assert [] == rows(Heard())


def test_power_profiles_are_told_with_their_inaccuracies() -> None:
    assert [("power profile", "grandmaster 9 (C37.238-2017), inaccuracy 250 ns")] == rows(
        Heard(power=PowerProfile2017(9, 250))
    )
    ((_, text),) = rows(Heard(power=PowerProfile2011(3, UNKNOWN_INACCURACY, 1000)))
    assert "grandmaster 3 (C37.238-2011), inaccuracy unknown, of the network 1.00 µs" == text
    assert {"edition": 2017, "grandmaster_id": 9, "total_inaccuracy_s": None} == heard_object(
        Heard(power=PowerProfile2017(9, UNKNOWN_INACCURACY))
    )["power"]


def test_local_times_are_told_with_their_next_jump_in_the_parents_own_time() -> None:
    zones = (
        AlternateTimeOffset(0, 7163, -3600, JUMP_S, "CEST"),
        AlternateTimeOffset(1, 32363, 0, 0, ""),
        AlternateTimeOffset(2, 0, 1, 1 << 47, "a\x1b[31mb"),
    )

    assert [
        ("local time", "CEST: TAI +7163 s, jumps by -3600 s at 2026-10-25 01:00:37 TAI"),
        ("local time", "1: TAI +32363 s, no jump known"),
        # What a stranger calls it does not move the cursor, and calendars end before 48 bits do.
        ("local time", f"a?[31mb: TAI +0 s, jumps by +1 s at second {1 << 47}"),
    ] == rows(Heard(zones=zones))


def test_studios_are_told_of_frames_local_time_and_the_next_jam() -> None:
    metadata = SynchronizationMetadata(
        frame_rate=(30000, 1001),
        locking_status=4,
        address_flags=TimeAddressFlags.DROP_FRAME,
        local_offset_s=7163,
        jump_s=-3600,
        next_jump_s=JUMP_S,
        next_jam_s=JUMP_S + 3600,
        daylight_saving=DaylightSaving.CURRENT,
    )

    assert [
        ("studio", "30000/1001 pictures a second, drop frame, grandmaster locked"),
        ("local time", "TAI +7163 s, jumps by -3600 s at 2026-10-25 01:00:37 TAI"),
        ("next jam", "2026-10-25 02:00:37 TAI"),
    ] == rows(Heard(metadata=metadata))
    told = heard_object(Heard(metadata=metadata))["metadata"]
    assert {"current": True, "next": False, "previous_jam": False} == told["daylight_saving"]
    assert (None, False) == (told["previous_jam"], told["next_jump_is_leap_second"])
    plain = SynchronizationMetadata(frame_rate=(25, 1), locking_status=77)
    assert [("studio", "25 pictures a second, grandmaster 77"), ("local time", "TAI +0 s, no jump known")] == rows(
        Heard(metadata=plain)
    )


def test_the_rate_of_a_servers_interface_is_told_where_it_says_one() -> None:
    assert "; its interface sends 1e+10 bit/s" == interface({"interface": rate_object(InterfaceRate(10**8, 64, 720))})
    assert "" == interface({"interface": rate_object(InterfaceRate(0, 64, 720))})
    assert "" == interface({"interface": None})
