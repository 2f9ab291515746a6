"""Is a leap second coming? The leap table, the receivers and the upstream servers, reconciled by vote.

A false announcement shifts everybody by a second, and has been seen from public servers. While its issuer vouches
for the table, the table decides; after that a majority does, and only for the months in which there has ever been a
leap second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from timesync.base.measure import Leap
from timesync.base.time import UNITS_PER_S, Instant, Utc
from timesync.base.utc import DAY_S, LeapTable, civil

_WORDS = {Leap.INSERT: "a leap second", Leap.DELETE: "a deleted second"}
_UNKNOWN_TO_TABLE = "that the table does not know"
_UNKNOWN_TO_ALL = "that the others and the table do not know"
_COUNTS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")


@dataclass(frozen=True, slots=True)
class Ballot:
    """What one source says.

    Attributes:
        name: Who.
        leap: Announced for the end of this month; UNKNOWN abstains.
        tai_utc: TAI - UTC now, in seconds; None when it does not say.
    """

    name: str
    leap: Leap
    tai_utc: int | None = None


@dataclass(frozen=True, slots=True)
class Ruling:
    """What is believed.

    Attributes:
        leap: The leap second at the end of this UTC month.
        at: When it takes effect (00:00:00 of the next month); None when there is none.
        from_table: The table says so itself, and knows it beforehand.
        doubts: What was said and not believed, or believed against somebody, in sentences.
    """

    leap: Leap
    at: Instant[Utc] | None
    from_table: bool
    doubts: tuple[str, ...] = ()


def rule(table: LeapTable, ballots: Sequence[Ballot], utc: Instant[Utc]) -> Ruling:
    """Decide for the month of ``utc``."""
    said = table.pending_month(utc)
    voters = [ballot for ballot in ballots if ballot.leap is not Leap.UNKNOWN]
    doubts = _counts(table, ballots, utc)
    if said is not Leap.NONE or vouched(table, utc):
        for leap in (Leap.INSERT, Leap.DELETE):
            if leap is not said:
                alone = all(ballot.leap is leap for ballot in voters)
                doubts += _not_believed(leap, voters, _UNKNOWN_TO_TABLE if alone else _UNKNOWN_TO_ALL)
        silent = [ballot for ballot in voters if ballot.leap is Leap.NONE]
        if said is not Leap.NONE and silent:
            doubts.append(
                f"{_of(silent, voters)} {_have(silent)} not yet announced {_WORDS[said]} that the table knows: believed"
            )
        return Ruling(said, _month_end(utc) if said is not Leap.NONE else None, said is not Leap.NONE, tuple(doubts))
    for leap in (Leap.INSERT, Leap.DELETE):
        for_it = [ballot for ballot in voters if ballot.leap is leap]
        if not for_it:
            continue
        if 2 * len(for_it) <= len(voters):
            doubts += _not_believed(leap, voters, "that the others do not know")
        elif not likely_month(utc):
            doubts += _not_believed(leap, voters, "for the end of a month that has never had one")
        else:
            doubts.append(f"the leap second table has expired; {_believed(leap, for_it, voters)}")
            return Ruling(leap, _month_end(utc), from_table=False, doubts=tuple(doubts))
    return Ruling(Leap.NONE, None, from_table=False, doubts=tuple(doubts))


def vouched(table: LeapTable, utc: Instant[Utc]) -> bool:
    """Whether the issuer of the table still vouches for it."""
    return table.expires is not None and utc < table.expires


def likely_month(utc: Instant[Utc]) -> bool:
    """Whether the month ends with June or December (first preference of ITU-R TF.460-6, annex 1, 2.1)."""
    return civil(utc.scaled_ns // (DAY_S * UNITS_PER_S))[1] in (6, 12)


def extended(table: LeapTable, ruling: Ruling) -> LeapTable:
    """The table with a leap second that was voted for; the same table when there is nothing to add."""
    if ruling.at is None or ruling.from_table:
        return table
    start, offset = ruling.at.scaled_ns // UNITS_PER_S, table.steps[-1][1]
    if start <= table.steps[-1][0]:
        return table
    return replace(table, steps=(*table.steps, (start, offset + (1 if ruling.leap is Leap.INSERT else -1))))


def month_end(at: Instant[Utc]) -> bool:
    """Whether an instant is the start of a UTC month, to within a second: where a leap second can take effect."""
    seconds = (at.scaled_ns + UNITS_PER_S // 2) // UNITS_PER_S
    day, rest = divmod(seconds + 1, DAY_S)
    return rest <= 2 and civil(day)[2] == 1


def _counts(table: LeapTable, ballots: Sequence[Ballot], utc: Instant[Utc]) -> list[str]:
    """Who counts another TAI - UTC than the table."""
    ours = table.tai_utc(utc)
    return [
        f"{ballot.name} says that TAI - UTC is {ballot.tai_utc} s, the table says {ours} s"
        for ballot in ballots
        if ballot.tai_utc is not None and ballot.tai_utc != ours and not table.ambiguous(utc)
    ]


def _not_believed(leap: Leap, voters: Sequence[Ballot], tail: str) -> list[str]:
    for_it = [ballot for ballot in voters if ballot.leap is leap]
    return [f"{_of(for_it, voters)} {_announce(for_it)} {_WORDS[leap]} {tail}: not believed"] if for_it else []


def _believed(leap: Leap, for_it: Sequence[Ballot], voters: Sequence[Ballot]) -> str:
    return f"{_of(for_it, voters)} {_announce(for_it)} {_WORDS[leap]} at the end of this month: believed"


def _announce(some: Sequence[Ballot]) -> str:
    return "announces" if len(some) == 1 else "announce"


def _have(some: Sequence[Ballot]) -> str:
    return "has" if len(some) == 1 else "have"


def _of(some: Sequence[Ballot], voters: Sequence[Ballot]) -> str:
    """``one of three sources (ntp2)``."""
    names = ", ".join(ballot.name for ballot in some)
    if len(voters) == 1:
        return f"the only source ({names})"
    if len(some) == len(voters):
        return f"all {_count(len(voters))} sources"
    return f"{_count(len(some))} of {_count(len(voters))} sources ({names})"


def _count(number: int) -> str:
    return _COUNTS[number] if number < len(_COUNTS) else str(number)


def _month_end(utc: Instant[Utc]) -> Instant[Utc]:
    """The start of the month after the one of ``utc``."""
    day = utc.scaled_ns // (DAY_S * UNITS_PER_S) + 1
    while civil(day)[2] != 1:
        day += 1
    return Instant(day * DAY_S * UNITS_PER_S)
