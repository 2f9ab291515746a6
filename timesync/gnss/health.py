"""How far a receiver is to be believed: its fix, its sky, its run of time, its leap seconds; in words."""

from __future__ import annotations

from dataclasses import dataclass, field

from timesync.base.measure import Leap
from timesync.base.time import Duration, Instant, Mono, Utc
from timesync.base.utc import LeapTable
from timesync.gnss.continuity import Skip, TimeWatch, Trouble
from timesync.gnss.event import FixReport, LeapReport, TimeMark
from timesync.gnss.fix_watch import FixWatch
from timesync.gnss.latency import Truth
from timesync.gnss.leap_watch import LeapWatch
from timesync.gnss.sky_watch import Remark, Sky, SkyWatch

_NO_DATE = Trouble(
    "gnss-no-date", "the receiver speaks, but tells no full date and time (switch on RMC, ZDA or NAV-PVT)"
)
_SPOOFED = Trouble("gnss-spoofing", "the receiver sees several signs of forged signals")
_SILENT = Trouble("gnss-silent", "nothing comes from the receiver")
_UNREADABLE = Trouble("gnss-unreadable", "nothing readable comes from the receiver (another baud rate?)")
_GONE = Trouble("gnss-gone", "the receiver is gone")
_FREE_PULSE = Trouble("gnss-free-pulse", "the receiver says that its pulse does not follow the satellites")

_NO_DATE_AFTER = Duration.from_s(10)
_PULSE_SAID = Duration.from_s(10)
"""So long it stands that the pulse is not locked: it is said each second."""


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


class Health:
    """What is known of one receiver's trustworthiness."""

    def __init__(self, settings: HealthSettings, table: LeapTable, now: Instant[Mono]) -> None:
        self._settings = settings
        self._times = TimeWatch(table, settings.build_date, settings.probation)
        self._sky = SkyWatch()
        self._fix = FixWatch(settings.regain)
        self._leaps = LeapWatch(table)
        self._started = self._speaks_since = now
        self._heard: Instant[Mono] | None = None
        self._told: Instant[Mono] | None = None
        self._present = True
        self._garbled = False
        self._utc: Instant[Utc] | None = None
        self._free_pulse: Instant[Mono] | None = None

    @property
    def said_leap(self) -> LeapReport:
        """What the receiver says of leap seconds."""
        return self._leaps.said

    def sky(self, now: Instant[Mono]) -> Sky:
        """What it said of its sky, as far as that stands."""
        return self._sky.sky(now)

    def remarks(self) -> list[Remark]:
        """What changed since the last call, apart from the verdict."""
        return self._sky.remarks()

    def set_table(self, table: LeapTable) -> None:
        """Another leap second table from now on."""
        self._times.table = table
        self._leaps.set_table(table)

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
        if not self._fix.on_time(now, trusted=mark.trusted, without_fix=self._sky.without_fix(now)):
            return Skip.UNTRUSTED
        self._utc = mark.utc
        return self._times.judge(mark, now, truth)

    def on_other_time(self, mark: TimeMark, now: Instant[Mono]) -> None:
        """A time of a kind that does not count; but when it is not vouched for, the one that counts is not either.

        ZDA says nothing of its validity, and RMC beside it does.
        """
        if not mark.trusted:
            self._fix.doubt(now)

    def on_fix(self, report: FixReport, now: Instant[Mono]) -> None:
        """The receiver described its sky."""
        self._sky.on_fix(report, now)
        self._fix.judge(now, without_fix=self._sky.without_fix(now))

    def on_leap(self, report: LeapReport) -> str | None:
        """The receiver said what it knows of leap seconds; answers what is odd about it, once."""
        return self._leaps.on_report(report, self._utc)

    def on_pulse_lock(self, now: Instant[Mono], *, locked: bool) -> None:
        """The receiver said whether its next pulse follows the satellites."""
        self._free_pulse = None if locked else now

    # -- what is made of it

    def leap(self) -> Leap:
        """The leap second that it announces for the end of this month, if that is possible at all; else NONE."""
        return self._leaps.leap(self._utc)

    def trouble(self, now: Instant[Mono]) -> Trouble | None:
        """Why its time is not used; None when it is, or nothing has been expected of it yet."""
        if not self._present:
            return _GONE
        if now - (self._heard or self._started) > self._settings.silence:
            return _UNREADABLE if self._garbled else _SILENT
        if self._sky.spoofed(now):
            return _SPOOFED
        fix = self._fix.trouble(now)
        if fix is not None:
            return fix
        if self._heard is not None and now - max(self._told or self._started, self._speaks_since) > _NO_DATE_AFTER:
            return _NO_DATE
        return self._times.trouble or self._leaps.trouble

    def pulse_trouble(self, now: Instant[Mono]) -> Trouble | None:
        """Why its pulses are not to be used: they go on without a fix, and then mark nothing.

        A jump of the messages says nothing of the pulses, whose number is counted.
        """
        if self._sky.spoofed(now):
            return _SPOOFED
        fix = self._fix.trouble(now)
        if fix is not None:
            return fix
        if self._free_pulse is not None and now - self._free_pulse <= _PULSE_SAID:
            return _FREE_PULSE
        stale = self._times.trouble
        if stale is not None and stale.name == "gnss-stale":
            return stale
        if self._heard is not None and now - self._heard > self._settings.unwatched:
            minutes = round(self._settings.unwatched.s() / 60)
            return Trouble("gnss-unwatched", f"nobody has said for {minutes} min whether the receiver has a fix")
        return None
