"""The type checker keeps the scales of time apart."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
SNIPPET = """\
from timesync.base.ids import ClockId, SourceId
from timesync.base.time import Duration, Instant, Mono, Tai, Utc

tai: Instant[Tai] = Instant(1)
utc: Instant[Utc] = Instant(1)
mono: Instant[Mono] = Instant(1)
good: Duration = tai - tai
also_good: Instant[Tai] = tai + good
tai - utc
mono - tai
wrong: Instant[Utc] = tai + good
tai < utc
tai + tai
source: SourceId = ClockId("eth0")
"""
FIRST_WRONG = 9


def test_mixing_scales_is_a_type_error(tmp_path: Path) -> None:
    snippet = tmp_path / "snippet.py"
    snippet.write_text(SNIPPET)
    # Without the project's plugins and packages; a cache of its own, as other tests may run mypy as well.
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--no-error-summary"]
    result = subprocess.run(
        [*command, f"--cache-dir={tmp_path / 'cache'}", str(snippet)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in result.stdout.splitlines() if ": error:" in line]
    lines = sorted({int(line.split(":")[1]) for line in errors})
    assert list(range(FIRST_WRONG, SNIPPET.count("\n") + 1)) == lines, result.stdout + result.stderr
    assert all("snippet.py" in line for line in errors)
