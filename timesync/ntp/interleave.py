"""The server's memory for the interleaved mode (RFC 9769, 2): when the replies of late really left."""

from __future__ import annotations

from collections import OrderedDict

PAIRS = 4096
"""Pairs remembered; the oldest goes first."""

RECEIVE_BIT = 1
"""Lowest bit of every receive timestamp that this server sends; that of every transmit timestamp is 0.

A request whose origin is even therefore cannot name a receive timestamp of ours, and its sender is either in
basic mode (origin 0, or the transmit timestamp of our last reply) or new: it costs no memory and no transmit
stamp.
"""


class Pairs:
    """Receive timestamps of requests, as sent in the replies, and the transmit timestamps of those replies.

    The receive timestamp is the key, not the client's address: a client may come from another port or through
    another translator each time (RFC 9769, 2). Both are 64-bit NTP timestamps. Nothing is corrected when the
    clock is slewed, because client and server then speak of the same past reading; a step is for ``clear``.
    """

    def __init__(self, capacity: int = PAIRS) -> None:
        self._pairs: OrderedDict[int, int | None] = OrderedDict()
        self._capacity = capacity

    def __len__(self) -> int:
        return len(self._pairs)

    def __contains__(self, receive: int) -> bool:
        return receive in self._pairs

    def take(self, receive: int) -> int | None:
        """The transmit timestamp saved with a receive timestamp, once; None when there is none (yet)."""
        return self._pairs.pop(receive, None)

    def reserve(self, receive: int) -> int:
        """Make room for a reply that is about to leave; returns its receive timestamp, made unique."""
        while receive in self._pairs:
            receive = (receive + 2) & 0xFFFF_FFFF_FFFF_FFFF
        if len(self._pairs) >= self._capacity:
            self._pairs.popitem(last=False)
        self._pairs[receive] = None
        return receive

    def complete(self, receive: int, transmit: int) -> None:
        """The reply with this receive timestamp left at ``transmit``; ignored when it is forgotten by now."""
        if receive in self._pairs:
            self._pairs[receive] = transmit

    def clear(self) -> None:
        """The clock was stepped: older timestamps are worth nothing."""
        self._pairs.clear()
