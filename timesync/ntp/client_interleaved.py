"""The client's half of interleaved mode (RFC 9769, 2.2): when to ask for it, and which stamps to pair.

An interleaved answer carries the transmit timestamp of the answer before it, which the server could take when
that one had really left. The four timestamps of the exchange before are thus complete one exchange late.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from timesync.base.measure import Stamp
from timesync.base.time import Duration, Instant, Tai
from timesync.ntp.exchange import NO_RESIDENCE, DropReason, Residence

BASIC_FIRST: Final = 4
"""Basic answers before AUTO asks: a burst gives its samples at once, and a stranger is not asked for more."""

MAX_LOST: Final = 4
"""Interleaved requests lost in a row before a basic one is tried; chrony's limit."""

MAX_BASIC: Final = 8
"""Basic answers to interleaved requests in a row before AUTO takes it that the server cannot."""

FIRST_PAUSE: Final = 32
LAST_PAUSE: Final = 1024
"""Answers until AUTO tries again, doubling from the one to the other."""

AUTO_MAX_POLL: Final = 6
"""AUTO asks up to this poll exponent: a sample is one interval old, and beyond a minute our own clock's
wander in that time outweighs a better transmit timestamp."""


class Interleaved(Enum):
    """Whether to ask for interleaved mode."""

    AUTO = "auto"
    ALWAYS = "always"
    NEVER = "never"


@dataclass(frozen=True, slots=True)
class Previous:
    """The exchange before, as far as the next answer can complete it.

    Attributes:
        receive: The server's receive timestamp as on the wire; names the exchange to the server.
        t1: Our transmit stamp; None when it was lost.
        t2: The server's receive timestamp.
        t4: Our receive stamp.
        root_delay: As the server had it then.
        root_dispersion: Likewise.
        used: A sample was already made of these stamps, in basic mode.
        residence: How long request and answer were in transparent clocks.
    """

    receive: int
    t1: Stamp | None
    t2: Instant[Tai]
    t4: Stamp
    root_delay: Duration
    root_dispersion: Duration
    used: bool
    residence: Residence = NO_RESIDENCE


class InterleavedAsk:
    """Decides whether a request asks for interleaved mode, and remembers what that needs."""

    def __init__(self, mode: Interleaved) -> None:
        self._mode = mode
        self._until_try = BASIC_FIRST if mode is Interleaved.AUTO else 0
        self._pause = FIRST_PAUSE
        self._lost = 0
        self._basic = 0
        self.previous: Previous | None = None

    def origin(self, poll: int) -> int:
        """The origin timestamp of the next request; 0 asks for basic mode.

        Args:
            poll: The poll exponent now.
        """
        return self.previous.receive if self.previous is not None and self.wanted(poll) else 0

    def wanted(self, poll: int) -> bool:
        """Whether the next request may ask for interleaved mode, once there is an answer to name.

        Args:
            poll: The poll exponent now.
        """
        if self._mode is Interleaved.NEVER or self._lost >= MAX_LOST:
            return False
        return self._mode is not Interleaved.AUTO or (self._until_try <= 0 and poll <= AUTO_MAX_POLL)

    def lost(self, *, asked: bool) -> None:
        """A request got no answer; ``asked`` when it asked for interleaved mode."""
        if asked:
            self._lost += 1
            if self._lost == MAX_LOST:
                self._give_up()

    def answered(self, *, asked: bool, interleaved: bool) -> None:
        """A valid answer came."""
        self._lost = 0
        self._until_try = max(self._until_try - 1, 0)
        if interleaved:
            self._basic = 0
            self._pause = FIRST_PAUSE
        elif asked:
            self._basic += 1
            if self._basic == MAX_BASIC:
                self._give_up()

    def forget(self) -> None:
        """The stamps cannot be used any more; the next request is basic."""
        self.previous = None

    def _give_up(self) -> None:
        self._basic = 0
        if self._mode is Interleaved.AUTO:
            self._until_try = self._pause
            self._pause = min(self._pause * 2, LAST_PAUSE)


def pair_stamps(
    previous: Previous | None, t1: Stamp | None, t2: Instant[Tai], t4: Stamp
) -> tuple[Stamp, Instant[Tai], Stamp] | DropReason | None:
    """The T1, T2 and T4 to go with the T3 of an interleaved answer (RFC 9769, 4).

    T4 is that of the answer before. T1 and T2 are those of its request, or those of the present request where
    these lie nearer, as on a long path that is polled often.

    Args:
        previous: The exchange before.
        t1: Present request sent, by our clock; None when unknown.
        t2: Present request received, by the server's.
        t4: Present answer received, by our clock; tells whether it was stepped meanwhile.

    Returns:
        The three; a reason to drop; or None when all is well but these stamps have been used already.
    """
    if previous is None:
        return DropReason.STAMP
    if previous.t4.epoch != t4.epoch:
        return DropReason.EPOCH
    if previous.t1 is None:
        return DropReason.STAMP
    if t1 is not None and abs(previous.t4.at - t1.at) < abs(previous.t4.at - previous.t1.at):
        return t1, t2, previous.t4
    if previous.used:
        return None
    return previous.t1, previous.t2, previous.t4
