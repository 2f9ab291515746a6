"""Dates against Python's own calendar."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.time import Instant, Utc
from timesync.wire.civil import Date, TimeOfDay, posix
from timesync.wire.error import WireError


@given(st.datetimes(timezones=st.just(dt.UTC)))
def test_an_instant_is_that_of_the_calendar(at: dt.datetime) -> None:
    since = at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
    expected: Instant[Utc] = Instant.from_ns((since.days * 86_400 + since.seconds) * 10**9 + since.microseconds * 1000)
    time = TimeOfDay(at.hour, at.minute, at.second, at.microsecond * 1000)
    assert expected == posix(Date(at.year, at.month, at.day), time)


@pytest.mark.parametrize(
    "date", [(2026, 0, 1), (2026, 13, 1), (2026, 4, 31), (2026, 2, 29), (2100, 2, 29), (2026, 1, 0)]
)
def test_a_day_that_never_is_is_refused(date: tuple[int, int, int]) -> None:
    with pytest.raises(WireError):
        Date(*date)


@pytest.mark.parametrize("time", [(24, 0, 0), (0, 60, 0), (12, 0, 60), (23, 59, 61), (0, 0, 0, 10**9), (-1, 0, 0)])
def test_a_time_that_never_is_is_refused(time: tuple[int, ...]) -> None:
    with pytest.raises(WireError):
        TimeOfDay(*time)


def test_a_leap_second_repeats_the_last_second_of_the_day() -> None:
    date = Date(2016, 12, 31)
    assert TimeOfDay(23, 59, 60).in_leap_second
    assert posix(date, TimeOfDay(23, 59, 59, 5)) == posix(date, TimeOfDay(23, 59, 60, 5))
