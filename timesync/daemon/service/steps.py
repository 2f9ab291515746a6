"""What is done to the machine beside writing files: its user, its rights to devices, and other time daemons."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from timesync.daemon.doctor.machine import SERVICE
from timesync.daemon.service.files import rivals
from timesync_drivers import access, units

USER = "timesync"
HOME = "/var/lib/timesync"
"""The state of the daemon, and its user's home; the unit's StateDirectory."""
LOGS = "/var/log/timesync"
"""Recordings; the unit's LogsDirectory."""

_COMMENT = "Time synchronization"
_INSTANCES = ("ptp4l@*.service", "phc2sys@*.service", "ptp4l.service")
"""linuxptp's units that nothing can name in advance; they keep the sockets of PTP to themselves."""


@dataclass(frozen=True, slots=True)
class Command:
    """A program to run.

    Attributes:
        words: The program and its arguments.
        needed: The installation has failed when it fails.
    """

    words: tuple[str, ...]
    needed: bool = True

    def __str__(self) -> str:
        return " ".join(f'"{word}"' if " " in word else word for word in self.words)


@dataclass(frozen=True, slots=True)
class Target:
    """The machine that is changed.

    Attributes:
        root: Its root directory.
        present: Whether it, or for another root this machine, has a program.
        running: systemd runs, and is that of the root.
    """

    root: Path
    present: Callable[[str], bool]
    running: bool

    @property
    def elsewhere(self) -> bool:
        """It is not the machine that we run on."""
        return self.root != Path("/")


def enabled_rivals(root: Path) -> list[str]:
    """Other time daemons that start with the machine."""
    named = [unit for unit in rivals() if units.enabled_by(root, unit) is not None]
    places = (root / "etc/systemd/system").glob("*.wants")
    found = {link.name for place in places for pattern in _INSTANCES for link in place.glob(pattern)}
    return [*named, *sorted(found)]


def disable(target: Target, names: list[str]) -> Iterator[Command]:
    """Other time daemons no longer start with the machine, and end."""
    if names:
        now = ("--now",) if target.running else ()
        yield Command(("systemctl", *_systemctl_root(target), "disable", *now, *names))


def user(target: Target) -> Iterator[Command]:
    """The user of the service, in the group that may open serial ports."""
    root = (f"--root={target.root}",) if target.elsewhere else ()
    if target.present("systemd-sysusers"):
        yield Command(("systemd-sysusers", *root, "timesync.conf"))
    elif access.find_user(target.root, USER) is None:
        prefix = ("--prefix", str(target.root)) if target.elsewhere else ()
        made = ("--system", "--user-group", "--home-dir", HOME, "--no-create-home", "--shell", "/usr/sbin/nologin")
        dialout = ("--groups", "dialout") if _has_group(target.root, "dialout") else ()
        yield Command(("useradd", *prefix, *made, "--comment", _COMMENT, *dialout, USER))


def devices(target: Target) -> Iterator[Command]:
    """The drivers are loaded and the devices opened to the service; only on the machine itself."""
    if target.elsewhere:
        return
    if target.running:
        yield Command(("systemctl", "restart", "systemd-modules-load.service"), needed=False)
    if target.present("udevadm"):
        yield Command(("udevadm", "control", "--reload"), needed=False)
        yield Command(("udevadm", "trigger", "--subsystem-match=pps", "--subsystem-match=ptp"), needed=False)


def unit(target: Target, *, start: bool) -> Iterator[Command]:
    """The manager reads the unit, and with ``start`` begins it, now and with the machine."""
    if target.running:
        yield Command(("systemctl", "daemon-reload"))
    if start:
        # Without waiting: with `observe.ready: synchronized` it has started only when its clock is right.
        now = ("--now", "--no-block") if target.running else ()
        yield Command(("systemctl", *_systemctl_root(target), "enable", *now, SERVICE))


def ending(target: Target) -> Iterator[Command]:
    """Before the files go: the service ends and no longer starts."""
    if target.present("systemctl"):
        now = ("--now",) if target.running else ()
        yield Command(("systemctl", *_systemctl_root(target), "disable", *now, SERVICE), needed=False)


def after_removal(target: Target, *, purge: bool) -> Iterator[Command]:
    """After the files went: what read them reads again, and with ``purge`` the user goes."""
    if target.running:
        yield Command(("systemctl", "daemon-reload"), needed=False)
    if not target.elsewhere and target.present("udevadm"):
        yield Command(("udevadm", "control", "--reload"), needed=False)
    if purge and access.find_user(target.root, USER) is not None:
        prefix = ("--prefix", str(target.root)) if target.elsewhere else ()
        yield Command(("userdel", *prefix, USER))


def _systemctl_root(target: Target) -> tuple[str, ...]:
    return (f"--root={target.root}",) if target.elsewhere else ()


def _has_group(root: Path, name: str) -> bool:
    try:
        lines = (root / "etc/group").read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.startswith(f"{name}:") for line in lines)
