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
    said = f"leap seconds from {name}, TAI - UTC is {best.steps[-1][1]} s at its end"
    return best, "; ".join([said, *(f"ignored {reason}" for reason in ignored)])


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
