"""How kernel timestamps become the time of the clock that is served."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServingMap:
    """How a kernel timestamp (CLOCK_REALTIME, ns) becomes the UTC of a clock, valid from ``base_ns`` on.

    ``utc_ns = base_ns + offset_ns + (kernel_ns - base_ns) * rate``; the system clock's map is the identity.

    Attributes:
        base_ns: Kernel time from which the map holds.
        offset_ns: Clock minus kernel time at ``base_ns``.
        rate: Clock seconds per kernel second.
    """

    base_ns: int
    offset_ns: int
    rate: float

    def utc_ns(self, kernel_ns: int) -> int:
        """The clock's UTC in ns at a kernel time; the float only ever touches the difference of the rates."""
        return kernel_ns + self.offset_ns + round((kernel_ns - self.base_ns) * (self.rate - 1.0))


@dataclass(frozen=True, slots=True)
class CardMap:
    """How the stamps of a network card, by its own clock, become kernel time (CLOCK_REALTIME, ns).

    ``kernel_ns = base_ns + offset_ns + (card_ns - base_ns) * rate``; a ``ServingMap`` makes UTC of that. It is of the
    moment at which it is published, and of no use a few seconds later, or after a step of either clock.

    Attributes:
        interface: Index of the interface that the packets come by.
        base_ns: A reading of the card's clock, on its own scale.
        offset_ns: Kernel time minus the card's clock then.
        rate: Kernel seconds per second of the card's clock.
    """

    interface: int
    base_ns: int
    offset_ns: int
    rate: float


SYSTEM_MAP = ServingMap(0, 0, 1.0)
"""The map of the system clock: kernel timestamps are its UTC."""
