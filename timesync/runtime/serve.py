"""The NTP service of a Linux host: ``timesync.host.NtpService`` in worker processes or on the event loop.

``open_service`` chooses. Both run on any asyncio selector loop and use no thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Final

from timesync.base.ids import Endpoint
from timesync.base.machine import Entropy, Rng
from timesync.ntp.client_log import ClientList, ClientRecord
from timesync.ntp.over_ptp import respond as respond_over_ptp
from timesync.ntp.server import Count, Reply, Server, ServerCounters, ServerSettings, ServeState
from timesync.nts.master import MasterKeys
from timesync.runtime.client_page import ClientPage
from timesync.runtime.serve_block import SharedBlock
from timesync.runtime.serve_process import ServeProcess
from timesync.runtime.serve_socket import ServingSocket, departure_ns, endpoint_of, is_unicast, open_sockets
from timesync.runtime.serve_worker import LIST, LISTED, READY, UNCONFINED, encode_keys, encode_settings
from timesync_drivers.confine import unconfined

_log = logging.getLogger(__name__)

MAX_WORKERS: Final = 4
FIRST_BACKOFF_S: Final = 0.1
MAX_BACKOFF_S: Final = 10.0
STABLE_S: Final = 60.0
"""A worker that lived this long dies of something new: its successor starts without delay again."""

_REAP_S: Final = 0.01
_STOP_S: Final = 2.0
_ROUND: Final = 64
LIST_S: Final = 1.0
"""So old may be what is told of the clients."""

_LIST_PATIENCE_S: Final = 0.5


def open_service(
    settings: ServerSettings,
    listen: Sequence[Endpoint],
    workers: int | None,
    ptp_listen: Sequence[Endpoint] = (),
    clients: Sequence[ClientRecord] = (),
) -> WorkerService | LoopService:
    """Start serving; to be called on a running loop. Raises OSError.

    Args:
        settings: How to serve.
        listen: Where; port 0 takes a free one. A wildcard IPv6 address does not take IPv4 in.
        workers: Processes; None: one for two processors, at most four; 0: inside this process.
        ptp_listen: Where to listen for NTP over PTP.
        clients: Who has asked before, as ``close`` gave it.
    """
    if workers == 0:
        return LoopService(settings, listen, ptp_listen=ptp_listen, clients=clients)
    return WorkerService(settings, listen, workers, ptp_listen, clients)


def default_workers() -> int:
    """One worker for two processors that this process may use, at least 1, at most 4."""
    return max(1, min(len(os.sched_getaffinity(0)) // 2, MAX_WORKERS))


class LoopService:
    """The server inside this process: for tests, small machines, simulators that follow one process."""

    def __init__(
        self,
        settings: ServerSettings,
        listen: Sequence[Endpoint],
        make: Callable[[ServerSettings, Rng, Entropy], Server] = Server,
        ptp_listen: Sequence[Endpoint] = (),
        clients: Sequence[ClientRecord] = (),
    ) -> None:
        """Bind the sockets and answer; ``make`` may give a server that behaves otherwise. Raises OSError."""
        self._loop = asyncio.get_running_loop()
        self._server = make(settings, random.SystemRandom(), os.urandom)
        self._server.clients.log.restore(clients)
        (opened,) = open_sockets(listen, 1, ptp_listen)
        self._sockets = [ServingSocket(bound) for bound in opened]
        self._addresses = [endpoint_of(bound) for bound in opened]
        for number, serving in enumerate(self._sockets):
            respond = self._server.respond if number < len(listen) else partial(respond_over_ptp, self._server)
            self._loop.add_reader(serving.socket, self._on_readable, serving, respond)

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """What it listens on."""
        return self._addresses

    def publish(self, state: ServeState) -> None:
        """Answer from this state from now on."""
        self._server.publish(state)

    def rekey(self, keys: MasterKeys) -> None:
        """Open and make cookies of NTS with these from now on."""
        self._server.rekey(keys)

    def counters(self) -> ServerCounters:
        """Sums since the start."""
        return self._server.counters()

    async def clients(self) -> ClientList:
        """Who has asked."""
        return self._server.clients.log.leading()

    def close(self) -> Sequence[ClientRecord]:
        """Stop answering; gives who has asked, for who serves next."""
        for serving in self._sockets:
            self._loop.remove_reader(serving.socket)
            serving.socket.close()
        self._sockets = []
        return self._server.clients.log.clients().records

    def _on_readable(self, serving: ServingSocket, respond: Callable[..., Reply | None]) -> None:
        # The error queue wakes readers too.
        server = self._server
        lines = server.lines(departure_ns(), time.monotonic_ns())
        for stamp_as, stamp_ns in serving.stamps(lines):
            server.sent(stamp_as, stamp_ns)
        for _ in range(_ROUND):
            try:
                datagram = serving.receive()
            except OSError:  # nothing more, or an error that the network left; either ends the round
                return
            if datagram.local is not None and not is_unicast(datagram.local):
                server.counts[Count.RECEIVED] += 1
                server.counts[Count.BAD] += 1
                continue
            line = lines.get(datagram.interface)
            at = line.received(datagram.stamp_ns, datagram.card_ns) if line is not None and datagram.card_ns else None
            stamp_ns = datagram.stamp_ns if at is None else at
            host, port = datagram.address[:2]
            reply = respond(datagram.data, host, port, stamp_ns, departure_ns, time.monotonic_ns())
            if reply is None:
                continue
            server.counts[Count.HARDWARE] += at is not None
            interface = 0 if at is None else datagram.interface
            if not serving.reply(reply.data, datagram.address, datagram.local, reply.stamp_as, interface):
                server.counts[Count.UNSENT] += 1


class WorkerService:
    """The server in processes of its own.

    The daemon keeps every worker's sockets open, so that requests wait while a dead worker is replaced, and
    so that a port below 1024 need not be bound again.
    """

    def __init__(
        self,
        settings: ServerSettings,
        listen: Sequence[Endpoint],
        workers: int | None = None,
        ptp_listen: Sequence[Endpoint] = (),
        clients: Sequence[ClientRecord] = (),
    ) -> None:
        """Bind the sockets and start the processes; None workers: ``default_workers``. Raises OSError."""
        count = default_workers() if workers is None else workers
        self._sockets = open_sockets(listen, count, ptp_listen)
        self._addresses = [endpoint_of(bound) for bound in self._sockets[0]]
        self._workers: list[_Worker] = []
        self._listed_at = -LIST_S
        try:
            self._block = SharedBlock.create(count)
        except OSError:
            self._close_sockets()
            raise
        try:
            self._settings = settings
            self._pages: list[ClientPage] = []
            line = encode_settings(settings)
            for slot, sockets in enumerate(self._sockets):
                # Each goes on with a part of them: whichever they ask now, what is told of them is added up.
                before = clients[slot::count]
                page = ClientPage.create(settings.clients)
                page.write(ClientList(before, len(before)))
                self._pages.append(page)
                descriptors = [bound.fileno() for bound in sockets]
                self._workers.append(_Worker(slot, line, self._block, page, descriptors, len(listen)))
        except OSError:
            self.close()
            raise

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """What it listens on."""
        return self._addresses

    @property
    def pids(self) -> Sequence[int | None]:
        """Process ids of the workers, to measure what they cost; None for one that waits to be started again."""
        return [worker.pid for worker in self._workers]

    async def ready(self) -> None:
        """Wait until every worker answers; requests that come before then wait in the sockets."""
        await asyncio.gather(*(worker.ready.wait() for worker in self._workers))

    def publish(self, state: ServeState) -> None:
        """Answer from this state from now on."""
        self._block.write_state(state)

    def rekey(self, keys: MasterKeys) -> None:
        """Open and make cookies of NTS with these from now on; workers that are started later have them too."""
        self._settings = replace(self._settings, nts=keys)
        line, settings = encode_keys(keys), encode_settings(self._settings)
        for worker in self._workers:
            worker.order(line, settings)

    def counters(self) -> ServerCounters:
        """Sums over all workers since the start."""
        total = ServerCounters(restarts=sum(worker.restarts for worker in self._workers))
        for worker in self._workers:
            total += self._block.read_counters(worker.slot)
        return total

    async def clients(self) -> ClientList:
        """Who has asked, a second ago at most; a worker that does not say so in time stands by what it said before."""
        workers = tuple(self._workers)
        if time.monotonic() - self._listed_at >= LIST_S:
            self._listed_at = time.monotonic()
            for worker in workers:
                worker.ask_clients()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LIST_PATIENCE_S):
                await asyncio.gather(*(worker.listed.wait() for worker in workers))
        return ClientList.merged([worker.clients for worker in workers]).leading()

    def close(self) -> Sequence[ClientRecord]:
        """Stop answering: end the workers and wait for them, at most two seconds; gives who has asked."""
        for worker in self._workers:
            worker.stop()
        for worker in self._workers:
            worker.wait()
        left = ClientList.merged([page.read() for page in self._pages])
        for page in self._pages:
            page.close()
        if self._sockets:
            self._close_sockets()
            self._block.close()
        self._workers, self._pages = [], []
        return left.records

    def _close_sockets(self) -> None:
        for group in self._sockets:
            for bound in group:
                bound.close()
        self._sockets = []


class _Worker:
    """One worker process and its successors.

    Attributes:
        slot: Which counters are its own.
        restarts: How many times it had to be started again.
        ready: Set while the process serves.
        clients: Who has asked it, when it was last asked for that.
        listed: Set while it is not asked for that.
    """

    def __init__(
        self,
        slot: int,
        settings: bytes,
        block: SharedBlock,
        page: ClientPage,
        descriptors: Sequence[int],
        plain: int,
    ) -> None:
        self.slot = slot
        self.restarts = 0
        self.ready = asyncio.Event()
        self.clients = ClientList()
        self.listed = asyncio.Event()
        self.listed.set()
        self._page = page
        self._loop = asyncio.get_running_loop()
        self._settings = settings
        self._block = block
        self._descriptors = descriptors
        self._plain = plain
        self._backoff_s = FIRST_BACKOFF_S
        self._timer: asyncio.TimerHandle | None = None
        self._process: ServeProcess | None = None
        self._start()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        return None if self._process is None else self._process.popen.pid

    def order(self, line: bytes, settings: bytes) -> None:
        """Tell the process; its successors begin with ``settings``."""
        self._settings = settings
        self._say(line)

    def ask_clients(self) -> None:
        """Have it tell of its clients, unless it still has to answer the last such question."""
        if self.ready.is_set() and self.listed.is_set():
            self.listed.clear()
            self._say(LIST + b"\n")

    def _say(self, line: bytes) -> None:
        process = self._process
        if process is None or process.control.fileno() < 0:
            return
        try:
            whole = process.control.send(line) == len(line)
        except OSError:
            whole = False
        if not whole:
            # It hangs, or has just died: whoever comes after it has the new settings.
            process.popen.kill()

    def stop(self) -> None:
        """Let go of the process: the end of its control socket is its end."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.listed.set()
        if self._process is not None:
            self._let_go(self._process)

    def _let_go(self, process: ServeProcess) -> None:
        """Close our end of its control socket; that of a process that is about to be reaped is closed already."""
        if process.control.fileno() >= 0:
            self._loop.remove_reader(process.control)
            process.control.close()

    def wait(self) -> None:
        """Wait for the process to end; kill it when it does not."""
        if self._process is None:
            return
        try:
            self._process.popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.popen.kill()
            self._process.popen.wait()
        self._process = None

    def _start(self) -> None:
        self._timer = None
        try:
            self._process = ServeProcess(
                self.slot, self._settings, self._block, self._page, self._descriptors, self._plain
            )
        except OSError as error:
            if self.restarts == 0:
                raise
            _log.warning("NTP worker %d cannot be started: %s", self.slot, error)
            self._again()
            return
        self._loop.add_reader(self._process.control, self._on_control)

    def _on_control(self) -> None:
        process = self._process
        assert process is not None
        try:
            said = process.control.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if UNCONFINED in said:
            _tell_unconfined()
        if READY in said:
            self.ready.set()
        if LISTED in said:
            self.clients = self._page.read()
            self.listed.set()
        if said:
            return
        self._let_go(process)
        self.ready.clear()
        self.listed.set()
        self._reap()

    def _reap(self) -> None:
        """The process is about to be gone, its descriptors are already; then start another."""
        process = self._process
        assert process is not None
        code = process.popen.poll()
        if code is None:
            self._timer = self._loop.call_later(_REAP_S, self._reap)
            return
        self._process = None
        lived_s = time.monotonic() - process.started
        if lived_s >= STABLE_S:
            self._backoff_s = FIRST_BACKOFF_S
        self.restarts += 1
        _log.warning(
            "NTP worker %d ended with %d after %.1f s; starting again in %.1f s",
            self.slot,
            code,
            lived_s,
            self._backoff_s,
        )
        self._again()

    def _again(self) -> None:
        self._timer = self._loop.call_later(self._backoff_s, self._start)
        self._backoff_s = min(self._backoff_s * 2, MAX_BACKOFF_S)


@cache
def _tell_unconfined() -> None:
    """Once, however many workers say so."""
    _log.info("%s", unconfined("an NTP worker"))
