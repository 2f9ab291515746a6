"""The file of history: blocks, names of series and events in SQLite, within a size.

It is written seldom and in one go (an SD card wears by writes), and whatever is wrong with it is no reason to fail: a
file that cannot be used is set aside, and a new one is begun.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from timesync.observe.history.blocks import TIERS, Block, Tier

VERSION: Final = 1
PAGE: Final = 16_384
"""A block must fit into a quarter of a page: what does not takes a page of its own."""

EVENTS_KEPT: Final = 10_000
_APPLICATION: Final = 0x7453_4869  # tSHi
_ROOM: Final = 0.9
"""Of the size, this much is filled: what is written at once needs room of its own."""

_PRUNED: Final = 64
"""Blocks that go at a time when there is no room."""

_ENDED: Final = 20
_SWEPT_S: Final = 86_400
"""When old blocks go, so many names of ended series are looked for in the others, so often: it costs a look at each."""

_PROPORTION: Final = 30
"""When there is no room, minutes reach back this many times as far as seconds: a month, say, beside a day."""

_PRUNE_BLOCKS: Final = (
    "DELETE FROM block WHERE (tier, start, series) IN "
    "(SELECT tier, start, series FROM block WHERE tier = ? ORDER BY start LIMIT ?)"
)

_SCHEMA: Final = """
CREATE TABLE series (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE block (
    tier INTEGER NOT NULL, start INTEGER NOT NULL, series INTEGER NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (tier, start, series)
) WITHOUT ROWID;
CREATE TABLE event (
    id INTEGER PRIMARY KEY, utc_ns INTEGER NOT NULL, level TEXT NOT NULL, name TEXT NOT NULL, source TEXT,
    text TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened; see ``timesync.observe.stream.event``."""

    utc_ns: int
    level: str
    name: str
    source: str | None
    text: str


class HistoryFile:
    """An open file. Every method may raise ``sqlite3.Error``."""

    def __init__(self, path: Path, size: int | None) -> None:
        """Open it, or begin one.

        Args:
            path: Where.
            size: Octets that it may have; None: it is only read, and must be there.
        """
        self.path = path
        self._size = size
        if size is None:
            self._db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None)
        else:
            self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._set_up()
        except sqlite3.Error:
            self._db.close()
            raise
        self._swept_s = -_SWEPT_S
        self._looked_at = 0
        self._ids: dict[str, int] = dict(self._db.execute("SELECT name, id FROM series"))

    def _set_up(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        (application,) = self._db.execute("PRAGMA application_id").fetchone()
        if self._size is None:
            if (version, application) != (VERSION, _APPLICATION):
                raise sqlite3.DatabaseError("not a file of timesync's history, or one of another version")
            return
        if version == 0 and not self._db.execute("SELECT 1 FROM sqlite_master").fetchone():
            self._db.execute(f"PRAGMA page_size = {PAGE}")
            self._db.execute(f"PRAGMA application_id = {_APPLICATION}")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version = {VERSION}")
        elif (version, application) != (VERSION, _APPLICATION):
            raise sqlite3.DatabaseError("not a file of timesync's history, or one of another version")
        # A power cut may cost the last writes, never the file.
        self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.execute(f"PRAGMA max_page_count = {max(self._size // PAGE, 16)}")
        if self._db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("damaged")

    @property
    def read_only(self) -> bool:
        """Another process writes it."""
        return self._size is None

    def close(self) -> None:
        """Close it."""
        self._db.close()

    @property
    def series(self) -> tuple[str, ...]:
        """The names of all series that it has."""
        return tuple(self._ids)

    def reread(self) -> None:
        """Learn of series that another process has added."""
        self._ids = dict(self._db.execute("SELECT name, id FROM series"))

    def used(self) -> int:
        """Octets in use."""
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        return int(pages - free) * PAGE

    # -- reading

    def block(self, series: str, tier: Tier, start_s: int) -> Block | None:
        """One block; None when there is none, or when it cannot be read."""
        rows = self._db.execute(
            "SELECT data FROM block WHERE tier = ? AND start = ? AND series = ?",
            (tier.number, start_s, self._ids.get(series)),
        )
        row = rows.fetchone()
        return None if row is None else _unpacked(tier, start_s, row[0])

    def blocks(self, series: str, tier: Tier, from_s: int, to_s: int) -> list[Block]:
        """All blocks that have something of ``from_s`` to ``to_s``, in order."""
        rows = self._db.execute(
            "SELECT start, data FROM block WHERE tier = ? AND start >= ? AND start < ? AND series = ? ORDER BY start",
            (tier.number, tier.start(from_s), to_s, self._ids.get(series)),
        )
        found = (_unpacked(tier, start, data) for start, data in rows)
        return [block for block in found if block is not None]

    def earliest(self, tier: Tier) -> int | None:
        """The beginning of the first block of a tier; None when there is none."""
        (start,) = self._db.execute("SELECT min(start) FROM block WHERE tier = ?", (tier.number,)).fetchone()
        return None if start is None else int(start)

    def latest(self, series: str, tier: Tier) -> int | None:
        """The beginning of the last block of a series in a tier; None when there is none."""
        (start,) = self._db.execute(
            "SELECT max(start) FROM block WHERE tier = ? AND series = ?", (tier.number, self._ids.get(series))
        ).fetchone()
        return None if start is None else int(start)

    def events(self, from_ns: int, to_ns: int, most: int) -> list[Event]:
        """The last ``most`` events from one moment to another, the newest last."""
        rows = self._db.execute(
            "SELECT utc_ns, level, name, source, text FROM event WHERE utc_ns >= ? AND utc_ns < ? "
            "ORDER BY id DESC LIMIT ?",
            (from_ns, to_ns, most),
        )
        return [Event(*row) for row in rows][::-1]

    # -- writing

    def write(
        self, blocks: Mapping[str, Iterable[Block]], events: Iterable[Event], now_s: int, *, sure: bool = True
    ) -> None:
        """Write blocks in place of what their stretches had, and add events, all or nothing; then keep to the size.

        ``now_s`` is the present, UTC seconds; ``sure``: what is later than that never came, and goes.
        """
        if self._make_room(now_s, sure=sure) and not 0 <= now_s - self._swept_s < _SWEPT_S:
            self._swept_s = now_s
            self._drop_ended(set(blocks))
        with self._transaction():
            for name, ours in blocks.items():
                series = self._id(name)
                self._db.executemany(
                    "INSERT OR REPLACE INTO block VALUES (?, ?, ?, ?)",
                    ((block.tier.number, block.start_s, series, block.pack()) for block in ours),
                )
            self._db.executemany(
                "INSERT INTO event (utc_ns, level, name, source, text) VALUES (?, ?, ?, ?, ?)",
                ((one.utc_ns, one.level, one.name, one.source, one.text) for one in events),
            )
            self._db.execute("DELETE FROM event WHERE id <= (SELECT max(id) FROM event) - ?", (EVENTS_KEPT,))
        # Nothing is left beside the file until the next time.
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _transaction(self) -> contextlib.AbstractContextManager[object]:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def _id(self, name: str) -> int:
        if name not in self._ids:
            self._ids[name] = int(self._db.execute("INSERT INTO series (name) VALUES (?)", (name,)).lastrowid or 0)
        return self._ids[name]

    def _make_room(self, now_s: int, *, sure: bool) -> bool:
        """Delete old blocks while too much is in use, and those of a future that never came; whether any went."""
        before = self._db.total_changes
        assert self._size is not None
        with self._transaction():
            for tier in TIERS if sure else ():
                self._db.execute("DELETE FROM block WHERE tier = ? AND start > ?", (tier.number, now_s + tier.block_s))
            while self.used() > self._size * _ROOM:
                gone = self._db.execute(_PRUNE_BLOCKS, (self._longest(now_s).number, _PRUNED))
                if not gone.rowcount:
                    break
        return self._db.total_changes > before

    def _drop_ended(self, current: set[str]) -> None:
        """Forget names of which no block is left: some of those that nothing is written of now, in turn."""
        asked = {number: name for name, number in self._ids.items() if name not in current}
        turn = sorted(asked, key=lambda number: (number <= self._looked_at, number))[:_ENDED]
        self._looked_at = turn[-1] if turn else 0
        ended = {number: asked[number] for number in turn}
        for tier in reversed(TIERS):
            start: int | None = -1
            while ended and start is not None:
                # From one beginning to the next by the key: the blocks between are not read.
                after = "SELECT min(start) FROM block WHERE tier = ? AND start > ?"
                (start,) = self._db.execute(after, (tier.number, start)).fetchone()
                places = ", ".join("?" * len(ended))
                there = f"SELECT series FROM block WHERE tier = ? AND start = ? AND series IN ({places})"  # noqa: S608  numbers
                for (number,) in self._db.execute(there, (tier.number, start, *ended)).fetchall():
                    del ended[number]
        with self._transaction():
            self._db.executemany("DELETE FROM series WHERE id = ?", ((number,) for number in ended))
        for name in ended.values():
            del self._ids[name]

    def _longest(self, now_s: int) -> Tier:
        """The tier whose past is too long beside that of the next coarser one; hours go when nothing else is left."""
        seconds, minutes, hours = TIERS
        first, second = self.earliest(seconds), self.earliest(minutes)
        if first is not None and (second is None or (now_s - first) * _PROPORTION >= now_s - second):
            return seconds
        return hours if second is None else minutes


def _unpacked(tier: Tier, start_s: int, data: bytes) -> Block | None:
    try:
        return Block.unpack(tier, start_s, data)
    except ValueError:
        return None
