"""Files of a recording: when they are closed, what is kept, and what becomes of a disk that is full."""

from __future__ import annotations

import errno
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from record_support import WAN, record

from timesync.config.observe import Measurements
from timesync.observe.records import files as records_files
from timesync.observe.records import rows
from timesync.observe.records.files import compress, prune
from timesync.observe.records.reader import files, read, read_file
from timesync.observe.records.rows import COLUMNS, RecordError, Row
from timesync.observe.records.writer import Writer
from timesync.observe.replay.figures import Baseline
from timesync.observe.replay.player import Player

DAY = 86_400 * 10**9
NOON = 20_000 * DAY + DAY // 2


class Said:
    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def __call__(self, level: str, text: str) -> None:
        self.lines.append((level, text))


def writer(directory: Path, said: Said | None = None, **settings: Any) -> Writer:
    made = Measurements.model_validate({"directory": str(directory), **settings})
    return Writer(made, said or Said())


def status(utc_ns: int, words: str = "") -> Row:
    return Row(utc_ns, rows.STATUS, source="s", details={"words": words})


def begin(utc_ns: int) -> Row:
    details = {"format": 1, "session": 7, "continues": False, "clocks": [], "sources": []}
    return Row(utc_ns, rows.BEGIN, clocks={}, details=details)


def kinds(path: Path) -> list[str]:
    return [row.kind for row in read_file(path)]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_file_that_is_full_is_compressed_and_another_goes_on(tmp_path: Path, form: str) -> None:
    made = writer(tmp_path, size="100kB", format=form)
    made.take([begin(NOON)])
    for second in range(1000):
        made.take([status(NOON + second * 10**9, "x" * 200)])
    made.close()
    made.tidy()
    found = files(tmp_path)
    assert all(path.name.endswith(f".{form}.gz") for path in found)
    assert len(found) == 3
    for path in found:
        assert 1000 < len(gzip.decompress(path.read_bytes())) < 101_000
        assert kinds(path)[0] == "begin"
    beginnings = [next(read_file(path)).details or {} for path in found]
    assert [False, True, True] == [one["continues"] for one in beginnings]
    assert 1000 == sum(kind == "status" for path in found for kind in kinds(path))


def test_a_file_is_closed_at_midnight_utc(tmp_path: Path) -> None:
    made = writer(tmp_path)
    made.take([begin(20_001 * DAY - 2 * 10**9), status(20_001 * DAY - 1), status(20_001 * DAY)])
    made.close()
    first, second = files(tmp_path)
    assert ["begin", "status"] == kinds(first)
    assert ["begin", "status"] == kinds(second)
    assert second.name.startswith("measurements-20241005T000000")  # day 20 001 of 1970


