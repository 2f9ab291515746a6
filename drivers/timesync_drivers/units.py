"""systemd's units as their files show them: what starts with the machine, and as whom; read only, no manager asked."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_FRAGMENTS = (
    "etc/systemd/system", "run/systemd/system", "run/systemd/generator", "usr/local/lib/systemd/system",
    "usr/lib/systemd/system", "lib/systemd/system",
)  # fmt: skip
"""Where units are, the first one found counts (systemd.unit(5))."""
_WANTS = ("etc/systemd/system", "run/systemd/system", "run/systemd/generator", "run/systemd/generator.late")


def masked(root: Path, unit: str) -> bool:
    """Whether it is a link to /dev/null, so that nothing starts it."""
    return any(_link(root / place / unit) == "/dev/null" for place in _FRAGMENTS[:2])


def fragment(root: Path, unit: str) -> Path | None:
    """The unit's file; None where there is no such unit."""
    places = (root / place / unit for place in _FRAGMENTS)
    return next((path for path in places if path.is_file()), None)


def enabled_by(root: Path, unit: str) -> Path | None:
    """The link by which it starts with the machine; None when it does not, or is masked."""
    if masked(root, unit):
        return None
    for place in _WANTS:
        for kind in ("wants", "requires"):
            for directory in sorted((root / place).glob(f"*.{kind}")):
                if (directory / unit).is_symlink():
                    return directory / unit
    return None


def settings(root: Path, unit: str, section: str = "Service") -> dict[str, str]:
    """The keys of one section, drop-ins over the file; of a key given several times the last one."""
    found: dict[str, str] = {}
    for path in _texts(root, unit):
        try:
            lines = path.read_text(errors="replace").splitlines()
        except OSError:
            continue
        current = ""
        for line in (raw.strip() for raw in lines):
            if line.startswith("[") and line.endswith("]"):
                current = line[1:-1]
            elif current == section and "=" in line and not line.startswith(("#", ";")):
                key, _, value = line.partition("=")
                found[key.strip()] = value.strip()
    return found


def _texts(root: Path, unit: str) -> Iterator[Path]:
    main = fragment(root, unit)
    if main is not None:
        yield main
    drop_ins: dict[str, Path] = {}
    for place in reversed(_FRAGMENTS):
        drop_ins |= {path.name: path for path in (root / place / f"{unit}.d").glob("*.conf")}
    yield from (drop_ins[name] for name in sorted(drop_ins))


def _link(path: Path) -> str:
    try:
        return str(path.readlink())
    except OSError:
        return ""
