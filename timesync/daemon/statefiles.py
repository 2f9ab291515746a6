"""The state directory: small files that outlive the daemon, each replaced whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MAX_SIZE = 1 << 20
_NAME_LENGTH = 100


class StateFiles:
    """Files in one directory, private to the daemon's user.

    A symbolic link in place of the directory or of a file is refused: somebody else who may write there
    could otherwise have us overwrite or read any file.
    """

    def __init__(self, directory: Path) -> None:
        """The directory is made, with mode 0711, when the first file is saved: the observer has a directory in it."""
        self._directory = directory

    def load(self, name: str) -> bytes | None:
        """A file's contents; None when it does not exist. Raises OSError, also for one over 1 MiB."""
        _check_name(name)
        try:
            with self._open_directory() as folder:
                # Non-blocking, because a FIFO of that name would otherwise hold the daemon up for good.
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
                file = os.open(name, flags, dir_fd=folder)
        except FileNotFoundError:
            return None
        with os.fdopen(file, "rb") as stream:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "not a regular file", str(self._directory / name))
            data = stream.read(MAX_SIZE + 1)
        if len(data) > MAX_SIZE:
            raise OSError(errno.EFBIG, "state file too long", str(self._directory / name))
        return data

    def save(self, name: str, data: bytes) -> None:
        """Replace a file, mode 0600. Raises OSError; to say so is the caller's."""
        _check_name(name)
        if not self._directory.is_dir():
            self._directory.mkdir(parents=True)
            self._directory.chmod(0o711)
        # One fixed name, since only one daemon writes here: a crash leaves one file and not ever more of
        # them.
        draft = f".{name}.tmp"
        with self._open_directory() as folder:
            _unlink(draft, folder)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            file = os.open(draft, flags, 0o600, dir_fd=folder)
            try:
                with os.fdopen(file, "wb") as stream:
                    stream.write(data)
                    stream.flush()
                    os.fsync(file)
                os.rename(draft, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError:
                _unlink(draft, folder)
                raise
            os.fsync(folder)

    @contextmanager
    def _open_directory(self) -> Iterator[int]:
        folder = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            yield folder
        finally:
            os.close(folder)


def _unlink(name: str, folder: int) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


def _check_name(name: str) -> None:
    if not name or name.startswith(".") or "/" in name or "\0" in name or len(name) > _NAME_LENGTH:
        raise ValueError(f"not the name of a state file: {name!r}")
