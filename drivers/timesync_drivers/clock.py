"""Reading and setting a clock: ``clock_gettime`` and ``clock_adjtime``, and no policy.

The C library is reached through ``ctypes.CDLL(None)`` only: a library opened by name would escape the
preloaded simulators of clocks in which the daemon is tested.
"""

from __future__ import annotations

import ctypes
import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from timesync_drivers import abi

NS_PER_S = 1_000_000_000
_SCALED = 65_536
_PPM = 1_000_000
_RETURN_PPM = 400
"""Back to the nominal tick below this, so that a rate around 500 ppm does not change the tick each time."""


@dataclass(frozen=True, slots=True)
class ClockState:
    """What ``clock_adjtime`` says of a clock when asked to change nothing.

    Attributes:
        at_ns: The clock's reading, ns since 1970; in whole microseconds unless the status has STA_NANO; 0 for a PHC,
            whose frequency is all that the kernel tells.
        scaled_ppm: ``freq``: parts per million with 16 fractional bits, positive is faster.
        tick_us: ``tick``: microseconds added at each of the USER_HZ ticks of a second; 0 for a PHC.
        status: ``STA_`` bits.
        maximum_error_us: ``maxerror``.
        estimated_error_us: ``esterror``.
        tai: TAI - UTC in seconds; 0 when nobody has set it.
        time_state: TIME_OK, TIME_INS, TIME_DEL, TIME_OOP (inside an inserted second), TIME_WAIT, TIME_ERROR.
    """

    at_ns: int
    scaled_ppm: int
    tick_us: int
    status: int
    maximum_error_us: int
    estimated_error_us: int
    tai: int
    time_state: int


@dataclass(frozen=True, slots=True)
class Progress:
    """A clock read between two readings of CLOCK_MONOTONIC_RAW, which nothing ever steers.

    Attributes:
        at_ns: The clock, ns since 1970.
        raw_ns: CLOCK_MONOTONIC_RAW in the middle.
        window_ns: How far apart its two readings were; the pair is wrong by half of that at most.
    """

    at_ns: int
    raw_ns: int
    window_ns: int


