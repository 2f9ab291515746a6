"""Does a receiver's time run? Repeated times, jumps, dates that cannot be; judged against the local clock's run."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from timesync.base.time import UNITS_PER_S, Duration, Instant, Mono, Utc
from timesync.base.utc import DAY_S, LeapTable, civil
from timesync.gnss.event import TimeMark
from timesync.gnss.latency import Truth
from timesync.gnss.rollover import ROLLOVER, ROLLOVER_WEEKS, lacking, moved

_JUMP_S = 0.4
_REPEAT = Duration.from_s(0.5)
_SAME = Duration.from_s(0.9)
"""At one fix a second the time may be some nanoseconds before the second once and after it the next time."""
_STALE = 2
_ERRATIC = 3
_FOLLOW = 8
"""A time that runs too slowly may not drag along what it is compared with."""

_FORGET = Duration.from_s(300)
"""After so long without a time, an undisciplined clock says nothing about a jump any more."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a receiver is not believed.

    Attributes:
        name: A short fixed name in kebab case, for filters and tests.
        text: For the operator, to follow the receiver's name and a colon.
    """

    name: str
    text: str


class Skip(enum.Enum):
    """Why one time is not used."""

    UNTRUSTED = "untrusted"
    SAME_SECOND = "same-second"
    REPEATED = "repeated"
    LEAP_SECOND = "leap-second"
    DATE = "date"
    FIRST = "first"
    JUMP = "jump"
    PROBATION = "probation"


@dataclass(frozen=True, slots=True)
class _Standing:
    """How a receiver's time stands to two clocks of ours.

    Attributes:
        epoch: Of the local clock.
        clock: Its TAI minus the local clock.
        mono: Its TAI minus monotonic time, which nobody steps; coarser, since it is read when the message is judged.
    """

    epoch: int
    clock: Duration
    mono: Duration

    def since(self, before: _Standing) -> Duration:
        """How far the receiver's time has leapt since, against ours."""
        return self.clock - before.clock if self.epoch == before.epoch else self.mono - before.mono

    def behind(self, leap: Duration, share: int) -> _Standing:
        """What follows this one slowly: all but one part in ``share`` of the last leap behind."""
        lag = leap - leap // share
        return _Standing(self.epoch, self.clock - lag, self.mono - lag)


