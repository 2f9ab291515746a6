"""The process of the NTS-KE server, seen from the daemon: starting it, and talking with it."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from typing import Final

from timesync.runtime.child import Child
from timesync.runtime.ke_messages import LARGEST

_MODULE: Final = "timesync.runtime.ke_worker"


class KeProcess(Child):
    """A process that was started.

    Attributes:
        unanswered: Questions after its health that it has not answered.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        """Start it with these listening sockets. Raises OSError."""
        # Messages with borders: a part of one cannot be taken for another.
        super().__init__(_MODULE, socket.SOCK_SEQPACKET, [bound.fileno() for bound in sockets])
        self.unanswered = 0

    def tell(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send it a message, with copies of descriptors. Raises OSError; BlockingIOError when it does not read."""
        if descriptors:
            socket.send_fds(self.control, [message], list(descriptors))
        else:
            self.control.send(message)

    def hear(self) -> bytes:
        """A message of it; empty when it has ended. Raises OSError; BlockingIOError when there is none."""
        return self.control.recv(LARGEST)
