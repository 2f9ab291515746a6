"""History: what was said comes back, at every resolution, after restarts, whatever happens to the file."""

from __future__ import annotations

import itertools
import math
import os
import random
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from timesync.observe.history import store
from timesync.observe.history.blocks import TIERS, Block, Cell
from timesync.observe.history.file import EVENTS_KEPT, PAGE, Event, HistoryFile
from timesync.observe.history.series import Extractor
from timesync.observe.history.store import History

START_S = 1_790_000_000 - 1_790_000_000 % 86_400
SECOND = 1_000_000_000
MB = 1_000_000


def quiet(text: str) -> None:
    raise AssertionError(text)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "history.sqlite"


def feed(history: History, from_s: int, seconds: int, value: float | None = None) -> None:
    for at in range(from_s, from_s + seconds):
        history.add(at * SECOND, {"a": float(at - START_S) if value is None else value})


def test_what_was_said_a_moment_ago_comes_back_unwritten(path: Path) -> None:
    history = History.open(path, MB, quiet)
    feed(history, START_S, 100)
    got = history.query("a", START_S, START_S + 100, points=100)
    assert (1, [float(at) for at in range(100)]) == (got.step_s, got.mean)
    assert list(range(START_S, START_S + 100)) == got.at_s


def test_seconds_and_minutes_and_hours_are_told_as_far_as_they_reach(path: Path) -> None:
    history = History.open(path, 10 * MB, quiet)
    feed(history, START_S, 3 * 3600)
    history.flush()
    feed(history, START_S + 3 * 3600, 1800)
    seconds = history.query("a", START_S + 3000, START_S + 3100, points=100)
    assert [float(at) for at in range(3000, 3100)] == seconds.mean
    minutes = history.query("a", START_S, START_S + 3600, points=60)
    assert (60, [60 * n + 29.5 for n in range(60)]) == (minutes.step_s, minutes.mean)
    assert [60.0 * n for n in range(60)] == minutes.low
    assert [60.0 * n + 59 for n in range(60)] == minutes.high
    hours = history.query("a", START_S, START_S + 4 * 3600, points=4)
    assert 3600 == hours.step_s
    assert [1799.5, 5399.5, 8999.5] == hours.mean[:3]
    # The hour that is not over yet: half of it.
    assert (10_800.0, 12_599.0) == (hours.low[3], hours.high[3])
    assert math.isclose(11_699.5, hours.mean[3] or 0)


def test_steps_between_the_tiers_are_made_of_whole_cells(path: Path) -> None:
    history = History.open(path, MB, quiet)
    feed(history, START_S, 7200)
    got = history.query("a", START_S, START_S + 7200, points=25)
    assert 300 == got.step_s  # 288 s, in whole minutes
    assert [300 * n + 149.5 for n in range(24)] == got.mean


def test_gaps_stay_gaps(path: Path) -> None:
    history = History.open(path, MB, quiet)
    feed(history, START_S, 10)
    feed(history, START_S + 20, 10)
    got = history.query("a", START_S, START_S + 30, points=30)
    assert [None] * 10 == got.mean[10:20] == got.low[10:20]
    assert None not in got.mean[:10] + got.mean[20:]
    assert [None] * 5 == history.query("nothing", START_S, START_S + 5).mean


def test_a_restart_in_the_middle_of_a_block_loses_nothing_of_it(path: Path) -> None:
    for run in range(3):
        history = History.open(path, MB, quiet)
        feed(history, START_S + 50 * run, 50)
        history.close()
    history = History.open(path, MB, quiet)
    assert ("a",) == history.series()
    assert [float(at) for at in range(150)] == history.query("a", START_S, START_S + 150, points=150).mean
    minutes = history.query("a", START_S, START_S + 120, points=2)
    assert (60, [29.5, 89.5]) == (minutes.step_s, minutes.mean)


