"""Programs that exchange samples with ours: a sender of SOCK datagrams in C, gpsd, and a place for shared memory."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from interop_gpsd import PORT, Receiver
from interop_support import Chronyd, Node, our_environment, peer_environment, running, wait_until

STRUCTURE = """\
#include <sys/time.h>
struct sock_sample { struct timeval tv; double offset; int pulse; int leap; int _pad; int magic; };
"""
"""As the comment of chrony's refclock_sock.c has it for those who write senders."""

_SENDER = f"""\
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
{STRUCTURE}
/* sender PATH OFFSET PULSE: once a second, how far a reference is ahead of CLOCK_REALTIME, until it is ended.
   PULSE 1: an edge, which the clock sees OFFSET after each of its own seconds. */
int main(int argc, char **argv)
{{
    struct sockaddr_un to = {{.sun_family = AF_UNIX}};
    if (argc != 4 || strlen(argv[1]) >= sizeof to.sun_path)
        return 2;
    strcpy(to.sun_path, argv[1]);
    double offset = atof(argv[2]);
    int pulse = atoi(argv[3]), fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    struct timespec now, due;
    clock_gettime(CLOCK_REALTIME, &due);
    due.tv_nsec = pulse ? offset * 1e9 : 500000000;
    for (;;) {{
        due.tv_sec++;
        while (clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &due, 0) == EINTR)
            ;
        clock_gettime(CLOCK_REALTIME, &now);
        if (pulse)
            now = due; /* the edge, not when we woke up for it */
        struct sock_sample sample = {{
            {{now.tv_sec, now.tv_nsec / 1000}}, offset, pulse, 0, 0, 0x534f434b
        }};
        if (sendto(fd, &sample, sizeof sample, 0, (struct sockaddr *)&to, sizeof to) < 0)
            perror("sendto");
    }}
}}
"""


@dataclass(frozen=True)
class SharingNode(Node):
    """A node whose processes see each other's System V shared memory, and nobody else's.

    Attributes:
        ipc: File of its IPC namespace.
    """

    ipc: str

    def command(self, arguments: Sequence[str | Path], *, clock: bool = False) -> list[str]:
        """A command line that runs inside both namespaces."""
        return ["nsenter", f"--ipc={self.ipc}", *super().command(arguments, clock=clock)]


@contextmanager
def sharing(node: Node) -> Iterator[SharingNode]:
    """The node, with an IPC namespace of its own; the segments in it are gone afterwards."""
    # It ends when we do, whatever becomes of us: its input is closed then.
    command = ["unshare", "--ipc", "sh", "-c", "echo; exec cat"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"\n"
            yield SharingNode(node.name, node.address, f"/proc/{holder.pid}/ns/ipc")
        finally:
            holder.kill()


@contextmanager
def shifted_server(node: Node, directory: Path, offset: str) -> Iterator[None]:
    """An NTP server whose time is so far ahead of this machine's."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "testserver.log"
    # Its log goes through a file: without this nothing is in it before the end.
    environment = {**our_environment(), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "timesync.cli.main", "testserver", "--listen", f"{node.address}:123"]
    with running(node.command([*command, f"--offset={offset}"]), log, environment) as process:

        def listens() -> bool:
            assert process.poll() is None, f"the test server ended:\n{log.read_text()}"
            return "123" in node.peer("ss", "-Hlun", "sport = 123").stdout

        wait_until(listens, 20, "the test server listens", log.read_text)
        yield


def compile_sender(directory: Path) -> Path:
    """A program that sends what the C compiler makes of the structure."""
    source, program = directory / "sender.c", directory / "sender"
    source.write_text(_SENDER)
    subprocess.run(["cc", "-Wall", "-Werror", "-o", program, source], check=True)
    return program


@contextmanager
def sender(node: Node, directory: Path, path: Path, offset_s: float, *, pulse: bool = False) -> Iterator[None]:
    """Sends to ``path`` once a second: the reference is ahead, or, of a pulse, the clock had passed its second."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [compile_sender(directory), path, str(offset_s), str(int(pulse))]
    with running(node.command(command), directory / "sender.log", dict(os.environ)):
        yield


@contextmanager
def over_tcp(node: Node, receiver: Receiver) -> Iterator[str]:
    """The receiver behind a TCP port, as serial servers have it; where gpsd finds it.

    gpsd gives samples to nobody when the receiver is on a pseudo-terminal: it takes that for its own tests.
    """
    line = os.open(receiver.path, os.O_RDONLY | os.O_NOCTTY)
    with node.entered():
        server = socket.create_server(("127.0.0.1", 0))

    def carry() -> None:
        # Ends when the other side is gone, or when the receiver is unplugged.
        with contextlib.suppress(OSError):
            connection, _ = server.accept()
            with connection:
                while data := os.read(line, 4096):
                    connection.sendall(data)

    thread = threading.Thread(target=carry, daemon=True)
    thread.start()
    try:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
    finally:
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        thread.join(5)
        server.close()
        os.close(line)


@contextmanager
def sharing_gpsd(node: SharingNode, directory: Path, device: str) -> Iterator[Path]:
    """Debian's gpsd, which writes to the segments of its node; those of units 0 and 1 belong to root. Gives its log."""
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "gpsd.log"
    command = ["gpsd", "-N", "-n", "-D", "1", "-S", str(PORT), device]
    with running(node.command(command), log, peer_environment()) as process:

        def listens() -> bool:
            assert process.poll() is None, f"gpsd ended:\n{log.read_text(errors='replace')}"
            return str(PORT) in node.peer("ss", "-Hltn", f"sport = {PORT}").stdout

        wait_until(listens, 10, "gpsd listens", lambda: log.read_text(errors="replace"))
        yield log


def reference_ahead_s(daemon: Chronyd) -> float:
    """How far chronyd thinks that this machine's clock is behind the time that it follows."""
    words = next(line for line in daemon.ask("tracking").splitlines() if line.startswith("System time")).split()
    return float(words[3]) * {"slow": 1, "fast": -1}[words[5]]
