"""Answers to chronyc: on a UDP port and a Unix socket that the daemon has opened."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import PurePosixPath
from typing import Any, Final

from timesync.config.observe import Chronyc as Settings
from timesync.ntp.access import AccessList, unmapped
from timesync.observe import stream
from timesync.observe.chronyc_answers import Answers, Asker
from timesync.observe.parts import Desk

RATE: Final = 500
"""Requests a second that are answered for long: as many as ``chronyc sources`` of some two hundred sources."""

BURST: Final = 2000
_LONGEST: Final = 2048
"""Octets of a request that are read; chronyc's longest has 520."""

_AT_ONCE: Final = 64
"""Requests before others have their turn."""


Reader = Callable[[Any], Asker | None]
"""Says of the address of a socket, a path or host and port, who that is; None for somebody who may not ask."""


class Chronyc:
    """The part ``chronyc`` of the observer."""

    def __init__(self, desk: Desk) -> None:
        """Listens from ``start`` on."""
        settings = desk.settings.observe.chronyc
        assert settings is not None
        self._desk = desk
        self._settings: Settings = settings
        self._allowed = AccessList(settings.allow, ())
        self._answers = Answers(settings.opencommands)
        self._sockets: list[socket.socket] = []
        self._tokens = float(BURST)
        self._filled = time.monotonic()

    async def start(self) -> None:
        """See ``Part``."""
        self._desk.hub.on(stream.STATE, self._answers.take)
        self._desk.hub.on(stream.CLIENTS, self._answers.take_clients)
        loop = asyncio.get_running_loop()
        for name, read in (("chronyc", self._over_udp), ("chronyc-socket", self._over_socket)):
            bound = self._desk.listener(name)
            if bound is not None:
                bound.setblocking(False)
                self._sockets.append(bound)
                loop.add_reader(bound, self._drain, bound, read)

    async def stop(self) -> None:
        """See ``Part``."""
        self._desk.hub.off(stream.STATE, self._answers.take)
        self._desk.hub.off(stream.CLIENTS, self._answers.take_clients)
        for bound in self._sockets:
            asyncio.get_running_loop().remove_reader(bound)
            bound.close()
        self._sockets.clear()

    def _drain(self, bound: socket.socket, read: Reader) -> None:
        """Answer what has come."""
        for _ in range(_AT_ONCE):
            try:
                data, sender = bound.recvfrom(_LONGEST)
            except OSError:
                return
            asker = read(sender)
            answer = None if asker is None else self._answer(data, asker)
            if answer is not None:
                self._send(bound, answer, sender)

    def _send(self, bound: socket.socket, answer: bytes, to: Any) -> None:
        # Who is gone or does not read gets none; chronyc asks again.
        with contextlib.suppress(OSError):
            bound.sendto(answer, to)

    def _answer(self, data: bytes, asker: Asker) -> bytes | None:
        now = time.monotonic()
        self._tokens = min(self._tokens + (now - self._filled) * RATE, BURST)
        self._filled = now
        if self._tokens < 1:
            self._answers.taken += 1
            self._answers.dropped += 1
            return None
        self._tokens -= 1
        return self._answers.answer(data, asker)

    def _over_udp(self, sender: Any) -> Asker | None:
        """Who it is; None for somebody who may not ask."""
        host, port = sender[0], sender[1]
        if not isinstance(host, str) or not port:
            return None
        packed = unmapped(ip_address(host.partition("%")[0]).packed)
        if ip_address(packed).is_loopback:
            return Asker.LOCAL
        return Asker.REMOTE if self._allowed.allows(packed) else None

    def _over_socket(self, sender: Any) -> Asker | None:
        """Whoever has a socket of his own beside ours or in a directory there, as chronyc makes it.

        Others could lead our answer elsewhere.
        """
        ours = self._settings.socket
        if ours is None or not isinstance(sender, str):
            return None
        path = PurePosixPath(sender)
        inside = path.is_relative_to(PurePosixPath(ours).parent) and ".." not in path.parts
        return Asker.LOCAL if inside else None
