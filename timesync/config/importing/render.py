"""An imported configuration as text: the values, then what is said of all other lines."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from timesync.config.importing.draft import Draft, Finding, Kind, node_of
from timesync.config.source import Mark
from timesync.config.tree import Entry, Mapping
from timesync.config.write import write

_WIDTH = 120
_HEADINGS = {
    Kind.DIFFERS: "To be looked at: it is done here, and not in the same way.",
    Kind.MISSING: "Missing: it has no equal here, or must be said by hand.",
    Kind.NEEDLESS: "Needs no key: it is so anyway, or stands above.",
}


def with_keys(draft: Draft, files: dict[int, str] | None) -> Mapping:
    """The tree with its keys: in these files, or with their secrets in it."""
    tree = draft.tree()
    if not draft.keys:
        return tree
    start = next(iter(draft.keys.values())).mark
    keys: dict[str, Entry] = {}
    for number, key in sorted(draft.keys.items()):
        where = {"secret": key.secret} if files is None else {"file": files[number]}
        keys[str(number)] = Entry(key.mark, node_of({"algorithm": key.algorithm, **where}, key.mark))
    return Mapping({**tree.entries, "keys": Entry(start, Mapping(keys, start))}, tree.mark)


def render(tree: Mapping, findings: Iterable[Finding], head: Iterable[str], foot: Iterable[str]) -> str:
    """The whole text.

    Args:
        tree: The values.
        findings: What is said of other lines.
        head: Lines of the comment at the start.
        foot: Lines of the comment at the end.
    """
    last: list[Mark] = []

    def note(mark: Mark) -> str | None:
        same = bool(last) and last[0] == mark
        last[:] = [mark]
        return None if same or not mark.source.name else _place(mark)

    lines = [*(f"# {text}" for text in head), "", *write(tree, note)]
    for kind, heading in _HEADINGS.items():
        said = [finding for finding in findings if finding.kind is kind]
        if said:
            lines += ["", f"# {heading}", *_comments(said)]
    return "\n".join([*lines, "", *(f"# {text}".rstrip() for text in foot)]) + "\n"


def _place(mark: Mark) -> str:
    return _printable(f"{mark.source.name.rpartition('/')[2]}:{mark.line}")


def _comments(findings: list[Finding]) -> Iterator[str]:
    """In the order of the files; lines of which the same is said are said together."""
    together: dict[tuple[str, str], list[Finding]] = {}
    files = list(dict.fromkeys(finding.mark.source.name for finding in findings))
    for finding in sorted(dict.fromkeys(findings), key=lambda one: (files.index(one.mark.source.name), one.mark.line)):
        together.setdefault((finding.mark.source.name, finding.reason), []).append(finding)
    for (_, reason), group in together.items():
        if len(group) == 1:
            text = f"{_place(group[0].mark)}: {group[0].word}: {reason}"
        else:
            words = ", ".join(f"{finding.word} ({finding.mark.line})" for finding in group)
            text = f"{_place(group[0].mark).rpartition(':')[0]}: {words}: {reason}"
        yield from textwrap.wrap(_printable(text), _WIDTH, initial_indent="# ", subsequent_indent="#   ",
                                 break_long_words=False, break_on_hyphens=False)  # fmt: skip


def _printable(text: str) -> str:
    """Without anything that ends a comment, or that a terminal would act on."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
