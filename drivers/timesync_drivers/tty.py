"""Leaving a serial line as it was found."""

from __future__ import annotations

import contextlib
import fcntl
import os
import termios
from collections.abc import Iterator


@contextlib.contextmanager
def kept_settings(path: str) -> Iterator[None]:
    """Put the line's settings back at the end, and let others open it again. Raises OSError, termios.error."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        before = termios.tcgetattr(descriptor)
        try:
            yield
        finally:
            with contextlib.suppress(OSError, termios.error):  # unplugged meanwhile
                termios.tcsetattr(descriptor, termios.TCSANOW, before)
                fcntl.ioctl(descriptor, termios.TIOCNXCL)
    finally:
        os.close(descriptor)
