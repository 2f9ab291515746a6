"""How long a reply takes to be sealed or signed after its transmit timestamp was taken, by kind of reply."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Final

_SHARE: Final = 0.05
_LONGEST_NS: Final = 1_000_000
"""What takes longer was interrupted, and says nothing of the next one."""


class SealingTimes:
    """Learnt from the replies before.

    A tenth is left out of what is foretold, since a reply must not be said to leave after it did.
    """

    def __init__(self) -> None:
        self._usual_ns: dict[Hashable, float] = {}

    def foretold_ns(self, kind: Hashable) -> int:
        """How long after its timestamp a reply of this kind will leave."""
        return int(0.9 * self._usual_ns.get(kind, 0.0))

    def took(self, kind: Hashable, ns: int) -> None:
        """So long it was for one reply."""
        if 0 <= ns < _LONGEST_NS:
            usual_ns = self._usual_ns.get(kind, 0.0)
            self._usual_ns[kind] = usual_ns + _SHARE * (ns - usual_ns)
