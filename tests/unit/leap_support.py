"""Lists of leap seconds with a hash that is right."""

from __future__ import annotations

import hashlib
from pathlib import Path

SHIPPED_EXPIRES_NTP = 4_007_404_800
"""2026-12-28, from the comment in the shipped list."""


def write(path: Path, expires: int) -> Path:
    data = [(2_272_060_800, 10), (2_287_785_600, 11)]
    hashed = f"{expires}" + "".join(f"{when}{offset}" for when, offset in data)
    digest = hashlib.sha1(hashed.encode(), usedforsecurity=False).hexdigest()
    words = " ".join(digest[i : i + 8] for i in range(0, 40, 8))
    rows = "".join(f"{when} {offset}\n" for when, offset in data)
    path.write_text(f"#@ {expires}\n{rows}#h {words}\n")
    return path
