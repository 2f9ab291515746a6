"""How often messages of one kind come: as their sender says, and as they are heard."""

from __future__ import annotations

from dataclasses import dataclass

from timesync.base.time import NS_PER_S

_HALF = 1 << 15
_MOST_DESTINATIONS = 8


@dataclass(slots=True)
class Totals:
    """Questions and answers.

    Attributes:
        asked: How many questions were heard.
        answered: How many answers.
    """

    asked: int = 0
    answered: int = 0


@dataclass(slots=True)
class Steps:
    """How ``stepsRemoved`` went.

    Attributes:
        last: The last value.
        rises: How often in a row it grew, without ever falling in between.
    """

    last: int | None = None
    rises: int = 0

    def note(self, steps: int) -> None:
        """One more Announce."""
        if self.last is not None and steps != self.last:
            self.rises = self.rises + 1 if steps > self.last else 0
        self.last = steps


class Flow:
    """Messages of one type from one talker.

    Intervals are measured anew whenever the advertised one changes, or ``sequenceId`` starts again.

    Attributes:
        count: How many.
        first_ns: When the first came.
        last_ns: When the last came.
        log_interval: ``logMessageInterval`` of the last; None where it carries none.
        destinations: Whom they were to; a few of them.
    """

    def __init__(self) -> None:
        self.count = 0
        self.first_ns = 0
        self.last_ns = 0
        self.log_interval: int | None = None
        self.destinations: set[str] = set()
        self._since_ns = 0
        self._seen = 0
        self._sequence = 0
        self._advance = 0

    def note(self, at_ns: int, sequence_id: int, log_interval: int | None, destination: str) -> None:
        """One more."""
        if not self.count:
            self.first_ns = at_ns
        ahead = sequence_id - self._sequence & 0xFFFF
        if self.count and not ahead:
            # The second copy of a redundant network (IEC 62439-3), or a repetition: no interval.
            self.count += 1
            return
        if not self.count or log_interval != self.log_interval or ahead >= _HALF:
            self._since_ns, self._seen, self._advance = at_ns, 0, 0
        else:
            self._seen += 1
            self._advance += ahead
        self.count += 1
        self.last_ns = at_ns
        self.log_interval = log_interval
        self._sequence = sequence_id
        if len(self.destinations) < _MOST_DESTINATIONS:
            self.destinations.add(destination)

    @property
    def advertised_s(self) -> float | None:
        """The interval that its messages say; None where they say none, or nonsense."""
        if self.log_interval is None or not -20 <= self.log_interval <= 22:
            return None
        return 2.0**self.log_interval

    @property
    def gaps(self) -> int:
        """How many intervals were measured."""
        return self._seen if len(self.destinations) <= 1 else 0

    @property
    def heard_s(self) -> float | None:
        """Mean interval between two messages that were heard; None before the second, or with several receivers."""
        return (self.last_ns - self._since_ns) / NS_PER_S / self.gaps if self.gaps else None

    @property
    def sent_s(self) -> float | None:
        """Mean interval between two that were sent, those included that were not heard; by ``sequenceId``."""
        if not self.gaps or not self._advance:
            return None
        return (self.last_ns - self._since_ns) / NS_PER_S / self._advance
