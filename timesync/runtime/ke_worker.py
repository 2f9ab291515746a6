"""The NTS-KE server: a process of its own, which holds the TLS keys and can do nothing to a clock.

``python -m timesync.runtime.ke_worker CONTROL PARENT SOCKET...`` with descriptors that were inherited: a socket to
the daemon, whose end is this process's end, the daemon's process id, and the bound sockets. Everything else comes
over the first one (``timesync.runtime.ke_messages``). Files are read through descriptors that the daemon opened:
this process has given up its rights to open them.
"""

from __future__ import annotations

import array
import asyncio
import contextlib
import os
import resource
import signal
import socket
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from timesync.nts.certificates import CertificateError, KeyPair, load_pair
from timesync.nts.cookies import CookieJar
from timesync.nts.master import MasterKeys
from timesync.nts.tls_server import ServerContext
from timesync.runtime.client_page import decode_clients, encode_clients
from timesync.runtime.ke_listener import KeListener
from timesync.runtime.ke_messages import (
    LARGEST,
    MAX_PAIRS,
    From,
    KeServiceSettings,
    PairFacts,
    Refused,
    To,
    decode_settings,
    decode_titles,
    encode_counters,
    encode_facts,
    read_pem,
)
from timesync_drivers.confine import (
    become_nobody,
    die_with_parent,
    drop_capabilities,
    forbid_children,
    forbid_files,
    forbid_inspection,
)

SPARE_DESCRIPTORS: Final = 64
"""For what is not a connection: sockets, files of certificates, the loop's own."""

REPORT_S: Final = 0.5
"""Counters are told at most so often."""


class Certificates:
    """The certificates that are served, by the file that they came from.

    Attributes:
        context: For connections; None as long as there is none that can be served.
    """

    def __init__(self) -> None:
        self.context: ServerContext | None = None
        self._pairs: dict[str, KeyPair] = {}

    def load(self, files: Sequence[tuple[str, int, int]]) -> tuple[list[PairFacts], list[Refused]]:
        """Take certificates (a title, and descriptors of the certificate and its key) in place of all others.

        One that cannot be used is refused, and what was served under its title before is served on.
        """
        pairs: dict[str, KeyPair] = {}
        refused: list[Refused] = []
        for title, certificate, key in files:
            try:
                pairs[title] = load_pair(read_pem(certificate), read_pem(key))
                ServerContext((pairs[title],))
            except CertificateError as error:
                refused.append(Refused(title, str(error)))
                pairs.pop(title, None)
                if title in self._pairs:
                    pairs[title] = self._pairs[title]
        if pairs:
            self._pairs = pairs
            self.context = ServerContext(tuple(pairs.values()))
        facts = [PairFacts(title, pair.names, pair.validity) for title, pair in self._pairs.items()]
        return facts, refused


class Worker:
    """The process, on its loop."""

    def __init__(self, control: socket.socket, settings: KeServiceSettings) -> None:
        self._loop = asyncio.get_running_loop()
        self._control = control
        self._listener = KeListener(settings, self._counted)
        self._certificates = Certificates()
        self._jar: CookieJar | None = None
        self._report: asyncio.TimerHandle | None = None
        self._ended = asyncio.Event()

    async def run(self, sockets: Sequence[socket.socket]) -> None:
        """Serve until the daemon closes its end."""
        self._control.setblocking(False)
        self._loop.add_reader(self._control, self._on_control)
        # What the daemon has said already comes before the first connection.
        self._on_control()
        for bound in sockets:
            await self._listener.listen(bound)
        self._tell(From.READY.value)
        await self._ended.wait()
        self._listener.close()

    def _on_control(self) -> None:
        while True:
            try:
                message, descriptors = receive(self._control)
            except BlockingIOError:
                return
            except OSError:
                message, descriptors = b"", []
            if not message:
                self._loop.remove_reader(self._control)
                self._ended.set()
                return
            try:
                self._take(To(message[:1]), message[1:], descriptors)
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def _take(self, kind: To, body: bytes, descriptors: list[int]) -> None:
        match kind:
            case To.MASTER_KEYS:
                keys = MasterKeys.decode(body)
                if self._jar is None:
                    self._jar = CookieJar(keys, os.urandom)
                else:
                    self._jar.replace(keys)
                self._listener.use(make_cookie=self._jar.make)
            case To.CERTIFICATES:
                files = list(zip(decode_titles(body), descriptors[::2], descriptors[1::2], strict=True))
                facts, refused = self._certificates.load(files)
                self._listener.use(context=self._certificates.context)
                self._tell(encode_facts(facts, refused))
            case To.PING:
                self._tell(From.PONG.value)
            case To.LIST:
                self._tell(From.CLIENTS.value + encode_clients(self._listener.log.leading()))
            case To.BEFORE:
                self._listener.log.restore(decode_clients(body).records)
            case To.SETTINGS:
                raise ValueError("settings are for the start")

    def _counted(self) -> None:
        if self._report is None:
            self._report = self._loop.call_later(REPORT_S, self._tell_counters)

    def _tell_counters(self) -> None:
        self._report = None
        self._tell(encode_counters(self._listener.counters))

    def _tell(self, message: bytes) -> None:
        # A daemon that does not read will have the next ones; one that is gone ends us by itself.
        with contextlib.suppress(OSError):
            self._control.send(message)


def receive(control: socket.socket) -> tuple[bytes, list[int]]:
    """One message of the daemon's, and the descriptors that came with it. Raises OSError."""
    size = socket.CMSG_SPACE(2 * MAX_PAIRS * array.array("i").itemsize)
    message, ancillary, _, _ = control.recvmsg(LARGEST, size, socket.MSG_CMSG_CLOEXEC)
    descriptors = array.array("i")
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
    return message, descriptors.tolist()


async def _serve(control: socket.socket, settings: KeServiceSettings, sockets: Sequence[socket.socket]) -> None:
    await Worker(control, settings).run(sockets)


def make_room(connections: int) -> int:
    """Allow this process as many descriptors as its connections need; how many connections that makes room for."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - SPARE_DESCRIPTORS))


def main(arguments: Sequence[str]) -> None:
    """Run the server on inherited descriptors until the daemon goes away."""
    control_number, parent, *descriptors = map(int, arguments)
    # A terminal and a service manager signal the whole group; the daemon says when to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    control = socket.socket(fileno=control_number)
    message, _ = receive(control)
    if not message:
        raise SystemExit(0)
    assert To(message[:1]) is To.SETTINGS
    settings = decode_settings(message[1:])
    limits = replace(settings.limits, connections=make_room(settings.limits.connections))
    settings = replace(settings, limits=limits)
    sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    for bound in sockets:
        bound.setblocking(False)
    become_nobody()
    drop_capabilities()
    forbid_children()
    # Nothing but the code of this program: certificates and keys come as open files.
    if not forbid_files(sys.path):
        control.send(From.UNCONFINED.value)
    forbid_inspection()
    # Not forbid_new_code: cffi makes the callbacks of pyOpenSSL in memory that can be written.
    die_with_parent(parent)
    with asyncio.Runner() as runner:
        runner.run(_serve(control, settings, sockets))


if __name__ == "__main__":
    main(sys.argv[1:])
