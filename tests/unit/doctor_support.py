"""Made-up machines for the doctor to look at: real file trees, real sockets and real pseudo-terminals."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import termios
import threading
import time
import tty
from collections.abc import Iterator
from pathlib import Path

from timesync.config.load import loads
from timesync.daemon.doctor.case import Background, Case, Running
from timesync.daemon.doctor.check import Finding
from timesync.daemon.doctor.machine import Machine
from timesync.daemon.leap import load_leap_table
from timesync_drivers.access import User, current_user

ALL_CAPABILITIES = "000001ffffffffff"
OWN_PID = 999


def machine(root: Path, user: User | None = None, *, unit: bool = False) -> Machine:
    """A machine whose files are below ``root``, which begins as a plain PC where nothing runs."""
    made = Machine(root, user or current_user(), unit=unit, pid=OWN_PID)
    if not (root / "proc").exists():
        write(root, "proc/cmdline", "root=/dev/sda1 quiet\n")
        write(root, "proc/self/status", f"CapEff:\t{ALL_CAPABILITIES}\nCapBnd:\t{ALL_CAPABILITIES}\n")
        write(root, "etc/passwd", "root:x:0:0::/root:/bin/sh\ntimesync:x:990:990::/:/sbin/nologin\n")
        write(root, "etc/group", "root:x:0:\ndialout:x:20:\ntimesync:x:990:\n")
        (root / "dev").mkdir()
    return made


def raspberry(
    root: Path, config: str = "", *, cmdline: str = "", model: str = "Raspberry Pi 4 Model B Rev 1.4"
) -> None:
    """Turn it into a Raspberry Pi with Debian 12's boot partition."""
    write(root, "proc/device-tree/model", f"{model}\0")
    write(root, "boot/firmware/config.txt", config)
    write(root, "boot/firmware/cmdline.txt", cmdline)


def write(root: Path, path: str, text: str) -> Path:
    """A file with its directories."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def process(root: Path, pid: int, name: str, *arguments: str, opened: str | Path | None = None) -> None:
    """A running program, and what it has open."""
    write(root, f"proc/{pid}/comm", f"{name}\n")
    write(root, f"proc/{pid}/cmdline", "\0".join([*(arguments or (name,)), ""]))
    fds = root / f"proc/{pid}/fd"
    fds.mkdir()
    if opened is not None:
        (fds / "3").symlink_to(opened)


def link(root: Path, path: str, target: str) -> None:
    """A symbolic link with its directories."""
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(target)


def case(made: Machine, text: str, running: Running | None = None, silence: str = "") -> Case:
    """What the doctor makes of a configuration."""
    table, said = load_leap_table(())
    config = loads(text, "t.yaml").config
    return Case(config, "-c t.yaml", made, table, said, running, silence, Background(15.0))


def by_id(findings: Iterator[Finding] | list[Finding]) -> dict[str, Finding]:
    """Findings of one thing, each check once."""
    listed = list(findings)
    found = {finding.id: finding for finding in listed}
    assert len(found) == len(listed), listed
    return found


class SerialReceiver:
    """A receiver on a pseudo-terminal: at another speed than its own it gives noise, as a UART would.

    Attributes:
        path: Its serial port.
    """

    def __init__(self, baud: int, burst: bytes, *, late_s: float = 0.1) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._speed = getattr(termios, f"B{baud}")
        self._burst = burst
        self._late_s = late_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def settings(self) -> list[object]:
        """Of its line, as they are now."""
        return termios.tcgetattr(self._slave)

    def close(self) -> None:
        """Unplug it."""
        self._stop.set()
        self._thread.join()
        os.close(self._master)
        os.close(self._slave)

    def _run(self) -> None:
        while not self._stop.wait((self._late_s - time.time()) % 1.0):
            utc = time.gmtime(time.time() - self._late_s + 0.01)
            data = self._filled(utc)
            if termios.tcgetattr(self._slave)[5] != self._speed:
                data = bytes(octet ^ 0xB5 | 0x80 for octet in data)
            termios.tcflush(self._slave, termios.TCIFLUSH)
            with contextlib.suppress(OSError):
                if select.select([], [self._master], [], 0)[1]:
                    os.write(self._master, data)
            if self._stop.wait(0.05):
                return

    def _filled(self, utc: time.struct_time) -> bytes:
        """The sentences with the time of now and their checksums."""
        body = self._burst.replace(b"HHMMSS", time.strftime("%H%M%S", utc).encode())
        body = body.replace(b"DDMMYY", time.strftime("%d%m%y", utc).encode())
        return b"".join(_checked(sentence) for sentence in body.split(b"\n") if sentence)


def _checked(body: bytes) -> bytes:
    checksum = 0
    for octet in body:
        checksum ^= octet
    return b"$%s*%02X\r\n" % (body, checksum)


@contextlib.contextmanager
def plugged_in(baud: int, burst: bytes, *, late_s: float = 0.1) -> Iterator[SerialReceiver]:
    """A receiver, unplugged afterwards."""
    receiver = SerialReceiver(baud, burst, late_s=late_s)
    try:
        yield receiver
    finally:
        receiver.close()
