"""A tree as YAML text again, each value with a note of where it comes from."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from timesync.config.source import Mark
from timesync.config.tree import Mapping, Node, Scalar, Sequence
from timesync.config.yaml import resolve

# Words that mean the same in block and in flow style, and cannot be taken for a comment or a key.
_SAFE = re.compile(r"[A-Za-z0-9_./][A-Za-z0-9_./-]*(:[0-9]+)?", re.ASCII)
_NOTE_COLUMN = 48


def write(tree: Mapping, note: Callable[[Mark], str | None]) -> Iterator[str]:
    """The lines of a text that reads as ``tree``; ``note`` gives the comment behind each value, None for none."""
    for line, mark in _lines(tree, 0):
        comment = None if mark is None else note(mark)
        yield line if comment is None else f"{line:{_NOTE_COLUMN}}  # {comment}"


def _lines(node: Node, depth: int) -> Iterator[tuple[str, Mark | None]]:
    """Lines of a collection in block style, without their notes."""
    indent = "  " * depth
    if isinstance(node, Mapping):
        for key, entry in node.entries.items():
            yield from _entry(f"{indent}{_text(key, is_key=True)}:", entry.value, depth + 1)
    elif isinstance(node, Sequence):
        for item in node.items:
            if isinstance(item, Mapping) and item.entries:
                below = _lines(item, depth + 1)
                first, mark = next(below)
                yield f"{indent}- {first[len(indent) + 2 :]}", mark
                yield from below
            else:
                yield from _entry(f"{indent}-", item, depth + 1)


def _entry(head: str, value: Node, depth: int) -> Iterator[tuple[str, Mark | None]]:
    """A key or a dash with its value, on one line where that is possible."""
    flow = _flow(value)
    if flow is not None:
        yield f"{head} {flow}", value.mark
        return
    yield head, None
    yield from _lines(value, depth)


def _flow(node: Node) -> str | None:
    """A value for one line: a scalar, an empty collection, or a list of scalars that stand in one line."""
    if isinstance(node, Scalar):
        return _scalar(node)
    if isinstance(node, Mapping):
        return None if node.entries else "{}"
    scalars = [item for item in node.items if isinstance(item, Scalar)]
    if len(scalars) < len(node.items) or len({item.mark.line for item in scalars}) > 1:
        return None
    return f"[{', '.join(map(_scalar, scalars))}]"


def _scalar(node: Scalar) -> str:
    if not isinstance(node.value, str):
        return node.text or "null"
    return _text(node.value)


def _text(text: str, *, is_key: bool = False) -> str:
    """Plain where that reads as the same text, else in double quotes (YAML 1.2, 5.7: escapes)."""
    if _SAFE.fullmatch(text) and (is_key or isinstance(resolve(text), str)):
        return text
    return '"' + "".join(map(_escape, text)) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else f"\\U{ord(character):08x}"
