"""Which list of leap seconds to believe: the system's or the one that is shipped."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from pathlib import Path

from timesync.base.time import Instant, Utc
from timesync.base.utc import LeapTable, LeapTableError

SYSTEM_LISTS = (Path("/usr/share/zoneinfo/leap-seconds.list"), Path("/etc/leap-seconds.list"))
"""Where distributions and administrators keep it; either may be missing."""

MAX_SIZE = 256 * 1024
_LONG_AGO: Instant[Utc] = Instant(-(1 << 100))


def load_named_table(path: Path) -> tuple[LeapTable, str, str | None]:
    """The list that the configuration names, whatever its age: a laboratory may invent leap seconds.

    Returns the table, a sentence for the log, and a warning when the file cannot be used; the shipped list is
    used then.
    """
    try:
        table = LeapTable.parse(_read(path))
    except (OSError, LeapTableError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or error
        warning = f"leap.file {path} cannot be used ({why}): leap seconds are taken from the shipped list instead"
        table, said = load_leap_table(())
        return table, said, warning
    return table, _sentence(str(path), table), None


def load_leap_table(paths: Iterable[Path] = SYSTEM_LISTS) -> tuple[LeapTable, str]:
    """The valid list that stays valid longest, and a sentence for the log: which one, and why not the others.

    The shipped list takes part, and wins against one that is as new. A list that cannot be read or that is
    corrupt is left out, with its reason in the sentence; a missing one of ``SYSTEM_LISTS`` is not mentioned.
    """
    best = LeapTable.parse(_shipped())
    name = "the shipped list"
    ignored: list[str] = []
    for path in paths:
        try:
            table = LeapTable.parse(_read(path))
        except FileNotFoundError as error:
            if path not in SYSTEM_LISTS:
                ignored.append(f"{path}: {error.strerror}")
        except OSError as error:
            ignored.append(f"{path}: {error.strerror or error}")
        except (LeapTableError, UnicodeDecodeError) as error:
            ignored.append(f"{path}: {error}")
        else:
            if _age(table) > _age(best):
                best, name = table, str(path)
    return best, "; ".join([_sentence(name, best), *(f"ignored {reason}" for reason in ignored)])


def _sentence(name: str, table: LeapTable) -> str:
    return f"leap seconds from {name}, TAI - UTC is {table.steps[-1][1]} s at its end"


def _read(path: Path) -> str:
    with path.open("rb") as file:
        data = file.read(MAX_SIZE + 1)
    if len(data) > MAX_SIZE:
        raise LeapTableError(0, f"larger than {MAX_SIZE} octets")
    return data.decode("utf-8")


def _shipped() -> str:
    return resources.files("timesync_profiles").joinpath("leap-seconds.list").read_text("utf-8")


def _age(table: LeapTable) -> tuple[Instant[Utc], Instant[Utc]]:
    return table.expires or _LONG_AGO, table.updated or _LONG_AGO
