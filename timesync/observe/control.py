"""The control socket: one line of JSON asks, one line answers, or a stream of lines; for reading only.

A stream socket on a path. It is open to every local user, because nothing that it tells is secret and nothing that
it takes changes anything; size, number and duration of conversations are bounded all the same, and no user can take
the places of all others (``timesync.observe.places``).
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import json
import os
import socket
import stat
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final

from timesync.observe.places import Place, Places, Refusal

MAX_REQUEST = 4096
MAX_ANSWER = 4 << 20
MAX_CONNECTIONS = 16
PATIENCE_S = 5.0

SILENCE_S = 0.5
"""Who has not asked, or not read his answer, for so long gives way to others."""

_CREDENTIALS = struct.Struct("iII")  # struct ucred: process, user, group

QUEUE_S = 0.01
"""Between two tries to get into the queue of those who want to be let in, where it is full."""

ANSWERS_PER_S = 50.0
ANSWERS_AT_ONCE = 100.0
"""Of each user; who asks more often waits."""

MAX_USERS = 256
"""So many are remembered."""

MAX_STREAMS = 8
"""Conversations that go on for as long as the peer wants."""

_BUSY: Final = {
    Refusal.FULL: "the daemon has too many connections; try again",
    Refusal.SHARE: "you have too many connections to the daemon; try again",
}
_WATCHED: Final = {
    Refusal.FULL: f"{MAX_STREAMS} others watch already",
    Refusal.SHARE: f"you watch {MAX_STREAMS // 2} times already",
}
_GAVE_WAY: Final = "this had to give way to another connection; try again"

Answer = Callable[[Mapping[str, Any]], Mapping[str, Any] | Awaitable[Mapping[str, Any]]]
"""Makes the answer to a request, or what gives it; raises ``ControlError`` for one that is wrong."""

Stream = Callable[[Mapping[str, Any], asyncio.StreamWriter], Callable[[], None]]
"""Begins to tell a peer; returns what ends that. Raises ``ControlError`` for a request that is wrong."""


class ControlError(Exception):
    """A request or a conversation failed; the message is for the user."""


class RefusedError(ControlError):
    """The daemon answered, and said that the request is wrong."""


class AnotherDaemonError(FileExistsError):
    """Somebody listens on the control socket already; the message is for the user."""

    def __init__(self, path: str) -> None:
        super().__init__(f"another timesync runs already (control socket {path})")


class Pace:
    """Makes users wait who ask without end: an answer takes a millisecond of the loop that keeps the clocks."""

    def __init__(self) -> None:
        # By user: how many may be answered at once, less those that wait; and since when.
        self._left: dict[int, tuple[float, float]] = {}

    def delay_s(self, user: int, now_s: float) -> float:
        """How long to wait before answering one more request of a user; monotonic seconds."""
        left, since_s = self._left.pop(user, (ANSWERS_AT_ONCE, now_s))
        left = min(ANSWERS_AT_ONCE, left + (now_s - since_s) * ANSWERS_PER_S) - 1
        self._left[user] = left, now_s  # now the last one
        if len(self._left) > MAX_USERS:
            del self._left[next(iter(self._left))]
        return max(0.0, -left / ANSWERS_PER_S)


class Talk:
    """A conversation, from its beginning to its end; made when it begins.

    Attributes:
        patience: Ends it when the answer takes too long.
        answering: The answer is being made: the peer waits for us, not we for the peer.
    """

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._since_s = asyncio.get_running_loop().time()
        self.patience = asyncio.timeout(PATIENCE_S)
        self.answering = False

    def idle(self) -> bool:
        """Whether the peer has let us wait for long."""
        return not self.answering and asyncio.get_running_loop().time() - self._since_s > SILENCE_S

    def unread(self) -> bool:
        """Whether the peer does not read what it is told: the kernel's buffer is full, and some of ours."""
        return self._writer.transport.get_write_buffer_size() > 0

    def give_way(self) -> None:
        """End it for somebody else's sake, and say so if the peer has read all before."""
        if not self.unread():
            self._writer.write(_busy(_GAVE_WAY))
        self.end()

    def end(self) -> None:
        """End it, without a word."""
        self._writer.transport.abort()
        with contextlib.suppress(RuntimeError):  # that is over
            self.patience.reschedule(0.0)


