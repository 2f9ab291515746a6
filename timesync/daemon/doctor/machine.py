"""The machine that is looked at, and who will run the daemon on it."""

from __future__ import annotations

import contextlib
import os
import pwd
from dataclasses import dataclass, field
from pathlib import Path

from timesync_drivers import access, units
from timesync_drivers.access import User

SERVICE = "timesync.service"
"""The unit whose user is asked for."""


@dataclass(frozen=True, slots=True)
class Machine:
    """Where to look.

    Attributes:
        root: The root of the file system; another one than ``/`` in tests.
        user: Who the daemon will run as.
        unit: It is the unit that says so; else it is whoever calls.
        pid: Our own process, which is left out.
        absent: The user that the unit names and that does not exist; nothing can be said of its permissions then, and
            ``user`` is whoever calls.
    """

    root: Path = Path("/")
    user: User = field(default_factory=access.current_user)
    unit: bool = False
    pid: int = field(default_factory=os.getpid)
    absent: str | None = None

    @property
    def proc(self) -> Path:
        """``/proc``."""
        return self.root / "proc"

    def at(self, path: str) -> Path:
        """An absolute path below the root."""
        return self.root / path.lstrip("/")

    def shown(self, path: Path) -> str:
        """A path as the machine itself has it."""
        return f"/{path.relative_to(self.root)}" if path.is_relative_to(self.root) else str(path)


def this_machine(root: Path = Path("/")) -> Machine:
    """The machine under us; the daemon runs as its unit says, or as we do."""
    if units.fragment(root, SERVICE) is None:
        return Machine(root)
    name = units.settings(root, SERVICE).get("User") or "root"
    user = access.find_user(root, name) or (_elsewhere(name) if root == Path("/") else None)
    return Machine(root, unit=True, absent=name) if user is None else Machine(root, user, unit=True)


def _elsewhere(name: str) -> User | None:
    """A user of this machine who is not in ``/etc/passwd``, but in another of its databases (nsswitch.conf)."""
    with contextlib.suppress(KeyError):
        entry = pwd.getpwnam(name)
        return User(name, entry.pw_uid, entry.pw_gid, tuple(sorted(os.getgrouplist(name, entry.pw_gid))))
    return None
