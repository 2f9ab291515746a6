"""The observer process as the daemon has it: its sockets, its start, its end, and what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from timesync.base.ids import Endpoint
from timesync.base.machine import Noted
from timesync.config import mqtt_files
from timesync.config.observe import Observe
from timesync.observe import stream
from timesync.observe.broadcast import Broadcaster, Watcher
from timesync.observe.control import is_socket
from timesync.observe.parts import Settings, note_of, settings_frame
from timesync.runtime.child import TRUST, Child
from timesync.runtime.ke_service import open_listeners
from timesync_drivers.confine import NOBODY

_MODULE: Final = "timesync.observe.process"
FIRST_BACKOFF_S: Final = 1.0
MAX_BACKOFF_S: Final = 60.0
STABLE_S: Final = 60.0
"""A process that lived this long died of something new: its successor starts without delay again."""

_REAP_S: Final = 0.01
_PATIENCE: Final = 200


class Observer:
    """The process, for as long as it is not closed.

    Attributes:
        restarts: How many times it had to be started again.
        warnings: Sentences about what cannot be shown.
    """

    def __init__(
        self, broadcaster: Broadcaster, hello: Callable[[], dict[str, object]], note: Callable[[Noted], None]
    ) -> None:
        """Nothing is started before ``configure``.

        Args:
            broadcaster: Tells it what goes on.
            hello: What it is told first.
            note: Takes what should be said.
        """
        self.restarts = 0
        self.warnings: tuple[str, ...] = ()
        self._broadcaster = broadcaster
        self._hello = hello
        self._note = note
        self._observe: Observe | None = None
        self._sockets: dict[str, socket.socket] = {}
        self._child: Child | None = None
        self._task: asyncio.Task[None] | None = None
        self._changing = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Of the process that runs now; None while none does."""
        return None if self._child is None else self._child.pid

    @property
    def addresses(self) -> dict[str, str]:
        """Where it listens, by what for; with the real port where 0 was asked for."""
        return {name: _name_of(bound) for name, bound in self._sockets.items()}

    async def configure(self, observe: Observe) -> None:
        """Show what this configuration wants, from now on."""
        async with self._changing:
            if self._observe == observe:
                return
            await self._end()
            self._observe = observe
            if observe.watched:
                self._open(observe)
                self._task = asyncio.get_running_loop().create_task(self._keep(observe))

    async def close(self) -> None:
        """End the process, within two seconds."""
        async with self._changing:
            await self._end()

    async def _end(self) -> None:
        self._observe = None
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None
        for bound in self._sockets.values():
            _close(bound)
        self._sockets = {}
        self.warnings = ()

    def _open(self, observe: Observe) -> None:
        """Open the sockets: ports below 1024 need rights that the observer has not."""
        warnings = []
        for name, opened in _listening(observe):
            try:
                self._sockets[name] = opened()
            except OSError as error:
                key = name.replace("-", ".")
                text = f"observe.{key} cannot be served: {error.strerror or error}"
                warnings.append(text)
                self._note(Noted("warning", f"observe-{name}", text))
        if observe.measurements is not None:
            trouble = _refused(Path(observe.measurements.directory))
            if trouble is not None:
                warnings.append(trouble)
                self._note(Noted("warning", "observe-measurements", trouble))
        self.warnings = tuple(warnings)

    async def _keep(self, observe: Observe) -> None:
        """Start it, and again whenever it ends."""
        backoff_s = FIRST_BACKOFF_S
        while True:
            began = time.monotonic()
            try:
                said = await self._run(observe)
            except OSError as error:
                said = f"cannot be started: {error}"
            backoff_s = FIRST_BACKOFF_S if time.monotonic() - began >= STABLE_S else backoff_s
            self.restarts += 1
            self._note(Noted("warning", "observer", f"the observer {said}; starting again in {backoff_s:.0f} s"))
            await asyncio.sleep(backoff_s)
            backoff_s = min(backoff_s * 2, MAX_BACKOFF_S)

    async def _run(self, observe: Observe) -> str:
        """From its start to its end; how it ended, in words. Raises OSError."""
        descriptors = {name: bound.fileno() for name, bound in self._sockets.items()}
        settings = Settings(observe, _directory(observe), descriptors, _secrets(observe, self._note))
        self._child = child = Child(_MODULE, socket.SOCK_STREAM, list(descriptors.values()), TRUST)
        try:
            reader, writer = await asyncio.open_connection(sock=child.control)
            writer.write(settings_frame(settings))
            writer.write(stream.encode(self._hello()))
            watcher = Watcher(writer, kinds_for(observe))
            self._broadcaster.add(watcher)
            try:
                await self._hear(reader)
            finally:
                self._broadcaster.remove(watcher)
                # Not to wait for what it has not read: closing is how it is told to end.
                writer.transport.abort()
            return f"ended with {await _reaped(child)}"
        finally:
            # It may take its time, to write its history; the clocks may not wait for it.
            child.let_go()
            if await _reaped(child) is None:
                child.kill()
                await _reaped(child)
            self._child = None

    async def _hear(self, reader: asyncio.StreamReader) -> None:
        """Take its notes until it closes its end, or says something that is none."""
        lines = stream.Lines()
        with contextlib.suppress(ConnectionError, stream.StreamError):
            while data := await reader.read(1 << 16):
                for line in lines.feed(data):
                    self._note(note_of(stream.decode(line)))


async def _reaped(child: Child) -> int | None:
    """The exit code of a process whose socket is closed, two seconds at most; None when it does not end."""
    for _ in range(_PATIENCE):
        code = child.code()
        if code is not None:
            return code
        await asyncio.sleep(_REAP_S)
    return None


