"""Carrying a plan out: files are written whole or not at all, and what goes leaves no empty directory of ours."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from timesync.config.load import DEFAULT_FILE
from timesync.daemon.service.files import Item
from timesync.daemon.service.plan import RECORD, Change, Record, Step, at, digest, write_record
from timesync.daemon.service.steps import HOME, LOGS, USER, Command
from timesync_drivers import access

Run = Callable[[Sequence[str]], tuple[int, str]]
"""Runs a program; gives its exit code and what it wrote."""
_CONFIGURATION = str(Path(DEFAULT_FILE).parent)


class FailedError(Exception):
    """A program that was needed failed; the message says which, and what it wrote."""


def write(root: Path, changes: Iterable[Change]) -> list[str]:
    """Write what is new or replaced; gives the directories that were made for it.

    Raises OSError, or ValueError for a path that leads out of the root.
    """
    made = []
    for change in changes:
        if change.step in (Step.NEW, Step.REPLACE) and change.item is not None:
            if change.saved is not None:
                at(root, change.path).replace(at(root, change.saved))
            made += _put(root, change.item)
    return made


def _put(root: Path, item: Item) -> list[str]:
    """One file, readable by all, in one step; gives the directories that were made for it."""
    folder = at(root, item.path).parent
    made = [f"/{path.relative_to(root)}" for path in _make(folder)]
    place = at(root, item.path)
    draft = folder / f".{place.name}.new"
    draft.unlink(missing_ok=True)
    if item.link:
        draft.symlink_to(item.content.decode())
    else:
        with draft.open("xb") as stream:
            stream.write(item.content)
            stream.flush()
            os.fsync(stream.fileno())
        draft.chmod(0o644)
    draft.replace(place)
    return made


def remember(
    root: Path, changes: Iterable[Change], made: Iterable[str], before: Record | None, disabled: Iterable[str]
) -> None:
    """Write the record; what an earlier installation wrote and this one does not have stays listed."""
    old = Record() if before is None else before
    files = dict(old.files)
    # Also what was there already in the same words: an installation by hand, or one that was cut short.
    files |= {change.path: digest(change.item) for change in changes if change.item is not None}
    its_own = (f"/{path.relative_to(root)}" for path in _make(at(root, RECORD).parent))
    folders = tuple(dict.fromkeys((*old.folders, *made, *its_own)))
    record = Record(files, folders, tuple(dict.fromkeys((*old.disabled, *disabled))))
    _put(root, Item(RECORD, write_record(record)))


def own_state(root: Path) -> None:
    """The directory of the daemon's state, closed to others; the unit makes it too, where there is no user yet."""
    user = access.find_user(root, USER)
    if user is not None:
        place = at(root, HOME)
        _make(place.parent)
        place.mkdir(mode=0o750, exist_ok=True)
        os.chown(place, user.uid, user.gid, follow_symlinks=False)


def remove(root: Path, changes: Iterable[Change], record: Record, *, purge: bool) -> None:
    """Remove files, the record and directories of ours that are empty then, with ``purge`` all of the daemon's."""
    for change in changes:
        if change.step is Step.REMOVE:
            at(root, change.path).unlink(missing_ok=True)
    at(root, RECORD).unlink(missing_ok=True)
    for path in folders_to_purge(root) if purge else ():
        shutil.rmtree(at(root, path))
    for path in sorted(record.folders, reverse=True):  # what is inside another one before that
        place = at(root, path)
        if place.is_dir() and not any(place.iterdir()):
            place.rmdir()


def folders_to_purge(root: Path) -> list[str]:
    """The directories of configuration, state and logs that are there; not where somebody put a link instead."""
    places = ((path, at(root, path)) for path in (_CONFIGURATION, HOME, LOGS))
    return [path for path, place in places if place.is_dir() and not place.is_symlink()]


def run_all(commands: Iterable[Command], run: Run, told: Callable[[Command, str], None]) -> None:
    """Run programs in turn and tell of each, with what is wrong with it.

    Raises FailedError where one that is needed fails.
    """
    for command in commands:
        code, words = run(command.words)
        told(command, "" if code == 0 else words or f"exit code {code}")
        if code != 0 and command.needed:
            raise FailedError(f"{command}: {words or f'exit code {code}'}")


def _make(folder: Path) -> list[Path]:
    """A directory for all to read, whatever the caller's umask; gives those that were made."""
    if folder.is_dir():
        return []
    made = _make(folder.parent)
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    return [*made, folder]
