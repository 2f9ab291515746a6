"""How the command was called, so that advice can be typed as it stands."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

_NAME = "timesync"


def own_command() -> str:
    """What to type for ``timesync`` in the present directory: ``bin/timesync`` in a checkout, for example."""
    return command_for(Path(sys.argv[0]), Path.cwd(), shutil.which(_NAME))


def command_for(called: Path, here: Path, found: str | None) -> str:
    """What to type.

    Args:
        called: The program that runs, as it was started.
        here: The present directory.
        found: What the shell would find under the bare name; None for nothing.
    """
    if called.name != _NAME:
        return _NAME  # by `python -m`, or from another program
    program = here / called
    if found is not None and Path(found) == program:
        return _NAME
    # A checkout has its environment in .venv, and bin/timesync that calls it.
    if program.parent.name == "bin" and program.parent.parent.name == ".venv":
        front = program.parent.parent.parent / "bin" / _NAME
        if front.is_file():
            program = front
    near = os.path.relpath(program, here)
    if near.startswith(os.pardir):
        near = str(program)
    return shlex.quote(near if os.sep in near else f".{os.sep}{near}")
