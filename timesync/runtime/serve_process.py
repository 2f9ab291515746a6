"""The process of an NTP server worker, from the daemon's side."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Sequence
from typing import Final

from timesync.runtime.child import spawn
from timesync.runtime.client_page import ClientPage
from timesync.runtime.serve_block import SharedBlock
from timesync.runtime.serve_worker import OVER_PTP

_MODULE: Final = "timesync.runtime.serve_worker"


class ServeProcess:
    """A process that was started.

    Attributes:
        popen: It.
        control: Our end of its control socket, non-blocking.
        started: Monotonic seconds.
    """

    def __init__(
        self, slot: int, settings: bytes, block: SharedBlock, page: ClientPage, sockets: Sequence[int], plain: int
    ) -> None:
        """Start it; the sockets behind the first ``plain`` are asked by NTP over PTP. Raises OSError."""
        self.control, theirs = socket.socketpair()
        self.started = time.monotonic()
        try:
            with theirs:
                self.control.setblocking(False)
                # Before there is a process: a socket pair holds this much, and nobody can make us wait.
                self._hand_over(settings)
                inherited = [theirs.fileno(), block.descriptor, page.descriptor, *sockets]
                named = [*sockets[:plain], *(f"{number}{OVER_PTP}" for number in sockets[plain:])]
                arguments = [theirs.fileno(), block.descriptor, page.descriptor, slot, os.getpid(), *named]
                self.popen = spawn(_MODULE, arguments, inherited)
        except OSError:
            self.control.close()
            raise

    def _hand_over(self, settings: bytes) -> None:
        if self.control.send(settings) != len(settings):
            raise OSError(errno.EMSGSIZE, "the NTP settings are too long for a worker's control socket")
