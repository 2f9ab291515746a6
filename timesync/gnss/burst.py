"""Which of a receiver's messages tells the time: the one that opens each second's burst, and always the same one."""

from __future__ import annotations

from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.event import TimeMark

_FIRST_CHOICE = 2
_NEW_CHOICE = 5
_PREFERRED_FOR = Duration.from_s(5)
_PREFERRED = "TOFF"
"""gpsd stamps the first byte of a burst for it; TPV comes when gpsd has made up its mind."""


class Opener:
    """Finds the kind of message that opens the bursts.

    Attributes:
        kind: The choice; None before there is one.
    """

    def __init__(self) -> None:
        self.kind: str | None = None
        self._seen: set[str] = set()
        self._utc = 0
        self._run: tuple[str, int] = ("", 0)
        self._preferred_until: Instant[Mono] | None = None

    def counts(self, mark: TimeMark, now: Instant[Mono]) -> bool:
        """Whether this mark is of the kind that tells the time; ``kind`` is up to date afterwards."""
        if mark.kind == _PREFERRED:
            self.kind = _PREFERRED
            self._preferred_until = now + _PREFERRED_FOR
            return True
        if self._opens(mark):
            kind, times = self._run
            self._run = (mark.kind, times + 1 if mark.kind == kind else 1)
            preferred = self._preferred_until is not None and now < self._preferred_until
            needed = _FIRST_CHOICE if self.kind is None else _NEW_CHOICE
            if not preferred and self._run[1] >= needed:
                self.kind = mark.kind
        return mark.kind == self.kind

    def _opens(self, mark: TimeMark) -> bool:
        """A burst begins with another time, or with a kind that this one has had already (the time stands still)."""
        utc = mark.utc.scaled_ns
        if utc == self._utc and mark.kind not in self._seen:
            self._seen.add(mark.kind)
            return False
        self._utc = utc
        self._seen = {mark.kind}
        return True
