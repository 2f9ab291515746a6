"""Pairs of clocks read together, stamps turned round, and what the machine's devices refuse."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
from linux_support import NOW_NS, SYSTEM, TABLE, S
from phc_support import ETH0, ETH1, FakeCard, Machine, SystemBase

from timesync.base.ids import ClockId
from timesync.base.measure import Stamp, StampSource
from timesync.base.rate import Rate
from timesync.base.time import Duration, Instant
from timesync.devices import PinPulses
from timesync.host import ClockError, Trouble
from timesync.runtime.devices import LinuxDevices
from timesync.runtime.stamping import StampClock
from timesync.runtime.virtual import VirtualClock, VirtualSettings
from timesync_drivers.cross import CrossReading

TAI_NS = NOW_NS + 37 * S
BENCH = ClockId("bench")
MS = 1_000_000


class Steady:
    """A random stream without randomness."""

    def gauss(self, mu: float, sigma: float, /) -> float:
        return 0.0


class Rig:
    """A machine with a system clock, a virtual one and two cards."""

    def __init__(self) -> None:
        self.machine = Machine()
        self.eth0 = self.machine.plug("eth0", TAI_NS + 5000, ppm=80)
        self.eth1 = self.machine.plug("eth1", TAI_NS - 7000, ppm=-60)
        base = SystemBase(self.machine)
        settings = VirtualSettings(Duration.from_ns(3 * MS), Rate.from_ppm(200))
        clocks: dict[ClockId, StampClock] = {
            SYSTEM: base,
            BENCH: VirtualClock(BENCH, base, TABLE, settings, Steady()),
            ETH0: self.machine.clock(ETH0),
            ETH1: self.machine.clock(ETH1),
        }
        self.clocks = clocks
        self.devices = LinuxDevices(clocks, TABLE, real_ns=lambda: self.machine.real_ns)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_hardware_clock_and_the_system_clock(rig: Rig) -> None:
    pair = rig.devices.read_pair(ETH0, SYSTEM)
    assert (ETH0, SYSTEM, "extended") == (pair.local.clock, pair.remote.clock, pair.method)
    assert (pair.local.at - pair.remote.at).ns() == 5000
    assert pair.uncertainty == Duration.from_ns(200)


def test_the_same_the_other_way_round(rig: Rig) -> None:
    pair = rig.devices.read_pair(SYSTEM, ETH0)
    assert (SYSTEM, ETH0) == (pair.local.clock, pair.remote.clock)
    assert (pair.local.at - pair.remote.at).ns() == -5000


def test_a_hardware_clock_and_a_virtual_one(rig: Rig) -> None:
    pair = rig.devices.read_pair(BENCH, ETH0)
    assert (pair.local.at - pair.remote.at).ns() == 3 * MS - 5000


def test_a_virtual_clock_and_the_one_below_it(rig: Rig) -> None:
    rig.machine.run(10)
    pair = rig.devices.read_pair(BENCH, SYSTEM)
    assert (pair.local.at - pair.remote.at).ns() == 3 * MS + 2 * MS  # 200 ppm of 10 s
    assert (pair.method, pair.uncertainty.ns()) == ("read", 0)


def test_two_hardware_clocks_are_compared_at_one_moment(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each reading takes 0.2 ms, in which 80 ppm and -60 ppm make 28 ns of difference: none of it is seen."""
    machine = rig.machine
    untimed = FakeCard.cross

    def slowly(card: FakeCard) -> CrossReading:
        machine.run(0.0001)
        reading = untimed(card)
        machine.run(0.0001)
        return reading

    monkeypatch.setattr(FakeCard, "cross", slowly)
    pair = rig.devices.read_pair(ETH0, ETH1)
    # At the middle reading 0.3 ms have gone by: 12000 ns at the start, and 140 ppm of 0.3 ms.
    assert abs((pair.local.at - pair.remote.at).ns() - (12_000 + 42)) <= 1
    assert pair.uncertainty == Duration.from_ns(400)


