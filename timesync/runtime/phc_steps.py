"""The steps of a hardware clock: their number, what is said of them, who must know, and which stamps are too old."""

from __future__ import annotations

from collections.abc import Callable

from timesync.base.time import NS_PER_S
from timesync.runtime.phc_hardware import Surroundings

_SYSTEM_STEP_NS = 100_000
"""A smaller step of the system clock cannot be told from the noise of reading it, and matters little."""
_UNSETTLED_NS = 5 * NS_PER_S
"""So long after a step stamps from before it may still come."""


class PhcSteps:
    """Counts the steps of a clock, and tells stamps of before the last one from those after it.

    Attributes:
        count: The epoch.
    """

    def __init__(self, around: Surroundings) -> None:
        self.count = 0
        self._around = around
        self._findings: list[str] = []
        self._listeners: list[Callable[[], None]] = []
        self._system_offset_ns = around.system_offset_ns()
        self._before_ns = self._after_ns = 0
        self._raw_ns: int | None = None

    def note(self, text: str) -> None:
        """Keep a sentence for ``told``."""
        self._findings.append(text)

    def told(self) -> str | None:
        """What was noted since the last call; None if nothing."""
        findings, self._findings = self._findings, []
        return ". ".join(findings) or None

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call ``listener`` from ``tell`` on; gives what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def tell(self) -> None:
        """Call the listeners."""
        for listener in list(self._listeners):
            listener()

    def stepped(self, before_ns: int, after_ns: int) -> None:
        """The clock went from one reading to another at once."""
        self.count += 1
        self._before_ns, self._after_ns = before_ns, after_ns
        self._raw_ns = self._around.raw_ns()

    def unsettled(self) -> bool:
        """Whether a stamp that comes now may be of before the last step."""
        if self._raw_ns is not None and self._around.raw_ns() - self._raw_ns >= _UNSETTLED_NS:
            self._raw_ns = None
        return self._raw_ns is not None

    def after(self, stamp_ns: int, now_ns: int) -> bool:
        """Whether a stamp was certainly taken after the last step; the clock reads ``now_ns``."""
        may_be_before = self._before_ns - _UNSETTLED_NS <= stamp_ns <= self._before_ns
        return self._after_ns <= stamp_ns <= now_ns and not may_be_before

    def system_stepped(self) -> bool:
        """Whether the system clock was stepped since the last call."""
        before, self._system_offset_ns = self._system_offset_ns, self._around.system_offset_ns()
        return abs(self._system_offset_ns - before) > _SYSTEM_STEP_NS
