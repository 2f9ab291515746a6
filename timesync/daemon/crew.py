"""The groups that run, and those that wait for their clock; and how one set of them gives way to another."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from timesync.base.ids import ClockId, SourceId
from timesync.daemon.group import SourceGroup, Surroundings
from timesync.daemon.groups import Calibrations, Wiring, make_group
from timesync.observe.snapshot import SourceFacts


@dataclass(frozen=True, slots=True)
class Member:
    """A group and what it was made from."""

    wiring: Wiring
    group: SourceGroup


@dataclass(frozen=True, slots=True)
class Change:
    """What another configuration makes of the crew; nothing of it has been done yet.

    Attributes:
        members: All, from then on.
        leaving: Groups that go.
        coming: Groups that are new.
    """

    members: tuple[Member, ...]
    leaving: tuple[SourceGroup, ...]
    coming: tuple[SourceGroup, ...]


class Crew:
    """All groups of an appliance."""

    def __init__(self, around: Surroundings, calibration: Calibrations) -> None:
        """Empty; ``calibration`` is what a source of that name had learnt of itself."""
        self._around = around
        self._calibration = calibration
        self._members: tuple[Member, ...] = ()
        self._waiting: list[SourceGroup] = []

    def __iter__(self) -> Iterator[SourceGroup]:
        """Every group, waiting or not."""
        return (member.group for member in self._members)

    def prepare(self, wanted: Collection[Wiring]) -> Change:
        """Make what is new. Who is running goes on as before, also when this raises."""
        old = list(self._members)
        members: list[Member] = []
        coming: list[SourceGroup] = []
        for wiring in wanted:
            kept = next((member for member in old if member.wiring == wiring), None)
            if kept is not None:
                old.remove(kept)
                members.append(kept)
            else:
                members.append(self._made(wiring))
                coming.append(members[-1].group)
        return Change(tuple(members), tuple(member.group for member in old), tuple(coming))

    def take_over(self, change: Change) -> None:
        """End who goes and start who comes, as far as their clocks are there."""
        self._end(change.leaving)
        self._members = change.members
        self._begin(change.coming)

    def clocks_came(self) -> None:
        """Start those whose clocks are there now."""
        waiting, self._waiting = self._waiting, []
        self._begin(waiting)

    def end(self) -> None:
        """End all."""
        self._end(tuple(self))

    def running(self) -> list[SourceGroup]:
        """Those that were started."""
        return [group for group in self if group not in self._waiting]

    def review(self, outvoted: Collection[SourceId], own: Collection[str]) -> None:
        """See ``SourceGroup.review``; each is told what the others ask. Who waits for a clock may ask nobody yet."""
        for group in self.running():
            group.review(outvoted, own, self._taken(group))

    def facts(self) -> dict[SourceId, SourceFacts]:
        """What is known of all sources outside the core, without their status."""
        return dict(chain.from_iterable(group.facts().items() for group in self))

    def stuck(self) -> dict[str, tuple[str, str]]:
        """Entries of ``sources`` that have nothing to show: their kind and why, by name."""
        found = {}
        for group in self:
            trouble = self._waits_for(group) if group in self._waiting else group.trouble
            if trouble is not None and group.source is not None:
                found[group.name] = (group.kind, trouble)
        return found

    def calibrations(self) -> dict[str, Mapping[str, object]]:
        """What they have learnt of themselves, by name."""
        return {group.name: group.calibration() for group in self}

    def _made(self, wiring: Wiring) -> Member:
        def taken() -> list[str]:
            return self._taken(group)

        group = make_group(wiring, self._around, self._calibration, taken)
        return Member(wiring, group)

    def _taken(self, by: SourceGroup) -> list[str]:
        """The addresses that the others ask."""
        return [address for other in self if other is not by for address in other.addresses()]

    def _begin(self, groups: Collection[SourceGroup]) -> None:
        for group in groups:
            if self._absent(group):
                self._waiting.append(group)
            else:
                group.start()

    def _end(self, groups: Collection[SourceGroup]) -> None:
        for group in groups:
            if group in self._waiting:
                self._waiting.remove(group)
            else:
                group.stop()

    def _absent(self, group: SourceGroup) -> list[ClockId]:
        return [clock for clock in group.clocks if clock not in self._around.host.clocks]

    def _waits_for(self, group: SourceGroup) -> str:
        absent = " and ".join(f"clock {clock}" for clock in self._absent(group))
        return f"waits for {absent}, which is not there"