def kinds_for(observe: Observe) -> tuple[str, ...]:
    """What its parts want to know: some things are told only where somebody shows them."""
    wanted = {
        stream.CLIENTS: (observe.chronyc, observe.web) != (None, None),
        stream.MEASUREMENT: observe.measurements is not None,
    }
    return tuple(kind for kind in stream.KINDS if wanted.get(kind, True))


def _listening(observe: Observe) -> Iterator[tuple[str, Callable[[], socket.socket]]]:
    """What is to be opened, by name."""
    for name, section in (("metrics", observe.metrics), ("web", observe.web)):
        if section is not None:
            yield name, partial(_open_tcp, section.listen)
    if observe.chronyc is not None and observe.chronyc.listen is not None:
        yield "chronyc", partial(_open_udp, observe.chronyc.listen)
    if observe.chronyc is not None and observe.chronyc.socket is not None:
        yield "chronyc-socket", partial(_open_unix, Path(observe.chronyc.socket))


def _open_tcp(where: Endpoint) -> socket.socket:
    return open_listeners([where])[0]


def _open_udp(where: Endpoint) -> socket.socket:
    v6 = ":" in where.address
    bound = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        bound.bind((where.address, where.port))
    except OSError:
        bound.close()
        raise
    return bound


def _open_unix(path: Path) -> socket.socket:
    """A socket of datagrams. Raises OSError; so for any file there but a socket that nobody listens on.

    Answers go to sockets that others make beside it, so the observer must be able to enter the directory.
    """
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    closed = [one for one in (path.parent, *path.parent.parents) if os.geteuid() == 0 and not _open_to_nobody(one)]
    if closed:
        raise PermissionError(f"its process, which runs as nobody, may not enter {closed[-1]}")
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if is_socket(path):
            if _listened_on(path):
                raise FileExistsError(f"another program listens on {path}")
            path.unlink()
        bound.bind(str(path))
        # Whoever can make a socket beside it may ask; it tells no more than the control socket.
        path.chmod(0o666)
    except OSError:
        bound.close()
        raise
    return bound


def _open_to_nobody(directory: Path) -> bool:
    """Whether the observer may use what is in it."""
    found = directory.stat()
    if found.st_uid == NOBODY:
        return bool(found.st_mode & stat.S_IXUSR)
    return bool(found.st_mode & (stat.S_IXGRP if found.st_gid == NOBODY else stat.S_IXOTH))


def _listened_on(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


def _close(bound: socket.socket) -> None:
    """Close it, and take its file away where it has one."""
    if bound.family == socket.AF_UNIX:
        with contextlib.suppress(OSError):
            Path(bound.getsockname()).unlink()
    bound.close()


def _name_of(bound: socket.socket) -> str:
    name = bound.getsockname()
    if isinstance(name, str):
        return name
    return f"[{name[0]}]:{name[1]}" if bound.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def _directory(observe: Observe) -> str | None:
    """A directory that the observer may write to, although it is somebody else where the daemon is root."""
    path = Path(observe.state) / "observer"
    return str(path) if _given(path, 0o750) else None


def _given(path: Path, mode: int) -> bool:
    """Make a directory of this mode that is the observer's own; whether that could be done."""
    try:
        _made(path, mode)
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    except OSError:
        return False
    return True


def _made(path: Path, mode: int) -> None:
    """Make a directory, and those above it for all to enter, whatever the umask is. Raises OSError."""
    if path.is_dir():
        return
    _made(path.parent, 0o755)
    path.mkdir(mode)
    # What was made, and not what somebody who owns the directory above has put in its place.
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchmod(folder, mode)
    finally:
        os.close(folder)


def _refused(directory: Path) -> str | None:
    """Give the observer a directory that the configuration names; why it cannot have it, in words.

    One that is there already is somebody's: it stays as it is.
    """
    try:
        if not directory.exists():
            if not _given(directory, 0o755):  # for operators to read, as the logs of other time daemons are
                return f"observe.measurements: {directory} cannot be made; make it, and let this user write there"
            return None
        found = directory.stat()
    except OSError as error:
        return f"observe.measurements: {directory} cannot be used: {error.strerror or error}"
    if not directory.is_dir():
        return f"observe.measurements: {directory} is not a directory"
    if os.geteuid() != 0:
        allowed = os.access(directory, os.W_OK | os.X_OK)
        return None if allowed else f"observe.measurements: {directory} cannot be written by this user"
    shift = 6 if found.st_uid == NOBODY else 3 if found.st_gid == NOBODY else 0
    if (found.st_mode >> shift) & 0o3 == 0o3:
        return None
    return (
        f"observe.measurements: {directory} cannot be written by the observer, which is nobody (user {NOBODY}); "
        f"let it: chown {NOBODY}:{NOBODY} {directory}"
    )


def _secrets(observe: Observe, note: Callable[[Noted], None]) -> dict[str, bytes]:
    """What stands in files that need not be readable by the observer; one that cannot be read is said and left out."""
    found = {}
    for key in mqtt_files.FILES if observe.mqtt is not None else ():
        path = getattr(observe.mqtt, key)
        if path is None:
            continue
        try:
            with Path(path).open("rb") as file:
                found[key] = file.read(mqtt_files.MAX_FILE)
        except OSError as error:
            note(Noted("warning", "observe-mqtt", f"observe.mqtt.{key}: {path}: {error.strerror or error}"))
    return found
