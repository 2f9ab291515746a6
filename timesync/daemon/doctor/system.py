"""Files, packages and the rest of the machine."""

from __future__ import annotations

import importlib.util
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from timesync.base.time import Instant, Utc
from timesync.config.schema import Config
from timesync.config.sources import NmeaSource, ShmSource, SockSource
from timesync.daemon.doctor import words
from timesync.daemon.doctor.case import Case
from timesync.daemon.doctor.check import Cause, Finding, fail, nobody, ok, warn
from timesync.daemon.doctor.machine import SERVICE
from timesync.runtime.devices import LinuxDevices
from timesync_drivers import access, confine, proc, units

_YES = ("yes", "true", "on", "1")
"""What systemd takes for a yes (systemd.syntax(7))."""
_SYSUSERS = ("etc/sysusers.d", "run/sysusers.d", "usr/local/lib/sysusers.d", "usr/lib/sysusers.d")
_SHM_KEY = 0x4E545030
"""``NTP0``: the key of unit 0 (ntpd's driver 28)."""
_PRIVATE_UNITS = 2
"""Segments of these units are root's alone."""


def packages(config: Config, installed: Callable[[str], bool] | None = None) -> Finding:
    """Whether the Python packages that the configuration needs are there."""
    there = installed or (lambda name: importlib.util.find_spec(name) is not None)
    needs: dict[str, tuple[str, str]] = {}
    if any(isinstance(source, NmeaSource) for source in config.sources):
        needs["serial"] = ("pyserial", "serial receivers")
    if any(key.algorithm.startswith("AES") for key in config.keys.values()):
        needs["cryptography"] = ("cryptography", "keys of AES-CMAC")
    missing = [pair for module, pair in needs.items() if not there(module)]
    if not missing:
        return ok("TS-CFG-002", "Python packages", ", ".join(name for name, _ in needs.values()) or "none is needed")
    evidence = "; ".join(f"{name} is missing, and with it {what}" for name, what in missing)
    return fail("TS-CFG-002", "Python packages", evidence, f"pip install {' '.join(name for name, _ in missing)}")


def user(case: Case) -> Iterator[Finding]:
    """Whether there is the user whom the unit names; nothing without a unit."""
    machine = case.machine
    if not machine.unit:
        return
    subject, name = f"user {machine.user.name if machine.absent is None else machine.absent}", machine.absent
    if name is None:
        yield ok("TS-CFG-003", subject, f"User= of {SERVICE}; number {machine.user.uid}")
    elif units.settings(machine.root, SERVICE).get("DynamicUser", "").lower() in _YES:
        meaning = "systemd makes this user when the service starts, so its permissions cannot be looked at before."
        yield ok("TS-CFG-003", subject, f"DynamicUser= of {SERVICE}", meaning)
    else:
        evidence = f"User={name} in {SERVICE}, and there is no such user"
        listed = any((machine.root / place / f"{name}.conf").is_file() for place in _SYSUSERS)
        made = f"sudo useradd --system --user-group --no-create-home --shell /usr/sbin/nologin {name}"
        yield fail("TS-CFG-003", subject, evidence, "sudo systemd-sysusers" if listed else made)


def landlock(case: Case, version: Callable[[], int] = confine.landlock) -> Iterator[Finding]:
    """Whether the processes that meet strangers can be kept from files; nothing where there is none."""
    serve, observe = case.config.serve, case.config.observe
    if (serve.ntp is None or serve.ntp.workers == 0) and serve.nts is None and not observe.watched:
        return
    found = version()
    if found:
        yield ok("TS-SYS-006", "Landlock", f"version {found} of its interface")
    else:
        remedy = "add landlock to lsm= of the kernel's command line, or use Linux 5.13 or newer that has it"
        yield warn("TS-SYS-006", "Landlock", f"Linux {platform.release()} has none", remedy)


def leap(case: Case, now: Instant[Utc] | None = None) -> Finding:
    """Whether the list of leap seconds is still valid."""
    utc: Instant[Utc] = Instant.from_ns(time.clock_gettime_ns(time.CLOCK_REALTIME)) if now is None else now
    trouble = case.table.expiry_warning(utc)
    if trouble is not None:
        remedy = "sudo apt-get install --only-upgrade tzdata; or name a newer file in leap.file"
        return warn("TS-SYS-001", "leap seconds", f"{case.leap_said}; {trouble}", remedy)
    expires = case.table.expires
    until = "" if expires is None else f"; valid until {words.date(expires)[:10]}"
    return ok("TS-SYS-001", "leap seconds", f"{case.leap_said}{until}")


