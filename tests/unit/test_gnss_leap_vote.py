"""Leap seconds by vote: the table first, then a majority, and never in a month that has had none."""

from __future__ import annotations

import pytest
from gnss_support import leap_table

from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.base.utc import LeapTable
from timesync.gnss.leap_vote import Ballot, extended, likely_month, month_end, rule

INSERT, DELETE, NONE, UNKNOWN = Leap.INSERT, Leap.DELETE, Leap.NONE, Leap.UNKNOWN


def _utc(seconds: int) -> Instant[Utc]:
    return Instant(seconds * UNITS_PER_S)


NOVEMBER = _utc(1_795_000_000)
DECEMBER = _utc(1_797_000_000)
NEW_YEAR = _utc(1_798_761_600)
STEPS = leap_table().steps
VOUCHED = LeapTable(STEPS, expires=_utc(1_900_000_000))
EXPIRED = LeapTable(STEPS, expires=_utc(1_790_000_000))
KNOWING = LeapTable((*STEPS, (1_798_761_600, 38)), expires=_utc(1_900_000_000))


def _ballots(*leaps: Leap) -> list[Ballot]:
    return [Ballot(f"s{number}", leap) for number, leap in enumerate(leaps, 1)]


def test_a_false_alarm_from_one_of_three_is_not_believed() -> None:
    for table in (VOUCHED, EXPIRED):
        ruling = rule(table, _ballots(INSERT, NONE, NONE), DECEMBER)
        assert (NONE, None) == (ruling.leap, ruling.at)
    assert (
        "one of three sources (s1) announces a leap second that the others and the table do not know: not believed",
    ) == rule(VOUCHED, _ballots(INSERT, NONE, NONE), DECEMBER).doubts
    assert ("one of three sources (s1) announces a leap second that the others do not know: not believed",) == rule(
        EXPIRED, _ballots(INSERT, NONE, NONE), DECEMBER
    ).doubts


def test_a_table_that_is_vouched_for_outweighs_all() -> None:
    ruling = rule(VOUCHED, _ballots(INSERT, INSERT), DECEMBER)
    assert NONE is ruling.leap
    assert ("all two sources announce a leap second that the table does not know: not believed",) == ruling.doubts
    known = rule(KNOWING, _ballots(NONE, DELETE, INSERT), DECEMBER)
    assert (INSERT, NEW_YEAR, True) == (known.leap, known.at, known.from_table)
    assert (
        "one of three sources (s2) announces a deleted second that the others and the table do not know: not believed",
        "one of three sources (s1) has not yet announced a leap second that the table knows: believed",
    ) == known.doubts
    assert KNOWING is extended(KNOWING, known)


@pytest.mark.parametrize(
    ("leaps", "believed"),
    [
        ((INSERT,), INSERT),
        ((INSERT, NONE), NONE),
        ((INSERT, INSERT, NONE), INSERT),
        ((INSERT, UNKNOWN, UNKNOWN), INSERT),
        ((INSERT, INSERT, NONE, NONE), NONE),
        ((INSERT, DELETE), NONE),
        ((DELETE, DELETE, INSERT), DELETE),
        ((NONE, NONE), NONE),
        ((), NONE),
    ],
)
def test_without_a_valid_table_a_majority_decides(leaps: tuple[Leap, ...], believed: Leap) -> None:
    ruling = rule(EXPIRED, _ballots(*leaps), DECEMBER)
    assert believed is ruling.leap
    assert (None if believed is NONE else NEW_YEAR) == ruling.at
    assert NONE is rule(EXPIRED, _ballots(*leaps), NOVEMBER).leap


def test_what_was_voted_for_joins_the_table() -> None:
    longer = extended(EXPIRED, rule(EXPIRED, _ballots(INSERT, INSERT), DECEMBER))
    assert (37, 38) == (longer.tai_utc(DECEMBER), longer.tai_utc(NEW_YEAR))
    assert INSERT is longer.pending_month(DECEMBER)
    shorter = extended(EXPIRED, rule(EXPIRED, _ballots(DELETE), DECEMBER))
    assert 36 == shorter.tai_utc(NEW_YEAR)
    assert EXPIRED is extended(EXPIRED, rule(EXPIRED, [], DECEMBER))


def test_a_month_that_has_never_had_one_is_said() -> None:
    assert (
        "the only source (s1) announces a leap second for the end of a month that has never had one: not believed",
    ) == (rule(EXPIRED, _ballots(INSERT), NOVEMBER).doubts)


def test_another_count_of_leap_seconds_is_said() -> None:
    ruling = rule(VOUCHED, [Ballot("gps", NONE, 36), Ballot("gnss", NONE, 37), Ballot("ntp", NONE)], NOVEMBER)
    assert ("gps says that TAI - UTC is 36 s, the table says 37 s",) == ruling.doubts


def test_every_leap_second_so_far_was_in_a_likely_month_and_at_its_end() -> None:
    for start, _ in STEPS[1:]:
        assert likely_month(_utc(start - 1))
        assert not likely_month(_utc(start))
        assert all(month_end(_utc(start + shift)) for shift in (-1, 0, 1))
        assert not any(month_end(_utc(start + shift)) for shift in (-2, 2, 86_400, -86_400))
