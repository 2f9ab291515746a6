"""Leap seconds: expectations by hand from ITU-R TF.460-6 (annex 1, 2) and the IERS list of Bulletin C."""

from __future__ import annotations

import calendar
import hashlib
from datetime import UTC, datetime, timedelta
from importlib import resources

import pytest
from hypothesis import given
from hypothesis import strategies as st

from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai, Utc
from timesync.base.utc import LeapTable, LeapTableError, civil

SHIPPED = resources.files("timesync_profiles").joinpath("leap-seconds.list").read_text("utf-8")
TABLE = LeapTable.parse(SHIPPED)
NTP = 2_208_988_800
NEW_YEAR_2017 = 1_483_228_800
"""2017-01-01 00:00:00 UTC; the day before it had a 23:59:60. TAI - UTC went from 36 s to 37 s."""
DELETED = LeapTable(((63_072_000, 10), (78_796_800, 9)))
"""An invented table: 1972-06-30 had no 23:59:59."""
JULY_1972 = 78_796_800


def utc(text: str) -> Instant[Utc]:
    return utc_s(calendar.timegm(datetime.fromisoformat(text).timetuple()))


def utc_s(seconds: float) -> Instant[Utc]:
    start: Instant[Utc] = Instant(0)
    return start + Duration.from_s(seconds)


def tai_s(seconds: float) -> Instant[Tai]:
    start: Instant[Tai] = Instant(0)
    return start + Duration.from_s(seconds)


def listing(
    steps: list[tuple[int, int]],
    *,
    updated: int | None = 3_900_000_000,
    expires: int | None = 4_000_000_000,
    digest: str | None = None,
) -> str:
    """A file in the format of IERS, its hash by the rule of its README: the digits of $, @ and data."""
    lines, hashed = ["# a comment"], ""
    if updated is not None:
        lines.append(f"#$\t{updated}")
        hashed += str(updated)
    if expires is not None:
        lines.append(f"#@\t{expires}")
        hashed += str(expires)
    for posix, offset in steps:
        lines.append(f"{posix + NTP}\t{offset}\t# a date")
        hashed += f"{posix + NTP}{offset}"
    made = digest or hashlib.sha1(hashed.encode(), usedforsecurity=False).hexdigest()
    lines.append("#h\t" + " ".join(made[i : i + 8] for i in range(0, 40, 8)))
    return "\n".join(lines) + "\n"


NOON = utc("2026-12-28T12:00:00")
STEPS = [(63_072_000, 10), (78_796_800, 11), (94_694_400, 12)]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("1970-01-01T00:00:00", 10),
        ("1971-12-31T23:59:59", 10),
        ("1972-01-01T00:00:00", 10),
        ("1972-06-30T23:59:59", 10),
        ("1972-07-01T00:00:00", 11),
        ("1999-01-01T00:00:00", 32),
        ("2008-12-31T23:59:59", 33),
        ("2009-01-01T00:00:00", 34),
        ("2016-12-31T23:59:59", 36),
        ("2017-01-01T00:00:00", 37),
        ("2026-06-01T00:00:00", 37),
    ],
)
def test_tai_utc_is_that_of_bulletin_c(when: str, expected: int) -> None:
    assert expected == TABLE.tai_utc(utc(when))


@pytest.mark.parametrize(
    ("tai", "expected_utc", "in_leap"),
    [
        # TAI counted from 2017-01-01 00:00:00 UTC + 36 s, the start of 23:59:60.
        (-2.0, -2.0, False),
        (-1.5, -1.5, False),
        (-1.0, -1.0, False),
        (-0.5, -0.5, False),
        (0.0, -1.0, True),
        (0.25, -0.75, True),
        (0.5, -0.5, True),
        (0.75, -0.25, True),
        (1.0, 0.0, False),
        (1.5, 0.5, False),
        (2.0, 1.0, False),
        (3.0, 2.0, False),
    ],
)
def test_the_end_of_2016_second_by_second(tai: float, expected_utc: float, in_leap: bool) -> None:
    at = tai_s(NEW_YEAR_2017 + 36) + Duration.from_s(tai)
    assert utc_s(NEW_YEAR_2017) + Duration.from_s(expected_utc) == TABLE.utc(at)
    assert in_leap == TABLE.in_leap_second(at)
    # Back again: exact, but for the second pass of 23:59:59, which reads as the first.
    assert at - Duration.from_s(1.0 if in_leap else 0.0) == TABLE.tai(TABLE.utc(at))


