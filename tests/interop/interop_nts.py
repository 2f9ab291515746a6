"""A certificate authority for a test LAN, made with the openssl command, and NTS key establishment from a node."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path

from interop_support import Node

from timesync.base.ids import Endpoint
from timesync.base.time import Instant, Utc
from timesync.nts.ke_client import KeOffer
from timesync.nts.tls_client import Trust
from timesync.runtime.ke_client import Established, KeFailure, KeRemote, establish
from timesync.runtime.ke_stream import LinuxStream, connect_stream


class Authority:
    """Issues certificates for addresses and names.

    Attributes:
        certificate: Its own.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self.certificate, self._key = directory / "ca.pem", directory / "ca.key"
        _openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", "/CN=Interop CA", "-addext", "keyUsage=critical,keyCertSign",
            "-keyout", self._key, "-out", self.certificate,
        )  # fmt: skip

    def issue(self, name: str, *alternatives: str) -> tuple[Path, Path]:
        """A certificate and its key, for such as ``IP:198.51.100.1`` and ``DNS:time.example.org``."""
        certificate, key, request = (self._directory / f"{name}{end}" for end in (".pem", ".key", ".csr"))
        _openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
            "-keyout", key, "-out", request,
        )  # fmt: skip
        extensions = self._directory / f"{name}.ext"
        extensions.write_text(f"subjectAltName={','.join(alternatives)}\nextendedKeyUsage=serverAuth\n")
        _openssl(
            "x509", "-req", "-in", request, "-CA", self.certificate, "-CAkey", self._key, "-CAcreateserial",
            "-days", "20", "-extfile", extensions, "-out", certificate,
        )  # fmt: skip
        key.chmod(0o600)
        return certificate, key


def _openssl(*arguments: str | Path) -> None:
    done = subprocess.run(["openssl", *map(str, arguments)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def now() -> Instant[Utc]:
    """This machine's time."""
    return Instant.from_ns(time.time_ns())


class _Direct:
    """A network without names."""

    async def resolve(self, name: str, port: int) -> list[Endpoint]:
        return [Endpoint(name, port)]

    async def connect(self, remote: Endpoint) -> LinuxStream:
        return await connect_stream(remote)


def ask(here: Node, server: Node, trust: Trust, offer: KeOffer | None = None) -> Established | KeFailure:
    """Key establishment from one namespace with a server in another."""
    remote = KeRemote(server=server.address, trust=trust, offer=offer or KeOffer())
    with here.entered():
        return asyncio.run(establish(_Direct(), remote, now()))
