"""Facts about the machine: other programs that steer its clock, and whether it was suspended."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

# The kernel cuts the name of a process off after 15 characters.
_COMM_LENGTH = 15
_STEERING = {
    name[:_COMM_LENGTH]: name
    for name in (
        "chronyd", "ntpd", "ntp-daemon", "ntpd-rs", "openntpd", "phc2sys", "ptp4l", "ptpd", "ptpd2",
        "systemd-timesyncd", "timemaster",
    )
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TimeDaemon:
    """A running program that may steer the system clock.

    Attributes:
        name: As its users know it.
        pid: Its process.
    """

    name: str
    pid: int

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


def find_time_daemons(proc: Path = Path("/proc"), *, own_pid: int) -> list[TimeDaemon]:
    """The programs running now that steer the system clock, by name; blind where ``/proc`` hides them."""
    found = []
    for directory in proc.glob("[0-9]*"):
        pid = int(directory.name)
        if pid == own_pid:
            continue
        try:
            name = _STEERING.get((directory / "comm").read_text(errors="replace").strip())
            if name is None:
                continue
            arguments = (directory / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue  # it has just ended
        if name == "chronyd" and "-x" in arguments:  # it only measures
            continue
        # OpenNTPD is called ntpd as well, but writes what each process does into its command line.
        if name == "ntpd" and arguments[0].startswith("ntpd:"):
            name = "openntpd"
        found.append(TimeDaemon(name, pid))
    return sorted(found, key=lambda daemon: (daemon.name, daemon.pid))


def suspended_ns() -> int:
    """How long the machine has slept since it was started; it only grows."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
