"""From pydantic's errors to problems that point into the file and say it in the user's words."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterable

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from timesync.config.problem import Problem, format_path
from timesync.config.ptp import Ptp
from timesync.config.schema import SOURCE_KINDS, Config
from timesync.config.tree import Location, Mapping, Node, Scalar, Sequence, find, key_mark, mark_of
from timesync.config.written import ERROR_TYPE

MAX_COMPARED = 100
"""Comparing words is slow; a hostile file must not make it last."""

_WANTED = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
}
_YES_NO = {"yes": "true", "on": "true", "y": "true", "no": "false", "off": "false", "n": "false"}


def explain(error: ValidationError, root: Mapping, model: type[BaseModel] = Config) -> list[Problem]:
    """Every error of a validation by ``model`` as a problem in the tree that was validated."""
    details = error.errors(include_url=False, include_input=False)
    located = ((detail, _location(detail["loc"])) for detail in details)
    return [
        _problem(detail, location, root, model) for detail, location in located if not _echo(detail, location, root)
    ]


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was probably meant; None when there are too many to compare."""
    known = list(known)
    if len(known) > MAX_COMPARED:
        return None
    folded = {name.lower().replace("-", "_"): name for name in known}
    near = difflib.get_close_matches(word.lower().replace("-", "_")[:64], folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def _echo(detail: ErrorDetails, location: Location, root: Mapping) -> bool:
    """Whether a list is said to be short only because entries of it are wrong, which is said apart."""
    node = find(root, location)
    return detail["type"] == "too_short" and isinstance(node, Sequence) and bool(node.items)


def _location(raw: tuple[int | str, ...]) -> Location:
    """Pydantic's location without what is not in the file: the tag of a source or of PTP, the mark of a key."""
    location = raw[:2] + raw[3:] if raw[:1] == ("sources",) and len(raw) > 2 else raw
    if raw[:2] in {("ptp", "one"), ("ptp", "many")}:
        location = raw[:1] + raw[2:]
    return location[:-1] if location[-1:] == ("[key]",) else location


def _problem(detail: ErrorDetails, location: Location, root: Mapping, model: type[BaseModel]) -> Problem:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        parent = find(root, location[:-1])
        present = parent.entries if isinstance(parent, Mapping) else {}
        free = [key for key in _keys_at(location[:-1], root, model) if key not in present]
        suggestion = nearest(str(location[-1]), free)
        return Problem.at(key_mark(root, location), format_path(location), "unknown key", suggestion)
    if kind == "missing":
        return Problem.at(mark_of(root, location), format_path(location), "is missing")
    if detail["loc"][-1:] == ("[key]",):
        return Problem.at(key_mark(root, location), format_path(location), str(context["message"]))
    if kind == ERROR_TYPE and context.get("step") is not None:
        location = (*location, context["step"])
    node = find(root, location)
    message, suggestion = _words(detail, node, context)
    return Problem.at(mark_of(root, location), format_path(location), message, suggestion)


def _words(detail: ErrorDetails, node: Node | None, context: dict[str, typing.Any]) -> tuple[str, str | None]:
    """Message and suggestion for a value that is there but wrong."""
    match detail["type"]:
        case kind if kind == ERROR_TYPE:
            return str(context["message"]), context["suggestion"]
        case "union_tag_not_found":
            return _no_source(node)
        case "literal_error":
            return _not_a_choice(str(context["expected"]), node)
        case "greater_than_equal":
            return f"must be at least {context['ge']}, not {_say(node)}", None
        case "less_than_equal":
            return f"must be at most {context['le']}, not {_say(node)}", None
        case "too_short":
            return "the list is empty", None
        case "too_long":
            return f"more than {context['max_length']} entries", None
        case "string_too_long":
            return f"longer than {context['max_length']} characters", None
        case kind if kind in _WANTED:
            return _wrong_type(_WANTED[kind], node)
        case _:
            return detail["msg"][:1].lower() + detail["msg"][1:], None


def _wrong_type(wanted: str, node: Node | None) -> tuple[str, str | None]:
    """Another kind of value than the one that is needed."""
    suggestion = None
    if isinstance(node, Scalar):
        if wanted == "true or false":
            suggestion = _YES_NO.get(node.text.lower())
        elif wanted == "a list" and isinstance(node.value, str) and len(node.text) <= 40:
            quoted = f'"{node.text}"' if node.text.startswith("[") or "::" in node.text else node.text
            suggestion = f"[{quoted}]"
        elif wanted == "a mapping" and node.value is None:
            return "is empty; write keys below it, or remove it", None
    elif isinstance(node, Mapping) and wanted == "a list":
        return "expected a list; begin each entry with a dash", None
    return f"expected {wanted}, not {_say(node)}", suggestion


def _not_a_choice(expected: str, node: Node | None) -> tuple[str, str | None]:
    """A word, or a number, that is none of a few."""
    choices = expected.replace("'", "").replace(" or ", ", ").split(", ")
    suggestion = nearest(node.text, choices) if isinstance(node, Scalar) else None
    return f"{_say(node)} is none of {', '.join(choices)}", suggestion


def _no_source(node: Node | None) -> tuple[str, str | None]:
    """An entry of ``sources`` that names no source, or several."""
    kinds = ", ".join(SOURCE_KINDS)
    if not isinstance(node, Mapping):
        example = _as_source(node.value) if isinstance(node, Scalar) and isinstance(node.value, str) else None
        return "expected a mapping that names a source", example if example and len(example) <= 60 else None
    named = [kind for kind in SOURCE_KINDS if kind in node.entries]
    if named:
        return f"{' and '.join(named)} exclude each other", None
    options = set[str]().union(*(model.model_fields for model in SOURCE_KINDS.values()))
    near = (nearest(key, SOURCE_KINDS) for key in node.entries if key not in options)
    return f"names no source; one of these is needed: {kinds}", next((kind for kind in near if kind), None)


def _as_source(text: str) -> str:
    """A source for a text that stands alone: what a path looks like, else an NTP server."""
    looks = (("gpsd://", "gpsd"), ("/dev/pps", "pps"), ("/dev/", "nmea"), ("/", "sock"))
    return f"{{{next((kind for start, kind in looks if text.startswith(start)), 'ntp')}: {text}}}"


def _say(node: Node | None) -> str:
    """A value in words."""
    match node:
        case Scalar(value=None) | None:
            return "nothing"
        case Scalar(value=str(), text=text):
            return f'"{text}"' if len(text) <= 40 else f'"{text[:40]}…"'
        case Scalar(text=text):
            return text[:40]
        case Sequence():
            return "a list"
        case Mapping():
            return "a mapping"


def _keys_at(location: Location, root: Mapping, model: type[BaseModel]) -> list[str]:
    """The keys that a schema knows at a location."""
    kind: object = model
    node: Node | None = root
    for step in location:
        node = find(node, (step,))
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(step))
            kind = None if field is None else field.annotation
            if kind is Config.model_fields["ptp"].annotation:
                kind = Ptp if isinstance(node, Mapping) else tuple[Ptp, ...]
        elif typing.get_origin(kind) in (dict, tuple):
            kind = typing.get_args(kind)[1 if isinstance(step, str) else 0]
        else:
            return []
        if isinstance(step, int) and isinstance(node, Mapping) and location[0] == "sources":
            kind = next((source for name, source in SOURCE_KINDS.items() if name in node.entries), None)
        kind = _bare(kind)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []


def _bare(kind: object) -> object:
    """A type without ``Annotated`` and without ``| None``."""
    while typing.get_origin(kind) is typing.Annotated:
        kind = typing.get_args(kind)[0]
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        some = [part for part in typing.get_args(kind) if part is not type(None)]
        return _bare(some[0]) if len(some) == 1 else kind
    return kind
