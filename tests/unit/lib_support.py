"""Roughtime servers on loopback, certificates for NTS there, and examples run as a user runs them."""

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
from dataclasses import dataclass, replace
from pathlib import Path

from roughtime_support import TestAuthority
from tls_support import make_identity

from timesync.base.measure import Leap
from timesync.base.time import Duration
from timesync.lib import Claim, NtsCertificate, NtsTrust, RoughtimeServerAddress

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


@dataclass(frozen=True)
class Papers:
    """Files of a certificate authority, and of a server of 127.0.0.1 and of ``NTS_HERE``.

    Attributes:
        trust: For clients.
        certificate: For a server; its key exchange listens on a free port of 127.0.0.1.
    """

    trust: NtsTrust
    certificate: NtsCertificate


NTS_HERE = "127.83.7.3"
"""No other test takes a port of this address, not even for a moment."""


def papers(directory: Path, listen: str = "127.0.0.1:0", authority_name: str = "Lab CA") -> Papers:
    """Made now, and good for some days."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = make_identity(authority_name, authority=True, now_s=time.time())
    server = make_identity("server", "127.0.0.1", NTS_HERE, issuer=authority, now_s=time.time())
    ca, certificate, key = (directory / name for name in ("ca.pem", "certificate.pem", "key.pem"))
    ca.write_bytes(authority.pem)
    certificate.write_bytes(server.pem)
    key.write_bytes(server.key_pem)
    return Papers(NtsTrust(ca), NtsCertificate(certificate, key, (listen,)))


def claim(ahead_s: float = 0.0, stratum: int = 3, leap: Leap = Leap.NONE) -> Claim:
    """What a server of a test says of its time."""
    return Claim(
        stratum=stratum,
        reference_id=b"LAB\0",
        root_dispersion=Duration.from_s(0.001),
        leap=leap,
        offset=Duration.from_s(ahead_s),
    )
