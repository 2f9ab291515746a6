"""What the service is made of: every file with its place and content, from the one source that is ``config/``."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from timesync.config.load import DEFAULT_FILE
from timesync.daemon.doctor.machine import SERVICE

COMMAND = "/usr/local/bin/timesync"
"""What the unit starts, as it is in ``config/``."""
VENDOR_COMMAND = "/usr/bin/timesync"
CONFIGURATION = "ntp-client.yaml"
"""The shipped configuration that a machine begins with."""
_ALONE = f"{SERVICE}.d/alone.conf"


class Layout(enum.Enum):
    """Whose directories: the administrator's (``/etc``, ``/usr/local``), or those of a distribution's packages."""

    LOCAL = "local"
    VENDOR = "vendor"


@dataclass(frozen=True, slots=True)
class Item:
    """One file of the service.

    Attributes:
        path: Where it goes; absolute, as the machine has it.
        content: What is in it; for a link, what it points at.
        link: It is a symbolic link.
        own: The administrator's from then on: kept as it is when it is there.
    """

    path: str
    content: bytes
    link: bool = False
    own: bool = False


def shipped() -> Traversable:
    """The folder of the shipped files: inside the installed package, or ``config/`` of a checkout."""
    inside = resources.files("timesync").joinpath("shipped")
    return inside if inside.is_dir() else Path(__file__).parents[3] / "config"


def rivals() -> tuple[str, ...]:
    """The units that exclude ours, as the shipped drop-in names them."""
    text = shipped().joinpath("systemd", _ALONE).read_text("ascii")
    return tuple(name for line in text.splitlines() if line.startswith("Conflicts=") for name in line[10:].split())


def items(
    layout: Layout, manual: Mapping[str, str], completions: Mapping[str, str], configuration: bytes | None = None
) -> list[Item]:
    """Every file, in the order in which they are told of.

    Args:
        layout: Whose directories.
        manual: Pages by their file's name, such as ``timesync.1``.
        completions: Scripts by the name of their shell: bash, zsh, fish.
        configuration: What the machine begins with; None for the shipped one of an NTP client.
    """
    local = layout is Layout.LOCAL
    system, share = ("/etc", "/usr/local/share") if local else ("/usr/lib", "/usr/share")
    shells = {
        "bash": "bash-completion/completions/timesync",
        "zsh": f"zsh/{'site-functions' if local else 'vendor-completions'}/_timesync",
        "fish": "fish/vendor_completions.d/timesync.fish",
    }
    command = (COMMAND if local else VENDOR_COMMAND).encode()
    service = _read("systemd", SERVICE).replace(COMMAND.encode(), command)
    begun_with = _read(CONFIGURATION) if configuration is None else configuration
    return [
        Item(DEFAULT_FILE, begun_with, own=True),
        Item(f"{system}/systemd/system/{SERVICE}", service),
        Item(f"{system}/systemd/system/{_ALONE}", _read("systemd", _ALONE)),
        Item(f"{system}/udev/rules.d/60-timesync.rules", _read("udev", "60-timesync.rules")),
        Item(f"{system}/sysusers.d/timesync.conf", _read("sysusers.d", "timesync.conf")),
        Item(f"{system}/modules-load.d/timesync.conf", _read("modules-load.d", "timesync.conf")),
        *(Item(f"{share}/man/man{name[-1]}/{name}", text.encode()) for name, text in manual.items()),
        *(Item(f"{share}/{shells[shell]}", text.encode()) for shell, text in completions.items()),
    ]


def _read(*names: str) -> bytes:
    return shipped().joinpath(*names).read_bytes()
