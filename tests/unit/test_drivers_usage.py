"""What a process takes of the machine."""

from __future__ import annotations

import resource
import time
from pathlib import Path

from timesync_drivers.usage import usage


def test_work_takes_time_and_memory_takes_pages() -> None:
    before = usage()
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    after = usage()
    assert 0.04 < after.cpu_s - before.cpu_s < 5.0
    assert after.resident_bytes is not None
    # Python alone has some megabytes, and less than it ever had.
    assert 2_000_000 < after.resident_bytes <= resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + 4_000_000


def test_a_kernel_that_does_not_tell_is_no_trouble(tmp_path: Path) -> None:
    assert usage(tmp_path).resident_bytes is None
    (tmp_path / "self").mkdir()
    statm = tmp_path / "self" / "statm"
    statm.write_text("900 77 30 1 0 99 0\n")
    assert 77 * resource.getpagesize() == usage(tmp_path).resident_bytes
    statm.write_text("")
    assert usage(tmp_path).resident_bytes is None
