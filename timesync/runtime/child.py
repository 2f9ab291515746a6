"""A process of ours with fewer rights: started as a module, with a socket to the daemon and inherited descriptors."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Final

from timesync.runtime.serve_process import worker_environment

_STOP_S: Final = 2.0


class Child:
    """A process that was started.

    Attributes:
        control: Our end of its socket, non-blocking; the process ends when it is closed.
        started: Monotonic seconds.
    """

    def __init__(self, module: str, kind: socket.SocketKind, descriptors: Sequence[int]) -> None:
        """Start it. Raises OSError.

        Its arguments are numbers: the descriptor of its socket, our process id, and the descriptors.

        Args:
            module: What it runs.
            kind: Of the socket: SOCK_SEQPACKET keeps the borders of messages, SOCK_STREAM has room for long ones.
            descriptors: What it inherits.
        """
        self.control, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self.started = time.monotonic()
        try:
            with theirs:
                self.control.setblocking(False)
                # -P: nothing is imported from the working directory.
                self._popen = subprocess.Popen(  # noqa: S603 - our own interpreter, module and numbers
                    [sys.executable, "-P", "-s", "-m", module, *map(str, [theirs.fileno(), os.getpid(), *descriptors])],
                    pass_fds=[theirs.fileno(), *descriptors],
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