def test_what_was_not_flushed_is_lost_at_a_power_cut_and_nothing_else(path: Path) -> None:
    history = History.open(path, MB, quiet)
    feed(history, START_S, 300)
    history.flush()
    feed(history, START_S + 300, 100)
    copy = path.with_name("after-the-cut.sqlite")
    copy.write_bytes(path.read_bytes())
    again = History.open(copy, MB, quiet)
    got = again.query("a", START_S, START_S + 400, points=400).mean
    assert [float(at) for at in range(300)] == got[:300]
    assert [None] * 100 == got[300:]


def test_minutes_and_hours_are_made_anew_of_seconds_after_a_power_cut(path: Path) -> None:
    history = History.open(path, 10 * MB, quiet)
    end = START_S + 2 * 3600 + 1500
    for at in range(START_S, end, 300):
        feed(history, at, 300)
        history.flush()
    copy = path.with_name("after-the-cut.sqlite")
    copy.write_bytes(path.read_bytes())
    again = History.open(copy, 10 * MB, quiet)
    # Back after two hours, in another block of every tier but the coarsest.
    feed(again, end + 7200, 400)
    again.flush()
    minutes = again.query("a", START_S, end, points=145)
    assert (60, [60 * n + 29.5 for n in range(145)]) == (minutes.step_s, minutes.mean)
    hours = again.query("a", START_S, START_S + 3 * 3600, points=3)
    assert (3600, [1799.5, 5399.5]) == (hours.step_s, hours.mean[:2])
    assert (7200.0, 8699.0) == (hours.low[2], hours.high[2])


def test_another_process_reads_what_was_flushed(path: Path) -> None:
    history = History.open(path, MB, quiet)
    feed(history, START_S, 300)
    history.happened(Event(START_S * SECOND, "info", "locked", "ntp1", "it follows"))
    history.flush()
    reader = History.read_only(path)
    assert 299.0 == reader.query("a", START_S, START_S + 300, points=300).mean[-1]
    assert ["it follows"] == [event.text for event in reader.events(0, 1 << 62)]
    feed(history, START_S + 300, 10)
    history.add((START_S + 310) * SECOND, {"b": 1.0})
    history.flush()
    assert ("a", "b") == reader.series()
    assert 309.0 == reader.query("a", START_S, START_S + 310, points=310).mean[-1]
    assert START_S == reader.earliest()
    reader.close()
    with pytest.raises(sqlite3.Error):
        History.read_only(path.with_name("there-is-none"))


def test_the_file_stays_within_its_size_and_keeps_something_of_every_resolution(path: Path) -> None:
    size = 1 * MB
    rng = random.Random(1)
    history = History.open(path, size, quiet)
    names = [f"source/{number}/offset_s" for number in range(20)]
    days = 2
    largest = 0
    for at in range(START_S, START_S + days * 86_400, 4):
        history.add(at * SECOND, {name: rng.gauss(0, 1e-6) for name in names})
        if at % 300 == 0:
            history.flush()
            largest = max(largest, path.stat().st_size)
    assert largest <= size
    end = START_S + days * 86_400
    # The last hour is there second by second, the whole day by minutes, all of it by hours.
    assert 800 < sum(value is not None for value in history.query(names[0], end - 3600, end, points=3600).mean)
    day = history.query(names[3], end - 86_400, end, points=1440)
    assert 60 == day.step_s
    assert 1400 < sum(value is not None for value in day.mean)
    assert None not in history.query(names[3], START_S, end, points=48).mean


