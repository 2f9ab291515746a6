"""A PTP hardware clock (``/dev/ptpN``): finding and opening it, its pins, pulses in and out."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from timesync_drivers import abi
from timesync_drivers.clock import KernelClock
from timesync_drivers.cross import CrossReader, CrossReading
from timesync_drivers.nic import phc_index

NS_PER_S = 1_000_000_000
_OLDER = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOTTY})
"""What an older kernel, or a driver without such a flag, answers to a newer request."""
_EVENTS_A_READ = 32
_FIFO_LINE = 64
"""More than the three numbers of an event need, of 10, 20 and 10 digits."""


@dataclass(frozen=True, slots=True)
class PhcCapabilities:
    """What a hardware clock can do (``struct ptp_clock_caps``).

    Attributes:
        max_adj_ppb: Largest frequency adjustment, in parts per billion; 0 when it takes none.
        n_ext_ts: Channels for external timestamps.
        n_per_out: Channels for periodic outputs.
        n_pins: Pins whose function can be chosen.
        pps: It can feed the kernel's PPS subsystem.
        cross_timestamping: It has PTP_SYS_OFFSET_PRECISE.
        adjust_phase: It has a servo of its own in hardware (ADJ_OFFSET).
        max_phase_adj_ns: Largest phase adjustment, in ns; 0 where the kernel does not tell (before 6.5).
    """

    max_adj_ppb: int
    n_ext_ts: int
    n_per_out: int
    n_pins: int
    pps: bool
    cross_timestamping: bool
    adjust_phase: bool
    max_phase_adj_ns: int


class PinFunction(Enum):
    """What a pin does (``enum ptp_pin_function``)."""

    NONE = abi.PTP_PF_NONE
    EXTTS = abi.PTP_PF_EXTTS
    PEROUT = abi.PTP_PF_PEROUT
    PHYSYNC = abi.PTP_PF_PHYSYNC


@dataclass(frozen=True, slots=True)
class PhcPin:
    """A programmable pin.

    Attributes:
        index: Its number, from 0.
        name: What the driver calls it.
        function: What it does.
        channel: Which channel of that function.
    """

    index: int
    name: str
    function: PinFunction
    channel: int


@dataclass(frozen=True, slots=True)
class ExternalStamp:
    """An edge on an external timestamp channel.

    Attributes:
        channel: Which channel.
        at_ns: The hardware clock at the edge, in ns.
    """

    channel: int
    at_ns: int


def clock_id(file: int) -> int:
    """The dynamic clock id of an open PTP clock (FD_TO_CLOCKID of the kernel); right only while it stays open."""
    return ~file << 3 | 3


def device_path(name: str) -> str:
    """Where the clock of that name is: a path, ``ptpN``, an index, or an interface.

    Raises OSError: ENODEV when there is no such interface, EOPNOTSUPP when it has no hardware clock.
    """
    if "/" in name:
        return name
    if name.isascii() and name.isdecimal():
        return f"/dev/ptp{name}"
    if name.startswith("ptp") and name[3:].isascii() and name[3:].isdecimal():
        return f"/dev/{name}"
    index = phc_index(name)
    if index is None:
        raise OSError(errno.EOPNOTSUPP, f"the interface {name} has no PTP hardware clock")
    return f"/dev/ptp{index}"


class PhcDevice:
    """An open hardware clock. Every method raises OSError with the kernel's errno, ENODEV when it has vanished.

    Attributes:
        name: What it was opened as.
        path: The device file.
        writable: It was opened for writing: without, it can be read but not steered.
        clock: To read and steer it.
    """

    def __init__(self, name: str) -> None:
        """Open by path, ``ptpN``, index or interface; for reading only where more is not allowed."""
        self.name = name
        self.path = device_path(name)
        self.writable = True
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except PermissionError:
            self._file = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            self.writable = False
        try:
            self._capabilities = self._ask_capabilities()
        except OSError:
            self.close()
            raise
        self.clock = KernelClock(clock_id(self._file))
        self._cross = CrossReader(self._file)
        self._own_queue = self._has_own_queue()

    def fileno(self) -> int:
        """The file descriptor; -1 once closed."""
        return self._file

    def close(self) -> None:
        """Close it; ``clock`` must not be used any more. Twice does no harm."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)

    @property
    def capabilities(self) -> PhcCapabilities:
        """What it can do, as asked when it was opened."""
        return self._capabilities

    def cross(self) -> CrossReading:
        """Read it beside CLOCK_REALTIME, by the best way there is."""
        return self._cross.read()

    def pin(self, index: int) -> PhcPin:
        """How a pin is set."""
        data = bytearray(abi.PTP_PIN_DESC.pack(b"", index, 0, 0))
        fcntl.ioctl(self._file, abi.PTP_PIN_GETFUNC, data)
        return parse_pin(data)

    def set_pin(self, pin: PhcPin) -> None:
        """Set a pin's function and channel; the kernel takes the channel away from the pin that had it."""
        data = bytearray(abi.PTP_PIN_DESC.pack(b"", pin.index, pin.function.value, pin.channel))
        fcntl.ioctl(self._file, abi.PTP_PIN_SETFUNC, data)

    def route(self, index: int, function: PinFunction, channel: int) -> PhcPin | None:
        """Give a pin this function; returns how it was set before, None when nothing had to be changed."""
        before = self.pin(index)
        wanted = replace(before, function=function, channel=channel)
        if wanted == before:
            return None
        self.set_pin(wanted)
        return before

    def enable_extts(self, channel: int, *, rising: bool, falling: bool) -> bool:
        """Begin to stamp edges of a channel.

        Returns whether the driver promises to stamp just these edges (PTP_STRICT_FLAGS). Where it does not, it may
        stamp both although one was asked for, and an event does not say which it was.
        """
        edges = (abi.PTP_RISING_EDGE if rising else 0) | (abi.PTP_FALLING_EDGE if falling else 0)
        flags = abi.PTP_ENABLE_FEATURE | edges
        try:
            self._extts(abi.PTP_EXTTS_REQUEST2, channel, flags | abi.PTP_STRICT_FLAGS)
        except OSError as error:
            if error.errno not in _OLDER:
                raise
            self._extts(abi.PTP_EXTTS_REQUEST, channel, flags)
            return False
        return True

    def disable_extts(self, channel: int) -> None:
        """Stop stamping edges of a channel."""
        self._extts(abi.PTP_EXTTS_REQUEST, channel, 0)

    def events(self) -> list[ExternalStamp]:
        """The edges of all enabled channels since the last call, oldest first; never waits.

        Before Linux 6.7 all who have the clock open share one queue, and whoever reads an event takes it.
        """
        poll = select.poll()
        poll.register(self._file, select.POLLIN)
        found: list[ExternalStamp] = []
        while ready := poll.poll(0):
            if ready[0][1] & (select.POLLERR | select.POLLNVAL):
                raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
            taken = self._read() if self._own_queue else self._take_shared()
            found += taken
            if len(taken) < _EVENTS_A_READ:
                break
        return found

    def _read(self) -> list[ExternalStamp]:
        """A row of events; waits where there is none, which is certain only of a queue of our own."""
        return parse_events(os.read(self._file, _EVENTS_A_READ * abi.PTP_EXTTS_EVENT.size))

    def _take_shared(self) -> list[ExternalStamp]:
        """Events of the queue that all share, as many as are left.

        read() of a PTP clock waits for the next pulse, even of a non-blocking file, where another program was quicker.
        The attribute in sysfs takes from the same queue, one event at a time, and never waits. Without sysfs there is
        only read().
        """
        found: list[ExternalStamp] = []
        try:
            while len(found) < _EVENTS_A_READ and (event := parse_fifo(_first_read(self._fifo()))) is not None:
                found.append(event)
        except FileNotFoundError:
            return found or self._read()
        return found

    def _fifo(self) -> Path:
        number = os.fstat(self._file).st_rdev
        return Path(f"/sys/dev/char/{os.major(number)}:{os.minor(number)}/fifo")

    def start_perout(self, channel: int, *, start_ns: int, period_ns: int, width_ns: int | None) -> bool:
        """Begin a periodic output.

        Args:
            channel: Which.
            start_ns: First rising edge, on the hardware clock's own scale; in the future.
            period_ns: From one rising edge to the next.
            width_ns: How long it stays high; None leaves that to the driver.

        Returns:
            Whether the driver took the width; without, most give half the period.
        """
        if width_ns is not None:
            try:
                self._perout(abi.PTP_PEROUT_REQUEST2, channel, start_ns, period_ns, width_ns)
            except OSError as error:
                if error.errno not in _OLDER:
                    raise
            else:
                return True
        self._perout(abi.PTP_PEROUT_REQUEST, channel, start_ns, period_ns, None)
        return False

    def stop_perout(self, channel: int) -> None:
        """Stop a periodic output."""
        self._perout(abi.PTP_PEROUT_REQUEST, channel, 0, 0, None)

    def enable_pps(self, *, on: bool) -> None:
        """Have the clock feed a PPS device of the kernel each second, or stop that; takes CAP_SYS_TIME."""
        fcntl.ioctl(self._file, abi.PTP_ENABLE_PPS, int(on))

    def _ask_capabilities(self) -> PhcCapabilities:
        data = bytearray(abi.PTP_CLOCK_CAPS.size)
        fcntl.ioctl(self._file, abi.PTP_CLOCK_GETCAPS, data)
        return parse_capabilities(data)

    def _has_own_queue(self) -> bool:
        """Whether events are queued for each that has the clock open (Linux 6.7); asked in a way that changes nothing.

        Such kernels have a mask of channels for each, in which all are switched on at first.
        """
        try:
            fcntl.ioctl(self._file, abi.PTP_MASK_EN_SINGLE, struct.pack("@I", 0))
        except OSError as error:
            return error.errno not in _OLDER
        return True

    def _extts(self, request: int, channel: int, flags: int) -> None:
        fcntl.ioctl(self._file, request, bytearray(abi.PTP_EXTTS_REQUEST_BODY.pack(channel, flags)))

    def _perout(self, request: int, channel: int, start_ns: int, period_ns: int, width_ns: int | None) -> None:
        flags = 0 if width_ns is None else abi.PTP_PEROUT_DUTY_CYCLE
        times = (*divmod(start_ns, NS_PER_S), *divmod(period_ns, NS_PER_S))
        body = abi.PTP_PEROUT_REQUEST_BODY.pack(*times, channel, flags, *divmod(width_ns or 0, NS_PER_S))
        fcntl.ioctl(self._file, request, bytearray(body))


