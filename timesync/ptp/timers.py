"""Named timers of one machine: values, no clock of their own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from timesync.base.time import Duration, Instant, Mono

_FASTEST, _SLOWEST = -10, 22
_INTERVALS = {log2_s: Duration.from_s(2.0**log2_s) for log2_s in range(_FASTEST, _SLOWEST + 1)}


def earliest(due: Iterable[Instant[Mono] | None]) -> Instant[Mono] | None:
    """The earliest of some deadlines; it is asked for after each message, so it compares numbers and not instants."""
    first = None
    for at in due:
        if at is not None and (first is None or at.scaled_ns < first.scaled_ns):
            first = at
    return first


class Timers:
    """When what is due; the earliest is the machine's deadline."""

    def __init__(self) -> None:
        self._due: dict[str, Instant[Mono]] = {}
        self._first: Instant[Mono] | None = None
        self._stale = False

    def start(self, name: str, at: Instant[Mono]) -> None:
        """Ring at this time; moves a timer that runs."""
        self._due[name] = at
        self._stale = True

    def stop(self, *names: str) -> None:
        """Do not ring."""
        for name in names:
            self._due.pop(name, None)
        self._stale = True

    def runs(self, name: str) -> bool:
        """Whether it will ring."""
        return name in self._due

    def deadline(self) -> Instant[Mono] | None:
        """The earliest of all."""
        if self._stale:
            self._first, self._stale = earliest(self._due.values()), False
        return self._first

    def expired(self, now: Instant[Mono]) -> Iterator[str]:
        """Those that are due, each taken out as it is given; one that is set again meanwhile rings next time."""
        for name in [name for name, at in self._due.items() if at <= now]:
            if self._due.get(name, now) <= now and self._due.pop(name, None) is not None:
                self._stale = True
                yield name


def interval(log2_s: int) -> Duration:
    """2**log2_s seconds; bounded to what any profile may ask for, so that no peer's octet makes a spin or an age."""
    return _INTERVALS[min(max(log2_s, _FASTEST), _SLOWEST)]
