"""Telling systemd how the daemon is doing: the protocol of ``sd_notify(3)``, without its library; who reads the log."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, MutableMapping

_VARIABLES = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Notifier:
    """A datagram socket to the service manager; does nothing when there is none.

    Every method says whether the message was taken over; a manager that cannot be reached is no reason to
    stop.
    """

    def __init__(self, path: str | None, watchdog_s: float | None = None) -> None:
        """Connect lazily.

        Args:
            path: As in NOTIFY_SOCKET: a path, or a name after ``@`` in the abstract namespace; None for none.
            watchdog_s: The time-out of the manager's watchdog.
        """
        self._address = _address(path)
        self._watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str], pid: int) -> Notifier:
        """Take the variables out of the environment, so that processes of ours do not speak in our name.

        Args:
            environment: ``os.environ``.
            pid: This process: WATCHDOG_PID may name another.
        """
        path, usec, watched = (environment.pop(name, None) for name in _VARIABLES)
        watchdog_s = None
        if usec is not None and usec.isascii() and usec.isdigit() and int(usec) > 0 and watched in {None, str(pid)}:
            watchdog_s = int(usec) / 1e6
        return cls(path, watchdog_s)

    @property
    def watchdog_interval_s(self) -> float | None:
        """How often to call ``watchdog``: half the time-out, as the manual advises; None: never."""
        return None if self._watchdog_s is None else self._watchdog_s / 2

    def ready(self, status: str = "") -> bool:
        """Start-up or reloading is finished."""
        return self._send("READY=1", *_status(status))

    def status(self, text: str) -> bool:
        """One line for ``systemctl status``."""
        return self._send(*_status(text))

    def reloading(self) -> bool:
        """The configuration is being read again; ``ready`` must follow."""
        # Type=notify-reload wants the moment, to tell this reload from an earlier one.
        now_usec = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        return self._send("RELOADING=1", f"MONOTONIC_USEC={now_usec}")

    def stopping(self) -> bool:
        """Shutting down."""
        return self._send("STOPPING=1")

    def watchdog(self) -> bool:
        """Still alive."""
        return self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> bool:
        if self._address is None or not assignments:
            return False
        message = "\n".join(assignments).encode()
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as unix:
                # A manager that does not read must not stop the clock.
                unix.setblocking(False)
                unix.sendto(message, self._address)
        except OSError:
            return False
        return True


def is_journal(environment: Mapping[str, str], descriptor: int) -> bool:
    """Whether systemd's journal reads what is written to a descriptor, by JOURNAL_STREAM (``systemd.exec(5)``).

    The variable may be there though the output was led elsewhere: the file must be the one that it names.
    """
    try:
        found = os.fstat(descriptor)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _address(path: str | None) -> str | None:
    """The socket's address for Python; other families of address (``vsock:``) are not ours to serve."""
    if path is None or len(path) < 2 or path[0] not in "/@":
        return None
    return "\0" + path[1:] if path[0] == "@" else path


def _status(text: str) -> tuple[str, ...]:
    """The line must stay one line: what follows a newline would be another assignment."""
    return (f"STATUS={' '.join(text.split())}",) if text else ()
