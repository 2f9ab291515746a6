"""Whether a user may open a file: by opening it as that user, where that can be done."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

READ_WRITE = os.O_RDWR
_QUIET = os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC
"""A serial line must not become our terminal, nor keep us until a modem answers."""

_PROGRAM = (
    "import os, sys\n"
    "try:\n"
    "    os.close(os.open(sys.argv[1], int(sys.argv[2])))\n"
    "except OSError as error:\n"
    "    sys.exit(error.errno)\n"
)
_TIMEOUT_S = 4.0


@dataclass(frozen=True, slots=True)
class User:
    """Who opens.

    Attributes:
        name: As in the user database.
        uid: Number of the user.
        gid: Number of its first group.
        groups: Numbers of all its groups.
    """

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def current_user() -> User:
    """Who we are."""
    import pwd

    uid = os.geteuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return User(name, uid, os.getegid(), tuple(sorted({os.getegid(), *os.getgroups()})))


def find_user(root: Path, name: str) -> User | None:
    """A user of ``/etc/passwd`` with its groups of ``/etc/group``; None when there is none."""
    for fields in _lines(root / "etc/passwd"):
        if len(fields) >= 4 and name in (fields[0], fields[2]):
            uid, gid = int(fields[2]), int(fields[3])
            members = (line for line in _lines(root / "etc/group") if len(line) >= 4)
            also = {int(line[2]) for line in members if fields[0] in line[3].split(",")}
            return User(fields[0], uid, gid, tuple(sorted({gid, *also})))
    return None


def group_name(root: Path, gid: int) -> str:
    """The group's name; its number where it has none."""
    names = (line[0] for line in _lines(root / "etc/group") if len(line) >= 3 and line[2] == str(gid))
    return next(names, str(gid))


def try_open(path: Path, user: User, flags: int = READ_WRITE) -> int:
    """0 when the user may open the file, else the errno.

    As ourselves it is opened; as somebody else a small program of that user's opens it, for which we must be root.
    Where neither can be done, owner, group and mode are judged.
    """
    if user.uid == os.geteuid():
        try:
            os.close(os.open(path, flags | _QUIET))
        except OSError as error:
            return error.errno or 0
        return 0
    if os.geteuid() == 0:
        code = _open_as(path, user, flags)
        if code is not None:
            return code
    return _judge(path, user, flags)


def may_write(directory: Path, user: User) -> bool:
    """Whether the user may make files in a directory, by owner, group and mode; as ourselves, by asking the kernel."""
    if user.uid == os.geteuid():
        return os.access(directory, os.W_OK | os.X_OK)
    try:
        status = directory.stat()
    except OSError:
        return False
    return user.uid == 0 or _granted(status, user, 3)


def _open_as(path: Path, user: User, flags: int) -> int | None:
    """The errno of the other user's program; None where it cannot be run."""
    for python in dict.fromkeys((os.path.realpath(sys.executable), "/usr/bin/python3")):
        try:
            done = subprocess.run(  # noqa: S603 - our own program, no shell
                [python, "-I", "-S", "-c", _PROGRAM, str(path), str(flags | _QUIET)],
                user=user.uid,
                group=user.gid,
                extra_groups=user.groups,
                cwd="/",
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            continue  # that user may not run this Python
        if not done.stderr and (done.returncode == 0 or done.returncode in errno.errorcode):
            return done.returncode
    return None


def _judge(path: Path, user: User, flags: int) -> int:
    try:
        status = path.stat()
    except OSError as error:
        return error.errno or 0
    if user.uid == 0:
        return 0
    wanted = {os.O_RDONLY: 4, os.O_WRONLY: 2}.get(flags & os.O_ACCMODE, 6)
    return 0 if _granted(status, user, wanted) else errno.EACCES


def _granted(status: os.stat_result, user: User, wanted: int) -> bool:
    """Whether the mode gives a user these bits (4 read, 2 write, 1 search)."""
    shift = 6 if user.uid == status.st_uid else 3 if status.st_gid in (user.gid, *user.groups) else 0
    return stat.S_IMODE(status.st_mode) >> shift & wanted == wanted


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split(":") for line in path.read_text(errors="replace").splitlines() if line]
    except OSError:
        return []
