"""Processes of ours with fewer rights: modules that are started with a socket to the daemon and what they inherit."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import timesync
import timesync_drivers

TRUST: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Whom OpenSSL trusts: for a process that verifies certificates."""

_WORDS: Final = ("LANG", "LANGUAGE")
_LOADING: Final = ("LD_LIBRARY_PATH", "LD_PRELOAD", "OPENSSL_CONF", "OPENSSL_MODULES")
_STOP_S: Final = 2.0


def environment_of_child(environment: Mapping[str, str], passed: Sequence[str] = ()) -> dict[str, str]:
    """What a process of ours sees of an environment: no more than it needs, for much of the rest is not for it.

    The daemon's may hold passwords, the service manager's socket and what Python is to do, of which a fixed hash seed
    would make the table of clients attackable. A process of ours starts no programs and has no home; its places are in
    its settings. So it gets

    - LANG, LANGUAGE and LC_*: how the names of files are coded, and the language of errors;
    - LD_LIBRARY_PATH and LD_PRELOAD, OPENSSL_CONF and OPENSSL_MODULES: its interpreter and OpenSSL as ours are;
    - PYTHONPATH: where our packages are, by absolute paths;

    and what is ``passed``, such as ``TRUST``.
    """
    wanted = {*_WORDS, *_LOADING, *passed}
    seen = {name: value for name, value in environment.items() if name in wanted or name.startswith("LC_")}
    roots = dict.fromkeys(str(Path(package.__path__[0]).resolve().parent) for package in (timesync, timesync_drivers))
    return seen | {"PYTHONPATH": os.pathsep.join(roots)}


def spawn(
    module: str, arguments: Iterable[object], inherited: Sequence[int], passed: Sequence[str] = ()
) -> subprocess.Popen[bytes]:
    """Start a module of ours. Raises OSError.

    Args:
        module: Its name.
        arguments: What it is told; numbers mostly.
        inherited: Descriptors that it inherits, beside that of our standard error.
        passed: Variables of our environment that it gets as well.
    """
    # -P: nothing is imported from the working directory.
    return subprocess.Popen(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-s", "-m", module, *map(str, arguments)],
        pass_fds=inherited,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=environment_of_child(os.environ, passed),
    )


class Child:
    """A process that was started.

    Attributes:
        control: Our end of its socket, non-blocking; the process ends when it is closed.
        started: Monotonic seconds.
    """

    def __init__(
        self, module: str, kind: socket.SocketKind, descriptors: Sequence[int], passed: Sequence[str] = ()
    ) -> None:
        """Start it. Raises OSError.

        Its arguments are numbers: the descriptor of its socket, our process id, and the descriptors.

        Args:
            module: What it runs.
            kind: Of the socket: SOCK_SEQPACKET keeps the borders of messages, SOCK_STREAM has room for long ones.
            descriptors: What it inherits.
            passed: As for ``spawn``.
        """
        self.control, theirs = socket.socketpair(socket.AF_UNIX, kind)
        self.started = time.monotonic()
        try:
            with theirs:
                self.control.setblocking(False)
                inherited = [theirs.fileno(), *descriptors]
                arguments = [theirs.fileno(), os.getpid(), *descriptors]
                self._popen = spawn(module, arguments, inherited, passed)
        except OSError:
            self.control.close()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._popen.pid

    def kill(self) -> None:
        """End it at once; its socket then says so."""
        self._popen.kill()

    def let_go(self) -> None:
        """Close our end of its socket, which is its end."""
        self.control.close()

    def code(self) -> int | None:
        """Its exit code; None while it runs."""
        return self._popen.poll()

    def end(self) -> None:
        """Let go of it and wait, two seconds at most; then it is killed."""
        self.let_go()
        try:
            self._popen.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            self._popen.wait()
