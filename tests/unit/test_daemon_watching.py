"""The daemon's stream on its control socket, and its observer process, from outside."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from child_support import without_landlock
from cli_support import PATIENCE_S, configuration, eventually, running, server, status

from timesync.base.machine import Noted
from timesync.config.observe import Observe
from timesync.daemon.observer import Observer, kinds_for
from timesync.daemon.watching import _until_next
from timesync.observe.broadcast import Broadcaster
from timesync.wire.candm import Command, encode_request
from timesync.wire.candm_reply import decode_reply


class Stream:
    """A watcher of a control socket."""

    def __init__(self, path: Path, request: dict[str, Any]) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self._socket.sendall(json.dumps({"command": "watch", **request}).encode() + b"\n")
        self._file = self._socket.makefile()

    def next(self) -> dict[str, Any]:
        line = self._file.readline()
        assert line, "the daemon ended the stream"
        message = json.loads(line)
        assert isinstance(message, dict)
        return message

    def until(self, **wanted: object) -> dict[str, Any]:
        while True:
            message = self.next()
            if all(message.get(key) == value for key, value in wanted.items()):
                return message

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@contextmanager
def watching(tmp_path: Path, **request: Any) -> Iterator[Stream]:
    stream = Stream(tmp_path / "c.sock", request)
    yield stream
    stream.close()


def observers(parent: int) -> list[int]:
    """The observer processes of a daemon."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            line = (entry / "cmdline").read_bytes().split(b"\0")
            mine = f"\nPPid:\t{parent}\n" in (entry / "status").read_text()
        except OSError:
            continue
        if mine and b"timesync.observe.process" in line:
            found.append(int(entry.name))
    return found


def test_a_watcher_gets_a_greeting_the_state_every_second_and_events_as_they_happen(tmp_path: Path) -> None:
    with server(tmp_path) as where:
        file = configuration(tmp_path, where)
        with running(tmp_path, "run", "-c", str(file)) as daemon:
            status(tmp_path / "c.sock")
            with watching(tmp_path) as stream:
                hello = stream.next()
                assert ("hello", 1, daemon.pid) == (hello["type"], hello["schema"], hello["pid"])
                # One at once, then one in the middle of each second.
                stream.until(type="state")
                first = stream.until(type="state")
                second = stream.until(type="state")
                assert 500_000_000 < second["utc_ns"] - first["utc_ns"] < 10_000_000_000
                assert "bench" == second["status"]["served_clock"]
                assert [where] == [source["address"] for source in second["sources"]]
                daemon.hang_up()
                assert "info" == stream.until(type="event", name="reload")["level"]


@pytest.mark.parametrize(
    ("at_ms", "wait_ms"), [(0, 500), (400, 100), (470, 1030), (500, 1000), (501, 999), (900, 600), (999, 501)]
)
def test_there_is_one_state_in_each_second_also_when_one_is_early_or_late(at_ms: int, wait_ms: int) -> None:
    assert wait_ms / 1000 == _until_next(1_795_000_000_000_000_000 + at_ms * 1_000_000)


