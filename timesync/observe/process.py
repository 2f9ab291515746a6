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
import ssl
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from timesync.observe import stream
from timesync.observe.hub import Hub
from timesync.observe.parts import Desk, Part, Settings, read_settings
from timesync_drivers.confine import (
    become_nobody,
    die_with_parent,
    drop_capabilities,
    forbid_files,
    forbid_inspection,
    unconfined,
)

NICENESS: Final = 10
ONLY_TCP: Final = frozenset({"metrics", "web"})
"""Parts that are nothing without their socket; why it is not there has been said by the daemon."""

LIBRARIES: Final = (
    "/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/share/zoneinfo", "/etc/localtime", "/etc/resolv.conf",
    "/etc/hosts", "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/host.conf", "/run/systemd/resolve", "/proc/self",
)  # fmt: skip
"""What the C library reads to look a name up, or a time zone; and what a process may know of itself."""

CERTIFICATES: Final = ("/etc/ssl/certs", "/usr/share/ca-certificates", "/usr/local/share/ca-certificates", "/etc/pki")
"""Beside what OpenSSL names: links go here."""

_CHUNK: Final = 1 << 16

PARTS: Final[Mapping[str, str]] = {
    "metrics": "timesync.observe.metrics.part:MetricsServer",
    "web": "timesync.observe.web.part:WebPage",
    "mqtt": "timesync.observe.mqtt.part:MqttPart",
    "measurements": "timesync.observe.records.writer:Recorder",
    "chronyc": "timesync.observe.chronyc:Chronyc",
}
"""What each key of ``observe`` starts, as ``module:class``; imported only where it is configured."""


def _wanted(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """The parts that are configured: key, module and class."""
    for key, target in PARTS.items():
        if getattr(settings.observe, key) is not None and (key not in ONLY_TCP or key in settings.sockets):
            module, _, attribute = target.partition(":")
            yield key, module, attribute


def _import_all(settings: Settings) -> None:
    """Import what will be needed while it can be read: the interpreter may be where only root may look."""
    for _, module, _ in _wanted(settings):
        # Said when the part is begun.
        with contextlib.suppress(ImportError):
            importlib.import_module(module)


async def _begin(desk: Desk) -> list[Part]:
    """Start the parts that are configured."""
    parts: list[Part] = []
    for key, module, attribute in _wanted(desk.settings):
        try:
            part: Part = getattr(importlib.import_module(module), attribute)(desk)
            await part.start()
        except (OSError, ImportError) as error:
            desk.note("error", f"observe-{key}", f"observe.{key} does not work: {error}")
        else:
            parts.append(part)
    return parts


def confine(settings: Settings) -> bool:
    """Give up all rights but those that the configured parts need; False where Linux cannot take away files."""
    os.nice(NICENESS)
    become_nobody()
    drop_capabilities()
    measurements, mqtt = settings.observe.measurements, settings.observe.mqtt
    readable = [*sys.path, *LIBRARIES, *(_certificates() if mqtt is not None and mqtt.broker.tls else ())]
    writable = [] if settings.directory is None else [settings.directory]
    if measurements is not None:
        writable.append(measurements.directory)
    confined = forbid_files(readable, writable, connect=mqtt is not None)
    forbid_inspection()
    return confined


def _certificates() -> list[str]:
    """Where certificates are that are trusted: the system's, and those that OpenSSL's variables name in their place."""
    paths = ssl.get_default_verify_paths()
    named = [os.environ.get(paths.openssl_cafile_env, "")]
    for directory in os.environ.get(paths.openssl_capath_env, "").split(os.pathsep):
        named.append(directory)
        with contextlib.suppress(OSError):
            # Its files are found by links, which may lead anywhere; a whole directory behind one is not looked at.
            links = [entry for entry in os.scandir(directory) if entry.is_symlink()]
            named += [os.path.realpath(link) for link in links if os.path.isfile(link)]  # noqa: PTH113 - of an entry
    return [path for path in (paths.openssl_cafile, paths.openssl_capath, *CERTIFICATES, *named) if path]


async def _serve(control: socket.socket, parent: int) -> None:
    reader, writer = await asyncio.open_connection(sock=control)
    settings = await read_settings(reader)
    _import_all(settings)
    confined = confine(settings)
    die_with_parent(parent)
    hub = Hub()
    desk = Desk(settings, hub, writer)
    if not confined:
        desk.note("info", "observer-files", unconfined("the observer"))
    parts = await _begin(desk)
    lines = stream.Lines()
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_CHUNK):
            for line in lines.feed(data):
                hub.take(stream.decode(line))
    for part in reversed(parts):
        try:
            await part.stop()
        except Exception:  # noqa: BLE001 - whatever one of them cannot do, the others write what they have
            traceback.print_exc()
    writer.close()


def main(arguments: Sequence[str]) -> None:
    """Run on inherited descriptors until the daemon goes away."""
    control, parent, *_ = map(int, arguments)
    # A terminal and a service manager signal the whole group; the daemon says when to stop.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    with asyncio.Runner() as runner:
        runner.run(_serve(socket.socket(fileno=control), parent))
        # Now, and not when its threads have ended: one that looks up a name cannot be told to stop.
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])
