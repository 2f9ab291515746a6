"""The schema for machines and for readers: JSON Schema, and the reference of every key as Markdown."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from annotated_types import Ge, Le, MaxLen
from pydantic.fields import FieldInfo

from timesync.config.schema import SOURCE_KINDS, Config, Model
from timesync.config.written import Written

_WORDS = {bool: "true or false", str: "text", int: "whole number", float: "number"}
QUANTITIES = """\
Quantities carry units: `100ns`, `1.5us`, `20ms`, `16s`, `5min`, `2h`, `1d`, and `20ppm`, `3ppb`. A bare
number is refused where a unit is needed. Scalars are those of YAML 1.2: `1e-6` is a number, `on` and `12:30`
are text. An unknown key is an error. `timesync check FILE` finds every error; `timesync check --schema`
prints the JSON Schema.
"""
"""What holds for every key."""
_PREAMBLE = f"""\
# Configuration reference

Generated from the schema by `python docs/generate.py`; do not edit.

{QUANTITIES}"""


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a configuration file."""
    schema = Config.model_json_schema()
    schema["title"] = "timesync configuration"
    # Pydantic gives the pattern of the names in a mapping, and would let other names through.
    for section in ("clocks", "keys"):
        schema["properties"][section]["additionalProperties"] = False
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section, in words.

    Attributes:
        name: As it is written.
        kind: What may be written.
        default: What holds without it; empty where that is nothing.
        meaning: What it does.
    """

    name: str
    kind: str
    default: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Section:
    """One section of the file.

    Attributes:
        path: Where it is, such as ``serve.ntp``; empty for the file itself.
        meaning: What it is for.
        keys: What may be in it, its own before those that it shares with others.
    """

    path: str
    meaning: str
    keys: tuple[Key, ...]


def sections() -> list[Section]:
    """Every section, in the order of the schema; texts are Markdown, of which only backquotes are used."""
    return [Section(path, _first_line(model), tuple(_keys(model))) for path, model in _sections(Config, "")]


def markdown() -> str:
    """The reference: a table for each section, in the order of the schema."""
    lines = [_PREAMBLE]
    for section in sections():
        lines += _table(section)
    return "\n".join(lines)


def _sections(model: type[Model], path: str) -> Iterator[tuple[str, type[Model]]]:
    """Every section below a model, the model first."""
    yield path, model
    for name, field in model.model_fields.items():
        below = f"{path}.{name}" if path else name
        if name == "sources" and model is Config:
            for kind, source in SOURCE_KINDS.items():
                assert issubclass(source, Model)
                yield f"sources[] with {kind}", source
            continue
        part = _model_in(field.annotation)
        if part is not None:
            each = f"{below}.{'ID' if name == 'keys' else 'NAME'}"
            listed = f"{below}[]" if typing.get_origin(field.annotation) is tuple else below
            yield from _sections(part, each if typing.get_origin(field.annotation) is dict else listed)


def _table(section: Section) -> Iterator[str]:
    """Heading, meaning and table of one section."""
    yield f"## `{section.path}`\n" if section.path else "## The file\n"
    yield f"{section.meaning}\n"
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key in section.keys:
        cells = (f"`{key.name}`", key.kind, key.default, key.meaning)
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


def _keys(model: type[Model]) -> Iterator[Key]:
    own = list(model.__annotations__)
    for name, field in sorted(model.model_fields.items(), key=lambda item: item[0] not in own):
        yield Key(name, _kind(name, field), _default(field), _meaning(field))


def _kind(name: str, field: FieldInfo) -> str:
    """What may be written."""
    if field.annotation == Config.model_fields["sources"].annotation:
        return "list of sources, each with " + " or ".join(f"`{kind}`" for kind in SOURCE_KINDS)
    if field.annotation == Config.model_fields["ptp"].annotation:
        return "section or list of sections, see below"
    for mark in field.metadata:
        if isinstance(mark, Written):
            return mark.describe()
    part = _model_in(field.annotation)
    if part is not None:
        if typing.get_origin(field.annotation) is tuple:
            return "list of sections, see below"
        by = typing.get_origin(field.annotation) is dict
        return f"mapping by {'id' if name == 'keys' else 'name'}, see below" if by else "section, see below"
    bounds = {type(mark): mark for mark in field.metadata}
    kind = _plain_kind(field.annotation)
    least, most = bounds.get(Ge), bounds.get(Le)
    if isinstance(least, Ge) and isinstance(most, Le):
        kind += f", {least.ge} to {most.le}"
    longest = bounds.get(MaxLen)
    if isinstance(longest, MaxLen):
        kind += f", at most {longest.max_length}"
    return kind


def _plain_kind(annotation: object) -> str:
    """A type in words; the bounds of an optional value are inside it."""
    origin, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        for mark in parts[1:]:
            if isinstance(mark, Written):
                return mark.describe()
            if isinstance(mark, FieldInfo):
                inner = FieldInfo.from_annotation(annotation)  # type: ignore[arg-type]  # a special form
                return _kind("", inner)
        return _plain_kind(parts[0])
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_plain_kind(part) for part in parts if part is not type(None))
    if origin is typing.Literal:
        return ", ".join(f"`{choice}`" for choice in parts)
    if origin is tuple:
        return f"list of {_plain_kind(parts[0])}"
    return _WORDS[annotation] if isinstance(annotation, type) else str(annotation)


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.is_required():
        return "required"
    if value is None or isinstance(value, Model) or value == {}:
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple | list):
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _meaning(field: FieldInfo) -> str:
    part = _model_in(field.annotation)
    return field.description or (_first_line(part) if part is not None else "")


def _first_line(model: type[Model]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _model_in(annotation: object) -> type[Model] | None:
    """The section that a type holds, by itself, as an option, or by name."""
    if isinstance(annotation, type):
        return annotation if issubclass(annotation, Model) else None
    found = (_model_in(part) for part in typing.get_args(annotation))
    return next((model for model in found if model is not None), None)