class TimeWatch:
    """Judges the times of one kind of message of one receiver, one after the other."""

    def __init__(self, table: LeapTable, build_date: Instant[Utc] | None, probation: Duration) -> None:
        """Take no date before ``build_date``, and nothing for the length of ``probation`` after a jump."""
        self.table = table
        self._build = build_date
        self._probation = probation
        self._last: tuple[Instant[Utc], Instant[Mono]] | None = None
        self._repeats = 0
        self._base: _Standing | None = None
        self._odd: _Standing | None = None
        self._odd_run = 0
        self._until: Instant[Mono] | None = None
        self._jump: Trouble | None = None
        self._date: Trouble | None = None
        self._stale: Trouble | None = None

    @property
    def trouble(self) -> Trouble | None:
        """Why its times are not used; None when they are."""
        return self._date or self._stale or self._jump

    def judge(self, mark: TimeMark, now: Instant[Mono], truth: Truth | None) -> Skip | None:
        """Whether the time may be used: None if so."""
        skip = self._repeated(mark, now)
        if skip is not None:
            return skip
        if self.table.ambiguous(mark.utc):
            return Skip.LEAP_SECOND
        self._date = self._impossible(mark.utc)
        if self._date is not None:
            self._odd, self._odd_run = None, 0
            return Skip.DATE
        tai = self.table.tai(mark.utc)
        standing = _Standing(mark.stamp.epoch, tai - mark.stamp.at, Duration(tai.scaled_ns - now.scaled_ns))
        skip = self._jumped(standing, now)
        if skip is not None:
            return skip
        return self._on_probation(standing, now, truth)

    def _repeated(self, mark: TimeMark, now: Instant[Mono]) -> Skip | None:
        """Tell a second message of the same second from a receiver that says the same time again and again."""
        before, self._last = self._last, (mark.utc, now)
        if before is None:
            return None
        utc, at = before
        if mark.utc == utc:
            if now - at < _REPEAT:
                self._last = before
                return Skip.SAME_SECOND
            self._repeats += 1
            if self._repeats >= _STALE:
                self._stale = Trouble("gnss-stale", f"repeats the same time ({written(mark.utc)}) though time goes on")
            return Skip.REPEATED
        self._repeats = 0
        self._stale = None
        if now - at > _FORGET:
            self._base = self._odd = None
        if _second(mark.utc) == _second(utc) and mark.utc > utc and now - at < _SAME:
            # A receiver at several fixes a second: the first of each second is used.
            return Skip.SAME_SECOND
        return None

    def _impossible(self, utc: Instant[Utc]) -> Trouble | None:
        if self._build is None:
            return None
        missing = lacking(utc, self._build)
        if missing == 0:
            return None
        place = "before this program was made" if utc < self._build else "far in the future"
        if missing is None:
            return Trouble(
                "gnss-week", f"says {written(utc)}, which is {place}, and no week number rollover explains it"
            )
        right = written(moved(utc, missing))
        weeks = f"{abs(missing) * ROLLOVER_WEEKS} weeks {'more' if missing > 0 else 'less'} make it {right}"
        return Trouble("gnss-week", f"says {written(utc)}, which is {place}: a week number rollover ({weeks})")

    def _jumped(self, standing: _Standing, now: Instant[Mono]) -> Skip | None:
        """Compare with the time before; one that leaps is dropped, two that leap alike are a jump."""
        base = self._base
        if base is not None and abs(standing.since(base).s()) <= _JUMP_S:
            self._base = standing.behind(standing.since(base), _FOLLOW)
            self._odd, self._odd_run = None, 0
            return None
        odd, self._odd = self._odd, standing
        self._odd_run += 1
        alike = odd is not None and abs(standing.since(odd).s()) <= _JUMP_S
        if base is None:
            if not alike:
                return Skip.FIRST
        elif alike:
            self._jump = Trouble("gnss-jump", f"its time jumped by {_leap(standing.since(base))} against our clock")
            self._until = now + self._probation
        else:
            if self._odd_run >= _ERRATIC:
                self._jump = Trouble("gnss-erratic", "its time does not run evenly with our clock")
                self._until = now + self._probation
            return Skip.JUMP
        self._base = standing
        self._odd, self._odd_run = None, 0
        return None

    def _on_probation(self, standing: _Standing, now: Instant[Mono], truth: Truth | None) -> Skip | None:
        """After a jump it must be consistent for a while, and agree with others if there are such."""
        if self._until is None:
            return None
        if now < self._until:
            return Skip.PROBATION
        if truth is not None and truth.independent and truth.epoch == standing.epoch and truth.bound_s < _JUMP_S:
            apart = -standing.clock.s() - truth.offset_s
            if abs(apart) > _JUMP_S + truth.bound_s:
                return Skip.PROBATION
        self._until = self._jump = None
        return None


def written(utc: Instant[Utc]) -> str:
    """``2026-11-21 07:17:35``."""
    day, rest = divmod(_second(utc), DAY_S)
    year, month, date = civil(day)
    return f"{year:04}-{month:02}-{date:02} {rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"


def _second(utc: Instant[Utc]) -> int:
    return utc.scaled_ns // UNITS_PER_S


def _leap(span: Duration) -> str:
    """How far a time jumped: by rollovers if it is so, else in seconds."""
    rollovers = round(span.scaled_ns / ROLLOVER)
    if rollovers and abs(span.scaled_ns - rollovers * ROLLOVER) < 2 * UNITS_PER_S:
        return f"{rollovers * ROLLOVER_WEEKS:+d} weeks (week number rollover)"
    return f"{span.s():+.3g} s"
