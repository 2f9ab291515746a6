"""Noticing that something other than us moves a clock.

Two observations are compared with what we did: the kernel's own record of frequency and status, and how far
the clock went while CLOCK_MONOTONIC_RAW, which nothing steers, went on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from timesync_drivers import abi
from timesync_drivers.clock import ClockState

_STEERING_BITS = (
    abi.STA_PLL | abi.STA_FLL | abi.STA_PPSFREQ | abi.STA_PPSTIME | abi.STA_FREQHOLD | abi.STA_INS | abi.STA_DEL
)
_SCALED_PPM = 1 << 16
_TOLERANCE_NS = 200_000
_TOLERANCE_PPM = 20
_STRANGER_PPM = 500
"""What an ``adjtime`` of somebody else may slew by, allowed for as long as the clock is not ours to steer."""
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    """Something changed that we did not change.

    Attributes:
        text: One sentence for the operator.
        moved_ns: How far the clock was moved; None when only its settings were changed.
    """

    text: str
    moved_ns: int | None


class SettingsWatch:
    """Compares the kernel's record with the one that was read after our own last change."""

    def __init__(self, daemons: Callable[[], list[str]]) -> None:
        """``daemons`` names the programs that run now and may be the cause."""
        self._daemons = daemons
        self._expected: ClockState | None = None

    def expect(self, state: ClockState) -> None:
        """We have just changed something, and this is what the kernel made of it."""
        self._expected = state

    def check(self, state: ClockState) -> Finding | None:
        """What differs from the expected state, said once; None while we have set nothing ourselves."""
        expected = self._expected
        if expected is None:
            return None
        differences = []
        if state.scaled_ppm != expected.scaled_ppm:
            present, wanted = state.scaled_ppm / _SCALED_PPM, expected.scaled_ppm / _SCALED_PPM
            differences.append(f"its frequency is {present:+.4f} ppm where {wanted:+.4f} ppm was set")
        if state.tick_us != expected.tick_us:
            differences.append(f"its tick is {state.tick_us} us where {expected.tick_us} us was set")
        if (state.status ^ expected.status) & _STEERING_BITS:
            differences.append(f"its status is {state.status:#06x} where {expected.status:#06x} was set")
        if not differences:
            return None
        self._expected = state
        return Finding(f"{culprit(self._daemons())} steers the system clock too: {'; '.join(differences)}", None)


class ProgressWatch:
    """Compares how far a clock went with how far it should have gone by CLOCK_MONOTONIC_RAW and its rate."""

    def __init__(self, latency_ns: int, daemons: Callable[[], list[str]], suspended_ns: Callable[[], int]) -> None:
        """Start with ``restart``.

        Args:
            latency_ns: How late a change of rate may take effect.
            daemons: Names the programs that run now and may be the cause.
            suspended_ns: How long the machine has slept since it was started.
        """
        self._latency_ns = latency_ns
        self._daemons = daemons
        self._suspended_ns = suspended_ns
        self._restart(0, 0, 0)
        self._ratio = 0.0
        self._ours = False

    def restart(self, tai_ns: int, raw_ns: int) -> None:
        """The clock reads ``tai_ns`` now, rightly so."""
        self._restart(tai_ns, raw_ns, self._suspended_ns())

    def rate_is(self, ratio: float, raw_ns: int, *, ours: bool) -> None:
        """The clock's rate against its oscillator is ``ratio`` from now on; ``ours`` when we set it."""
        self._advance(raw_ns)
        change = abs(ratio - self._ratio)
        self._allowed_ns += change * self._latency_ns
        if not ours:  # somebody may have changed it at any moment since the last look
            self._allowed_ns += change * self._elapsed_ns
        self._ratio = ratio
        self._ours = ours

    def check(self, tai_ns: int, raw_ns: int, window_ns: int) -> Finding | None:
        """Compare, and start again from here."""
        self._advance(raw_ns)
        error = tai_ns - self._expected_ns
        ppm = _TOLERANCE_PPM if self._ours else _STRANGER_PPM
        allowed = _TOLERANCE_NS + window_ns + self._allowed_ns + self._elapsed_ns * ppm // 1_000_000
        slept = self._suspended_ns() - self._slept_ns
        self.restart(tai_ns, raw_ns)
        if abs(error) <= allowed:
            return None
        text = f"the system clock was moved by {error / _NS_PER_MS:+.3f} ms"
        if slept > allowed:
            return Finding(f"{text} while the machine was suspended for {slept / 1e9:.1f} s", error)
        return Finding(f"{text} by {culprit(self._daemons())}", error)

    def _restart(self, tai_ns: int, raw_ns: int, slept_ns: int) -> None:
        self._expected_ns = tai_ns
        self._raw_ns = raw_ns
        self._slept_ns = slept_ns
        self._elapsed_ns = 0
        self._allowed_ns = 0.0

    def _advance(self, raw_ns: int) -> None:
        elapsed = raw_ns - self._raw_ns
        self._raw_ns = raw_ns
        self._elapsed_ns += elapsed
        self._expected_ns += elapsed + round(elapsed * self._ratio)


def culprit(daemons: list[str]) -> str:
    """Who it may have been, for the middle of a sentence."""
    if not daemons:
        return "another program"
    return " or ".join(daemons)
