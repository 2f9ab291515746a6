"""Whether a server may be selected, by its reference ids (draft-ietf-ntp-ntpv5-07, "Reference IDs").

A server that takes its time from us, over however many others, must not give it back to us. When the loop is gone,
each of its members waits for a random while: else all of them would return at once, and close it again.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum
from typing import Final

from timesync.base.machine import Rng
from timesync.ntp.v5.bloom import BloomFilter, ReferenceId

FIRST_WAIT: Final = 4
"""Greatest number of answers to wait for after the first loop; it doubles with each that follows."""

LAST_WAIT: Final = 64

QUIET: Final = 64
"""After so many answers without a loop and without a wait, the next loop counts as the first."""


class Standing(StrEnum):
    """Of a server."""

    CLEAR = "clear"
    """It may be selected."""
    FETCHING = "fetching"
    """Its reference ids are not all here yet."""
    LOOP = "loop"
    """It takes its time from this machine."""
    WAITING = "waiting"
    """It did so a moment ago."""
    CROWDED = "crowded"
    """Its filter is so full that our clients would find loops that are none."""


class LoopGuard:
    """Watches one server.

    Attributes:
        standing: As of the last answer.
    """

    def __init__(self, rng: Rng) -> None:
        self.standing = Standing.FETCHING
        self._rng = rng
        self._longest = FIRST_WAIT
        self._wait = 0
        self._quiet = 0

    def update(self, own: Collection[ReferenceId], references: BloomFilter | None) -> Standing:
        """A valid answer came.

        Args:
            own: Our reference ids.
            references: The server's filter; None while it is not whole.
        """
        self.standing = self._judge(own, references)
        return self.standing

    def _judge(self, own: Collection[ReferenceId], references: BloomFilter | None) -> Standing:
        if references is None:
            return Standing.FETCHING
        if any(one in references for one in own):
            if self.standing is not Standing.LOOP:
                self._wait = int(self._rng.random() * (self._longest + 1))
                self._longest = min(self._longest * 2, LAST_WAIT)
            self._quiet = 0
            return Standing.LOOP
        if self._wait:
            self._wait -= 1
            return Standing.WAITING
        self._quiet += 1
        if self._quiet >= QUIET:
            self._longest = FIRST_WAIT
        return Standing.CROWDED if references.crowded else Standing.CLEAR
