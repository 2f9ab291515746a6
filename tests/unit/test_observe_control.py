"""The control socket against clients that are wrong, slow or many."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import socket
import stat
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from timesync.observe import control, stream
from timesync.observe import watch as observe_watch
from timesync.observe.control import AnotherDaemonError, ControlError, ControlServer, RefusedError, ask
from timesync.observe.watch import watch

T = TypeVar("T")


def _echo(request: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"asked": dict(request)}


def _refuse(request: Mapping[str, Any]) -> Mapping[str, Any]:
    raise ControlError("not today")


async def _later(request: Mapping[str, Any]) -> Mapping[str, Any]:
    await asyncio.sleep(0)
    if "wrong" in request:
        raise ControlError("not later either")
    return {"later": True}


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[ControlServer]:
    server = ControlServer(str(path), {"echo": _echo, "no": _refuse, "later": _later})
    await server.start()
    try:
        yield server
    finally:
        await server.stop()


async def say(path: Path, data: bytes, *, end: bool = False) -> dict[str, Any]:
    """Send octets as they are; the answer."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(data)
        if end:
            writer.write_eof()
        async with asyncio.timeout(10):
            answer = json.loads(await reader.readline())
    finally:
        writer.close()
    assert isinstance(answer, dict)
    return answer


@asynccontextmanager
async def crowd(path: Path) -> AsyncIterator[Crowd]:
    """A server that takes its peers for the users that they say they are, and those peers."""
    gates: asyncio.Queue[asyncio.Event] = asyncio.Queue()
    ended: list[str] = []

    async def slow(request: Mapping[str, Any]) -> Mapping[str, Any]:
        gate = asyncio.Event()
        gates.put_nowait(gate)
        await gate.wait()
        return {"slow": True}

    def watch(request: Mapping[str, Any], writer: asyncio.StreamWriter) -> Callable[[], None]:
        writer.write(b'{"hello": 1}\n' + b"x" * int(request.get("flood", 0)))
        return lambda: ended.append(request["name"])

    server = ControlServer(
        str(path / "c"),
        {"echo": _echo, "slow": slow},
        {"watch": watch},
        lambda writer: int(Path(writer.get_extra_info("peername")).name.split(".")[0]),
    )
    await server.start()
    peers = Crowd(path, gates, ended)
    try:
        async with asyncio.timeout(20):
            yield peers
    finally:
        peers.end()
        await server.stop()


class Crowd:
    """Peers of several users.

    Attributes:
        ended: Names of the streams that have ended.
    """

    def __init__(self, path: Path, gates: asyncio.Queue[asyncio.Event], ended: list[str]) -> None:
        self._path = path
        self._all: list[Peer] = []
        self._gates = gates
        self.ended = ended

    async def join(self, user: int, command: str = "", **arguments: object) -> Peer:
        """Connect, and ask if there is a command."""
        link = socket.socket(socket.AF_UNIX)
        link.bind(str(self._path / f"{user}.{len(self._all)}"))
        link.connect(str(self._path / "c"))
        peer = Peer(*await asyncio.open_unix_connection(sock=link))
        self._all.append(peer)
        if command:
            peer.ask(command, **arguments)
        return peer

    async def slow(self, user: int) -> Peer:
        """One who is being answered, until its gate is opened."""
        peer = await self.join(user, "slow")
        peer.gate = await self._gates.get()
        return peer

    async def watch(self, user: int, name: str, **arguments: object) -> Peer:
        """One who has been greeted as a watcher."""
        peer = await self.join(user, "watch", name=name, **arguments)
        assert {"hello": 1} == await peer.hears()
        return peer

    def end(self) -> None:
        for peer in self._all:
            peer.gate.set()
            peer.writer.transport.abort()


