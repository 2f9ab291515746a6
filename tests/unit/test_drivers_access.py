"""Opening as another user, really; and leaving serial lines as they were."""

from __future__ import annotations

import contextlib
import errno
import os
import pty
import termios
from pathlib import Path

import pytest

from timesync_drivers import access
from timesync_drivers.access import User
from timesync_drivers.tty import kept_settings

ROOT_ONLY = pytest.mark.skipif(os.geteuid() != 0, reason="only root can open files as another user")
SOMEBODY = User("somebody", 64_123, 64_123, (64_123,))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for directory in (tmp_path, *list(tmp_path.parents)[:3]):
        if directory != Path("/tmp"):
            directory.chmod(0o755)
    made = tmp_path / "device"
    made.write_text("")
    return made


def test_ourselves(file: Path) -> None:
    assert 0 == access.try_open(file, access.current_user())
    assert errno.ENOENT == access.try_open(file.with_name("absent"), access.current_user())


@ROOT_ONLY
@pytest.mark.parametrize(
    ("mode", "group", "user", "code"),
    [
        (0o600, 0, SOMEBODY, errno.EACCES),
        (0o666, 0, SOMEBODY, 0),
        (0o660, 64_200, SOMEBODY, errno.EACCES),
        (0o660, 64_200, User("somebody", 64_123, 64_123, (64_123, 64_200)), 0),
    ],
)
def test_somebody_else_opens_and_judging_by_the_mode_agrees(
    file: Path, mode: int, group: int, user: User, code: int
) -> None:
    os.chown(file, 0, group)
    file.chmod(mode)
    assert code == access._open_as(file, user, access.READ_WRITE | os.O_NONBLOCK)
    assert code == access._judge(file, user, access.READ_WRITE)


@ROOT_ONLY
def test_reading_needs_less(file: Path) -> None:
    file.chmod(0o644)
    assert 0 == access.try_open(file, SOMEBODY, os.O_RDONLY)
    assert errno.EACCES == access.try_open(file, SOMEBODY)


@ROOT_ONLY
def test_directories(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert not access.may_write(tmp_path, SOMEBODY)
    assert access.may_write(tmp_path, access.current_user())
    os.chown(tmp_path, SOMEBODY.uid, 0)
    assert access.may_write(tmp_path, SOMEBODY)


def test_users_and_groups_of_the_database(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/passwd").write_text("root:x:0:0::/:/bin/sh\ntimesync:x:990:991::/:/bin/false\n")
    (tmp_path / "etc/group").write_text("dialout:x:20:anna,timesync\nvideo:x:44:anna\n")
    assert User("timesync", 990, 991, (20, 991)) == access.find_user(tmp_path, "timesync")
    assert access.find_user(tmp_path, "nobody") is None
    assert ("dialout", "77") == (access.group_name(tmp_path, 20), access.group_name(tmp_path, 77))


def test_a_line_is_left_as_it_was_even_after_an_error() -> None:
    master, slave = pty.openpty()
    try:
        before = termios.tcgetattr(slave)
        with contextlib.suppress(RuntimeError), kept_settings(os.ttyname(slave)):
            changed = termios.tcgetattr(slave)
            changed[3] &= ~termios.ECHO
            changed[4] = changed[5] = termios.B4800
            termios.tcsetattr(slave, termios.TCSANOW, changed)
            raise RuntimeError
        assert before == termios.tcgetattr(slave)
    finally:
        os.close(slave)
        os.close(master)
