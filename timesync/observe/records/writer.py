"""The part of the observer that writes recordings.

An SD card wears by writes: rows are handed to the kernel every ten seconds in one go, and nothing is forced to the disk
before a whole file is compressed. A disk that is full is said once; rows are lost then, which the recording itself
says, and it goes on as soon as there is room.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from timesync.config.observe import Measurements
from timesync.observe import stream
from timesync.observe.hub import Message
from timesync.observe.parts import Desk
from timesync.observe.records import rows
from timesync.observe.records.carry import CarryOver
from timesync.observe.records.files import OpenFile, compress, leftovers, prune, sweep
from timesync.observe.records.rows import RecordError, Row, row_of_values

FLUSH_S: Final = 10.0
_MOST_IN_MEMORY: Final = 1 << 20


class Writer:
    """Puts rows into files; what is closed is to be compressed by somebody.

    Attributes:
        lost: Rows that could not be written since the last that could.
        path: The file that is being filled; None: none.
    """

    def __init__(self, settings: Measurements, say: Callable[[str, str], None]) -> None:
        """Nothing is opened yet; ``say`` takes a level and a sentence."""
        self._settings = settings
        self._say = say
        self._directory = Path(settings.directory)
        self._carry = CarryOver()
        self._file: OpenFile | None = None
        self._trouble: str | None = None
        self.lost = 0

    @property
    def path(self) -> Path | None:
        """See the class."""
        return None if self._file is None else self._file.path

    def take(self, batch: list[Row]) -> None:
        """Write rows, in memory at first; a file that is full, or of yesterday, is closed before."""
        for row in batch:
            if self._file is not None and self._over(row, self._file):
                self._close()
            if self._file is None and not self._open(row):
                self.lost += 1
            if self._file is not None:
                self._file.add([row])
            self._carry.take(row)
        if self._file is not None and self._file.size > _MOST_IN_MEMORY:
            self.flush()

    def miss(self, messages: int, utc_ns: int) -> None:
        """So many messages did not come through, perhaps with rows."""
        self.take([_gap(utc_ns, 0, f"{messages} messages did not come through")])

    def _over(self, row: Row, file: OpenFile) -> bool:
        if row.kind in rows.EFFECTS:
            # What was done stays in one file with what it was done for: nobody could tell otherwise why it was.
            return False
        return file.size >= self._settings.size or row.utc_ns // 86_400_000_000_000 != file.day

    def _open(self, row: Row) -> bool:
        """Begin a file with what its rows build upon; whether that was possible."""
        try:
            self._file = OpenFile(self._directory, self._settings.format, row.utc_ns)
        except OSError as error:
            self._complain(error)
            return False
        try:
            prune(self._directory, self._settings.keep)
        except OSError as error:  # nothing is lost by that, but the room may end
            self._say("warning", f"old files in {self._directory} cannot be deleted: {error.strerror or error}")
        if self.lost:
            self._tell_of_loss(self._file, row.utc_ns)
        elif row.kind != rows.BEGIN:
            self._go_on(self._file, row.utc_ns)
        return True

    def _go_on(self, file: OpenFile, utc_ns: int) -> None:
        opening = self._carry.opening(utc_ns)
        if opening is not None:
            file.add([opening])

    def _tell_of_loss(self, file: OpenFile, utc_ns: int) -> None:
        file.add([_gap(utc_ns, self.lost, "they could not be written")])
        self._go_on(file, utc_ns)
        self.lost = 0

    def flush(self, utc_ns: int | None = None) -> None:
        """Hand on what is in memory."""
        if self._file is None or not self._file.waiting:
            return
        try:
            self._file.flush()
        except OSError as error:
            self._complain(error)
            self.lost += self._file.forget()
            return
        if self._trouble is not None:
            self._say("info", f"{self._directory} can be written again")
            self._trouble = None
        if self.lost:
            self._tell_of_loss(self._file, time.time_ns() if utc_ns is None else utc_ns)

    def _close(self) -> None:
        file, self._file = self._file, None
        assert file is not None
        try:
            file.close()
        except OSError as error:
            self._complain(error)
            self.lost += file.forget()

    def close(self) -> None:
        """End the file."""
        if self._file is not None:
            self._close()

    def tidy(self) -> None:
        """Compress what is closed; it takes its time, and may be done in a thread."""
        try:
            sweep(self._directory)
            for path in leftovers(self._directory, self.path):
                compress(path)
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        text = f"{self._directory} cannot be written: {error.strerror or error}"
        if self._trouble != text:
            self._trouble = text
            self._say("warning", f"{text}; measurements are lost until it can")


def _gap(utc_ns: int, lost: int, why: str) -> Row:
    return Row(utc_ns, rows.GAP, details={"rows": lost, "why": why})


class Recorder:
    """Writes what the daemon's stream brings."""

    def __init__(self, desk: Desk) -> None:
        """Nothing is opened before ``start``."""
        self._desk = desk
        settings = desk.settings.observe.measurements
        assert settings is not None
        self._said: list[tuple[str, str]] = []
        self._writer = Writer(settings, lambda level, text: self._said.append((level, text)))
        self._tidied: Path | None = None
        self._tasks: list[asyncio.Task[None]] = []
        # Made here: once confined, the process may be unable to import what the loop's own needs.
        self._aside = ThreadPoolExecutor(1)

    async def start(self) -> None:
        """Begin to take rows."""
        for kind in stream.KINDS:
            self._desk.hub.on(kind, self._missed)
        self._desk.hub.on(stream.MEASUREMENT, self._rows)
        self._tasks = [self._desk.begin("observe-measurements", work()) for work in (self._flush, self._keep_tidy)]

    async def stop(self) -> None:
        """Write what is there."""
        for task in self._tasks:
            task.cancel()
        self._aside.shutdown(wait=False, cancel_futures=True)
        self._writer.close()
        self._speak()

    def _rows(self, message: Message) -> None:
        try:
            self._writer.take([row_of_values(values) for values in message["rows"]])
        except RecordError as error:
            raise stream.StreamError(str(error)) from error

    def _missed(self, message: Message) -> None:
        missed = message.get("missed", 0)
        if missed:
            self._writer.miss(missed, time.time_ns())

    def _speak(self) -> None:
        said, self._said = self._said, []
        for level, text in said:
            self._desk.note(level, "observe-measurements", f"observe.measurements: {text}")

    async def _flush(self) -> None:
        while True:
            self._speak()
            await asyncio.sleep(FLUSH_S)
            self._writer.flush()

    async def _keep_tidy(self) -> None:
        """When a file was closed: in a thread, since compressing takes seconds on a small machine."""
        while True:
            if self._writer.path != self._tidied:
                self._tidied = self._writer.path
                await asyncio.get_running_loop().run_in_executor(self._aside, self._writer.tidy)
            await asyncio.sleep(FLUSH_S)
