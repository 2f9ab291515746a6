"""A serial port over a pseudo-terminal: the kernel's own line discipline, without a wire."""

from __future__ import annotations

import errno
import os
import select
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from timesync_drivers.serial import SerialPort

WAIT_S = 5.0


class Pty:
    """Both ends; ``far`` is the receiver's."""

    def __init__(self) -> None:
        self.far, self.near = os.openpty()
        self.path = os.ttyname(self.near)

    def hang_up(self) -> None:
        os.close(self.near)
        os.close(self.far)
        self.far = self.near = -1

    def close(self) -> None:
        if self.far >= 0:
            self.hang_up()


@pytest.fixture
def pty() -> Iterator[Pty]:
    pair = Pty()
    yield pair
    pair.close()


@pytest.fixture
def port(pty: Pty) -> Iterator[SerialPort]:
    made = SerialPort(pty.path, 9600)
    yield made
    made.close()


def await_readable(descriptor: int) -> None:
    assert select.select([descriptor], [], [], WAIT_S)[0]


def test_octets_come_as_they_were_sent(pty: Pty, port: SerialPort) -> None:
    """Line ends, control characters and the eighth bit too."""
    assert port.read() == b""
    data = bytes(range(256))
    os.write(pty.far, data)
    taken = b""
    while len(taken) < len(data):
        await_readable(port.fileno())
        taken += port.read()
    assert data == taken
    assert port.read() == b""


def test_octets_go_as_they_are(pty: Pty, port: SerialPort) -> None:
    data = b"\xb5\x62\x0a\x04\x00\x00\x0e\x34\r\n\x03\x11\x13"
    assert len(data) == port.write(data)
    await_readable(pty.far)
    assert data == os.read(pty.far, 100)


def test_writing_never_waits(port: SerialPort) -> None:
    """Nobody reads at the far end."""
    sent = [port.write(bytes(4096)) for _ in range(100)]
    assert sent[-1] == 0


def test_the_speed_is_what_was_asked_for(pty: Pty, port: SerialPort) -> None:
    for baud, code in ((9600, termios.B9600), (115_200, termios.B115200), (460_800, termios.B460800)):
        port.set_baud(baud)
        attributes = termios.tcgetattr(pty.near)
        assert [code, code] == attributes[4:6]
        assert port.read() == b"", "silence is not the end, whatever the speed"


def test_a_change_of_speed_forgets_what_came_before(pty: Pty, port: SerialPort) -> None:
    os.write(pty.far, b"old")
    await_readable(port.fileno())
    port.set_baud(4800)
    os.write(pty.far, b"new")
    await_readable(port.fileno())
    assert port.read() == b"new"


@pytest.mark.parametrize("baud", [-1])
def test_a_speed_that_cannot_be_is_refused(pty: Pty, port: SerialPort, baud: int) -> None:
    with pytest.raises(OSError, match="baud") as caught:
        port.set_baud(baud)
    assert errno.EINVAL == caught.value.errno
    with pytest.raises(OSError, match="baud"):
        SerialPort(pty.path, baud)


def test_it_is_opened_once_only(pty: Pty, port: SerialPort) -> None:
    with pytest.raises(OSError, match=pty.path) as caught:
        SerialPort(pty.path, 9600)
    assert errno.EBUSY == caught.value.errno
    port.close()
    SerialPort(pty.path, 9600).close()


def test_a_path_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="ttyX") as caught:
        SerialPort(str(tmp_path / "ttyX"), 9600)
    assert errno.ENOENT == caught.value.errno


def test_a_path_that_is_no_terminal(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"")
    with pytest.raises(OSError, match=r".") as caught:
        SerialPort(str(path), 9600)
    assert errno.ENOTTY == caught.value.errno


def test_an_unplugged_line_raises(pty: Pty, port: SerialPort) -> None:
    pty.hang_up()
    with pytest.raises(OSError, match=r".") as caught:
        port.read()
    assert caught.value.errno in (errno.EIO, errno.ENODEV)


def test_an_unplugged_line_has_a_reason_when_its_speed_is_changed(pty: Pty, port: SerialPort) -> None:
    """pyserial's own error has none: whoever asks for ``errno`` must not get None."""
    pty.hang_up()
    with pytest.raises(OSError, match=r".") as caught:
        port.set_baud(4800)
    assert errno.EIO == caught.value.errno


def test_a_terminal_without_the_ioctl_cannot_be_hurried(port: SerialPort) -> None:
    assert port.low_latency is False


def test_closing_twice_does_nothing(port: SerialPort) -> None:
    port.close()
    port.close()
