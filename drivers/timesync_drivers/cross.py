"""A PTP hardware clock beside the system clock: the three ioctls of the PTP_SYS_OFFSET family, best first."""

from __future__ import annotations

import errno
import fcntl
import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, assert_never

from timesync_drivers import abi

NS_PER_S = 1_000_000_000
Method = Literal["precise", "extended", "plain"]
METHODS: tuple[Method, ...] = ("precise", "extended", "plain")
"""In the order in which they are tried."""

_GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.EBADF})
_MISSING = frozenset({errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL})
"""What a driver or a kernel answers that has no such method, and never will."""
_BUSY_TRIES = 10
_FAILURES = 3
"""After so many failures in a row a method is left alone for a while: each can take as long as a time-out."""
_SHORTEST_REST, _LONGEST_REST = 16, 4096
"""How many readings that while lasts; it doubles with each failure after it."""
_FEWEST, _MOST = 3, 15
_BUDGET_NS = 300_000
"""A reading should not hold the daemon up longer; a clock behind MDIO takes 100 us and more a sample."""


@dataclass(frozen=True, slots=True)
class CrossReading:
    """A hardware clock and CLOCK_REALTIME at one moment.

    Attributes:
        device_ns: The hardware clock, ns since its own start.
        system_ns: CLOCK_REALTIME, ns since 1970, UTC.
        half_window_ns: The moments differ by no more. 0 for ``precise``, where hardware latches both at once; its own
            error is not told.
        method: Which ioctl gave it.
    """

    device_ns: int
    system_ns: int
    half_window_ns: int
    method: Method


class _Way:
    """One method, and whether it is worth asking.

    Attributes:
        method: Which.
    """

    def __init__(self, method: Method) -> None:
        self.method = method
        self._failures = 0
        self._rest = 0
        self._waits = 0

    def resting(self) -> bool:
        """Whether it is passed over this time."""
        self._waits = max(0, self._waits - 1)
        return self._waits > 0

    def served(self) -> None:
        """It is as good as new."""
        self._failures = self._rest = self._waits = 0

    def failed(self) -> None:
        """It may serve the next time: PTM, say, times out now and then, and while the link sleeps."""
        self._failures += 1
        if self._failures >= _FAILURES:
            self._rest = min(max(2 * self._rest, _SHORTEST_REST), _LONGEST_REST)
            self._waits = self._rest + 1