@dataclass
class Peer:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    def ask(self, command: str, **arguments: object) -> None:
        self.writer.write(json.dumps({"command": command, **arguments}).encode() + b"\n")

    def pause(self) -> None:
        """Read no more."""
        transport = self.writer.transport
        assert isinstance(transport, asyncio.ReadTransport)
        transport.pause_reading()

    async def hears(self) -> dict[str, Any]:
        said = json.loads(await self.reader.readline())
        assert isinstance(said, dict)
        return said


GAVE_WAY = {"busy": "this had to give way to another connection; try again"}


def in_thread(call: Callable[[], T]) -> asyncio.Task[T]:
    return asyncio.create_task(asyncio.to_thread(call))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"status\n", "a request is one line of JSON"),
        (b"\xff\xfe\n", "a request is one line of JSON"),
        (b"[" * 4000 + b"\n", "a request is one line of JSON"),
        (b"[1]\n", "a request is a JSON object"),
        (b'{"command": "reboot"}\n', "unknown command; known are echo, no, later"),
        (b'{"command": ["echo"]}\n', "unknown command; known are echo, no, later"),
        (b"{}\n", "unknown command; known are echo, no, later"),
        (b'{"command": "no"}\n', "not today"),
        (b'{"command": "echo", "x": "' + b"x" * 65536 + b'"}\n', "a request is one line of at most 4096 octets"),
        (b"x" * 65536, "a request is one line of at most 4096 octets"),
    ],
)
def test_a_wrong_request_gets_a_sentence_and_the_next_an_answer(tmp_path: Path, line: bytes, words: str) -> None:
    async def main() -> None:
        path = tmp_path / "c.sock"
        async with serving(path):
            assert {"error": words} == await say(path, line)
            assert {"asked": {"command": "echo"}} == await say(path, b'{"command": "echo"}\n')

    asyncio.run(main())


def test_half_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its end it is no JSON; without, the conversation is ended after a while."""
    monkeypatch.setattr(control, "PATIENCE_S", 0.1)

    async def main() -> None:
        path = tmp_path / "c.sock"
        async with serving(path):
            assert {"error": "a request is one line of JSON"} == await say(path, b'{"comm', end=True)
            reader, writer = await asyncio.open_unix_connection(str(path))
            writer.write(b'{"comm')
            async with asyncio.timeout(10):
                assert b"" == await reader.read()
            writer.close()
            assert {"asked": {"command": "echo"}} == await say(path, b'{"command": "echo"}\n')

    asyncio.run(main())


def test_everybody_may_ask_and_the_socket_goes_with_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "c.sock"
        async with serving(path):
            mode = stat.S_IMODE(path.stat().st_mode)
            asked = await in_thread(lambda: ask(str(path), "echo", source="a"))
        assert 0o666 == mode
        assert {"asked": {"command": "echo", "source": "a"}} == asked
        assert not path.exists()

    asyncio.run(main())


def test_a_file_in_its_place_is_not_deleted(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    path.write_text("precious")
    (tmp_path / "link").symlink_to(path)

    async def main() -> None:
        for place in (path, tmp_path / "link"):
            with pytest.raises(FileExistsError, match="exists and is not a socket"):
                await ControlServer(str(place), {}).start()

    asyncio.run(main())
    assert "precious" == path.read_text()


def test_a_socket_that_nobody_answers_on_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))

    async def main() -> None:
        async with serving(path):
            with pytest.raises(AnotherDaemonError, match=rf"^another timesync runs already \(control socket {path}\)$"):
                await ControlServer(str(path), {}).start()
            assert {"asked": {"command": "echo"}} == await say(path, b'{"command": "echo"}\n')

    asyncio.run(main())


@contextmanager
def full_queue(path: Path) -> Iterator[tuple[socket.socket, list[socket.socket]]]:
    """A listener that nobody can connect to, and those who are in its queue."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening, ExitStack() as stack:
        listening.bind(str(path))
        listening.listen(0)
        waiting: list[socket.socket] = []
        while len(waiting) < 50:
            link = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            link.setblocking(False)
            if link.connect_ex(str(path)) == errno.EAGAIN:
                break
            waiting.append(link)
        else:
            pytest.fail("the queue never filled")
        yield listening, waiting


