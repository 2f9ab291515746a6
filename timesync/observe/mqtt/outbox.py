"""What the broker is to be told next."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final

from timesync.observe.hub import Hub, Message
from timesync.observe.mqtt.home_assistant import Announcement
from timesync.observe.mqtt.topics import Publication, Summarizer, Topics, outline

EVENTS_KEPT: Final = 100
"""So many of the last events wait while there is no broker."""

_HALF_A_STATE_S: Final = 0.5
"""States come once a second: the one that comes this much early is the one that is due."""


class Outbox:
    """States and events that wait to be told. Nothing grows in it: a state takes the place of the one before it."""

    def __init__(self, hub: Hub, topics: Topics, announcement: Announcement | None, clock: Callable[[], float]) -> None:
        """Nothing to tell yet.

        Args:
            hub: What the daemon says.
            topics: Where it is published.
            announcement: For Home Assistant; None: not wanted.
            clock: Monotonic seconds.
        """
        self._hub = hub
        self._topics = topics
        self._announcement = announcement
        self._clock = clock
        self._announced: Publication | None = None
        self._summarizer = Summarizer()
        self._events: deque[Publication] = deque(maxlen=EVENTS_KEPT)
        self._outline: tuple[object, ...] | None = None
        self._told_at = -self._topics.interval_s
        self._heard_at: float | None = None
        self._news = asyncio.Event()

    def state(self, state: Message) -> None:
        """A state has come; it is told if something has changed, or if the last one was told long ago."""
        self._heard_at = self._clock()
        overdue = self._heard_at - self._told_at >= self._topics.interval_s - _HALF_A_STATE_S
        if overdue or outline(state) != self._outline:
            self._news.set()

    def event(self, event: Message) -> None:
        """Something has happened."""
        publication = self._topics.event(event)
        if publication is not None:
            self._events.append(publication)
            self._news.set()

    def anew(self) -> None:
        """Somebody else is told: everything is news."""
        self._announced = self._outline = None
        self._told_at = self._clock() - self._topics.interval_s
        self._news.set()

    def heard_within(self, seconds: float) -> bool:
        """Whether the daemon has said anything for so long."""
        return self._heard_at is not None and self._clock() - self._heard_at < seconds

    async def wait(self, seconds: float) -> bool:
        """Until something is to be told, or for so long; whether there is."""
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return False
        self._news.clear()
        return True

    def picture(self) -> list[Publication]:
        """The state as far as it is to be told now, with the announcement before it where that has changed."""
        state, hello = self._hub.state, self._hub.hello
        now = self._clock()
        if state is None:
            return []
        if outline(state) == self._outline and now - self._told_at < self._topics.interval_s - _HALF_A_STATE_S:
            return []
        self._outline, self._told_at = outline(state), now
        summary = self._summarizer.summary(state)
        told = list(self._topics.picture(hello, state, summary))
        if self._announcement is not None:
            announced = self._announcement.publication(hello, state, summary)
            if announced != self._announced:
                self._announced = announced
                told.insert(0, announced)
        return told

    def next_event(self) -> Publication | None:
        """The oldest event; None when there is none."""
        return self._events.popleft() if self._events else None

    def give_back(self, event: Publication) -> None:
        """It could not be told; it is kept unless others have taken its place."""
        if len(self._events) < EVENTS_KEPT:
            self._events.appendleft(event)