class CrossReader:
    """Reads by the best method that the driver has.

    One that the driver lacks is asked once. One that fails otherwise is asked again, ever more rarely while it fails.
    """

    def __init__(self, file: int, ioctl: Callable[[int, int, bytearray], object] = fcntl.ioctl) -> None:
        """``file`` is an open PTP clock, ``ioctl`` the system call."""
        self._file = file
        self._ioctl = ioctl
        self._ways = [_Way(method) for method in METHODS]
        self._samples = _FEWEST

    def read(self) -> CrossReading:
        """One reading; a busy driver is asked again. Raises OSError: ENODEV when the clock is gone."""
        last: OSError | None = None
        # The last one left is never passed over: there would be no reading.
        for way in [way for way in self._ways[:-1] if not way.resting()] + self._ways[-1:]:
            try:
                reading = self._patiently(way.method)
            except OSError as error:
                # Where the processor's clock that the card latches is not the one that the kernel runs by, "precise"
                # is refused as if the card were gone: only another method can tell.
                if error.errno in _GONE and way.method != "precise":
                    raise
                last = error
                self._note(way, error)
                continue
            way.served()
            return reading
        assert last is not None
        raise last

    def read_by(self, method: Method) -> CrossReading:
        """One reading by a given method. Raises OSError: EOPNOTSUPP or ENOTTY when the driver lacks it."""
        match method:
            case "precise":
                data = bytearray(abi.PTP_SYS_OFFSET_PRECISE_BODY.size)
                self._ioctl(self._file, abi.PTP_SYS_OFFSET_PRECISE, data)
                return parse_precise(data)
            case "extended":
                data = _request(abi.PTP_SYS_OFFSET_EXTENDED_SIZE, self._samples)
                self._ioctl(self._file, abi.PTP_SYS_OFFSET_EXTENDED, data)
                return self._pace(parse_extended(data))
            case "plain":
                data = _request(abi.PTP_SYS_OFFSET_SIZE, self._samples)
                self._ioctl(self._file, abi.PTP_SYS_OFFSET, data)
                return self._pace(parse_plain(data))
            case _:
                assert_never(method)

    def _patiently(self, method: Method) -> CrossReading:
        for _ in range(_BUSY_TRIES - 1):
            try:
                return self.read_by(method)
            except OSError as error:
                if error.errno not in {errno.EBUSY, errno.EAGAIN, errno.EINTR}:
                    raise
        return self.read_by(method)

    def _note(self, way: _Way, error: OSError) -> None:
        if error.errno in _MISSING and len(self._ways) > 1:
            self._ways.remove(way)
        else:
            way.failed()

    def _pace(self, reading: CrossReading) -> CrossReading:
        """As many samples the next time as fit into the budget."""
        self._samples = max(_FEWEST, min(_MOST, _BUDGET_NS // max(1, 2 * reading.half_window_ns)))
        return reading


def parse_precise(data: bytes | bytearray) -> CrossReading:
    """Read a ``struct ptp_sys_offset_precise``."""
    device_s, device_ns, system_s, system_ns, _, _ = abi.PTP_SYS_OFFSET_PRECISE_BODY.unpack(data)
    return CrossReading(device_s * NS_PER_S + device_ns, system_s * NS_PER_S + system_ns, 0, "precise")


def parse_extended(data: bytes | bytearray) -> CrossReading:
    """The sample of a ``struct ptp_sys_offset_extended`` with the shortest window. Raises OSError when none is sane."""
    (count,) = abi.PTP_SYS_OFFSET_HEAD.unpack_from(data)
    times = _times(data, 3 * min(count, abi.PTP_MAX_SAMPLES))
    return _tightest(zip(times[::3], times[1::3], times[2::3], strict=True), "extended")


def parse_plain(data: bytes | bytearray) -> CrossReading:
    """The sample of a ``struct ptp_sys_offset`` with the shortest window. Raises OSError when none is sane."""
    (count,) = abi.PTP_SYS_OFFSET_HEAD.unpack_from(data)
    times = _times(data, 2 * min(count, abi.PTP_MAX_SAMPLES) + 1)
    return _tightest(zip(times[::2], times[1::2], times[2::2], strict=False), "plain")


def realtime_minus_monotonic_ns() -> int:
    """CLOCK_REALTIME less CLOCK_MONOTONIC, the tightest of three tries; only a step of the former changes it."""
    best = None
    for _ in range(3):
        before = time.monotonic_ns()
        real = time.clock_gettime_ns(time.CLOCK_REALTIME)
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = after - before, real - (before + after) // 2
    assert best is not None
    return best[1]


def _request(size: int, samples: int) -> bytearray:
    data = bytearray(size)
    abi.PTP_SYS_OFFSET_HEAD.pack_into(data, 0, samples)
    return data


def _times(data: bytes | bytearray, count: int) -> list[int]:
    start = abi.PTP_SYS_OFFSET_HEAD.size
    fields = struct.unpack_from("=" + abi.PTP_CLOCK_TIME.format.lstrip("=") * count, data, start)
    return [seconds * NS_PER_S + ns for seconds, ns in zip(fields[::2], fields[1::2], strict=True)]


def _tightest(samples: Iterable[tuple[int, int, int]], method: Method) -> CrossReading:
    # A window that ends before it starts saw the system clock stepped back.
    sane = [sample for sample in samples if 0 <= sample[2] - sample[0] < NS_PER_S]
    if not sane:
        raise OSError(errno.EAGAIN, "the system clock was stepped while the hardware clock was read")
    before, device, after = min(sane, key=lambda sample: sample[2] - sample[0])
    return CrossReading(device, (before + after) // 2, (after - before + 1) // 2, method)