def test_one_that_is_stuck_with_a_full_queue_is_there_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with full_queue(path), pytest.raises(AnotherDaemonError):
        asyncio.run(ControlServer(str(path), {}).start())

    assert path.is_socket()


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "closed the connection on .* without an answer"),
        (b"hello\n", "is not JSON"),
        (b"[]\n", "is not an object"),
        (b'{"error": "no such thing"}\n', "^no such thing$"),
    ],
)
def test_what_a_strange_daemon_says_becomes_a_sentence(tmp_path: Path, answer: bytes, words: str) -> None:
    path = tmp_path / "c.sock"

    def serve(listening: socket.socket) -> None:
        link, _ = listening.accept()
        with link:
            link.recv(4096)
            link.sendall(answer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listening:
        listening.bind(str(path))
        listening.listen(1)
        thread = threading.Thread(target=serve, args=(listening,))
        thread.start()
        with pytest.raises(RefusedError if b"error" in answer else ControlError, match=words):
            ask(str(path), "status")
        thread.join()


async def _watched(path: str) -> Mapping[str, Any]:
    return await anext(watch(path))


@pytest.mark.parametrize(
    ("get", "answer"),
    [
        (lambda path: ask(path, "status"), {"here": 1}),
        (lambda path: asyncio.run(_watched(path)), stream.hello("1", "host", 1)),
    ],
)
def test_who_asks_or_watches_waits_where_many_want_to_be_let_in(
    tmp_path: Path, get: Callable[[str], Mapping[str, Any]], answer: Mapping[str, Any]
) -> None:
    path = tmp_path / "c.sock"

    def serve(listening: socket.socket, before: int) -> None:
        time.sleep(0.1)
        for number in range(before + 1):
            link, _ = listening.accept()
            with link:
                if number == before:
                    link.recv(4096)
                    link.sendall(json.dumps(answer).encode() + b"\n")

    with full_queue(path) as (listening, waiting):
        thread = threading.Thread(target=serve, args=(listening, len(waiting)))
        thread.start()
        assert answer == get(str(path))
        thread.join()


def test_nobody_waits_longer_than_for_an_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (control, observe_watch):
        monkeypatch.setattr(module, "PATIENCE_S", 0.1)
    path = str(tmp_path / "c.sock")
    with full_queue(tmp_path / "c.sock"):
        for get in (lambda: ask(path, "status"), lambda: asyncio.run(_watched(path))):
            with pytest.raises(ControlError, match=r"nobody is let in on .*: too many wait there; try again"):
                get()


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no timesync runs here: there is no socket"):
        ask(str(tmp_path / "c.sock"), "status")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(tmp_path / "d.sock"))
    with pytest.raises(ControlError, match="no timesync runs here: nobody answers"):
        ask(str(tmp_path / "d.sock"), "status")


def test_the_end_of_the_server_ends_streams_without_a_word(tmp_path: Path) -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
        ended: list[str] = []

        def watch(request: Mapping[str, Any], writer: asyncio.StreamWriter) -> Callable[[], None]:
            writer.write(b"hello\n")
            return lambda: ended.append("ended")

        server = ControlServer(str(tmp_path / "s"), {}, {"watch": watch})
        await server.start()
        peers = [await asyncio.open_unix_connection(str(tmp_path / "s")) for _ in range(3)]
        for reader, writer in peers:
            writer.write(b'{"command": "watch"}\n')
            async with asyncio.timeout(10):
                assert b"hello\n" == await reader.readline()
        await server.stop()
        assert ["ended"] * 3 == ended
        for _, writer in peers:
            writer.close()

    asyncio.run(main())
    assert [] == complaints


