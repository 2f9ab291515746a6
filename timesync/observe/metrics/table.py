"""How a metric is described: its name, and where in a state its values are.

Tables of such descriptions make the families that are served, the page of the documentation, and what the shipped
dashboard and rules are checked against.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from timesync_drivers.usage import Usage

Message = Mapping[str, Any]
Row = tuple[tuple[str | None, ...], float | None]
"""Values of the labels, and the value; None: not known, and left out. A label that is None is empty."""

Unit = Literal["seconds", "ratio", "bytes", "celsius", ""]
Kind = Literal["gauge", "counter"]

_TOTAL: Final = "_total"
STALE_S: Final = 10.0
"""A state that is older tells nothing: the daemon says it every second."""


@dataclass(frozen=True, slots=True)
class Trail:
    """What only several states together tell.

    Attributes:
        rms_offset_s: Average of the served clock's estimated offset, as root mean square; None before the first.
        update_interval_s: Between the last two of its corrections that were seen; None before the second.
    """

    rms_offset_s: float | None = None
    update_interval_s: float | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """The observer itself.

    Attributes:
        age_s: Since the daemon's last state came; None before the first.
        missed: Messages of the daemon that did not get through.
        usage: What the observer takes of the machine.
    """

    age_s: float | None
    missed: int
    usage: Usage

    @property
    def fresh(self) -> bool:
        """Whether the last state still tells how things are."""
        return self.age_s is not None and self.age_s <= STALE_S


@dataclass(frozen=True, slots=True)
class Scene:
    """What metrics are made from.

    Attributes:
        hello: Who the daemon is.
        state: Its last state.
        trail: What was made of the states before.
        own: The observer itself.
    """

    hello: Message
    state: Message
    trail: Trail
    own: Own

    @property
    def status(self) -> Message:
        """The object of ``timesync status``."""
        status: Message = self.state["status"]
        return status

    @property
    def sources(self) -> Sequence[Message]:
        """Those of ``timesync sources``."""
        sources: Sequence[Message] = self.state["sources"]
        return sources

    @property
    def ports(self) -> Sequence[Message]:
        """Those of ``timesync ports``."""
        ports: Sequence[Message] = self.state["ports"]
        return ports

    @property
    def served(self) -> Message | None:
        """The clock whose time is served."""
        name = self.status["served_clock"]
        return next((clock for clock in self.status["clocks"] if clock["name"] == name), None)


Rows = Callable[[Scene], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class Described:
    """A metric.

    Attributes:
        name: With unit, and ``_total`` if it is a counter.
        help: What it means, in plain words.
        rows: Its values in a scene.
        labels: Names of the labels.
        unit: Of the values; a ratio has none, and neither have numbers of things, states and identities.
        kind: A counter only grows, but begins anew with the daemon.
    """

    name: str
    help: str
    rows: Rows
    labels: tuple[str, ...] = ()
    unit: Unit = ""
    kind: Kind = "gauge"

    def family(self, scene: Scene) -> Metric:
        """All its values.

        Of two with the same labels the first one is kept: the second would make Prometheus refuse all.
        """
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        name = self.name.removesuffix(_TOTAL) if self.kind == "counter" else self.name
        unit = self.unit if name.endswith(f"_{self.unit}") else ""
        family = make(name, self.help, labels=self.labels, unit=unit)
        seen = set()
        for labels, value in self.rows(scene):
            shown = tuple(map(shown_text, labels))
            if value is not None and shown not in seen:
                seen.add(shown)
                family.add_metric(shown, value)
        return family


def shown_text(text: str | None) -> str:
    """A label's value: what cannot be written as UTF-8, such as half of a surrogate pair, is a question mark."""
    return "" if text is None else text.encode("utf-8", "replace").decode()


def families(table: Iterable[Described], scene: Scene) -> Iterator[Metric]:
    """What a table makes of a scene; metrics without any value are left out."""
    for described in table:
        family = described.family(scene)
        if family.samples:
            yield family


# -- rows


def number(path: str, scale: float = 1.0) -> Callable[[Message], float | None]:
    """What finds the number under keys that are separated by points; true and false are 1 and 0."""
    keys = path.split(".")

    def find(value: Any) -> float | None:
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return float(value) * scale if isinstance(value, int | float) else None

    return find


def one(value: Callable[[Message], float | None]) -> Rows:
    """The one value of a metric without labels, in the object of ``timesync status``."""

    def rows(scene: Scene) -> Iterator[Row]:
        yield (), value(scene.status)

    return rows


Objects = Callable[[Scene], Iterable[tuple[tuple[str | None, ...], Message]]]
"""What there are several of, each with its labels."""


def each(objects: Objects, value: Callable[[Message], float | None]) -> Rows:
    """A value of each object."""

    def rows(scene: Scene) -> Iterator[Row]:
        for labels, entry in objects(scene):
            yield labels, value(entry)

    return rows


def states(objects: Objects, key: str, known: Iterable[str]) -> Rows:
    """For each object all states that there are, the present one as 1 and the others as 0."""
    known = tuple(known)

    def rows(scene: Scene) -> Iterator[Row]:
        for labels, entry in objects(scene):
            for state in known:
                yield (*labels, state), float(entry[key] == state)

    return rows


def told(objects: Objects, *keys: str) -> Rows:
    """For each object a 1 whose further labels are what stands under these keys."""

    def rows(scene: Scene) -> Iterator[Row]:
        for labels, entry in objects(scene):
            yield (*labels, *(None if entry.get(key) is None else str(entry[key]) for key in keys)), 1.0

    return rows


def counted(objects: Objects, key: str) -> Rows:
    """For each object its counters, by name as the last label."""

    def rows(scene: Scene) -> Iterator[Row]:
        for labels, entry in objects(scene):
            for name, count in entry[key].items():
                yield (*labels, name), float(count)

    return rows
