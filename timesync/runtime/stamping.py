"""What the Linux runtime asks of a clock beyond ``timesync.host.Clock``: to place the kernel's timestamps."""

from __future__ import annotations

from typing import Protocol

from timesync.base.measure import Stamp, StampSource
from timesync.host import Clock


class StampClock(Clock, Protocol):
    """A clock on whose scale a timestamp of CLOCK_REALTIME can be expressed afterwards."""

    def stamp_at(self, kernel_ns: int, source: StampSource) -> Stamp | None:
        """The clock's reading when CLOCK_REALTIME read ``kernel_ns`` (ns since 1970, UTC).

        None when that cannot be told: next to a leap second, in the future, or too long ago.
        """
        ...