def test_a_watcher_that_talks_all_the_time_is_let_go(tmp_path: Path) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        def watch(request: Mapping[str, Any], writer: asyncio.StreamWriter) -> Callable[[], None]:
            writer.write(b"hello\n")
            return ended.set

        server = ControlServer(str(tmp_path / "s"), {}, {"watch": watch})
        await server.start()
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b'{"command": "watch"}\n')
        assert b"hello\n" == await reader.readline()
        writer.write(b"x" * control.MAX_REQUEST)
        await asyncio.sleep(0.1)
        assert not ended.is_set()
        writer.write(b"x")
        async with asyncio.timeout(10):
            await ended.wait()
        writer.close()
        await server.stop()

    asyncio.run(main())


def test_an_answer_may_take_its_time(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "c"
        async with serving(path):
            assert {"later": True} == await say(path, b'{"command": "later"}\n')
            assert {"error": "not later either"} == await say(path, b'{"command": "later", "wrong": 1}\n')

    asyncio.run(main())


def test_who_asks_without_end_waits_and_others_do_not() -> None:
    pace = control.Pace()
    first = [pace.delay_s(1000, 0.0) for _ in range(300)]
    assert [0.0] * 100 == first[:100]
    assert [number / 50 for number in range(1, 201)] == pytest.approx(first[100:])
    assert 0.0 == pace.delay_s(1001, 0.0)
    # Patience is rewarded, up to what may be asked at once.
    assert 0.0 < pace.delay_s(1000, 3.9)
    assert [0.0] * 100 == [pace.delay_s(1000, 1000.0) for _ in range(100)]
    assert 0.0 < pace.delay_s(1000, 1000.0)
    for user in range(10_000):
        pace.delay_s(user, 1000.0)
    assert len(pace._left) <= control.MAX_USERS


def test_a_user_who_asks_in_a_loop_is_slowed_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ANSWERS_AT_ONCE", 5.0)
    monkeypatch.setattr(control, "ANSWERS_PER_S", 20.0)

    async def main() -> float:
        async with serving(tmp_path / "s"):
            began = asyncio.get_running_loop().time()
            for _ in range(15):
                assert "asked" in await say(tmp_path / "s", b'{"command": "echo"}\n')
            return asyncio.get_running_loop().time() - began

    # Five at once, and ten more at 20 a second, less what the first five took.
    assert 0.3 < asyncio.run(main()) < 10


def test_the_peer_is_who_the_kernel_says(tmp_path: Path) -> None:
    async def main() -> None:
        found = asyncio.get_running_loop().create_future()

        async def met(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            found.set_result(control._user_of(writer))
            writer.close()

        async with await asyncio.start_unix_server(met, str(tmp_path / "s")):
            _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            assert os.geteuid() == await found
            writer.close()

    asyncio.run(main())


def test_one_user_holds_half_of_the_connections_and_others_are_heard(tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path) as peers:
            held = [await peers.slow(1000) for _ in range(8)]
            late = await peers.join(1000, "echo")
            assert {"busy": "you have too many connections to the daemon; try again"} == await late.hears()
            assert "asked" in await (await peers.join(1001, "echo")).hears()
            held[0].gate.set()
            assert {"slow": True} == await held[0].hears()
            assert "asked" in await (await peers.join(1000, "echo")).hears()

    asyncio.run(main())


def test_a_place_is_kept_for_root_when_users_hold_all_others(tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path) as peers:
            for user in range(1000, 1012):
                await peers.slow(user)
            late = await peers.join(1012, "echo")
            assert {"busy": "the daemon has too many connections; try again"} == await late.hears()
            keepers = [await peers.slow(0) for _ in range(4)]
            assert "busy" in await (await peers.join(0, "echo")).hears()
            keepers[0].gate.set()
            assert {"slow": True} == await keepers[0].hears()
            assert "asked" in await (await peers.join(0, "echo")).hears()

    asyncio.run(main())


def test_who_keeps_silent_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SILENCE_S", 0.1)

    async def main() -> None:
        async with crowd(tmp_path) as peers:
            busy = await peers.slow(1000)
            silent = [await peers.join(1001 + number) for number in range(11)]
            assert "busy" in await (await peers.join(1012, "echo")).hears()
            await asyncio.sleep(0.2)
            assert "asked" in await (await peers.join(1012, "echo")).hears()
            assert GAVE_WAY == await silent[0].hears()
            assert b"" == await silent[0].reader.read()
            # Those whom nobody displaced are still heard.
            silent[1].ask("echo")
            assert "asked" in await silent[1].hears()
            busy.gate.set()
            assert {"slow": True} == await busy.hears()

    asyncio.run(main())


def test_ones_own_silent_connections_are_no_reason_to_be_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "SILENCE_S", 0.0)

    async def main() -> None:
        async with crowd(tmp_path) as peers:
            silent = [await peers.join(1000) for _ in range(8)]
            await asyncio.sleep(0.05)
            heard = [await peers.slow(1000) for _ in range(3)]
            for number in range(3):
                assert GAVE_WAY == await silent[number].hears()
                heard[number].gate.set()
                assert {"slow": True} == await heard[number].hears()

    asyncio.run(main())


def test_users_who_hold_many_give_way_to_one_who_holds_none(tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path) as peers:
            first = [await peers.slow(1000 + number // 4) for number in range(12)]
            assert "asked" in await (await peers.join(1003, "echo")).hears()
            assert GAVE_WAY == await first[0].hears()
            assert b"" == await first[0].reader.read()

    asyncio.run(main())


def test_watchers_have_shares_and_a_reserve_as_well(tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path) as peers:
            many = [await peers.watch(1000, f"a{number}") for number in range(4)]
            fifth = await peers.join(1000, "watch", name="a4")
            assert {"error": "you watch 4 times already"} == await fifth.hears()
            for name in ("b0", "b1"):
                await peers.watch(1001, name)
            # All that are not kept for root are taken.
            await peers.watch(1002, "c0")
            assert GAVE_WAY == await many[0].hears()
            await peers.watch(1003, "d0")
            assert GAVE_WAY == await many[1].hears()
            await peers.watch(1004, "e0")
            await peers.watch(1005, "f0")
            late = await peers.join(1006, "watch", name="g0")
            assert {"error": "8 others watch already"} == await late.hears()
            for name in ("r0", "r1"):
                await peers.watch(0, name)
            assert ["a0", "a1"] == peers.ended[:2]
            assert 4 == len(peers.ended)

    asyncio.run(main())


def test_a_watcher_who_does_not_read_gives_way(tmp_path: Path) -> None:
    async def main() -> None:
        async with crowd(tmp_path) as peers:
            for user in range(1000, 1005):
                await peers.watch(user, str(user))
            late = await peers.join(1005, "watch", name="stuck", flood=8 << 20)
            late.pause()
            await asyncio.sleep(0.05)
            await peers.watch(1006, "1006")
            assert ["stuck"] == peers.ended

    asyncio.run(main())


def test_nobody_is_waited_for_who_does_not_read_his_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the answers of all who do that would stay in memory for as long as they like."""
    monkeypatch.setattr(control, "PATIENCE_S", 0.2)

    async def main() -> None:
        server = ControlServer(str(tmp_path / "c"), {"much": lambda _: {"much": "x" * (2 << 20)}})
        await server.start()
        with socket.socket(socket.AF_UNIX) as link:
            link.setblocking(False)
            link.connect(str(tmp_path / "c"))
            link.send(b'{"command": "much"}\n')
            await asyncio.sleep(0.5)
            got = 0
            async with asyncio.timeout(5):
                while data := await asyncio.get_running_loop().sock_recv(link, 65536):
                    got += len(data)
            assert 0 < got < 1 << 20
        await server.stop()

    asyncio.run(main())
