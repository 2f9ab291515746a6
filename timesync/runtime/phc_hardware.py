"""What a hardware clock of the runtime asks of its driver and of the machine around it, and how refusals are worded."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from timesync.host import ClockError, Trouble
from timesync_drivers.clock import ClockState, Progress
from timesync_drivers.cross import CrossReading, realtime_minus_monotonic_ns
from timesync_drivers.phc import ExternalStamp, PhcCapabilities, PhcPin, PinFunction
from timesync_drivers.system import find_time_daemons, suspended_ns

GONE = frozenset({errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.EBADF})
"""What the kernel says of a device that is no longer there, or not yet."""


class HardwareClock(Protocol):
    """What is needed of ``timesync_drivers.clock.KernelClock``."""

    def read_ns(self) -> int:
        """The reading."""
        ...

    def progress(self) -> Progress:
        """Beside CLOCK_MONOTONIC_RAW."""
        ...

    def state(self) -> ClockState:
        """What the kernel says; only the frequency is meaningful."""
        ...

    def set_frequency(self, scaled_ppm: int) -> int:
        """Set, and give back what was taken."""
        ...

    def step(self, by_ns: int) -> None:
        """Add at once."""
        ...


class Hardware(Protocol):
    """What is needed of ``timesync_drivers.phc.PhcDevice``."""

    @property
    def path(self) -> str:
        """The device file."""
        ...

    @property
    def writable(self) -> bool:
        """Whether it may be steered."""
        ...

    @property
    def clock(self) -> HardwareClock:
        """To read and steer it."""
        ...

    @property
    def capabilities(self) -> PhcCapabilities:
        """What it can do."""
        ...

    def cross(self) -> CrossReading:
        """Beside CLOCK_REALTIME."""
        ...

    def close(self) -> None:
        """Let go."""
        ...

    def route(self, index: int, function: PinFunction, channel: int) -> PhcPin | None:
        """Give a pin a function; how it was before."""
        ...

    def set_pin(self, pin: PhcPin) -> None:
        """Set a pin."""
        ...

    def enable_extts(self, channel: int, *, rising: bool, falling: bool) -> bool:
        """Begin to stamp edges; whether just these."""
        ...

    def disable_extts(self, channel: int) -> None:
        """Stop."""
        ...

    def events(self) -> list[ExternalStamp]:
        """Edges since the last call."""
        ...

    def start_perout(self, channel: int, *, start_ns: int, period_ns: int, width_ns: int | None) -> bool:
        """Begin a periodic output; whether the width was taken."""
        ...

    def stop_perout(self, channel: int) -> None:
        """Stop it."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is asked of the machine beside the clock itself.

    Attributes:
        daemons: Names other programs that may steer the clock.
        slept_ns: How long the machine has slept since it was started.
        system_offset_ns: CLOCK_REALTIME less CLOCK_MONOTONIC; a change is a step of the system clock.
        raw_ns: CLOCK_MONOTONIC_RAW.
        real_ns: CLOCK_REALTIME.
    """

    daemons: Callable[[], list[str]] = lambda: [str(daemon) for daemon in find_time_daemons(own_pid=os.getpid())]
    slept_ns: Callable[[], int] = suspended_ns
    system_offset_ns: Callable[[], int] = realtime_minus_monotonic_ns
    raw_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)
    real_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_REALTIME)


def refused(who: str, what: str, error: OSError) -> ClockError:
    """The error of a driver in words.

    Args:
        who: The device, such as ``the hardware clock eth0 (/dev/ptp0)``.
        what: What was asked of it, such as ``step it``.
        error: The kernel's answer.
    """
    if isinstance(error, ClockError):
        return error
    reason = error.strerror or str(error)
    match error.errno:
        case errno.EPERM | errno.EACCES:
            trouble = Trouble.PERMISSION
            advice = (
                "let the daemon's user open it for writing, for example by the udev rule "
                'SUBSYSTEM=="ptp", GROUP="timesync", MODE="0660", or set `discipline: false` for this clock'
            )
        case number if number in GONE:
            trouble = Trouble.GONE
            advice = "it is taken up again as soon as it is there; the kernel's log tells what became of the device"
        case errno.EBUSY:
            trouble = Trouble.UNSUPPORTED
            advice = (
                "something else holds it: a clock with virtual clocks cannot be steered (write 0 to n_vclocks in "
                "/sys/class/ptp), and a channel or pin serves one program"
            )
        case _:
            trouble = Trouble.UNSUPPORTED
            advice = "the driver or the card cannot do that; set `discipline: false` for a clock that cannot be steered"
    return ClockError(trouble, f"{who} did not let us {what}: {reason}", advice)
