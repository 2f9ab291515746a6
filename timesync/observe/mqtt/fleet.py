"""All appliances of a broker side by side: who is right, who agrees with whom, and who is silent.

What two of them say can be compared where a measurement joins them. One may have measured the other; or both have
measured the same third clock, whose own error is then in both and goes out. The difference is known to within a margin,
half of each round trip and the noise. They agree when it is no larger than the two error bounds and the margin
together: then their claims can both be true. That they are true, agreement does not show.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from timesync.observe.mqtt.report import (
    MAX_PAYLOAD,
    Peer,
    Report,
    ReportError,
    Sight,
    identities,
    parse,
    printable,
    report,
    sights,
)
from timesync.observe.mqtt.topics import AVAILABILITY, OFFLINE, ONLINE, PORTS, SOURCES, STATE

KINDS: Final = (AVAILABILITY, STATE, SOURCES, PORTS)
MOST: Final = 1000
"""Appliances; a broker with more of them is not looked at as a whole."""

MOST_OCTETS: Final = 1 << 24
"""Of the messages that are kept, of all together: anybody may publish."""

_LONGEST_NAME: Final = 100
"""As in ``observe.mqtt.name``."""

_NOTHING: Final = b"{}"
_TOGETHER: Final = "all"
_MISSED: Final = 3
_LEAST_SILENCE_S: Final = 30.0
_AHEAD_S: Final = 1e-3
_UNSYNCHRONISED: Final = 16


@dataclass(slots=True)
class Appliance:
    """What is known of one of them.

    Attributes:
        name: As it calls itself.
        availability: ``online``, ``offline``, or None when nobody has said.
        report: Its last state.
        heard_s: When that came; monotonic. None: the broker had kept it.
        age_s: How old it was then, by its stamp and our clock.
        lists: Its sources and ports, as they came: read, they take up to thirty times as much.
        octets: Of the messages that all this is of, by kind.
        troubles: Why what it says cannot be read, by kind, or by ``_TOGETHER`` of all of it.
    """

    name: str
    availability: str | None = None
    report: Report | None = None
    heard_s: float | None = None
    age_s: float = 0.0
    lists: dict[str, bytes] = field(default_factory=dict)
    octets: dict[str, int] = field(default_factory=dict)
    troubles: dict[str, str] = field(default_factory=dict)

    def seen(self) -> tuple[dict[Peer, Sight], frozenset[str]]:
        """What it measures, and as what others measure it; nothing where it cannot be read."""
        if self.report is None:
            return {}, frozenset()
        self.troubles.pop(_TOGETHER, None)
        try:
            sources, ports = (parse(self.lists.get(kind, _NOTHING)) for kind in (SOURCES, PORTS))
            return sights(sources, ports, self.report), self.report.addresses | identities(ports)
        except ReportError as error:
            self.troubles[_TOGETHER] = str(error)
            return {}, frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How two appliances stand to each other.

    Attributes:
        first: One.
        second: The other.
        by: What joins them, in words.
        difference_s: The first one's clock minus the second one's.
        margin_s: That may be wrong by so much.
        allowed_s: As far apart as their error bounds and the margin allow; None when one claims nothing.
    """

    first: str
    second: str
    by: str
    difference_s: float
    margin_s: float
    allowed_s: float | None

    @property
    def agree(self) -> bool | None:
        """Whether both can be right; None when one claims nothing."""
        return None if self.allowed_s is None else abs(self.difference_s) <= self.allowed_s

    def as_object(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "appliances": [self.first, self.second],
            "by": self.by,
            "difference_s": self.difference_s,
            "margin_s": self.margin_s,
            "allowed_s": self.allowed_s,
            "agree": self.agree,
        }


