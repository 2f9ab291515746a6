"""The process of the NTS-KE server, seen from the daemon: starting it, its socket, its end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from timesync.runtime.ke_messages import LARGEST
from timesync.runtime.serve import worker_environment

_STOP_S: Final = 2.0
_MODULE: Final = "timesync.runtime.ke_worker"


class KeProcess:
    """A process that was started.

    Attributes:
        control: Our end of its socket, non-blocking.
        started: Monotonic seconds.
        unanswered: Questions after its health that it has not answered.
    """

    def __init__(self, sockets: Sequence[socket.socket]) -> None:
        """Start it with these listening sockets. Raises OSError."""
        # Messages with borders: a part of one cannot be taken for another.
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.started = time.monotonic()
        self.unanswered = 0
        listening = [bound.fileno() for bound in sockets]
        try:
            with theirs:
                self.control.setblocking(False)
                # -P: nothing is imported from the working directory.
                self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter, module and numbers
                    [sys.executable, "-P", "-s", "-m", _MODULE, *map(str, [theirs.fileno(), os.getpid(), *listening])],
                    pass_fds=[theirs.fileno(), *listening],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=worker_environment(os.environ),
                )
        except OSError:
            self.control.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def tell(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        """Send it a message, with copies of descriptors. Raises OSError; BlockingIOError when it does not read."""
        if descriptors:
            socket.send_fds(self.control, [message], list(descriptors))
        else:
            self.control.send(message)

    def hear(self) -> bytes:
        """A message of it; empty when it has ended. Raises OSError; BlockingIOError when there is none."""
        return self.control.recv(LARGEST)

    def kill(self) -> None:
        """End it at once; its socket then says so."""
        self._popen.kill()

    def let_go(self) -> None:
        """Close our end of its socket, which is its end."""
        self.control.close()

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._popen.poll()

    def end(self) -> None:
        """Let go of it and wait, two seconds at most; then it is killed."""
        self.let_go()
        try:
            self._popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
