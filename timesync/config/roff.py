"""Manual pages: the few macros of man(7) that ours are made of."""

from __future__ import annotations

import re
import textwrap

from timesync import __version__


def title(name: str, section: int, volume: str) -> str:
    """The first line of a page. It has no date: the same code makes the same page on every day."""
    return f'.TH {_text(name.upper())} {section} "" "timesync {__version__}" {quoted(volume)}'


def heading(text: str) -> str:
    """A heading of the page."""
    return f".SH {quoted(text)}"


def subheading(text: str) -> str:
    """A heading below one."""
    return f".SS {quoted(text)}"


def paragraph(text: str) -> str:
    """Text of its own paragraph."""
    return f".PP\n{line(text)}"


def first(text: str) -> str:
    """Text right below a heading, where a paragraph would be one too many."""
    return line(text)


def entry(term: str, *texts: str) -> str:
    """A term, set in bold, and below it what is to be said of it."""
    return "\n".join([f".TP\n\\fB{_text(term)}\\fP", *(("\n.br\n").join(line(text) for text in texts if text),)])


def line(text: str) -> str:
    """Running text on lines of its own; what is in backquotes becomes bold."""
    parts = re.split(r"`([^`]*)`", " ".join(text.split()))
    marked = (f"\\fB{_text(part)}\\fP" if index % 2 else _text(part) for index, part in enumerate(parts))
    # Short lines, as for all who read the source of a page; a dash is no place to break an option.
    lines = textwrap.wrap("".join(marked), 79, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(_guarded, lines))


def verbatim(lines: list[str]) -> str:
    """Lines as they are, indented."""
    return "\n".join([".PP", ".RS 4", ".nf", *(_guarded(_text(one)) for one in lines), ".fi", ".RE"])


def quoted(text: str) -> str:
    """An argument of a macro."""
    return '"' + _text(text).replace('"', '""') + '"'


def _guarded(text: str) -> str:
    """A line that begins with a dot or an apostrophe would be a request."""
    return f"\\&{text}" if text.startswith((".", "'")) else text


def _text(text: str) -> str:
    """Every character as itself: hyphens stay those of the keyboard, so that options can be copied."""
    plain = (
        text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    )
    return "".join(one if one.isascii() else f"\\[u{ord(one):04X}]" for one in plain)
