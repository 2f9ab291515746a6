"""Whether the service could run a program: it sees no home directories, no ``/tmp``, and is another user."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

_HIDDEN = ("/home", "/root", "/run/user", "/tmp", "/var/tmp")  # noqa: S108 - these are those that it does not see
"""What ProtectHome and PrivateTmp of the unit hide."""


class UnfitError(Exception):
    """The service could not run it; the message says why and what to do."""


def own_program(called: Path, python: Path) -> Path:
    """The command that runs: as it was called, or where we run by ``python -m``, the one beside the interpreter."""
    program = called if called.name == "timesync" else python.parent / "timesync"
    return program.absolute()


def check(program: Path, root: Path = Path("/")) -> None:
    """Raises UnfitError unless the service's user could run the program of this path below the root."""
    place = root / str(program).lstrip("/")
    if not place.is_file():
        raise UnfitError(f"there is no {place}; install timesync there first, or name its command with --program")
    for part in _needed(place, root):
        real = part.resolve()
        if root != Path("/") and not real.is_relative_to(root.resolve()):
            continue  # an absolute link in another root means a file there, not here
        inside = Path("/") / real.relative_to(root.resolve())
        hidden = next((folder for folder in _HIDDEN if inside.is_relative_to(folder)), None)
        if hidden is not None:
            raise UnfitError(
                f"{inside} is below {hidden}, which the service does not see; install timesync elsewhere: "
                "python3 -m venv /opt/timesync && /opt/timesync/bin/pip install ., in the checkout"
            )
        below = (one for one in (real, *real.parents) if one.is_relative_to(root.resolve()))
        closed = next((one for one in below if not one.stat().st_mode & stat.S_IXOTH), None)
        if closed is not None:
            raise UnfitError(f"other users may not enter {closed}, and the service is one; chmod o+rx {closed}")


def doubts(program: Path, root: Path = Path("/")) -> Iterator[str]:
    """What is unwise: who may change the program, may change the clock."""
    place = root / str(program).lstrip("/")
    for part in _needed(place, root):
        real = part.resolve()
        if not real.exists():
            continue
        owner = real.stat()
        if owner.st_uid != 0 or owner.st_mode & stat.S_IWOTH:
            yield f"{real} can be changed by others than root, and with it what the service does"


def _needed(place: Path, root: Path) -> Iterator[Path]:
    """The program, and the interpreter that its first line names."""
    yield place
    with place.open("rb") as stream:
        line = stream.readline(512)
    if line.startswith(b"#!/"):  # as pip writes it
        interpreter = Path(line[2:].split()[0].decode(errors="replace"))
        # pip writes long paths as a script for sh, whose next line has the interpreter.
        if interpreter.name != "sh":
            yield root / str(interpreter).lstrip("/")
