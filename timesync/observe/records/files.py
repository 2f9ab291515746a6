"""The files of a recording: begun, filled, closed, compressed and in the end deleted."""

from __future__ import annotations

import csv
import gzip
import io
import os
import shutil
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from timesync.observe.records.rows import COLUMNS, Row, cells, json_line

PREFIX: Final = "measurements-"
_MODE: Final = 0o644
"""For all to read: operators make reports and replays of recordings."""

_LEVEL: Final = 6
_NS_PER_DAY: Final = 86_400 * 1_000_000_000


class OpenFile:
    """The file that is being filled; what is not flushed is in memory.

    Attributes:
        path: Where.
        size: Octets, those in memory too.
        day: The day of UTC that it belongs to, since 1970.
    """

    def __init__(self, directory: Path, form: str, utc_ns: int) -> None:
        """Begin one. Raises OSError."""
        began = datetime.fromtimestamp(utc_ns // 1_000_000_000, UTC)
        stem = f"{PREFIX}{began:%Y%m%dT%H%M%S}"
        self.day = utc_ns // _NS_PER_DAY
        self.size = 0
        self._form = form
        self._waiting = bytearray()
        self._written = 0
        for number in range(1000):
            # A clock that was set back may come to the same second again.
            self.path = directory / f"{stem}.{number:03d}Z.{form}"
            if not self.path.with_name(f"{self.path.name}.gz").exists():
                try:
                    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
                    self._descriptor = os.open(self.path, flags, _MODE)
                except FileExistsError:
                    continue
                break
        else:
            raise FileExistsError(f"{self.path} and a thousand others are there")
        os.fchmod(self._descriptor, _MODE)  # whatever the umask is: the unit's keeps files of state from others
        if form == "csv":
            self._waiting += (",".join(COLUMNS) + "\n").encode()
            try:
                self.flush()
            except OSError:
                os.close(self._descriptor)
                self.path.unlink()
                raise

    @property
    def waiting(self) -> bool:
        """Whether anything is in memory."""
        return bool(self._waiting)

    def add(self, rows: Iterable[Row]) -> None:
        """Add rows, in memory."""
        if self._form == "csv":
            text = io.StringIO()
            csv.writer(text, lineterminator="\n").writerows(map(cells, rows))
            self._waiting += text.getvalue().encode()
        else:
            for row in rows:
                self._waiting += json_line(row).encode() + b"\n"
        self.size = self._written + len(self._waiting)

    def flush(self) -> None:
        """Hand on to the kernel what is in memory.

        Raises OSError, after which the file holds whole lines only and the rest is still in memory.
        """
        try:
            while self._waiting:
                done = os.write(self._descriptor, self._waiting)
                del self._waiting[:done]
                self._written += done
        except OSError:
            # A disk that is full takes the beginning of a line.
            self._waiting[:0] = self._torn()
            raise

    def _torn(self) -> bytes:
        """Take back the end of the file that is no whole line."""
        with self.path.open("rb") as file:
            file.seek(max(self._written - (1 << 20), 0))
            tail = file.read()
        torn = tail[tail.rfind(b"\n") + 1 :]
        os.ftruncate(self._descriptor, self._written - len(torn))
        os.lseek(self._descriptor, 0, os.SEEK_END)
        self._written -= len(torn)
        return torn

    def forget(self) -> int:
        """Give up what is in memory; returns how many lines."""
        lines = self._waiting.count(b"\n")
        self._waiting.clear()
        self.size = self._written
        return lines

    def close(self) -> None:
        """Close it. Raises OSError."""
        try:
            self.flush()
        finally:
            os.close(self._descriptor)


def compress(path: Path) -> None:
    """Put a file under its name with ``.gz``; one that is there twice after a power cut is whole. Raises OSError.

    Meanwhile the file may be pruned, in another thread: then nothing is left of it under either name.
    """
    packed = path.with_name(f"{path.name}.gz")
    part = path.with_name(f"{path.name}.gz.part")
    try:
        with path.open("rb") as source, part.open("wb") as file:
            with gzip.GzipFile("", "wb", _LEVEL, file, 0) as target:
                shutil.copyfileobj(source, target, 1 << 16)
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        part.replace(packed)
    except FileNotFoundError:
        part.unlink(missing_ok=True)
        if path.exists():  # what is not there is another file, or the directory
            raise
        return
    except OSError:
        part.unlink(missing_ok=True)
        raise
    try:
        path.unlink()
    except FileNotFoundError:
        packed.unlink(missing_ok=True)


def sweep(directory: Path) -> None:
    """Delete what was being compressed when the power went. Raises OSError."""
    for part in directory.glob(f"{PREFIX}*.part"):
        part.unlink(missing_ok=True)


def leftovers(directory: Path, apart_from: Path | None) -> list[Path]:
    """Files that nobody has compressed yet. Raises OSError."""
    found = (entry for entry in directory.iterdir() if entry.name.startswith(PREFIX) and entry != apart_from)
    return sorted(entry for entry in found if entry.suffix in (".csv", ".jsonl"))


def prune(directory: Path, keep: int) -> None:
    """Delete the oldest files beyond so many. Raises OSError."""
    ours = (entry for entry in directory.iterdir() if entry.name.startswith(PREFIX))
    names = sorted({entry.name.removesuffix(".gz") for entry in ours if entry.suffix in (".csv", ".jsonl", ".gz")})
    for name in names[: max(len(names) - keep, 0)]:
        (directory / name).unlink(missing_ok=True)
        (directory / f"{name}.gz").unlink(missing_ok=True)
