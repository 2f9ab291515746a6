"""Other programs' configurations, imported and checked by our own commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from interop_support import PEERS, our_environment


def imported(file: Path, out: Path) -> str:
    """What `timesync import` writes of a file, after `timesync check` has found no error in it."""
    command = [sys.executable, "-m", "timesync.cli.main"]
    for arguments in (["import", file, "--root", PEERS / "root", "-i", "eth0", "-o", out], ["check", out]):
        done = subprocess.run(
            [*command, *map(str, arguments)], env=our_environment(), capture_output=True, text=True, check=False
        )
        assert 0 == done.returncode, f"{file}: {done.stdout}{done.stderr}"
    return out.read_text()
