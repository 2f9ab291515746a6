"""What we give to others besides NTP: samples for an existing chronyd or ntpd, pulses out of clocks, and CSPTP."""

from __future__ import annotations

from collections.abc import Callable, Collection

from timesync.base.ids import ClockId
from timesync.base.measure import Coarse, Leap
from timesync.base.time import NS_PER_S, Duration
from timesync.config.schema import Config
from timesync.daemon.csptp_service import CsptpService
from timesync.daemon.group import Surroundings
from timesync.daemon.pulse_outputs import PulseOutputs
from timesync.devices import Outbox, Segment
from timesync.host import ClockError
from timesync.ntp.client_log import ClientList
from timesync.observe.snapshot import CsptpFacts
from timesync.wire import shm, sock

_PRECISION = -20
"""Log2 of what a reader may expect of us, seconds: about a microsecond."""


class Outputs:
    """Feeds other programs once a second, while our clock is known; keeps pulses and CSPTP going."""

    def __init__(self, around: Surroundings) -> None:
        """Nothing is opened before ``configure``."""
        self._around = around
        self._csptp = CsptpService(around)
        self._served = ClockId("")
        self._outbox: tuple[str, Outbox] | None = None
        self._unit: int | None = None
        self._segment: Segment | None = None
        self._pulses = PulseOutputs(around)
        self._troubles: dict[str, str] = {}
        self._count = 0

    def troubles(self) -> tuple[str, ...]:
        """What does not work now, in sentences."""
        return (*self._troubles.values(), *self._pulses.troubles(), *self._csptp.troubles())

    def csptp(self) -> tuple[CsptpFacts, ...]:
        """Where CSPTP is served."""
        return self._csptp.facts()

    def csptp_clients(self) -> ClientList:
        """Who has asked for CSPTP."""
        return self._csptp.clients()

    def configure(self, config: Config) -> None:
        """Give out what a configuration asks for."""
        self._close_feeds()
        self._csptp.configure(config)
        self._served = ClockId(config.served_clock())
        devices = self._around.host.devices
        if config.serve.sock is not None:
            self._outbox = config.serve.sock, devices.open_outbox(config.serve.sock)
        self._unit = config.serve.shm
        self._open_segment()
        self._pulses.configure(config)

    def clocks_came(self, clocks: Collection[ClockId]) -> None:
        """Devices that appeared, or that were away and are back."""
        self._pulses.clocks_came(clocks)

    def close(self) -> None:
        """Give out nothing."""
        self._csptp.close()
        self._pulses.close()
        self._close_feeds()

    def _close_feeds(self) -> None:
        if self._outbox is not None:
            self._outbox[1].close()
        if self._segment is not None:
            self._segment.close()
        self._outbox = self._segment = None
        self._troubles.clear()

    def tick(self, known: Callable[[ClockId], Coarse | None], leap: Callable[[ClockId], tuple[Leap, int]]) -> None:
        """Once a second: tell where the system clock stands against the time that we serve."""
        self._csptp.tick()
        self._pulses.tick()
        if self._segment is None:
            # Also when somebody has removed it meanwhile.
            self._open_segment()
        if self._outbox is None and self._segment is None:
            return
        here = known(self._served)
        if here is None:
            return
        try:
            stamp = self._around.host.clocks[self._served].read()
        except ClockError:
            return  # its device has vanished, which is said elsewhere
        kernel_ns = self._around.host.devices.kernel_ns(self._served, stamp)
        if kernel_ns is None:
            return
        true = stamp.at - Duration.from_s(here.offset_s)
        utc = self._around.leap_table.utc(true)
        if self._around.leap_table.ambiguous(utc):
            return
        self._give(kernel_ns, utc.ns(), leap(self._served)[0])

    def _give(self, kernel_ns: int, true_ns: int, leap: Leap) -> None:
        if self._outbox is not None:
            path, outbox = self._outbox
            # The datagram's time has microseconds only: what is cut off must not turn up in the offset.
            sample = sock.SockSample(kernel_ns // 1000, (true_ns - kernel_ns) / NS_PER_S, leap=leap)
            try:
                outbox.send(sock.encode(sample))
                self._troubles.pop("sock", None)
            except OSError as error:
                why = error.strerror or str(error)
                self._troubles["sock"] = f"serve.sock: nobody takes samples at {path} ({why}); is chronyd running?"
        if self._segment is not None:
            self._count = (self._count + 1) % 2**31
            try:
                self._segment.write(shm.encode(shm.ShmSample(true_ns, kernel_ns, leap, _PRECISION, self._count)))
            except ClockError as error:
                self._trouble("shm", f"serve.shm: {error}; {error.advice}")
                self._segment.close()
                self._segment = None

    def _open_segment(self) -> None:
        if self._unit is None:
            return
        try:
            self._segment = self._around.host.devices.open_segment(self._unit, create=True)
        except ClockError as error:
            self._trouble("shm", f"serve.shm: {error}; {error.advice}")
        else:
            self._troubles.pop("shm", None)

    def _trouble(self, key: str, text: str) -> None:
        self._troubles[key] = text
