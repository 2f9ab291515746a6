"""Roughtime servers on loopback, and examples run as a user runs them."""

from __future__ import annotations

import base64
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from roughtime_support import TestAuthority

from timesync.lib import RoughtimeServerAddress

ROOT = Path(__file__).parents[2]


class RoughtimeTrial:
    """One server, answering from a thread until it is closed; its time is the system clock's plus ``ahead_s``."""

    def __init__(self, seed: int, ahead_s: int) -> None:
        self._authority = TestAuthority(seed=seed, period=(0, 2**40))
        self._ahead_s = ahead_s
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self._ending, self._end = os.pipe()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def address(self) -> RoughtimeServerAddress:
        host, port = self._socket.getsockname()
        return RoughtimeServerAddress(f"{host}:{port}", self._authority.public_key)

    @property
    def argument(self) -> str:
        """As ``examples/roughtime.py`` takes it."""
        return f"{self.address.address}={base64.b64encode(self.address.public_key).decode()}"

    def close(self) -> None:
        os.write(self._end, b"x")
        self._thread.join()
        self._socket.close()
        os.close(self._ending)
        os.close(self._end)

    def _run(self) -> None:
        while True:
            readable, _, _ = select.select([self._socket, self._ending], [], [])
            if self._ending in readable:
                return
            request, sender = self._socket.recvfrom(4096)
            now = replace(self._authority, midpoint_s=int(time.time()) + self._ahead_s)
            self._socket.sendto(now.answer(request), sender)


@contextmanager
def roughtime_servers(*ahead_s: int) -> Iterator[list[RoughtimeTrial]]:
    """One server for each, so many seconds ahead of the system clock."""
    servers = [RoughtimeTrial(seed, ahead) for seed, ahead in enumerate(ahead_s, 1)]
    try:
        yield servers
    finally:
        for server in servers:
            server.close()


def example(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment() -> dict[str, str]:
    """That of a program that has timesync installed."""
    paths = os.pathsep.join(str(ROOT / part) for part in (".", "drivers", "profiles"))
    return {**os.environ, "PYTHONPATH": paths}