def test_the_edges_are_exact_to_the_unit() -> None:
    start = tai_s(NEW_YEAR_2017 + 36)
    unit = Duration(1)
    assert utc_s(NEW_YEAR_2017) - unit == TABLE.utc(start - unit)
    assert utc_s(NEW_YEAR_2017 - 1) == TABLE.utc(start)
    assert utc_s(NEW_YEAR_2017) - unit == TABLE.utc(start + Duration.from_s(1) - unit)
    assert utc_s(NEW_YEAR_2017) == TABLE.utc(start + Duration.from_s(1))
    assert not TABLE.in_leap_second(start - unit)
    assert TABLE.in_leap_second(start)
    assert TABLE.in_leap_second(start + Duration.from_s(1) - unit)
    assert not TABLE.in_leap_second(start + Duration.from_s(1))


@pytest.mark.parametrize(
    ("tai", "expected_utc"),
    [(-2.0, -3.0), (-1.5, -2.5), (-1.0, -2.0), (-0.5, -1.5), (0.0, 0.0), (0.5, 0.5), (1.0, 1.0)],
)
def test_a_deleted_second_is_left_out(tai: float, expected_utc: float) -> None:
    # TAI counted from the moment at which 23:59:58 ends and 00:00:00 starts.
    at = tai_s(JULY_1972 + 9) + Duration.from_s(tai)
    assert utc_s(JULY_1972) + Duration.from_s(expected_utc) == DELETED.utc(at)
    assert at == DELETED.tai(DELETED.utc(at))
    assert not DELETED.in_leap_second(at)


@pytest.mark.parametrize("edge", [NEW_YEAR_2017, 1_435_708_800])
def test_the_ambiguous_second_has_a_guard_of_one_second(edge: int) -> None:
    unit = Duration(1)
    assert not TABLE.ambiguous(utc_s(edge - 2) - unit)
    for seconds in (-2.0, -1.0, -0.5, 0.0, 0.5):
        assert TABLE.ambiguous(utc_s(edge) + Duration.from_s(seconds))
    assert TABLE.ambiguous(utc_s(edge + 1) - unit)
    assert not TABLE.ambiguous(utc_s(edge + 1))


def test_no_second_is_ambiguous_where_no_leap_second_was() -> None:
    assert not TABLE.ambiguous(utc("1972-01-01T00:00:00"))  # UTC's start, not a leap second
    assert not TABLE.ambiguous(utc("2018-01-01T00:00:00"))
    assert DELETED.ambiguous(utc_s(JULY_1972 - 1))


@given(st.integers(-(2**33), 2**34), st.integers(0, UNITS_PER_S - 1))
def test_utc_to_tai_and_back(seconds: int, units: int) -> None:
    at: Instant[Utc] = Instant(seconds * UNITS_PER_S + units)
    assert at == TABLE.utc(TABLE.tai(at))


@given(st.integers(-(2**33), 2**34), st.integers(0, UNITS_PER_S - 1))
def test_tai_to_utc_and_back_outside_leap_seconds(seconds: int, units: int) -> None:
    at: Instant[Tai] = Instant(seconds * UNITS_PER_S + units)
    if not TABLE.in_leap_second(at):
        assert at == TABLE.tai(TABLE.utc(at))


@pytest.mark.parametrize(
    ("when", "today", "month"),
    [
        ("2016-11-30T23:59:59", Leap.NONE, Leap.NONE),
        ("2016-12-01T00:00:00", Leap.NONE, Leap.INSERT),
        ("2016-12-30T23:59:59", Leap.NONE, Leap.INSERT),
        ("2016-12-31T00:00:00", Leap.INSERT, Leap.INSERT),
        ("2016-12-31T23:59:59", Leap.INSERT, Leap.INSERT),
        ("2017-01-01T00:00:00", Leap.NONE, Leap.NONE),
        ("1971-12-31T12:00:00", Leap.NONE, Leap.NONE),
    ],
)
def test_announcements(when: str, today: Leap, month: Leap) -> None:
    assert today == TABLE.pending_today(utc(when))
    assert month == TABLE.pending_month(utc(when))


def test_a_deletion_is_announced_as_one() -> None:
    assert Leap.DELETE == DELETED.pending_today(utc("1972-06-30T12:00:00"))
    assert Leap.DELETE == DELETED.pending_month(utc("1972-06-01T00:00:00"))
    assert Leap.NONE == DELETED.pending_month(utc("1972-05-31T23:59:59"))


