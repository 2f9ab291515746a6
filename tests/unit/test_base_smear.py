"""A leap second spread over a day: no step, no repeated second, UTC again outside."""

from __future__ import annotations

import functools
from dataclasses import replace
from itertools import pairwise

import pytest
from sim_support import leap_table

from timesync.base.smear import NO_SMEAR, changes, smear
from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Tai, Utc
from timesync.base.utc import LeapTable

DAY = Duration.from_s(86_400)
NOON = Duration.from_s(43_200)
LEAP_2016_END = 1_483_228_800
"""2017-01-01 00:00:00 UTC, after 23:59:60; TAI - UTC went from 36 to 37 s."""


@functools.cache
def deleting() -> LeapTable:
    """The list with a deleted second at the end of 2027."""
    table = leap_table()
    return replace(table, steps=(*table.steps, (1_830_297_600, 36)), expires=None)


def _tai(posix: float, offset: int) -> Instant[Tai]:
    return Instant(round((posix + offset) * UNITS_PER_S))


def _smeared(table: LeapTable, at: Instant[Tai]) -> Instant[Utc]:
    """Smeared time."""
    return table.utc(at) + smear(table, at, DAY).ahead


def test_outside_it_is_utc() -> None:
    table = leap_table()
    assert NO_SMEAR == smear(table, _tai(LEAP_2016_END - 43_201, 36), DAY)
    assert NO_SMEAR == smear(table, _tai(LEAP_2016_END + 43_200, 37), DAY)
    assert NO_SMEAR == smear(table, _tai(1_800_000_000, 37), DAY)


def test_in_the_middle_half_the_second_is_done() -> None:
    """Google's public description: 24 h, linear, centred; 0.5 s behind just before midnight, 0.5 s ahead after."""
    table = leap_table()
    just_before = smear(table, _tai(LEAP_2016_END - 1e-6, 36), DAY)
    after = smear(table, _tai(LEAP_2016_END, 37), DAY)
    assert just_before.active
    assert abs(just_before.ahead.s() + 0.5) < 1e-4
    assert abs(after.ahead.s() - 0.5) < 1e-4


def test_the_rate_is_one_second_in_a_day_and_the_second_that_is_inserted() -> None:
    table = leap_table()
    assert pytest.approx(-1 / 86_401, rel=1e-12) == smear(table, _tai(LEAP_2016_END, 36), DAY).rate
    assert pytest.approx(1 / 86_399, rel=1e-12) == smear(deleting(), _tai(1_830_297_600, 36), DAY).rate


@pytest.mark.parametrize(
    ("table", "end", "before"), [(leap_table(), LEAP_2016_END, 36), (deleting(), 1_830_297_600, 37)]
)
def test_it_never_steps_and_runs_evenly(table: LeapTable, end: int, before: int) -> None:
    begin = _tai(end - 43_300, before)
    step = Duration.from_s(7.25)
    at, last = begin, _smeared(table, begin)
    rates = set()
    for _ in range(int(86_600 / 7.25)):
        at += step
        now = _smeared(table, at)
        assert now > last
        inside = smear(table, at, DAY).active and smear(table, at - step, DAY).active
        if inside:
            rates.add(round((now - last).s() / 7.25, 9))
        last = now
    assert 1 == len(rates), "linear from end to end, the leap second included"
    assert abs(rates.pop() - 1) == pytest.approx(1 / 86_400, rel=1e-3)


def test_a_shorter_smear_is_steeper() -> None:
    table = leap_table()
    hour = Duration.from_s(3600)
    assert NO_SMEAR == smear(table, _tai(LEAP_2016_END - 1801, 36), hour)
    assert pytest.approx(-1 / 3601) == smear(table, _tai(LEAP_2016_END - 1000, 36), hour).rate


def test_its_course_changes_at_its_ends_and_where_the_kernel_repeats_a_second() -> None:
    table = leap_table()
    begins = _tai(LEAP_2016_END - 43_200, 36)
    repeats = _tai(LEAP_2016_END, 36)
    ends = _tai(LEAP_2016_END + 43_200, 37)
    nanosecond = Duration.from_ns(1)
    assert begins == changes(table, begins - nanosecond, DAY)
    assert repeats == changes(table, begins, DAY)
    assert ends == changes(table, repeats, DAY)
    assert ends - begins == DAY + Duration.from_s(1)
    assert changes(table, _tai(1_800_000_000, 37), DAY) is None


def test_the_map_of_the_kernel_is_continuous_where_it_says_it_changes() -> None:
    """Between two changes, smeared time minus kernel time (POSIX) is a straight line; nothing else may be published."""
    table = leap_table()
    at = _tai(LEAP_2016_END - 43_300, 36)
    edges = []
    while (edge := changes(table, at, DAY)) is not None:
        edges.append(edge)
        at = edge
    for start, end in pairwise(edges):
        third = (end - start) // 3
        first, second, last = (smear(table, start + third * n, DAY).ahead for n in (0, 1, 2))
        assert abs(((last - second) - (second - first)).s()) < 1e-8


def test_no_smear_is_no_smear() -> None:
    assert (ZERO, 0.0, False) == (NO_SMEAR.ahead, NO_SMEAR.rate, NO_SMEAR.active)
