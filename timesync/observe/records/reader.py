"""Reads recordings: a file of CSV or JSON lines, compressed or not, or all those of a directory in order."""

from __future__ import annotations

import csv
import errno
import gzip
import os
import zlib
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Final

from timesync.observe.records import rows
from timesync.observe.records.rows import RecordError, Row

SUFFIXES: Final = (".csv", ".csv.gz", ".jsonl", ".jsonl.gz")
_LONGEST_CELL: Final = 8 << 20


def files(path: Path) -> list[Path]:
    """The files of a recording, the oldest first; a file alone is one. Raises RecordError."""
    if not path.is_dir():
        return [path]
    found = [entry for entry in path.iterdir() if entry.name.endswith(SUFFIXES) and entry.is_file()]
    if not found:
        raise RecordError(f"{path} holds no recording: no file that ends with {', '.join(SUFFIXES)}")
    # Names have the moment of their beginning in them; one that is just being compressed is there twice.
    by_name = {entry.name.removesuffix(".gz"): entry for entry in sorted(found, key=lambda one: one.suffix == ".gz")}
    return [by_name[name] for name in sorted(by_name)]


def read(path: Path) -> Iterator[Row]:
    """The rows of a file, or of all files of a directory. Raises RecordError, OSError."""
    for file in files(path):
        yield from read_file(file)


def read_file(file: Path) -> Iterator[Row]:
    """The rows of one file; the last line may be torn, as a power cut leaves it. Raises RecordError, OSError."""
    if not file.name.endswith(SUFFIXES):
        if not file.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(file))
        raise RecordError(f"{file}: the name must end with one of {', '.join(SUFFIXES)}")
    with closing(_text(file)) as stream:
        lines = _whole(stream, file)
        parsed = _json(lines) if ".jsonl" in file.suffixes[-2:] else _csv(lines)
        number = 0
        try:
            for number, row in enumerate(parsed, 1):  # noqa: B007 - told in the error
                yield row
        except (RecordError, csv.Error) as error:
            raise RecordError(f"{file}: row {number + 1}: {error}") from error


def _text(file: Path) -> IO[str]:
    if file.suffix == ".gz":
        return gzip.open(file, "rt", encoding="utf-8", newline="")
    return file.open(encoding="utf-8", newline="")


def _whole(stream: IO[str], file: Path) -> Iterator[str]:
    """The lines that have an end."""
    try:
        for line in stream:
            if line.endswith("\n"):
                yield line
    except (EOFError, zlib.error, UnicodeDecodeError) as error:
        raise RecordError(f"{file} is damaged: {error}") from error


def _json(lines: Iterable[str]) -> Iterator[Row]:
    for line in lines:
        yield rows.row_of_json(line)


def _csv(lines: Iterator[str]) -> Iterator[Row]:
    csv.field_size_limit(_LONGEST_CELL)
    parsed = csv.reader(lines)
    columns = next(parsed, None)
    if columns is None:
        return
    if not {"unix_time", "kind", "mono_s"} <= set(columns):
        raise RecordError("not a recording: the first line has not the names of its columns")
    for cells in parsed:
        yield rows.row_of_cells(columns, cells)
