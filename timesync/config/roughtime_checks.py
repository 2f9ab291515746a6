"""Roughtime in a configuration: one vote for each server, and enough of them for a majority to mean something."""

from __future__ import annotations

from collections.abc import Iterator

from timesync.config.look import complain, items, value
from timesync.config.problem import Problem
from timesync.config.schema import Config, RoughtimeSource
from timesync.config.tree import Mapping

_ENOUGH = 3
"""From so many on one can be wrong, and the others show it."""


def check_roughtime(root: Mapping) -> Iterator[Problem]:
    """No server is there twice: whoever has a key has one vote."""
    seen: dict[str, int] = {}
    for index, node in enumerate(items(root, "sources")):
        key = value(root, "sources", index, "public_key")
        if not isinstance(node, Mapping) or "roughtime" not in node.entries or not isinstance(key, str):
            continue
        first = seen.setdefault(key, index)
        if first != index:
            message = f"the key of sources[{first}]: one server has one vote"
            yield complain(root, ("sources", index, "public_key"), message)


def roughtime_doubts(config: Config, root: Mapping) -> Iterator[Problem]:
    """Too few servers to tell who lies."""
    places = [index for index, source in enumerate(config.sources) if isinstance(source, RoughtimeSource)]
    asked = [index for index in places if not config.sources[index].noselect]
    if asked and len(asked) < _ENOUGH:
        alone = "a single Roughtime server is believed alone, and nothing shows when it lies"
        both = "two Roughtime servers must both answer and agree, or nothing is checked"
        message = f"{alone if len(asked) == 1 else both}; name three of different owners"
        yield complain(root, ("sources", asked[0], "roughtime"), message)
