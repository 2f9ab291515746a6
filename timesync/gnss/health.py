"""How far a receiver is to be believed: its fix, its sky, its run of time, its leap seconds; in words."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Mono, Utc
from timesync.base.utc import LeapTable
from timesync.gnss.continuity import Skip, TimeWatch, Trouble
from timesync.gnss.event import FixMode, FixReport, LeapReport, TimeMark
from timesync.gnss.latency import Truth
from timesync.gnss.leap_vote import month_end, vouched

_NO_FIX = Trouble("gnss-no-fix", "the receiver has no fix")
_NO_DATE = Trouble(
    "gnss-no-date", "the receiver speaks, but tells no full date and time (switch on RMC, ZDA or NAV-PVT)"
)
_UNTRUSTED = Trouble("gnss-untrusted", "the receiver does not vouch for its own time yet")
_SPOOFED = Trouble("gnss-spoofing", "the receiver sees several signs of forged signals")
_SILENT = Trouble("gnss-silent", "nothing comes from the receiver")
_UNREADABLE = Trouble("gnss-unreadable", "nothing readable comes from the receiver (another baud rate?)")
_GONE = Trouble("gnss-gone", "the receiver is gone")

_UNTRUSTED_RUN = 2
_DOUBT = Duration.from_s(1.5)
_NO_DATE_AFTER = Duration.from_s(10)
_OLD_REPORT = Duration.from_s(60)
"""A fix report so old says nothing any more; the times themselves still carry their own flag."""

_SOON = Duration.from_s(86_400 * 200)
"""Leap seconds are announced about half a year ahead (IERS Bulletin C)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthSettings:
    """What is asked of a receiver.

    Attributes:
        build_date: When this program was made; no date before it can be right. None: not checked.
        probation: How long a receiver must be consistent after a jump.
        regain: How long it must have had its fix back.
        silence: How long it may say nothing.
        unwatched: For how long pulses are still used while the receiver's messages fail to come.
    """

    build_date: Instant[Utc] | None = None
    probation: Duration = field(default=Duration.from_s(30))
    regain: Duration = field(default=Duration.from_s(5))
    silence: Duration = field(default=Duration.from_s(5))
    unwatched: Duration = field(default=Duration.from_s(600))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sky:
    """The receiver's last words on its sky; None where it said nothing."""

    mode: FixMode | None = None
    used: int | None = None
    seen: int | None = None
    hdop: float | None = None
    tdop: float | None = None
    jamming: str | None = None
    spoofing: str | None = None
    antenna: str | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """Worth a line in the log.

    Attributes:
        level: ``info`` or ``warning``.
        name: A short fixed name in kebab case.
        text: For the operator.
    """

    level: str
    name: str
    text: str