def test_a_size_that_shrinks_is_obeyed(path: Path) -> None:
    history = History.open(path, 4 * MB, quiet)
    rng = random.Random(2)
    for at in range(START_S, START_S + 20_000):
        history.add(at * SECOND, {f"s{number}": rng.random() for number in range(10)})
        if at % 300 == 0:
            history.flush()
    history.close()
    before = path.stat().st_size
    assert before > MB // 2
    said: list[str] = []
    history = History.open(path, MB // 4, said.append)
    feed(history, START_S + 20_000, 100)
    history.flush()
    history.close()
    assert HistoryFile(path, None).used() <= MB // 4
    assert not said


def test_clocks_that_leap_do_no_harm(path: Path) -> None:
    history = History.open(path, MB, quiet)
    history.add(5 * SECOND, {"a": 1.0})
    feed(history, START_S + 100, 100)
    feed(history, START_S + 50, 100, value=7.0)
    history.add((START_S + 10_000_000) * SECOND, {"a": 9.0})
    history.flush()
    feed(history, START_S + 200, 400)
    history.flush()
    got = history.query("a", START_S, START_S + 600, points=600)
    assert [7.0] * 100 == got.mean[50:150]
    assert [float(at) for at in range(150, 600)] == got.mean[150:]
    assert [None] * 50 == got.mean[:50]
    # What was written for a future that never came is gone.
    assert [None] * 100 == history.query("a", START_S + 9_999_950, START_S + 10_000_050, points=100).mean


def kept_before(path: Path) -> list[float | None]:
    """A file with an hour of values in it, written and closed; and these values."""
    history = History.open(path, MB, quiet)
    feed(history, START_S, 3600)
    history.close()
    return [float(at) for at in range(3600)]


def test_a_clock_that_is_not_yet_right_deletes_nothing(path: Path) -> None:
    before = kept_before(path)
    long_ago = START_S - 100 * 86_400
    history = History.open(path, MB, quiet)
    for at in range(600):
        history.add((long_ago + at) * SECOND, {"a": -1.0}, sure=False)
    history.flush()
    history.add(5 * SECOND, {"a": -1.0})
    history.flush()
    history.close()
    history = History.open(path, MB, quiet)
    assert before == history.query("a", START_S, START_S + 3600, points=3600).mean
    assert [-1.0] * 600 == history.query("a", long_ago, long_ago + 600, points=600).mean
    # Once it is right, it tells what never came.
    feed(history, START_S + 1800, 1)
    history.flush()
    assert [None] * 900 == history.query("a", START_S + 2700, START_S + 3600, points=900).mean


def test_what_was_measured_before_a_clock_lost_its_time_is_written(path: Path) -> None:
    history = History.open(path, MB, quiet)
    feed(history, START_S, 250)
    history.add((START_S - 100 * 86_400) * SECOND, {"a": -1.0}, sure=False)
    history.flush()
    history.close()
    again = History.open(path, MB, quiet)
    assert [float(at) for at in range(250)] == again.query("a", START_S, START_S + 250, points=250).mean
    assert [29.5, 89.5, 149.5, 209.5, 244.5] == again.query("a", START_S, START_S + 300, points=5).mean


def test_an_observer_that_ends_before_the_first_state_deletes_nothing(path: Path) -> None:
    before = kept_before(path)
    history = History.open(path, MB, quiet)
    history.happened(Event(START_S * SECOND, "info", "stop", None, "at once"))
    history.close()
    assert before == History.open(path, MB, quiet).query("a", START_S, START_S + 3600, points=3600).mean


@pytest.mark.parametrize("damage", ["text", "cut", "other", "middle"])
def test_a_file_that_cannot_be_used_is_set_aside(path: Path, damage: str) -> None:
    history = History.open(path, MB, quiet)
    for number in range(50):
        history.add(START_S * SECOND, {f"s{number}": 1.0})
    history.close()
    match damage:
        case "text":
            path.write_text("this is not a database at all, it is text\n" * 100)
        case "cut":
            os.truncate(path, path.stat().st_size // 2)
        case "other":
            path.unlink()
            with sqlite3.connect(path) as other:
                other.execute("CREATE TABLE mine (x)")
        case "middle":
            with path.open("r+b") as file:
                file.seek(PAGE)
                file.write(os.urandom(PAGE))
    said: list[str] = []
    history = History.open(path, MB, said.append)
    assert 1 == len(said)
    assert "set aside" in said[0]
    assert path.with_name("history.sqlite.broken").exists()
    feed(history, START_S, 10)
    history.close()
    assert 9.0 == History.open(path, MB, quiet).query("a", START_S, START_S + 10, points=10).mean[-1]


def test_a_directory_that_is_not_there_is_said_and_history_is_kept_in_memory(tmp_path: Path) -> None:
    said: list[str] = []
    history = History.open(tmp_path / "no" / "such" / "history.sqlite", MB, said.append)
    assert 1 == len(said)
    assert "in memory only" in said[0]
    for at in range(START_S, START_S + 7200):
        history.add(at * SECOND, {"a": 1.0})
        if at % 300 == 0:
            history.flush()
    end = START_S + 7200
    assert None not in history.query("a", end - 3600, end, points=3600).mean
    assert len(history._blocks) < 20


def test_a_full_disk_is_said_once_and_what_waits_stays_bounded(path: Path) -> None:
    said: list[str] = []
    history = History.open(path, MB, said.append)
    feed(history, START_S, 10)
    history.flush()
    assert history._file is not None
    history._file._db.execute("PRAGMA max_page_count = 1")  # what SQLite says is what it says of a full disk
    for at in range(START_S, START_S + 30 * 300, 300):
        feed(history, at, 300)
        history.add(at * SECOND, {f"new{at}": 1.0})
        for number in range(200):
            history.happened(Event(at * SECOND, "info", "x", None, "y" * number))
        history.flush()
    assert 1 == len(said)
    assert "full" in said[0]
    assert len(history._events) <= 1000
    history._file._db.execute(f"PRAGMA max_page_count = {MB // PAGE}")
    history.flush()
    assert "y" * 199 == history.events(0, 1 << 62)[-1].text


def test_names_that_remotes_make_up_are_bounded(path: Path) -> None:
    history = History.open(path, MB, quiet)
    for number in range(store.NUMBER_OF_SERIES + 50):
        history.add(START_S * SECOND, {f"s{number}": 1.0})
    assert store.NUMBER_OF_SERIES == len(history.series())


def test_names_of_which_nothing_is_left_go_when_there_is_no_room(path: Path) -> None:
    """In turn, twenty a day; what is only not written of at present stays."""
    tier = TIERS[2]
    rng = random.Random(3)
    file = HistoryFile(path, 16 * PAGE)

    def day_of(names: list[str], day: int) -> None:
        start = START_S + day * tier.block_s
        blocks = {name: Block(tier, start) for name in names}
        for block in blocks.values():
            for hour in range(24):
                value = rng.random()
                block.put(Cell(start + hour * tier.step_s, value, value, value, 60))
        file.write({name: [block] for name, block in blocks.items()}, (), start)

    old = [f"old{number}" for number in range(50)]
    day_of(old, 0)
    counts = []
    for day in range(1, 100):
        day_of([f"new{number}" for number in range(40)] + (["rare"] if day % 10 == 0 else []), day)
        counts.append(sum(name in file.series for name in old))
    assert [50, 0] == [counts[0], counts[-1]]
    assert all(0 <= before - after <= 20 for before, after in itertools.pairwise(counts))
    assert {f"new{number}" for number in range(40)} | {"rare"} == set(file.series)
    assert 41 == file._db.execute("SELECT count(*) FROM series").fetchone()[0]
    file.close()


def test_events_come_back_in_order_and_the_oldest_go(path: Path) -> None:
    history = History.open(path, 10 * MB, quiet)
    for number in itertools.count():
        history.happened(Event((START_S + number) * SECOND, "info", "n", None, str(number)))
        if number % 900 == 0:
            history.flush()
        if number > EVENTS_KEPT + 2000:
            break
    history.flush()
    got = history.events(0, 1 << 62, most=20_000)
    assert EVENTS_KEPT == len(got)
    assert str(number) == got[-1].text
    few = history.events((START_S + 12_000) * SECOND, (START_S + 12_003) * SECOND)
    assert ["12000", "12001"][: len(few)] == [event.text for event in few][:2]


@pytest.mark.parametrize("tier", TIERS)
def test_blocks_survive_packing(tier: Any) -> None:
    rng = random.Random(4)
    block = Block(tier, tier.start(START_S))
    for index in range(0, tier.length, 3):
        value = rng.gauss(0, 1)
        at = block.start_s + index * tier.step_s
        block.put(Cell(at, value, value - 1 if tier.number else value, value + 1 if tier.number else value, 7))
    again = Block.unpack(tier, block.start_s, block.pack())
    assert list(block.cells()) == list(again.cells())
    assert 0 < len(list(again.cells()))
    for wrong in (b"", b"x", block.pack()[:-3], Block(TIERS[tier.number - 1], 0).pack()):
        with pytest.raises(ValueError, match="block"):
            Block.unpack(tier, block.start_s, wrong)


def state(utc_ns: int, counters: dict[str, int] | None) -> dict[str, Any]:
    return {
        "type": "state",
        "utc_ns": utc_ns,
        "status": {
            "clocks": [
                {"name": "system", "offset_s": -1e-6, "error_bound_s": None, "frequency_ppm": 20.5,
                 "frequency_uncertainty_ppm": 0.1},
                {"name": "eth0", "offset_s": None, "frequency_ppm": 0.0, "frequency_uncertainty_ppm": None},
            ],
            "serving": {"counters": counters},
        },
        "sources": [
            {"name": "gps", "offset_s": 2e-3, "delay_s": None, "jitter_s": 1e-4,
             "details": {"satellites_used": 9, "fix": "3D", "latency_s": 0.15}},
        ],
        "ports": [{"name": "eth0", "domain": 24, "offset_s": 5e-9, "mean_delay_s": 1e-7}],
    }  # fmt: skip


def test_numbers_are_taken_out_of_a_state_and_counters_become_rates() -> None:
    extractor = Extractor()
    first = extractor.values(state(START_S * SECOND, {"received": 100, "answered": 90}))
    assert first == {
        "clock/system/offset_s": -1e-6, "clock/system/frequency_ppm": 20.5, "source/gps/offset_s": 2e-3,
        "source/gps/jitter_s": 1e-4, "source/gps/satellites_used": 9.0, "source/gps/latency_s": 0.15,
        "port/eth0.24/offset_s": 5e-9, "port/eth0.24/mean_delay_s": 1e-7,
    }  # fmt: skip
    second = extractor.values(state((START_S + 2) * SECOND, {"received": 300, "answered": 90}))
    assert (100.0, 0.0) == (second["ntp/requests/received_per_s"], second["ntp/requests/answered_per_s"])
    restarted = extractor.values(state((START_S + 3) * SECOND, {"received": 5, "answered": 5}))
    assert "ntp/requests/received_per_s" not in restarted
    assert "ntp/requests/received_per_s" not in extractor.values(state((START_S + 4) * SECOND, None))


def test_series_that_have_ended_make_room_for_others(path: Path) -> None:
    history = History.open(path, 10 * MB, quiet)
    for at in range(60):
        history.add((START_S + at) * SECOND, {f"old{number}": float(at) for number in range(store.NUMBER_OF_SERIES)})
    history.flush()
    later = START_S + 2 * 3600
    history.add(later * SECOND, {"new": 1.0})
    assert "new" not in history.series()
    history.flush()
    history.add((later + 1) * SECOND, {"new": 2.0})
    history.close()
    again = History.open(path, 10 * MB, quiet)
    assert [2.0] == again.query("new", later + 1, later + 2, points=1).mean
    # What had been gathered of those that ended is there.
    assert [29.5] == again.query("old7", START_S, START_S + 3600, points=1).mean
