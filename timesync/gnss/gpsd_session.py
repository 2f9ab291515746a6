"""A conversation with gpsd: bytes of its stream become what a receiver tells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import assert_never

from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.constellation import of_gpsd
from timesync.gnss.event import (
    DeviceReport,
    FixMode,
    FixReport,
    Garbled,
    LeapReport,
    PulseMark,
    ReceiverEvent,
    TimeMark,
    Write,
)
from timesync.wire import gpsd
from timesync.wire.error import WireError
from timesync.wire.gpsd_fields import MAX_LINE

_QUIET = Duration.from_s(10)
"""After so long without a report gpsd is asked once more, and after twice as long it is given up."""

_BAD_LINES = 20
_OLDEST = Duration.from_s(5)
_AHEAD = Duration.from_s(0.05)
_MOST_RECEIVERS = 32
_TAI_GPS = 19
"""TAI minus GPS time in seconds: GPS time began on 1980-01-06, when TAI - UTC was 19 s, and neither ever leaps."""

_PS_PER_S = 1_000_000_000_000
_MODES = (FixMode.UNKNOWN, FixMode.NONE, FixMode.TWO_D, FixMode.THREE_D)
_SURVEYED = 7
_NOT_FROM_SATELLITES = (5, 8)
"""Fix status: dead reckoning, simulated."""


class _Lines:
    """Cuts a stream into lines, and remembers when each began to arrive."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._since: Stamp | None = None
        self._skipping = False

    def feed(self, data: bytes, stamp: Stamp | None) -> Iterator[tuple[bytes | None, Stamp | None]]:
        """The lines that ``data`` completes; None in place of one that is too long."""
        *ends, rest = data.split(b"\n")
        for end in ends:
            yield from self._add(end, stamp)
            if not self._skipping:
                yield bytes(self._held), self._since
            self._held.clear()
            self._skipping = False
        yield from self._add(rest, stamp)

    def _add(self, data: bytes, stamp: Stamp | None) -> Iterator[tuple[bytes | None, Stamp | None]]:
        if self._skipping:
            return
        if not self._held:
            self._since = stamp
        self._held += data
        if len(self._held) > MAX_LINE + 1:  # gpsd ends its lines by CR LF
            self._held.clear()
            self._skipping = True
            yield None, stamp


@dataclass(slots=True)
class _Receiver:
    """What is known of one receiver.

    Attributes:
        present: gpsd has it open; None before it was said.
        description: As far as it introduced itself.
        trusted: Its last fix was from satellites; None before it told of any.
    """

    present: bool | None = None
    description: str = ""
    trusted: bool | None = None


