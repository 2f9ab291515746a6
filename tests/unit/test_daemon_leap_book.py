"""A leap second by vote: when it becomes final, who learns of it, and who may not vote."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from group_support import SYSTEM, Judge
from sim_support import leap_table

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Tai, Utc
from timesync.base.utc import LeapTable, LeapTableError
from timesync.daemon.leap_book import LeapBook, LiveTable, ballots
from timesync.gnss.leap_vote import Ballot
from timesync.servo.view import SourceState

NEW_YEAR_S = 1_798_761_600
"""2027-01-01 00:00:00 UTC."""
EXPIRED = replace(leap_table(), expires=Instant[Utc].from_ns(0))
ALL = [Ballot(name, Leap.INSERT) for name in ("a", "b", "c")]
NONE = [Ballot(name, Leap.NONE) for name in ("a", "b", "c")]


def _before(seconds: float) -> Instant[Tai]:
    return leap_table().tai(Instant[Utc].from_ns(NEW_YEAR_S * 10**9)) - Duration.from_s(seconds)


def test_a_vote_is_final_in_the_last_minute_and_is_said_once() -> None:
    table = LiveTable.of(EXPIRED)
    book = LeapBook(table)
    book.vote(ALL, _before(3600))
    assert book.settle(_before(61)) is None
    assert 37 == table.steps[-1][1]
    said = book.settle(_before(60))
    assert "the leap second at the end of 2026-12-31 is final by vote: TAI - UTC is 38 s after it" == said
    assert (NEW_YEAR_S, 38) == table.steps[-1]
    assert book.settle(_before(59)) is None


def test_until_then_the_voters_may_think_better_of_it() -> None:
    table = LiveTable.of(EXPIRED)
    book = LeapBook(table)
    book.vote(ALL, _before(3600))
    assert (NEW_YEAR_S, 38) == book.believed.steps[-1]
    book.vote(NONE, _before(3000))
    assert book.settle(_before(30)) is None
    assert leap_table().steps == table.steps == book.believed.steps


def test_what_is_final_stays_so_whatever_they_say_in_the_last_minute() -> None:
    book = LeapBook(LiveTable.of(EXPIRED))
    book.vote(ALL, _before(100))
    book.settle(_before(60))
    book.vote(NONE, _before(44))
    assert (Leap.INSERT, 37) == book.today(SYSTEM, _before(40))
    assert Leap.INSERT is book.month(_before(40))
    # In the inserted second UTC repeats: what is after it counts 38 s.
    assert (Leap.NONE, 38) == book.today(SYSTEM, _before(-1.5))
    assert Leap.NONE is book.month(_before(-1.5))


def test_a_smear_that_has_begun_makes_the_vote_final() -> None:
    table = LiveTable.of(EXPIRED)
    book = LeapBook(table)
    book.smear = Duration.from_s(86_400)
    book.vote(ALL, _before(50_000))
    assert book.settle(_before(43_201)) is None
    assert book.settle(_before(43_200)) is not None
    assert 38 == table.steps[-1][1]


def test_all_who_hold_the_table_learn_of_it_and_see_the_same_history() -> None:
    table = LiveTable.of(EXPIRED)
    longer = replace(EXPIRED, steps=(*EXPIRED.steps, (NEW_YEAR_S, 38)))
    held: LeapTable = table
    after: Instant[Utc] = Instant.from_ns((NEW_YEAR_S + 10) * 10**9)
    assert 37 == held.tai_utc(after)
    table.learn(longer)
    assert held is table
    assert 38 == held.tai_utc(after)
    assert longer.tai(after) == held.tai(after)
    assert after == held.utc(longer.tai(after))
    with pytest.raises(LeapTableError):
        table.learn(SimpleNamespace(steps=((0, 10), (1, 11))))  # type: ignore[arg-type]
    assert longer.steps == held.steps, "nothing was taken of it"


def _source(name: str, reference_id: bytes, leap: Leap, **more: Any) -> Any:
    spec = SimpleNamespace(source=SourceId(name), name=name, reference_id=reference_id, parent=more.get("parent"))
    ruling = SimpleNamespace(state=more.get("state", SourceState.SELECTED))
    return SimpleNamespace(spec=spec, ruling=ruling, quality=SimpleNamespace(leap=leap))


def test_pulses_and_hardware_clocks_abstain_and_links_have_no_voice() -> None:
    receiver = Judge()
    receiver.says = Leap.UNKNOWN
    said = ballots(
        {SourceId("gps"): receiver},
        [
            _source("ntp1", bytes((10, 0, 0, 1)), Leap.INSERT),
            _source("pps", b"PPS\0", Leap.NONE),
            _source("phc", b"PHC\0", Leap.NONE),
            _source("gps", b"GPS\0", Leap.NONE),
            _source("eth0->system", bytes(4), Leap.NONE, parent=ClockId("eth0")),
            _source("ntp2", bytes((10, 0, 0, 2)), Leap.NONE, state=SourceState.FALSETICKER),
        ],
    )
    voters = [(one.name, one.leap) for one in said if one.leap is not Leap.UNKNOWN]
    assert [("ntp1", Leap.INSERT)] == voters
    book = LeapBook(LiveTable.of(EXPIRED))
    book.vote(said, _before(3600))
    assert Leap.INSERT is book.month(_before(3600))
