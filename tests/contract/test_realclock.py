"""The system clock of this machine, changed by 1 ppm and put back: only where somebody asks for it.

Run it with ``TIMESYNC_TEST_REALCLOCK=1 bin/test -m realclock`` as root, on a machine that can take it.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from host_benches import TABLE

from timesync.base.ids import ClockId
from timesync.base.measure import Leap
from timesync.base.rate import Rate
from timesync.base.time import Duration
from timesync.host import ClockReport
from timesync.runtime.system_clock import SystemClock
from timesync_drivers import abi
from timesync_drivers.clock import KernelClock

pytestmark = [
    pytest.mark.realclock,
    pytest.mark.skipif(
        os.environ.get("TIMESYNC_TEST_REALCLOCK") != "1",
        reason="changes CLOCK_REALTIME; asked for by TIMESYNC_TEST_REALCLOCK=1",
    ),
]

# Another process, another C function, and offsets of linux/timex.h for a 64-bit ABI.
_READER = """
import ctypes, struct
data = ctypes.create_string_buffer(208)
ctypes.CDLL(None).adjtimex(data)
frequency, = struct.unpack_from("=q", data, 16)
maximum, estimated, status = struct.unpack_from("=qqi", data, 24)
tai, = struct.unpack_from("=i", data, 160)
print(frequency, maximum, estimated, status, tai)
"""


@pytest.fixture
def kernel() -> Iterator[KernelClock]:
    clock = KernelClock()
    before = clock.state()
    try:
        yield clock
    finally:
        clock.set_frequency(before.scaled_ppm)
        clock.set_status(
            before.status,
            maximum_error_us=before.maximum_error_us,
            estimated_error_us=before.estimated_error_us,
            tai=before.tai,
        )


def _seen_by_another_process() -> tuple[int, int, int, int, int]:
    output = subprocess.run([sys.executable, "-c", _READER], check=True, capture_output=True, text=True).stdout
    frequency, maximum, estimated, status, tai = (int(word) for word in output.split())
    return frequency, maximum, estimated, status, tai


def test_what_we_set_is_what_others_see_and_it_stays(kernel: KernelClock) -> None:
    before = kernel.frequency_scaled_ppm()
    # Towards zero, so that the limit of 500 ppm is not met.
    wanted = Rate.from_kernel(before - 65_536 if before > 0 else before + 65_536)
    clock = SystemClock(ClockId("system"), kernel, TABLE)
    taken = clock.adjust_frequency(wanted)
    clock.report(ClockReport(True, Duration.from_s(0.002), Duration.from_s(0.5), Leap.NONE, 37))
    frequency, maximum, estimated, status, tai = _seen_by_another_process()
    said = clock.check_foreign()
    del clock  # as at the daemon's exit: the frequency stays

    assert taken == wanted
    assert frequency == wanted.to_kernel()
    assert not status & abi.STA_UNSYNC
    # The kernel lets the bound grow by 500 us a second.
    assert 500_000 <= maximum < 520_000
    assert estimated == 2000
    assert tai == 37
    assert said is None
    assert _seen_by_another_process()[0] == wanted.to_kernel()


def test_an_unsynchronized_clock_is_seen_to_be_so(kernel: KernelClock) -> None:
    clock = SystemClock(ClockId("system"), kernel, TABLE)
    clock.report(ClockReport(False, Duration.from_s(1), Duration.from_s(100), Leap.NONE, 37))
    _, maximum, _, status, _ = _seen_by_another_process()
    assert status & abi.STA_UNSYNC
    assert maximum == 16_000_000
