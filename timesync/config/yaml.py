"""YAML 1.2 core, with the place of every key and value.

PyYAML's scanner gives events; the tree is built here without recursion, so that no depth of nesting can
exhaust the stack. Scalars follow the core schema of YAML 1.2 (10.3.2), not YAML 1.1: ``1e-6`` is a number,
``on`` and ``12:30`` are text. Anchors, aliases, tags, duplicate keys and several documents are refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NoReturn

import yaml
from yaml import events

from timesync.config.problem import ConfigError, Problem, format_path
from timesync.config.source import Mark, Source
from timesync.config.tree import Entry, Mapping, Node, Plain, Scalar, Sequence

MAX_BYTES = 256 * 1024
MAX_DEPTH = 64
MAX_DIGITS = 64

_NULL = {"", "~", "null", "Null", "NULL"}
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?[0-9]+", re.ASCII)
_OCTAL = re.compile(r"0o[0-7]+", re.ASCII)
_HEX = re.compile(r"0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_INFINITY = re.compile(r"([-+]?)(\.inf|\.Inf|\.INF)", re.ASCII)
_NAN = {".nan", ".NaN", ".NAN"}
# YAML 1.2, rule [1] c-printable, and the line breaks of YAML 1.1 that PyYAML still splits lines at.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")

_SURROGATE = re.compile("[\ud800-\udfff]")


def decode(data: bytes, name: str, directory: str | None = None) -> Source:
    """The text of a file. Raises ConfigError when it is too long, not UTF-8, or holds control characters."""
    empty = Source(name, "", directory)
    if len(data) > MAX_BYTES:
        raise ConfigError([_file_problem(empty, f"is longer than {MAX_BYTES // 1024} KiB")])
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        message = f"not UTF-8: octet 0x{data[error.start]:02x} at {error.start}"
        raise ConfigError([Problem("", line, None, name, message)]) from None
    source = Source(name, text, directory)
    bad = _FORBIDDEN.search(text)
    if bad is not None:
        line = text.count("\n", 0, bad.start()) + 1
        mark = Mark(source, line, bad.start() - (text.rfind("\n", 0, bad.start()) + 1) + 1)
        raise ConfigError([Problem.at(mark, "", f"character U+{ord(bad.group()):04X} is not allowed in YAML")])
    return source


def compose(source: Source) -> Mapping:
    """The tree of a configuration. Raises ConfigError, and nothing else, when it is not one."""
    builder = _Builder(source)
    try:
        return builder.build(_events(yaml.SafeLoader(source.text)))
    except yaml.MarkedYAMLError as error:
        raise ConfigError([*builder.problems, _syntax_problem(source, error)]) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML lets chr() and int() speak for themselves on escapes and versions that are out of range.
        raise ConfigError([*builder.problems, _file_problem(source, f"not YAML: {error}")]) from None


def resolve(text: str) -> Plain:
    """A plain (unquoted) scalar by the core schema. Raises ValueError for a number of absurd length."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    for pattern, base in ((_INT, 10), (_OCTAL, 8), (_HEX, 16)):
        if pattern.fullmatch(text):
            if len(text) > MAX_DIGITS:
                raise ValueError(f"a number of {len(text)} digits")
            return int(text if base == 10 else text[2:], base)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinity := _INFINITY.fullmatch(text):
        return float(infinity[1] + "inf")
    return float("nan") if text in _NAN else text


def _events(loader: yaml.SafeLoader) -> Iterator[events.Event]:
    while loader.check_event():
        yield loader.get_event()  # type: ignore[no-untyped-call]  # types-PyYAML leaves it untyped


