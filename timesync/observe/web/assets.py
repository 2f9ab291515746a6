"""The files of the page, read once and compressed once."""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import PurePosixPath
from typing import Final

TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
"""By the end of a file's name; other files are not served."""

_INDEX: Final = "index.html"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file.

    Attributes:
        content_type: Of HTTP.
        plain: As it is.
        packed: By gzip.
        etag: Changes with the content, in quotes.
    """

    content_type: str
    plain: bytes
    packed: bytes
    etag: str


def load() -> dict[str, Asset]:
    """All files of the page, by path."""
    found: dict[str, Asset] = {}
    _gather(files("timesync.observe.web") / "static", PurePosixPath("/"), found)
    found["/"] = found.pop(f"/{_INDEX}")
    return found


def _gather(folder: Traversable, at: PurePosixPath, found: dict[str, Asset]) -> None:
    for entry in folder.iterdir():
        path = at / entry.name
        if entry.is_dir():
            _gather(entry, path, found)
        elif path.suffix in TYPES:
            data = entry.read_bytes()
            etag = f'"{hashlib.sha256(data).hexdigest()[:20]}"'
            found[str(path)] = Asset(TYPES[path.suffix], data, gzip.compress(data, 9, mtime=0), etag)
