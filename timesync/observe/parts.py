"""What every part of the observer process is and has: its settings, the daemon's stream, and a way to be heard."""

from __future__ import annotations

import asyncio
import pickle
import socket
import struct
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from timesync.base.machine import Noted
from timesync.config.observe import Observe
from timesync.observe import stream
from timesync.observe.hub import Hub

_LENGTH: Final = struct.Struct("!I")


@dataclass(frozen=True, slots=True)
class Settings:
    """What the observer is to do.

    Attributes:
        observe: The configuration's section.
        directory: Where it may keep files; None: nowhere.
        sockets: The inherited descriptors to listen on, by what they are for; a part whose socket is not there could
            not have it.
        secrets: What stands in files that only the daemon may read, by the key that names the file.
    """

    observe: Observe
    directory: str | None
    sockets: Mapping[str, int]
    secrets: Mapping[str, bytes]


class Desk:
    """What a part works with.

    Attributes:
        settings: See ``Settings``.
        hub: What the daemon says.
    """

    def __init__(self, settings: Settings, hub: Hub, writer: asyncio.StreamWriter) -> None:
        self.settings = settings
        self.hub = hub
        self._writer = writer

    def note(self, level: str, name: str, text: str) -> None:
        """Say something in the daemon's log, which bounds how much."""
        self._writer.write(stream.encode({"type": "note", "level": level, "name": name, "text": text}))

    def begin(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Have something done for as long as the part runs.

        It ends only when it is cancelled: one that fails is our own bug, which would go unseen while everything else
        goes on. It is said, and ends the process, which the daemon starts again.
        """
        task = asyncio.get_running_loop().create_task(work)
        task.add_done_callback(partial(self._ended, name))
        return task

    def _ended(self, name: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.note("error", name, f"{name} failed: {error!r}")
            self._writer.close()

    def listener(self, name: str) -> socket.socket | None:
        """The socket that the daemon opened for this purpose; None when it could not, and has said so."""
        descriptor = self.settings.sockets.get(name)
        return None if descriptor is None else socket.socket(fileno=descriptor)


class Part(Protocol):
    """Something that shows the daemon's state to somebody; it is made with the ``Desk``."""

    async def start(self) -> None:
        """Begin. Raises OSError when it cannot; the others go on without it."""
        ...

    async def stop(self) -> None:
        """End."""
        ...


def settings_frame(settings: Settings) -> bytes:
    """Settings as they go over the socket, before the stream."""
    data = pickle.dumps(settings)
    return _LENGTH.pack(len(data)) + data


async def read_settings(reader: asyncio.StreamReader) -> Settings:
    """The other end of ``settings_frame``."""
    size = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))[0]
    settings = pickle.loads(await reader.readexactly(size))  # noqa: S301 - from our own parent, over an inherited socket
    assert isinstance(settings, Settings)
    return settings


def note_of(message: Mapping[str, object]) -> Noted:
    """A note that came back. Raises StreamError."""
    level, name, text = (message.get(key) for key in ("level", "name", "text"))
    if level not in ("debug", "info", "warning", "error") or not isinstance(name, str) or not isinstance(text, str):
        raise stream.StreamError("not a note")
    return Noted(level, name, text)
