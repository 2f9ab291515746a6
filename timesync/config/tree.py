"""The tree of a configuration: what was written, where, and how a profile and a file become one."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Mapping as Lookup
from dataclasses import dataclass

from timesync.config.source import Mark

Plain = None | bool | int | float | str
Data = Plain | tuple["Data", ...] | dict[str, "Data"]
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scalar:
    """A single value.

    Attributes:
        value: As the core schema resolves it.
        text: As written, quotes taken off.
        mark: Where it starts.
    """

    value: Plain
    text: str
    mark: Mark


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """A list."""

    items: list[Node]
    mark: Mark


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """A key and its value; ``mark`` is the key's."""

    mark: Mark
    value: Node


@dataclass(frozen=True, slots=True, eq=False)
class Mapping:
    """A mapping; keys are the text as written."""

    entries: dict[str, Entry]
    mark: Mark


Node = Scalar | Sequence | Mapping


def merge(base: Node, own: Node) -> Node:
    """``own`` over ``base``: mappings merge key by key, anything else is replaced whole."""
    if not (isinstance(base, Mapping) and isinstance(own, Mapping)):
        return own
    entries = dict(base.entries)
    for key, entry in own.entries.items():
        inherited = entries.get(key)
        value = entry.value if inherited is None else merge(inherited.value, entry.value)
        entries[key] = Entry(entry.mark, value)
    return Mapping(entries, own.mark)


def plain(node: Node) -> Data:
    """The values alone; lists as tuples."""
    match node:
        case Scalar():
            return node.value
        case Sequence():
            return tuple(plain(item) for item in node.items)
        case Mapping():
            return {key: plain(entry.value) for key, entry in node.entries.items()}


def leaves(node: Node, location: Location = ()) -> Iterator[tuple[Location, Scalar]]:
    """Every single value with its location."""
    match node:
        case Scalar():
            yield location, node
        case Sequence():
            for index, item in enumerate(node.items):
                yield from leaves(item, (*location, index))
        case Mapping():
            for key, entry in node.entries.items():
                yield from leaves(entry.value, (*location, key))


def child(node: Node | None, step: str | int) -> Node | None:
    """The node one step down, if there is one."""
    if isinstance(node, Mapping) and isinstance(step, str):
        entry = node.entries.get(step)
        return None if entry is None else entry.value
    if isinstance(node, Sequence) and isinstance(step, int) and 0 <= step < len(node.items):
        return node.items[step]
    return None


def find(node: Node | None, location: Location) -> Node | None:
    """The node at a location, if there is one."""
    for step in location:
        node = child(node, step)
    return node


def substitute(node: Node, others: Lookup[Location, Node], location: Location = ()) -> Node:
    """The same tree with other nodes at some locations."""
    if location in others:
        return others[location]
    match node:
        case Scalar():
            return node
        case Sequence():
            items = [substitute(item, others, (*location, index)) for index, item in enumerate(node.items)]
            return Sequence(items, node.mark)
        case Mapping():
            entries = {
                key: Entry(entry.mark, substitute(entry.value, others, (*location, key)))
                for key, entry in node.entries.items()
            }
            return Mapping(entries, node.mark)


def mark_of(root: Node, location: Location) -> Mark:
    """Where the value at a location stands; where nothing stands, that of the nearest thing around it.

    A section stands where its key does, and so do a list that begins in a later line and an empty value.
    """
    node: Node = root
    mark = root.mark
    for step in location:
        below = child(node, step)
        if below is None:
            break
        mark = below.mark
        if isinstance(node, Mapping) and isinstance(step, str):
            key = node.entries[step].mark
            empty = isinstance(below, Scalar) and not below.text
            if empty or isinstance(below, Mapping) or key.line != mark.line:
                mark = key
        node = below
    return mark


def key_mark(root: Node, location: Location) -> Mark:
    """Where the key at the end of a location stands."""
    parent = find(root, location[:-1])
    if isinstance(parent, Mapping) and isinstance(location[-1], str) and location[-1] in parent.entries:
        return parent.entries[location[-1]].mark
    return mark_of(root, location)
