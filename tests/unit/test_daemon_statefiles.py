from __future__ import annotations

import errno
import logging
import os
import stat
from pathlib import Path

import pytest

from timesync.daemon.statefiles import MAX_SIZE, StateFiles


def _names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


def test_what_is_saved_is_loaded_and_private(tmp_path: Path) -> None:
    directory = tmp_path / "a" / "state"
    files = StateFiles(directory)
    assert files.load("drift") is None
    files.save("drift", b"1")
    files.save("drift", b"two")

    assert files.load("drift") == b"two"
    assert _names(directory) == ["drift"]
    assert stat.S_IMODE((directory / "drift").stat().st_mode) == 0o600


def test_the_directory_that_is_made_tells_no_names_and_lets_the_observer_into_its_own(tmp_path: Path) -> None:
    umask = os.umask(0o077)
    try:
        StateFiles(tmp_path / "state").save("drift", b"1")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o711
    (tmp_path / "state").chmod(0o700)
    StateFiles(tmp_path / "state").save("drift", b"2")
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def test_what_a_crash_left_behind_is_replaced(tmp_path: Path) -> None:
    (tmp_path / ".drift.tmp").write_bytes(b"half")
    files = StateFiles(tmp_path)
    files.save("drift", b"whole")
    assert files.load("drift") == b"whole"
    assert _names(tmp_path) == ["drift"]


def test_a_failed_save_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = StateFiles(tmp_path)
    files.save("drift", b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        files.save("drift", b"new")
    monkeypatch.undo()
    assert files.load("drift") == b"old"
    assert _names(tmp_path) == ["drift"]


def test_to_say_that_saving_failed_is_the_callers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    blocker = tmp_path / "state"
    blocker.write_bytes(b"")  # root may write anywhere, but not below a file
    files = StateFiles(blocker)
    with caplog.at_level(logging.INFO):
        with pytest.raises(OSError, match=r"exists|Not a directory"):
            files.save("drift", b"1")
        blocker.unlink()
        files.save("drift", b"1")
    assert [] == caplog.records


def test_symbolic_links_are_not_followed(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    directory = tmp_path / "state"
    directory.mkdir()
    (directory / "drift").symlink_to(secret)
    (directory / ".other.tmp").symlink_to(secret)
    files = StateFiles(directory)

    with pytest.raises(OSError, match="symbolic links"):
        files.load("drift")
    files.save("drift", b"mine")  # the link itself is replaced
    files.save("other", b"mine")
    assert secret.read_bytes() == b"secret"
    assert files.load("drift") == b"mine"

    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(NotADirectoryError):
        StateFiles(tmp_path / "link").load("drift")


def test_what_is_not_a_file_or_is_too_long_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "long").write_bytes(bytes(MAX_SIZE + 1))
    (tmp_path / "full").write_bytes(bytes(MAX_SIZE))
    files = StateFiles(tmp_path)
    with pytest.raises(OSError, match="not a regular file"):
        files.load("pipe")
    with pytest.raises(OSError, match="too long"):
        files.load("long")
    assert files.load("full") == bytes(MAX_SIZE)


@pytest.mark.parametrize("name", ["", ".hidden", "../up", "a/b", "nul\0", "x" * 101])
def test_a_name_that_is_not_one_is_our_own_mistake(tmp_path: Path, name: str) -> None:
    files = StateFiles(tmp_path)
    with pytest.raises(ValueError, match="not the name"):
        files.load(name)
    with pytest.raises(ValueError, match="not the name"):
        files.save(name, b"")
