"""Whether a receiver has its fix, with memory: one that was lost must be back for a while."""

from __future__ import annotations

from timesync.base.time import ZERO, Duration, Instant, Mono
from timesync.gnss.continuity import Trouble

_NO_FIX = Trouble("gnss-no-fix", "the receiver has no fix")
_UNTRUSTED = Trouble("gnss-untrusted", "the receiver does not vouch for its own time yet")
_UNTRUSTED_RUN = 2
_DOUBT = Duration.from_s(1.5)


class FixWatch:
    """Joins what the receiver says of its fix with whether it vouches for its times."""

    def __init__(self, regain: Duration) -> None:
        """A fix that was lost must be back for as long as ``regain``."""
        self._regain = regain
        self._untrusted = 0
        self._vouched = False
        self._doubted: Instant[Mono] | None = None
        self._lost: Trouble | None = None
        self._since: Instant[Mono] | None = None
        self._had = False

    def doubt(self, now: Instant[Mono]) -> None:
        """A time of a kind that does not count was not vouched for."""
        self._doubted = now

    def on_time(self, now: Instant[Mono], *, trusted: bool, without_fix: bool) -> bool:
        """A time came; whether it may be believed as far as the receiver itself goes."""
        doubted = self._doubted is not None and now - self._doubted < _DOUBT
        self._vouched = trusted and not doubted
        self._untrusted = 0 if self._vouched else self._untrusted + 1
        self.judge(now, without_fix=without_fix)
        return self._vouched

    def judge(self, now: Instant[Mono], *, without_fix: bool) -> None:
        """Something was said; ``without_fix`` is what its last words on the sky come to."""
        found = _NO_FIX if without_fix else _UNTRUSTED if self._untrusted >= _UNTRUSTED_RUN else None
        if found is not None:
            # The better reason stays.
            self._lost = _NO_FIX if self._lost is _NO_FIX else found
            self._since = None
        elif self._lost is not None and self._since is None:
            self._since = now
        if self._lost is None and self._vouched:
            self._had = True

    def trouble(self, now: Instant[Mono]) -> Trouble | None:
        """Why there is none; None when there is."""
        lost = self._lost
        if lost is None:
            return None
        needed = self._regain if self._had else ZERO
        if self._since is not None and now - self._since >= needed:
            self._lost = self._since = None
            return None
        return lost
