"""The observer: a process that shows what the daemon does, and can do nothing to a clock.

``python -m timesync.observe.process CONTROL PARENT SOCKET...`` with descriptors that were inherited: a socket to the
daemon, whose end is this process's end, the daemon's process id, and the sockets to listen on. Over the first one come
the settings, then the daemon's stream (``timesync.observe.stream``); back go notes for the daemon's log. It runs at a
lower priority, as somebody without rights, and what becomes of it is nothing to the daemon.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from timesync.observe import stream
from timesync.observe.hub import Hub
from timesync.observe.parts import Desk, Part, read_settings
from timesync_drivers.confine import become_nobody, die_with_parent, drop_capabilities

NICENESS: Final = 10
ONLY_TCP: Final = frozenset({"metrics", "web"})
"""Parts that are nothing without their socket; why it is not there has been said by the daemon."""

_CHUNK: Final = 1 << 16

PARTS: Final[Mapping[str, str]] = {}
"""What each key of ``observe`` starts, as ``module:class``; imported only where it is configured."""


async def _begin(desk: Desk) -> list[Part]:
    """Start the parts that are configured."""
    parts: list[Part] = []
    for key, target in PARTS.items():
        if getattr(desk.settings.observe, key) is None or (key in ONLY_TCP and key not in desk.settings.sockets):
            continue
        module, _, attribute = target.partition(":")
        try:
            part: Part = getattr(importlib.import_module(module), attribute)(desk)
            await part.start()
        except (OSError, ImportError) as error:
            desk.note("error", f"observe-{key}", f"observe.{key} does not work: {error}")
        else:
            parts.append(part)
    return parts


async def _serve(control: socket.socket, parent: int) -> None:
    reader, writer = await asyncio.open_connection(sock=control)
    settings = await read_settings(reader)
    os.nice(NICENESS)
    become_nobody()
    drop_capabilities()
    die_with_parent(parent)
    hub = Hub()
    parts = await _begin(Desk(settings, hub, writer))
    lines = stream.Lines()
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            for line in lines.feed(data):
                hub.take(stream.decode(line))
    for part in reversed(parts):
        with contextlib.suppress(OSError):
            await part.stop()
    writer.close()


def main(arguments: Sequence[str]) -> None:
    """Run on inherited descriptors until the daemon goes away."""
    control, parent, *_ = map(int, arguments)
    # A terminal and a service manager signal the whole group; the daemon says when to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    asyncio.run(_serve(socket.socket(fileno=control), parent))


if __name__ == "__main__":
    main(sys.argv[1:])
