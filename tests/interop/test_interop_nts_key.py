"""Who opens the key of an NTS server, and who reads it: all processes of ours under strace, as root and as a user."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from interop_nts import Authority
from interop_support import OURS, Timesync, our_environment, running, wait_until

pytestmark = pytest.mark.interop

START_S = 60
CALLS = (
    "execve,open,openat,openat2,read,pread64,readv,preadv,mmap,sendfile,splice,copy_file_range,landlock_restrict_self"
)
CONFIGURATION = """
clocks:
  system: {{discipline: false}}
sources:
  - ntp: 127.0.0.1:{poll}
serve:
  ntp: {{listen: ["127.0.0.1:0"], workers: 2}}
  nts: {{certificate: {certificate}, private_key: {key}, listen: ["127.0.0.1:0"]}}
observe: {{control: control.sock, state: state}}
"""
READS = {"read", "pread64", "readv", "preadv", "mmap", "sendfile", "splice", "copy_file_range"}


class Trace:
    """What strace wrote."""

    def __init__(self, file: Path) -> None:
        self._lines = file.read_text(errors="replace").splitlines()

    def started(self, module: str) -> set[str]:
        """The processes that run a module."""
        return {line.split()[0] for line in self._lines if " execve(" in line and f'"{module}"' in line}

    def calls(self, names: set[str], words: str = "") -> set[str]:
        """The processes that made one of these calls, with these words, and not in vain."""
        found = (re.match(r"(\d+) +(\w+)\(", line) for line in self._lines if words in line and " = -1 " not in line)
        return {match[1] for match in found if match is not None and match[2] in names}


def as_user(number: int | None, place: Path) -> list[str]:
    """Our command; for another user, by an interpreter that all may run, for ours may be where only root gets."""
    if number is None:
        return OURS
    os.chown(place, number, number)
    made = place / "venv"
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--without-pip", made], check=True)
    (modules,) = (made / "lib").glob("python3*/site-packages")
    (modules / "ours.pth").write_text(f"{sysconfig.get_path('platlib')}\n{sysconfig.get_path('purelib')}\n")
    words = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"]
    command = [str(made / "bin/python"), *OURS[1:]]
    tried = subprocess.run(
        [*words, "sh", "-c", '"$@" --help && "$0" -c "import cryptography"', *command[:1], *command],
        env=our_environment(), check=False, capture_output=True, text=True,
    )  # fmt: skip
    if tried.returncode:
        pytest.skip(f"another user cannot run the program here: {tried.stderr[-200:]}")
    return [*words, *command]


@contextmanager
def traced(command: Sequence[str], log: Path, trace: Path) -> Iterator[None]:
    """A daemon under strace, which then ends with it: told to end itself, strace would let go and leave it running."""
    words = ["strace", "-f", "-qq", "-y", "-s", "256", "-o", str(trace), "-e", f"trace={CALLS}"]
    with running([*words, *command], log, our_environment()) as strace:
        try:
            yield
        finally:
            _end(strace, signal.SIGTERM)
            _end(strace, signal.SIGKILL)


def _end(strace: subprocess.Popen[bytes], number: int) -> None:
    if strace.poll() is None:
        for child in Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text().split():
            os.kill(int(child), number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            strace.wait(20)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that can be given away; nobody but us gets as far as those of pytest."""
    with TemporaryDirectory(prefix="timesync-") as name:
        yield Path(name)


@pytest.mark.parametrize("user", [None, 64321])
def test_nobody_but_the_server_of_keys_reads_the_tls_key(place: Path, user: int | None) -> None:
    authority = Authority(place / "ca")
    certificate, key = authority.issue("ours", "DNS:time.example.org")
    file, log, trace = place / "t.yaml", place / "log", place / "trace"

    def write(port: int) -> None:
        file.write_text(CONFIGURATION.format(poll=port, certificate=certificate, key=key))
        give_away()

    def give_away() -> None:
        for path in (place, *place.glob("*"), *(place / "ca").glob("*")) if user is not None else ():
            os.chown(path, user, user)

    ours = as_user(user, place)
    write(11123)
    with traced([*ours, "run", "-c", str(file)], log, trace):
        daemon = Timesync(file, log)
        wait_until(lambda: daemon.status().get("nts", {}).get("certificates"), START_S, "keys are served", daemon.log)
        (pid,) = Trace(trace).started("run")
        write(11124)
        os.kill(int(pid), signal.SIGHUP)
        wait_until(lambda: "configuration read again" in daemon.log(), START_S, "it is reloaded", daemon.log)
        authority.issue("ours", "DNS:other.example.org")
        give_away()
        wait_until(lambda: "other.example.org" in daemon.log(), START_S, "the certificate is renewed", daemon.log)
    seen = Trace(trace)
    workers, servers = seen.started("timesync.runtime.serve_worker"), seen.started("timesync.runtime.ke_worker")
    assert len(workers) == 2
    assert servers
    assert servers == seen.calls(READS, f"<{key}>"), "with a key in each, or the trace sees nothing"
    assert {pid} == seen.calls({"open", "openat", "openat2"}, f'"{key}"'), "to hand it on unread"
    assert workers | servers <= seen.calls({"landlock_restrict_self"}), "they can open no file of others"
