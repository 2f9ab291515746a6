"""Our daemon steers CLOCK_REALTIME of this machine, seen by Debian's adjtimex; only where somebody asks for it.

``bin/test realclock``, as root, on a machine that can take it. Whatever happens, frequency, status and error figures
are put back at the end, and the time that the clock has gained meanwhile is taken off again.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from interop_support import Node, lan, peer_environment, timesync, wait_until

from timesync_drivers import abi
from timesync_drivers.clock import KernelClock

pytestmark = [
    pytest.mark.realclock,
    pytest.mark.skipif(
        os.environ.get("TIMESYNC_TEST_REALCLOCK") != "1",
        reason="changes CLOCK_REALTIME; asked for by TIMESYNC_TEST_REALCLOCK=1",
    ),
]

STA_UNSYNC = 64
STA_NANO = 0x2000
ADJ_MICRO = 0x1000
CHANGE_PPM = 10.0
NEAR_PPM = 3.0
LOCK_S = 60
FOLLOW_S = 120
_NS = 1_000_000_000
_UNIX_TO_NTP_S = 2_208_988_800
_HEADER = struct.Struct("!BBbb II4s QQQQ")


@pytest.fixture
def kernel() -> Iterator[KernelClock]:
    """The clock, put back afterwards."""
    clock = KernelClock()
    before, start, frequency = clock.state(), clock.progress(), clock.frequency_scaled_ppm()
    try:
        yield clock
    finally:
        clock.set_frequency(frequency)
        end = clock.progress()
        elapsed_ns = end.raw_ns - start.raw_ns
        due_ns = elapsed_ns + elapsed_ns * frequency // (1_000_000 << 16)
        clock.step(due_ns - (end.at_ns - start.at_ns))
        clock.set_status(
            before.status,
            maximum_error_us=before.maximum_error_us,
            estimated_error_us=before.estimated_error_us,
            tai=before.tai,
        )
        if not before.status & STA_NANO:
            timex = abi.Timex()
            timex.modes = ADJ_MICRO
            clock._call(timex)


class SteadyServer:
    """An NTP server by CLOCK_MONOTONIC_RAW, which nobody can steer, times a rate.

    Its stamps are taken by this thread, so that they are some ten microseconds late, which is good enough here.
    """

    def __init__(self, node: Node, rate: float) -> None:
        with node.entered():
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((node.address, 123))
        self._rate = rate
        self._raw_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
        self._start_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        # Wakes the thread, which close() alone does not.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()

    def _now(self) -> int:
        elapsed_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW) - self._raw_ns
        at_ns = self._start_ns + elapsed_ns + int(elapsed_ns * self._rate)
        return (at_ns + _UNIX_TO_NTP_S * _NS << 32) // _NS & 0xFFFF_FFFF_FFFF_FFFF

    def _serve(self) -> None:
        while True:
            data, source = self._socket.recvfrom(1024)
            received = self._now()
            if not data:
                return
            transmit = _HEADER.unpack_from(data)[-1]
            reply = _HEADER.pack(0x24, 1, data[2], -16, 0, 0, b"RAW\0", received, transmit, received, self._now())
            self._socket.sendto(reply, source)


def adjtimex() -> dict[str, int]:
    """What Debian's adjtimex says of the kernel's clock."""
    program = shutil.which("adjtimex", path=peer_environment()["PATH"])
    assert program is not None, "adjtimex is not there: run tests/interop/install-peers.sh"
    output = subprocess.run([program, "--print"], check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in re.findall(r"^\s*(\w+): (-?\d+)$", output, re.MULTILINE)}


def test_frequency_and_status_are_set_and_others_see_it(
    kernel: KernelClock, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    user_hz = os.sysconf("SC_CLK_TCK")

    def frequency_ppm(said: dict[str, int]) -> float:
        return said["frequency"] / 65536 + (said["tick"] - 1_000_000 // user_hz) * user_hz

    before = adjtimex()
    change = CHANGE_PPM if frequency_ppm(before) < 0 else -CHANGE_PPM
    wanted = frequency_ppm(before) + change
    with lan(2) as (there, here):
        server = SteadyServer(there, wanted * 1e-6)
        configuration = (
            f"sources: [{{ntp: {there.address}, poll: [1s, 2s]}}]\nsteering: {{step: {{threshold: 1s, updates: 0}}}}"
        )
        with contextlib.closing(server), timesync(here, tmp_path, configuration, clock=True) as daemon:
            wait_until(daemon.locked, LOCK_S, "our daemon is locked", daemon.log)
            locked = adjtimex()
            wait_until(
                lambda: abs(frequency_ppm(adjtimex()) - wanted) < NEAR_PPM,
                FOLLOW_S,
                f"the kernel's frequency comes near {wanted:.2f} ppm",
                lambda: f"{adjtimex()}\n{daemon.log()}",
            )
            followed, status = adjtimex(), daemon.status()
        after = adjtimex()

    record_property("frequency before", f"{frequency_ppm(before):+.3f} ppm")
    record_property("frequency of the server", f"{wanted:+.3f} ppm")
    record_property("frequency while following", f"{frequency_ppm(followed):+.3f} ppm")
    record_property("status before, following, after", f"{before['status']}, {followed['status']}, {after['status']}")
    assert status["clocks"][0]["kind"] == "system"
    assert status["clocks"][0]["steps"] == 0
    assert locked["status"] & STA_UNSYNC == 0
    assert 0 < followed["maxerror"] <= 1_000_000
    # SIGTERM leaves the frequency in place.
    assert abs(frequency_ppm(after) - wanted) < CHANGE_PPM / 2
