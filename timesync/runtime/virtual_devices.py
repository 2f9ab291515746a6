"""The time hardware of a Linux machine, with PPS devices in software beside the real ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from timesync.base.ids import ClockId
from timesync.base.utc import LeapTable
from timesync.devices import KernelPulses, PulseInput, PulseSpec
from timesync.host import ClockError, Trouble
from timesync.runtime.devices import LinuxDevices
from timesync.runtime.stamping import StampClock
from timesync.runtime.virtual_pulses import Edges, PulseLine, VirtualPulses


@dataclass(frozen=True, slots=True)
class VirtualPps:
    """A PPS device in software.

    Attributes:
        line: The wire.
        make_edges: What is stamped from now on; asked each time the device is opened.
    """

    line: PulseLine
    make_edges: Callable[[], Edges]


class VirtualDevices(LinuxDevices):
    """``timesync.devices.Devices`` over the drivers; the PPS devices of these paths are not the kernel's."""

    def __init__(
        self, clocks: Mapping[ClockId, StampClock], table: LeapTable, pulses: Mapping[str, VirtualPps]
    ) -> None:
        """``pulses`` are by path; they hide what else may be there."""
        super().__init__(clocks, table)
        self._pulses = pulses

    def open_pulses(self, spec: PulseSpec, clock: ClockId) -> PulseInput:
        """Begin to take edges. Raises ClockError; UNSUPPORTED for the edge that does not mark the second."""
        found = self._pulses.get(spec.path) if isinstance(spec, KernelPulses) else None
        if found is None or not isinstance(spec, KernelPulses):
            return super().open_pulses(spec, clock)
        if spec.edge != "assert":
            raise ClockError(
                Trouble.UNSUPPORTED,
                f"the PPS device {spec.path} is one in software and has assert edges only",
                "set `edge: assert` for it",
            )
        return VirtualPulses(spec.path, found.line, found.make_edges(), self._clock(clock))
