"""Processes of ours: how they are started, and what they see of the daemon's environment."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

from timesync.runtime.child import TRUST, Child, environment_of_child, spawn

NEEDED = {
    "LANG": "C.UTF-8",
    "LC_CTYPE": "C.UTF-8",
    "LD_LIBRARY_PATH": "/opt/openssl/lib",
    "OPENSSL_CONF": "/etc/ssl/openssl.cnf",
}
OTHERS = {
    "NOTIFY_SOCKET": "/run/systemd/notify",
    "WATCHDOG_USEC": "1",
    "MQTT_PASSWORD": "secret",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "PYTHONHASHSEED": "0",
    "PYTHONSTARTUP": "/x",
    "PYTHONPATH": "/elsewhere",
    "HOME": "/root",
    "PATH": "/usr/bin:/bin",
}
STORES = {"SSL_CERT_FILE": "/etc/ours.pem", "SSL_CERT_DIR": "/etc/ours"}


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """What a program in place of the interpreter was told: its environment, its arguments and its descriptors."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in (NEEDED | OTHERS | STORES).items():
        monkeypatch.setenv(name, value)
    program, told = tmp_path / "program", tmp_path / "told"
    words = (f"cat /proc/self/environ >{told}.environ", f'echo "$@" >{told}.arguments', f"ls /proc/$$/fd >{told}.fds")
    program.write_text("\n".join(["#!/bin/sh", *words, ""]))
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    return told


def environment(told: Path) -> dict[str, str]:
    pairs = told.with_suffix(".environ").read_text().rstrip("\0").split("\0")
    # What the shell sets by itself.
    return dict(pair.split("=", 1) for pair in pairs if not pair.startswith(("PWD=", "OLDPWD=", "SHLVL=", "_=")))


@pytest.mark.parametrize(("passed", "stores"), [((), {}), (TRUST, STORES)])
def test_a_process_of_ours_sees_what_it_needs_and_nothing_else(
    told: Path, passed: tuple[str, ...], stores: dict[str, str]
) -> None:
    assert 0 == spawn("some.module", [1, "2p"], [], passed).wait(10)
    seen = environment(told)
    roots = seen.pop("PYTHONPATH").split(os.pathsep)
    assert NEEDED | stores == seen
    assert all((Path(root) / "timesync").is_dir() or (Path(root) / "timesync_drivers").is_dir() for root in roots)
    assert "-P -s -m some.module 1 2p\n" == told.with_suffix(".arguments").read_text()


def test_a_child_is_told_of_its_socket_and_of_us_and_inherits_no_more(told: Path) -> None:
    ours, other = socket.socketpair()
    with ours, other:
        other.set_inheritable(True)
        child = Child("some.module", socket.SOCK_STREAM, [ours.fileno()])
        child.end()
        *_, control, parent, inherited = map(int, told.with_suffix(".arguments").read_text().split()[4:])
        assert (os.getpid(), ours.fileno()) == (parent, inherited)
        there = {int(number) for number in told.with_suffix(".fds").read_text().split()}
        assert {0, 1, 2, control, inherited} <= there
        assert other.fileno() not in there


def test_our_packages_are_found_by_absolute_paths_whatever_our_own_path_is() -> None:
    roots = environment_of_child({"PYTHONPATH": "."})["PYTHONPATH"].split(os.pathsep)
    assert all(Path(root).is_absolute() for root in roots)
