"""Looking into the tree of a configuration that may be wrong anywhere: what is not there reads as nothing."""

from __future__ import annotations

from timesync.config.problem import Problem, format_path
from timesync.config.tree import Location, Mapping, Node, Plain, Scalar, Sequence, find, mark_of


def entries(root: Mapping, *location: str | int) -> dict[str, Node]:
    """The values of a mapping, by key; none when there is no mapping."""
    node = find(root, location)
    return {key: entry.value for key, entry in node.entries.items()} if isinstance(node, Mapping) else {}


def items(root: Mapping, *location: str | int) -> list[Node]:
    """The entries of a list; none when there is no list."""
    node = find(root, location)
    return node.items if isinstance(node, Sequence) else []


def value(root: Mapping, *location: str | int) -> Plain:
    """A single value; None when there is none."""
    node = find(root, location)
    return node.value if isinstance(node, Scalar) else None


def number(root: Mapping, *location: str | int) -> int | None:
    """A single value that is a whole number; None when there is none."""
    found = value(root, *location)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def complain(root: Mapping, location: Location, message: str, suggestion: str | None = None) -> Problem:
    """A problem with the value at a location."""
    return Problem.at(mark_of(root, location), format_path(location), message, suggestion)