def parse_capabilities(data: bytes | bytearray) -> PhcCapabilities:
    """Read a ``struct ptp_clock_caps``."""
    max_adj, _, n_ext_ts, n_per_out, pps, n_pins, cross, phase, max_phase = abi.PTP_CLOCK_CAPS.unpack(data)
    return PhcCapabilities(max_adj, n_ext_ts, n_per_out, n_pins, bool(pps), bool(cross), bool(phase), max_phase)


def parse_pin(data: bytes | bytearray) -> PhcPin:
    """Read a ``struct ptp_pin_desc``. Raises OSError for a function that this program does not know."""
    name, index, function, channel = abi.PTP_PIN_DESC.unpack(data)
    try:
        known = PinFunction(function)
    except ValueError:
        raise OSError(errno.EOPNOTSUPP, f"pin {index} has the unknown function {function}") from None
    return PhcPin(index, name.partition(b"\0")[0].decode(errors="replace"), known, channel)


def parse_events(data: bytes | bytearray) -> list[ExternalStamp]:
    """Read a row of ``struct ptp_extts_event``."""
    return [
        ExternalStamp(channel, seconds * NS_PER_S + nanoseconds)
        for seconds, nanoseconds, channel, _ in abi.PTP_EXTTS_EVENT.iter_unpack(data)
    ]


def parse_fifo(line: bytes) -> ExternalStamp | None:
    """Read a line of the ``fifo`` attribute in sysfs: channel, seconds, nanoseconds; None when the list is empty.

    Raises OSError for another. An empty one is no octet, or a zero (Linux 6.12).
    """
    if not line.strip(b"\0"):
        return None
    try:
        channel, seconds, nanoseconds = map(int, line.split())
    except ValueError:
        raise OSError(errno.EPROTO, f"the kernel's list of pulses has a line {line!r}") from None
    return ExternalStamp(channel, seconds * NS_PER_S + nanoseconds)


def _first_read(path: Path) -> bytes:
    """What one read() gives: each takes an event."""
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.read(file, _FIFO_LINE)
    finally:
        os.close(file)
