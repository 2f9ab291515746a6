"""Who stamps the packets of an NTP source: the network card on its clock, or the kernel on the source's own."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from timesync.base.ids import ClockId, Endpoint
from timesync.base.time import Duration
from timesync.config.schema import SYSTEM, Config, NtpSource, PhcSource, PoolSource
from timesync.host import ClockError, Host

CARD_PRECISION = Duration.from_ns(50)
"""Of a card's stamps: some periods of its clock, which drivers do not tell (8 ns at 125 MHz, 40 ns at 25 MHz)."""


@dataclass(frozen=True, slots=True)
class Stamping:
    """How the packets to one server are stamped.

    Attributes:
        clock: By which clock.
        hardware: By the network card, whose clock that is.
    """

    clock: ClockId
    hardware: bool

    def precision(self, host: Host) -> Duration:
        """Of a stamp. What it takes to read a hardware clock over its bus does not matter to what its card stamps."""
        if self.hardware:
            return CARD_PRECISION
        return max(host.clocks[self.clock].limits.precision, Duration.from_ns(1))

    def __str__(self) -> str:
        return (
            f"by the network card, on clock {self.clock}" if self.hardware else f"by the kernel, on clock {self.clock}"
        )


def card_clocks(config: Config, source: NtpSource | PoolSource) -> frozenset[ClockId]:
    """The hardware clocks by which the packets of a source may be stamped.

    A clock that the source names is the only one. Else any whose measurements reach the system clock over their link:
    not one that is a reference, which has none, and none where a virtual clock is measured.
    """
    if source.timestamping == "software":
        return frozenset()
    hardware = {ClockId(name) for name, clock in config.clocks.items() if clock.phc is not None}
    if source.clock is not None:
        return frozenset(hardware & {ClockId(source.clock)})
    if config.clock_of(source) != SYSTEM:
        return frozenset()
    references = {ClockId(one.phc) for one in config.sources if isinstance(one, PhcSource)}
    return frozenset(hardware - references)


class StampChoice:
    """Decides for each server of a source."""

    def __init__(
        self,
        source: NtpSource | PoolSource,
        clock: ClockId,
        able: Collection[ClockId],
        host: Host,
        say: Callable[[str], None],
    ) -> None:
        """Nothing is asked yet.

        Args:
            source: The entry.
            clock: The clock that is measured by kernel timestamps.
            able: ``card_clocks``.
            host: The machine.
            say: Takes, once, why the kernel stamps where the card might.
        """
        self._must = source.timestamping == "hardware"
        self._over_ptp = source.transport == "ptp"
        self._clock = clock
        self._able = able
        self._host = host
        self._say = say
        self._said: set[str] = set()

    def choose(self, server: Endpoint) -> Stamping | str:
        """How its packets are stamped as things are now; why it must wait where only the card will do."""
        if not self._able:
            if not self._must:
                return Stamping(self._clock, hardware=False)
            return f"a network card stamps by its own clock, and this source measures clock {self._clock}"
        try:
            clock = self._host.card_clock(server, over_ptp=self._over_ptp)
        except ClockError as error:
            why = f"{error}; {error.advice}"
        else:
            if clock in self._able:
                return Stamping(clock, hardware=True)
            why = f"packets to {server.address} are stamped by clock {clock}, which this source does not measure"
        if self._must:
            return why
        if why not in self._said:
            self._said.add(why)
            self._say(f"the kernel stamps packets to {server.address}, on clock {self._clock}: {why}")
        return Stamping(self._clock, hardware=False)
