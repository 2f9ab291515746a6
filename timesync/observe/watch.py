"""Watching a running daemon: its stream as an asynchronous iterator, over restarts of the daemon if wanted."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

from timesync.observe.control import PATIENCE_S, QUEUE_S, ControlError, RefusedError, crowded
from timesync.observe.stream import LONGEST, USUAL, StreamError, decode

FIRST_PAUSE_S: Final = 0.25
LAST_PAUSE_S: Final = 5.0

LOST: Final = "lost"
"""The type of the message that ``follow`` adds: the daemon is not there, or too busy; ``text`` says why."""


async def watch(path: str, kinds: Sequence[str] = USUAL) -> AsyncIterator[dict[str, Any]]:
    """The messages of a daemon, from ``hello`` to its end.

    Args:
        path: Its control socket.
        kinds: Types of message, of ``timesync.observe.stream.KINDS``.

    Raises ControlError with a sentence for the user when the daemon cannot be reached, refuses, or goes away.
    """
    try:
        reader, writer = await asyncio.open_unix_connection(sock=await _connected(path), limit=LONGEST)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise ControlError(f"no timesync runs here: nobody answers on {path}") from error
    except TimeoutError as error:
        raise ControlError(crowded(path)) from error
    except OSError as error:
        raise ControlError(f"the socket {path} cannot be opened: {error.strerror or error}") from error
    try:
        writer.write(json.dumps({"command": "watch", "kinds": list(kinds)}).encode() + b"\n")
        async for line in reader:
            yield _message(line)
    except (OSError, ValueError) as error:
        raise ControlError(f"the stream of the daemon broke: {error}") from error
    except StreamError as error:
        raise ControlError(f"what answers on {path} is no timesync: {error}") from error
    finally:
        writer.transport.abort()
    raise ControlError("the daemon has ended")


async def _connected(path: str) -> socket.socket:
    """A socket, though so many want to connect that their queue is full: asyncio takes that for a connection."""
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with contextlib.suppress(BlockingIOError):
                    link.connect(path)
                    return link
                await asyncio.sleep(QUEUE_S)
    except BaseException:
        link.close()
        raise


def _message(line: bytes) -> dict[str, Any]:
    """Raises StreamError, RefusedError; ControlError where the daemon had no place for us, or has it no more."""
    if line.startswith(b'{"busy"'):
        raise ControlError(str(json.loads(line)["busy"]))
    if line.startswith(b'{"error"'):
        raise RefusedError(str(json.loads(line)["error"]))
    return decode(line)


async def follow(path: str, kinds: Sequence[str] = USUAL) -> AsyncIterator[dict[str, Any]]:
    """The same over restarts: while none is heard, messages of type ``LOST`` say why, one each time it is tried.

    Raises RefusedError, which trying again does not mend.
    """
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            async for message in watch(path, kinds):
                pause_s = FIRST_PAUSE_S
                yield message
        except RefusedError:
            raise
        except ControlError as error:
            yield {"type": LOST, "text": str(error)}
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, LAST_PAUSE_S)
