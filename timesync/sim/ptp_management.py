"""The management sockets of a simulated machine: what tools send is put in by whoever plays them."""

from __future__ import annotations

import asyncio
import errno
import os
from functools import partial

from timesync.transport import ManagementHandler


class SimManagement:
    """``timesync.transport.ManagementSocket`` without a file.

    Attributes:
        path: Of the writable one.
        sent: What the daemon sent: the data, to whom, and from which of the two.
        deaf: Paths at which nobody listens.
    """

    def __init__(self, path: str, taken: dict[str, SimManagement], handler: ManagementHandler) -> None:
        """Open. Raises OSError, EADDRINUSE, when the path is taken."""
        if path in taken:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE), path)
        self.path = path
        self.sent: list[tuple[bytes, str, bool]] = []
        self.deaf: set[str] = set()
        self._taken = taken
        self._handler = handler
        self._loop = asyncio.get_running_loop()
        taken[path] = self

    def deliver(self, data: bytes, address: str, *, writable: bool = True) -> None:
        """A tool sends a message."""
        self._loop.call_soon(self._if_open, partial(self._handler.on_management, data, address, writable=writable))

    def send(self, data: bytes, address: str, *, writable: bool) -> None:
        """See ``ManagementSocket``."""
        if address in self.deaf:
            self._loop.call_soon(self._if_open, partial(self._handler.on_unreachable, address))
        else:
            self.sent.append((data, address, writable))

    def close(self) -> None:
        """See ``ManagementSocket``."""
        if self._taken.get(self.path) is self:
            del self._taken[self.path]

    def _if_open(self, call: partial[None]) -> None:
        if self._taken.get(self.path) is self:
            call()
