"""What installing would change: each file compared with the machine's, and with what was written before."""

from __future__ import annotations

import enum
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from timesync.daemon.doctor.machine import SERVICE
from timesync.daemon.service.files import Item

RECORD = "/usr/local/lib/timesync/installed.json"
"""What was installed. Root's alone: what is listed there, root takes away again."""
_SCHEMA = 1


class Step(enum.Enum):
    """What is done with a file."""

    NEW = "new"
    REPLACE = "replaced"
    SAME = "unchanged"
    KEEP = "kept"
    REMOVE = "removed"


@dataclass(frozen=True, slots=True)
class Change:
    """A file and what is done with it.

    Attributes:
        path: As the machine has it.
        step: What is done.
        why: More words; empty where the step says all.
        item: What is written; None where nothing is.
        saved: What was there is kept under this name; None: it is not.
    """

    path: str
    step: Step
    why: str = ""
    item: Item | None = None
    saved: str | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """What an earlier installation did.

    Attributes:
        files: The digest of what it wrote, by path.
        folders: The directories that it made.
        disabled: The units that it disabled.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


def read_record(root: Path) -> Record | None:
    """The record; None where there is none. Raises ValueError for one that is not ours."""
    try:
        text = at(root, RECORD).read_text("utf-8")
    except FileNotFoundError:
        return None
    content = json.loads(text)
    if not isinstance(content, dict) or content.get("schema") != _SCHEMA:
        raise ValueError(f"{RECORD} is of another version of timesync")
    files, folders = content["files"], content["folders"]
    if not all(Path(path).is_absolute() and ".." not in Path(path).parts for path in (*files, *folders)):
        raise ValueError(f"{RECORD} names paths that are not absolute")
    return Record(dict(files), tuple(folders), tuple(content["disabled"]))


def write_record(record: Record) -> bytes:
    """The record as it is stored."""
    lists = {"folders": list(record.folders), "disabled": list(record.disabled)}
    content = {"schema": _SCHEMA, "files": dict(record.files), **lists}
    return json.dumps(content, indent=1).encode() + b"\n"


def digest(item: Item) -> str:
    """What tells whether a file is still as it was written."""
    return _digest(item.content, link=item.link)


def at(root: Path, path: str) -> Path:
    """A path of the machine below its root. Raises ValueError where a link on the way leads out of that root."""
    place = root / path.lstrip("/")
    if not place.parent.resolve().is_relative_to(root.resolve()):
        raise ValueError(f"{place.parent} leads out of {root}, by a symbolic link")
    return place


def plan(root: Path, items: Iterable[Item], record: Record | None, *, force: bool) -> list[Change]:
    """What to do with each file; nothing is touched.

    A file that differs from what an earlier installation wrote was changed by hand, and is kept. ``force`` replaces
    it and keeps what was there beside it.
    """
    wrote = {} if record is None else record.files
    return [_change(root, item, wrote.get(item.path), force=force) for item in items]


def _change(root: Path, item: Item, wrote: str | None, *, force: bool) -> Change:
    there = _present(at(root, item.path))
    if there is None:
        return Change(item.path, Step.NEW, item=item)
    if there == digest(item):
        return Change(item.path, Step.SAME, item=item)
    if there == wrote and not item.own:
        return Change(item.path, Step.REPLACE, "by this version's", item)
    if force:
        saved = f"{item.path}.old"
        return Change(item.path, Step.REPLACE, f"what was there is now {saved}", item, saved)
    why = "it is yours" if item.own else "it was changed, or made, by hand; --force replaces it"
    return Change(item.path, Step.KEEP, why)


def present(root: Path, items: Iterable[Item]) -> Record:
    """What a record would say of those files of an installation that are there now, and of the unit's own directory."""
    found = {item.path: there for item in items if (there := _present(at(root, item.path))) is not None}
    folders = {str(Path(path).parent) for path in found}
    # Others that end with .d, such as /etc/udev/rules.d, are the machine's.
    return Record(found, tuple(path for path in folders if path.endswith(f"/{SERVICE}.d")))


def removal(root: Path, record: Record, own: Iterable[str], *, purge: bool) -> list[Change]:
    """What taking the installation away does with each file that it wrote; ``own``: the administrator's by now."""
    kept = set(own)
    changes = []
    for path, wrote in record.files.items():
        there = _present(at(root, path))
        if there is None:
            continue
        if purge or (there == wrote and path not in kept):
            changes.append(Change(path, Step.REMOVE))
        else:
            why = "it is yours; --purge removes it" if path in kept else "changed by hand; --purge removes it"
            changes.append(Change(path, Step.KEEP, why))
    return changes


def _present(path: Path) -> str | None:
    """The digest of what is there; None for nothing. Raises OSError where it cannot be read."""
    if path.is_symlink():
        return _digest(str(path.readlink()).encode(), link=True)
    if not path.exists():
        return None
    return "directory" if path.is_dir() else _digest(path.read_bytes(), link=False)


def _digest(content: bytes, *, link: bool) -> str:
    return f"{'link' if link else 'file'}:{hashlib.sha256(content).hexdigest()}"