def test_dates_of_the_shipped_list() -> None:
    # "File expires on 28 December 2026", as its comment says in clear.
    assert utc("2026-12-28T00:00:00") == TABLE.expires
    assert TABLE.updated is not None
    assert TABLE.expires is not None
    assert TABLE.updated < TABLE.expires
    assert 28 == len(TABLE.steps)


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("2026-10-28T23:59:59", None),
        ("2026-10-30T00:00:01", "expires on 2026-12-28, in 59 days"),
        ("2026-10-29T00:00:00", None),
        ("2026-10-29T00:00:01", "in 60 days"),
        ("2026-12-26T12:00:00", "in 2 days;"),
        ("2026-12-27T00:00:01", "in 1 day;"),
        ("2026-12-27T23:59:59", "in 1 day;"),
        ("2026-12-28T00:00:00", "expired on 2026-12-28"),
    ],
)
def test_expiry_is_told_sixty_days_ahead(when: str, expected: str | None) -> None:
    said = TABLE.expiry_warning(utc(when))
    if expected is None:
        assert said is None
    else:
        assert said is not None
        assert expected in said


def test_a_list_that_expires_within_the_day_says_so() -> None:
    noon = int(NOON.scaled_ns // UNITS_PER_S)
    table = LeapTable.parse(listing(STEPS, expires=noon + NTP))
    said = [table.expiry_warning(NOON + Duration.from_s(hours * 3600)) for hours in (-13, -12, -1, 0)]
    assert all(text is not None for text in said)
    assert ["in 1 day", "today", "today", "expired on"] == [
        next(words for words in ("in 1 day", "today", "expired on") if words in str(text)) for text in said
    ]


def test_a_list_without_dates_never_warns() -> None:
    table = LeapTable.parse(listing(STEPS, updated=None, expires=None))
    assert table.expires is None
    assert table.updated is None
    assert table.expiry_warning(utc("2100-01-01T00:00:00")) is None


def test_a_hash_whose_words_lack_leading_zeros_is_read() -> None:
    for expires in range(4_000_000_000, 4_000_001_000):
        text = listing(STEPS, expires=expires)
        if "\n#h\t0" in text:
            break
    else:
        pytest.fail("no hash with a leading zero among a thousand")
    assert LeapTable.parse(text.replace("#h\t0", "#h\t")).steps == tuple(STEPS)


GOOD = listing(STEPS)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("", 0, "no #h line"),
        (GOOD.rsplit("#h", 1)[0], 6, "no #h line"),
        (GOOD.replace("2287785600", "2287785601"), 5, "not the start of a month"),
        (GOOD.replace("2287785600", "2287872000"), 5, "not the start of a month"),
        (GOOD.replace("\t11\t", "\t12\t"), 5, "from 10 s to 12 s"),
        (GOOD.replace("2287785600", "2335219200"), 6, "do not increase"),
        (GOOD.replace("4000000000", "4000000001"), 7, "SHA-1"),
        (listing(STEPS, digest="0" * 40), 7, "SHA-1"),
        (GOOD.replace("#@\t", "#@\tsoon"), 3, "is not a date"),
        (GOOD.replace("#h\t", "#h\tzz"), 7, "five words"),
        (GOOD.replace("\t11\t", "\t\t"), 5, "is not a date and TAI - UTC"),
        (GOOD.replace("# a comment", "#$ 1"), 2, r"second #\$"),
        (listing([]), 0, "no leap seconds"),
        (GOOD.replace("2287785600", "9" * 5000), 5, "is not a date"),
        ("<html>404</html>", 1, "is not a date"),
    ],
)
def test_a_corrupt_list_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(LeapTableError, match=says) as caught:
        LeapTable.parse(text)
    assert line == caught.value.line
    assert isinstance(caught.value, ValueError)


@given(st.integers(0, len(SHIPPED) - 1), st.characters(codec="ascii"))
def test_no_single_wrong_character_changes_the_table(position: int, character: str) -> None:
    text = SHIPPED[:position] + character + SHIPPED[position + 1 :]
    try:
        table = LeapTable.parse(text)
    except LeapTableError:
        return
    assert table.steps == TABLE.steps
    assert table.expires == TABLE.expires


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    with pytest.raises(LeapTableError):
        LeapTable.parse(text)


@given(st.integers(-719_162, 2_932_896))
def testcivil_dates_against_datetime(day: int) -> None:
    date = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)
    assert (date.year, date.month, date.day) == civil(day)
