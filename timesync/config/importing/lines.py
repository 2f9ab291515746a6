"""Configurations that are lines of words: chrony.conf, ntp.conf, and the sections of linuxptp's files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from timesync.config.importing.draft import Draft, Value
from timesync.config.importing.numbers import UnreadableError
from timesync.config.source import Mark, Source

MAX_DEPTH = 10
"""So deep do files include others; chrony's own limit."""


class Reader(Protocol):
    """Gives the files that a configuration names."""

    def read(self, path: str) -> Source | None:
        """The text of a file; None when it is not there."""

    def matching(self, pattern: str) -> list[str]:
        """The files that a pattern of the shell matches, in alphabetical order."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line that says something.

    Attributes:
        mark: Where it stands.
        words: What it says, at least one word.
    """

    mark: Mark
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """The directive, in lower case."""
        return self.words[0].lower()

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words after it."""
        return self.words[1:]

    @property
    def value(self) -> str:
        """The word after it; empty when there is none."""
        return self.words[1] if len(self.words) > 1 else ""


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a file, under ``[name words]``.

    Attributes:
        mark: Where its heading stands.
        title: What is between the brackets; empty for what comes before the first heading.
        lines: What it says.
    """

    mark: Mark
    title: str
    lines: tuple[Line, ...]


class Book:
    """Lines of one program's configuration, each taken once by who translates it."""

    def __init__(self, lines: Iterable[Line], draft: Draft) -> None:
        self._lines = list(lines)
        self._draft = draft
        self._taken: set[int] = set()

    def all(self, *names: str) -> list[Line]:
        """Every line of these directives, in order."""
        found = [index for index, line in enumerate(self._lines) if line.name in names]
        self._taken.update(found)
        return [self._lines[index] for index in found]

    def last(self, name: str) -> Line | None:
        """The line of a directive that counts when it is there several times: the last one."""
        found = self.all(name)
        for line in found[:-1]:
            self._draft.needless(line.mark, name, f"{found[-1].mark} says it again, and counts")
        return found[-1] if found else None

    def rest(self) -> list[Line]:
        """What nobody took."""
        return [line for index, line in enumerate(self._lines) if index not in self._taken]


def split(source: Source, starts: str, inside: str = "", *, quotes: bool = False) -> Iterator[Line]:
    """The lines that say something.

    Args:
        source: The file.
        starts: Characters that begin a comment at the start of a line.
        inside: Characters that begin a comment anywhere.
        quotes: Words may stand in double quotes.
    """
    for number, text in enumerate(source.lines(), 1):
        for character in inside:
            text = text.partition(character)[0]  # noqa: PLW2901
        stripped = text.strip()
        if not stripped or stripped[0] in starts:
            continue
        words = tuple(_quoted(stripped) if quotes else stripped.split())
        yield Line(Mark(source, number, len(text) - len(text.lstrip()) + 1), words)


def _quoted(text: str) -> list[str]:
    try:
        return shlex.split(text) or [text]
    except ValueError:
        return text.split()


def sections(source: Source, starts: str = "#") -> list[Section]:
    """A file with headings in brackets."""
    found = [Section(Mark(source, 1, 1), "", ())]
    for line in split(source, starts):
        text = " ".join(line.words)
        if text.startswith("["):
            found.append(Section(line.mark, text.strip("[] \t"), ()))
        else:
            found[-1] = Section(found[-1].mark, found[-1].title, (*found[-1].lines, line))
    return found if found[0].lines else found[1:]


def options(
    words: Iterable[str], valued: frozenset[str] | set[str], fold: Callable[[str], str] = str.lower
) -> dict[str, str]:
    """Options behind a directive; those of ``valued`` have a word behind them, the others are empty."""
    given: dict[str, str] = {}
    waiting: str | None = None
    for word in words:
        if waiting is not None:
            given[waiting] = word
            waiting = None
            continue
        name = fold(word)
        given[name] = ""
        if name in valued:
            waiting = name
    return given


def trying(draft: Draft, line: Line, what: Callable[[], object]) -> None:
    """Do something with a line; what cannot be read in it is said."""
    try:
        what()
    except UnreadableError as error:
        draft.missing(line.mark, " ".join(line.words[:2])[:60], str(error))


def put(draft: Draft, line: Line, form: Callable[[str], Value], *path: str) -> None:
    """Set the value that the word of a line means; what cannot be read is said."""
    trying(draft, line, lambda: draft.put(line.mark, form(line.value), *path))


def join(directory: str | None, path: str) -> str:
    """A path from the directory of the file that names it."""
    return path if path.startswith("/") or directory is None else re.sub("/+", "/", f"{directory}/{path}")
