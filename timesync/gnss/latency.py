"""How late a receiver's messages come after the second that they tell, learnt for each kind of message."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

from timesync.base.time import Duration

ASSUMED_S = 0.15
ASSUMED_BOUND_S = 0.35
"""Together they cover messages from 0.2 s before their second to 0.5 s after it."""

ASSUMED_SPREAD_S = 0.03
GOOD_TRUTH_S = 0.01
"""Nothing is learnt while the local clock is not known at least so well."""

LATE_S = 0.4
"""From here on an operator should know that half a second is near."""

_WINDOW = 64
_ENOUGH = 16
_SPREADS = 5.0
_LEAST_SPREAD_S = 1e-4
_LEAST_BOUND_S = 2e-3
_FIXED_BOUND_S = 0.1
_REMEMBERED_DOUBT_S = 0.02
"""Another baud rate or another set of messages may have been chosen since."""

_SHIFTED = 8
_SHIFT_FLOOR_S = 0.01
_NORMAL = 1.4826
_DEVICE = "device"
"""The key of a device's name in the memory; those of latencies have a dot."""

_SANE_S = (-0.3, 0.8)
"""A message outside this is not late: its receiver is on another second."""


@dataclass(frozen=True, slots=True)
class Truth:
    """What the core knows of the local clock now.

    Attributes:
        offset_s: Local clock minus truth.
        bound_s: The truth lies within so much of that.
        epoch: Of the local clock.
        independent: Sources other than the receiver in question vouch for it.
    """

    offset_s: float
    bound_s: float
    epoch: int
    independent: bool = False


@dataclass(frozen=True, slots=True)
class Latency:
    """What is known of the latency of one kind of message.

    Attributes:
        kind: The message.
        delay_s: Arrival after the second that it tells; negative when it comes before.
        spread_s: One standard deviation.
        bound_s: The latency lies within so much of ``delay_s``.
        samples: Messages that were compared with the truth.
        calibrated: Measured, now or before the last restart; else assumed.
        quantiles_s: The 5th, 50th and 95th percentile of the last messages compared; None before there are enough.
    """

    kind: str
    delay_s: float
    spread_s: float
    bound_s: float
    samples: int
    calibrated: bool
    quantiles_s: tuple[float, float, float] | None = None

    @property
    def late(self) -> bool:
        """So late that a bit more would put the message nearer to another second."""
        return self.calibrated and self.delay_s + _SPREADS * self.spread_s > LATE_S


@dataclass(frozen=True, slots=True)
class _Remembered:
    delay_s: float
    spread_s: float


class _Kind:
    """The messages of one kind that were compared with the truth."""

    def __init__(self, remembered: _Remembered | None) -> None:
        self.samples = 0
        self.shifts = 0
        self._remembered = remembered
        self._window: deque[float] = deque(maxlen=_WINDOW)
        self._truth_s = 0.0
        self._outside = 0

    def learn(self, latency_s: float, truth_s: float) -> bool:
        """Take in one; answers whether the latency has moved for good, so that calibration starts anew."""
        before = self._delay()
        moved = False
        if before is not None:
            delay, spread = before
            limit = max(_SPREADS * 2 * spread, _SHIFT_FLOOR_S) + truth_s
            sign = (latency_s > delay + limit) - (latency_s < delay - limit)
            self._outside = self._outside + sign if sign * self._outside >= 0 and sign else sign
            if abs(self._outside) >= _SHIFTED:
                self._window.clear()
                self._remembered = None
                self._outside = 0
                self.shifts += 1
                moved = True
        self._window.append(latency_s)
        self._truth_s += 0.1 * (truth_s - self._truth_s) if self.samples else truth_s
        self.samples += 1
        return moved

    def latency(self, kind: str, fixed_s: float | None) -> Latency:
        """What is known."""
        known = self._delay()
        if known is None:
            delay = ASSUMED_S if fixed_s is None else fixed_s
            bound = ASSUMED_BOUND_S if fixed_s is None else _FIXED_BOUND_S
            return Latency(kind, delay, ASSUMED_SPREAD_S, bound, self.samples, calibrated=False)
        delay, spread = known
        bound = max(_SPREADS * spread, _LEAST_BOUND_S) + self._truth_s
        quantiles = None
        if len(self._window) >= _ENOUGH:
            low, middle, high = (_quantile(self._window, share) for share in (0.05, 0.5, 0.95))
            quantiles = low, middle, high
            bound = max(bound, 1.5 * (high - middle) + self._truth_s, 1.5 * (middle - low) + self._truth_s)
        else:
            bound += _REMEMBERED_DOUBT_S
        if fixed_s is not None:
            bound += abs(delay - fixed_s)
            delay = fixed_s
        return Latency(kind, delay, spread, bound, self.samples, calibrated=True, quantiles_s=quantiles)

    def _delay(self) -> tuple[float, float] | None:
        """Median and spread of the window, or else what is remembered."""
        if len(self._window) < _ENOUGH:
            return None if self._remembered is None else (self._remembered.delay_s, self._remembered.spread_s)
        median = _quantile(self._window, 0.5)
        spread = _NORMAL * _quantile([abs(x - median) for x in self._window], 0.5)
        return median, max(spread, _LEAST_SPREAD_S)

    def memory(self) -> _Remembered | None:
        """What is worth keeping."""
        known = self._delay()
        return None if known is None else _Remembered(*known)


