"""The page of the documentation that lists all metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from timesync.observe.metrics.table import Described
from timesync.observe.metrics.tables import COMPAT, OWN

_HEAD = """# Metrics

Generated from the tables that make them; `python docs/generate.py` writes this page. What is not known is left out.
How to have them: [how-to/metrics.md](../how-to/metrics.md).
"""
_COMPAT = """
## Names of other exporters

With `compat`. The labels and units are those of that exporter.
"""


def markdown() -> str:
    """The page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD.rstrip("\n")
    for chapter, table in OWN.items():
        yield f"\n## {chapter}\n"
        yield from _table(table)
    yield _COMPAT.rstrip("\n")
    for name, table in COMPAT.items():
        yield f"\n### {name}\n"
        yield from _table(table)


def _table(table: Iterable[Described]) -> Iterator[str]:
    yield "| metric | type | labels | meaning |"
    yield "|---|---|---|---|"
    for one in table:
        labels = ", ".join(f"`{label}`" for label in one.labels)
        yield f"| `{one.name}` | {one.kind} | {labels} | {one.help} |"