class _Builder:
    """Builds the tree from events with a stack of its own."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.problems: list[Problem] = []
        self._stack: list[Sequence | Mapping] = []
        # For each mapping of the stack, the key that waits for its value.
        self._keys: list[tuple[str, Mark] | None] = []
        self._root: Node | None = None
        self._documents = 0

    def build(self, stream: Iterator[events.Event]) -> Mapping:
        for event in stream:
            assert event.start_mark is not None
            mark = Mark(self._source, event.start_mark.line + 1, event.start_mark.column + 1)
            if isinstance(event, events.DocumentStartEvent):
                self._start_document(event, mark)
            elif isinstance(event, events.AliasEvent):
                self._stop(mark, "an alias (*) is not allowed; write the value again")
            elif isinstance(event, events.NodeEvent):
                self._node(event, mark)
            elif isinstance(event, events.SequenceEndEvent | events.MappingEndEvent):
                self._keys.pop()
                self._attach(self._stack.pop())
        if isinstance(self._root, Scalar) and self._root.value is None and not self.problems:
            self._root = None
        if self._root is None and not self.problems:
            self.problems.append(_file_problem(self._source, "is empty"))
        elif not isinstance(self._root, Mapping) and not self.problems:
            assert self._root is not None
            self.problems.append(
                Problem.at(self._root.mark, "", "expected a mapping of sections such as sources: and serve:")
            )
        if self.problems:
            raise ConfigError(self.problems)
        assert isinstance(self._root, Mapping)
        return self._root

    def _start_document(self, event: events.DocumentStartEvent, mark: Mark) -> None:
        self._documents += 1
        if self._documents > 1:
            self._stop(mark, "a second document; a configuration is one document")
        if event.version not in (None, (1, 2)):
            self.problems.append(Problem.at(mark, "", "the file claims another YAML version than 1.2"))
        if event.tags:
            self.problems.append(Problem.at(mark, "", "%TAG is not allowed"))

    def _node(self, event: events.NodeEvent, mark: Mark) -> None:
        if event.anchor is not None:
            self._stop(mark, "an anchor (&) is not allowed; profiles are the way to share values")
        if isinstance(event, events.ScalarEvent):
            if event.tag is not None:
                self.problems.append(Problem.at(mark, "", "a tag (!) is not allowed"))
            self._scalar(event, mark)
            return
        assert isinstance(event, events.CollectionStartEvent)
        if event.tag is not None:
            self.problems.append(Problem.at(mark, "", "a tag (!) is not allowed"))
        if len(self._stack) == MAX_DEPTH:
            self._stop(mark, f"nested deeper than {MAX_DEPTH} levels")
        if self._stack and isinstance(self._stack[-1], Mapping) and self._keys[-1] is None:
            message = "a key must be a word, not a list or a mapping"
            self._stop(mark, message, _hint(self._source, mark.line))
        sequence = isinstance(event, events.SequenceStartEvent)
        self._stack.append(Sequence([], mark) if sequence else Mapping({}, mark))
        self._keys.append(None)

    def _scalar(self, event: events.ScalarEvent, mark: Mark) -> None:
        text: str = event.value
        value: Plain = text
        if _SURROGATE.search(text):
            self.problems.append(Problem.at(mark, "", "an escape (\\u) of half a character"))
        if self._stack and isinstance(self._stack[-1], Mapping) and self._keys[-1] is None:
            self._keys[-1] = (text, mark)
            return
        if event.style is None:
            try:
                value = resolve(text)
            except ValueError as error:
                self.problems.append(Problem.at(mark, "", str(error)))
        self._attach(Scalar(value, text, mark))

    def _attach(self, node: Node) -> None:
        """Hang a complete node into the innermost open collection."""
        if not self._stack:
            self._root = node
            return
        parent = self._stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
            return
        pending = self._keys[-1]
        assert pending is not None
        key, mark = pending
        earlier = parent.entries.get(key)
        if earlier is not None:
            message = f"key given twice; first in line {earlier.mark.line}"
            self.problems.append(Problem.at(mark, format_path(self._location()), message))
        else:
            parent.entries[key] = Entry(mark, node)
        self._keys[-1] = None

    def _location(self) -> list[str | int]:
        """Where in the tree the builder stands."""
        location: list[str | int] = []
        for collection, pending in zip(self._stack, self._keys, strict=True):
            if isinstance(collection, Sequence):
                location.append(len(collection.items))
            elif pending is not None:
                location.append(pending[0])
        return location

    def _stop(self, mark: Mark, message: str, suggestion: str | None = None) -> NoReturn:
        """A problem after which the rest of the file means nothing."""
        raise ConfigError([*self.problems, Problem.at(mark, "", message, suggestion)])


def _file_problem(source: Source, message: str) -> Problem:
    return Problem("", None, None, source.name, message)


def _syntax_problem(source: Source, error: yaml.MarkedYAMLError) -> Problem:
    """PyYAML's complaint in one line, at the place it complains about."""
    place = error.problem_mark or error.context_mark
    message = error.problem or error.context or "cannot be read"
    if error.context and error.problem and error.context_mark is not None:
        message = f"{error.problem} ({error.context} from line {error.context_mark.line + 1})"
    if place is None:
        return _file_problem(source, f"not YAML: {message}")
    mark = Mark(source, place.line + 1, place.column + 1)
    tab = "spaces; YAML does not indent with tabs" if "'\\t'" in message else None
    return Problem.at(mark, "", f"not YAML: {message}", tab or _hint(source, mark.line))


def _hint(source: Source, line: int) -> str | None:
    """What is probably meant when brackets are in the way of YAML."""
    if re.search(r"""(?<!["'])\[[0-9A-Fa-f]*::""", source.lines()[line - 1]):
        return '"[::]:123", in quotes'
    return None