class Fleet:
    """Gathers what appliances publish."""

    def __init__(self, mono: Callable[[], float], utc_ns: Callable[[], int]) -> None:
        """Nobody has said anything yet.

        Args:
            mono: Monotonic seconds.
            utc_ns: UTC by our clock, ns since 1970.
        """
        self._mono = mono
        self._utc_ns = utc_ns
        self._appliances: dict[str, Appliance] = {}
        self._octets = 0
        self._refused = False

    def take(self, name: str, kind: str, payload: bytes, *, retained: bool) -> None:
        """A message of an appliance has come; an empty one takes back what was kept."""
        if name not in self._appliances:
            if not payload or len(name) > _LONGEST_NAME:
                return
            if len(self._appliances) >= MOST:
                self._refused = True
                return
        appliance = self._appliances.setdefault(name, Appliance(printable(name)))
        try:
            self._keep(appliance, kind, len(payload))
            if kind == AVAILABILITY:
                word = payload.decode("ascii", "replace")
                appliance.availability = word if word in (ONLINE, OFFLINE) else None
            elif kind == STATE:
                self._state(appliance, payload, retained=retained)
            else:
                parse(payload or _NOTHING)
                appliance.lists[kind] = payload or _NOTHING
            appliance.troubles.pop(kind, None)
        except ReportError as error:
            appliance.troubles[kind] = str(error)

    def _keep(self, appliance: Appliance, kind: str, octets: int) -> None:
        """Account for a message in place of the last one of its kind. Raises ReportError where there is no room."""
        if octets > MAX_PAYLOAD:
            self._refused = True
            return  # it is refused as soon as it is read
        more = octets - appliance.octets.get(kind, 0)
        if more > 0 and self._octets + more > MOST_OCTETS:
            self._refused = True
            raise ReportError(
                f"there is more under this topic than {MOST_OCTETS >> 20} MiB, and no room for its {kind}"
            )
        self._octets += more
        appliance.octets[kind] = octets

    def _state(self, appliance: Appliance, payload: bytes, *, retained: bool) -> None:
        appliance.report = report(parse(payload)) if payload else None
        if appliance.report is not None:
            appliance.heard_s = self._mono()
            appliance.age_s = (self._utc_ns() - appliance.report.utc_ns) / 1e9
            if not retained:
                appliance.age_s = min(appliance.age_s, 0.0)

    def overview(self) -> Overview:
        """All of them, now."""
        now = self._mono()
        everybody = [self._appliances[name] for name in sorted(self._appliances)]
        agreements = tuple(_agreements([one for one in everybody if not _silent(one, now)]))
        standings = tuple(_standing(one, now) for one in everybody if one.report or one.availability)
        return Overview(standings, agreements, whole=not self._refused)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One appliance, now.

    Attributes:
        name: Its name.
        report: Its last state; None when there is none that can be read.
        age_s: How old that is; None without one.
        silent: Why it counts for nothing, in words; None when it does not.
        ahead_s: Its system clock is ahead of ours by at least so much; None when that does not show.
        trouble: Why what it says cannot be read.
    """

    name: str
    report: Report | None
    age_s: float | None
    silent: str | None
    ahead_s: float | None
    trouble: str | None

    @property
    def synchronised(self) -> bool:
        """It speaks, and can be followed."""
        return self.silent is None and self.report is not None and self.report.stratum < _UNSYNCHRONISED

    @property
    def holdover(self) -> bool:
        """It speaks, and is on its own."""
        return self.silent is None and self.report is not None and self.report.state == "holdover"

    def as_object(self) -> dict[str, Any]:
        """For ``--json``."""
        said = self.report
        fields = (
            "state",
            "reason",
            "stratum",
            "reference_id",
            "offset_s",
            "error_bound_s",
            "holdover_s",
            "host",
            "version",
        )
        return {
            "name": self.name,
            "synchronised": self.synchronised,
            "silent": self.silent,
            "age_s": self.age_s,
            "ahead_s": self.ahead_s,
            "trouble": self.trouble,
            **{key: None if said is None else getattr(said, key) for key in fields},
            "warnings": [] if said is None else list(said.warnings),
        }


@dataclass(frozen=True, slots=True)
class Overview:
    """The fleet at one moment.

    Attributes:
        standings: All appliances, by name.
        agreements: Between those that speak and that a measurement joins.
        whole: Nothing was left out for want of room.
    """

    standings: tuple[Standing, ...]
    agreements: tuple[Agreement, ...]
    whole: bool = True

    @property
    def worst(self) -> Standing | None:
        """The one with the largest error bound among those that claim one."""
        claims = [
            one for one in self.standings if one.synchronised and one.report and one.report.error_bound_s is not None
        ]
        return max(claims, key=lambda one: (one.report and one.report.error_bound_s) or 0.0, default=None)

    @property
    def contradictions(self) -> tuple[Agreement, ...]:
        """Pairs of which at least one is wrong."""
        return tuple(one for one in self.agreements if one.agree is False)

    @property
    def well(self) -> bool:
        """There is somebody, all are synchronised and were looked at, and nobody contradicts another."""
        known = bool(self.standings) and self.whole
        return known and all(one.synchronised for one in self.standings) and not self.contradictions

    def agreeing(self) -> Mapping[str, tuple[int, int]]:
        """With how many others each appliance agrees, and with how many it could be compared."""
        agree: Counter[str] = Counter()
        compared: Counter[str] = Counter()
        for one in self.agreements:
            for name in (one.first, one.second):
                agree[name] += one.agree is True
                compared[name] += one.agree is not None
        return {one.name: (agree[one.name], compared[one.name]) for one in self.standings}

    def as_object(self) -> dict[str, Any]:
        """For ``--json``."""
        worst = self.worst
        return {
            "well": self.well,
            "whole": self.whole,
            "appliances": [one.as_object() for one in self.standings],
            "agreements": [one.as_object() for one in self.agreements],
            "worst_error_bound": None if worst is None else worst.name,
            "holdover": [one.name for one in self.standings if one.holdover],
            "silent": [one.name for one in self.standings if one.silent is not None],
            "not_synchronised": [one.name for one in self.standings if not one.synchronised],
            "contradictions": [[one.first, one.second] for one in self.contradictions],
        }


def _age_s(appliance: Appliance, now: float) -> float | None:
    return None if appliance.heard_s is None else max(appliance.age_s, 0.0) + now - appliance.heard_s


def _silent(appliance: Appliance, now: float) -> str | None:
    """Why an appliance counts for nothing; None when it speaks."""
    if appliance.availability == OFFLINE:
        return "offline"
    age = _age_s(appliance, now)
    if appliance.report is None or age is None:
        return "it has not said how it is"
    patience = max(_MISSED * appliance.report.interval_s, _LEAST_SILENCE_S)
    return None if age <= patience else "nothing new"


def _standing(appliance: Appliance, now: float) -> Standing:
    ahead = -appliance.age_s
    return Standing(
        name=appliance.name,
        report=appliance.report,
        age_s=_age_s(appliance, now),
        silent=_silent(appliance, now),
        ahead_s=ahead if appliance.report is not None and ahead > _AHEAD_S else None,
        trouble=next(iter(appliance.troubles.values()), None),
    )


def _agreements(appliances: list[Appliance]) -> Iterator[Agreement]:
    """The best comparison of each pair that a measurement joins."""
    seen = {one.name: one.seen() for one in appliances}
    claimed = Counter(itertools.chain.from_iterable(known for _, known in seen.values()))
    # An address that two of them have, such as that of a bridge for containers, says nothing.
    own = {name: {one for one in known if claimed[one] == 1} for name, (_, known) in seen.items()}
    bounds = {one.name: one.report.error_bound_s if one.report is not None else None for one in appliances}
    for first, second in itertools.combinations(seen, 2):
        found = [
            *_direct(seen[first][0], own[second], f"{first} measures {second}", 1),
            *_direct(seen[second][0], own[first], f"{second} measures {first}", -1),
            *_shared(seen[first][0], seen[second][0]),
        ]
        if not found:
            continue
        margin, difference, by = min(found)
        one, other = bounds[first], bounds[second]
        allowed = None if one is None or other is None else one + other + margin
        yield Agreement(
            first=first, second=second, by=by, difference_s=difference, margin_s=margin, allowed_s=allowed
        )  # fmt: skip


def _direct(measured: dict[Peer, Sight], known: set[str], by: str, sign: int) -> Iterator[tuple[float, float, str]]:
    for peer, sight in measured.items():
        if peer.address in known:
            yield sight.margin_s, sign * sight.offset_s, by


def _shared(one: dict[Peer, Sight], other: dict[Peer, Sight]) -> Iterator[tuple[float, float, str]]:
    """By the best of the clocks that both measure; there are many pairs, so words are made for that one alone."""
    both = [
        (one[peer].margin_s + other[peer].margin_s, one[peer].offset_s - other[peer].offset_s, peer.address)
        for peer in one.keys() & other.keys()
    ]
    if both:
        margin_s, difference_s, address = min(both)
        yield margin_s, difference_s, f"both measure {printable(address)}"
