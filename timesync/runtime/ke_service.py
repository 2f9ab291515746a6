"""The NTS-KE server as the daemon has it: its process, certificates that change, and sentences about them.

The daemon keeps the listening sockets: clients that come while the process is replaced wait in them. It opens the
certificate files and hands the descriptors on, and never reads a TLS key. Runs on any asyncio selector loop, with no
thread.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from timesync.base.ids import Endpoint
from timesync.base.time import Instant, Utc
from timesync.host import RefusedCertificate, ServedCertificate
from timesync.ntp.client_log import ClientList
from timesync.nts.certificates import expiry_notice, expiry_stage
from timesync.nts.master import MasterKeys
from timesync.runtime.client_page import decode_clients, encode_clients
from timesync.runtime.ke_files import PairFiles, Watch, open_pairs
from timesync.runtime.ke_listener import BACKLOG
from timesync.runtime.ke_messages import (
    MAX_PAIRS,
    From,
    KeServiceSettings,
    PairFacts,
    Refused,
    To,
    decode_counters,
    decode_facts,
    encode_settings,
    encode_titles,
)
from timesync.runtime.ke_process import KeProcess
from timesync.runtime.serve_socket import endpoint_of
from timesync_drivers.confine import unconfined

_log = logging.getLogger(__name__)

WATCH_S: Final = 5.0
FIRST_BACKOFF_S: Final = 0.1
MAX_BACKOFF_S: Final = 10.0
MAX_UNANSWERED: Final = 3
"""A process that has not answered so many questions, ``WATCH_S`` apart, hangs."""

REAP_S: Final = 0.01
PATIENCE: Final = 200
"""So many times ``REAP_S`` a process may take to end after it has closed its socket."""

LIST_PATIENCE_S: Final = 0.5
STABLE_S: Final = 60.0
"""A process that lived this long died of something new: its successor starts without delay again."""

Note = Callable[[str, str], None]
"""Takes a level (``info``, ``warning``, ``error``) and a sentence for the operator."""


def log_note(level: str, text: str) -> None:
    """A sentence for the operator goes to the log."""
    _log.log(logging.getLevelNamesMapping()[level.upper()], "%s", text)


def open_listeners(listen: Sequence[Endpoint]) -> list[socket.socket]:
    """Listening sockets, in order; port 0 takes a free one, and ``::`` leaves IPv4 alone. Raises OSError."""
    opened: list[socket.socket] = []
    try:
        for endpoint in listen:
            v6 = ":" in endpoint.address
            bound = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            opened.append(bound)
            # For a restart of the daemon: connections of before may linger.
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if v6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            where = (endpoint.address, endpoint.port)
            bound.bind((*where, 0, endpoint.scope) if v6 else where)
            bound.listen(BACKLOG)
    except OSError:
        for bound in opened:
            bound.close()
        raise
    return opened


class KeService:
    """The server, for as long as it is not closed.

    Attributes:
        restarts: How many times its process had to be started again.
        ready: Set while it takes connections.
    """

    def __init__(
        self,
        settings: KeServiceSettings,
        listen: Sequence[Endpoint],
        files: Sequence[PairFiles],
        keys: MasterKeys,
        now: Callable[[], Instant[Utc]],
        note: Note = log_note,
    ) -> None:
        """Listen and start the process; to be called on a running loop. Raises OSError.

        Args:
            settings: How to serve.
            listen: Where; port 0 takes a free one.
            files: Certificates with their keys; the first is for clients that name no server, or an unknown one.
            keys: Master keys of cookies.
            now: What our clock says, for sentences about dates.
            note: Takes those sentences, and others that an operator should read.
        """
        if not 1 <= len(files) <= MAX_PAIRS:
            raise ValueError(f"{len(files)} certificates; 1 to {MAX_PAIRS} can be served")
        self.restarts = 0
        self.ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._hello = encode_settings(settings)
        self._files = tuple(files)
        self._keys = keys
        self._lore = _Lore(now, note)
        self._backoff_s = FIRST_BACKOFF_S
        self._timer: asyncio.TimerHandle | None = None
        self._process: KeProcess | None = None
        self._sockets = open_listeners(listen)
        self._addresses = [endpoint_of(bound) for bound in self._sockets]
        try:
            self._watch = Watch(self._files)
            self._start()
        except OSError:
            self._close_sockets()
            raise
        self._watching = self._loop.call_later(WATCH_S, self._look)

    @property
    def addresses(self) -> Sequence[Endpoint]:
        """What it listens on, with the real port where 0 was asked for."""
        return self._addresses

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None while it waits to be started again."""
        return None if self._process is None else self._process.pid

    @property
    def certificates(self) -> Sequence[ServedCertificate]:
        """What is served."""
        return [ServedCertificate(pair.title, pair.names, pair.validity.not_after) for pair in self._lore.served]

    @property
    def refused(self) -> Sequence[RefusedCertificate]:
        """What could not be taken when it was last tried."""
        return [RefusedCertificate(one.title, one.text) for one in self._lore.refused]

    def counters(self) -> Mapping[str, int]:
        """What happened since the start, by name; half a second old at most."""
        return self._lore.counters()

    async def clients(self) -> ClientList:
        """Who has connected; a process that does not say so in time stands by what it said before."""
        if self.ready.is_set() and self._lore.listed.is_set():
            self._lore.listed.clear()
            self._tell(To.LIST.value)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LIST_PATIENCE_S):
                await self._lore.listed.wait()
        return self._lore.clients

    def publish(self, keys: MasterKeys) -> None:
        """Make cookies under these master keys from now on."""
        self._keys = keys
        self._tell_keys()

    def reload(self) -> None:
        """Read the certificates again now. Errors are noted, and what was served is served on."""
        try:
            self._tell_certificates()
        except OSError as error:
            what = error.filename or "the certificates"
            self._lore.note("error", f"NTS-KE: {what} cannot be read: {error.strerror}; what was served is served on")

    def close(self) -> None:
        """Stop serving: end the process and wait for it, at most two seconds."""
        self._watching.cancel()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._process is not None:
            if self._process.control.fileno() >= 0:
                self._loop.remove_reader(self._process.control)
            self._process.end()
            self._process = None
        self.ready.clear()
        self._close_sockets()

    def _close_sockets(self) -> None:
        for bound in self._sockets:
            bound.close()
        self._sockets = []

    def _start(self) -> None:
        self._timer = None
        try:
            self._process = KeProcess(self._sockets)
            self._process.tell(self._hello)
            if self._lore.clients.records:
                self._process.tell(To.BEFORE.value + encode_clients(self._lore.clients))
            self._tell_keys()
            self._tell_certificates()
        except OSError as error:
            if self._process is not None:
                self._process.end()
                self._process = None
            if self.restarts == 0:
                raise
            self._lore.note("error", f"the NTS-KE server cannot be started: {error}")
            self._again()
            return
        self._loop.add_reader(self._process.control, self._on_control)

    def _tell_keys(self) -> None:
        if self._process is not None:
            self._tell(To.MASTER_KEYS.value + self._keys.encode())

    def _tell_certificates(self) -> None:
        """Hand over the certificate files as they are now. Raises OSError."""
        descriptors = open_pairs(self._files)
        try:
            self._tell(encode_titles([str(pair.certificate) for pair in self._files]), descriptors)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _tell(self, message: bytes, descriptors: Sequence[int] = ()) -> None:
        process = self._process
        if process is None:
            return
        try:
            process.tell(message, descriptors)
        except BlockingIOError:
            # It has not read for long enough to fill its socket: it hangs, and its successor is told everything.
            process.kill()
        except OSError:
            # It has just ended; the reader will see it, and its successor is told everything.
            return

    def _look(self) -> None:
        self._watching = self._loop.call_later(WATCH_S, self._look)
        if self._watch.changed():
            self.reload()
        self._lore.look()
        self._ask_after_health()

    def _ask_after_health(self) -> None:
        """A process that hangs is ended: its socket then says so, and another is started."""
        process = self._process
        if process is None or not self.ready.is_set():
            return
        if process.unanswered >= MAX_UNANSWERED:
            self._lore.note("error", "the NTS-KE server does not answer any more, and is ended")
            process.kill()
            return
        process.unanswered += 1
        self._tell(To.PING.value)

    def _on_control(self) -> None:
        process = self._process
        assert process is not None
        try:
            said = process.hear()
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if not said:
            self._lost(process)
            return
        match From(said[:1]):
            case From.READY:
                self.ready.set()
            case From.UNCONFINED:
                self._lore.unconfined()
            case From.PONG:
                process.unanswered = 0
            case From.CERTIFICATES:
                self._lore.told(*decode_facts(said[1:]))
            case From.CLIENTS:
                self._lore.clients = decode_clients(said[1:])
                self._lore.listed.set()
            case From.COUNTERS:
                self._lore.count(decode_counters(said[1:]))

    def _lost(self, process: KeProcess) -> None:
        """The process has closed its end: it is about to be gone."""
        self._loop.remove_reader(process.control)
        self.ready.clear()
        self._lore.listed.set()
        process.let_go()
        self._reap(process, PATIENCE)

    def _reap(self, process: KeProcess, patience: int) -> None:
        """Wait for its end without keeping the loop; then start another."""
        code = process.code()
        if code is None:
            if not patience:
                process.kill()
            self._timer = self._loop.call_later(REAP_S, self._reap, process, patience - 1)
            return
        self._process = None
        lived_s = time.monotonic() - process.started
        if lived_s >= STABLE_S:
            self._backoff_s = FIRST_BACKOFF_S
        self.restarts += 1
        self._lore.restarted()
        self._lore.note(
            "warning",
            f"the NTS-KE server ended with {code} after {lived_s:.1f} s; starting again in {self._backoff_s:.1f} s",
        )
        self._again()

    def _again(self) -> None:
        self._timer = self._loop.call_later(self._backoff_s, self._start)
        self._backoff_s = min(self._backoff_s * 2, MAX_BACKOFF_S)


