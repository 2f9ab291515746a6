"""A PTP hardware clock in software, met by the runtime's own PhcClock and pin input; the system clock is only read."""

from __future__ import annotations

import errno
import time
from random import Random

import pytest
from linux_support import TABLE, S

from timesync.base.ids import ClockId
from timesync.base.rate import Rate
from timesync.base.time import ZERO, Duration, Instant
from timesync.devices import PinPulses
from timesync.host import ClockError, Trouble
from timesync.runtime.devices import LinuxDevices
from timesync.runtime.phc_clock import PhcClock
from timesync.runtime.system_clock import SystemClock
from timesync.runtime.virtual import VirtualClock, VirtualSettings
from timesync.runtime.virtual_card import VirtualSlot
from timesync.runtime.virtual_pulses import Edges, real_ns
from timesync_drivers.clock import KernelClock

NIC, SYSTEM = ClockId("nic"), ClockId("system")
OFFSET = Duration.from_ns(3_000_000)
SLOW_MACHINE_S = 0.05
"""As long as this test's process may be held up between two readings."""


class Always:
    """A wire with an edge at each full second."""

    def present(self) -> bool:
        return True

    def lateness(self, second: int) -> Duration | None:
        return ZERO


class Rig:
    """A slot with a card in it, 3 ms ahead and with a perfect oscillator, and the clock over it."""

    def __init__(self) -> None:
        self.system = SystemClock(SYSTEM, KernelClock(), TABLE)
        self.shift_ns = 0
        self.slot = VirtualSlot("/dev/ptp-x", self._clock, self._edges)
        self.nic = PhcClock(NIC, "/dev/ptp-x", TABLE, open_device=self.slot.open)
        self.devices = LinuxDevices({NIC: self.nic, SYSTEM: self.system}, TABLE)

    def _clock(self) -> VirtualClock:
        return VirtualClock(NIC, self.system, TABLE, VirtualSettings(offset=OFFSET), Random(1))

    def _edges(self) -> Edges:
        return Edges(Always(), TABLE, 0.0, Random(1), lambda: real_ns() + self.shift_ns)


def test_beside_the_system_clock_it_is_off_by_what_it_was_made_with() -> None:
    rig = Rig()
    pair = rig.devices.read_pair(NIC, SYSTEM)

    assert "extended" == pair.method
    assert abs((pair.local.at - pair.remote.at - OFFSET).s()) <= pair.uncertainty.s() + 1e-9
    assert ZERO < pair.uncertainty < Duration.from_s(SLOW_MACHINE_S)
    assert ("phc", True) == (rig.nic.kind, rig.nic.present)


def test_it_is_steered_and_stepped_as_a_real_one() -> None:
    rig = Rig()
    taken = rig.nic.adjust_frequency(Rate.from_ppm(12.5))
    rig.nic.step(-OFFSET)

    assert 12.5 == taken.ppm() == rig.nic.frequency().ppm()
    assert 1 == rig.nic.epoch
    assert rig.slot.clock is not None
    assert abs(rig.slot.clock.true_offset().s()) < 12.5e-6
    assert 100_000 == pytest.approx(rig.nic.limits.max_frequency.ppm(), abs=1)
    assert rig.nic.check_foreign() is None


def test_edges_on_its_pin_are_stamped_by_it() -> None:
    rig = Rig()
    pin = rig.devices.open_pulses(PinPulses(NIC, 0, 0), NIC)
    assert () == tuple(pin.pulses())

    began = real_ns()
    while real_ns() // S == began // S:
        time.sleep(0.01)
    (pulse,) = pin.pulses()

    full = TABLE.tai(Instant.from_ns(real_ns() // S * S))
    assert abs((pulse.stamp.at - full - OFFSET).ns()) <= 1
    assert ("nic", 1) == (pulse.stamp.clock, pulse.sequence)


def test_it_has_one_channel_one_pin_and_no_output() -> None:
    rig = Rig()

    for spec in (PinPulses(NIC, 1), PinPulses(NIC, 0, 1), PinPulses(NIC, 0, 0, "clear")):
        with pytest.raises(ClockError) as refused:
            rig.devices.open_pulses(spec, NIC)
        assert Trouble.UNSUPPORTED is refused.value.trouble
    with pytest.raises(ClockError, match="0 periodic output channels"):
        rig.devices.open_output(NIC, 0, None, Duration.from_ns(1000))


def test_unplugged_it_is_gone_and_comes_back_as_it_was_switched_on() -> None:
    rig = Rig()
    pin = rig.devices.open_pulses(PinPulses(NIC, 0, 0), NIC)
    rig.nic.step(-OFFSET)
    rig.slot.switch(plugged=False)

    with pytest.raises(ClockError) as refused:
        pin.pulses()
    assert Trouble.GONE is refused.value.trouble
    assert (False, False) == (rig.nic.present, rig.nic.reopen())
    assert rig.slot.clock is None
    with pytest.raises(OSError, match="No such device") as gone:
        rig.slot.open("")
    assert errno.ENODEV == gone.value.errno

    rig.slot.switch(plugged=True)
    assert rig.nic.reopen()
    assert 2 == rig.nic.epoch
    assert rig.slot.clock is not None
    assert OFFSET == rig.slot.clock.true_offset()
    with pytest.raises(ClockError, match="was away"):
        pin.pulses()
    pin.close()
    assert () == tuple(rig.devices.open_pulses(PinPulses(NIC, 0, 0), NIC).pulses())
