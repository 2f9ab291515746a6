"""A Unix datagram socket of our own, on the kernel's."""

from __future__ import annotations

import errno
import os
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from timesync_drivers.inbox import MAX_DATAGRAM, DatagramSocket


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.sock"


@pytest.fixture
def inbox(path: Path) -> Iterator[DatagramSocket]:
    made = DatagramSocket(str(path))
    yield made
    made.close()


def send(path: Path, *data: bytes) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        for one in data:
            sender.sendto(one, str(path))


def test_a_datagram_is_stamped_by_the_kernel(path: Path, inbox: DatagramSocket) -> None:
    assert inbox.read() is None
    before = time.time_ns()
    send(path, b"one", b"")
    after = time.time_ns()
    taken = [inbox.read(), inbox.read()]
    assert inbox.read() is None
    for one, data in zip(taken, (b"one", b""), strict=True):
        assert one is not None
        assert data == one[0]
        assert one[1] is not None
        assert before <= one[1] <= after


def test_a_datagram_without_end_is_cut(path: Path, inbox: DatagramSocket) -> None:
    send(path, bytes(3 * MAX_DATAGRAM))
    taken = inbox.read()
    assert taken is not None
    assert MAX_DATAGRAM == len(taken[0])


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_owner_and_group_may_send_and_nobody_else(path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        made = DatagramSocket(str(path))
    finally:
        os.umask(old)
    assert 0o660 == stat.S_IMODE(path.stat().st_mode)
    made.close()


def test_it_removes_its_path_when_it_goes(path: Path, inbox: DatagramSocket) -> None:
    inbox.close()
    assert not path.exists()
    inbox.close()


def test_it_does_not_remove_what_another_put_there(path: Path, inbox: DatagramSocket) -> None:
    path.unlink()
    path.write_text("mine")
    inbox.close()
    assert path.read_text() == "mine"


def test_a_socket_that_was_left_over_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as old:
        old.bind(str(path))
    made = DatagramSocket(str(path))
    send(path, b"x")
    assert made.read() is not None
    made.close()


def test_a_socket_in_use_is_left_alone(path: Path, inbox: DatagramSocket) -> None:
    with pytest.raises(OSError, match=str(path)) as caught:
        DatagramSocket(str(path))
    assert errno.EADDRINUSE == caught.value.errno
    send(path, b"x")
    assert inbox.read() is not None


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_socket_is_never_removed(path: Path, tmp_path: Path, kind: str) -> None:
    match kind:
        case "file":
            path.write_text("precious")
        case "folder":
            path.mkdir()
        case _:
            path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileExistsError):
        DatagramSocket(str(path))
    assert path.is_symlink() or path.exists()


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        DatagramSocket(str(tmp_path / "no" / "x.sock"))