class _Lore:
    """What the process has said of itself, and what the operator has been told of it.

    Attributes:
        served: Certificates that are served.
        refused: Those that could not be taken.
        note: Takes sentences.
        clients: Who had connected when it was last asked for that.
        listed: Set while it is not asked for that.
    """

    def __init__(self, now: Callable[[], Instant[Utc]], note: Note) -> None:
        self.served: tuple[PairFacts, ...] = ()
        self.refused: tuple[Refused, ...] = ()
        self.note = note
        self.clients = ClientList()
        self.listed = asyncio.Event()
        self.listed.set()
        self._now = now
        self._stages: dict[PairFacts, int | None] = {}
        self._before: Counter[str] = Counter()
        self._counters: Counter[str] = Counter()
        self._unconfined = False

    def told(self, served: tuple[PairFacts, ...], refused: tuple[Refused, ...]) -> None:
        """The process has looked at its certificates."""
        fresh = [pair for pair in served if pair not in self.served]
        if self.served:
            for pair in fresh:
                self.note("info", f"NTS-KE: a new certificate is served from {pair.title}: {', '.join(pair.names)}")
        for one in refused:
            kept = any(pair.title == one.title for pair in served)
            after = "the one before is served on" if kept else "it is not served"
            self.note("error", f"NTS-KE: {one.title}: {one.text}; {after}")
        if not served:
            self.note("error", "NTS-KE: there is no certificate to serve: every client is refused")
        self.served, self.refused = served, refused
        self.look()

    def look(self) -> None:
        """Say of each certificate that is about to expire, or has, so once for each stage."""
        now = self._now()
        stages = {pair: expiry_stage(pair.validity, now) for pair in self.served}
        for pair, stage in stages.items():
            if stage is not None and stage != self._stages.get(pair):
                text = expiry_notice(f"NTS-KE: the certificate {pair.title}", pair.validity, now)
                assert text is not None
                self.note("warning" if stage else "error", text)
        self._stages = stages

    def count(self, counters: Mapping[str, int]) -> None:
        """Counters of the process that runs."""
        self._counters = Counter(counters)

    def unconfined(self) -> None:
        """It can open what its user can; so it will be with its successors."""
        if not self._unconfined:
            self.note("info", unconfined("the NTS-KE server"))
        self._unconfined = True

    def restarted(self) -> None:
        """Its successor counts from 0."""
        self._before += self._counters
        self._counters = Counter()

    def counters(self) -> Mapping[str, int]:
        """Of all processes together."""
        return self._before + self._counters
