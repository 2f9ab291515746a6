"""What a Raspberry Pi's firmware was told to do, in ``config.txt`` and ``cmdline.txt``; read only.

Since Debian 12 both files are in ``/boot/firmware``; those in ``/boot`` are then leftovers that nobody reads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

_MODEL = "proc/device-tree/model"
_PLACES = ("boot/firmware", "boot")


@dataclass(frozen=True, slots=True)
class Overlay:
    """One ``dtoverlay`` line.

    Attributes:
        name: The overlay.
        line: Number of its line, from 1.
        section: The filter above it, such as ``pi4``; ``all`` where there is none.
        parameters: What is given behind its name and in ``dtparam`` lines below it.
    """

    name: str
    line: int
    section: str
    parameters: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ConfigTxt:
    """What ``config.txt`` says.

    Attributes:
        overlays: Those that are loaded, in order.
        commented: Names of overlays in lines that are commented out.
        settings: Other lines, ``enable_uart`` and the like; the last one counts.
    """

    overlays: tuple[Overlay, ...] = ()
    commented: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)

    def overlay(self, *names: str) -> Overlay | None:
        """The first overlay of any of these names."""
        return next((one for one in self.overlays if one.name in names), None)


def pi_model(root: Path) -> str | None:
    """``Raspberry Pi 4 Model B Rev 1.4``; None on any other machine."""
    try:
        model = (root / _MODEL).read_bytes().rstrip(b"\0").decode(errors="replace")
    except OSError:
        return None
    return model if "Raspberry Pi" in model else None


def boot_file(root: Path, name: str) -> Path | None:
    """The file that the firmware reads; None where there is none."""
    places = (root / place / name for place in _PLACES)
    return next((path for path in places if path.is_file()), None)


def stale_file(root: Path, name: str) -> Path | None:
    """A file of that name in ``/boot`` that nobody reads any more."""
    used, old = boot_file(root, name), root / "boot" / name
    return old if used not in (None, old) and old.is_file() else None


def read_config(path: Path) -> ConfigTxt:
    """What a ``config.txt`` says. Raises OSError."""
    return parse_config(path.read_text(errors="replace"))


def parse_config(text: str) -> ConfigTxt:
    """Read the text of a ``config.txt``."""
    overlays: list[Overlay] = []
    commented: list[str] = []
    settings: dict[str, str] = {}
    section = "all"
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip() == "dtoverlay":
                commented.append(_overlay(value, number, section).name)
        elif line.startswith("[") and line.endswith("]"):
            section = line[1:-1].strip().lower()
        elif "=" in line:
            key, _, value = (part.strip() for part in line.partition("="))
            if key == "dtoverlay" and value:
                overlays.append(_overlay(value, number, section))
            elif key == "dtparam" and overlays and overlays[-1].name != "":
                overlays[-1].parameters.update(_parameters(value.split(",")))
            else:
                settings[key] = value
    return ConfigTxt(tuple(overlays), tuple(commented), settings)


def _overlay(value: str, line: int, section: str) -> Overlay:
    name, *rest = value.strip().split(",")
    return Overlay(name.strip().removesuffix("-overlay"), line, section, _parameters(rest))


def _parameters(parts: list[str]) -> dict[str, str]:
    pairs = (part.partition("=") for part in parts if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}