class ControlServer:
    """Answers on a Unix socket."""

    def __init__(
        self,
        path: str,
        commands: Mapping[str, Answer],
        streams: Mapping[str, Stream] | None = None,
        user_of: Callable[[asyncio.StreamWriter], int] | None = None,
    ) -> None:
        """Know what to answer; ``start`` opens the socket.

        Args:
            path: Of the socket.
            commands: Requests with one answer.
            streams: Requests that begin a stream.
            user_of: Who a peer is; None: as the kernel says.
        """
        self._path = path
        self._commands = commands
        self._streams = streams or {}
        self._present: set[Talk] = set()
        self._nobody = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._pace = Pace()
        self._user_of = user_of or _user_of
        keepers = {0, os.geteuid()}
        self._talks = Places(MAX_CONNECTIONS, keepers)
        self._watches = Places(MAX_STREAMS, keepers)

    async def start(self) -> None:
        """Open the socket. Raises OSError; AnotherDaemonError when another daemon listens there."""
        path = Path(self._path)
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        await self._clear(path)
        opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        before = os.umask(0o111)
        try:
            opened.bind(self._path)
            # At once: a daemon that starts at the same moment would take a socket without a listener for a dead one.
            opened.listen()
        except OSError as error:
            opened.close()
            if error.errno == errno.EADDRINUSE:
                raise AnotherDaemonError(self._path) from None
            raise
        finally:
            os.umask(before)
        self._server = await asyncio.start_unix_server(self._converse, sock=opened, limit=MAX_REQUEST)

    async def _clear(self, path: Path) -> None:
        """Remove the socket of a daemon that is gone; never anything else (CVE-2020-14367)."""
        if not is_socket(path):
            return
        try:
            _, writer = await asyncio.wait_for(asyncio.open_unix_connection(self._path), PATIENCE_S)
        except (ConnectionRefusedError, FileNotFoundError):
            _remove(path)
        except (BlockingIOError, TimeoutError):
            # Its queue of connections is full: it is busy or stuck, but it is there.
            raise AnotherDaemonError(self._path) from None
        else:
            writer.close()
            raise AnotherDaemonError(self._path)

    async def stop(self) -> None:
        """Close and remove the socket."""
        if self._server is not None:
            self._server.close()
            for talk in self._present:
                talk.end()
            # They notice by themselves; a loop that ends before would cancel them, and complain of each.
            if self._present:
                await self._nobody.wait()
            _remove(Path(self._path))
            self._server = None

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        user, talk = self._user_of(writer), Talk(writer)
        place = Place(user, talk.idle, talk.give_way)
        refusal = self._talks.take(place)
        if refusal is not None:
            writer.write(_busy(_BUSY[refusal]))
            writer.close()
            return
        self._present.add(talk)
        self._nobody.clear()
        try:
            end = await self._answer(reader, writer, talk, place)
            if end is not None:
                try:
                    await _until_gone(reader, writer)
                finally:
                    end()
        finally:
            writer.close()
            self._present.remove(talk)
            if not self._present:
                self._nobody.set()

    async def _answer(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, talk: Talk, place: Place
    ) -> Callable[[], None] | None:
        """Answer the one request of a conversation; what ends the stream, if it was one for that."""
        try:
            async with talk.patience:
                line = await _read_line(reader)
                talk.answering = True
                await asyncio.sleep(self._pace.delay_s(place.user, time.monotonic()))
                answer, end = await self._begin(line, place.user, talk, writer)
                talk.answering = False
                if answer is not None:
                    writer.write(json.dumps(answer, allow_nan=False).encode() + b"\n")
                    await writer.drain()
                return end
        except (TimeoutError, OSError):
            # The peer went away or stalled: its loss. Nor is it waited for to read the rest.
            writer.transport.abort()
            return None
        finally:
            self._talks.free(place)

    async def _begin(
        self, line: bytes, user: int, talk: Talk, writer: asyncio.StreamWriter
    ) -> tuple[Mapping[str, Any] | None, Callable[[], None] | None]:
        """The answer to a request, or what ends the stream that it has begun."""
        try:
            request = _parse(line)
            name = request.get("command")
            if isinstance(name, str) and name in self._streams:
                return None, self._stream(self._streams[name], request, Place(user, talk.unread, talk.give_way), writer)
            answer = self._handler(name)(request)
            return (answer if isinstance(answer, Mapping) else await answer), None
        except ControlError as error:
            return {"error": str(error)}, None

    def _stream(
        self, stream: Stream, request: Mapping[str, Any], place: Place, writer: asyncio.StreamWriter
    ) -> Callable[[], None]:
        """Begin a stream, if there is a place for it; what ends it. Raises ControlError."""
        refusal = self._watches.take(place)
        if refusal is not None:
            raise ControlError(_WATCHED[refusal])
        try:
            end = stream(request, writer)
        except Exception:
            self._watches.free(place)
            raise

        def ended() -> None:
            self._watches.free(place)
            end()

        return ended

    def _handler(self, name: object) -> Answer:
        handler = self._commands.get(name) if isinstance(name, str) else None
        if handler is None:
            raise ControlError(f"unknown command; known are {', '.join([*self._commands, *self._streams])}")
        return handler


