"""The tape of the core as the daemon hands it on: from the very beginning where it is configured, else on demand."""

from __future__ import annotations

import time
from collections.abc import Callable
from weakref import WeakKeyDictionary

from timesync.base.time import Instant, Mono
from timesync.observe import stream
from timesync.observe.broadcast import Broadcaster, Watcher
from timesync.observe.records.rows import Row
from timesync.observe.records.taped import Tape, TapedController
from timesync.servo.command import Now


class Recording:
    """Whether there is a tape, and who has seen its beginning."""

    def __init__(self, core: TapedController, now: Callable[[], Now], mono: Callable[[], Instant[Mono]]) -> None:
        """Nothing is recorded yet.

        Args:
            core: What is recorded.
            now: The present, for the core.
            mono: Monotonic time.
        """
        self._core = core
        self._now = now
        self._mono = mono
        self._broadcaster: Broadcaster | None = None
        self._awaited = False
        self._missed: WeakKeyDictionary[Watcher, int] = WeakKeyDictionary()

    def attach(self, broadcaster: Broadcaster) -> None:
        """Whom to tell."""
        self._broadcaster = broadcaster

    def begin(self) -> None:
        """Record from now on, for somebody who is still to come."""
        self._awaited = True
        self._start()

    def _start(self) -> Tape:
        tape = Tape(self._hand_on, time.time_ns, self._mono)
        now = self._now()
        self._core.tape = tape
        tape.add(tape.opening(self._core, now, continues=False))
        return tape

    def _hand_on(self, batch: list[Row]) -> bool:
        broadcaster = self._broadcaster
        if broadcaster is None or not broadcaster.wanted(stream.MEASUREMENT):
            return False
        broadcaster.tell(stream.measurement(batch))
        return True

    def joined(self, watcher: Watcher) -> None:
        """Somebody comes: who wants measurements gets a beginning, before all rows after it."""
        if stream.MEASUREMENT not in watcher.wants:
            return
        tape = self._core.tape
        if tape is not None and self._awaited:
            self._awaited = False  # what waits for the first one begins with a beginning
        elif tape is None or self._broadcaster is None or not self._broadcaster.wanted(stream.MEASUREMENT):
            self._start()  # also where the last one has just gone: what was meant for him is of no use alone
        else:
            tape.flush()
            self._open_for(watcher, tape)

    def _open_for(self, watcher: Watcher, tape: Tape) -> None:
        opening = tape.opening(self._core, self._now(), continues=True)
        watcher.tell(stream.encode(stream.measurement([opening])))

    def tick(self) -> None:
        """Once a second: hand on what is there; without anybody, stop."""
        tape = self._core.tape
        if tape is None:
            return
        tape.flush()
        watchers = [] if self._broadcaster is None else self._broadcaster.watchers(stream.MEASUREMENT)
        for watcher in watchers:
            if watcher.missed_ever != self._missed.get(watcher, 0):
                # What it missed may have been rows: it can go on from a beginning only.
                self._missed[watcher] = watcher.missed_ever
                self._open_for(watcher, tape)
        if not watchers and (tape.overflowed or not self._awaited):
            self._core.tape = None
            self._awaited = False
