"""Named timers of one machine: values, no clock of their own."""

from __future__ import annotations

from collections.abc import Iterator

from timesync.base.time import Duration, Instant, Mono


class Timers:
    """When what is due; the earliest is the machine's deadline."""

    def __init__(self) -> None:
        self._due: dict[str, Instant[Mono]] = {}

    def start(self, name: str, at: Instant[Mono]) -> None:
        """Ring at this time; moves a timer that runs."""
        self._due[name] = at

    def stop(self, *names: str) -> None:
        """Do not ring."""
        for name in names:
            self._due.pop(name, None)

    def runs(self, name: str) -> bool:
        """Whether it will ring."""
        return name in self._due

    def deadline(self) -> Instant[Mono] | None:
        """The earliest of all."""
        return min(self._due.values(), default=None)

    def expired(self, now: Instant[Mono]) -> Iterator[str]:
        """Those that are due, each taken out as it is given; one that is set again meanwhile rings next time."""
        for name in [name for name, at in self._due.items() if at <= now]:
            if self._due.get(name, now) <= now and self._due.pop(name, None) is not None:
                yield name


def interval(log2_s: int) -> Duration:
    """2**log2_s seconds; bounded to what any profile may ask for, so that no peer's octet makes a spin or an age."""
    bounded = min(max(log2_s, -10), 22)
    return Duration.from_s(2.0**bounded)