class LatencyBook:
    """The latencies of a receiver's messages by their kind."""

    def __init__(self, fixed: Duration | None = None) -> None:
        """Learn the latency (``delay: auto``), or take it as configured."""
        self._fixed_s = None if fixed is None else fixed.s()
        self._kinds: dict[str, _Kind] = {}

    def learn(self, kind: str, latency_s: float, truth_s: float) -> str | None:
        """A message was compared with a clock known to within ``truth_s``; answers what is worth saying about it.

        What is not known well enough, or is no latency at all, is ignored.
        """
        if truth_s > GOOD_TRUTH_S or not _SANE_S[0] <= latency_s <= _SANE_S[1]:
            return None
        entry = self._kinds.setdefault(kind, _Kind(None))
        before = self.of(kind)
        moved = entry.learn(latency_s, truth_s)
        after = self.of(kind)
        if moved:
            return f"the latency of {kind} has changed from {_ms(before.delay_s)}; it is measured anew"
        if after.calibrated and not before.calibrated:
            late = "; beyond 0.5 s its second would be mistaken: fewer messages or a higher baud rate help"
            return f"{kind} comes {_ms(after.delay_s)} after its second, give or take {_ms(after.spread_s)}" + (
                late if after.late else ""
            )
        return None

    def of(self, kind: str) -> Latency:
        """What is known of the messages of this kind."""
        entry = self._kinds.get(kind) or _Kind(None)
        return entry.latency(kind, self._fixed_s)

    def memory(self) -> dict[str, float]:
        """For the state file: ``KIND.delay_s`` and ``KIND.spread_s`` of each kind, in seconds."""
        kept = {}
        for kind, entry in self._kinds.items():
            found = entry.memory()
            if found is not None:
                kept[f"{kind}.delay_s"] = found.delay_s
                kept[f"{kind}.spread_s"] = found.spread_s
        return kept

    def restore(self, memory: Mapping[str, object]) -> None:
        """From the state file; what makes no sense is left out."""
        for key, delay in memory.items():
            kind, _, field = key.rpartition(".")
            spread = memory.get(f"{kind}.spread_s")
            if field != "delay_s" or not isinstance(delay, float | int) or not isinstance(spread, float | int):
                continue
            if _SANE_S[0] <= delay <= _SANE_S[1] and 0 <= spread <= ASSUMED_BOUND_S:
                self._kinds[kind] = _Kind(_Remembered(float(delay), max(float(spread), _LEAST_SPREAD_S)))


class LatencyMemory:
    """What outlasts the device that is listened to: the latencies of one, with its name, and of no other.

    Two receivers behind one gpsd may differ by half a second, so what was learnt of one is not used for the other.
    """

    def __init__(self, fixed: Duration | None, *, single: bool) -> None:
        """Nothing is remembered.

        Args:
            fixed: The latency as configured; None: learnt.
            single: There can be but one device, so that a memory without a name (of earlier releases) is of that.
        """
        self._fixed = fixed
        self._single = single
        self._kept: dict[str, object] = {}

    def restore(self, memory: Mapping[str, object]) -> None:
        """From the state file; what makes no sense is left out."""
        book = LatencyBook()
        book.restore(memory)
        self._kept = dict(book.memory())
        if self._kept and _DEVICE in memory:
            self._kept[_DEVICE] = memory[_DEVICE]

    def book(self, device: str) -> LatencyBook:
        """For this device from now on: with what is remembered of it, else with what is assumed of any."""
        book = LatencyBook(self._fixed)
        if self._is_of(device):
            book.restore(self._kept)
        return book

    def leave(self, device: str, book: LatencyBook) -> None:
        """Another device is listened to from now on: keep what is known of this one for when it comes again."""
        self._kept = self.memory(device, book)

    def memory(self, device: str, book: LatencyBook) -> dict[str, object]:
        """For the state file: the latencies of this device and, as ``device``, its name; older ones while it has none.

        An uncalibrated device, perhaps one without a fix, does not take the place of a calibrated one.
        """
        known = book.memory()
        if known:
            return {**known, _DEVICE: device}
        return {} if self._is_of(device) else dict(self._kept)

    def _is_of(self, device: str) -> bool:
        return self._kept[_DEVICE] == device if _DEVICE in self._kept else self._single


def _quantile(values: deque[float] | list[float], share: float) -> float:
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (at - low) * (ordered[high] - ordered[low])


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:.3g} ms"
