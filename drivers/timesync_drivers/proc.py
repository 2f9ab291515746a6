"""Who runs, who holds a device or a port, and what a process may do: from ``/proc``, read only.

Every function takes the directory, so that a made-up one serves as well. A process that ends meanwhile is left out.
"""

from __future__ import annotations

import re
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

CAP_NET_BIND_SERVICE = 10
CAP_SYS_TIME = 25
"""Numbers of capabilities (linux/capability.h)."""

_SHM_LINE = re.compile(r"\s*(-?\d+)\s+\d+\s+(\d+)\s+\d+\s+\d+\s+\d+\s+\d+\s+(\d+)")


@dataclass(frozen=True, slots=True)
class Process:
    """A running program.

    Attributes:
        pid: Its number.
        name: As the kernel has it: 15 characters at most.
        arguments: Its command line; empty for a thread of the kernel.
    """

    pid: int
    name: str
    arguments: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} (process {self.pid})"


@dataclass(frozen=True, slots=True)
class Holders:
    """Who has something open.

    Attributes:
        processes: Them, by number.
        hidden: Some processes would not let us look: there may be more.
    """

    processes: tuple[Process, ...]
    hidden: bool


@dataclass(frozen=True, slots=True)
class UdpSocket:
    """A bound UDP socket of this network namespace.

    Attributes:
        address: Where it listens.
        port: On which port.
        inode: Finds its owner.
    """

    address: str
    port: int
    inode: int


def processes(proc: Path) -> list[Process]:
    """All that run, by number."""
    found = []
    for directory in proc.glob("[0-9]*"):
        try:
            name = (directory / "comm").read_text(errors="replace").strip()
            line = (directory / "cmdline").read_bytes().decode(errors="replace")
        except OSError:
            continue
        found.append(Process(int(directory.name), name, tuple(line.rstrip("\0").split("\0")) if line else ()))
    return sorted(found, key=lambda process: process.pid)


def holders(proc: Path, opened: str) -> Holders:
    """Who has a file open, by its path without links in it; or a socket, as ``socket:[inode]``."""
    pids, hidden = set(), False
    for directory in proc.glob("[0-9]*/fd"):
        try:
            descriptors = list(directory.iterdir())
        except PermissionError:
            hidden = True
            continue
        except OSError:
            continue
        # The link's text, not what it leads to: to ask a file on a dead network disk would take for ever.
        if any(_link(descriptor) == opened for descriptor in descriptors):
            pids.add(int(directory.parent.name))
    return Holders(tuple(process for process in processes(proc) if process.pid in pids), hidden)


def opened(proc: Path, pid: int) -> list[str]:
    """What a process has open, by name; empty where it does not let us look."""
    try:
        return [_link(descriptor) for descriptor in (proc / str(pid) / "fd").iterdir()]
    except OSError:
        return []


def _link(descriptor: Path) -> str:
    try:
        return str(descriptor.readlink())
    except OSError:
        return ""


def udp_sockets(proc: Path) -> list[UdpSocket]:
    """The UDP sockets of our network namespace (proc(5): ``net/udp``, ``net/udp6``)."""
    found = []
    for name in ("udp", "udp6"):
        try:
            lines = (proc / "net" / name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            address, _, port = fields[1].partition(":")
            found.append(UdpSocket(_address(address), int(port, 16), int(fields[9])))
    return found


def _address(digits: str) -> str:
    """The kernel prints each 32-bit word of the address as a number of this machine's byte order."""
    words = [int(digits[at : at + 8], 16) for at in range(0, len(digits), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return str(ip_address(packed if len(words) == 4 else socket.inet_ntoa(packed)))


def capabilities(proc: Path, which: str) -> int:
    """A set of our own capabilities as bits: ``CapEff``, ``CapBnd`` (proc(5): ``status``). Raises OSError."""
    for line in (proc / "self" / "status").read_text(errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == which:
            return int(value, 16)
    return 0


def kernel_options(proc: Path) -> list[str]:
    """The kernel's command line; empty where it cannot be read."""
    try:
        return (proc / "cmdline").read_text(errors="replace").split()
    except OSError:
        return []


def shared_memory(proc: Path) -> dict[int, tuple[int, int]]:
    """The System V segments: (permission bits, owner) by key; empty where there are none (proc(5): ``sysvipc/shm``)."""
    try:
        lines = (proc / "sysvipc" / "shm").read_text().splitlines()[1:]
    except OSError:
        return {}
    matches = (_SHM_LINE.match(line) for line in lines)
    return {int(m[1]) & 0xFFFF_FFFF: (int(m[2], 8) & 0o777, int(m[3])) for m in matches if m is not None}
