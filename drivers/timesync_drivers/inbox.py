"""A Unix datagram socket that others send to, with the kernel's receive stamps."""

from __future__ import annotations

import errno
import os
import socket
import stat
from pathlib import Path

from timesync_drivers import abi

NS_PER_S = 1_000_000_000

_ANCILLARY = socket.CMSG_SPACE(abi.SCM_TIMESTAMPNS_BODY.size)

MODE = 0o660
MAX_DATAGRAM = 4096


class DatagramSocket:
    """A bound socket; whoever may write to its path may send."""

    def __init__(self, path: str, mode: int = MODE) -> None:
        """Make it with these permissions, in place of one that nobody listens on any more.

        Raises OSError: EADDRINUSE when somebody does, EEXIST when the path is something else than a socket.
        """
        self._path = Path(path)
        self._identity: tuple[int, int] | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._clear()
            # The mode of the socket is that of the file to be, less the umask: nobody else gets in before the chmod.
            os.fchmod(self._socket.fileno(), mode)
            self._socket.bind(path)
            self._identity = _identity(self._path)
            self._path.chmod(mode)
            # SO_TIMESTAMPING, which sockets of the network take, has no effect on Unix sockets.
            self._socket.setsockopt(socket.SOL_SOCKET, abi.SO_TIMESTAMPNS, 1)
        except BaseException:
            self.close()
            raise

    def fileno(self) -> int:
        """For an event loop."""
        return self._socket.fileno()

    def read(self) -> tuple[bytes, int | None] | None:
        """The next datagram, cut at 4096 octets, and when the kernel took it, ns since 1970 of CLOCK_REALTIME.

        None when there is none. Raises OSError.
        """
        try:
            data, ancillary, _, _ = self._socket.recvmsg(MAX_DATAGRAM, _ANCILLARY)
        except BlockingIOError:
            return None
        for level, kind, body in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, abi.SCM_TIMESTAMPNS) and len(body) >= abi.SCM_TIMESTAMPNS_BODY.size:
                seconds, nanoseconds = abi.SCM_TIMESTAMPNS_BODY.unpack_from(body)
                return data, seconds * NS_PER_S + nanoseconds
        return data, None

    def receive(self) -> tuple[bytes, str] | None:
        """The next datagram, cut at 4096 octets, and the path of the socket that it came from.

        The path is empty for a socket that has none, which cannot be answered; one with a zero at its start is of the
        abstract namespace (unix(7)). None when there is no datagram. Raises OSError.
        """
        try:
            data, address = self._socket.recvfrom(MAX_DATAGRAM)
        except BlockingIOError:
            return None
        return data, os.fsdecode(address) if address else ""

    def send(self, data: bytes, path: str) -> None:
        """Send a datagram to the socket at a path.

        Raises OSError: ENOENT or ECONNREFUSED when nobody is there, EAGAIN when he does not read.
        """
        self._socket.sendto(data, path)

    def close(self) -> None:
        """Close it, and remove its path unless that is another's by now. A second call does nothing."""
        if self._socket.fileno() < 0:
            return
        self._socket.close()
        if self._identity is not None and _identity(self._path) == self._identity:
            self._path.unlink(missing_ok=True)

    def _clear(self) -> None:
        try:
            mode = self._path.lstat().st_mode
        except FileNotFoundError:
            return
        if not stat.S_ISSOCK(mode):
            raise FileExistsError(errno.EEXIST, "exists and is no socket", str(self._path))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink(missing_ok=True)
                return
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), str(self._path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.lstat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
