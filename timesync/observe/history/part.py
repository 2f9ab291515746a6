"""The part of the observer that keeps history."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from timesync.observe import stream
from timesync.observe.history.file import Event
from timesync.observe.history.series import Extractor
from timesync.observe.history.store import History
from timesync.observe.hub import Message
from timesync.observe.parts import Desk
from timesync.servo.view import ServoState

FILE: Final = "history.sqlite"
_RIGHT: Final = frozenset({ServoState.LOCKED.value, ServoState.HOLDOVER.value})


class HistoryKeeper:
    """Feeds the history from the daemon's stream.

    Attributes:
        history: What is known of the past.
    """

    def __init__(self, desk: Desk) -> None:
        """Open the file; where that cannot be, history is kept in memory."""
        self._desk = desk
        self._extractor = Extractor()
        settings = desk.settings
        if settings.directory is None:
            self._say(f"history is kept in memory only: {settings.observe.state} cannot be written")
            self.history = History(None, self._say)
        else:
            self.history = History.open(Path(settings.directory) / FILE, settings.observe.history.size, self._say)
        self._task: asyncio.Task[None] | None = None

    def _say(self, text: str) -> None:
        self._desk.note("warning", "history", text)

    async def start(self) -> None:
        """Begin to take states and events."""
        self._desk.hub.on(stream.STATE, self._state)
        self._desk.hub.on(stream.EVENT, self._event)
        self._task = self._desk.begin("history", self._flush())

    async def stop(self) -> None:
        """Write what is new."""
        if self._task is not None:
            self._task.cancel()
        self.history.close()

    def _state(self, state: Message) -> None:
        self.history.add(state["utc_ns"], self._extractor.values(state), sure=_sure(state))

    def _event(self, event: Message) -> None:
        fields = (event[key] for key in ("utc_ns", "level", "name", "source", "text"))
        self.history.happened(Event(*fields))

    async def _flush(self) -> None:
        interval_s = self._desk.settings.observe.history.flush.s()
        while True:
            await asyncio.sleep(interval_s)
            self.history.flush()


def _sure(state: Message) -> bool:
    """Whether the system clock, by which states are stamped, is known to be right."""
    return any(one["name"] == "system" and one["state"] in _RIGHT for one in state["status"]["clocks"])
