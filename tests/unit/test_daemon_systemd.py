"""sd_notify(3), received by a real datagram socket."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from timesync.daemon.systemd import Notifier, is_journal


@contextmanager
def _manager(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as unix:
        unix.bind("\0" + address[1:] if address.startswith("@") else address)
        unix.settimeout(5)
        yield unix


@pytest.fixture(params=["path", "abstract"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "path":
        return str(tmp_path / "notify")
    return f"@timesync-test-{tmp_path.name}-{time.monotonic_ns()}"


def test_every_message_arrives_as_the_manual_has_it(address: str) -> None:
    with _manager(address) as manager:
        notifier = Notifier(address)
        taken = [
            notifier.ready(),
            notifier.ready("locked"),
            notifier.status("offset 3 us"),
            notifier.stopping(),
            notifier.watchdog(),
        ]
        messages = [manager.recv(1000) for _ in taken]

    assert all(taken)
    assert messages == [
        b"READY=1", b"READY=1\nSTATUS=locked", b"STATUS=offset 3 us", b"STOPPING=1", b"WATCHDOG=1",
    ]  # fmt: skip


def test_a_reload_carries_the_monotonic_time_in_microseconds(address: str) -> None:
    with _manager(address) as manager:
        before = time.monotonic_ns() // 1000
        Notifier(address).reloading()
        after = time.monotonic_ns() // 1000
        first, second = manager.recv(1000).decode().split("\n")

    assert first == "RELOADING=1"
    name, usec = second.split("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(usec) <= after


def test_a_status_cannot_smuggle_another_assignment(address: str) -> None:
    with _manager(address) as manager:
        Notifier(address).status("fine\nSTOPPING=1\r\n  really")
        assert manager.recv(1000) == b"STATUS=fine STOPPING=1 really"


def test_the_environment_is_read_and_emptied() -> None:
    environment = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42", "HOME": "/"}
    notifier = Notifier.from_environment(environment, 42)
    assert notifier.watchdog_interval_s == 15.0
    assert environment == {"HOME": "/"}


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({"WATCHDOG_USEC": "2000000"}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "7"}, None),  # meant for another process
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_asked_for_by_the_environment(environment: dict[str, str], interval: float | None) -> None:
    assert Notifier.from_environment(environment, 42).watchdog_interval_s == interval


@pytest.mark.parametrize("path", [None, "", "@", "/", "vsock:2:1234", "relative"])
def test_without_a_usable_address_nothing_is_sent(path: str | None) -> None:
    notifier = Notifier(path)
    assert not notifier.ready()


def test_a_manager_that_is_gone_or_does_not_read_holds_nothing_up(address: str) -> None:
    assert not Notifier("/nonexistent/notify").ready()
    with _manager(address):
        notifier = Notifier(address)
        # The receiver's queue is finite (net.unix.max_dgram_qlen): at some point a send is refused.
        assert not all(notifier.watchdog() for _ in range(100_000))


def test_the_journal_reads_where_its_variable_names_the_file(tmp_path: Path) -> None:
    with (tmp_path / "one").open("w") as one, (tmp_path / "other").open("w") as other:
        there = (tmp_path / "one").stat()
        environment = {"JOURNAL_STREAM": f"{there.st_dev}:{there.st_ino}"}
        assert is_journal(environment, one.fileno())
        assert not is_journal(environment, other.fileno()), "led elsewhere"
        assert not is_journal({}, one.fileno())
        assert not is_journal({"JOURNAL_STREAM": "8"}, one.fileno())
    assert not is_journal(environment, -1)
