"""Leap seconds while the daemon runs: the table, what the vote adds to it, and who may vote."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from timesync.base.ids import ClockId, SourceId
from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Duration, Instant, Tai, Utc
from timesync.base.utc import DAY_S, LeapTable, civil
from timesync.daemon.group import ReceiverView
from timesync.daemon.pair_group import PHC_REFERENCE
from timesync.daemon.pulse_group import PPS_REFERENCE
from timesync.gnss.leap_vote import Ballot, Ruling, extended, rule
from timesync.servo.clock_model import Source
from timesync.servo.view import SourceState

_DAY = Duration.from_s(DAY_S)
_LAST_MINUTE = Duration.from_s(60)
"""So long before its leap second a vote is final: every clock and protocol must know of it before it comes."""

_NO_CALENDAR = (PPS_REFERENCE, PHC_REFERENCE)
"""Reference ids of those that know nothing of UTC: a pulse, and a clock that holds TAI."""


class LiveTable(LeapTable):
    """A table that may learn of a leap second while it is in use.

    Clocks, protocols and receivers share one, so that all of them go over to the new TAI - UTC at the same moment. It
    is equal to itself alone.
    """

    __slots__ = ()
    __eq__ = object.__eq__
    __hash__ = object.__hash__

    @classmethod
    def of(cls, table: LeapTable) -> LiveTable:
        """One that begins as ``table``."""
        return cls(table.steps, table.expires, table.updated)

    def learn(self, table: LeapTable) -> None:
        """Take over the steps of a longer table. Raises LeapTableError when these cannot be a history of UTC."""
        LeapTable(table.steps)
        object.__setattr__(self, "steps", table.steps)
        self.__post_init__()


class LeapBook:
    """The leap second that is believed in, from the table and by vote; worked out once a second.

    Attributes:
        smear: Over how long a leap second is spread for clients, half before it; None: not at all.
    """

    def __init__(self, table: LiveTable) -> None:
        self.smear: Duration | None = None
        self._table = table
        self._believed: LeapTable = table
        self._memo: dict[ClockId, tuple[int, tuple[Leap, int]]] = {}
        self._ruling: Ruling | None = None

    @property
    def believed(self) -> LeapTable:
        """The table with the leap second that was voted for, final or not."""
        return self._believed

    def vote(self, ballots: Sequence[Ballot], at: Instant[Tai]) -> list[str]:
        """Hold the vote for the present month; returns what is newly said and not believed, in sentences."""
        known = () if self._ruling is None else self._ruling.doubts
        self._ruling = rule(self._table, ballots, self._table.utc(at))
        self._believed = extended(self._table, self._ruling)
        self._memo.clear()
        return [doubt for doubt in self._ruling.doubts if doubt not in known]

    def settle(self, at: Instant[Tai]) -> str | None:
        """Once a second: make a vote final in time, which is said.

        That is a minute before its leap second, or as its smear begins: half a smear cannot be taken back.
        """
        ruling = self._ruling
        if ruling is None or ruling.at is None or self._believed is self._table:
            return None
        left = ruling.at - self._table.utc(at)
        ahead = _LAST_MINUTE if self.smear is None else max(_LAST_MINUTE, self.smear // 2)
        if not Duration(0) < left <= ahead:
            return None
        self._table.learn(self._believed)
        self._believed = self._table
        self._memo.clear()
        kind = "leap second" if ruling.leap is Leap.INSERT else "deleted second"
        tai_utc = self._table.steps[-1][1]
        return f"the {kind} at the end of {_day_before(ruling.at)} is final by vote: TAI - UTC is {tai_utc} s after it"

    def today(self, clock: ClockId, at: Instant[Tai]) -> tuple[Leap, int]:
        """The leap second at the end of this UTC day, and TAI - UTC, when a clock reads ``at``."""
        second = at.scaled_ns // UNITS_PER_S
        memo = self._memo.get(clock)
        if memo is None or memo[0] != second:
            utc = self._table.utc(at)
            memo = (second, (self._pending_today(utc), self._table.tai_utc(utc)))
            self._memo[clock] = memo
        return memo[1]

    def month(self, at: Instant[Tai]) -> Leap:
        """The one to announce for the end of this month."""
        utc, ruling = self._table.utc(at), self._ruling
        if ruling is None or ruling.from_table or ruling.at is None or utc >= ruling.at:
            # The table knows to the second; a vote counts only until its leap second is over.
            return self._table.pending_month(utc)
        return ruling.leap

    def vouched(self, at: Instant[Tai]) -> bool:
        """Whether TAI - UTC is known: the table has not expired."""
        return self._table.expires is not None and self._table.utc(at) < self._table.expires

    def soon(self, clock: ClockId, at: Instant[Tai]) -> Leap:
        """The leap second within the next twelve hours, as PTP announces it (IEEE 1588-2019, 8.2.4.4 and 8.2.4.5)."""
        seconds = self._table.utc(at).scaled_ns // UNITS_PER_S % DAY_S
        return self.today(clock, at)[0] if seconds >= DAY_S // 2 else Leap.NONE

    def _pending_today(self, utc: Instant[Utc]) -> Leap:
        """The kernel is told on the day itself; a vote counts as the table does."""
        ruling = self._ruling
        if ruling is None or ruling.from_table or ruling.at is None:
            return self._table.pending_today(utc)
        return ruling.leap if Duration(0) < ruling.at - utc <= _DAY else Leap.NONE


def ballots(receivers: Mapping[SourceId, ReceiverView], sources: Iterable[Source]) -> list[Ballot]:
    """Who says what of the next leap second: receivers, and outside sources that may be believed."""
    said = [
        Ballot(identity, report.leap, report.tai_utc)
        for identity, report in ((name, one.leap_report()) for name, one in receivers.items())
    ]
    return said + [
        Ballot(source.spec.name, Leap.UNKNOWN if source.spec.reference_id in _NO_CALENDAR else source.quality.leap)
        for source in sources
        if source.spec.parent is None
        and source.spec.source not in receivers
        and source.quality is not None
        and source.ruling.state in (SourceState.SELECTED, SourceState.CANDIDATE)
    ]


def _day_before(midnight: Instant[Utc]) -> str:
    year, month, day = civil(midnight.scaled_ns // (DAY_S * UNITS_PER_S) - 1)
    return f"{year:04}-{month:02}-{day:02}"
