"""Finding the speed of a serial line, and noticing that nothing more comes."""

from __future__ import annotations

from timesync.base.time import Duration, Instant, Mono
from timesync.gnss.event import SetBaud

BAUDS = (9600, 115_200, 38_400, 57_600, 4800, 230_400, 460_800, 19_200)
"""In the order in which they are tried: what receivers leave their makers with comes first."""

DWELL = Duration.from_ns(2_500_000_000)
"""How long each speed is tried: two bursts of a receiver that speaks once a second."""

SILENCE = Duration.from_s(15)
"""Without one valid message for so long, the receiver is gone or its speed has changed."""

_ENOUGH = 2


class SerialLine:
    """Which speed the line has, and whether a receiver speaks on it."""

    def __init__(self, baud: int | None, remembered: int | None) -> None:
        """Begin with ``remembered`` when ``baud`` is None, which is to find it out."""
        self._auto = baud is None
        first = BAUDS[0] if remembered is None else remembered
        self._order = [first, *(one for one in BAUDS if one != first)] if baud is None else [baud]
        self._at = 0
        self._valid = 0
        self._since: Instant[Mono] | None = None
        self.found = False

    @property
    def baud(self) -> int:
        """The speed in force, in bits per second."""
        return self._order[self._at]

    def open(self, now: Instant[Mono]) -> SetBaud:
        """The port is open: begin with what was found last."""
        self._restart(now)
        return SetBaud(self.baud)

    def valid(self, now: Instant[Mono]) -> bool:
        """A message with a right checksum came; True when it shows that the speed is found."""
        self._valid += 1
        if self.found:
            self._since = now
            return False
        # One checksum of NMEA is right by chance in one of 256 noisy lines.
        if self._valid < _ENOUGH:
            return False
        self.found = True
        self._since = now
        return True

    def deadline(self) -> Instant[Mono] | None:
        """When ``expired`` wants to be asked; None before ``open``, and where there is nothing to try."""
        if self._since is None or not (self.found or self._auto):
            return None
        return self._since + (SILENCE if self.found else DWELL)

    def expired(self, now: Instant[Mono]) -> SetBaud | None:
        """The next speed to try; None when it stays."""
        due = self.deadline()
        if due is None or now < due:
            return None
        if self.found:
            self._restart(now)
            return SetBaud(self.baud) if self._auto else None
        self._at = (self._at + 1) % len(self._order)
        self._valid = 0
        self._since = now
        return SetBaud(self.baud)

    def _restart(self, now: Instant[Mono]) -> None:
        self._order = [self.baud, *(one for one in self._order if one != self.baud)]
        self._at = 0
        self._valid = 0
        self._since = now
        self.found = False