class GpsdSession:
    """One gpsd, over any number of connections. Whoever owns the connection feeds it and obeys its ``Write``."""

    def __init__(self, device: str | None = None, stamp_of: Callable[[int], Stamp | None] | None = None) -> None:
        """Listen to ``device`` alone, by gpsd's name for it, or to all.

        Args:
            device: Such as ``/dev/ttyAMA0``; None: all.
            stamp_of: What our clock read when CLOCK_REALTIME read so many ns (``Devices.stamp``), None when that
                cannot be told. None for a gpsd on another machine: its TOFF and PPS speak of that machine's clock
                and are left out, and TPV alone tells the time.
        """
        self._device = device
        self._stamp_of = stamp_of
        self._lines = _Lines()
        self._receivers: dict[str, _Receiver] = {}
        self._greeted = False
        self._broken: str | None = None
        self._deadline: Instant[Mono] | None = None
        self._asked_again = False
        self._bad_lines = 0

    @property
    def broken(self) -> str | None:
        """Why this connection should be closed and another one opened later, in words; None while it is good."""
        return self._broken

    def on_open(self, now: Instant[Mono]) -> list[ReceiverEvent]:
        """A connection is there: ask for reports."""
        self._lines = _Lines()
        self._greeted = False
        self._broken = None
        self._bad_lines = 0
        self._asked_again = False
        self._deadline = now + _QUIET
        return [Write(gpsd.watch(self._device))]

    def on_lost(self) -> list[ReceiverEvent]:
        """The connection is gone, and with it all receivers."""
        self._deadline = None
        gone = [path for path, receiver in self._receivers.items() if receiver.present]
        self._receivers.clear()
        return [DeviceReport(device=path, present=False) for path in gone]

    def deadline(self) -> Instant[Mono] | None:
        """When ``on_deadline`` wants to be called; None while there is no connection worth it."""
        return self._deadline

    def on_deadline(self, now: Instant[Mono]) -> list[ReceiverEvent]:
        """Nothing came for long; look at ``broken`` afterwards.

        Asking again shows whether it lives, and makes it open receivers that it could not open before.
        """
        if self._deadline is None or now < self._deadline:
            return []
        if not self._greeted or self._asked_again:
            said = "says nothing any more" if self._greeted else "did not introduce itself"
            return self._give_up(f"gpsd {said}", "silence")
        self._asked_again = True
        self._deadline = now + _QUIET
        return [Write(gpsd.watch(self._device))]

    def on_data(self, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> list[ReceiverEvent]:
        """Bytes came; ``stamp`` is when; look at ``broken`` afterwards."""
        events: list[ReceiverEvent] = []
        for line, began in self._lines.feed(data, stamp):
            if self._broken is not None:
                break
            events += self._on_line(line, began, now)
        return events

    def _on_line(self, line: bytes | None, stamp: Stamp | None, now: Instant[Mono]) -> list[ReceiverEvent]:
        if line is None:
            return self._bad("line too long")
        try:
            report = gpsd.decode(line)
        except WireError as error:
            return self._bad(str(error))
        if isinstance(report, gpsd.Version):
            if report.major != gpsd.PROTOCOL:
                said = f"gpsd {report.release} speaks protocol {report.major}.{report.minor}, not {gpsd.PROTOCOL}"
                return self._give_up(said, "protocol version")
            self._greeted = True
        elif not self._greeted:
            return self._bad("no VERSION before it")
        self._bad_lines = max(self._bad_lines - 1, 0)
        self._asked_again = False
        self._deadline = now + _QUIET
        return self._on_report(report, stamp)

    def _on_report(self, report: gpsd.Report, stamp: Stamp | None) -> list[ReceiverEvent]:
        match report:
            case gpsd.Devices():
                return self._on_devices(report)
            case gpsd.Device():
                return self._on_device(report)
            case gpsd.Tpv() | gpsd.Sky() | gpsd.Toff() | gpsd.Pps():
                return self._on_message(report, stamp) if self._wanted(report.device) else []
            case gpsd.Error():
                return self._on_error(report)
            case gpsd.Version() | gpsd.Watch() | gpsd.Other():
                return []
            case _:
                assert_never(report)

    # -- messages of a receiver

    def _on_message(
        self, report: gpsd.Tpv | gpsd.Sky | gpsd.Toff | gpsd.Pps, stamp: Stamp | None
    ) -> list[ReceiverEvent]:
        receiver = self._receiver(report.device)
        events: list[ReceiverEvent] = []
        if receiver.present is False:
            receiver.present = True
            events.append(DeviceReport(device=report.device, present=True, description=receiver.description))
        match report:
            case gpsd.Tpv():
                events += self._on_tpv(report, receiver, stamp)
            case gpsd.Sky():
                events.append(
                    FixReport(
                        device=report.device,
                        used=report.used,
                        seen=report.seen,
                        hdop=report.hdop,
                        tdop=report.tdop,
                        satellites=None if report.satellites is None else of_gpsd(report.satellites),
                    )
                )
            case gpsd.Toff():
                events += self._on_toff(report, receiver, stamp)
            case gpsd.Pps():
                events += self._on_pps(report, stamp)
            case _:
                assert_never(report)
        return events

    def _on_tpv(self, report: gpsd.Tpv, receiver: _Receiver, stamp: Stamp | None) -> list[ReceiverEvent]:
        mode = _MODES[report.mode]
        fixed = mode in (FixMode.TWO_D, FixMode.THREE_D)
        receiver.trusted = fixed and report.status not in _NOT_FROM_SATELLITES
        if fixed and report.status == _SURVEYED:
            mode = FixMode.TIME
        events: list[ReceiverEvent] = [FixReport(device=report.device, mode=mode)]
        sent = self._sent(report, stamp)
        if report.time is not None and sent is not None:
            events.append(
                TimeMark(
                    device=report.device,
                    utc=report.time,
                    stamp=sent,
                    kind="TPV",
                    accuracy_s=report.ept,
                    trusted=receiver.trusted,
                )
            )
        if report.leapseconds is not None:
            events.append(LeapReport(device=report.device, tai_utc=report.leapseconds + _TAI_GPS))
        return events

    def _sent(self, report: gpsd.Tpv, arrival: Stamp | None) -> Stamp | None:
        """When gpsd wrote the report if it says so, which spares us its way to us; else when it arrived."""
        if report.sent_ns is None or self._stamp_of is None:
            return arrival
        sent = self._stamp_of(report.sent_ns)
        return arrival if sent is None or not _just_before(sent, arrival) else sent

    def _on_toff(self, report: gpsd.Toff, receiver: _Receiver, arrival: Stamp | None) -> list[ReceiverEvent]:
        placed = self._place(report.clock_ns, arrival)
        if not isinstance(placed, Stamp):
            return placed
        # The message itself does not say whether there is a fix, and with its option -r gpsd needs none to send it.
        if receiver.trusted is None:
            return []
        return [
            TimeMark(device=report.device, utc=report.real, stamp=placed, kind="TOFF", trusted=receiver.trusted),
        ]

    def _on_pps(self, report: gpsd.Pps, arrival: Stamp | None) -> list[ReceiverEvent]:
        placed = self._place(report.clock_ns, arrival)
        if not isinstance(placed, Stamp):
            return placed
        late_ps = -(report.q_err_ps or 0)
        return [
            PulseMark(
                device=report.device,
                utc=report.real,
                kernel_ns=report.clock_ns,
                noise_s=2.0**report.precision,
                quantization_s=late_ps / _PS_PER_S,
            )
        ]

    def _place(self, kernel_ns: int, arrival: Stamp | None) -> Stamp | list[ReceiverEvent]:
        """Our clock's reading, or what to tell instead."""
        stamp = None if self._stamp_of is None else self._stamp_of(kernel_ns)
        if stamp is None:
            return []
        # A gpsd behind a tunnel or in a container with a time of its own looks like one of this machine.
        return stamp if _just_before(stamp, arrival) else [Garbled("another machine's clock")]

    # -- receivers that come and go

    def _on_devices(self, report: gpsd.Devices) -> list[ReceiverEvent]:
        events: list[ReceiverEvent] = []
        for device in report.devices:
            events += self._on_device(device)
        listed = {device.path for device in report.devices}
        known = {path for path, receiver in self._receivers.items() if receiver.present}
        if self._device is not None:
            known.add(self._device)
        if not report.remote:
            for path in sorted(known - listed):
                events += self._standing(path, "", present=False)
        return events

    def _on_device(self, device: gpsd.Device) -> list[ReceiverEvent]:
        description = ", ".join(filter(None, (device.driver, device.subtype)))
        return self._standing(device.path, description, present=device.activated)

    def _on_error(self, error: gpsd.Error) -> list[ReceiverEvent]:
        events: list[ReceiverEvent] = [Garbled("ERROR")]
        if self._device is not None and self._device in error.message:
            events += self._standing(self._device, f"gpsd says: {error.message}", present=False)
        return events

    def _standing(self, path: str, description: str, *, present: bool) -> list[ReceiverEvent]:
        """Report how a receiver stands, where that is news."""
        if not path or not self._wanted(path):
            return []
        receiver = self._receiver(path)
        before = receiver.present, receiver.description
        receiver.present = present
        receiver.description = description or receiver.description
        if not present:
            receiver.trusted = None
        if before == (present, receiver.description):
            return []
        return [DeviceReport(device=path, present=present, description=receiver.description)]

    def _receiver(self, path: str) -> _Receiver:
        """What is known of it; the one beyond the limit, which gpsd itself would not have, is forgotten at once."""
        receiver = self._receivers.get(path)
        if receiver is None:
            receiver = _Receiver()
            if len(self._receivers) < _MOST_RECEIVERS:
                self._receivers[path] = receiver
        return receiver

    def _wanted(self, path: str) -> bool:
        """Old releases leave out the device where there is only one."""
        return self._device is None or path in ("", self._device)

    # -- what is wrong

    def _bad(self, reason: str) -> list[ReceiverEvent]:
        """Count a bad line. One among many good ones is borne: gpsd cuts off what is too long for its buffer."""
        self._bad_lines += 1
        if self._bad_lines > _BAD_LINES:
            return [Garbled(reason), *self._give_up("what comes is hardly ever a report of gpsd", "too many bad lines")]
        return [Garbled(reason)]

    def _give_up(self, why: str, reason: str) -> list[ReceiverEvent]:
        self._broken = why
        self._deadline = None
        return [Garbled(reason)]


def _just_before(stamp: Stamp, arrival: Stamp | None) -> bool:
    """Whether a reading said to be of our clock can be: shortly before the message with it came."""
    if arrival is None or (arrival.clock, arrival.epoch) != (stamp.clock, stamp.epoch):
        return True
    return -_AHEAD < arrival.at - stamp.at < _OLDEST
