"""Who runs and who holds what: this machine, and made-up trees where it cannot be had here."""

from __future__ import annotations

import os
import pty
import socket
from pathlib import Path

from timesync_drivers import proc
from timesync_drivers.proc import UdpSocket
from timesync_drivers.segment import SharedMemory

PROC = Path("/proc")
KEY = 0x5453_0000 + os.getpid() % 0x10000


def test_we_are_among_the_processes() -> None:
    (ours,) = [process for process in proc.processes(PROC) if process.pid == os.getpid()]
    assert ours.arguments
    assert f"{ours.name} (process {ours.pid})" == str(ours)


def test_we_hold_the_terminal_that_we_opened() -> None:
    master, slave = pty.openpty()
    try:
        name = os.ttyname(slave)
        assert os.getpid() in {process.pid for process in proc.holders(PROC, name).processes}
    finally:
        os.close(slave)
        os.close(master)
    assert os.getpid() not in {process.pid for process in proc.holders(PROC, name).processes}


def test_processes_that_do_not_let_us_look_are_told(tmp_path: Path) -> None:
    for pid in ("1", "2"):
        (tmp_path / pid / "fd").mkdir(parents=True)
        (tmp_path / pid / "comm").write_text("x\n")
        (tmp_path / pid / "cmdline").write_bytes(b"")
    (tmp_path / "1/fd/7").symlink_to("/dev/ttyS9")
    found = proc.holders(tmp_path, "/dev/ttyS9")
    assert ([1], False) == ([process.pid for process in found.processes], found.hidden)


def test_our_udp_sockets_are_listed_with_their_owner() -> None:
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as four,
        socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six,
    ):
        four.bind(("127.0.0.1", 0))
        six.bind(("::1", 0))
        opened = [(one, os.fstat(one.fileno()).st_ino) for one in (four, six)]
        listed = proc.udp_sockets(PROC)
        for one, inode in opened:
            address, port = one.getsockname()[:2]
            assert UdpSocket(address, port, inode) in listed
        holders = proc.holders(PROC, f"socket:[{opened[0][1]}]").processes
        assert os.getpid() in {process.pid for process in holders}


def test_capabilities(tmp_path: Path) -> None:
    (tmp_path / "self").mkdir()
    (tmp_path / "self/status").write_text("CapPrm:\t0000000000000001\nCapEff:\t0000000002000400\n")
    bits = proc.capabilities(tmp_path, "CapEff")
    assert 1 << proc.CAP_SYS_TIME | 1 << proc.CAP_NET_BIND_SERVICE == bits
    assert 0 == proc.capabilities(tmp_path, "CapAmb")


def test_a_segment_that_we_made() -> None:
    segment = SharedMemory(KEY, 96, create=True, mode=0o640)
    try:
        assert (0o640, os.geteuid()) == proc.shared_memory(PROC)[KEY]
    finally:
        segment.remove()
        segment.close()
    assert KEY not in proc.shared_memory(PROC)


def test_what_is_not_there_is_empty(tmp_path: Path) -> None:
    assert [] == proc.kernel_options(tmp_path)
    assert [] == proc.udp_sockets(tmp_path)
    assert {} == proc.shared_memory(tmp_path)
