"""Processes of ours on a kernel that lacks something."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_PROGRAM = """#!{interpreter}
import runpy, sys
import timesync_drivers.confine
timesync_drivers.confine.landlock = lambda: 0
del sys.argv[: sys.argv.index("-m") + 1]
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


def without_landlock(monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    """Processes that are started from now on find no Landlock."""
    program = place / "python"
    program.write_text(_PROGRAM.format(interpreter=sys.executable))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