def test_two_hardware_clocks_on_a_machine_that_is_too_busy(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    untimed = FakeCard.cross

    def stalled(card: FakeCard) -> CrossReading:
        rig.machine.run(0.05)
        return untimed(card)

    monkeypatch.setattr(FakeCard, "cross", stalled)
    with pytest.raises(ClockError, match="could not be read together"):
        rig.devices.read_pair(ETH0, ETH1)


def test_a_clock_that_has_vanished_gives_no_pair(rig: Rig) -> None:
    rig.eth0.vanish()
    for local, remote in [(ETH0, SYSTEM), (SYSTEM, ETH0), (ETH1, ETH0)]:
        with pytest.raises(ClockError) as caught:
            rig.devices.read_pair(local, remote)
        assert caught.value.trouble is Trouble.GONE
    assert rig.devices.read_pair(ETH1, SYSTEM).local.at.ns() == rig.eth1.phc_ns


def test_a_clock_that_has_not_been_there_yet(rig: Rig) -> None:
    with pytest.raises(ClockError, match="eth9 is not there") as caught:
        rig.devices.read_pair(ClockId("eth9"), SYSTEM)
    assert caught.value.trouble is Trouble.GONE
    assert rig.devices.stamp(ClockId("eth9"), rig.machine.real_ns) is None


@pytest.mark.parametrize("clock", [SYSTEM, BENCH, ETH0])
def test_kernel_times_come_back_from_their_stamps(rig: Rig, clock: ClockId) -> None:
    for ago_s in (0.0, 0.013, 0.7):
        rig.machine.run(1)
        rig.devices.read_pair(ETH0, SYSTEM)
        kernel_ns = rig.machine.real_ns
        rig.machine.run(ago_s)
        stamp = rig.devices.stamp(clock, kernel_ns)
        assert stamp is not None
        found = rig.devices.kernel_ns(clock, stamp)
        assert found is not None
        assert abs(found - kernel_ns) <= 1


def test_a_stamp_of_an_earlier_epoch_has_no_kernel_time(rig: Rig) -> None:
    stamp = rig.devices.stamp(ETH0, rig.machine.real_ns)
    assert stamp is not None
    rig.clocks[ETH0].step(Duration.from_s(1))
    assert rig.devices.kernel_ns(ETH0, stamp) is None


def test_a_stamp_of_long_ago_has_no_kernel_time(rig: Rig) -> None:
    stamp = Stamp(ETH0, 0, Instant.from_ns(TAI_NS - 100 * S), StampSource.KERNEL)
    assert rig.devices.kernel_ns(ETH0, stamp) is None


def test_pins_are_those_of_a_hardware_clock(rig: Rig) -> None:
    with pytest.raises(ClockError, match="no pins") as caught:
        rig.devices.open_pulses(PinPulses(BENCH), BENCH)
    assert caught.value.trouble is Trouble.UNSUPPORTED
    first = rig.devices.open_pulses(PinPulses(ETH0, channel=0), ETH0)
    rig.devices.open_pulses(PinPulses(ETH0, channel=1), ETH0)
    rig.devices.open_output(ETH1, 0, 1, Duration.from_s(0.1)).close()
    first.close()
    assert rig.eth0.calls == ["extts 0 rising", "extts 1 rising", "no extts 0"]
    assert rig.eth1.calls[-1] == "no perout 0"


def test_a_thermometer_is_a_file_of_thousandths(tmp_path: Path, rig: Rig) -> None:
    file = tmp_path / "temp1_input"
    file.write_text("-12375\n")
    assert rig.devices.temperature(str(file)) == -12.375
    file.write_text("warm")
    with pytest.raises(OSError, match="'warm'") as caught:
        rig.devices.temperature(str(file))
    assert caught.value.errno == errno.EINVAL
    with pytest.raises(FileNotFoundError):
        rig.devices.temperature(str(tmp_path / "absent"))
