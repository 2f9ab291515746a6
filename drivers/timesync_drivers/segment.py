"""System V shared memory through libc: NTP reference clock segments.

Python's ``multiprocessing.shared_memory`` is POSIX memory (files), which ntpd, chronyd and gpsd do not use.
"""

from __future__ import annotations

import ctypes
import os

_IPC_CREAT = 0o1000
_IPC_RMID = 0
_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_libc.shmat.restype = ctypes.c_void_p
_libc.shmat.argtypes = (ctypes.c_int, ctypes.c_void_p, ctypes.c_int)
_libc.shmdt.argtypes = (ctypes.c_void_p,)
_libc.shmget.argtypes = (ctypes.c_int, ctypes.c_size_t, ctypes.c_int)


class SharedMemory:
    """An attached segment; its bytes are in ``view``."""

    def __init__(self, key: int, size: int, *, create: bool, mode: int) -> None:
        """Attach; the segment outlives us, as those of ntpd and gpsd do.

        Args:
            key: Of ``shmget``.
            size: At least so many octets.
            create: Make it where it does not exist; otherwise that is an OSError (ENOENT).
            mode: Permissions of one that is made.
        """
        flags = (_IPC_CREAT | mode) if create else 0
        self._key = key
        self._identity = _libc.shmget(key, size, flags)
        if self._identity < 0:
            raise _error()
        address = _libc.shmat(self._identity, None, 0)
        if address is None or address == _FAILED:
            raise _error()
        self._address: int | None = address
        self.view = memoryview((ctypes.c_char * size).from_address(address)).cast("B")

    def is_current(self) -> bool:
        """Whether others who attach by the key still get this segment.

        One that was removed (``ipcrm``) stays readable for those who have it, but nobody new will ever meet them there.
        """
        return bool(_libc.shmget(self._key, 0, 0) == self._identity)

    def close(self) -> None:
        """Detach; the view must not be used any more."""
        if self._address is not None:
            self.view.release()
            _libc.shmdt(self._address)
            self._address = None

    def remove(self) -> None:
        """Destroy the segment once all have detached: for tests that made it."""
        if _libc.shmctl(self._identity, _IPC_RMID, None) < 0:
            raise _error()


def _error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
