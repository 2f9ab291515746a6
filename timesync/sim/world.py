"""True time, a heap of events, and named streams of random numbers: all that a simulation shares."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable
from heapq import heappop, heappush

from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai

DEFAULT_START: Instant[Tai] = Instant((1_767_225_600 + 37) * UNITS_PER_S)
"""2026-01-01 00:00:00 UTC, far from any leap second."""


class Event:
    """Something that will happen; ``cancel`` keeps it from happening."""

    __slots__ = ("_call", "when")

    def __init__(self, when: int, call: Callable[[], object]) -> None:
        self.when = when
        self._call: Callable[[], object] | None = call

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled, or has happened."""
        return self._call is None

    def cancel(self) -> None:
        """Do nothing when the time comes."""
        self._call = None

    def happen(self) -> None:
        """Call it, once."""
        call, self._call = self._call, None
        if call is not None:
            call()


class World:
    """True time, which only moves from event to event.

    Events of one instant happen in the order in which they were asked for. The same seed gives the same world
    to the last digit, whatever PYTHONHASHSEED is.

    Attributes:
        units: True TAI now, in units of 2^-16 ns; the same as ``now``, cheaper.
        start: True TAI at the beginning.
    """

    def __init__(self, seed: int, start: Instant[Tai] = DEFAULT_START) -> None:
        self.start = start
        self.units = start.scaled_ns
        self._seed = seed
        self._events: list[tuple[int, int, Event]] = []
        self._count = 0
        self._streams: dict[str, random.Random] = {}

    @property
    def now(self) -> Instant[Tai]:
        """True TAI."""
        return Instant(self.units)

    @property
    def elapsed(self) -> Duration:
        """True time since the start."""
        return Duration(self.units - self.start.scaled_ns)

    def stream(self, name: str) -> random.Random:
        """The random numbers of this name.

        They are independent of all other names: one more consumer of one stream changes nothing elsewhere.
        """
        found = self._streams.get(name)
        if found is None:
            digest = hashlib.sha256(f"{self._seed}/{name}".encode()).digest()
            found = random.Random(int.from_bytes(digest, "big"))  # noqa: S311 - must be repeatable, not secret
            self._streams[name] = found
        return found

    def at(self, when: Instant[Tai], call: Callable[[], object]) -> Event:
        """Call ``call`` at that true time. Raises ValueError when that has passed."""
        return self.at_units(when.scaled_ns, call)

    def after(self, span: Duration, call: Callable[[], object]) -> Event:
        """Call ``call`` after so much true time; at once in the order of events for zero."""
        return self.at_units(self.units + span.scaled_ns, call)

    def at_units(self, when: int, call: Callable[[], object]) -> Event:
        """``at``, for those who count in units of 2^-16 ns."""
        if when < self.units:
            raise ValueError(f"{Duration(self.units - when)} ago is too late for an event")
        event = Event(when, call)
        self._count += 1
        heappush(self._events, (when, self._count, event))
        return event

    def next_units(self) -> int | None:
        """When the next event happens; None when there is none."""
        events = self._events
        while events and events[0][2].cancelled:
            heappop(events)
        return events[0][0] if events else None

    def step(self) -> bool:
        """Move to the next event and let it happen; False when there is none."""
        if self.next_units() is None:
            return False
        when, _, event = heappop(self._events)
        self.units = when
        event.happen()
        return True

    def advance(self, until: int) -> None:
        """Move true time to ``until`` (units), where no event may lie before it."""
        nearest = self.next_units()
        assert until >= self.units
        assert nearest is None or until <= nearest
        self.units = until

    def run_until(self, when: Instant[Tai]) -> None:
        """Let everything happen up to and at that true time, without an event loop."""
        while (nearest := self.next_units()) is not None and nearest <= when.scaled_ns:
            self.step()
        self.advance(when.scaled_ns)

    def run_for(self, span: Duration) -> None:
        """``run_until`` so much later than now."""
        self.run_until(self.now + span)