def split_frequency(scaled_ppm: int, tick_us: int, user_hz: int) -> tuple[int, int]:
    """Part a frequency into (``freq``, ``tick``): together they reach 10 %, ``freq`` alone 500 ppm.

    A tick is ``user_hz`` ppm coarse. The present tick stays as long as ``freq`` can reach the wanted
    frequency from there, because changing both at once takes effect in one call but a change of tick is
    visible to other programs; and it returns to nominal only well inside, so that it does not flap.

    Args:
        scaled_ppm: Wanted, parts per million with 16 fractional bits.
        tick_us: The tick in force.
        user_hz: ``sysconf(SC_CLK_TCK)``.
    """
    nominal = _PPM // user_hz
    per_tick = user_hz * _SCALED
    if abs(scaled_ppm) > _RETURN_PPM * _SCALED:
        rest = scaled_ppm - (tick_us - nominal) * per_tick
        if abs(rest) <= abi.MAX_FREQ_SCALED_PPM:
            return rest, tick_us
    else:
        return scaled_ppm, nominal
    # Half away from zero, so that the same magnitude gives the same tick with either sign.
    ticks = (abs(scaled_ppm) + per_tick // 2) // per_tick
    ticks = min(ticks, nominal // 10)
    ticks = -ticks if scaled_ppm < 0 else ticks
    rest = scaled_ppm - ticks * per_tick
    return max(-abi.MAX_FREQ_SCALED_PPM, min(abi.MAX_FREQ_SCALED_PPM, rest)), nominal + ticks


def join_frequency(scaled_ppm: int, tick_us: int, user_hz: int) -> int:
    """The frequency that ``freq`` and ``tick`` make together, parts per million with 16 fractional bits."""
    if tick_us == 0:  # a PHC has none
        return scaled_ppm
    return scaled_ppm + (tick_us - _PPM // user_hz) * user_hz * _SCALED


def max_frequency_scaled_ppm(user_hz: int) -> int:
    """The largest magnitude that ``split_frequency`` reaches with CLOCK_REALTIME."""
    return _PPM // user_hz // 10 * user_hz * _SCALED + abi.MAX_FREQ_SCALED_PPM


class KernelClock:
    """A clock of the kernel by its clock id: CLOCK_REALTIME, or a PHC by its dynamic id.

    Every method raises OSError with the kernel's errno: PermissionError without CAP_SYS_TIME, EINVAL for a
    value out of range, EOPNOTSUPP or ENODEV from devices.
    """

    def __init__(self, clock_id: int = time.CLOCK_REALTIME) -> None:
        self.clock_id = clock_id
        self.user_hz = os.sysconf("SC_CLK_TCK")
        self._adjtime = _clock_adjtime()

    def read_ns(self) -> int:
        """The reading in ns since 1970, on the clock's own scale (UTC for CLOCK_REALTIME)."""
        return time.clock_gettime_ns(self.clock_id)

    def progress(self) -> Progress:
        """The clock beside CLOCK_MONOTONIC_RAW, read together; the tightest of four tries."""
        tries = []
        for _ in range(4):
            before = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            at = time.clock_gettime_ns(self.clock_id)
            after = time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
            tries.append(Progress(at_ns=at, raw_ns=(before + after) // 2, window_ns=after - before))
        return min(tries, key=lambda one: one.window_ns)

    def state(self) -> ClockState:
        """All that the kernel says; needs no privilege."""
        timex = abi.Timex()
        result = self._call(timex)
        fraction = timex.tv_usec if timex.status & abi.STA_NANO else timex.tv_usec * 1000
        return ClockState(
            at_ns=timex.tv_sec * NS_PER_S + fraction,
            scaled_ppm=timex.freq,
            tick_us=timex.tick,
            status=timex.status,
            maximum_error_us=timex.maxerror,
            estimated_error_us=timex.esterror,
            tai=timex.tai,
            time_state=result,
        )

    def frequency_scaled_ppm(self) -> int:
        """The frequency in force, tick included: parts per million with 16 fractional bits."""
        timex = abi.Timex()
        self._call(timex)
        return join_frequency(timex.freq, timex.tick, self.user_hz)

    def set_frequency(self, scaled_ppm: int) -> int:
        """Set the frequency; gives back what the kernel says it took, tick included.

        CLOCK_REALTIME takes ±500 ppm in ``freq`` and the rest in ``tick``; a PHC takes its own range in
        ``freq`` and refuses with ERANGE beyond.
        """
        timex = abi.Timex()
        timex.modes = abi.ADJ_FREQUENCY
        timex.freq = scaled_ppm
        if self.clock_id == time.CLOCK_REALTIME:
            present = abi.Timex()
            self._call(present)
            timex.freq, timex.tick = split_frequency(scaled_ppm, present.tick, self.user_hz)
            if timex.tick != present.tick:
                timex.modes |= abi.ADJ_TICK
        self._call(timex)
        return self.frequency_scaled_ppm()

    def step(self, by_ns: int) -> None:
        """Add ``by_ns`` to the reading at once.

        The kernel also sets STA_UNSYNC and forgets unfinished slews; the frequency stays.
        """
        timex = abi.Timex()
        timex.modes = abi.ADJ_SETOFFSET | abi.ADJ_NANO
        # The nanoseconds must not be negative: -0.3 s is -1 s and 0.7 s.
        timex.tv_sec, timex.tv_usec = divmod(by_ns, NS_PER_S)
        self._call(timex)

    def set_status(
        self, status: int, *, maximum_error_us: int, estimated_error_us: int, tai: int | None = None
    ) -> None:
        """Set the writable ``STA_`` bits, both error figures and, when given, TAI - UTC, in one call."""
        timex = abi.Timex()
        timex.modes = abi.ADJ_STATUS | abi.ADJ_MAXERROR | abi.ADJ_ESTERROR
        timex.status = status & ~abi.STA_READ_ONLY
        timex.maxerror = maximum_error_us
        timex.esterror = estimated_error_us
        if tai is not None:
            timex.modes |= abi.ADJ_TAI
            timex.constant = tai  # that field carries it; ``tai`` is only ever read
        self._call(timex)

    def cancel_slews(self) -> None:
        """Stop what another program may have left running: an ``adjtime`` remainder and the kernel's own PLL.

        The PLL's remaining offset is only forgotten while the PLL is on, hence three calls.
        """
        timex = abi.Timex()
        timex.modes = abi.ADJ_OFFSET_SINGLESHOT
        timex.offset = 0
        self._call(timex)
        timex = abi.Timex()
        timex.modes = abi.ADJ_OFFSET | abi.ADJ_STATUS
        timex.status = abi.STA_PLL | abi.STA_UNSYNC
        self._call(timex)
        timex = abi.Timex()
        timex.modes = abi.ADJ_STATUS
        timex.status = abi.STA_UNSYNC
        self._call(timex)

    def _call(self, timex: abi.Timex) -> int:
        result = self._adjtime(self.clock_id, ctypes.byref(timex))
        if result < 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        return result


def _clock_adjtime() -> Callable[..., int]:
    library = ctypes.CDLL(None, use_errno=True)
    try:
        function = library.clock_adjtime
    except AttributeError:
        raise OSError(errno.ENOSYS, "the C library has no clock_adjtime") from None
    function.argtypes = (ctypes.c_int, ctypes.POINTER(abi.Timex))
    function.restype = ctypes.c_int
    call: Callable[..., int] = function
    return call
