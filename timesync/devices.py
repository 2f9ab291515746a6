"""What the daemon needs of a machine's time hardware: pulses, receivers, clock pairs, shared memory, thermometers.

One set of Protocols with several implementations: the Linux drivers, the simulated hardware of virtual time, and the
virtual hardware of the demo. None of them waits: whoever owns a device asks again later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp
from timesync.base.time import Duration

EdgeName = Literal["assert", "clear"]
"""Which edge of a pulse marks the second (RFC 2783, 3.1)."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """One edge of a pulse a second.

    Attributes:
        stamp: What the clock read at the edge.
        sequence: The device's own count of such edges; a gap means that some were missed. Wraps at 2**32.
    """

    stamp: Stamp
    sequence: int


@dataclass(frozen=True, slots=True)
class KernelPulses:
    """A PPS device of the kernel.

    Attributes:
        path: Such as ``/dev/pps0``.
        edge: The one that marks the second.
    """

    path: str
    edge: EdgeName = "assert"


@dataclass(frozen=True, slots=True)
class PinPulses:
    """External timestamps of a PTP hardware clock: pulses on that clock's own scale.

    Attributes:
        phc: The clock, by its name in the configuration.
        channel: Index of the external timestamp channel.
        pin: Index of the pin to route to that channel; None where the card has no programmable pins or the routing
            stands.
        edge: The one that marks the second.
    """

    phc: ClockId
    channel: int = 0
    pin: int | None = None
    edge: EdgeName = "assert"


PulseSpec = KernelPulses | PinPulses


class PulseInput(Protocol):
    """An open source of pulses."""

    def pulses(self) -> Sequence[Pulse]:
        """The edges since the last call, oldest first; never waits.

        A PPS device keeps only the newest edge: its sequence shows what was missed. Raises ClockError, GONE when
        the device has vanished.
        """
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...


@dataclass(frozen=True, slots=True)
class Pair:
    """Two clocks of this machine, read together.

    Attributes:
        local: One reading.
        remote: The other, of the same moment to within ``uncertainty``.
        uncertainty: Half the window in which both were read: the worst case of their mismatch.
        method: How: ``precise``, ``extended``, ``plain`` (the kernel's PTP_SYS_OFFSET family) or ``read``.
    """

    local: Stamp
    remote: Stamp
    uncertainty: Duration
    method: str


@dataclass(frozen=True, slots=True)
class SerialLine:
    """A serial port.

    Attributes:
        path: Such as ``/dev/ttyAMA0``.
        baud: Speed to begin with, in bits per second.
    """

    path: str
    baud: int


@dataclass(frozen=True, slots=True)
class TcpStream:
    """A TCP connection, such as to gpsd.

    Attributes:
        host: A name or an address.
        port: TCP port.
    """

    host: str
    port: int


@dataclass(frozen=True, slots=True)
class DatagramInbox:
    """A Unix datagram socket that we make and others send to (chrony's SOCK protocol).

    Attributes:
        path: Where; what is left there of an earlier run is replaced.
    """

    path: str


FeedSpec = SerialLine | TcpStream | DatagramInbox


class FeedHandler(Protocol):
    """Who listens to a feed."""

    def on_open(self) -> None:
        """It is open: data may come, and may be written."""
        ...

    def on_data(self, data: bytes, stamp: Stamp | None) -> None:
        """Bytes came (a whole datagram where the feed has such); ``stamp`` is when the last of them was taken over.

        None when the clock could not tell.
        """
        ...

    def on_lost(self, error: OSError) -> None:
        """It closed or failed, or could not be opened; nothing more comes. Open another one to go on."""
        ...


class Feed(Protocol):
    """An open, or opening, stream of bytes."""

    def write(self, data: bytes) -> None:
        """Send, dropping what the other side does not take. Raises OSError."""
        ...

    def set_baud(self, baud: int) -> None:
        """Change the speed of a serial port; nothing elsewhere. Raises OSError."""
        ...

    def close(self) -> None:
        """End it; the handler is not called again."""
        ...


class Segment(Protocol):
    """An NTP shared memory segment (the driver 28 of the NTP reference implementation)."""

    def read(self) -> bytes | None:
        """A consistent copy of the whole structure; None while its writer is at work. Raises ClockError."""
        ...

    def write(self, data: bytes) -> None:
        """Replace the structure, ``valid`` last. Raises ClockError."""
        ...

    def close(self) -> None:
        """Detach."""
        ...


class Outbox(Protocol):
    """Where datagrams go, to a Unix socket that another program made."""

    def send(self, data: bytes) -> None:
        """Send without waiting. Raises OSError when nobody listens."""
        ...

    def close(self) -> None:
        """Let go."""
        ...


class PulseOutput(Protocol):
    """A pulse a second out of a PTP hardware clock."""

    def trouble(self) -> str | None:
        """What is not as it was asked for, in a sentence; None when all is well. Asking changes nothing."""
        ...

    def tend(self) -> bool:
        """Try again what could not be begun anew after a step of its clock; nothing while all is well.

        Returns whether right pulses come out now; when not, call it again later.
        """
        ...

    def close(self) -> None:
        """Stop the output."""
        ...


class Devices(Protocol):
    """The time hardware of the machine."""

    def open_pulses(self, spec: PulseSpec, clock: ClockId) -> PulseInput:
        """Begin to take edges, on the scale of ``clock`` (of the PHC itself for a pin). Raises ClockError."""
        ...

    def open_output(self, phc: ClockId, channel: int, pin: int | None, width: Duration) -> PulseOutput:
        """Give out a pulse at each full second of a PTP hardware clock (PTP_PEROUT_REQUEST). Raises ClockError."""
        ...

    def read_pair(self, local: ClockId, remote: ClockId) -> Pair:
        """Read two clocks together, by the best way there is. Raises ClockError."""
        ...

    def open_feed(self, spec: FeedSpec, clock: ClockId, handler: FeedHandler) -> Feed:
        """Open a stream whose arrivals are stamped by ``clock``.

        Raises OSError for what fails at once; what fails later comes as ``on_lost``.
        """
        ...

    def open_segment(self, unit: int, *, create: bool) -> Segment:
        """Attach the NTP shared memory segment of this unit. Raises ClockError."""
        ...

    def open_outbox(self, path: str) -> Outbox:
        """A Unix datagram socket towards ``path``, which need not exist yet."""
        ...

    def stamp(self, clock: ClockId, kernel_ns: int) -> Stamp | None:
        """What ``clock`` read when CLOCK_REALTIME read ``kernel_ns`` (ns since 1970, UTC); None when unknown."""
        ...

    def kernel_ns(self, clock: ClockId, stamp: Stamp) -> int | None:
        """The reverse: CLOCK_REALTIME (ns since 1970, UTC) at a recent stamp of ``clock``; None when unknown."""
        ...

    def temperature(self, path: str) -> float:
        """Degrees Celsius, from a file that holds thousandths of them (hwmon, thermal zones). Raises OSError."""
        ...
