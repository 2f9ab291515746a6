"""Profiles: configurations that others start from."""

from __future__ import annotations

from collections.abc import Mapping as Lookup
from importlib import resources

from timesync.config import yaml
from timesync.config.explain import nearest
from timesync.config.problem import ConfigError, Problem
from timesync.config.source import Mark, Source
from timesync.config.tree import Mapping, Scalar, child, mark_of, merge

PACKAGE = "timesync_profiles"
_SUFFIX = ".yaml"


def shipped() -> dict[str, Source]:
    """The profiles of this installation by name, in alphabetical order."""
    files = (item for item in resources.files(PACKAGE).iterdir() if item.name.endswith(_SUFFIX))
    return {
        item.name.removesuffix(_SUFFIX): yaml.decode(item.read_bytes(), str(item))
        for item in sorted(files, key=lambda item: item.name)
    }


def inherit(own: Mapping, library: Lookup[str, Source], override: str | None = None) -> Mapping:
    """A tree over the profile that it names, and that one over its own, and so on.

    ``override`` takes the place of the name in ``own``. A profile's name and description are not inherited.
    Raises ConfigError for an unknown profile, for a circle, and for a profile that is not YAML.
    """
    chain = [own]
    names: list[str] = []
    named = _name(own) if override is None else (override, None)
    while named is not None:
        name, mark = named
        if mark is not None and name in names:
            circle = " -> ".join([*names[names.index(name) :], name])
            raise ConfigError([Problem.at(mark, "profile", f"profiles go round in a circle: {circle}")])
        if name not in library:
            raise ConfigError([_unknown(name, mark, library)])
        names.append(name)
        chain.append(yaml.compose(library[name]))
        named = _name(chain[-1])
    result = chain.pop()
    while chain:
        merged = merge(_anonymous(result), chain.pop())
        assert isinstance(merged, Mapping)
        result = merged
    return result


def _anonymous(tree: Mapping) -> Mapping:
    """A tree without what it says of itself, which is not inherited."""
    kept = {key: entry for key, entry in tree.entries.items() if key not in ("profile", "description")}
    return Mapping(kept, tree.mark)


def description(source: Source) -> str:
    """The one line that a profile says of itself; empty when it says none."""
    node = child(yaml.compose(source), "description")
    return node.text if isinstance(node, Scalar) else ""


def _name(tree: Mapping) -> tuple[str, Mark] | None:
    """The profile that a tree names; what is not a name is left to the schema."""
    node = child(tree, "profile")
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return node.value, mark_of(tree, ("profile",))
    return None


def _unknown(name: str, mark: Mark | None, library: Lookup[str, Source]) -> Problem:
    shown = name if len(name) <= 40 else name[:40] + "…"
    message = f'no profile "{shown}"; there are {", ".join(library)}'
    if mark is None:
        return Problem("", None, None, "--profile", message, nearest(name, library))
    return Problem.at(mark, "profile", message, nearest(name, library))
