"""What is wrong with a configuration, and how it is said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from timesync.config.source import Mark, Source

MAX_SHOWN = 100
"""So many problems are rendered; ``problems`` has them all."""

_SIMPLE_KEY = re.compile(r"[A-Za-z0-9_-]{1,40}", re.ASCII)
# The prefixes of secrets with what was written after them; our own messages have a space there.
_SECRET = re.compile(r"(hex|ascii):[^\s\"]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or doubtful.

    Attributes:
        path: Where in the configuration, such as ``sources[0].poll``; empty for the file as a whole.
        line: From 1; None when no line can be named.
        column: From 1, in characters; None when no column can be named.
        file: The file that the value came from, a profile's if it was inherited.
        message: What is wrong.
        suggestion: What was probably meant.
        source: Where the excerpt comes from.
    """

    path: str
    line: int | None
    column: int | None
    file: str
    message: str
    suggestion: str | None = None
    source: Source | None = field(default=None, repr=False, compare=False)

    @classmethod
    def at(cls, mark: Mark, path: str, message: str, suggestion: str | None = None) -> Problem:
        """A problem at a place; what looks like a secret is taken out of its words."""
        place = (mark.line, mark.column, mark.source.name)
        hint = None if suggestion is None else _without_secrets(suggestion)
        return cls(_without_secrets(path), *place, _without_secrets(message), hint, mark.source)

    def headline(self, severity: str = "error") -> str:
        """``file:line:column: error: path: message (did you mean …?)``, in one line."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        path = f"{self.path}: " if self.path else ""
        hint = "" if self.suggestion is None else f" (did you mean {_quoted(self.suggestion)}?)"
        return _one_line(f"{place}: {severity}: {path}{self.message}{hint}")

    def render(self, severity: str = "error") -> str:
        """The headline, then the line of the file and a caret below the column."""
        lines = [self.headline(severity)]
        if self.source is not None and self.line is not None and self.column is not None:
            excerpt = self.source.excerpt(self.line, self.column)
            if excerpt is not None:
                lines += [f"  {text}" for text in excerpt]
        return "\n".join(lines)


class ConfigError(Exception):
    """A configuration that cannot be used.

    Attributes:
        problems: Everything that is wrong with it, in the order of the file.
        cause: The operating system's error when the file could not be read at all.
    """

    def __init__(self, problems: Sequence[Problem], cause: OSError | None = None) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)
        self.cause = cause

    def __str__(self) -> str:
        shown = [problem.render() for problem in self.problems[:MAX_SHOWN]]
        more = len(self.problems) - MAX_SHOWN
        return "\n".join([*shown, f"and {more} more errors"] if more > 0 else shown)


def _without_secrets(text: str) -> str:
    return _SECRET.sub(r"\1:…", text)


def _quoted(suggestion: str) -> str:
    return suggestion if '"' in suggestion else f'"{suggestion}"'


def _one_line(text: str) -> str:
    """Without anything that a terminal or a log would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def format_path(location: Sequence[str | int]) -> str:
    """``sources[0].poll`` from its parts; a key that is not a plain word is quoted and cut."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
            continue
        key = step if _SIMPLE_KEY.fullmatch(step) else f'"{step[:40]}"'
        path += f".{key}" if path else key
    return path
