"""What this process takes of the machine."""

from __future__ import annotations

import resource
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Usage:
    """What a process takes.

    Attributes:
        cpu_s: Time of processors so far, in user and kernel mode, seconds.
        resident_bytes: Memory that it has now; None where the kernel does not tell.
    """

    cpu_s: float
    resident_bytes: int | None


def usage(proc: Path = Path("/proc")) -> Usage:
    """Of this process, now."""
    spent = resource.getrusage(resource.RUSAGE_SELF)
    return Usage(spent.ru_utime + spent.ru_stime, _resident(proc))


def _resident(proc: Path) -> int | None:
    try:
        # Pages: size, resident, shared, ... (proc(5)).
        return int((proc / "self" / "statm").read_bytes().split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return None
