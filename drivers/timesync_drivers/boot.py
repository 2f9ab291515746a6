"""What a Raspberry Pi's firmware was told to do, in ``config.txt`` and ``cmdline.txt``; read only.

Since Debian 12 both files are in ``/boot/firmware``; those in ``/boot`` are then leftovers that nobody reads.

Lines below a filter such as ``[pi4]`` count on the boards that it names (Raspberry Pi documentation, "Conditional
filters"). A filter of one kind stands until the next of that kind, filters of different kinds count together, and
``[all]`` ends them. Models are judged here; what a monitor, a pin or a serial number decides is not.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

_MODEL = "proc/device-tree/model"
_PLACES = ("boot/firmware", "boot")

# What a board's model begins with behind "Raspberry Pi ", and the filters that name it; the first that fits counts.
_BOARDS: tuple[tuple[str, frozenset[str]], ...] = tuple(
    (begin, frozenset(names.split()))
    for begin, names in (
        ("500", "pi5 pi500"),
        ("5 ", "pi5"),
        ("Compute Module 5", "pi5 cm5"),
        ("400", "pi4 pi400"),
        ("4 ", "pi4"),
        ("Compute Module 4S", "pi4 cm4s"),
        ("Compute Module 4", "pi4 cm4"),
        ("3 Model A Plus", "pi3 pi3+"),
        ("3 Model B Plus", "pi3 pi3+"),
        ("3 ", "pi3"),
        ("Compute Module 3", "pi3"),
        ("2 ", "pi2"),
        ("Zero 2 W", "pi0 pi0w pi02"),
        ("Zero W", "pi0 pi0w"),
        ("Zero", "pi0"),
        ("Compute Module Rev", "pi1"),
        ("Model A", "pi1"),
        ("Model B", "pi1"),
    )
)
_MODEL_FILTERS = frozenset().union(*(names for _, names in _BOARDS))
_OTHER_KINDS = (
    ("EDID=", "edid"),
    ("HDMI:", "hdmi"),
    ("board-type=", "model"),
    ("0x", "serial"),
    ("tryboot", "tryboot"),
)
_GPIO = re.compile(r"(gpio[0-9]+)=[01]", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Overlay:
    """One ``dtoverlay`` line.

    Attributes:
        name: The overlay.
        line: Number of its line, from 1.
        section: The filters above it that could not be judged, such as ``gpio4=1``; ``all`` where it certainly counts.
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
        overlays: Those that are loaded, in order, and those that may be: their ``section`` says on what it depends.
        elsewhere: Overlays that are not for this board; their ``section`` is the filter that says so.
        commented: Names of overlays in lines that are commented out.
        settings: Other lines, ``enable_uart`` and the like, that certainly count; the last one of each.
    """

    overlays: tuple[Overlay, ...] = ()
    elsewhere: tuple[Overlay, ...] = ()
    commented: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)

    def overlay(self, *names: str) -> Overlay | None:
        """The first overlay of any of these names, rather one that certainly counts."""
        found = [one for one in self.overlays if one.name in names]
        return next((one for one in found if one.section == "all"), found[0] if found else None)


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


def read_config(path: Path, model: str | None = None) -> ConfigTxt:
    """What a ``config.txt`` says to a board of this model (``pi_model``). Raises OSError."""
    return parse_config(path.read_text(errors="replace"), model)


def parse_config(text: str, model: str | None = None) -> ConfigTxt:
    """Read the text of a ``config.txt``; without a model no filter for models can be judged."""
    overlays: list[Overlay] = []
    elsewhere: list[Overlay] = []
    commented: list[str] = []
    settings: dict[str, str] = {}
    filters = _Filters(model)
    scope: Overlay | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if line.startswith("#"):
            key, _, value = line.lstrip("# ").partition("=")
            if key.strip() == "dtoverlay":
                commented.append(_overlay(value, number, "all").name)
        elif line.startswith("[") and line.endswith("]"):
            filters.add(line[1:-1].strip())
        elif "=" in line:
            key, _, value = (part.strip() for part in line.partition("="))
            counts, section = filters.verdict()
            overlay = _overlay(value, number, section) if key == "dtoverlay" and value else None
            if counts is False:
                elsewhere += [] if overlay is None else [overlay]
            elif key == "dtoverlay":
                # An empty one ends the last: what follows is for the base device tree again.
                scope = overlay
                overlays += [] if overlay is None else [overlay]
            elif key == "dtparam" and scope is not None:
                if section in ("all", scope.section):
                    scope.parameters.update(_parameters(value.split(",")))
            elif counts:
                settings[key] = value
    return ConfigTxt(tuple(overlays), tuple(elsewhere), tuple(commented), settings)


class _Filters:
    """The filters in force at a line."""

    def __init__(self, model: str | None) -> None:
        self._names = _filters_of(model)
        self._standing: dict[str, tuple[bool | None, str]] = {}

    def add(self, name: str) -> None:
        """A filter: it takes the place of the last one of its kind."""
        kind = name.lower()
        if kind == "all":
            self._standing.clear()
        elif kind == "none":
            self._standing["none"] = (False, name)
        elif kind in _MODEL_FILTERS or re.fullmatch(r"(pi|cm)[0-9]\S*", kind):
            known = self._names is not None and kind in _MODEL_FILTERS
            self._standing["model"] = (kind in (self._names or ()) if known else None, name)
        else:
            pin = _GPIO.fullmatch(name)
            others = (of for begin, of in _OTHER_KINDS if kind.startswith(begin.lower()))
            self._standing[pin[1].lower() if pin else next(others, kind)] = (None, name)

    def verdict(self) -> tuple[bool | None, str]:
        """Whether a line here counts, None when that cannot be judged, and the filters that are the reason."""
        verdicts = self._standing.values()
        for counts in (False, None):
            names = [name for verdict, name in verdicts if verdict is counts]
            if names:
                return counts, "] [".join(names)
        return True, "all"


def _filters_of(model: str | None) -> frozenset[str] | None:
    """The filters for models that match; None for a model that is not known here."""
    if model is None:
        return None
    kind = model.partition("Raspberry Pi ")[2]
    return next((names for begin, names in _BOARDS if kind.startswith(begin)), None)


def _overlay(value: str, line: int, section: str) -> Overlay:
    name, *rest = value.strip().split(",")
    return Overlay(name.strip().removesuffix("-overlay"), line, section, _parameters(rest))


def _parameters(parts: list[str]) -> dict[str, str]:
    pairs = (part.partition("=") for part in parts if part.strip())
    return {key.strip(): value.strip() for key, _, value in pairs}
