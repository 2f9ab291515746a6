"""A configuration in the making: values with the lines that they come from, and what is said of the other lines."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from timesync.config.source import Mark, Source
from timesync.config.sources import read_value, title_of
from timesync.config.tree import Entry, Mapping, Node, Scalar, Sequence

Value = bool | int | str | list["Value"] | dict[str, "Value"]


class Kind(enum.Enum):
    """What a line that is no value here means for who comes from there."""

    MISSING = "missing"
    """Something is not done here that was done there."""
    DIFFERS = "differs"
    """It is done, in another way: to be looked at."""
    NEEDLESS = "needless"
    """Nothing is lost: it is so anyway, or has no meaning here."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What is said of a line of the original.

    Attributes:
        kind: What it means for the user.
        mark: The line.
        word: The directive or option that is meant.
        reason: Why it is no value here, or what the value means here.
    """

    kind: Kind
    mark: Mark
    word: str
    reason: str


@dataclass(frozen=True, slots=True)
class ImportedKey:
    """A symmetric key of the original.

    Attributes:
        algorithm: As ``keys.ID.algorithm``.
        secret: As ``keys.ID.secret``; kept out of every ``repr``.
        mark: Where it stands.
    """

    algorithm: str
    secret: str = field(repr=False)
    mark: Mark


class Draft:
    """Collects what translators find.

    Attributes:
        findings: What is said of lines, in the order in which it was found.
        keys: Symmetric keys by id; how they are written is not decided here.
        instances: PTP instances.
    """

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.keys: dict[int, ImportedKey] = {}
        self.instances: list[Mapping] = []
        self._root: dict[str, Entry] = {}
        self._origin = Mark(Source("", ""), 1, 1)

    def missing(self, mark: Mark, word: str, reason: str) -> None:
        """Say that something is lost."""
        self.findings.append(Finding(Kind.MISSING, mark, word, reason))

    def differs(self, mark: Mark, word: str, reason: str) -> None:
        """Say that something is done otherwise."""
        self.findings.append(Finding(Kind.DIFFERS, mark, word, reason))

    def needless(self, mark: Mark, word: str, reason: str) -> None:
        """Say that nothing is lost."""
        self.findings.append(Finding(Kind.NEEDLESS, mark, word, reason))

    def put(self, mark: Mark, value: Value, *path: str) -> None:
        """Set a value, in place of one that was there: the last line counts, as in the programs we read from."""
        place = self._place(mark, path[:-1])
        before = place.get(path[-1])
        if before is not None and isinstance(before.value, Scalar) and before.value.mark != mark:
            self.needless(before.value.mark, ".".join(path), f"{mark} says it again, and counts")
        place[path[-1]] = Entry(mark, node_of(value, mark))

    def append(self, mark: Mark, value: Value, *path: str) -> None:
        """Add to a list; a scalar that is in it already is not added."""
        place = self._place(mark, path[:-1])
        entry = place.setdefault(path[-1], Entry(mark, Sequence([], mark)))
        assert isinstance(entry.value, Sequence)
        for item in entry.value.items:
            if isinstance(item, Scalar) and item.value == value:
                self.needless(mark, str(value), f"{item.mark} says it already")
                return
        entry.value.items.append(node_of(value, mark))

    def has(self, *path: str) -> bool:
        """Whether something stands there."""
        entries = self._root
        for step in path[:-1]:
            entry = entries.get(step)
            if entry is None or not isinstance(entry.value, Mapping):
                return False
            entries = entry.value.entries
        return path[-1] in entries

    def drop(self, *path: str) -> None:
        """Take a value away, if it is there."""
        if self.has(*path):
            del self._place(self._origin, path[:-1])[path[-1]]

    def add_source(self, mark: Mark, kind: str, value: Value, options: dict[str, Value]) -> None:
        """Add to ``sources``, once: a second one of the same kind and address would have two votes."""
        meant = read_value(kind, value)
        title = None if meant is None else title_of(kind, meant)
        channel = options.get("channel", 0)
        for item in self.sources():
            other = next(iter(item.entries))
            written = item.entries[other].value
            if not isinstance(written, Scalar):
                continue
            known = read_value(other, written.value)
            same_channel = channel == plain_of(item, "channel", 0)
            if other == kind and known == meant and same_channel:
                self.needless(mark, str(value), f"{item.mark} names it already; one source has one vote")
                return
            if title is not None and "name" not in options and known is not None and title_of(other, known) == title:
                options = {"name": f"{kind} {title}"[:40], **options}
        self.append(mark, {kind: value, **options}, "sources")

    def sources(self) -> Iterator[Mapping]:
        """The sources so far."""
        entry = self._root.get("sources")
        for item in entry.value.items if entry is not None and isinstance(entry.value, Sequence) else ():
            assert isinstance(item, Mapping)
            yield item

    def tree(self) -> Mapping:
        """The configuration, sections in their usual order."""
        entries = dict(self._root)
        if self.instances:
            mark = self.instances[0].mark
            whole: Node = self.instances[0] if len(self.instances) == 1 else Sequence([*self.instances], mark)
            entries["ptp"] = Entry(mark, whole)
        if not entries:
            # An empty file would be none.
            entries["sources"] = Entry(self._origin, Sequence([], self._origin))
        order = ("clocks", "sources", "ptp", "keys", "steering", "serve", "observe", "leap")
        return Mapping({name: entries[name] for name in order if name in entries}, self._origin)

    def _place(self, mark: Mark, path: Iterable[str]) -> dict[str, Entry]:
        entries = self._root
        for step in path:
            entry = entries.setdefault(step, Entry(mark, Mapping({}, mark)))
            assert isinstance(entry.value, Mapping)
            entries = entry.value.entries
        return entries


def node_of(value: Value, mark: Mark) -> Node:
    """A value as a node, all of it at one place."""
    match value:
        case dict():
            return Mapping({key: Entry(mark, node_of(item, mark)) for key, item in value.items()}, mark)
        case list():
            return Sequence([node_of(item, mark) for item in value], mark)
        case bool():
            return Scalar(value, str(value).lower(), mark)
        case _:
            return Scalar(value, str(value), mark)


def plain_of(item: Mapping, key: str, default: object = None) -> object:
    """A scalar of a mapping."""
    entry = item.entries.get(key)
    return entry.value.value if entry is not None and isinstance(entry.value, Scalar) else default
