"""A serial port, opened for ourselves alone and never waited for; pyserial is imported here only."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import termios

import serial as pyserial

READ_SIZE = 4096
"""As much as the kernel's line discipline holds for a reader."""


class SerialPort:
    """One port: raw, 8 data bits, no parity, one stop bit, no flow control.

    Methods raise OSError: ENOENT, EACCES and EBUSY from opening, ENODEV and EIO when the device has been unplugged.
    """

    def __init__(self, path: str, baud: int) -> None:
        """Open it at a speed in bits per second.

        Exclusive twice over: by ``flock``, which gpsd and others respect, and by TIOCEXCL, with which the kernel lets
        nobody but root open it once more.
        """
        try:
            self._port = pyserial.Serial(path, baud, timeout=0, write_timeout=0, exclusive=True)
        except ValueError as error:
            raise _invalid(f"{path} does not take {baud} baud") from error
        except pyserial.SerialException as error:
            code = _code(error)
            raise OSError(code, os.strerror(code), path) from error
        try:
            self._descriptor: int = self._port.fileno()
            self._wait_for_one()
            fcntl.ioctl(self._descriptor, termios.TIOCEXCL)
            self.low_latency = self._hurry()
        except BaseException as error:
            self._port.close()
            if isinstance(error, termios.error):
                raise _from_termios(error) from error
            raise

    def fileno(self) -> int:
        """For an event loop."""
        return self._descriptor

    def read(self) -> bytes:
        """What has come, at most 4096 octets; empty when nothing has. Raises OSError, ENODEV when it was unplugged."""
        try:
            data = os.read(self._descriptor, READ_SIZE)
        except BlockingIOError:
            return b""
        if not data:  # with VMIN at 1 this is the end of a hung-up line, never mere silence
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        return data

    def write(self, data: bytes) -> int:
        """Send; gives how many octets the port took, which may be none. Raises OSError."""
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            return 0

    def set_baud(self, baud: int) -> None:
        """Change the speed, and forget what came at the old one. Raises OSError."""
        try:
            self._port.baudrate = baud
            self._wait_for_one()
            termios.tcflush(self._descriptor, termios.TCIFLUSH)
        except pyserial.SerialException as error:
            code = _code(error)
            raise OSError(code, os.strerror(code)) from error
        except ValueError as error:
            raise _invalid(f"no such speed: {baud} baud") from error
        except termios.error as error:
            raise _from_termios(error) from error

    def close(self) -> None:
        """Close it. A second call does nothing."""
        if self._port.is_open:
            # The kernel keeps the flag while anyone else, such as ldattach, holds the line: nobody could open it again.
            with contextlib.suppress(OSError):
                fcntl.ioctl(self._descriptor, termios.TIOCNXCL)
        self._port.close()

    def _wait_for_one(self) -> None:
        """Set VMIN to 1: pyserial's 0 makes silence look like the end, and each change of speed sets it again."""
        attributes = termios.tcgetattr(self._descriptor)
        control = attributes[6]
        control[termios.VMIN], control[termios.VTIME] = 1, 0
        termios.tcsetattr(self._descriptor, termios.TCSANOW, attributes)

    def _hurry(self) -> bool:
        """ASYNC_LOW_LATENCY: hand octets over at once, 1 ms instead of 16 with USB adapters that have such a timer.

        Drivers without the ioctl have nothing to hurry.
        """
        try:
            self._port.set_low_latency_mode(True)
        except ValueError:
            return False
        return True


def _code(error: pyserial.SerialException) -> int:
    """The kernel's errno: pyserial often has it in its text only, and calls a lock that is held EAGAIN."""
    if error.errno:
        return errno.EBUSY if error.errno == errno.EAGAIN else error.errno
    behind = error.__context__
    return behind.args[0] if isinstance(behind, termios.error) else errno.EIO


def _invalid(text: str) -> OSError:
    return OSError(errno.EINVAL, text)


def _from_termios(error: termios.error) -> OSError:
    """``termios.error`` is no OSError, but carries the same two values."""
    code, text = error.args
    return OSError(code, text)