def directories(case: Case) -> Iterator[Finding]:
    """The state directory and that of the control socket."""
    observe = case.config.observe
    # The daemon runs without either of them, and says what is missing.
    yield _writable(case, "TS-SYS-002", observe.state, needed=False)
    if case.running is None:
        yield _writable(case, "TS-SYS-003", str(Path(observe.control).parent), needed=False)
    else:
        yield ok("TS-SYS-003", observe.control, "the running daemon answers on it")


def _writable(case: Case, check: str, directory: str, *, needed: bool) -> Finding:
    machine, user = case.machine, case.machine.user
    if machine.absent is not None:
        return nobody(check, directory, machine.absent)
    path = Path(directory)
    while not machine.at(str(path)).exists() and path != path.parent:
        path = path.parent
    if not machine.at(str(path)).is_dir():
        remedy = f"name another one, or move it away: sudo mv {path} {path}.old"
        return fail(check, directory, f"{path} is no directory", remedy)
    if access.may_write(machine.at(str(path)), user):
        made = "" if str(path) == directory else f", and {directory} is made in it"
        return ok(check, directory, f"user {user.name} may write in {path}{made}")
    status = machine.at(str(path)).stat()
    owner = f"owner {status.st_uid}, group {access.group_name(machine.root, status.st_gid)}"
    evidence = f"user {user.name} may not write in {path} ({owner}, {words.mode(status.st_mode)})"
    remedy = f"sudo install -d -o {user.name} {directory}"
    if needed:
        return fail(check, directory, evidence, remedy, cause=Cause.PERMISSION)
    return warn(check, directory, evidence, remedy)


def exchanges(case: Case) -> Iterator[Finding]:
    """Sockets and segments that are shared with other programs."""
    config = case.config
    for source in config.sources:
        if isinstance(source, SockSource):
            yield _writable(case, "TS-SYS-004", str(Path(source.sock).parent), needed=True)
        elif isinstance(source, ShmSource):
            yield _segment(case, source.shm)
    if config.serve.shm is not None:
        yield _segment(case, config.serve.shm, ours=True)
    if config.serve.sock is not None:
        there = case.machine.at(config.serve.sock).is_socket()
        if there:
            yield ok("TS-SYS-004", config.serve.sock, "the socket is there")
        else:
            remedy = f"in chrony.conf: refclock SOCK {config.serve.sock} poll 0 filter 1; then restart chronyd"
            yield warn("TS-SYS-004", config.serve.sock, "there is no such socket: chronyd makes it", remedy)


def _segment(case: Case, unit: int, *, ours: bool = False) -> Finding:
    """A segment of shared memory; ``ours``: it is we who write it."""
    subject, user = f"{'serve.shm' if ours else 'shm'} {unit}", case.machine.user
    if case.machine.absent is not None:
        return nobody("TS-SYS-004", subject, case.machine.absent)
    found = proc.shared_memory(case.machine.proc).get(_SHM_KEY + unit)
    if found is None:
        if unit < _PRIVATE_UNITS and user.uid != 0:
            remedy = f"use a unit from {_PRIVATE_UNITS} on, or run both programs as root"
            meaning = "Segments of the first two units belong to root, and the service does not run as root."
            return fail("TS-SYS-004", subject, "no segment yet", remedy, meaning, Cause.PERMISSION)
        return ok("TS-SYS-004", subject, "no segment yet", "The first of the two programs to start makes it.")
    mode, owner = found
    evidence = f"key {_SHM_KEY + unit:#x}, mode {mode:04o}, owner {owner}"
    if user.uid in (0, owner) or mode & 0o006 == 0o006:
        return ok("TS-SYS-004", subject, evidence)
    if ours:
        remedy = f"sudo ipcrm -M {_SHM_KEY + unit:#x}, when nobody uses it; or write another unit in serve.shm"
    else:
        remedy = f"start the other program as user {user.name}, or use a unit from {_PRIVATE_UNITS} on"
    return fail("TS-SYS-004", subject, evidence, remedy, cause=Cause.PERMISSION)


def thermometers(case: Case) -> Iterator[Finding]:
    """The thermometers of clocks."""
    for name, clock in case.config.clocks.items():
        if clock.thermometer is None:
            continue
        try:
            celsius = LinuxDevices({}, case.table).temperature(str(case.machine.at(clock.thermometer)))
        except OSError as error:
            remedy = "grep . /sys/class/hwmon/hwmon*/temp*_input, and name one that answers"
            evidence = f"{clock.thermometer}: {error.strerror or error}"
            yield fail("TS-SYS-005", f"clock {name}", evidence, remedy, cause=Cause.MISSING)
        else:
            yield ok("TS-SYS-005", f"clock {name}", f"{clock.thermometer}: {celsius:.1f} °C")
