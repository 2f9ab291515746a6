"""NTP shared memory of the kernel and Unix datagrams, between two users of ours."""

from __future__ import annotations

import itertools
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from timesync.base.measure import Leap
from timesync.host import ClockError, Trouble
from timesync.runtime.segments import ShmSegment, UnixOutbox, open_outbox, open_segment
from timesync.wire import shm
from timesync_drivers.segment import SharedMemory

# Far beyond the units of real programs (0 to 255), and nobody else's of those who run this at the same time.
_UNITS = itertools.count(0x1000_0000 + os.getpid() * 16)
SAMPLE = shm.ShmSample(1_794_983_616_123_456_789, 1_794_983_616_373_456_001, Leap.INSERT, -20, 0)


@pytest.fixture
def unit() -> Iterator[int]:
    """A unit whose segment is removed afterwards, if there is one."""
    number = next(_UNITS)
    yield number
    try:
        left = SharedMemory(shm.KEY + number, 0, create=False, mode=0)
    except FileNotFoundError:
        return
    left.remove()
    left.close()


def _remove(unit: int) -> None:
    memory = SharedMemory(shm.KEY + unit, shm.SIZE, create=False, mode=0)
    memory.remove()
    memory.close()


def _read(segment: ShmSegment) -> shm.ShmSample:
    data = segment.read()
    assert data is not None
    return shm.decode(data)


def test_what_is_written_is_read_once(unit: int) -> None:
    writer, reader = open_segment(unit, create=True), open_segment(unit, create=False)
    try:
        assert not _read(reader).valid, "nothing has been written yet"
        writer.write(shm.encode(SAMPLE))
        first, again = _read(reader), _read(reader)
        writer.write(shm.encode(SAMPLE))
        second = _read(reader)
    finally:
        writer.close()
        reader.close()
    assert (SAMPLE.clock_ns, SAMPLE.kernel_ns, SAMPLE.leap, True) == (
        first.clock_ns,
        first.kernel_ns,
        first.leap,
        first.valid,
    )
    assert not again.valid
    # Raised before and after, so that it is odd while somebody writes.
    assert (2, 2, 4) == (first.count, again.count, second.count)


def test_a_sample_that_becomes_valid_while_we_look_is_not_lost(unit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader has copied what is not valid yet; before it goes on, the writer finishes."""
    writer, reader = open_segment(unit, create=True), open_segment(unit, create=False)
    view, looks = reader._view, 0

    class Slow:
        """The reader's memory; the third look is at the count, behind the copy."""

        def __getitem__(self, where: slice) -> memoryview:
            nonlocal looks
            looks += 1
            if looks == 3:
                count = bytes(view[shm.COUNT_OFFSET : shm.COUNT_OFFSET + 4])
                struct.pack_into("@i", view, shm.VALID_OFFSET, 1)
                assert count == bytes(view[shm.COUNT_OFFSET : shm.COUNT_OFFSET + 4])
            return view[where]

    try:
        writer.write(shm.encode(SAMPLE))
        struct.pack_into("@i", view, shm.VALID_OFFSET, 0)  # gpsd's last store is still to come
        with monkeypatch.context() as patch:
            patch.setattr(reader, "_view", Slow())
            assert not _read(reader).valid
        assert 3 == looks
        assert _read(reader).valid
    finally:
        writer.close()
        reader.close()


def test_the_count_wraps_as_a_c_int_does(unit: int) -> None:
    writer, reader = open_segment(unit, create=True), open_segment(unit, create=False)
    other = SharedMemory(shm.KEY + unit, shm.SIZE, create=False, mode=0)
    try:
        struct.pack_into("@i", other.view, shm.COUNT_OFFSET, 2**31 - 1)
        writer.write(shm.encode(SAMPLE))
        assert -(2**31) + 1 == _read(reader).count
    finally:
        for one in (writer, reader, other):
            one.close()


def test_another_process_sees_it(unit: int) -> None:
    writer = open_segment(unit, create=True)
    code = (
        "import sys\n"
        "from timesync.runtime.segments import open_segment\n"
        "sys.stdout.buffer.write(open_segment(int(sys.argv[1]), create=False).read())\n"
    )
    try:
        writer.write(shm.encode(SAMPLE))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", code, str(unit)]
        data = subprocess.run(command, check=True, capture_output=True, env=environment, timeout=30).stdout
        assert SAMPLE.clock_ns == shm.decode(data).clock_ns
        assert not _read(writer).valid, "the other one has taken it"
    finally:
        writer.close()


def test_one_that_is_not_there_is_gone_in_words(unit: int) -> None:
    with pytest.raises(ClockError, match=f"no NTP shared memory segment of unit {unit}") as caught:
        open_segment(unit, create=False)
    assert Trouble.GONE is caught.value.trouble


@pytest.mark.parametrize("again", [False, True])
def test_one_that_is_removed_is_noticed(unit: int, again: bool) -> None:
    """The kernel keeps it readable for us, but nobody else will write there any more."""
    reader = open_segment(unit, create=True)
    try:
        _remove(unit)
        if again:
            open_segment(unit, create=True).close()
        with pytest.raises(ClockError, match="was removed") as caught:
            reader.read()
        with pytest.raises(ClockError, match="was removed"):
            reader.write(shm.encode(SAMPLE))
    finally:
        reader.close()
    assert Trouble.GONE is caught.value.trouble


def test_one_that_is_too_small_is_refused_in_words(unit: int) -> None:
    small = SharedMemory(shm.KEY + unit, 8, create=True, mode=0o600)
    small.close()
    with pytest.raises(ClockError, match="cannot be attached: Invalid argument") as caught:
        open_segment(unit, create=True)
    assert "ipcs -m" in caught.value.advice


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_segment_of_another_user_is_a_permission(unit: int) -> None:
    SharedMemory(shm.KEY + unit, shm.SIZE, create=True, mode=0o600).close()
    code = (
        "import os, sys\n"
        "from timesync.runtime.segments import open_segment\n"
        "from timesync.host import ClockError\n"
        "os.setresuid(65534, 65534, 65534)\n"
        "try:\n"
        "    open_segment(int(sys.argv[1]), create=True)\n"
        "except ClockError as error:\n"
        "    print(error.trouble.name, error.advice)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(unit)]
    said = subprocess.run(command, check=True, capture_output=True, text=True, env=environment, timeout=30).stdout
    assert said.startswith("PERMISSION")


def test_datagrams_arrive_once_somebody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the address of a Unix socket is short
    outbox = open_outbox("box")
    try:
        with pytest.raises(FileNotFoundError):
            outbox.send(b"one")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
            listener.bind("box")
            outbox.send(b"two")
            assert b"two" == listener.recv(16)
        with pytest.raises(ConnectionRefusedError):
            outbox.send(b"three")
    finally:
        outbox.close()


def test_a_listener_that_does_not_read_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    outbox = open_outbox("box")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("box")
        try:
            with pytest.raises(BlockingIOError):
                _flood(outbox)
        finally:
            outbox.close()


def _flood(outbox: UnixOutbox) -> None:
    for _ in range(10_000):
        outbox.send(bytes(40))