def test_a_watcher_gets_only_what_it_asks_for(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    with running(tmp_path, "run", "-c", str(file)) as daemon:
        status(tmp_path / "c.sock")
        with watching(tmp_path, kinds=["event"]) as stream:
            assert "hello" == stream.next()["type"]
            daemon.hang_up()
            assert "event" == stream.next()["type"]
        with watching(tmp_path, kinds=["nonsense"]) as stream:
            assert "kinds is a list of some of state, event, clients, measurement" == stream.next()["error"]


def test_there_is_a_bound_on_watchers(tmp_path: Path) -> None:
    file = configuration(tmp_path)
    with running(tmp_path, "run", "-c", str(file)):
        status(tmp_path / "c.sock")
        streams = [Stream(tmp_path / "c.sock", {}) for _ in range(8)]
        assert {"hello"} == {stream.next()["type"] for stream in streams}
        with watching(tmp_path) as late:
            assert "8 others watch already" == late.next()["error"]
        streams.pop().close()

        def let_in() -> bool:
            with watching(tmp_path) as again:
                return again.next().get("type") == "hello"

        assert eventually(lambda: let_in() or None, "a place for another watcher")
        for stream in streams:
            stream.close()


def test_the_observer_has_no_rights_and_is_started_again_when_it_dies(tmp_path: Path) -> None:
    file = configuration(tmp_path, rest="observe: {control: c.sock, state: state, metrics: '127.0.0.1:0'}\n")
    with running(tmp_path, "run", "-c", str(file)) as daemon:
        status(tmp_path / "c.sock")
        with watching(tmp_path, kinds=["event"]) as stream:
            (pid,) = eventually(lambda: observers(daemon.pid) or None, "an observer")

            def confined() -> bool:
                said = Path(f"/proc/{pid}/status").read_text()
                return "CapEff:\t0000000000000000" in said and "NoNewPrivs:\t1" in said

            eventually(lambda: confined() or None, "an observer without rights")
            os.kill(pid, signal.SIGKILL)
            assert "ended with -9" in stream.until(type="event", name="observer")["text"]
            eventually(lambda: set(observers(daemon.pid)) - {pid} or None, "another observer")
        assert 0 == daemon.end(signal.SIGTERM)
        assert not observers(daemon.pid)


def test_a_port_that_is_taken_is_said_and_is_no_reason_to_stop(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        rest = f"observe: {{control: c.sock, state: state, metrics: '127.0.0.1:{port}'}}\n"
        file = configuration(tmp_path, rest=rest)
        with running(tmp_path, "run", "-c", str(file)) as daemon:

            def warned() -> list[str]:
                said = status(tmp_path / "c.sock")["warnings"]
                return [text for text in said if text.startswith("observe.metrics cannot be served: Address already")]

            eventually(lambda: warned() or None, "a warning")
            file.write_text(file.read_text().replace(f", metrics: '127.0.0.1:{port}'", ""))
            daemon.hang_up()
            eventually(lambda: not warned() or None, "the warning's end")


@pytest.mark.parametrize(
    ("watched", "wanted"),
    [
        ({"metrics": "127.0.0.1:9123"}, ("state", "event")),
        ({"web": "127.0.0.1:8123"}, ("state", "event", "clients")),
        ({"chronyc": {"listen": "127.0.0.1:323"}}, ("state", "event", "clients")),
        ({"mqtt": {"broker": "mqtt://broker"}}, ("state", "event")),
    ],
)
def test_who_asks_is_looked_up_for_parts_that_show_it(watched: dict[str, Any], wanted: tuple[str, ...]) -> None:
    assert wanted == kinds_for(Observe.model_validate(watched))


def test_a_kernel_without_landlock_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    without_landlock(monkeypatch, tmp_path)

    async def story() -> Noted:
        notes: asyncio.Queue[Noted] = asyncio.Queue()
        observer = Observer(Broadcaster(), lambda: {"type": "hello"}, notes.put_nowait)
        await observer.configure(Observe.model_validate({"metrics": "127.0.0.1:0", "state": str(tmp_path / "state")}))
        async with asyncio.timeout(PATIENCE_S):
            note = await notes.get()
        await observer.close()
        return note

    text = "this kernel has no Landlock: the observer may read whatever its user may"
    assert Noted("info", "observer-files", text) == asyncio.run(story())


def _chronyc(folder: Path) -> str:
    return f"observe: {{control: c.sock, state: state, chronyc: {{socket: {folder}/run/d.sock}}}}\n"


def test_the_socket_of_chronyc_takes_the_place_of_a_dead_one_and_goes_with_the_daemon(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="timesync-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "run").mkdir()
        dead = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        dead.bind(f"{folder}/run/d.sock")
        dead.close()
        file = configuration(tmp_path, rest=_chronyc(folder))
        with running(tmp_path, "run", "-c", str(file)) as daemon:
            status(tmp_path / "c.sock")
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
                client.bind(f"{folder}/run/c")
                # Whoever the observer is, it must be able to write to it.
                Path(f"{folder}/run/c").chmod(0o666)
                client.settimeout(0.5)

                def told() -> bytes | None:
                    try:
                        client.connect(f"{folder}/run/d.sock")
                        client.send(encode_request(Command.TRACKING, 7, size=104))
                        return client.recv(1000)
                    except OSError:
                        return None

                assert 7 == decode_reply(eventually(told, "an answer")).sequence
            assert 0 == daemon.end(signal.SIGTERM)
        assert not Path(f"{folder}/run/d.sock").exists()


def test_a_socket_of_chronyc_that_cannot_be_had_is_said(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="timesync-") as made:
        folder = Path(made)
        folder.chmod(0o755)
        (folder / "run").mkdir()
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
            other.bind(f"{folder}/run/d.sock")
            file = configuration(tmp_path, rest=_chronyc(folder))
            with running(tmp_path, "run", "-c", str(file)) as daemon:
                said = status(tmp_path / "c.sock")["warnings"]
                assert any(f"another program listens on {folder}/run/d.sock" in text for text in said)
                assert 0 == daemon.end(signal.SIGTERM)
            assert Path(f"{folder}/run/d.sock").exists(), "it is not ours"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root's observer is somebody else")
def test_a_directory_that_the_observer_may_not_enter_is_said(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="timesync-") as made:
        file = configuration(tmp_path, rest=_chronyc(Path(made)))
        with running(tmp_path, "run", "-c", str(file)):
            said = status(tmp_path / "c.sock")["warnings"]
            assert [
                f"observe.chronyc.socket cannot be served: its process, which runs as nobody, may not enter {made}"
            ] == [text for text in said if text.startswith("observe.")]


@pytest.mark.parametrize("text", ["mqtt://", "http://localhost", "mqtt://user:word@localhost", "localhost"])
def test_a_wrong_broker_is_refused(tmp_path: Path, text: str) -> None:
    from timesync.config.load import load
    from timesync.config.problem import ConfigError

    file = configuration(tmp_path, rest=f"observe: {{mqtt: {{broker: '{text}'}}}}\n")
    with pytest.raises(ConfigError) as caught:
        load(file)
    assert ["observe.mqtt.broker"] == [problem.path for problem in caught.value.problems]
