"""The place of a hardware clock's device: open while it is there, empty while it is away, and why it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from timesync.host import ClockError, Trouble
from timesync.runtime.phc_hardware import GONE, Hardware, refused

_AWAY = "its device has vanished; it is taken up as soon as it is back"


class PhcSlot:
    """Holds the device, and lets it go when it turns out to have vanished."""

    def __init__(self, name: str, open_device: Callable[[str], Hardware], on_lost: Callable[[str], None]) -> None:
        """An empty one.

        Args:
            name: The interface, ``ptpN`` or device file.
            open_device: Opens the driver by name.
            on_lost: Called with ``who`` when the device has vanished and was let go.
        """
        self._name = name
        self._open_device = open_device
        self._on_lost = on_lost
        self._device: Hardware | None = None
        self._away = _AWAY

    @property
    def present(self) -> bool:
        """Whether the device is there."""
        return self._device is not None

    @property
    def device(self) -> Hardware:
        """The open device. Raises ClockError, GONE."""
        if self._device is None:
            raise ClockError(
                Trouble.GONE,
                f"the hardware clock {self._name} is not there",
                "it is taken up again as soon as it is there; the kernel's log tells what became of the device",
            )
        return self._device

    @property
    def who(self) -> str:
        """The clock in words, with its device file while that is known."""
        where = "" if self._device is None or self._device.path == self._name else f" ({self._device.path})"
        return f"the hardware clock {self._name}{where}"

    @property
    def away(self) -> str | None:
        """Why the device is not in use, with advice; None while it is."""
        return None if self.present else self._away

    def open(self) -> None:
        """Take the device up. Raises ClockError."""
        try:
            self._device = self._open_device(self._name)
        except OSError as error:
            raise refused(self.who, "open it", error) from error

    def stay_away(self, error: ClockError) -> None:
        """Remember why it could not be taken up again; that it is not there needs no reason of its own."""
        self._away = _AWAY if error.trouble is Trouble.GONE else f"{error}; {error.advice}"

    @contextmanager
    def using(self, what: str) -> Iterator[Hardware]:
        """Do something with the device; OSError becomes ClockError, and a device that has vanished is let go."""
        device = self.device
        try:
            yield device
        except ClockError:
            raise
        except OSError as error:
            who = self.who
            if error.errno in GONE and device is self._device:
                self.close()
                self._away = _AWAY
                self._on_lost(who)
            raise refused(who, what, error) from error

    def close(self) -> None:
        """Let the device go."""
        if self._device is not None:
            self._device.close()
            self._device = None
