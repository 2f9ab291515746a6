"""The text of a configuration file and positions in it, for messages that point at the place."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_MAY_HOLD_SECRET = re.compile(r"secret|hex:|ascii:", re.IGNORECASE)
_KEYS_SECTION = re.compile(r"""["']?keys["']?\s*:""")
_BREAK = re.compile("\r\n|\r|\n")
_EXCERPT_WIDTH = 100


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """One file, or one embedded text.

    Attributes:
        name: As the user knows it.
        text: Decoded, without its byte order mark.
        directory: What relative paths in it are relative to; None for an embedded text.
    """

    name: str
    text: str = field(repr=False)
    directory: str | None = None

    def excerpt(self, line: int, column: int) -> tuple[str, str] | None:
        """The line (from 1) and a caret line below it; None when it may hold a secret or does not exist.

        Characters that a terminal would act on are escaped; a long line is cut around the column.
        """
        lines = self.lines()
        if not 1 <= line <= len(lines) or self._secret(lines, line):
            return None
        raw = lines[line - 1]
        start = max(0, column - 1 - _EXCERPT_WIDTH // 2) if len(raw) > _EXCERPT_WIDTH else 0
        before = _printable(raw[start : column - 1])
        shown = before + _printable(raw[column - 1 : start + _EXCERPT_WIDTH])
        return shown, " " * len(before) + "^"

    def lines(self) -> list[str]:
        """The text in lines, at least one."""
        return _BREAK.split(self.text)

    @staticmethod
    def _secret(lines: list[str], line: int) -> bool:
        """Whether a line may hold a key: it looks like one, or stands in the ``keys`` section.

        This looks at text and not at parsed nodes, because it must also hold for files that do not parse.
        """
        if _MAY_HOLD_SECRET.search(lines[line - 1]):
            return True
        for above in reversed(lines[:line]):
            if above.startswith(("{", "---")):
                break
            if above.strip() and above[0] not in " \t#-]}":
                return _KEYS_SECTION.match(above) is not None
        return any("keys" in text for text in lines)


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a source; line and column count from 1, the column in characters."""

    source: Source
    line: int
    column: int

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " if c == "\t" else c.encode("unicode_escape").decode() for c in text)
