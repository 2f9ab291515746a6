"""The Unix sockets of management, on a real loop."""

from __future__ import annotations

import asyncio
import socket
import stat
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from timesync.runtime import ptp_management
from timesync.runtime.ptp_management import PER_WAKE, UnixManagement

WAIT_S = 10.0


class Hearer:
    """Notes what comes, and lets a test wait for it."""

    def __init__(self) -> None:
        self.heard: list[tuple[bytes, str, bool]] = []
        self.gone: list[str] = []
        self.on_heard: Callable[[], None] = lambda: None
        self._changed = asyncio.Event()

    def on_management(self, data: bytes, address: str, *, writable: bool) -> None:
        self.heard.append((data, address, writable))
        self.on_heard()
        self._changed.set()

    def on_unreachable(self, address: str) -> None:
        self.gone.append(address)
        self._changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(WAIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


def tool(path: Path | str | bytes = b"") -> socket.socket:
    """The socket of somebody who asks."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    if path:
        made.bind(path if isinstance(path, bytes) else str(path))
    return made


def play(path: Path, story: Callable[[UnixManagement, Hearer], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        hearer = Hearer()
        with closing(UnixManagement(asyncio.get_running_loop(), str(path), hearer)) as opened:
            await story(opened, hearer)

    asyncio.run(main())


def test_both_sockets_are_there_with_their_rights_and_go_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "run" / "ptp4l"

    async def story(_: UnixManagement, __: Hearer) -> None:
        found = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
        assert {"ptp4l": 0o660, "ptp4lro": 0o666} == found

    play(path, story)
    assert [] == list(path.parent.iterdir())


@pytest.mark.parametrize("writable", [True, False])
def test_who_asks_is_answered_from_the_socket_that_he_asked(tmp_path: Path, writable: bool) -> None:
    path = tmp_path / "ptp4l"
    ours = str(path) if writable else f"{path}ro"

    async def story(opened: UnixManagement, hearer: Hearer) -> None:
        with tool(tmp_path / "pmc.1") as pmc:
            pmc.sendto(b"ask", ours)
            await hearer.until(lambda: bool(hearer.heard))
            assert [(b"ask", str(tmp_path / "pmc.1"), writable)] == hearer.heard
            opened.send(b"answer", hearer.heard[0][1], writable=writable)
            assert (b"answer", ours) == pmc.recvfrom(100)

    play(path, story)


def test_a_socket_of_the_abstract_namespace_is_answered_and_one_without_a_name_is_not_heard(tmp_path: Path) -> None:
    name = b"\0timesync-test-" + tmp_path.name.encode()

    async def story(opened: UnixManagement, hearer: Hearer) -> None:
        with tool() as nameless, tool(name) as named:
            nameless.sendto(b"nameless", str(tmp_path / "ptp4l"))
            named.sendto(b"named", str(tmp_path / "ptp4l"))
            await hearer.until(lambda: bool(hearer.heard))
            ((data, address, _),) = hearer.heard
            assert b"named" == data
            opened.send(b"answer", address, writable=True)
            assert b"answer" == named.recv(100)

    play(tmp_path / "ptp4l", story)


def test_a_tool_that_has_gone_is_told_once_and_later(tmp_path: Path) -> None:
    async def story(opened: UnixManagement, hearer: Hearer) -> None:
        tool(tmp_path / "dead").close()
        opened.send(b"x", str(tmp_path / "dead"), writable=True)
        opened.send(b"x", str(tmp_path / "nowhere"), writable=False)
        assert [] == hearer.gone
        await hearer.until(lambda: len(hearer.gone) == 2)
        assert [str(tmp_path / "dead"), str(tmp_path / "nowhere")] == hearer.gone
        assert 2 == opened.failed

    play(tmp_path / "ptp4l", story)


def test_a_tool_that_does_not_read_costs_messages_and_no_time(tmp_path: Path) -> None:
    async def story(opened: UnixManagement, hearer: Hearer) -> None:
        with tool(tmp_path / "pmc.1"):
            for _ in range(10_000):
                opened.send(bytes(1000), str(tmp_path / "pmc.1"), writable=True)
        assert opened.failed > 5_000
        assert [] == hearer.gone

    play(tmp_path / "ptp4l", story)


def test_a_flood_is_taken_in_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After so many the socket rests; what waits in the kernel meanwhile is not lost."""
    pauses: list[int] = []

    async def story(_: UnixManagement, hearer: Hearer) -> None:
        loop = asyncio.get_running_loop()
        later = loop.call_later
        monkeypatch.setattr(loop, "call_later", lambda *words: (pauses.append(len(hearer.heard)), later(*words))[1])
        with tool(tmp_path / "flood") as flood:

            def again() -> None:
                if len(hearer.heard) < 3 * PER_WAKE:
                    flood.sendto(b"again", str(tmp_path / "ptp4l"))

            hearer.on_heard = again
            again()
            await hearer.until(lambda: len(hearer.heard) >= 3 * PER_WAKE)

    monkeypatch.setattr(ptp_management, "PAUSE_S", 0.001)
    play(tmp_path / "ptp4l", story)
    assert {PER_WAKE, 2 * PER_WAKE} <= set(pauses)


def test_closing_from_inside_the_handler_is_allowed(tmp_path: Path) -> None:
    async def story(opened: UnixManagement, hearer: Hearer) -> None:
        hearer.on_heard = opened.close
        with tool(tmp_path / "pmc.1") as pmc:
            pmc.sendto(b"1", str(tmp_path / "ptp4l"))
            pmc.sendto(b"2", str(tmp_path / "ptp4l"))
            await hearer.until(lambda: bool(hearer.heard))
            opened.send(b"late", str(tmp_path / "pmc.1"), writable=True)
            await asyncio.sleep(0)
            with pytest.raises(BlockingIOError):
                pmc.recv(100)
        assert 1 == len(hearer.heard)

    play(tmp_path / "ptp4l", story)


@pytest.mark.parametrize("end", ["", "ro"])
def test_sockets_of_a_daemon_that_died_are_replaced_and_those_of_a_living_one_are_not(tmp_path: Path, end: str) -> None:
    path = tmp_path / "ptp4l"
    tool(f"{path}{end}").close()

    async def story(_: UnixManagement, hearer: Hearer) -> None:
        with pytest.raises(OSError, match="in use"):
            UnixManagement(asyncio.get_running_loop(), str(path), hearer)

    play(path, story)
    with tool(f"{path}{end}"), pytest.raises(OSError, match="in use"):
        play(path, story)
    # Half of a pair is not left behind.
    assert [f"ptp4l{end}"] == [file.name for file in tmp_path.iterdir()]


def test_what_is_no_socket_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "ptp4lro").write_text("precious")

    async def never(_: UnixManagement, __: Hearer) -> None:
        raise AssertionError

    with pytest.raises(FileExistsError):
        play(tmp_path / "ptp4l", never)
    assert ["ptp4lro"] == [file.name for file in tmp_path.iterdir()]
