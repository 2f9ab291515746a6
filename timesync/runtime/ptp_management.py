"""The Unix sockets that ``pmc`` and ``phc2sys`` talk to: ``timesync.transport.ManagementSocket``.

As ptp4l has them: datagrams at a path for the owner and his group, and at the same path with "ro" at its end for
everybody, to read only. Datagrams that wait fill a short queue of the kernel's, so a flood holds up who makes it.
"""

from __future__ import annotations

import asyncio
import errno
from functools import partial
from pathlib import Path

from timesync.transport import READ_ONLY_SUFFIX, ManagementHandler
from timesync_drivers.inbox import DatagramSocket

WRITABLE_MODE, READ_ONLY_MODE = 0o660, 0o666
PER_WAKE = 16
"""Messages taken in one go."""

PAUSE_S = 0.02
"""Rest after so many: with it no more than 800 a second are answered on either socket."""

_NOBODY = frozenset({errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK, errno.ENOTDIR})


class _Inbox:
    """One of the two."""

    def __init__(self, loop: asyncio.AbstractEventLoop, opened: DatagramSocket, owner: UnixManagement) -> None:
        self.socket = opened
        self._loop = loop
        self._owner = owner
        self._pause: asyncio.TimerHandle | None = None
        self._listen()

    def _listen(self) -> None:
        self._pause = None
        self._loop.add_reader(self.socket.fileno(), self._on_readable)

    def _on_readable(self) -> None:
        for _ in range(PER_WAKE):
            if self.socket.fileno() < 0:
                return  # closed by what the message before led to
            try:
                taken = self.socket.receive()
            except OSError:
                self._owner.failed += 1
                taken = None
            if taken is None:
                return
            self._owner.on_datagram(self, *taken)
        if self.socket.fileno() >= 0:
            self._loop.remove_reader(self.socket.fileno())
            self._pause = self._loop.call_later(PAUSE_S, self._listen)

    def close(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
        elif self.socket.fileno() >= 0:
            self._loop.remove_reader(self.socket.fileno())
        self.socket.close()


class UnixManagement:
    """Both sockets of one instance.

    Attributes:
        failed: Messages that could not be sent or read.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, path: str, handler: ManagementHandler) -> None:
        """Open them. Raises OSError: EADDRINUSE when somebody listens there, EEXIST for what is no socket."""
        self.failed = 0
        self._handler = handler
        self._loop = loop
        self._open = True
        Path(path).parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        writable = DatagramSocket(path, WRITABLE_MODE)
        try:
            readable = DatagramSocket(path + READ_ONLY_SUFFIX, READ_ONLY_MODE)
        except BaseException:
            writable.close()
            raise
        self._writable, self._readable = _Inbox(loop, writable, self), _Inbox(loop, readable, self)

    def send(self, data: bytes, address: str, *, writable: bool) -> None:
        """Send from one of them; failures are counted."""
        if not self._open:
            return
        try:
            (self._writable if writable else self._readable).socket.send(data, address)
        except OSError as error:
            self.failed += 1
            if error.errno in _NOBODY:
                # Not from inside the handler's own call.
                self._loop.call_soon(partial(self._unreachable, address))

    def close(self) -> None:
        """Close both and remove their paths. A second call does nothing."""
        self._open = False
        self._writable.close()
        self._readable.close()

    def on_datagram(self, inbox: _Inbox, data: bytes, address: str) -> None:
        """One of them has read a datagram; what has no address cannot be answered and is left."""
        if address and self._open:
            self._handler.on_management(data, address, writable=inbox is self._writable)

    def _unreachable(self, address: str) -> None:
        if self._open:
            self._handler.on_unreachable(address)
