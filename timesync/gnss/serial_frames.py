"""Cutting a serial line's octets into NMEA sentences and UBX messages, and telling when each began to arrive."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from timesync.base.measure import Stamp
from timesync.base.time import UNITS_PER_S, ZERO, Duration, Instant, Mono, Tai
from timesync.gnss.event import Garbled
from timesync.wire import nmea, ubx
from timesync.wire.error import WireError

GAP = Duration.from_ns(100_000_000)
"""A line that was still for so long between two messages begins a new burst."""

_PATIENCE = Duration.from_s(1)
"""How much longer than its octets need a message may take; then its start was none."""

_EVIDENCE = 32
_LONG_LOT = Duration.from_ns(50_000_000)
_CERTAIN = 3

_BITS = 10
"""On the wire for each octet: start bit, eight data bits, stop bit (8N1)."""

_START = re.compile(rb"[$\xb5]")
_TEXT = re.compile(rb"\$[\x20-\x23\x25-\x29\x2b-\x7e]*")
_FILL = frozenset(b"\r\n\x00\xff")
"""What may stand between messages: line ends, the idle bytes of some receivers."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """When a message came.

    Attributes:
        began: What the clock read when its first octet began on the wire; None when the clock could not tell.
        opens: It is the first of a burst.
        now: Monotonic time of the read that brought its first octet.
    """

    began: Stamp | None
    opens: bool
    now: Instant[Mono]


@dataclass(frozen=True, slots=True)
class Text:
    """An NMEA sentence with a right checksum.

    Attributes:
        fields: As ``nmea.split`` gives them.
        arrival: When it came.
    """

    fields: list[str]
    arrival: Arrival


@dataclass(frozen=True, slots=True)
class Binary:
    """A UBX message with a right checksum.

    Attributes:
        frame: The message.
        arrival: When it came.
    """

    frame: ubx.Frame
    arrival: Arrival


Piece = Text | Binary | Garbled


@dataclass(frozen=True, slots=True)
class _Read:
    """One read of the line: octets up to ``end``, counted from the start of the line."""

    begin: int
    end: int
    stamp: Stamp | None
    floor: Instant[Tai] | None
    octet: Duration
    now: Instant[Mono]

    def began(self, position: int) -> Stamp | None:
        """When the octet at ``position`` began on the wire."""
        if self.stamp is None:
            return None
        # The stamp is of the read, when the last octet was in. The UART and the kernel hand octets over in lots, so
        # the first of them came earlier by the time that they all took on the wire; without this, the time of a
        # message would jump by as much whenever a lot is of another size. What the last read had not yet brought
        # cannot have been complete before it: a USB line delivers faster than its baud says.
        at = self.stamp.at - self.octet * (self.end - position)
        if self.floor is not None and at < self.floor:
            at = self.floor
        return replace(self.stamp, at=at)


class _Pace:
    """Whether octets come at the speed of the line at all: a receiver on USB has a baud in name only.

    Taking off the time that its octets would have needed would then make its marks early, and by as much as its
    lots differ in size.
    """

    def __init__(self, octet: Duration) -> None:
        self._octet = octet
        self._fast = False
        self._score = 0
        self._first = self._rest = 0
        self._began: Instant[Mono] | None = None
        self._last: Instant[Mono] | None = None

    @property
    def octet(self) -> Duration:
        """How long an octet takes."""
        return ZERO if self._fast else self._octet

    def read(self, size: int, now: Instant[Mono]) -> None:
        """So many octets came in one read."""
        if self._last is None or now - self._last >= GAP:
            self._judge()
            self._began, self._first, self._rest = now, size, 0
        else:
            self._rest += size
        self._last = now

    def _judge(self) -> None:
        """One burst is over. A single one proves nothing: we may have been late to read."""
        if self._began is None or self._last is None:
            return
        if self._rest >= _EVIDENCE:
            fast = (self._last - self._began) * 2 < self._octet * self._rest
        elif self._octet * self._first > _LONG_LOT:
            fast = True
        else:
            return
        self._score = min(self._score + 1, _CERTAIN) if fast else max(self._score - 1, 0)
        self._fast = self._score == _CERTAIN or (self._fast and self._score > 0)


class Splitter:
    """Holds what is not yet a whole message: never more than the longest one and one read."""

    def __init__(self) -> None:
        self._pace = _Pace(ZERO)
        self._held = bytearray()
        self._origin = 0
        self._reads: list[_Read] = []
        self._last: tuple[Stamp | None, Instant[Mono]] | None = None
        # Where the line began again after a pause, as far as no message has been taken from behind it.
        self._gaps: list[int] = []

    def reset(self, baud: int | None) -> None:
        """Begin anew, at a speed in bits per second; None where octets take no time."""
        self._pace = _Pace(ZERO if baud is None else Duration(_BITS * UNITS_PER_S // baud))
        self._held.clear()
        self._reads.clear()
        self._gaps.clear()
        self._origin = 0
        self._last = None

    def feed(self, data: bytes, stamp: Stamp | None, now: Instant[Mono]) -> list[Piece]:
        """Octets came, the last of them at ``stamp``; gives what is whole now, in order."""
        if not data:
            return []
        self._pace.read(len(data), now)
        octet = self._pace.octet
        begin = self._origin + len(self._held)
        last_stamp, last_now = self._last or (None, None)
        self._last = stamp, now
        if last_now is None or (now - octet * len(data)) - last_now >= GAP:
            self._gaps.append(begin)
        floor = None
        if stamp is not None and last_stamp is not None and last_stamp.epoch == stamp.epoch:
            floor = last_stamp.at
        self._reads.append(_Read(begin, begin + len(data), stamp, floor, octet, now))
        self._held += data
        return list(self._pieces(now))

    def _pieces(self, now: Instant[Mono]) -> Iterator[Piece]:
        noise = False
        while self._held:
            start = _START.search(self._held)
            skipped = len(self._held) if start is None else start.start()
            noise = noise or not _FILL.issuperset(self._held[:skipped])
            self._drop(skipped)
            if not self._held:
                break
            waits, piece = self._sentence() if self._held[0] == ord("$") else self._message()
            if waits:
                if now - self._reads[0].now <= _PATIENCE + self._reads[0].octet * waits:
                    break
                self._drop(1)
                piece = Garbled("cut short")
            if piece is not None:
                yield piece
            else:
                noise = True
        if noise:
            yield Garbled("noise")

    def _sentence(self) -> tuple[int, Piece | None]:
        """The sentence at the front: how long it may become while it is not whole, else what came of it."""
        match = _TEXT.match(self._held)
        end = len(self._held) if match is None else match.end()
        if end > nmea.MAX_SENTENCE:
            self._drop(1)
            return 0, Garbled("length")
        if end == len(self._held) or (self._held[end] == ord("*") and end + 3 > len(self._held)):
            return nmea.MAX_SENTENCE, None
        if self._held[end] != ord("*"):
            whole = self._held[end] in b"\r\n"
            self._drop(end)
            return 0, Garbled("no checksum" if whole else "cut short")
        arrival = self._arrival()
        data = bytes(self._held[: end + 3])
        try:
            fields = nmea.split(data)
        except WireError:
            self._drop(1)  # it may have swallowed the sync of a message, never a "$"
            return 0, Garbled("checksum")
        self._take(len(data))
        return 0, Text(fields, arrival)

    def _message(self) -> tuple[int, Piece | None]:
        """The message at the front, as ``_sentence``; (0, None) when it was none."""
        if len(self._held) < ubx.HEAD_SIZE:
            if not self._held.startswith(ubx.SYNC[: len(self._held)]):
                self._drop(1)
                return 0, None
            return ubx.HEAD_SIZE, None
        size = int.from_bytes(self._held[4:6], "little") + ubx.OVERHEAD
        if not self._held.startswith(ubx.SYNC) or size > ubx.MAX_PAYLOAD + ubx.OVERHEAD:
            self._drop(1)
            return 0, None
        if size > len(self._held):
            return size, None
        arrival = self._arrival()
        try:
            frame = ubx.split(bytes(self._held[:size]))
        except WireError:
            self._drop(1)  # only its start: a wrong length must not swallow the good message behind
            return 0, Garbled("checksum")
        self._take(size)
        return 0, Binary(frame, arrival)

    def _arrival(self) -> Arrival:
        first = self._reads[0]
        # A pause before this message begins a burst, whatever noise came in between. A pause within a message is
        # the sender's or ours, and begins none: ``_take`` forgets it.
        opens = any(at <= self._origin for at in self._gaps)
        return Arrival(first.began(self._origin), opens, first.now)

    def _take(self, size: int) -> None:
        self._drop(size)
        self._gaps = [at for at in self._gaps if at >= self._origin]

    def _drop(self, size: int) -> None:
        del self._held[:size]
        self._origin += size
        # Of the pauses behind us one says as much as many; noise without end must not pile them up.
        while len(self._gaps) > 1 and self._gaps[1] <= self._origin:
            self._gaps.pop(0)
        while self._reads and self._reads[0].end <= self._origin:
            self._reads.pop(0)