class Health:
    """What is known of one receiver's trustworthiness."""

    def __init__(self, settings: HealthSettings, table: LeapTable, now: Instant[Mono]) -> None:
        self._settings = settings
        self._table = table
        self._times = TimeWatch(table, settings.build_date, settings.probation)
        self._started = now
        self._heard: Instant[Mono] | None = None
        self._told: Instant[Mono] | None = None
        self._speaks_since = now
        self._reported: Instant[Mono] | None = None
        self._untrusted = 0
        self._vouched = False
        self._doubted: Instant[Mono] | None = None
        self._present = True
        self._garbled = False
        self._lost_fix: Trouble | None = None
        self._fix_since: Instant[Mono] | None = None
        self._leap = LeapReport()
        self._leap_trouble: Trouble | None = None
        self._utc: Instant[Utc] | None = None
        self._had_fix = False
        self._remarks: list[Remark] = []
        self.sky = Sky()

    @property
    def said_leap(self) -> LeapReport:
        """What the receiver says of leap seconds."""
        return self._leap

    def remarks(self) -> list[Remark]:
        """What changed since the last call, apart from the verdict."""
        remarks, self._remarks = self._remarks, []
        return remarks

    def set_table(self, table: LeapTable) -> None:
        """Another leap second table from now on."""
        self._table = self._times.table = table
        self._leap_trouble = None

    # -- what comes

    def on_anything(self, now: Instant[Mono]) -> None:
        """The receiver is alive."""
        self._speaks(now)
        self._present = True
        self._garbled = False

    def on_garbled(self) -> None:
        """Something came that could not be read."""
        self._garbled = True

    def on_device(self, now: Instant[Mono], *, present: bool) -> None:
        """It came or went."""
        self._present = present
        if present:
            self._speaks(now)

    def _speaks(self, now: Instant[Mono]) -> None:
        """One that was silent may take its time to say a date again."""
        if self._heard is None or now - self._heard > self._settings.silence:
            self._speaks_since = now
        self._heard = now

    def on_time(self, mark: TimeMark, now: Instant[Mono], truth: Truth | None) -> Skip | None:
        """A time of the kind that counts; None when it may be used as far as its run goes."""
        self._told = now
        doubted = self._doubted is not None and now - self._doubted < _DOUBT
        self._vouched = mark.trusted and not doubted
        self._untrusted = 0 if self._vouched else self._untrusted + 1
        self._judge_fix(now)
        if not self._vouched:
            return Skip.UNTRUSTED
        self._utc = mark.utc
        return self._times.judge(mark, now, truth)

    def on_other_time(self, mark: TimeMark, now: Instant[Mono]) -> None:
        """A time of a kind that does not count; but when it is not vouched for, the one that counts is not either.

        ZDA says nothing of its validity, and RMC beside it does.
        """
        if not mark.trusted:
            self._doubted = now

    def on_fix(self, report: FixReport, now: Instant[Mono]) -> None:
        """The receiver described its sky."""
        self._reported = now
        before = self.sky
        self.sky = Sky(
            mode=report.mode or before.mode,
            used=before.used if report.used is None else report.used,
            seen=before.seen if report.seen is None else report.seen,
            hdop=before.hdop if report.hdop is None else report.hdop,
            tdop=before.tdop if report.tdop is None else report.tdop,
            jamming=report.jamming or before.jamming,
            spoofing=report.spoofing or before.spoofing,
            antenna=report.antenna or before.antenna,
        )
        self._remark(before.jamming, self.sky.jamming, "ok", "gnss-jamming", "its jamming detector says")
        self._remark(before.spoofing, self.sky.spoofing, "none", "gnss-spoofing", "its spoofing detector says")
        self._remark(before.antenna, self.sky.antenna, "ok", "gnss-antenna", "its antenna is")
        self._judge_fix(now)

    def on_leap(self, report: LeapReport) -> None:
        """The receiver said what it knows of leap seconds."""
        if report.leap is Leap.UNKNOWN:
            # It told its count alone; what it announced before stands.
            report = replace(report, leap=self._leap.leap, at=self._leap.at)
        self._leap = report
        count = report.tai_utc
        self._leap_trouble = None
        if count is None or self._utc is None or self._table.ambiguous(self._utc):
            return
        ours = self._table.tai_utc(self._utc)
        if count != ours and vouched(self._table, self._utc):
            self._leap_trouble = Trouble(
                "gnss-leap-count",
                f"counts TAI - UTC as {count} s where the leap table has {ours} s: its UTC is {count - ours:+d} s off "
                "(a receiver just switched on may not know better for 13 minutes)",
            )

    # -- what is made of it

    def leap(self) -> Leap:
        """The leap second that it announces for the end of this month, if that is possible at all; else NONE."""
        at, now = self._leap.at, self._utc
        if self._leap.leap not in (Leap.INSERT, Leap.DELETE) or at is None or now is None:
            return Leap.NONE
        if not month_end(at) or not now <= at or at - now > Duration.from_s(31 * 86_400):
            return Leap.NONE
        return self._leap.leap

    def odd_leap(self) -> str | None:
        """What is wrong with its announcement of a leap second, if anything."""
        at, now = self._leap.at, self._utc
        if at is None or now is None or self._leap.leap not in (Leap.INSERT, Leap.DELETE):
            return None
        if not month_end(at):
            return "announces a leap second that is not at the end of a month: not believed"
        if at - now > _SOON:
            return "announces a leap second further ahead than anybody knows: not believed"
        return None

    def trouble(self, now: Instant[Mono]) -> Trouble | None:
        """Why its time is not used; None when it is, or nothing has been expected of it yet."""
        if not self._present:
            return _GONE
        if now - (self._heard or self._started) > self._settings.silence:
            return _UNREADABLE if self._garbled else _SILENT
        if self.sky.spoofing == "multiple":
            return _SPOOFED
        fix = self._fix_trouble(now)
        if fix is not None:
            return fix
        if self._heard is not None and now - max(self._told or self._started, self._speaks_since) > _NO_DATE_AFTER:
            return _NO_DATE
        return self._times.trouble or self._leap_trouble

    def pulse_trouble(self, now: Instant[Mono]) -> Trouble | None:
        """Why its pulses are not to be used: they go on without a fix, and then mark nothing.

        A jump of the messages says nothing of the pulses, whose number is counted.
        """
        if self.sky.spoofing == "multiple":
            return _SPOOFED
        fix = self._fix_trouble(now)
        if fix is not None:
            return fix
        stale = self._times.trouble
        if stale is not None and stale.name == "gnss-stale":
            return stale
        if self._heard is not None and now - self._heard > self._settings.unwatched:
            minutes = round(self._settings.unwatched.s() / 60)
            return Trouble("gnss-unwatched", f"nobody has said for {minutes} min whether the receiver has a fix")
        return None

    def _fix_now(self, now: Instant[Mono]) -> Trouble | None:
        """The fix as of the last words, without memory."""
        reported = self._reported is not None and now - self._reported <= _OLD_REPORT
        if reported and self.sky.mode is FixMode.NONE:
            return _NO_FIX
        return _UNTRUSTED if self._untrusted >= _UNTRUSTED_RUN else None

    def _judge_fix(self, now: Instant[Mono]) -> None:
        found = self._fix_now(now)
        if found is not None:
            # The better reason stays.
            self._lost_fix = _NO_FIX if self._lost_fix is _NO_FIX else found
            self._fix_since = None
        elif self._lost_fix is not None and self._fix_since is None:
            self._fix_since = now
        if self._lost_fix is None and self._vouched:
            self._had_fix = True

    def _fix_trouble(self, now: Instant[Mono]) -> Trouble | None:
        """The fix with memory: one that was lost must be back for a while."""
        lost = self._lost_fix
        if lost is None:
            return None
        needed = self._settings.regain if self._had_fix else Duration(0)
        if self._fix_since is not None and now - self._fix_since >= needed:
            self._lost_fix = self._fix_since = None
            return None
        return lost

    def _remark(self, before: str | None, now: str | None, good: str, name: str, text: str) -> None:
        if now == before or now is None or (before is None and now == good):
            return
        level = "info" if now == good else "warning"
        self._remarks.append(Remark(level, name, f"{text} {now}"))