def _busy(text: str) -> bytes:
    return json.dumps({"busy": text}).encode() + b"\n"


def _user_of(writer: asyncio.StreamWriter) -> int:
    """The user id of the peer (unix(7), SO_PEERCRED)."""
    link = writer.get_extra_info("socket")
    found: int = _CREDENTIALS.unpack(link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))[1]
    return found


def is_socket(path: Path) -> bool:
    """Whether there is one; False for nothing. Raises FileExistsError for anything else."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if not stat.S_ISSOCK(mode):
        raise FileExistsError(f"{path} exists and is not a socket")
    return True


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readuntil(b"\n")
    except asyncio.LimitOverrunError:
        return b""
    except asyncio.IncompleteReadError as error:
        return error.partial


async def _until_gone(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let a stream flow until the peer closes its end; what it says has no meaning, and much of it ends it."""
    said = 0
    with contextlib.suppress(OSError):  # it is gone, which is how such conversations end
        while said <= MAX_REQUEST and (data := await reader.read(MAX_REQUEST)):
            said += len(data)
    # Not to wait for a peer that does not read.
    writer.transport.abort()


def _parse(line: bytes) -> Mapping[str, Any]:
    if not line:
        raise ControlError(f"a request is one line of at most {MAX_REQUEST} octets")
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError("a request is one line of JSON") from error
    if not isinstance(request, dict):
        raise ControlError("a request is a JSON object")
    return request


def ask(path: str, command: str, **arguments: str) -> dict[str, Any]:
    """Ask a running daemon, blocking. Raises ControlError with a sentence for the user."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as link:
            link.settimeout(PATIENCE_S)
            _connect(link, path)
            with contextlib.suppress(BrokenPipeError):  # it may have said why before it closed
                link.sendall(json.dumps({"command": command, **arguments}).encode() + b"\n")
            data = _receive(link)
    except FileNotFoundError as error:
        raise ControlError(f"no timesync runs here: there is no socket {path}") from error
    except ConnectionRefusedError as error:
        raise ControlError(f"no timesync runs here: nobody answers on {path}") from error
    except PermissionError as error:
        raise ControlError(f"the socket {path} may not be opened by this user") from error
    except BlockingIOError as error:
        raise ControlError(crowded(path)) from error
    except (OSError, TimeoutError) as error:
        raise ControlError(f"the daemon did not answer on {path}: {error}") from error
    if not data:
        raise ControlError(f"the daemon closed the connection on {path} without an answer")
    try:
        answer = json.loads(data)
    except ValueError as error:
        raise ControlError(f"the answer on {path} is not JSON: is that timesync's socket?") from error
    if not isinstance(answer, dict):
        raise ControlError(f"the answer on {path} is not an object: is that timesync's socket?")
    if "busy" in answer:
        raise ControlError(str(answer["busy"]))
    if "error" in answer:
        raise RefusedError(str(answer["error"]))
    return answer


def crowded(path: str) -> str:
    """What to say where the queue has stayed full."""
    return f"nobody is let in on {path}: too many wait there; try again"


def _connect(link: socket.socket, path: str) -> None:
    """Connect, though so many want to that their queue is full: a socket with a timeout does not wait by itself."""
    end_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            link.connect(path)
        except BlockingIOError:
            if time.monotonic() > end_s:
                raise
            time.sleep(QUEUE_S)
        else:
            return


def _receive(link: socket.socket) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := _receive_part(link, parts):
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER:
            raise ControlError("the answer is too long: is that timesync's socket?")
    return b"".join(parts)


def _receive_part(link: socket.socket, before: list[bytes]) -> bytes:
    """What comes next. A daemon that closes with our request half read resets the connection after its answer."""
    try:
        return link.recv(65536)
    except ConnectionResetError:
        if not before:
            raise
        return b""
