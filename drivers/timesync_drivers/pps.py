"""A PPS device of the kernel (``/dev/ppsN``): the ioctls behind the PPS API of RFC 2783."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from dataclasses import dataclass

from timesync_drivers import abi

NS_PER_S = 1_000_000_000
_CAPTURE = abi.PPS_CAPTUREASSERT | abi.PPS_CAPTURECLEAR


@dataclass(frozen=True, slots=True)
class PpsEdge:
    """The newest edge of one kind.

    Attributes:
        at_ns: CLOCK_REALTIME at the edge, ns since 1970, UTC; 0 before the first.
        sequence: How many there were since the device was made, modulo 2**32; only captured edges count.
    """

    at_ns: int
    sequence: int


@dataclass(frozen=True, slots=True)
class PpsEdges:
    """What the kernel keeps (``pps_info_t`` of RFC 2783, 3.2).

    Attributes:
        asserted: The newest assert edge.
        cleared: The newest clear edge.
    """

    asserted: PpsEdge
    cleared: PpsEdge


class PpsDevice:
    """An open PPS device.

    Every method raises OSError with the kernel's errno. A device that is gone is not always told: FETCH goes on giving
    the last edges, and only ``replaced`` shows that the file is no longer that device.
    """

    def __init__(self, path: str) -> None:
        """Open it, for writing where that is allowed (RFC 2783, 3.4.1; reading is enough for FETCH)."""
        self.path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._node = _node(os.fstat(self._file))
            self.capabilities()
        except OSError:
            self.close()
            raise

    def fileno(self) -> int:
        """The file descriptor; -1 once closed."""
        return self._file

    def close(self) -> None:
        """Close it; twice does no harm."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    def capabilities(self) -> int:
        """``PPS_CAPTUREASSERT``, ``PPS_CAPTURECLEAR``, ``PPS_CANWAIT`` and others (time_pps_getcap)."""
        data = bytearray(struct.calcsize("@i"))
        fcntl.ioctl(self._file, abi.PPS_GETCAP, data)
        return int(struct.unpack("@i", data)[0])

    def mode(self) -> int:
        """The mode bits in force (time_pps_getparams)."""
        return int(self._params()[1])

    def capture(self, edges: int) -> None:
        """Have these edges captured (``PPS_CAPTURE`` bits), besides those that are; other parameters stay.

        Changes nothing when they are captured already, because a change takes CAP_SYS_TIME. Raises OSError:
        EOPNOTSUPP when the device has no such edge, EPERM without the capability.
        """
        if edges & ~self.capabilities() & _CAPTURE:
            raise OSError(errno.EOPNOTSUPP, "the device does not capture that edge")
        params = self._params()
        if params[1] & edges == edges:
            return
        params[0] = abi.PPS_API_VERS
        params[1] |= edges | abi.PPS_TSFMT_TSPEC
        fcntl.ioctl(self._file, abi.PPS_SETPARAMS, bytearray(abi.PPS_KPARAMS.pack(*params)))

    def fetch(self, timeout_s: float | None = 0.0) -> PpsEdges:
        """The newest edges (time_pps_fetch).

        Args:
            timeout_s: 0 gives at once what is known; otherwise wait so long for the next edge of any kind; None waits
                for ever.

        Raises:
            OSError: ETIMEDOUT when none came, EINTR when a signal came, EOPNOTSUPP when the device cannot wait.
        """
        data = bytearray(abi.PPS_FDATA.size)
        if timeout_s is None:
            seconds, nanoseconds, flags = 0, 0, abi.PPS_TIME_INVALID
        else:
            seconds, nanoseconds = divmod(round(timeout_s * NS_PER_S), NS_PER_S)
            flags = 0
        abi.PPS_FDATA.pack_into(data, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, seconds, nanoseconds, flags)
        fcntl.ioctl(self._file, abi.PPS_FETCH, data)
        return parse_fdata(data)

    def replaced(self) -> bool:
        """Whether the path no longer leads to this device, because it was removed or made anew."""
        try:
            return _node(os.stat(self.path)) != self._node  # noqa: PTH116 - beside fstat, and once for every quiet second
        except FileNotFoundError:
            return True

    def _params(self) -> list[int]:
        data = bytearray(abi.PPS_KPARAMS.size)
        fcntl.ioctl(self._file, abi.PPS_GETPARAMS, data)
        return list(abi.PPS_KPARAMS.unpack(data))


def parse_fdata(data: bytes | bytearray) -> PpsEdges:
    """Read a ``struct pps_fdata``."""
    asserts, clears, a_s, a_ns, _, c_s, c_ns, *_ = abi.PPS_FDATA.unpack(data)
    return PpsEdges(PpsEdge(a_s * NS_PER_S + a_ns, asserts), PpsEdge(c_s * NS_PER_S + c_ns, clears))


def _node(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_dev, status.st_ino, status.st_rdev
