"""Two simulated clocks read together, with what a real machine gets wrong there."""

from __future__ import annotations

from collections.abc import Mapping

from timesync.base.ids import ClockId
from timesync.base.measure import StampSource
from timesync.base.time import ZERO, Duration
from timesync.devices import Pair
from timesync.sim.clock import SimClock
from timesync.sim.hardware import PhcHardware
from timesync.sim.pulses import gone
from timesync.sim.world import World

_USER_WINDOW = Duration.from_ns(1000)


class PairReader:
    """Compares clocks, as the kernel and its drivers would: the best of several readings counts."""

    def __init__(
        self, world: World, name: str, clocks: Mapping[ClockId, SimClock], phcs: Mapping[ClockId, PhcHardware]
    ) -> None:
        self._rng = world.stream(f"pairs/{name}")
        self._world = world
        self._clocks = clocks
        self._phcs = phcs

    def read(self, local: ClockId, remote: ClockId) -> Pair:
        """Both at this moment, with what is wrong with the reading of each."""
        clocks = [self._clocks.get(local), self._clocks.get(remote)]
        methods = [self._phcs[name].pair_method for name in (local, remote) if name in self._phcs]
        # The kernel compares one hardware clock with the system clock; for two it is asked twice.
        method = methods[0] if len(methods) == 1 else "read"
        stamps = []
        uncertainty = _USER_WINDOW if not methods else ZERO
        for name, clock in zip((local, remote), clocks, strict=True):
            if clock is None:
                raise gone(name)
            if clock.lost is not None:
                raise clock.lost
            error, half_window = self._reading(self._phcs.get(name))
            stamp = clock.stamp_at(self._world.units, StampSource.KERNEL, error)
            assert stamp is not None
            stamps.append(stamp)
            uncertainty += half_window
        return Pair(stamps[0], stamps[1], uncertainty, method)

    def _reading(self, hardware: PhcHardware | None) -> tuple[Duration, Duration]:
        """Error of a reading of a hardware clock against the middle of its window, and half that window."""
        if hardware is None:
            return ZERO, ZERO
        rng = self._rng
        noise_s = rng.gauss(0.0, hardware.read_noise_s) if hardware.read_noise_s else 0.0
        if hardware.pair_method == "precise":
            # Latched at the same moment by hardware; what is left is the resolution.
            return Duration.from_s(noise_s), Duration.from_ns(1)
        best = (0.0, 0.0)
        shortest = float("inf")
        for _ in range(hardware.pair_samples):
            before, after = hardware.pair_excess.draw(rng), hardware.pair_excess.draw(rng)
            if before + after < shortest:
                shortest, best = before + after, (before, after)
        before, after = best
        half_window = (hardware.pair_window.s() + before + after) / 2
        # A long wait before it was read: the reading is later than the middle says.
        return Duration.from_s((before - after) / 2 + noise_s), Duration.from_s(half_window)
