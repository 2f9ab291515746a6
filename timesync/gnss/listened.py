"""Which of the receivers on one connection is listened to."""

from __future__ import annotations

from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.event import DeviceReport, ReceiverEvent, TimeMark

_QUIET = Duration.from_s(10)
"""When the present device has told no time that it vouches for in so long, another one that does is taken."""

_MOST_DESCRIPTIONS = 32
"""As many devices as gpsd has; names are the other side's, so that they must not be kept without end."""


class Listened:
    """The device that is listened to: the configured one, or the first that tells a time, as long as it is any good.

    Attributes:
        current: Its name; empty before there is one, and where a connection carries only one.
        mixed: What was taken so far is of others as well.
    """

    def __init__(self, wanted: str) -> None:
        """Listen to ``wanted`` alone; to the one that is best while that is empty."""
        self.current = wanted
        self.mixed = False
        self._first = ""
        self._descriptions: dict[str, str] = {}
        self._fixed = bool(wanted)
        self._spoke: Instant[Mono] | None = None
        self._trusted: Instant[Mono] | None = None

    @property
    def description(self) -> str:
        """How the present device introduced itself."""
        return self._descriptions.get(self.current, "")

    def heard(self, event: ReceiverEvent, now: Instant[Mono]) -> bool:
        """Whether an event is of the device that is listened to; one that tells a time may become that."""
        device = getattr(event, "device", "")
        if isinstance(event, DeviceReport):
            self._introduced(device, event)
        if isinstance(event, TimeMark) and device != self.current and not self._fixed and self._free(event, now):
            self.mixed = bool(self.current) or self.mixed or self._first not in ("", device)
            self.current = device
            self._spoke = self._trusted = None
        ours = device in ("", self.current) or (not self._fixed and not self.current)
        if ours and not self.current:
            self._first = self._first or device
            self.mixed = self.mixed or device != self._first
        if ours and isinstance(event, TimeMark):
            self._spoke = now
            if event.trusted:
                self._trusted = now
        return ours

    def _free(self, mark: TimeMark, now: Instant[Mono]) -> bool:
        """Whether the present device gives way to one that tells this."""
        vouches = self._trusted is not None and now - self._trusted <= _QUIET
        speaks = self._spoke is not None and now - self._spoke <= _QUIET
        return not vouches and (mark.trusted or not speaks)

    def _introduced(self, device: str, report: DeviceReport) -> None:
        if not report.present and device == self.current:
            self._spoke = self._trusted = None
        if report.description:
            self._descriptions.pop(device, None)
            self._descriptions[device] = report.description
            for name in [name for name in self._descriptions if name != self.current][:-_MOST_DESCRIPTIONS]:
                del self._descriptions[name]
