"""The process of an NTP server worker, from the daemon's side."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import timesync
import timesync_drivers
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
                # -P: nothing is imported from the working directory.
                self.popen = subprocess.Popen(  # noqa: S603 - our own interpreter, module and numbers
                    [sys.executable, "-P", "-s", "-m", _MODULE, *map(str, arguments)],
                    pass_fds=inherited,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env=worker_environment(os.environ),
                )
        except OSError:
            self.control.close()
            raise

    def _hand_over(self, settings: bytes) -> None:
        if self.control.send(settings) != len(settings):
            raise OSError(errno.EMSGSIZE, "the NTP settings are too long for a worker's control socket")


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Ours without Python's own variables (a fixed hash seed would make the client table attackable)."""
    clean = {name: value for name, value in environment.items() if not name.startswith("PYTHON")}
    roots = dict.fromkeys(str(Path(package.__path__[0]).parent) for package in (timesync, timesync_drivers))
    clean["PYTHONPATH"] = os.pathsep.join(roots)
    return clean
