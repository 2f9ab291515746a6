"""A serial port in software: a pseudo terminal, with a name that comes and goes as a device file does."""

from __future__ import annotations

import asyncio
import errno
import os
import termios
import tty
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_READ_SIZE = 4096
_SPEEDS = {
    getattr(termios, f"B{baud}"): baud for baud in (4800, 9600, 19200, 38400, 57600, 115200, 230400, 460800, 921600)
}
_OUTPUT_SPEED = 5
"""Its place in what ``tcgetattr`` gives."""


class VirtualPort:
    """The far end of a serial line. Whoever opens ``path`` has the near one."""

    def __init__(self, path: Path, on_data: Callable[[bytes], None]) -> None:
        """Plug it in, on the running loop. Raises OSError.

        Args:
            path: A link to the pseudo terminal, as udev makes them; must not exist yet.
            on_data: Hears what is written to the near end.
        """
        self._path = path
        self._on_data = on_data
        self._loop = asyncio.get_running_loop()
        self._ends: tuple[int, int] | None = None
        self.plug()

    @property
    def path(self) -> Path:
        """The link."""
        return self._path

    def plug(self) -> None:
        """Be there, as a new device. Raises OSError."""
        if self._ends is not None:
            return
        master, slave = os.openpty()
        try:
            # Before anybody opens it: a terminal echoes, and takes lines apart.
            tty.setraw(slave)
            os.set_blocking(master, False)
            self._path.symlink_to(os.ttyname(slave))
        except BaseException:
            os.close(master)
            os.close(slave)
            raise
        # The near end stays open here as well: without anybody on it the far one would be readable for ever.
        self._ends = master, slave
        self._loop.add_reader(master, self._read)

    def unplug(self) -> None:
        """Be gone: who has it open finds the line hung up, and nobody can open it."""
        if self._ends is None:
            return
        master, slave = self._ends
        self._ends = None
        self._loop.remove_reader(master)
        self._path.unlink(missing_ok=True)
        os.close(slave)
        os.close(master)

    def send(self, data: bytes) -> None:
        """Let it come out of the near end; what nobody takes in time is lost, as on a wire."""
        if self._ends is None:
            return
        with suppress(BlockingIOError):
            os.write(self._ends[0], data)

    def baud(self) -> int | None:
        """The speed that the near end is set to; None for one that serial receivers do not have."""
        if self._ends is None:
            return None
        # Of the far end the kernel tells what the near one is set to.
        return _SPEEDS.get(termios.tcgetattr(self._ends[0])[_OUTPUT_SPEED])

    def close(self) -> None:
        """Unplug it for good."""
        self.unplug()

    def _read(self) -> None:
        if self._ends is None:
            return
        try:
            data = os.read(self._ends[0], _READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return  # hung up for a moment, while a near end is closed
        if data:
            self._on_data(data)
