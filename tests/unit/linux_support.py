"""A kernel clock that is made of numbers, for what must not be tried on the real one; and waiting for kernel stamps."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from importlib import resources

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.serving import SYSTEM_MAP, ServingMap
from timesync.base.time import Duration, Instant
from timesync.base.utc import LeapTable
from timesync.host import ClockLimits, ClockReport
from timesync_drivers import abi
from timesync_drivers.clock import ClockState, Progress, join_frequency, split_frequency

S = 1_000_000_000
DAY = 86_400
LEAP_DAY = 1_483_228_800
"""2017-01-01T00:00:00Z, when TAI - UTC became 37 s (IERS Bulletin C 52)."""

TABLE = LeapTable.parse((resources.files("timesync_profiles") / "leap-seconds.list").read_text())
"""That of IERS, as shipped."""

SYSTEM = ClockId("system")
NOW_NS = 1_700_000_000 * S
SO_TIMESTAMPING, RX_SOFTWARE, SOFTWARE = 37, 1 << 3, 1 << 4  # asm-generic/socket.h, linux/net_tstamp.h


def await_kernel_stamps() -> None:
    """Wait until the kernel stamps what arrives: it begins some time after the first socket asks."""
    limit = time.monotonic() + 10
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(10)
        probe.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, RX_SOFTWARE | SOFTWARE)
        probe.bind(("127.0.0.1", 0))
        probe.connect(probe.getsockname())
        while True:
            probe.send(b"?")
            if any(kind == SO_TIMESTAMPING for _, kind, _ in probe.recvmsg(1, 256)[1]):
                return
            assert time.monotonic() < limit, "the kernel gives no receive timestamps"


class FakeKernel:
    """CLOCK_REALTIME by the rules of kernel/time/ntp.c, as far as the tests need them.

    Attributes:
        user_hz: USER_HZ.
        calls: What changed it, in order.
        denied: Raise this instead of changing anything.
    """

    def __init__(self, utc_ns: int = NOW_NS) -> None:
        self.user_hz = 100
        self.utc_ns = utc_ns
        self.raw_ns = 5 * S
        self.freq = 0
        self.tick = 10_000
        self.status = abi.STA_UNSYNC
        self.maximum_error_us = 16_000_000
        self.estimated_error_us = 16_000_000
        self.tai = 0
        self.calls: list[str] = []
        self.denied: OSError | None = None

    def run(self, seconds: float) -> None:
        """Let time pass."""
        elapsed = round(seconds * S)
        ratio = join_frequency(self.freq, self.tick, self.user_hz) / 65_536e6
        before = self.utc_ns
        self.raw_ns += elapsed
        self.utc_ns += elapsed + round(elapsed * ratio)
        midnight = (before // S // DAY + 1) * DAY * S
        if self.status & abi.STA_INS and self.utc_ns >= midnight > before:
            self.utc_ns -= S
            self.tai += 1
            self.status &= ~abi.STA_INS  # so that it happens once

    def read_ns(self) -> int:
        return self.utc_ns

    def progress(self) -> Progress:
        return Progress(self.utc_ns, self.raw_ns, 100)

    def state(self) -> ClockState:
        return ClockState(
            at_ns=self.utc_ns,
            scaled_ppm=self.freq,
            tick_us=self.tick,
            status=self.status,
            maximum_error_us=self.maximum_error_us,
            estimated_error_us=self.estimated_error_us,
            tai=self.tai,
            time_state=abi.TIME_ERROR if self.status & abi.STA_UNSYNC else abi.TIME_OK,
        )

    def set_frequency(self, scaled_ppm: int) -> int:
        self._check("frequency")
        self.freq, self.tick = split_frequency(scaled_ppm, self.tick, self.user_hz)
        return join_frequency(self.freq, self.tick, self.user_hz)

    def step(self, by_ns: int) -> None:
        self._check("step")
        self.utc_ns += by_ns
        self.status |= abi.STA_UNSYNC

    def set_status(
        self, status: int, *, maximum_error_us: int, estimated_error_us: int, tai: int | None = None
    ) -> None:
        self._check("status")
        self.status = status
        self.maximum_error_us = maximum_error_us
        self.estimated_error_us = estimated_error_us
        if tai is not None:
            self.tai = tai

    def cancel_slews(self) -> None:
        self._check("cancel")
        self.status = abi.STA_UNSYNC

    def _check(self, name: str) -> None:
        if self.denied is not None:
            raise self.denied
        self.calls.append(name)


@dataclass
class FakeBase:
    """A base clock whose reading is set by hand, in TAI ns."""

    tai_ns: int = NOW_NS + 37 * S
    epoch: int = 0
    id: ClockId = SYSTEM
    kind: str = "system"

    @property
    def limits(self) -> ClockLimits:
        return ClockLimits(Rate.from_ppm(500), Duration.from_ns(0), Duration.from_ns(100))

    def read(self) -> Stamp:
        return Stamp(self.id, self.epoch, Instant.from_ns(self.tai_ns), StampSource.USER)

    def stamp_at(self, kernel_ns: int, source: StampSource) -> Stamp | None:
        return Stamp(self.id, self.epoch, Instant.from_ns(kernel_ns + 37 * S), source)

    def frequency(self) -> Rate:
        return Rate(0.0)

    def adjust_frequency(self, rate: Rate) -> Rate:
        raise AssertionError("the base clock is only read")

    def step(self, by: Duration) -> None:
        raise AssertionError("the base clock is only read")

    def report(self, report: ClockReport) -> None:
        raise AssertionError("the base clock is only read")

    def serving_map(self) -> ServingMap:
        return SYSTEM_MAP