def test_so_many_files_are_kept_and_the_oldest_goes_first(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_text("somebody else's\n")
    made = writer(tmp_path, keep=3)
    for day in range(6):
        made.take([status(NOON + day * DAY)])
        made.tidy()
    made.close()
    found = [path.name for path in sorted(tmp_path.iterdir())]
    assert ["20241007", "20241008", "20241009"] == [name[13:21] for name in found if name.startswith("measurements")]
    assert "notes.csv" in found


def test_old_files_that_cannot_be_deleted_spoil_no_recording(tmp_path: Path) -> None:
    name = "measurements-20200101T000000.000Z.csv"
    (tmp_path / name / "is a directory").mkdir(parents=True)
    said = Said()
    made = writer(tmp_path, said, keep=1)
    made.take([begin(NOON), status(NOON + 1)])
    made.close()
    assert 0 == made.lost
    (new,) = (path for path in tmp_path.iterdir() if path.name != name)
    assert [rows.BEGIN, rows.STATUS] == kinds(new)
    assert [("warning", f"old files in {tmp_path} cannot be deleted: Is a directory")] == said.lines
    made.take([status(NOON + DAY)])
    made.close()
    later = sorted(path for path in tmp_path.iterdir() if path.name not in (name, new.name))
    assert [[rows.BEGIN, rows.STATUS]] == [kinds(path) for path in later]  # what it builds upon is there


def test_a_file_that_is_pruned_before_it_is_compressed_is_no_trouble(tmp_path: Path) -> None:
    compress(tmp_path / "measurements-20240101T000000.000Z.csv")
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize("when", ["before", "after"])
def test_what_is_pruned_while_it_is_compressed_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Before it has its new name, or right afterwards."""
    old = tmp_path / "measurements-20240101T000000.000Z.csv"
    old.write_text(",".join(COLUMNS) + "\n")
    replace = Path.replace

    def pruning(self: Path, target: Path) -> Path:
        if when == "before":
            prune(tmp_path, 0)
        found = replace(self, target)
        if when == "after":
            prune(tmp_path, 0)
        return found

    monkeypatch.setattr(Path, "replace", pruning)
    compress(old)
    assert [] == list(tmp_path.iterdir())


def test_all_may_read_what_is_recorded_whatever_the_umask(tmp_path: Path) -> None:
    old = tmp_path / "measurements-20240101T000000.000Z.csv"
    old.write_text(",".join(COLUMNS) + "\n")
    before = os.umask(0o077)
    try:
        made = writer(tmp_path)
        made.take([status(NOON)])
        made.tidy()
    finally:
        os.umask(before)
    assert made.path is not None
    found = {path: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert {made.path: 0o644, old.with_name(f"{old.name}.gz"): 0o644} == found


def test_what_a_power_cut_left_is_compressed_and_half_a_compression_is_removed(tmp_path: Path) -> None:
    old = tmp_path / "measurements-20240101T000000.000Z.csv"
    old.write_text(",".join(COLUMNS) + "\n")
    part = tmp_path / "measurements-20230101T000000.000Z.csv.gz.part"
    part.write_bytes(b"half")
    made = writer(tmp_path)
    made.take([status(NOON)])
    made.tidy()
    assert not part.exists()
    assert not old.exists()
    assert old.with_name(f"{old.name}.gz").exists()
    assert made.path is not None
    assert made.path.exists()


def test_two_files_of_one_second_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for _ in range(3):
        made = writer(tmp_path)
        made.take([status(NOON)])
        made.close()
        made.tidy()
    assert 3 == len(files(tmp_path))


def test_a_torn_line_is_the_end(tmp_path: Path) -> None:
    made = writer(tmp_path)
    made.take([begin(NOON), status(NOON), status(NOON)])
    made.close()
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-10])
    assert ["begin", "status"] == kinds(path)


class Full:
    """A disk that takes so many octets more."""

    def __init__(self) -> None:
        self.room: int | None = None
        self._write = os.write

    def __call__(self, descriptor: int, data: bytes) -> int:
        if self.room is None:
            return self._write(descriptor, data)
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = self._write(descriptor, data[: self.room])
        self.room -= done
        return done


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Full:
    full = Full()
    monkeypatch.setattr(records_files.os, "write", full)
    return full


def test_a_full_disk_is_said_once_and_the_recording_goes_on_later(tmp_path: Path, disk: Full) -> None:
    said = Said()
    made = writer(tmp_path, said)
    made.take([begin(NOON), status(NOON)])
    made.flush()
    disk.room = 7  # half a line
    made.take([status(NOON + 1), status(NOON + 2)])
    made.flush()
    made.take([status(NOON + 3)])
    made.flush()
    assert [("warning", "No space left")] == [(level, text.split(": ")[1][:13]) for level, text in said.lines]
    disk.room = None
    made.take([status(NOON + 4)])
    made.flush(NOON + 5)
    made.take([status(NOON + 6)])
    made.close()
    assert ("info", f"{tmp_path} can be written again") == said.lines[-1]
    (path,) = files(tmp_path)
    found = list(read_file(path))
    assert ["begin", "status", "status", "gap", "begin", "status"] == [row.kind for row in found]
    assert 3 == (found[3].details or {})["rows"]
    assert (found[4].details or {})["continues"]


def test_a_disk_that_is_full_at_the_beginning_leaves_no_file_without_a_first_line(tmp_path: Path, disk: Full) -> None:
    disk.room = 0
    said = Said()
    made = writer(tmp_path, said)
    made.take([begin(NOON), status(NOON)])
    assert not list(tmp_path.iterdir())
    disk.room = None
    made.take([status(NOON + 1)])
    made.close()
    (path,) = files(tmp_path)
    assert ["gap", "begin", "status"] == kinds(path)
    assert 1 == len(said.lines)


def test_a_directory_that_is_gone_is_no_reason_to_fail(tmp_path: Path) -> None:
    said = Said()
    made = writer(tmp_path / "away", said)
    made.take([begin(NOON), status(NOON)])
    made.flush()
    made.close()
    assert 2 == made.lost
    assert 1 == len(said.lines)
    (tmp_path / "away").mkdir()
    made.take([status(NOON + 1)])
    made.close()
    assert ["gap", "begin", "status"] == kinds(files(tmp_path / "away")[0])


def test_what_was_done_to_a_clock_stays_in_one_file_with_its_cause(tmp_path: Path) -> None:
    made = writer(tmp_path, size="100kB")
    made.take([begin(NOON)])
    files_so_far = 1
    for second in range(1, 40):
        # Each status fills a file: without its cause nobody could tell why the clock was steered.
        at = NOON + second * 1_000_000_000
        made.take([status(at, "x" * 110_000), Row(at, rows.APPLIED, clock="system", at=0, rate=1e-6)])
    made.close()
    made.tidy()
    for path in files(tmp_path):
        found = kinds(path)
        assert found.count("applied") == found.count("status")
    assert len(files(tmp_path)) > files_so_far


def test_a_file_alone_can_be_replayed_although_it_began_in_the_middle(tmp_path: Path) -> None:
    recorded, _ = record(WAN)
    made = writer(tmp_path, size="100kB")
    made.take(recorded)
    made.close()
    made.tidy()
    first, second, *_ = files(tmp_path)
    whole = Baseline(read(tmp_path))
    assert whole.fidelity.compared == whole.fidelity.same > 300
    assert 0 == whole.fidelity.openings
    alone = Baseline(read_file(second))
    assert alone.figures is not None
    assert 1 == alone.fidelity.openings
    assert alone.figures.selected.keys() == {"near", "far"}
    assert alone.figures.maximum_s < 1e-3
    assert Baseline(read_file(first)).fidelity.compared > 0


def test_rows_after_a_gap_wait_for_the_next_beginning(tmp_path: Path) -> None:
    recorded, _ = record(WAN)
    middle = len(recorded) // 2
    gap = Row(recorded[middle].utc_ns, rows.GAP, details={"rows": 5})
    player = Player()
    moments = [moment.row for moment in player.play([*recorded[:middle], gap, *recorded[middle + 5 :]])]
    assert moments[-1].utc_ns <= recorded[middle].utc_ns
    assert 1 == player.fidelity.gaps


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "the name must end with one of .csv"),
        ("a.csv", b"time,offset\n1,2\n", "row 1: not a recording"),
        ("a.jsonl", b"{}\n", "row 1: columns are missing"),
        ("a.csv.gz", b"\x1f\x8b\x08\0\0\0\0\0\0\x03damaged", "is damaged"),
        ("a.csv", b"\xff\xfe\n", "is damaged"),
    ],
)
def test_a_file_that_is_no_recording_is_refused_with_a_reason(
    tmp_path: Path, name: str, content: bytes, words: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordError, match=words):
        list(read_file(path))


def test_a_directory_without_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="holds no recording"):
        list(read(tmp_path))
