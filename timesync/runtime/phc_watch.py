"""Noticing that something moved a hardware clock: how far it went beside CLOCK_MONOTONIC_RAW, which nothing steers.

The two have oscillators of their own, so how much faster one is than the other is learnt first.
"""

from __future__ import annotations

from timesync_drivers.clock import Progress

_FLOOR_NS = 10_000
_LEARNT_PPM = 20
"""Oscillators do not change more from one second to the next."""
_UNKNOWN_PPM = 1000
"""What two oscillators may differ by before that is learnt."""
_LEARN_SPAN_NS = 250_000_000
_LONGEST_NS = 30_000_000_000
"""A bus that is always slow must do, after so long."""
_GAIN = 0.25


class PhcWatch:
    """Expects where a hardware clock will be, and says how far it is from there."""

    def __init__(self, latency_ns: int, progress: Progress, slept_ns: int) -> None:
        """Take the present reading as right.

        Args:
            latency_ns: How late a change of rate may take effect.
            progress: The clock beside CLOCK_MONOTONIC_RAW.
            slept_ns: How long the machine has slept since it was started.
        """
        self._latency_ns = latency_ns
        self._steering = 0.0
        self._oscillator = 0.0
        self._learnt = False
        self._moving = 0.0
        self.restart(progress, slept_ns)

    @property
    def steering(self) -> float:
        """The adjustment in force, a ratio."""
        return self._steering

    def restart(self, progress: Progress, slept_ns: int) -> None:
        """The clock has just been stepped, and this reading is right."""
        self._expected_ns = progress.at_ns
        self._raw_ns = self._start_raw_ns = progress.raw_ns
        self._window_ns = progress.window_ns
        self._slept_ns = slept_ns
        self._allowed_ns = 0.0
        self._clean = True

    def rate_is(self, ratio: float, raw_ns: int, *, ours: bool) -> None:
        """The adjustment in force is ``ratio`` from now on; ``ours`` when we set it, so that the moment is known."""
        self._advance(raw_ns)
        change = abs(ratio - self._steering)
        if not change:
            return
        self._allowed_ns += change * self._latency_ns
        if not ours:
            self._allowed_ns += change * (raw_ns - self._start_raw_ns)
            self._clean = False
        self._steering = ratio

    def relearn(self) -> None:
        """What the oscillator does by itself is not known any more: the first adjustment ends one left by others."""
        self._learnt = False

    def check(self, progress: Progress, slept_ns: int) -> int | None:
        """How far the clock was moved since the last call, in ns; None when it went as it should."""
        self._advance(progress.raw_ns)
        elapsed = progress.raw_ns - self._start_raw_ns
        ppm = _LEARNT_PPM if self._learnt else _UNKNOWN_PPM
        window = (progress.window_ns + self._window_ns) // 2
        allowed = _FLOOR_NS + window + self._allowed_ns + elapsed * ppm // 1_000_000
        error = progress.at_ns - self._expected_ns
        moved = error if abs(error) > allowed else None
        if moved is None and (elapsed < _LEARN_SPAN_NS or self._blurred(window, elapsed)):
            return None  # go on from where the interval began: the longer it is, the less the windows matter
        if moved is None and self._clean:
            self._learn(error, elapsed)
        self._recover(moved, elapsed)
        self.restart(progress, slept_ns)
        return moved

    def _blurred(self, window_ns: int, elapsed_ns: int) -> bool:
        """A reading took so long that a rate learnt from it would be found wrong by the next good one."""
        return window_ns * 2_000_000 > elapsed_ns * _LEARNT_PPM and elapsed_ns < _LONGEST_NS

    def _recover(self, moved_ns: int | None, elapsed_ns: int) -> None:
        """Moved by as much in every second is not moved but runs otherwise than was learnt: that is learnt anew."""
        rate = 0.0 if moved_ns is None else moved_ns / max(elapsed_ns, 1)
        before, self._moving = self._moving, rate
        if rate and abs(rate - before) <= _LEARNT_PPM * 1e-6 + abs(rate) / 4:
            self.relearn()

    def slept_ns(self, slept_ns: int) -> int:
        """How long the machine slept since the last check."""
        return slept_ns - self._slept_ns

    def estimate(self, raw_ns: int) -> int:
        """What the clock should show at a reading of CLOCK_MONOTONIC_RAW."""
        return self._expected_ns + self._gained(raw_ns - self._raw_ns)

    def _advance(self, raw_ns: int) -> None:
        self._expected_ns = self.estimate(raw_ns)
        self._raw_ns = raw_ns

    def _gained(self, elapsed_ns: int) -> int:
        excess = self._oscillator + self._steering + self._oscillator * self._steering
        return elapsed_ns + round(elapsed_ns * excess)

    def _learn(self, error_ns: int, elapsed_ns: int) -> None:
        self._oscillator += error_ns / elapsed_ns * (_GAIN if self._learnt else 1.0)
        self._learnt = True
