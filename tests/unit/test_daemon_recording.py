"""Measurements of a daemon that runs: on its stream, and in the files that its observer writes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli_support import PATIENCE_S, configuration, running, server, status

from timesync.base.ids import ClockId
from timesync.base.time import Instant, Mono
from timesync.daemon.observer import _refused
from timesync.daemon.recording import Recording
from timesync.observe import stream
from timesync.observe.broadcast import Broadcaster, Watcher
from timesync.observe.records.reader import files, read
from timesync.observe.records.rows import Row, row_of_values
from timesync.observe.records.taped import TapedController
from timesync.observe.replay.figures import Baseline
from timesync.observe.replay.player import Player
from timesync.servo.command import ClockSpec, CoreSettings, Now
from timesync_drivers.confine import NOBODY

SYSTEM = ClockId("system")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that everybody may enter, as the observer must: that of pytest is root's alone."""
    made = Path(tempfile.mkdtemp(prefix="timesync-records-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def observing(**measurements: object) -> str:
    observe = {"control": "c.sock", "state": "state", "measurements": measurements}
    return f"observe: {json.dumps(observe)}\n"


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_what_the_daemon_did_is_recorded_from_its_beginning_and_replays(place: Path, form: str) -> None:
    with server(place) as where:
        file = configuration(place, where, rest=observing(directory="records", format=form))
        with running(place, "run", "-c", str(file)) as daemon:
            status(place / "c.sock", state="locked")
            assert 0 == daemon.end(signal.SIGTERM)
    (written,) = files(place / "records")
    assert written.suffix == f".{form}"
    recorded = list(read(place / "records"))
    assert ["begin", "start", "source"] == [row.kind for row in recorded[:3]]
    assert (recorded[0].details or {})["fresh"]
    found = Baseline(recorded)
    assert found.fidelity.same == found.fidelity.compared > 3
    if os.geteuid() == 0:
        assert NOBODY == written.stat().st_uid


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_operators_may_read_what_is_recorded(place: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        assert _refused(place / "deeper" / "records") is None
    finally:
        os.umask(before)
    made = (place / "deeper", place / "deeper" / "records")
    assert [0o755, 0o755] == [path.stat().st_mode & 0o777 for path in made]


def test_a_link_in_place_of_the_new_directory_changes_no_other(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever owns the directory above can put it there at any time."""
    other = place / "other"
    other.mkdir(mode=0o700)
    make = Path.mkdir

    def swapped(self: Path, *words: Any, **named: Any) -> None:
        make(self, *words, **named)
        self.rmdir()
        self.symlink_to(other)

    monkeypatch.setattr(Path, "mkdir", swapped)
    assert "cannot be made" in (_refused(place / "records") or "")
    assert 0o700 == other.stat().st_mode & 0o777


def test_a_directory_that_the_observer_may_not_write_to_is_a_warning(place: Path) -> None:
    directory = place / "records"
    directory.mkdir(mode=0o500)
    file = configuration(place, rest=observing(directory="records"))
    without = None if os.geteuid() == 0 else "-sys_time"
    with running(place, "run", "-c", str(file), without=without):
        warnings = status(place / "c.sock")["warnings"]
        assert any(f"observe.measurements: {directory} cannot be written by" in text for text in warnings)


def test_a_directory_of_somebody_else_is_left_as_it_is(place: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives directories away")
    directory = place / "records"
    assert _refused(directory) is None
    assert NOBODY == directory.stat().st_uid
    assert _refused(directory) is None
    os.chown(directory, 0, 0)
    said = _refused(directory)
    assert said is not None
    assert f"chown {NOBODY}:{NOBODY} {directory}" in said
    assert 0 == directory.stat().st_uid
    directory.chmod(0o777)
    assert _refused(directory) is None
    (place / "file").write_text("")
    assert "is not a directory" in (_refused(place / "file") or "")


class Listener:
    """A control socket's peer that asks for measurements."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        self._socket.connect(str(path))
        self._socket.sendall(b'{"command": "watch", "kinds": ["measurement"]}\n')
        self._lines = self._socket.makefile()

    def rows(self) -> list[Row]:
        while True:
            message = json.loads(self._lines.readline())
            if message["type"] == "measurement":
                return [row_of_values(values) for values in message["rows"]]

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


def test_who_asks_on_the_control_socket_gets_a_beginning_first(tmp_path: Path) -> None:
    with server(tmp_path) as where:
        file = configuration(tmp_path, where)
        with running(tmp_path, "run", "-c", str(file)):
            status(tmp_path / "c.sock", state="locked")
            one, other = (Listener(tmp_path / "c.sock") for _ in range(2))
            for listener in (one, other):
                heard = listener.rows()
                while not any(row.kind == "measurement" for row in heard):
                    heard += listener.rows()
                assert "begin" == heard[0].kind
                assert not (heard[0].details or {})["fresh"]
                assert (heard[0].details or {})["sources"]
                assert list(Player().play(heard))
                listener.close()


# -- without a process


class Wire:
    """The transport of a watcher, that can be full."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.waiting = 0
        self.transport = self

    def set_write_buffer_limits(self, high: int) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return False

    def write(self, line: bytes) -> None:
        self.sent.append(json.loads(line))

    def kinds(self) -> list[str]:
        return [row[1] for message in self.sent for row in message["rows"]]


class Scene:
    """A core, its recording, and who watches."""

    def __init__(self) -> None:
        self.seconds = 0
        settings = CoreSettings(served=SYSTEM)
        self.core = TapedController(
            settings, [ClockSpec(clock=SYSTEM, disciplined=True, max_frequency=0.1)], self.now()
        )
        self.recording = Recording(self.core, self.now, lambda: self.now().mono)
        self.broadcaster = Broadcaster(self.recording.joined)
        self.recording.attach(self.broadcaster)

    def now(self) -> Now:
        mono: Instant[Mono] = Instant.from_ns(self.seconds * 10**9)
        return Now(mono, {SYSTEM: Instant.from_ns(1_800_000_000 * 10**9 + self.seconds * 10**9)})

    def join(self) -> tuple[Watcher, Wire]:
        wire = Wire()
        watcher = Watcher(wire, (stream.MEASUREMENT,))  # type: ignore[arg-type]
        self.broadcaster.add(watcher)
        return watcher, wire

    def happen(self) -> None:
        self.seconds += 1
        self.core.on_deadline(self.now())
        self.recording.tick()


def test_without_anybody_nothing_is_recorded() -> None:
    scene = Scene()
    scene.happen()
    assert scene.core.tape is None
    watcher, wire = scene.join()
    scene.happen()
    assert ["begin", "deadline"] == wire.kinds()
    scene.broadcaster.remove(watcher)
    scene.happen()
    assert scene.core.tape is None


def test_who_comes_right_after_the_last_one_went_begins_anew() -> None:
    scene = Scene()
    watcher, _ = scene.join()
    scene.happen()
    scene.core.on_deadline(scene.now())
    scene.broadcaster.remove(watcher)
    _, wire = scene.join()
    scene.happen()
    assert ["begin", "deadline"] == wire.kinds()
    assert not wire.sent[0]["rows"][0][-1]["continues"]


def test_what_is_awaited_is_kept_for_the_first_who_comes() -> None:
    scene = Scene()
    scene.recording.begin()
    scene.happen()
    scene.happen()
    _, wire = scene.join()
    scene.happen()
    assert ["begin", "deadline", "deadline", "deadline"] == wire.kinds()
    _, late = scene.join()
    scene.happen()
    assert ["begin", "deadline"] == late.kinds()
    assert late.sent[0]["rows"][0][-1]["continues"]
    assert ["begin", *["deadline"] * 4] == wire.kinds()


def test_what_nobody_comes_for_is_given_up() -> None:
    scene = Scene()
    scene.recording.begin()
    for _ in range(20_001):
        scene.seconds += 1
        scene.core.on_deadline(scene.now())
    scene.recording.tick()
    assert scene.core.tape is None


def test_who_missed_something_gets_another_beginning() -> None:
    scene = Scene()
    _, wire = scene.join()
    scene.happen()
    wire.waiting = 1 << 30
    scene.happen()
    wire.waiting = 0
    scene.happen()
    scene.happen()
    assert ["begin", "deadline", "deadline", "begin", "deadline"] == wire.kinds()
    assert 0 < wire.sent[1]["missed"]
