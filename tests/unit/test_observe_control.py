"""The control socket against clients that are wrong, slow or many."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest

from timesync.observe import control
from timesync.observe.control import AnotherDaemonError, ControlError, ControlServer, RefusedError, ask

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


def test_connections_are_limited_and_those_that_end_make_room(tmp_path: Path) -> None:
    async def main() -> None:
        path = tmp_path / "c.sock"
        async with serving(path):
            idle = [await asyncio.open_unix_connection(str(path)) for _ in range(control.MAX_CONNECTIONS)]
            with pytest.raises(ControlError, match="too many connections"):
                await in_thread(lambda: ask(str(path), "echo"))
            for _, writer in idle:
                writer.close()
                await writer.wait_closed()

            async def room() -> dict[str, Any]:
                while True:
                    try:
                        return await in_thread(lambda: ask(str(path), "echo"))
                    except ControlError:
                        await asyncio.sleep(0.01)

            async with asyncio.timeout(10):
                assert {"asked": {"command": "echo"}} == await room()

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


def test_one_that_is_stuck_with_a_full_queue_is_there_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "c.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stuck, ExitStack() as stack:
        stuck.bind(str(path))
        stuck.listen(0)
        for _ in range(50):
            waiting = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            waiting.setblocking(False)
            if waiting.connect_ex(str(path)) == errno.EAGAIN:
                break
        else:
            pytest.fail("the queue never filled")
        with pytest.raises(AnotherDaemonError):
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
