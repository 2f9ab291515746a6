"""Running the machine's own administration programs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence

_TIMEOUT_S = 120.0
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def present(program: str) -> bool:
    """Whether there is a program of this name; ``/usr/sbin`` counts, which a user's search path may lack."""
    return shutil.which(program, path=_PATH) is not None


def run(command: Sequence[str]) -> tuple[int, str]:
    """Run a program to its end; gives its exit code and what it wrote, 127 when there is none or it hangs."""
    program = shutil.which(command[0], path=_PATH)
    if program is None:
        return 127, f"there is no program {command[0]}"
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program, no shell
            [program, *command[1:]],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 127, f"{command[0]} did not end within {_TIMEOUT_S:.0f} s"
    return done.returncode, done.stdout.decode(errors="replace").strip()
