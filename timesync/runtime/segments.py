"""NTP shared memory segments and Unix datagram sockets of other time daemons."""

from __future__ import annotations

import errno
import socket
import struct

from timesync.host import ClockError, Trouble
from timesync.wire import shm
from timesync_drivers.segment import SharedMemory

_PRIVATE_UNITS = 2
"""The first units are root's alone, as ntpd and gpsd have it."""

_INT = struct.Struct("@i")
_TRIES = 3


class ShmSegment:
    """A ``timesync.devices.Segment``."""

    def __init__(self, unit: int, *, create: bool) -> None:
        """Attach. Raises ClockError."""
        mode = 0o600 if unit < _PRIVATE_UNITS else 0o666
        try:
            self._memory = SharedMemory(shm.KEY + unit, shm.SIZE, create=create, mode=mode)
        except OSError as error:
            raise _refused(unit, error) from error
        self._unit = unit
        self._view = self._memory.view

    def read(self) -> bytes | None:
        """A copy between two equal counts; a valid one is marked as taken. None while the writer is at work."""
        self._check()
        for _ in range(_TRIES):
            before = bytes(self._view[shm.COUNT_OFFSET : shm.COUNT_OFFSET + _INT.size])
            data = bytes(self._view[: shm.SIZE])
            after = bytes(self._view[shm.COUNT_OFFSET : shm.COUNT_OFFSET + _INT.size])
            if before == after:
                if _INT.unpack_from(data, shm.VALID_OFFSET)[0]:
                    # Only then: the writer could have made a new one valid since we looked.
                    _INT.pack_into(self._view, shm.VALID_OFFSET, 0)
                return data
        return None

    def write(self, data: bytes) -> None:
        """Replace it: invalid first, count raised before and after, valid last."""
        self._check()
        _INT.pack_into(self._view, shm.VALID_OFFSET, 0)
        count = _INT.unpack_from(self._view, shm.COUNT_OFFSET)[0]
        _INT.pack_into(self._view, shm.COUNT_OFFSET, _next(count))
        valid = data[shm.VALID_OFFSET : shm.VALID_OFFSET + _INT.size]
        quiet = bytearray(data)
        _INT.pack_into(quiet, shm.COUNT_OFFSET, _next(count))
        _INT.pack_into(quiet, shm.VALID_OFFSET, 0)
        self._view[: len(quiet)] = quiet
        _INT.pack_into(self._view, shm.COUNT_OFFSET, _next(_next(count)))
        self._view[shm.VALID_OFFSET : shm.VALID_OFFSET + _INT.size] = valid

    def close(self) -> None:
        """Detach."""
        self._memory.close()

    def _check(self) -> None:
        if not self._memory.is_current():
            raise ClockError(
                Trouble.GONE,
                f"the NTP shared memory segment of unit {self._unit} was removed",
                "it is attached again once there is a new one; see `ipcs -m`",
            )


class UnixOutbox:
    """A ``timesync.devices.Outbox``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, data: bytes) -> None:
        """Send without waiting. Raises OSError when nobody listens."""
        self._socket.sendto(data, self._path)

    def close(self) -> None:
        """Let go."""
        self._socket.close()


def open_segment(unit: int, *, create: bool) -> ShmSegment:
    """Attach the segment of this unit. Raises ClockError."""
    return ShmSegment(unit, create=create)


def open_outbox(path: str) -> UnixOutbox:
    """A socket towards ``path``, which need not exist yet."""
    return UnixOutbox(path)


def _next(count: int) -> int:
    """A C int wraps."""
    return (count + 1 + 2**31) % 2**32 - 2**31


def _refused(unit: int, error: OSError) -> ClockError:
    if error.errno == errno.ENOENT:
        return ClockError(
            Trouble.GONE,
            f"there is no NTP shared memory segment of unit {unit}",
            "start the program that writes it (gpsd makes units 0 and 1 when it runs as root)",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return ClockError(
            Trouble.PERMISSION,
            f"the NTP shared memory segment of unit {unit} may not be attached",
            "units 0 and 1 are root's; use a higher unit, or run as root",
        )
    return ClockError(
        Trouble.UNSUPPORTED,
        f"the NTP shared memory segment of unit {unit} cannot be attached: {error.strerror}",
        "see `ipcs -m` for who made it and how large it is",
    )
